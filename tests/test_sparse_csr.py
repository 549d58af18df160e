"""Matrices in compressed rows and products of sparse matrices, against SciPy and PyTorch."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse

import lucid
from lucid import sparse
from lucid.sparse import CSRTensor, SparseTensor


def array_of(m=5, n=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.4)


def pair(m=5, n=7, seed=0):
    array = array_of(m, n, seed)
    return lucid.tensor(array).to_sparse_csr(), array


def same(x, array):
    return np.allclose(x.to_dense().numpy(), array)


def test_parts_are_those_of_scipy():
    x, array = pair()
    theirs = scipy.sparse.csr_matrix(array)
    assert x.crow_indices().tolist() == theirs.indptr.tolist()
    assert x.col_indices().tolist() == theirs.indices.tolist()
    assert np.array_equal(x.values().numpy(), theirs.data)
    assert x.layout == lucid.sparse_csr and x.is_sparse_csr and not x.is_sparse
    assert isinstance(x, CSRTensor) and isinstance(x, SparseTensor) and x.shape == (5, 7)
    assert x._nnz() == theirs.nnz and (x.sparse_dim(), x.dense_dim()) == (2, 0)
    made = lucid.sparse_csr_tensor(theirs.indptr, theirs.indices, theirs.data, theirs.shape)
    assert same(made, array) and same(x, array)
    assert not lucid.ones(1).is_sparse_csr and not x.to_sparse().is_sparse_csr


def test_conversions():
    x, array = pair()
    coo = x.to_sparse()
    assert coo.layout == "sparse_coo" and coo.is_coalesced() and same(coo, array)
    for made in (
        coo.to_sparse_csr(), coo.to_sparse(layout="sparse_csr"), x.to_sparse_csr(),
        x.to_sparse(layout=lucid.sparse_csr), lucid.tensor(array).to_sparse(layout="sparse_csr"),
    ):  # fmt: skip
        assert made.layout == "sparse_csr" and same(made, array)
    repeated = lucid.sparse_coo_tensor([[1, 0, 1], [0, 2, 0]], [1.0, 2.0, 3.0], (3, 3))
    csr = repeated.to_sparse_csr()
    assert csr.crow_indices().tolist() == [0, 1, 2, 2] and csr.values().tolist() == [2, 4]
    assert x.t().layout == "sparse_coo" and same(x.t(), array.T) and same(x.T, array.T)
    assert same(x.coalesce(), array) and x.float().dtype is lucid.float32
    assert x.float().layout == "sparse_csr"
    for wrong in (lucid.ones(2), lucid.ones(2, 2, 2)):
        with pytest.raises(NotImplementedError, match="to_sparse_csr of shape"):
            wrong.to_sparse_csr()
    empty = lucid.zeros(3, 4).to_sparse_csr()
    assert empty.crow_indices().tolist() == [0] * 4 and same(empty, np.zeros((3, 4)))
    assert lucid.sparse_csr_tensor([0], [], [], (0, 4)).shape == (0, 4)


def test_made_in_several_ways():
    x = lucid.sparse_csr_tensor([0, 1, 3], [1, 0, 2], [3, 4, 5])
    assert x.shape == (2, 3) and x.dtype is lucid.int64
    x = lucid.sparse_csr_tensor([0, 2], [1, 0], [3.0, 4.0], (1, 2), dtype=lucid.float64)
    assert x.dtype is lucid.float64 and x.to_dense().tolist() == [[4, 3]]  # out of order
    assert x.to_sparse().coalesce().values().tolist() == [4, 3]
    leaf = lucid.sparse_csr_tensor([0, 1], [0], [1.0], requires_grad=True)
    assert leaf.requires_grad and leaf.is_leaf


@pytest.mark.parametrize(
    "arguments, error, said",
    [
        (([0, 1], [0, 1], [1.0, 2.0]), ValueError, "end with 2"),
        (([1, 2], [0, 1], [1.0, 2.0]), ValueError, "begin with 0"),
        (([0, 2, 1, 2], [0, 1], [1.0, 2.0]), ValueError, "not fall"),
        (([0, 2], [0, 1], [1.0]), ValueError, "2 columns and 1 values"),
        (([0, 1], [3], [1.0], (1, 3)), IndexError, "column 3 lies outside of 3"),
        (([0, 1], [-1], [1.0], (1, 3)), IndexError, "column -1"),
        (([0, 1], [0], [1.0], (2, 3)), ValueError, "for 1 rows"),
        (([0.0, 1.0], [0], [1.0]), TypeError, "crow_indices are integers"),
        (([[0, 1]], [[0]], [[1.0]]), NotImplementedError, "of one matrix"),
    ],
)
def test_parts_that_do_not_fit(arguments, error, said):
    with pytest.raises(error, match=said):
        lucid.sparse_csr_tensor(*arguments)


def test_printed():
    x = lucid.sparse_csr_tensor([0, 1, 2], [1, 0], [3.0, 4.0])
    assert repr(x) == (
        "tensor(crow_indices=tensor([0, 1, 2]),\n"
        "       col_indices=tensor([1, 0]),\n"
        "       values=tensor([3., 4.]),\n"
        "       size=(2, 2), nnz=2, layout=sparse_csr)"
    )


def test_arithmetic_and_copies():
    x, array = pair()
    w, other = pair(seed=1)
    for made, expected in (
        (x + w, array + other), (x - w, array - other), (2 * x, 2 * array), (x / 4, array / 4),
        (-x, -array), (x.clone(), array), (x.detach(), array), (copy.deepcopy(x), array),
        (pickle.loads(pickle.dumps(x)), array), (x * lucid.tensor(other), array * other),
        (x.clone().mul_(3), 3 * array),
    ):  # fmt: skip
        assert made.layout == "sparse_csr" and same(made, expected)
    assert same(x.to_sparse() + w, array + other)
    assert np.allclose((lucid.ones(5, 7).double() + x).numpy(), 1 + array)
    assert np.isclose(sparse.sum(x).item(), array.sum())
    for refused in (x.zero_, x.relu, lambda: x[0], lambda: lucid.exp(x), lambda: x.add_(w)):
        with pytest.raises(NotImplementedError, match="sparse"):
            refused()
    with pytest.raises(RuntimeError, match="crow_indices.. and col_indices"):
        x.indices()
    with pytest.raises(RuntimeError, match="crow_indices: this tensor is dense"):
        lucid.ones(2, 2).crow_indices()
    with pytest.raises(lucid.error.TraceError, match="sparse tensors are not supported"):
        lucid.compile(lambda a: a @ lucid.ones(7))(x)


def test_products_with_dense_matrices():
    a, array = pair()
    x = np.random.default_rng(2).random((7, 4))
    for made in (a @ lucid.tensor(x), a.mm(lucid.tensor(x)), sparse.mm(a, lucid.tensor(x)),
                 lucid.mm(a, lucid.tensor(x)), a.matmul(lucid.tensor(x))):  # fmt: skip
        assert np.allclose(made.numpy(), array @ x)
    assert np.allclose((a @ lucid.tensor(x[:, 0])).numpy(), array @ x[:, 0])
    assert np.allclose((lucid.tensor(x.T) @ a.t()).numpy(), x.T @ array.T)
    crow, col = a.crow_indices(), a.col_indices()
    v = a.values().clone().requires_grad_()
    w = lucid.tensor(x, requires_grad=True)

    def product(v, w):
        return lucid.sparse_csr_tensor(crow, col, v, (5, 7)) @ w

    assert lucid.autograd.gradcheck(product, (v, w))
    assert lucid.autograd.gradgradcheck(product, (v, w))
    leaf = lucid.sparse_csr_tensor(crow, col, v.detach(), (5, 7), requires_grad=True)
    (leaf @ w.detach()).sum().backward()
    assert leaf.grad.layout == "sparse_csr"
    assert np.allclose(leaf.grad.values().numpy(), x.sum(1)[col.numpy()])


@pytest.mark.parametrize("form", ["sparse_coo", "sparse_csr", "mixed"])
def test_products_of_sparse_matrices(form):
    a, b = array_of(), array_of(7, 4, seed=3)
    left, right = lucid.tensor(a).to_sparse(), lucid.tensor(b).to_sparse()
    if form == "sparse_csr":
        left, right = left.to_sparse_csr(), right.to_sparse_csr()
    if form == "mixed":
        left = left.to_sparse_csr()
    for made in (left @ right, sparse.mm(left, right), lucid.mm(left, right)):
        assert made.layout == ("sparse_coo" if form == "mixed" else form) and same(made, a @ b)
    theirs = scipy.sparse.csr_matrix(a) @ scipy.sparse.csr_matrix(b)
    assert made._nnz() >= theirs.nnz
    assert (left @ lucid.zeros(7, 3).double().to_sparse())._nnz() == 0
    with pytest.raises(RuntimeError, match="shapes .5, 7. and .5, 7. do not fit"):
        left @ left
    with pytest.raises(RuntimeError, match="dtypes"):
        left @ right.float()


def test_gradients_of_products_of_sparse_matrices():
    at = lucid.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    v = lucid.tensor([1.0, 2.0, 3.0, 4.0], dtype=lucid.float64, requires_grad=True)
    w = lucid.tensor([5.0, -6.0, 7.0, 2.0], dtype=lucid.float64, requires_grad=True)

    def product(v, w):
        a = lucid.sparse_coo_tensor(at, v, (3, 3))
        return (a @ lucid.sparse_coo_tensor(at.flip(0), w, (3, 3))).to_dense()

    assert lucid.autograd.gradcheck(product, (v, w))
    assert lucid.autograd.gradgradcheck(product, (v, w))


@pytest.mark.filterwarnings("ignore")
def test_pytorch_says_the_same():
    torch = pytest.importorskip("torch")
    a, b = array_of(), array_of(7, 4, seed=3)
    found = []
    for library in (lucid, torch):
        x, w = library.tensor(a).to_sparse_csr(), library.tensor(b).to_sparse_csr()
        y = x @ w
        found.append([
            x.crow_indices(), x.col_indices(), x.values(), y.to_dense(), (x + x).to_dense(),
            x.to_sparse().indices(), x @ library.tensor(b),
        ])  # fmt: skip
        assert x.layout == library.sparse_csr and not x.is_sparse
    for ours, theirs in zip(*found, strict=True):
        assert np.allclose(ours.numpy(), theirs.numpy())
