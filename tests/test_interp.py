"""The definition of kernels against NumPy; machine code against the definition, bit by bit."""

import os
import time

import numpy as np
import pytest

from lucid import dtypes as d
from lucid.backend.cpu.math import expand
from lucid.backend.cpu.target import target
from lucid.config import settings
from lucid.kernel import expr as e
from lucid.kernel import interp, loops, primitives
from lucid.kernel.loops import Axis, Fold, Kernel, Map, Scan, Store
from tests.kernel_calls import available, buffer, fold_along, fold_down, on, pointwise
from tests.kernel_calls import run as run_native
from tests.random_kernels import Maker, compare

f32 = d.float32
i, j = e.index("i"), e.index("j")
n, m, s = e.word("n"), e.word("m"), e.word("s")


def test_fma_rounds_once():
    rng = np.random.default_rng(3)
    ctypes = pytest.importorskip("ctypes")
    library = ctypes.CDLL(None)
    for kind, name, c in (
        (np.float32, "fmaf", ctypes.c_float),
        (np.float64, "fma", ctypes.c_double),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = c, [c, c, c]
        numbers = rng.standard_normal((600, 3)) * 10.0 ** rng.integers(-30, 30, (600, 3))
        numbers[::3, 2] = -numbers[::3, 0] * numbers[::3, 1]
        numbers[5] = (1e308, -1e308, 1) if kind is np.float64 else (3e38, -3e38, 1)
        numbers[::7, 1] = rng.choice([0.0, -0.0, np.inf, np.nan, 1e-40], 86)
        with np.errstate(all="ignore"):
            for x, y, z in numbers.astype(kind):
                want = kind(function(x, y, z))
                got = primitives.fma(x, y, z)
                assert type(got) is kind
                assert got.tobytes() == want.tobytes() or (np.isnan(got) and np.isnan(want))


def test_pointwise_with_strides_scalars_and_mask():
    x, y = np.arange(12, dtype=np.float32), np.zeros(12, np.float32)
    value = e.load("x", [i], f32) * e.scalar("a", f32) + e.cast(i, f32)
    kernel = Kernel(
        "axpy",
        (buffer("x", f32, -2), buffer("y", f32, 1, role="out")),
        ("n",),
        ("a",),
        (Axis("i", n),),
        (Map((), (Store("y", (i,), value, value > 9),)),),
    )
    starts = {"x": 10}
    assert interp.run(kernel, {"x": x, "y": y}, {"n": 6}, {"a": 2.0}, starts=starts) is None
    want = x[10::-2] * 2 + np.arange(6)
    np.testing.assert_array_equal(y[:6], np.where(want > 9, want, 0))
    with pytest.raises(IndexError, match=r"x\[6\] is element -2 of 12"):
        interp.run(kernel, {"x": x, "y": y}, {"n": 7}, {"a": 2.0}, starts=starts)


@pytest.mark.parametrize("length", [0, 1, 63, 200, 8192 + 130])
def test_folds_have_the_documented_order(length):
    x = np.random.default_rng(5).standard_normal((2, length)).astype(np.float32)
    for vector in ("inner", "none"):
        kernel = Kernel(
            "sum",
            (buffer("x", f32, s, 1), buffer("z", f32, 1, role="out")),
            ("n", "m", "s"),
            (),
            (Axis("i", n),),
            (
                Fold(0, (Axis("j", m),), loops.sum_of(f32), (e.load("x", [i, j], f32),)),
                Map((), (Store("z", (i,), loops.folded(0, 0, f32)),)),
            ),
            vector,
        )
        z = np.ones(2, np.float32)
        interp.run(kernel, {"x": x.reshape(-1), "z": z}, {"n": 2, "m": length, "s": length})
        if vector == "inner":
            want = np.array([fold_along(row, np.float32(0), np.add) for row in x])
        else:
            want = fold_down(x.T, np.float32(0), np.add)
        np.testing.assert_array_equal(z, want)


def test_scan_local_buffers_and_checks():
    """A running product, kept in a local buffer, read back behind a checked position."""
    x = np.array([1, 2, 3, 4, 5, 6], np.int64)
    at = e.load("at", [i], d.int64)
    inside = (at >= 0) & (at < m)
    place = e.checked(e.where(inside, at, e.const(0, d.int64)), inside, 5, at)
    kernel = Kernel(
        "pick",
        (
            buffer("x", d.int64, m, 1),
            buffer("at", d.int64, 1),
            buffer("z", d.int64, 1, role="out"),
            buffer("t", d.int64, 1, role="local", extents=[m]),
        ),
        ("n", "m"),
        (),
        (Axis("i", n),),
        (
            Scan(
                0,
                (Axis("j", m),),
                (e.const(1, d.int64),),
                (loops.state(0, 0, d.int64) * e.load("x", [i, j], d.int64),),
                (Store("t", (j,), loops.after(0, 0, d.int64)),),
            ),
            Map((), (Store("z", (i,), e.load("t", [place], d.int64)),)),
        ),
    )
    z = np.zeros(2, np.int64)
    arrays = {"x": x, "at": np.array([2, 1]), "z": z}
    assert interp.run(kernel, arrays, {"n": 2, "m": 3}) is None
    assert z.tolist() == [6, 20]
    arrays["at"] = np.array([0, -9])
    assert interp.run(kernel, arrays, {"n": 2, "m": 3}) == (5, -9)


def test_what_is_wrong_is_said():
    x = np.zeros(3, np.float32)
    kernel = pointwise(lambda a: e.math("exp", a), [f32], f32, "exp")
    with pytest.raises(TypeError, match="exp is no primitive"):
        interp.run(kernel, {"x0": x, "z": x.copy()}, {"n": 3})
    with pytest.raises(TypeError, match="buffer x0: lucid.float32, not float64"):
        interp.run(kernel, {"x0": x.astype(np.float64), "z": x}, {"n": 3}, expand=expand)
    z = x.copy()
    assert interp.run(kernel, {"x0": x, "z": z}, {"n": 3}, expand=expand) is None
    assert z.tolist() == [1, 1, 1]


def check(seed: int) -> None:
    """Run the random kernel of a seed on every target, and by definition."""
    case = Maker(seed).case()
    wanted: dict[bool, dict] = {}
    for name in available():
        with on(name):
            fused = "fma" in target().flags
            if fused not in wanted:
                wanted[fused] = {k: a.copy() for k, a in case.arrays.items()}
                interp.run(
                    case.kernel,
                    wanted[fused],
                    case.words,
                    case.scalars,
                    fused=fused,
                    expand=expand,
                    starts=case.starts,
                )
            arrays = {k: a.copy() for k, a in case.arrays.items()}
            views = {k: a[case.starts[k] :] for k, a in arrays.items()}
            assert run_native(case.kernel, views, case.words, case.scalars, threads=2) is None
            difference = compare(case, arrays, wanted[fused])
            assert not difference, f"seed {seed} on {name}: {difference}"


SEED = int(os.environ.get("LUCID_SEED", time.time_ns() % 1_000_000_007))


@pytest.mark.parametrize("number", range(int(os.environ.get("LUCID_FUZZ", "12"))))
def test_random_kernels_are_what_they_are_by_definition(number, monkeypatch):
    """LUCID_SEED repeats a run, LUCID_FUZZ says how many kernels."""
    monkeypatch.setattr(settings, "cache_mb", 0)  # no other run will want this machine code
    print(f"LUCID_SEED={SEED + number} LUCID_FUZZ=1")
    check(SEED + number)
