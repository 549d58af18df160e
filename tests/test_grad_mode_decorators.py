"""The grad mode as a decorator: functions, generators, coroutines, and their types."""

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lucid.autograd.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

pytestmark = pytest.mark.usefixtures("mode_is_left_on")


DECORATORS = {"with": no_grad(), "without": no_grad, "inference": inference_mode, "set": None}


@pytest.fixture(params=list(DECORATORS))
def decorator(request: pytest.FixtureRequest) -> Any:
    return DECORATORS[request.param] or set_grad_enabled(False)


def test_functions_of_every_kind(decorator: Any) -> None:
    def mode(*_: Any) -> bool:
        return is_grad_enabled()

    class Called:
        def __call__(self) -> bool:
            return is_grad_enabled()

        method = decorator(mode)
        above = decorator(staticmethod(mode))
        below = staticmethod(decorator(mode))
        class_above = decorator(classmethod(mode))
        class_below = classmethod(decorator(mode))

    held = [decorator(mode), decorator(lambda: is_grad_enabled())]
    held += [
        decorator(functools.partial(mode, 1)),
        decorator(Called()),
        decorator(Called().__call__),
    ]
    held += [Called().method, Called.above, Called().above, Called.below]
    held += [Called.class_above, Called().class_above, Called.class_below]
    held += [decorator(is_grad_enabled)]  # decorating the reader itself
    assert [function() for function in held] == [False] * len(held)
    assert is_grad_enabled()


def test_what_is_known_of_a_function_stays_known(decorator: Any) -> None:
    def scale(x: float, *, by: float = 2.0) -> float:
        """Scaled."""
        return x * by

    held = decorator(scale)
    assert (held.__name__, held.__doc__, held.__wrapped__) == ("scale", "Scaled.", scale)
    assert inspect.signature(held) == inspect.signature(scale)
    assert held(2.0, by=3.0) == 6.0


def test_recursion_and_concurrent_calls() -> None:
    @no_grad()
    def count(n: int) -> int:
        assert not is_grad_enabled()
        with enable_grad():
            below = 0 if n == 0 else count(n - 1) + 1
            assert is_grad_enabled()
        assert not is_grad_enabled()
        return below

    assert count(50) == 50
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(count, [20] * 64)) == [20] * 64


def test_a_function_that_leaves_a_block_opened_outside() -> None:
    stack = contextlib.ExitStack()
    stack.enter_context(no_grad())

    @enable_grad()
    def finish() -> None:
        stack.close()

    with pytest.warns(RuntimeWarning, match="out of order"):
        finish()
    assert is_grad_enabled()


def test_generators_hide_their_mode_and_pass_everything_on(decorator: Any) -> None:
    log: list[Any] = []

    def inner() -> Any:
        log.append((yield is_grad_enabled()))
        return "inner"

    @decorator
    def generator() -> Any:
        log.append((yield is_grad_enabled()))
        try:
            yield 2
        except KeyError:
            log.append(("caught", is_grad_enabled()))
        log.append((yield from inner()))
        with enable_grad():
            yield is_grad_enabled()
            log.append(is_grad_enabled())
        try:
            yield is_grad_enabled()
        finally:
            log.append(("closed", is_grad_enabled()))
        return "never"

    assert inspect.isgeneratorfunction(generator)
    steps = generator()
    assert next(steps) is False and is_grad_enabled()
    assert steps.send("sent") == 2 and is_grad_enabled()
    assert steps.throw(KeyError) is False and is_grad_enabled()
    with no_grad():
        assert steps.send("to inner") is True  # a block of the body's own stays the body's
        assert not is_grad_enabled()
    assert next(steps) is False and is_grad_enabled()
    steps.close()
    assert is_grad_enabled()
    assert log == ["sent", ("caught", False), "to inner", "inner", True, ("closed", False)]


def test_generators_return_and_fail_as_without() -> None:
    @no_grad()
    def returns() -> Any:
        yield 1
        return "value"

    @no_grad()
    def fails() -> Any:
        yield 1
        raise KeyError

    @no_grad()
    def stubborn() -> Any:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    def outer() -> Any:
        return (yield from returns())

    steps = outer()
    next(steps)
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value == "value"
    with pytest.raises(KeyError):
        list(fails())
    steps = stubborn()
    next(steps)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        steps.close()
    assert list(zip(returns(), returns(), strict=True)) == [(1, 1)]  # interleaved
    assert is_grad_enabled()


def test_a_dropped_generator_is_closed_in_its_mode() -> None:
    seen = []

    @no_grad()
    def generator() -> Any:
        try:
            yield
        finally:
            seen.append(is_grad_enabled())

    steps = generator()
    next(steps)
    del steps
    gc.collect()
    assert seen == [False] and is_grad_enabled()


def test_coroutines_hold_the_mode_across_awaits(decorator: Any) -> None:
    @decorator
    async def coroutine(x: int) -> list[Any]:
        seen = [x, is_grad_enabled()]
        await asyncio.sleep(0)
        seen.append(is_grad_enabled())
        with enable_grad():
            await asyncio.sleep(0)
            seen.append(is_grad_enabled())
        return [*seen, is_grad_enabled()]

    async def main() -> None:
        assert await coroutine(7) == [7, False, False, True, False]
        assert is_grad_enabled()
        both = await asyncio.gather(coroutine(1), coroutine(2))
        assert both == [[1, False, False, True, False], [2, False, False, True, False]]
        assert is_grad_enabled()

    assert inspect.iscoroutinefunction(coroutine) and asyncio.iscoroutinefunction(coroutine)
    asyncio.run(main())


def test_coroutines_fail_and_are_cancelled_in_their_mode() -> None:
    seen = []

    @no_grad()
    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(is_grad_enabled())

    async def main() -> None:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waits(), 0.01)
        assert is_grad_enabled()

    asyncio.run(main())
    assert seen == [False, False]


def test_a_coroutine_driven_by_hand_hides_its_mode() -> None:
    # No event loop gives it a context of its own here.
    class Pause:
        def __await__(self) -> Any:
            yield "paused"

    @no_grad()
    async def coroutine() -> bool:
        await Pause()
        return is_grad_enabled()

    one, two = coroutine(), coroutine()
    assert one.send(None) == two.send(None) == "paused"
    assert is_grad_enabled()
    for step in (one, two):
        with pytest.raises(StopIteration) as stop:
            step.send(None)
        assert stop.value.value is False
    assert is_grad_enabled()


def test_async_generators(decorator: Any) -> None:
    log: list[Any] = []
    left_open: list[Any] = []

    @decorator
    async def generator() -> Any:
        try:
            await asyncio.sleep(0)
            log.append((yield is_grad_enabled()))
            try:
                yield "throw here"
            except KeyError:
                log.append(is_grad_enabled())
            yield is_grad_enabled()
        finally:
            await asyncio.sleep(0)
            log.append(("closed", is_grad_enabled()))

    async def main() -> None:
        steps = generator()
        assert await anext(steps) is False and is_grad_enabled()
        assert await steps.asend("sent") == "throw here" and is_grad_enabled()
        assert await steps.athrow(KeyError) is False and is_grad_enabled()
        await steps.aclose()
        assert is_grad_enabled()
        assert [y async for y in generator()] == [False, "throw here", False]
        left_open.append(generator())
        await anext(left_open[0])
        # The loop closes it at the end, once.

    assert inspect.isasyncgenfunction(generator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
    assert log == ["sent", False, ("closed", False), None, ("closed", False), ("closed", False)]
    assert is_grad_enabled()


@pytest.mark.parametrize("make", [no_grad, enable_grad, inference_mode])
def test_what_cannot_be_decorated_says_what_to_decorate(make: Any) -> None:
    class Net:
        pass

    for decorate in (make, make()):
        with pytest.raises(TypeError, match=r"class \(Net\): decorate the methods"):
            decorate(Net)
        with pytest.raises(TypeError, match="below @property"):
            decorate(property(lambda self: 1))
    with pytest.raises(TypeError, match="decorates a function"):
        make()(3)


@no_grad()
def module_level(x: int) -> tuple[int, bool]:
    return x, is_grad_enabled()


def test_pickling_and_copying() -> None:
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    for block, enabled in [
        (no_grad(), False),
        (enable_grad(), True),
        (inference_mode(False), True),
        (set_grad_enabled(True), True),
    ]:
        for made in (pickle.loads(pickle.dumps(block)), copy.deepcopy(block), copy.copy(block)):
            assert type(made) is type(block)
            with set_grad_enabled(not enabled):
                with made:
                    assert is_grad_enabled() is enabled
                assert is_grad_enabled() is not enabled
    with no_grad():
        set_grad_enabled(True)
        with copy.deepcopy(no_grad()):
            assert not is_grad_enabled()
        assert is_grad_enabled()


TYPED = """
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, assert_type

from lucid.autograd.mode import (
    enable_grad, inference_mode, no_grad, propagate_grad_mode, set_grad_enabled,
)


@no_grad()
def f(x: int, *, y: str = "") -> float:
    return 1.0


@no_grad
def g(x: int) -> float:
    return 1.0


@inference_mode
def h(x: int) -> float:
    return 1.0


@enable_grad()
def generator(x: int) -> Iterator[int]:
    yield x


@set_grad_enabled(False)
async def coroutine(x: int) -> int:
    return x


@inference_mode()
async def async_generator(x: int) -> AsyncIterator[int]:
    yield x


class Net:
    @no_grad()
    def method(self, x: int) -> int:
        return x

    @no_grad
    def bare(self, x: int) -> int:
        return x

    @staticmethod
    @no_grad()
    def static(x: int) -> int:
        return x

    @no_grad()
    @classmethod
    def made(cls, x: int) -> int:
        return x


assert_type(f(1, y="a"), float)
assert_type(g(1), float)
assert_type(h(1), float)
assert_type(generator(1), Iterator[int])
made: Coroutine[Any, Any, int] = coroutine(1)
assert_type(async_generator(1), AsyncIterator[int])
assert_type(Net().method(1) + Net().bare(1) + Net.static(1) + Net.made(1), int)
assert_type(propagate_grad_mode(f)(1), float)
assert_type(no_grad(), no_grad)
with no_grad(), enable_grad, inference_mode(True), set_grad_enabled(False):
    pass
f("wrong")  # type: ignore[arg-type]
g()  # type: ignore[call-arg]
set_grad_enabled("wrong")  # type: ignore[arg-type]
"""


def test_strict_type_checkers_accept_decorated_functions(tmp_path: Any) -> None:
    pytest.importorskip("mypy")
    sample = tmp_path / "sample.py"
    sample.write_text(TYPED)
    arguments = ["--strict", "--warn-unused-ignores", "--follow-imports=silent", str(sample)]
    cache = ["--cache-dir", str(tmp_path / "cache")]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments, *cache], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
