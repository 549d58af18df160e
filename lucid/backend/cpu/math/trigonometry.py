"""Trigonometric functions and their inverses, as primitive expressions.

Called by expand() in __init__.py, each with the format to compute in.
Method: x = (4 k + q + t) pi / 2 with |t| <= 1/2, then polynomials on |r| <= pi / 4; the reduction
is in reduction.py.
"""

from lucid.backend.cpu.math.parts import DOUBLE, NAN, SINGLE, Format, shortened, signed_like
from lucid.backend.cpu.math.reduction import reduced_double, reduced_single
from lucid.dtypes import float32, float64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr, mad, where


def parts(f: Format, x: Expr) -> tuple[Expr, Expr | None, Expr]:
    """|x| = (4 k + q) pi / 2 + r + low: (r, low or None, q)."""
    if f is DOUBLE:
        return reduced_double(abs(x))
    r, q = reduced_single(e.cast(abs(x), float64))
    if f is SINGLE:
        return e.cast(r, float32), None, e.cast(q, SINGLE.integer)
    return r, None, q


def sine(f: Format, r: Expr, low: Expr | None) -> Expr:
    """sin(r + low), |r| <= pi / 4"""
    z = r * r
    p = f.polynomial("sin", z)
    if low is None:
        return mad(r * z, p, r)
    return r + mad(r * z, p, mad(z, low * -0.5, low))


def cosine(f: Format, r: Expr, low: Expr | None) -> Expr:
    """cos(r + low), |r| <= pi / 4: 1 - r^2 / 2 with the rounding error of the difference."""
    z = r * r
    half = z * 0.5
    p = f.polynomial("cos", z)
    top = 1 - half
    if low is None:
        return mad(z * z, p, top)
    tail = z * z * p - r * low
    return top + (((1 - top) - half) + tail)


def with_sign(f: Format, y: Expr, flip: Expr, x: Expr | None = None) -> Expr:
    """y, its sign flipped where bit 1 of `flip` is set, and once more where x is negative."""
    top = 8 * f.kind.itemsize - 1
    sign = (flip << (top - 1)) & f.whole(-1 << top)
    if x is not None:
        sign = sign ^ (f.as_bits(x) & f.whole(-1 << top))
    return f.as_float(f.as_bits(y) ^ sign)


def sin(f: Format, x: Expr) -> Expr:
    r, low, q = parts(f, x)
    y = where((q & 1).eq(0), sine(f, r, low), cosine(f, r, low))
    return with_sign(f, y, q, x)


def cos(f: Format, x: Expr) -> Expr:
    r, low, q = parts(f, x)
    y = where((q & 1).eq(0), cosine(f, r, low), sine(f, r, low))
    return with_sign(f, y, q + 1)


def tan(f: Format, x: Expr) -> Expr:
    r, low, q = parts(f, x)
    s, c = sine(f, r, low), cosine(f, r, low)
    even = (q & 1).eq(0)
    y = where(even, s, c) / where(even, c, s)
    return with_sign(f, y, q << 1, x)


def asin(f: Format, x: Expr) -> Expr:
    """x + x^3 p(x^2) up to 1/2; pi / 2 - 2 asin(sqrt((1 - |x|) / 2)) above."""
    a = abs(x)
    small = a <= 0.5
    z, s = halved(f, x, a, small)
    p = z * f.polynomial("asin", z)
    if f is not SINGLE:
        # sqrt(z) = short + rest, and 2 short is subtracted exactly from pi / 4.
        short, rest = root(f, z, s)
        quarter = f.constant("half_pi") * 0.5
        tail = f.constant("half_pi_tail") - rest * 2 - s * 2 * p
        large = quarter + (tail + (quarter - short * 2))
    else:
        quarter, double = f.constant("half_pi") * 0.5, s + s
        large = quarter + ((quarter - double) - mad(double, p, -f.constant("half_pi_tail")))
    return signed_like(f, where(small, mad(a, p, a), large), x)


def acos(f: Format, x: Expr) -> Expr:
    """pi / 2 - asin(x) up to 1/2; 2 asin(sqrt((1 - |x|) / 2)), or pi less that, above."""
    a = abs(x)
    small = a <= 0.5
    z, s = halved(f, x, a, small)
    p = z * f.polynomial("asin", z)
    middle = f.constant("half_pi") - (x - (f.constant("half_pi_tail") - x * p))
    if f is SINGLE:
        near = mad(s, p, s) * 2
    else:
        short, rest = root(f, z, s)
        near = (short + mad(s, p, rest)) * 2
    far = f.constant("half_pi") * 2 - (near - f.constant("half_pi_tail") * 2)
    return where(small, middle, where(x > 0, near, far))


def halved(f: Format, x: Expr, a: Expr, small: Expr) -> tuple[Expr, Expr]:
    """(z, sqrt(z)): z = x^2 up to 1/2, (1 - |x|) / 2 above, whose root is NaN above 1."""
    z = where(small, x * x, (1 - a) * 0.5)
    return z, e.unary("sqrt", z)


def root(f: Format, z: Expr, s: Expr) -> tuple[Expr, Expr]:
    """sqrt(z) = short + rest, where s is sqrt(z) rounded; short has half the bits."""
    short = shortened(f, s)
    total = s + short
    return short, where(total.eq(0), 0.0, (z - short * short) / total)


def atan_core(f: Format, a: Expr, inverse: Expr | None = None) -> tuple[Expr, Expr, Expr]:
    """atan(a), a >= 0, as base + tail: t of a, (a - 1) / (a + 1) or -1 / a, whichever is small."""
    low, high = 0.5, 2.4142135
    middle, large = a > low, a > high
    top = where(large, -1.0, where(middle, a - 1, a))
    bottom = where(large, a, where(middle, a + 1, 1.0))
    t = top / bottom
    half, tail = f.constant("half_pi"), f.constant("half_pi_tail")
    base = where(large, half, where(middle, f.number(half * 0.5), 0.0))
    rest = where(large, tail, where(middle, f.number(tail * 0.5), 0.0))
    z = t * t
    return base, mad(t * z, f.polynomial("atan", z), rest), t


def atan(f: Format, x: Expr) -> Expr:
    base, tail, t = atan_core(f, abs(x))
    return signed_like(f, base + (t + tail), x)


def atan2(f: Format, y: Expr, x: Expr) -> Expr:
    """The angle of (x, y), in (-pi, pi]; the signs of zeros and infinities count."""
    a, b = abs(x), abs(y)
    small, large = where(a < b, a, b), where(a < b, b, a)
    # Both powers of two scaled away, so that a quotient of denormals or of large numbers is good.
    both = small.eq(large)
    scale = where(
        large > 2.0 ** (f.bias - 2), 0.25, where(large < 2.0 ** (60 - f.bias), 2.0**60, f.number(1))
    )
    ratio = (small * scale) / (large * scale)
    ratio = where(both, where(large.eq(0), 0.0, f.number(1)), ratio)
    base, tail, t = atan_core(f, ratio)
    angle = base + (t + tail)
    half, rest = f.constant("half_pi"), f.constant("half_pi_tail")
    angle = where(a < b, half - (angle - rest), angle)
    negative = f.as_bits(x) < 0
    angle = where(negative, half * 2 - (angle - rest * 2), angle)
    angle = where(e.isnan(x) | e.isnan(y), NAN, angle)
    return signed_like(f, angle, y)
