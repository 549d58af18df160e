"""Conv1d, Conv2d, Conv3d. Called by users' models; lucid.nn.functional does the computation.

conv_transpose.py has the transposed ones, which share `_ConvNd`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def several(value: Any, rank: int) -> tuple[int, ...]:
    """(value, ...) of this length, or `value` itself where it has several numbers already."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


class _ConvNd(Module):
    """What convolutions of any rank share: checks, parameters, their start and the repr."""

    weight: lucid.Tensor
    bias: lucid.Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[int, ...] | str,
        dilation: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
        transposed: bool = False,
        output_padding: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
            )
        if padding == "same" and any(s != 1 for s in stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {_PADDING_MODES}, but got padding_mode="
                f"'{padding_mode}'"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding or (0,) * len(kernel_size)
        self.groups = groups
        self.padding_mode = padding_mode
        made = {"device": device, "dtype": dtype}
        self.weight = Parameter(lucid.empty(self._weight_shape(), **made))
        if bias:
            self.bias = Parameter(lucid.empty(out_channels, **made))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        """(out, in / groups, kernel...), or (in, out / groups, kernel...) where transposed."""
        first, second = self.out_channels, self.in_channels
        first, second = (second, first) if self.transposed else (first, second)
        return (first, second // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw weight and bias uniform in [-k, k], k = 1/sqrt(in_channels/groups * kernel)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    @property
    def _reversed_padding_repeated_twice(self) -> list[int]:
        """The padding in the order of F.pad: last dimension first, (before, after) of each."""
        if self.padding == "valid":
            return [0] * (2 * len(self.kernel_size))
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            sides = [(total // 2, total - total // 2) for total in totals]
        else:
            sides = [(p, p) for p in self.padding]  # type: ignore[misc]
        return [n for side in reversed(sides) for n in side]

    def _padded(self, function: Callable, x: Any, weight: Any, bias: Any) -> lucid.Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return function(x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def _conv_forward(
        self, x: lucid.Tensor, weight: lucid.Tensor, bias: lucid.Tensor | None
    ) -> lucid.Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not say how many dimensions it has")

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        zeros = (0,) * len(self.kernel_size)
        ones = (1,) * len(self.kernel_size)
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        text += f", padding={self.padding}" if self.padding != zeros else ""
        text += f", dilation={self.dilation}" if self.dilation != ones else ""
        if any(self.output_padding):
            text += f", output_padding={self.output_padding}"
        text += f", groups={self.groups}" if self.groups != 1 else ""
        text += ", bias=False" if self.bias is None else ""
        text += f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else ""
        return text


class Conv1d(_ConvNd):
    """Cross-correlation of sequences with learned kernels.

    x: (N, in_channels, L) or without N; y: (N, out_channels, L') with
    L' = floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.
    `padding` is a number, "valid" or "same" (stride 1 only); `padding_mode` says what it holds:
    "zeros", "reflect", "replicate" or "circular".

    >>> import lucid
    >>> lucid.nn.Conv1d(1, 4, 3, padding=1)(lucid.zeros(2, 1, 8)).shape
    lucid.Size([2, 4, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            several(kernel_size, 1),
            several(stride, 1),
            padding if isinstance(padding, str) else several(padding, 1),
            several(dilation, 1),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(
        self, x: lucid.Tensor, weight: lucid.Tensor, bias: lucid.Tensor | None
    ) -> lucid.Tensor:
        return self._padded(F.conv1d, x, weight, bias)


class Conv2d(_ConvNd):
    """Cross-correlation of images with learned kernels.

    x: (N, in_channels, H, W) or without N; y: (N, out_channels, H', W') with
    H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.
    `padding` is a number, a pair, "valid" or "same" (stride 1 only).

    >>> import lucid
    >>> lucid.nn.Conv2d(1, 4, 3, padding=1)(lucid.zeros(2, 1, 8, 8)).shape
    lucid.Size([2, 4, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            several(kernel_size, 2),
            several(stride, 2),
            padding if isinstance(padding, str) else several(padding, 2),
            several(dilation, 2),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(
        self, x: lucid.Tensor, weight: lucid.Tensor, bias: lucid.Tensor | None
    ) -> lucid.Tensor:
        return self._padded(F.conv2d, x, weight, bias)


class Conv3d(_ConvNd):
    """Cross-correlation of volumes with learned kernels. x: (N, in_channels, D, H, W), y likewise.

    >>> import lucid
    >>> lucid.nn.Conv3d(1, 4, 3, padding=1)(lucid.zeros(2, 1, 4, 4, 4)).shape
    lucid.Size([2, 4, 4, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            several(kernel_size, 3),
            several(stride, 3),
            padding if isinstance(padding, str) else several(padding, 3),
            several(dilation, 3),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(
        self, x: lucid.Tensor, weight: lucid.Tensor, bias: lucid.Tensor | None
    ) -> lucid.Tensor:
        return self._padded(F.conv3d, x, weight, bias)
