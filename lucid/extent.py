"""Numbers that know where they come from, as far as Lucid below the compiler deals with them.

compiler/extents.py has their arithmetic, compiler/journal.py what is asked of them. `x.shape` has
them while `lucid.compile` traces for several sizes; ops take the numbers out with `plain`.
"""

from collections.abc import Callable
from typing import Any


class Extent:
    """A number with its value in this trace, and the form that gives it in others."""

    __slots__ = ("journal", "form", "value")

    journal: Any
    form: Any
    value: Any


def whole(n: Any) -> Any:
    """n.__index__(), but for an extent, which stays one."""
    return n if isinstance(n, Extent) and type(n.value) is int else n.__index__()


def has_extent(x: Any) -> bool:
    """Whether it is one, or a nest of tuples, lists and slices that holds one."""
    if isinstance(x, Extent):
        return True
    if isinstance(x, (tuple, list)):
        return any([has_extent(y) for y in x])
    return type(x) is slice and has_extent((x.start, x.stop, x.step))


def plain(x: Any) -> Any:
    """The same nest with the numbers of this trace, without a note of it."""
    return x if not has_extent(x) else mapped(x, lambda e: e.value)


def mapped(x: Any, change: Callable[[Extent], Any]) -> Any:
    """The nest with `change` of each extent."""
    if isinstance(x, Extent):
        return change(x)
    if isinstance(x, (tuple, list)):
        return alike(x, [mapped(y, change) for y in x])
    if type(x) is slice:
        return slice(*[mapped(y, change) for y in (x.start, x.stop, x.step)])
    return x


def alike(x: Any, items: list[Any]) -> Any:
    """A sequence of the kind of x."""
    return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
