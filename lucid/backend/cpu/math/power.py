"""x to the power y, as primitive expressions. Called by expand() in __init__.py.

2^(y log2 |x|), the logarithm in two numbers, because y multiplies its error by up to 1024.
"""

from lucid.backend.cpu.math.exponential import exp2
from lucid.backend.cpu.math.logarithm import log_tail, normalised
from lucid.backend.cpu.math.parts import DOUBLE, INFINITY, NAN, Format, shortened, two_sum
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr, mad, where


def log2_pair(f: Format, a: Expr) -> tuple[Expr, Expr]:
    """log2(a) = high + low with high short, for positive finite a."""
    k, m = normalised(f, a)
    m1 = m - 1
    if f is not DOUBLE:
        return k + (m1 + log_tail(f, m1)) * f.constant("log2_e"), f.number(0)
    # s = m1 / (m + 1) = short + rest
    u = m + 1
    s = m1 / u
    short, u_short = shortened(f, s), shortened(f, u)
    rest = ((m1 - short * u_short) - short * (m - (u_short - 1))) / u
    # log(m) = 2 s / 3 (3 + z + r): the bracket as top + bottom, z = short^2 exactly
    z, square = short * short, s * s
    r = square * square * f.polynomial("log_pow", square) + rest * (short + s)
    top, lost = two_sum(z + 3, r)
    lost = lost + (z - ((z + 3) - 3))
    top_short = shortened(f, top)
    bottom = (top - top_short) + lost
    main = short * top_short
    tail = rest * top_short + bottom * s
    # times 2 / (3 log(2)), the product of the short parts exactly
    scale_short, scale_rest = f.constant("scale_short"), f.constant("scale_rest")
    product = main + tail
    tail = (main - product) + tail
    main_short = shortened(f, product)
    tail = (product - main_short) + tail
    whole, lost = two_sum(k, main_short * scale_short)
    tail = lost + mad(main_short, scale_rest, tail * (scale_short + scale_rest))
    total = whole + tail
    high = shortened(f, total)
    return high, (whole - high) + tail


def magnitude(f: Format, a: Expr, y: Expr) -> Expr:
    """a^y for positive finite a and finite y."""
    high, low = log2_pair(f, a)
    if f is not DOUBLE:
        return exp2(f, y * high)
    short = shortened(f, y)
    return exp2(f, short * high, mad(y - short, high, y * low))


def pow(f: Format, x: Expr, y: Expr) -> Expr:
    """IEEE 754: pow(x, 0) = pow(1, y) = 1 even for NaN; negative x needs an integer y."""
    a, half = abs(x), y * 0.5
    whole = e.unary("floor", y).eq(y)
    odd = whole & e.unary("floor", half).ne(half)
    result = magnitude(f, a, y)
    vanishes = ((a < 1) & (y > 0)) | ((a > 1) & (y < 0))
    extreme = a.eq(0) | a.eq(INFINITY) | abs(y).eq(INFINITY)
    result = where(extreme, where(vanishes, 0.0, f.number(INFINITY)), result)
    result = where((f.as_bits(x) < 0) & odd & abs(y).ne(INFINITY), -result, result)
    result = where((x < 0) & ~whole & a.ne(INFINITY), NAN, result)
    result = where(e.isnan(x) | e.isnan(y), NAN, result)
    one = x.eq(1) | y.eq(0) | (x.eq(-1) & abs(y).eq(INFINITY))
    return where(one, 1.0, result)
