"""Which trace is going on in this context, and whether a whole program is being traced anywhere.

apply.py, write.py and whatever reads bytes or `.grad` ask here; compiler/ traces programs.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

tracer: ContextVar[Any] = ContextVar("lucid_tracer", default=None)
tracing = tracer.get

# Whole programs that are being traced now, in any thread. While there are any, no call takes the
# native way: it would run on what is a promise.
_programs = 0
_counting = threading.Lock()
diverted: list[Callable[[], None]] = []  # called when a program's trace begins and when it ends


def program() -> Any:
    """The trace of a whole program (compiler/trace.py) that is going on here, or None."""
    if not _programs:
        return None
    found = tracing()
    return found if found is not None and found.whole else None


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


def note_grad(x: Any) -> None:
    """To be called before `.grad` of a tensor is read or set: a trace has to know of it."""
    if _programs and (found := program()) is not None:
        found.note_grad(x)


@contextlib.contextmanager
def traced_by(trace: Any) -> Iterator[None]:
    """Calls within go to this trace."""
    token = tracer.set(trace)
    try:
        yield
    finally:
        tracer.reset(token)
