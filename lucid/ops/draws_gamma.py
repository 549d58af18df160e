"""Draws from the gamma distribution, reparametrised: the record of `lucid._standard_gamma`.

lucid.distributions makes Gamma, Beta, Dirichlet and StudentT of it; ops/tables.py publishes it.
"""

from lucid.dtypes import FLOATING, dtype, float64, ml_dtypes
from lucid.kernel import expr
from lucid.kernel.expr import math
from lucid.ops.draws_tried import Tried, normal_of, uniform_pair
from lucid.ops.gamma_incomplete import slope_of
from lucid.ops.random import _lifted, default_generator


class standard_gamma(Tried):
    """Gamma numbers of shape x and rate 1, or their logarithms where `log`.

    Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; a shape below 2 as
    a draw for x + 1 times u^(1 / x). The gradient is that of the quantile at a fixed probability,
    see gamma_slope.
    """

    # With a shape of at least 2 a try is taken with probability 0.98: all fail once in 10^14 draws.
    tries = 8

    def names(x, seed, offset, *, log):
        pass

    def prepared(given):
        a = given[0]
        d = expr.where(a < 2.0, a + 1.0, a) - 1.0 / 3.0
        return [d, 1.0 / expr.unary("sqrt", d * 9.0), math("log", d)]

    def tried(given, words):
        d, scale, log_d = given
        z = normal_of(words)
        root = 1.0 + z * scale
        inside = root > 0.0
        log_v = math("log", expr.where(inside, root, expr.one(root))) * 3.0
        v = root * root * root
        reach = z * z * 0.5 + d * (1.0 - v + log_v)
        u = uniform_pair(words)
        taken = inside & (math("log", 1.0 - u) < reach)
        return log_v + log_d, taken

    def finished(given, found, words, kind, log):
        a = given[0]
        u = (expr.cast(words[0], float64) + 1.0) * 2.0**-32
        low = math("log", u - uniform_pair(words) * 2.0**-32) / a
        made = expr.where(a < 2.0, found + low, found)
        made = expr.where(a > 0.0, made, expr.const(float("nan"), float64))
        if log:
            return made
        tiny = float(ml_dtypes.finfo(kind.numpy).tiny)
        return expr.maximum(math("exp", made), expr.const(tiny, float64))

    def vjp_x(g, x, y, log):
        return g * (slope_of(x, y) if log else y * slope_of(x, y.log()))


def _standard_gamma(x, *, generator=None, log: bool = False):
    """Gamma numbers of shape x and rate 1, one for each element, with gradients in x (Figurnov,
    Mohamed and Mnih, "Implicit reparameterization gradients", 2018); their logarithms where `log`,
    which a small shape does not underflow.

    >>> import lucid
    >>> x = lucid.full((1000,), 4.0, requires_grad=True)
    >>> y = lucid._standard_gamma(x)
    >>> bool(abs(y.mean() - 4.0) < 0.5)
    True
    """
    kind: dtype = x.dtype
    if kind.category != FLOATING:
        raise RuntimeError(f"_standard_gamma: a floating tensor is needed, got {kind!r}")
    first, offset = (generator or default_generator).reserve(standard_gamma.counters(x.numel()))
    return standard_gamma(_lifted(x), first, offset, bool(log))
