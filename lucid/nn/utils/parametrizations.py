"""Common parametrizations: weight norm, spectral norm, orthogonal matrices.

Called by users; parametrize.py puts them in place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import lucid
from lucid.nn import functional as F
from lucid.nn.init import normal_
from lucid.nn.module import Module
from lucid.nn.utils.parametrize import register_parametrization

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

TRANSPOSED = ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")


def norm_except(v: lucid.Tensor, dim: int) -> lucid.Tensor:
    """The norms of the slices along `dim`, in v's number of dimensions; -1: one norm of all."""
    if dim == -1:
        return (v * v).sum().sqrt()
    dims = [d for d in range(v.dim()) if d != dim]
    return (v * v).sum(dims, keepdim=True).sqrt() if dims else v.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, g: lucid.Tensor, v: lucid.Tensor) -> lucid.Tensor:
        return v * (g / norm_except(v, self.dim))

    def right_inverse(self, weight: lucid.Tensor) -> tuple[lucid.Tensor, lucid.Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """weight = g v / |v|, with |v| over all dimensions but `dim` (None: over all).

    g and v are `parametrizations.weight.original0` and `.original1`; checkpoints with the older
    names weight_g and weight_v load too. Salimans and Kingma, 2016.

    >>> import lucid
    >>> m = lucid.nn.utils.parametrizations.weight_norm(lucid.nn.Linear(2, 3))
    >>> m.parametrizations.weight.original0.shape
    lucid.Size([3, 1])
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def older_names(state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for i, letter in enumerate("gv"):
            old, new = f"{prefix}{name}_{letter}", f"{prefix}parametrizations.{name}.original{i}"
            if old in state:
                state[new] = state.pop(old)

    module._register_load_state_dict_pre_hook(older_names)
    return module


class _SpectralNorm(Module):
    _u: lucid.Tensor
    _v: lucid.Tensor

    def __init__(
        self, weight: lucid.Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        if not -weight.dim() <= dim < weight.dim():
            raise IndexError(f"spectral_norm: dim {dim} for a weight of {weight.dim()} dimensions")
        self.dim = dim % weight.dim()
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.dim() > 1:
            with lucid.no_grad():
                matrix = self._matrix(weight.detach())
                for n, vector in zip(matrix.shape, ("_u", "_v"), strict=True):
                    drawn = F.normalize(lucid.randn(n).to(weight.dtype), dim=0, eps=eps)
                    self.register_buffer(vector, drawn)
                self._power_method(matrix, 15)

    def _matrix(self, weight: lucid.Tensor) -> lucid.Tensor:
        rows = weight.movedim(self.dim, 0)
        return rows.reshape(rows.shape[0], -1)

    def _power_method(self, matrix: lucid.Tensor, times: int) -> None:
        with lucid.no_grad():
            for _ in range(times):
                self._u.copy_(F.normalize(lucid.mv(matrix, self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(lucid.mv(matrix.mT, self._u), dim=0, eps=self.eps))

    def forward(self, weight: lucid.Tensor) -> lucid.Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._power_method(matrix.detach(), self.n_power_iterations)
        # Copies, as a second forward before the backward pass moves the vectors on.
        u, v = self._u.clone(), self._v.clone()
        return weight / lucid.dot(u, lucid.mv(matrix, v))

    def right_inverse(self, value: lucid.Tensor) -> lucid.Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """weight / sigma, sigma its largest singular value by power iteration. Miyato et al., 2018.

    Rows of the matrix are slices along `dim`: 1 for transposed convolutions, else 0. One forward in
    training moves the two vectors n_power_iterations steps.

    >>> import lucid
    >>> m = lucid.nn.utils.parametrizations.spectral_norm(lucid.nn.Linear(4, 4)).eval()
    >>> m.parametrizations.weight[0]._u.shape
    lucid.Size([4])
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, lucid.Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if type(module).__name__ in TRANSPOSED else 0
    made = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)


class _Orthogonal(Module):
    base: lucid.Tensor | None

    def __init__(self, weight: lucid.Tensor, map_: str, use_trivialization: bool) -> None:
        super().__init__()
        self.orthogonal_map = map_
        self.use_trivialization = use_trivialization
        self.register_buffer("base", None)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        n, k = x.shape[-2:]
        turned = n < k
        if turned:
            x, n, k = x.mT, k, n
        if self.orthogonal_map == "householder":
            below = x.tril(-1)
            tau = 2.0 / (1.0 + (below * below).sum(-2))
            q = householder_product(below, tau) * x.diagonal(0, -2, -1).trunc().unsqueeze(-2)
        else:
            lower = x.tril()
            if n != k:
                lower = lucid.cat([lower, lucid.zeros(n, n - k, dtype=x.dtype)], -1)
            q = matrix_exp(lower - lower.mT)
            q = q[:, :k] if n != k else q
        q = q if self.base is None else self.base @ q
        return q.mT if turned else q

    def right_inverse(self, q: lucid.Tensor) -> lucid.Tensor:
        turned = q.shape[-2] < q.shape[-1]
        tall: Any = q.detach().numpy().astype(np.float64)
        tall = tall.T if turned else tall
        n, k = tall.shape
        if self.use_trivialization:
            more = normal_(lucid.empty(n, n - k, dtype=lucid.float64)).numpy()
            basis, r = np.linalg.qr(np.concatenate([tall, more], 1))
            basis = basis * np.where(np.diagonal(r) < 0, -1.0, 1.0)
            self.base = lucid.from_numpy(basis).to(q.dtype)
            # Both maps take this to the identity: a reflection at a unit vector is -1 there.
            original: Any = -np.eye(n, k)
        elif self.orthogonal_map == "householder":
            h, tau = np.linalg.qr(tall, mode="raw")
            original = np.tril(h.T, -1)
            signs = np.where(np.diagonal(h) < 0, -1.0, 1.0) * np.where(tau == 0, -1.0, 1.0)
            original[np.arange(k), np.arange(k)] = signs
        else:
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential parametrization when "
                "use_trivialization=False."
            )
        original = np.ascontiguousarray(original.T if turned else original)
        return lucid.from_numpy(original).to(q.dtype)


def householder_product(x: lucid.Tensor, tau: lucid.Tensor) -> lucid.Tensor:
    """The first columns of the product of I - tau[i] v[i] v[i]^T, v[i] = e[i] + x[:, i] (n, k)."""
    n, k = x.shape
    v = x.tril(-1) + lucid.eye(n, k, dtype=x.dtype)
    q = lucid.eye(n, k, dtype=x.dtype)
    for i in reversed(range(k)):
        column = v[:, i : i + 1]
        q = q - (column * tau[i]) @ (column.mT @ q)
    return q


def matrix_exp(x: lucid.Tensor) -> lucid.Tensor:
    """e^X of a matrix: Taylor's series of X / 2^s to order 18, squared s times."""
    size = float(x.detach().abs().sum(-1).amax().item()) if x.numel() else 0.0
    times = max(0, math.ceil(math.log2(size)) + 1) if size > 0.5 else 0
    small = x / 2.0**times
    term = total = lucid.eye(x.shape[-1], dtype=x.dtype)
    for i in range(1, 19):
        term = term @ small / i
        total = total + term
    for _ in range(times):
        total = total @ total
    return total


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """An orthogonal weight, or one with orthonormal columns or rows. Lezcano, 2019.

    orthogonal_map: "matrix_exp" of a skew-symmetric matrix (by default for a square weight) or
    "householder" reflections (for others). With `use_trivialization` the map's result is applied to
    the weight as it is now, made orthogonal. "cayley" is not supported and raises.

    >>> import lucid
    >>> w = lucid.nn.utils.parametrizations.orthogonal(lucid.nn.Linear(3, 3)).weight
    >>> lucid.allclose(w @ w.mT, lucid.eye(3), atol=1e-5)
    True
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, lucid.Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.dim() < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        )
    if weight.dim() > 2:
        raise NotImplementedError("orthogonal: batches of matrices are not supported")
    square = weight.shape[0] == weight.shape[1]
    chosen = orthogonal_map or ("matrix_exp" if square else "householder")
    if chosen == "cayley":
        raise NotImplementedError("orthogonal: orthogonal_map='cayley' is not supported")
    if chosen not in ("matrix_exp", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder", got {chosen!r}'
        )
    made = _Orthogonal(weight, chosen, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
