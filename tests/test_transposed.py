"""Reads across the lanes in tiles (backend/cpu/transposed.py), and int64 lanes divided as float64.

On every target, against NumPy, with tiles that do not fit and more threads than one.
"""

import numpy as np
import pytest

from lucid import dtypes as d
from lucid.kernel import expr as e
from lucid.kernel.loops import Axis, Kernel, Map, Store
from tests.kernel_calls import apply, available, buffer, on, run

KINDS = (d.bool_, d.int8, d.bfloat16, d.float32, d.int64, d.float64)


@pytest.fixture(params=available(), autouse=True)
def target(request):
    with on(request.param):
        yield request.param


def turned(kind) -> Kernel:
    """y[i, j, k] = x[i, k, j]: j is contiguous in x, k in y."""
    i, j, k = (e.index(name) for name in "ijk")
    a, b, c = (e.word(name) for name in "abc")
    return Kernel(
        "turned",
        (buffer("x", kind, b * c, b, 1), buffer("y", kind, b * c, c, 1, role="out")),
        ("a", "b", "c"),
        (),
        (Axis("i", a), Axis("j", b), Axis("k", c)),
        (Map((), (Store("y", (i, j, k), e.load("x", [i, k, j], kind)),)),),
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "shape, threads",
    [((1, 1, 1), 1), ((2, 15, 33), 1), ((3, 16, 16), 2), ((2, 49, 17), 2), ((2, 400, 700), 2)],
)
def test_transposed_copy(kind, shape, threads):
    a, b, c = shape
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2 if kind is d.bool_ else 100, (a, c, b)).astype(kind.numpy)
    y = np.zeros(a * b * c + 1, kind.numpy)
    words = {"a": a, "b": b, "c": c}
    assert run(turned(kind), {"x": x, "y": y}, words, threads=threads) is None
    np.testing.assert_array_equal(y[:-1].reshape(a, b, c), x.transpose(0, 2, 1))
    assert y[-1] == 0


def test_division_of_int64_lanes():
    rng = np.random.default_rng(4)
    divisor = rng.integers(1, 1 << 26, 960)
    divisor[:320] = rng.integers(1, 50, 320)
    quotient = rng.integers(-(1 << 24), 1 << 24, 960)
    top = 1 << 51
    for x in (
        *(quotient * divisor + k for k in (-1, 0, 1)),  # beside whole multiples
        *(rng.integers(top - 40, top, 960) * s - (s > 0) * k for s in (1, -1) for k in (0, 7)),
        rng.integers(-(1 << 62), 1 << 62, 960),
    ):
        for y in (divisor, -divisor):
            made = apply(lambda p, q: e.binary("idiv", p, q), [x, y], d.int64)
            want = np.abs(x) // np.abs(y) * np.sign(x) * np.sign(y)
            np.testing.assert_array_equal(made, want)
