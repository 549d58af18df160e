"""`torch._C`: the few names of PyTorch's C++ part that libraries touch while they are imported.

Called by finder.py. There is no dispatcher: its keys are names, its guards change nothing.
"""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lucid.compat.answers.library import _WHY
from lucid.compat.answers.refuse import refused_class


class DispatchKey(enum.Enum):
    """Names of PyTorch's kinds of kernels."""

    CPU = enum.auto()
    CUDA = enum.auto()
    XPU = enum.auto()
    Meta = enum.auto()
    Autograd = enum.auto()
    AutocastCPU = enum.auto()
    AutocastCUDA = enum.auto()
    AutocastXPU = enum.auto()


class DispatchKeySet(frozenset):
    """A set of them."""

    def __new__(cls, keys: Any = ()) -> "DispatchKeySet":
        return super().__new__(cls, (keys,) if isinstance(keys, DispatchKey) else keys)


@contextmanager
def _ExcludeDispatchKeyGuard(keys: Any) -> Iterator[None]:
    """Inert: no kernel is chosen by key."""
    yield


@contextmanager
def DisableTorchFunctionSubclass() -> Iterator[None]:
    """Inert: no class overrides functions here."""
    yield


DisableTorchFunction = DisableTorchFunctionSubclass
Graph = refused_class("torch._C.Graph", _WHY)
Value = refused_class("torch._C.Value", _WHY)


def _log_api_usage_once(event: str) -> None:
    """Inert: nothing is counted."""
