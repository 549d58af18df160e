"""`torch.library`, `torch.ops`, `torch._custom_ops`: ops in C++ and their registration.

Called by finder.py. Registering what PyTorch's tracers and dispatchers would ask is inert, since
Lucid has neither; loading a library or calling an op of one raises.
"""

from collections.abc import Callable
from typing import Any

from lucid.compat.answers.refuse import Namespace, refused

_WHY = "Lucid has no ops in C++; write the op as an autograd.Function"


def _marker(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    return lambda function: function


register_fake = impl_abstract = register_kernel = register_vmap = register_torch_dispatch = _marker
custom_op = refused("torch.library.custom_op", _WHY)
triton_op = refused("torch.library.triton_op", _WHY)
wrap_triton = refused("torch.library.wrap_triton", _WHY)
opcheck = refused("torch.library.opcheck", _WHY)
get_ctx = refused("torch.library.get_ctx", _WHY)


def register_autograd(
    op: Any, backward: Any, /, *, setup_context: Any = None, lib: Any = None
) -> None:
    """Inert: the op cannot be called."""


def define(qualname: str, schema: Any, *, lib: Any = None, tags: Any = ()) -> None:
    """Inert: an op without kernels."""


def impl(qualname: Any, types: Any = None, func: Any = None, *, lib: Any = None) -> Any:
    """Inert: the function as it is."""
    return func if func is not None else lambda function: function


class Library:
    """A set of ops' names; what is registered in it is never asked for."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = ""):
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        return schema.partition("(")[0]

    def impl(self, op_name: Any, fn: Any, dispatch_key: str = "", **options: Any) -> None:
        """Inert."""

    def fallback(self, fn: Any, dispatch_key: str = "", **options: Any) -> None:
        """Inert."""


def _load_library(path: Any) -> None:
    raise OSError(f"torch.ops.load_library: {path} is C++; {_WHY}")


class _Ops(Namespace):
    """`torch.ops`: no library's ops are there, which `hasattr` tells."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _OpsOf(f"torch.ops.{name}")


class _OpsOf(Namespace):
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.__name__}.{name} is not there: {_WHY}")


ops = _Ops("torch.ops", load_library=_load_library, loaded_libraries=frozenset())
classes = Namespace("torch.classes")
