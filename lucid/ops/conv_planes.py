"""Convolutions with one channel per group where planes are rows of memory: each plane by itself.

conv.py asks `plane_steps` first; the template (backend/cpu/conv.py) wants channels side by side and
would copy. Results are a chain of `mad` for each line of the kernel, and their sum; the weight's
gradient adds up images and lines at each column, then the columns.
"""

from collections.abc import Callable
from typing import Any

from lucid.dtypes import int64
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Axis, Fold, Map, Store
from lucid.ops.pool import inside
from lucid.plan.nest import Nest, array_of, step
from lucid.plan.steps import Operand, Step

MOST = 49  # taps, which are written out
FEW = 16  # with more of them, a copy with the borders in it costs less than a look at each place
LEAST = 8  # columns of the result, along which lanes lie

Place = Callable[[Any, Any, int], Any]  # index, tap, dimension -> where it reads


def plane_steps(
    context: Any, kind: str, x: Operand, w: Operand, y: Operand, b: Operand | None, params: tuple
) -> list[Step] | None:
    """The kernels of a convolution of this kind (conv.Convolution); None where it is not one."""
    stride, padding, dilation, groups = params[:4]
    one = groups == x.shape[1] == w.shape[0] and groups > 1
    taps = w.shape[2] * w.shape[3]
    if not one or taps > MOST or min(x.shape[3], y.shape[3]) < LEAST:
        return None
    if x.strides[3] != 1 or y.strides[3] != 1 or stride[1] != 1:  # lanes would lie apart
        return None
    if (kind == "input" and stride[0] != 1) or (kind == "weight" and taps > FEW):
        return None

    def seen(i: Any, tap: Any, d: int) -> Any:
        return i * stride[d] + tap * dilation[d] - padding[d][0]

    def seeing(i: Any, tap: Any, d: int) -> Any:
        return i + padding[d][0] - tap * dilation[d]

    if kind == "weight":
        return _weight(context, x, w, y, seen)
    if kind == "input":
        return _sums(context, "conv2d_planes_back", y, w, x, None, seeing)
    return _sums(context, "conv2d_planes", x, w, y, b, seen)


def nest_of(
    name: str, operands: dict[str, Operand], extents: dict[str, int], inner: list[str],
    stages: list, vector: str,
) -> Step:  # fmt: skip
    arrays = {n: array_of(n, x, "out" if n == "y0" else "in") for n, x in operands.items()}
    grid = [axis for axis in extents if axis not in inner]
    return step(Nest(name, arrays, extents, grid, inner, stages, []), vector, operands)


def read_plane(x: Operand, lead: list[Expr], h: Expr, w: Expr) -> Expr:
    """An element of a plane in the compute type, 0 outside."""
    (good_h, h), (good_w, w) = inside(h, x.shape[-2]), inside(w, x.shape[-1])
    found = expr.cast(expr.load("x0", [*lead, h, w], x.dtype), x.dtype.compute)
    return expr.where(good_h & good_w, found, expr.zero(found))


def _bordered(context: Any, x: Operand, low: list[int], high: list[int]) -> tuple[Step, Operand]:
    """A copy of x in the compute type from places `low` to `high` of its planes, 0 outside."""
    n, c, h, w = (expr.index(a) for a in "nchw")
    shape = (*x.shape[:2], *(b - a + 1 for a, b in zip(low, high, strict=True)))
    y = context.temporary(shape, x.dtype.compute)
    store = Store("y0", (n, c, h, w), read_plane(x, [n, c], h + low[0], w + low[1]))
    extents = dict(zip("nchw", shape, strict=True))
    stages = [Map((), (store,))]
    return nest_of("borders", {"y0": y, "x0": x}, extents, [], stages, "grid"), y


def _sums(
    context: Any, name: str, x: Operand, w: Operand, y: Operand, b: Operand | None, place: Place
) -> list[Step]:
    n, c, h, v = (expr.index(a) for a in "nchw")
    kind, taps, size = x.dtype.compute, w.shape[2:], y.shape[2:]
    steps, low = [], [0, 0]
    if bordered := taps[0] * taps[1] > FEW:
        ends = [(place(0, 0, d), place(0, taps[d] - 1, d)) for d in range(2)]
        low = [min(pair) for pair in ends]
        high = [
            max(pair) + place(size[d] - 1, 0, d) - place(0, 0, d) for d, pair in enumerate(ends)
        ]
        copied, x = _bordered(context, x, low, high)
        steps.append(copied)
    total = None
    for p in range(taps[0]):
        line = expr.const(0.0, kind)
        for q in range(taps[1]):
            tap = [expr.const(p, int64), expr.const(q, int64)]
            weight = expr.load("x1", [c, expr.ZERO, *tap], w.dtype)
            at = [place(h, p, 0) - low[0], place(v, q, 1) - low[1]]
            read = expr.load("x0", [n, c, *at], kind) if bordered else read_plane(x, [n, c], *at)
            line = expr.mad(read, expr.cast(weight, kind), line)
        total = line if total is None else total + line
    assert total is not None
    operands = {"y0": y, "x0": x, "x1": w}
    if b is not None:
        operands["x2"] = b
        total = total + expr.cast(expr.load("x2", [c], b.dtype), kind)
    store = Store("y0", (n, c, h, v), expr.cast(total, y.dtype))
    extents = dict(zip("nchw", y.shape, strict=True))
    return [*steps, nest_of(name, operands, extents, [], [Map((), (store,))], "grid")]


def _weight(context: Any, x: Operand, w: Operand, y: Operand, place: Place) -> list[Step]:
    """`w` is written, `y` the cotangent."""
    n, c, h, v, p, q = (expr.index(a) for a in "nchwpq")
    kind, taps = x.dtype.compute, w.shape[2:]
    columns = context.temporary((w.shape[0], *taps, y.shape[3]), kind)
    g = expr.cast(expr.load("x1", [n, c, h, v], y.dtype), kind)
    value = read_plane(x, [n, c], place(h, p, 0), place(v, q, 1)) * g
    extents = {"c": w.shape[0], "p": taps[0], "q": taps[1], "w": y.shape[3]}
    extents |= {"n": y.shape[0], "h": y.shape[2]}
    first = nest_of(
        "conv2d_planes_weight", {"y0": columns, "x0": x, "x1": y}, extents, ["n", "h"],
        [sum_along("nh", value), Map((), (Store("y0", (c, p, q, v), loops.folded(0, 0, kind)),))],
        "grid",
    )  # fmt: skip
    whole = expr.cast(loops.folded(0, 0, kind), w.dtype)
    second = nest_of(
        "conv2d_planes_join", {"y0": w, "x0": columns},
        {"c": w.shape[0], "p": taps[0], "q": taps[1], "w": y.shape[3]}, ["w"],
        [sum_along("w", expr.load("x0", [c, p, q, v], kind)),
         Map((), (Store("y0", (c, expr.ZERO, p, q), whole),))],
        "inner",
    )  # fmt: skip
    return [first, second]


def sum_along(axes: str, value: Expr) -> Fold:
    inner = tuple(Axis(a, expr.ZERO) for a in axes)
    return Fold(0, inner, loops.sum_of(value.dtype), (value,))
