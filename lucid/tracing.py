"""What a call of the funnel asks for first: which trace is going on in this context, whether a
whole program is being traced anywhere, and whether autocast is on.

apply.py, write.py and whatever reads bytes or `.grad` ask here; compiler/ traces programs, amp/
casts.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

tracer: ContextVar[Any] = ContextVar("lucid_tracer", default=None)
tracing = tracer.get

# Whole programs that are being traced now, in any thread. While there are any, no call takes the
# native way: it would run on what is a promise.
_programs = 0
_counting = threading.Lock()
diverted: list[Callable[[], None]] = []  # called when a program's trace begins and when it ends
# What autocast is to do here (amp/state.py), which has `cast(op, inputs) -> inputs`. It is None in
# the trace of one op and in backward passes: what they belong to has decided on their types.
casting: ContextVar[Any] = ContextVar("lucid_autocast", default=None)
_castings = 0  # blocks that are on, in any thread: no call takes the native way meanwhile


def program() -> Any:
    """The trace of a whole program (compiler/trace.py) that is going on here, also around levels
    of vmap and forward mode; or None."""
    if not _programs:
        return None
    found = tracing()
    while found is not None and not found.whole:
        found = found.outer
    return found


def compiling() -> Any:
    """The program that is traced here, if its values are known when it runs only; or None."""
    found = program()
    return None if found is None or found.pending else found


def journal() -> Any:
    """The journal (compiler/journal.py) of the program that is traced here, where it is to hold
    for other sizes; or None."""
    found = program()
    return None if found is None else found.journal


def program_around(inputs: Iterable) -> Any:
    """The program that is traced around a level, for a call that is not of the level."""
    if not _programs:
        return None
    values = [x._value for x in inputs if hasattr(x, "_value")]
    return program() if values and all([v is None for v in values]) else None


def any_program() -> bool:
    """Whether a program is being traced, in any thread."""
    return _programs > 0


def count_programs(change: int) -> None:
    """One trace of a program more, or one less."""
    global _programs
    with _counting:
        _programs += change
        for divert in diverted:
            divert()


def any_casting() -> bool:
    """Whether autocast is on, in any thread."""
    return _castings > 0


def count_castings(change: int) -> None:
    """One block of autocast more, or one less."""
    global _castings
    with _counting:
        _castings += change
        for divert in diverted:
            divert()


def autocasted(op: Any, inputs: tuple) -> tuple:
    """The inputs of a call in the types that autocast asks for here."""
    state = casting.get()
    return inputs if state is None else state.cast(op, inputs)


@contextlib.contextmanager
def uncast() -> Iterator[None]:
    """Autocast is off within."""
    token = casting.set(None)
    try:
        yield
    finally:
        casting.reset(token)


# Grows with whatever guards of compiled programs do not look at one by one.
_changes = itertools.count(1)
_latest_change = 0


def change() -> int:
    """To be called after an attribute or hook of a module, a tensor's storage or its requires_grad
    has changed: guards look again at everything then. Returns the number of the change."""
    global _latest_change
    _latest_change = number = next(_changes)
    return number


def latest_change() -> int:
    """The number of the latest change: while it stands still no module changed."""
    return _latest_change


def altered(x: Any, what: str) -> None:
    """To be called before something else than the elements of a tensor is changed."""
    if _programs and (found := program()) is not None:
        found.altered(x, what)


def note_grad(x: Any, read: bool = True) -> None:
    """To be called before `.grad` of a tensor is read or set: a trace has to know of it."""
    if _programs and (found := program()) is not None:
        found.note_grad(x, read)


@contextlib.contextmanager
def traced_by(trace: Any) -> Iterator[None]:
    """Calls within go to this trace."""
    token = tracer.set(trace)
    try:
        yield
    finally:
        tracer.reset(token)
