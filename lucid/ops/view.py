"""Views: other indices for the same elements. Methods built of them: ops/shape.py.

A view of a tensor in memory costs no kernel; inside a fused kernel it is an index expression.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from lucid.dtypes import bool_, int64
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.layout import reshape_strides
from lucid.op import Pointwise, Reduction, View


class permute(View):
    """permute(x, dims): dimension d of the result is dimension dims[d] of x."""

    def shape(shape, *, dims):
        return tuple(shape[d] for d in dims)

    def strides(shape, strides, offset, *, dims):
        return tuple(strides[d] for d in dims), offset

    def pull(shape, index, *, dims):
        inner: list = [None] * len(dims)
        for place, d in enumerate(dims):
            inner[d] = index[place]
        return inner

    def vjp_x(g, dims):
        return permute(g, tuple(int(i) for i in np.argsort(dims)))

    def axis_map(call):
        (dims,) = call.params
        return call.run(call.inputs, ((0, *(d + 1 for d in dims)),))


class expand(View):
    """expand(x, size): dimensions of size 1, and new ones in front, repeat without a copy."""

    def shape(shape, *, size):
        return size

    def strides(shape, strides, offset, *, size):
        new = len(size) - len(shape)
        kept = (s if n == m else 0 for n, m, s in zip(shape, size[new:], strides, strict=True))
        return (*([0] * new), *kept), offset

    def pull(shape, index, *, size):
        aligned = index[len(index) - len(shape) :]
        return [expr.ZERO if n == 1 else i for n, i in zip(shape, aligned, strict=True)]

    def vjp_x(g):
        return g  # backward sums it to the input's shape

    def axis_map(call):
        (size,) = call.params
        return call.run(call.aligned(len(size)), ((call.size, *size),))


class reshape(View):
    """reshape(x, size): the elements in row-major order, in another shape."""

    numbered, sized = (), ("size",)

    def shape(shape, *, size):
        return size

    def strides(shape, strides, offset, *, size):
        found = reshape_strides(_Bare(shape, strides), size)
        return None if found is None else (found, offset)

    def pull(shape, index, *, size):
        return _unravel_by_parts(shape, size, index)

    def vjp_x(g, x_meta):
        return reshape(g, x_meta.shape)


class _Bare:
    """Shape and strides as reshape_strides reads them."""

    def __init__(self, shape: Sequence[int], strides: Sequence[int]):
        self.shape, self.strides, self.numel = shape, strides, prod(shape)


def _unravel_by_parts(
    shape: Sequence[int], size: Sequence[int], index: Sequence[Expr]
) -> list[Expr]:
    """Indices of `shape` for an index of `size`, cut where both have the same prefix product."""
    if 0 in shape:  # there is no element
        return [expr.ZERO] * len(shape)
    inner: list[Expr] = []
    i = j = 0
    while i < len(shape) or j < len(size):
        first, second = i, j
        a = b = 1
        while True:
            if a <= b and i < len(shape) and not (a == b and i > first):
                a *= shape[i]
                i += 1
            elif b < a and j < len(size):
                b *= size[j]
                j += 1
            else:
                break
        # Sizes 1 at the end of the part belong to it.
        while a == b and j < len(size) and size[j] == 1:
            j += 1
        inner.extend(_unravel(shape[first:i], size[second:j], index[second:j]))
    return inner


def _unravel(shape: Sequence[int], size: Sequence[int], index: Sequence[Expr]) -> list[Expr]:
    big = [d for d, n in enumerate(shape) if n != 1]
    moving = [d for d, n in enumerate(size) if n != 1]
    result = [expr.ZERO] * len(shape)
    if not big or not moving:
        return result
    linear = index[moving[0]]
    for d in moving[1:]:
        linear = linear * expr.size(size[d]) + index[d]
    for d in reversed(big[1:]):
        n = expr.size(shape[d])
        result[d] = expr.binary("irem", linear, n)
        linear = expr.binary("idiv", linear, n)
    result[big[0]] = linear
    return result


class subscript(View):
    """x[start::step, ...] with given lengths; dimensions in `drop` have length 1 and vanish."""

    public = False

    def shape(shape, *, starts, steps, lengths, drop):
        return tuple(n for d, n in enumerate(lengths) if d not in drop)

    def strides(shape, strides, offset, *, starts, steps, lengths, drop):
        at = offset + sum(a * s for a, s in zip(starts, strides, strict=True))
        new = (k * s for k, s in zip(steps, strides, strict=True))
        return tuple(s for d, s in enumerate(new) if d not in drop), at

    def pull(shape, index, *, starts, steps, lengths, drop):
        rest = iter(index)
        inner = []
        for d, (start, step) in enumerate(zip(starts, steps, strict=True)):
            i = expr.ZERO if d in drop else next(rest)
            i = i if step == 1 else i * expr.size(step)
            inner.append(i if start == 0 else i + expr.size(start))
        return inner

    def kept(shape, params):
        starts, *others = params
        return tuple(others), {"at": place_in(shape, starts)}

    def vjp_x(g, at, x_meta, steps, lengths, drop):
        return subscript_back(g, at, x_meta.shape, steps, lengths, drop)

    def axis_map(call):
        starts, *others = call.params
        return call.run(call.inputs, ((0, *starts), *_with_batch(call.size, *others)))


def place_in(shape: Sequence[int], starts: Sequence[int]) -> int:
    """The number of an element, row-major."""
    at = 0
    for n, start in zip(shape, starts, strict=True):
        at = at * max(n, 1) + start
    return at


def _starts(at: Expr, shape: Sequence[int]) -> list[Expr]:
    """The indices of the element of that number."""
    found: list[Expr] = []
    for d, n in enumerate(shape):
        behind = prod(shape[d + 1 :])
        start = at if behind <= 1 else expr.binary("idiv", at, expr.size(behind))
        found.append(expr.binary("irem", start, expr.size(n)) if d else start)
    return found


def _with_batch(n: int, steps: tuple, lengths: tuple, drop: tuple) -> tuple:
    """The parameters of a subscript that takes a first dimension of size n whole: the element of
    number `at` is the first one of the batch."""
    return (1, *steps), (n, *lengths), tuple(d + 1 for d in drop)


class subscript_back(Pointwise):
    """Zeros of the given shape with g where `subscript` reads: its transpose. `at` is the number of
    the first element that is read, a run-time value: x[i] makes one plan for all i."""

    public = False

    def names(g, at, *, size, steps, lengths, drop):
        pass

    def infer(types, params):
        return [(params[0], types[0][1])]

    def element(types, index, loads, size, steps, lengths, drop):
        inside = expr.const(True, bool_)
        starts = _starts(expr.cast(loads[1](()), int64), size)
        inner: list[Expr] = []
        for d, i in enumerate(index):
            step, length = steps[d], lengths[d]
            at = i
            if length != size[d] or step != 1:
                at = i - starts[d]
                if step < 0:
                    at, step = -at, -step
                if step > 1:
                    whole = expr.quotient(at, step)
                    inside = inside & (whole * step).eq(at)
                    at = whole
                fits = (at >= 0) & (at < expr.size(length))
                inside = inside & fits
                at = expr.where(fits, at, expr.ZERO)
            if d not in drop:
                inner.append(at)
        value = loads[0](inner)
        return expr.where(inside, value, expr.zero(value))

    def vjp_g(g, at, steps, lengths, drop):
        return subscript_at(g, at, steps, lengths, drop)

    def axis_map(call):
        size, *places = call.params
        return call.run(call.inputs, ((call.size, *size), *_with_batch(call.size, *places)))


class subscript_at(Pointwise):
    """A copy of what `subscript` reads from the element of number `at` on."""

    public = False

    def names(x, at, *, steps, lengths, drop):
        pass

    def infer(types, params):
        _, lengths, drop = params
        return [(tuple(n for d, n in enumerate(lengths) if d not in drop), types[0][1])]

    def element(types, index, loads, steps, lengths, drop):
        rest = iter(index)
        inner = []
        for d, start in enumerate(_starts(expr.cast(loads[1](()), int64), types[0][0])):
            inner.append(start if d in drop else start + next(rest) * steps[d])
        return loads[0](inner)

    def vjp_x(g, at, x_meta, steps, lengths, drop):
        return subscript_back(g, at, x_meta.shape, steps, lengths, drop)

    def axis_map(call):
        return call.run(call.inputs, _with_batch(call.size, *call.params))


class flip(View):
    """flip(x, dims): the order of those dimensions reversed."""

    public = False
    numbered = ("dims",)

    def shape(shape, *, dims):
        return shape

    def strides(shape, strides, offset, *, dims):
        at = offset + sum((shape[d] - 1) * strides[d] for d in dims if shape[d])
        return tuple(-s if d in dims else s for d, s in enumerate(strides)), at

    def pull(shape, index, *, dims):
        return [expr.size(shape[d] - 1) - i if d in dims else i for d, i in enumerate(index)]

    def vjp_x(g, dims):
        return flip(g, dims)


class diagonal(View):
    """diagonal(x, offset, dim1, dim2): the diagonal of two dimensions, as a last dimension."""

    public = False
    numbered = ("dim1", "dim2")

    def shape(shape, *, offset, dim1, dim2):
        rest = tuple(n for d, n in enumerate(shape) if d not in (dim1, dim2))
        rows, columns = shape[dim1] + min(offset, 0), shape[dim2] - max(offset, 0)
        return (*rest, max(min(rows, columns), 0))

    def strides(shape, strides, at, *, offset, dim1, dim2):
        rest = tuple(s for d, s in enumerate(strides) if d not in (dim1, dim2))
        at += max(offset, 0) * strides[dim2] - min(offset, 0) * strides[dim1]
        return (*rest, strides[dim1] + strides[dim2]), at

    def pull(shape, index, *, offset, dim1, dim2):
        rest, last = iter(index[:-1]), index[-1]
        row, column = last, last
        if offset > 0:
            column = last + expr.size(offset)
        elif offset < 0:
            row = last + expr.size(-offset)
        return [
            row if d == dim1 else column if d == dim2 else next(rest) for d in range(len(shape))
        ]

    def vjp_x(g, x_meta, offset, dim1, dim2):
        return diagonal_back(g, x_meta.shape, offset, dim1, dim2)


class diagonal_back(Pointwise):
    """Zeros of the given shape with g on the diagonal: the transpose of `diagonal`."""

    public = False
    numbered, sized = ("dim1", "dim2"), ("size",)

    def names(g, *, size, offset, dim1, dim2):
        pass

    def infer(types, params):
        return [(params[0], types[0][1])]

    def element(types, index, loads, size, offset, dim1, dim2):
        row, column = index[dim1], index[dim2]
        on = (column - row).eq(expr.size(offset) if offset >= 0 else expr.const(offset, int64))
        place = row if offset >= 0 else column
        rest = [i for d, i in enumerate(index) if d not in (dim1, dim2)]
        length = diagonal.shape(size, offset=offset, dim1=dim1, dim2=dim2)[-1]
        safe = expr.where(on & (place < expr.size(length)), place, expr.ZERO)
        value = loads[0]([*rest, safe])
        return expr.where(on, value, expr.zero(value))

    def vjp_g(g, offset, dim1, dim2):
        return diagonal(g, offset, dim1, dim2)


class unfold(View):
    """unfold(x, dim, size, step): windows along a dimension, their elements in a new last one."""

    public = False
    numbered = ("dim",)

    def shape(shape, *, dim, size, step):
        count = (shape[dim] - size) // step + 1
        return (*(count if d == dim else n for d, n in enumerate(shape)), size)

    def strides(shape, strides, offset, *, dim, size, step):
        return (*(s * step if d == dim else s for d, s in enumerate(strides)), strides[dim]), offset

    def pull(shape, index, *, dim, size, step):
        return [
            i * expr.size(step) + index[-1] if d == dim else i for d, i in enumerate(index[:-1])
        ]

    def vjp_x(g, x_meta, dim, size, step):
        return unfold_back(g, x_meta.shape[dim], dim, size, step)


class unfold_back(Reduction):
    """The sum of g over the windows that cover an element: the transpose of `unfold`."""

    public = False
    numbered = ("dim",)
    static_window = True

    def names(g, *, n, dim, size, step):
        pass

    def domain(types, params):
        n, dim, size, step = params
        lead = [n if d == dim else m for d, m in enumerate(types[0][0][:-1])]
        return (*lead, -(-size // step)), (len(lead),)

    def monoid(types, params):
        return loops.sum_of(types[0][1].compute)

    def infer(types, params):
        n, dim, _, _ = params
        return [(tuple(n if d == dim else m for d, m in enumerate(types[0][0][:-1])), types[0][1])]

    def element(types, params, index, loads):
        _, dim, size, step = params
        count = types[0][0][dim]
        window = expr.quotient(index[dim], step) - index[-1]
        offset = index[dim] - window * step
        good = (window >= 0) & (window < expr.size(count)) & (offset < expr.size(size))
        window = expr.where(good, window, expr.ZERO)
        offset = expr.where(good, offset, expr.ZERO)
        g = loads[0]([*(window if d == dim else i for d, i in enumerate(index[:-1])), offset])
        return (expr.where(good, g, expr.zero(g)),)

    def vjp_g(g, dim, size, step):
        return unfold(g, dim, size, step)


def with_batch(v, dim: int):
    """For axis maps: the batch, dimension 0 of v, and dimension `dim` of its elements as one."""
    if dim:
        v = permute(v, (*range(1, dim + 1), 0, *range(dim + 1, len(v.shape))))
    return reshape(v, (*v.shape[:dim], v.shape[dim] * v.shape[dim + 1], *v.shape[dim + 2 :]))


def without_batch(y, n: int, dim: int):
    """What `with_batch` has joined apart again: n elements in front."""
    size = (*y.shape[:dim], n, y.shape[dim] // max(n, 1), *y.shape[dim + 1 :])
    y = reshape(y, size)
    return permute(y, (dim, *(d for d in range(len(size)) if d != dim))) if dim else y
