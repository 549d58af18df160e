"""Resizing, and pixels moved between space and channels. Called by users' models.

Upsample, UpsamplingNearest2d, UpsamplingBilinear2d, PixelShuffle, PixelUnshuffle, ChannelShuffle,
Fold and Unfold; lucid.nn.functional does the computation.
"""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module


class Upsample(Module):
    """x (N, C, spatial...) resized to `size`, or by `scale_factor`: functional.interpolate.

    mode: "nearest", "linear" (3-d input), "bilinear" and "bicubic" (4-d), "trilinear" (5-d).

    >>> import lucid
    >>> lucid.nn.Upsample(scale_factor=2)(lucid.ones(1, 1, 2, 3)).shape
    lucid.Size([1, 1, 4, 6])
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        target = (self.size, self.scale_factor)
        return F.interpolate(
            input, *target, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        factor = self.scale_factor
        text = f"size={self.size}" if factor is None else f"scale_factor={factor}"
        return f"{text}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Upsample in mode "nearest".

    >>> import lucid
    >>> lucid.nn.UpsamplingNearest2d(scale_factor=2)(lucid.ones(1, 1, 2, 3)).shape
    lucid.Size([1, 1, 4, 6])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """Upsample in mode "bilinear", with aligned corners.

    >>> import lucid
    >>> lucid.nn.UpsamplingBilinear2d(size=4)(lucid.ones(1, 1, 2, 3)).shape
    lucid.Size([1, 1, 4, 4])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    """(..., C r^2, H, W) to (..., C, H r, W r), r = upscale_factor. Shi et al., 2016.

    >>> import lucid
    >>> lucid.nn.PixelShuffle(2)(lucid.ones(1, 8, 2, 3)).shape
    lucid.Size([1, 2, 4, 6])
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(..., C, H r, W r) to (..., C r^2, H, W), r = downscale_factor: PixelShuffle's inverse.

    >>> import lucid
    >>> lucid.nn.PixelUnshuffle(2)(lucid.ones(1, 2, 4, 6)).shape
    lucid.Size([1, 8, 2, 3])
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels of (N, C, ...) taken from each group in turn. Zhang et al., 2018.

    >>> import lucid
    >>> lucid.nn.ChannelShuffle(2)(lucid.arange(4.0).reshape(1, 4, 1)).flatten()
    tensor([0., 2., 1., 3.])
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Fold(Module):
    """Columns (N, C KH KW, L) added up in (N, C, *output_size): the transpose of Unfold.

    >>> import lucid
    >>> lucid.nn.Fold((1, 3), (1, 2))(lucid.ones(1, 2, 2)).tolist()
    [[[[1.0, 2.0, 1.0]]]]
    """

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        window = (self.kernel_size, self.dilation, self.padding, self.stride)
        return F.fold(input, self.output_size, *window)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )


class Unfold(Module):
    """Each window of x (N, C, H, W) as a column: (N, C KH KW, L).

    >>> import lucid
    >>> lucid.nn.Unfold(2)(lucid.ones(1, 3, 4, 4)).shape
    lucid.Size([1, 12, 9])
    """

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )
