"""Parameter and Buffer: the two kinds of tensor that a Module keeps as its own.

Called by module.py, which registers them on assignment, and by every layer's `__init__`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import lucid


class Parameter(lucid.Tensor):
    """A tensor that a Module counts among its parameters when it is assigned as an attribute.

    It shares the storage of `data`, is a leaf, and requires a gradient unless told otherwise; the
    grad mode does not matter. Results of operations on it are ordinary tensors.

    Raises TypeError where `data` is not a tensor.

    >>> import lucid
    >>> w = lucid.nn.Parameter(lucid.zeros(2, 3))
    >>> w.requires_grad, w.is_leaf, type(w + 1) is lucid.Tensor
    (True, True, True)
    """

    def __new__(cls, data: lucid.Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = lucid.empty(0)
        _check_tensor(cls, data)
        return lucid.Tensor._make_subclass(cls, data, requires_grad)

    def __init__(self, data: lucid.Tensor | None = None, requires_grad: bool = True) -> None:
        pass  # all is done in __new__; a tensor has no constructor of its own to run

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        copy = type(self)(self.detach().clone(), self.requires_grad)
        memo[id(self)] = copy
        copy.__dict__.update(_copied_attributes(self, memo))
        return copy

    def __repr__(self) -> str:  # type: ignore[override]
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol: Any) -> tuple:
        # Hooks stay behind, as a function rarely pickles; attributes set by the user travel.
        return _rebuild_parameter, (
            type(self),
            self.detach(),
            self.requires_grad,
            _own_attributes(self),
        )


class Buffer(lucid.Tensor):
    """A tensor that a Module registers as a buffer when it is assigned as an attribute.

    It shares the storage of `data` and requires no gradient; `persistent=False` keeps it out of
    `state_dict()`.

    >>> import lucid
    >>> m = lucid.nn.Module()
    >>> m.total = lucid.nn.Buffer(lucid.zeros(3))
    >>> list(m.state_dict())
    ['total']
    """

    persistent: bool

    def __new__(cls, data: lucid.Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = lucid.empty(0)
        _check_tensor(cls, data)
        buffer = lucid.Tensor._make_subclass(cls, data, data.requires_grad)
        buffer.persistent = persistent
        return buffer

    def __init__(self, data: lucid.Tensor | None = None, *, persistent: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) in memo:
            return memo[id(self)]
        copy = type(self)(self.detach().clone(), persistent=self.persistent)
        copy.requires_grad_(self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return _rebuild_buffer, (type(self), self.detach(), self.persistent)


def _check_tensor(cls: type, data: object) -> None:
    if not isinstance(data, lucid.Tensor):
        raise TypeError(
            f"{cls.__name__}: expected a tensor as data, got {type(data).__name__}; "
            "lucid.tensor(data) makes one"
        )


def _own_attributes(tensor: Any) -> dict[str, Any]:
    """What the user set on the tensor (`p.no_decay = True`), the framework's own names left out."""
    return {k: v for k, v in tensor.__dict__.items() if not k.startswith("_") and k != "grad"}


def _copied_attributes(tensor: Any, memo: dict[int, Any]) -> dict[str, Any]:
    return {k: deepcopy(v, memo) for k, v in _own_attributes(tensor).items()}


def _rebuild_parameter(
    cls: type, data: lucid.Tensor, requires_grad: bool, attributes: dict[str, Any]
) -> Parameter:
    parameter = cls(data, requires_grad)
    parameter.__dict__.update(attributes)
    return parameter


def _rebuild_buffer(cls: type, data: lucid.Tensor, persistent: bool) -> Buffer:
    return cls(data, persistent=persistent)
