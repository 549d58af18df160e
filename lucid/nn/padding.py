"""Padding of one to three dimensions. Called by users' models; functional.pad does it."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.conv import several
from lucid.nn.module import Module


class _PadNd(Module):
    """`padding` is a number, or (last before, last after, second last before, ...)."""

    rank: int
    mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = several(padding, 2 * self.rank)

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ReflectionPadNd(_PadNd):
    mode = "reflect"


class _ReplicationPadNd(_PadNd):
    mode = "replicate"


class _CircularPadNd(_PadNd):
    mode = "circular"


class ConstantPad1d(_ConstantPadNd):
    """x (N, C, L) padded with `value`; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ConstantPad1d(1, 2.0)(lucid.ones(1, 1, 3)).shape
    lucid.Size([1, 1, 5])
    """

    rank = 1


class ConstantPad2d(_ConstantPadNd):
    """x (N, C, H, W) padded with `value`; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ConstantPad2d(1, 2.0)(lucid.ones(1, 1, 3, 3)).shape
    lucid.Size([1, 1, 5, 5])
    """

    rank = 2


class ConstantPad3d(_ConstantPadNd):
    """x (N, C, D, H, W) padded with `value`; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ConstantPad3d(1, 2.0)(lucid.ones(1, 1, 3, 3, 3)).shape
    lucid.Size([1, 1, 5, 5, 5])
    """

    rank = 3


class ZeroPad1d(_ZeroPadNd):
    """x (N, C, L) padded with zeros; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ZeroPad1d(1)(lucid.ones(1, 1, 3)).shape
    lucid.Size([1, 1, 5])
    """

    rank = 1


class ZeroPad2d(_ZeroPadNd):
    """x (N, C, H, W) padded with zeros; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ZeroPad2d(1)(lucid.ones(1, 1, 3, 3)).shape
    lucid.Size([1, 1, 5, 5])
    """

    rank = 2


class ZeroPad3d(_ZeroPadNd):
    """x (N, C, D, H, W) padded with zeros; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ZeroPad3d(1)(lucid.ones(1, 1, 3, 3, 3)).shape
    lucid.Size([1, 1, 5, 5, 5])
    """

    rank = 3


class ReflectionPad1d(_ReflectionPadNd):
    """x (N, C, L) padded with its reflection, the border left out; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ReflectionPad1d(1)(lucid.ones(1, 1, 3)).shape
    lucid.Size([1, 1, 5])
    """

    rank = 1


class ReflectionPad2d(_ReflectionPadNd):
    """x (N, C, H, W) padded with its reflection, the border left out; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ReflectionPad2d(1)(lucid.ones(1, 1, 3, 3)).shape
    lucid.Size([1, 1, 5, 5])
    """

    rank = 2


class ReflectionPad3d(_ReflectionPadNd):
    """x (N, C, D, H, W) padded with its reflection, the border left out; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ReflectionPad3d(1)(lucid.ones(1, 1, 3, 3, 3)).shape
    lucid.Size([1, 1, 5, 5, 5])
    """

    rank = 3


class ReplicationPad1d(_ReplicationPadNd):
    """x (N, C, L) padded with the elements of its border; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ReplicationPad1d(1)(lucid.ones(1, 1, 3)).shape
    lucid.Size([1, 1, 5])
    """

    rank = 1


class ReplicationPad2d(_ReplicationPadNd):
    """x (N, C, H, W) padded with the elements of its border; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ReplicationPad2d(1)(lucid.ones(1, 1, 3, 3)).shape
    lucid.Size([1, 1, 5, 5])
    """

    rank = 2


class ReplicationPad3d(_ReplicationPadNd):
    """x (N, C, D, H, W) padded with the elements of its border; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.ReplicationPad3d(1)(lucid.ones(1, 1, 3, 3, 3)).shape
    lucid.Size([1, 1, 5, 5, 5])
    """

    rank = 3


class CircularPad1d(_CircularPadNd):
    """x (N, C, L) padded with the elements of its other side; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.CircularPad1d(1)(lucid.ones(1, 1, 3)).shape
    lucid.Size([1, 1, 5])
    """

    rank = 1


class CircularPad2d(_CircularPadNd):
    """x (N, C, H, W) padded with the elements of its other side; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.CircularPad2d(1)(lucid.ones(1, 1, 3, 3)).shape
    lucid.Size([1, 1, 5, 5])
    """

    rank = 2


class CircularPad3d(_CircularPadNd):
    """x (N, C, D, H, W) padded with the elements of its other side; negative numbers cut.

    >>> import lucid
    >>> lucid.nn.CircularPad3d(1)(lucid.ones(1, 1, 3, 3, 3)).shape
    lucid.Size([1, 1, 5, 5, 5])
    """

    rank = 3
