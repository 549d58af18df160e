"""Hurwitz's zeta function; lucid.special has it."""

from lucid.dtypes import float64
from lucid.kernel import expr
from lucid.kernel.expr import math
from lucid.op import Elementwise
from lucid.ops.gamma import _BERNOULLI

TERMS = 9  # summed one by one before Euler's and Maclaurin's sum for the rest


class zeta(Elementwise):
    """zeta(x, q), the sum over k >= 0 of 1 / (q + k)^x for x > 1, q > 0: Hurwitz's zeta function,
    Riemann's for q = 1. inf for x = 1 or where q is 0 or a negative integer; NaN for x < 1 and for
    other negative q. The gradient is that in q.

    >>> import lucid
    >>> lucid.special.zeta(lucid.tensor([2.0, 4.0]), lucid.tensor(1.0))
    tensor([1.6449, 1.0823])
    """

    public = False
    result = "float"

    def body(b, x, w):
        kind = x.dtype
        s, q = expr.cast(x, float64), expr.cast(w, float64)
        good = (s > 1.0) & (q > 0.0)
        s0, q0 = expr.where(good, s, 2.0), expr.where(good, q, 1.0)
        total = math("pow", q0, -s0)
        for k in range(1, TERMS):
            total = total + math("pow", q0 + float(k), -s0)
        end = q0 + float(TERMS)
        last = math("pow", end, -s0)
        made = total + end * last / (s0 - 1.0) + last * 0.5
        factor, rest = s0, last / end
        for j, number in enumerate(_BERNOULLI):
            made = made + rest * (factor * number)
            rest = rest / (end * end)
            factor = factor * (s0 + float(2 * j + 1)) * (s0 + float(2 * j + 2))
        made = expr.where(s0.eq(float("inf")), expr.where(q0 < 1.0, float("inf"), total), made)
        pole = s.eq(1.0) | ((s > 1.0) & (q <= 0.0) & expr.unary("floor", q).eq(q))
        known = s.eq(s) & q.eq(q)
        bad = expr.where(pole & known, expr.const(float("inf"), float64), float("nan"))
        return expr.cast(expr.where(good, made, bad), kind)

    def vjp_x(g, x, w):
        raise NotImplementedError("zeta has no gradient in x; it has one in q")

    def vjp_w(g, x, w):
        return -g * x * zeta(x + 1.0, w)
