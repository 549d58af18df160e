"""Ctrl-C in the middle of a kernel: seen, nothing half done is returned, all works afterwards."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import lucid
from lucid import dtypes as d
from lucid.backend.cpu import call, schedule, threads
from lucid.kernel import expr as e
from lucid.kernel import loops
from lucid.kernel.loops import Axis, Fold, Kernel, Map, Store
from tests.kernel_calls import buffer

ROWS = 4096


@pytest.fixture(params=[1, 2])
def count(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


def slow(y: np.ndarray, length: int, count: int) -> call.Segment:
    """y[r] = sum of lgamma(r + j) over j < length: one kernel, len(y) * length * 10 ns."""
    r, j = e.index("r"), e.index("j")
    x = e.math("lgamma", e.cast(r + j, d.float32))
    kernel = Kernel(
        "slow",
        (buffer("y", d.float32, 1, role="out"),),
        ("n", "m"),
        (),
        (Axis("r", e.word("n")),),
        (
            Fold(0, (Axis("j", e.word("m")),), loops.sum_of(d.float32), (x,)),
            Map((), (Store("y", (r,), loops.folded(0, 0, d.float32)),)),
        ),
        "inner",
    )
    words = [0, 0, count, y.ctypes.data, len(y), length]
    return call.Segment([call.Call(schedule.compile(kernel).address, words)], releases_gil=True)


def later(action, seconds: float = 0.2) -> threading.Thread:
    """The action in another thread; the main thread is in a kernel by then."""

    def wait() -> None:
        time.sleep(seconds)
        action()

    made = threading.Thread(target=wait)
    made.start()
    return made


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_one_long_kernel_is_interrupted(count):
    y = np.full(ROWS, np.nan, np.float32)
    slow(y, 1, count).run()  # compiled before the time counts
    y[:] = np.nan
    thread = later(interrupt)
    with pytest.raises(KeyboardInterrupt):
        slow(y, 1_000_000, count).run()  # half a minute
    thread.join()
    assert np.isnan(y).any()
    again = np.full(ROWS, np.nan, np.float32)
    assert slow(again, 64, count).run() is None
    assert not np.isnan(again).any()
    x = lucid.ones(700, 300)
    assert ((x + 1) @ x.t()).sum().item() == 2 * 300 * 700 * 700


@pytest.mark.parametrize("rows", [1, 2])
def test_one_long_task_is_left(count, rows):
    """Each row is a task of half a minute; on two threads the caller waits for a worker."""
    y = np.full(rows, np.nan, np.float32)
    slow(y, 1, count).run()
    y[:] = np.nan
    thread = later(interrupt)
    with pytest.raises(KeyboardInterrupt):
        slow(y, 3_000_000_000, count).run()
    thread.join()
    assert np.isnan(y).all()
    assert slow(y, 1_000_000, count).run() is None
    assert not np.isnan(y).any()


def test_a_handler_that_returns_changes_nothing(count):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(lucid.ones(5).sum().item()))
    try:
        y = np.full(ROWS, np.nan, np.float32)
        thread = later(lambda: signal.raise_signal(signal.SIGUSR1), 0.05)
        assert slow(y, 5000, count).run() is None
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    alone = np.full(ROWS, np.nan, np.float32)
    assert slow(alone, 5000, 1).run() is None
    np.testing.assert_array_equal(y, alone)
    assert seen == [5.0]


def test_another_thread_is_not_interrupted():
    y, outcome = np.full(ROWS, np.nan, np.float32), []
    thread = threading.Thread(target=lambda: outcome.append(slow(y, 5000, 1).run()))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        later(interrupt, 0.05).join()
        time.sleep(60)
    thread.join()
    assert outcome == [None] and not np.isnan(y).any()


def test_an_interrupted_write_counts_as_one():
    x = lucid.full((30_000_000,), 3.5)
    before = x._version
    x.lgamma_()
    assert x._version == before + 1
    thread = later(interrupt, 0.05)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(100):
            x.lgamma_()
    thread.join()
    assert x._version > before + 1
    assert x.fill_(2.0).sum().item() == 60_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_handler_may_fork(count):
    """The child computes; where it goes back into the kernel of its parent, an error says so."""
    codes: list[int] = []
    children: list[int] = []

    def fork(*_):
        child = os.fork()
        if child == 0:
            if lucid.ones(100).sum().item() != 100:
                os._exit(9)
            codes.append(0)
        else:
            children.append(child)

    before = signal.signal(signal.SIGUSR1, fork)
    try:
        y = np.full(ROWS, np.nan, np.float32)
        lucid.ones(100).sum()
        thread = later(lambda: signal.raise_signal(signal.SIGUSR1), 0.05)
        try:
            assert slow(y, 20_000, count).run() is None
        except RuntimeError as error:
            os._exit(7 if codes and "forked" in str(error) else 8)
        if codes:
            os._exit(6)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not np.isnan(y).any()
    assert [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children] == [7]


PROGRAM = """
import sys, lucid
x = lucid.full((20_000_000,), 3.5)
x.lgamma()
print("ready", flush=True)
try:
    while True:
        y = None
        y = x.lgamma()
except KeyboardInterrupt:
    assert y is None
print((x[:1000] * 2).sum().item())
"""


def test_a_program_gets_the_signal_of_its_terminal():
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, output) == (0, "7000.0\n"), errors
