"""Logarithms and inverse hyperbolic functions, as primitive expressions.

Called by expand() in __init__.py, each with the format to compute in.
Method: log(2^k (1 + f)) = k log(2) + log(1 + f); in float32 log(1 + f) is a polynomial, in float64
a polynomial in s = f / (2 + f), s^2 at most 0.03.
"""

from lucid.backend.cpu.math.parts import INFINITY, NAN, SINGLE, Format, shortened, signed_like
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr, mad, where

SQRT_HALF = 0.7071067811865476


def split(f: Format, x: Expr) -> tuple[Expr, Expr]:
    """(k, m) with x = 2^k m and m in [sqrt(1/2), sqrt(2)), for positive finite normal x."""
    bits = f.as_bits(x)
    base = f.as_bits(f.number(SQRT_HALF))
    k = (bits - base) >> f.bits
    return k, f.as_float(bits - (k << f.bits))


def normalised(f: Format, x: Expr) -> tuple[Expr, Expr]:
    """split for any positive finite x: (k as floating, m)."""
    shift = f.bits + 2
    tiny = x < f.smallest_normal
    k, m = split(f, where(tiny, x * 2.0**shift, x))
    return e.cast(k, f.kind) - where(tiny, float(shift), f.number(0)), m


def special(f: Format, x: Expr, y: Expr) -> Expr:
    """y, but what a logarithm of x is outside the positive finite numbers."""
    y = where(x.eq(INFINITY), INFINITY, y)
    y = where(x > 0, y, NAN)
    return where(x.eq(0), -INFINITY, y)


def log_tail(f: Format, m1: Expr) -> Expr:
    """log(1 + m1) - m1, for m1 in [sqrt(1/2) - 1, sqrt(2) - 1]."""
    z = m1 * m1
    if f is SINGLE:
        return mad(z * m1, f.polynomial("log", m1), z * -0.5)
    half = z * 0.5
    s = m1 / (m1 + 2)
    w = s * s
    return s * mad(w, f.polynomial("log_ratio", w), half) - half


def log(f: Format, x: Expr) -> Expr:
    k, m = normalised(f, x)
    m1 = m - 1
    y = m1 + mad(k, f.constant("ln2_low"), log_tail(f, m1))
    return special(f, x, mad(k, f.constant("ln2_high"), y))


def log1p(f: Format, x: Expr) -> Expr:
    """log(u) + c / u with u = 1 + x rounded and c what the rounding lost."""
    u = x + 1
    lost = where(x > 1, 1 - (u - x), x - (u - 1))
    k, m = split(f, u)
    m1 = m - 1
    k = e.cast(k, f.kind)
    y = m1 + (mad(k, f.constant("ln2_low"), lost / u) + log_tail(f, m1))
    y = mad(k, f.constant("ln2_high"), y)
    # Tiny x (and -0.0) is its own result.
    y = where(abs(x) < 2.0 ** (-f.bits - 2), x, y)
    y = where(x.eq(INFINITY), INFINITY, y)
    y = where(x > -1, y, NAN)
    return where(x.eq(-1), -INFINITY, y)


def log2(f: Format, x: Expr) -> Expr:
    return based(f, x, "log2", 1.0, f.constant("log2_e"), f.constant("log2_e_short"), 1.0, 0.0)


def log10(f: Format, x: Expr) -> Expr:
    high, low = f.constant("log10_2_high"), f.constant("log10_2_low")
    e10, short = f.constant("log10_e"), f.constant("log10_e_short")
    return based(f, x, "log10", 0.5, e10, short, high, low)


def based(
    f: Format,
    x: Expr,
    name: str,
    leading: float,
    scale: float,
    short: float,
    high: float,
    low: float,
) -> Expr:
    """A logarithm to another base: `scale` = 1 / log(base), high + low = log(2) / log(base).

    float32: leading * f exactly, then (scale - leading) f + f^2 p(f), which is smaller.
    float64: log(1 + f) as a short number, whose product with `short` is exact, and the rest."""
    k, m = normalised(f, x)
    m1 = m - 1
    if f is SINGLE:
        tail = mad(m1 * m1, f.polynomial(name, m1), m1 * (scale - leading))
        y = mad(m1, leading, mad(k, low, tail))
        return special(f, x, mad(k, high, y))
    z = m1 * m1 * 0.5
    s = m1 / (m1 + 2)
    w = s * s
    first = shortened(f, m1 - z)
    rest = (m1 - first) - z + s * mad(w, f.polynomial("log_ratio", w), z)
    main = first * short
    rest = mad(rest, scale, first * f.constant(f"{name}_e_rest")) + k * low
    whole = k * high
    y = whole + main
    return special(f, x, y + (((whole - y) + main) + rest))


def asinh(f: Format, x: Expr) -> Expr:
    a = abs(x)
    huge = a > 2.0**56
    z = a * a
    argument = where(huge, a, a + z / (1 + e.unary("sqrt", z + 1)))
    y = log1p(f, argument) + where(huge, f.constant("ln2"), f.number(0))
    return signed_like(f, y, x)


def acosh(f: Format, x: Expr) -> Expr:
    huge = x > 2.0**56
    t = x - 1
    y = log1p(f, where(huge, x, t + e.unary("sqrt", t * (t + 2))))
    y = y + where(huge, f.constant("ln2"), f.number(0))
    return where(x < 1, NAN, y)


def atanh(f: Format, x: Expr) -> Expr:
    a = abs(x)
    return signed_like(f, log1p(f, (a + a) / (1 - a)) * 0.5, x)
