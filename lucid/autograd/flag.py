"""The grad mode itself: one context variable, how it is read, written and left out of order.

`hold.py` and `mode.py` write it; `apply.py` reads it on every op, through `grad_state`.
"""

import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

from lucid.config import settings
from lucid.lines import user_line, warn

# (are gradients on, the state outside this block, who opened the block). States are immutable and
# linked, and blocks own no state: that is why one instance of `no_grad` can be open many times,
# in many threads, and why a copied context keeps its mode when the original moves on.
State: TypeAlias = "tuple[bool, State | None, object]"

ROOT: State = (True, None, None)

_STATE: ContextVar[State] = ContextVar("lucid_grad_mode", default=ROOT)

read: Callable[[], State]
write: Callable[[State], object]


# --- Reading and writing --------------------------------------------------------------------------


class _Thread(threading.local):
    """An object that only this thread has; never reused, as thread idents are."""

    def __init__(self) -> None:
        self.token = object()


def _thread_bound() -> tuple[Callable[[], State], Callable[[State], object]]:
    """Read and write for Pythons whose new threads inherit the context of their creator.

    A new thread has to start with gradients on, so a state counts only in the thread that wrote
    it. Such are the free-threaded builds from 3.14 on, and -X thread_inherit_context=1.
    """
    thread = _Thread()
    foreign: tuple[object, State] = (None, ROOT)
    held: ContextVar[tuple[object, State]] = ContextVar("lucid_grad_mode", default=foreign)
    get, put = held.get, held.set

    def read() -> State:
        token, state = get()
        return state if token is thread.token else ROOT

    def write(state: State) -> object:
        return put((thread.token, state))

    return read, write


def _traced(state: State) -> None:
    """`write` under LUCID_TRACE_GRAD_MODE=1: print each change with the user's line."""
    before = read()[0]
    _untraced(state)
    if state[0] is not before:
        change = "on -> off" if before else "off -> on"
        print(f"lucid: gradients {change} at {user_line()}", file=sys.stderr)


# Chosen once, at import: entering and leaving a block has no time for asking.
if getattr(sys.flags, "thread_inherit_context", 0):
    read, _untraced = _thread_bound()
else:
    read, _untraced = _STATE.get, _STATE.set
write = _traced if settings.trace_grad_mode else _untraced


def plain_variable() -> ContextVar[State] | None:
    """The variable, if reading it reads the mode and setting it is all that `write` does."""
    return _STATE if write == _STATE.set else None


# What the funnel inlines: `if grad_state()[0]:` is one call into C and an index, 0.03 us.
grad_state: Callable[[], State] = read


def is_grad_enabled() -> bool:
    """Whether operations are being recorded for gradients here and now.

    The mode belongs to the running context: each thread and each asyncio task has its own.

    >>> is_grad_enabled()
    True
    """
    return read()[0]


# --- Leaving out of order -------------------------------------------------------------------------


class _Outlived:
    """Stands in a state for an opener whose enclosing block was closed before its own."""

    __slots__ = ("opener", "line")

    def __init__(self, opener: object, line: str):
        self.opener = opener
        self.line = line


def close(opener: Any) -> None:
    """Leave the block of `opener`, which is not the innermost one: take it out of the chain.

    The mode stays what the innermost open block says, and is right once all are closed. The
    warning comes when the block that outlived the other ends, for then both lines are known
    without having been noted on entry.
    """
    outlived: list[State] = []
    state: State | None = read()
    while state is not None and not _is_opened_by(state, opener):
        outlived.append(state)
        state = state[1]
    line = user_line()
    if state is None or state[1] is None:
        warn(
            f"grad mode: the {_name(opener)} block that ends at {line} is not open in this "
            "thread or task, where the mode stays as it is; leave a block where it was entered",
            RuntimeWarning,
        )
        return
    inner: State = state[1]
    for enabled, _, owner in reversed(outlived):
        if not isinstance(owner, _Outlived):
            owner = _Outlived(owner, line)
        inner = (enabled, inner, owner)
    write(inner)
    if isinstance(state[2], _Outlived):
        warn(
            f"grad mode: blocks were left out of order: one that was entered earlier was left at "
            f"{state[2].line}, before the {_name(opener)} block that ends at {line}; the mode is "
            f"now {'on' if inner[0] else 'off'}, as the blocks still open say",
            RuntimeWarning,
        )


def _is_opened_by(state: State, opener: object) -> bool:
    owner = state[2]
    return (owner.opener if isinstance(owner, _Outlived) else owner) is opener


def _name(opener: object) -> str:
    return str(getattr(opener, "__qualname__", type(opener).__name__))
