"""Matrix products at the native level, against float64 NumPy: sizes, strides, types, epilogues,
thread counts, targets, and the machine code of the register tile."""

import re

import numpy as np
import pytest
from native import buffer, execute, strides

from lucid import dtypes
from lucid.backend.cpu import compiler, gemm, gemm_tile
from lucid.backend.cpu.gemm import MatmulSpec, Operand, plan_matmul
from lucid.backend.cpu.target import target
from lucid.config import settings
from lucid.kernel import expr as e

SHAPES = [(1, 1, 1), (5, 3, 2), (64, 64, 64), (129, 97, 1025), (7, 130, 40), (1, 70, 600)]
SHAPES += [(16, 33, 1100), (100, 10, 784), (33, 1, 70), (4, 9, 0), (0, 3, 4), (3, 0, 4)]


def matmul(a, b, c=None, threads=1, **options):
    """C of the arrays; options of MatmulSpec, arrays `bias`, `residual` and `extra` among them."""
    batch = a.shape[:-2]
    m, k, n = *a.shape[-2:], b.shape[-1]
    if c is None:
        kind = options.get("output")
        c = buffer((*batch, m, n), kind.numpy if kind else a.dtype, np.nan)
    arrays = dict(a=a, b=b, c=c)
    for name in ("residual", "extra"):
        x = arrays[name] = options.pop(f"{name}_array", None)
        if x is not None:
            o = Operand(name, dtypes.from_numpy(x.dtype), strides(x)[:-2], *strides(x)[-2:])
            options["residual" if name == "residual" else "operands"] = (
                o if name == "residual" else (o,)
            )
    arrays["bias"] = options.pop("bias_array", None)
    spec = MatmulSpec(
        *(dtypes.from_numpy(a.dtype), m, n, k),
        *(strides(a)[-2:], strides(b)[-2:], strides(c)[-2:]),
        *(batch, strides(a)[:-2], strides(b)[:-2], strides(c)[:-2]),
        threads=threads,
        **options,
    )
    execute(plan_matmul(spec), **arrays)
    return c


def random(rng, shape, dtype=np.float32, layout="C", offset=0):
    """Standard normal numbers; layout C, F (the last two axes swapped), or S (gaps everywhere)."""
    if layout == "F":
        return np.swapaxes(random(rng, (*shape[:-2], *shape[:-3:-1]), dtype, "C", offset), -1, -2)
    if layout == "S":
        return random(rng, (*shape[:-2], shape[-2] * 2, shape[-1] * 3), dtype)[..., ::2, ::3]
    made = buffer(shape, dtype, offset=offset)
    made[...] = rng.standard_normal(shape)
    return made


def check(c, a, b, dtype=np.float32, value=lambda s: s, scale=1.0):
    wide = [np.asarray(x, np.float64) for x in (a, b)]
    expected = value(wide[0] @ wide[1])
    size = np.abs(wide[0]) @ np.abs(wide[1]) + 1.0
    unit = {"float32": 2.0**-24, "float64": 2.0**-53, "float16": 2.0**-11, "bfloat16": 2.0**-8}
    bound = scale * unit[np.dtype(dtype).name] * (4 + np.sqrt(a.shape[-1])) * size
    error = np.abs(np.asarray(c, np.float64) - expected)
    assert (error <= bound).all(), f"error {error.max()} where {bound.max()} is allowed"


@pytest.mark.parametrize("layouts", ["CC", "CF", "FC", "FF", "SC", "CS", "SS"])
def test_shapes_and_strides(layouts):
    rng = np.random.default_rng(1)
    for m, n, k in SHAPES:
        a, b = random(rng, (m, k), layout=layouts[0]), random(rng, (k, n), layout=layouts[1])
        check(matmul(a, b), a, b)


@pytest.mark.parametrize("name", ["float64", "bfloat16", "float16"])
def test_types(name):
    kind = dtypes.BY_NAME[name].numpy
    rng = np.random.default_rng(2)
    for m, n, k in [(1, 1, 1), (9, 40, 30), (37, 70, 600), (1, 33, 65)]:
        for layouts in ("CC", "CF", "FC", "SS"):
            a, b = (
                random(rng, (m, k), kind, layouts[0]),
                random(rng, (k, n), kind, layouts[1]),
            )
            c = matmul(a, b)
            assert c.dtype == kind
            if name == "float64":
                check(c, a, b, kind)
            else:
                exact = matmul(a, b, output=dtypes.float32)
                check(exact, a, b)
                assert np.array_equal(exact.astype(kind).view(np.int16), c.view(np.int16))


def test_random_shapes():
    rng = np.random.default_rng(3)
    for _ in range(60):
        m, n, k = (int(x) for x in np.exp(rng.uniform(0, 5.5, 3)))
        a, b = (
            random(rng, (m, k), layout=rng.choice(["C", "F"]), offset=int(rng.integers(4))),
            random(rng, (k, n), layout=rng.choice(["C", "F"]), offset=int(rng.integers(4))),
        )
        guard = buffer((m + 2, n + 5), np.float32, 7.0)
        check(matmul(a, b, guard[1:-1, 2:-3]), a, b)
        guard[1:-1, 2:-3] = 7.0
        assert (guard == 7.0).all(), "a store beyond C"


def test_batches():
    rng = np.random.default_rng(4)
    a, b = random(rng, (3, 5, 20, 33)), random(rng, (3, 5, 33, 70))
    check(matmul(a, b), a, b)
    shared = np.broadcast_to(b[:1, :1], (3, 5, 33, 70))
    check(matmul(a, shared), a, shared)
    check(matmul(a, shared, np.swapaxes(buffer((3, 5, 70, 20), np.float32), -1, -2)), a, shared)
    turned = np.swapaxes(a, 0, 1)
    check(matmul(turned, np.swapaxes(b, 0, 1)), turned, np.swapaxes(b, 0, 1))
    row = np.broadcast_to(a[:, :1], (3, 5, 20, 33))
    check(matmul(row, b), row, b)


def test_thread_counts_and_row_splits_give_the_same_bits():
    rng = np.random.default_rng(5)
    for m, n, k in [(200, 300, 900), (8, 700, 800), (64, 64, 3000), (1, 3000, 700)]:
        for layout in "CF":
            a, b = random(rng, (m, k)), random(rng, (k, n), layout=layout)
            one = matmul(a, b)
            for threads in (2, 4):
                assert np.array_equal(one, matmul(a, b, threads=threads))
    a, b = random(rng, (300, 700)), random(rng, (700, 200))
    whole = matmul(a, b)
    for part in (slice(0, 7), slice(7, 8), slice(50, 250)):
        assert np.array_equal(matmul(a[part], b), whole[part])
    columns = matmul(a, np.ascontiguousarray(b[:, 30:140]))
    assert np.array_equal(columns, whole[:, 30:140])


def gelu(x):
    from scipy.special import erf

    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


@pytest.mark.parametrize("shape", [(70, 130, 50), (70, 130, 900), (5, 130, 900), (1, 130, 50)])
def test_epilogues(shape):
    m, n, k = shape
    rng = np.random.default_rng(6)
    a, b, column = random(rng, (m, k)), random(rng, (k, n)), random(rng, (n,))
    row, rest = random(rng, (m,)), random(rng, (m, n))
    for layout in "CF":
        b = random(rng, (k, n), layout=layout)
        c = matmul(a, b, bias="column", bias_array=column, activation="relu")
        check(c, a, b, value=lambda s: np.maximum(s + column, 0))
        assert np.array_equal(np.maximum(matmul(a, b) + column, 0), c)  # fusing changes no bit
        c = matmul(a, b, bias="row", bias_array=row, activation="gelu", residual_array=rest)
        check(c, a, b, value=lambda s: gelu(s + row[:, None]) + rest, scale=2)
        c = rest.copy()
        matmul(a, b, c, beta=1.0, bias="column", bias_array=column)
        check(c, a, b, value=lambda s: s + column + rest)
        assert np.array_equal(matmul(a, b) + column + rest, c)
        x, y = (e.Expr("arg", (), dtypes.float32, i) for i in range(2))
        scaled = np.broadcast_to(row[:, None], (m, n))
        c = matmul(a, b, activation=x * y, extra_array=scaled, threads=2)
        assert np.array_equal(matmul(a, b) * scaled, c)


def test_where_b_lies_changes_no_bit():
    """A B whose rows do not start on lines of the cache is packed, or read from the next line."""
    rng = np.random.default_rng(9)
    for lead, m, n, k in [
        *[((), 64, 256, 600), ((), 50, 70, 33), ((3,), 60, 128, 64)],
        *[((), 1, 400, 700), ((), 8, 400, 30), ((2,), 11, 400, 50)],
    ]:
        a, b = random(rng, (*lead, m, k)), random(rng, (*lead, k, n))
        first = matmul(a, b)
        check(first, a, b)
        for offset in (1, 4):
            moved = buffer(b.shape, np.float32, offset=offset)
            moved[...] = b
            assert np.array_equal(first, matmul(a, moved, threads=2))


def test_strided_results():
    rng = np.random.default_rng(7)
    a, b = random(rng, (40, 30)), random(rng, (30, 50))
    check(matmul(a, b, np.asfortranarray(buffer((40, 50), np.float32))), a, b)
    wide = buffer((40, 150), np.float32, 7.0)
    check(matmul(a, b, wide[:, ::3]), a, b)
    wide[:, ::3] = 7.0
    assert (wide == 7.0).all()


def test_not_a_number_and_infinity_pass():
    a, b = buffer((20, 3), np.float32, 1.0), buffer((3, 70), np.float32, 1.0)
    a[2, 1], b[0, 69] = np.nan, np.inf
    c = matmul(a, b, activation="relu")
    assert np.isnan(c[2]).all() and np.isinf(c[3, 69]) and (c[3, :69] == 3).all()


def test_refusals():
    base = dict(m=2, n=2, k=2, a=(2, 1), b=(2, 1), c=(2, 1))
    with pytest.raises(TypeError, match="floating"):
        plan_matmul(MatmulSpec(dtypes.int32, **base))
    with pytest.raises(ValueError, match="bias"):
        plan_matmul(MatmulSpec(dtypes.float32, **base, bias="diagonal"))
    with pytest.raises(ValueError, match="tanh"):
        plan_matmul(MatmulSpec(dtypes.float32, **base, activation="tanh"))
    with pytest.raises(ValueError, match="length"):
        plan_matmul(MatmulSpec(dtypes.float32, **base, batch=(2,)))


@pytest.mark.parametrize("name", ["avx2", "plain"])
def test_other_targets(name, monkeypatch):
    monkeypatch.setattr(settings, "target", name)
    try:
        target()
    except RuntimeError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(8)
    for m, n, k in [(5, 3, 2), (29, 37, 600), (1, 70, 60)]:
        for layouts in ("CC", "CF", "FC"):
            a, b = random(rng, (m, k), layout=layouts[0]), random(rng, (k, n), layout=layouts[1])
            column = random(rng, (n,))
            c = matmul(a, b, bias="column", bias_array=column, activation="relu")
            check(c, a, b, value=lambda s, column=column: np.maximum(s + column, 0))


def assembly(text):
    import llvmlite.binding as llvm

    compiler.compile_text(text)  # LLVM is ready
    machine = compiler._machine(target())
    module = llvm.parse_assembly(f'target triple = "{machine.triple}"\n{text}')
    passes = llvm.create_new_module_pass_manager()
    for name in compiler.PASSES:
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(2)))
    return machine.emit_assembly(module)


@pytest.mark.parametrize("name", ["avx512", "avx2"])
def test_the_inner_loop_stays_in_registers(name, monkeypatch):
    monkeypatch.setattr(settings, "target", name)
    try:
        machine = target()
    except RuntimeError as error:
        pytest.skip(str(error))
    for kind in (dtypes.float32, dtypes.float64):
        tile = gemm_tile.tile_of(kind, machine)
        for ways in ((False, False), (True, False), (False, True)):  # copying, panels
            text = gemm_tile.emit("body", machine, tile, tile.rows, tile.vectors, False, *ways)
            blocks = re.split(r"^\.L\w+:|^\s+j\w+\s.*", assembly(text), flags=re.M)
            inner = [b for b in blocks if len(re.findall("vfmadd", b)) >= tile.rows * tile.vectors]
            assert inner, "the inner loop was not found"
            for block in inner:
                assert "rsp" not in block, block


def test_blocks_of_k_depend_on_k_alone():
    assert [gemm.depth_of(k) for k in (0, 1, 512, 513, 768, 1024)] == [1, 1, 512, 272, 384, 512]
