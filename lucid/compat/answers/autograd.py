"""`torch.autograd`: Variable, which is a tensor now, and anomaly detection's switches."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lucid


@contextmanager
def set_multithreading_enabled(mode: bool) -> Iterator[None]:
    """Inert: a backward pass runs in the thread that asks for it."""
    yield


class _VariableType(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, lucid.Tensor)


class Variable(metaclass=_VariableType):
    """`Variable(x)` is x: every tensor is one since 0.4. `volatile=True` raises."""

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool = False) -> Any:
        if volatile:
            raise NotImplementedError("Variable: volatile=True is not supported; use no_grad()")
        x = lucid.empty(0) if data is None else data
        if requires_grad and not x.requires_grad:
            x = x.detach().requires_grad_()
        return x
