"""Pooling of images. Called by users' models; the computation is lucid.nn.functional's."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module


class MaxPool2d(Module):
    """The largest value of each window. x: (N, C, H, W), y: (N, C, H', W') with
    H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 (ceil with `ceil_mode`).

    >>> import lucid
    >>> lucid.nn.MaxPool2d(2)(lucid.zeros(1, 1, 4, 4)).shape
    lucid.Size([1, 1, 2, 2])
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, x: lucid.Tensor) -> Any:
        window = (self.kernel_size, self.stride, self.padding, self.dilation)
        return F.max_pool2d(
            x, *window, ceil_mode=self.ceil_mode, return_indices=self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window; shapes as MaxPool2d's with dilation 1.

    `count_include_pad=False` leaves the padding out of the count, `divisor_override` replaces it.

    >>> import lucid
    >>> lucid.nn.AvgPool2d(2)(lucid.ones(1, 1, 2, 2)).tolist()
    [[[[1.0]]]]
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        window = (self.kernel_size, self.stride, self.padding)
        return F.avg_pool2d(
            x, *window, self.ceil_mode, self.count_include_pad, self.divisor_override
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The mean of output_size windows that cover x. x: (N, C, H, W), y: (N, C, *output_size).

    >>> import lucid
    >>> lucid.nn.AdaptiveAvgPool2d(1)(lucid.ones(1, 2, 5, 7)).shape
    lucid.Size([1, 2, 1, 1])
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
