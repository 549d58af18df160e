"""Normal distributions: Normal, HalfNormal; LogNormal is in transformed.py."""

import math
from typing import Any

import lucid
from lucid import Size, Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import Centred, ExponentialFamily
from lucid.distributions.utils import broadcast_all, floating

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


class Normal(Centred, ExponentialFamily):
    """Normal(loc, scale): density e^(-z^2 / 2) / (scale sqrt(2 pi)), z = (x - loc) / scale.

    >>> import lucid
    >>> from lucid.distributions import Normal
    >>> Normal(0.0, 1.0).log_prob(lucid.tensor([0.0, 1.0]))
    tensor([-0.9189, -1.4189])
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None):
        self.loc, self.scale = floating(*broadcast_all(loc, scale))
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        z = lucid.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + z * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        z = (value - self.loc) / self.scale
        return -0.5 * z * z - self.scale.log() - _LOG_ROOT_2PI

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return 0.5 * lucid.erfc((self.loc - value) / (self.scale * math.sqrt(2)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * lucid.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + _LOG_ROOT_2PI + self.scale.log()


class HalfNormal(ExponentialFamily):
    """HalfNormal(scale): |x| of a normal x with mean 0.

    >>> import lucid
    >>> from lucid.distributions import HalfNormal
    >>> HalfNormal(2.0).mean
    tensor(1.5958)
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None):
        (self.scale,) = floating(*broadcast_all(scale))
        super().__init__(self.scale.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Tensor:
        return lucid.zeros_like(self.scale)

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale * (1 - 2 / math.pi)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape: Size = self._extended_shape(sample_shape)
        return (lucid.randn(shape, dtype=self.scale.dtype) * self.scale).abs()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        z = value / self.scale
        made = -0.5 * z * z - self.scale.log() - (_LOG_ROOT_2PI - math.log(2))
        return lucid.where(value >= 0, made, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return lucid.erf(value / (self.scale * math.sqrt(2)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * lucid.erfinv(value) * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + _LOG_ROOT_2PI - math.log(2) + self.scale.log()
