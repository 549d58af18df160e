"""Activations as modules. Called by users' models; the formulas are lucid.nn.functional's."""

from __future__ import annotations

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module


class _InPlace(Module):
    """An activation whose one setting is whether it writes into its input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """y = max(x, 0).

    >>> import lucid
    >>> lucid.nn.ReLU()(lucid.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.relu(input, self.inplace)


class SiLU(_InPlace):
    """y = x sigmoid(x) (Hendrycks and Gimpel, 2016).

    >>> import lucid
    >>> lucid.nn.SiLU()(lucid.tensor(0.0)).item()
    0.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.silu(input, self.inplace)


class LeakyReLU(Module):
    """y = x where x > 0, else negative_slope x.

    >>> import lucid
    >>> lucid.nn.LeakyReLU(0.5)(lucid.tensor([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" * self.inplace)


class GELU(Module):
    """y = x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, 2016).

    `approximate="tanh"`: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    >>> import lucid
    >>> lucid.nn.GELU()(lucid.tensor(0.0)).item()
    0.0
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Sigmoid(Module):
    """y = 1 / (1 + exp(-x)).

    >>> import lucid
    >>> lucid.nn.Sigmoid()(lucid.tensor(0.0)).item()
    0.5
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """y = tanh(x).

    >>> import lucid
    >>> lucid.nn.Tanh()(lucid.tensor(0.0)).item()
    0.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.tanh(input)


class _AlongDim(Module):
    """An activation along one dimension."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """y_i = exp(x_i) / sum_j exp(x_j) along `dim`.

    >>> import lucid
    >>> lucid.nn.Softmax(dim=0)(lucid.zeros(4)).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.softmax(input, self.dim)


class LogSoftmax(_AlongDim):
    """y_i = x_i - log sum_j exp(x_j) along `dim`.

    >>> import lucid
    >>> lucid.nn.LogSoftmax(dim=0)(lucid.zeros(1)).tolist()
    [0.0]
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.log_softmax(input, self.dim)
