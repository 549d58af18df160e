"""Values that several passes over a row need: computed once and kept in the thread's scratch.

lower.py calls `keep` on a nest whose lanes lie along its rows. softmax takes its exponentials
twice, for their sum and for the result; a row of them fits the first-level cache.
"""

from lucid.kernel import expr
from lucid.kernel.expr import MATH, Expr
from lucid.kernel.loops import Axis, Fold, Map, Scan, Stage, Store
from lucid.plan.nest import Array, Nest

MOST = 1 << 18  # elements of a row: 1 MiB of float32 stays in a second-level cache


def keep(nest: Nest) -> None:
    """Put a pass that stores shared transcendental values before the first pass that reads them."""
    length = 1
    for axis in nest.inner:
        length *= nest.extents[axis]
    passes = [i for i, s in enumerate(nest.stages) if s.axes and not isinstance(s, Scan)]
    if len(passes) < 2 or length > MOST or nest.static:
        return
    seen: dict[int, list[int]] = {}
    nodes: dict[int, Expr] = {}
    for i in passes:
        for node in expr.postorder(roots_of(nest.stages[i])):
            if node.op in MATH and along(node, nest.inner):
                seen.setdefault(id(node), []).append(i)
                nodes[id(node)] = node
    shared = [nodes[key] for key, where in seen.items() if len(where) > 1]
    if not shared:
        return
    at = tuple(expr.index(a) for a in nest.inner)
    shape = tuple(nest.extents[a] for a in nest.inner)
    first = min(seen[id(node)][0] for node in shared)
    kept: dict[int, Expr] = {}
    stores = []
    for node in shared:
        if seen[id(node)][0] != first:
            continue  # it may need a fold that comes later; one pass of stores is enough
        name = f"k{len(kept)}"
        nest.arrays[name] = Array(name, node.dtype, shape, (0,) * len(shape), "local")
        kept[id(node)] = expr.load(name, at, node.dtype)
        stores.append(Store(name, at, node))
    inner = tuple(Axis(a, expr.ZERO) for a in nest.inner)
    after = replace_nodes(nest.stages[first:], kept)
    nest.stages = [*nest.stages[:first], Map(inner, tuple(stores)), *after]


def replace_nodes(stages: list[Stage], kept: dict[int, Expr]) -> list[Stage]:
    """The stages with the kept nodes read from scratch."""
    done: dict[int, Expr] = {}

    def swap(root: Expr) -> Expr:
        for node in expr.postorder([root]):
            if id(node) in done:
                continue
            if id(node) in kept:
                done[id(node)] = kept[id(node)]
                continue
            args = tuple(done[id(a)] for a in node.args)
            same = all(a is b for a, b in zip(args, node.args, strict=True))
            done[id(node)] = node if same else Expr(node.op, args, node.dtype, node.attr)
        return done[id(root)]

    result: list[Stage] = []
    for s in stages:
        if isinstance(s, Fold):
            values = tuple(swap(v) for v in s.values)
            result.append(Fold(s.number, s.axes, s.monoid, values))
        elif isinstance(s, Map):
            stores = (
                Store(
                    t.buffer,
                    t.subscripts,
                    swap(t.value),
                    None if t.mask is None else swap(t.mask),
                )
                for t in s.stores
            )
            result.append(Map(s.axes, tuple(stores)))
        else:
            result.append(s)
    return result


def roots_of(stage: Stage) -> list[Expr]:
    if isinstance(stage, Fold):
        return list(stage.values)
    return [v for t in stage.stores for v in (t.value, t.mask) if v is not None]


def along(node: Expr, inner: list[str]) -> bool:
    """Whether a value changes along the row."""
    return any(n.op == "index" and n.attr in inner for n in expr.postorder([node]))
