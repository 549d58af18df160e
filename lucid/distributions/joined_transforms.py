"""Transforms made of others: CatTransform and StackTransform, of parts of a dimension; and of
distributions: CumulativeDistributionTransform. transforms.py has them among its names."""

from collections.abc import Callable, Sequence
from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.transform import Transform
from lucid.distributions.utils import sum_rightmost


class _Parts(Transform):
    """Several transforms, each of a part of dimension `dim`."""

    transforms: list[Transform]
    dim: int

    def __init__(self, tseq: Sequence[Transform], dim: int, cache_size: int):
        name = type(self).__name__
        if not tseq or not all(isinstance(t, Transform) for t in tseq):
            raise ValueError(f"{name}: a sequence of Transforms is needed, got {tseq!r}")
        super().__init__(cache_size)
        self.transforms, self.dim = list(tseq), dim
        self.bijective = all(t.bijective for t in self.transforms)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        raise NotImplementedError

    def _join(self, parts: list[Tensor], dim: int) -> Tensor:
        raise NotImplementedError

    def _checked(self, x: Tensor, count: int) -> None:
        name = type(self).__name__
        if not -x.ndim <= self.dim < x.ndim:
            raise IndexError(f"{name}: dim={self.dim} of a tensor with {x.ndim} dimensions")
        if x.shape[self.dim] != count:
            raise ValueError(
                f"{name}: dimension {self.dim} of shape {tuple(x.shape)} must have {count} elements"
            )

    def _each(self, x: Tensor, way: Callable[[Transform], Any]) -> Tensor:
        pairs = zip(self.transforms, self._split(x), strict=True)
        return self._join([way(t)(part) for t, part in pairs], self.dim)

    def _call(self, x: Tensor) -> Tensor:
        return self._each(x, lambda t: t)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._each(y, lambda t: t.inv)


class CatTransform(_Parts):
    """Each transform on a part of dimension `dim` of the given length, 1 by default.

    >>> import lucid
    >>> from lucid.distributions.transforms import CatTransform, ExpTransform, identity_transform
    >>> CatTransform([ExpTransform(), identity_transform], lengths=[2, 1])(lucid.zeros(3))
    tensor([1., 1., 0.])
    """

    def __init__(
        self,
        tseq: Sequence[Transform],
        dim: int = 0,
        lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ):
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ValueError(
                f"CatTransform: {len(self.lengths)} lengths for {len(self.transforms)} transforms"
            )
        self.domain = constraints.cat([t.domain for t in self.transforms], dim, self.lengths)
        self.codomain = constraints.cat([t.codomain for t in self.transforms], dim, self.lengths)

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        """How many elements the dimension has."""
        return sum(self.lengths)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        self._checked(x, self.length)
        return x.split(self.lengths, self.dim)

    def _join(self, parts: list[Tensor], dim: int) -> Tensor:
        return lucid.cat(parts, dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        slopes = []
        for t, u, w in zip(self.transforms, self._split(x), self._split(y), strict=True):
            slope = t.log_abs_det_jacobian(u, w)
            slopes.append(sum_rightmost(slope, self.event_dim - t.event_dim))
        dim = (self.dim if self.dim < 0 else self.dim - x.ndim) + self.event_dim
        if dim < 0:
            return lucid.cat(slopes, dim)
        return sum(slopes[1:], slopes[0])


class StackTransform(_Parts):
    """Each transform at one place of dimension `dim`.

    >>> import lucid
    >>> from lucid.distributions.transforms import ExpTransform, StackTransform, identity_transform
    >>> StackTransform([ExpTransform(), identity_transform])(lucid.zeros(2, 1))
    tensor([[1.],
            [0.]])
    """

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0):
        super().__init__(tseq, dim, cache_size)
        self.domain = constraints.stack([t.domain for t in self.transforms], dim)
        self.codomain = constraints.stack([t.codomain for t in self.transforms], dim)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        self._checked(x, len(self.transforms))
        return x.unbind(self.dim)

    def _join(self, parts: list[Tensor], dim: int) -> Tensor:
        return lucid.stack(parts, dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        parts = zip(self.transforms, self._split(x), self._split(y), strict=True)
        return lucid.stack([t.log_abs_det_jacobian(u, w) for t, u, w in parts], self.dim)


class CumulativeDistributionTransform(Transform):
    """y = the distribution's cdf of x: its samples become uniform numbers.

    >>> import lucid
    >>> from lucid.distributions import Normal
    >>> from lucid.distributions.transforms import CumulativeDistributionTransform
    >>> CumulativeDistributionTransform(Normal(0.0, 1.0))(lucid.tensor(0.0))
    tensor(0.5000)
    """

    bijective = True
    codomain = constraints.unit_interval
    sign = 1  # type: ignore[assignment]

    def __init__(self, distribution: Any, cache_size: int = 0):
        super().__init__(cache_size)
        self.distribution = distribution
        self.domain = distribution.support

    def _call(self, x: Tensor) -> Tensor:
        return self.distribution.cdf(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.distribution.log_prob(x)
