"""The thread pool: every task once, whoever calls, through forks, and out at exit."""

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from lucid.backend.cpu import compiler, jit, pool, threads
from lucid.backend.cpu.call import Call, Segment
from lucid.config import settings

# words[3]: array of i64; each task adds 1 to its element and notes its slot in the second half.
TEXT = """
declare void @lucid_parallel(ptr, ptr, i64, i64)
define internal void @body(ptr %words, i64 %task, i64 %slot) {
  %xat = getelementptr i64, ptr %words, i64 3
  %x = load ptr, ptr %xat
  %at = getelementptr i64, ptr %x, i64 %task
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
  %nat = getelementptr i64, ptr %words, i64 4
  %n = load i64, ptr %nat
  %second = getelementptr i64, ptr %at, i64 %n
  store i64 %slot, ptr %second
  %workat = getelementptr i64, ptr %words, i64 5
  %work = load i64, ptr %workat
  br label %spin
spin:
  %i = phi i64 [ 0, %0 ], [ %i1, %spin ]
  call void asm sideeffect "", ""()
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %work
  br i1 %more, label %spin, label %end
end:
  ret void
}
define void @SYMBOL(ptr %words) {
  %threadsat = getelementptr i64, ptr %words, i64 2
  %threads = load i64, ptr %threadsat
  %nat = getelementptr i64, ptr %words, i64 4
  %n = load i64, ptr %nat
  call void @lucid_parallel(ptr @body, ptr %words, i64 %n, i64 %threads)
  ret void
}
"""


def region(tasks: int, allowed: int, work: int = 0, releases_gil: bool = True) -> Segment:
    address = jit.function("test region", lambda s: TEXT.replace("SYMBOL", s))
    return Segment([Call(address, [0, 0, allowed, 0, tasks, work], [(3, 0, 0)])], releases_gil)


def started() -> int:
    """Threads of this process that are not Python's."""
    return len(os.listdir("/proc/self/task")) - threading.active_count()


@pytest.fixture
def four():
    """Four threads, whatever the machine."""
    before = threads.get_num_threads()
    threads.set_num_threads(4)
    yield
    threads.set_num_threads(before)


def check(segment: Segment, tasks: int, allowed: int, rounds: int) -> set[int]:
    x = np.zeros(2 * tasks, np.int64)
    slots = set()
    for _ in range(rounds):
        assert segment.run(x.ctypes.data) is None
        slots.update(x[tasks:].tolist())
    assert (x[:tasks] == rounds).all()
    assert slots <= set(range(allowed))
    return slots


@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 4, 5, 97])
@pytest.mark.parametrize("allowed", [0, 1, 2, 3, 4, 9])
def test_every_task_runs_once(tasks, allowed, four):
    check(region(tasks, allowed), tasks, max(1, min(allowed, 4)), 50)


def test_workers_do_join(four):
    segment = region(64, 4, work=20000)
    # On a busy machine the caller may be done before a worker gets a core.
    assert any(len(check(segment, 64, 4, 20)) > 1 for _ in range(100))


def test_sleepers_are_woken(four):
    threads.set_spin(0, 0)  # every wait sleeps
    try:
        check(region(16, 4, work=100), 16, 4, 2000)
    finally:
        threads.set_spin(threads.WORKER_SPIN, threads.CALLER_SPIN)


def test_the_setting_limits_the_slots(four):
    threads.set_num_threads(2)
    assert threads.get_num_threads() == 2
    assert check(region(64, 4, work=1000), 64, 2, 50) <= {0, 1}
    threads.set_num_threads(1)
    assert check(region(64, 4, work=1000), 64, 1, 5) == {0}


def test_settings_are_checked():
    with pytest.raises(ValueError, match="got 0"):
        threads.set_num_threads(0)
    with pytest.raises(TypeError, match="float"):
        threads.set_num_threads(2.0)
    with pytest.raises(TypeError, match="bool"):
        threads.set_num_threads(True)
    with pytest.raises(ValueError, match="negative"):
        threads.set_spin(-1, 0)


def test_eight_python_threads_share_one_pool(four):
    failed = []
    gate = threading.Barrier(8)

    def work():
        gate.wait()
        try:
            check(region(16, 4, work=50), 16, 4, 300)
        except AssertionError as error:
            failed.append(error)

    running = [threading.Thread(target=work) for _ in range(8)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failed


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_workers_start_late_and_stop_before_a_fork(four):
    segment = region(16, 4, work=1000)
    check(segment, 16, 4, 20)
    assert started() >= 3
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            none_yet = started() == 0
            check(segment, 16, 4, 20)
            os.write(write, b"good" if none_yet and started() >= 3 else b"bad")
        finally:
            os._exit(0)
    check(segment, 16, 4, 20)
    os.close(write)
    assert os.read(read, 10) == b"good"
    os.close(read)
    assert os.waitpid(child, 0)[1] == 0


def test_fork_while_others_run_regions(four):
    """The pool and the compiler's lock are whole in a child forked at any moment."""
    stop = threading.Event()
    segment = region(16, 4, work=50)

    def work():
        x = np.zeros(32, np.int64)
        while not stop.is_set():
            segment.run(x.ctypes.data)

    running = [threading.Thread(target=work) for _ in range(2)]
    for thread in running:
        thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                try:
                    check(segment, 16, 4, 5)
                    with compiler.lock:
                        os._exit(7)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    finally:
        stop.set()
        for thread in running:
            thread.join()


EXIT = """
import atexit, os, subprocess, sys, threading
sys.path.insert(0, "tests")
from test_threads import check, region, threads
threads.set_num_threads(4)
def last():
    check(region(16, 4, work=50), 16, 4, 20)
    if hasattr(os, "fork"):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    print("out")
atexit.register(last)  # runs after the pool has stopped: it was registered before
check(region(16, 4, work=50), 16, 4, 20)
def forever():
    segment = region(16, 4, work=50)
    x = (__import__("ctypes").c_int64 * 32)()
    at = __import__("ctypes").addressof(x)
    while True:
        segment.run(at)
for _ in range(2):
    threading.Thread(target=forever, daemon=True).start()
"""


def test_exit_does_not_hang():
    root = Path(__file__).resolve().parent.parent
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", EXIT], cwd=root, capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout.strip()) == (0, b"out"), done.stderr.decode()


def test_the_portable_form_of_waiting():
    """A second pool, with mutex and condition in place of the futex, in this process."""
    code = compiler.load(compiler.compile_text(pool.text(futex=0)), pool.EXPORTS)
    knobs = (ctypes.c_int64 * 3).from_address(code["lucid_knobs"])
    knobs[0], knobs[1], knobs[2] = 4, 0, 0  # every wait sleeps
    image = compiler.compile_text(TEXT.replace("SYMBOL", "portable"))
    address = compiler.load(image, ["portable"], code)["portable"]
    check(Segment([Call(address, [0, 0, 4, 0, 16, 50], [(3, 0, 0)])], True), 16, 4, 1000)
    ctypes.CFUNCTYPE(None)(code["lucid_stop"])()


def test_the_quota_of_the_cgroup(tmp_path):
    membership = tmp_path / "cgroup"
    root = tmp_path / "fs"
    (root / "a" / "b").mkdir(parents=True)
    membership.write_text("0::/a/b\n")
    assert threads._quota(str(membership), str(root)) == 1e9
    (root / "a" / "b" / "cpu.max").write_text("max 100000\n")
    (root / "a" / "cpu.max").write_text("350000 100000\n")
    assert threads._quota(str(membership), str(root)) == 3.5
    (root / "a" / "b" / "cpu.max").write_text("20000 100000\n")
    assert threads._quota(str(membership), str(root)) == 1.0
    # Version 1: the path within the controller's own tree.
    membership.write_text("5:memory:/m\n4:cpu,cpuacct:/c/d\n")
    (root / "cpu,cpuacct" / "c").mkdir(parents=True)
    (root / "cpu,cpuacct" / "c" / "cpu.cfs_quota_us").write_text("200000\n")
    (root / "cpu,cpuacct" / "c" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads._quota(str(membership), str(root)) == 2.0
    (root / "cpu,cpuacct" / "c" / "cpu.cfs_quota_us").write_text("-1\n")
    assert threads._quota(str(membership), str(root)) == 1e9


def test_the_environment_sets_the_number(monkeypatch):
    monkeypatch.setattr(threads, "_limit", [])
    monkeypatch.setattr(settings, "num_threads", 3)
    assert threads.get_num_threads() == 3
    monkeypatch.setattr(threads, "_limit", [])
    monkeypatch.setattr(settings, "num_threads", 0)
    assert threads.get_num_threads() == threads.available() >= 1
