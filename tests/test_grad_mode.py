"""The grad mode as state: blocks, decorators, threads, tasks, processes. No tensor takes part."""

import asyncio
import contextlib
import contextvars
import gc
import inspect
import os
import signal
import threading
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lucid
from lucid.autograd.mode import (
    enable_grad,
    grad_enabled,
    grad_state,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tests.programs import run_python

pytestmark = pytest.mark.usefixtures("mode_is_left_on")


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


def test_a_signal_at_any_moment_restores_the_mode() -> None:
    # Whether the handler runs in __enter__, in the body or on leaving, the mode is back.
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def enter_until_interrupted() -> bool:
        set_grad_enabled(False)
        for _ in range(10_000):
            try:
                with enable_grad(), no_grad(), enable_grad():
                    pass
            except KeyboardInterrupt:
                return not is_grad_enabled()
        return True

    lucid.ones(1)  # from here on blocks are entered and left by machine code
    before = signal.signal(signal.SIGALRM, interrupt)
    restored = []
    try:
        for _ in range(200):
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.0001)
                restored.append(contextvars.copy_context().run(enter_until_interrupted))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert restored and all(restored)
