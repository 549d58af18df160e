"""The normal distribution of vectors: MultivariateNormal."""

import math
from typing import Any

import lucid
from lucid import Size, Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import Centred
from lucid.distributions.utils import floating, lazy_property, one_of


class MultivariateNormal(Centred):
    """MultivariateNormal(loc, covariance_matrix, precision_matrix or scale_tril): normal vectors.

    loc is (..., n), one of the matrices (..., n, n). The density is
    e^(-|z|^2 / 2) / sqrt((2 pi)^n det covariance), x = loc + L z, L the lower triangular factor of
    the covariance. With scale_tril nothing is decomposed.

    >>> import lucid
    >>> from lucid.distributions import MultivariateNormal
    >>> MultivariateNormal(lucid.zeros(2), lucid.eye(2)).log_prob(lucid.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ):
        if loc.ndim < 1:
            raise ValueError("MultivariateNormal: loc must have at least one dimension")
        matrices = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = one_of("MultivariateNormal", **matrices)
        matrix = matrices[given]
        assert matrix is not None
        n = loc.shape[-1]
        if matrix.ndim < 2 or tuple(matrix.shape[-2:]) != (n, n):
            raise ValueError(
                f"MultivariateNormal: {given} {tuple(matrix.shape)} must end in {n} x {n}, as loc "
                f"{tuple(loc.shape)} has {n} elements"
            )
        loc, matrix = floating(loc, matrix)
        batch = lucid.broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1]))
        self.__dict__[given] = matrix.expand((*batch, n, n))
        self.loc = loc.expand((*batch, n))
        super().__init__(batch, (n,), validate_args)
        if given == "scale_tril":
            self._unbroadcasted_scale_tril = matrix
        elif given == "covariance_matrix":
            self._unbroadcasted_scale_tril = lucid.linalg.cholesky(matrix)
        else:
            self._unbroadcasted_scale_tril = _factor_of_precision(matrix)

    def _expanded(self, new: Any, shape: Size) -> None:
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower triangular factor of the covariance."""
        n = self._event_shape[0]
        return self._unbroadcasted_scale_tril.expand((*self._batch_shape, n, n))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        factor, n = self._unbroadcasted_scale_tril, self._event_shape[0]
        return (factor @ factor.mT).expand((*self._batch_shape, n, n))

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        factor, n = self._unbroadcasted_scale_tril, self._event_shape[0]
        return lucid.cholesky_inverse(factor).expand((*self._batch_shape, n, n))

    @property
    def variance(self) -> Tensor:
        squares = self._unbroadcasted_scale_tril.square().sum(-1)
        return squares.expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        z = lucid.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + (self._unbroadcasted_scale_tril @ z[..., None])[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        distance = squared_distance(self._unbroadcasted_scale_tril, value - self.loc)
        n = self._event_shape[0]
        return -0.5 * (n * math.log(2 * math.pi) + distance) - self._half_log_det()

    def _half_log_det(self) -> Tensor:
        """Half of the logarithm of the covariance's determinant."""
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def entropy(self) -> Tensor:
        n = self._event_shape[0]
        made = 0.5 * n * (1 + math.log(2 * math.pi)) + self._half_log_det()
        return made.expand(self._batch_shape)


def squared_distance(factor: Tensor, x: Tensor) -> Tensor:
    """|z|^2 where factor z = x: factors (..., n, n), vectors (..., n), broadcast.

    Vectors of the same factor are its right-hand sides together.
    """
    n = x.shape[-1]
    batch = factor.shape[:-2]
    if all(m == 1 for m in batch):
        rows = x.reshape((-1, n))
        z = lucid.linalg.solve_triangular(factor.reshape((n, n)), rows.mT, upper=False)
        return z.square().sum(0).reshape(x.shape[:-1])
    shape = lucid.broadcast_shapes(tuple(batch), tuple(x.shape[:-1]))
    z = lucid.linalg.solve_triangular(
        factor.expand((*shape, n, n)), x.expand((*shape, n))[..., None], upper=False
    )
    return z[..., 0].square().sum(-1)


def _factor_of_precision(precision: Tensor) -> Tensor:
    """The lower triangular factor of the inverse: that of the precision with both orders turned,
    transposed and inverted."""
    turned = lucid.linalg.cholesky(precision.flip((-2, -1)))
    upper = turned.flip((-2, -1)).mT
    n = precision.shape[-1]
    unit = lucid.eye(n, dtype=precision.dtype)
    return lucid.linalg.solve_triangular(upper, unit, upper=False)
