"""Distributions of powers of simple numbers: Pareto, GeneralizedPareto, Weibull, Kumaraswamy; and
FisherSnedecor, the ratio of two gamma numbers."""

from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import Distribution
from lucid.distributions.utils import broadcast_all, euler_constant, floating, log_beta
from lucid.ops.draws_gamma import _standard_gamma

nan, inf = float("nan"), float("inf")


class _Quantiles(Distribution):
    """Distributions whose samples are quantiles of uniform numbers."""

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        kind = self.__dict__[next(iter(self.arg_constraints))].dtype
        return self.icdf(lucid.rand(self._extended_shape(sample_shape), dtype=kind))


class Pareto(_Quantiles):
    """Pareto(scale m, alpha a): density a m^a / x^(a + 1), x >= m.

    >>> import lucid
    >>> lucid.distributions.Pareto(1.0, 3.0).mean
    tensor(1.5000)
    """

    arg_constraints = {"scale": constraints.positive, "alpha": constraints.positive}

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None):
        self.scale, self.alpha = floating(*broadcast_all(scale, alpha))
        super().__init__(self.scale.shape, (), validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Tensor:
        a = self.alpha.clamp(min=1)  # infinite up to 1
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        a = self.alpha.clamp(min=2)  # infinite up to 2
        return self.scale.square() * a / ((a - 1).square() * (a - 2))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a = self.alpha
        return a.log() + a * self.scale.log() - (a + 1) * value.log()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -(self.alpha * (self.scale.log() - value.log())).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * (-(-value).log1p() / self.alpha).exp()

    def entropy(self) -> Tensor:
        return (self.scale / self.alpha).log() + 1 + self.alpha.reciprocal()


class GeneralizedPareto(_Quantiles):
    """GeneralizedPareto(loc, scale, concentration k): density (1 + k z)^(-1 - 1 / k) / scale,
    z = (x - loc) / scale >= 0; e^-z / scale where k is 0. With k < 0, z is at most -1 / k.

    >>> import lucid
    >>> lucid.distributions.GeneralizedPareto(0.0, 1.0, 0.0).log_prob(lucid.tensor(2.0))
    tensor(-2.)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None):
        given = floating(*broadcast_all(loc, scale, concentration))
        self.loc, self.scale, self.concentration = given
        super().__init__(self.loc.shape, (), validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        k = self.concentration
        upper = lucid.where(k < 0, self.loc - self.scale / k, inf)
        return constraints.interval(self.loc, upper)

    @property
    def mean(self) -> Tensor:
        k = self.concentration
        return lucid.where(k < 1, self.loc + self.scale / (1 - k), nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        k = self.concentration
        made = self.scale.square() / ((1 - k).square() * (1 - 2 * k))
        return lucid.where(k < 0.5, made, nan)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        k, z = self.concentration, (value - self.loc) / self.scale
        made = (k * z).log1p() + _log1p_over(k, z)
        return -self.scale.log() - lucid.where(k == -1, 0.0, made)

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of more than `value`."""
        self._validate_sample(value)
        return -_log1p_over(self.concentration, (value - self.loc) / self.scale)

    def log_cdf(self, value: Tensor) -> Tensor:
        """The logarithm of `cdf`."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Tensor) -> Tensor:
        return -self.log_survival_function(value).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        k, e = self.concentration, -(-value).log1p()
        near, kept = _near(k, e)
        series = e * (1 + k * e * (0.5 + k * e / 6))
        return self.loc + self.scale * lucid.where(near, series, (kept * e).expm1() / kept)

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1


def _near(k: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Where k z is so small that three terms of a series in it are exact, and k with 1 there."""
    near = (k * z).abs() < 1e-4
    return near, lucid.where(near, 1.0, k)


def _log1p_over(k: Tensor, z: Tensor) -> Tensor:
    """log(1 + k z) / k, z where k is 0."""
    near, kept = _near(k, z)
    return lucid.where(near, z * (1 - k * z * (0.5 - k * z / 3)), (kept * z).log1p() / kept)


class Weibull(_Quantiles):
    """Weibull(scale, concentration k): density k / scale z^(k - 1) e^(-z^k), z = x / scale > 0.

    >>> import lucid
    >>> lucid.distributions.Weibull(2.0, 1.0).mean
    tensor(2.)
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive  # type: ignore[assignment]

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None):
        self.scale, self.concentration = floating(*broadcast_all(scale, concentration))
        super().__init__(self.scale.shape, (), validate_args)

    def _moment(self, n: int) -> Tensor:
        """The mean of z^n."""
        return (1 + n / self.concentration).lgamma().exp()

    @property
    def mean(self) -> Tensor:
        return self.scale * self._moment(1)

    @property
    def mode(self) -> Tensor:
        k = self.concentration
        return self.scale * ((k - 1).clamp(min=0) / k).pow(k.reciprocal())

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (self._moment(2) - self._moment(1).square())

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        k, z = self.concentration, (value / self.scale).log()
        return (k / self.scale).log() + (k - 1) * z - (k * z).exp()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -(-(value / self.scale).pow(self.concentration)).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * (-(-value).log1p()).pow(self.concentration.reciprocal())

    def entropy(self) -> Tensor:
        k = self.concentration
        return euler_constant * (1 - k.reciprocal()) + (self.scale / k).log() + 1


class Kumaraswamy(_Quantiles):
    """Kumaraswamy(concentration1 a, concentration0 b): density a b x^(a - 1) (1 - x^a)^(b - 1),
    0 < x < 1. Kumaraswamy, 1980.

    >>> import lucid
    >>> lucid.distributions.Kumaraswamy(1.0, 1.0).mean
    tensor(0.5000)
    """

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval  # type: ignore[assignment]

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None):
        given = floating(*broadcast_all(concentration1, concentration0))
        self.concentration1, self.concentration0 = given
        super().__init__(self.concentration1.shape, (), validate_args)

    def _moment(self, n: int) -> Tensor:
        """The mean of x^n: b B(1 + n / a, b)."""
        a, b = self.concentration1, self.concentration0
        first = 1 + n / a
        return b * log_beta(first, b).exp()

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        inside = ((a >= 1) & (b > 1)) | ((a > 1) & (b >= 1))
        return lucid.where(inside, ((a - 1) / (a * b - 1)).pow(a.reciprocal()), nan)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self._moment(1).square()

    def _rest(self, value: Tensor) -> Tensor:
        """log(1 - x^a)"""
        return (-(self.concentration1 * value.log()).exp()).log1p()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        return (a * b).log() + lucid.xlogy(a - 1, value) + (b - 1) * self._rest(value)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -(self.concentration0 * self._rest(value)).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        inner = -((-value).log1p() / self.concentration0).expm1()
        return inner.pow(self.concentration1.reciprocal())

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = (b + 1).digamma() + euler_constant
        return 1 - b.reciprocal() + (1 - a.reciprocal()) * harmonic - (a * b).log()


class FisherSnedecor(Distribution):
    """FisherSnedecor(df1, df2): (x / df1) / (y / df2) of Chi2(df1) and Chi2(df2) numbers x, y.

    >>> import lucid
    >>> lucid.distributions.FisherSnedecor(1.0, 4.0).mean
    tensor(2.)
    """

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive  # type: ignore[assignment]
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None):
        self.df1, self.df2 = floating(*broadcast_all(df1, df2))
        super().__init__(self.df1.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        n = self.df2
        return lucid.where(n > 2, n / (n - 2), nan)

    @property
    def mode(self) -> Tensor:
        m, n = self.df1, self.df2
        return lucid.where(m > 2, (m - 2) / m * n / (n + 2), nan)

    @property
    def variance(self) -> Tensor:
        m, n = self.df1, self.df2
        made = 2 * n.square() * (m + n - 2) / (m * (n - 2).square() * (n - 4))
        return lucid.where(n > 4, made, nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        a, b = (0.5 * self.df1).expand(shape), (0.5 * self.df2).expand(shape)
        apart = _standard_gamma(a, log=True) - _standard_gamma(b, log=True)
        return (apart + self.df2.log() - self.df1.log()).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b, ratio = 0.5 * self.df1, 0.5 * self.df2, self.df1 / self.df2
        rest = (a + b) * (ratio * value).log1p()
        return a * ratio.log() + (a - 1) * value.log() - rest - log_beta(a, b)

    def entropy(self) -> Tensor:
        a, b = 0.5 * self.df1, 0.5 * self.df2
        made = log_beta(a, b) + (1 - a) * a.digamma() - (1 + b) * b.digamma()
        return made + (a + b) * (a + b).digamma() + (b / a).log()
