"""Running sums and products along a dimension: serial there, parallel over the others."""

from typing import Any

import numpy as np

from lucid.dtypes import FLOATING, int64
from lucid.kernel import expr
from lucid.kernel.loops import Axis, Scan, Store, after, state
from lucid.op import Opaque, normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.padding import pad
from lucid.ops.view import flip
from lucid.plan.nest import Nest, array_of, step


class Running(Opaque, abstract=True):
    """A running combination along one dimension: serial there, parallel over the others."""

    public = False
    numbered = ("dim",)

    def names(x, *, dim):
        pass

    @classmethod
    def infer(cls, types, params):
        shape, kind, _ = types[0]
        return [(shape, kind if kind.category == FLOATING else int64)]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        start, combine = cls.start, cls.combine
        return running_step(cls.name, inputs, outputs[0], params[0], start, combine)


def running_step(name: str, inputs: Any, y: Any, dim: int, start: int, combine: Any) -> list:
    """y[i] = combine(y[i - 1], inputs[i]) along dim, `start` being before the first."""
    axes = [f"i{d}" for d in range(len(y.shape))]
    at = tuple(expr.index(a) for a in axes)
    kind = y.dtype.compute
    operands = {"y0": y} | {f"x{i}": x for i, x in enumerate(inputs)}
    values = [expr.cast(expr.load(f"x{i}", at, x.dtype), kind) for i, x in enumerate(inputs)]
    scan = Scan(
        0,
        (Axis(axes[dim], expr.ZERO),),
        (expr.const(start, kind),),
        (combine(state(0, 0, kind), *values),),
        (Store("y0", at, expr.cast(after(0, 0, kind), y.dtype)),),
    )
    grid = [a for d, a in enumerate(axes) if d != dim]
    arrays = {n: array_of(n, o, "out" if n == "y0" else "in") for n, o in operands.items()}
    nest = Nest(name, arrays, dict(zip(axes, y.shape, strict=True)), grid, [axes[dim]], [scan], [])
    return [step(nest, "grid" if grid and dim != len(axes) - 1 else "none", operands)]


class cumsum_(Running):
    """y[i] = x[0] + ... + x[i]."""

    start = 0

    def combine(a, b):
        return a + b

    def vjp_x(g, dim):
        return flip(cumsum_(flip(g, (dim,)), dim), (dim,))

    def ref(x, dim):
        return np.cumsum(x, axis=dim)


class cumprod_(Running):
    """y[i] = x[0] * ... * x[i]."""

    start = 1

    def combine(a, b):
        return a * b

    def vjp_x(g, x, y, dim):
        # sum over i >= k of g[i] prod of x[j <= i, j != k]: what follows k is a recurrence from
        # the end, which needs no division and so is right at zeros.
        w = shifted(reversed_along(x, dim), dim, 0.0)
        after = reversed_along(recurrence(reversed_along(g, dim), w, dim), dim)
        return after * shifted(y, dim, 1.0)

    def ref(x, dim):
        return np.cumprod(x, axis=dim)


class recurrence(Opaque):
    """y[i] = x[i] + w[i] * y[i - 1] along dim: a running weighted sum, serial there."""

    public = False
    numbered = ("dim",)

    def names(x, w, *, dim):
        pass

    def infer(types, params):
        return [(types[0][0], types[0][1])]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        (x, w), y = inputs, outputs[0]

        def moved(before, x, w):
            return x + w * before

        return running_step(cls.name, [x, w], y, params[0], 0, moved)

    def vjp_x(g, w, dim):
        return _recurrence_back(g, w, dim)

    def vjp_w(g, w, y, dim):
        return _recurrence_back(g, w, dim) * shifted(y, dim, 0.0)

    def ref(x, w, dim):
        x, w = np.moveaxis(x, dim, 0), np.moveaxis(w, dim, 0)
        y = np.zeros_like(x)
        for i in range(len(x)):
            y[i] = x[i] + (w[i] * y[i - 1] if i else 0)
        return np.moveaxis(y, 0, dim)


def _recurrence_back(g: Any, w: Any, dim: int) -> Any:
    """The same recurrence from the end, with the weights one place on."""
    later = shifted(reversed_along(w, dim), dim, 0.0)
    return reversed_along(recurrence(reversed_along(g, dim), later, dim), dim)


def reversed_along(x: Any, dim: int) -> Any:
    return flip(x, (dim,))


def shifted(x: Any, dim: int, start: float) -> Any:
    """x one place on along dim, with `start` in front and without its last."""
    none = [0, 0] * (len(x.shape) - 1 - dim)
    return pad(x, [*none, 1, -1], value=start)


def cumsum(x, dim: int, *, dtype=None):
    """Running sums along `dim`.

    >>> import lucid
    >>> lucid.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])
    """
    x = x if dtype is None else to_dtype(x, dtype)
    return cumsum_(x, normal_dim("cumsum", dim, x.ndim)) if x.ndim else x.clone()


def cumprod(x, dim: int, *, dtype=None):
    """Running products along `dim`.

    >>> import lucid
    >>> lucid.cumprod(lucid.tensor([1, 2, 3]), 0)
    tensor([1, 2, 6])
    """
    x = x if dtype is None else to_dtype(x, dtype)
    return cumprod_(x, normal_dim("cumprod", dim, x.ndim)) if x.ndim else x.clone()
