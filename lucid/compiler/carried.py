"""What the functions of control flow return, checked alike in eager and in a trace.

func/control.py and compiler/control.py call these.
"""

from collections.abc import Sequence
from typing import Any

from lucid.apply import contiguous
from lucid.array import Array
from lucid.compiler.tree import flatten


def stepped(pair: Any, form: Any, carry: Sequence[Any]) -> tuple[list[Any], list[Any], Any]:
    """What combine_fn returned: the leaves of the carry, those of y, and y's form."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise RuntimeError(f"scan: combine_fn returns (carry, y), got a {type(pair).__name__}")
    after = alike("scan: combine_fn", pair[0], form, carry)
    ys, found = flatten(pair[1])
    tensors_only("scan: combine_fn", ys)
    return after, [y if y is None else y.contiguous() for y in ys], found


def alike(who: str, made: Any, form: Any, carry: Sequence[Any]) -> list[Any]:
    """The leaves of a new carry, row-major, which has the form and types of the old one."""
    leaves, found = flatten(made)
    if found != form:
        raise RuntimeError(f"{who} returns a carry that is another nest than the one it was given")
    after: list[Any] = []
    for i, (new, old) in enumerate(zip(leaves, carry, strict=True)):
        if isinstance(old, Array) != isinstance(new, Array):
            raise RuntimeError(
                f"{who} returns a {type(new).__name__} as leaf {i} of the carry, which was a "
                f"{type(old).__name__}"
            )
        if isinstance(new, Array):
            a, b = new._layout, old._layout
            if a.shape != b.shape or a.dtype is not b.dtype:
                raise RuntimeError(
                    f"{who} returns {a.dtype!r} of shape {a.shape} as leaf {i} of the carry, "
                    f"which was {b.dtype!r} of shape {b.shape}"
                )
        after.append(contiguous(new) if isinstance(new, Array) else new)
    return after


def tensors_only(who: str, leaves: Sequence[Any]) -> None:
    for y in leaves:
        if not isinstance(y, Array) and y is not None:
            raise RuntimeError(f"{who} returns a {type(y).__name__}; return tensors, or None")


def as_tuple(made: Any) -> Any:
    return tuple(made) if isinstance(made, list) else made if isinstance(made, tuple) else (made,)
