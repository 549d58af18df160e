"""Type promotion by PyTorch's table, written out, for tensors, 0-d tensors and Python numbers."""

import itertools

import numpy as np
import pytest

import lucid
from tests.programs import run_python

NAMES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
# Rows and columns in the order of NAMES: what two tensors with dimensions give.
TABLE = """
b  u8 i8 i16 i32 i64 f16 bf f32 f64
u8 u8 i16 i16 i32 i64 f16 bf f32 f64
i8 i16 i8 i16 i32 i64 f16 bf f32 f64
i16 i16 i16 i16 i32 i64 f16 bf f32 f64
i32 i32 i32 i32 i32 i64 f16 bf f32 f64
i64 i64 i64 i64 i64 i64 f16 bf f32 f64
f16 f16 f16 f16 f16 f16 f16 f32 f32 f64
bf bf bf bf bf bf f32 bf f32 f64
f32 f32 f32 f32 f32 f32 f32 f32 f32 f64
f64 f64 f64 f64 f64 f64 f64 f64 f64 f64
"""
SHORT = dict(zip("b u8 i8 i16 i32 i64 f16 bf f32 f64".split(), NAMES, strict=True))
ROWS = [[SHORT[s] for s in line.split()] for line in TABLE.strip().splitlines()]
CATEGORY = {n: 0 if n == "bool" else 2 if "float" in n else 1 for n in NAMES}


def ones(name, *size):
    return lucid.ones(*size, dtype=getattr(lucid, name))


@pytest.mark.parametrize("a", NAMES)
def test_tensors(a):
    for b, want in zip(NAMES, ROWS[NAMES.index(a)], strict=True):
        wide = getattr(lucid, want)
        assert (ones(a, 2) * ones(b, 2)).dtype is wide
        assert lucid.where(lucid.tensor([True, False]), ones(a, 2), ones(b, 2)).dtype is wide
        assert lucid.cat([ones(a, 1), ones(b, 1)]).dtype is wide
        # A 0-d tensor counts only where its category is higher.
        alone = wide if CATEGORY[b] > CATEGORY[a] else getattr(lucid, a)
        assert (ones(a, 2) * ones(b)).dtype is (getattr(lucid, b) if alone is wide and
                                                CATEGORY[b] > CATEGORY[a] else alone)  # fmt: skip


@pytest.mark.parametrize("a", NAMES)
def test_numbers(a):
    x, own = ones(a, 2), getattr(lucid, a)
    assert (x * True).dtype is own
    assert (x * 2).dtype is (own if a != "bool" else lucid.int64)
    assert (x * 2.5).dtype is (own if CATEGORY[a] == 2 else lucid.float32)
    assert (x / x).dtype is (own if CATEGORY[a] == 2 else lucid.float32)
    assert x.exp().dtype is (own if CATEGORY[a] == 2 else lucid.float32)
    assert (x == 1).dtype is lucid.bool and x.sum().dtype is (
        own if CATEGORY[a] == 2 else lucid.int64
    )
    assert x.argmax().dtype is lucid.int64 and x.any().dtype is lucid.bool


def test_casts():
    values = np.array([-1.0, 0.0, 0.4, 1.6, 2.0, 100.0])
    for a, b in itertools.product(NAMES, NAMES):
        x = lucid.tensor(values).to(getattr(lucid, a)).to(getattr(lucid, b))
        first = lucid.tensor(values).to(getattr(lucid, a))
        assert x.dtype is getattr(lucid, b) and x.shape == (6,)
        if CATEGORY[b] == 0:
            assert x.tolist() == [v != 0 for v in first.tolist()]
        elif a not in ("uint8", "float16", "bfloat16") and b not in ("uint8", "bfloat16"):
            want = np.asarray(first.tolist()).astype(b)
            np.testing.assert_array_equal(np.asarray(x.tolist(), float), want.astype(float))


def test_default_dtype():
    try:
        lucid.set_default_dtype(lucid.float64)
        assert lucid.zeros(1).dtype is lucid.float64
        assert (lucid.ones(1, dtype=lucid.int64) * 2.5).dtype is lucid.float64
    finally:
        lucid.set_default_dtype(lucid.float32)
    with pytest.raises(TypeError, match="floating"):
        lucid.set_default_dtype(lucid.int64)


@pytest.mark.parametrize("data", ["abc", ["a", "b"], [b"x"], [None], [object()], {1: 2}])
def test_what_is_no_number_makes_no_tensor(data):
    with pytest.raises(TypeError, match="tensor: cannot make a tensor of"):
        lucid.tensor(data)


def test_arrays_of_bfloat16_are_known_whoever_loaded_their_type():
    for order in ("ml_dtypes, lucid", "lucid, ml_dtypes"):
        done = run_python(f"""
            import numpy as np
            import {order}
            a = np.array([1.5, -2.0], ml_dtypes.bfloat16)
            for x in (lucid.from_numpy(a), lucid.as_tensor(a), lucid.tensor(a)):
                assert x.dtype is lucid.bfloat16 and x.tolist() == [1.5, -2.0]
            assert lucid.ones(2, dtype=lucid.bfloat16).numpy().dtype == a.dtype
        """)
        assert done.returncode == 0, done.stderr


def test_the_types_of_python():
    """float, int, bool and complex wherever a dtype is expected."""
    x = lucid.tensor([0.0, 1.5])
    for kind, known in (
        (float, lucid.float64), (int, lucid.int64), (bool, lucid.bool), (complex, lucid.complex128),
    ):  # fmt: skip
        for y in (
            lucid.zeros(2, dtype=kind), lucid.empty(2, dtype=kind), lucid.full((2,), 1, dtype=kind),
            lucid.zeros_like(x, dtype=kind), x.new_ones(2, dtype=kind), lucid.eye(2, dtype=kind),
            lucid.tensor([0, 1], dtype=kind), lucid.as_tensor([0, 1], dtype=kind), x.type(kind),
            x.to(kind), x.to("cpu", kind), x.to(dtype=kind),
        ):  # fmt: skip
            assert y.dtype is known, kind
    assert x.to(bool).tolist() == [False, True] and x.to(int).tolist() == [0, 1]
    assert lucid.arange(2.5, dtype=int).tolist() == [0, 1]
    for y in (
        lucid.rand(2, dtype=float), lucid.linspace(0, 1, 2, dtype=float), x.sum(dtype=float),
        x.softmax(0, dtype=float), lucid.hann_window(3, dtype=float), lucid.arange(2, dtype=float),
        lucid.masked.mean(x, dtype=float),
    ):  # fmt: skip
        assert y.dtype is lucid.float64
    y = lucid.compile(lambda x: (x > 1).to(float) + lucid.ones(2, dtype=float))(x)
    assert y.dtype is lucid.float64 and y.tolist() == [1.0, 2.0]
