"""Adaptive pooling of one to three dimensions. Called by users' models."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module


class _AdaptiveAvgPoolNd(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMaxPoolNd(Module):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The mean of output_size windows that cover x (N, C, L) evenly.

    >>> import lucid
    >>> lucid.nn.AdaptiveAvgPool1d(2)(lucid.ones(1, 3, 5)).shape
    lucid.Size([1, 3, 2])
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The mean of output_size windows that cover x (N, C, H, W) evenly.

    None keeps a size.

    >>> import lucid
    >>> lucid.nn.AdaptiveAvgPool2d(2)(lucid.ones(1, 3, 5, 7)).shape
    lucid.Size([1, 3, 2, 2])
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The mean of output_size windows that cover x (N, C, D, H, W) evenly.

    None keeps a size.

    >>> import lucid
    >>> lucid.nn.AdaptiveAvgPool3d(2)(lucid.ones(1, 3, 5, 7, 6)).shape
    lucid.Size([1, 3, 2, 2, 2])
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The largest value of output_size windows that cover x (N, C, L) evenly.

    `return_indices`: (y, the places of the maxima).

    >>> import lucid
    >>> lucid.nn.AdaptiveMaxPool1d(2)(lucid.ones(1, 3, 5)).shape
    lucid.Size([1, 3, 2])
    """

    def forward(self, input: lucid.Tensor) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The largest value of output_size windows that cover x (N, C, H, W) evenly.

    None keeps a size.
    `return_indices`: (y, the places of the maxima).

    >>> import lucid
    >>> lucid.nn.AdaptiveMaxPool2d(2)(lucid.ones(1, 3, 5, 7)).shape
    lucid.Size([1, 3, 2, 2])
    """

    def forward(self, input: lucid.Tensor) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The largest value of output_size windows that cover x (N, C, D, H, W) evenly.

    None keeps a size.
    `return_indices`: (y, the places of the maxima).

    >>> import lucid
    >>> lucid.nn.AdaptiveMaxPool3d(2)(lucid.ones(1, 3, 5, 7, 6)).shape
    lucid.Size([1, 3, 2, 2, 2])
    """

    def forward(self, input: lucid.Tensor) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)
