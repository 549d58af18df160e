"""Lazy layers: their input sizes are those of the first input. Called by users' models.

lazy.py has the mechanism; after the first call each is the ordinary layer.
"""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from lucid.nn.conv import Conv1d, Conv2d, Conv3d
from lucid.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from lucid.nn.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from lucid.nn.lazy import LazyModuleMixin, UninitializedBuffer, UninitializedParameter
from lucid.nn.linear import Linear


class LazyLinear(LazyModuleMixin, Linear):
    """Linear whose in_features is the last size of the first input.

    >>> import lucid
    >>> layer = lucid.nn.LazyLinear(2)
    >>> layer(lucid.zeros(5, 3)).shape, layer
    (lucid.Size([5, 2]), Linear(in_features=3, out_features=2, bias=True))
    """

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(0, 0, False, device, dtype)
        self.out_features = out_features
        self.weight = UninitializedParameter(True, device, dtype)
        if bias:
            self.bias = UninitializedParameter(True, device, dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once they are there."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, x: lucid.Tensor) -> None:
        """Weight and bias for inputs like x."""
        self.in_features = x.shape[-1]  # also where a state dict has brought the tensors
        if self.has_uninitialized_params():
            size = (self.out_features, self.in_features)
            self.weight.materialize(size)  # type: ignore[attr-defined]
            if self.bias is not None:
                self.bias.materialize((self.out_features,))  # type: ignore[attr-defined]
            self.reset_parameters()


class _LazyConv(LazyModuleMixin):
    """What lazy convolutions share; the layer's own class follows in the bases."""

    in_channels: int
    out_channels: int
    groups: int
    kernel_size: tuple[int, ...]
    weight: Any
    bias: Any

    def __init__(self, out_channels: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        bias = kwargs.pop("bias", True)
        made = (True, kwargs.get("device"), kwargs.get("dtype"))
        super().__init__(0, 0, kernel_size, *args, bias=False, **kwargs)
        self.out_channels = out_channels
        if out_channels % self.groups:
            raise ValueError("out_channels must be divisible by groups")
        self.weight = UninitializedParameter(*made)
        if bias:
            self.bias = UninitializedParameter(*made)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once they are there."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, x: lucid.Tensor, *args: Any, **kwargs: Any) -> None:
        """Weight and bias for inputs like x."""
        rank = len(self.kernel_size)
        if x.dim() not in (rank + 1, rank + 2):
            raise RuntimeError(
                f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {tuple(x.shape)}"
            )
        self.in_channels = x.shape[-rank - 1]
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        if not self.has_uninitialized_params():
            return
        self.weight.materialize(self._weight_shape())
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class LazyConv1d(_LazyConv, Conv1d):
    """Conv1d whose in_channels is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyConv1d(4, 2)(lucid.zeros(1, 3, 6)).shape
    lucid.Size([1, 4, 5])
    """

    cls_to_become = Conv1d

    def __init__(
        self,
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
        shape = (kernel_size, stride, padding, dilation, groups)
        options = {"padding_mode": padding_mode, "device": device, "dtype": dtype}
        super().__init__(out_channels, *shape, bias=bias, **options)


class LazyConv2d(_LazyConv, Conv2d):
    """Conv2d whose in_channels is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyConv2d(4, 2)(lucid.zeros(1, 3, 6, 6)).shape
    lucid.Size([1, 4, 5, 5])
    """

    cls_to_become = Conv2d

    def __init__(
        self,
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
        shape = (kernel_size, stride, padding, dilation, groups)
        options = {"padding_mode": padding_mode, "device": device, "dtype": dtype}
        super().__init__(out_channels, *shape, bias=bias, **options)


class LazyConv3d(_LazyConv, Conv3d):
    """Conv3d whose in_channels is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyConv3d(4, 2)(lucid.zeros(1, 3, 6, 6, 6)).shape
    lucid.Size([1, 4, 5, 5, 5])
    """

    cls_to_become = Conv3d

    def __init__(
        self,
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
        shape = (kernel_size, stride, padding, dilation, groups)
        options = {"padding_mode": padding_mode, "device": device, "dtype": dtype}
        super().__init__(out_channels, *shape, bias=bias, **options)


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """ConvTranspose1d whose in_channels is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyConvTranspose1d(4, 2)(lucid.zeros(1, 3, 6)).shape
    lucid.Size([1, 4, 7])
    """

    cls_to_become = ConvTranspose1d

    def __init__(
        self,
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
        shape = (kernel_size, stride, padding, output_padding, groups)
        options = {"padding_mode": padding_mode, "device": device, "dtype": dtype}
        super().__init__(out_channels, *shape, bias=bias, dilation=dilation, **options)


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """ConvTranspose2d whose in_channels is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyConvTranspose2d(4, 2)(lucid.zeros(1, 3, 6, 6)).shape
    lucid.Size([1, 4, 7, 7])
    """

    cls_to_become = ConvTranspose2d

    def __init__(
        self,
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
        shape = (kernel_size, stride, padding, output_padding, groups)
        options = {"padding_mode": padding_mode, "device": device, "dtype": dtype}
        super().__init__(out_channels, *shape, bias=bias, dilation=dilation, **options)


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """ConvTranspose3d whose in_channels is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyConvTranspose3d(4, 2)(lucid.zeros(1, 3, 6, 6, 6)).shape
    lucid.Size([1, 4, 7, 7, 7])
    """

    cls_to_become = ConvTranspose3d

    def __init__(
        self,
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
        shape = (kernel_size, stride, padding, output_padding, groups)
        options = {"padding_mode": padding_mode, "device": device, "dtype": dtype}
        super().__init__(out_channels, *shape, bias=bias, dilation=dilation, **options)


class _LazyNorm(LazyModuleMixin):
    """What lazy norms share; the layer's own class follows in the bases."""

    num_features: int
    running_mean: lucid.Tensor | None
    running_var: lucid.Tensor | None
    num_batches_tracked: lucid.Tensor | None

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(True, device, dtype)
            if bias:
                self.bias = UninitializedParameter(True, device, dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(False, device, dtype)
            self.running_var = UninitializedBuffer(False, device, dtype)
            self.num_batches_tracked = lucid.tensor(0, dtype=lucid.int64, device=device)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, statistics forgotten, once they are there."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, x: lucid.Tensor) -> None:
        """Parameters and statistics for inputs like x."""
        rank = getattr(self, "rank", None)  # of those that take inputs without a batch
        self.num_features = x.shape[1 if rank is None else -rank - 1]
        if not self.has_uninitialized_params():
            return
        for own in (*self._parameters.values(), *self._buffers.values()):
            if isinstance(own, UninitializedParameter | UninitializedBuffer):
                own.materialize((self.num_features,))
        self.reset_parameters()


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """BatchNorm1d whose num_features is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyBatchNorm1d()(lucid.zeros(2, 3, 4)).shape
    lucid.Size([2, 3, 4])
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """BatchNorm2d whose num_features is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyBatchNorm2d()(lucid.zeros(2, 3, 4, 4)).shape
    lucid.Size([2, 3, 4, 4])
    """

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """BatchNorm3d whose num_features is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyBatchNorm3d()(lucid.zeros(2, 3, 4, 4, 4)).shape
    lucid.Size([2, 3, 4, 4, 4])
    """

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """InstanceNorm1d whose num_features is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyInstanceNorm1d()(lucid.zeros(2, 3, 4)).shape
    lucid.Size([2, 3, 4])
    """

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """InstanceNorm2d whose num_features is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyInstanceNorm2d()(lucid.zeros(2, 3, 4, 4)).shape
    lucid.Size([2, 3, 4, 4])
    """

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """InstanceNorm3d whose num_features is that of the first input.

    >>> import lucid
    >>> lucid.nn.LazyInstanceNorm3d()(lucid.zeros(2, 3, 4, 4, 4)).shape
    lucid.Size([2, 3, 4, 4, 4])
    """

    cls_to_become = InstanceNorm3d
