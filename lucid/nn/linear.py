"""Linear, Bilinear and Identity. Called by users' models; the formulas are nn.functional's."""

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

    def forward(self, input: Any) -> Any:
        return input


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

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class NonDynamicallyQuantizableLinear(Linear):
    """Linear, under the name that attention's output projection has in PyTorch."""


class Bilinear(Module):
    """y[k] = x1 W[k] x2 + b[k]. x1 (..., in1_features), x2 (..., in2_features).

    W (out_features, in1_features, in2_features) and b start uniform in
    [-1/sqrt(in1_features), 1/sqrt(in1_features)].

    >>> import lucid
    >>> lucid.nn.Bilinear(2, 3, 4)(lucid.zeros(5, 2), lucid.zeros(5, 3)).shape
    lucid.Size([5, 4])
    """

    weight: lucid.Tensor
    bias: lucid.Tensor | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        made = {"device": device, "dtype": dtype}
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(lucid.empty(shape, **made))
        if bias:
            self.bias = Parameter(lucid.empty(out_features, **made))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: lucid.Tensor, input2: lucid.Tensor) -> lucid.Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
