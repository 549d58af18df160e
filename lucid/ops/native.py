"""What PyTorch's layers call beneath: norms with their statistics, dropout with its mask, the grid
sampler with its modes as numbers, the way back of a max-pool. lucid/__init__.py has them.
"""

from typing import Any

from lucid.dtypes import INTEGER, bool_
from lucid.ops.cast import to_dtype
from lucid.ops.creation import ones, zeros
from lucid.ops.elementwise import rsqrt
from lucid.ops.grid import grid_sample
from lucid.ops.group_norms import group_norm
from lucid.ops.normalize import batch_norm, layer_norm
from lucid.ops.pool import pooled_size
from lucid.ops.random import bernoulli
from lucid.ops.scatter import scatter_reduce
from lucid.ops.statistics import mean as mean_of
from lucid.ops.statistics import var
from lucid.ops.view import reshape

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _statistics(x: Any, dims: tuple[int, ...], keepdim: bool, eps: float) -> tuple[Any, Any]:
    """The mean and 1 / sqrt(variance + eps)."""
    return mean_of(x, dims, keepdim), rsqrt(var(x, dims, correction=0, keepdim=keepdim) + eps)


def native_layer_norm(x, normalized_shape, weight, bias, eps: float):
    """(y, mean, rstd): `layer_norm`, and the mean and 1 / sqrt(variance + eps) that it takes.

    >>> import lucid
    >>> lucid.native_layer_norm(lucid.tensor([1.0, 3.0]), (2,), None, None, 0.0)
    (tensor([-1.,  1.]), tensor([2.]), tensor([1.]))
    """
    y = layer_norm(x, normalized_shape, weight, bias, eps)
    dims = tuple(range(x.ndim - len(tuple(normalized_shape)), x.ndim))
    return y, *_statistics(x, dims, True, eps)


def native_group_norm(x, weight, bias, N: int, C: int, HxW: int, group: int, eps: float):
    """(y, mean, rstd): `group_norm` of x, which holds N x C x HxW elements, and its statistics
    (N, group).

    >>> import lucid
    >>> lucid.native_group_norm(lucid.tensor([[1.0, 3.0]]), None, None, 1, 2, 1, 1, 0.0)[1]
    tensor([[2.]])
    """
    if x.numel() != N * C * HxW or x.shape[:2] != (N, C):
        raise RuntimeError(
            f"native_group_norm: x {tuple(x.shape)} must be of {N} x {C} x {HxW} elements"
        )
    y = group_norm(x, group, weight, bias, eps)
    rows = reshape(x, (N, group, C // group * HxW))
    return y, *_statistics(rows, (2,), False, eps)


def native_batch_norm(
    x, weight, bias, running_mean, running_var, training: bool, momentum: float, eps: float
):  # fmt: skip
    """(y, mean, rstd): `batch_norm`, and where `training` the batch's statistics (C,), else empty
    ones.

    >>> import lucid
    >>> x = lucid.tensor([[1.0], [3.0]])
    >>> lucid.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)[1]
    tensor([2.])
    """
    y = batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return y, zeros(0, dtype=x.dtype), zeros(0, dtype=x.dtype)
    dims = tuple(d for d in range(x.ndim) if d != 1)
    return y, *_statistics(x, dims, False, eps)


def native_dropout(x, p: float, train: bool | None):
    """(y, mask): `dropout`, and where it kept x; everywhere where not `train`.

    >>> import lucid
    >>> lucid.native_dropout(lucid.ones(2), 0.5, False)
    (tensor([1., 1.]), tensor([True, True]))
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"native_dropout: p must lie in [0, 1], got {p}")
    if train is False or p == 0.0:
        return x.clone(), ones(tuple(x.shape), dtype=bool_)
    mask = to_dtype(bernoulli(ones(tuple(x.shape)) * (1.0 - p)), bool_)
    scale = 1.0 / (1.0 - p) if p < 1.0 else 0.0
    return native_dropout_backward(x, mask, scale), mask


def native_dropout_backward(grad_output, mask, scale: float):
    """grad_output scaled where the mask holds, else 0.

    >>> import lucid
    >>> lucid.native_dropout_backward(lucid.ones(2), lucid.tensor([True, False]), 2.0)
    tensor([2., 0.])
    """
    return grad_output * to_dtype(mask, grad_output.dtype) * scale


def _sampler(rank: int, x: Any, grid: Any, mode: Any, padding: Any, align_corners: Any) -> Any:
    name = f"grid_sampler_{rank}d"
    for what, value, known in (
        ("interpolation_mode", mode, _MODES),
        ("padding_mode", padding, _PADDINGS),
    ):
        if not 0 <= value < len(known):
            raise ValueError(f"{name}: {what} must be one of {dict(enumerate(known))}, got {value}")
    if x.ndim != rank + 2:
        raise RuntimeError(f"{name}: x must have {rank + 2} dimensions, got {x.ndim}")
    return grid_sample(x, grid, _MODES[mode], _PADDINGS[padding], bool(align_corners))


def grid_sampler_2d(x, grid, interpolation_mode: int, padding_mode: int, align_corners: bool):
    """`grid_sample` of images (N, C, H, W); the modes 0, 1, 2 are bilinear, nearest, bicubic, and
    zeros, border, reflection.

    >>> import lucid
    >>> lucid.grid_sampler_2d(lucid.ones(1, 1, 2, 2), lucid.zeros(1, 1, 1, 2), 0, 0, False).item()
    1.0
    """
    return _sampler(2, x, grid, interpolation_mode, padding_mode, align_corners)


def grid_sampler_3d(x, grid, interpolation_mode: int, padding_mode: int, align_corners: bool):
    """`grid_sample` of volumes (N, C, D, H, W); modes as in `grid_sampler_2d`.

    >>> import lucid
    >>> x, grid = lucid.ones(1, 1, 2, 2, 2), lucid.zeros(1, 1, 1, 1, 3)
    >>> lucid.grid_sampler_3d(x, grid, 0, 0, False).item()
    1.0
    """
    return _sampler(3, x, grid, interpolation_mode, padding_mode, align_corners)


def max_pool2d_with_indices_backward(
    grad_output, x, kernel_size, stride, padding, dilation, ceil_mode: bool, indices
):  # fmt: skip
    """The gradient of x in max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode) whose
    places were `indices`: grad_output added up there.

    >>> import lucid
    >>> x = lucid.tensor([[[1.0, 2.0]]])
    >>> g, at = lucid.ones(1, 1, 1), lucid.tensor([[[1]]])
    >>> lucid.max_pool2d_with_indices_backward(g, x, (1, 2), (1, 2), 0, 1, False, at)
    tensor([[[0., 1.]]])
    """
    name = "max_pool2d_with_indices_backward"
    pairs = [(v, v) if hasattr(v, "__index__") else tuple(v) for v in
             (kernel_size, stride or kernel_size, padding, dilation)]  # fmt: skip
    size = []
    for d, n in enumerate(x.shape[-2:]):
        k, s, p, between = (pair[d] for pair in pairs)
        size.append(pooled_size(n, k, s, p, between, ceil_mode))
    want = (*x.shape[:-2], *size)
    if tuple(grad_output.shape) != want or tuple(indices.shape) != want:
        raise RuntimeError(
            f"{name}: grad_output {tuple(grad_output.shape)} and indices {tuple(indices.shape)} "
            f"must have the shape {want} of the pooled x {tuple(x.shape)}"
        )
    if indices.dtype.category != INTEGER:
        raise RuntimeError(f"{name}: indices must be integers, got {indices.dtype!r}")
    planes, inside = tuple(x.shape[:-2]), x.shape[-2] * x.shape[-1]
    flat = zeros((*planes, inside), dtype=grad_output.dtype)
    places = reshape(indices, (*planes, size[0] * size[1]))
    values = reshape(grad_output, (*planes, size[0] * size[1]))
    return reshape(scatter_reduce(flat, -1, places, values, "sum"), tuple(x.shape))
