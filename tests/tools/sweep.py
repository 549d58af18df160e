"""The vector math in machine code, at every float32 number: the largest error of each function.

    python -m tests.tools.sweep [--target avx512] [--every 1] [--markdown] [exp log ...]

The reference is the float64 function of the same name, which test_math.py holds against
multi-precision values. The errors are computed and folded in the kernel too: about a minute each.
"""

import argparse
import time

import numpy as np

from lucid import dtypes as d
from lucid.backend.cpu.math import FUNCTIONS
from lucid.kernel import expr as e
from lucid.kernel import loops
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Axis, Fold, Kernel, Map, Store
from tests.kernel_calls import available, buffer, on, run

ROW = 4096  # numbers folded together
f32, f64, i32, i64 = d.float32, d.float64, d.int32, d.int64
UNARY = sorted(set(FUNCTIONS) - {"pow", "atan2"})


def error(name: str, x: Expr) -> Expr:
    """The distance to the float64 function in units of the last place of float32; infinite
    where only one is finite or a NaN, or where zeros differ in sign."""
    y = e.math(name, x)
    exact = e.math(name, e.cast(x, f64))
    rounded = e.cast(exact, f32)
    exponent = e.bitcast(e.bitcast(exact, i64) & (0x7FF << 52), f64)
    unit = e.maximum(exponent, e.const(2.0**-126, f64)) * 2.0**-23
    distance = abs(e.cast(y, f64) - exact) / unit
    infinity = float("inf")
    finite = (abs(y) < infinity) & (abs(rounded) < infinity)
    distance = e.where(finite, distance, e.const(infinity, f64))
    # Alike: the same bits, or both NaN. A zero against a number is a distance as any other.
    zeros = y.eq(0) & rounded.eq(0)
    same = e.bitcast(y, i32).eq(e.bitcast(rounded, i32)) & (zeros | ~finite)
    distance = e.where(same | (e.isnan(y) & e.isnan(rounded)), e.const(0, f64), distance)
    wrong = zeros & e.bitcast(y, i32).ne(e.bitcast(rounded, i32))
    return e.where(wrong, e.const(infinity, f64), distance)


def sweep_kernel(name: str) -> Kernel:
    """For each row of numbers, the largest error and where it is."""
    i, j = e.index("i"), e.index("j")
    place = e.scalar("first", i64) + (i * ROW + j) * e.scalar("every", i64)
    x = e.bitcast(e.cast(place, i32), f32)
    worst = loops.extremum_with_index(f64, True)
    row = (Axis("j", e.const(ROW, i64)),)
    stores = (
        Store("error", (i,), loops.folded(0, 0, f64)),
        Store("place", (i,), loops.folded(0, 1, i64)),
    )
    return Kernel(
        f"sweep_{name}",
        (buffer("error", f64, 1, role="out"), buffer("place", i64, 1, role="out")),
        ("rows",),
        ("first", "every"),
        (Axis("i", e.word("rows")),),
        (Fold(0, row, worst, (error(name, x), j)), Map((), stores)),
        "inner",
    )


def sweep(name: str, every: int = 1, threads: int = 2) -> tuple[float, float]:
    """(the largest error, the number where it is)."""
    kernel, best = sweep_kernel(name), (-1.0, 0.0)
    rows = 2048
    step = rows * ROW * every
    errors, places = np.zeros(rows), np.zeros(rows, np.int64)
    for first in range(0, 1 << 32, step):
        arrays = {"error": errors, "place": places}
        assert (
            run(kernel, arrays, {"rows": rows}, {"first": first, "every": every}, threads) is None
        )
        row = int(np.argmax(errors))
        if errors[row] > best[0]:
            number = first + (row * ROW + int(places[row])) * every
            bits = np.array([number & 0xFFFFFFFF], np.uint32)
            best = (float(errors[row]), float(bits.view(np.float32)[0]))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=UNARY)
    parser.add_argument("--target", default=available()[0])
    parser.add_argument("--every", type=int, default=1, help="take each so many-th number")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    with on(given.target):
        for name in given.names:
            start = time.perf_counter()
            worst, place = sweep(name, given.every)
            seconds = time.perf_counter() - start
            if given.markdown:
                print(f"| {name} | {worst:.3f} | {place!r} |", flush=True)
            else:
                print(f"{name:8} {worst:.4f} ulp at {place!r} ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
