"""The forms of an op that users call: function with `out=`, in-place method, composed ones.

ops/methods.py makes the public functions and the methods of Tensor with them.
"""

import functools
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from lucid.apply import apply
from lucid.array import Array
from lucid.op import Op
from lucid.ops.elementwise import assign, mul
from lucid.write import before, write
from lucid.write import out as write_out


def function_of(record: type[Op]) -> Callable:
    """The public function of an elementwise record, with `out=`."""
    arity, usual = len(record.inputs), record.usual

    def function(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            if not kwargs and len(args) == arity and usual is not None:
                return apply(record, args, usual)
            return record(*args, **kwargs)
        return write_out(record, out, *record.bind(args, kwargs))

    function.__name__ = function.__qualname__ = record.name
    function.__module__, function.__doc__ = record.__module__, record.__doc__
    function.record = record  # type: ignore[attr-defined]
    return function


def in_place_of(record: type[Op]) -> Callable:
    """The method `name_` of an elementwise record."""

    arity, usual = len(record.inputs) - 1, record.usual

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not kwargs and len(args) == arity and usual is not None:
            return write(record, self, (self, *args), usual)
        return write(record, self, *record.bind((self, *args), kwargs))

    method.__name__ = method.__qualname__ = f"{record.name}_"
    method.__doc__ = f"In place: {record.__doc__}"
    method.of = record  # type: ignore[attr-defined]
    return method


def with_out(function: Callable) -> Callable:
    """A composed function with `out=`: computed, then written. Its first argument may be called
    `input`, as PyTorch calls it."""

    @functools.wraps(function)
    def wrapped(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        y = function(*args, **kwargs)
        if out is None:
            return y
        if isinstance(y, tuple):
            pairs = zip(out, y, strict=True)
            return tuple(write_out(assign, o, (v,), (), wrapped.__name__) for o, v in pairs)
        return write_out(assign, out, (y,), (), wrapped.__name__)

    return wrapped


def put_out(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Give the functions of these names, in a module or table, `out=`."""
    for name in names:
        function = namespace[name]
        if isinstance(function, FunctionType) and not hasattr(function, "record"):
            namespace[name] = with_out(function)


def composed_in_place(name: str, function: Callable) -> Callable:
    """An in-place form that computes and then writes."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Other arguments may show the bytes that are overwritten, too.
        given = [_apart(x, self) for x in args]
        named = {key: _apart(x, self) for key, x in kwargs.items()}
        y = function(before(self), *given, **named)
        if y.dtype.category > self.dtype.category:
            raise RuntimeError(
                f"{name}_: the result is {y.dtype!r}, which cannot be written into {self.dtype!r}"
            )
        return write(assign, self, (y,), name=f"{name}_")

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"In place: {function.__doc__}"
    method.of = function  # type: ignore[attr-defined]
    return method


def _apart(x: Any, target: Any) -> Any:
    shares = isinstance(x, Array) and x._storage is target._storage
    return before(x) if shares else x


def scaled_in_place(record: type[Op]) -> Callable:
    def method(self: Any, other: Any, *, alpha: Any = 1) -> Any:
        return write(record, self, (self, other if alpha == 1 else mul(other, alpha)))

    method.__name__ = method.__qualname__ = f"{record.name}_"
    method.__doc__ = f"In place, `alpha` scales the second: {record.__doc__}"
    return method


def restride(name: str, function: Callable) -> Callable:
    """squeeze_ and its relatives: the same tensor object with another layout."""

    def method(self: Any, *args: Any) -> Any:
        if self._requires_grad or self._base is not None:
            raise RuntimeError(f"{name}_: not for a view or a tensor with a history; use {name}()")
        y = function(self, *args)
        self._layout, self._offset, self._ptr = y._layout, y._offset, y._ptr
        return self

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"In place: {function.__doc__}"
    method.of = function  # type: ignore[attr-defined]
    return method
