"""Invertible functions with the logarithm of their Jacobian's determinant, for
TransformedDistribution."""

import math
from collections.abc import Sequence
from typing import Any

import lucid
from lucid import Size, Tensor
from lucid.distributions import constraints
from lucid.distributions.joined_transforms import (
    CatTransform,
    CumulativeDistributionTransform,
    StackTransform,
)
from lucid.distributions.transform import Transform
from lucid.distributions.utils import sum_rightmost, tril_matrix_to_vec, vec_to_tril_matrix

_softplus = lucid.nn.functional.softplus


class ComposeTransform(Transform):
    """Several transforms, the first one first.

    >>> import lucid
    >>> from lucid.distributions.transforms import AffineTransform, ComposeTransform, ExpTransform
    >>> ComposeTransform([AffineTransform(0.0, 2.0), ExpTransform()])(lucid.tensor(1.0))
    tensor(7.3891)
    """

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0):
        super().__init__(cache_size)
        self.parts = list(parts)
        self.bijective = all(p.bijective for p in self.parts)
        if not self.parts:
            return
        # The event has as many dimensions as the part that needs most, seen from either end.
        need = self.parts[-1].codomain.event_dim
        for part in reversed(self.parts):
            need = max(
                need + part.domain.event_dim - part.codomain.event_dim, part.domain.event_dim
            )
        more = need - self.parts[0].domain.event_dim
        self.domain = (
            constraints.independent(self.parts[0].domain, more) if more else (self.parts[0].domain)
        )
        need = self.parts[0].domain.event_dim
        for part in self.parts:
            need = max(need + part.codomain.event_dim - part.domain.event_dim,
                       part.codomain.event_dim)  # fmt: skip
        last = self.parts[-1].codomain
        more = need - last.event_dim
        self.codomain = constraints.independent(last, more) if more else last

    @property
    def sign(self) -> Any:
        made = 1
        for part in self.parts:
            made = made * part.sign
        return made

    def _call(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        for part in reversed(self.parts):
            y = part._inv_call(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if not self.parts:
            return lucid.zeros_like(x)
        events = self.domain.event_dim
        total: Any = 0.0
        for part in self.parts:
            after = part(x)
            slope = part.log_abs_det_jacobian(x, after)
            total = total + sum_rightmost(slope, events - part.domain.event_dim)
            events += part.codomain.event_dim - part.domain.event_dim
            x = after
        return total

    def forward_shape(self, shape: Any) -> Any:
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: Any) -> Any:
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape


class IndependentTransform(Transform):
    """A transform whose last batch dimensions are part of the event."""

    def __init__(
        self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0
    ):
        super().__init__(cache_size)
        self.base_transform, n = base_transform, reinterpreted_batch_ndims
        self.reinterpreted_batch_ndims = n
        self.bijective = base_transform.bijective
        self.domain = constraints.independent(base_transform.domain, n)
        self.codomain = constraints.independent(base_transform.codomain, n)

    @property
    def sign(self) -> Any:
        return self.base_transform.sign

    def _call(self, x: Tensor) -> Tensor:
        return self.base_transform(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.base_transform._inv_call(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        slope = self.base_transform.log_abs_det_jacobian(x, y)
        return sum_rightmost(slope, self.reinterpreted_batch_ndims)


class ReshapeTransform(Transform):
    """Events of in_shape as events of out_shape."""

    bijective = True

    def __init__(self, in_shape: Any, out_shape: Any, cache_size: int = 0):
        super().__init__(cache_size)
        self.in_shape, self.out_shape = Size(in_shape), Size(out_shape)
        if self.in_shape.numel() != self.out_shape.numel():
            raise ValueError(
                f"ReshapeTransform: in_shape {tuple(self.in_shape)} and out_shape "
                f"{tuple(self.out_shape)} differ in size"
            )
        self.domain = constraints.independent(constraints.real, len(self.in_shape))
        self.codomain = constraints.independent(constraints.real, len(self.out_shape))

    def _call(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[: x.ndim - len(self.in_shape)] + self.out_shape)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.reshape(y.shape[: y.ndim - len(self.out_shape)] + self.in_shape)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return lucid.zeros(x.shape[: x.ndim - len(self.in_shape)], dtype=x.dtype)

    def forward_shape(self, shape: Any) -> Any:
        return Size(shape)[: len(shape) - len(self.in_shape)] + self.out_shape

    def inverse_shape(self, shape: Any) -> Any:
        return Size(shape)[: len(shape) - len(self.out_shape)] + self.in_shape


class ExpTransform(Transform):
    """y = e^x."""

    bijective = True
    codomain = constraints.positive
    sign = 1

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class PowerTransform(Transform):
    """y = x^exponent of positive numbers."""

    bijective = True
    domain = constraints.positive
    codomain = constraints.positive

    def __init__(self, exponent: Any, cache_size: int = 0):
        super().__init__(cache_size)
        self.exponent = lucid.as_tensor(exponent)

    @property
    def sign(self) -> Any:
        return self.exponent.sign()

    def _call(self, x: Tensor) -> Tensor:
        return x.pow(self.exponent)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.exponent * y / x).abs().log()


class SigmoidTransform(Transform):
    """y = 1 / (1 + e^-x)."""

    bijective = True
    codomain = constraints.unit_interval
    sign = 1

    def _call(self, x: Tensor) -> Tensor:
        info = lucid.finfo(x.dtype)
        return x.sigmoid().clamp(min=info.tiny, max=1.0 - info.eps)

    def _inverse(self, y: Tensor) -> Tensor:
        info = lucid.finfo(y.dtype)
        y = y.clamp(min=info.tiny, max=1.0 - info.eps)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -_softplus(-x) - _softplus(x)


class SoftplusTransform(Transform):
    """y = log(1 + e^x)."""

    bijective = True
    codomain = constraints.positive
    sign = 1

    def _call(self, x: Tensor) -> Tensor:
        return _softplus(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return (-(-y).expm1()).log() + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -_softplus(-x)


class TanhTransform(Transform):
    """y = tanh(x)."""

    bijective = True
    codomain = constraints.interval(-1.0, 1.0)
    sign = 1

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.atanh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # log(1 - tanh^2 x), without cancellation for large |x|
        return 2.0 * (math.log(2.0) - x - _softplus(-2.0 * x))


class AbsTransform(Transform):
    """y = |x|."""

    codomain = constraints.nonnegative

    def _call(self, x: Tensor) -> Tensor:
        return x.abs()

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class AffineTransform(Transform):
    """y = loc + scale x, of events with `event_dim` dimensions."""

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0):
        super().__init__(cache_size)
        self.loc, self.scale = loc, scale
        if event_dim:
            self.domain = self.codomain = constraints.independent(constraints.real, event_dim)

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, Tensor):
            return self.scale.sign()
        return (self.scale > 0) - (self.scale < 0)

    def _call(self, x: Tensor) -> Tensor:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Tensor:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.scale, Tensor):
            slope = self.scale.abs().log().expand(x.shape)
        else:
            slope = lucid.full(x.shape, math.log(abs(self.scale)), dtype=x.dtype)
        return sum_rightmost(slope, self.event_dim)


class SoftmaxTransform(Transform):
    """y = softmax(x) over the last dimension; no bijection, its inverse is log."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        return x.softmax(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()


class StickBreakingTransform(Transform):
    """n real numbers as n + 1 positive ones with sum 1, by breaking a stick n times."""

    bijective = True
    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        z = (x - _offsets(x).log()).sigmoid()
        rest = (1 - z).cumprod(-1)
        one = lucid.ones_like(x[..., :1])
        return lucid.cat([z, one], -1) * lucid.cat([one, rest], -1)

    def _inverse(self, y: Tensor) -> Tensor:
        kept = y[..., :-1]
        rest = (1 - kept.cumsum(-1)).clamp(min=lucid.finfo(y.dtype).tiny)
        return kept.log() - rest.log() + _offsets(kept).log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # dy_k/dx_k = y_k (1 - z_k), and no y depends on a later x.
        x = x - _offsets(x).log()
        return (y[..., :-1].log() - _softplus(x)).sum(-1)

    def forward_shape(self, shape: Any) -> Any:
        return Size(shape)[:-1] + (shape[-1] + 1,)

    def inverse_shape(self, shape: Any) -> Any:
        return Size(shape)[:-1] + (shape[-1] - 1,)


def _offsets(x: Tensor) -> Tensor:
    """How many parts are still to be broken off: n, n - 1, .., 1."""
    return lucid.arange(x.shape[-1], 0, -1, dtype=x.dtype)


class LowerCholeskyTransform(Transform):
    """Square matrices as lower triangular ones with a positive diagonal: e^x there."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x: Tensor) -> Tensor:
        return x.tril(-1) + lucid.diag_embed(x.diagonal(dim1=-2, dim2=-1).exp())

    def _inverse(self, y: Tensor) -> Tensor:
        return y.tril(-1) + lucid.diag_embed(y.diagonal(dim1=-2, dim2=-1).log())


class PositiveDefiniteTransform(Transform):
    """Square matrices as positive definite ones: L L^T, with L as LowerCholeskyTransform gives.

    >>> import lucid
    >>> from lucid.distributions.transforms import PositiveDefiniteTransform
    >>> PositiveDefiniteTransform()(lucid.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().inv(lucid.linalg.cholesky(y))


class CorrCholeskyTransform(Transform):
    """D (D - 1) / 2 real numbers as the factor of a D x D correlation matrix.

    z = tanh(x), row by row, are shares of what is left of the length 1 of each row:
    y_ij = z_ij sqrt(1 - sum over k < j of y_ik^2), and the diagonal takes the rest.

    >>> import lucid
    >>> from lucid.distributions.transforms import CorrCholeskyTransform
    >>> CorrCholeskyTransform()(lucid.zeros(1))
    tensor([[1., 0.],
            [0., 1.]])
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        eps = lucid.finfo(x.dtype).eps
        z = vec_to_tril_matrix(x.tanh().clamp(min=-1 + eps, max=1 - eps), -1)
        left = (1 - z.square()).sqrt().cumprod(-1)
        left = lucid.cat([lucid.ones_like(left[..., :1]), left[..., :-1]], -1)
        return (z + lucid.eye(z.shape[-1], dtype=z.dtype)) * left

    def _inverse(self, y: Tensor) -> Tensor:
        left = 1 - y.square().cumsum(-1)
        left = lucid.cat([lucid.ones_like(left[..., :1]), left[..., :-1]], -1)
        z = tril_matrix_to_vec(y, -1) / tril_matrix_to_vec(left, -1).sqrt()
        return z.atanh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # dy_ij/dz_ij is the root of what is left, dz/dx is 1 - tanh^2.
        left = tril_matrix_to_vec(1 - y.square().cumsum(-1), -2)
        tanh = -2 * (x + _softplus(-2 * x) - math.log(2)).sum(-1)
        return 0.5 * left.log().sum(-1) + tanh

    def forward_shape(self, shape: Any) -> Any:
        n = round((0.25 + 2 * shape[-1]) ** 0.5 + 0.5)
        if n * (n - 1) // 2 != shape[-1]:
            raise ValueError(
                f"CorrCholeskyTransform: {shape[-1]} numbers are no D (D - 1) / 2 of any D"
            )
        return (*shape[:-1], n, n)

    def inverse_shape(self, shape: Any) -> Any:
        if len(shape) < 2 or shape[-1] != shape[-2]:
            raise ValueError(f"CorrCholeskyTransform: shape {tuple(shape)} is of no square matrix")
        return (*shape[:-2], shape[-1] * (shape[-1] - 1) // 2)


identity_transform = ComposeTransform([])

__all__ = [
    "AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform",
    "CumulativeDistributionTransform", "ExpTransform", "IndependentTransform",
    "LowerCholeskyTransform", "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform",
    "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform", "StackTransform",
    "StickBreakingTransform", "TanhTransform", "Transform", "identity_transform",
]  # fmt: skip
