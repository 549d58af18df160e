"""scatter_reduce: products, extremes and means of elements that go to one place.

The records combine as those of gather.py do; places.py makes scatter with reduce="multiply" of it.
"""

from typing import Any

from lucid.array import Array
from lucid.dtypes import FLOATING, bool_, int64
from lucid.kernel import expr
from lucid.op import normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.creation import full, ones, zeros
from lucid.ops.elementwise import floor_divide, where
from lucid.ops.gather import ScatterAlong, fit_source, gather_, scatter_plus, scatter_set


def same_rank(name: str, x: Any, index_tensor: Any) -> None:
    if x.ndim != index_tensor.ndim:
        raise RuntimeError(
            f"{name}: index has {index_tensor.ndim} dimensions, the input {x.ndim}; they must agree"
        )


def same_kind(name: str, x: Any, source: Any) -> None:
    if x.dtype is not source.dtype:
        raise RuntimeError(
            f"{name}: the source is {source.dtype!r}, the input {x.dtype!r}; convert it with to()"
        )


def source_of(x: Any, index: Any, src: Any, value: Any) -> Any:
    src = value if src is None else src
    return src if isinstance(src, Array) else full(index.shape, src, dtype=x.dtype)


class scatter_times(ScatterAlong):
    """x multiplied by v at index along dim."""

    public = False
    label = "scatter_reduce"

    def names(x, v, index, *, dim):
        pass

    def combine(old, new):
        return old & new if old.dtype is bool_ else old * new

    def vjp_x(g, x, v, index, dim):
        return g * _others(x, v, index, dim)[0]

    def vjp_v(g, x, v, index, dim):
        return fit_source(gather_(g, index, dim), v) * _others(x, v, index, dim)[1]


def _others(x: Any, v: Any, index: Any, dim: int) -> tuple[Any, Any]:
    """For each element of x and of v the product of the others that go to its place: without a
    division by zero, as the zeros are counted apart."""

    def parts(t: Any) -> tuple[Any, Any]:
        none = t == 0.0
        return where(none, 1.0, t), to_dtype(none, t.dtype)

    (x_rest, x_none), (v_rest, v_none) = parts(x), parts(v)
    product = scatter_times(x_rest, v_rest, index, dim)
    zeros_there = scatter_plus(x_none, v_none, index, dim)

    def others(rest: Any, none: Any, product: Any, zeros_there: Any) -> Any:
        return where(zeros_there - none == 0.0, product / rest, 0.0)

    of_v = (fit_source(gather_(t, index, dim), v) for t in (product, zeros_there))
    return others(x_rest, x_none, product, zeros_there), others(v_rest, v_none, *of_v)


class ScatterExtreme(ScatterAlong, abstract=True):
    """The extreme of x and the v that go to its place; equal ones share the gradient."""

    label = "scatter_reduce"

    def names(x, v, index, *, dim):
        pass

    def vjp_x(g, x, v, y, index, dim):
        hit, _, count = _hits(x, v, y, index, dim)
        return where(hit, g / count, 0.0)

    def vjp_v(g, x, v, y, index, dim):
        _, hit, count = _hits(x, v, y, index, dim)
        return where(hit, fit_source(gather_(g / count, index, dim), v), 0.0)


def _hits(x: Any, v: Any, y: Any, index: Any, dim: int) -> tuple[Any, Any, Any]:
    """Which elements of x and v are the extremes, and how many share one."""
    there = gather_(y, index, dim)
    read = fit_source(ones(index.shape, dtype=v.dtype), v) != 0.0
    hit_x, hit_v = x == y, (v == fit_source(there, v)) & read
    count = scatter_plus(to_dtype(hit_x, x.dtype), to_dtype(hit_v, v.dtype), index, dim)
    return hit_x, hit_v, where(count == 0.0, 1.0, count)


class scatter_highest(ScatterExtreme):
    """The largest of x and the v at index along dim; NaN if there is one."""

    public = False
    combine = expr.maximum


class scatter_lowest(ScatterExtreme):
    """The smallest of x and the v at index along dim; NaN if there is one."""

    public = False
    combine = expr.minimum


# What the elements of a place begin with, that x's own does not count for.
NEUTRAL = {"sum": 0, "mean": 0, "prod": 1, "amax": None, "amin": None}


def scatter_reduce(x, dim: int, index, src, reduce: str, *, include_self: bool = True):
    """x combined with src at index along dim: "sum", "prod", "mean", "amax" or "amin" of x's
    element and the elements of src that go to its place.

    With include_self=False, x's own element does not count where any other does. Repeated places
    combine in order. Equal extremes share the gradient; a mean of integers rounds down.

    >>> import lucid
    >>> places = lucid.tensor([0, 1, 1])
    >>> lucid.scatter_reduce(lucid.ones(2), 0, places, lucid.tensor([5.0, 2.0, 3.0]), "prod")
    tensor([5., 6.])
    """
    if reduce not in NEUTRAL:
        raise ValueError(f"scatter_reduce: reduce must be one of {tuple(NEUTRAL)}, not {reduce!r}")
    same_rank("scatter_reduce", x, index)
    same_rank("scatter_reduce", x, src)
    same_kind("scatter_reduce", x, src)
    if x.ndim == 0:
        x, index, src = x.reshape(1), index.reshape(1), src.reshape(1)
        return scatter_reduce(x, 0, index, src, reduce, include_self=include_self).reshape(())
    d = normal_dim("scatter_reduce", dim, x.ndim)
    start = x
    if not include_self:
        neutral = NEUTRAL[reduce]
        if neutral is None:
            high, low = _limits(x.dtype)
            neutral = low if reduce == "amax" else high
        start = scatter_set(x, full(index.shape, neutral, dtype=x.dtype), index, d)
    record = {
        "prod": scatter_times, "amax": scatter_highest, "amin": scatter_lowest,
    }.get(reduce, scatter_plus)  # fmt: skip
    made = record(start, src, index, d)
    if reduce != "mean":
        return made
    own = ones(x.shape, dtype=int64) if include_self else zeros(
        x.shape, dtype=int64
    )  # fmt: skip
    count = scatter_plus(own, ones(index.shape, dtype=int64), index, d)
    count = count.clamp(min=1)
    if x.dtype.category != FLOATING:
        return to_dtype(floor_divide(made, count), x.dtype)
    return made / to_dtype(count, x.dtype)


def _limits(kind: Any) -> tuple[Any, Any]:
    """The largest and the smallest that a dtype has."""
    if kind.category == FLOATING:
        return float("inf"), float("-inf")
    if kind is bool_:
        return True, False
    bits = 8 * kind.itemsize - kind.signed
    return (1 << bits) - 1, -(1 << bits) if kind.signed else 0
