"""Orthogonal polynomials: Chebyshev's four kinds, plain and shifted, Hermite's two, Laguerre's,
Legendre's. lucid.special has the functions.

Each family by its recurrence p(k + 1) = (a x + b) p(k) - c p(k - 1), in float64; derivatives of any
order by the derivatives of the recurrence.
"""

from collections.abc import Callable
from typing import Any

from lucid.dtypes import FLOATING, float64, get_default_dtype
from lucid.kernel import expr
from lucid.op import Elementwise
from lucid.ops.cast import to_dtype
from lucid.ops.creation import tensor
from lucid.ops.elementwise import where
from lucid.tensor import Tensor

MOST = 64  # degrees of which the recurrence is written out in one kernel

# (a, b, c) of step k; with p(-1) = 0 and p(0) = 1, step 0 gives p(1).
Steps = Callable[[int], tuple[float, float, float]]
FAMILIES: dict[str, Steps] = {
    "chebyshev_polynomial_t": lambda k: (2.0 if k else 1.0, 0.0, 1.0),
    "chebyshev_polynomial_u": lambda k: (2.0, 0.0, 1.0),
    "chebyshev_polynomial_v": lambda k: (2.0, 0.0 if k else -1.0, 1.0),
    "chebyshev_polynomial_w": lambda k: (2.0, 0.0 if k else 1.0, 1.0),
    "shifted_chebyshev_polynomial_t": lambda k: (4.0, -2.0, 1.0) if k else (2.0, -1.0, 1.0),
    "shifted_chebyshev_polynomial_u": lambda k: (4.0, -2.0, 1.0),
    "shifted_chebyshev_polynomial_v": lambda k: (4.0, -2.0 if k else -3.0, 1.0),
    "shifted_chebyshev_polynomial_w": lambda k: (4.0, -2.0 if k else -1.0, 1.0),
    "hermite_polynomial_h": lambda k: (2.0, 0.0, 2.0 * k),
    "hermite_polynomial_he": lambda k: (1.0, 0.0, float(k)),
    "laguerre_polynomial_l": lambda k: (-1 / (k + 1), (2 * k + 1) / (k + 1), k / (k + 1)),
    "legendre_polynomial_p": lambda k: ((2 * k + 1) / (k + 1), 0.0, k / (k + 1)),
}


class polynomial(Elementwise):
    """The derivative of order `order` of a family's polynomial of degree n."""

    public = False
    result = "float"

    def body(b, x, *, family="legendre_polynomial_p", n=3, order=0):
        steps = FAMILIES[family]
        z = expr.cast(x, float64)
        none = expr.zero(z)
        before = [none] * (order + 1)
        now = [expr.one(z)] + [none] * order
        for k in range(n):
            a, shift, c = steps(k)
            line = z * a + shift if shift else z * a
            after = []
            for m in range(order + 1):
                made = line * now[m]
                if m:
                    made = made + now[m - 1] * (a * m)
                after.append(made - before[m] * c if k and c else made)
            before, now = now, after
        return expr.cast(now[order], x.dtype)

    def vjp_x(g, x, family, n, order):
        return g * polynomial(x, family, n, order + 1)


def _called(family: str, x: Any, n: Any) -> Any:
    """The polynomial of degree n, an int or a tensor of whole numbers that broadcasts with x;
    0 for negative degrees."""
    if not isinstance(x, Tensor):
        x = tensor(x, dtype=get_default_dtype())
    if x.dtype.category != FLOATING:
        x = to_dtype(x, get_default_dtype())
    if not isinstance(n, Tensor):
        if int(n) != n:
            raise ValueError(f"{family}: n must be whole, got {n}")
        n = int(n)
        if n < 0:
            return x * 0.0
        if n <= MOST:
            return polynomial(x, family, n, 0)
        return _recurrence(family, x, n, n)
    n = n.trunc() if n.dtype.category == FLOATING else n
    top = int(n.max().item()) if n.numel() else 0
    return _recurrence(family, x, n, max(top, 0))


def _recurrence(family: str, x: Any, n: Any, top: int) -> Any:
    """The same as a chain of ops, of which each element keeps its own degree."""
    before, now = x * 0.0, x * 0.0 + 1.0
    alike = isinstance(n, int)
    found = now if alike else where(n == 0, now, n * x * 0.0)
    for k in range(top):
        a, shift, c = FAMILIES[family](k)
        before, now = now, (x * a + shift) * now - before * (c if k else 0.0)
        found = now if alike else where(n == k + 1, now, found)
    return found


def _function(family: str, letter: str, says: str, example: str) -> Callable:
    def function(x, n):
        return _called(family, x, n)

    function.__name__ = function.__qualname__ = family
    function.__doc__ = f"""{letter}_n(x), {says} of degree n.

    n is an int, or a tensor of numbers that broadcasts with x, cut to whole ones, whose greatest is
    read; 0 for negative ones. The gradient is that in x.

    >>> import lucid
    >>> lucid.special.{family}(lucid.tensor([0.5, 2.0]), 2)
    {example}
    """
    return function


_CHEBYSHEV = "the Chebyshev polynomial of the {} kind"
_SHIFTED = _CHEBYSHEV + " at 2 x - 1,"
_SAID = {
    "chebyshev_polynomial_t": ("T", _CHEBYSHEV.format("first"), "tensor([-0.5000,  7.0000])"),
    "chebyshev_polynomial_u": ("U", _CHEBYSHEV.format("second"), "tensor([ 0., 15.])"),
    "chebyshev_polynomial_v": ("V", _CHEBYSHEV.format("third"), "tensor([-1., 11.])"),
    "chebyshev_polynomial_w": ("W", _CHEBYSHEV.format("fourth"), "tensor([ 1., 19.])"),
    "shifted_chebyshev_polynomial_t": ("T*", _SHIFTED.format("first"), "tensor([-1., 17.])"),
    "shifted_chebyshev_polynomial_u": ("U*", _SHIFTED.format("second"), "tensor([-1., 35.])"),
    "shifted_chebyshev_polynomial_v": ("V*", _SHIFTED.format("third"), "tensor([-1., 29.])"),
    "shifted_chebyshev_polynomial_w": ("W*", _SHIFTED.format("fourth"), "tensor([-1., 41.])"),
    "hermite_polynomial_h": ("H", "the physicists' Hermite polynomial", "tensor([-1., 14.])"),
    "hermite_polynomial_he": (
        "He", "the probabilists' Hermite polynomial", "tensor([-0.7500,  3.0000])",
    ),
    "laguerre_polynomial_l": ("L", "the Laguerre polynomial", "tensor([ 0.1250, -1.0000])"),
    "legendre_polynomial_p": ("P", "the Legendre polynomial", "tensor([-0.1250,  5.5000])"),
}  # fmt: skip
functions = {name: _function(name, *said) for name, said in _SAID.items()}
