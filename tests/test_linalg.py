"""lucid.linalg: against NumPy, gradients by differences, batches, errors; PyTorch if installed."""

import numpy as np
import pytest

import lucid
from lucid import linalg
from lucid.autograd import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)
SQUARE, BATCH = RNG.normal(size=(4, 4)), RNG.normal(size=(2, 3, 3))
TALL, WIDE = RNG.normal(size=(5, 3)), RNG.normal(size=(2, 3, 5))


def leaf(a):
    return lucid.tensor(a, requires_grad=True)


def positive(x):
    return x @ x.mT + lucid.eye(x.shape[-1], dtype=x.dtype)


@pytest.mark.parametrize("a", [SQUARE, BATCH], ids=["matrix", "batch"])
def test_square_matrices(a):
    x = lucid.tensor(a)
    np.testing.assert_allclose(linalg.inv(x).numpy(), np.linalg.inv(a))
    np.testing.assert_allclose(linalg.det(x).numpy(), np.linalg.det(a))
    for got, want in zip(linalg.slogdet(x), np.linalg.slogdet(a), strict=True):
        np.testing.assert_allclose(got.numpy(), want)
    b = RNG.normal(size=(*a.shape[:-1], 2))
    np.testing.assert_allclose(linalg.solve(x, lucid.tensor(b)).numpy(), np.linalg.solve(a, b))
    p = positive(x)
    factor = linalg.cholesky(p)
    np.testing.assert_allclose((factor @ factor.mT).numpy(), p.numpy())
    assert lucid.equal(linalg.cholesky(p, upper=True), factor.mT.contiguous())
    inverse = lucid.cholesky_inverse(factor)
    np.testing.assert_allclose(inverse.numpy(), np.linalg.inv(p.numpy()), atol=1e-12)
    values, vectors = linalg.eigh(p)
    np.testing.assert_allclose((vectors * values.unsqueeze(-2) @ vectors.mT).numpy(), p.numpy())
    np.testing.assert_allclose(linalg.matrix_power(x, 5).numpy(), np.linalg.matrix_power(a, 5))
    np.testing.assert_allclose(linalg.matrix_power(x, -2).numpy(), np.linalg.matrix_power(a, -2))
    assert lucid.equal(linalg.matrix_power(x, 0), lucid.eye(a.shape[-1]).double().expand(a.shape))
    upper = linalg.solve_triangular(x, lucid.tensor(b), upper=True)
    np.testing.assert_allclose((x.triu() @ upper).numpy(), b, atol=1e-12)


@pytest.mark.parametrize("a", [TALL, WIDE, SQUARE], ids=["tall", "wide", "square"])
def test_decompositions(a):
    x = lucid.tensor(a)
    for mode in ("reduced", "complete"):
        q, r = linalg.qr(x, mode)
        np.testing.assert_allclose((q @ r).numpy(), a)
        wanted = np.linalg.qr(a, mode)
        assert tuple(q.shape) == wanted[0].shape and tuple(r.shape) == wanted[1].shape
    assert linalg.qr(x, "r")[0].numel() == 0
    u, s, vh = linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose((u * s.unsqueeze(-2) @ vh).numpy(), a)
    assert tuple(linalg.svd(x).U.shape) == np.linalg.svd(a)[0].shape
    np.testing.assert_allclose(linalg.svdvals(x).numpy(), np.linalg.svd(a, compute_uv=False))
    np.testing.assert_allclose((lucid.svd(x).U * s.unsqueeze(-2) @ lucid.svd(x).V.mT).numpy(), a)
    np.testing.assert_allclose(linalg.pinv(x).numpy(), np.linalg.pinv(a))
    b = RNG.normal(size=(*a.shape[:-1], 2))
    found = linalg.lstsq(x, lucid.tensor(b))
    np.testing.assert_allclose(found.solution.numpy(), np.linalg.pinv(a) @ b, atol=1e-12)
    assert (found.rank == min(a.shape[-2:])).all()


def test_gradients():
    x, batch, tall, wide = leaf(SQUARE), leaf(BATCH), leaf(TALL), leaf(WIDE)
    b = leaf(RNG.normal(size=(4, 2)))
    first = [
        (linalg.inv, x), (linalg.inv, batch), (linalg.det, x), (linalg.det, batch),
        (lambda x: linalg.slogdet(x)[1], x), (lambda x: linalg.cholesky(positive(x)), x),
        (lambda x: linalg.eigh(positive(x))[0], x), (linalg.svdvals, tall), (linalg.svdvals, wide),
        (lambda x: linalg.eigh(positive(x))[1].abs(), x), (linalg.matrix_exp, batch),
        (linalg.qr, tall), (linalg.qr, x), (linalg.qr, wide), (linalg.pinv, tall),
        (linalg.pinv, wide), (lambda x: [v.abs() for v in linalg.svd(x, False)], tall),
        (lambda x: [v.abs() for v in linalg.svd(x, False)], wide),
        (lambda x: linalg.solve_triangular(x, b.detach(), upper=True), x),
        (lambda x: linalg.matrix_norm(x, "nuc"), x), (lambda x: linalg.matrix_norm(x, 2), x),
        (lambda x: linalg.cond(x), x), (lambda x: lucid.cholesky_inverse(x), x),
    ]  # fmt: skip
    for function, given in first:
        made = function(given)
        several = isinstance(made, tuple | list)
        for i in range(len(made) if several else 1):
            assert gradcheck(
                lambda x, f=function, i=i, several=several: f(x)[i] if several else f(x), [given]
            )
    assert gradcheck(lambda x, b: linalg.solve(x, b), [x, b])
    assert gradcheck(lambda x, b: linalg.solve(x, b.mT, left=False), [x, b])
    assert gradcheck(lambda x, b: linalg.lstsq(x, b).solution, [tall, leaf(RNG.normal(size=5))])
    assert gradcheck(lambda x, b: linalg.lstsq(x, b).solution, [wide, leaf(WIDE[..., :1])])
    for function in (linalg.inv, linalg.det, lambda x: linalg.cholesky(positive(x))):
        assert gradgradcheck(function, [leaf(SQUARE[:3, :3])])


def test_the_gradient_of_the_determinant_of_a_singular_matrix():
    x = leaf(np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 1.0, 3.0]]))
    linalg.det(x).backward()
    wanted = [[12.0, -6.0, 2.0], [-6.0, 3.0, -1.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(x.grad.numpy(), wanted, atol=1e-12)


def test_norms():
    x, a = lucid.tensor(SQUARE), SQUARE
    for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        got = linalg.matrix_norm(x, order)
        np.testing.assert_allclose(got.numpy(), np.linalg.norm(a, order))
        np.testing.assert_allclose(linalg.norm(x, order).numpy(), np.linalg.norm(a, order))
        assert linalg.matrix_norm(x, order, keepdim=True).shape == (1, 1)
        batch = linalg.matrix_norm(lucid.tensor(BATCH), order, (0, 2))
        want = np.linalg.norm(BATCH, order, (0, 2))
        np.testing.assert_allclose(batch.numpy(), want)
    for order in (0, 1, 2, 3.5, np.inf, -np.inf):
        got = linalg.vector_norm(x, order, 1)
        np.testing.assert_allclose(got.numpy(), np.linalg.norm(a, order, 1))
    for p in (None, 1, 2, -2, np.inf, "fro"):
        np.testing.assert_allclose(linalg.cond(x, p).numpy(), np.linalg.cond(a, p))
    assert linalg.matrix_rank(lucid.tensor(TALL @ TALL.T)).item() == 3


def test_products_and_others():
    parts = [RNG.normal(size=s) for s in ((2, 6), (6, 3), (3, 7), (7,))]
    got = linalg.multi_dot([lucid.tensor(p) for p in parts])
    np.testing.assert_allclose(got.numpy(), np.linalg.multi_dot(parts))
    scipy = pytest.importorskip("scipy.linalg")
    for a in (SQUARE, SQUARE * 20, BATCH):
        want = scipy.expm(a)
        np.testing.assert_allclose(linalg.matrix_exp(lucid.tensor(a)).numpy(), want, rtol=1e-9)
    a = RNG.normal(size=(2, 3, 6))
    got = linalg.tensorinv(lucid.tensor(a)).numpy()
    np.testing.assert_allclose(got, np.linalg.tensorinv(a))
    b = RNG.normal(size=(2, 3))
    got = linalg.tensorsolve(lucid.tensor(a), lucid.tensor(b)).numpy()
    np.testing.assert_allclose(got, np.linalg.tensorsolve(a, b))
    x = lucid.tensor(TALL)
    np.testing.assert_allclose(linalg.vecdot(x, x).numpy(), (TALL * TALL).sum(-1))
    assert linalg.diagonal(lucid.tensor(WIDE)).shape == (2, 3)


def test_factors_of_general_matrices():
    pytest.importorskip("scipy")
    for a in (SQUARE, BATCH, TALL, WIDE):
        p, lower, upper = linalg.lu(lucid.tensor(a))
        np.testing.assert_allclose((p @ lower @ upper).numpy(), a, atol=1e-12)
    x, b = lucid.tensor(BATCH), lucid.tensor(RNG.normal(size=(2, 3, 2)))
    np.testing.assert_allclose(linalg.lu_solve(*x.lu(), b).numpy(), linalg.solve(x, b).numpy())
    assert (linalg.lu_factor_ex(x)[2] == 0).all()
    assert linalg.lu_factor_ex(lucid.zeros(2, 2))[2].item() == 1
    values, vectors = linalg.eig(x)
    made = (vectors * values.unsqueeze(-2)).numpy()
    np.testing.assert_allclose(BATCH @ vectors.numpy(), made, atol=1e-12)
    with pytest.raises(NotImplementedError, match="eig"):
        linalg.eigvals(leaf(SQUARE)).abs().sum().backward()


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (5, 3), (2, 4, 3), (0, 2, 3)], ids=str)
def test_gradients_of_lu(shape):
    pytest.importorskip("scipy")
    a = leaf(np.random.default_rng(1).normal(size=shape))
    assert gradcheck(lambda x: linalg.lu_factor(x).LU, (a,))
    assert gradcheck(lambda x: linalg.lu(x)[1:], (a,))


def test_lu_and_ldl_solve_with_transposed_matrices_and_batches():
    pytest.importorskip("scipy")
    x, b = lucid.tensor(BATCH), lucid.tensor(RNG.normal(size=(3, 3)))
    f, near = linalg.lu_factor(x), {"atol": 1e-12, "rtol": 0}
    for product, options in (
        (lambda y: x @ y, {}),
        (lambda y: y @ x, {"left": False}),
        (lambda y: x.mT @ y, {"adjoint": True}),
        (lambda y: y @ x.mT, {"left": False, "adjoint": True}),
    ):
        assert product(linalg.lu_solve(*f, b, **options)).allclose(b.expand(2, 3, 3), **near)
    s = x + x.mT
    assert (s @ linalg.ldl_solve(*linalg.ldl_factor(s), b)).allclose(b.expand(2, 3, 3), **near)
    parts = lucid.lu_unpack(*f, unpack_data=False)
    assert parts.L.shape == parts.U.shape == (0,) and parts.P.shape == (2, 3, 3)
    assert lucid.lu_unpack(*f, unpack_pivots=False).P.shape == (0,)


def test_ranks_with_tensors_of_tolerances_and_without_elements():
    a = lucid.tensor([[[1.0, 0.0], [0.0, 0.1]], [[4.0, 0.0], [0.0, 0.1]]])
    tolerances = lucid.tensor([0.05, 0.2])
    assert linalg.matrix_rank(a, atol=tolerances).tolist() == [2, 1]
    assert linalg.matrix_rank(a, rtol=tolerances / 4).tolist() == [2, 1]
    assert linalg.matrix_rank(a, atol=lucid.tensor([0.0, 0.2]), rtol=0.5).tolist() == [1, 1]
    assert linalg.matrix_rank(a, 0.2).tolist() == [1, 1]
    assert linalg.matrix_rank(lucid.zeros(2, 0, 3)).tolist() == [0, 0]
    lower = lucid.tensor([[1.0, 5.0], [1.0, 1.0]])  # [[1, 1], [1, 1]] by its lower triangle
    assert linalg.matrix_rank(lower, hermitian=True) == 1 and linalg.matrix_rank(lower) == 2
    want = np.full((2, 2), 0.25)
    np.testing.assert_allclose(linalg.pinv(lower, hermitian=True).numpy(), want, rtol=1e-6)
    grads = []
    for options in ({}, {"hermitian": True}):
        x = leaf(SQUARE + SQUARE.T)
        linalg.pinv(x, **options).square().sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(*grads, rtol=1e-9)


def test_special():
    special = pytest.importorskip("scipy.special")
    a = np.random.default_rng(0).uniform(0.05, 0.95, 20)
    for name in ("entr", "ndtr", "ndtri", "i1", "i1e", "i0e", "expit", "gammaln", "psi"):
        got = getattr(lucid.special, name)(lucid.tensor(a)).numpy()
        np.testing.assert_allclose(got, getattr(special, name)(a), rtol=1e-10, err_msg=name)
    got = lucid.special.xlog1py(lucid.tensor(a), lucid.tensor(a)).numpy()
    np.testing.assert_allclose(got, special.xlog1py(a, a))


def test_errors():
    x = lucid.tensor(TALL)
    for call, kind, said in (
        (lambda: linalg.inv(lucid.zeros(2, 2)), linalg.LinAlgError, "Singular"),
        (lambda: linalg.cholesky(-lucid.eye(2)), linalg.LinAlgError, "positive definite"),
        (lambda: linalg.inv(x), RuntimeError, "square matrices"),
        (lambda: linalg.inv(lucid.ones(2)), RuntimeError, "a matrix"),
        (lambda: linalg.inv(lucid.ones(2, 2).half()), RuntimeError, "float32 or float64"),
        (lambda: linalg.solve(lucid.eye(3), lucid.ones(2, 2)), RuntimeError, "do not fit"),
        (lambda: linalg.qr(x, "all"), RuntimeError, "mode"),
        (lambda: linalg.matrix_norm(x, 5), RuntimeError, "not known"),
        (lambda: linalg.diagonal(x, dim1=1, dim2=-1), RuntimeError, "must differ"),
        (lambda: linalg.vander(x, N=0), RuntimeError, "at least 1"),
    ):
        with pytest.raises(kind, match=said):
            call()
    made, info = linalg.cholesky_ex(-lucid.eye(2))
    assert info.item() == 1 and made.isnan().all()
    with pytest.raises(NotImplementedError, match="unique"):
        linalg.svd(leaf(TALL)).U.sum().backward()


def test_within_a_fused_function_and_without_elements():
    x = lucid.rand(3, 3, requires_grad=True)
    y = (linalg.inv(x * 2.0 + lucid.eye(3) * 4.0) * 3.0).exp().sum()
    y.backward()
    assert x.grad.isfinite().all()
    assert linalg.inv(lucid.zeros(0, 3, 3)).shape == (0, 3, 3)
    assert linalg.det(lucid.zeros(2, 0, 0)).tolist() == [1.0, 1.0]


def test_batches_by_vmap_and_compiled():
    x = lucid.tensor(BATCH)
    for name in ("inv", "det", "svdvals", "pinv"):
        function = getattr(linalg, name)
        made = lucid.func.vmap(function)(x)
        np.testing.assert_allclose(made.numpy(), function(x).numpy(), atol=1e-12)
    f = lucid.compile(lambda a: linalg.inv(a * 2.0).sum() + linalg.det(a).sum())
    want = np.linalg.inv(BATCH * 2).sum() + np.linalg.det(BATCH).sum()
    np.testing.assert_allclose(f(x).item(), want)


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    cases = {
        "inv": BATCH, "det": BATCH, "svdvals": WIDE, "pinv": WIDE, "matrix_exp": BATCH,
        "qr": TALL, "slogdet": BATCH,
    }  # fmt: skip
    for name, a in cases.items():
        x, t = leaf(a), torch.tensor(a, requires_grad=True)
        ours, theirs = getattr(linalg, name)(x), getattr(torch.linalg, name)(t)
        if isinstance(ours, tuple):
            np.testing.assert_allclose(
                ours[0].abs().detach().numpy(), theirs[0].abs().detach().numpy(), atol=1e-12
            )
            ours, theirs = ours[1].abs(), theirs[1].abs()
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), atol=1e-12)
        ours.sum().backward()
        theirs.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), atol=1e-10)


def test_the_count_of_what_is_not_zero_has_a_gradient_of_zero():
    x = leaf([[0.0, -2.0, float("nan")], [np.inf, 0.0, 0.0]])
    y = linalg.vector_norm(x, 0, 1)
    assert y.tolist() == [2.0, 1.0]
    y.sum().backward()
    assert x.grad.tolist() == [[0.0] * 3] * 2
