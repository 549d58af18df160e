"""Exponentials and hyperbolic functions, as primitive expressions.

Called by expand() in __init__.py, each with the format to compute in.
Method: exp(x) = 2^n exp(r), |r| <= log(2) / 2, exp(r) by a polynomial (Cody and Waite, 1980).
"""

from lucid.backend.cpu.math.parts import SINGLE, Format, signed_like
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr, mad, where

# Beyond these the result is 0 or infinity whatever the argument; within, n fits `powers`.
EXP_RANGE = {"single": (-104.0, 90.0), "medium": (-746.0, 711.0), "double": (-746.0, 711.0)}
EXP2_RANGE = {"single": (-151.0, 129.0), "medium": (-1076.0, 1025.0), "double": (-1076.0, 1025.0)}


def clamped(x: Expr, limits: tuple[float, float]) -> Expr:
    """x within the limits; NaN stays."""
    low, high = limits
    x = where(x < low, low, x)
    return where(x > high, high, x)


def nearest(f: Format, x: Expr, scale: float) -> tuple[Expr, Expr]:
    """(n, bits): n = x * scale rounded to an integer; the low bits of `bits` hold n + 2 * bias.

    Adding 1.5 * 2^mantissa bits leaves the integer in the lowest bits of the sum."""
    magic = 1.5 * 2.0**f.bits + 2 * f.bias
    t = x + magic if scale == 1 else mad(x, scale, magic)
    return t - magic, f.as_bits(t)


def powers(f: Format, bits: Expr) -> tuple[Expr, Expr]:
    """2^h and 2^(n - h) with h = n // 2: neither overflows, and the product rounds once."""
    half = e.binary("lshr", bits, 1)
    return f.as_float(half << f.bits), f.as_float((bits - half) << f.bits)


def reduced(f: Format, x: Expr, low: Expr | None = None) -> tuple[Expr, Expr, Expr]:
    """(r, n, bits) with x + low = n log(2) + r."""
    n, bits = nearest(f, x, f.constant("log2_e"))
    r = mad(n, -f.constant("ln2_high"), x)
    if low is not None:
        r = r + low
    return mad(n, -f.constant("ln2_low"), r), n, bits


def exp(f: Format, x: Expr, low: Expr | None = None, factor: "Expr | float | None" = None) -> Expr:
    """factor e^(x + low), where the factor is about 1 and `low` small beside x."""
    least, most = EXP_RANGE[f.name]
    # Masked scores are -inf. What is 0 is chosen, not computed: a product that underflows takes
    # some processors a hundred times as long as another.
    none = x < least
    low = None if low is None else where(none, 0.0, low)
    limited = where(none, 0.0, x)
    r, _, bits = reduced(f, where(limited > most, most, limited), low)
    y = mad(r * r, f.polynomial("exp", r), r) + 1
    if factor is not None:  # before the scaling, which may end in a denormal number
        y = y * factor
    first, second = powers(f, bits)
    return where(none, 0.0, y * first * second)


def exp2(f: Format, x: Expr, low: Expr | None = None) -> Expr:
    """2^(x + low), `low` small beside x."""
    least, most = EXP2_RANGE[f.name]
    none, large = x < least, x > most
    limited = where(large, most, where(none, 0.0, x))
    n, bits = nearest(f, limited, 1)
    r = limited - n
    if low is not None:
        r = r + where(none | large, 0.0, low)
    y = mad(r, f.polynomial("exp2", r), 1)
    first, second = powers(f, bits)
    return where(none, 0.0, y * first * second)


def exp2_normal(f: Format, x: Expr) -> Expr:
    """2^x where it is a normal number: no limits, and one scaling by the bits of n + bias."""
    magic = 1.5 * 2.0**f.bits + f.bias
    t = x + magic
    r = x - (t - magic)
    return mad(r, f.polynomial("exp2", r), 1) * f.as_float(f.as_bits(t) << f.bits)


def exp_negative(f: Format, x: Expr) -> Expr:
    """e^x for x <= 0, or 0 where that is no normal number. The rounding of x log2(e) shows where
    the result is small: it is |x| e^x / 2 units beside 1."""
    p = x * f.constant("log2_e")
    return where(p < 1.0 - f.bias, 0.0, exp2_normal(f, p))


def expm1(f: Format, x: Expr) -> Expr:
    """((1 - 2^-n) + r + r^2 p(r)) 2^n with e^r = 1 + r + r^2 p(r). Below the smallest x that
    matters it is -1. The first sum is exact, or nearly, where the whole cancels."""
    low = -18.0 if f is SINGLE else -39.0
    limited = clamped(x, (low, EXP_RANGE[f.name][1]))
    r, n, bits = reduced(f, limited)
    first, second = powers(f, bits)
    # 2^-n, which no longer counts, and would not be representable, for large n.
    inverse = f.as_float((f.whole(3 * f.bias) - bits) << f.bits)
    inverse = where(n > 2.0 * f.bits, 0.0, inverse)
    y = mad(r * r, f.polynomial("exp", r), (1 - inverse) + r) * first * second
    return where(x.eq(0), x, y)


def sinh(f: Format, x: Expr) -> Expr:
    a = abs(x)
    half = exp(f, a, factor=0.5)
    z = x * x
    small = mad(x * z, f.polynomial("sinh", z), x)
    return where(a < 1, small, signed_like(f, half - 0.25 / half, x))


def cosh(f: Format, x: Expr) -> Expr:
    half = exp(f, abs(x), factor=0.5)
    return half + 0.25 / half


def tanh(f: Format, x: Expr) -> Expr:
    """x + x^3 p(x^2) below 0.6; 1 - 2 / (e^2|x| + 1) above."""
    a = abs(x)
    # Where it is already 1 in every format; the square below must not overflow either.
    limited = where(a > 20, 20.0, a)
    z = limited * limited
    small = mad(limited * z, f.polynomial("tanh", z), limited)
    large = 1 - 2 / (exp_positive(f, limited + limited) + 1)
    return signed_like(f, where(a < 0.6, small, large), x)


def exp_positive(f: Format, x: Expr) -> Expr:
    """e^x for 0 <= x <= 60: one scaling, no limits."""
    n, bits = nearest(f, x, f.constant("log2_e"))
    r = mad(n, -f.constant("ln2_low"), mad(n, -f.constant("ln2_high"), x))
    y = mad(r * r, f.polynomial("exp", r), r) + 1
    return y * f.as_float((bits - f.bias) << f.bits)
