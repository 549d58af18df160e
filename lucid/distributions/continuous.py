"""Distributions with a place and a scale: Uniform, Laplace, Cauchy, Gumbel, StudentT, ...

HalfCauchy is here too; the normal ones are in normal.py.
"""

import math
from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import Distribution
from lucid.distributions.utils import broadcast_all, euler_constant, floating
from lucid.ops.draws_gamma import _standard_gamma


class Uniform(Distribution):
    """Uniform(low, high): density 1 / (high - low) on [low, high).

    >>> import lucid
    >>> from lucid.distributions import Uniform
    >>> Uniform(0.0, 4.0).log_prob(lucid.tensor(1.0))
    tensor(-1.3863)
    """

    arg_constraints = {
        "low": constraints.dependent(is_discrete=False, event_dim=0),
        "high": constraints.dependent(is_discrete=False, event_dim=0),
    }
    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None):
        self.low, self.high = floating(*broadcast_all(low, high))
        super().__init__(self.low.shape, (), validate_args)

    def _check_parameters(self) -> None:
        if not bool((self.low < self.high).all()):
            raise ValueError(
                f"Uniform: parameter low must be below high, got\n{self.low}\nand\n{self.high}"
            )

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return lucid.full_like(self.low, float("nan"))

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low).square() / 12

    @property
    def stddev(self) -> Tensor:
        return (self.high - self.low) / math.sqrt(12)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = lucid.rand(self._extended_shape(sample_shape), dtype=self.low.dtype)
        return self.low + u * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        inside = (value >= self.low) & (value < self.high)
        return lucid.where(inside, -(self.high - self.low).log(), -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


class _LocationScale(Distribution):
    """Distributions of loc + scale z, z with the parameters 0 and 1."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None):
        self.loc, self.scale = floating(*broadcast_all(loc, scale))
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def mode(self) -> Tensor:
        return self.loc

    def _z(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return (value - self.loc) / self.scale

    def _uniform(self, sample_shape: Any) -> Tensor:
        """Uniform numbers inside (0, 1)."""
        u = lucid.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return u.clamp(min=lucid.finfo(u.dtype).eps / 4)


class Laplace(_LocationScale):
    """Laplace(loc, scale): density e^(-|x - loc| / scale) / (2 scale).

    >>> import lucid
    >>> lucid.distributions.Laplace(0.0, 1.0).log_prob(lucid.tensor(1.0))
    tensor(-1.6931)
    """

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return self.scale * math.sqrt(2)

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.square()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = self._uniform(sample_shape) - 0.5
        return self.loc - self.scale * u.sign() * (-2 * u.abs()).log1p()

    def log_prob(self, value: Tensor) -> Tensor:
        return -(2 * self.scale).log() - self._z(value).abs()

    def cdf(self, value: Tensor) -> Tensor:
        z = self._z(value)
        return 0.5 - 0.5 * z.sign() * (-z.abs()).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        u = value - 0.5
        return self.loc - self.scale * u.sign() * (-2 * u.abs()).log1p()

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


class Cauchy(_LocationScale):
    """Cauchy(loc, scale): density 1 / (pi scale (1 + z^2)), z = (x - loc) / scale.

    >>> import lucid
    >>> lucid.distributions.Cauchy(0.0, 1.0).log_prob(lucid.tensor(0.0))
    tensor(-1.1447)
    """

    @property
    def mean(self) -> Tensor:
        return lucid.full(self._extended_shape(), float("nan"), dtype=self.loc.dtype)

    @property
    def variance(self) -> Tensor:
        return lucid.full(self._extended_shape(), float("inf"), dtype=self.loc.dtype)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale * ((self._uniform(sample_shape) - 0.5) * math.pi).tan()

    def log_prob(self, value: Tensor) -> Tensor:
        return -math.log(math.pi) - self.scale.log() - self._z(value).square().log1p()

    def cdf(self, value: Tensor) -> Tensor:
        return self._z(value).atan() / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * ((value - 0.5) * math.pi).tan()

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + self.scale.log()


class HalfCauchy(Distribution):
    """HalfCauchy(scale): |x| of a Cauchy x around 0.

    >>> import lucid
    >>> lucid.distributions.HalfCauchy(1.0).cdf(lucid.tensor(1.0))
    tensor(0.5000)
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None):
        (self.scale,) = floating(*broadcast_all(scale))
        super().__init__(self.scale.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return lucid.full(self._extended_shape(), float("inf"), dtype=self.scale.dtype)

    @property
    def mode(self) -> Tensor:
        return lucid.zeros_like(self.scale)

    @property
    def variance(self) -> Tensor:
        return lucid.full(self._extended_shape(), float("inf"), dtype=self.scale.dtype)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = lucid.rand(self._extended_shape(sample_shape), dtype=self.scale.dtype)
        return self.scale * (u * (math.pi / 2)).tan()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        made = math.log(2 / math.pi) - self.scale.log() - (value / self.scale).square().log1p()
        return lucid.where(value >= 0, made, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return (value / self.scale).atan() * (2 / math.pi)

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * (value * (math.pi / 2)).tan()

    def entropy(self) -> Tensor:
        return math.log(2 * math.pi) + self.scale.log()


class Gumbel(_LocationScale):
    """Gumbel(loc, scale): distribution function e^-e^-z, z = (x - loc) / scale.

    >>> import lucid
    >>> lucid.distributions.Gumbel(0.0, 1.0).mean
    tensor(0.5772)
    """

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * euler_constant

    @property
    def stddev(self) -> Tensor:
        return self.scale * (math.pi / math.sqrt(6))

    @property
    def variance(self) -> Tensor:
        return self.stddev.square()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(self._uniform(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        z = self._z(value)
        return -z - (-z).exp() - self.scale.log()

    def cdf(self, value: Tensor) -> Tensor:
        return (-(-self._z(value)).exp()).exp()

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + euler_constant)


class StudentT(Distribution):
    """StudentT(df, loc=0, scale=1): loc + scale z / sqrt(c / df), z normal, c chi-squared of df.

    >>> import lucid
    >>> lucid.distributions.StudentT(1.0).log_prob(lucid.tensor(0.0))
    tensor(-1.1447)
    """

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ):
        self.df, self.loc, self.scale = floating(*broadcast_all(df, loc, scale))
        super().__init__(self.df.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return lucid.where(self.df > 1, self.loc, float("nan"))

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        n = self.df
        made = self.scale.square() * n / (n - 2)
        made = lucid.where(n > 2, made, float("inf"))
        return lucid.where(n > 1, made, float("nan"))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        z = lucid.randn(shape, dtype=self.df.dtype)
        half = 0.5 * self.df
        drawn = _standard_gamma(half.expand(shape), log=True)  # of chi-squared / 2
        return self.loc + self.scale * z * (0.5 * (half.log() - drawn)).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        z, n = (value - self.loc) / self.scale, self.df
        total = self.scale.log() + 0.5 * n.log() + 0.5 * math.log(math.pi)
        total = total + (0.5 * n).lgamma() - (0.5 * (n + 1)).lgamma()
        return -0.5 * (n + 1) * (z * z / n).log1p() - total

    def entropy(self) -> Tensor:
        n, m = 0.5 * self.df, 0.5 * (self.df + 1)
        beta = n.lgamma() + math.lgamma(0.5) - m.lgamma()
        return self.scale.log() + m * (m.digamma() - n.digamma()) + 0.5 * self.df.log() + beta
