"""The continuous counterpart of Bernoulli on [0, 1]: ContinuousBernoulli."""

import math
from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.bernoulli import Chances
from lucid.distributions.distribution import ExponentialFamily
from lucid.distributions.utils import clamp_probs

_softplus = lucid.nn.functional.softplus


class ContinuousBernoulli(Chances, ExponentialFamily):
    """ContinuousBernoulli(probs p) or (logits=...): density c(p) p^x (1 - p)^(1 - x), 0 <= x <= 1,
    c(p) = 2 artanh(1 - 2 p) / (1 - 2 p). Loaiza-Ganem and Cunningham, 2019.

    lims: between these probabilities, where the formulas lose digits, their series is used.

    >>> import lucid
    >>> lucid.distributions.ContinuousBernoulli(0.5).mean
    tensor(0.5000)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval  # type: ignore[assignment]
    has_rsample = True

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ):
        self._lims = lims
        shape = self._take(probs, logits).shape
        super().__init__(shape, (), validate_args)
        if probs is not None:
            self.__dict__["probs"] = clamp_probs(self.probs)

    def _expanded(self, new: Any, shape: Any) -> None:
        new._lims = self._lims

    def _near(self) -> tuple[Tensor, Tensor, Tensor]:
        """Whether p is near 1/2, p with another number there, and p - 1/2."""
        p = clamp_probs(self.probs)
        near = (p > self._lims[0]) & (p < self._lims[1])
        return near, lucid.where(near, self._lims[0], p), p - 0.5

    def _cont_bern_log_norm(self) -> Tensor:
        """log c(p)"""
        near, p, x = self._near()
        far = (((-p).log1p() - p.log()) / (1 - 2 * p)).log()
        x = x.square()
        return lucid.where(near, math.log(2) + (4 / 3 + 104 / 45 * x) * x, far)

    @property
    def mean(self) -> Tensor:
        near, p, x = self._near()
        far = p / (2 * p - 1) + 1 / ((-p).log1p() - p.log())
        return lucid.where(near, 0.5 + (1 / 3 + 16 / 45 * x.square()) * x, far)

    @property
    def variance(self) -> Tensor:
        near, p, x = self._near()
        far = p * (p - 1) / (1 - 2 * p).square() + 1 / ((-p).log1p() - p.log()).square()
        x = x.square()
        return lucid.where(near, 1 / 12 - (1 / 15 - 128 / 945 * x) * x, far)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(lucid.rand(self._extended_shape(sample_shape), dtype=self._param.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return value * self.logits - _softplus(self.logits) + self._cont_bern_log_norm()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        near, t, kept = self._slope()
        series = value * (1 + t * value * (0.5 + t * value / 6)) / (1 + t * (0.5 + t / 6))
        made = lucid.where(near, series, (kept * value).expm1() / kept.expm1())
        return lucid.where(value <= 0, 0.0, lucid.where(value >= 1, 1.0, made))

    def icdf(self, value: Tensor) -> Tensor:
        near, t, kept = self._slope()
        series = value * (1 + (1 - value) * t * (0.5 + (1 - 2 * value) * t / 6))
        return lucid.where(near, series, (value * kept.expm1()).log1p() / kept)

    def _slope(self) -> tuple[Tensor, Tensor, Tensor]:
        """Whether p is near 1/2, t of the density c e^(t x), and t with another number there."""
        near, t = self._near()[0], self.logits
        return near, t, lucid.where(near, 1.0, t)

    def entropy(self) -> Tensor:
        return _softplus(self.logits) - self.mean * self.logits - self._cont_bern_log_norm()
