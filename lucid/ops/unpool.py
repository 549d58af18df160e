"""Pooling of other kinds: back to where maxima stood, power means, windows at random places.

Called as functional.max_unpool*, lp_pool*, fractional_max_pool*.
"""

from math import prod
from typing import Any

from lucid.dtypes import INTEGER, int64
from lucid.kernel import expr, loops
from lucid.op import Reduction
from lucid.ops.adaptive import put_at
from lucid.ops.creation import zeros
from lucid.ops.gather import scatter_set
from lucid.ops.pool import _avg_pool, linear, trailing
from lucid.ops.random import rand
from lucid.ops.spatial import batched, flat, several, unbatched
from lucid.ops.view import reshape

# Max unpooling


def _unpool(rank: int, x, indices, kernel, stride, padding, output_size) -> Any:
    name = f"max_unpool{rank}d"
    if tuple(indices.shape) != tuple(x.shape) or indices.dtype.category != INTEGER:
        raise RuntimeError(
            f"{name}: indices must be integers of the input's shape {tuple(x.shape)}, got "
            f"{indices.dtype!r} of shape {tuple(indices.shape)}"
        )
    x, single = batched(name, x, rank)
    indices, _ = batched(name, indices, rank)
    kernel = several(name, kernel, rank)
    stride = kernel if stride is None or stride == [] else several(name, stride, rank)
    padding = several(name, padding, rank)
    usual = tuple(
        (n - 1) * s - 2 * p + k
        for n, s, p, k in zip(x.shape[2:], stride, padding, kernel, strict=True)
    )
    size = usual if output_size is None else tuple(int(n) for n in output_size)[-rank:]
    for n, m, s in zip(size, usual, stride, strict=True):
        if output_size is not None and not m - s < n < m + s:
            raise ValueError(
                f"{name}: output_size {tuple(output_size)} is not within stride {stride} of {usual}"
            )
    lead = tuple(x.shape[:2])
    target = zeros((*lead, prod(size)), dtype=x.dtype)
    y = reshape(scatter_set(target, flat(x, rank), flat(indices, rank), 2), (*lead, *size))
    return unbatched(y, single)


def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Zeros with each maximum of max_pool1d back at its place.

    indices: those of max_pool1d; output_size where the pooled size does not say it.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> y, i = F.max_pool1d(lucid.arange(4.0).reshape(1, 1, 4), 2, return_indices=True)
    >>> F.max_unpool1d(y, i, 2)
    tensor([[[0., 1., 0., 3.]]])
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Zeros with each maximum of max_pool2d back at its place.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> y, i = F.max_pool2d(lucid.arange(4.0).reshape(1, 1, 2, 2), 2, return_indices=True)
    >>> F.max_unpool2d(y, i, 2)
    tensor([[[[0., 0.],
              [0., 3.]]]])
    """
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Zeros with each maximum of max_pool3d back at its place.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> y, i = F.max_pool3d(lucid.arange(8.0).reshape(1, 2, 2, 2), 2, return_indices=True)
    >>> F.max_unpool3d(y, i, 2).sum().item()
    7.0
    """
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


# Power means


def _lp_pool(rank: int, x, norm_type, kernel, stride, ceil_mode) -> Any:
    kernel = several(f"lp_pool{rank}d: kernel_size", kernel, rank)
    mean = _avg_pool(rank, x.pow(norm_type), kernel, stride, 0, ceil_mode, True)
    return (mean.sign() * mean.abs().relu() * prod(kernel)).pow(1.0 / norm_type)


def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode: bool = False):
    """The p-norm of each window of (N, C, L): (sum of x^p)^(1/p), p = norm_type.

    >>> import lucid
    >>> lucid.nn.functional.lp_pool1d(lucid.tensor([[[3.0, 4.0]]]), 2, 2)
    tensor([[[5.]]])
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode: bool = False):
    """The p-norm of each window of (N, C, H, W).

    >>> import lucid
    >>> lucid.nn.functional.lp_pool2d(lucid.tensor([[[[3.0, 4.0]]]]), 2, (1, 2))
    tensor([[[[5.]]]])
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode: bool = False):
    """The p-norm of each window of (N, C, D, H, W).

    >>> import lucid
    >>> lucid.nn.functional.lp_pool3d(lucid.ones(1, 1, 2, 2, 4), 2, 2).shape
    lucid.Size([1, 1, 1, 1, 2])
    """
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


# Fractional max pooling


class fractional_windows(Reduction):
    """The largest of windows whose starts follow from one random number per plane and dimension:
    floor((o + u) a) - floor(u a), a = (n - k) / (m - 1); the last one ends at the border."""

    public = False
    numbered = ()
    static_window = True
    count = 2

    def names(x, u, *, kernel, size):
        pass

    def domain(types, params):
        kernel, size = params
        shape, rank = types[0][0], len(kernel)
        return (*shape[:-rank], *size, *kernel), trailing(shape, rank)

    def monoid(types, params):
        return loops.extremum_with_index(types[0][1].compute, True)

    def infer(types, params):
        size = (*types[0][0][: -len(params[0])], *params[1])
        return [(size, types[0][1]), (size, int64)]

    def element(types, params, index, loads):
        kernel, size = params
        shape, rank = types[0][0], len(kernel)
        lead = len(shape) - rank
        inner = list(index[:lead])
        for d in range(rank):
            o, room = index[lead + d], shape[lead + d] - kernel[d]
            # Numbers of planes are drawn for the last dimension first, but in three dimensions.
            draw = d if rank == 3 else rank - 1 - d
            u = loads[1]([*index[:lead], expr.const(draw, int64)])
            start = expr.size(room)
            if size[d] > 1:
                gaps = expr.cast(expr.size(size[d] - 1), u.dtype)
                step = expr.cast(expr.size(room), u.dtype) / gaps
                first = expr.cast(u * step, int64)
                moved = expr.cast((expr.cast(o, u.dtype) + u) * step, int64) - first
                start = expr.where(o < expr.size(size[d] - 1), moved, start)
            at = start + index[lead + rank + d]
            good = (at >= 0) & (at < expr.size(shape[lead + d]))
            inner.append(expr.where(good, at, expr.ZERO))
        return loads[0](inner), linear(inner[lead:], shape[lead:])

    def finish(types, params, states):
        return [states[0], states[1]]

    def vjp_x(g, y1, x_meta, kernel):
        return put_at(g, y1, tuple(x_meta.shape[-len(kernel) :]))


def _fractional(rank, x, kernel, output_size, output_ratio, return_indices, samples) -> Any:
    name = f"fractional_max_pool{rank}d"
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"{name}: output_size or output_ratio is needed, and not both")
    x, single = batched(name, x, rank)
    kernel = several(name, kernel, rank)
    shape = tuple(x.shape[2:])
    if output_size is not None:
        size = several(name, output_size, rank)
    else:
        single_ratio = isinstance(output_ratio, (int, float))
        ratios = (output_ratio,) * rank if single_ratio else tuple(output_ratio)
        if any(not 0 < r < 1 for r in ratios):
            raise ValueError(f"{name}: output_ratio must lie between 0 and 1, got {output_ratio}")
        size = tuple(int(n * r) for n, r in zip(shape, ratios, strict=True))
    for n, m, k in zip(shape, size, kernel, strict=True):
        if m < 1 or m + k - 1 > n:
            raise RuntimeError(f"{name}: {size} windows of {kernel} do not fit into {shape}")
    needed = (*x.shape[:2], rank)
    if samples is None:
        samples = rand(needed, dtype=x.dtype)
    elif samples.shape[0] < needed[0] or tuple(samples.shape[1:]) != needed[1:]:
        raise RuntimeError(f"{name}: _random_samples must have shape {needed}")
    else:
        samples = samples[: needed[0]]
    y, places = fractional_windows(x, samples, kernel, size)
    y = unbatched(y, single)
    return (y, unbatched(places, single)) if return_indices else y


def fractional_max_pool2d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False,
    _random_samples=None,
):  # fmt: skip
    """The largest of windows at random steps, whose mean is the ratio of sizes. Graham, 2014.

    output_size: OH x OW, or output_ratio of H and W; _random_samples (N, C, 2) in [0, 1).

    >>> import lucid
    >>> lucid.nn.functional.fractional_max_pool2d(lucid.ones(1, 2, 7, 7), 2, (4, 3)).shape
    lucid.Size([1, 2, 4, 3])
    """
    given = (kernel_size, output_size, output_ratio, return_indices, _random_samples)
    return _fractional(2, input, *given)


def fractional_max_pool3d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False,
    _random_samples=None,
):  # fmt: skip
    """fractional_max_pool2d for (N, C, D, H, W); _random_samples is (N, C, 3).

    >>> import lucid
    >>> lucid.nn.functional.fractional_max_pool3d(lucid.ones(1, 2, 6, 6, 6), 2, 3).shape
    lucid.Size([1, 2, 3, 3, 3])
    """
    given = (kernel_size, output_size, output_ratio, return_indices, _random_samples)
    return _fractional(3, input, *given)
