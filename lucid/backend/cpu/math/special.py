"""The error function and its kin, the logarithm of the gamma function and its derivative.

Called by expand() in __init__.py, each with the format to compute in.
"""

import math

from lucid.backend.cpu.math.exponential import exp
from lucid.backend.cpu.math.logarithm import log
from lucid.backend.cpu.math.parts import (
    DOUBLE,
    INFINITY,
    NAN,
    SINGLE,
    Format,
    shortened,
    signed_like,
)
from lucid.backend.cpu.math.trigonometry import cosine, sine
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr, mad, where


def erf(f: Format, x: Expr) -> Expr:
    """x + x p(x^2) below 1; 1 - erfc(|x|) above: float32 takes e to a polynomial for erfc."""
    a = abs(x)
    limit = 4.0 if f is SINGLE else 6.0
    limited = where(a > limit, limit, a)
    z = limited * limited
    small = mad(x, f.polynomial("erf", z), x)
    if f is SINGLE:
        beyond = exp(f, f.polynomial("log_erfc", limited))
    else:
        beyond = erfc_positive(f, limited)
    return where(a < 1, small, signed_like(f, 1 - beyond, x))


def erfc_positive(f: Format, a: Expr) -> Expr:
    """e^(-a^2) p(t) / (1 + 2 a), t = (a - 4) / (a + 4) (Shepherd and Laframboise, 1981)."""
    scaled = f.polynomial("erfcx", (a - 4) / (a + 4)) / mad(a, 2.0, 1.0)
    # a^2 = short^2, which is exact, and a rest.
    short = shortened(f, a)
    return exp(f, -(short * short), (short - a) * (short + a), scaled)


def erfc(f: Format, x: Expr) -> Expr:
    a = abs(x)
    y = erfc_positive(f, where(a > 28, 28.0, a))
    return where(x < 0, 2 - y, y)


def erfinv(f: Format, x: Expr) -> Expr:
    """x p(w), w = -log(1 - x^2); from w = 5 on x p(sqrt(w)) (after Giles, 2010)."""
    w = -log(f, (1 - x) * (x + 1))
    s = e.unary("sqrt", w)
    far = f.polynomial("erfinv_far", s - 3)
    if f is DOUBLE:  # float32 has no arguments so near 1
        far = where(s < 4, far, f.polynomial("erfinv_farther", s - 5))
    y = x * where(w < 5, f.polynomial("erfinv_near", w), far)
    return where(abs(x).eq(1), x * INFINITY, y)


def sine_of_turns(f: Format, a: Expr) -> tuple[Expr, Expr]:
    """(sin, cos) of pi times the distance of a from the nearest integer; sin has its sign."""
    d = a - e.unary("rint", a)
    b = abs(d)
    swap = b > 0.25
    r = where(swap, 0.5 - b, b)
    # pi r as a sum: r short times pi short is exact.
    short = shortened(f, r)
    main = short * f.constant("pi_short")
    tail = mad(short, f.constant("pi_rest"), (r - short) * math.pi)
    r = main + tail
    low = (main - r) + tail
    s, c = sine(f, r, low), cosine(f, r, low)
    return signed_like(f, where(swap, c, s), d), where(swap, s, c)


def lgamma(f: Format, x: Expr) -> Expr:
    """log |gamma(x)|. Relative accuracy for x > 0; absolute beside the zeros at x < -2.

    Up to 8: t p(t) +- log(q), the argument moved to 2 + t, -0.65 <= t <= 1/2, by factors q. Above:
    Stirling's series. Negative: gamma(x) gamma(-x) = -pi / (x sin(pi x))."""
    a = abs(x)
    t = where(a < 0.5, a, where(a < 1.35, a - 1, a - 2))
    q = where(a < 0.5, a * (a + 1), where(a < 1.35, a, f.number(1)))
    for _ in range(6):
        more = t > 0.5
        q = where(more, q * (t + 1), q)
        t = where(more, t - 1, t)
    large = a >= 8
    t = where(large, 0.0, t)
    logarithm = log(f, where(large, a, q))
    moved = t * f.polynomial("lgamma", t) + where(a < 1.35, -logarithm, logarithm)
    inverse = 1 / a
    series = f.polynomial("stirling", inverse * inverse) * inverse
    stirling = mad(a - 0.5, logarithm - 1, series + (0.5 * math.log(2 * math.pi) - 0.5))
    y = where(large, stirling, moved)
    sine_, _ = sine_of_turns(f, a)
    reflected = log(f, math.pi / (a * abs(sine_))) - y
    # Beside 0 both signs agree, and the product above would be 0.
    y = where((x < 0) & (a > 2.0**-60), reflected, y)
    return where(a.eq(INFINITY), INFINITY, y)


def digamma(f: Format, x: Expr) -> Expr:
    """d lgamma(x) / dx: moved above 8 by 1 / x terms, then an asymptotic series; for x < 0
    digamma(1 - x) - pi / tan(pi x). Absolute accuracy beside its zeros."""
    negative = x < 0
    x1 = where(negative, 1 - x, x)
    # 1 / x, which is exact enough, apart from the other terms: it dominates near 0.
    moved = x1 < 8
    y = where(moved, x1 + 1, x1)
    top, bottom = f.number(0), f.number(1)
    for i in range(2, 9):
        more = y < 8
        top = where(more, mad(top, y, bottom), top)
        bottom = where(more, bottom * y, bottom)
        y = where(more, x1 + float(i), y)
    inverse = 1 / y
    z = inverse * inverse
    series = mad(inverse, 0.5, z * f.polynomial("digamma", z))
    result = log(f, y) - (series + top / bottom)
    result = result - where(moved, 1 / x1, 0.0)
    s, c = sine_of_turns(f, x)
    result = where(negative, result - c * math.pi / s, result)
    # The poles: no limit at the negative integers, one from each side at 0.
    result = where(negative & s.eq(0), NAN, result)
    return where(x.eq(0), signed_like(f, f.number(INFINITY), -x), result)
