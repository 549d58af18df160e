"""MaxUnpool and FractionalMaxPool. Called by users' models."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.conv import several
from lucid.nn.module import Module


class _MaxUnpoolNd(Module):
    rank: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = several(kernel_size, self.rank)
        self.stride = several(stride if stride is not None else kernel_size, self.rank)
        self.padding = several(padding, self.rank)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Zeros with each maximum of MaxPool1d back at its place.

    >>> import lucid
    >>> y, places = lucid.nn.MaxPool1d(2, return_indices=True)(lucid.ones(1, 1, 4))
    >>> lucid.nn.MaxUnpool1d(2)(y, places).shape
    lucid.Size([1, 1, 4])
    """

    rank = 1

    def forward(
        self, input: lucid.Tensor, indices: lucid.Tensor, output_size: Any = None
    ) -> lucid.Tensor:
        window = (self.kernel_size, self.stride, self.padding)
        return F.max_unpool1d(input, indices, *window, output_size)


class MaxUnpool2d(_MaxUnpoolNd):
    """Zeros with each maximum of MaxPool2d back at its place.

    >>> import lucid
    >>> y, places = lucid.nn.MaxPool2d(2, return_indices=True)(lucid.ones(1, 1, 4, 4))
    >>> lucid.nn.MaxUnpool2d(2)(y, places).shape
    lucid.Size([1, 1, 4, 4])
    """

    rank = 2

    def forward(
        self, input: lucid.Tensor, indices: lucid.Tensor, output_size: Any = None
    ) -> lucid.Tensor:
        window = (self.kernel_size, self.stride, self.padding)
        return F.max_unpool2d(input, indices, *window, output_size)


class MaxUnpool3d(_MaxUnpoolNd):
    """Zeros with each maximum of MaxPool3d back at its place.

    >>> import lucid
    >>> y, places = lucid.nn.MaxPool3d(2, return_indices=True)(lucid.ones(1, 1, 4, 4, 4))
    >>> lucid.nn.MaxUnpool3d(2)(y, places).shape
    lucid.Size([1, 1, 4, 4, 4])
    """

    rank = 3

    def forward(
        self, input: lucid.Tensor, indices: lucid.Tensor, output_size: Any = None
    ) -> lucid.Tensor:
        window = (self.kernel_size, self.stride, self.padding)
        return F.max_unpool3d(input, indices, *window, output_size)


class _FractionalMaxPoolNd(Module):
    rank: int

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: lucid.Tensor | None = None,
    ) -> None:
        super().__init__()
        if (output_size is None) == (output_ratio is None):
            raise ValueError(
                f"{type(self).__name__} requires output_size or output_ratio, and not both"
            )
        self.kernel_size = several(kernel_size, self.rank)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else several(output_size, self.rank)
        single = isinstance(output_ratio, (int, float))
        self.output_ratio = (output_ratio,) * self.rank if single else output_ratio
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def _settings(self) -> tuple:
        size = (self.output_size, self.output_ratio)
        return (self.kernel_size, *size, self.return_indices, self._random_samples)


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """The largest value of windows at random steps over x (N, C, H, W). Graham, 2014.

    `output_size`, or `output_ratio` of the input's. `_random_samples` (N, C, 2) fixes the steps.

    >>> import lucid
    >>> lucid.nn.FractionalMaxPool2d(2, 5)(lucid.ones(1, 1, 9, 9)).shape
    lucid.Size([1, 1, 5, 5])
    """

    rank = 2

    def forward(self, input: lucid.Tensor) -> Any:
        return F.fractional_max_pool2d(input, *self._settings())


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """The largest value of windows at random steps over x (N, C, D, H, W). Graham, 2014.

    `output_size`, or `output_ratio` of the input's. `_random_samples` (N, C, 3) fixes the steps.

    >>> import lucid
    >>> lucid.nn.FractionalMaxPool3d(2, 3)(lucid.ones(1, 1, 6, 6, 6)).shape
    lucid.Size([1, 1, 3, 3, 3])
    """

    rank = 3

    def forward(self, input: lucid.Tensor) -> Any:
        return F.fractional_max_pool3d(input, *self._settings())
