"""Sparse matrices: against dense NumPy ones, with gradients; and what they refuse."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid import nn, sparse
from lucid.sparse import SparseTensor

ROOT = Path(__file__).resolve().parent.parent


def parts(m=5, n=7, count=12, seed=0, kind=np.float64, dense=()):
    rng = np.random.default_rng(seed)
    at = np.stack([rng.integers(0, m, count), rng.integers(0, n, count)])
    return at, rng.standard_normal((count, *dense)).astype(kind)


def dense_of(at, values, size):
    made = np.zeros(size, values.dtype)
    np.add.at(made, tuple(at), values)
    return made


def pair(m=5, n=7, **options):
    """A sparse matrix with repeated places, and the same as an array."""
    at, values = parts(m, n, **options)
    x = lucid.sparse_coo_tensor(at, values, (m, n, *values.shape[1:]))
    return x, dense_of(at, values, (m, n, *values.shape[1:]))


# ---- made and looked at -------------------------------------------------------------------------


@pytest.mark.parametrize("dense", [(), (3,), (2, 2)])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.complex64])
def test_to_dense(dense, kind):
    x, array = pair(kind=kind, dense=dense)
    assert np.allclose(x.to_dense().numpy(), array, atol=1e-6)
    y = x.coalesce()
    assert np.allclose(y.to_dense().numpy(), array, atol=1e-6)
    assert (y.sparse_dim(), y.dense_dim()) == (2, len(dense))
    assert x.shape == array.shape and x.dim() == array.ndim and x.numel() == array.size


def test_what_it_says_of_itself():
    x, _ = pair()
    assert isinstance(x, lucid.Tensor) and isinstance(x, SparseTensor) and lucid.is_tensor(x)
    assert x.is_sparse and x.layout == lucid.sparse_coo and x.dtype is lucid.float64
    assert not lucid.ones(1).is_sparse and lucid.ones(1).layout == lucid.strided
    assert x.size() == (5, 7) and x.size(0) == len(x) == 5 and x.device.type == "cpu"
    assert x.is_floating_point() and x._nnz() == 12 and not x.is_coalesced()
    assert x._indices().shape == (2, 12) and x._values().shape == (12,)


def test_coalesce_is_in_order_without_repeats():
    x, array = pair(count=40)
    with pytest.raises(RuntimeError, match="indices: places may occur twice"):
        x.indices()
    with pytest.raises(RuntimeError, match="values: places may occur twice"):
        x.values()
    y = x.coalesce()
    flat = np.ravel_multi_index(tuple(y.indices().numpy()), array.shape)
    assert np.all(np.diff(flat) > 0) and y.is_coalesced() and y.coalesce() is y
    assert np.allclose(y.values().numpy(), array[tuple(y.indices().numpy())])
    three = lucid.sparse_coo_tensor([[1, 0, 1], [0, 2, 0], [3, 1, 3]], [1.0, 2.0, 4.0], (2, 3, 4))
    assert three.coalesce().indices().tolist() == [[0, 1], [2, 0], [1, 3]]
    assert three.coalesce().values().tolist() == [2, 5]
    assert lucid.sparse_coo_tensor([[1], [2]], [3.0]).coalesce().values().tolist() == [3.0]


def test_made_in_several_ways():
    x = lucid.sparse_coo_tensor([[0, 1], [2, 0]], [3, 4])
    assert x.shape == (2, 3) and x.dtype is lucid.int64
    x = lucid.sparse_coo_tensor(lucid.tensor([[0, 1]]), 5.0, (4,), dtype=lucid.float64)
    assert x.to_dense().tolist() == [5, 5, 0, 0] and x.dtype is lucid.float64
    assert lucid.sparse_coo_tensor(size=(2, 3)).to_dense().tolist() == [[0] * 3] * 2
    assert lucid.sparse_coo_tensor((2, 3))._nnz() == 0
    x = lucid.sparse_coo_tensor([[0, 1]], [1.0, 2.0], (2,), is_coalesced=True)
    assert x.values().tolist() == [1, 2]
    with pytest.raises(ValueError, match="repeat or go back"):
        lucid.sparse_coo_tensor([[1, 0]], [1.0, 2.0], (2,), is_coalesced=True)


@pytest.mark.parametrize(
    "arguments, error, said",
    [
        (([[0, 3]], [1.0, 2.0], (3,)), IndexError, "place 3 lies outside of dimension 0 of size 3"),
        (([[0, 1], [-1, 1]], [1.0, 2.0], (2, 2)), IndexError, "place -1 .* dimension 1"),
        (([[0, 1]], [1.0], (3,)), ValueError, "2 places .* and 1 values"),
        (([0, 1], [1.0, 2.0], (3,)), ValueError, "indices are .n, nnz."),
        (([[0.5]], [1.0], (3,)), TypeError, "places are integers"),
        (([[0, 1]], [1.0, 2.0], (3, 3)), ValueError, "size .3, 3. does not fit"),
        (([[0]], [[1.0, 2.0]], (3, 3)), ValueError, "size .3, 3. does not fit"),
        ((lucid.zeros(2, 0, dtype=lucid.int64), []), ValueError, "size is not told"),
        (([[0]], None, (3,)), TypeError, "values are missing"),
    ],
)
def test_parts_that_do_not_fit(arguments, error, said):
    with pytest.raises(error, match=said):
        lucid.sparse_coo_tensor(*arguments)


def test_from_dense():
    _, array = pair()
    x = lucid.tensor(array).to_sparse()
    assert x.is_coalesced() and x._nnz() == np.count_nonzero(array)
    assert np.array_equal(x.indices().numpy(), np.stack(np.nonzero(array)))
    assert np.array_equal(x.to_dense().numpy(), array)
    rows = np.zeros((4, 3))
    rows[2, 1] = 5
    y = lucid.tensor(rows).to_sparse(1)
    assert y.indices().tolist() == [[2]] and y.values().tolist() == [[0, 5, 0]]
    assert np.array_equal(y.to_dense().numpy(), rows)
    assert lucid.zeros(2, 2).to_sparse()._nnz() == 0
    assert x.to_sparse() is x and lucid.ones(1).to_dense().tolist() == [1]
    for wrong in (0, 3):
        with pytest.raises(ValueError, match="to_sparse"):
            lucid.tensor(rows).to_sparse(wrong)
    with pytest.raises(NotImplementedError, match="layout sparse_bsr"):
        lucid.ones(1).to_sparse(layout="sparse_bsr")


def test_sparse_mask():
    mask, _ = pair()
    array = np.random.default_rng(1).random((5, 7))
    x = lucid.tensor(array).sparse_mask(mask)
    there = mask.coalesce().indices()
    assert lucid.equal(x.indices(), there)
    assert np.array_equal(x.values().numpy(), array[tuple(there.numpy())])
    with pytest.raises(ValueError, match="differ"):
        lucid.ones(2, 2).sparse_mask(mask)
    with pytest.raises(NotImplementedError, match="sparse_mask"):
        lucid.ones(2, 2).sparse_mask(lucid.ones(2, 2))


def test_printed():
    x = lucid.sparse_coo_tensor([[0], [2]], [3], (2, 3))
    assert repr(x) == (
        "tensor(indices=tensor([[0],\n"
        "                       [2]]),\n"
        "       values=tensor([3]),\n"
        "       size=(2, 3), nnz=1, dtype=lucid.int64, layout=sparse_coo)"
    )
    y = lucid.sparse_coo_tensor([[0]], [3.0], requires_grad=True)
    assert repr(y).endswith("nnz=1, layout=sparse_coo, requires_grad=True)")
    assert "grad_fn=" in repr(y * 2) and f"{y}" == repr(y)


# ---- products -----------------------------------------------------------------------------------

PRODUCTS = {
    "@": lambda a, x: a @ x,
    "mm": lambda a, x: a.mm(x),
    "matmul": lambda a, x: a.matmul(x),
    "lucid.mm": lucid.mm,
    "lucid.matmul": lucid.matmul,
    "lucid.spmm": lambda a, x: lucid.spmm(a, x),
    "sparse.mm": sparse.mm,
    "addmm": lambda a, x: lucid.addmm(lucid.zeros(5, x.shape[1], dtype=x.dtype), a, x),
    "sparse.addmm": lambda a, x: sparse.addmm(lucid.zeros(1, dtype=x.dtype), a, x),
    "reversed": lambda a, x: (x.t() @ a.t()).t(),
    "t": lambda a, x: a.t().t() @ x,
    "transpose": lambda a, x: a.transpose(0, 1).T @ x,
    "coalesced": lambda a, x: a.coalesce() @ x,
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    a, array = pair(count=30)
    x = np.random.default_rng(2).random((7, 4))
    made = PRODUCTS[name](a, lucid.tensor(x))
    assert not made.is_sparse and np.allclose(made.numpy(), array @ x)


@pytest.mark.parametrize("name", PRODUCTS)
def test_gradients_of_products(name):
    at, values = parts(count=9)
    x = lucid.tensor(np.random.default_rng(3).random((7, 3)), requires_grad=True)
    v = lucid.tensor(values, requires_grad=True)

    def product(v, x):
        return PRODUCTS[name](lucid.sparse_coo_tensor(at, v, (5, 7)), x)

    assert lucid.autograd.gradcheck(product, (v, x))
    if name in ("@", "reversed"):
        assert lucid.autograd.gradgradcheck(product, (v, x))


def test_vectors_and_sizes():
    a, array = pair()
    x = lucid.tensor(np.arange(7.0))
    assert np.allclose((a @ x).numpy(), array @ np.arange(7.0))
    assert np.allclose(sparse.mm(x[:5], a).numpy(), np.arange(5.0) @ array)
    assert lucid.sparse_coo_tensor((3, 4)).mm(lucid.ones(4, 2)).tolist() == [[0, 0]] * 3
    assert lucid.sparse_coo_tensor((3, 0)).mm(lucid.ones(0, 2)).shape == (3, 2)
    whole = lucid.sparse_coo_tensor([[0], [1]], [2]) @ lucid.tensor([[1], [4]])
    assert whole.tolist() == [[8]]


@pytest.mark.parametrize("threads", [1, 2])
def test_large_products(threads):
    before = lucid.get_num_threads()
    lucid.set_num_threads(threads)
    try:
        a, array = pair(300, 400, count=5000, kind=np.float32)
        x = np.random.default_rng(0).random((400, 64)).astype(np.float32)
        assert np.allclose((a @ lucid.tensor(x)).numpy(), array @ x, atol=1e-4)
    finally:
        lucid.set_num_threads(before)


def test_products_that_do_not_fit():
    a, _ = pair()
    for x in (lucid.ones(5, 2), lucid.ones(7), lucid.ones(1, 7, 2)):
        x = x.double() if x.ndim != 1 else x
        with pytest.raises((RuntimeError, NotImplementedError), match="fit|differ|sparse"):
            a @ x
    with pytest.raises(RuntimeError, match="do not fit: sparse matrices"):
        a @ a
    with pytest.raises(TypeError, match="neither"):
        sparse.mm(lucid.ones(2, 2), lucid.ones(2, 2))
    with pytest.raises(RuntimeError, match="do not fit"):
        pair(dense=(2,))[0] @ lucid.ones(7, 2).double()


def test_gradients_of_a_leaf():
    a = lucid.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3), requires_grad=True)
    assert a.requires_grad and a.is_leaf and a.grad is None and a.grad_fn is None
    (a @ lucid.arange(3.0).reshape(3, 1)).sum().backward()
    assert a.grad.is_sparse and a.grad._values().tolist() == [2, 0]
    a.grad = None
    assert a.grad is None
    y = a.coalesce() * 2
    assert y.requires_grad and not y.is_leaf and y.grad_fn is not None
    assert not a.detach().requires_grad and not a.data.requires_grad
    with lucid.no_grad():
        assert not (a @ lucid.ones(3, 1)).requires_grad


def test_gradients_of_conversions():
    at, values = parts(count=9)
    v = lucid.tensor(values, requires_grad=True)

    def of(make):
        return lambda v: make(lucid.sparse_coo_tensor(at, v, (5, 7)))

    for make in (
        lambda x: x.to_dense(),
        lambda x: x.coalesce().values(),
        lambda x: (x * 3 - x / 2).to_dense(),
        lambda x: (x + x.clone()).to_dense(),
        lambda x: sparse.sum(x, 0).to_dense(),
        lambda x: x.sum(),
        lambda x: x.t().coalesce().values(),
    ):
        assert lucid.autograd.gradcheck(of(make), (v,))
    x = lucid.tensor([[1.0, 0.0], [2.0, 3.0]], dtype=lucid.float64, requires_grad=True)
    x.to_sparse().values().square().sum().backward()
    assert x.grad.tolist() == [[2, 0], [4, 6]]


# ---- what goes value by value -------------------------------------------------------------------


def test_arithmetic():
    a, x = pair(seed=1)
    b, y = pair(seed=2)
    for made, expected in (
        (a + b, x + y), (a - b, x - y), (a * 2, 2 * x), (2 * a, 2 * x), (a / 4, x / 4), (-a, -x),
        (a.add(b), x + y), (a.mul(lucid.tensor(3.0)), 3 * x), (a.neg(), -x), (a.clone(), x),
    ):  # fmt: skip
        assert made.is_sparse and np.allclose(made.to_dense().numpy(), expected)
    for wrong in (lambda: a + 1, lambda: a / lucid.ones(5, 7), lambda: a * b, lambda: a + b.t()):
        with pytest.raises(NotImplementedError, match="sparse"):
            wrong()


@pytest.mark.parametrize("dim", [None, 0, 1, -1, (0, 1), 2, (1, 2), (0, 1, 2)])
def test_sums(dim):
    x, array = pair(dense=(3,))
    made = sparse.sum(x, dim)
    made = made.to_dense() if made.is_sparse else made
    assert np.allclose(made.numpy(), array.sum(dim))
    method = x.sum(dim)
    assert np.allclose((method.to_dense() if method.is_sparse else method).numpy(), array.sum(dim))
    with pytest.raises(IndexError, match="dim=3"):
        sparse.sum(x, 3)
    with pytest.raises(TypeError, match="expected a sparse tensor"):
        sparse.sum(lucid.ones(2))


def test_types_and_copies():
    x, array = pair()
    assert x.float().dtype is x.to(lucid.float32).dtype is lucid.float32
    assert x.cpu() is x and x.to("cpu") is x and x.half().to_dense().dtype is lucid.float16
    assert x.long().dtype is lucid.int64 and x.type(lucid.float32).dtype is lucid.float32
    leaf = lucid.sparse_coo_tensor([[0]], [1.0], requires_grad=True)
    for make in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        y = make(leaf)
        assert y.is_sparse and y.requires_grad and y.to_dense().tolist() == [1]
    copy.deepcopy(x)._values().zero_()
    x.clone()._values().zero_()
    assert np.allclose(x.to_dense().numpy(), array)
    with pytest.raises(RuntimeError, match="only leaves"):
        copy.deepcopy(leaf * 2)


REFUSED = {
    "relu": lambda x: x.relu(), "lucid.relu": lucid.relu, "exp": lucid.exp,
    "numpy": lambda x: x.numpy(),
    "item": lambda x: x.item(), "reshape": lambda x: x.reshape(-1), "add_": lambda x: x.add_(1),
    "__getitem__": lambda x: x[0], "__iter__": list, "__bool__": bool, "__eq__": lambda x: x == x,
    "tolist": lambda x: x.tolist(), "mean": lambda x: x.mean(), "cat": lambda x: lucid.cat([x, x]),
    "data_ptr": lambda x: x.data_ptr(), "backward": lambda x: x.backward(),
    "softmax": lambda x: x.softmax(0), "permute": lambda x: x.permute(1, 0),
    "view": lambda x: x.view(-1), "fill_": lambda x: x.fill_(1), "__array__": np.asarray,
    "mul_ ": lambda x: lucid.zeros(5, 7).double().mul_(x), "T of more": lambda x: x.mT,
    "dense": lambda x: lucid.ones(5, 7).double() / x, "copy_": lambda x: x.copy_(lucid.ones(5, 7)),
    "linear": lambda x: nn.functional.linear(lucid.ones(2, 7).double(), x),
    "bernoulli": lucid.bernoulli, "setting": lambda x: x.__setitem__(0, 1),
    "complex": lambda x: x * 1j + lucid.ones(1),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_by_name(name):
    x, array = pair()
    with pytest.raises(NotImplementedError, match="sparse"):
        REFUSED[name](x)
    assert np.allclose(x.to_dense().numpy(), array), "and nothing is changed"


def test_every_method_answers_or_refuses():
    x, _ = pair()
    refused = 0
    for name in dir(lucid.Tensor):
        if name.startswith("_"):
            continue
        try:
            value = getattr(x, name)
            if callable(value):
                value()
        except NotImplementedError as error:
            assert "sparse" in str(error)
            refused += 1
        except (TypeError, RuntimeError, ValueError):
            pass  # arguments are missing
    assert refused > 400


def test_refused_elsewhere(tmp_path):
    x, _ = pair()
    with pytest.raises(lucid.error.TraceError, match="sparse tensors are not supported"):
        lucid.compile(lambda a: a @ lucid.ones(7, 1))(x)
    with pytest.raises(TypeError, match="SparseTensor"):
        lucid.save(x, tmp_path / "x")
    with pytest.raises(TypeError, match="sparse_coo_tensor makes"):
        SparseTensor()
    for name in ("coalesce", "indices", "values", "_nnz", "sparse_dim", "is_coalesced"):
        with pytest.raises(RuntimeError, match=f"{name}: this tensor is dense"):
            getattr(lucid.ones(1), name)()


# ---- in programs --------------------------------------------------------------------------------


class Graph(nn.Module):
    """A graph convolution (Kipf and Welling, 2017)."""

    def __init__(self, adjacency):
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return lucid.spmm(self.adjacency, self.layer(x)).relu()


def test_in_a_module():
    a, array = pair(6, 6, kind=np.float32)
    model = Graph(a)
    x = lucid.randn(6, 4)
    expected = np.maximum(array @ model.layer(x).detach().numpy(), 0)
    assert np.allclose(model(x).detach().numpy(), expected, atol=1e-5)
    model(x).sum().backward()
    assert model.layer.weight.grad is not None
    assert "adjacency" in model.state_dict()
    assert model.double().adjacency.dtype is lucid.float64
    assert copy.deepcopy(model)(x.double()).shape == (6, 3)


class Attention(lucid.autograd.Function):
    """A product whose gradient is written by hand, as programs of graph attention have it."""

    @staticmethod
    def forward(ctx, indices, values, shape, b):
        a = lucid.sparse_coo_tensor(indices, values, shape)
        ctx.save_for_backward(a, b)
        ctx.n = shape[0]
        return lucid.matmul(a, b)

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        dense = grad.matmul(b.t())
        places = a._indices()[0, :] * ctx.n + a._indices()[1, :]
        return None, dense.view(-1)[places], None, a.t().matmul(grad)


def test_in_a_function():
    at, values = parts(6, 6)
    v = lucid.tensor(values, requires_grad=True)
    b = lucid.tensor(np.random.default_rng(0).random((6, 2)), requires_grad=True)
    Attention.apply(lucid.tensor(at), v, (6, 6), b).square().sum().backward()
    found = v.grad.clone(), b.grad.clone()
    v.grad = b.grad = None
    (lucid.sparse_coo_tensor(at, v, (6, 6)) @ b).square().sum().backward()
    assert np.allclose(found[0].numpy(), v.grad.numpy())
    assert np.allclose(found[1].numpy(), b.grad.numpy())


def test_sparse_adam_takes_sparse_gradients():
    p = nn.Parameter(lucid.ones(4, 2))
    optimizer = lucid.optim.SparseAdam([p], lr=0.1)
    p.grad = lucid.sparse_coo_tensor([[2, 0, 2]], [[1.0, 1.0]] * 3, (4, 2))
    optimizer.step()
    assert p.detach()[[1, 3]].tolist() == [[1, 1], [1, 1]]
    assert np.allclose(p.detach()[[0, 2]].numpy(), 0.9, atol=1e-6)


def test_programs_of_pytorch(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import torch, torch.sparse\n"
        "a = torch.sparse.FloatTensor(torch.LongTensor([[0, 1], [1, 0]]),"
        " torch.FloatTensor([2, 3]), torch.Size([2, 2]))\n"
        "print(torch.spmm(a, torch.eye(2)).tolist(), torch.sparse.mm(a, torch.eye(2)).tolist())\n"
        "print(a.is_sparse, a.layout == torch.sparse_coo, torch.ones(1).layout == torch.strided)\n"
        "print(torch.sparse.sum(a, dim=1).to_dense().tolist(), isinstance(a, torch.Tensor))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "lucid", "run", str(script)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "[[0.0, 2.0], [3.0, 0.0]] [[0.0, 2.0], [3.0, 0.0]]", "True True True", "[2.0, 3.0] True",
    ], done.stderr  # fmt: skip


def test_pytorch_says_the_same():
    torch = pytest.importorskip("torch")
    at, values = parts(count=20)
    x = np.random.default_rng(4).random((7, 3))
    ours, theirs = [], []
    for library, found in ((lucid, ours), (torch, theirs)):
        v = library.tensor(values, requires_grad=True)
        w = library.tensor(x, requires_grad=True)
        a = library.sparse_coo_tensor(library.tensor(at), v, (5, 7))
        library.sparse.mm(a, w).square().sum().backward()
        c = a.detach().coalesce()
        found += [v.grad, w.grad, c.indices(), c.values(), library.sparse.sum(c, 1).to_dense()]
    for a, b in zip(ours, theirs, strict=True):
        assert np.allclose(a.numpy(), b.numpy())


@pytest.mark.parametrize("dense", [(), (3,)])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("form", ["coo", "csr"])
def test_softmax(dim, dense, form):
    if form == "csr" and dense:
        return
    x, array = pair(count=20, dense=dense)
    x = x.to_sparse_csr() if form == "csr" else x
    there = np.zeros(array.shape[:2], bool)
    there[tuple(x.coalesce().indices().numpy())] = True
    whole = np.where(there.reshape(5, 7, *(1,) * len(dense)), array, -np.inf)
    if dim == -1 and dense:
        whole = array
    with np.errstate(all="ignore"):
        e = np.exp(whole - whole.max(dim, keepdims=True))
        expected = np.nan_to_num(e / e.sum(dim, keepdims=True))
    if dim == -1 and dense:
        expected = expected * there[..., None]
    made = sparse.softmax(x, dim)
    assert made.layout == x.layout and np.allclose(made.to_dense().numpy(), expected)
    logs = sparse.log_softmax(x, dim).coalesce()
    assert np.allclose(logs.values().numpy(), np.log(expected[there]))
    assert sparse.softmax(x, dim, dtype=lucid.float32).dtype is lucid.float32


def test_gradients_of_softmax():
    at = lucid.tensor([[0, 0, 1, 0], [1, 3, 2, 1]])
    v = lucid.tensor([1.0, 2.0, 3.0, -1.0], dtype=lucid.float64, requires_grad=True)
    for function in (sparse.softmax, sparse.log_softmax):

        def made(v, function=function):
            return function(lucid.sparse_coo_tensor(at, v, (2, 4)), 1).to_dense()

        assert lucid.autograd.gradcheck(made, (v,)) and lucid.autograd.gradgradcheck(made, (v,))
    assert sparse.softmax(lucid.sparse_coo_tensor((2, 3)), 1)._nnz() == 0
    with pytest.raises(TypeError, match="sparse.softmax: expected a sparse tensor"):
        sparse.softmax(lucid.ones(2), 0)
    with pytest.raises(IndexError, match="dim=2"):
        sparse.softmax(lucid.sparse_coo_tensor((2, 3)), 2)
