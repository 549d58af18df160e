"""weight_norm and spectral_norm in their older form: the weight is computed before each forward.

New programs take those of parametrizations.py. Called by users.
"""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter
from lucid.nn.utils.parametrizations import TRANSPOSED, norm_except

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


class WeightNorm:
    """The hook that sets weight = g v / |v|."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> lucid.Tensor:
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / norm_except(v, self.dim))

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two weight_norm hooks on the same parameter {name}"
                )
        made = WeightNorm(name, dim)
        weight = getattr(module, name)
        delattr(module, name)
        with lucid.no_grad():
            norm = norm_except(weight.detach(), made.dim)
        module.register_parameter(name + "_g", Parameter(norm))
        module.register_parameter(name + "_v", Parameter(weight.detach()))
        setattr(module, name, made.compute_weight(module))
        module.register_forward_pre_hook(made)
        return made

    def remove(self, module: Module) -> None:
        weight = self.compute_weight(module).detach()
        delattr(module, self.name)
        delattr(module, self.name + "_g")
        delattr(module, self.name + "_v")
        setattr(module, self.name, Parameter(weight))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """weight = g v / |v| with the parameters weight_g and weight_v. Salimans and Kingma, 2016.

    >>> import lucid
    >>> m = lucid.nn.utils.weight_norm(lucid.nn.Linear(2, 3))
    >>> sorted(m.state_dict())
    ['bias', 'weight_g', 'weight_v']
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a plain parameter again.

    >>> import lucid
    >>> m = lucid.nn.utils.weight_norm(lucid.nn.Linear(2, 3))
    >>> sorted(lucid.nn.utils.remove_weight_norm(m).state_dict())
    ['bias', 'weight']
    """
    _remove(module, WeightNorm, name, "weight_norm")
    return module


def _remove(module: Module, kind: type, name: str, what: str) -> None:
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, kind) and hook.name == name:  # type: ignore[attr-defined]
            hook.remove(module)  # type: ignore[attr-defined]
            del module._forward_pre_hooks[key]
            return
    raise ValueError(f"{what} of '{name}' not found in {module}")


class SpectralNorm:
    """The hook that sets weight = weight_orig / sigma."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def reshape_weight_to_matrix(self, weight: lucid.Tensor) -> lucid.Tensor:
        rows = weight.movedim(self.dim, 0)
        return rows.reshape(rows.shape[0], -1)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> lucid.Tensor:
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with lucid.no_grad():
                fixed = matrix.detach()
                for _ in range(self.n_power_iterations):
                    v.copy_(F.normalize(lucid.mv(fixed.mT, u), dim=0, eps=self.eps))
                    u.copy_(F.normalize(lucid.mv(fixed, v), dim=0, eps=self.eps))
            u, v = u.clone(), v.clone()  # the next forward moves them before a backward pass
        return weight / lucid.dot(u, lucid.mv(matrix, v))

    def remove(self, module: Module) -> None:
        with lucid.no_grad():
            weight = self.compute_weight(module, False)
        for name in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + name)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))

    @staticmethod
    def apply(
        module: Module, name: str, n_power_iterations: int, dim: int, eps: float
    ) -> SpectralNorm:
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two spectral_norm hooks on the same parameter {name}"
                )
        made = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"spectral_norm: the parameter {name!r} is None")
        matrix = made.reshape_weight_to_matrix(weight.detach())
        u, v = (F.normalize(lucid.randn(n).to(weight.dtype), dim=0, eps=eps) for n in matrix.shape)
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        setattr(module, name, weight.detach())
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(made)
        return made


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """weight = weight_orig / sigma, sigma its largest singular value. Miyato et al., 2018.

    >>> import lucid
    >>> m = lucid.nn.utils.spectral_norm(lucid.nn.Linear(2, 3))
    >>> sorted(m.state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    if dim is None:
        dim = 1 if type(module).__name__ in TRANSPOSED else 0
    SpectralNorm.apply(module, name, n_power_iterations, dim, eps)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a plain parameter again.

    >>> import lucid
    >>> m = lucid.nn.utils.spectral_norm(lucid.nn.Linear(2, 3))
    >>> sorted(lucid.nn.utils.remove_spectral_norm(m).state_dict())
    ['bias', 'weight']
    """
    _remove(module, SpectralNorm, name, "spectral_norm")
    return module
