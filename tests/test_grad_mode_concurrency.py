"""The grad mode in threads, tasks and processes."""

import asyncio
import multiprocessing
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from lucid.autograd.mode import (
    enable_grad,
    is_grad_enabled,
    no_grad,
    propagate_grad_mode,
)
from tests.programs import run_python

pytestmark = pytest.mark.usefixtures("mode_is_left_on")


@no_grad()
def module_level(x: int) -> tuple[int, bool]:
    return x, is_grad_enabled()


def mode_in_child(_: int = 0) -> bool:
    return is_grad_enabled()


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
