"""Reductions and running sums against NumPy: values, dtypes, layouts, empties, NaN, gradients."""

import gc

import numpy as np
import pytest
from scipy import special

import lucid
from lucid.autograd.check import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)
DIMS = [-1, (0, 2), None]
# name -> the same over NumPy arrays, with (x, axis)
REFERENCES = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "amax": np.max,
    "amin": np.min,
    "var": lambda x, a: np.var(x, axis=a, ddof=1),
    "std": lambda x, a: np.std(x, axis=a, ddof=1),
    "any": np.any,
    "all": np.all,
    "logsumexp": lambda x, a: special.logsumexp(x, axis=a),
    "norm": lambda x, a: np.sqrt(np.sum(x * x, axis=a)),
}


def call(name, x, dim):
    if name == "norm":
        return x.norm(dim=dim)
    if dim is None and name == "logsumexp":
        dim = tuple(range(x.ndim))
    return getattr(x, name)(dim)


def layouts(a):
    """The same elements in other layouts: transposed, every second, reversed, from an offset."""
    yield lucid.tensor(a)
    yield lucid.tensor(np.ascontiguousarray(a.T)).permute(tuple(reversed(range(a.ndim))))
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1] + 1), a.dtype)
    wide[..., 1::2] = a
    yield lucid.from_numpy(wide)[..., 1::2]
    yield lucid.from_numpy(np.ascontiguousarray(a[::-1]))[::-1]


@pytest.mark.parametrize("name", REFERENCES)
def test_values_in_every_layout(name):
    a = RNG.random((3, 17, 5)) + 0.1
    for dim in DIMS:
        want = REFERENCES[name](a, dim)
        plain = None
        for x in list(layouts(a)) if dim == -1 else [lucid.tensor(a)]:
            y = call(name, x, dim).numpy()
            np.testing.assert_allclose(y, want, rtol=1e-12)
            assert y.dtype == want.dtype
            plain = y if plain is None else plain
            if name in ("amax", "amin", "any", "all"):
                np.testing.assert_array_equal(y, plain)


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin", "any", "all"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
def test_integers(name, dtype):
    a = RNG.integers(0, 2 if dtype == "bool" else 5, (4, 9)).astype(dtype)
    for dim in (0, 1, None):
        y = getattr(lucid.tensor(a), name)(() if dim is None else dim)
        want = {"any": "bool", "all": "bool", "sum": "int64", "prod": "int64"}.get(name, dtype)
        assert y.dtype is getattr(lucid, want)
        np.testing.assert_array_equal(y.numpy(), REFERENCES[name](a, dim))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_add_up_in_thirty_two(dtype):
    """70,000 ones are more than float16 can count to, and bfloat16 stops at 256."""
    x = lucid.ones(2, 70000, dtype=getattr(lucid, dtype))
    assert x.mean(1).tolist() == [1.0, 1.0] and x.mean(1).dtype is x.dtype
    assert x.var(1).tolist() == [0.0, 0.0]
    assert abs(x.norm(dim=1)[0].item() - 264.57) < 1.0
    assert abs(x.logsumexp(1)[0].item() - 1 - np.log(70000)) < 0.05
    a = RNG.standard_normal((3, 300)).astype(np.float32) * 100
    low = lucid.tensor(a).to(getattr(lucid, dtype))
    wide = low.float().double().numpy()
    for name in ("mean", "std", "logsumexp"):
        got = call(name, low, 1).float().numpy()
        np.testing.assert_allclose(got, REFERENCES[name](wide, 1), rtol=8e-3)


def test_mean_of_equal_elements_is_exact():
    for n in (3, 7, 49, 1000, 1023):
        assert lucid.ones(n).mean().item() == 1.0
        assert lucid.ones(2, n, dtype=lucid.float64).mean(1).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["max", "min"])
def test_located(name):
    a = RNG.integers(0, 4, (5, 8)).astype(np.float32)  # with ties: the first wins
    place = {"max": np.argmax, "min": np.argmin}[name]
    for dim in (0, 1):
        values, indices = getattr(lucid.tensor(a), name)(dim)
        np.testing.assert_array_equal(indices.numpy(), place(a, dim))
        np.testing.assert_array_equal(values.numpy(), getattr(np, name)(a, dim))
        y = getattr(lucid.tensor(a), f"arg{name}")(dim, keepdim=True)
        np.testing.assert_array_equal(y.numpy(), place(a, dim)[(slice(None),) * dim + (None,)])
    assert getattr(lucid.tensor(a), f"arg{name}")().item() == place(a)
    a[1, 2] = a[1, 5] = np.nan
    values, indices = getattr(lucid.tensor(a), name)(1)
    assert np.isnan(values[1].item()) and indices[1].item() == 2
    assert lucid.tensor(a).argmax().item() == 1 * 8 + 2


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "amax", "var", "logsumexp", "norm"])
def test_nan_and_infinities(name):
    for special_value in (np.nan, np.inf, -np.inf):
        a = RNG.random((3, 5))
        a[1, 3] = special_value
        with np.errstate(all="ignore"):
            want = REFERENCES[name](a, 1)
        np.testing.assert_allclose(call(name, lucid.tensor(a), 1).numpy(), want, rtol=1e-12)


def test_empty():
    x = lucid.zeros(0, 3)
    assert x.sum().item() == 0 and x.prod(0).tolist() == [1, 1, 1] and x.sum(1).shape == (0,)
    assert np.isnan(x.mean().item()) and np.isnan(x.var(0).numpy()).all()
    assert x.any().item() is False and x.all().item() is True
    assert x.logsumexp(0).tolist() == [-np.inf] * 3
    assert x.softmax(0).shape == (0, 3) and x.log_softmax(1).shape == (0, 3)
    assert x.amax(1).shape == (0,) and x.max(1)[1].shape == (0,)
    for name in ("amax", "amin", "max", "min", "argmax"):
        with pytest.raises(IndexError, match="size 0"):
            getattr(x, name)(0)
    assert x.cumsum(0).shape == (0, 3) and lucid.zeros(3, 0).cumprod(1).shape == (3, 0)


def test_scalars():
    x = lucid.tensor(2.5, dtype=lucid.float64)
    for name in ("sum", "mean", "prod", "amax", "logsumexp", "cumsum", "cumprod"):
        assert getattr(x, name)(-1).item() == 2.5 and getattr(x, name)(0).shape == ()
    assert x.max(0)[1].item() == 0 and x.argmax().item() == 0 and np.isnan(x.var().item())


def test_options():
    a = RNG.standard_normal((3, 4, 5))
    x = lucid.tensor(a)
    assert x.sum((0, 2), keepdim=True).shape == (1, 4, 1)
    assert x.float().sum(dtype=lucid.float64).dtype is lucid.float64
    assert lucid.tensor([1, 2]).mean(dtype=lucid.float32).item() == 1.5
    for correction in (0, 1, 2):
        np.testing.assert_allclose(
            x.var((0, 1), correction=correction).numpy(), a.var((0, 1), ddof=correction)
        )
    variance, mean = lucid.var_mean(x, 1, keepdim=True)
    assert variance.shape == mean.shape == (3, 1, 5)
    for p in (0, 0.5, 1, 1.5, 2, 3, np.inf, -np.inf):
        want = np.array([np.linalg.norm(row, p) for row in a[0]])
        np.testing.assert_allclose(x[0].norm(p, 1).numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_running(name):
    a = RNG.standard_normal((3, 40, 5))
    for x in layouts(a):
        for dim in range(3):
            want = getattr(np, name)(a, axis=dim)
            np.testing.assert_allclose(getattr(x, name)(dim).numpy(), want, rtol=1e-11)
    i = RNG.integers(0, 3, (4, 6)).astype(np.int8)
    y = getattr(lucid.tensor(i), name)(1)
    assert y.dtype is lucid.int64
    np.testing.assert_array_equal(y.numpy(), getattr(np, name)(i, axis=1, dtype=np.int64))


@pytest.mark.parametrize("shape, dim", [((1,), 0), ((3, 1), 1), ((1, 4), 0), ((2, 1, 4), 1)])
def test_running_over_one(shape, dim):
    """A dimension of size 1, contiguous or not: each element is its own result."""
    a = RNG.uniform(0.5, 2.0, shape)
    for x in layouts(a):
        for name in ("cumsum", "cumprod", "logcumsumexp"):
            np.testing.assert_array_equal(getattr(x, name)(dim).numpy(), a)
        for name in ("cummax", "cummin"):
            values, places = getattr(x, name)(dim)
            np.testing.assert_array_equal(values.numpy(), a)
            assert not places.any()
    x = lucid.tensor(a, requires_grad=True)
    (x.cumsum(dim) * x.cumprod(dim)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * a)


def test_bad_dimensions():
    x = lucid.zeros(2, 3)
    for name in ("sum", "mean", "amax", "any", "var", "logsumexp", "cumsum", "max", "softmax"):
        for bad in (2, -3):
            with pytest.raises(IndexError, match=r"out of range for 2 dimensions.*-2 to 1"):
                getattr(x, name)(bad)
        with pytest.raises(TypeError, match="int"):
            getattr(x, name)(1.0)
    with pytest.raises(RuntimeError, match=r"mean.*floating.*int64"):
        lucid.tensor([1]).mean()


FUNCTIONS = {
    "sum": lambda x: x.sum(1),
    "mean": lambda x: x.mean((0, 1)),
    "prod": lambda x: x.prod(1),
    "prod all": lambda x: x.prod(),
    "amax": lambda x: x.amax(1),
    "max": lambda x: x.max(1)[0],
    "var": lambda x: x.var(1),
    "std": lambda x: x.std(0),
    "logsumexp": lambda x: x.logsumexp(0),
    "norm": lambda x: x.norm(dim=1),
    "norm 3": lambda x: x.norm(3, 1),
    "norm 1.5": lambda x: x.norm(1.5),
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x.cumprod(1),
    "cumprod 0": lambda x: x.cumprod(0),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name):
    x = lucid.tensor(RNG.standard_normal((3, 4)) + 0.1, requires_grad=True)
    gc.disable()
    try:
        assert gradcheck(FUNCTIONS[name], (x,))
        assert gradgradcheck(FUNCTIONS[name], (x,), atol=1e-4)
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["prod", "prod all", "cumprod", "cumprod 0"])
def test_products_have_gradients_at_zeros(name):
    a = np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 2.0], [2.0, 5.0, -4.0], [0.0, 0.0, 0.0]])
    x = lucid.tensor(a, requires_grad=True)
    assert gradcheck(FUNCTIONS[name], (x,))
    assert gradgradcheck(FUNCTIONS[name], (x,), atol=1e-4)


def test_gradients_at_the_corner_of_a_norm_are_zero():
    for p in (0.5, 1, 1.5, 2, 3):
        x = lucid.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
        x.norm(p, 1).sum().backward()
        assert x.grad[0].tolist() == [0.0, 0.0] and x.grad.isfinite().all().item()
    x = lucid.ones(3, requires_grad=True)
    x.std().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_equal_extremes_share_the_gradient():
    x = lucid.tensor([[1.0, 4.0], [4.0, 4.0]], requires_grad=True)
    x.max().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0, 1 / 3], [1 / 3, 1 / 3]], rtol=1e-6)
    x.grad = None
    x.max(1)[0].sum().backward()  # along a dimension the first has it
    assert x.grad.tolist() == [[0.0, 1.0], [1.0, 0.0]]
