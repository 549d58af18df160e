"""Counts: NegativeBinomial, of successes before failures, and Multinomial, of categories."""

from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.bernoulli import Chances
from lucid.distributions.categorical import Categories
from lucid.distributions.utils import broadcast_all, floating, one_of
from lucid.ops.draws_gamma import _standard_gamma

_logsigmoid = lucid.nn.functional.logsigmoid


class NegativeBinomial(Chances):
    """NegativeBinomial(total_count n, probs p or logits): successes of probability p before n
    failures: probability gamma(n + k) / (gamma(n) k!) (1 - p)^n p^k of k.

    >>> import lucid
    >>> lucid.distributions.NegativeBinomial(2.0, 0.5).mean
    tensor(2.)
    """

    arg_constraints = {
        "total_count": constraints.nonnegative,
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer  # type: ignore[assignment]

    def __init__(
        self,
        total_count: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        given = one_of("NegativeBinomial", probs=probs, logits=logits)
        chance = probs if given == "probs" else logits
        self.total_count, chance = floating(*broadcast_all(total_count, chance))
        self.__dict__[given] = chance
        super().__init__(chance.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with lucid.no_grad():
            drawn = _standard_gamma(self.total_count.expand(shape).clamp(min=1e-30))
            rate = lucid.where(self.total_count > 0, drawn * self.logits.exp(), 0.0)
            return lucid.poisson(rate)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n, logits = self.total_count, self.logits
        chances = n * _logsigmoid(-logits) + lucid.where(
            value == 0, 0.0, value * _logsigmoid(logits)
        )
        ways = (n + value).lgamma() - n.lgamma() - (1 + value).lgamma()
        return chances + lucid.where(n + value == 0, 0.0, ways)


class Multinomial(Categories):
    """Multinomial(total_count n, probs or logits): how often each of K categories is chosen in n
    independent choices. n is one number for the batch.

    >>> import lucid
    >>> from lucid.distributions import Multinomial
    >>> Multinomial(2, lucid.tensor([1.0, 1.0])).log_prob(lucid.tensor([1.0, 1.0])).exp()
    tensor(0.5000)
    """

    has_enumerate_support = False

    def __init__(
        self,
        total_count: int = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        if not isinstance(total_count, int):
            raise NotImplementedError(
                f"Multinomial: total_count must be one int for the batch, got {total_count!r}"
            )
        self.total_count = total_count
        shape = self._take(probs, logits).shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    def _expanded(self, new: Any, shape: Any) -> None:
        new.total_count = self.total_count

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        drawn = self._drawn((self.total_count, *lucid.Size(sample_shape)))
        counts = lucid.zeros(shape, dtype=self._param.dtype)
        places = drawn.movedim(0, -1)
        return counts.scatter_add(-1, places, lucid.ones(places.shape, dtype=counts.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        ways = (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1)
        return ways + lucid.where(value == 0, 0.0, value * self.logits).sum(-1)

    def entropy(self) -> Tensor:
        # n times that of one choice, less the logarithm of the orders that make the same counts
        n, p = self.total_count, self.probs[..., None]
        k = lucid.arange(1, n + 1, dtype=p.dtype)
        whole = lucid.tensor(n + 1.0, dtype=p.dtype).lgamma()
        ways = whole - (k + 1).lgamma() - (n - k + 1).lgamma()
        chances = (ways + lucid.xlogy(k, p) + lucid.special.xlog1py(n - k, -p)).exp()
        return n * self._entropy() - whole + (chances * (k + 1).lgamma()).sum((-2, -1))
