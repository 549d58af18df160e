"""`torch.library`, `torch.ops`, `torch._custom_ops`: ops that libraries register in Python.

Called by finder.py. `torch.ops.space.name` runs the function that was registered for the CPU, with
the backward that was registered. Shapes for PyTorch's tracers are never asked for; ops in C++ are
not there.
"""

import inspect
from collections.abc import Callable
from typing import Any

import lucid
from lucid.autograd import Function
from lucid.compat.answers.refuse import Namespace, refused

_WHY = "Lucid has no ops in C++; write the op as an autograd.Function"
_HERE = ("cpu", "compositeexplicitautograd", "compositeimplicitautograd")


class CustomOp:
    """`torch.ops.space.name`: functions in Python, and where there is one, their derivative."""

    def __init__(self, name: str):
        self._qualname = name
        self._function: Callable[..., Any] | None = None
        self._implicit = False  # made of differentiable ops
        self._backward: Callable[..., Any] | None = None
        self._setup: Callable[..., Any] | None = None

    @property
    def default(self) -> "CustomOp":
        """PyTorch's name of the form without overloads."""
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = self._function
        if function is None:
            raise NotImplementedError(f"torch.ops.{self._qualname}: no kernel for the CPU; {_WHY}")
        if self._implicit:
            return function(*args, **kwargs)
        if self._backward is None:
            with lucid.no_grad():
                return function(*args, **kwargs)
        if kwargs:  # a Function takes what it is given by place
            given = inspect.signature(function).bind(*args, **kwargs)
            given.apply_defaults()
            args = tuple(given.arguments.values())
        return self._differentiable(function).apply(*args)

    def _differentiable(self, function: Callable[..., Any]) -> Any:
        setup, backward = self._setup, self._backward

        class Made(Function):
            @staticmethod
            def forward(*args: Any) -> Any:
                return function(*args)

            @staticmethod
            def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
                if setup is not None:
                    setup(ctx, inputs, output)

            @staticmethod
            def backward(ctx: Any, *grads: Any) -> Any:
                return backward(ctx, *grads)  # type: ignore[misc]

        Made.__name__ = self._qualname.rpartition("::")[2]
        return Made

    def register_fake(self, function: Any) -> Any:
        """Inert: Lucid's own tracer runs the op itself."""
        return function

    register_vmap = register_torch_dispatch = register_fake

    def register_kernel(self, device_types: Any, function: Any = None) -> Any:
        """The function for these devices; those that are not here are never called."""

        def register(function: Any) -> Any:
            kinds = [device_types] if isinstance(device_types, str) else device_types
            if kinds is None or "cpu" in kinds:
                self._function = function
            return function

        return register if function is None else register(function)

    def register_autograd(self, backward: Any, /, *, setup_context: Any = None) -> None:
        self._backward, self._setup = backward, setup_context


_ops: dict[str, CustomOp] = {}


def _op(name: Any) -> CustomOp:
    return name if isinstance(name, CustomOp) else _ops.setdefault(name, CustomOp(name))


def custom_op(
    name: str, fn: Any = None, /, *, mutates_args: Any, device_types: Any = None,
    schema: Any = None, tags: Any = None,
) -> Any:  # fmt: skip
    """Register a function as `torch.ops.space.name`; also as a decorator."""

    def register(function: Any) -> CustomOp:
        op = _op(name)
        op.register_kernel(device_types, function)
        return op

    return register if fn is None else register(fn)


def register_fake(op: Any, func: Any = None, /, **options: Any) -> Any:
    """Inert: Lucid's own tracer runs the op itself."""
    return func if func is not None else lambda function: function


impl_abstract = register_vmap = register_torch_dispatch = register_fake


def register_kernel(op: Any, device_types: Any, func: Any = None, /, **options: Any) -> Any:
    return _op(op).register_kernel(device_types, func)


def register_autograd(
    op: Any, backward: Any, /, *, setup_context: Any = None, lib: Any = None
) -> None:
    _op(op).register_autograd(backward, setup_context=setup_context)


def define(qualname: str, schema: Any, *, lib: Any = None, tags: Any = ()) -> None:
    """An op whose kernels follow by `impl`."""
    _op(qualname)


def impl(qualname: Any, types: Any = None, func: Any = None, *, lib: Any = None) -> Any:
    """The kernel for a device or of a kind; those for what is not here are never called."""

    def register(function: Any) -> Any:
        kinds = [types] if isinstance(types, str) else types or ["cpu"]
        found = [kind.lower() for kind in kinds if kind.lower() in _HERE]
        if found:
            op = _op(qualname)
            op._function, op._implicit = function, found == ["compositeimplicitautograd"]
        return function

    return register if func is None else register(func)


class Library:
    """The ops of one space."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = ""):
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        name = schema.partition("(")[0]
        define(f"{self.ns}::{name}", schema)
        return name

    def impl(self, op_name: Any, fn: Any, dispatch_key: str = "", **options: Any) -> None:
        impl(f"{self.ns}::{op_name}", dispatch_key or self.dispatch_key or "cpu", fn)

    def fallback(self, fn: Any, dispatch_key: str = "", **options: Any) -> None:
        """Inert: nothing is dispatched."""


def _load_library(path: Any) -> None:
    raise OSError(f"torch.ops.load_library: {path} is C++; {_WHY}")


class _Ops(Namespace):
    """`torch.ops`: what was registered, which `hasattr` tells."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _OpsOf(f"torch.ops.{name}")


class _OpsOf(Namespace):
    def __getattr__(self, name: str) -> Any:
        found = _ops.get(f"{self.__name__.removeprefix('torch.ops.')}::{name}")
        if found is None:
            raise AttributeError(f"{self.__name__}.{name} is not there: {_WHY}")
        return found


ops = _Ops("torch.ops", load_library=_load_library, loaded_libraries=frozenset())
classes = Namespace("torch.classes")
triton_op = refused("torch.library.triton_op", _WHY)
wrap_triton = refused("torch.library.wrap_triton", _WHY)
opcheck = refused("torch.library.opcheck", _WHY)
get_ctx = refused("torch.library.get_ctx", _WHY)
