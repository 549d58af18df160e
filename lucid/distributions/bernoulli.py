"""Distributions of trials with one probability: Bernoulli, Geometric, Binomial."""

from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import Distribution, ExponentialFamily, ProbsOrLogits
from lucid.distributions.utils import (
    broadcast_all,
    clamp_probs,
    floating,
    lazy_property,
    logits_to_probs,
    one_of,
    probs_to_logits,
)

_softplus = lucid.nn.functional.softplus


class Chances(ProbsOrLogits):
    """Distributions whose parameter is a probability, given as `probs` or as `logits`."""

    def _take(self, probs: Any, logits: Any) -> Tensor:
        """Keep the one that is given, and return it."""
        given = one_of(type(self).__name__, probs=probs, logits=logits)
        (value,) = floating(*broadcast_all(probs if given == "probs" else logits))
        self.__dict__[given] = value
        return value

    @lazy_property
    def probs(self) -> Tensor:
        """The probabilities."""
        return logits_to_probs(self.logits, is_binary=True)

    @lazy_property
    def logits(self) -> Tensor:
        """log(p) - log(1 - p)."""
        return probs_to_logits(self.probs, is_binary=True)


class Bernoulli(Chances, ExponentialFamily):
    """Bernoulli(probs) or Bernoulli(logits=...): 1 with that probability, else 0.

    >>> import lucid
    >>> from lucid.distributions import Bernoulli
    >>> Bernoulli(0.25).log_prob(lucid.tensor([0.0, 1.0]))
    tensor([-0.2877, -1.3863])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        super().__init__(self._take(probs, logits).shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return lucid.where(
            self.probs == 0.5, float("nan"), (self.probs >= 0.5).to(self.probs.dtype)
        )

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with lucid.no_grad():
            return lucid.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        # log p where value is 1, log(1 - p) where it is 0: logits value - softplus(logits)
        return value * self.logits - _softplus(self.logits, threshold=100.0)

    def entropy(self) -> Tensor:
        return _softplus(self.logits, threshold=100.0) - self.probs * self.logits

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return _enumerated(self, 2, self._param.dtype, expand)


def _enumerated(self: Distribution, n: int, kind: Any, expand: bool) -> Tensor:
    """0 .. n - 1 along a new first dimension."""
    values = lucid.arange(n, dtype=kind).reshape((n, *(1,) * len(self.batch_shape)))
    return values.expand((n, *self.batch_shape)) if expand else values


class Geometric(Chances):
    """Geometric(probs): how many trials fail before the first success, from 0 on;
    probability (1 - p)^k p.

    >>> import lucid
    >>> lucid.distributions.Geometric(0.25).mean
    tensor(3.)
    """

    arg_constraints = {
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        super().__init__(self._take(probs, logits).shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return lucid.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with lucid.no_grad():
            u = lucid.rand(shape, dtype=self.probs.dtype)
            return ((-u).log1p() / (-self.probs.expand(shape)).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        value, probs = lucid.broadcast_tensors(value, self.probs)
        none = (probs == 1) & (value == 0)
        return value * (-lucid.where(none, 0.0, probs)).log1p() + probs.log()

    def entropy(self) -> Tensor:
        kept = clamp_probs(self.probs)
        return -((1 - kept) * (-kept).log1p() + kept * kept.log()) / kept


class Binomial(Chances):
    """Binomial(total_count n, probs): how many of n trials succeed.

    >>> import lucid
    >>> from lucid.distributions import Binomial
    >>> Binomial(4, 0.5).log_prob(lucid.tensor(2.0)).exp()
    tensor(0.3750)
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Any = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        given = one_of("Binomial", probs=probs, logits=logits)
        count, value = broadcast_all(total_count, probs if given == "probs" else logits)
        (self.__dict__[given],) = floating(value)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self._param.shape, (), validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with lucid.no_grad():
            return lucid.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self.total_count
        ways = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
        return ways + value * self.logits - n * _softplus(self.logits, threshold=100.0)

    def entropy(self) -> Tensor:
        n = int(self.total_count.max().item())
        if int(self.total_count.min().item()) != n:
            raise NotImplementedError("Binomial.entropy: total_count must be the same everywhere")
        values = self.log_prob(self.enumerate_support(False))
        return -(values.exp() * values).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = int(self.total_count.max().item())
        if int(self.total_count.min().item()) != n:
            raise NotImplementedError(
                "Binomial.enumerate_support: total_count must be the same everywhere"
            )
        return _enumerated(self, n + 1, self._param.dtype, expand)
