"""Counts of events: Poisson."""

from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import ExponentialFamily
from lucid.distributions.utils import broadcast_all, floating


class Poisson(ExponentialFamily):
    """Poisson(rate): probability rate^k e^-rate / k!, k from 0 on.

    >>> import lucid
    >>> lucid.distributions.Poisson(2.0).log_prob(lucid.tensor(0.0))
    tensor(-2.)
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None):
        (self.rate,) = floating(*broadcast_all(rate))
        super().__init__(self.rate.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lucid.no_grad():
            return lucid.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return lucid.xlogy(value, self.rate) - self.rate - (value + 1).lgamma()
