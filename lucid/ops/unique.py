"""Distinct elements and counts of them: unique, unique_consecutive, bincount, histc, histogram.

All are made of the sort, running sums and additions at places; their sizes depend on values, so
none can be traced.
"""

import builtins
from collections.abc import Sequence
from typing import Any

from lucid.dtypes import FLOATING, INTEGER, float64, int64
from lucid.op import normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.creation import arange, full, linspace, ones, zeros
from lucid.ops.elementwise import where
from lucid.ops.gather import put_zeros, take
from lucid.ops.index import nonzero
from lucid.ops.join import cat
from lucid.ops.reduce import any_
from lucid.ops.scan import cumsum_
from lucid.ops.search import search
from lucid.ops.shape import movedim
from lucid.ops.sort import argsort, ordered, starts
from lucid.ops.statistics import aminmax
from lucid.ops.view import expand, reshape
from lucid.tensor import Tensor


def unique(
    x,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
):
    """The distinct elements (or slices along `dim`) in order: y, or (y, inverse, counts) as asked.

    x == y[inverse]; counts says how often each occurs. They are in order whether `sorted` or not.

    >>> import lucid
    >>> lucid.unique(lucid.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    x = x.detach()
    if dim is None:
        flat = reshape(x, (x.numel(),))
        values, places = ordered(flat, x.numel(), False)
        return _distinct(values, starts(values, 0), places, x.shape, return_inverse, return_counts)
    d = normal_dim("unique", dim, x.ndim)
    rows = movedim(x, d, 0)
    flat = rows.reshape(rows.shape[0], _width(rows))
    # Sorted by the last column, then stably by those before it.
    order = arange(rows.shape[0])
    for column in reversed(range(flat.shape[1])):
        order = order[argsort(flat[:, column][order], 0)]
    made = _distinct(
        rows[order], _row_starts(flat[order]), order, (rows.shape[0],), return_inverse,
        return_counts,
    )  # fmt: skip
    return _along(made, d)


def unique_consecutive(
    x, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
):
    """The first element (or slice along `dim`) of each run of equal ones: y, or (y, inverse,
    counts) as asked.

    >>> import lucid
    >>> lucid.unique_consecutive(lucid.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    x = x.detach()
    if dim is None:
        flat = reshape(x, (x.numel(),))
        first = starts(flat, 0)
        return _distinct(flat, first, None, x.shape, return_inverse, return_counts)
    d = normal_dim("unique_consecutive", dim, x.ndim)
    rows = movedim(x, d, 0)
    first = _row_starts(rows.reshape(rows.shape[0], _width(rows)))
    made = _distinct(rows, first, None, (rows.shape[0],), return_inverse, return_counts)
    return _along(made, d)


def _width(rows: Any) -> int:
    width = 1
    for n in rows.shape[1:]:
        width *= n
    return width


def _row_starts(flat: Any) -> Any:
    """Where a run of equal rows begins."""
    n = flat.shape[0]
    if n <= 1:
        return full((n,), True)
    other = any_(flat[1:] != flat[:-1], (1,), False)
    return cat([full((1,), True), other])


def _along(made: Any, d: int) -> Any:
    """The distinct slices back in dimension d."""
    if isinstance(made, tuple):
        return (movedim(made[0], 0, d).contiguous(), *made[1:])
    return movedim(made, 0, d).contiguous()


def _distinct(values, first, places, shape, return_inverse: bool, return_counts: bool) -> Any:
    """What unique returns, from elements in runs, the starts of the runs, and where they stood."""
    n = values.shape[0]
    at = nonzero(first, as_tuple=True)[0]
    found = [take(values, [at], 0)]
    if return_inverse:
        number = cumsum_(to_dtype(first, int64), 0) - 1
        if places is not None and n:
            number = zeros(n, dtype=int64).scatter(0, places, number)
        found.append(number.reshape(shape))
    if return_counts:
        ends = cat([at[1:], full((1,), n, dtype=int64)]) if at.shape[0] else at
        found.append(ends - at)
    return found[0] if len(found) == 1 else tuple(found)


def bincount(x, weights=None, minlength: int = 0):
    """How often each integer from 0 on occurs in a vector; with weights, their sums (float64, or
    their own type if they are float32).

    >>> import lucid
    >>> lucid.bincount(lucid.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    if x.ndim != 1 or x.dtype.category != INTEGER:
        raise RuntimeError(
            f"bincount: a vector of integers is needed, got {x.dtype!r} of shape {tuple(x.shape)}"
        )
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength must not be negative, got {minlength}")
    if weights is not None and tuple(weights.shape) != tuple(x.shape):
        raise RuntimeError(
            f"bincount: weights of shape {tuple(weights.shape)} for {x.shape[0]} numbers"
        )
    if x.shape[0] == 0:
        return zeros(minlength, dtype=int64)
    low, high = map(int, aminmax(x))
    if low < 0:
        raise RuntimeError(f"bincount: numbers must not be negative, got {low}")
    size = max(high + 1, minlength)
    if weights is None:
        added = expand(ones(1, dtype=int64), (x.shape[0],))
    else:
        added = weights.detach()
        if added.dtype.name not in ("float32", "float64"):
            added = to_dtype(added, float64)
    return put_zeros(added, [x], (size,), 0)


def histc(x, bins: int = 100, min: float = 0, max: float = 0):
    """How many elements lie in each of `bins` equal intervals from min to max (by default the
    extremes of x); elements outside and NaN are not counted, max belongs to the last.

    >>> import lucid
    >>> lucid.histc(lucid.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    if bins <= 0:
        raise RuntimeError(f"histc: bins must be positive, got {bins}")
    low, high = _range("histc", x, None if min == max and x.numel() else (min, max), 1.0)
    x = reshape(x.detach(), (x.numel(),))
    counts = zeros(bins, dtype=int64)
    if x.shape[0]:
        inside = (x >= low) & (x <= high)
        place = ((to_dtype(x, float64) - low) * (bins / (high - low))).floor()
        place = where(inside, place, 0.0).clamp(max=bins - 1)
        counts = put_zeros(to_dtype(inside, int64), [to_dtype(place, int64)], (bins,), 0)
    return to_dtype(counts, x.dtype)


def _range(
    name: str, x: Any, ends: Sequence[float] | None, wider: float = 0.5
) -> tuple[float, float]:
    """The ends of a range, by default the extremes of x; one of no width is made `wider`."""
    low, high = (0.0, 1.0) if ends is None else ends
    if ends is None and x.numel():
        low, high = float(x.min()), float(x.max())
    if low == high:
        low, high = low - wider, high + wider
    if not (low < high and abs(low) < float("inf") and abs(high) < float("inf")):
        raise RuntimeError(f"{name}: the range from {low} to {high} must be finite and not empty")
    return float(low), float(high)


def histogram(x, bins=100, *, range=None, weight=None, density: bool = False):
    """(counts, edges): how many elements, or the sums of their weights, lie between neighbouring
    edges; the last interval has both of its ends. bins is a number, for equal intervals over
    `range` (by default the extremes of x), or the edges. density: divided by total and widths.

    >>> import lucid
    >>> lucid.histogram(lucid.tensor([1.0, 2.0, 1.0]), bins=2, range=(0.0, 3.0))
    (tensor([2., 1.]), tensor([0.0000, 1.5000, 3.0000]))
    """
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"histogram: a floating tensor is needed, got {x.dtype!r}")
    flat = reshape(x.detach(), (x.numel(),))
    low: Tensor | float
    high: Tensor | float
    if isinstance(bins, Tensor):
        if range is not None:
            raise RuntimeError("histogram: range has no meaning where bins are the edges")
        edges = bins.detach()
        low, high = edges[0], edges[-1]
    else:
        low, high = _range("histogram", x, range)
        edges = linspace(low, high, int(bins) + 1, dtype=x.dtype)
    count = edges.shape[0] - 1
    # The last edge is rounded: an element at the end of the range may lie above it.
    inside = (flat >= low) & (flat <= high)
    place = (search(edges, flat, True) - 1).clamp(0, count - 1)
    if weight is None:
        added = to_dtype(inside, x.dtype)
    else:
        added = where(inside, reshape(weight.detach(), (x.numel(),)), 0.0)
    counts = put_zeros(added, [place], (count,), 0)
    if density:
        counts = counts / counts.sum() / (edges[1:] - edges[:-1])
    return counts, edges


def histogramdd(x, bins, *, range=None, weight=None, density: bool = False):
    """(counts, edges): how many of the points x (..., N), or the sums of their weights (...), lie
    in each cell of an N-dimensional grid; the last interval of a dimension has both of its ends.

    bins: a number for all dimensions, N numbers, or N tensors of edges; numbers give equal
    intervals over `range` (low and high of each dimension in turn; by default the extremes).
    density: divided by the total and the cells' volumes.

    >>> import lucid
    >>> x = lucid.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
    >>> lucid.histogramdd(x, bins=[3, 3], range=[0.0, 3.0, 0.0, 3.0])[0].tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    """
    if x.dtype.category != FLOATING or x.ndim < 2:
        raise RuntimeError(
            f"histogramdd: a floating tensor of points (..., N) is needed, got {x.dtype!r} "
            f"{tuple(x.shape)}"
        )
    n = x.shape[-1]
    points = reshape(x.detach(), (x.numel() // n if n else 0, n))
    given = [bins] * n if hasattr(bins, "__index__") else list(bins)
    if len(given) != n:
        raise RuntimeError(f"histogramdd: {len(given)} bins for points of {n} dimensions")
    of_edges = [isinstance(b, Tensor) for b in given]
    if any(of_edges) and range is not None:
        raise RuntimeError("histogramdd: range has no meaning where bins are the edges")
    if range is not None and len(range) != 2 * n:
        raise RuntimeError(f"histogramdd: range must have {2 * n} numbers, got {len(range)}")
    edges, places, inside = [], [], None
    for d, b in enumerate(given):
        along = points.select(1, d)
        if of_edges[d]:
            edge = b.detach()
            low, high = edge[0], edge[-1]
        else:
            ends = None if range is None else (range[2 * d], range[2 * d + 1])
            low, high = _range("histogramdd", along, ends)
            edge = linspace(low, high, int(b) + 1, dtype=x.dtype)
        # The last edge is rounded: an element at the end of the range may lie above it.
        within = (along >= low) & (along <= high)
        inside = within if inside is None else inside & within
        places.append((search(edge, along, True) - 1).clamp(0, edge.shape[0] - 2))
        edges.append(edge)
    if weight is None:
        added = to_dtype(inside, x.dtype)
    else:
        added = where(inside, reshape(weight.detach(), (points.shape[0],)), 0.0)
    counts = put_zeros(added, places, tuple(e.shape[0] - 1 for e in edges), 0)
    if density:
        counts = counts / counts.sum()
        for d, edge in enumerate(edges):
            shape = tuple(-1 if k == d else 1 for k in builtins.range(n))
            counts = counts / (edge[1:] - edge[:-1]).reshape(shape)
    return counts, tuple(edges)


def nonzero_static(x, *, size: int, fill_value: int = -1):
    """`nonzero` with a given number of rows: cut off, or filled up with `fill_value`.

    >>> import lucid
    >>> lucid.nonzero_static(lucid.tensor([0, 3]), size=2)
    tensor([[ 1],
            [-1]])
    """
    found = nonzero(x)[:size]
    left = size - found.shape[0]
    return cat([found, full((left, x.ndim), fill_value, dtype=int64)]) if left else found
