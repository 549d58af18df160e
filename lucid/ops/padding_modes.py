"""Padding that repeats what is there: reflect, replicate, circular; and `pad` of every mode.

Called as functional.pad and by the convolutions' padding modes. padding.py pads with a constant.
"""

from collections.abc import Sequence
from typing import Any

from lucid.dtypes import bool_
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.op import Pointwise, Reduction
from lucid.ops import padding
from lucid.ops.padding import pad_constant

MODES = ("reflect", "replicate", "circular")


class pad_mapped(Pointwise):
    """x with each dimension extended by its own elements; negative numbers cut."""

    public = False

    def names(x, *, before, after, mode):
        pass

    def infer(types, params):
        before, after, _ = params
        shape, kind, _ = types[0]
        return [(tuple(a + n + b for n, a, b in zip(shape, before, after, strict=True)), kind)]

    def element(types, index, loads, before, after, mode):
        shape = types[0][0]
        inner = []
        for i, n, a, b in zip(index, shape, before, after, strict=True):
            at = _moved(i, -a)
            inner.append(_source(at, n, mode) if a > 0 or b > 0 else at)
        return loads[0](inner)

    def axis_map(call):
        before, after, mode = call.params
        return call.run(call.inputs, ((0, *before), (0, *after), mode))

    def vjp_x(g, x_meta, before, after, mode):
        for d, n in enumerate(x_meta.shape):
            if before[d] or after[d]:
                g = pad_mapped_back(g, d, n, before[d], after[d], mode)
        return g


def _moved(i: Expr, by: int) -> Expr:
    return i + expr.size(by) if by > 0 else i - expr.size(-by) if by < 0 else i


def _source(at: Expr, n: int, mode: str) -> Expr:
    """Where the element of an extended dimension of size n comes from."""
    size = expr.size(n)
    low, high = at < 0, at >= size
    if mode == "replicate":
        return expr.where(low, expr.ZERO, expr.where(high, size - 1, at))
    if mode == "circular":
        return expr.where(low, at + size, expr.where(high, at - size, at))
    turned = expr.where(high, (size - 1) * 2 - at, at)
    return expr.where(low, -at, turned)


class pad_mapped_back(Reduction):
    """The sum of g over the places of a padded dimension that an element has come to."""

    public = False
    numbered = ("dim",)
    static_window = True

    def names(g, *, dim, size, before, after, mode):
        pass

    def domain(types, params):
        dim, size, before, after, mode = params
        shape = types[0][0]
        copies = max(before, 0) + max(after, 0) + 1 if mode == "replicate" else 3
        return (*shape[:dim], size, *shape[dim + 1 :], copies), (len(shape),)

    def monoid(types, params):
        return loops.sum_of(types[0][1].compute)

    def infer(types, params):
        shape, kind, _ = types[0]
        return [((*shape[: params[0]], params[1], *shape[params[0] + 1 :]), kind)]

    def element(types, params, index, loads):
        dim, n, before, after, mode = params
        i, copy = index[dim], index[-1]
        size, low = expr.size(n), max(before, 0)
        good = expr.const(True, bool_)
        if mode == "replicate":
            step = _moved(copy, -low)
            first, last = i.eq(expr.ZERO), i.eq(size - 1)
            good = step.eq(expr.ZERO) | (first & (step < 0)) | (last & (step > 0))
            at = i + step
        elif mode == "circular":
            at = i + (copy - 1) * size
        else:
            at = expr.where(copy.eq(expr.ZERO), -i, i)
            at = expr.where(copy.eq(expr.const(2, copy.dtype)), (size - 1) * 2 - i, at)
            # The border itself is not repeated.
            again = (copy.eq(expr.ZERO) & i.eq(expr.ZERO)) | (
                copy.eq(expr.const(2, copy.dtype)) & i.eq(size - 1)
            )
            good = ~again
        at = _moved(at, before)
        good = good & (at >= 0) & (at < expr.size(types[0][0][dim]))
        inner = list(index[:-1])
        inner[dim] = expr.where(good, at, expr.ZERO)
        g = loads[0](inner)
        return (expr.where(good, g, expr.zero(g)),)

    def vjp_g(g, dim, before, after, mode):
        n = g.ndim
        sides = [tuple(p if d == dim else 0 for d in range(n)) for p in (before, after)]
        return pad_mapped(g, *sides, mode)


def pad(input, pad: Sequence[int], mode: str = "constant", value: float | None = None):
    """Pad the last dimensions: pad = (last before, last after, second last before, ...).

    mode: "constant" with `value` (0 by default), "reflect" (without the border; fewer than the
    size), "replicate" (the border's elements), "circular" (the other side's; at most the size).
    Negative numbers cut. Raises RuntimeError where the numbers do not fit the shape.

    >>> import lucid
    >>> lucid.nn.functional.pad(lucid.ones(2), (1, 2))
    tensor([0., 1., 1., 0., 0.])
    >>> lucid.nn.functional.pad(lucid.arange(3.0).reshape(1, 3), (2, 1), "reflect").tolist()
    [[2.0, 1.0, 0.0, 1.0, 2.0, 1.0]]
    """
    if mode == "constant":
        return padding.pad(input, pad, mode, value)
    if mode not in MODES:
        raise NotImplementedError(f"pad: mode {mode!r} is none of 'constant', {MODES}")
    if value:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    given = [int(n) for n in pad]
    rank = len(given) // 2
    if len(given) % 2 or not 1 <= rank <= 3 or input.ndim not in (rank + 1, rank + 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads the last 1, 2 or 3 dimensions of a tensor with one or two "
            f"more, got {tuple(given)} for shape {tuple(input.shape)}"
        )
    if mode == "circular" and min(given) < 0:  # what is cut off is not repeated
        input = padding.pad(input, [min(n, 0) for n in given])
        given = [max(n, 0) for n in given]
    before, after = [0] * input.ndim, [0] * input.ndim
    for k in range(rank):
        d = input.ndim - 1 - k
        a, b, n = given[2 * k], given[2 * k + 1], input.shape[d]
        most = {"reflect": n - 1, "circular": n, "replicate": None}[mode]
        if (most is not None and max(a, b) > most) or n + a + b < 1 or n < 1:
            raise RuntimeError(
                f"pad: ({a}, {b}) does not fit dimension {d} of size {n} of shape "
                f"{tuple(input.shape)} in mode {mode!r}"
            )
        before[d], after[d] = a, b
    return pad_mapped(input, tuple(before), tuple(after), mode)


def pad_any(x: Any, sides: Sequence[tuple[int, int]], mode: str) -> Any:
    """x with its last dimensions padded by (before, after) each, in order; zeros or repeated."""
    lead = x.ndim - len(sides)
    before = (0,) * lead + tuple(a for a, _ in sides)
    after = (0,) * lead + tuple(b for _, b in sides)
    if mode == "zeros":
        return pad_constant(x, 0, before, after)
    return pad(x, [n for side in reversed(sides) for n in side], mode)
