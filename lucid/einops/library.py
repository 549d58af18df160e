"""Lucid's tensors in the library einops, for those who have it: `einops.rearrange(x, ...)`.

Called by lazy.py's `after_import` once einops is loaded. einops asks every backend that it knows of
whether a tensor is its own; this is one more of them.
"""

import importlib
from typing import Any

import lucid

registered: list[type] = []  # einops itself only has weak references to it


def register() -> None:
    """Make Lucid known to einops."""
    base: Any = importlib.import_module("einops._backends").AbstractBackend
    if registered:
        return

    class Backend(base):
        framework_name = "lucid"

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, lucid.Tensor)

        def from_numpy(self, x: Any) -> Any:
            return lucid.from_numpy(x)

        def to_numpy(self, x: Any) -> Any:
            return x.detach().numpy()

        def arange(self, start: int, stop: int) -> Any:
            return lucid.arange(start, stop)

        def transpose(self, x: Any, axes: Any) -> Any:
            return x.permute(tuple(axes))

        def reduce(self, x: Any, operation: str, axes: Any) -> Any:
            if operation in ("max", "min"):
                return getattr(x, f"a{operation}")(tuple(axes))
            if operation in ("sum", "mean"):
                return getattr(x, operation)(tuple(axes))
            for axis in sorted(axes, reverse=True):
                x = getattr(x, operation)(axis)
            return x

        def stack_on_zeroth_dimension(self, tensors: list) -> Any:
            return lucid.stack(tensors)

        def add_axis(self, x: Any, new_position: int) -> Any:
            return x.unsqueeze(new_position)

        def add_axes(self, x: Any, n_axes: int, pos2len: dict[int, int]) -> Any:
            sizes = [-1] * n_axes
            for place, size in pos2len.items():
                x = x.unsqueeze(place)
                sizes[place] = size
            return x.expand(sizes)

        def tile(self, x: Any, repeats: Any) -> Any:
            return x.tile(tuple(repeats))

        def concat(self, tensors: list, axis: int) -> Any:
            return lucid.cat(tensors, axis)

        def is_float_type(self, x: Any) -> bool:
            return bool(x.is_floating_point())

        def einsum(self, pattern: str, *x: Any) -> Any:
            return lucid.einsum(pattern, *x)

    registered.append(Backend)
