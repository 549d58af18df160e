"""Choices among categories: Categorical, OneHotCategorical, OneHotCategoricalStraightThrough."""

from typing import Any

import lucid
from lucid import Size, Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import ProbsOrLogits
from lucid.distributions.utils import floating, lazy_property, one_of, probs_to_logits


class Categories(ProbsOrLogits):
    """Distributions over K categories, given as `probs` (..., K), which are normalised, or as
    `logits`, from which their logsumexp is taken."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def _take(self, probs: Any, logits: Any) -> Tensor:
        name = type(self).__name__
        given = one_of(name, probs=probs, logits=logits)
        (value,) = floating(probs if given == "probs" else logits)
        if value.ndim < 1:
            raise ValueError(f"{name}: {given} must have at least one dimension")
        if given == "probs":
            self.probs = value / value.sum(-1, True)
        else:
            self.logits = value - value.logsumexp(-1, True)
        return value

    @property
    def _num_events(self) -> int:
        return self._param.shape[-1]

    @lazy_property
    def probs(self) -> Tensor:
        """The probabilities."""
        return self.logits.softmax(-1)

    @lazy_property
    def logits(self) -> Tensor:
        """The logarithms of the probabilities."""
        return probs_to_logits(self.probs)

    def _drawn(self, sample_shape: Any) -> Tensor:
        """Indices of shape sample_shape + batch_shape: uniform numbers in the running sums."""
        shape = Size(sample_shape) + self._batch_shape
        with lucid.no_grad():
            total = self.probs.double().cumsum(-1)
            u = lucid.rand(shape, dtype=lucid.float64)
            rows = total.expand((*self._batch_shape, self._num_events))
            # The draws of one row are next to each other for the search.
            lead = len(sample_shape) if not isinstance(sample_shape, int) else 1
            order = (*range(lead, len(shape)), *range(lead))
            turned = u.permute(order).reshape((*self._batch_shape, -1)) if lead else u[..., None]
            last = rows[..., -1:]
            found = lucid.searchsorted(
                rows, (turned * last).minimum(last * (1 - 2.0**-52)), right=True
            )
            # Past the last category that can be: rounding, or a row of zeros at its end.
            found = found.clamp(max=self._num_events - 1)
            if not lead:
                return found[..., 0]
            made = found.reshape((*self._batch_shape, *Size(sample_shape)))
            batch = len(self._batch_shape)
            return made.permute((*range(batch, batch + lead), *range(batch)))

    def _entropy(self) -> Tensor:
        low = lucid.finfo(self.logits.dtype).min
        logits = self.logits.clamp(min=low)
        return -(logits * self.probs).sum(-1)


class Categorical(Categories):
    """Categorical(probs) or Categorical(logits=...): an index k with probability probs[..., k].

    >>> import lucid
    >>> from lucid.distributions import Categorical
    >>> Categorical(lucid.tensor([1.0, 3.0])).log_prob(lucid.tensor([0, 1]))
    tensor([-1.3863, -0.2877])
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        super().__init__(self._take(probs, logits).shape[:-1], (), validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return lucid.full(self._extended_shape(), float("nan"), dtype=self.probs.dtype)

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return lucid.full(self._extended_shape(), float("nan"), dtype=self.probs.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._drawn(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        shape = lucid.broadcast_shapes(tuple(value.shape), tuple(self._batch_shape))
        places = value.long().expand(shape)[..., None]
        return self.logits.expand((*shape, self._num_events)).gather(-1, places)[..., 0]

    def entropy(self) -> Tensor:
        return self._entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._num_events
        values = lucid.arange(n).reshape((n, *(1,) * len(self._batch_shape)))
        return values.expand((n, *self._batch_shape)) if expand else values


class OneHotCategorical(Categories):
    """OneHotCategorical(probs) or (logits=...): a vector with a single 1, at index k with
    probability probs[..., k].

    >>> import lucid
    >>> from lucid.distributions import OneHotCategorical
    >>> OneHotCategorical(lucid.tensor([0.0, 1.0])).sample()
    tensor([0., 1.])
    """

    support = constraints.one_hot

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        shape = self._take(probs, logits).shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._hot(self.probs.argmax(-1))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _hot(self, index: Tensor) -> Tensor:
        places = lucid.arange(self._num_events)
        return (index[..., None] == places).to(self._param.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._hot(self._drawn(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        shape = lucid.broadcast_shapes(tuple(value.shape), tuple(self._extended_shape()))
        places = value.argmax(-1).expand(shape[:-1])[..., None]
        return self.logits.expand(shape).gather(-1, places)[..., 0]

    def entropy(self) -> Tensor:
        return self._entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._num_events
        values = lucid.eye(n, dtype=self._param.dtype)
        values = values.reshape((n, *(1,) * len(self._batch_shape), n))
        return values.expand((n, *self._batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """OneHotCategorical whose samples have the gradient of the probabilities (Bengio, Léonard and
    Courville, 2013).

    >>> import lucid
    >>> from lucid.distributions import OneHotCategoricalStraightThrough
    >>> p = lucid.tensor([0.5, 0.5], requires_grad=True)
    >>> OneHotCategoricalStraightThrough(p).rsample().requires_grad
    True
    """

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())
