"""Continuous stand-ins of discrete distributions: RelaxedBernoulli, RelaxedOneHotCategorical."""

from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.bernoulli import Chances
from lucid.distributions.categorical import Categories
from lucid.distributions.transformed import TransformedDistribution
from lucid.distributions.transforms import ExpTransform, SigmoidTransform

_softplus = lucid.nn.functional.softplus


class _Relaxed(TransformedDistribution):
    """What both have of the distribution under their transform."""

    has_rsample = True
    base_dist: Any

    @property
    def temperature(self) -> Any:
        """How far samples are from the corners."""
        return self.base_dist.temperature

    @property
    def probs(self) -> Tensor:
        """The probabilities of the corners; of 1 for a RelaxedBernoulli."""
        return self.base_dist.probs

    @property
    def logits(self) -> Tensor:
        """The logarithms of the probabilities; log(p) - log(1 - p) for a RelaxedBernoulli."""
        return self.base_dist.logits


class LogitRelaxedBernoulli(Chances):
    """log(x / (1 - x)) of a relaxed Bernoulli x: (logits + a logistic number) / temperature."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        self.temperature = temperature
        super().__init__(self._take(probs, logits).shape, (), validate_args)

    def _expanded(self, new: Any, shape: Any) -> None:
        new.temperature = self.temperature

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        kind = self._param.dtype
        u = lucid.rand(self._extended_shape(sample_shape), dtype=kind)
        eps = lucid.finfo(kind).eps
        u = u.clamp(min=eps, max=1 - eps)
        return (u.log() - (-u).log1p() + self.logits) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        apart = self.logits - value * self.temperature
        scale = lucid.as_tensor(self.temperature, dtype=apart.dtype).log()
        return scale + apart - 2 * _softplus(apart, threshold=100.0)


class RelaxedBernoulli(_Relaxed):
    """RelaxedBernoulli(temperature, probs or logits): numbers in (0, 1) that come to 0 or 1 as the
    temperature falls. Maddison, Mnih and Teh, "The concrete distribution", 2017.

    >>> import lucid
    >>> from lucid.distributions import RelaxedBernoulli
    >>> bool(RelaxedBernoulli(lucid.tensor(0.5), 0.3).rsample() < 1)
    True
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        base = LogitRelaxedBernoulli(temperature, probs, logits, validate_args)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)


class ExpRelaxedCategorical(Categories):
    """The logarithms of a relaxed one-hot vector: log softmax((logits + Gumbel) / temperature)."""

    support = constraints.real_vector
    has_rsample = True
    has_enumerate_support = False

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        self.temperature = temperature
        shape = self._take(probs, logits).shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    def _expanded(self, new: Any, shape: Any) -> None:
        new.temperature = self.temperature

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        kind = self._param.dtype
        u = lucid.rand(self._extended_shape(sample_shape), dtype=kind)
        eps = lucid.finfo(kind).eps
        noise = -(-u.clamp(min=eps, max=1 - eps).log()).log()
        return ((self.logits + noise) / self.temperature).log_softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self._num_events
        t = lucid.as_tensor(self.temperature, dtype=self._param.dtype)
        apart = self.logits - value * t
        made = (apart - apart.logsumexp(-1, True)).sum(-1)
        scale = lucid.tensor(float(n), dtype=t.dtype).lgamma() + (n - 1) * t.log()
        return made + scale


class RelaxedOneHotCategorical(_Relaxed):
    """RelaxedOneHotCategorical(temperature, probs or logits): points of the simplex that come to
    its corners as the temperature falls. Jang, Gu and Poole, 2017; Maddison, Mnih and Teh, 2017.

    >>> import lucid
    >>> from lucid.distributions import RelaxedOneHotCategorical
    >>> RelaxedOneHotCategorical(lucid.tensor(0.5), lucid.ones(3)).rsample().shape
    lucid.Size([3])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)
