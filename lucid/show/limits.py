"""What this machine can do at most: multiply-adds and reading, measured once in each process.

explain.py holds kernels against it: `lucid.show.machine()`.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import lucid
from lucid.kernel.expr import mad
from lucid.op import Elementwise

DEGREE = 32  # multiply-adds for each element that is loaded


class multiply_adds(Elementwise):
    """A polynomial of degree DEGREE: enough arithmetic for each load that only it counts."""

    public = False

    def body(b, x):
        y = x
        for _ in range(DEGREE):
            y = mad(y, 0.5, 0.25)
        return y


@dataclass(frozen=True)
class Machine:
    """Limits on the threads that Lucid uses: multiply-adds count as two operations."""

    threads: int
    flops: float  # float32 operations in a second
    bandwidth: float  # bytes read from memory in a second

    def __str__(self) -> str:
        return (
            f"{self.threads} threads: {self.flops / 1e9:.0f} GFLOP/s float32, "
            f"{self.bandwidth / 1e9:.1f} GB/s read"
        )


def machine() -> Machine:
    """The measured limits; the first call takes about half a second.

    >>> import lucid
    >>> lucid.show.machine().flops > 0
    True
    """
    return _measured(lucid.get_num_threads())


@functools.cache
def _measured(threads: int) -> Machine:
    with lucid.no_grad():
        x = lucid.ones(threads * 65536)
        flops = 2.0 * DEGREE * x.numel() / _best(lambda: multiply_adds.call(x), 40)
        long = lucid.ones(1 << 26)
        bandwidth = long.nbytes / _best(lambda: long.sum(), 5)
    return Machine(threads, flops, bandwidth)


def _best(call: Callable[[], object], times: int) -> float:
    """The shortest of several runs, in seconds."""
    best = float("inf")
    for _ in range(times + 2):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best
