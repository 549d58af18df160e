"""Distributions of matrices: Wishart, of covariances, and LKJCholesky, of correlations."""

import math
from typing import Any

import lucid
from lucid import Size, Tensor
from lucid.distributions import constraints
from lucid.distributions.beta import Beta
from lucid.distributions.distribution import Distribution, ExponentialFamily
from lucid.distributions.multivariate_normal import _factor_of_precision
from lucid.distributions.utils import floating, lazy_property, one_of
from lucid.ops.draws_gamma import _standard_gamma


class Wishart(ExponentialFamily):
    """Wishart(df, covariance_matrix, precision_matrix or scale_tril): the sum of z z^T over df
    normal vectors z of that covariance V, which is (..., n, n); df > n - 1 need not be whole.

    The density is |X|^((df - n - 1) / 2) e^(-tr(V^-1 X) / 2) / (2^(df n / 2) |V|^(df / 2)
    gamma_n(df / 2)). Samples are Bartlett's (1933): (L A)(L A)^T, with L the factor of V, A lower
    triangular.

    >>> import lucid
    >>> from lucid.distributions import Wishart
    >>> Wishart(3.0, lucid.eye(2)).mean
    tensor([[3., 0.],
            [0., 3.]])
    """

    arg_constraints = {
        "df": constraints.positive,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.positive_definite  # type: ignore[assignment]
    has_rsample = True

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ):
        matrices = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = one_of("Wishart", **matrices)
        matrix = matrices[given]
        assert matrix is not None
        if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
            raise ValueError(f"Wishart: {given} {tuple(matrix.shape)} must be (..., n, n)")
        (matrix,) = floating(matrix)
        n = matrix.shape[-1]
        df = lucid.as_tensor(df, dtype=matrix.dtype)
        batch = lucid.broadcast_shapes(tuple(matrix.shape[:-2]), tuple(df.shape))
        self.df = df.expand(batch)
        self.__dict__[given] = matrix.expand((*batch, n, n))
        if given == "scale_tril":
            self._factor = matrix
        elif given == "covariance_matrix":
            self._factor = lucid.linalg.cholesky(matrix)
        else:
            self._factor = _factor_of_precision(matrix)
        super().__init__(batch, (n, n), validate_args)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        n = self._event_shape[-1]
        if not bool((self.df > n - 1).all()):
            raise ValueError(f"Wishart: parameter df must be above {n - 1}, got\n{self.df}")

    def _expanded(self, new: Any, shape: Size) -> None:
        new._factor = self._factor

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower triangular factor of the covariance."""
        return self._factor.expand((*self._batch_shape, *self._event_shape))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        made = self._factor @ self._factor.mT
        return made.expand((*self._batch_shape, *self._event_shape))

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        made = lucid.cholesky_inverse(self._factor)
        return made.expand((*self._batch_shape, *self._event_shape))

    @property
    def mean(self) -> Tensor:
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        left = self.df - self._event_shape[-1] - 1
        left = lucid.where(left > 0, left, float("nan"))
        return left[..., None, None] * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        d = v.diagonal(dim1=-2, dim2=-1)
        return self.df[..., None, None] * (v.square() + d[..., None] * d[..., None, :])

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape, n = self._extended_shape(sample_shape), self._event_shape[-1]
        kind = self.df.dtype
        degrees = self.df[..., None] - lucid.arange(n, dtype=kind)
        roots = (2 * _standard_gamma((0.5 * degrees).expand(shape[:-1]))).sqrt()
        roots = roots.clamp(min=lucid.finfo(kind).tiny)
        below = lucid.randn(shape, dtype=kind).tril(-1)
        factor = self._factor @ (below + lucid.diag_embed(roots))
        return factor @ factor.mT

    def _half_log_det(self) -> Tensor:
        """Half of the logarithm of the covariance's determinant."""
        return self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n, half = self._event_shape[-1], 0.5 * self.df
        whole = lucid.linalg.cholesky(value).diagonal(dim1=-2, dim2=-1).log().sum(-1)
        shape = lucid.broadcast_shapes(tuple(value.shape), tuple(self._extended_shape()))
        inner = lucid.cholesky_solve(value.expand(shape), self._factor.expand(shape))
        trace = inner.diagonal(dim1=-2, dim2=-1).sum(-1)
        constant = n * half * math.log(2) + self.df * self._half_log_det() + half.mvlgamma(n)
        return (self.df - n - 1) * whole - 0.5 * trace - constant

    def entropy(self) -> Tensor:
        n, half = self._event_shape[-1], 0.5 * self.df
        steps = 0.5 * lucid.arange(n, dtype=half.dtype)
        slopes = (half[..., None] - steps).digamma().sum(-1)
        made = (n + 1) * (0.5 * n * math.log(2) + self._half_log_det()) + half.mvlgamma(n)
        return made - 0.5 * (self.df - n - 1) * slopes + half * n


class LKJCholesky(Distribution):
    """LKJCholesky(dim, concentration): lower triangular factors of dim x dim correlation matrices,
    whose determinant counts to the power of concentration - 1; with 1 they are uniform.

    Samples are drawn row by row (the onion method), without gradients. Lewandowski, Kurowicka and
    Joe, 2009.

    >>> import lucid
    >>> from lucid.distributions import LKJCholesky
    >>> LKJCholesky(2, 1.0).log_prob(lucid.eye(2))
    tensor(-0.6931)
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky  # type: ignore[assignment]

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None):
        if not isinstance(dim, int) or dim < 2:
            raise ValueError(f"LKJCholesky: dim must be a whole number from 2 on, got {dim!r}")
        self.dim = dim
        (self.concentration,) = floating(lucid.as_tensor(concentration))
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    def _expanded(self, new: Any, shape: Size) -> None:
        new.dim = self.dim

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape, kind = self._extended_shape(sample_shape), self.concentration.dtype
        with lucid.no_grad():
            # |row i without its diagonal|^2 is a beta number; row 0 has only its diagonal.
            i = lucid.arange(self.dim, dtype=kind)
            first = lucid.where(i > 0, 0.5 * i, 0.5)
            second = self.concentration[..., None] + 0.5 * (self.dim - 2)
            second = second - 0.5 * (i - 1).clamp(min=0)
            length = Beta(first.expand(second.shape), second).sample(sample_shape)
            normal = lucid.randn(shape, dtype=kind).tril(-1)
            size = normal.norm(dim=-1, keepdim=True)
            direction = normal / lucid.where(size > 0, size, 1.0)
            rows = length.sqrt()[..., None] * direction
            rest = (1 - rows.square().sum(-1)).clamp(min=lucid.finfo(kind).tiny)
            return rows + lucid.diag_embed(rest.sqrt())

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, n = self.concentration, self.dim
        # Row i has the power 2 (a - 1) of the determinant, and n - i of the way from factors.
        power = 2 * (a - 1)[..., None] + lucid.arange(n - 2, -1, -1, dtype=a.dtype)
        made = (power * value.diagonal(dim1=-2, dim2=-1)[..., 1:].log()).sum(-1)
        half = a + 0.5 * (n - 1)
        constant = 0.5 * (n - 1) * math.log(math.pi) + (half - 0.5).mvlgamma(n - 1)
        return made - constant + (n - 1) * half.lgamma()
