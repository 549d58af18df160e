"""The grad mode as state: blocks, decorators, threads, tasks, processes. No tensor takes part."""

import asyncio
import contextlib
import contextvars
import copy
import functools
import gc
import inspect
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid.autograd.mode import (
    enable_grad,
    grad_enabled,
    grad_state,
    inference_mode,
    is_grad_enabled,
    no_grad,
    propagate_grad_mode,
    set_grad_enabled,
)


@pytest.fixture(autouse=True)
def _mode_is_left_on() -> Iterator[None]:
    assert is_grad_enabled()
    yield
    left = is_grad_enabled()
    set_grad_enabled(True)
    assert left


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


# --- State ----------------------------------------------------------------------------------------


def test_the_mode_is_a_bool_under_both_names() -> None:
    assert is_grad_enabled() is True
    with no_grad() as target:
        assert target is None
        assert is_grad_enabled() is False and grad_enabled() is False
        assert grad_state()[0] is False
    assert is_grad_enabled() is True


BLOCKS = {
    "no_grad": (no_grad, False),
    "enable_grad": (enable_grad, True),
    "set_true": (lambda: set_grad_enabled(True), True),
    "set_false": (lambda: set_grad_enabled(False), False),
    "inference": (inference_mode, False),
    "no_inference": (lambda: inference_mode(False), True),
    "bare_no_grad": (lambda: no_grad, False),
    "bare_enable_grad": (lambda: enable_grad, True),
    "bare_inference": (lambda: inference_mode, False),
}


@given(st.lists(st.sampled_from(sorted(BLOCKS)), max_size=8), st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_nesting_restores_the_previous_mode(names: list[str], raises: bool) -> None:
    def nest(names: list[str]) -> None:
        if not names:
            if raises:
                raise ZeroDivisionError
            return
        make, enabled = BLOCKS[names[0]]
        before = is_grad_enabled()
        try:
            with make():
                assert is_grad_enabled() is enabled
                nest(names[1:])
                assert is_grad_enabled() is enabled
        finally:
            assert is_grad_enabled() is before

    with contextlib.suppress(ZeroDivisionError):
        nest(names)
    assert is_grad_enabled()


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_order_of_leaving_ends_right(data: st.DataObject) -> None:
    contextvars.copy_context().run(leave_in_any_order, data)


def leave_in_any_order(data: st.DataObject) -> None:
    # The model: the mode is what the innermost of the open blocks says.
    names = data.draw(st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=6))
    open_blocks: list[tuple[Any, bool]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while names or open_blocks:
            if names and (not open_blocks or data.draw(st.booleans())):
                make, enabled = BLOCKS[names.pop()]
                block = make()
                if any(block is other for other, _ in open_blocks):
                    continue  # the bare classes are one block each, and left as one
                type(block).__enter__(block)
                open_blocks.append((block, enabled))
            else:
                at = data.draw(st.integers(0, len(open_blocks) - 1))
                block, _ = open_blocks.pop(at)
                type(block).__exit__(block, None, None, None)
            assert is_grad_enabled() is (open_blocks[-1][1] if open_blocks else True)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exceptions_restore_and_are_not_swallowed(error: type[BaseException]) -> None:
    with pytest.raises(error):
        with no_grad():
            raise error

    @no_grad()
    def fails() -> None:
        raise error

    with pytest.raises(error):
        fails()
    assert is_grad_enabled()


def test_an_exception_pins_nothing() -> None:
    class Tensor:
        pass

    alive: list[weakref.ref[Tensor]] = []

    def body() -> None:
        x = Tensor()
        alive.append(weakref.ref(x))
        raise ValueError

    def generator() -> Iterator[int]:
        x = Tensor()
        alive.append(weakref.ref(x))
        try:
            yield 1
        except ValueError:
            yield 2
        raise ValueError

    async def coroutine() -> None:
        body()

    gc.disable()
    try:
        with contextlib.suppress(ValueError), no_grad():
            body()
        with contextlib.suppress(ValueError):
            no_grad()(body)()
        held = no_grad()(generator)()
        next(held)
        held.throw(ValueError)
        with contextlib.suppress(ValueError):
            next(held)
        del held
        with contextlib.suppress(ValueError):
            step = no_grad()(coroutine)()
            step.send(None)
        del step
        assert len(alive) == 4
        assert [ref() for ref in alive] == [None] * 4
    finally:
        gc.enable()


def test_a_suspended_generator_pins_neither_what_it_was_given_nor_what_it_gave() -> None:
    class Tensor:
        pass

    @no_grad()
    def generator(x: Any) -> Iterator[Any]:
        del x
        yield Tensor()
        yield None

    @no_grad()
    async def async_generator(x: Any) -> Any:
        del x
        yield Tensor()
        yield None

    async def consume() -> None:
        x = Tensor()
        given = weakref.ref(x)
        steps = async_generator(x)
        del x
        y = await anext(steps)
        got = weakref.ref(y)
        del y
        assert given() is None and got() is None
        await steps.aclose()

    gc.disable()
    try:
        x = Tensor()
        given = weakref.ref(x)
        steps = generator(x)
        del x
        y = next(steps)
        got = weakref.ref(y)
        del y
        assert given() is None and got() is None
        steps.close()
        asyncio.run(consume())
    finally:
        gc.enable()


def test_one_instance_in_sequence_and_while_open() -> None:
    block = no_grad()
    for _ in range(3):
        with block:
            assert not is_grad_enabled()
        assert is_grad_enabled()
    with block:
        with enable_grad():
            with block:
                assert not is_grad_enabled()
            assert is_grad_enabled()
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_one_instance_in_many_threads_at_once() -> None:
    block = no_grad()
    barrier = threading.Barrier(8, timeout=30)

    def work(number: int) -> list[bool]:
        seen = []
        with set_grad_enabled(number % 2 == 0):
            for _ in range(50):
                barrier.wait()
                with block:
                    barrier.wait()
                    seen.append(is_grad_enabled() is False)
                seen.append(is_grad_enabled() is (number % 2 == 0))
        return seen

    with ThreadPoolExecutor(8) as pool:
        assert all(all(seen) for seen in pool.map(work, range(8)))


def test_leaving_out_of_order_is_right_in_the_end_and_warns_with_both_lines() -> None:
    first, second = no_grad(), enable_grad()
    first.__enter__()
    second.__enter__()
    first_line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    first.__exit__(None, None, None)
    assert is_grad_enabled()
    with pytest.warns(RuntimeWarning, match="out of order") as caught:
        second_line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
        second.__exit__(None, None, None)
    assert is_grad_enabled()
    [warning] = caught
    assert f"test_grad_mode.py:{first_line}" in str(warning.message)
    assert f"test_grad_mode.py:{second_line}" in str(warning.message)
    assert os.path.basename(warning.filename) == "test_grad_mode.py"


def test_interleaved_generators_end_right() -> None:
    def generator() -> Iterator[bool]:
        with no_grad():
            yield is_grad_enabled()

    one, two = generator(), generator()
    assert next(one) is False and next(two) is False
    assert list(one) == []
    assert not is_grad_enabled()  # `two` is open still
    with pytest.warns(RuntimeWarning, match="out of order"):
        assert list(two) == []
    assert is_grad_enabled()


def test_exit_stack_closed_early() -> None:
    stack = contextlib.ExitStack()
    stack.enter_context(no_grad())
    with pytest.warns(RuntimeWarning, match=r"test_grad_mode\.py:\d+.*test_grad_mode\.py:\d+"):
        with enable_grad():
            stack.close()
            assert is_grad_enabled()
    assert is_grad_enabled()
    with contextlib.ExitStack() as ordered, warnings.catch_warnings():
        warnings.simplefilter("error")
        ordered.enter_context(no_grad())
        ordered.enter_context(enable_grad())
        ordered.enter_context(set_grad_enabled(False))
        assert not is_grad_enabled()


def test_leaving_in_another_context_changes_nothing_there_and_warns() -> None:
    block = no_grad()
    contextvars.copy_context().run(block.__enter__)
    with pytest.warns(RuntimeWarning, match="not open in this"):
        block.__exit__(None, None, None)
    assert is_grad_enabled()


@pytest.mark.parametrize("make", [no_grad, enable_grad, inference_mode])
def test_an_instance_never_entered_warns_once(make: Any) -> None:
    with pytest.warns(ResourceWarning, match=f"with lucid.{make.__name__}") as caught:
        make()
    assert len(caught) == 1
    assert os.path.basename(caught[0].filename) == "test_grad_mode.py"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with make():
            pass
        make()(lambda: None)
        set_grad_enabled(True)


def test_without_parentheses() -> None:
    with no_grad:
        assert not is_grad_enabled()
        with enable_grad, no_grad, enable_grad:
            assert is_grad_enabled()
        assert not is_grad_enabled()
    with inference_mode:
        assert not is_grad_enabled()
    with pytest.raises(ValueError), no_grad:
        raise ValueError
    assert is_grad_enabled()


def test_set_grad_enabled_as_a_statement() -> None:
    set_grad_enabled(False)
    assert not is_grad_enabled()
    set_grad_enabled(True)
    with no_grad():
        set_grad_enabled(True)
        assert is_grad_enabled()
    assert is_grad_enabled()
    with no_grad():
        with enable_grad():
            set_grad_enabled(False)
            assert not is_grad_enabled()
        assert not is_grad_enabled()


def test_set_grad_enabled_as_a_block_reads_the_mode_at_entry() -> None:
    block = set_grad_enabled(False)
    set_grad_enabled(True)
    with block:
        assert not is_grad_enabled()
    assert is_grad_enabled()
    with no_grad():
        with block:
            pass
        assert not is_grad_enabled()
    with set_grad_enabled(False), set_grad_enabled(True), set_grad_enabled(False):
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_set_grad_enabled_as_a_decorator_leaves_the_mode_alone() -> None:
    @set_grad_enabled(False)
    def off() -> bool:
        return is_grad_enabled()

    assert is_grad_enabled()
    with no_grad():

        @set_grad_enabled(True)
        def on() -> bool:
            return is_grad_enabled()

        assert not is_grad_enabled()
    assert off() is False and on() is True
    assert is_grad_enabled()


@pytest.mark.parametrize("wrong", [0, 1, None, "no", 1.0])
def test_a_mode_that_is_no_bool_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="must be a bool"):
        set_grad_enabled(wrong)
    with pytest.raises(TypeError, match="must be a bool"):
        inference_mode(wrong)


def test_no_grad_takes_no_argument_and_no_subclass() -> None:
    with pytest.raises(TypeError, match="decorates a function"):
        no_grad(False)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="subclass"):
        type("mine", (no_grad,), {})


# --- Decorators -----------------------------------------------------------------------------------

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


def mode_in_child(_: int = 0) -> bool:
    return is_grad_enabled()


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


# --- Concurrency ----------------------------------------------------------------------------------


def test_a_new_thread_starts_with_gradients_on() -> None:
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(is_grad_enabled).result())
        assert not is_grad_enabled()
    assert seen == [True, True]


def test_a_new_thread_starts_with_gradients_on_where_threads_inherit_contexts() -> None:
    # Python 3.14 without the GIL, played here: the flag is set and threads copy the context.
    done = run_python("""
        import asyncio, contextvars, sys, threading
        from types import SimpleNamespace
        flags = {n: getattr(sys.flags, n) for n in dir(sys.flags) if not n.startswith("_")}
        sys.flags = SimpleNamespace(**{**flags, "thread_inherit_context": 1})
        from lucid.autograd.mode import *

        class Thread(threading.Thread):
            def start(self):
                self.inherited = contextvars.copy_context()
                super().start()
            def run(self):
                self.inherited.run(super().run)

        seen = []
        def look():
            seen.append(is_grad_enabled())
            with no_grad():
                seen.append(is_grad_enabled())
                with enable_grad():
                    seen.append(is_grad_enabled())
            seen.append(is_grad_enabled())
            asyncio.run(task())
        async def task():
            seen.append(is_grad_enabled())
        with no_grad():
            for target in (look, propagate_grad_mode(is_grad_enabled)):
                thread = Thread(target=target)
                thread.start()
                thread.join()
            assert not is_grad_enabled() and not propagate_grad_mode(is_grad_enabled)()
            asyncio.run(task())
        assert is_grad_enabled()
        assert seen == [True, False, True, True, True, False], seen
    """)
    assert done.returncode == 0, done.stderr


def test_propagate_grad_mode_carries_the_mode() -> None:
    with ThreadPoolExecutor(2) as pool:
        with no_grad():
            off = propagate_grad_mode(is_grad_enabled)
            assert pool.submit(off).result() is False
            with enable_grad():
                on = propagate_grad_mode(is_grad_enabled)
        with no_grad():
            assert pool.submit(on).result() is True
        assert pool.submit(off).result() is False
        assert pool.submit(is_grad_enabled).result() is True


def test_tasks_have_their_own_mode() -> None:
    async def main() -> None:
        inside, checked = asyncio.Event(), asyncio.Event()

        async def a() -> bool:
            with no_grad():
                inside.set()
                await checked.wait()
                return is_grad_enabled()

        async def b() -> bool:
            await inside.wait()
            seen = is_grad_enabled()
            checked.set()
            return seen

        assert await asyncio.gather(a(), b()) == [False, True]

        async def look() -> bool:
            await asyncio.sleep(0)
            return is_grad_enabled()

        with no_grad():
            inherits = asyncio.create_task(look())
        assert await inherits is False
        assert is_grad_enabled()

    asyncio.run(main())


def test_to_thread_follows_the_copied_context() -> None:
    async def main() -> None:
        with no_grad():
            follows = await asyncio.to_thread(is_grad_enabled)
            carried = await asyncio.to_thread(propagate_grad_mode(is_grad_enabled))
            loop = asyncio.get_running_loop()
            executor = await loop.run_in_executor(None, is_grad_enabled)
        # Where threads inherit contexts, a mode counts in the thread that set it only.
        assert follows is bool(getattr(sys.flags, "thread_inherit_context", 0))
        assert carried is False and executor is True
        assert await asyncio.to_thread(is_grad_enabled) is True

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_goes_on_where_it_was() -> None:
    with no_grad():
        child = os.fork()
        if child == 0:
            os._exit(0 if not is_grad_enabled() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    child = os.fork()
    if child == 0:
        os._exit(0 if is_grad_enabled() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_spawned_child_starts_with_gradients_on() -> None:
    spawn = multiprocessing.get_context("spawn")
    with no_grad(), ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert pool.submit(mode_in_child).result(60) is True
        assert pool.submit(module_level, 3).result(60) == (3, False)


# --- The trace, and Ctrl-C ------------------------------------------------------------------------


def test_the_trace_prints_each_change_with_its_line() -> None:
    done = run_python(
        """
        from lucid.autograd.mode import *
        with no_grad():
            with no_grad():
                pass
            set_grad_enabled(True)
        @no_grad
        def f(): pass
        f()
        """,
        LUCID_TRACE_GRAD_MODE="1",
    )
    assert done.returncode == 0, done.stderr
    assert [line.split("gradients ")[1] for line in done.stderr.splitlines()] == [
        "on -> off at <string>:3",
        "off -> on at <string>:6",
        "on -> off at <string>:9",
        "off -> on at <string>:9",
    ]
    assert run_python("from lucid.autograd.mode import *\nwith no_grad(): pass").stderr == ""


def test_a_signal_on_entering_restores_the_mode() -> None:
    # The handler runs when the write of __enter__ returns: the block is not the caller's to leave.
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def enter_until_interrupted() -> bool:
        block = enable_grad()
        set_grad_enabled(False)
        for _ in range(10_000):
            try:
                block.__enter__()
            except KeyboardInterrupt:
                return not is_grad_enabled()
            set_grad_enabled(False)
        return True

    before = signal.signal(signal.SIGALRM, interrupt)
    restored = []
    try:
        for _ in range(200):
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.0001)
                # In a context of its own: blocks are entered here that nobody leaves.
                restored.append(contextvars.copy_context().run(enter_until_interrupted))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert restored and all(restored)
