"""Kullback-Leibler divergences: kl_divergence(p, q) finds the formula registered for two types."""

import math
from collections.abc import Callable
from typing import Any, NoReturn

import lucid
from lucid import Tensor
from lucid.distributions.bernoulli import Bernoulli, Binomial, Geometric
from lucid.distributions.beta import Beta, Dirichlet
from lucid.distributions.categorical import Categorical, OneHotCategorical
from lucid.distributions.continuous import Cauchy, Gumbel, HalfCauchy, Laplace, Uniform
from lucid.distributions.distribution import Distribution, ExponentialFamily
from lucid.distributions.gamma import Exponential, Gamma, InverseGamma
from lucid.distributions.independent import Independent
from lucid.distributions.multivariate_normal import MultivariateNormal, squared_distance
from lucid.distributions.normal import HalfNormal, Normal
from lucid.distributions.poisson import Poisson
from lucid.distributions.transformed import TransformedDistribution
from lucid.distributions.utils import euler_constant, log_beta, sum_rightmost

__all__ = ["kl_divergence", "register_kl"]

_registry: dict[tuple[type, type], Callable] = {}
_found: dict[tuple[type, type], Callable | None] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Callable], Callable]:
    """A decorator: the function is the divergence of a `type_p` from a `type_q`.

    >>> import lucid
    >>> from lucid.distributions import Normal, kl_divergence, register_kl
    >>> class Mine(Normal):
    ...     pass
    >>> @register_kl(Mine, Mine)
    ... def _mine(p, q):
    ...     return lucid.zeros(p.batch_shape)
    >>> kl_divergence(Mine(0.0, 1.0), Mine(1.0, 1.0))
    tensor(0.)
    """
    for name, given in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(given, type) and issubclass(given, Distribution)):
            raise TypeError(f"register_kl: {name} must be a Distribution class, got {given!r}")

    def register(function: Callable) -> Callable:
        _registry[type_p, type_q] = function
        _found.clear()
        return function

    return register


def _lookup(type_p: type, type_q: type) -> Callable | None:
    """The formula of the closest base classes: the sum of the steps up both ways is the least."""
    best: tuple[int, int] | None = None
    function = None
    for (a, b), candidate in _registry.items():
        if issubclass(type_p, a) and issubclass(type_q, b):
            steps = type_p.__mro__.index(a), type_q.__mro__.index(b)
            if best is None or (sum(steps), steps) < (sum(best), best):
                best, function = steps, candidate
    return function


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q), the mean of log p(x) - log q(x) over x from p, one for each of the batch.

    Raises NotImplementedError where no formula is registered for the two types.

    >>> import lucid
    >>> from lucid.distributions import Normal, kl_divergence
    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
    tensor(0.5000)
    """
    key = type(p), type(q)
    if key not in _found:
        _found[key] = _lookup(*key)
    function = _found[key]
    if function is None:
        return _unknown(p, q)
    return function(p, q)


def _unknown(p: Distribution, q: Distribution) -> NoReturn:
    raise NotImplementedError(
        f"kl_divergence: no formula for {type(p).__name__} and {type(q).__name__}; give one with "
        "register_kl"
    )


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_family(p: Any, q: Any) -> Tensor:
    """F(theta_q) - F(theta_p) - (theta_q - theta_p) . F'(theta_p), of two of one type."""
    if type(p) is not type(q) or type(p)._log_normalizer is ExponentialFamily._log_normalizer:
        _unknown(p, q)
    made, theta, slopes = p._normalizer_and_slopes()
    other = q._natural_params
    made = q._log_normalizer(*other) - made
    for n, m, slope in zip(theta, other, slopes, strict=True):
        made = made - sum_rightmost((m - n) * slope, len(q.event_shape))
    return made


def _infinite(like: Tensor) -> Tensor:
    return lucid.full_like(like, math.inf)


def _total(x: Tensor) -> Tensor:
    """x log x, 0 at 0."""
    return lucid.xlogy(x, x)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> Tensor:
    softplus = lucid.nn.functional.softplus
    one = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    zero = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    one = lucid.where(q.probs == 0, math.inf, one)
    zero = lucid.where(q.probs == 1, math.inf, zero)
    return lucid.where(p.probs == 0, 0.0, one) + lucid.where(p.probs == 1, 0.0, zero)


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("kl_divergence: binomials of fewer trials than the other's")
    one = p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p()
    return lucid.where(p.total_count > q.total_count, math.inf, p.total_count * one)


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Categorical, Categorical)
@register_kl(OneHotCategorical, OneHotCategorical)
def _categorical(p: Any, q: Any) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = lucid.where(q.probs == 0, math.inf, terms)
    return lucid.where(p.probs == 0, 0.0, terms).sum(-1)


@register_kl(Beta, Beta)
def _beta(p: Any, q: Any) -> Tensor:
    a, b, c, d = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    total = a + b
    made = (c.lgamma() + d.lgamma() + total.lgamma()) - (a.lgamma() + b.lgamma())
    made = made - (c + d).lgamma() + (a - c) * a.digamma() + (b - d) * b.digamma()
    return made + (c + d - total) * total.digamma()


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    made = total.lgamma() - b.sum(-1).lgamma() + (b.lgamma() - a.lgamma()).sum(-1)
    return made + ((a - b) * (a.digamma() - total.digamma()[..., None])).sum(-1)


@register_kl(Gamma, Gamma)
@register_kl(InverseGamma, InverseGamma)
def _gamma(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    made = b * (p.rate / q.rate).log() + b.lgamma() - a.lgamma()
    return made + (a - b) * a.digamma() + (q.rate - p.rate) * (a / p.rate)


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    a = q.concentration
    return -a * ratio.log() + ratio + a.lgamma() + a * euler_constant - (1 + euler_constant)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Any, q: Any) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.concentration / p.rate


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> Tensor:
    return lucid.xlogy(p.rate, p.rate / q.rate) - (p.rate - q.rate)


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale).square()
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).square() - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale).square()
    return 0.5 * (ratio - 1 - ratio.log())


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"kl_divergence: MultivariateNormal of {tuple(p.event_shape)} and "
            f"{tuple(q.event_shape)} elements"
        )
    n = p.event_shape[0]
    shape = lucid.broadcast_shapes(tuple(p.batch_shape), tuple(q.batch_shape))
    factor_p, factor_q = p.scale_tril.expand((*shape, n, n)), q.scale_tril.expand((*shape, n, n))
    logs = (q._half_log_det() - p._half_log_det()).expand(shape)
    ratio = lucid.linalg.solve_triangular(factor_q, factor_p, upper=False)
    trace = ratio.square().sum((-2, -1))
    distance = squared_distance(factor_q, (q.loc - p.loc).expand((*shape, n)))
    return logs + 0.5 * (trace + distance - n)


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    apart = (p.loc - q.loc).abs()
    return -ratio.log() + apart / q.scale + ratio * (-apart / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Tensor:
    apart = (p.scale + q.scale).square() + (p.loc - q.loc).square()
    return (apart / (4 * p.scale * q.scale)).log()


@register_kl(HalfCauchy, HalfCauchy)
def _half_cauchy(p: Any, q: Any) -> Tensor:
    return ((p.scale + q.scale).square() / (4 * p.scale * q.scale)).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    shift = q.loc / q.scale - p.loc / q.scale
    made = ratio.log() * -1 - shift + ratio * euler_constant
    return made + (shift + (1 + ratio).lgamma()).exp() - (1 + euler_constant)


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> Tensor:
    made = ((q.high - q.low) / (p.high - p.low)).log()
    return lucid.where((q.low > p.low) | (q.high < p.high), math.inf, made)


@register_kl(Uniform, Normal)
def _uniform_normal(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    spread = (width / q.scale).square() / 12
    middle = ((p.high + p.low - 2 * q.loc) / (2 * q.scale)).square()
    return (math.sqrt(2 * math.pi) * q.scale / width).log() + 0.5 * (spread + middle)


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Tensor:
    z = (p.loc - q.loc) / p.scale
    near = math.sqrt(2 / math.pi) * p.scale * (-0.5 * z * z).exp()
    far = (p.loc - q.loc) * lucid.erf(z * math.sqrt(0.5))
    made = -(p.scale / q.scale).log() + (near + far) / q.scale
    return made - 0.5 * math.log(0.5 * math.pi) - 0.5


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    a, b = q.concentration1, q.concentration0
    ones = (a - 1) * (_total(p.high) - _total(p.low) - width)
    zeros = (b - 1) * (_total(1 - p.high) - _total(1 - p.low) + width)
    made = log_beta(a, b) - width.log() - (ones - zeros) / width
    return lucid.where((p.high > 1) | (p.low < 0), math.inf, made)


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("kl_divergence: Independent with different numbers of dimensions")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Tensor:
    same = [type(t) for t in p.transforms] == [type(t) for t in q.transforms]
    states = [
        [{k: v for k, v in vars(t).items() if k != "_cached"} for t in d.transforms] for d in (p, q)
    ]
    if not same or not _equal(*states) or p.event_shape != q.event_shape:
        raise NotImplementedError("kl_divergence: distributions transformed in different ways")
    return kl_divergence(p.base_dist, q.base_dist)


def _equal(a: Any, b: Any) -> bool:
    """Whether the attributes of transforms are the same."""
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return a is b or bool((lucid.as_tensor(a) == lucid.as_tensor(b)).all())
    if type(a) is type(b) and type(a).__module__ == "builtins":
        return a == b
    return a is b or (type(a) is type(b) and repr(a) == repr(b))


for _p, _q in (
    (Bernoulli, Bernoulli), (Exponential, Uniform), (Gamma, Uniform), (Normal, Uniform),
    (Laplace, Uniform), (Cauchy, Uniform), (Normal, Exponential), (Normal, Gamma),
    (Normal, Beta), (Laplace, Beta), (Cauchy, Beta), (Exponential, Beta), (Gamma, Beta),
    (Poisson, Bernoulli), (Poisson, Binomial), (Laplace, Exponential), (Laplace, Gamma),
):  # fmt: skip
    # Where p has mass outside of what q can be.
    if (_p, _q) not in _registry:
        register_kl(_p, _q)(lambda p, q: _infinite(p.mean + q.mean))
