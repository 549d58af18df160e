"""Distributions over probabilities: Beta, Dirichlet."""

from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import ExponentialFamily
from lucid.distributions.utils import broadcast_all, floating
from lucid.ops.draws_gamma import _standard_gamma


class Beta(ExponentialFamily):
    """Beta(concentration1 a, concentration0 b): density x^(a - 1) (1 - x)^(b - 1) / B(a, b).

    A sample is x / (x + y) of gamma numbers x and y, by their logarithms, so that small
    concentrations do not underflow.

    >>> import lucid
    >>> from lucid.distributions import Beta
    >>> Beta(2.0, 3.0).mean
    tensor(0.4000)
    """

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None):
        pair = floating(*broadcast_all(concentration1, concentration0))
        self.concentration1, self.concentration0 = pair
        super().__init__(pair[0].shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        inside = (a - 1) / (a + b - 2)
        ends = lucid.where(a > b, 1.0, lucid.where(a < b, 0.0, float("nan")))
        return lucid.where((a > 1) & (b > 1), inside, ends)

    @property
    def variance(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        total = a + b
        return a * b / (total * total * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        x = _standard_gamma(self.concentration1.expand(shape), log=True)
        y = _standard_gamma(self.concentration0.expand(shape), log=True)
        return (x - y).sigmoid()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        inside = lucid.xlogy(a - 1, value) + lucid.special.xlog1py(b - 1, -value)
        return inside + _log_over_beta(a, b)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        total = a + b
        inner = (a - 1) * a.digamma() + (b - 1) * b.digamma() - (total - 2) * total.digamma()
        return -_log_over_beta(a, b) - inner


def _log_over_beta(a: Tensor, b: Tensor) -> Tensor:
    """-log B(a, b)."""
    return (a + b).lgamma() - a.lgamma() - b.lgamma()


class Dirichlet(ExponentialFamily):
    """Dirichlet(concentration (..., K)): density over x >= 0 with sum 1 in proportion to the
    product of x_k^(a_k - 1).

    >>> import lucid
    >>> from lucid.distributions import Dirichlet
    >>> Dirichlet(lucid.tensor([1.0, 3.0])).mean
    tensor([0.2500, 0.7500])
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None):
        if concentration.ndim < 1:
            raise ValueError("Dirichlet: concentration must have at least one dimension")
        (self.concentration,) = floating(concentration)
        shape = concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        less = (self.concentration - 1).clamp(min=0)
        inside = less / less.sum(-1, True)
        corner = (self.concentration < 1).all(-1, True)
        top = self.concentration.argmax(-1, True)
        places = lucid.arange(self.concentration.shape[-1])
        return lucid.where(corner, (places == top).to(inside.dtype), inside)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        rest = total - self.concentration
        return self.concentration * rest / (total * total * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return _standard_gamma(self.concentration.expand(shape), log=True).softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a = self.concentration
        inside = lucid.xlogy(a - 1, value).sum(-1)
        return inside + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> Tensor:
        a = self.concentration
        total = a.sum(-1)
        inner = (total - a.shape[-1]) * total.digamma() - ((a - 1) * a.digamma()).sum(-1)
        return a.lgamma().sum(-1) - total.lgamma() + inner
