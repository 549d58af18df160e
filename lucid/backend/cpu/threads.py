"""The thread pool's Python side: how many threads, loading pool.py, fork and exit.

jit.py shares `lucid_parallel` with kernels from here; lucid exports set_num_threads.
"""

import atexit
import ctypes
import os
import threading
import time

from lucid.backend.cpu import compiler, interrupt, pool
from lucid.config import settings

# How long a worker looks for work, and the caller for its workers, before they sleep. Waking up
# takes far longer than this; spinning on takes the core from others.
WORKER_SPIN = 200.0  # microseconds
CALLER_SPIN = 100.0

_addresses: dict[str, int] = {}
_limit: list[int] = []
_ended: list[bool] = []


def get_num_threads() -> int:
    """How many threads a kernel may use: LUCID_NUM_THREADS, `set_num_threads`, or as many as the
    process's affinity mask and its cgroup's quota allow.

    >>> import lucid
    >>> lucid.get_num_threads() >= 1
    True
    """
    if not _limit:
        _limit.append(min(settings.num_threads, pool.MOST) or available())
    return _limit[0]


def set_num_threads(threads: int) -> None:
    """Let kernels use up to `threads` threads, at least 1; results do not depend on it.

    >>> import lucid
    >>> lucid.set_num_threads(2)
    >>> lucid.get_num_threads()
    2
    """
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise TypeError(f"set_num_threads: int expected, got {type(threads).__name__}")
    if not 1 <= threads <= pool.MOST:
        raise ValueError(f"set_num_threads: from 1 to {pool.MOST} expected, got {threads}")
    _limit[:] = [threads]
    if _addresses:
        _knobs()[0] = threads


def set_spin(worker: float, caller: float) -> None:
    """Microseconds that an idle worker and a joining caller spin before they sleep."""
    if worker < 0 or caller < 0:
        raise ValueError(f"set_spin: times must not be negative, got {worker} and {caller}")
    pauses = ctypes.CFUNCTYPE(None, ctypes.c_int64)(addresses()["lucid_pauses"])
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter_ns()
        pauses(200)
        best = min(best, time.perf_counter_ns() - start)
    each = max(best / 200, 1.0)
    knobs = _knobs()
    knobs[1] = int(worker * 1000 / each)
    knobs[2] = int(caller * 1000 / each)


def addresses() -> dict[str, int]:
    """The pool's symbols, loaded at the first call. No thread starts before a region needs it."""
    if not _addresses:
        with compiler.lock:
            if not _addresses:
                _load()
    return _addresses


def available() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _quota("/proc/self/cgroup", "/sys/fs/cgroup")
    return max(1, min(count, int(quota), pool.MOST))


def _load() -> None:
    text = pool.text()
    found = compiler.cached(text, pool.EXPORTS, lambda: text)
    _addresses.update(found)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_stop, after_in_parent=_resume, after_in_child=_in_child)
    atexit.register(_end)
    signals = _signals()
    signals[interrupt.MAIN] = threading.main_thread().ident or 0
    _knobs()[0] = get_num_threads()
    set_spin(WORKER_SPIN, CALLER_SPIN)


def _stop() -> None:
    """End the workers: nothing of them is left in the child of a fork. They start again lazily."""
    compiler.lock.acquire()  # nobody is in the middle of compiling in the child
    if not _ended and not _in_handler():
        ctypes.CFUNCTYPE(None)(_addresses["lucid_stop"])()


def _resume() -> None:
    if not _ended and not _in_handler():
        ctypes.CFUNCTYPE(None)(_addresses["lucid_resume"])()
    compiler.lock.release()


def _in_child() -> None:
    signals = _signals()
    signals[interrupt.MAIN] = threading.main_thread().ident or 0
    if _in_handler():
        ctypes.CFUNCTYPE(None)(_addresses["lucid_orphan"])()
        if signals[interrupt.POLLING] == threading.get_ident():
            signals[interrupt.ORPHANED] = 1  # back in its kernel, this thread is told so
        else:
            signals[interrupt.POLLING] = 0  # the thread in the handler is not in the child
    _resume()


def _in_handler() -> bool:
    """Whether a signal handler runs that a kernel has let run: the workers are not to be had."""
    return _signals()[interrupt.POLLING] != 0


def _end() -> None:
    """At exit: what runs after this runs serially."""
    if not _ended:
        _ended.append(True)
        ctypes.CFUNCTYPE(None)(_addresses["lucid_stop"])()


def _knobs():
    return (ctypes.c_int64 * 3).from_address(_addresses["lucid_knobs"])


def _signals():
    return (ctypes.c_int64 * 3).from_address(_addresses["lucid_signals"])


def _quota(membership: str, root: str) -> float:
    """CPUs that the cgroup of this process and those around it may use; 1e9 without a quota."""
    quota = 1e9
    text = _read(membership) or ""
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            bases = [root, f"{root}/unified"]
        elif "cpu" in controllers.split(","):
            bases = [f"{root}/{controllers}", f"{root}/cpu"]
        else:
            continue
        for base in bases:
            inner = path.rstrip("/")
            quota = min(quota, _limit_of(base + inner))
            while inner:  # every group around it may have a limit
                inner = inner.rpartition("/")[0]
                quota = min(quota, _limit_of(base + inner))
    return quota


def _limit_of(folder: str) -> float:
    text = _read(f"{folder}/cpu.max")
    if text is None:
        text = f"{_read(f'{folder}/cpu.cfs_quota_us')} {_read(f'{folder}/cpu.cfs_period_us')}"
    allowed, _, period = text.strip().partition(" ")
    if not allowed.isdigit() or not period.strip().isdigit():  # max, -1, or no such file
        return 1e9
    return max(1.0, int(allowed) / int(period))


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None
