"""What the functions of the vector math are made of: formats, polynomials, bit operations.

Used by the files beside it. A `Format` is an arithmetic with the polynomials good enough for it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lucid.backend.cpu.math.coefficients import CONSTANTS, POLYNOMIALS
from lucid.dtypes import dtype, float32, float64, int32, int64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr

NAN, INFINITY = float("nan"), float("inf")


@dataclass(frozen=True)
class Format:
    """A floating format: float32 (`single`), float64 (`double`), or `medium`: float64 arithmetic
    with polynomials that are good enough for a float32 result."""

    name: str
    kind: dtype
    integer: dtype
    bits: int  # of the stored mantissa
    bias: int

    def constant(self, name: str) -> float:
        return CONSTANTS[f"{name}.{self.name}"]

    def polynomial(self, name: str, x: Expr) -> Expr:
        return horner(x, POLYNOMIALS[f"{name}.{self.name}"])

    def number(self, value: float) -> Expr:
        return e.const(value, self.kind)

    def whole(self, value: int) -> Expr:
        return e.const(value, self.integer)

    def as_bits(self, x: Expr) -> Expr:
        return e.bitcast(x, self.integer)

    def as_float(self, x: Expr) -> Expr:
        return e.bitcast(x, self.kind)

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)


SINGLE = Format("single", float32, int32, 23, 127)
MEDIUM = Format("medium", float64, int64, 52, 1023)
DOUBLE = Format("double", float64, int64, 52, 1023)


def horner(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """The polynomial with these coefficients, lowest degree first."""
    y = e.const(coefficients[-1], x.dtype)
    for c in reversed(coefficients[:-1]):
        y = e.mad(y, x, c)
    return y


def narrowed(function: Callable[..., Expr], inner: Format = MEDIUM) -> Callable[..., Expr]:
    """The float32 function that computes in float64 and rounds once."""

    def single(f: Format, *args: Expr) -> Expr:
        if f is DOUBLE:
            return function(DOUBLE, *args)
        return e.cast(function(inner, *(e.cast(x, float64) for x in args)), float32)

    return single


def two_sum(x: Expr, y: Expr) -> tuple[Expr, Expr]:
    """x + y rounded, and what the rounding lost (Knuth)."""
    s = x + y
    z = s - x
    return s, (x - (s - z)) + (y - z)


def signed_like(f: Format, magnitude: Expr, x: Expr) -> Expr:
    """magnitude (not negative, or NaN) with the sign bit of x."""
    sign = f.as_bits(x) & f.whole(-1 << (8 * f.kind.itemsize - 1))
    return f.as_float(f.as_bits(magnitude) | sign)


def rare(condition: Expr, x: Expr, y: Expr) -> Expr:
    """where(condition, x, y) with a condition that is seldom true in any lane: the attribute
    allows a backend to jump over what only x needs."""
    return Expr("where", (condition, x, y), x.dtype, "rare")


def shortened(f: Format, x: Expr) -> Expr:
    """x with the lower half of its mantissa cleared, so that its square is exact."""
    return f.as_float(f.as_bits(x) & f.whole(-1 << ((f.bits + 2) // 2)))
