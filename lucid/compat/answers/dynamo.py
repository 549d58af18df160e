"""`torch._dynamo`: marks for PyTorch's compiler, inert for Lucid's.

Called by finder.py. What would compile or explain with it is not there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lucid.compat.answers.compiler import allow_in_graph as allow_in_graph
from lucid.compat.answers.compiler import assume_constant_result as assume_constant_result
from lucid.compat.answers.compiler import disable as disable
from lucid.compat.answers.compiler import is_compiling as is_compiling
from lucid.compat.answers.compiler import reset as reset


def mark_static(t: Any, index: Any = None) -> None:
    """Inert: Lucid's plans hold for the sizes they were made for."""


def mark_dynamic(t: Any, index: Any = None, **bounds: Any) -> None:
    """Inert, as `mark_static`."""


maybe_mark_dynamic = mark_dynamic


def mark_static_address(t: Any, guard: bool = True) -> None:
    """Inert: a plan takes the address of each call."""


def is_compile_supported(device_type: Any) -> bool:
    """Of `torch._dynamo.utils`: whether this compiler can be used; Lucid's is `torch.compile`."""
    return False


@contextmanager
def TransformGetItemToIndex() -> Iterator[None]:
    """Inert: under vmap, an index that is a tensor is an index here already."""
    yield
