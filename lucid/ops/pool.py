"""Pooling over windows of the last two dimensions: folds, forward and backward alike.

The backward of a pool gathers: each input element folds the few windows that cover it, so it runs
in parallel and adds up in one order.
"""

from collections.abc import Sequence
from typing import Any

from lucid.autograd.mode import is_grad_enabled
from lucid.dtypes import bool_, int64
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.op import Pointwise, Reduction
from lucid.ops.elementwise import div, mul
from lucid.ops.gather import gather_
from lucid.ops.view import reshape


def pair(name: str, value: Any) -> tuple[int, int]:
    """One number for both dimensions, or two."""
    if isinstance(value, int):
        return (value, value)
    value = tuple(int(v) for v in value)
    if len(value) == 1:
        return (value[0], value[0])
    if len(value) != 2:
        raise ValueError(f"{name}: one or two numbers expected, got {value}")
    return value


def pooled_size(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """Windows along a dimension; with ceil_mode one that starts inside may hang over."""
    span = n + 2 * p - d * (k - 1) - 1
    size = (span + s - 1) // s + 1 if ceil_mode else span // s + 1
    if ceil_mode and (size - 1) * s >= n + p:
        size -= 1
    return size


def _inside(at: Expr, n: int) -> tuple[Expr, Expr]:
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
        return (*types[0][0][:-2], *size, *kernel), _last_two(types[0][0])

    @classmethod
    def monoid(cls, types, params):
        return loops.sum_of(types[0][1].compute)

    @classmethod
    def infer(cls, types, params):
        return [((*types[0][0][:-2], *params[4]), types[0][1])]

    @classmethod
    def place(cls, types, params, index) -> tuple[Expr, list[Expr]]:
        """Whether the window's element lies in the input, and its subscripts."""
        _, stride, padding, dilation, _ = params
        shape = types[0][0]
        lead = len(shape) - 2
        good = expr.const(True, bool_)
        inner = list(index[:lead])
        for d in range(2):
            at = index[lead + d] * stride[d] + index[lead + 2 + d] * dilation[d] - padding[d]
            fits, at = _inside(at, shape[lead + d])
            good = good & fits
            inner.append(at)
        return good, inner


def _last_two(shape: Sequence[int]) -> tuple[int, int]:
    n = len(shape)
    return (n, n + 1)


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
    """The largest of each window, and its place in the flattened last two dimensions."""

    count = 2

    @classmethod
    def monoid(cls, types, params):
        return loops.extremum_with_index(types[0][1].compute, True)

    @classmethod
    def infer(cls, types, params):
        size = (*types[0][0][:-2], *params[4])
        return [(size, types[0][1]), (size, int64)]

    @classmethod
    def element(cls, types, params, index, loads):
        good, inner = cls.place(types, params, index)
        x = loads[0](inner)
        at = inner[-2] * expr.size(types[0][0][-1]) + inner[-1]
        return expr.where(good, x, loops.lowest(x.dtype)), expr.where(good, at, -1)

    @classmethod
    def finish(cls, types, params, states):
        return [states[0], states[1]]

    def vjp_x(g, y1, x_meta, kernel, stride, padding, dilation):
        return max_windows_back(g, y1, tuple(x_meta.shape[-2:]), kernel, stride, padding, dilation)


class Covering(Reduction, abstract=True):
    """A fold over the windows that cover an element of the input."""

    public = False
    numbered = ()
    static_window = True

    @classmethod
    def counts(cls, params) -> tuple[int, int]:
        _, kernel, stride, _, dilation = params[:5]
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        a, b = (-(-n // s) for n, s in zip(spans, stride, strict=True))
        return a, b

    @classmethod
    def domain(cls, types, params):
        shape = types[0][0]
        return (*shape[:-2], *params[0], *cls.counts(params)), _last_two(shape)

    @classmethod
    def monoid(cls, types, params):
        return loops.sum_of(types[0][1].compute)

    @classmethod
    def infer(cls, types, params):
        return [((*types[0][0][:-2], *params[0]), types[0][1])]

    @classmethod
    def window(cls, types, params, index) -> tuple[Expr, list[Expr]]:
        """Whether a window is there and covers the element, and its subscripts."""
        _, kernel, stride, padding, dilation = params[:5]
        shape = types[0][0]
        lead = len(shape) - 2
        good = expr.const(True, bool_)
        inner = list(index[:lead])
        for d in range(2):
            reach = index[lead + d] + padding[d]
            at = expr.quotient(reach, stride[d]) - index[lead + 2 + d]
            fits, at = _inside(at, shape[lead + d])
            offset = reach - at * stride[d]
            covered = fits & (offset < (kernel[d] - 1) * dilation[d] + 1)
            if dilation[d] != 1:
                covered = covered & (expr.quotient(offset, dilation[d]) * dilation[d]).eq(offset)
            good = good & covered
            inner.append(at)
        return good, inner


class max_windows_back(Covering):
    """g of each window whose largest element this is."""

    def names(g, places, *, size, kernel, stride, padding, dilation):
        pass

    @classmethod
    def element(cls, types, params, index, loads):
        good, inner = cls.window(types, params, index)
        lead = len(types[0][0]) - 2
        own = index[lead] * expr.size(params[0][1]) + index[lead + 1]
        g = loads[0](inner)
        return (expr.where(good & loads[1](inner).eq(own), g, expr.zero(g)),)

    def vjp_g(g, g_meta, places):
        lead = tuple(g.shape[:-2])
        flat = reshape(g, (*lead, g.shape[-2] * g.shape[-1]))
        spots = reshape(places, (*lead, g_meta.shape[-2] * g_meta.shape[-1]))
        return reshape(gather_(flat, spots, len(lead)), tuple(g_meta.shape))


class sum_windows(Windows):
    """The sum of each window; elements outside of the input count as 0."""

    @classmethod
    def element(cls, types, params, index, loads):
        good, inner = cls.place(types, params, index)
        x = loads[0](inner)
        return (expr.where(good, x, expr.zero(x)),)

    def vjp_x(g, x_meta, kernel, stride, padding, dilation):
        return sum_windows_back(g, tuple(x_meta.shape[-2:]), kernel, stride, padding, dilation)


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
        return sum_windows(g, kernel, stride, padding, dilation, tuple(g_meta.shape[-2:]))


class window_counts(Pointwise):
    """How many elements each window averages over, (OH, OW)."""

    public = False

    def names(*, size, shape, kernel, stride, padding, whole, kind):
        pass

    def infer(types, params):
        return [(params[0], params[6])]

    def element(types, index, loads, size, shape, kernel, stride, padding, whole, kind):
        total = None
        for d in range(2):
            start = index[d] * expr.size(stride[d]) - expr.size(padding[d])
            # Padding may count (whole), but not what hangs over it.
            high = expr.size(shape[d] + padding[d] if whole else shape[d])
            low = expr.const(0, int64) - expr.size(padding[d] if whole else 0)
            end = start + expr.size(kernel[d])
            end = expr.where(end > high, high, end)
            start = expr.where(start < low, low, start)
            total = end - start if total is None else total * (end - start)
        return expr.cast(total, kind)


def _four(name: str, x: Any) -> tuple[Any, bool]:
    """(N, C, H, W), and whether the batch dimension was missing."""
    if x.ndim not in (3, 4):
        raise RuntimeError(f"{name}: x must be (N, C, H, W) or (C, H, W), got {tuple(x.shape)}")
    return (reshape(x, (1, *x.shape)), True) if x.ndim == 3 else (x, False)


def _window(name: str, x: Any, kernel, stride, padding, dilation, ceil_mode: bool) -> tuple:
    kernel = pair(name, kernel)
    stride = kernel if stride is None or stride == [] else pair(name, stride)
    padding, dilation = pair(name, padding), pair(name, dilation)
    for k, p, s, d in zip(kernel, padding, stride, dilation, strict=True):
        if k < 1 or s < 1 or d < 1 or p < 0:
            raise RuntimeError(f"{name}: kernel {kernel}, stride {stride}, padding {padding}")
        if p > k // 2:
            raise RuntimeError(f"{name}: padding {p} is more than half of the kernel size {k}")
    size = tuple(
        pooled_size(n, k, s, p, d, ceil_mode)
        for n, k, s, p, d in zip(x.shape[-2:], kernel, stride, padding, dilation, strict=True)
    )
    if any(n < 1 for n in size):
        raise RuntimeError(f"{name}: a window of {kernel} does not fit into {tuple(x.shape)}")
    return kernel, stride, padding, dilation, size


def max_pool2d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False,
    return_indices: bool = False,
):  # fmt: skip
    """The largest of each window of (N, C, H, W); equal elements: the first gets the gradient.

    >>> import lucid
    >>> lucid.nn.functional.max_pool2d(lucid.arange(4.0).reshape(1, 1, 2, 2), 2)
    tensor([[[[3.]]]])
    """
    input, single = _four("max_pool2d", input)
    params = _window("max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode)
    if return_indices or (input._requires_grad and is_grad_enabled()):
        y, places = max_windows_located(input, *params)
    else:
        y, places = max_windows(input, *params), None
    if single:
        y = reshape(y, tuple(y.shape[1:]))
        places = None if places is None else reshape(places, tuple(y.shape))
    return (y, places) if return_indices else y


def avg_pool2d(
    input, kernel_size, stride=None, padding=0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
):  # fmt: skip
    """The mean of each window of (N, C, H, W); padding counts as zeros unless told otherwise.

    >>> import lucid
    >>> lucid.nn.functional.avg_pool2d(lucid.arange(4.0).reshape(1, 1, 2, 2), 2)
    tensor([[[[1.5000]]]])
    """
    input, single = _four("avg_pool2d", input)
    params = _window("avg_pool2d", input, kernel_size, stride, padding, 1, ceil_mode)
    kernel, stride, padding, _, size = params
    total = sum_windows(input, *params)
    if divisor_override is not None:
        if divisor_override == 0:
            raise RuntimeError("avg_pool2d: divisor_override must not be 0")
        y = mul(total, 1.0 / divisor_override)
    elif (count_include_pad or padding == (0, 0)) and not ceil_mode:
        y = mul(total, 1.0 / (kernel[0] * kernel[1]))
    else:
        shape = tuple(input.shape[-2:])
        counts = window_counts(
            size, shape, kernel, stride, padding, bool(count_include_pad), input.dtype.compute
        )
        y = div(total, counts.to(input.dtype))
    return reshape(y, tuple(y.shape[1:])) if single else y


# Adaptive windows: window o covers floor(o n / m) .. ceil((o + 1) n / m)


class Adaptive(Reduction, abstract=True):
    """A sum of what lies beside each element of an output of `size`.

    place(o, i, n, m): whether there is an i-th of n elements beside the o-th of m, and where.
    """

    public = False
    numbered = ()
    static_window = True

    @classmethod
    def domain(cls, types, params):
        shape, size = types[0][0], params[0]
        most = tuple(_most(n, m) for n, m in zip(shape[-2:], size, strict=True))
        return (*shape[:-2], *size, *most), _last_two(shape)

    @classmethod
    def monoid(cls, types, params):
        return loops.sum_of(types[0][1].compute)

    @classmethod
    def infer(cls, types, params):
        return [((*types[0][0][:-2], *params[0]), types[0][1])]

    @classmethod
    def element(cls, types, params, index, loads):
        shape, size = types[0][0], params[0]
        lead = len(shape) - 2
        good, inner = expr.const(True, bool_), list(index[:lead])
        for d in range(2):
            fits, at = cls.place(index[lead + d], index[lead + 2 + d], shape[lead + d], size[d])
            good = good & fits
            inner.append(at)
        x = loads[0](inner)
        return (expr.where(good, x, expr.zero(x)),)


class adaptive_sum(Adaptive):
    """The sum of each adaptive window."""

    def names(x, *, size):
        pass

    def place(o, i, n, m):
        start, end = _bounds(o, n, m)
        at = start + i
        fits = at < end
        return fits, expr.where(fits, at, expr.ZERO)

    def vjp_x(g, x_meta, size):
        return adaptive_sum_back(g, tuple(x_meta.shape[-2:]))


def _most(n: int, m: int) -> int:
    """The most elements of n that lie beside one of m."""
    return max((-(-(o + 1) * n // m) - o * n // m for o in range(m)), default=1)


def _bounds(o: Expr, n: int, m: int) -> tuple[Expr, Expr]:
    size, count = expr.size(n), expr.size(m)
    start = expr.binary("idiv", o * size, count)
    end = expr.binary("idiv", (o + 1) * size + (count - 1), count)
    return start, end


class adaptive_sum_back(Adaptive):
    """The sum of g over the adaptive windows that cover an element."""

    def names(g, *, size):
        pass

    def place(o, i, n, m):
        first = expr.binary("idiv", o * expr.size(n), expr.size(m))
        fits, at = _inside(first + i, n)
        start, end = _bounds(at, m, n)
        return fits & (start <= o) & (o < end), at

    def vjp_g(g, g_meta):
        return adaptive_sum(g, tuple(g_meta.shape[-2:]))


class adaptive_counts(Pointwise):
    """The sizes of the adaptive windows, (OH, OW)."""

    public = False

    def names(*, size, shape, kind):
        pass

    def infer(types, params):
        return [(params[0], params[2])]

    def element(types, index, loads, size, shape, kind):
        total = None
        for d in range(2):
            start, end = _bounds(index[d], shape[d], size[d])
            total = end - start if total is None else total * (end - start)
        return expr.cast(total, kind)


def adaptive_avg_pool2d(input, output_size):
    """The mean of OH x OW windows that cover (N, C, H, W) evenly; None keeps a size.

    >>> import lucid
    >>> lucid.nn.functional.adaptive_avg_pool2d(lucid.ones(1, 2, 7, 5), 1).shape
    lucid.Size([1, 2, 1, 1])
    """
    input, single = _four("adaptive_avg_pool2d", input)
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
    size = tuple(n if m is None else int(m) for n, m in zip(input.shape[-2:], given, strict=True))
    shape = tuple(input.shape[-2:])
    if any(m < 1 for m in size) or any(n < 1 for n in shape):
        raise RuntimeError(f"adaptive_avg_pool2d: from {shape} to {size}")
    if size == (1, 1):
        y = input.mean((2, 3), True)
    elif all(n % m == 0 for n, m in zip(shape, size, strict=True)):
        return avg_pool2d(input, tuple(n // m for n, m in zip(shape, size, strict=True)))
    else:
        y = div(
            adaptive_sum(input, size),
            adaptive_counts(size, shape, input.dtype.compute).to(input.dtype),
        )
    return reshape(y, tuple(y.shape[1:])) if single else y
