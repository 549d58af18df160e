"""lucid.masked: against NumPy's masked arrays, gradients by differences, wrong masks."""

import numpy as np
import pytest

import lucid
from lucid import masked
from lucid.autograd import gradcheck

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4, 5))
MASK = RNG.random((3, 4, 5)) < 0.6
MASK[..., 0] = MASK[:, :2] = True  # two are kept along dimension 1, one along 2
KEPT = np.ma.masked_array(A, ~MASK)
X, WHERE = lucid.tensor(A), lucid.tensor(MASK)


def same(got, want, **near):
    np.testing.assert_allclose(got.numpy(), np.asarray(want), rtol=1e-12, **near)


@pytest.mark.parametrize("dim", [None, 1, (0, 2)], ids=str)
def test_reductions(dim):
    for name, theirs in (
        ("sum", KEPT.sum), ("prod", KEPT.prod), ("mean", KEPT.mean), ("amax", KEPT.max),
        ("amin", KEPT.min),
    ):  # fmt: skip
        want = theirs(axis=dim) if name != "prod" else np.where(MASK, A, 1).prod(dim)
        same(getattr(masked, name)(X, dim, mask=WHERE), want)
    same(masked.var(X, dim, mask=WHERE), KEPT.var(axis=dim, ddof=1))
    same(masked.std(X, dim, False, mask=WHERE, keepdim=True), KEPT.std(axis=dim, keepdims=True))
    same(masked.norm(X, 2, dim, mask=WHERE), np.sqrt((KEPT**2).sum(axis=dim)))
    same(masked.logsumexp(X, dim, mask=WHERE), np.log(np.exp(KEPT).sum(axis=dim)))
    assert masked.sum(X, dim).allclose(X.sum(dim)) and masked.mean(X, dim).allclose(X.mean(dim))


def test_along_a_dimension():
    same(masked.argmax(X, 1, mask=WHERE), np.where(MASK, A, -np.inf).argmax(1))
    same(masked.argmin(X, 1, mask=WHERE), np.where(MASK, A, np.inf).argmin(1))
    same(masked.cumsum(X, 1, mask=WHERE), np.where(MASK, A, 0).cumsum(1))
    same(masked.cumprod(X, 1, mask=WHERE), np.where(MASK, A, 1).cumprod(1))
    e = np.where(MASK, np.exp(A), 0)
    same(masked.softmax(X, 1, mask=WHERE), e / e.sum(1, keepdims=True))
    same(masked.softmin(-X, 1, mask=WHERE), e / e.sum(1, keepdims=True))
    got = masked.log_softmax(X, 1, mask=WHERE).exp()
    same(got, e / e.sum(1, keepdims=True))
    z = np.where(MASK, A, 0)
    size = np.linalg.norm(z, axis=1, keepdims=True)
    same(masked.normalize(X, 2, 1, mask=WHERE), z / size)
    rows = [np.sort(row[kept])[(kept.sum() - 1) // 2] for row, kept in
            zip(A.reshape(-1, 5), MASK.reshape(-1, 5), strict=True)]  # fmt: skip
    same(masked.median(X, mask=WHERE), np.reshape(rows, (3, 4)))
    got = masked.logaddexp(X, X, input_mask=WHERE)
    same(got, np.where(MASK, np.logaddexp(A, A), A))


def test_integers_masks_that_broadcast_and_nothing_kept():
    x, mask = lucid.tensor([[1, -5, 3], [4, 9, -6]]), lucid.tensor([True, False, True])
    assert masked.sum(x, 1, mask=mask).tolist() == [4, -2]
    assert masked.amax(x, 0, mask=mask)[1] == lucid.iinfo(lucid.int64).min
    assert masked.amin(x, 1, mask=mask).tolist() == [1, -6]
    assert masked.median(x, 1, mask=mask).tolist() == [1, -6]
    flags = masked.sum(x > 0, 1, mask=mask)
    assert flags.dtype is lucid.int64 and flags.tolist() == [2, 1]
    none = lucid.zeros(2, 3, dtype=lucid.bool)
    y = x * 1.0
    assert masked.mean(y, 1, mask=none).isnan().all() and masked.sum(y, mask=none) == 0
    assert masked.amax(y, mask=none) == -np.inf and masked.prod(y, mask=none) == 1


def test_gradients():
    x = lucid.tensor(A, requires_grad=True)
    for name in ("sum", "prod", "mean", "amax", "var", "std", "norm", "logsumexp"):
        function = getattr(masked, name)
        assert gradcheck(lambda t, f=function: f(t, dim=1, mask=WHERE), (x,)), name
    assert gradcheck(lambda t: masked.softmax(t, 1, mask=WHERE), (x,))
    assert gradcheck(lambda t: masked.normalize(t, 3.0, 1, mask=WHERE), (x,))


def test_errors():
    for call, kind, said in (
        (lambda: masked.sum(X, mask=WHERE[0, 0, :3]), RuntimeError, "broadcast"),
        (lambda: masked.sum(X[0], mask=WHERE), RuntimeError, "does not broadcast"),
        (lambda: masked.mean(lucid.arange(3)), ValueError, "floating dtype"),
        (lambda: masked.var(X, 0, True, correction=1), ValueError, "one of unbiased"),
        (lambda: masked.median(lucid.arange(3), mask=lucid.zeros(3) > 0), ValueError, "NaN"),
    ):
        with pytest.raises(kind, match=said):
            call()
