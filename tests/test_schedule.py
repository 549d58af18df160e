"""Kernels built by hand run as machine code on every target, against NumPy; folds bit by bit."""

import numpy as np
import pytest

from lucid import dtypes as d
from lucid.kernel import expr as e
from lucid.kernel import interp, loops
from lucid.kernel.loops import Axis, Fold, Kernel, Map, Scan, Store
from tests.kernel_calls import apply, available, buffer, fold_along, fold_down, on, run

i, j, k, r = (e.index(name) for name in "ijkr")
n, m, s = (e.word(name) for name in "nms")
f32 = d.float32
INTEGERS = (d.int8, d.int16, d.int32, d.int64, d.uint8)


@pytest.fixture(params=available(), autouse=True)
def target(request):
    with on(request.param):
        yield request.param


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def same_bits(a, b):
    """Equal bit by bit, all NaN alike."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype and a.shape == b.shape
    if a.dtype.kind in "fV":
        with np.errstate(invalid="ignore"):
            nan = np.isnan(b.astype(np.float64))
            assert (np.isnan(a.astype(np.float64)) == nan).all()
        unsigned = np.dtype(f"u{a.dtype.itemsize}")
        a, b = a.view(unsigned)[~nan], b.view(unsigned)[~nan]
    np.testing.assert_array_equal(a, b)


def wrapped(values, kind):
    bits = 8 * kind.itemsize
    low = -(1 << (bits - 1)) if kind.signed else 0
    return np.array([(v - low) % (1 << bits) + low for v in values]).astype(kind.numpy)


def quotient(a, b):
    if b == 0:
        return 0
    return abs(a) // abs(b) if (a < 0) == (b < 0) else -(abs(a) // abs(b))


@pytest.mark.parametrize("kind", INTEGERS, ids=lambda kind: kind.name)
def test_integers_are_total(kind, rng):
    info, bits = np.iinfo(kind.numpy), 8 * kind.itemsize
    x = rng.integers(info.min, info.max, 83, endpoint=True, dtype=kind.numpy)
    y = rng.integers(-4 if kind.signed else 0, 5, 83).astype(kind.numpy)
    x[:8] = info.min
    y[:6] = [-1, -1, -1, 0, 0, 0] if kind.signed else 0
    shift = rng.integers(0, bits + 3, 83).astype(kind.numpy)
    if kind.signed:
        shift[:4] = [-1, info.min, bits, bits - 1]

    def check(op, other, rule):
        made = apply(lambda a, b: e.binary(op, a, b), [x, other], kind)
        want = [rule(int(a), int(b)) for a, b in zip(x, other, strict=True)]
        same_bits(made, wrapped(want, kind))

    check("idiv", y, quotient)
    check("irem", y, lambda a, b: a - quotient(a, b) * b if b else 0)
    check("mul", x[::-1].copy(), lambda a, b: a * b)
    check("shl", shift, lambda a, b: a << b if 0 <= b < bits else 0)
    check("shr", shift, lambda a, b: a >> b if 0 <= b < bits else -(a < 0))
    check("lshr", shift, lambda a, b: a % (1 << bits) >> b if 0 <= b < bits else 0)
    same_bits(apply(lambda a, b: a < b, [x, x[::-1].copy()], d.bool_), x < x[::-1])
    same_bits(
        apply(lambda a: e.binary("idiv", abs(a), 7), [x], kind),
        wrapped([quotient(int(v), 7) for v in np.abs(x)], kind),
    )


@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_floats_to_integers_saturate(source):
    x = np.array([0, -0.0, 1.9, -1.9, 3e9, -3e9, 1e19, -1e19, 300, -300, np.inf, -np.inf, np.nan])
    x = np.tile(x.astype(source), 2)
    for kind in INTEGERS:
        low, high = np.iinfo(kind.numpy).min, np.iinfo(kind.numpy).max
        want = []
        for v in x.tolist():
            whole = 0 if v != v else v if abs(v) == np.inf else int(v)
            want.append(int(min(max(whole, low), high)))
        made = apply(lambda a, kind=kind: e.cast(a, kind), [x], kind)
        same_bits(made, np.array(want, object).astype(kind.numpy))


@pytest.mark.parametrize("kind", [d.float16, d.bfloat16], ids=lambda kind: kind.name)
def test_sixteen_bit_floats(kind, rng):
    every = np.arange(65536, dtype=np.uint16).view(kind.numpy)
    same_bits(apply(lambda a: e.cast(a, f32), [every], f32), every.astype(np.float32))
    some = rng.integers(0, 1 << 32, 100_003, dtype=np.uint32).view(np.float32)
    near = rng.standard_normal(50_000) * 10 ** rng.uniform(-9, 6, 50_000)
    # exactly between two neighbours, and one bit to each side of that
    halfway = np.arange(0x33000000, 0x47900000, 0x1000, dtype=np.uint32)
    ties = np.concatenate([halfway - 1, halfway, halfway + 1]).view(np.float32)
    x = np.concatenate([some, near.astype(np.float32), ties])
    with np.errstate(all="ignore"):
        same_bits(apply(lambda a: e.cast(a, kind), [x], kind), x.astype(kind.numpy))
        doubled = apply(lambda a: e.cast(e.cast(a, f32) + e.cast(a, f32), kind), [every], kind)
        same_bits(doubled, (every.astype(np.float32) * 2).astype(kind.numpy))


@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_rounding(source, rng):
    special = [0.5, -0.5, 1.5, 2.5, -0.0, 0.3, -0.3, np.nan, np.inf, -np.inf, 2.0**23 + 1, 2.0**52]
    x = np.concatenate([rng.standard_normal(100) * 100, special]).astype(source)
    kind = d.from_numpy(x.dtype)
    for op in ("floor", "ceil", "trunc", "rint", "sqrt"):
        with np.errstate(invalid="ignore"):
            want = getattr(np, op)(x)
        same_bits(apply(lambda a, op=op: e.unary(op, a), [x], kind), want)


def test_bool(rng):
    a, b = (rng.integers(0, 2, 77).astype(bool) for _ in range(2))
    same_bits(apply(lambda x, y: (x & ~y) | (x ^ y), [a, b], d.bool_), (a & ~b) | (a ^ b))
    same_bits(
        apply(lambda x, y: e.where(x, e.cast(y, f32), 2.0), [a, b], f32),
        np.where(a, b, 2).astype(np.float32),
    )


@pytest.mark.parametrize("size", [1, 63, 70_001])
@pytest.mark.parametrize("threads", [1, 2])
def test_broadcast_strided_misaligned(size, threads, rng):
    x, y, z = e.load("x", [i], f32), e.load("y", [i], f32), e.load("z", [], f32)
    kernel = Kernel(
        "mixed",
        (
            buffer("x", f32, 1),
            buffer("y", f32, s),
            buffer("z", f32),
            buffer("out", f32, e.word("t"), role="out"),
        ),
        ("n", "s", "t"),
        ("a", "b"),
        (Axis("i", n),),
        (
            Map(
                (),
                (
                    Store(
                        "out",
                        (i,),
                        x * e.scalar("a", f32) + y - z + e.cast(e.scalar("b", d.int64), f32),
                    ),
                ),
            ),
        ),
    )
    a = rng.standard_normal(size + 1).astype(np.float32)[1:]
    one = np.float32([0.5])
    for stride, step in ((1, 1), (3, 2), (0, 1), (-1, 1)):
        data = rng.standard_normal(3 * size).astype(np.float32)
        b = np.lib.stride_tricks.as_strided(data, (size,), (4 * stride,))
        if stride < 0:
            b = data[:size][::-1]
        out = np.zeros(step * size, np.float32)
        words = {"n": size, "s": stride, "t": step}
        given = {"x": a, "y": b, "z": one, "out": out}
        assert run(kernel, given, words, {"a": 2.0, "b": 3}, threads) is None
        same_bits(out[::step], a * np.float32(2) + b - one + np.float32(3))
        assert not out[1::2].any() or step == 1


@pytest.mark.parametrize("vector", ["grid", "none"])
def test_transposed_and_masked(vector, rng):
    shape = (5, 7, 33)
    x = rng.standard_normal(shape).astype(np.float32)
    turned = np.ascontiguousarray(x.transpose(2, 1, 0))
    value = e.load("x", [i, j, k], f32)
    names = ("s0", "s1", "s2", "t0", "t1", "t2")
    strides = [e.word(name) for name in names]
    kernel = Kernel(
        "turn",
        (buffer("x", f32, *strides[:3]), buffer("z", f32, *strides[3:], role="out")),
        ("a", "b", "c", *names),
        (),
        (Axis("i", e.word("a")), Axis("j", e.word("b")), Axis("k", e.word("c"))),
        (Map((), (Store("z", (i, j, k), value, value > 0),)),),
        vector,
    )
    words = dict(zip("abc", shape, strict=True))
    z = np.full(shape, 9, np.float32)
    steps = dict(zip(names, (1, 5, 35, 231, 33, 1), strict=True))
    assert run(kernel, {"x": turned, "z": z}, {**words, **steps}) is None
    same_bits(z, np.where(x > 0, x, np.float32(9)))
    z = np.full(shape[::-1], 9, np.float32)
    steps = dict(zip(names, (231, 33, 1, 1, 5, 35), strict=True))
    assert run(kernel, {"x": x, "z": z}, {**words, **steps}) is None
    same_bits(z, np.where(turned > 0, turned, np.float32(9)))


def reduction(name, fold, number, kind, vector, grid=("i",), axes=None):
    return Kernel(
        name,
        (buffer("x", f32, s, 1), buffer("z", kind, *([1] * len(grid)), role="out")),
        ("n", "m", "s"),
        (),
        tuple(Axis(g, n) for g in grid),
        (
            Fold(0, axes or (Axis("j", m),), *fold),
            Map((), (Store("z", tuple(e.index(g) for g in grid), loops.folded(0, number, kind)),)),
        ),
        vector,
    )


@pytest.mark.parametrize("rows, columns", [(3, 5), (37, 300), (2, 20_000), (600, 1)])
def test_folds_in_their_order(rows, columns, rng):
    x = rng.standard_normal((rows, columns)).astype(np.float32)
    total = loops.sum_of(f32), (e.load("x", [i, j], f32),)
    words = {"n": rows, "m": columns, "s": columns}
    for threads in (1, 2):
        z = np.zeros(rows, np.float32)
        kernel = reduction("rows", total, 0, f32, "inner")
        assert run(kernel, {"x": x, "z": z}, words, threads=threads) is None
        same_bits(z, np.array([fold_along(row, np.float32(0), np.add) for row in x]))
        for vector in ("grid", "none"):
            z = np.zeros(rows, np.float32)
            kernel = reduction("rows", total, 0, f32, vector)
            assert run(kernel, {"x": x, "z": z}, words, threads=threads) is None
            same_bits(z, fold_down(x.T.copy(), np.float32(0), np.add))
        down = loops.sum_of(f32), (e.load("x", [j, i], f32),)
        z = np.zeros(columns, np.float32)
        flipped = {"n": columns, "m": rows, "s": columns}
        kernel = reduction("columns", down, 0, f32, "grid")
        assert run(kernel, {"x": x, "z": z}, flipped, threads=threads) is None
        same_bits(z, fold_down(x, np.float32(0), np.add))


@pytest.mark.parametrize("vector", ["inner", "grid", "none"])
@pytest.mark.parametrize("rows, columns", [(1, 1), (33, 70), (2, 9000)])
def test_extrema_and_full_folds(vector, rows, columns, rng):
    x = np.round(rng.standard_normal((rows, columns)) * 4).astype(np.float32)
    x[0, columns // 2] = np.nan
    words = {"n": rows, "m": columns, "s": columns}
    best = loops.extremum_with_index(f32, True), (e.load("x", [i, j], f32), j)
    z = np.zeros(rows, np.int64)
    kernel = reduction("argmax", best, 1, d.int64, vector)
    assert run(kernel, {"x": x, "z": z}, words, threads=2) is None
    same_bits(z, x.argmax(1))
    top = loops.maximum_of(f32), (e.load("x", [i, j], f32),)
    z = np.zeros(rows, np.float32)
    assert run(reduction("max", top, 0, f32, vector), {"x": x, "z": z}, words) is None
    same_bits(z, x.max(1))
    full = loops.sum_of(d.int64), (e.cast(e.load("x", [k, j], f32), d.int64),)
    z = np.zeros((), np.int64)
    kernel = reduction("full", full, 0, d.int64, vector, (), (Axis("k", n), Axis("j", m)))
    assert run(kernel, {"x": x, "z": z}, words) is None
    with np.errstate(invalid="ignore"):
        assert z == np.nan_to_num(x).astype(np.int64).sum()


def softmax(vector, local, length=m):
    x, top, total = e.load("x", [r, j], f32), loops.folded(0, 0, f32), loops.folded(1, 0, f32)
    axis = (Axis("j", length),)
    power = e.math("exp", x - top)
    stages = [Fold(0, axis, loops.maximum_of(f32), (x,))]
    if local:
        stages.append(Map(axis, (Store("t", (j,), power),)))
        power = e.load("t", [j], f32)
    stages.append(Fold(1, axis, loops.sum_of(f32), (power,)))
    stages.append(Map(axis, (Store("y", (r, j), power / total),)))
    return Kernel(
        "softmax",
        (
            buffer("x", f32, s, 1),
            buffer("y", f32, m, 1, role="out"),
            *([buffer("t", f32, 1, role="local", extents=[length])] if local else []),
        ),
        ("n", "m", "s"),
        (),
        (Axis("r", n),),
        tuple(stages),
        vector,
    )


@pytest.mark.parametrize("vector", ["inner", "grid", "none"])
@pytest.mark.parametrize("local", [False, True])
def test_softmax(vector, local, rng):
    kernel = softmax(vector, local)
    for rows, columns in ((1, 1), (3, 70), (70, 700), (700, 70)):
        a = rng.standard_normal((rows, columns)).astype(np.float32)
        made = []
        for threads in (1, 2):
            y = np.zeros_like(a)
            words = {"n": rows, "m": columns, "s": columns}
            assert run(kernel, {"x": a, "y": y}, words, threads=threads) is None
            made.append(y)
        same_bits(made[0], made[1])
        wide = np.exp(a.astype(np.float64) - a.max(1, keepdims=True))
        np.testing.assert_allclose(made[0], wide / wide.sum(1, keepdims=True), rtol=3e-6)


@pytest.mark.parametrize("local", [False, True])
def test_rows_of_known_length_go_together(local, rng):
    """Several rows at each stage, with the bits of one row after another."""
    for rows, columns in ((1, 1), (16, 64), (37, 130), (19, 1000), (5, 3000)):
        a = rng.standard_normal((rows, columns)).astype(np.float32)
        made = []
        for length in (m, e.const(columns, d.int64)):
            for threads in (1, 2):
                y = np.zeros_like(a)
                words = {"n": rows, "m": columns, "s": columns}
                kernel = softmax("inner", local, length)
                assert run(kernel, {"x": a, "y": y}, words, threads=threads) is None
                made.append(y)
        for y in made[1:]:
            same_bits(made[0], y)


@pytest.mark.parametrize("vector", ["inner", "grid"])
def test_scan(vector, rng):
    """Cumulative sum and, beside it, the maximum so far; the final state is read afterwards."""
    load, total, top = e.load("x", [j, i], f32), loops.state(0, 0, f32), loops.state(0, 1, f32)
    kernel = Kernel(
        "cumsum",
        (
            buffer("x", f32, s, 1),
            buffer("z", f32, s, 1, role="out"),
            buffer("before", f32, s, 1, role="out"),
            buffer("last", f32, 1, role="out"),
        ),
        ("n", "m", "s"),
        (),
        (Axis("i", n),),
        (
            Scan(
                0,
                (Axis("j", m),),
                (e.const(0, f32), e.load("x", [e.const(0, d.int64), i], f32)),
                (total + load, e.maximum(top, load)),
                (
                    Store("z", (j, i), loops.after(0, 0, f32)),
                    Store("before", (j, i), top),
                ),
            ),
            Map((), (Store("last", (i,), loops.folded(0, 0, f32)),)),
        ),
        vector,
    )
    for rows, columns in ((1, 1), (37, 53), (20, 1000)):
        x = rng.standard_normal((rows, columns)).astype(np.float32)
        z, before, last = np.zeros_like(x), np.zeros_like(x), np.zeros(columns, np.float32)
        words = {"n": columns, "m": rows, "s": columns}
        arrays = {"x": x, "z": z, "before": before, "last": last}
        assert run(kernel, arrays, words, threads=2) is None
        same_bits(z, np.cumsum(x, 0, dtype=np.float32))
        same_bits(last, z[-1])
        tops = np.maximum.accumulate(x, 0)
        same_bits(before, np.concatenate([x[:1], tops[:-1]]))


def test_scan_reads_what_it_stored(rng):
    """Fibonacci numbers: every step loads the two before it."""
    earlier = [e.load("z", [j + step], d.int64) for step in (0, 1)]
    kernel = Kernel(
        "fibonacci",
        (buffer("z", d.int64, 1, role="inout"),),
        ("m",),
        (),
        (),
        (
            Scan(
                0,
                (Axis("j", m),),
                (e.const(0, d.int64),),
                (loops.state(0, 0, d.int64) + 1,),
                (Store("z", (j + 2,), earlier[0] + earlier[1]),),
            ),
        ),
        "none",
    )
    z = np.zeros(52, np.int64)
    z[1] = 1
    assert run(kernel, {"z": z}, {"m": 50}) is None
    assert z[50] == 12586269025


@pytest.mark.parametrize("form", ["flat", "rows", "lanes"])
def test_checked_gather(form, rng):
    at = e.load("at", [i if form == "flat" else r], d.int64)
    inside = (at >= 0) & (at < m)
    place = e.checked(e.where(inside, at, e.const(0, d.int64)), inside, 7, at)
    if form == "flat":
        grid, axes, target, source = (Axis("i", n),), (), (i,), [place, e.const(0, d.int64)]
    elif form == "rows":
        grid, axes, target, source = (Axis("r", n),), (Axis("j", s),), (r, j), [place, j]
    else:
        grid, axes, target, source = (Axis("r", n), Axis("j", s)), (), (r, j), [place, j]
    kernel = Kernel(
        "take",
        (
            buffer("x", f32, s, 1),
            buffer("at", d.int64, 1),
            buffer("z", f32, *([s] if form != "flat" else []), 1, role="out"),
        ),
        ("n", "m", "s"),
        (),
        grid,
        (Map(axes, (Store("z", target, e.load("x", source, f32)),)),),
        "inner" if form == "rows" else "grid",
    )
    x = rng.standard_normal((50, 19)).astype(np.float32)
    for size in (1, 17, 1003):
        places = rng.integers(0, 50, size)
        z = np.zeros(size if form == "flat" else (size, 19), np.float32)
        words = {"n": size, "m": 50, "s": 19}
        arrays = {"x": x, "at": places, "z": z}
        assert run(kernel, arrays, words, threads=2) is None
        same_bits(z, x[places, 0] if form == "flat" else x[places])
        places[size // 2] = -3
        assert run(kernel, arrays, words) == (7, -3, 0)


@pytest.mark.parametrize("vector", ["inner", "grid", "none"])
def test_ragged_empty_and_bool_folds(vector, rng):
    x = rng.standard_normal((40, 40)).astype(np.float32)
    words = {"n": 40, "m": 40, "s": 40}
    below = loops.maximum_of(f32), (e.load("x", [i, j], f32),)
    kernel = reduction("below", below, 0, f32, vector, axes=(Axis("j", i),))
    z = np.zeros(40, np.float32)
    assert run(kernel, {"x": x, "z": z}, words) is None
    same_bits(z, np.array([x[q, :q].max(initial=-np.inf) for q in range(40)], np.float32))
    positive = loops.all_of(), (e.load("x", [i, j], f32) > -2,)
    kernel = reduction("all", positive, 0, d.bool_, vector)
    z = np.zeros(40, bool)
    assert run(kernel, {"x": x, "z": z}, words) is None
    same_bits(z, (x > -2).all(1))
    z[:] = False
    assert run(kernel, {"x": x[:0], "z": z}, {**words, "m": 0}) is None
    assert z.all()
    assert run(kernel, {"x": x[:0], "z": z[:0]}, {**words, "n": 0}) is None


@pytest.mark.parametrize("vector", ["grid", "none"])
def test_loops_of_constant_extent(vector, rng):
    """Pooling: the loops over a window of 3 x 3 are written out; folds in the documented order."""
    at, three = e.load("x", [r + j, i + k], f32), e.const(3, d.int64)
    window = (Axis("j", three), Axis("k", three))
    kernel = Kernel(
        "pool",
        (
            buffer("x", f32, s, 1),
            buffer("top", f32, m, 1, role="out"),
            buffer("sum", f32, m, 1, role="out"),
        ),
        ("n", "m", "s"),
        (),
        (Axis("r", n), Axis("i", m)),
        (
            Fold(0, window, loops.maximum_of(f32), (at,)),
            Fold(1, window, loops.sum_of(f32), (at,)),
            Map(
                (),
                (
                    Store("top", (r, i), loops.folded(0, 0, f32)),
                    Store("sum", (r, i), loops.folded(1, 0, f32)),
                ),
            ),
        ),
        vector,
    )
    for rows, columns in ((1, 1), (5, 70), (200, 100)):
        x = rng.standard_normal((rows + 2, columns + 2)).astype(np.float32)
        parts = np.lib.stride_tricks.sliding_window_view(x, (3, 3))
        top, total = np.zeros((2, rows, columns), np.float32)
        words = {"n": rows, "m": columns, "s": columns + 2}
        assert run(kernel, {"x": x, "top": top, "sum": total}, words, threads=2) is None
        same_bits(top, parts.max((2, 3)))
        zero = np.float32(0)
        runs = [((zero + p[..., 0]) + p[..., 1]) + p[..., 2] for p in np.moveaxis(parts, 2, 0)]
        same_bits(total, ((zero + runs[0]) + runs[1]) + runs[2])


def test_in_place_update_reads_before_it_writes(rng):
    """Two stores at one element, each of which needs the other's old value."""
    a, b = e.load("a", [i], f32), e.load("b", [i], f32)
    kernel = Kernel(
        "swap",
        (buffer("a", f32, 1, role="inout"), buffer("b", f32, 1, role="inout")),
        ("n",),
        (),
        (Axis("i", n),),
        (Map((), (Store("a", (i,), b), Store("b", (i,), a))),),
    )
    for size in (1, 100, 40_000):
        x, y = rng.standard_normal((2, size)).astype(np.float32)
        first, second = x.copy(), y.copy()
        assert run(kernel, {"a": first, "b": second}, {"n": size}, threads=2) is None
        same_bits(first, y)
        same_bits(second, x)


def test_ordered_rows_see_what_those_before_them_stored(rng):
    """Sums of columns over runs of 8 rows, each row adding to what the ones before it left."""
    at = (r >> 3, j)
    before = e.where((r & 7).eq(0), e.const(0, f32), e.load("p", at, f32))
    kernel = Kernel(
        "running",
        (buffer("x", f32, s, 1), buffer("p", f32, s, 1, role="inout")),
        ("n", "m", "s"),
        (),
        (Axis("r", n),),
        (Map((Axis("j", m),), (Store("p", at, before + e.load("x", [r, j], f32)),)),),
        "inner",
        8,
    )
    for rows, columns in ((1, 1), (20, 35), (3000, 200)):
        x = rng.standard_normal((rows, columns)).astype(np.float32)
        groups = -(-rows // 8)
        p = np.full((groups, columns), np.nan, np.float32)
        words = {"n": rows, "m": columns, "s": columns}
        assert run(kernel, {"x": x, "p": p}, words, threads=2) is None
        padded = np.concatenate([x, np.zeros((groups * 8 - rows, columns), np.float32)])
        same_bits(p, np.cumsum(padded.reshape(groups, 8, columns), 1)[:, -1])
        if rows == 20:
            again = np.full(p.size, np.nan, np.float32)
            interp.run(kernel, {"x": x.ravel(), "p": again}, words)
            same_bits(again, p.ravel())


def test_store_that_lanes_disagree_on_is_refused():
    kernel = Kernel(
        "clash",
        (buffer("x", f32, 1), buffer("z", f32, role="out")),
        ("n",),
        (),
        (Axis("i", n),),
        (Map((), (Store("z", (), e.load("x", [i], f32)),)),),
    )
    with pytest.raises(ValueError, match="store to z"):
        run(kernel, {"x": np.zeros(3, np.float32), "z": np.zeros(1, np.float32)}, {"n": 3})
