"""How the answers refuse: functions that raise, and switches that hold a value.

Called by the files beside it.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn


def refused(name: str, why: str) -> Callable[..., Any]:
    """A function of that name which raises NotImplementedError when it is called."""

    def function(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{name}: {why}")

    function.__name__ = function.__qualname__ = name.rpartition(".")[2]
    return function


def no_cuda(name: str) -> Callable[..., Any]:
    """As `refused`, with the error that a PyTorch without CUDA raises."""

    def function(*args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError(
            f"{name}: Lucid runs on the CPU here; torch.cuda.is_available() is False"
        )

    function.__name__ = function.__qualname__ = name.rpartition(".")[2]
    return function


def refused_class(name: str, why: str) -> Any:
    """A class of that name, to inherit from and to ask `isinstance` about: making one raises."""

    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} is a {name}: {why}")

    return type(name.rpartition(".")[2], (), {"__init__": refuse, "__doc__": f"{name}: {why}."})


def no_cuda_class(name: str) -> Any:
    """A class to name in annotations and `isinstance`; making one raises as `no_cuda` does."""
    return type(name.rpartition(".")[2], (), {"__init__": no_cuda(name)})


class Namespace(ModuleType):
    """A module made of the given names."""

    def __init__(self, name: str, **members: Any):
        super().__init__(name)
        self.__dict__.update(members)
