"""Search in sorted rows, and what is made of it: searchsorted, bucketize, isin, multinomial."""

from typing import Any

import numpy as np

from lucid.dtypes import FLOATING, bool_, float64, int32, int64, promote
from lucid.kernel import expr
from lucid.op import Pointwise, normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.creation import full, tensor, zeros
from lucid.ops.random import rand
from lucid.ops.reduce import any_, sum_
from lucid.ops.scan import cumsum_
from lucid.ops.sort import ordered
from lucid.ops.view import expand, reshape
from lucid.tensor import Tensor


class search(Pointwise):
    """How many elements of a sorted row are less than (right: at most) each x: binary search.

    The text has one step for each bit of the row's length, so it is shared by rows of like sizes.
    """

    public = False
    label = "searchsorted"

    def names(row, x, *, right):
        pass

    def infer(types, params):
        return [(types[1][0], int64)]

    def element(types, index, loads, right):
        n = types[0][0][-1]
        kind = promote(types[0][1], types[1][1]).compute
        x = expr.cast(loads[1](index), kind)
        lead = list(index[: len(types[0][0]) - 1])
        size, found = expr.size(n), expr.ZERO
        last = expr.size(n - 1) if n > 1 else expr.ZERO
        for bit in reversed(range(n.bit_length())):
            reach = found + (1 << bit)
            at = expr.where(reach > size, last, reach - 1)
            there = expr.cast(loads[0]([*lead, at]), kind)
            if kind is bool_:
                before = (~there | x) if right else (~there & x)
            else:
                # As `not greater`: NaN stands behind everything.
                before = ~(there > x) if right else ~(there >= x)
            found = expr.where(before & (reach <= size), reach, found)
        return found

    def axis_map(call):
        one_row = len(call.shapes[0]) == 1 and not call.batched[0]
        return call.run(call.inputs if one_row else call.spread(), call.params)

    def ref(row, x, right):
        side = "right" if right else "left"
        if row.ndim == 1:
            return np.searchsorted(row, x, side)
        pairs = zip(row.reshape(-1, row.shape[-1]), x.reshape(-1, x.shape[-1]), strict=True)
        return np.stack([np.searchsorted(r, v, side) for r, v in pairs]).reshape(x.shape)


def searchsorted(
    sorted_sequence, input, *, out_int32: bool = False, right: bool = False, side=None, sorter=None
):
    """The place of each value in the sorted rows that keeps them sorted: before equal elements,
    or behind them (right=True, side="right"). A sequence of one dimension serves all values.

    `sorter`: the indices that sort the rows. NaN belongs at the end.

    >>> import lucid
    >>> lucid.searchsorted(lucid.tensor([1, 3, 5]), lucid.tensor([3, 6]))
    tensor([1, 3])
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(f"searchsorted: side must be 'left' or 'right', not {side!r}")
    if side == "left" and right:
        raise RuntimeError("searchsorted: side='left' and right=True contradict each other")
    row, right = sorted_sequence, right or side == "right"
    if row.ndim == 0:
        raise RuntimeError("searchsorted: the sequence must have a dimension")
    alone = not isinstance(input, Tensor)
    x = tensor(input, dtype=row.dtype if isinstance(input, int) else None) if alone else input
    if row.ndim > 1 and tuple(row.shape[:-1]) != tuple(x.shape[:-1]):
        raise RuntimeError(
            f"searchsorted: a sequence of shape {tuple(row.shape)} and values of shape "
            f"{tuple(x.shape)}: all dimensions but the last must agree"
        )
    if sorter is not None:
        if tuple(sorter.shape) != tuple(row.shape):
            raise RuntimeError(
                f"searchsorted: the sorter has shape {tuple(sorter.shape)}, the sequence "
                f"{tuple(row.shape)}"
            )
        row = row.gather(-1, sorter)
    if row.shape[-1] == 0:
        made = zeros(x.shape, dtype=int64)
    else:
        made = search(row.detach(), x.detach(), right)
    return to_dtype(made, int32) if out_int32 else made


def bucketize(input, boundaries, *, out_int32: bool = False, right: bool = False):
    """The number of the interval between sorted boundaries that each value lies in; a value that
    is a boundary belongs to the interval before it, or behind it (right=True).

    >>> import lucid
    >>> lucid.bucketize(lucid.tensor([0.5, 3.0]), lucid.tensor([1.0, 2.0]))
    tensor([0, 2])
    """
    if boundaries.ndim != 1:
        raise RuntimeError(
            f"bucketize: the boundaries must be a vector, got shape {tuple(boundaries.shape)}"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def isin(elements, test_elements, *, assume_unique: bool = False, invert: bool = False):
    """Which elements are among the others.

    >>> import lucid
    >>> lucid.isin(lucid.tensor([1, 2, 3]), lucid.tensor([3, 1]))
    tensor([ True, False,  True])
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin: one of the two must be a tensor")
    x = elements if isinstance(elements, Tensor) else tensor(elements)
    row = test_elements if isinstance(test_elements, Tensor) else tensor(test_elements)
    row, x = row.detach(), x.detach()
    if row.numel() == 0:
        return full(x.shape, invert, dtype=bool_)
    kind = promote(row.dtype, x.dtype)
    n = row.numel()
    row = to_dtype(ordered(reshape(row, (n,)), n, False)[0], kind)
    x = to_dtype(x, kind)
    found = row[search(row, x, False).clamp(max=n - 1)] == x
    return ~found if invert else found


def multinomial(x, num_samples: int, replacement: bool = False, *, generator=None):
    """Indices drawn from each row with probabilities in proportion to its elements.

    x is a vector or a matrix of non-negative numbers whose rows have a positive, finite sum.
    Without replacement the draws are the order of w / e, e exponential (Efraimidis and Spirakis,
    2006); with it, uniform numbers are looked up in the running sums.

    >>> import lucid
    >>> lucid.multinomial(lucid.tensor([0.0, 1.0, 0.0]), 1)
    tensor([1])
    """
    if x.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: a vector or a matrix is needed, got {x.ndim} dimensions")
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"multinomial: a floating tensor is needed, got {x.dtype!r}")
    if num_samples <= 0:
        raise RuntimeError(f"multinomial: num_samples must be positive, got {num_samples}")
    weights = x.detach()
    n = x.shape[-1]
    if not replacement and num_samples > n:
        raise RuntimeError(
            f"multinomial: {num_samples} draws without replacement from {n} categories; "
            "use replacement=True"
        )
    if x.numel() and not bool(((weights >= 0) & (weights < float("inf"))).all()):
        raise RuntimeError("multinomial: the probabilities must be finite and not negative")
    last = x.ndim - 1
    if n == 0 or not bool(any_(weights != 0, (last,), False).all()):
        raise RuntimeError("multinomial: the probabilities of a row sum to 0")
    weights = to_dtype(weights, float64)
    if not replacement:
        enough = sum_(weights != 0, (last,), False)
        if int(enough.min()) < num_samples:
            raise RuntimeError(
                f"multinomial: a row has fewer than {num_samples} categories of positive "
                "probability; use replacement=True"
            )
        # -log(1 - u) is exponential; u < 1, so it is finite, and positive but where u is 0.
        waited = -(-rand(x.shape, dtype=float64, generator=generator)).log1p()
        keys = weights / waited.clamp(min=1e-300)
        return ordered(keys, num_samples, True)[1]
    total = cumsum_(weights, last)
    draws = rand((*x.shape[:-1], num_samples), dtype=float64, generator=generator)
    top = total.narrow(last, n - 1, 1)
    # A product that rounds up to the total would leave the row.
    draws = (draws * top).minimum(top * (1.0 - 2.0**-52))
    return search(total, draws, True)


def take_along_dim(x, indices, dim: int | None = None):
    """Elements of x at the indices along `dim` (of the flattened x by default); the other
    dimensions broadcast.

    >>> import lucid
    >>> x = lucid.tensor([[3, 1], [2, 4]])
    >>> lucid.take_along_dim(x, x.argsort(1), 1)
    tensor([[1, 3],
            [2, 4]])
    """
    if dim is None:
        return reshape(x, (x.numel(),)).gather(0, reshape(indices, (indices.numel(),)))
    if x.ndim != indices.ndim:
        raise RuntimeError(
            f"take_along_dim: the indices have {indices.ndim} dimensions, the tensor {x.ndim}"
        )
    d = normal_dim("take_along_dim", dim, x.ndim)
    return _broadcast_but(x, indices, d).gather(d, _broadcast_but(indices, x, d))


def _broadcast_but(x: Any, other: Any, d: int) -> Any:
    pairs = enumerate(zip(x.shape, other.shape, strict=True))
    shape = tuple(n if i == d or n != 1 else m for i, (n, m) in pairs)
    return expand(x, shape)
