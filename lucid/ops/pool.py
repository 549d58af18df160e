"""Pooling over windows of the last one to three dimensions: folds, forward and backward alike.

The backward of an average gathers: each input element folds the few windows that cover it, so it
runs in parallel and adds up in one order. That of a maximum goes from window to window. adaptive.py
has windows of uneven sizes, unpool.py the rest.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from lucid.autograd.mode import is_grad_enabled
from lucid.dtypes import FLOATING, bool_, int64
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Axis, Scan, Store
from lucid.layout import contiguous_strides
from lucid.op import Opaque, Pointwise, Reduction
from lucid.ops.elementwise import div, div_trunc, mul
from lucid.ops.gather import gather_, in_range
from lucid.ops.spatial import batched, flat, several, unbatched
from lucid.ops.view import reshape
from lucid.plan.copies import copy_step
from lucid.plan.nest import Nest, array_of, step
from lucid.plan.steps import Operand


def pooled_size(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """Windows along a dimension; with ceil_mode one that starts inside may hang over."""
    span = n + 2 * p - d * (k - 1) - 1
    size = (span + s - 1) // s + 1 if ceil_mode else span // s + 1
    if ceil_mode and (size - 1) * s >= n + p:
        size -= 1
    return size


def inside(at: Expr, n: int) -> tuple[Expr, Expr]:
    good = (at >= 0) & (at < expr.size(n))
    return good, expr.where(good, at, expr.ZERO)


class Windows(Reduction, abstract=True):
    """A fold over windows: statics kernel, stride, padding, dilation, size (of the output)."""

    public = False
    numbered = ()
    static_window = True

    def names(x, *, kernel, stride, padding, dilation, size):
        pass

    @classmethod
    def domain(cls, types, params):
        kernel, size = params[0], params[4]
        shape, rank = types[0][0], len(kernel)
        return (*shape[:-rank], *size, *kernel), trailing(shape, rank)

    @classmethod
    def monoid(cls, types, params):
        return loops.sum_of(types[0][1].compute)

    @classmethod
    def infer(cls, types, params):
        return [((*types[0][0][: -len(params[0])], *params[4]), types[0][1])]

    @classmethod
    def place(cls, types, params, index) -> tuple[Expr, list[Expr]]:
        """Whether the window's element lies in the input, and its subscripts."""
        _, stride, padding, dilation, _ = params
        shape, rank = types[0][0], len(stride)
        lead = len(shape) - rank
        good = expr.const(True, bool_)
        inner = list(index[:lead])
        for d in range(rank):
            at = index[lead + d] * stride[d] + index[lead + rank + d] * dilation[d] - padding[d]
            fits, at = inside(at, shape[lead + d])
            good = good & fits
            inner.append(at)
        return good, inner


def trailing(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    """The places of the folded axes, which follow those of the result."""
    return tuple(range(len(shape), len(shape) + rank))


def linear(inner: Sequence[Expr], shape: Sequence[int]) -> Expr:
    """The place of subscripts in the flattened dimensions of this shape."""
    at = inner[0]
    for i, n in zip(inner[1:], shape[1:], strict=True):
        at = at * expr.size(n) + i
    return at


class max_windows(Windows):
    """The largest of each window."""

    @classmethod
    def monoid(cls, types, params):
        return loops.maximum_of(types[0][1].compute)

    @classmethod
    def element(cls, types, params, index, loads):
        good, inner = cls.place(types, params, index)
        x = loads[0](inner)
        return (expr.where(good, x, loops.lowest(x.dtype)),)


class max_windows_located(Windows):
    """The largest of each window, and its place in the flattened spatial dimensions."""

    count = 2

    @classmethod
    def monoid(cls, types, params):
        return loops.extremum_with_index(types[0][1].compute, True)

    @classmethod
    def infer(cls, types, params):
        size = (*types[0][0][: -len(params[0])], *params[4])
        return [(size, types[0][1]), (size, int64)]

    @classmethod
    def element(cls, types, params, index, loads):
        good, inner = cls.place(types, params, index)
        x = loads[0](inner)
        rank = len(params[0])
        at = linear(inner[-rank:], types[0][0][-rank:])
        return expr.where(good, x, loops.lowest(x.dtype)), expr.where(good, at, -1)

    @classmethod
    def finish(cls, types, params, states):
        return [states[0], states[1]]

    def vjp_x(g, y1, x_meta, kernel):
        return max_windows_back(g, y1, tuple(x_meta.shape[-len(kernel) :]))


class Covering(Reduction, abstract=True):
    """A fold over the windows that cover an element of the input."""

    public = False
    numbered = ()
    static_window = True

    @classmethod
    def counts(cls, params) -> tuple[int, ...]:
        _, kernel, stride, _, dilation = params[:5]
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        return tuple(-(-n // s) for n, s in zip(spans, stride, strict=True))

    @classmethod
    def domain(cls, types, params):
        shape, rank = types[0][0], len(params[0])
        return (*shape[:-rank], *params[0], *cls.counts(params)), trailing(shape, rank)

    @classmethod
    def monoid(cls, types, params):
        return loops.sum_of(types[0][1].compute)

    @classmethod
    def infer(cls, types, params):
        return [((*types[0][0][: -len(params[0])], *params[0]), types[0][1])]

    @classmethod
    def window(cls, types, params, index) -> tuple[Expr, list[Expr]]:
        """Whether a window is there and covers the element, and its subscripts."""
        _, kernel, stride, padding, dilation = params[:5]
        shape, rank = types[0][0], len(kernel)
        lead = len(shape) - rank
        good = expr.const(True, bool_)
        inner = list(index[:lead])
        for d in range(rank):
            reach = index[lead + d] + padding[d]
            at = expr.quotient(reach, stride[d]) - index[lead + rank + d]
            fits, at = inside(at, shape[lead + d])
            offset = reach - at * stride[d]
            covered = fits & (offset < (kernel[d] - 1) * dilation[d] + 1)
            if dilation[d] != 1:
                covered = covered & (expr.quotient(offset, dilation[d]) * dilation[d]).eq(offset)
            good = good & covered
            inner.append(at)
        return good, inner


class max_windows_back(Opaque):
    """Zeros with g of each window added at the place of its largest element: one window after
    another, in parallel over all other dimensions."""

    public = False
    numbered = ()

    def names(g, places, *, size):
        pass

    @classmethod
    def infer(cls, types, params):
        return [((*types[0][0][: -len(params[0])], *params[0]), types[0][1])]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        g, places = inputs
        y = outputs[0]
        if 0 in y.shape:
            return []
        into, kind = y, y.dtype.compute
        if y.dtype is not kind or y.strides != contiguous_strides(y.shape):
            into = context.temporary(y.shape, kind)
        rank = len(params[0])
        shape = (*y.shape[:-rank], prod(y.shape[-rank:]))
        flat = Operand(into.value, shape, contiguous_strides(shape), kind, into.offset)
        axes = [f"i{d}" for d in range(len(g.shape))]
        at = [expr.index(a) for a in axes]
        place = in_range(expr.load("x1", at, places.dtype), shape[-1])
        target = (*at[:-rank], place)
        value = expr.load("y0", target, kind) + expr.cast(expr.load("x0", at, g.dtype), kind)
        windows = tuple(Axis(a, expr.ZERO) for a in axes[-rank:])
        scan = Scan(0, windows, (), (), (Store("y0", target, value),))
        operands = {"y0": flat, "x0": g, "x1": places}
        arrays = {n: array_of(n, x, "in" if n[0] == "x" else "inout") for n, x in operands.items()}
        extents = dict(zip(axes, g.shape, strict=True))
        nest = Nest("max_windows_back", arrays, extents, axes[:-rank], axes[-rank:], [scan], [])
        steps = [copy_step(None, into)]
        if 0 not in g.shape:
            steps.append(step(nest, "none", operands))
        return steps if into is y else [*steps, copy_step(into, y)]

    def vjp_g(g, g_meta, places, size):
        return taken(g, places, len(size))


def taken(x: Any, places: Any, rank: int) -> Any:
    """x at places in its flattened last `rank` dimensions."""
    spots = flat(places, rank)
    return reshape(gather_(flat(x, rank), spots, x.ndim - rank), tuple(places.shape))


class sum_windows(Windows):
    """The sum of each window; elements outside of the input count as 0."""

    @classmethod
    def element(cls, types, params, index, loads):
        good, inner = cls.place(types, params, index)
        x = loads[0](inner)
        return (expr.where(good, x, expr.zero(x)),)

    def vjp_x(g, x_meta, kernel, stride, padding, dilation):
        size = tuple(x_meta.shape[-len(kernel) :])
        return sum_windows_back(g, size, kernel, stride, padding, dilation)


class sum_windows_back(Covering):
    """The sum of g over the windows that cover an element: the transpose of sum_windows."""

    def names(g, *, size, kernel, stride, padding, dilation):
        pass

    @classmethod
    def element(cls, types, params, index, loads):
        good, inner = cls.window(types, params, index)
        g = loads[0](inner)
        return (expr.where(good, g, expr.zero(g)),)

    def vjp_g(g, g_meta, kernel, stride, padding, dilation):
        size = tuple(g_meta.shape[-len(kernel) :])
        return sum_windows(g, kernel, stride, padding, dilation, size)


class window_counts(Pointwise):
    """How many elements each window averages over, for one channel."""

    public = False

    def names(*, size, shape, kernel, stride, padding, whole, kind):
        pass

    def infer(types, params):
        return [(params[0], params[6])]

    def element(types, index, loads, size, shape, kernel, stride, padding, whole, kind):
        total = None
        for d in range(len(size)):
            start = index[d] * expr.size(stride[d]) - expr.size(padding[d])
            # Padding may count (whole), but not what hangs over it.
            high = expr.size(shape[d] + padding[d] if whole else shape[d])
            low = expr.const(0, int64) - expr.size(padding[d] if whole else 0)
            end = start + expr.size(kernel[d])
            end = expr.where(end > high, high, end)
            start = expr.where(start < low, low, start)
            total = end - start if total is None else total * (end - start)
        return expr.cast(total, kind)


def window(name: str, x: Any, rank: int, kernel, stride, padding, dilation, ceil: bool) -> tuple:
    """The statics of `Windows` from what the caller gave."""
    kernel = several(name, kernel, rank)
    stride = kernel if stride is None or stride in ([], ()) else several(name, stride, rank)
    padding, dilation = several(name, padding, rank), several(name, dilation, rank)
    for k, p, s, d in zip(kernel, padding, stride, dilation, strict=True):
        if k < 1 or s < 1 or d < 1 or p < 0:
            raise RuntimeError(f"{name}: kernel {kernel}, stride {stride}, padding {padding}")
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(f"{name}: padding {p} is more than half of the kernel size {k}")
    size = tuple(
        pooled_size(n, k, s, p, d, ceil)
        for n, k, s, p, d in zip(x.shape[-rank:], kernel, stride, padding, dilation, strict=True)
    )
    if any(n < 1 for n in size):
        raise RuntimeError(f"{name}: a window of {kernel} does not fit into {tuple(x.shape)}")
    return kernel, stride, padding, dilation, size


def _max_pool(rank: int, x, kernel, stride, padding, dilation, ceil_mode, return_indices):
    name = f"max_pool{rank}d"
    x, single = batched(name, x, rank)
    params = window(name, x, rank, kernel, stride, padding, dilation, ceil_mode)
    if return_indices or (x._requires_grad and is_grad_enabled()):
        y, places = max_windows_located(x, *params)
    else:
        y, places = max_windows(x, *params), None
    y = unbatched(y, single)
    return (y, unbatched(places, single)) if return_indices else y


def max_pool1d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False,
    return_indices: bool = False,
):  # fmt: skip
    """The largest of each window of (N, C, L); equal elements: the first gets the gradient.

    >>> import lucid
    >>> lucid.nn.functional.max_pool1d(lucid.arange(4.0).reshape(1, 1, 4), 2)
    tensor([[[1., 3.]]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False,
    return_indices: bool = False,
):  # fmt: skip
    """The largest of each window of (N, C, H, W); equal elements: the first gets the gradient.

    return_indices: also the places, int64, counted in the flattened H W of the input.

    >>> import lucid
    >>> lucid.nn.functional.max_pool2d(lucid.arange(4.0).reshape(1, 1, 2, 2), 2)
    tensor([[[[3.]]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False,
    return_indices: bool = False,
):  # fmt: skip
    """The largest of each window of (N, C, D, H, W); equal elements: the first gets the gradient.

    >>> import lucid
    >>> lucid.nn.functional.max_pool3d(lucid.arange(8.0).reshape(1, 2, 2, 2), 2).item()
    7.0
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(rank: int, x, kernel, stride, padding, ceil_mode, count_include_pad, divisor=None):
    name = f"avg_pool{rank}d"
    x, single = batched(name, x, rank)
    params = window(name, x, rank, kernel, stride, padding, 1, ceil_mode)
    kernel, stride, padding, _, size = params
    total = sum_windows(x, *params)
    if divisor is not None:
        if divisor == 0:
            raise RuntimeError(f"{name}: divisor_override must not be 0")
        y = _over(total, divisor)
    elif (count_include_pad or not any(padding)) and not ceil_mode:
        y = _over(total, prod(kernel))
    else:
        shape = tuple(x.shape[-rank:])
        counts = window_counts(
            size, shape, kernel, stride, padding, bool(count_include_pad), x.dtype.compute
        )
        y = _over(total, counts.to(x.dtype))
    return unbatched(y, single)


def _over(total: Any, count: Any) -> Any:
    """total / count; for integers without what is behind the point."""
    if total.dtype.category != FLOATING:
        return div_trunc(total, count)
    return mul(total, 1.0 / count) if isinstance(count, (int, float)) else div(total, count)


def avg_pool1d(
    input, kernel_size, stride=None, padding=0, ceil_mode: bool = False,
    count_include_pad: bool = True,
):  # fmt: skip
    """The mean of each window of (N, C, L); padding counts as zeros unless told otherwise.

    >>> import lucid
    >>> lucid.nn.functional.avg_pool1d(lucid.arange(4.0).reshape(1, 1, 4), 2)
    tensor([[[0.5000, 2.5000]]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input, kernel_size, stride=None, padding=0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
):  # fmt: skip
    """The mean of each window of (N, C, H, W); padding counts as zeros unless told otherwise.

    >>> import lucid
    >>> lucid.nn.functional.avg_pool2d(lucid.arange(4.0).reshape(1, 1, 2, 2), 2)
    tensor([[[[1.5000]]]])
    """
    given = (stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(2, input, kernel_size, *given)


def avg_pool3d(
    input, kernel_size, stride=None, padding=0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
):  # fmt: skip
    """The mean of each window of (N, C, D, H, W); padding counts as zeros unless told otherwise.

    >>> import lucid
    >>> lucid.nn.functional.avg_pool3d(lucid.arange(8.0).reshape(1, 2, 2, 2), 2).item()
    3.5
    """
    given = (stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(3, input, kernel_size, *given)
