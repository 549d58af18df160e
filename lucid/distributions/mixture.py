"""A choice among distributions of one kind: MixtureSameFamily."""

from typing import Any

import lucid
from lucid import Size, Tensor
from lucid.distributions import constraints
from lucid.distributions.categorical import Categorical
from lucid.distributions.distribution import Distribution


class MixtureSameFamily(Distribution):
    """MixtureSameFamily(mixture_distribution, component_distribution): the Categorical chooses one
    along the last batch dimension of the components, of which there are as many as categories.

    log p(x) = logsumexp over k of log mixture_k + log p_k(x).

    >>> import lucid
    >>> from lucid.distributions import Categorical, MixtureSameFamily, Normal
    >>> two = Normal(lucid.tensor([-1.0, 1.0]), 1.0)
    >>> MixtureSameFamily(Categorical(lucid.ones(2)), two).mean
    tensor(0.)
    """

    arg_constraints = {}

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ):
        mixture, component = mixture_distribution, component_distribution
        if not isinstance(mixture, Categorical):
            raise ValueError(f"MixtureSameFamily: the mixture must be Categorical, got {mixture!r}")
        if not isinstance(component, Distribution):
            raise ValueError(f"MixtureSameFamily: components {component!r} are no Distribution")
        inner = component.batch_shape
        if not inner or inner[-1] != mixture._num_events:
            raise ValueError(
                f"MixtureSameFamily: {mixture._num_events} categories choose along the last "
                f"dimension of components of batch shape {tuple(inner)}"
            )
        for got, own in zip(reversed(mixture.batch_shape), reversed(inner[:-1]), strict=False):
            if got != 1 and own != 1 and got != own:
                raise ValueError(
                    f"MixtureSameFamily: a mixture of batch shape {tuple(mixture.batch_shape)} "
                    f"does not fit components of batch shape {tuple(inner)}"
                )
        self._mixture_distribution, self._component_distribution = mixture, component
        super().__init__(inner[:-1], component.event_shape, validate_args)

    @property
    def mixture_distribution(self) -> Categorical:
        """What chooses."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """What is chosen from."""
        return self._component_distribution

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return False

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "MixtureSameFamily":
        shape = Size(batch_shape)
        new = self._get_checked_instance(None, _instance)
        count = self._mixture_distribution._num_events
        new._component_distribution = self._component_distribution.expand((*shape, count))
        new._mixture_distribution = self._mixture_distribution.expand(shape)
        Distribution.__init__(new, shape, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _weights(self) -> Tensor:
        """The probabilities of the components, with the dimensions of an event."""
        probs = self._mixture_distribution.probs
        return probs.reshape((*probs.shape, *(1,) * len(self._event_shape)))

    def _over(self, x: Tensor) -> Tensor:
        """The sum over the components."""
        return x.sum(-1 - len(self._event_shape))

    @property
    def mean(self) -> Tensor:
        return self._over(self._weights() * self._component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        # The mean of the variances and the variance of the means.
        component, weights = self._component_distribution, self._weights()
        apart = component.mean - self.mean.unsqueeze(-1 - len(self._event_shape))
        return self._over(weights * component.variance) + self._over(weights * apart.square())

    def cdf(self, value: Tensor) -> Tensor:
        found = self._component_distribution.cdf(self._padded(value))
        return (found * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        found = self._component_distribution.log_prob(self._padded(value))
        return (found + self._mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def _padded(self, value: Tensor) -> Tensor:
        return value.unsqueeze(-1 - len(self._event_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        events = len(self._event_shape)
        with lucid.no_grad():
            drawn = self._component_distribution.sample(sample_shape)
            chosen = self._mixture_distribution.expand(self._batch_shape).sample(sample_shape)
            places = chosen.reshape((*chosen.shape, 1, *(1,) * events))
            places = places.expand((*chosen.shape, 1, *self._event_shape))
            return drawn.gather(-1 - events, places).squeeze(-1 - events)

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily({self._mixture_distribution!r}, {self._component_distribution!r})"
        )
