"""The remainder of a number by pi / 2, exact enough for every argument.

Called by trigonometry.py. Small arguments: the quotient times parts of pi / 2 or 2 / pi that are
short enough for exact products. Large ones: only those bits of 2 / pi that matter at the argument's
exponent (Payne and Hanek, 1983).
"""

import math

from lucid.backend.cpu.math.coefficients import HALF_PI_PARTS, TWO_OVER_PI
from lucid.backend.cpu.math.parts import DOUBLE, rare, shortened, two_sum
from lucid.dtypes import float64, int64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr, mad, where

SINGLE_LIMIT = 17  # float32 arguments below 2^17 take the short way, float64 ones below 2^20
DOUBLE_LIMIT = 20
PRECISION = 1216  # bits of TWO_OVER_PI; bit 1 has the weight 1/2
MAGIC = 1.5 * 2.0**52  # added to a float64, it leaves the nearest integer in the low bits
HALF_PI = math.pi / 2


def bits_of(first: int, count: int) -> int:
    """Bits first .. first + count - 1 of 2 / pi; those before bit 1 are 0."""
    return (TWO_OVER_PI >> (PRECISION - first - count + 1)) & ((1 << count) - 1)


def piece(first: int, count: int) -> float:
    return math.ldexp(bits_of(first, count), 1 - first - count)


def reduced_single(a: Expr) -> tuple[Expr, Expr]:
    """(r, q) with a = (4 k + q) pi / 2 + r for a float32 number a >= 0 held in float64."""
    first = piece(1, 29)  # 24 + 29 bits: the product is exact
    t = mad(a, first, MAGIC)
    turn = mad(a, piece(30, 53), mad(a, first, -(t - MAGIC)))
    large = a >= 2.0**SINGLE_LIMIT
    large_turn, quadrant = _large_single(a)
    q = rare(large, quadrant, e.bitcast(t, int64)) & 3
    return rare(large, large_turn, turn) * HALF_PI, q


def _large_single(a: Expr) -> tuple[Expr, Expr]:
    """Three pieces of 2 / pi for each 20 powers of two; bits that give multiples of 4 left out."""
    widths, pieces = (29, 29, 53), []
    for low in range(SINGLE_LIMIT, 128, 20):
        start, row = max(1, low - 24), []
        for width in widths:
            row.append(piece(start, width))
            start += width
        pieces.append((low, row))
    chosen = [e.const(c, float64) for c in pieces[0][1]]
    for low, row in pieces[1:]:
        above = a >= 2.0**low
        chosen = [where(above, c, kept) for c, kept in zip(row, chosen, strict=True)]
    p0, p1, p2 = (a * c for c in chosen)
    i0, i1 = e.unary("rint", p0), e.unary("rint", p1)
    s, lost = two_sum(p0 - i0, p1 - i1)
    i2 = e.unary("rint", s + p2)
    return (s - i2) + (lost + p2), e.bitcast((i0 + i1) + (i2 + MAGIC), int64)


def reduced_double(a: Expr) -> tuple[Expr, Expr, Expr]:
    """(r, low, q) with a = (4 k + q) pi / 2 + r + low for a float64 number a >= 0."""
    t = mad(a, 1 / HALF_PI, MAGIC)
    n = t - MAGIC
    p0, p1, p2, p3 = HALF_PI_PARTS  # n times the first three is exact
    r, low = two_sum(mad(n, -p0, a), n * -p1)
    r, lost = two_sum(r, n * -p2)
    r, low = two_sum(r, mad(n, -p3, low + lost))
    large = a >= 2.0**DOUBLE_LIMIT
    large_r, large_low, quadrant = _large_double(a)
    q = rare(large, quadrant, e.bitcast(t, int64)) & 3
    return rare(large, large_r, r), rare(large, large_low, low), q


def _large_double(a: Expr) -> tuple[Expr, Expr, Expr]:
    """a = m 2^p: m times 192 bits of 2 / pi from bit p - 1 on, in digits of 32 bits, modulo 4."""
    mask = 0xFFFFFFFF
    bits = e.bitcast(a, int64)
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    # Counted from the smallest p that occurs.
    place = (bits >> 52) - (1023 + DOUBLE_LIMIT)
    digits = _window(place >> 5)
    shift = 32 - (place & 31)
    pairs = zip(digits, digits[1:], strict=False)
    digits = [e.binary("lshr", (x << 32) | y, shift) & mask for x, y in pairs]
    # Least significant digit first: multiply by the low, then by the high half of the mantissa.
    digits = digits[::-1]
    low, high = mantissa & mask, mantissa >> 32
    product: list[Expr] = []
    carry = e.const(0, int64)
    for digit in digits:
        t = low * digit + carry
        product.append(t & mask)
        carry = e.binary("lshr", t, 32)
    carry = e.const(0, int64)
    for i, digit in enumerate(digits[:-1], 1):
        t = high * digit + product[i] + carry
        product[i] = t & mask
        carry = e.binary("lshr", t, 32)
    top, middle = (product[5] << 32) | product[4], (product[3] << 32) | product[2]
    quadrant = e.binary("lshr", top + (1 << 61), 62)
    # The fraction after the two bits of the quadrant, as a signed number of 128 bits.
    top = (top << 2) | e.binary("lshr", middle, 62)
    middle = middle << 2

    def number(x: Expr, exponent: int) -> Expr:
        return e.cast(x, float64) * 2.0**exponent

    turn, lost = two_sum(number(top >> 32, -32), number(top & mask, -64))
    rest = number(e.binary("lshr", middle, 32), -96) + number(middle & mask, -128)
    turn, lost = two_sum(turn, lost + rest)
    # Times pi / 2; the first product is exact.
    short = shortened(DOUBLE, turn)
    p0, p1, p2, p3 = HALF_PI_PARTS
    short_pi = math.ldexp(math.floor(math.ldexp(HALF_PI, 25)), -25)
    rest_pi = (p0 - short_pi) + p1 + p2
    main = short * short_pi
    tail = mad(short, rest_pi, (turn - short) * HALF_PI + lost * HALF_PI)
    r = main + tail
    # An infinite argument has no remainder.
    return r + (a - a), (main - r) + tail, quadrant


def _window(place: Expr) -> list[Expr]:
    """Seven digits of 2 / pi from number `place` (0..31) on, picked by the bits of `place`."""
    count = 7
    first = -(52 - DOUBLE_LIMIT) - 1
    digits = [e.const(bits_of(32 * i + first, 32), int64) for i in range(32 + count)]
    for level in (16, 8, 4, 2, 1):
        taken = (place & level).ne(0)
        digits = [where(taken, digits[i + level], digits[i]) for i in range(level - 1 + count)]
    return digits
