"""Running extremes and sums of exponentials along a dimension: cummax, cummin, logcumsumexp.

Serial along the dimension, parallel over the others, as cumsum in statistics.py.
"""

from typing import Any

import numpy as np

from lucid.dtypes import FLOATING, int64
from lucid.kernel import expr
from lucid.kernel.loops import Axis, Scan, Store, after, highest, lowest, state
from lucid.op import Opaque, normal_dim
from lucid.ops.creation import full
from lucid.ops.elementwise import where
from lucid.ops.gather import scatter_zeros
from lucid.ops.statistics import Pair
from lucid.ops.transcendental import exp, log
from lucid.ops.view import flip, reshape
from lucid.plan.nest import Nest, array_of, step


class RunningExtreme(Opaque, abstract=True):
    """(values, indices): the extreme up to each place, and where it stands last."""

    public = False
    count = 2
    numbered = ("dim",)
    largest = True

    def names(x, *, dim):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        return [(shape, kind), (shape, int64)]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        x, (y, place), dim = inputs[0], outputs, params[0]
        axes = [f"i{d}" for d in range(len(y.shape))]
        at = tuple(expr.index(a) for a in axes)
        kind = x.dtype.compute
        value = expr.cast(expr.load("x0", at, x.dtype), kind)
        i = at[dim]
        old, where_old = state(0, 0, kind), state(0, 1, int64)
        limit = expr.const(lowest(kind) if cls.largest else highest(kind), kind)
        initial, update = [limit, expr.ZERO], [value]
        if kind.category == 0:
            better = value | ~old if cls.largest else ~value | old
            update[0] = expr.where(better, value, old)
        else:
            # One instruction from step to step; what it makes of NaN does not matter, since a NaN
            # is a state of its own: it stays until a later one takes its place.
            worse = old > value if cls.largest else old < value
            update[0], better = expr.where(worse, old, value), ~worse
        extreme = after(0, 0, kind)
        if kind.category == FLOATING:
            nan = expr.isnan(value)
            better = (better & ~expr.isnan(state(0, 2, kind))) | nan
            initial.append(expr.zero(value))
            update.append(expr.where(nan, value, state(0, 2, kind)))
            extreme = expr.where(expr.isnan(after(0, 2, kind)), after(0, 2, kind), extreme)
        update.insert(1, expr.where(better, i, where_old))
        stores = (
            Store("y0", at, expr.cast(extreme, y.dtype)),
            Store("y1", at, after(0, 1, int64)),
        )
        scan = Scan(0, (Axis(axes[dim], expr.ZERO),), tuple(initial), tuple(update), stores)
        operands = {"y0": y, "y1": place, "x0": x}
        roles = {"y0": "out", "y1": "out", "x0": "in"}
        arrays = {n: array_of(n, o, roles[n]) for n, o in operands.items()}
        grid = [a for d, a in enumerate(axes) if d != dim]
        extents = dict(zip(axes, y.shape, strict=True))
        nest = Nest(cls.name, arrays, extents, grid, [axes[dim]], [scan], [])
        return [step(nest, "grid" if grid and dim != len(axes) - 1 else "none", operands)]

    def vjp_x(g, y1, x_meta, dim):
        return scatter_zeros(g, y1, x_meta.shape, dim)


class cummax_(RunningExtreme):
    """The largest up to each place along dim, and where it stands last."""

    public = False

    def ref(x, dim):
        return np.maximum.accumulate(x, dim), None


class cummin_(RunningExtreme):
    """The smallest up to each place along dim, and where it stands last."""

    public = False
    largest = False

    def ref(x, dim):
        return np.minimum.accumulate(x, dim), None


def _running(record: Any, name: str, x: Any, dim: int) -> Pair:
    d = normal_dim(name, dim, x.ndim)
    if x.ndim == 0:
        return Pair((x.clone(), full((), 0, dtype=int64)))
    return Pair(record(x, d))


def cummax(x, dim: int):
    """(values, indices): the largest element up to each place of `dim`, and where it stands.

    >>> import lucid
    >>> lucid.cummax(lucid.tensor([1, 3, 2]), 0)
    (tensor([1, 3, 3]), tensor([0, 1, 1]))
    """
    return _running(cummax_, "cummax", x, dim)


def cummin(x, dim: int):
    """(values, indices): the smallest element up to each place of `dim`, and where it stands.

    >>> import lucid
    >>> lucid.cummin(lucid.tensor([3, 1, 2]), 0)
    (tensor([3, 1, 1]), tensor([0, 1, 1]))
    """
    return _running(cummin_, "cummin", x, dim)


class logcumsumexp_(Opaque):
    """y[i] = log(e^x[0] + ... + e^x[i]): without overflow."""

    public = False
    numbered = ("dim",)

    def names(x, *, dim):
        pass

    def infer(types, params):
        return [(types[0][0], types[0][1])]

    def lower(context, inputs, params, outputs):
        x, y, dim = inputs[0], outputs[0], params[0]
        axes = [f"i{d}" for d in range(len(y.shape))]
        at = tuple(expr.index(a) for a in axes)
        kind = x.dtype.compute
        value = expr.cast(expr.load("x0", at, x.dtype), kind)
        # The state: the greatest m so far, and the sum of e^(x - m).
        old, total = state(0, 0, kind), state(0, 1, kind)
        high = expr.maximum(old, value)
        infinite = abs(high).eq(float("inf"))
        shift = expr.where(infinite, expr.zero(high), high)
        fresh = expr.math("exp", value - shift)
        kept = total * expr.math("exp", expr.where(abs(old).eq(float("inf")), old, old - shift))
        kept = expr.where(old.eq(float("-inf")), expr.zero(kept), kept)
        made = expr.math("log", after(0, 1, kind))
        top = after(0, 0, kind)
        made = expr.where(abs(top).eq(float("inf")), top, made + top)
        scan = Scan(
            0,
            (Axis(axes[dim], expr.ZERO),),
            (expr.const(float("-inf"), kind), expr.const(0.0, kind)),
            (high, kept + fresh),
            (Store("y0", at, expr.cast(made, y.dtype)),),
        )
        arrays = {"y0": array_of("y0", y, "out"), "x0": array_of("x0", x, "in")}
        grid = [a for d, a in enumerate(axes) if d != dim]
        extents = dict(zip(axes, y.shape, strict=True))
        nest = Nest("logcumsumexp", arrays, extents, grid, [axes[dim]], [scan], [])
        vector = "grid" if grid else "none"  # lanes pay for exp and log, even rows apart
        return [step(nest, vector, {"y0": y, "x0": x})]

    def vjp_x(g, x, y, dim):
        # sum over i >= k of g[i] e^(x[k] - y[i]), as sums of logarithms: y may grow by thousands.
        # The parts of positive and of negative g are summed apart.
        def part(g: Any) -> Any:
            counts = (g > 0.0) & (y != float("-inf"))
            logs = where(counts, log(where(counts, g, 1.0)) - y, float("-inf"))
            total = flip(logcumsumexp_(flip(logs, (dim,)), dim), (dim,))
            there = (total != float("-inf")) & (x != float("-inf"))
            return where(there, exp(where(there, total + x, 0.0)), 0.0)

        return part(g) - part(-g)

    def ref(x, dim):
        return np.logaddexp.accumulate(x, dim)


def logcumsumexp(x, dim: int):
    """log(sum of e^x) up to each place of `dim`, without overflow.

    >>> import lucid
    >>> lucid.logcumsumexp(lucid.zeros(2), 0)
    tensor([0.0000, 0.6931])
    """
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"logcumsumexp: a floating tensor is needed, got {x.dtype!r}")
    d = normal_dim("logcumsumexp", dim, x.ndim)
    if x.ndim == 0:
        return reshape(logcumsumexp_(reshape(x, (1,)), 0), ())
    return logcumsumexp_(x, d)
