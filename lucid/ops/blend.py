"""Elementwise ops of several inputs: interpolation, bounds, signs, replacement."""

import numpy as np

from lucid import dtypes
from lucid.dtypes import FLOATING
from lucid.kernel.expr import mad, one, zero
from lucid.op import Elementwise
from lucid.ops.elementwise import abs_, sign, where
from lucid.ops.logic import isfinite


class lerp(Elementwise):
    """lerp(x, end, weight) = x + weight * (end - x).

    >>> import lucid
    >>> lucid.lerp(lucid.zeros(2), lucid.ones(2), 0.25)
    tensor([0.2500, 0.2500])
    """

    def body(b, x, end, weight):
        near = x + weight * (end - x)
        return b.where(abs(weight) < 0.5, near, end - (end - x) * (1.0 - weight))

    def vjp_x(g, weight):
        return g * (1.0 - weight)

    def vjp_end(g, weight):
        return g * weight

    def vjp_weight(g, x, end):
        return g * (end - x)

    def ref(x, end, weight):
        return x + weight * (end - x)


class addcmul(Elementwise):
    """addcmul(x, t1, t2, value) = x + value * t1 * t2."""

    def body(b, x, t1, t2, value):
        return x + value * t1 * t2

    def vjp_x(g):
        return g

    def vjp_t1(g, t2, value):
        return g * (t2 * value)

    def vjp_t2(g, t1, value):
        return g * (t1 * value)

    def ref(x, t1, t2, value):
        return x + value * t1 * t2


class addcdiv(Elementwise):
    """addcdiv(x, t1, t2, value) = x + value * t1 / t2."""

    def body(b, x, t1, t2, value):
        return x + value * t1 / t2

    def vjp_x(g):
        return g

    def vjp_t1(g, t2, value):
        return g * (value / t2)

    def vjp_t2(g, t1, t2, value):
        return -g * (value * t1 / (t2 * t2))

    domain_t2 = (0.5, 3.0)

    def ref(x, t1, t2, value):
        return x + value * t1 / t2


class clamp_min(Elementwise):
    """clamp_min(x, low) = max(x, low); NaN stays NaN.

    >>> import lucid
    >>> lucid.clamp_min(lucid.tensor([-1.0, 2.0]), 0.5)
    tensor([0.5000, 2.0000])
    """

    def body(b, x, low):
        return b.maximum(x, low)

    def vjp_x(g, x, low):
        return where(x >= low, g, 0.0)

    def vjp_low(g, x, low):
        return where(x < low, g, 0.0)

    ref = np.maximum


class clamp_max(Elementwise):
    """clamp_max(x, high) = min(x, high); NaN stays NaN.

    >>> import lucid
    >>> lucid.clamp_max(lucid.tensor([-1.0, 2.0]), 0.5)
    tensor([-1.0000,  0.5000])
    """

    def body(b, x, high):
        return b.minimum(x, high)

    def vjp_x(g, x, high):
        return where(x <= high, g, 0.0)

    def vjp_high(g, x, high):
        return where(x > high, g, 0.0)

    ref = np.minimum


class clamp_both(Elementwise):
    """min(max(x, low), high): clamp with both bounds."""

    public = False

    def body(b, x, low, high):
        return b.minimum(b.maximum(x, low), high)

    def vjp_x(g, x, low, high):
        return where((x >= low) & (x <= high), g, 0.0)

    def vjp_low(g, x, low, high):
        return where((x < low) & (low < high), g, 0.0)

    def vjp_high(g, x, low, high):
        return where((x > high) | (low >= high), g, 0.0)

    def ref(x, low, high):
        return np.minimum(np.maximum(x, low), high)


class copysign(Elementwise):
    """copysign(x, w): |x| with the sign of w, that of -0.0 included.

    >>> import lucid
    >>> lucid.copysign(lucid.tensor([1.0, 2.0]), lucid.tensor([-0.0, 3.0]))
    tensor([-1.,  2.])
    """

    result = "float"

    def body(b, x, w):
        kind = dtypes.int64 if x.dtype.itemsize == 8 else dtypes.int32
        negative = b.bitcast(w, kind) < 0
        return b.where(negative, -abs(x), abs(x))

    def vjp_x(g, x, w):
        return g * where(copysign(1.0, x) == copysign(1.0, w), 1.0, -1.0) * abs_(sign(x))

    def vjp_w(g):
        return g * 0.0

    ref = np.copysign


class heaviside(Elementwise):
    """heaviside(x, values): 0 below 0, 1 above, `values` at 0.

    >>> import lucid
    >>> lucid.heaviside(lucid.tensor([-1.0, 0.0, 2.0]), lucid.tensor(0.5))
    tensor([0.0000, 0.5000, 1.0000])
    """

    def body(b, x, values):
        return b.where(x.eq(0), values, b.where(x > 0, one(x), b.where(x < 0, zero(x), x)))

    ref = np.heaviside


class hypot(Elementwise):
    """hypot(x, w) = sqrt(x^2 + w^2), in float64 inside for float32.

    >>> import lucid
    >>> lucid.hypot(lucid.tensor([3.0]), lucid.tensor([4.0]))
    tensor([5.])
    """

    result = "float"

    def body(b, x, w):
        u, v = b.cast(abs(x), dtypes.float64), b.cast(abs(w), dtypes.float64)
        if x.dtype is dtypes.float64:
            large, small = b.where(u > v, u, v), b.where(u > v, v, u)
            t = b.where(large.eq(0.0), zero(u), small / large)
            infinite = u.eq(float("inf")) | v.eq(float("inf"))
            root = large * b.unary("sqrt", mad(t, t, one(t)))
            root = b.where(b.isnan(x) | b.isnan(w), x + w, root)
            return b.where(infinite, b.const(float("inf"), x.dtype), root)
        infinite = u.eq(float("inf")) | v.eq(float("inf"))
        root = b.unary("sqrt", u * u + v * v)
        return b.cast(b.where(infinite, b.const(float("inf"), root.dtype), root), x.dtype)

    def vjp_x(g, x, w):
        return g * (x / hypot(x, w))

    def vjp_w(g, x, w):
        return g * (w / hypot(x, w))

    ref = np.hypot


class nan_to_num(Elementwise):
    """nan_to_num(x, nan, posinf, neginf): replace what is not finite."""

    public = False

    def body(b, x, nan, posinf, neginf):
        if x.dtype.category != FLOATING:
            return x
        y = b.where(x.ne(x), nan, x)
        y = b.where(x.eq(float("inf")), posinf, y)
        return b.where(x.eq(float("-inf")), neginf, y)

    def vjp_x(g, x):
        return where(isfinite(x), g, 0.0)

    def ref(x, nan, posinf, neginf):
        return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)
