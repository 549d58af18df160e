"""Elementwise ops that few programs use: signs and bits, angles, sinc, logit, gcd, frexp."""

import math as number
from typing import Any

import numpy as np

from lucid import dtypes
from lucid.array import Array
from lucid.dtypes import (
    COMPLEX,
    FLOATING,
    INTEGER,
    bool_,
    complex128,
    float32,
    float64,
    int32,
    int64,
)
from lucid.kernel import expr
from lucid.kernel.expr import math
from lucid.kernel.loops import Axis, Scan, Store, after, state
from lucid.layout import broadcast_shapes
from lucid.op import Elementwise, Opaque, Pointwise
from lucid.ops.creation import tensor
from lucid.ops.elementwise import where
from lucid.ops.transcendental import cos, exp2, sigmoid
from lucid.plan.nest import Nest, array_of, step


class signbit(Elementwise):
    """signbit(x): whether the sign bit is set, that of -0.0 included.

    >>> import lucid
    >>> lucid.signbit(lucid.tensor([1.0, -0.0]))
    tensor([False,  True])
    """

    result = "bool"

    def body(b, x):
        if x.dtype.category == FLOATING:
            return b.bitcast(x, int64 if x.dtype.itemsize == 8 else int32) < 0
        return b.const(False, bool_) if not x.dtype.signed else x < 0

    ref = np.signbit


class isposinf(Elementwise):
    """isposinf(x): whether x is inf.

    >>> import lucid
    >>> lucid.isposinf(lucid.tensor([1.0, float("inf")]))
    tensor([False,  True])
    """

    result = "bool"

    def body(b, x):
        if x.dtype.category != FLOATING:
            return b.const(False, bool_)
        return x.eq(float("inf"))

    ref = np.isposinf


class isneginf(Elementwise):
    """isneginf(x): whether x is -inf.

    >>> import lucid
    >>> lucid.isneginf(lucid.tensor([1.0, float("-inf")]))
    tensor([False,  True])
    """

    result = "bool"

    def body(b, x):
        if x.dtype.category != FLOATING:
            return b.const(False, bool_)
        return x.eq(float("-inf"))

    ref = np.isneginf


class deg2rad(Elementwise):
    """deg2rad(x) = x pi / 180.

    >>> import lucid
    >>> lucid.deg2rad(lucid.tensor(180.0))
    tensor(3.1416)
    """

    result = "float"

    def body(b, x):
        return x * (number.pi / 180.0)

    def vjp_x(g):
        return g * (number.pi / 180.0)

    ref = np.deg2rad


class rad2deg(Elementwise):
    """rad2deg(x) = x 180 / pi.

    >>> import lucid
    >>> lucid.rad2deg(lucid.tensor(3.14159265))
    tensor(180.)
    """

    result = "float"

    def body(b, x):
        return x * (180.0 / number.pi)

    def vjp_x(g):
        return g * (180.0 / number.pi)

    ref = np.rad2deg


class sinc(Elementwise):
    """sinc(x) = sin(pi x) / (pi x), 1 at 0.

    >>> import lucid
    >>> lucid.sinc(lucid.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """

    result = "float"

    def body(b, x):
        turned = x * number.pi
        flat = x.eq(0.0)
        safe = b.where(flat, b.one(x), turned)
        return b.where(flat, b.one(x), math("sin", safe) / safe)

    def vjp_x(g, x, y):
        return g * where(x == 0, 0.0, (cos(x * number.pi) - y) / where(x == 0, 1.0, x))

    ref = np.sinc


class logit(Elementwise):
    """logit(x) = log(x / (1 - x)), x first clamped to [eps, 1 - eps] if eps is given.

    >>> import lucid
    >>> lucid.logit(lucid.tensor([0.5, 0.75]))
    tensor([0.0000, 1.0986])
    """

    result = "float"
    domain = (0.1, 0.9)

    def body(b, x, *, eps=None):
        if eps is not None:
            x = b.where(x < eps, b.const(eps, x.dtype), x)
            x = b.where(x > 1.0 - eps, b.const(1.0 - eps, x.dtype), x)
        return math("log", x / (1.0 - x))

    def vjp_x(g, x, eps):
        if eps is None:
            return g / (x * (1.0 - x))
        inside = (x >= eps) & (x <= 1.0 - eps)
        return where(inside, g / where(inside, x * (1.0 - x), 1.0), 0.0)

    def ref(x, eps=None):
        return np.log(x / (1.0 - x))


class logaddexp2(Elementwise):
    """logaddexp2(x, w) = log2(2^x + 2^w), without overflow.

    >>> import lucid
    >>> lucid.logaddexp2(lucid.tensor([3.0]), lucid.tensor([3.0]))
    tensor([4.])
    """

    result = "float"

    def body(b, x, w):
        high, low = b.maximum(x, w), b.minimum(x, w)
        same = x.eq(w)  # equal infinities too
        gap = b.where(same, b.zero(x), low - high)
        return high + math("log1p", math("exp2", gap)) * (1.0 / number.log(2.0))

    def vjp_x(g, x, w):
        return g * sigmoid((x - w) * number.log(2.0))

    def vjp_w(g, x, w):
        return g * sigmoid((w - x) * number.log(2.0))

    ref = np.logaddexp2


class divisor(Opaque):
    """The greatest common divisor of two integer tensors of one shape and type: Euclid's steps."""

    public = False
    numbered = ()
    label = "gcd"

    def names(x, w):
        pass

    def infer(types, params):
        return [(types[0][0], types[0][1])]

    def lower(context, inputs, params, outputs):
        y, kind = outputs[0], outputs[0].dtype
        axes = [f"i{d}" for d in range(len(y.shape))]
        at = tuple(expr.index(a) for a in axes)
        operands = {"y0": y, "x0": inputs[0], "x1": inputs[1]}
        start = tuple(abs(expr.load(n, at, kind)) for n in ("x0", "x1"))
        x, w = state(0, 0, kind), state(0, 1, kind)
        over = w.eq(0)
        moved = expr.where(over, x, w), expr.where(over, w, expr.binary("irem", x, w))
        # Lame (1844): the steps are fewer than the number's digits to the golden ratio.
        steps = int(8 * kind.itemsize * 1.45) + 1
        store = Store("y0", at, after(0, 0, kind))
        scan = Scan(0, (Axis("s", expr.const(steps, int64)),), start, moved, (store,))
        arrays = {n: array_of(n, o, "out" if n == "y0" else "in") for n, o in operands.items()}
        extents = dict(zip(axes, y.shape, strict=True)) | {"s": steps}
        nest = Nest("gcd", arrays, extents, axes, ["s"], [scan], [])
        return [step(nest, "grid", operands)]

    ref = np.gcd


def _integers(name: str, x: Any, other: Any) -> tuple[Any, Any]:
    """Both as integers of one type and shape."""
    x, other = (v if isinstance(v, Array) else tensor(v) for v in (x, other))
    kind = dtypes.promote(x.dtype, other.dtype)
    if kind.category != INTEGER:
        raise TypeError(f"{name} is not defined for {kind!r}")
    shape = broadcast_shapes(name, tuple(x.shape), tuple(other.shape))
    return x.to(kind).expand(shape), other.to(kind).expand(shape)


def gcd(x, other):
    """The greatest common divisor of integers; gcd(0, 0) = 0.

    >>> import lucid
    >>> lucid.gcd(lucid.tensor([12, 7]), 18)
    tensor([6, 1])
    """
    x, other = _integers("gcd", x, other)
    if x.ndim == 0:
        return divisor(x.reshape(1), other.reshape(1)).reshape(())
    return divisor(x, other)


def lcm(x, other):
    """The least common multiple of integers; 0 where one is 0.

    >>> import lucid
    >>> lucid.lcm(lucid.tensor([4, 0]), 6)
    tensor([12,  0])
    """
    x, other = _integers("lcm", x, other)
    common = gcd(x, other)
    return (x // where(common == 0, 1, common) * other).abs()


class nextafter(Elementwise):
    """nextafter(x, w): the neighbour of x in the direction of w, for float32 and float64.

    >>> import lucid
    >>> lucid.nextafter(lucid.tensor(1.0), lucid.tensor(2.0)) > 1
    tensor(True)
    """

    @classmethod
    def infer(cls, types, params):
        found = super().infer(types, params)
        if found[0][1] not in (float32, float64):
            raise TypeError(f"nextafter: float32 or float64 is needed, got {found[0][1]!r}")
        return found

    def body(b, x, w):
        kind = int64 if x.dtype.itemsize == 8 else int32
        bits = b.bitcast(x, kind)
        # Away from zero the number of the bits grows, for either sign.
        away = (w > x) ^ (x < 0)
        moved = b.bitcast(b.where(away, bits + 1, bits - 1), x.dtype)
        tiny = b.bitcast(b.const(1, kind), x.dtype)
        moved = b.where(x.eq(0.0), b.where(w > 0, tiny, -tiny), moved)
        return b.where(x.eq(w), w, b.where(b.isnan(x) | b.isnan(w), x + w, moved))

    def vjp_x(g, x, w):
        return where(x == w, 0.0, g)

    ref = np.nextafter


class frexp_(Pointwise):
    """x = mantissa 2^exponent with 1/2 <= |mantissa| < 1; zeros, NaN, inf have exponent 0."""

    public = False
    numbered = ()
    count = 2

    def names(x):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        return [(shape, kind), (shape, int32)]

    def element(types, index, loads):
        x = loads[0](index)
        wide = x.dtype is float64
        kind, mantissa = (int64, 52) if wide else (int32, 23)
        bias = 1022 if wide else 126
        small = abs(x) < 2.0**-bias  # subnormal: made normal first
        scaled = expr.where(small, x * 2.0**mantissa, x)
        bits = expr.bitcast(scaled, kind)
        field = (1 << (11 if wide else 8)) - 1
        power = expr.cast((bits >> mantissa) & field, int32)
        rest = bits & ~(field << mantissa) | (bias << mantissa)
        plain = x.eq(0.0) | expr.isnan(x) | abs(x).eq(float("inf"))
        lowered = expr.where(small, expr.const(mantissa, int32), 0)
        return (
            expr.where(plain, x, expr.bitcast(rest, x.dtype)),
            expr.where(plain, expr.const(0, int32), power - bias - lowered),
        )

    def vjp_x(g, y1):
        return g * exp2(-y1.to(g.dtype))

    def ref(x):
        return np.frexp(x)


def frexp(x):
    """(mantissa, exponent): x = mantissa 2^exponent with 1/2 <= |mantissa| < 1.

    >>> import lucid
    >>> lucid.frexp(lucid.tensor([10.0, 0.0]))
    (tensor([0.6250, 0.0000]), tensor([4, 0], dtype=lucid.int32))
    """
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"frexp: a floating tensor is needed, got {x.dtype!r}")
    return frexp_(x)


def ldexp(x, other):
    """x 2^other.

    >>> import lucid
    >>> lucid.ldexp(lucid.tensor([1.0, 3.0]), lucid.tensor([2, -1]))
    tensor([4.0000, 1.5000])
    """
    if getattr(other, "dtype", x.dtype).category == COMPLEX:
        return x * 2.0**other
    kind = x.dtype if x.dtype.category == FLOATING else dtypes.get_default_dtype()
    power = other.to(kind) if hasattr(other, "to") else float(other)
    return x * exp2(power)


def float_power(x, exponent):
    """x ** exponent in float64, of complex numbers in complex128.

    >>> import lucid
    >>> lucid.float_power(lucid.tensor([1, 2]), 2)
    tensor([1., 4.], dtype=lucid.float64)
    """
    kinds = [v.dtype for v in (x, exponent) if hasattr(v, "to")]
    whole = any(kind.category == COMPLEX for kind in kinds)
    kind, number = (complex128, complex) if whole else (float64, float)
    x = x.to(kind) if hasattr(x, "to") else number(x)
    exponent = exponent.to(kind) if hasattr(exponent, "to") else number(exponent)
    return x**exponent


def rsub(x, other, *, alpha=1):
    """other - alpha * x.

    >>> import lucid
    >>> lucid.rsub(lucid.tensor([1, 2]), 5)
    tensor([4, 3])
    """
    return other - (x if alpha == 1 else x * alpha)


def isreal(x):
    """Where the imaginary part is 0: everywhere in a real tensor.

    >>> import lucid
    >>> lucid.isreal(lucid.tensor([1.0]))
    tensor([True])
    """
    return x.imag == 0 if x.is_complex() else (x == x) | True


def mvlgamma(x, p: int):
    """log of the multivariate gamma function of dimension p:
    p (p - 1) / 4 log pi + sum over i < p of lgamma(x - i / 2), for x > (p - 1) / 2.

    >>> import lucid
    >>> lucid.mvlgamma(lucid.tensor([2.0]), 1)
    tensor([0.])
    """
    if p < 1:
        raise RuntimeError(f"mvlgamma: p must be at least 1, got {p}")
    made = p * (p - 1) / 4 * number.log(number.pi)
    for i in range(p):
        made = (x - i / 2).lgamma() + made
    return made
