"""Histories: writes, views and detached tensors, and what a backward pass makes of them later."""

import copy
import pickle

import numpy as np
import pytest

import lucid
from lucid.autograd import grad, gradcheck, gradgradcheck
from lucid.nn import functional as F


def leaf(*values: float, dtype=lucid.float64) -> lucid.Tensor:
    return lucid.tensor(list(values), dtype=dtype, requires_grad=True)


# --- The version check ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "write", "names"),
    [
        (lambda h: h * h, lambda h, y: h.add_(1), ("mul", "add_")),
        (lambda h: h.exp(), lambda h, y: y.mul_(2), ("exp", "mul_")),
        (lambda h: h * h, lambda h, y: h.data.zero_(), ("mul", "by zero_ through .data")),
        (lambda h: h * h, lambda h, y: h.detach().add_(1), ("mul", "add_")),
        (lambda h: h * h, lambda h, y: h[:1].add_(1), ("mul", "add_")),
        (lambda h: h[:1] * h[1:], lambda h, y: h.data[1:].mul_(2), ("mul", "mul_", ".data")),
        (lambda h: h * h, lambda h, y: h.__setitem__(0, 3.0), ("mul", "setitem")),
    ],
)
def test_a_write_to_what_was_saved_is_found_and_named(forward, write, names):
    h = leaf(1.0, 2.0) * 1
    y = forward(h)
    write(h, y)
    with pytest.raises(RuntimeError, match="modified in place") as caught:
        y.sum().backward()
    for name in names:
        assert name in str(caught.value)


def test_a_step_of_the_optimizer_is_named():
    p = leaf(1.0, 2.0)
    loss = (p * p).sum()
    loss.backward(retain_graph=True)
    lucid.optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified in place by sgd"):
        loss.backward()


def test_lines_at_debug(monkeypatch):
    monkeypatch.setattr(lucid.config.settings, "debug", 1)
    h = leaf(1.0) * 1
    y = h * h
    h.add_(1)
    with pytest.raises(RuntimeError, match=r"test_history.py:\d+.*by add_ at .*test_history.py:\d"):
        y.sum().backward()


def test_swapped_data_is_another_tensor():
    p = leaf(1.0, 2.0)
    y = (p * p).sum()
    p.data = lucid.tensor([10.0, 20.0], dtype=lucid.float64)
    (g,) = grad(y, p, create_graph=True)
    assert g.tolist() == [2.0, 4.0]
    assert grad(g.sum(), p)[0].tolist() == [2.0, 2.0]
    y = (p * p).sum()
    y.backward()
    assert p.grad.tolist() == [20.0, 40.0] and p.is_leaf


# --- Writes ---------------------------------------------------------------------------------------


def _put(key, value):
    def change(y, x):
        y[key(y) if callable(key) else key] = value(y, x)

    return change


# name -> what is done in place to y, a copy of x
WRITES = {
    "mul by x": lambda y, x: y.mul_(x),
    "mul by itself": lambda y, x: y.mul_(y),
    "pow": lambda y, x: y.pow_(3),
    "div": lambda y, x: y.div_(x * x),
    "exp": lambda y, x: y.exp_(),
    "clamp": lambda y, x: y.clamp_(0.5, 1.5),
    "zero": lambda y, x: y.zero_(),
    "masked_fill": lambda y, x: y.masked_fill_(y > 1, 2.0),
    "view by view": lambda y, x: y[1:].mul_(y[:2]),
    "view of a view": lambda y, x: y[1:][:1].exp_(),
    "reversed": lambda y, x: y.view(1, 3).t()[1:, 0].mul_(x[:2]),
    "several": lambda y, x: (y[:2].mul_(x[0]), y.add_(x), y[2].mul_(x[2])),
    "a number": _put(1, lambda y, x: 7.0),
    "a tensor": _put(slice(0, 2), lambda y, x: x[1:] ** 2),
    "places": _put([2, 0], lambda y, x: x[:2] ** 2),
    "a mask": _put(lambda y: y > 1, lambda y, x: x[0]),
    "a mask, many": _put(lambda y: y > 1, lambda y, x: x[:2] * 2),
    "from itself": _put(slice(1, None), lambda y, x: y[:2]),
}


@pytest.mark.parametrize("name", WRITES)
def test_gradients_through_writes(name):
    """Read as a whole, through views made before the write, and through ones made after it."""

    def function(x):
        y = x * 1
        whole, first, inner = y.view(3), y[:2], y[1:][:1]
        WRITES[name](y, x)
        return y * y, whole * x, first * inner, y[2:] * first

    x = leaf(0.7, 1.3, 1.9)
    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


def test_gradients_through_writes_to_what_needed_none():
    def function(x):
        z = lucid.zeros(5, dtype=lucid.float64)
        part = z[1:4]
        z[:3].copy_(x)
        z[2:].mul_(x[0])
        wide = (x.expand(2, 3) * 1).mul_(x)
        return z * z, part, wide

    x = leaf(0.7, 1.3, 1.9)
    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


def test_writes_to_leaves_and_their_views_are_refused():
    x = leaf(1.0, 2.0)
    plain = lucid.zeros(2, dtype=lucid.float64)
    part = plain[:1].requires_grad_()
    for wrong in (
        lambda: x.add_(1),
        lambda: x[:1].add_(1),
        lambda: x.view(1, 2)[0].mul_(2),
        lambda: x.__setitem__(0, 1.0),
        lambda: part.mul_(2),
        lambda: lucid.exp(x * 1, out=plain),
        lambda: lucid.exp(plain, out=x),
    ):
        before = x.tolist(), plain.tolist(), x._version
        with pytest.raises(RuntimeError, match="leaf|out="):
            wrong()
        assert (x.tolist(), plain.tolist(), x._version) == before
    with lucid.no_grad():
        x.add_(1), part.mul_(2), lucid.exp(plain, out=x)
    assert x.is_leaf and x.requires_grad


def test_fills_have_no_gradient():
    x = leaf(1.0, 2.0)
    for fill in ("zero_", "normal_", "uniform_"):
        y = x * 1
        getattr(y, fill)()
        (y * x).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
        x.grad = None


def test_integers_take_no_history():
    x = leaf(1.0, 2.0)
    whole = lucid.zeros(2, dtype=lucid.int64)
    with pytest.raises(RuntimeError):
        whole.add_(x)
    assert not whole.requires_grad and whole.grad_fn is None
    whole.copy_(x)
    assert not whole.requires_grad and whole.grad_fn is None and whole.tolist() == [1, 2]


# --- Flags and copies -----------------------------------------------------------------------------


def test_requires_grad_of_a_non_leaf_stays():
    y = leaf(1.0) * 2
    assert y.requires_grad_() is y
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad = False
    with pytest.raises(RuntimeError, match="floating"):
        lucid.ones(2, dtype=lucid.int64).requires_grad_()


def test_copies_of_a_leaf_with_a_gradient():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    x.tag = ["mine"]
    twin = copy.deepcopy(x)
    assert twin.grad.tolist() == [2.0, 4.0] and twin.requires_grad and twin.is_leaf
    twin.grad.zero_()
    twin.tag.append("more")
    assert x.grad.tolist() == [2.0, 4.0] and x.tag == ["mine"]
    loaded = pickle.loads(pickle.dumps(x))
    assert loaded.requires_grad and loaded.is_leaf and loaded.tolist() == x.tolist()
    with pytest.raises(RuntimeError, match="leaf"):
        copy.deepcopy(x * 1)


# --- create_graph through every composite ---------------------------------------------------------


def _random(*shape: int) -> lucid.Tensor:
    values = np.random.default_rng(len(shape)).standard_normal(shape)
    return lucid.tensor(values, dtype=lucid.float64, requires_grad=True)


COMPOSITES = {
    "softmax": (lambda x: F.softmax(x, 1), [(2, 3)]),
    "log_softmax": (lambda x: F.log_softmax(x, 0), [(2, 3)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (3,), w, b), [(2, 3), (3,), (3,)]),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        [(3, 2, 2), (2,), (2,)],
    ),
    "batch_norm eval": (
        lambda x, w, b: F.batch_norm(
            x, lucid.zeros(2, dtype=lucid.float64), lucid.ones(2, dtype=lucid.float64), w, b, False
        ),
        [(3, 2, 2), (2,), (2,)],
    ),
    "cross_entropy": (lambda x: F.cross_entropy(x, lucid.tensor([1, 2])), [(2, 3)]),
    "nll": (lambda x: F.nll_loss(F.log_softmax(x, 1), lucid.tensor([1, 2])), [(2, 3)]),
    "mse": (F.mse_loss, [(2, 3), (2, 3)]),
    "bce": (lambda x: F.binary_cross_entropy_with_logits(x, lucid.ones(2, 3).double()), [(2, 3)]),
    "gelu": (F.gelu, [(2, 3)]),
    "silu": (F.silu, [(2, 3)]),
    "conv": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(1, 2, 3, 3), (2, 2, 2, 2), (2,)]),
    "conv stride groups": (
        lambda x, w: F.conv2d(x, w, stride=2, groups=2, dilation=1),
        [(1, 2, 4, 4), (2, 1, 2, 2)],
    ),
    "max_pool": (lambda x: F.max_pool2d(x, 2) ** 2, [(1, 1, 4, 4)]),
    "avg_pool": (lambda x: F.avg_pool2d(x, 2) ** 2, [(1, 1, 4, 4)]),
    "adaptive_avg_pool": (lambda x: F.adaptive_avg_pool2d(x, 2) ** 2, [(1, 1, 3, 3)]),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
        [(1, 2, 3, 2), (1, 2, 3, 2), (1, 2, 3, 2)],
    ),
    "attention causal": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        [(1, 1, 3, 2), (1, 1, 3, 2), (1, 1, 3, 2)],
    ),
    "linear": (F.linear, [(2, 3), (2, 3), (2,)]),
    "embedding": (lambda w: F.embedding(lucid.tensor([0, 2, 2]), w) ** 2, [(3, 2)]),
    "logsumexp": (lambda x: x.logsumexp(1), [(2, 3)]),
    "var": (lambda x: x.var(1), [(2, 3)]),
    "std": (lambda x: x.std(), [(2, 3)]),
    "norm of the gradient": (
        lambda x: grad(F.softmax(x, 1).pow(2).sum(), x, create_graph=True)[0],
        [(2, 3)],
    ),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_second_derivatives(name):
    function, shapes = COMPOSITES[name]
    if name == "norm of the gradient":
        x = _random(2, 3)
        g = function(x)
        (h,) = grad((g * g).sum(), x)
        assert h is not None and np.isfinite(h.numpy()).all()
        return
    inputs = tuple(_random(*s) for s in shapes)
    assert gradgradcheck(function, inputs, atol=1e-4)


@pytest.mark.parametrize("name", COMPOSITES)
def test_both_ways_of_running_the_rules_give_the_same_bits(name):
    function, shapes = COMPOSITES[name]
    inputs = [_random(*s).detach().float().requires_grad_() for s in shapes]
    if "eval" in name or name == "bce" or name == "norm of the gradient":
        inputs = [x.detach().double().requires_grad_() for x in inputs]
    y = function(*inputs)
    plain = grad(y.sum(), inputs, retain_graph=True)
    recorded = grad(y.sum(), inputs, create_graph=True)
    for a, b in zip(plain, recorded, strict=True):
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()
