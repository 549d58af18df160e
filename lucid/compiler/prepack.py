"""prepack: weights of products are packed before the program runs, and not in each product.

prepared.py calls it, where `lucid.compile(..., prepack=True)` asks for it. Only weights
that the product would pack as a whole: few rows read them where they lie. Bits stay the same.
"""

from math import prod

from lucid.graph import Equation, Graph, Value, computed_from
from lucid.lazy import lazy
from lucid.op import find
from lucid.ops.prepacked import packed_right, prepacked

_gemm = lazy("lucid.backend.cpu.gemm")


def prepack(graph: Graph, fixed: list[Value], most: int) -> list[Value]:
    """Pack what is computed from the inputs `fixed` alone; `most` bytes in all, the first products
    first. Returns the packed weights."""
    steady = computed_from(graph, fixed)
    made: list[Value] = []
    known: dict[tuple[int, bool], Value] = {}
    equations: list[Equation] = []
    for e in graph.equations:
        if not _fits(e, steady):
            equations.append(e)
            continue
        x, w, *b = e.inputs
        turned = e.op.name == "affine"
        packed = known.get((id(w), turned))
        if packed is None:
            size = _bytes(w, turned)
            if size > most:
                equations.append(e)
                continue
            most -= size
            own = Graph()
            v = own.add(find("permute"), (w,), ((1, 0),))[0] if turned else w
            packed = known[id(w), turned] = own.add(packed_right, (v,), ())[0]
            made.append(packed)
            equations += own.equations
        e.op, e.inputs, e.params = prepacked, (x, packed, *b), (e.outputs[0].shape[-1],)
        equations.append(e)
    graph.equations = equations
    return made


def _bytes(w: Value, turned: bool) -> int:
    k, n = w.shape[::-1] if turned else w.shape
    width, panels, _ = _gemm.packed_panels(w.dtype, k, n)
    return k * width * panels * w.dtype.itemsize


def _fits(e: Equation, steady: set[int]) -> bool:
    if e.op.name not in ("affine", "product"):
        return False
    x, w = e.inputs[:2]
    y = e.outputs[0]
    if id(w) not in steady or id(x) in steady or len(w.shape) != 2 or 0 in y.shape + w.shape:
        return False
    k, n = x.shape[-1], y.shape[-1]
    turned = e.op.name == "affine" or (w.equation is not None and w.equation.op.name == "permute")
    spec = _gemm.MatmulSpec(
        x.dtype, prod(y.shape[:-1]), n, k, (k, 1), (1, k) if turned else (n, 1), (n, 1)
    )
    return _gemm.packs_right(spec)
