"""Flatten and Unflatten: one dimension from several, and back. Called by users' models."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn.module import Module


class Flatten(Module):
    """Dimensions start_dim to end_dim become one: (N, C, H, W) -> (N, C*H*W) by default.

    >>> import lucid
    >>> lucid.nn.Flatten()(lucid.zeros(2, 3, 4)).shape
    lucid.Size([2, 12])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Dimension `dim` becomes `unflattened_size`; one of its entries may be -1.

    >>> import lucid
    >>> lucid.nn.Unflatten(1, (3, 4))(lucid.zeros(2, 12)).shape
    lucid.Size([2, 3, 4])
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(
                f"Unflatten: dim is an integer, got {type(dim).__name__}; named dimensions are "
                "not supported"
            )
        if not isinstance(unflattened_size, tuple | list) or not all(
            isinstance(n, int) for n in unflattened_size
        ):
            raise TypeError(
                f"Unflatten: unflattened_size is a tuple of integers, got {unflattened_size!r}"
            )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        if not -input.ndim <= self.dim < input.ndim:
            raise IndexError(f"Unflatten: dim {self.dim} is out of range for shape {input.shape}")
        dim = self.dim % input.ndim
        return input.reshape(*input.shape[:dim], *self.unflattened_size, *input.shape[dim + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
