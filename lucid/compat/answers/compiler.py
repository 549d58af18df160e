"""`torch.compiler`: what programs mark for PyTorch's compiler; inert for Lucid's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def is_compiling() -> bool:
    return False


def is_dynamo_compiling() -> bool:
    return False


def is_exporting() -> bool:
    return False


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: Any = None) -> Any:
    """The function as it is."""
    return fn if fn is not None else lambda function: function


def allow_in_graph(fn: Any) -> Any:
    return fn


def assume_constant_result(fn: Any) -> Any:
    return fn


def reset() -> None:
    """Inert: Lucid's plans depend on what they are given alone."""


def cudagraph_mark_step_begin() -> None:
    """Inert without CUDA."""


@contextmanager
def set_stance(*args: Any, **kwargs: Any) -> Iterator[None]:
    """Inert: Lucid compiles what it is asked to."""
    yield
