"""LayerNorm, GroupNorm, RMSNorm and norms over neighbouring or all channels.

Called by users' models; lucid.nn.functional does the computation.
"""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter
from lucid.ops.group_norms import cross_map_norm


class LayerNorm(Module):
    """y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimensions. Ba et al., 2016.

    x: (..., *normalized_shape); mean and biased variance are taken over `normalized_shape`.

    >>> import lucid
    >>> lucid.nn.LayerNorm(4)(lucid.zeros(2, 4)).shape
    lucid.Size([2, 4])
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        single = isinstance(normalized_shape, int)
        self.normalized_shape = (normalized_shape,) if single else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        made = {"device": device, "dtype": dtype}
        for name, wanted in (("weight", True), ("bias", bias)):
            wanted = wanted and elementwise_affine
            shape = self.normalized_shape
            self.register_parameter(name, Parameter(lucid.empty(shape, **made)) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class GroupNorm(Module):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, over each of num_groups groups of channels.

    x: (N, num_channels, ...); weight and bias (num_channels,). Wu and He, 2018.

    >>> import lucid
    >>> lucid.nn.GroupNorm(2, 4)(lucid.ones(1, 4, 3)).sum().item()
    0.0
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        made = {"device": device, "dtype": dtype}
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            parameter = Parameter(lucid.empty(num_channels, **made)) if wanted else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """y = x / sqrt(mean(x^2) + eps) * weight over the last dimensions, normalized_shape.

    eps=None takes the dtype's own. Zhang and Sennrich, 2019.

    >>> import lucid
    >>> lucid.nn.RMSNorm(2)(lucid.tensor([3.0, 3.0]))
    tensor([1., 1.], grad_fn=<...>)
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        single = isinstance(normalized_shape, int)
        self.normalized_shape = (normalized_shape,) if single else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        weight = lucid.empty(self.normalized_shape, device=device, dtype=dtype)
        self.register_parameter("weight", Parameter(weight) if elementwise_affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class LocalResponseNorm(Module):
    """y = x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta.

    x: (N, C, ...). Krizhevsky et al., 2012.

    >>> import lucid
    >>> lucid.nn.LocalResponseNorm(1, alpha=3.0, beta=1.0)(lucid.ones(1, 1, 1))
    tensor([[[0.2500]]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """LocalResponseNorm over an odd number of channels around each.

    PyTorch's own leaves the first channel in the sums of all channels beyond its reach; this one
    is the formula.

    >>> import lucid
    >>> lucid.nn.CrossMapLRN2d(1, alpha=3.0, beta=1.0)(lucid.ones(1, 1, 1, 1)).item()
    0.25
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return cross_map_norm(input, self.size, self.alpha, self.beta, self.k)


class GlobalResponseNorm(Module):
    """y = gamma * (x * n) + beta + x, n = |x| / (mean over channels of |x| + eps), |x| the norm
    over a channel's pixels. x: (N, channels, H, W). Woo et al., 2023.

    >>> import lucid
    >>> lucid.nn.GlobalResponseNorm(3)(lucid.ones(1, 3, 2, 2)).sum().item()
    12.0
    """

    def __init__(
        self, channels: int, eps: float = 1e-6, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        shape = (1, channels, 1, 1)
        self.gamma = Parameter(lucid.zeros(shape, device=device, dtype=dtype))
        self.beta = Parameter(lucid.zeros(shape, device=device, dtype=dtype))

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return F.global_response_norm(x, self.gamma, self.beta, self.eps)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}"
