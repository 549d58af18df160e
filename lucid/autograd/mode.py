"""no_grad and its family: context managers and decorators that turn gradients off and on.

Users call these through `lucid` and `lucid.autograd`; `flag.py` keeps the mode and `hold.py`
decorates.
"""

import sys
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, final, overload

from lucid import storage
from lucid.autograd.flag import (
    State,
    close,
    grad_state,
    is_grad_enabled,
    plain_variable,
    read,
    write,
)
from lucid.autograd.hold import hold
from lucid.backend.cpu import scope

__all__ = [
    "enable_grad",
    "grad_enabled",
    "grad_state",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "propagate_grad_mode",
    "set_grad_enabled",
]

P = ParamSpec("P")
R = TypeVar("R")
Method = TypeVar("Method", bound="staticmethod[Any, Any] | classmethod[Any, Any, Any]")

# The founding framework's name.
grad_enabled = is_grad_enabled

_new: Any = object.__new__


class _BlockType(type):
    """Makes the classes themselves blocks, for `with lucid.no_grad:` without parentheses."""

    _bare: bool

    def __enter__(cls) -> None:
        write((cls._bare, read(), cls))

    def __exit__(
        cls,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state = read()
        if state[2] is cls:
            write(state[1])  # type: ignore[arg-type]  # the outermost state has no opener
        else:
            close(cls)


class _Block:
    """What the family shares. A block keeps no mode, so one instance may be open many times."""

    # _used: entered, made a decorator or copied; what never is was written by mistake.
    __slots__ = ("_enabled", "_used")

    _enabled: bool
    _used: bool

    def __enter__(self) -> None:
        self._used = True
        before = read()
        try:
            write((self._enabled, before, self))
        # Ctrl-C is seen when `write` returns, and __exit__ is owed only once __enter__ is through.
        except BaseException:
            write(before)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state = read()
        if state[2] is self:
            write(state[1])  # type: ignore[arg-type]  # the outermost state has no opener
        else:
            close(self)

    @overload  # a classmethod or staticmethod object is callable too, and stays what it is
    def __call__(self, function: Method) -> Method: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...
    def __call__(self, function: Any) -> Any:
        self._used = True
        return hold(function, self._enabled, type(self).__name__)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        self._used = True
        return _closed, (type(self), self._enabled)


class _MadeToBeEntered(_Block):
    """A block that does nothing unless it is entered, and says so when it never was."""

    __slots__ = ()

    def __del__(self) -> None:
        if not self._used and not sys.is_finalizing():
            name = type(self).__name__
            warnings.warn(
                f"{name}() was made and never entered, so it did nothing; "
                f"write `with lucid.{name}():` or `@lucid.{name}()`",
                ResourceWarning,
                stacklevel=2,
            )


def _block(kind: type[Any], enabled: bool) -> Any:
    block = _new(kind)
    block._enabled = enabled
    block._used = False
    return block


def _closed(kind: type[Any], enabled: bool) -> Any:
    """The copy, or the unpickled form, of a block: not entered, whatever the original is."""
    block = _block(kind, enabled)
    block._used = True
    if kind is set_grad_enabled:
        block._after = None
    return block


@final
class no_grad(_MadeToBeEntered, metaclass=_BlockType):
    """Turn gradient tracking off for a block, or for the body of a function.

    Inside, an operation makes no Node and saves nothing: its result has `requires_grad` False,
    and an intermediate dies, its memory reused, at its last use. Values are bitwise the same as
    outside. On leaving, also by an exception, the previous mode is back. The mode belongs to the
    running thread and asyncio task; `propagate_grad_mode` carries it to another thread.

    `no_grad()` is a context manager and a decorator of functions, methods, generators, coroutines
    and async generators; the parentheses may be left out in both uses. Tensors made with
    `requires_grad=True` inside are honoured, and so is `requires_grad_()`.

    Raises TypeError if it decorates a class, a property or what cannot be called. Warns with
    ResourceWarning if it is made and never used, with RuntimeWarning if blocks are left out of
    order (the mode is right nevertheless).

    >>> with no_grad():
    ...     is_grad_enabled()
    False
    >>> @no_grad()
    ... def predict():
    ...     return is_grad_enabled()
    >>> predict(), is_grad_enabled()
    (False, True)
    """

    __slots__ = ()
    _bare = False

    @overload
    def __new__(cls) -> Self: ...
    @overload
    def __new__(cls, function: Callable[P, R]) -> Callable[P, R]: ...  # type: ignore[misc]
    def __new__(cls, function: Any = None) -> Any:
        return _block(cls, False) if function is None else hold(function, False, "no_grad")

    def __init_subclass__(cls) -> None:
        raise TypeError("no_grad cannot be subclassed: open it in a block of your own")


class enable_grad(_MadeToBeEntered, metaclass=_BlockType):
    """Turn gradient tracking on for a block, or for the body of a function, inside a `no_grad`.

    Everything said of `no_grad` holds, with the mode the other way round.

    >>> with no_grad(), enable_grad():
    ...     is_grad_enabled()
    True
    """

    __slots__ = ()
    _bare = True

    @overload
    def __new__(cls) -> Self: ...
    @overload
    def __new__(cls, function: Callable[P, R]) -> Callable[P, R]: ...  # type: ignore[misc]
    def __new__(cls, function: Any = None) -> Any:
        return _block(cls, True) if function is None else hold(function, True, "enable_grad")


class inference_mode(_MadeToBeEntered, metaclass=_BlockType):
    """`no_grad` under PyTorch's other name: `inference_mode(False)` turns gradients on.

    Its results are ordinary tensors, to be used anywhere afterwards. Raises TypeError if `mode`
    is not a bool.

    >>> with inference_mode():
    ...     is_grad_enabled()
    False
    """

    __slots__ = ()
    _bare = False

    @overload
    def __new__(cls, mode: bool = True) -> Self: ...
    @overload
    def __new__(cls, mode: Callable[P, R]) -> Callable[P, R]: ...  # type: ignore[misc]
    def __new__(cls, mode: Any = True) -> Any:
        if isinstance(mode, bool):
            return _block(cls, not mode)
        if callable(mode) or isinstance(mode, classmethod | property):
            return hold(mode, False, "inference_mode")
        raise TypeError(f"inference_mode: mode must be a bool, not {type(mode).__name__}")


class set_grad_enabled(_Block):
    """Set the mode to `mode`: at once as a statement, for a block or a function's body otherwise.

    - `set_grad_enabled(False)` alone sets the mode until the enclosing block ends, or for good.
    - `with set_grad_enabled(train):` restores on leaving what held on entry; the mode that the
      call itself replaced, if nothing has changed the mode in between.
    - `@set_grad_enabled(False)` holds the mode in the function, and leaves it alone here.

    Raises TypeError if `mode` is not a bool.

    >>> with set_grad_enabled(False):
    ...     is_grad_enabled()
    False
    >>> is_grad_enabled()
    True
    """

    # The states before and after the call itself, until the first use as a manager or decorator.
    __slots__ = ("_after", "_before")

    _before: State
    _after: "State | None"

    def __new__(cls, mode: bool) -> Self:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled: mode must be a bool, not {type(mode).__name__}")
        block: Self = _new(cls)
        block._enabled = mode
        block._used = True
        block._before = before = read()
        block._after = after = (mode, before[1], before[2])
        write(after)
        return block

    def __enter__(self) -> None:
        now, after = read(), self._after
        self._after = None
        before = self._before if now is after else now
        try:
            write((self._enabled, before, self))
        except BaseException:  # see _Block
            write(before)
            raise

    @overload  # a classmethod or staticmethod object is callable too, and stays what it is
    def __call__(self, function: Method) -> Method: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...
    def __call__(self, function: Any) -> Any:
        after, self._after = self._after, None
        if read() is after:
            write(self._before)
        return super().__call__(function)


def propagate_grad_mode(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with the present mode held in its body, in whatever thread it is called.

    A new thread, also one of an executor, starts with gradients on. This carries the mode there:

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor() as pool, no_grad():
    ...     pool.submit(is_grad_enabled).result()
    ...     pool.submit(propagate_grad_mode(is_grad_enabled)).result()
    True
    False
    """
    return enable_grad(function) if read()[0] else no_grad(function)


_make_no_grad, _warn_unused = vars(no_grad)["__new__"], vars(_MadeToBeEntered)["__del__"]


def _go_native() -> None:
    """From now on, blocks are entered and left by machine code: three times as fast. The methods
    above stay where the mode is kept in another way than in a context variable alone."""
    variable = plain_variable()
    if variable is not None:
        scope.install(_Block, variable, close, no_grad, _make_no_grad.__func__, _warn_unused)


storage.when_built.append(_go_native)
