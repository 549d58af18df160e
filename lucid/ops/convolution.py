"""Convolutions of one to three dimensions, and transposed ones: functional.conv*, conv_transpose*.

All are the two-dimensional records of conv.py: one dimension is a line of height 1, in three the
depth becomes channels (conv_depth.py), and a transposed one is the gradient of the input.
"""

from typing import Any

from lucid.apply import contiguous
from lucid.dtypes import FLOATING, INTEGER
from lucid.ops.conv import conv2d_biased, conv2d_forward, conv2d_input, out_size
from lucid.ops.conv_depth import depth_windows, depth_windows_back
from lucid.ops.conv_integer import integer_convolution
from lucid.ops.padding import pad_constant
from lucid.ops.spatial import batched, several, unbatched
from lucid.ops.view import permute, reshape

Sides = tuple[tuple[int, int], ...]


def _padding(name: str, padding: Any, kernel: tuple, stride: tuple, dilation: tuple) -> Sides:
    """(before, after) of each dimension."""
    rank = len(kernel)
    if padding == "valid":
        return ((0, 0),) * rank
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(f"{name}: padding='same' needs stride 1")
        totals = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return tuple((t // 2, t - t // 2) for t in totals)
    if isinstance(padding, str):
        raise ValueError(f"{name}: padding must be 'same', 'valid' or numbers, got {padding!r}")
    made = several(f"{name}: padding", padding, rank)
    if min(made) < 0:
        raise RuntimeError(f"{name}: padding {padding} is negative")
    return tuple((p, p) for p in made)


def _check(
    name: str, x: Any, w: Any, b: Any, stride, dilation, groups: int, outputs: int, least: int
) -> None:
    if min(*stride, *dilation) < 1 or groups < 1:
        raise RuntimeError(f"{name}: stride {stride}, dilation {dilation}, groups {groups}")
    if x.dtype is not w.dtype or (b is not None and b.dtype is not x.dtype):
        raise RuntimeError(f"{name}: input {x.dtype!r}, weight {w.dtype!r}: convert one with to()")
    if not least <= x.dtype.category <= FLOATING:
        raise RuntimeError(f"{name}: floating tensors are needed, got {x.dtype!r}")
    if b is not None and tuple(b.shape) != (outputs,):
        raise RuntimeError(
            f"{name}: bias has shape {tuple(b.shape)}, {outputs} outputs need ({outputs},)"
        )


def _opened(name: str, x: Any, w: Any, rank: int, layout: str) -> tuple[Any, bool]:
    if x.ndim not in (rank + 1, rank + 2) or w.ndim != rank + 2:
        axes = ", ".join("DHW"[3 - rank :]) if rank > 1 else "L"
        kernel = ", ".join(f"K{a}" for a in "DHW"[3 - rank :]) if rank > 1 else "K"
        raise RuntimeError(
            f"{name}: input (N, C, {axes}) and weight ({layout}, {kernel}) expected, got shapes "
            f"{tuple(x.shape)} and {tuple(w.shape)}"
        )
    return batched(name, x, rank)


def _convolve(rank: int, x: Any, w: Any, b: Any, stride, padding, dilation, groups: int) -> Any:
    name = f"conv{rank}d"
    x, single = _opened(name, x, w, rank, "O, C")
    stride = several(f"{name}: stride", stride, rank)
    dilation = several(f"{name}: dilation", dilation, rank)
    groups, kernel = int(groups), tuple(w.shape[2:])
    sides = _padding(name, padding, kernel, stride, dilation)
    _check(name, x, w, b, stride, dilation, groups, w.shape[0], INTEGER)
    if x.shape[1] != w.shape[1] * groups:
        raise RuntimeError(
            f"{name}: the input has {x.shape[1]} channels (shape {tuple(x.shape)}), a weight of "
            f"shape {tuple(w.shape)} with groups={groups} needs {w.shape[1] * groups}"
        )
    if w.shape[0] % groups:
        raise RuntimeError(f"{name}: {w.shape[0]} outputs are no multiple of groups={groups}")
    size = tuple(map(out_size, x.shape[2:], kernel, stride, sides, dilation))
    if min(size) < 1 or min(kernel) < 1:
        raise RuntimeError(
            f"{name}: a kernel of {kernel} with dilation {dilation} does not fit into the "
            f"padded input of shape {tuple(x.shape)}, padding {padding}"
        )
    params: tuple = (stride, sides, dilation)
    if x.dtype.category < FLOATING:
        y = integer_convolution(x, w, b, stride, sides, dilation, groups)
        return unbatched(y, single)
    if rank == 1:
        x, w, params = _lines(x), _lines(w), _line_params(*params)
    elif rank == 3:
        n, d = x.shape[0], size[0]
        windows = depth_windows(x, kernel[0], stride[0], sides[0][0], dilation[0], d)
        x = reshape(windows, (n * d, x.shape[1] * kernel[0], *x.shape[3:]))
        w = reshape(w, (w.shape[0], w.shape[1] * kernel[0], *kernel[1:]))
        params = tuple(p[1:] for p in params)
    if b is None:
        y = conv2d_forward(x, w, *params, groups)
    else:
        y = conv2d_biased(x, w, b, *params, groups)
    if rank == 1:
        y = reshape(y, (y.shape[0], y.shape[1], y.shape[3]))
    elif rank == 3:
        y = _slices_to_depth(y, n)
    return unbatched(y, single)


def _lines(x: Any) -> Any:
    """(N, C, L) as images of height 1."""
    return reshape(x, (x.shape[0], x.shape[1], 1, x.shape[2]))


def _line_params(stride: tuple, sides: Sides, dilation: tuple) -> tuple:
    return (1, *stride), ((0, 0), *sides), (1, *dilation)


def _slices_to_depth(y: Any, n: int) -> Any:
    """(N D, C, H, W) to (N, C, D, H, W), row-major."""
    c, h, w = y.shape[1:]
    y = reshape(y, (n, y.shape[0] // n if n else 0, c, h, w))
    return contiguous(permute(y, (0, 2, 1, 3, 4)))


def _transposed(
    rank: int, x: Any, w: Any, b: Any, stride, padding, output_padding, groups: int, dilation
) -> Any:
    name = f"conv_transpose{rank}d"
    x, single = _opened(name, x, w, rank, "C, O")
    stride = several(f"{name}: stride", stride, rank)
    dilation = several(f"{name}: dilation", dilation, rank)
    pads = several(f"{name}: padding", padding, rank)
    extra = several(f"{name}: output_padding", output_padding, rank)
    groups, kernel = int(groups), tuple(w.shape[2:])
    outputs = w.shape[1] * groups
    _check(name, x, w, b, stride, dilation, groups, outputs, FLOATING)
    if x.shape[1] != w.shape[0] or w.shape[0] % groups:
        raise RuntimeError(
            f"{name}: the input has {x.shape[1]} channels (shape {tuple(x.shape)}), a weight of "
            f"shape {tuple(w.shape)} needs {w.shape[0]}, a multiple of groups={groups}"
        )
    if min(*pads, *extra) < 0:
        raise RuntimeError(f"{name}: padding {pads}, output_padding {extra}")
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= max(s, d):
            raise RuntimeError(
                f"{name}: output_padding {extra} must be below stride {stride} or dilation "
                f"{dilation}"
            )
    # Rows that output_padding adds beyond the stride: padding that is not cut off, or zeros.
    sides, behind = [], []
    for p, e, s in zip(pads, extra, stride, strict=True):
        after = p if e < s else max(p - e, 0)
        rest = e - (p - after)
        sides.append((p, after))
        behind.append(0 if rest < s else rest)
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(x.shape[2:], stride, pads, dilation, kernel, extra, strict=True)
    )
    if min(size) < 1 or min(kernel) < 1 or min(x.shape[2:]) < 1:
        raise RuntimeError(
            f"{name}: input of shape {tuple(x.shape)} with kernel {kernel}, stride {stride} and "
            f"padding {pads} gives an output of size {size}"
        )
    made = tuple(n - e for n, e in zip(size, behind, strict=True))
    y = _input_gradient(x, w, stride, tuple(sides), dilation, groups, (outputs, *made))
    if any(behind):
        y = pad_constant(y, 0, (0,) * y.ndim, (0, 0, *behind))
    if b is not None:
        y = y + reshape(b, (outputs, *(1,) * rank))
    return unbatched(y, single)


def _input_gradient(x, w, stride, sides, dilation, groups: int, size: tuple[int, ...]) -> Any:
    """What a convolution to x's shape gives back for its input of `size` (C, spatial...)."""
    n, rank = x.shape[0], len(stride)
    if rank == 1:
        params = (*_line_params(stride, sides, dilation), groups, (n, size[0], 1, size[1]))
        y = conv2d_input(_lines(x), _lines(w), *params)
        return reshape(y, (n, *size))
    if rank == 2:
        return conv2d_input(x, w, stride, sides, dilation, groups, (n, *size))
    c, d, *plane = size
    slices, taps = x.shape[2], w.shape[2]
    flat = reshape(contiguous(permute(x, (0, 2, 1, 3, 4))), (n * slices, x.shape[1], *x.shape[3:]))
    kernel = reshape(w, (w.shape[0], w.shape[1] * taps, *w.shape[3:]))
    params = (stride[1:], sides[1:], dilation[1:], groups, (n * slices, c * taps, *plane))
    y = reshape(conv2d_input(flat, kernel, *params), (n, slices, c, taps, *plane))
    return depth_windows_back(y, taps, stride[0], sides[0][0], dilation[0], d)


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1):
    """The cross-correlation of x (N, C, L) with weight (O, C / groups, K), plus bias (O).

    As conv2d, along one dimension.

    >>> import lucid
    >>> lucid.nn.functional.conv1d(lucid.arange(4.0).reshape(1, 1, 4), lucid.ones(1, 1, 2))
    tensor([[[1., 3., 5.]]])
    """
    return _convolve(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1):
    """The cross-correlation of x (N, C, H, W) with weight (O, C / groups, KH, KW), plus bias (O).

    y[n, o, i, j] = bias[o] + sum over c, p, q of
        x[n, c, i * stride + p * dilation - padding, ...] * weight[o, c, p, q]
    padding may be "same" (stride 1) or "valid". Raises RuntimeError where shapes do not fit.

    >>> import lucid
    >>> x, w = lucid.ones(1, 1, 3, 3), lucid.ones(1, 1, 2, 2)
    >>> lucid.nn.functional.conv2d(x, w)
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    return _convolve(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1):
    """The cross-correlation of x (N, C, D, H, W) with weight (O, C / groups, KD, KH, KW), plus
    bias (O).

    As conv2d, along three dimensions.

    >>> import lucid
    >>> lucid.nn.functional.conv3d(lucid.ones(1, 1, 3, 3, 3), lucid.ones(1, 1, 3, 3, 3)).item()
    27.0
    """
    return _convolve(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups: int = 1, dilation=1
):
    """The transpose of conv1d: x (N, C, L) with weight (C, O / groups, K), plus bias (O).

    The output has (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1 elements.

    >>> import lucid
    >>> w = lucid.tensor([[[1.0, 2.0]]])
    >>> lucid.nn.functional.conv_transpose1d(lucid.ones(1, 1, 2), w, stride=2)
    tensor([[[1., 2., 1., 2.]]])
    """
    given = (stride, padding, output_padding, groups, dilation)
    return _transposed(1, input, weight, bias, *given)


def conv_transpose2d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups: int = 1, dilation=1
):
    """The transpose of conv2d: x (N, C, H, W) with weight (C, O / groups, KH, KW), plus bias (O).

    Each element of x adds the weights, times itself, at stride times its place: what conv2d's
    gradient does for its input. Zeiler et al., 2010.

    >>> import lucid
    >>> x, w = lucid.ones(1, 1, 2, 2), lucid.ones(1, 1, 2, 2)
    >>> lucid.nn.functional.conv_transpose2d(x, w)
    tensor([[[[1., 2., 1.],
              [2., 4., 2.],
              [1., 2., 1.]]]])
    """
    given = (stride, padding, output_padding, groups, dilation)
    return _transposed(2, input, weight, bias, *given)


def conv_transpose3d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups: int = 1, dilation=1
):
    """The transpose of conv3d: x (N, C, D, H, W) with weight (C, O / groups, KD, KH, KW), plus
    bias (O).

    >>> import lucid
    >>> x, w = lucid.ones(1, 1, 1, 1, 2), lucid.ones(1, 1, 2, 2, 2)
    >>> lucid.nn.functional.conv_transpose3d(x, w).shape
    lucid.Size([1, 1, 2, 2, 3])
    """
    given = (stride, padding, output_padding, groups, dilation)
    return _transposed(3, input, weight, bias, *given)
