"""LayerNorm (Ba, Kiros and Hinton, 2016). Called by users' models."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter


class LayerNorm(Module):
    """y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimensions.

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

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )
