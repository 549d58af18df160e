"""Functions that PyTorch has beneath its layers and LAPACK's compact factors: against their
definitions, and PyTorch live."""

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid import linalg
from lucid.autograd import gradcheck


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def close(got, want, tolerance=1e-10):
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=tolerance, atol=tolerance)


def test_norms_and_their_statistics():
    x, w, b = numbers(2, 6, 3, 4), numbers(6, seed=1), numbers(6, seed=2)
    given, scale, shift = (lucid.tensor(v) for v in (x, w, b))
    y, mean, rstd = lucid.native_layer_norm(given, (3, 4), None, None, 1e-3)
    close(y, F.layer_norm(given, (3, 4), eps=1e-3).numpy())
    close(mean, x.mean((2, 3), keepdims=True))
    close(rstd, 1 / np.sqrt(x.var((2, 3), keepdims=True) + 1e-3))
    y, mean, rstd = lucid.native_group_norm(given, scale, shift, 2, 6, 12, 3, 1e-3)
    close(y, F.group_norm(given, 3, scale, shift, 1e-3).numpy())
    rows = x.reshape(2, 3, 24)
    close(mean, rows.mean(2))
    close(rstd, 1 / np.sqrt(rows.var(2) + 1e-3))
    y, mean, rstd = lucid.native_batch_norm(given, scale, shift, None, None, True, 0.1, 1e-3)
    close(y, F.batch_norm(given, None, None, scale, shift, True, eps=1e-3).numpy())
    close(mean, x.mean((0, 2, 3)))
    close(rstd, 1 / np.sqrt(x.var((0, 2, 3)) + 1e-3))
    fixed = lucid.native_batch_norm(given, scale, shift, shift, scale**2, False, 0.1, 1e-3)
    assert fixed[1].shape == (0,) and fixed[0].shape == given.shape
    with pytest.raises(RuntimeError, match="2 x 6 x 11"):
        lucid.native_group_norm(given, scale, shift, 2, 6, 11, 3, 1e-3)


def test_dropout_and_its_mask():
    lucid.manual_seed(0)
    x = lucid.ones(10000)
    y, mask = lucid.native_dropout(x, 0.25, True)
    assert mask.dtype is lucid.bool and 0.72 < mask.float().mean().item() < 0.78
    assert lucid.equal(y, mask.float() / 0.75)
    assert lucid.equal(lucid.native_dropout_backward(x, mask, 1 / 0.75), mask.float() / 0.75)
    y, mask = lucid.native_dropout(x, 0.25, False)
    assert lucid.equal(y, x) and bool(mask.all())
    assert lucid.native_dropout(x, 1.0, True)[0].abs().max().item() == 0.0
    with pytest.raises(ValueError, match="p must lie in"):
        lucid.native_dropout(x, 1.5, True)


def test_grid_samplers():
    x, grid = lucid.tensor(numbers(1, 2, 4, 5)), lucid.tensor(numbers(1, 3, 3, 2, seed=1))
    for mode, name in enumerate(("bilinear", "nearest", "bicubic")):
        for padding, border in enumerate(("zeros", "border", "reflection")):
            got = lucid.grid_sampler_2d(x, grid, mode, padding, True)
            assert lucid.equal(got, F.grid_sample(x, grid, name, border, True))
    volume, places = lucid.tensor(numbers(1, 1, 3, 3, 3)), lucid.tensor(numbers(1, 2, 2, 2, 3))
    got = lucid.grid_sampler_3d(volume, places, 0, 1, False)
    assert lucid.equal(got, F.grid_sample(volume, places, "bilinear", "border", False))
    with pytest.raises(ValueError, match="grid_sampler_2d: padding_mode"):
        lucid.grid_sampler_2d(x, grid, 0, 3, True)
    with pytest.raises(RuntimeError, match="4 dimensions"):
        lucid.grid_sampler_2d(volume, places, 0, 0, True)


def test_the_way_back_of_a_max_pool():
    x = lucid.tensor(numbers(2, 3, 5, 6)).requires_grad_()
    for arguments in ((2, 2, 0, 1, False), (3, 2, 1, 1, True), ((2, 3), (1, 2), 0, 1, False)):
        y, places = F.max_pool2d(x, *arguments, return_indices=True)
        g = lucid.tensor(numbers(*y.shape, seed=3))
        (want,) = lucid.autograd.grad(y, x, g)
        got = lucid.max_pool2d_with_indices_backward(g, x.detach(), *arguments, places)
        close(got, want.numpy())
    with pytest.raises(RuntimeError, match="must have the shape"):
        lucid.max_pool2d_with_indices_backward(g, x.detach(), 2, 2, 0, 1, False, places)


def test_hash_tensor():
    x = np.array([[3, 5, 9], [-1, 7, 2]])
    assert lucid.hash_tensor(lucid.tensor(x)).item() == int(np.bitwise_xor.reduce(x, axis=None))
    for dim in (0, 1, -1):
        got = lucid.hash_tensor(lucid.tensor(x), dim)
        np.testing.assert_array_equal(got.numpy(), np.bitwise_xor.reduce(x, axis=dim))
    z = numbers(4, 300).astype(np.float32)
    bits = z.astype(np.float64).view(np.int64)
    got = lucid.hash_tensor(lucid.tensor(z), 1, keepdim=True)
    np.testing.assert_array_equal(got.numpy(), np.bitwise_xor.reduce(bits, axis=1, keepdims=True))
    with pytest.raises(ValueError, match="mode must be 0"):
        lucid.hash_tensor(lucid.tensor(x), mode=1)


def test_histogramdd():
    x, w = numbers(4, 50, 3), np.random.default_rng(5).uniform(size=(4, 50))
    flat, weights = x.reshape(-1, 3), w.ravel()
    for bins in ([3, 4, 5], [np.array([-1.0, 0.0, 2.0])] * 3):
        given = [lucid.tensor(b) if isinstance(b, np.ndarray) else b for b in bins]
        for density in (False, True):
            counts, edges = lucid.histogramdd(
                lucid.tensor(x), given, weight=lucid.tensor(w), density=density
            )
            want, borders = np.histogramdd(flat, bins, weights=weights, density=density)
            close(counts, want)
            for got, border in zip(edges, borders, strict=True):
                close(got, border)
    ends = [-1.0, 1.0, -2.0, 2.0, 0.0, 1.0]
    counts, _ = lucid.histogramdd(lucid.tensor(x), 4, range=ends)
    close(counts, np.histogramdd(flat, 4, [(-1, 1), (-2, 2), (0, 1)])[0])
    with pytest.raises(RuntimeError, match="2 bins for points of 3"):
        lucid.histogramdd(lucid.tensor(x), [2, 2])
    with pytest.raises(RuntimeError, match="range must have 6"):
        lucid.histogramdd(lucid.tensor(x), 2, range=[0.0, 1.0])


def test_reflections():
    for shape in ((5, 3), (3, 5), (2, 4, 4)):
        A = numbers(*shape)
        a, tau = lucid.geqrf(lucid.tensor(A))
        m = shape[-2]
        k = min(shape[-2:])
        whole = lucid.tensor(np.broadcast_to(np.eye(m), (*shape[:-2], m, m)).copy())
        if shape[-1] <= m:
            q = lucid.ormqr(a, tau, whole)
            close(q @ a.triu(), A)
            close(q.mT @ q, whole.numpy())
            b = lucid.tensor(numbers(*shape[:-2], m, 2, seed=1))
            close(lucid.ormqr(a, tau, b, transpose=True), (q.mT @ b).numpy())
            close(lucid.ormqr(a, tau, b.mT, left=False), (b.mT @ q).numpy())
        assert tau.shape == (*shape[:-2], k)
    a, tau = (lucid.tensor(v).requires_grad_() for v in (numbers(3, 2), numbers(2)))
    other = lucid.tensor(numbers(3, 2, seed=2)).requires_grad_()
    assert gradcheck(lucid.ormqr, [a, tau, other])
    with pytest.raises(RuntimeError, match="3 rows"):
        lucid.ormqr(a, tau, lucid.zeros(2, 2))
    with pytest.raises(NotImplementedError, match="geqrf: its gradient"):
        lucid.geqrf(other)[0].sum().backward()


def test_ldl():
    pytest.importorskip("scipy")
    S = numbers(3, 6, 6)
    S = S + S.transpose(0, 2, 1)
    S[0] = np.fliplr(np.eye(6))  # blocks of 2 x 2 alone
    B = numbers(3, 6, 2, seed=1)
    for kind, tolerance in ((lucid.float64, 1e-11), (lucid.float32, 2e-3)):
        A = lucid.tensor(S).to(kind)
        LD, pivots = linalg.ldl_factor(A)
        assert LD.dtype is kind and pivots.dtype is lucid.int32
        x = linalg.ldl_solve(LD, pivots, lucid.tensor(B).to(kind))
        close(A @ x, B, tolerance)
    upper = np.triu(numbers(6, 6, seed=9), 1)
    again = linalg.ldl_factor(lucid.tensor(S[1] + upper))  # the lower triangle is what is read
    assert lucid.equal(again.LD, linalg.ldl_factor(lucid.tensor(S[1])).LD)
    with pytest.raises(linalg.LinAlgError, match="singular"):
        linalg.ldl_factor(lucid.zeros(2, 2))
    assert linalg.ldl_factor_ex(lucid.zeros(2, 2)).info.item() == 1
    with pytest.raises(linalg.LinAlgError, match="singular"):
        linalg.ldl_factor_ex(lucid.zeros(2, 2), check_errors=True)
    with pytest.raises(RuntimeError, match="B .* does not fit"):
        linalg.ldl_solve(LD, pivots, lucid.zeros(5, 2))
    with pytest.raises(NotImplementedError, match="complex"):
        linalg.ldl_factor(lucid.eye(2, dtype=lucid.complex64))


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    S = numbers(5, 5) + numbers(5, 5).T
    ours, theirs = linalg.ldl_factor(lucid.tensor(S)), torch.linalg.ldl_factor(torch.tensor(S))
    close(ours.LD, theirs.LD.numpy())
    assert ours.pivots.tolist() == theirs.pivots.tolist()
    A = numbers(2, 5, 3)
    for got, want in zip(lucid.geqrf(lucid.tensor(A)), torch.geqrf(torch.tensor(A)), strict=True):
        close(got, want.numpy())
    for x in (A.astype(np.float32), np.arange(5), np.array([True, False])):
        want = torch.hash_tensor(torch.tensor(x)).item()
        assert lucid.hash_tensor(lucid.tensor(x)).item() % 2**64 == want
