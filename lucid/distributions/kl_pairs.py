"""Divergences between distributions of different kinds, and of the low-rank normal ones.

Loaded with the package, it registers its formulas with kl.py. Many are of one form: the entropy of
p, and the mean of log q under p, which is a few moments of p.
"""

import math
from collections.abc import Callable
from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions.beta import Beta
from lucid.distributions.continuous import Gumbel, Laplace, Uniform
from lucid.distributions.continuous_bernoulli import ContinuousBernoulli
from lucid.distributions.distribution import Distribution
from lucid.distributions.gamma import Exponential, Gamma
from lucid.distributions.kl import register_kl
from lucid.distributions.low_rank import LowRankMultivariateNormal
from lucid.distributions.multivariate_normal import MultivariateNormal, squared_distance
from lucid.distributions.normal import Normal
from lucid.distributions.powers import Pareto

inf = math.inf


def _register(kinds: tuple[type[Distribution], ...], other: type[Distribution]) -> Callable:
    def register(function: Callable) -> Callable:
        for kind in kinds:
            register_kl(kind, other)(function)
        return function

    return register


# ---- the mean of log q, for p with known moments ------------------------------------------------


@_register((Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Pareto), Normal)
def _normal(p: Any, q: Any) -> Tensor:
    variance = q.scale.square()
    distance = (p.variance + (p.mean - q.loc).square()) / variance
    return 0.5 * ((2 * math.pi * variance).log() + distance) - p.entropy()


@_register((Beta, ContinuousBernoulli, Pareto, Uniform), Exponential)
def _exponential(p: Any, q: Any) -> Tensor:
    made = q.rate * p.mean - q.rate.log() - p.entropy()
    return lucid.where(p.low < 0, inf, made) if isinstance(p, Uniform) else made


@_register((Beta, Pareto, Uniform), Gamma)
def _gamma(p: Any, q: Any) -> Tensor:
    a, b = q.concentration, q.rate
    made = a.lgamma() - a * b.log() - (a - 1) * _mean_log(p) + b * p.mean - p.entropy()
    return lucid.where(p.low < 0, inf, made) if isinstance(p, Uniform) else made


def _mean_log(p: Any) -> Tensor:
    """The mean of log x."""
    if isinstance(p, Beta):
        return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    if isinstance(p, Pareto):
        return p.alpha.reciprocal() + p.scale.log()
    ends = lucid.xlogy(p.high, p.high) - lucid.xlogy(p.low, p.low)
    return ends / (p.high - p.low) - 1


@_register((Exponential, Gamma, Normal, Uniform), Gumbel)
def _gumbel(p: Any, q: Any) -> Tensor:
    # log q = -log scale - z - e^-z, z = (x - loc) / scale
    made = q.scale.log() + (p.mean - q.loc) / q.scale - p.entropy()
    return made + (q.loc / q.scale).exp() * _mean_exp(p, -q.scale.reciprocal())


def _mean_exp(p: Any, t: Tensor) -> Tensor:
    """The mean of e^(t x), t < 0."""
    if isinstance(p, Exponential):
        return p.rate / (p.rate - t)
    if isinstance(p, Gamma):
        return (p.rate / (p.rate - t)).pow(p.concentration)
    if isinstance(p, Normal):
        return (t * p.loc + 0.5 * (t * p.scale).square()).exp()
    return ((t * p.high).exp() - (t * p.low).exp()) / (t * (p.high - p.low))


@_register((Beta, Uniform, ContinuousBernoulli), ContinuousBernoulli)
def _continuous_bernoulli(p: Any, q: Any) -> Tensor:
    softplus = lucid.nn.functional.softplus(q.logits)
    made = softplus - p.mean * q.logits - q._cont_bern_log_norm() - p.entropy()
    return lucid.where((p.high > 1) | (p.low < 0), inf, made) if isinstance(p, Uniform) else made


@_register((Beta, ContinuousBernoulli), Uniform)
def _uniform(p: Any, q: Any) -> Tensor:
    made = (q.high - q.low).log() - p.entropy()
    return lucid.where((q.low > 0) | (q.high < 1), inf, made)


# ---- Pareto -------------------------------------------------------------------------------------


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    made = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return lucid.where(p.scale < q.scale, inf, made)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> Tensor:
    known = q.alpha.log() + q.alpha * q.scale.log()
    made = (q.alpha + 1) * _mean_log(p) - known - p.entropy()
    return lucid.where(p.low < q.scale, inf, made)


# ---- normal vectors -----------------------------------------------------------------------------


def _check_events(p: Any, q: Any) -> None:
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"kl_divergence: {type(p).__name__} of {tuple(p.event_shape)} elements and "
            f"{type(q).__name__} of {tuple(q.event_shape)}"
        )


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _to_low_rank(p: Any, q: Any) -> Tensor:
    _check_events(p, q)
    # tr(Q^-1 P): Q^-1 is diag(d)^-1 - A^T A, where C A = W^T diag(d)^-1 with the factor C.
    n, r = q.event_shape[0], q.cov_factor.shape[-1]
    batch = lucid.broadcast_shapes(tuple(p.batch_shape), tuple(q.batch_shape))
    factor = q._capacitance.expand((*batch, r, r))
    inner = lucid.linalg.solve_triangular(factor, q._scaled.mT.expand((*batch, r, n)), upper=False)
    trace = (p.variance / q.cov_diag).sum(-1)
    if isinstance(p, LowRankMultivariateNormal):
        along = (inner.square() * p.cov_diag[..., None, :]).sum((-2, -1))
        trace = trace - along - (inner @ p.cov_factor).square().sum((-2, -1))
    else:
        trace = trace - (inner @ p.scale_tril).square().sum((-2, -1))
    distance = q._distance((q.loc - p.loc).expand((*batch, n)))
    return q._half_log_det() - p._half_log_det() + 0.5 * (trace + distance - n)


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _from_low_rank(p: Any, q: Any) -> Tensor:
    _check_events(p, q)
    n = q.event_shape[0]
    batch = lucid.broadcast_shapes(tuple(p.batch_shape), tuple(q.batch_shape))
    factor = q.scale_tril.expand((*batch, n, n))
    parts = lucid.cat([p.cov_factor, lucid.diag_embed(p._root.expand(p.loc.shape))], -1)
    parts = parts.expand((*batch, *parts.shape[-2:]))
    ratio = lucid.linalg.solve_triangular(factor, parts, upper=False)
    distance = squared_distance(factor, (q.loc - p.loc).expand((*batch, n)))
    logs = q._half_log_det() - p._half_log_det()
    return logs + 0.5 * (ratio.square().sum((-2, -1)) + distance - n)


# ---- mass where q has none ----------------------------------------------------------------------


def _infinite(p: Any, q: Any) -> Tensor:
    shape = lucid.broadcast_shapes(tuple(p.batch_shape), tuple(q.batch_shape))
    return lucid.full(shape, inf, dtype=p.entropy().dtype)


for _kinds, _other in (
    ((Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Normal), Pareto),
    ((Exponential, Gamma, Gumbel, Laplace, Normal, Pareto), ContinuousBernoulli),
    ((Gumbel, Pareto), Beta),
    ((Gumbel, Pareto), Uniform),
    ((Gumbel,), Exponential),
    ((Gumbel,), Gamma),
):
    _register(_kinds, _other)(_infinite)
