"""The logarithm of the gamma function and its derivatives: lgamma, digamma, polygamma."""

from math import factorial, pi
from typing import Any

from lucid.dtypes import float64
from lucid.kernel.expr import Expr, math
from lucid.lazy import lazy
from lucid.op import Elementwise, find
from lucid.ops.transcendental import unary

special = lazy("scipy.special", extra="scipy")

# Orders of derivatives that polygamma computes: the terms grow with the order.
MOST = 30
# Numbers of Bernoulli B_2j / (2j)!, the coefficients of Euler's and Maclaurin's sum.
_BERNOULLI = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000,
    1 / 74724249600, -3617 / 10670622842880000,
)  # fmt: skip


def _lgamma(g, x):
    return g * digamma(x)


def _reference(name: str):
    """A SciPy reference, looked up when a test calls it."""

    def reference(x):
        return getattr(special, name)(x)

    return reference


lgamma = unary("lgamma", "log |gamma(x)|.", _lgamma, _reference("gammaln"), (0.1, 9.0))


class digamma(Elementwise):
    """digamma(x), the derivative of lgamma(x); NaN at the negative integers.

    >>> import lucid
    >>> lucid.digamma(lucid.tensor([1.0, 2.0]))
    tensor([-0.5772,  0.4228])
    """

    result = "float"
    domain = (0.1, 9.0)

    def body(b, x):
        return math("digamma", x)

    def vjp_x(g, x):
        return g * polygamma_(x, n=1)

    ref = _reference("psi")


class polygamma_(Elementwise):
    """polygamma(n, x), the n-th derivative of digamma, n >= 1.

    (-1)^(n + 1) n! sum over k of 1 / (x + k)^(n + 1): some terms, and Euler's and Maclaurin's sum
    for the rest (Abramowitz and Stegun, 6.4.11). Left of 1/2 by reflection: the n-th derivative of
    digamma(1 - x) - digamma(x) = pi cot(pi x). In float64 inside.
    """

    public = False
    result = "float"
    domain = (0.1, 9.0)

    def body(b, x, *, n=1):
        z = b.cast(x, float64)
        left = z < 0.5
        scale = float(factorial(n)) * (1.0 if n % 2 else -1.0)
        right = _hurwitz(b, b.where(left, 1.0 - z, z), n + 1) * scale
        reflected = right * (1.0 if n % 2 == 0 else -1.0) - _cotangent(b, z, n)
        pole = left & b.unary("rint", z).eq(z)
        infinite = b.const(float("inf") * scale, float64)
        return b.cast(b.where(pole, infinite, b.where(left, reflected, right)), x.dtype)

    def vjp_x(g, x, n):
        return g * polygamma_(x, n=n + 1)

    def ref(x, n=1):
        return special.polygamma(n, x)


def _power(x: Expr, n: int) -> Expr:
    """x^n by squaring, n >= 1."""
    made = None
    while n:
        if n & 1:
            made = x if made is None else made * x
        x, n = x * x, n >> 1
    assert made is not None
    return made


def _hurwitz(b: Any, q: Expr, s: int) -> Expr:
    """The sum over k >= 0 of 1 / (q + k)^s for q >= 1/2, s >= 2."""
    terms = 9 + s
    total = _power(1.0 / q, s)
    for k in range(1, terms):
        total = total + _power(1.0 / (q + float(k)), s)
    inverse = 1.0 / (q + float(terms))
    square, last = inverse * inverse, _power(inverse, s)
    total = total + _power(inverse, s - 1) / float(s - 1) + last * 0.5
    factor, rest = float(s), last * inverse
    for j, number in enumerate(_BERNOULLI):
        total = total + rest * (factor * number)
        rest = rest * square
        factor *= (s + 2 * j + 1) * (s + 2 * j + 2)
    return total


def _cotangent(b: Any, z: Expr, n: int) -> Expr:
    """The n-th derivative of pi cot(pi z): a polynomial in the cotangent, as c' = -pi (1 + c^2)."""
    turned = (z - b.unary("rint", z)) * pi
    c = math("cos", turned) / math("sin", turned)
    coefficients = [0, 1]
    for _ in range(n):
        slope = [k * a for k, a in enumerate(coefficients)][1:]
        coefficients = [
            -(slope[k] if k < len(slope) else 0) - (slope[k - 2] if k >= 2 else 0)
            for k in range(len(slope) + 2)
        ]
    made = b.const(float(coefficients[-1]), float64)
    for a in reversed(coefficients[:-1]):
        made = made * c + float(a)
    return made * pi ** (n + 1)


def polygamma(n: int, x: Any) -> Any:
    """The n-th derivative of digamma at x; n = 0 is digamma itself.

    (-1)^(n + 1) n! sum over k >= 0 of 1 / (x + k)^(n + 1). Raises ValueError where n is negative,
    NotImplementedError where it is more than 30.

    >>> import lucid
    >>> lucid.polygamma(1, lucid.tensor([1.0, 0.5]))
    tensor([1.6449, 4.9348])
    """
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"polygamma: n must be an int, got {type(n).__name__}")
    n = n.__index__()
    if n < 0:
        raise ValueError(f"polygamma: n is {n}; it must not be negative")
    if n > MOST:
        raise NotImplementedError(f"polygamma: n is {n}; orders up to {MOST} are supported")
    return polygamma_(x, n=n) if n else find("digamma")(x)


def polygamma_of(self: Any, n: int) -> Any:
    """polygamma(n, self)."""
    return polygamma(n, self)
