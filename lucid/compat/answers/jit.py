"""`torch.jit`: markers are inert, since Lucid runs Python as it is; saving programs raises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Optional

from lucid import nn
from lucid.compat.answers.refuse import refused

__all__ = ["Final", "List", "Optional"]

_WHY = "Lucid has no TorchScript; run the module as it is"
ScriptModule = nn.Module
RecursiveScriptModule = nn.Module

List = list
BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = (
    list  # in annotations: BroadcastingList2[int]
)


def is_scripting() -> bool:
    return False


def is_tracing() -> bool:
    return False


def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
    """The function or module as it is: it computes the same."""
    return obj


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function as it is; also as `@ignore(drop=True)`."""
    return drop if callable(drop) else lambda function: function


def unused(fn: Callable) -> Callable:
    return fn


def export(fn: Callable) -> Callable:
    return fn


def script_if_tracing(fn: Callable) -> Callable:
    return fn


_script_if_tracing = script_if_tracing  # the name before 1.7


def interface(obj: type) -> type:
    return obj


def _overload(fn: Callable) -> Callable:
    return fn


_overload_method = _overload


def script_method(fn: Callable) -> Callable:
    return fn


def annotate(the_type: Any, the_value: Any) -> Any:
    return the_value


def freeze(mod: Any, *args: Any, **kwargs: Any) -> Any:
    return mod


def optimize_for_inference(mod: Any, *args: Any, **kwargs: Any) -> Any:
    return mod


@contextmanager
def optimized_execution(should_optimize: bool) -> Iterator[None]:
    yield


@contextmanager
def fuser(name: str) -> Iterator[None]:
    yield


def set_fusion_strategy(strategy: Any) -> None:
    """Inert: Lucid fuses by rules of its own."""


class Attribute:
    """A value with a type, for TorchScript."""

    def __init__(self, value: Any, type: Any):
        self.value = value
        self.type = type


trace = refused("torch.jit.trace", _WHY)
trace_module = refused("torch.jit.trace_module", _WHY)
save = refused("torch.jit.save", _WHY + "; save its state_dict()")
load = refused("torch.jit.load", _WHY + "; load a state_dict()")
fork = refused("torch.jit.fork", _WHY)
wait = refused("torch.jit.wait", _WHY)
