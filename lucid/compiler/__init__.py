"""`lucid.compile`: a function as one plan. A call reads guard -> trace -> plan -> run.

guard.py says whether a plan still holds, capture.py traces, split.py cuts off the backward half,
runner.py plans and runs.
"""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from lucid.array import Array
from lucid.autograd.mode import is_grad_enabled
from lucid.compiler.capture import capture
from lucid.compiler.host import Replayed
from lucid.compiler.runner import Runner
from lucid.compiler.trace import InStep
from lucid.compiler.tree import flatten
from lucid.config import settings
from lucid.dtypes import get_default_dtype
from lucid.lazy import lazy
from lucid.tracing import casting, program

MOST = 64  # plans of one function

_threads = lazy("lucid.backend.cpu.threads")


def compile(function: Any = None, *, dynamic: bool | None = None, fullgraph: bool = True) -> Any:
    """`function`, which may be a module, as one native plan: same results, to the bit.

    The first call traces the function without running it: what it computes, reads and changes,
    with `loss.backward()`, `optimizer.step()` and `optimizer.zero_grad()` inside as well. Later
    calls check that everything Python had looked at is the same (numbers, containers, code; see
    compiler/guard.py) and run the plan; where it is not, the function is traced again.

    Arguments and results are nests of tuples, lists, dicts and dataclasses. A value that is asked
    for while tracing (`.item()`, `if x > 0:`) raises TraceError with the line and what to write.

    >>> import lucid
    >>> @lucid.compile
    ... def f(x):
    ...     return (x * 2 + 1).relu().sum()
    >>> f(lucid.tensor([1.0, -3.0])).item()
    3.0
    """
    if function is None:
        return functools.partial(compile, dynamic=dynamic, fullgraph=fullgraph)
    if not callable(function):
        raise TypeError(f"compile: a function or module is needed, got {type(function).__name__}")
    if dynamic:
        raise NotImplementedError("compile: dynamic=True: sizes are part of a plan")
    if not fullgraph:
        raise NotImplementedError("compile: fullgraph=False: a function is one plan, or raises")
    return Compiled(function)


class Compiled:
    """A function with the plans of its calls so far."""

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.plans: dict[tuple, list[Runner]] = {}
        self.traces = 0
        self.reasons: list[str] = []  # why it was traced again
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if program() is not None:  # inside of another compiled function: a part of it
            return self.function(*args, **kwargs)
        leaves, form = flatten((args, kwargs))
        key = (*_surroundings(), form, *[_kind(x) for x in leaves])
        for runner in self.plans.get(key, ()):
            if runner.matches(leaves):
                try:
                    return runner.run(leaves)
                except Replayed:
                    continue
        return self._first(key, leaves, args, kwargs)

    def find(self, args: tuple, kwargs: dict) -> tuple[Runner | None, list[Any]]:
        """The plan that a call with these arguments takes, if there is one, and their leaves."""
        leaves, form = flatten((args, kwargs))
        known = self.plans.get((*_surroundings(), form, *[_kind(x) for x in leaves]), ())
        return next((r for r in known if r.matches(leaves)), None), leaves

    def _first(self, key: tuple, leaves: Sequence[Any], args: tuple, kwargs: dict) -> Any:
        """Trace, plan, run; or run op by op where an optimizer has yet to make its state."""
        with self._lock:
            for runner in self.plans.get(key, ())[:1]:
                self.reasons.append(runner.mismatch(leaves))
            try:
                captured = capture(self.function, args, kwargs)
            except InStep:
                if self.traces < 0:
                    raise
                self.traces = -1
                return self.function(*args, **kwargs)
            runner = Runner(captured, getattr(self.function, "__name__", "module"))
            known = self.plans.setdefault(key, [])
            if len(known) >= MOST:
                known.pop()
            known.insert(0, runner)
            self.traces = abs(self.traces) + 1
        return runner.run(leaves)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name == "function":
            raise AttributeError(name)
        return getattr(self.function, name)


def _surroundings() -> tuple:
    """What a trace depends on besides the function: modes and settings."""
    types = None if casting.get() is None else casting.get().low  # of autocast
    modes = (is_grad_enabled(), types, get_default_dtype())
    return (*modes, _threads.get_num_threads(), settings.target)


def _kind(x: Any) -> Any:
    """Under what a leaf is looked up: tensors by layout, numbers by type and value."""
    if isinstance(x, Array):
        return x._layout
    if isinstance(x, (bool, int, float, str, bytes, type(None))):
        return (type(x), x)
    return id(x)
