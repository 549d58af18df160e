"""Every elementwise record against its reference, its gradient against finite differences.

The cases come from the records themselves: `ref`, `domain`, `domain_NAME`, `optional`.
"""

import numpy as np
import pytest

import lucid
import lucid.nn.functional  # noqa: F401  (some records are loaded with it)
from lucid.autograd.check import gradcheck, gradgradcheck
from lucid.dtypes import BOOL, FLOATING, INTEGER
from lucid.op import Elementwise, records
from lucid.ops import functions

RECORDS = sorted(
    (r for r in records().values() if issubclass(r, Elementwise) and hasattr(r, "ref")),
    key=lambda r: r.name,
)
SMOOTH = [r for r in RECORDS if r.rules and r.result != "bool" and not hasattr(r, "kinks")]
# Steps and corners: finite differences across them mean nothing, so inputs keep away.
STEPS = {"floor", "ceil", "trunc", "round", "frac", "sign", "fmod", "remainder", "floor_divide"}


def inputs_of(record, dtype, shapes=None, seed=0):
    """Arrays for a record's inputs, inside its domain, away from integers."""
    rng = np.random.default_rng(seed)
    arrays = []
    for i, name in enumerate(record.inputs):
        low, high = getattr(record, f"domain_{name}", getattr(record, "domain", (-3.0, 3.0)))
        shape = (3, 4) if shapes is None else shapes[i % len(shapes)]
        if name == "condition":
            arrays.append(rng.random(shape) > 0.5)
            continue
        x = rng.uniform(low, high, shape)
        near = np.abs(x - np.round(x)) < 0.05
        x = np.where(near, x + np.where(x + 0.1 < high, 0.1, -0.1), x)
        arrays.append(x.astype(dtype))
    return arrays


def call(record, tensors):
    return record.dispatch(record, tuple(tensors), tuple(record.defaults.values()))


def reference(record, arrays):
    with np.errstate(all="ignore"):
        return record.ref(*arrays)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_value(record):
    if FLOATING in record.refuses:
        arrays = [a.astype(np.int64) for a in inputs_of(record, np.float64)]
        arrays = [np.abs(a) if i else a for i, a in enumerate(arrays)]
        y = call(record, [lucid.tensor(a) for a in arrays])
        np.testing.assert_array_equal(y.numpy(), reference(record, arrays))
        return
    for dtype, tolerance in ((np.float32, 3e-6), (np.float64, 1e-13)):
        arrays = inputs_of(record, dtype)
        y = call(record, [lucid.tensor(a) for a in arrays])
        wide = reference(record, [a if a.dtype == bool else a.astype(np.float64) for a in arrays])
        np.testing.assert_allclose(y.numpy(), wide, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_layouts_do_not_change_bits(record):
    """Transposed, strided, misaligned, broadcast, 0-d and empty inputs give the same elements."""
    dtype = np.int64 if FLOATING in record.refuses else np.float32
    arrays = [np.abs(a).astype(dtype) if a.dtype != bool else a for a in inputs_of(record, "f8")]
    if dtype == np.int64:
        arrays = [a + (i > 0) for i, a in enumerate(arrays)]
    plain = call(record, [lucid.tensor(a) for a in arrays])

    def turned(a):
        return lucid.tensor(np.ascontiguousarray(a.T)).t()

    def strided(a):
        wide = np.zeros((3, 9), a.dtype)
        wide[:, 1::2] = a
        return lucid.from_numpy(wide)[:, 1::2]

    for layout_of in (turned, strided):
        y = call(record, [layout_of(a) for a in arrays])
        np.testing.assert_array_equal(y.numpy(), plain.numpy())
    if len(arrays) > 1:
        row = [a if i == 0 else a[:1] for i, a in enumerate(arrays)]
        full = [a if i == 0 else np.repeat(a[:1], 3, 0) for i, a in enumerate(arrays)]
        y = call(record, [lucid.tensor(a) for a in row])
        assert lucid.equal(y, call(record, [lucid.tensor(a) for a in full]))
    scalar = call(record, [lucid.tensor(a[1, 2]) for a in arrays])
    assert scalar.shape == () and scalar.item() == pytest.approx(plain[1, 2].item(), nan_ok=True)
    empty = call(record, [lucid.tensor(a[:0]) for a in arrays])
    assert empty.shape == (0, 4) and empty.dtype is plain.dtype


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_specials(record):
    """NaN, infinities and signed zeros as the reference has them."""
    others = ("erfinv", "round", "exp_negative")  # the last is for arguments below 0
    if FLOATING in record.refuses or len(record.inputs) != 1 or record.name in others:
        pytest.skip("not a floating op of one input")
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float64)
    want = np.asarray(reference(record, [x]))
    got = call(record, [lucid.tensor(x)]).numpy()
    if record.name in ("lgamma", "digamma", "silu", "hardswish", "mish", "gelu", "softplus"):
        want, got = want[:2], got[:2]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize("record", SMOOTH, ids=lambda r: r.name)
def test_gradients(record):
    if FLOATING in record.refuses:
        pytest.skip("integers have no gradient")
    arrays = inputs_of(record, np.float64, [(2, 3), (3,)])
    tensors = [
        lucid.tensor(a, requires_grad=a.dtype != bool and name in record.rules)
        for a, name in zip(arrays, record.inputs, strict=True)
    ]
    assert gradcheck(lambda *xs: call(record, xs), tensors)
    if record.name not in STEPS:
        assert gradgradcheck(lambda *xs: call(record, xs), tensors, atol=1e-4)


@pytest.mark.parametrize(
    "record", [r for r in RECORDS if r.public and r.name in functions], ids=lambda r: r.name
)
def test_in_place_and_out(record):
    dtype = np.int64 if FLOATING in record.refuses else np.float32
    arrays = [np.abs(a).astype(dtype) if a.dtype != bool else a for a in inputs_of(record, "f8")]
    arrays = [a + (i > 0) if dtype == np.int64 else a for i, a in enumerate(arrays)]
    y = call(record, [lucid.tensor(a) for a in arrays])
    method = getattr(lucid.Tensor, f"{record.name}_", None)
    if (
        method is not None
        and y.dtype is lucid.tensor(arrays[0]).dtype
        and "t1" not in record.inputs
    ):
        x = lucid.tensor(arrays[0])
        before = x._version
        assert method(x, *[lucid.tensor(a) for a in arrays[1:]]) is x
        assert x._version == before + 1
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    target = lucid.empty(y.shape, dtype=y.dtype)
    function = functions[record.name]
    if hasattr(function, "record"):
        function(*[lucid.tensor(a) for a in arrays], out=target)
        np.testing.assert_array_equal(target.numpy(), y.numpy())
        with pytest.raises(RuntimeError, match="shape"):
            function(*[lucid.tensor(a) for a in arrays], out=lucid.empty(7, dtype=y.dtype))


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_inputs_are_not_changed(record):
    dtype = np.int64 if FLOATING in record.refuses else np.float32
    arrays = [np.abs(a).astype(dtype) if a.dtype != bool else a for a in inputs_of(record, "f8")]
    arrays = [a + (i > 0) if dtype == np.int64 else a for i, a in enumerate(arrays)]
    tensors = [lucid.tensor(a) for a in arrays]
    versions = [t._version for t in tensors]
    call(record, tensors)
    for t, a, v in zip(tensors, arrays, versions, strict=True):
        assert t._version == v
        np.testing.assert_array_equal(t.numpy(), a)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_refusals(record):
    """A category that a record refuses raises before anything is computed."""
    kinds = {BOOL: lucid.bool, INTEGER: lucid.int64, FLOATING: lucid.float32}
    for category in record.refuses:
        given = [lucid.ones(2, dtype=kinds[category]) for _ in record.inputs]
        with pytest.raises(TypeError, match=record.name):
            call(record, given)


def test_integer_division_by_zero_raises():
    x, zero = lucid.tensor([1, 2]), lucid.tensor([1, 0])
    for function in (lucid.floor_divide, lucid.remainder, lucid.fmod):
        with pytest.raises(ZeroDivisionError):
            function(x, zero)


def test_every_record_says_what_it_is():
    for record in records().values():
        assert record.__doc__, record.name
        for name in record.rules:
            assert name in record.inputs, f"{record.name}: a rule for {name}, which is no input"
