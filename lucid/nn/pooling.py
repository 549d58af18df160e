"""MaxPool, AvgPool and LPPool of one to three dimensions. Called by users' models.

The computation is lucid.nn.functional's. pooling_adaptive.py and unpooling.py have the others.
"""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.conv import several
from lucid.nn.module import Module


class _MaxPoolNd(Module):
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

    def _window(self) -> tuple:
        window = (self.kernel_size, self.stride, self.padding, self.dilation)
        return (*window, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The largest value of each window. x: (N, C, L), y: (N, C, L') with
    L' = floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 (ceil with `ceil_mode`).

    `return_indices`: (y, the places of the maxima), as MaxUnpool1d takes them.

    >>> import lucid
    >>> lucid.nn.MaxPool1d(2)(lucid.zeros(1, 1, 4)).shape
    lucid.Size([1, 1, 2])
    """

    def forward(self, input: lucid.Tensor) -> Any:
        return F.max_pool1d(input, *self._window())


class MaxPool2d(_MaxPoolNd):
    """The largest value of each window. x: (N, C, H, W), y: (N, C, H', W') with
    H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 (ceil with `ceil_mode`).

    >>> import lucid
    >>> lucid.nn.MaxPool2d(2)(lucid.zeros(1, 1, 4, 4)).shape
    lucid.Size([1, 1, 2, 2])
    """

    def forward(self, input: lucid.Tensor) -> Any:
        return F.max_pool2d(input, *self._window())


class MaxPool3d(_MaxPoolNd):
    """The largest value of each window. x: (N, C, D, H, W), y likewise; sizes as MaxPool2d's.

    >>> import lucid
    >>> lucid.nn.MaxPool3d(2)(lucid.zeros(1, 1, 4, 4, 4)).shape
    lucid.Size([1, 1, 2, 2, 2])
    """

    def forward(self, input: lucid.Tensor) -> Any:
        return F.max_pool3d(input, *self._window())


class _AvgPoolNd(Module):
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

    def _window(self) -> tuple[Any, ...]:
        window = (self.kernel_size, self.stride, self.padding)
        return (*window, self.ceil_mode, self.count_include_pad, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPoolNd):
    """The mean of each window; shapes as MaxPool1d's with dilation 1.

    `count_include_pad=False` leaves the padding out of the count.

    >>> import lucid
    >>> lucid.nn.AvgPool1d(2)(lucid.ones(1, 1, 2)).tolist()
    [[[1.0]]]
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        kernel = several(kernel_size, 1)
        stride = kernel if stride is None else several(stride, 1)
        super().__init__(kernel, stride, several(padding, 1), ceil_mode, count_include_pad)

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.avg_pool1d(input, *self._window()[:-1])


class AvgPool2d(_AvgPoolNd):
    """The mean of each window; shapes as MaxPool2d's with dilation 1.

    `count_include_pad=False` leaves the padding out of the count, `divisor_override` replaces it.

    >>> import lucid
    >>> lucid.nn.AvgPool2d(2)(lucid.ones(1, 1, 2, 2)).tolist()
    [[[[1.0]]]]
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.avg_pool2d(input, *self._window())


class AvgPool3d(_AvgPoolNd):
    """The mean of each window; shapes as MaxPool3d's with dilation 1.

    >>> import lucid
    >>> lucid.nn.AvgPool3d(2)(lucid.ones(1, 1, 2, 2, 4)).tolist()
    [[[[[1.0, 1.0]]]]]
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.avg_pool3d(input, *self._window())


class _LPPoolNd(Module):
    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def _window(self) -> tuple:
        return float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """The p-norm of each window of x (N, C, L): (sum of x^p)^(1/p), p = norm_type.

    >>> import lucid
    >>> lucid.nn.LPPool1d(2, 2)(lucid.ones(1, 1, 4)).shape
    lucid.Size([1, 1, 2])
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.lp_pool1d(input, *self._window())


class LPPool2d(_LPPoolNd):
    """The p-norm of each window of x (N, C, H, W): (sum of x^p)^(1/p), p = norm_type.

    >>> import lucid
    >>> lucid.nn.LPPool2d(2, 2)(lucid.ones(1, 1, 2, 4)).shape
    lucid.Size([1, 1, 1, 2])
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.lp_pool2d(input, *self._window())


class LPPool3d(_LPPoolNd):
    """The p-norm of each window of x (N, C, D, H, W): (sum of x^p)^(1/p), p = norm_type.

    >>> import lucid
    >>> lucid.nn.LPPool3d(2, 2)(lucid.ones(1, 1, 2, 2, 4)).shape
    lucid.Size([1, 1, 1, 1, 2])
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.lp_pool3d(input, *self._window())
