"""batch_norm: a normalization with given statistics is folded into the layer before it.

compiler/prepared.py calls it, and only where `lucid.compile(..., fold_batch_norm=True)` asks for
it: the bits change. y = (x * w + b - mean) s + shift, with s = weight / sqrt(variance + eps), is
x * (w s) + ((b - mean) s + shift), whose weight and bias depend on parameters alone.
"""

from collections import Counter
from dataclasses import dataclass

from lucid.dtypes import float32, float64
from lucid.graph import Equation, Graph, Value, computed_from
from lucid.op import find
from lucid.plan.passes.replace import Replacement

CONVOLUTIONS = ("conv2d_forward", "conv2d_biased")
KINDS = (float32, float64)  # a product of smaller ones would be rounded too much


@dataclass(eq=False)
class _Norm:
    """A normalization: the layer, the reshape after it, if there is one, and what is done to each
    channel."""

    layer: Equation
    between: Equation | None
    mean: Value
    scale: Value
    factor: Value | None
    shift: Value | None
    result: Value


def fold_batch_norm(graph: Graph, fixed: list[Value]) -> list[Value]:
    """Fold all that can be; `fixed` are the inputs that are the same tensors in each call. Returns
    the folded weights and biases: of these inputs, and of nothing else."""
    steady = computed_from(graph, fixed)
    uses = Counter(id(v) for e in graph.equations for v in e.inputs)
    uses.update(map(id, graph.outputs))
    last = {e.unit: e for e in graph.equations}
    made: list[Value] = []
    done = Replacement()
    equations: list[Equation] = []
    for e in graph.equations:
        e.inputs = tuple([done.of(v) for v in e.inputs])
        equations.append(e)
        norm = _norm(e, steady, uses) if last[e.unit] is e else None
        if norm is not None:
            folded = _folded(norm)
            # In the place of the last equation: by then all that it reads is there.
            equations.remove(e)
            equations += folded.equations
            made += folded.inputs
            done.put(norm.result, folded.outputs[0])
    graph.equations = equations
    done.outputs(graph)
    graph.pruned()
    return made


def _norm(last: Equation, steady: set[int], uses: Counter) -> _Norm | None:
    """The normalization that ends with this equation."""
    given: dict[str, list[Value]] = {"add": [], "mul": [], "sub": []}
    e: Equation | None = last
    while e is not None and e.unit == last.unit and e.op.name in given:
        x, other = e.inputs if len(e.inputs) == 2 else (e.inputs[0], None)
        if other is None or id(other) not in steady or not _by_channel(other, x):
            return None
        if e is not last and uses[id(e.outputs[0])] != 1:
            return None
        given[e.op.name].append(other)
        if e.op.name == "sub":
            break
        e = x.equation
    if e is None or e.op.name != "sub" or not 1 <= len(given["mul"]) <= 2 or len(given["add"]) > 1:
        return None
    *factors, scale = given["mul"]
    if scale.equation is None or scale.equation.op.name != "rsqrt":
        return None
    found = _layer(e.inputs[0], steady, uses)
    if found is None:
        return None
    shift = given["add"][0] if given["add"] else None
    factor = factors[0] if factors else None
    return _Norm(*found, given["sub"][0], scale, factor, shift, last.outputs[0])


def _by_channel(v: Value, x: Value) -> bool:
    if v.dtype is not x.dtype or v.dtype not in KINDS or len(v.shape) != len(x.shape):
        return False
    return all(n == (x.shape[1] if d == 1 else 1) for d, n in enumerate(v.shape))


def _layer(x: Value, steady: set[int], uses: Counter) -> tuple[Equation, Equation | None] | None:
    """The convolution or product that made x, whose channels are in dimension 1."""
    e, between = x.equation, None
    if e is not None and e.op.name == "reshape" and uses[id(x)] == 1:
        before = e.inputs[0]
        if before.shape[:2] != x.shape[:2]:
            return None
        between, x, e = e, before, before.equation
    if e is None or uses[id(x)] != 1 or not all(id(v) in steady for v in e.inputs[1:]):
        return None
    if e.op.name in (*CONVOLUTIONS, "affine"):
        return e, between
    if e.op.name == "product" and len(x.shape) == 2 and len(e.inputs[0].shape) == 2:
        return e, between
    return None


def _folded(norm: _Norm) -> Graph:
    """The equations in the place of a normalization; the inputs are the new weight and bias."""
    layer, graph = norm.layer, Graph()
    add, mul, sub, reshape = map(find, ("add", "mul", "sub", "reshape"))

    def put(op, inputs, params=()):
        value = graph.add(op, inputs, params)[0]
        e = graph.equations[-1]
        e.line, e.unit = layer.line, layer.unit
        return value

    def row(v: Value) -> Value:
        return put(reshape, (v,), ((n,),))

    n = norm.scale.shape[1]
    scale = row(norm.scale)
    if norm.factor is not None:
        scale = put(mul, (scale, row(norm.factor)))
    x, w, *rest = layer.inputs
    if layer.op.name == "product":
        wide: tuple[int, ...] = (1, n)
    else:
        wide = (n, *[1] * (len(w.shape) - 1))
    weight = put(mul, (w, put(reshape, (scale,), (wide,))))
    mean = row(norm.mean)
    centre = put(sub, (rest[0], mean)) if rest else put(find("neg"), (mean,))
    bias = put(mul, (centre, scale))
    if norm.shift is not None:
        bias = put(add, (bias, row(norm.shift)))
    if layer.op.name == "product":
        y = put(find("affine"), (x, put(find("permute"), (weight,), ((1, 0),)), bias))
    else:
        name = "affine" if layer.op.name == "affine" else "conv2d_biased"
        y = put(find(name), (x, weight, bias), layer.params)
    y.strides = layer.outputs[0].strides
    if norm.between is not None:
        y = put(reshape, (y,), norm.between.params)
    graph.inputs, graph.outputs = [weight, bias], [y]
    return graph
