"""Sorting along a dimension, and what is read off sorted rows: topk, median, mode, quantiles.

One record, `ordered`, over the template backend/cpu/sort.py; the rest are functions of it. NaN
counts as greater than every number, as in PyTorch; equal elements keep their order.
"""

import builtins
from typing import Any

import numpy as np

from lucid.array import Array
from lucid.dtypes import FLOATING, int64
from lucid.lazy import lazy
from lucid.op import Opaque, normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.creation import arange, full, tensor
from lucid.ops.elementwise import where
from lucid.ops.gather import gather_, scatter_zeros, side_by_side
from lucid.ops.join import cat
from lucid.ops.reduce import any_, max_located, sum_
from lucid.ops.running import cummax
from lucid.ops.shape import movedim
from lucid.ops.statistics import Pair
from lucid.ops.view import expand, reshape
from lucid.plan.steps import HEAD, Bound, Step

_native = lazy("lucid.backend.cpu.sort")


class ordered(Opaque):
    """Places skip to k of each row (the last dimension) in order, and where they stood.

    The gradient goes back to where the elements came from.
    """

    public = False
    label = "sort"
    count = 2
    numbered = ()

    def names(x, *, k, descending, skip=0):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        found = (*shape[:-1], params[0] - params[2])
        return [(found, kind), (found, int64)]

    def lower(context, inputs, params, outputs):
        k, descending, skip = params
        values, places = outputs
        if 0 in values.shape:
            return []
        copied, x = side_by_side(context, inputs[0])
        n = x.shape[-1]
        rows = 1
        for m in x.shape[:-1]:
            rows *= m
        operands = {"x": x, "values": values, "places": places}

        def bind(threads: int) -> list[Bound]:
            call = _native.plan_sort(x.dtype, descending, rows, n, k, skip, threads)
            pointers = [(word, operands[name]) for name, word in call.pointers]
            return [Bound(call.address, call.words[HEAD:], pointers, scratch=call.scratch)]

        return [*copied, Step("sort", list(operands.values()), bind, work=rows * n * 8)]

    def vjp_x(g, y1, x_meta):
        return scatter_zeros(g, y1, x_meta.shape, len(x_meta.shape) - 1)

    def ref(x, k, descending, skip):
        keys = -x.astype(np.float64) if descending else x
        places = np.argsort(keys, -1, kind="stable")[..., skip:k]
        return np.take_along_axis(x, places, -1), places


def _sorted(
    name: str, x: Any, dim: int, descending: bool, k: int | None = None, skip: int = 0
) -> Pair:
    """(values, places) along dim; places skip to k where k is given."""
    d = normal_dim(name, dim, x.ndim)
    if x.ndim == 0:
        values, places = ordered(reshape(x, (1,)), 1 if k is None else k, descending)
        shape = () if k is None or k == 1 else (k,)
        return Pair((reshape(values, shape), reshape(places, shape)))
    n = x.shape[d]
    k = n if k is None else k
    if d == x.ndim - 1:
        return Pair(ordered(x, k, descending, skip))
    values, places = ordered(movedim(x, d, -1), k, descending, skip)
    return Pair((movedim(values, -1, d), movedim(places, -1, d)))


def sort(x, dim: int = -1, descending: bool = False, stable: bool = False):
    """(values, indices) in order along `dim`; equal elements keep their order, stable or not.

    NaN counts as the greatest. The gradient of the values goes back to their places.

    >>> import lucid
    >>> values, indices = lucid.sort(lucid.tensor([3.0, 1.0, 2.0]))
    >>> values, indices
    (tensor([1., 2., 3.]), tensor([1, 2, 0]))
    """
    if isinstance(dim, bool):
        descending, dim = dim, -1
    return _sorted("sort", x, dim, bool(descending))


def argsort(x, dim: int = -1, descending: bool = False, stable: bool = False):
    """The indices that sort x along `dim`.

    >>> import lucid
    >>> lucid.argsort(lucid.tensor([3, 1, 2]), descending=True)
    tensor([0, 2, 1])
    """
    return _sorted("argsort", x, dim, bool(descending))[1]


def msort(x):
    """The values of x in order along its first dimension.

    >>> import lucid
    >>> lucid.msort(lucid.tensor([3, 1, 2]))
    tensor([1, 2, 3])
    """
    return _sorted("msort", x, 0, False)[0]


def topk(x, k: int, dim: int = -1, largest: bool = True, sorted: bool = True):
    """(values, indices) of the k largest (or smallest) along `dim`, in order either way.

    Raises RuntimeError where k is negative or more than the size of the dimension.

    >>> import lucid
    >>> lucid.topk(lucid.tensor([3, 1, 2]), 2)
    (tensor([3, 2]), tensor([0, 2]))
    """
    d = normal_dim("topk", dim, x.ndim)
    n = x.shape[d] if x.ndim else 1
    k = int(k)
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: k is {k}, dimension {d} has size {n}; k must be 0 to {n}")
    return _sorted("topk", x, dim, bool(largest), k)


def kthvalue(x, k: int, dim: int = -1, keepdim: bool = False):
    """(value, index) of the k-th smallest along `dim`, counted from 1.

    >>> import lucid
    >>> lucid.kthvalue(lucid.tensor([3.0, 1.0, 2.0]), 2)
    (tensor(2.), tensor(2))
    """
    d = normal_dim("kthvalue", dim, x.ndim)
    n = x.shape[d] if x.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue: k is {k}, dimension {d} has size {n}; k must be 1 to {n}")
    if x.ndim == 0:
        return Pair((x.clone(), full((), 0, dtype=int64)))
    found = _sorted("kthvalue", x, d, False, k, k - 1)
    return Pair(_kept(part, d, keepdim) for part in found)


def _kept(y: Any, d: int, keepdim: bool) -> Any:
    return y if keepdim else reshape(y, (*y.shape[:d], *y.shape[d + 1 :]))


def median(x, dim: int | None = None, keepdim: bool = False):
    """The lower of the middle elements, of all or (values, indices) along `dim`; NaN if one is.

    >>> import lucid
    >>> lucid.tensor([3.0, 1.0, 2.0, 4.0]).median()
    tensor(2.)
    """
    return _middle("median", x, dim, keepdim, False)


def nanmedian(x, dim: int | None = None, keepdim: bool = False):
    """`median` of the elements that are not NaN.

    >>> import lucid
    >>> lucid.nanmedian(lucid.tensor([3.0, float("nan"), 1.0]))
    tensor(1.)
    """
    return _middle("nanmedian", x, dim, keepdim, True)


def _middle(name: str, x: Any, dim: int | None, keepdim: bool, skip: bool) -> Any:
    if dim is None:
        if x.numel() == 0:
            return full((), float("nan"), dtype=x.dtype)
        return _middle(name, reshape(x, (x.numel(),)), 0, False, skip)[0]
    d = normal_dim(name, dim, x.ndim)
    if x.ndim == 0:
        return Pair((x.clone(), full((), 0, dtype=int64)))
    n = x.shape[d]
    if n == 0:
        raise IndexError(f"{name}: dimension {d} has size 0 and no middle")
    if x.dtype.category != FLOATING:
        return kthvalue(x, (n + 1) // 2, d, keepdim)
    if not skip:
        half = (n + 1) // 2
        place = _sorted(name, x.detach(), d, False, half, half - 1)[1]
        none, absent = max_located(x.detach() != x.detach(), d, True)  # the first NaN, if any
        place = where(none, absent, place)
        return Pair(_kept(part, d, keepdim) for part in (gather_(x, place, d), place))
    values, places = _sorted(name, x, d, False)
    absent = sum_(x != x, (d,), True)  # NaN stand last
    at = (builtins.max(n, 1) - absent - 1).clamp(min=0) // 2
    return Pair(_kept(gather_(part, at, d), d, keepdim) for part in (values, places))


def mode(x, dim: int = -1, keepdim: bool = False):
    """(values, indices): the most frequent along `dim`, the smallest of equally frequent ones,
    and where it stands last.

    >>> import lucid
    >>> lucid.mode(lucid.tensor([3, 1, 3, 1, 2]))
    (tensor(1), tensor(3))
    """
    d = normal_dim("mode", dim, x.ndim)
    if x.ndim == 0:
        return Pair((x.clone(), full((), 0, dtype=int64)))
    n = x.shape[d]
    if n == 0:
        raise IndexError(f"mode: dimension {d} has size 0")
    values, places = _sorted("mode", x, d, False)
    at = max_located(_run_lengths(values.detach(), d), d, True)[1]
    return Pair(_kept(gather_(part, at, d), d, keepdim) for part in (values, places))


def _run_lengths(values: Any, d: int) -> Any:
    """How many equal elements stand in a row up to each place of sorted values."""
    n = values.shape[d]
    shape = [1] * values.ndim
    shape[d] = n
    place = expand(reshape(arange(n), tuple(shape)), tuple(values.shape))
    first = starts(values, d)
    return place - cummax(where(first, place, 0), d)[0]


def starts(values: Any, d: int) -> Any:
    """Where a run of equal elements begins along d: true at the first."""
    n = values.shape[d]
    head = full((*values.shape[:d], builtins.min(n, 1), *values.shape[d + 1 :]), True)
    if n <= 1:
        return head
    return cat([head, values.narrow(d, 1, n - 1) != values.narrow(d, 0, n - 1)], d)


# Quantiles

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def quantile(x, q, dim: int | None = None, keepdim: bool = False, *, interpolation="linear"):
    """The q-quantiles along `dim` (of all elements by default): the value at place q (n - 1) of
    the sorted ones, between two of them as `interpolation` says; NaN where there is one.

    q is a number or a vector, whose dimension then comes first.

    >>> import lucid
    >>> lucid.quantile(lucid.tensor([0.0, 1.0, 2.0, 4.0]), 0.5)
    tensor(1.5000)
    """
    return _quantile("quantile", x, q, dim, keepdim, interpolation, False)


def nanquantile(x, q, dim: int | None = None, keepdim: bool = False, *, interpolation="linear"):
    """`quantile` of the elements that are not NaN.

    >>> import lucid
    >>> lucid.nanquantile(lucid.tensor([0.0, float("nan"), 2.0]), 0.5)
    tensor(1.)
    """
    return _quantile("nanquantile", x, q, dim, keepdim, interpolation, True)


def _quantile(name, x, q, dim, keepdim, interpolation, skip) -> Any:
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"{name}: a floating tensor is needed, got {x.dtype!r}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"{name}: interpolation must be one of {', '.join(INTERPOLATIONS)}, "
            f"not {interpolation!r}"
        )
    q = q if isinstance(q, Array) else tensor(q, dtype=x.dtype)
    if q.dtype is not x.dtype or q.ndim > 1:
        raise RuntimeError(f"{name}: q must be a number or a vector of {x.dtype!r}")
    if not bool(((q >= 0) & (q <= 1)).all()):
        raise RuntimeError(f"{name}: q must lie between 0 and 1")
    rank = x.ndim
    if dim is None:
        flat, d = reshape(x, (x.numel(),)), 0
    else:
        d = normal_dim(name, dim, rank)
        flat = x if rank else reshape(x, (1,))
        flat = movedim(flat, d, -1)
    n = flat.shape[-1]
    if n == 0:
        raise RuntimeError(f"{name}: there are no elements to take a quantile of")
    values = ordered(flat, n, False)[0]  # (..., n)
    absent = sum_(flat.detach() != flat.detach(), (flat.ndim - 1,), True)  # (..., 1)
    made = _between(values, q, n - absent if skip else None, interpolation)  # (..., q)
    if not skip:
        made = where(any_(absent != 0, (absent.ndim - 1,), True), float("nan"), made)
    if dim is None:
        shape = (q.numel(), *([1] * rank if keepdim else []))
        made = reshape(made, shape)
    else:
        made = movedim(made, -1, 0)
        if keepdim and rank:
            made = made.unsqueeze(d + 1)
    return made if q.ndim else reshape(made, tuple(made.shape[1:]))


def _between(values: Any, q: Any, present: Any, interpolation: str) -> Any:
    """The quantiles of sorted rows, of which the first `present` elements count."""
    n, last = values.shape[-1], values.ndim - 1
    lead = tuple(values.shape[:-1])
    q = expand(reshape(q, (1,) * last + (q.numel(),)), (*lead, q.numel()))
    place = (
        q * float(n - 1) if present is None else q * to_dtype((present - 1).clamp(min=0), q.dtype)
    )
    if interpolation == "nearest":
        return gather_(values, to_dtype(place.round(), int64), last)
    low, high = place.floor(), place.ceil()
    under = gather_(values, to_dtype(low, int64), last)
    if interpolation == "lower":
        return under
    over = gather_(values, to_dtype(high, int64), last)
    if interpolation == "higher":
        return over
    weight = 0.5 * (high - low) if interpolation == "midpoint" else place - low
    return under + (over - under) * where(high == low, 0.0, weight)
