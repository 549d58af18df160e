"""Sparse gradients: of embeddings, added up, clipped, scaled, and what optimizers make of them."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid import nn, optim

RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((6, 3))
READ = np.array([[1, 2], [1, 0]])


def layer(library=lucid, kind="float64", sparse=True, **options):
    weight = library.tensor(TABLE, dtype=getattr(library, kind))
    return library.nn.Embedding(6, 3, sparse=sparse, _weight=weight, **options)


def dense_gradient(loss, **options):
    twin = layer(sparse=False, **options)
    loss(twin).backward()
    return twin.weight.grad


# ---- made ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [None, 0, -5])
@pytest.mark.parametrize("read", [READ, np.zeros((0, 2), np.int64), np.array(4)])
def test_the_gradient_has_the_rows_that_were_read(padding, read):
    def loss(table):
        return table(lucid.tensor(read)).pow(2).sum()

    table = layer(padding_idx=padding)
    loss(table).backward()
    g = table.weight.grad
    skipped = None if padding is None else padding % 6
    assert g.is_sparse and g.layout == lucid.sparse_coo and g.shape == (6, 3)
    assert (g.sparse_dim(), g.dense_dim()) == (1, 1)
    assert g._indices().tolist() == [[i for i in read.reshape(-1).tolist() if i != skipped]]
    expected = dense_gradient(loss, padding_idx=padding)
    assert np.allclose(g.to_dense().numpy(), expected.numpy(), atol=0)


def test_gradients_of_gradients():
    w = lucid.tensor(TABLE, requires_grad=True)
    i = lucid.tensor(READ)

    def dense(w):
        return F.embedding(i, w, sparse=True).pow(3)

    (g,) = lucid.autograd.grad(dense(w).sum(), w, create_graph=True)
    assert g.is_sparse and g.requires_grad
    g.to_dense().pow(2).sum().backward()
    (first,) = lucid.autograd.grad(F.embedding(i, w).pow(3).sum(), w, create_graph=True)
    (second,) = lucid.autograd.grad(first.pow(2).sum(), w)
    assert w.grad.is_sparse and np.allclose(w.grad.to_dense().numpy(), second.numpy())


def test_where_no_gradient_is_asked_for():
    i = lucid.tensor(READ)
    frozen = layer(_freeze=True)
    assert not frozen(i).requires_grad
    with lucid.no_grad():
        assert np.array_equal(layer()(i).numpy(), TABLE[READ])
    with pytest.raises(IndexError):
        layer()(lucid.tensor([6]))
    assert layer()(i[:, :0]).shape == (2, 0, 3)


def test_weights_that_ops_have_made():
    w = lucid.tensor(TABLE, requires_grad=True)
    i = lucid.tensor(READ)
    for made in (lambda w: w * 2, lambda w: w.float(), lambda w: w.exp()):
        w.grad = None
        F.embedding(i, made(w), sparse=True).pow(2).sum().backward()
        g = w.grad
        w.grad = None
        F.embedding(i, made(w)).pow(2).sum().backward()
        assert g.is_sparse and np.allclose(g.to_dense().numpy(), w.grad.numpy(), rtol=1e-6)
    with pytest.raises(
        NotImplementedError, match="softmax.* is not defined for sparse tensors|is "
    ):
        F.embedding(i, w.softmax(1), sparse=True).sum().backward()


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather(dim):
    i = lucid.tensor(RNG.integers(0, 3, (2, 3)))
    found = []
    for sparse_grad in (True, False):
        x = lucid.tensor(TABLE, requires_grad=True)
        y = lucid.gather(x, dim, i, sparse_grad=sparse_grad)
        y.pow(2).sum().backward()
        assert x.grad.is_sparse == sparse_grad
        found.append((y.detach().numpy(), x.grad.to_dense().numpy()))
    assert np.array_equal(found[0][0], found[1][0]) and np.allclose(found[0][1], found[1][1])
    x = lucid.tensor(TABLE, requires_grad=True)
    x.gather(dim, i, sparse_grad=True).sum().backward()
    assert x.grad._nnz() == 6 and x.grad.sparse_dim() == 2
    with pytest.raises(lucid.error.TraceError, match="gather with sparse_grad=True"):
        lucid.compile(lambda x: x.gather(dim, i, sparse_grad=True))(x)
    _, tangent = lucid.func.jvp(
        lambda x: x.gather(dim, i, sparse_grad=True).sum(), (x,), (lucid.ones(6, 3).double(),)
    )
    assert tangent.item() == 6


BAGS = {
    "2-d": (READ, None, {}),
    "offsets": (np.array([1, 2, 1, 0]), np.array([0, 0, 3]), {}),
    "last offset": (np.array([1, 2, 1, 0]), np.array([0, 1, 4]), {"include_last_offset": True}),
    "padding": (np.array([1, 2, 1, 0]), np.array([0, 0, 3]), {"padding_idx": 1}),
    "empty": (np.zeros(0, np.int64), np.array([0, 0]), {}),
}


@pytest.mark.parametrize("name", BAGS)
@pytest.mark.parametrize("mode", ["sum", "mean", "weighted"])
def test_bags(name, mode):
    read, offsets, options = BAGS[name]
    weights = None
    if mode == "weighted":
        weights = lucid.tensor(RNG.random(read.shape), requires_grad=True)
    found = []
    for sparse in (True, False):
        w = lucid.tensor(TABLE, requires_grad=True)
        y = F.embedding_bag(
            lucid.tensor(read), w, None if offsets is None else lucid.tensor(offsets),
            mode="sum" if weights is not None else mode, sparse=sparse,
            per_sample_weights=weights, **options,
        )  # fmt: skip
        y.pow(2).sum().backward()
        found.append((y.detach(), w.grad.to_dense(), weights if weights is None else weights.grad))
        assert w.grad.is_sparse == sparse
        if weights is not None:
            weights.grad = None
    for a, b in zip(*found, strict=True):
        assert a is None or b is None or np.allclose(a.numpy(), b.numpy())


def test_a_bag_layer():
    bag = nn.EmbeddingBag(6, 3, mode="sum", sparse=True, padding_idx=0)
    bag(lucid.tensor([1, 2, 0, 1]), lucid.tensor([0, 1])).sum().backward()
    assert bag.weight.grad._indices().tolist() == [[1, 2, 1]]
    with pytest.raises(ValueError, match="mode='max' does not go with sparse"):
        nn.EmbeddingBag(6, 3, mode="max", sparse=True)(lucid.tensor([[1]]))
    for made in (nn.Embedding, nn.EmbeddingBag):
        wrong = made(6, 3, sparse=True, scale_grad_by_freq=True)
        with pytest.raises(RuntimeError, match="scale_grad_by_freq does not go with sparse"):
            wrong(lucid.tensor([[1]]))


# ---- added up -----------------------------------------------------------------------------------


def test_accumulation():
    table, i = layer(), lucid.tensor(READ)
    w = table.weight
    table(i).sum().backward()
    once = w.grad.to_dense().numpy()
    table(i).sum().backward()
    assert w.grad.is_sparse and w.grad._nnz() == 8
    assert np.allclose(w.grad.to_dense().numpy(), 2 * once)
    w.sum().backward()  # sparse and dense
    assert not w.grad.is_sparse and np.allclose(w.grad.numpy(), 2 * once + 1)
    kept = w.grad
    table(i).sum().backward()  # dense and sparse: in place
    assert w.grad is kept and np.allclose(kept.numpy(), 3 * once + 1)


@pytest.mark.parametrize("leaf", [True, False])
def test_one_pass_with_both(leaf):
    table, i = layer(), lucid.tensor(READ)
    w = table.weight if leaf else table.weight * 1
    (F.embedding(i, w, sparse=True).sum() + w.pow(2).sum()).backward()
    expected = 2 * TABLE
    np.add.at(expected, READ.reshape(-1), 1.0)
    assert np.allclose(table.weight.grad.numpy(), expected)
    table.weight.grad = None
    (table(i).sum() + table(i[:1]).sum()).backward()
    assert table.weight.grad.is_sparse and table.weight.grad._nnz() == 6


def test_dense_sums():
    x = lucid.sparse_coo_tensor([[0, 2, 0]], [[1.0, 2.0]] * 3, (3, 2))
    ones = lucid.ones(3, 2)
    for made in (ones + x, x + ones, ones.clone().add_(x), lucid.add(ones, x)):
        assert made.tolist() == [[3, 5], [1, 1], [2, 3]]
    assert (ones - x).tolist() == [[-1, -3], [1, 1], [0, -1]]
    assert ones.clone().add_(x, alpha=2).tolist() == [[5, 9], [1, 1], [3, 5]]
    y = ones.clone()
    y += x
    assert y.tolist() == [[3, 5], [1, 1], [2, 3]]
    with pytest.raises(RuntimeError, match="differ"):
        lucid.ones(2, 3).add_(x)
    with pytest.raises(RuntimeError, match="a leaf that requires a gradient"):
        lucid.ones(3, 2, requires_grad=True).add_(x)
    with pytest.raises(NotImplementedError, match="add_ of a sparse tensor that requires"):
        ones.add_(lucid.sparse_coo_tensor([[0]], [[1.0, 1.0]], (3, 2), requires_grad=True))
    v = lucid.tensor([[1.0, 2.0]], requires_grad=True, dtype=lucid.float64)
    d = lucid.ones(3, 2).double().requires_grad_()

    def total(v, d):
        return d + lucid.sparse_coo_tensor([[1]], v, (3, 2))

    assert lucid.autograd.gradcheck(total, (v, d))


def test_in_place():
    def fresh():
        return lucid.sparse_coo_tensor([[0, 2, 0]], [[1.0, -2.0]] * 3, (3, 2))

    x = fresh()
    same = x
    x += fresh()
    x -= fresh() * 3
    x *= lucid.tensor(2.0)
    x /= 4
    assert x is same and x.to_dense().tolist() == [[-1, 2], [0, 0], [-0.5, 1]]
    assert fresh().neg_().to_dense().tolist() == [[-2, 4], [0, 0], [-1, 2]]
    assert fresh().clamp_(-1, 1).to_dense().tolist() == [[1, -1], [0, 0], [1, -1]]
    with pytest.raises(NotImplementedError, match="clamp_ to bounds"):
        fresh().clamp_(1, 2)
    assert fresh().zero_()._nnz() == 0 and fresh().zero_().to_dense().tolist() == [[0, 0]] * 3
    assert x.copy_(fresh()).to_dense().tolist() == fresh().to_dense().tolist()
    leaf = lucid.sparse_coo_tensor([[0]], [1.0], (2,), requires_grad=True)
    with pytest.raises(NotImplementedError, match="recorded"):
        leaf.zero_()
    assert not (leaf * 2).detach_().requires_grad
    kept = x.to_dense().tolist()
    z = x * lucid.tensor([[2.0, 3.0]] * 3)
    assert z.is_sparse and z.to_dense().tolist() == [[2 * a, 3 * b] for a, b in kept]


# ---- what training loops do ---------------------------------------------------------------------


def test_zero_grad_and_casts():
    table, i = layer(), lucid.tensor(READ)
    table(i).sum().backward()
    table.zero_grad(set_to_none=False)
    assert table.weight.grad.is_sparse and table.weight.grad._nnz() == 0
    table(i).sum().backward()
    table.float()
    assert table.weight.grad.dtype is lucid.float32 and table.weight.grad.is_sparse
    again = pickle.loads(pickle.dumps(table.weight.grad))
    assert np.array_equal(again.to_dense().numpy(), table.weight.grad.to_dense().numpy())
    assert copy.deepcopy(table.weight.grad).is_sparse
    table.zero_grad()
    assert table.weight.grad is None


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0, math.inf, -math.inf])
def test_clipping(p):
    table = layer()
    other = nn.Parameter(lucid.tensor([3.0, 4.0]).double())
    table(lucid.tensor(READ)).sum().backward()
    (other * other).sum().backward()
    whole = np.concatenate([table.weight.grad.to_dense().numpy().reshape(-1), [6.0, 8.0]])
    expected = np.linalg.norm(whole, p)
    total = nn.utils.clip_grad_norm_([table.weight, other], 0.5, p)
    assert np.isclose(total.item(), expected)
    factor = min(1.0, 0.5 / (expected + 1e-6))
    assert table.weight.grad.is_sparse
    assert np.allclose(table.weight.grad.to_dense().numpy().reshape(-1), whole[:-2] * factor)
    nn.utils.clip_grad_value_([table.weight, other], 1e-3)
    assert table.weight.grad.to_dense().abs().max().item() <= 1e-3


def test_hooks_and_retained_gradients():
    table, seen = layer(), []
    table.weight.register_hook(lambda g: seen.append(g.is_sparse) or g * 2)
    w = table.weight * 1
    w.retain_grad()
    F.embedding(lucid.tensor(READ), w, sparse=True).sum().backward()
    assert seen == [True] and w.grad.is_sparse
    assert np.allclose(table.weight.grad.to_dense().numpy(), 2 * w.grad.to_dense().numpy())
    with lucid.autograd.detect_anomaly():
        table(lucid.tensor(READ)).sum().backward()
        with pytest.raises(RuntimeError, match="NaN"):
            (table(lucid.tensor(READ)) * math.nan).sum().backward()


def test_grad_scaler():
    table = layer(kind="float32")
    optimizer = optim.SGD(table.parameters(), lr=0.5)
    scaler = lucid.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(table(lucid.tensor([1, 1])).sum()).backward()
    scaler.unscale_(optimizer)
    assert np.allclose(table.weight.grad.to_dense()[1].tolist(), 2.0)
    scaler.step(optimizer)
    scaler.update()
    assert np.allclose(table.weight.detach()[1].numpy(), TABLE[1] - 1, atol=1e-6)
    before = table.weight.detach().numpy().copy()
    optimizer.zero_grad()
    scaler.scale(table(lucid.tensor([1])).sum() * math.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    assert np.array_equal(table.weight.detach().numpy(), before) and scaler.get_scale() == 4.0


def test_transformations():
    w = lucid.tensor(TABLE, requires_grad=True)

    def loss(w):
        return F.embedding(lucid.tensor(READ), w, sparse=True).pow(2).sum()

    assert lucid.func.grad(loss)(w).is_sparse
    _, tangent = lucid.func.jvp(loss, (w,), (lucid.ones(6, 3).double(),))
    assert np.isclose(tangent.item(), 2 * TABLE[READ].sum())
    with pytest.raises(RuntimeError, match="vmap: sparse_embedding"):
        lucid.vmap(lambda i: F.embedding(i, w, sparse=True).sum())(lucid.tensor(READ))
    x = lucid.utils.checkpoint.checkpoint(loss, w, use_reentrant=False)
    x.backward()
    assert w.grad.is_sparse and w.grad._nnz() == 4


def test_compiled():
    table, i = layer(), lucid.tensor(READ)
    with pytest.raises(lucid.error.TraceError, match=r"embedding with sparse=True.*gradients\.py"):
        lucid.compile(table)(i)
    bag = nn.EmbeddingBag(6, 3, sparse=True)
    with pytest.raises(lucid.error.TraceError, match="embedding_bag with sparse=True"):
        lucid.compile(bag)(i)
    with lucid.no_grad():
        assert np.array_equal(lucid.compile(table)(i).numpy(), TABLE[READ])
    table(i).sum().backward()
    optimizer = optim.SGD(table.parameters(), lr=0.1)
    step = lucid.compile(lambda: optimizer.step())
    with pytest.raises(lucid.error.TraceError, match="step with sparse gradients, asked for at"):
        step()
    assert np.array_equal(table.weight.detach().numpy(), TABLE)
    table.weight.grad = table.weight.grad.to_dense()
    step()
    table.weight.grad = lucid.sparse_coo_tensor([[1]], [[1.0] * 3], (6, 3)).double()
    changed = table.weight.detach().numpy().copy()
    with pytest.raises(lucid.error.TraceError, match="step with sparse gradients"):
        step()
    assert np.array_equal(table.weight.detach().numpy(), changed)


# ---- optimizers ---------------------------------------------------------------------------------

STEPS = [READ, np.array([[3, 3], [1, 0]]), np.array([[4, 2], [4, 2]]), READ]
FIRST = "SGD", {"momentum": 0.9}
TAKING = [
    ("SGD", {}), FIRST, ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "maximize": True}),
    ("Adagrad", {}), ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"maximize": True}), ("SparseAdam", {}), ("SparseAdam", {"maximize": True}),
]  # fmt: skip


def train(library, name, options, dense_at=(), sparse=True, reload=False):
    table = layer(library, sparse=sparse, padding_idx=0)
    optimizer = getattr(library.optim, name)(table.parameters(), lr=0.1, **options)
    found = []
    for step, read in enumerate(STEPS):
        optimizer.zero_grad()
        loss = table(library.tensor(read)).pow(2).sum()
        if step in dense_at:
            loss = loss + table.weight.pow(2).sum()
        loss.backward()
        optimizer.step()
        if reload:
            state = pickle.loads(pickle.dumps(optimizer.state_dict()))
            optimizer = getattr(library.optim, name)(table.parameters(), lr=0.1, **options)
            optimizer.load_state_dict(state)
        found.append(table.weight.detach().numpy().copy())
    return np.stack(found)


def by_rows(name, options):
    """The formulas, on the rows that a step reads alone where they are so."""
    w, state = TABLE.copy(), {}
    lr, sign = 0.1, -1 if options.get("maximize") else 1
    mu = options.get("momentum", 0)
    first = np.full_like(w, options.get("initial_accumulator_value", 0))
    m, v, s = np.zeros_like(w), np.zeros_like(w), first
    found = []
    for t, read in enumerate(STEPS, 1):
        g = np.zeros_like(w)
        np.add.at(g, read.reshape(-1), 2 * w[read.reshape(-1)])
        g[0] = 0
        g *= sign
        rows = sorted(set(read.reshape(-1).tolist()) - {0})
        if name == "SGD":
            damping = 1 - options.get("dampening", 0)
            state["v"] = g.copy() if t == 1 else mu * state["v"] + damping * g
            w = w - lr * (g + mu * state["v"] if options.get("nesterov") else state["v"] if mu
                          else g)  # fmt: skip
        elif name == "Adagrad":
            s[rows] += g[rows] ** 2
            rate = lr / (1 + (t - 1) * options.get("lr_decay", 0))
            w[rows] -= rate * g[rows] / (np.sqrt(s[rows]) + 1e-10)
        else:
            m[rows] += 0.1 * (g[rows] - m[rows])
            v[rows] = 0.999 * v[rows] + 0.001 * g[rows] ** 2
            rate = lr * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            w[rows] -= rate * m[rows] / (np.sqrt(v[rows]) + 1e-8)
        found.append(w.copy())
    return np.stack(found)


@pytest.mark.parametrize("name, options", TAKING)
def test_optimizers_that_take_them(name, options):
    assert np.allclose(train(lucid, name, options), by_rows(name, options))
    assert np.allclose(train(lucid, name, options, reload=True), by_rows(name, options))


@pytest.mark.parametrize("name, options", [(n, o) for n, o in TAKING if n != "SparseAdam"])
@pytest.mark.parametrize("dense_at", [(0,), (1,), (2, 3)])
def test_sparse_and_dense_gradients_in_turn(name, options, dense_at):
    made = train(lucid, name, options, dense_at)
    assert np.allclose(made, train(lucid, name, options, dense_at, sparse=False))


@pytest.mark.parametrize(
    "name", "Adam AdamW Adamax NAdam RAdam Adadelta Adafactor RMSprop Rprop ASGD Muon".split()
)
def test_optimizers_that_do_not(name):
    table = layer()
    other = nn.Parameter(lucid.ones(2, 2))
    optimizer = getattr(optim, name)([other, table.weight], lr=0.1)
    (table(lucid.tensor(READ)).sum() + other.sum()).backward()
    with pytest.raises(RuntimeError, match=f"{name} does not support sparse gradients, please con"):
        optimizer.step()
    assert other.tolist() == [[1, 1]] * 2 and not optimizer.state.get(other)
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients"):
        optim.SparseAdam([other, table.weight]).step()


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_weight_decay_does_not_go_with_them(name):
    table = layer()
    table(lucid.tensor(READ)).sum().backward()
    with pytest.raises(RuntimeError, match=f"{name}: weight_decay does not go with sparse"):
        getattr(optim, name)(table.parameters(), weight_decay=0.1).step()
    assert np.array_equal(table.weight.detach().numpy(), TABLE)


def test_lbfgs_makes_them_dense():
    found = []
    for sparse in (True, False):
        table = layer(sparse=sparse)
        optimizer = optim.LBFGS(table.parameters(), lr=0.1, max_iter=4)

        def closure(table=table, optimizer=optimizer):
            optimizer.zero_grad()
            loss = table(lucid.tensor(READ)).pow(2).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        found.append(table.weight.detach().numpy())
    assert np.allclose(*found) and not np.allclose(found[0], TABLE)


def test_a_step_leaves_the_other_rows_alone():
    table = nn.Embedding(1000, 4, sparse=True)
    before = table.weight.detach().clone()
    for name in ("SGD", "Adagrad", "SparseAdam"):
        optimizer = getattr(optim, name)(table.parameters(), lr=0.1)
        optimizer.zero_grad()
        table(lucid.tensor([5, 7, 5])).sum().backward()
        optimizer.step()
    changed = (table.weight.detach() != before).any(1).nonzero().reshape(-1)
    assert changed.tolist() == [5, 7]


def test_pytorch_says_the_same():
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, options in TAKING:
            ours, theirs = train(lucid, name, options), train(torch, name, options)
            assert np.allclose(ours, theirs), (name, options)
        for name, options in (("SGD", {}), ("Adagrad", {})):
            ours, theirs = (train(library, name, options, (1,)) for library in (lucid, torch))
            assert np.allclose(ours, theirs), (name, options)
    for library in (lucid, torch):
        bag = library.nn.EmbeddingBag(6, 3, mode="mean", sparse=True, padding_idx=1)
        bag(library.tensor([1, 2, 1, 0]), library.tensor([0, 0, 3])).sum().backward()
        assert bag.weight.grad._indices().tolist() == [[2, 0]]
        assert bag.weight.grad._values().tolist() == [[1, 1, 1]] * 2
