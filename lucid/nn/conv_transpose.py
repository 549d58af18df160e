"""ConvTranspose1d, 2d, 3d (Zeiler et al., 2010). Called by users' models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.conv import _ConvNd, several


class _ConvTransposeNd(_ConvNd):
    """What transposed convolutions of any rank share: the sizes that output_size asks for."""

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        dilation: Any,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}, got '
                f"{padding_mode!r}"
            )
        super().__init__(
            in_channels,
            out_channels,
            several(kernel_size, rank),
            several(stride, rank),
            several(padding, rank),
            several(dilation, rank),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
            True,
            several(output_padding, rank),
        )

    def _output_padding(
        self, x: lucid.Tensor, output_size: Sequence[int] | None
    ) -> tuple[int, ...]:
        """What to add at the end of each dimension for an output of `output_size`."""
        if output_size is None:
            return self.output_padding
        rank = len(self.kernel_size)
        wanted = tuple(output_size)
        if len(wanted) == x.dim():
            wanted = wanted[-rank:]
        if len(wanted) != rank:
            raise ValueError(
                f"{type(self).__name__}: output_size {tuple(output_size)} must have {rank} or "
                f"{x.dim()} elements"
            )
        extra = []
        for n, m, k, s, p, d in zip(
            x.shape[-rank:],
            wanted,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            strict=True,
        ):
            least = (n - 1) * s - 2 * int(p) + d * (k - 1) + 1
            if not least <= m <= least + s - 1:
                raise ValueError(
                    f"{type(self).__name__}: output_size {wanted} is not reachable: for the input "
                    f"{tuple(x.shape)} a size lies between {least} and {least + s - 1}"
                )
            extra.append(m - least)
        return tuple(extra)


class ConvTranspose1d(_ConvTransposeNd):
    """The transpose of Conv1d, with learned kernels. x: (N, in_channels, L) or without N,
    y: (N, out_channels, L') with
    L' = (L - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.

    `forward(x, output_size)` chooses output_padding for one of the possible sizes.

    >>> import lucid
    >>> lucid.nn.ConvTranspose1d(1, 4, 2, stride=2)(lucid.zeros(2, 1, 8)).shape
    lucid.Size([2, 4, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shape = (kernel_size, stride, padding, output_padding, groups, bias, dilation)
        super().__init__(1, in_channels, out_channels, *shape, padding_mode, device, dtype)

    def forward(
        self, input: lucid.Tensor, output_size: Sequence[int] | None = None
    ) -> lucid.Tensor:
        extra = self._output_padding(input, output_size)
        shape = (self.stride, self.padding, extra, self.groups, self.dilation)
        return F.conv_transpose1d(input, self.weight, self.bias, *shape)


class ConvTranspose2d(_ConvTransposeNd):
    """As ConvTranspose1d, for images. x: (N, in_channels, H, W), y: (N, out_channels, H', W').

    >>> import lucid
    >>> lucid.nn.ConvTranspose2d(1, 4, 2, stride=2)(lucid.zeros(2, 1, 8, 8)).shape
    lucid.Size([2, 4, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shape = (kernel_size, stride, padding, output_padding, groups, bias, dilation)
        super().__init__(2, in_channels, out_channels, *shape, padding_mode, device, dtype)

    def forward(
        self, input: lucid.Tensor, output_size: Sequence[int] | None = None
    ) -> lucid.Tensor:
        extra = self._output_padding(input, output_size)
        shape = (self.stride, self.padding, extra, self.groups, self.dilation)
        return F.conv_transpose2d(input, self.weight, self.bias, *shape)


class ConvTranspose3d(_ConvTransposeNd):
    """As ConvTranspose1d, for volumes. x: (N, in_channels, D, H, W), y likewise.

    >>> import lucid
    >>> lucid.nn.ConvTranspose3d(1, 4, 2, stride=2)(lucid.zeros(2, 1, 3, 3, 3)).shape
    lucid.Size([2, 4, 6, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shape = (kernel_size, stride, padding, output_padding, groups, bias, dilation)
        super().__init__(3, in_channels, out_channels, *shape, padding_mode, device, dtype)

    def forward(
        self, input: lucid.Tensor, output_size: Sequence[int] | None = None
    ) -> lucid.Tensor:
        extra = self._output_padding(input, output_size)
        shape = (self.stride, self.padding, extra, self.groups, self.dilation)
        return F.conv_transpose3d(input, self.weight, self.bias, *shape)
