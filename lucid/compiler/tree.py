"""Nests of tuples, lists, dicts and dataclasses, taken apart into leaves and put together again.

What a compiled function takes and returns. `flatten` gives the leaves and a `Form`, which can be
compared: two arguments have the same form if their nests differ in the leaves only.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from lucid.array import Array

Form = tuple  # (class, names or number, forms of the items); LEAF for a leaf
LEAF: Form = ("leaf",)


def flatten(tree: Any) -> tuple[list[Any], Form]:
    """The leaves in order, and the form."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Form:
    if isinstance(tree, Array):  # the first, as it is the usual one
        leaves.append(tree)
        return LEAF
    kind = type(tree)
    if kind is tuple or kind is list or _is_plain_tuple(tree):
        return (kind, len(tree), *[_flatten(item, leaves) for item in tree])
    if isinstance(tree, dict):
        return (kind, tuple(tree), *[_flatten(item, leaves) for item in tree.values()])
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = tuple(field.name for field in dataclasses.fields(tree))
        return (kind, names, *[_flatten(getattr(tree, name), leaves) for name in names])
    leaves.append(tree)
    return LEAF


def _is_plain_tuple(tree: Any) -> bool:
    """A tuple of a class of its own, with or without names, that has its items and no more."""
    return isinstance(tree, tuple) and not getattr(tree, "__dict__", None)


def unflatten(form: Form, leaves: Sequence[Any]) -> Any:
    """The nest of this form with these leaves."""
    return _unflatten(form, iter(leaves))


def _unflatten(form: Form, leaves: Iterator[Any]) -> Any:
    if form is LEAF or form == LEAF:
        return next(leaves)
    kind, names, *items = form
    made = [_unflatten(item, leaves) for item in items]
    if kind is tuple or kind is list:
        return kind(made)
    if issubclass(kind, tuple):
        return tuple.__new__(kind, made)
    if issubclass(kind, dict):
        filled = kind() if kind in (dict,) else _empty(kind)
        filled.update(zip(names, made, strict=True))
        return filled
    copy = object.__new__(kind)
    for name, value in zip(names, made, strict=True):
        object.__setattr__(copy, name, value)
    return copy


def _empty(kind: type) -> Any:
    try:
        return kind()
    except TypeError:
        raise TypeError(
            f"compile: {kind.__name__} cannot be made without arguments; use a dict"
        ) from None


def names_of(args: tuple, kwargs: dict) -> list[str]:
    """What the leaves of a call's arguments are called in reports."""
    found: list[str] = []
    for name, x in [*((f"argument {i}", x) for i, x in enumerate(args)), *kwargs.items()]:
        leaves, _ = flatten(x)
        many = len(leaves) > 1
        found += [f"{name}, leaf {j}" if many else str(name) for j in range(len(leaves))]
    return found
