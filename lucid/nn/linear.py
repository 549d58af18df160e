"""Linear and Identity. Called by users' models; the computation is lucid.nn.functional's."""

from __future__ import annotations

import math
from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter


class Identity(Module):
    """y = x, whatever arguments it is made with.

    >>> import lucid
    >>> lucid.nn.Identity(54, unused=True)(3)
    3
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


class Linear(Module):
    """y = x W^T + b. x: (..., in_features), y: (..., out_features).

    W (out_features, in_features) and b (out_features) start uniform in
    [-1/sqrt(in_features), 1/sqrt(in_features)].

    >>> import lucid
    >>> lucid.nn.Linear(3, 2)(lucid.zeros(5, 3)).shape
    lucid.Size([5, 2])
    """

    in_features: int
    out_features: int
    weight: lucid.Tensor
    bias: lucid.Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(lucid.empty((out_features, in_features), **made))
        if bias:
            self.bias = Parameter(lucid.empty(out_features, **made))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # = U(-1/sqrt(fan_in), 1/sqrt(fan_in))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
