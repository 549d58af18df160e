"""`torch.overrides`: no class overrides functions here."""

from collections.abc import Iterable
from typing import Any

import lucid


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    return False


def has_torch_function_unary(x: Any) -> bool:
    return False


def has_torch_function_variadic(*args: Any) -> bool:
    return False


def is_tensor_like(x: Any) -> bool:
    return isinstance(x, lucid.Tensor)
