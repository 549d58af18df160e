"""Normal vectors whose covariance is a diagonal and few directions: LowRankMultivariateNormal."""

import math
from typing import Any

import lucid
from lucid import Size, Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import Centred
from lucid.distributions.utils import floating, lazy_property


class LowRankMultivariateNormal(Centred):
    """LowRankMultivariateNormal(loc, cov_factor W, cov_diag d): normal vectors of the covariance
    W W^T + diag(d).

    loc and cov_diag are (..., n), cov_factor (..., n, r). With C = I + W^T diag(d)^-1 W, which is
    r x r, the determinant is det C prod d, and distances are those of Woodbury's identity.

    >>> import lucid
    >>> from lucid.distributions import LowRankMultivariateNormal
    >>> d = LowRankMultivariateNormal(lucid.zeros(2), lucid.ones(2, 1), lucid.ones(2))
    >>> d.covariance_matrix
    tensor([[2., 1.],
            [1., 2.]])
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector  # type: ignore[assignment]
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        cov_factor: Tensor,
        cov_diag: Tensor,
        validate_args: bool | None = None,
    ):
        name = "LowRankMultivariateNormal"
        if loc.ndim < 1:
            raise ValueError(f"{name}: loc must have at least one dimension")
        n = loc.shape[-1]
        if cov_factor.ndim < 2 or cov_factor.shape[-2] != n:
            raise ValueError(
                f"{name}: cov_factor {tuple(cov_factor.shape)} must be (..., {n}, r), as loc "
                f"{tuple(loc.shape)} has {n} elements"
            )
        if cov_diag.ndim < 1 or cov_diag.shape[-1] != n:
            raise ValueError(f"{name}: cov_diag {tuple(cov_diag.shape)} must end in {n}")
        loc, factor, diagonal = floating(loc, cov_factor, cov_diag)
        batch = lucid.broadcast_shapes(
            tuple(loc.shape[:-1]), tuple(factor.shape[:-2]), tuple(diagonal.shape[:-1])
        )
        self.loc = loc.expand((*batch, n))
        self.cov_factor = factor.expand((*batch, *factor.shape[-2:]))
        self.cov_diag = diagonal.expand((*batch, n))
        super().__init__(batch, (n,), validate_args)
        scaled = factor / diagonal[..., None]
        eye = lucid.eye(factor.shape[-1], dtype=factor.dtype)
        self._scaled = scaled  # diag(d)^-1 W
        self._capacitance = lucid.linalg.cholesky(eye + factor.mT @ scaled)  # the factor of C
        self._root = diagonal.sqrt()

    def _expanded(self, new: Any, shape: Size) -> None:
        new._scaled, new._capacitance, new._root = self._scaled, self._capacitance, self._root

    @property
    def variance(self) -> Tensor:
        return self.cov_factor.square().sum(-1) + self.cov_diag

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        return self.cov_factor @ self.cov_factor.mT + lucid.diag_embed(self.cov_diag)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower triangular factor of the covariance."""
        root = self._root[..., None]
        n = self._event_shape[0]
        inner = self.cov_factor / root
        eye = lucid.eye(n, dtype=inner.dtype)
        return root * lucid.linalg.cholesky(eye + inner @ inner.mT)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        n, scaled = self._event_shape[0], self._scaled
        inner = lucid.linalg.solve_triangular(self._capacitance, scaled.mT, upper=False)
        made = lucid.diag_embed(self.cov_diag.reciprocal()) - inner.mT @ inner
        return made.expand((*self._batch_shape, n, n))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape, kind = self._extended_shape(sample_shape), self.loc.dtype
        few = lucid.randn((*shape[:-1], self.cov_factor.shape[-1]), dtype=kind)
        along = (self.cov_factor @ few[..., None])[..., 0]
        return self.loc + along + self._root * lucid.randn(shape, dtype=kind)

    def _distance(self, apart: Tensor) -> Tensor:
        """apart^T covariance^-1 apart"""
        along = (self._scaled.mT @ apart[..., None])[..., 0]
        r = along.shape[-1]
        shape = (*along.shape[:-1], r, r)
        z = lucid.linalg.solve_triangular(
            self._capacitance.expand(shape), along[..., None], upper=False
        )
        return (apart.square() / self.cov_diag).sum(-1) - z.square().sum((-2, -1))

    def _half_log_det(self) -> Tensor:
        """Half of the logarithm of the covariance's determinant."""
        made = self._capacitance.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return made + self._root.log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self._event_shape[0]
        distance = self._distance(value - self.loc)
        return -0.5 * (n * math.log(2 * math.pi) + distance) - self._half_log_det()

    def entropy(self) -> Tensor:
        n = self._event_shape[0]
        made = 0.5 * n * (1 + math.log(2 * math.pi)) + self._half_log_det()
        return made.expand(self._batch_shape)
