"""Blocks of networks for images, sequences and volumes: names of the founding framework.

Called by users' models. Each is a composition of layers: convolution, norm and activation in one,
depthwise separable convolutions, attention over channels and over kernel sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lucid
from lucid.einops import rearrange
from lucid.nn import functional as F
from lucid.nn.activation import ReLU, Sigmoid, SiLU
from lucid.nn.activation_more import Hardsigmoid, Hardswish
from lucid.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from lucid.nn.container import ModuleList, Sequential
from lucid.nn.conv import Conv1d, Conv2d, Conv3d
from lucid.nn.linear import Linear
from lucid.nn.module import Module

_CONVOLUTIONS = (Conv1d, Conv2d, Conv3d)
_NORMS = (BatchNorm1d, BatchNorm2d, BatchNorm3d)


class _ConvBNReLU(Module):
    rank: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        conv_bias: bool = True,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        bn_affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        window = (kernel_size, stride, padding, dilation, groups, conv_bias)
        place = self.rank - 1
        self.conv = _CONVOLUTIONS[place](in_channels, out_channels, *window)
        self.bn = _NORMS[place](out_channels, eps, momentum, bn_affine, track_running_stats)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return F.relu(self.bn(self.conv(x)))


class ConvBNReLU1d(_ConvBNReLU):
    """relu(BatchNorm1d(Conv1d(x))).

    >>> import lucid
    >>> lucid.nn.ConvBNReLU1d(3, 4, 3, padding=1)(lucid.zeros(2, 3, 8)).shape
    lucid.Size([2, 4, 8])
    """

    rank = 1


class ConvBNReLU2d(_ConvBNReLU):
    """relu(BatchNorm2d(Conv2d(x))).

    >>> import lucid
    >>> lucid.nn.ConvBNReLU2d(3, 4, 3, padding=1)(lucid.zeros(2, 3, 8, 8)).shape
    lucid.Size([2, 4, 8, 8])
    """

    rank = 2


class ConvBNReLU3d(_ConvBNReLU):
    """relu(BatchNorm3d(Conv3d(x))).

    >>> import lucid
    >>> lucid.nn.ConvBNReLU3d(3, 4, 3, padding=1)(lucid.zeros(2, 3, 8, 8, 8)).shape
    lucid.Size([2, 4, 8, 8, 8])
    """

    rank = 3


class _DepthSeparableConv(Module):
    rank: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        reversed: bool = False,
    ) -> None:
        super().__init__()
        make = _CONVOLUTIONS[self.rank - 1]
        channels = out_channels if reversed else in_channels
        window = (kernel_size, stride, padding, dilation)
        self.reversed = reversed
        self.depthwise = make(channels, channels, *window, groups=channels, bias=bias)
        self.pointwise = make(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        if self.reversed:
            return self.depthwise(self.pointwise(x))
        return self.pointwise(self.depthwise(x))


class DepthSeparableConv1d(_DepthSeparableConv):
    """A convolution of each channel alone, then one of width 1 over the channels.

    `reversed`: the 1-wide convolution comes first. Chollet, 2017.

    >>> import lucid
    >>> lucid.nn.DepthSeparableConv1d(3, 4, 3, padding=1)(lucid.zeros(2, 3, 8)).shape
    lucid.Size([2, 4, 8])
    """

    rank = 1


class DepthSeparableConv2d(_DepthSeparableConv):
    """A convolution of each channel alone, then one of width 1 over the channels.

    >>> import lucid
    >>> lucid.nn.DepthSeparableConv2d(3, 4, 3, padding=1)(lucid.zeros(2, 3, 8, 8)).shape
    lucid.Size([2, 4, 8, 8])
    """

    rank = 2


class DepthSeparableConv3d(_DepthSeparableConv):
    """A convolution of each channel alone, then one of width 1 over the channels.

    >>> import lucid
    >>> lucid.nn.DepthSeparableConv3d(3, 4, 3, padding=1)(lucid.zeros(2, 3, 8, 8, 8)).shape
    lucid.Size([2, 4, 8, 8, 8])
    """

    rank = 3


class SEModule(Module):
    """x times a weight for each channel, made of the channels' means (squeeze and excitation).

    x: (N, in_channels, ...). Hu et al., 2018.

    >>> import lucid
    >>> lucid.nn.SEModule(16, 4)(lucid.ones(2, 16, 3, 3)).shape
    lucid.Size([2, 16, 3, 3])
    """

    def __init__(self, in_channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(in_channels // reduction, 1)
        self.in_channels = in_channels
        self.fc1 = Linear(in_channels, inner)
        self.relu = ReLU()
        self.fc2 = Linear(inner, in_channels)
        self.sigmoid = Sigmoid()

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        if x.dim() < 3 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"SEModule: x must be (N, {self.in_channels}, ...), got shape {tuple(x.shape)}"
            )
        means = x.mean(tuple(range(2, x.dim())))  # (N, C)
        weight = self.sigmoid(self.fc2(self.relu(self.fc1(means))))
        return x * weight.reshape(*weight.shape, *(1,) * (x.dim() - 2))


class SelectiveKernel(Module):
    """Convolutions of several kernel sizes, mixed channel by channel with weights that the input
    chooses. x: (N, in_channels, H, W), y: (N, out_channels, H', W'). Li et al., 2019.

    >>> import lucid
    >>> lucid.nn.SelectiveKernel(4, 8, (3, 5))(lucid.randn(2, 4, 6, 6)).shape
    lucid.Size([2, 8, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes: Sequence[int],
        stride: int = 1,
        padding: Sequence[int] | None = None,
        groups: int = 1,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        sizes = tuple(kernel_sizes)
        pads = tuple(k // 2 for k in sizes) if padding is None else tuple(padding)
        if not sizes or len(pads) != len(sizes):
            raise ValueError(f"SelectiveKernel: kernel sizes {sizes} with paddings {pads}")
        self.branches = ModuleList(
            ConvBNReLU2d(in_channels, out_channels, k, stride, p, groups=groups, conv_bias=False)
            for k, p in zip(sizes, pads, strict=True)
        )
        inner = max(out_channels // reduction, 4)
        self.squeeze = Sequential(Linear(out_channels, inner), ReLU())
        self.excite = ModuleList(Linear(inner, out_channels) for _ in sizes)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        made = lucid.stack([branch(x) for branch in self.branches], 1)  # (N, K, C, H, W)
        summary = self.squeeze(made.sum(1).mean((2, 3)))
        chosen = lucid.stack([layer(summary) for layer in self.excite], 1)  # (N, K, C)
        weight = chosen.softmax(1)
        return (made * weight.reshape(*weight.shape, 1, 1)).sum(1)


class Rearrange(Module):
    """`lucid.einops.rearrange` as a layer.

    >>> import lucid
    >>> lucid.nn.Rearrange("b c h w -> b (h w) c")(lucid.zeros(2, 3, 4, 5)).shape
    lucid.Size([2, 20, 3])
    """

    def __init__(self, pattern: str, **shapes: int) -> None:
        super().__init__()
        self.pattern = pattern
        self.shapes = shapes

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return rearrange(x, self.pattern, **self.shapes)

    def extra_repr(self) -> str:
        sizes = "".join(f", {name}={size}" for name, size in self.shapes.items())
        return f"{self.pattern!r}{sizes}"


class Swish(SiLU):
    """x sigmoid(x): SiLU under its other name. Ramachandran et al., 2017.

    >>> import lucid
    >>> lucid.nn.Swish()(lucid.tensor(0.0)).item()
    0.0
    """


class HardSwish(Hardswish):
    """x min(max(x + 3, 0), 6) / 6: Hardswish under its other name. Howard et al., 2019.

    >>> import lucid
    >>> lucid.nn.HardSwish()(lucid.tensor([-4.0, 0.0, 4.0])).tolist()
    [-0.0, 0.0, 4.0]
    """


class HardSigmoid(Hardsigmoid):
    """min(max(x + 3, 0), 6) / 6: Hardsigmoid under its other name.

    >>> import lucid
    >>> lucid.nn.HardSigmoid()(lucid.tensor([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
