"""Functions, generators, coroutines and async generators that run their body in a grad mode.

`mode.py` calls `hold` for `@no_grad()` and its family; the consumer of a body never sees its mode.
"""

import functools
import inspect
import sys
import types
from collections.abc import Callable, Generator
from typing import Any

from lucid.autograd.flag import State, close, read, write


def hold(function: Any, enabled: bool, name: str) -> Any:
    """`function` with its body held in the mode `enabled`; `name` is the decorator, for errors.

    Name, signature, doc and kind (generator function, coroutine function) stay. A class raises
    TypeError: its methods would run in the mode or not depending on how they are called.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(hold(function.__func__, enabled, name))
    if isinstance(function, type):
        raise TypeError(
            f"{name} cannot decorate a class ({function.__name__}): decorate the methods that "
            "should run in this mode, such as forward or __call__, or open a with block in them"
        )
    if isinstance(function, property | functools.cached_property):
        raise TypeError(f"{name} cannot decorate a property: put @{name}() below @property")
    if not callable(function):
        raise TypeError(
            f"{name} decorates a function, not {function!r:.80}; as a context manager it is "
            f"written `with lucid.{name}():`"
        )
    wrapper = _wrapper_for(_body_of(function))(function, enabled)
    return functools.update_wrapper(wrapper, function)


def _body_of(function: Any) -> Any:
    """The function whose code runs: beneath partials, and behind a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        return type(function).__call__
    return function


def _wrapper_for(body: Any) -> Callable[[Any, bool], Any]:
    if inspect.isasyncgenfunction(body):
        return _hold_async_generator
    if inspect.iscoroutinefunction(body):
        return _hold_coroutine
    if inspect.isgeneratorfunction(body):
        return _hold_generator
    return _hold_function


def _hold_function(function: Any, enabled: bool) -> Any:
    def held(*args: Any, **kwargs: Any) -> Any:
        before = read()
        try:
            write((enabled, before, held))
            return function(*args, **kwargs)
        finally:
            state = read()
            if state[2] is held:
                write(before)
            else:
                close(held)

    return held


# Arguments, what is yielded and what is sent are not kept here while a body is suspended: they
# may be large, and the body itself would have let them go.


def _hold_generator(function: Any, enabled: bool) -> Any:
    def held(*args: Any, **kwargs: Any) -> Any:
        body = function(*args, **kwargs)
        del args, kwargs
        return (yield from _drive(body, _Inside(enabled)))

    return held


def _hold_coroutine(function: Any, enabled: bool) -> Any:
    async def held(*args: Any, **kwargs: Any) -> Any:
        body = function(*args, **kwargs)
        del args, kwargs
        return await _drive(body, _Inside(enabled))

    return held


def _hold_async_generator(function: Any, enabled: bool) -> Any:
    async def held(*args: Any, **kwargs: Any) -> Any:
        body = function(*args, **kwargs)
        del args, kwargs
        inside = _Inside(enabled)
        step = _first_step(body)
        y = []
        while True:
            try:
                y.append(await _drive(step, inside))
            except StopAsyncIteration:
                return
            finally:
                del step
            try:
                step = body.asend((yield y.pop()))
            # GeneratorExit too: the body ends itself in its own mode, and what it raises is raised.
            except BaseException as error:
                step = body.athrow(error)

    return held


def _first_step(body: Any) -> Any:
    """`body.asend(None)`, unseen by the event loop.

    The loop closes the async generators that it has seen start. It sees the one around this, which
    closes this one in turn; closing both at once is an error.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return body.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


class _Inside:
    """The state inside one body while that body is suspended."""

    __slots__ = ("state",)

    def __init__(self, enabled: bool):
        # The chain ends here: what is outside changes from step to step.
        self.state: State = (enabled, None, self)


@types.coroutine
def _drive(body: Any, inside: _Inside) -> Generator[Any, Any, Any]:
    """Run `body` (anything with send and throw) step by step, each step in the state inside it.

    What is sent and thrown goes in, what is yielded and returned comes out, and between steps the
    caller has its own mode back. Blocks that the body has open while it is suspended are kept.
    """
    resume, value, y = body.send, None, []
    while True:
        outside = read()
        try:
            write(inside.state)
            y.append(resume(value))
        except StopIteration as stop:
            return stop.value
        finally:
            inside.state = read()
            write(outside)
            value = None  # it may be an exception, whose traceback holds this frame
        try:
            value = yield y.pop()
            resume = body.send
        # GeneratorExit is thrown in like any other: a body that ends passes it on, one that
        # yields is reported by Python.
        except BaseException as error:
            resume, value = body.throw, error
