"""Sorting, searching, counting: against NumPy, with NaN, signed zeros and ties; gradients."""

import numpy as np
import pytest

import lucid
from lucid.autograd import gradcheck

KINDS = "float32 float64 float16 bfloat16 int8 uint8 int16 int32 int64 bool".split()


def numbers(kind, shape, seed=0):
    """Tensors with ties, and for floating types NaN, infinities and both zeros."""
    rng = np.random.default_rng(seed)
    a = np.round(rng.normal(size=shape) * 20)
    flat = a.reshape(-1)
    if "float" in kind and flat.size > 10:
        flat[::5], flat[1::7], flat[2::7], flat[3::11] = np.nan, 0.0, -0.0, np.inf
    if kind == "uint8":
        a = np.abs(a)
    return lucid.tensor(a).to(getattr(lucid, kind))


def order(x, descending):
    """The places of a stable sort by definition: NaN after everything, -0.0 equal to 0.0."""
    a = x.double().numpy() if x.is_floating_point() else x.long().numpy()
    rank = np.unique(a, return_inverse=True, equal_nan=True)[1].reshape(a.shape)
    return np.argsort(-rank if descending else rank, -1, kind="stable")


@pytest.mark.parametrize("kind", KINDS)
def test_sort_and_topk_of_every_type(kind):
    """Rows sorted by insertion, by bytes, and by several threads; few wanted and many."""
    for shape in ((1,), (7,), (3, 40), (3, 41), (5, 300), (2, 523), (2, 5000)):
        x = numbers(kind, shape)
        for descending in (False, True):
            places = order(x, descending)
            values, found = x.sort(-1, descending)
            np.testing.assert_array_equal(found.numpy(), places)
            wanted = np.take_along_axis(x.double().numpy(), places, -1)
            np.testing.assert_array_equal(values.double().numpy(), wanted)
            np.testing.assert_array_equal(np.signbit(values.double().numpy()), np.signbit(wanted))
            for k in (1, min(5, shape[-1]), shape[-1] // 2):
                values, found = x.topk(k, largest=descending)
                np.testing.assert_array_equal(found.numpy(), places[..., :k])
        for k in {1, (shape[-1] + 1) // 2, shape[-1] - shape[-1] // 50}:  # one place of a row
            np.testing.assert_array_equal(x.kthvalue(k)[1].numpy(), order(x, False)[..., k - 1])


def test_sort_along_other_dimensions_and_of_views():
    x = lucid.rand(4, 5, 6)
    for view in (x, x.transpose(0, 2), x[:, ::2], x.flip(1), x.expand(2, 4, 5, 6)):
        for dim in range(-view.ndim, view.ndim):
            wanted = np.sort(view.numpy(), dim)
            np.testing.assert_array_equal(view.sort(dim)[0].numpy(), wanted)
            np.testing.assert_array_equal(view.msort().numpy(), np.sort(view.numpy(), 0))
    assert lucid.tensor(2.0).sort()[0].item() == 2.0
    assert lucid.zeros(2, 0).sort()[0].shape == (2, 0)


def test_threads_do_not_change_the_order():
    x = lucid.randint(0, 9, (300, 200))
    threads = lucid.get_num_threads()
    wanted = x.argsort(1).numpy()
    try:
        lucid.set_num_threads(1)
        np.testing.assert_array_equal(x.argsort(1).numpy(), wanted)
    finally:
        lucid.set_num_threads(threads)


def test_gradients():
    x = (lucid.randperm(24).double().reshape(2, 3, 4) / 7).requires_grad_()
    functions = [
        lambda x: x.sort(1)[0], lambda x: x.topk(2, 0)[0], lambda x: x.kthvalue(2, 1)[0],
        lambda x: x.median(2)[0], lambda x: x.median(), lambda x: x.mode(1)[0],
        lambda x: x.quantile(0.3, 1), lambda x: x.cummax(2)[0], lambda x: x.cummin(0)[0],
        lambda x: x.logcumsumexp(1), lambda x: x.msort(), lambda x: x.nanmedian(1)[0],
    ]  # fmt: skip
    for function in functions:
        assert gradcheck(function, [x])


def test_median_and_quantiles():
    a = np.random.default_rng(0).normal(size=(5, 8))
    a[0, 3] = np.nan
    x = lucid.tensor(a)
    low = np.sort(a, 1)[:, 3]
    low[0] = np.nan
    np.testing.assert_array_equal(x.median(1)[0].numpy(), low)
    assert np.isnan(a[0, int(x.median(1)[1][0])])
    np.testing.assert_array_equal(x.nanmedian(1)[0].numpy()[0], np.sort(a[0])[3])
    q = lucid.tensor([0.0, 0.3, 1.0], dtype=lucid.float64)
    for how in ("linear", "lower", "higher", "midpoint", "nearest"):
        for dim in (None, 0, 1):
            for keepdim in (False, True):
                got = x.quantile(q, dim, keepdim, interpolation=how)
                want = np.quantile(a, q.numpy(), dim, method=how, keepdims=keepdim)
                np.testing.assert_allclose(got.numpy(), want)
                got = x.nanquantile(q, dim, keepdim, interpolation=how)
                want = np.nanquantile(a, q.numpy(), dim, method=how, keepdims=keepdim)
                np.testing.assert_allclose(got.numpy(), want)


def test_mode_is_the_smallest_of_the_most_frequent():
    x = lucid.tensor([[3, 1, 3, 1, 2], [5, 5, 4, 0, 4]])
    values, places = x.mode()
    assert values.tolist() == [1, 4] and places.tolist() == [3, 4]
    assert x.mode(0, keepdim=True)[0].tolist() == [[3, 1, 3, 0, 2]]


def test_running_extremes():
    nan = float("nan")
    x = lucid.tensor([[1.0, 3.0, 3.0, nan, 5.0], [2.0, 1.0, 2.0, 0.0, 2.0]])
    values, places = x.cummax(1)
    np.testing.assert_array_equal(values.numpy(), [[1, 3, 3, nan, nan], [2, 2, 2, 2, 2]])
    assert places.tolist() == [[0, 1, 2, 3, 3], [0, 0, 2, 2, 4]]
    assert x[1].cummin(0)[1].tolist() == [0, 1, 1, 3, 3]
    assert lucid.tensor([True, False]).cummin(0)[0].tolist() == [True, False]
    a = np.random.default_rng(0).normal(size=(3, 50)) * 100
    np.testing.assert_allclose(
        lucid.tensor(a).logcumsumexp(1).numpy(), np.logaddexp.accumulate(a, 1), rtol=1e-12
    )
    low = lucid.tensor([-float("inf"), -float("inf"), 0.0, float("inf")]).logcumsumexp(0)
    np.testing.assert_array_equal(low.numpy(), [-np.inf, -np.inf, 0.0, np.inf])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.int8])
def test_search(kind):
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 7, 8, 100):
        row = np.sort((rng.normal(size=n) * 4).astype(kind))
        x = (rng.normal(size=(3, 11)) * 4).astype(kind)
        for right in (False, True):
            want = np.searchsorted(row, x, "right" if right else "left")
            a, b = lucid.tensor(row), lucid.tensor(x)
            np.testing.assert_array_equal(lucid.searchsorted(a, b, right=right).numpy(), want)
            np.testing.assert_array_equal(lucid.bucketize(b, a, right=right).numpy(), want)
            rows = a.expand(3, n)
            np.testing.assert_array_equal(lucid.searchsorted(rows, b, right=right).numpy(), want)
    shuffled = lucid.tensor(row).flip(0)
    found = lucid.searchsorted(shuffled, b, sorter=shuffled.argsort(), out_int32=True)
    np.testing.assert_array_equal(found.numpy(), np.searchsorted(row, x))
    assert found.dtype is lucid.int32


def test_unique():
    rng = np.random.default_rng(0)
    for a in (rng.integers(0, 5, (6, 4)), rng.integers(0, 2, (9, 2)), np.array([1.5, -0.0, 1.5])):
        for dim in (None, *range(a.ndim)):
            got = lucid.unique(lucid.tensor(a), return_inverse=True, return_counts=True, dim=dim)
            want = np.unique(a, return_inverse=True, return_counts=True, axis=dim)
            for x, y in zip(got, want, strict=True):
                np.testing.assert_array_equal(x.numpy(), y.reshape(tuple(x.shape)))
    x = lucid.tensor([1, 1, 2, 2, 2, 1])
    got = x.unique_consecutive(return_inverse=True, return_counts=True)
    assert [y.tolist() for y in got] == [[1, 2, 1], [0, 0, 1, 1, 1, 2], [2, 3, 1]]
    assert lucid.unique_consecutive(x.reshape(3, 2), dim=0).tolist() == [[1, 1], [2, 2], [2, 1]]
    assert lucid.unique(lucid.zeros(0)).shape == (0,)


def test_counts():
    rng = np.random.default_rng(0)
    a, w = rng.integers(0, 9, 100), rng.normal(size=100)
    x = lucid.tensor(a)
    np.testing.assert_array_equal(x.bincount(minlength=12).numpy(), np.bincount(a, None, 12))
    np.testing.assert_allclose(x.bincount(lucid.tensor(w)).numpy(), np.bincount(a, w))
    z = lucid.tensor(w)
    for low, high in ((0, 0), (-1, 1)):
        want = np.histogram(w, 10, None if low == high else (low, high))[0]
        np.testing.assert_array_equal(z.histc(10, low, high).numpy(), want)
    got = z.histogram(lucid.tensor([-1.0, 0.0, 0.5, 2.0], dtype=lucid.float64), density=True)
    np.testing.assert_allclose(got[0].numpy(), np.histogram(w, [-1, 0, 0.5, 2], density=True)[0])
    assert lucid.isin(x, lucid.tensor([3, 1])).tolist() == np.isin(a, [3, 1]).tolist()
    assert lucid.isin(x, 3, invert=True).tolist() == (a != 3).tolist()


def test_multinomial():
    lucid.manual_seed(0)
    weights = lucid.tensor([[1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    drawn = weights.multinomial(20_000, replacement=True).numpy()
    for row, w in zip(drawn, weights.numpy(), strict=True):
        np.testing.assert_allclose(np.bincount(row, minlength=4) / 20_000, w / w.sum(), atol=0.02)
    many = weights[:1].expand(4000, 4).multinomial(2).numpy()
    np.testing.assert_allclose(np.bincount(many[:, 0]) / 4000, [1 / 6, 1 / 3, 1 / 2], atol=0.03)
    # P(second is 0) = sum over the first j of p_j p_0 / (1 - p_j)
    second = 1 / 3 * (1 / 6) / (2 / 3) + 1 / 2 * (1 / 6) / (1 / 2)
    np.testing.assert_allclose(np.bincount(many[:, 1])[0] / 4000, second, atol=0.03)
    assert (many[:, 0] != many[:, 1]).all()


def test_errors():
    x = lucid.rand(3, 4)
    for call, error in (
        (lambda: x.topk(5), "k is 5"), (lambda: x.kthvalue(0), "k is 0"),
        (lambda: x.sort(2), "out of range"), (lambda: x.quantile(2.0), "between 0 and 1"),
        (lambda: lucid.searchsorted(x, lucid.rand(2, 4)), "must agree"),
        (lambda: lucid.tensor([-1]).bincount(), "negative"),
        (lambda: x.multinomial(5), "without replacement"),
        (lambda: lucid.tensor([-1.0]).multinomial(1), "not negative"),
        (lambda: lucid.zeros(2).multinomial(1), "sum to 0"),
        (lambda: lucid.zeros(2, 0).median(1), "size 0"),
    ):  # fmt: skip
        with pytest.raises((RuntimeError, IndexError), match=error):
            call()


def test_out_and_pairs():
    x = lucid.rand(5)
    values, places = lucid.empty(5), lucid.empty(5, dtype=lucid.int64)
    made = lucid.sort(input=x, out=(values, places))
    assert made[0] is values and lucid.equal(values, x.sort().values)
    assert lucid.equal(places, x.sort().indices)


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    a = np.random.default_rng(0).normal(size=(4, 5, 6))
    x, t = lucid.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    calls = {"sort": (1,), "topk": (2, 0), "kthvalue": (2, 1), "median": (2,), "mode": (1,),
             "cummax": (2,), "cummin": (0,), "logcumsumexp": (1,), "nanmedian": (0,)}  # fmt: skip
    for name, args in calls.items():
        ours, theirs = getattr(x, name)(*args), getattr(t, name)(*args)
        if name != "logcumsumexp":
            np.testing.assert_array_equal(ours[1].numpy(), theirs[1].numpy())
            ours, theirs = ours[0], theirs[0]
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy())
        (gx,) = lucid.autograd.grad((ours * ours).sum(), [x])
        (gt,) = torch.autograd.grad((theirs * theirs).sum(), [t])
        np.testing.assert_allclose(gx.numpy(), gt.numpy(), atol=1e-12)
