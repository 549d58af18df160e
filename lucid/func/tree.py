"""Nests of tuples, lists and dicts: their leaves, and nests like them of other leaves.

Called by the other files of func/, whose functions take and return such nests of tensors.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lucid.array import Array
from lucid.dtypes import FLOATING


def parts_of(value: Any) -> list | None:
    """What a tuple, list or dict consists of; None for anything else."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (tuple, list)) else None


def leaves_of(value: Any) -> list[Any]:
    """Everything in a nest that is no tuple, list or dict."""
    parts = parts_of(value)
    return [value] if parts is None else [leaf for part in parts for leaf in leaves_of(part)]


def rebuilt(value: Any, leaves: Iterator[Any]) -> Any:
    """A nest like value, of the next leaves."""
    if isinstance(value, dict):
        made = [(k, rebuilt(v, leaves)) for k, v in value.items()]
        return type(value)(made) if type(value) is not dict else dict(made)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(rebuilt(v, leaves) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(rebuilt(v, leaves) for v in value)
    return next(leaves)


def like(value: Any, leaves: Iterable[Any]) -> Any:
    """A nest like value, of these leaves."""
    return rebuilt(value, iter(leaves))


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """A nest like value, of what the function makes of its leaves."""
    return like(value, [function(leaf) for leaf in leaves_of(value)])


def tensors_of(called: str, what: str, value: Any, differentiable: bool = True) -> list[Any]:
    """The leaves of a nest, which must be tensors that have gradients."""
    found = leaves_of(value)
    if not found:
        raise RuntimeError(f"{called}: {what} is an empty nest, tensors are needed")
    for leaf in found:
        if not isinstance(leaf, Array):
            raise TypeError(f"{called}: {what} holds a {type(leaf).__name__}, tensors are needed")
        if differentiable and leaf._layout.dtype.category < FLOATING:
            raise RuntimeError(
                f"{called}: {what} holds a tensor of {leaf._layout.dtype!r}; only floating and "
                "complex tensors have derivatives"
            )
    return found


def same_nest(called: str, what: str, value: Any, pattern: Any) -> None:
    """Raises where two nests of tensors differ in structure or shapes."""
    if shape_of(value) != shape_of(pattern):
        raise RuntimeError(
            f"{called}: {what} are {shape_of(value)}, they must match {shape_of(pattern)}"
        )


def shape_of(value: Any) -> Any:
    """The nest of shapes of a nest of tensors, for comparing and for messages."""
    if isinstance(value, dict):
        return {k: shape_of(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [shape_of(v) for v in value]
    return tuple(value._layout.shape) if isinstance(value, Array) else type(value).__name__


def chosen(called: str, argnums: Any, count: int) -> tuple[int, ...]:
    """The positions that argnums names, among `count` arguments, counted from either end."""
    listed = argnums if isinstance(argnums, tuple) else (argnums,)
    if not listed or any(isinstance(i, bool) or not isinstance(i, int) for i in listed):
        raise TypeError(f"{called}: argnums must be an int or a tuple of ints, got {argnums!r}")
    for i in listed:
        if not -count <= i < count:
            raise RuntimeError(
                f"{called}: argnums has {i}, the function was called with {count} positional "
                "arguments"
            )
    found = tuple(i % count for i in listed)
    if len(set(found)) != len(found):
        raise ValueError(f"{called}: argnums {argnums} names an argument twice")
    return found


def with_aux(called: str, made: Any) -> tuple[Any, Any]:
    """The two results of a function that says it has an auxiliary one."""
    if not isinstance(made, tuple) or len(made) != 2:
        raise RuntimeError(
            f"{called}: with has_aux=True the function must return a tuple (output, aux), got "
            f"{type(made).__name__}"
        )
    return made
