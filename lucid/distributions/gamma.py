"""Distributions made of gamma numbers: Gamma, Chi2, InverseGamma; Exponential."""

from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import ExponentialFamily
from lucid.distributions.utils import broadcast_all, floating
from lucid.ops.draws_gamma import _standard_gamma


class _ConcentrationAndRate(ExponentialFamily):
    """The parameters of Gamma and of InverseGamma."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None):
        self.concentration, self.rate = floating(*broadcast_all(concentration, rate))
        super().__init__(self.concentration.shape, (), validate_args)


class Gamma(_ConcentrationAndRate):
    """Gamma(concentration a, rate b): density b^a x^(a - 1) e^(-b x) / gamma(a), x >= 0.

    Samples are reparametrised: their gradient in the concentration is that of a quantile
    (Figurnov, Mohamed and Mnih, 2018).

    >>> import lucid
    >>> from lucid.distributions import Gamma
    >>> Gamma(2.0, 1.0).log_prob(lucid.tensor(1.0))
    tensor(-1.)
    """

    support = constraints.nonnegative

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / (self.rate * self.rate)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        made = _standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        return made.clamp(min=lucid.finfo(made.dtype).tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        value = lucid.as_tensor(value, dtype=self.rate.dtype)
        a, b = self.concentration, self.rate
        return lucid.xlogy(a, b) + lucid.xlogy(a - 1, value) - b * value - a.lgamma()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return lucid.igamma(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1 - a) * a.digamma()


class Chi2(Gamma):
    """Chi2(df): the sum of the squares of df standard normal numbers, Gamma(df / 2, 1 / 2).

    >>> import lucid
    >>> lucid.distributions.Chi2(3.0).mean
    tensor(3.)
    """

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None):
        (df,) = floating(*broadcast_all(df))
        super().__init__(0.5 * df, lucid.full_like(df, 0.5), validate_args=False)
        if validate_args is not None:
            self._validate_args = validate_args
        self.__dict__["df"] = df
        ExponentialFamily.__init__(self, df.shape, (), validate_args)

    def _expanded(self, new: Any, shape: Any) -> None:
        new.concentration, new.rate = self.concentration.expand(shape), self.rate.expand(shape)


class InverseGamma(_ConcentrationAndRate):
    """InverseGamma(concentration a, rate b): 1 / x of a Gamma(a, b) number x.

    >>> import lucid
    >>> lucid.distributions.InverseGamma(3.0, 2.0).mean
    tensor(1.)
    """

    support = constraints.positive

    @property
    def mean(self) -> Tensor:
        a = self.concentration
        return lucid.where(a > 1, self.rate / (a - 1), float("inf"))

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        a = self.concentration
        return lucid.where(a > 2, (self.rate / (a - 1)).square() / (a - 2), float("inf"))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        drawn = _standard_gamma(self.concentration.expand(shape), log=True)
        return self.rate * (-drawn).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration, self.rate
        return a * b.log() - (a + 1) * value.log() - b / value - a.lgamma()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return lucid.igammac(self.concentration, self.rate / value)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a + self.rate.log() + a.lgamma() - (1 + a) * a.digamma()


class Exponential(ExponentialFamily):
    """Exponential(rate): density rate e^(-rate x), x >= 0.

    >>> import lucid
    >>> lucid.distributions.Exponential(2.0).mean
    tensor(0.5000)
    """

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None):
        (self.rate,) = floating(*broadcast_all(rate))
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate.reciprocal()

    @property
    def mode(self) -> Tensor:
        return lucid.zeros_like(self.rate)

    @property
    def stddev(self) -> Tensor:
        return self.rate.reciprocal()

    @property
    def variance(self) -> Tensor:
        return self.rate.square().reciprocal()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = lucid.rand(self._extended_shape(sample_shape), dtype=self.rate.dtype)
        return -(-u).log1p() / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -(-self.rate * value).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        return -(-value).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1 - self.rate.log()
