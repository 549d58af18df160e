"""Draws of counts: the records of `lucid.poisson` and `lucid.binomial`.

ops/tables.py lists the functions; lucid.distributions draws with them.
"""

from typing import Any

from lucid.dtypes import FLOATING, float64
from lucid.kernel import expr
from lucid.kernel.expr import Expr, math
from lucid.layout import broadcast_shapes
from lucid.ops.draws_tried import Tried, uniform_pair
from lucid.ops.random import _lifted, default_generator, uniform_of
from lucid.ops.view import expand

_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def _correction(n: Expr) -> Expr:
    """log n! - ((n + 1/2) log(n + 1) - n - 1 + log(2 pi) / 2) for n >= 0."""
    inverse = 1.0 / (n + 1.0)
    square = inverse * inverse
    made = expr.const(_STIRLING[-1], float64)
    for c in _STIRLING[-2::-1]:
        made = made * square + c
    return made * inverse


def _first(words: Any) -> Expr:
    return uniform_of((words[0], words[1]), float64)


class poisson_numbers(Tried):
    """Poisson numbers of the rates x. NaN where x is negative or NaN.

    From 30 on by transformed rejection: Hörmann, "The transformed rejection method for generating
    Poisson random variables", 1993, algorithm PTRS; below, how many running sums of the
    probabilities a uniform number reaches.
    """

    tries = 20  # a try is taken with probability 0.8 or more
    steps = 5

    def names(x, seed, offset):
        pass

    def prepared(given):
        rate = expr.maximum(given[0], expr.const(30.0, float64))
        b = expr.unary("sqrt", rate) * 2.53 + 0.931
        a = b * 0.02483 - 0.059
        return [rate, b, a, math("log", rate), 1.1239 + 1.1328 / (b - 3.4)]

    def tried(given, words):
        rate, b, a, log_rate, scale = given
        u, v = _first(words) - 0.5, 1.0 - uniform_pair(words)
        reach = 0.5 - abs(u)
        kept = expr.where(reach > 0.0, reach, expr.const(2.0**-54, float64))
        k = expr.unary("floor", (a * 2.0 / kept + b) * u + rate + 0.43)
        quick = (reach >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2.0))
        within = (k >= 0.0) & ~((reach < 0.013) & (v > reach))
        n = expr.where(k >= 0.0, k, expr.zero(k))
        factorial = (n + 0.5) * math("log", n + 1.0) - n - 1.0 + 0.9189385332046727
        height = n * log_rate - rate - factorial - _correction(n)
        hat = math("log", v * scale / (a / (kept * kept) + b))
        return k, quick | (within & (hat <= height))

    def listed(given, words):
        rate = expr.where(given[0] < 30.0, given[0], expr.zero(given[0]))
        start = math("exp", -rate)
        return [expr.zero(rate), start, start, rate, _first(words)]

    def listing(states, k):
        count, p, total, rate, u = states
        more = p * rate / (k + 1.0)
        reached = expr.where(u >= total, expr.one(count), expr.zero(count))
        return [count + reached, more, total + more, rate, u]

    def finished(given, found, words, kind):
        rate = given[0]
        made = expr.where(rate < 30.0, found[1], found[0])
        return expr.where(rate >= 0.0, made, expr.const(float("nan"), float64))


class binomial_numbers(Tried):
    """Binomial numbers: successes of x trials with the probability w. NaN where there is no such
    number of trials or probability.

    With x min(w, 1 - w) from 10 on by transformed rejection: Hörmann, "The generation of binomial
    random variates", 1993, algorithm BTRS; below, how many running sums of the probabilities a
    uniform number reaches.
    """

    tries = 24  # a try is taken with probability 0.7 or more
    steps = 3

    def names(x, w, seed, offset):
        pass

    def prepared(given):
        n, p, q = _trials(given)
        big = n * p >= 10.0
        n = expr.where(big, n, expr.const(40.0, float64))
        p = expr.where(big, p, expr.const(0.5, float64))
        q = expr.where(big, q, expr.const(0.5, float64))
        spread = expr.unary("sqrt", n * p * q)
        b = spread * 2.53 + 1.15
        a = b * 0.0248 + p * 0.01 - 0.0873
        odds, m = p / q, expr.unary("floor", (n + 1.0) * p)
        top = (m + 0.5) * math("log", (m + 1.0) / (odds * (n - m + 1.0)))
        top = top + _correction(m) + _correction(n - m)
        return [n, n * p + 0.5, b, a, odds, n - m + 1.0, top, spread * (2.83 + 5.1 / b)]

    def tried(given, words):
        n, middle, b, a, odds, rest, top, scale = given
        u, v = _first(words) - 0.5, 1.0 - uniform_pair(words)
        reach = 0.5 - abs(u)
        kept = expr.where(reach > 0.0, reach, expr.const(2.0**-54, float64))
        k = expr.unary("floor", (a * 2.0 / kept + b) * u + middle)
        within = (k >= 0.0) & (k <= n)
        quick = within & (reach >= 0.07) & (v <= 0.92 - 4.2 / b)
        k0 = expr.where(within, k, expr.zero(k))
        left = n - k0 + 1.0
        height = (n + 1.0) * math("log", rest / left)
        height = height + (k0 + 0.5) * math("log", odds * left / (k0 + 1.0))
        height = height + top - _correction(k0) - _correction(n - k0)
        hat = math("log", v * scale / (a / (kept * kept) + b))
        return k, quick | (within & (hat <= height))

    def listed(given, words):
        n, p, q = _trials(given)
        small = n * p < 10.0
        start = math("exp", expr.where(small, n * math("log1p", -p), expr.zero(n)))
        return [expr.zero(n), start, start, n, p / q, _first(words)]

    def listing(states, k):
        count, p, total, n, odds, u = states
        more = p * ((n - k) * odds / (k + 1.0))
        reached = expr.where(u >= total, expr.one(count), expr.zero(count))
        return [count + reached, more, total + more, n, odds, u]

    def finished(given, found, words, kind):
        n, p, _ = _trials(given)
        made = expr.minimum(expr.where(n * p < 10.0, found[1], found[0]), n)
        made = expr.where(given[1] > 0.5, n - made, made)
        whole = expr.unary("floor", given[0]).eq(given[0]) & (given[0] >= 0.0)
        good = whole & (given[1] >= 0.0) & (given[1] <= 1.0)
        return expr.where(good, made, expr.const(float("nan"), float64))


def _trials(given: Any) -> tuple[Expr, Expr, Expr]:
    """The number of trials, the smaller of the two probabilities, and the other."""
    n, w = given
    turned = w > 0.5
    p = expr.where(turned, 1.0 - w, w)
    return n, p, 1.0 - p


def _check(name: str, x: Any) -> None:
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"{name}: a floating tensor is needed, got {x.dtype!r}")


def poisson(x, *, generator=None):
    """Poisson numbers, one for each rate in x, in x's dtype; NaN where a rate is negative.

    >>> import lucid
    >>> bool(abs(lucid.poisson(lucid.full((1000,), 4.0)).mean() - 4.0) < 0.5)
    True
    """
    _check("poisson", x)
    first, offset = (generator or default_generator).reserve(poisson_numbers.counters(x.numel()))
    return poisson_numbers(_lifted(x.detach()), first, offset)


def binomial(count, prob, *, generator=None):
    """How many of `count` trials of probability `prob` succeed, element by element, in the dtype of
    prob; NaN where count is no whole number from 0 on or prob not in [0, 1].

    >>> import lucid
    >>> lucid.binomial(lucid.tensor([5.0, 5.0]), lucid.tensor([0.0, 1.0]))
    tensor([0., 5.])
    """
    _check("binomial", count)
    _check("binomial", prob)
    shape = broadcast_shapes("binomial", tuple(count.shape), tuple(prob.shape))
    p = expand(prob.detach(), shape)
    n = expand(count.detach().to(prob.dtype), shape)
    taken = binomial_numbers.counters(p.numel())
    first, offset = (generator or default_generator).reserve(taken)
    return binomial_numbers(_lifted(n), _lifted(p), first, offset)
