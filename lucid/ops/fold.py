"""Sliding windows as columns and back, and pixels moved between space and channels.

Called as functional.unfold, fold, pixel_shuffle, pixel_unshuffle, channel_shuffle.
"""

from math import prod
from typing import Any

from lucid.dtypes import bool_
from lucid.kernel import expr, loops
from lucid.op import Pointwise, Reduction
from lucid.ops.pool import inside
from lucid.ops.spatial import merged, several
from lucid.ops.view import permute, reshape


class unfold_windows(Pointwise):
    """(N, C, H, W) to (N, C, KH, KW, OH, OW): the elements of each window, 0 outside."""

    public = False
    axis_map = staticmethod(merged)

    def names(x, *, kernel, dilation, padding, stride, size):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        return [((*shape[:2], *params[0], *params[4]), kind)]

    def element(types, index, loads, kernel, dilation, padding, stride, size):
        good, inner = expr.const(True, bool_), list(index[:2])
        for d in range(2):
            at = index[4 + d] * stride[d] + index[2 + d] * dilation[d] - padding[d]
            fits, at = inside(at, types[0][0][2 + d])
            good = good & fits
            inner.append(at)
        x = loads[0](inner)
        return expr.where(good, x, expr.zero(x))

    def vjp_x(g, x_meta, kernel, dilation, padding, stride, size):
        shape = tuple(x_meta.shape[2:])
        return fold_windows(g, kernel, dilation, padding, stride, shape)


class fold_windows(Reduction):
    """The transpose of unfold_windows: (N, C, KH, KW, OH, OW) to (N, C, H, W), sums."""

    public = False
    static_window = True
    axis_map = staticmethod(merged)

    def names(g, *, kernel, dilation, padding, stride, size):
        pass

    def domain(types, params):
        kernel, _, _, _, size = params
        return (*types[0][0][:2], *size, *kernel), (4, 5)

    def monoid(types, params):
        return loops.sum_of(types[0][1].compute)

    def infer(types, params):
        return [((*types[0][0][:2], *params[4]), types[0][1])]

    def element(types, params, index, loads):
        kernel, dilation, padding, stride, _ = params
        good, places = expr.const(True, bool_), []
        for d in range(2):
            reach = index[2 + d] + padding[d] - index[4 + d] * dilation[d]
            at = expr.quotient(reach, stride[d])
            fits, inner = inside(at, types[0][0][4 + d])
            good = good & fits & (at * stride[d]).eq(reach)
            places.append(inner)
        g = loads[0]([*index[:2], *index[4:6], *places])
        return (expr.where(good, g, expr.zero(g)),)

    def vjp_g(g, g_meta, kernel, dilation, padding, stride):
        size = tuple(g_meta.shape[4:])
        return unfold_windows(g, kernel, dilation, padding, stride, size)


def _settings(name: str, shape, kernel, dilation, padding, stride) -> tuple:
    made = [
        several(f"{name}: {what}", value, 2)
        for what, value in (
            ("kernel_size", kernel), ("dilation", dilation), ("padding", padding),
            ("stride", stride),
        )
    ]  # fmt: skip
    kernel, dilation, padding, stride = made
    if min(*kernel, *dilation, *stride) < 1 or min(padding) < 0:
        raise RuntimeError(
            f"{name}: kernel {kernel}, dilation {dilation}, padding {padding}, stride {stride}"
        )
    size = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(shape, kernel, dilation, padding, stride, strict=True)
    )
    if min(size) < 1:
        raise RuntimeError(f"{name}: a window of {kernel} does not fit into {tuple(shape)}")
    return kernel, dilation, padding, stride, size


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Each window of (N, C, H, W) as a column: (N, C KH KW, L), L windows in row-major order.

    >>> import lucid
    >>> lucid.nn.functional.unfold(lucid.arange(4.0).reshape(1, 1, 2, 2), (1, 2)).tolist()
    [[[0.0, 2.0], [1.0, 3.0]]]
    """
    if input.ndim not in (3, 4):
        raise RuntimeError(
            f"unfold: x must be (N, C, H, W) or (C, H, W), got shape {tuple(input.shape)}"
        )
    x = input if input.ndim == 4 else reshape(input, (1, *input.shape))
    given = _settings("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    y = unfold_windows(x, *given)
    kernel, size = given[0], given[4]
    shape = (x.shape[1] * prod(kernel), prod(size))
    return reshape(y, shape if input.ndim == 3 else (x.shape[0], *shape))


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """The transpose of unfold: columns (N, C KH KW, L) added up in (N, C, *output_size).

    >>> import lucid
    >>> lucid.nn.functional.fold(lucid.ones(1, 2, 2), (1, 3), (1, 2)).tolist()
    [[[[1.0, 2.0, 1.0]]]]
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"fold: x must be (N, C KH KW, L) or (C KH KW, L), got shape {tuple(input.shape)}"
        )
    shape = several("fold: output_size", output_size, 2)
    kernel, dilation, padding, stride, size = _settings(
        "fold", shape, kernel_size, dilation, padding, stride
    )
    rows, columns = input.shape[-2:]
    if rows % prod(kernel) or columns != prod(size):
        raise RuntimeError(
            f"fold: an output of {shape} has {prod(size)} windows of {prod(kernel)} elements, the "
            f"input has shape {tuple(input.shape)}"
        )
    channels = rows // prod(kernel)
    lead = input.shape[0] if input.ndim == 3 else 1
    x = reshape(input, (lead, channels, *kernel, *size))
    y = fold_windows(x, kernel, dilation, padding, stride, shape)
    return y if input.ndim == 3 else reshape(y, tuple(y.shape[1:]))


def _image(name: str, x: Any) -> None:
    if x.ndim < 3:
        raise RuntimeError(f"{name}: x must be (..., C, H, W), got shape {tuple(x.shape)}")


def pixel_shuffle(input, upscale_factor: int):
    """(..., C r^2, H, W) to (..., C, H r, W r), r = upscale_factor. Shi et al., 2016.

    >>> import lucid
    >>> lucid.nn.functional.pixel_shuffle(lucid.arange(4.0).reshape(1, 4, 1, 1), 2).tolist()
    [[[[0.0, 1.0], [2.0, 3.0]]]]
    """
    _image("pixel_shuffle", input)
    r = int(upscale_factor)
    *lead, c, h, w = input.shape
    if r < 1 or c % (r * r):
        raise RuntimeError(f"pixel_shuffle: {c} channels are no multiple of {r} squared")
    k = len(lead)
    x = reshape(input, (*lead, c // (r * r), r, r, h, w))
    x = permute(x, (*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return reshape(x, (*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input, downscale_factor: int):
    """(..., C, H r, W r) to (..., C r^2, H, W): the inverse of pixel_shuffle.

    >>> import lucid
    >>> lucid.nn.functional.pixel_unshuffle(lucid.ones(1, 1, 4, 6), 2).shape
    lucid.Size([1, 4, 2, 3])
    """
    _image("pixel_unshuffle", input)
    r = int(downscale_factor)
    *lead, c, h, w = input.shape
    if r < 1 or h % r or w % r:
        raise RuntimeError(f"pixel_unshuffle: {(h, w)} is no multiple of {r}")
    k = len(lead)
    x = reshape(input, (*lead, c, h // r, r, w // r, r))
    x = permute(x, (*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return reshape(x, (*lead, c * r * r, h // r, w // r))


def channel_shuffle(input, groups: int):
    """The channels of (N, C, ...) taken from each group in turn. Zhang et al., 2018.

    >>> import lucid
    >>> lucid.nn.functional.channel_shuffle(lucid.arange(4.0).reshape(1, 4, 1), 2).flatten()
    tensor([0., 2., 1., 3.])
    """
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle: x must be (N, C, ...), got {tuple(input.shape)}")
    n, c, *rest = input.shape
    if groups < 1 or c % groups:
        raise RuntimeError(f"channel_shuffle: {c} channels are no multiple of {groups} groups")
    x = reshape(input, (n, groups, c // groups, *rest))
    return reshape(permute(x, (0, 2, 1, *range(3, x.ndim))), (n, c, *rest))
