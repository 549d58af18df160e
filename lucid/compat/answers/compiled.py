"""`torch.compile`: a module stays a module; what cannot be traced runs op by op, after a warning.

Called by root.py. `lucid.compile` itself raises instead.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import lucid
from lucid import nn
from lucid.error import TraceError


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: dict | None = None,
    disable: bool = False,
) -> Any:
    """`lucid.compile`; with `fullgraph=False` what it cannot trace runs op by op, after a warning.

    `dynamic`, `mode` and `options` choose between ways of PyTorch's compiler to the same result;
    `backend="eager"` and `disable` compile nothing, other backends than "inductor" raise.
    """
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode,
            options=options, disable=disable,
        )  # fmt: skip
    if backend not in ("inductor", "eager", "aot_eager"):
        raise NotImplementedError(f"torch.compile: backend={backend!r}: Lucid has its own only")
    off = disable or backend != "inductor"
    if isinstance(model, nn.Module):
        return OptimizedModule(model, fullgraph, off)
    return functools.wraps(model)(model if off else _Attempt(model, fullgraph))


class _Attempt:
    """A compiled function, or the function itself from the first call on that cannot be traced."""

    def __init__(self, function: Callable, fullgraph: bool):
        self.function = function
        self.compiled = lucid.compile(function)
        self.fullgraph = fullgraph

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.compiled(*args, **kwargs)
        except TraceError as error:  # which leaves everything as it was
            if self.fullgraph or self.compiled is self.function:
                raise
            warnings.warn(f"torch.compile: runs op by op, since {error}", stacklevel=2)
            self.compiled = self.function
            return self.function(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)


class OptimizedModule(nn.Module):
    """A compiled module, which PyTorch keeps under the name `_orig_mod`."""

    def __init__(self, module: nn.Module, fullgraph: bool, off: bool) -> None:
        super().__init__()
        self._orig_mod = module
        self.training = module.training
        self.__dict__["_attempt"] = module if off else _Attempt(module, fullgraph)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__["_attempt"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)
