"""Dropout of whole channels, blocks and samples, and dropout that keeps mean and variance.

Called as functional.dropout1d, alpha_dropout, ... ; random.py has the plain one.
"""

from math import prod, sqrt
from typing import Any

from lucid.ops.creation import full, ones
from lucid.ops.elementwise import assign
from lucid.ops.padding import pad_constant
from lucid.ops.pool import max_pool2d
from lucid.ops.random import bernoulli, dropout
from lucid.write import write

# Where SELU tends to for large negative inputs: -scale * alpha (Klambauer et al., 2017).
SATURATION = 1.7580993408473766


def _into(input: Any, y: Any, inplace: bool) -> Any:
    return write(assign, input, (y,)) if inplace else y


def _check(name: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: p must lie in [0, 1], got {p}")


def _mask_shape(x: Any, kept: int) -> tuple[int, ...]:
    """One element for each of the first `kept` dimensions' elements."""
    return tuple(x.shape[:kept]) + (1,) * (x.ndim - kept)


def _channels(rank: int, x: Any, p: float, training: bool, inplace: bool) -> Any:
    name = f"dropout{rank}d"
    _check(name, p)
    # A tensor of rank + 1 dimensions is (C, ...), except in two dimensions, where it is (N, C, L).
    ranks = (rank + 1, rank + 2)
    if x.ndim not in ranks:
        raise RuntimeError(
            f"{name}: x must have {ranks[0]} or {ranks[1]} dimensions, got shape {tuple(x.shape)}"
        )
    if not training or p == 0.0:
        return x
    kept = 2 if rank == 2 or x.ndim == ranks[1] else 1
    mask = dropout(ones(_mask_shape(x, kept), dtype=x.dtype), p)
    return _into(x, x * mask, inplace)


def dropout1d(input, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Whole channels of (N, C, L) or (C, L) become zero with probability p, the others are
    divided by 1 - p. Tompson et al., 2015.

    >>> import lucid
    >>> lucid.nn.functional.dropout1d(lucid.ones(1, 2, 3), training=False).sum().item()
    6.0
    """
    return _channels(1, input, p, training, inplace)


def dropout2d(input, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Whole channels of (N, C, H, W) become zero with probability p, the others are divided by
    1 - p. Three dimensions are read as (N, C, L).

    >>> import lucid
    >>> lucid.nn.functional.dropout2d(lucid.ones(1, 2, 3, 3), training=False).sum().item()
    18.0
    """
    return _channels(2, input, p, training, inplace)


def dropout3d(input, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) become zero with probability p, the
    others are divided by 1 - p.

    >>> import lucid
    >>> lucid.nn.functional.dropout3d(lucid.ones(1, 2, 1, 3, 3), training=False).sum().item()
    18.0
    """
    return _channels(3, input, p, training, inplace)


def _alpha(name: str, x: Any, p: float, training: bool, inplace: bool, shape: tuple) -> Any:
    _check(name, p)
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return _into(x, x * 0.0, inplace)
    kept = bernoulli(full(shape, 1.0 - p, dtype=x.dtype))
    scale = 1.0 / sqrt((SATURATION * SATURATION * p + 1.0) * (1.0 - p))
    shift = (kept - 1.0) * (SATURATION * scale) + SATURATION * scale * p
    return _into(x, x * (kept * scale) + shift, inplace)


def alpha_dropout(input, p: float = 0.5, training: bool = False, inplace: bool = False):
    """Elements become SELU's negative limit with probability p; an affine map then restores
    mean 0 and variance 1. Klambauer et al., 2017.

    >>> import lucid
    >>> lucid.nn.functional.alpha_dropout(lucid.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """
    return _alpha("alpha_dropout", input, p, training, inplace, tuple(input.shape))


def feature_alpha_dropout(input, p: float = 0.5, training: bool = False, inplace: bool = False):
    """alpha_dropout of whole channels of (N, C, ...).

    >>> import lucid
    >>> lucid.nn.functional.feature_alpha_dropout(lucid.ones(1, 3, 2)).sum().item()
    6.0
    """
    if training and input.ndim < 2:
        raise RuntimeError(
            f"feature_alpha_dropout: x must be (N, C, ...), got {tuple(input.shape)}"
        )
    shape = _mask_shape(input, 2)
    return _alpha("feature_alpha_dropout", input, p, training, inplace, shape)


def drop_block(input, block_size: int, p: float = 0.1, eps: float = 1e-7, training: bool = True):
    """Squares of block_size^2 pixels of (N, C, H, W) become zero, a share p of all; the rest is
    scaled to the same sum of ones. Ghiasi et al., 2018.

    >>> import lucid
    >>> lucid.nn.functional.drop_block(lucid.ones(1, 1, 4, 4), 3, training=False).sum().item()
    16.0
    """
    _check("drop_block", p)
    if input.ndim != 4:
        raise RuntimeError(f"drop_block: x must be (N, C, H, W), got shape {tuple(input.shape)}")
    if not training or p == 0.0:
        return input
    h, w = input.shape[2:]
    if not 1 <= block_size <= min(h, w):
        raise ValueError(f"drop_block: block_size {block_size} does not fit into {(h, w)}")
    centres = (h - block_size + 1) * (w - block_size + 1)
    rate = min(1.0, p / block_size**2 * (h * w) / centres)
    # Centres lie where the whole block is inside; each block is grown from its first pixel.
    shape = (*input.shape[:2], h - block_size + 1, w - block_size + 1)
    seeds = bernoulli(full(shape, rate, dtype=input.dtype))
    edge = block_size - 1
    grown = max_pool2d(_framed(seeds, edge), block_size, 1)
    mask = 1.0 - grown
    return input * mask * (prod(input.shape) / (mask.sum() + eps))


def _framed(x: Any, edge: int) -> Any:
    return pad_constant(x, 0, (0, 0, edge, edge), (0, 0, edge, edge)) if edge else x


def drop_path(input, p: float = 0.1, scale_by_keep: bool = True, training: bool = True):
    """Whole samples of (N, ...) become zero with probability p, the others are divided by 1 - p.

    scale_by_keep=False leaves them as they are. Huang et al., 2016 (stochastic depth).

    >>> import lucid
    >>> lucid.nn.functional.drop_path(lucid.ones(2, 3), training=False).sum().item()
    6.0
    """
    _check("drop_path", p)
    if not training or p == 0.0:
        return input
    mask = bernoulli(full(_mask_shape(input, 1), 1.0 - p, dtype=input.dtype))
    if scale_by_keep and p < 1.0:
        mask = mask / (1.0 - p)
    return input * mask
