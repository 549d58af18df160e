"""The root of all distributions: shapes, checks of parameters and values, expansion.

A distribution over events of `event_shape`, `batch_shape` of them: samples have the shape
sample_shape + batch_shape + event_shape, log-probabilities that of sample_shape + batch_shape.
"""

from typing import Any, ClassVar

import lucid
from lucid import Size, Tensor
from lucid.distributions import constraints
from lucid.distributions.constraints import Constraint
from lucid.tracing import tracing


class Distribution:
    """A probability distribution. A subclass sets `arg_constraints` and `support`, calls this
    `__init__` with its shapes once its parameters are attributes, and has `rsample` or `sample`,
    `log_prob`, `entropy`, `mean`, `variance` as far as they exist.

    validate_args: whether parameters, and values given to `log_prob` and `cdf`, are checked
    (ValueError, naming the parameter); checks read tensors, so a traced program leaves them out.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: ClassVar[dict[str, Constraint]] = {}
    _validate_args: bool = __debug__

    def __init__(
        self,
        batch_shape: Any = (),
        event_shape: Any = (),
        validate_args: bool | None = None,
    ):
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args and tracing() is None:
            self._check_parameters()

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check what they are given unless told otherwise."""
        if value not in (True, False):
            raise ValueError(f"validate_args must be a bool, got {value!r}")
        Distribution._validate_args = value

    def _check_parameters(self) -> None:
        for name, constraint in self.arg_constraints.items():
            if name not in self.__dict__ or constraints.is_dependent(constraint):
                continue
            value = self.__dict__[name]
            if not bool(constraint.check(value).all()):
                raise ValueError(
                    f"{type(self).__name__}: parameter {name} {tuple(value.shape)} must be "
                    f"{constraint!r}, got\n{value}"
                )

    def _validate_sample(self, value: Any) -> None:
        """Raise unless `value` has a shape of samples and lies in the support."""
        if not self._validate_args:
            return
        name = type(self).__name__
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}: value must be a tensor, got {type(value).__name__}")
        events = len(self.event_shape)
        if tuple(value.shape[value.ndim - events :]) != tuple(self.event_shape):
            raise ValueError(
                f"{name}: value {tuple(value.shape)} must end in the event shape "
                f"{tuple(self.event_shape)}"
            )
        whole = tuple(self.batch_shape + self.event_shape)
        for got, own in zip(reversed(value.shape), reversed(whole), strict=False):
            if got != 1 and own != 1 and got != own:
                raise ValueError(
                    f"{name}: value {tuple(value.shape)} does not broadcast with batch and event "
                    f"shape {whole}"
                )
        if tracing() is not None:
            return
        try:
            support = self.support
        except NotImplementedError:
            return
        if not bool(support.check(value).all()):
            raise ValueError(f"{name}: value must lie in the support {support!r}, got\n{value}")

    @property
    def batch_shape(self) -> Size:
        """How many distributions there are."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one sample of one distribution."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """Where samples lie."""
        raise NotImplementedError(f"{type(self).__name__} has no support")

    @property
    def mean(self) -> Tensor:
        """The mean of each distribution."""
        raise NotImplementedError(f"{type(self).__name__} has no mean")

    @property
    def mode(self) -> Tensor:
        """The most probable value of each distribution."""
        raise NotImplementedError(f"{type(self).__name__} has no mode")

    @property
    def variance(self) -> Tensor:
        """The variance of each distribution."""
        raise NotImplementedError(f"{type(self).__name__} has no variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation of each distribution."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Independent samples, without gradients."""
        if not self.has_rsample:
            raise NotImplementedError(f"{type(self).__name__} has no sample")
        with lucid.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Independent samples that are differentiable functions of the parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no reparametrised samples")

    def sample_n(self, n: int) -> Tensor:
        """`sample((n,))`."""
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, at `value`."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most `value`."""
        raise NotImplementedError(f"{type(self).__name__} has no cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The quantile of a probability: the inverse of `cdf`."""
        raise NotImplementedError(f"{type(self).__name__} has no icdf")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, along a new first dimension; over the whole batch where `expand`."""
        raise NotImplementedError(f"{type(self).__name__} has no enumerate_support")

    def entropy(self) -> Tensor:
        """-E log p, in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no entropy")

    def perplexity(self) -> Tensor:
        """e^entropy."""
        return self.entropy().exp()

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """This distribution with its batch expanded, without copies.

        >>> import lucid
        >>> lucid.distributions.Normal(0.0, 1.0).expand((2, 3)).batch_shape
        lucid.Size([2, 3])
        """
        shape = Size(batch_shape)
        new = self._get_checked_instance(None, _instance)
        for name, constraint in self.arg_constraints.items():
            if name in self.__dict__:
                value = self.__dict__[name]
                events = value.shape[value.ndim - constraint.event_dim :]
                new.__dict__[name] = value.expand(shape + events)
        self._expanded(new, shape)
        Distribution.__init__(new, shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _expanded(self, new: Any, shape: Size) -> None:
        """What a subclass keeps beside its parameters, for the expanded `new`."""

    def _get_checked_instance(self, cls: Any, _instance: Any = None) -> Any:
        """An instance without state, for `expand`."""
        if _instance is not None:
            return _instance
        own = type(self)
        if cls is not None and own.__init__ is not cls.__init__:
            raise NotImplementedError(
                f"{own.__name__} has an __init__ of its own, so it needs an expand of its own"
            )
        return own.__new__(own)

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        """The shape of samples."""
        return Size((*Size(sample_shape), *self._batch_shape, *self._event_shape))

    def __repr__(self) -> str:
        shown = []
        for name in self.arg_constraints:
            if name in self.__dict__:
                value = self.__dict__[name]
                text = str(value.item()) if value.numel() == 1 else str(tuple(value.shape))
                shown.append(f"{name}: {text}")
        return f"{type(self).__name__}({', '.join(shown)})"


class ExponentialFamily(Distribution):
    """Distributions whose density is e^(t(x) . theta - F(theta) + k(x)).

    A subclass of one's own that gives theta as the tuple `_natural_params`, F as
    `_log_normalizer(*theta)` and the mean of k as `_mean_carrier_measure` has its entropy, and its
    divergence from others of its type, from the derivative of F (Nielsen and Nock, 2010). Those of
    this package have formulas.
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError(f"{type(self).__name__} gives no natural parameters")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} gives no log-normalizer")

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} gives no carrier measure")

    def _normalizer_and_slopes(self) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
        """F, the natural parameters, and F's derivatives by them, which are the means of t."""
        with lucid.enable_grad():
            theta = [n if n.requires_grad else n.detach().requires_grad_()
                     for n in self._natural_params]  # fmt: skip
            made = self._log_normalizer(*theta)
            return made, theta, lucid.autograd.grad(made.sum(), theta, create_graph=True)

    def entropy(self) -> Tensor:
        made, theta, slopes = self._normalizer_and_slopes()
        events = len(self._event_shape)
        for n, slope in zip(theta, slopes, strict=True):
            made = made - (n * slope).sum(tuple(range(-events, 0))) if events else made - n * slope
        return made - self._mean_carrier_measure


class ProbsOrLogits(Distribution):
    """Distributions that are given `probs` or `logits`; the other is worked out when asked for."""

    @property
    def _param(self) -> Tensor:
        return self.__dict__["probs"] if "probs" in self.__dict__ else self.__dict__["logits"]

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter that was given."""
        return self._param.shape


class Centred(Distribution):
    """A distribution about `loc`, which is its mean and its mode."""

    loc: Tensor

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc
