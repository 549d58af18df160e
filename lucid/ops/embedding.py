"""Rows of a table by index, one for each index or reduced over bags of indices.

Called by lucid.nn.functional.
"""

from typing import Any

import numpy as np

from lucid.autograd.mode import is_grad_enabled, no_grad
from lucid.dtypes import INTEGER, bool_, int64
from lucid.lazy import lazy
from lucid.op import Composite, Elementwise
from lucid.ops.creation import ones, tensor
from lucid.ops.elementwise import where
from lucid.ops.gather import put_zeros, scatter_zeros, take
from lucid.ops.reduce import sum_
from lucid.ops.statistics import max as max_
from lucid.ops.statistics import norm
from lucid.ops.view import reshape

_rows = lazy("lucid.sparse.rows")


class scaled_gradient(Elementwise):
    """x; its gradient is multiplied by w."""

    public = False

    def body(b, x, w):
        return x

    def vjp_x(g, w):
        return g * w


def embedding(
    input,
    weight,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
):
    """Rows of `weight` (V, D) at the indices `input` (...) -> (..., D).

    The row padding_idx gets no gradient. With max_norm, rows that are read and whose norm_type-norm
    is larger are scaled down in place first. scale_grad_by_freq divides the gradient of a row by
    how often it is read. With `sparse`, the gradient of weight is a sparse tensor of the rows that
    were read, for SGD, SparseAdam and Adagrad; it goes neither with scale_grad_by_freq nor with
    `lucid.compile`. An index outside of [0, V) raises IndexError.

    >>> import lucid
    >>> lucid.nn.functional.embedding(lucid.tensor([1]), lucid.eye(2))
    tensor([[0., 1.]])
    """
    _check("embedding", input, weight)
    row = _row("embedding", padding_idx, weight)
    if max_norm is not None:
        renormalize(weight, input, max_norm, norm_type)
    if sparse and is_grad_enabled() and weight.requires_grad:
        return _rows.embedding(input, weight, row, scale_grad_by_freq)
    y = take(weight, [input], 0)
    if scale_grad_by_freq:
        y = scaled_gradient(y, reshape(_rarity(input, weight), (*input.shape, 1)))
    if row is None:
        return y
    hit = reshape(input == row, (*input.shape, 1))
    return where(hit, y.detach(), y)


def _check(name: str, indices: Any, weight: Any) -> None:
    if indices.dtype.category != INTEGER:
        raise TypeError(f"{name}: indices must be integers, got {indices.dtype!r}")
    if weight.ndim != 2:
        raise RuntimeError(f"{name}: weight must be (V, D), got shape {tuple(weight.shape)}")


def _row(name: str, padding_idx: int | None, weight: Any) -> int | None:
    if padding_idx is None:
        return None
    rows = weight.shape[0]
    if not -rows <= padding_idx < rows:
        raise RuntimeError(f"{name}: padding_idx {padding_idx} for {rows} rows")
    return padding_idx % rows


def renormalize(weight: Any, indices: Any, most: float, p: float) -> None:
    """In place: the rows that are read and whose p-norm is above `most` get that norm."""
    with no_grad():
        flat = reshape(indices, (indices.numel(),))
        rows = take(weight.detach(), [flat], 0)
        size = norm(rows, float(p), 1, True)
        fitted = where(size > most, rows * (most / (size + 1e-7)), rows)
        weight.detach()[flat] = fitted


def _rarity(indices: Any, weight: Any) -> Any:
    """1 / (how often each index occurs), of the indices' shape."""
    flat = reshape(indices, (indices.numel(),))
    counts = scatter_zeros(ones(flat.shape[0], dtype=weight.dtype), flat, (weight.shape[0],), 0)
    return reshape(1.0 / take(counts, [flat], 0), tuple(indices.shape))


class bag_sum(Composite):
    """y[b] = sum over l of f[b, l] x[places[b, l]]."""

    public = False

    def forward(x, places, f):
        rows = take(x, [places], 0)
        return sum_(rows * reshape(f, (*f.shape, 1)), (1,), False)

    def vjp_x(g, x_meta, places, f):
        wide = reshape(g, (g.shape[0], 1, g.shape[1])) * reshape(f, (*f.shape, 1))
        return put_zeros(wide, [places], tuple(x_meta.shape), 0)

    def vjp_f(g, x, places):
        return sum_(take(x, [places], 0) * reshape(g, (g.shape[0], 1, g.shape[1])), (2,), False)


def embedding_bag(
    input, weight, offsets=None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights=None, include_last_offset: bool = False, padding_idx: int | None = None,
):  # fmt: skip
    """The sum, mean or max of the rows of `weight` (V, D) in each bag of indices -> (B, D).

    input (B, L), or (N,) with `offsets` (B,), where each bag begins; an empty bag gives 0. Entries
    equal to padding_idx do not count. per_sample_weights, of input's shape, multiply rows ("sum").
    With `sparse`, the gradient of weight is as `embedding` says; mode "max" has none.

    >>> import lucid
    >>> F = lucid.nn.functional
    >>> F.embedding_bag(lucid.tensor([0, 1, 1]), lucid.eye(2), lucid.tensor([0, 1]))
    tensor([[1., 0.],
            [0., 1.]])
    """
    name = "embedding_bag"
    _check(name, input, weight)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{name}: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if per_sample_weights is not None:
        if mode != "sum":
            raise NotImplementedError(f"{name}: per_sample_weights need mode='sum', got {mode!r}")
        if tuple(per_sample_weights.shape) != tuple(input.shape):
            raise ValueError(
                f"{name}: per_sample_weights of shape {tuple(per_sample_weights.shape)} for an "
                f"input of shape {tuple(input.shape)}"
            )
    row = _row(name, padding_idx, weight)
    if max_norm is not None:
        renormalize(weight, input, max_norm, norm_type)
    if sparse and is_grad_enabled() and weight.requires_grad:
        flat, bags, count = _flat_bags(input, offsets, include_last_offset)
        factor = per_sample_weights
        factor = None if factor is None else reshape(factor, (factor.numel(),))[: flat.shape[0]]
        return _rows.embedding_bag(flat, weight, bags, count, mode, factor, row, scale_grad_by_freq)
    places, there, factor = _bags(input, offsets, include_last_offset, per_sample_weights)
    if row is not None:
        counts = places != row
        there = counts if there is None else there & counts
    if mode == "max":
        return _largest(weight, places, there, scale_grad_by_freq)
    if factor is None:
        factor = ones(*places.shape, dtype=weight.dtype)
    if there is not None:
        factor = where(there, factor, 0.0)
    if mode == "mean":
        factor = factor / sum_(factor, (1,), True).clamp(min=1)
    if not scale_grad_by_freq:
        return bag_sum(weight, places, factor)
    rows = embedding(places, weight)
    rare = _rarity(input, weight)
    rare = rare if offsets is None else _bags(input, offsets, include_last_offset, rare)[2]
    rows = scaled_gradient(rows, reshape(rare, (*places.shape, 1)))
    return sum_(rows * reshape(factor, (*places.shape, 1)), (1,), False)


def _bags(x: Any, offsets: Any, last: bool, weights: Any) -> tuple[Any, Any, Any]:
    """Indices (B, L), which of them count (None: all), and the weights of the same shape."""
    if x.ndim == 2 and offsets is None:
        return x, None, weights
    starts, ends = _limits(x, offsets, last)
    longest = int((ends - starts).max()) if len(ends) else 0
    spots = starts[:, None] + np.arange(max(longest, 1))
    inside = spots < ends[:, None]
    spots = tensor(np.where(inside, spots, 0), dtype=int64)
    if not x.shape[0]:
        x = tensor(np.zeros(1, np.int64))
        weights = None if weights is None else ones(1, dtype=weights.dtype)
    there = tensor(inside, dtype=bool_)
    return take(x, [spots], 0), there, None if weights is None else take(weights, [spots], 0)


def _limits(x: Any, offsets: Any, last: bool) -> tuple[Any, Any]:
    """Where each bag of a row of indices begins and ends."""
    if x.ndim == 2:
        raise ValueError("embedding_bag: an input of 2 dimensions takes no offsets")
    if x.ndim != 1 or offsets is None or offsets.ndim != 1:
        raise ValueError(
            "embedding_bag: input (B, L), or (N,) with offsets (B,), is needed; got shape "
            f"{tuple(x.shape)}"
        )
    starts = np.asarray(offsets.tolist(), np.int64)
    if len(starts) and (starts[0] != 0 or (np.diff(starts) < 0).any() or starts[-1] > x.shape[0]):
        raise ValueError(
            f"embedding_bag: offsets must begin with 0, not fall, and stay within {x.shape[0]}"
        )
    ends = starts[1:] if last else np.append(starts[1:], x.shape[0])
    starts = starts[: len(ends)]
    return starts, ends


def _flat_bags(x: Any, offsets: Any, last: bool) -> tuple[Any, Any, int]:
    """Indices (N,), the bag of each, and how many bags there are."""
    if x.ndim == 2 and offsets is None:
        count, each = x.shape
        return reshape(x, (count * each,)), tensor(np.repeat(np.arange(count), each)), count
    starts, ends = _limits(x, offsets, last)
    bags = np.repeat(np.arange(len(ends)), ends - starts)
    return x[: len(bags)], tensor(bags, dtype=int64), len(ends)


def _largest(weight: Any, places: Any, there: Any, by_frequency: bool) -> Any:
    if by_frequency:
        raise NotImplementedError("embedding_bag: scale_grad_by_freq with mode='max'")
    rows = take(weight, [places], 0)
    if there is None:
        return max_(rows, 1)[0]
    there = reshape(there, (*places.shape, 1))
    most = max_(where(there, rows, float("-inf")), 1)[0]
    return where(most == float("-inf"), 0.0, most)
