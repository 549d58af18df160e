"""What this machine can do at most: multiply-adds and reading, measured once in each process.

explain.py holds kernels against it: `lucid.show.machine()`.
"""

import functools
import operator
import time
from collections.abc import Callable
from dataclasses import dataclass

import lucid
from lucid.kernel.expr import mad
from lucid.op import Elementwise

CHAINS = 16  # that do not wait for one another
DEGREE = 8  # multiply-adds of each, for each element that is loaded
SIDE = 512  # of the matrices of a product, which keeps more results in flight on some processors


class multiply_adds(Elementwise):
    """Polynomials of degree DEGREE: enough arithmetic for each load that only it counts, and
    enough of them at a time that none waits for the result of its last step."""

    public = False

    def body(b, x):
        ys = [x + float(n) for n in range(CHAINS)]
        for _ in range(DEGREE):
            ys = [mad(y, 0.5, 0.25) for y in ys]
        return functools.reduce(operator.add, ys)


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
        flops = 2.0 * CHAINS * DEGREE * x.numel() / _best(lambda: multiply_adds(x), 40)
        a = lucid.ones(SIDE, SIDE)
        flops = max(flops, 2.0 * SIDE**3 / _best(lambda: a @ a, 20))
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
