"""cond, scan and while_loop in eager: their definitions, gradients, nests, errors, memory."""

from collections import namedtuple

import numpy as np
import pytest

import lucid

Pair = namedtuple("Pair", "a b")


def real(*shape, seed=0, grad=False):
    values = np.random.default_rng([seed, *shape]).uniform(-1, 1, shape)
    return lucid.tensor(values, dtype=lucid.float64, requires_grad=grad)


def same(a, b):
    assert a.dtype is b.dtype and a.shape == b.shape
    assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cond_runs_one_branch_and_its_gradient(sign):
    x, w, v = real(3, grad=True), real(3, seed=1, grad=True), real(3, seed=2, grad=True)
    ran = []

    def yes(x):
        ran.append("yes")
        return x * w

    def no(x):
        ran.append("no")
        return x.sin() + v

    y = lucid.cond(lucid.tensor(sign) > 0, yes, no, (x,))
    want = x * w if sign > 0 else x.sin() + v
    same(y, want)
    assert ran == ["yes" if sign > 0 else "no"]
    y.sum().backward()
    if sign > 0:
        same(x.grad, w)
        same(w.grad, x)
        assert v.grad is None
    else:
        same(x.grad, x.cos())
        assert w.grad is None
        same(v.grad, lucid.ones(3, dtype=lucid.float64))


def test_cond_takes_nests_and_python_booleans():
    x = real(2)
    made = lucid.cond(
        True,
        lambda p, rest: {"sum": p.a + p.b, "all": (rest["x"], [p.a.T])},
        lambda p, rest: None,
        (Pair(x, x * 2), {"x": x}),
    )
    same(made["sum"], x + x * 2)
    same(made["all"][0], x)
    assert isinstance(made["all"][1], list)
    assert lucid.cond(False, lambda: x, lambda: None) is None


def test_results_share_memory_with_nothing():
    x, w = real(2, 3), real(2, 3, seed=1)

    def own(y, *others):
        places = {t.data_ptr() for t in others}
        assert y.data_ptr() not in places and y.is_contiguous()

    for grad in (False, True):
        x.requires_grad_(grad)
        own(lucid.cond(True, lambda x: x, lambda x: x, (x,)), x)
        own(lucid.cond(True, lambda x: x[:], lambda x: x, (x,)), x)
        own(lucid.cond(True, lambda x: x.T, lambda x: x, (x,)), x)
        own(lucid.cond(True, lambda x: w, lambda x: x, (x,)), x, w)
        a, b = lucid.cond(True, lambda x: (x + 1,) * 2, lambda x: x, (x,))
        own(a, b)
        y = lucid.while_loop(lambda a, b: a.sum() < 0, lambda a, b: (a, b), (lucid.ones(2), x))
        own(y[1], x)
        carry, ys = lucid.scan(lambda c, r: (c, c), x[0], x)
        own(carry, x, ys)


def test_scan_is_a_loop_and_so_is_its_gradient():
    for dim, reverse in [(0, False), (0, True), (1, False), (-1, True)]:
        xs, w, c0 = real(4, 4, grad=True), real(4, seed=1, grad=True), real(4, seed=2, grad=True)

        def step(c, x, w=w):
            c = (c * w + x).tanh()
            return c, {"y": c * x, "s": x.sum()}

        carry, ys = lucid.scan(step, c0, xs, dim, reverse)
        found = lucid.autograd.grad(
            (carry * 2).sum() + (ys["y"] ** 2).sum() + ys["s"].sum(), (xs, w, c0)
        )
        c, rows, sums = c0, [None] * 4, [None] * 4
        for i in reversed(range(4)) if reverse else range(4):
            c, y = step(c, xs.select(dim, i))
            rows[i], sums[i] = y["y"], y["s"]
        same(carry, c)
        same(ys["y"], lucid.stack(rows, dim).contiguous())
        same(ys["s"], lucid.stack(sums))
        want = lucid.autograd.grad(
            (c * 2).sum() + (lucid.stack(rows, dim) ** 2).sum() + lucid.stack(sums).sum(),
            (xs, w, c0),
        )
        for a, b in zip(found, want, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-13)


def test_scan_sums_up_as_cumsum_does():
    xs = lucid.arange(5, dtype=lucid.int64)
    carry, ys = lucid.scan(lambda c, x: (c + x, c + x), lucid.tensor(0), xs)
    assert carry.item() == 10 and ys.tolist() == [0, 1, 3, 6, 10]
    _, ys = lucid.scan(lambda c, x: (c + x, c + x), lucid.tensor(0), xs, reverse=True)
    assert ys.tolist() == [10, 10, 9, 7, 4]


def test_scan_of_nests_and_of_nothing():
    xs = {"a": real(3, 2), "b": lucid.arange(3)}
    (c, n), ys = lucid.scan(
        lambda c, x: ((c[0] + x["a"], c[1] + x["b"]), None),
        (lucid.zeros(2).double(), lucid.tensor(0)),
        xs,
    )
    assert ys is None and n.item() == 3
    np.testing.assert_allclose(c.numpy(), xs["a"].numpy().sum(0))
    init = real(2)
    assert lucid.scan(lambda c, x: (c, c), init, ())[0] is init


def test_second_derivatives_of_scan_and_cond():
    def f(x):
        c, _ = lucid.scan(lambda c, t: (c * x.sin() + t, c), x, lucid.ones(3, 2).double())
        return lucid.cond(c.sum() > 0, lambda c: (c * x).sum(), lambda c: c.sum(), (c,))

    assert lucid.autograd.gradgradcheck(f, (real(2, grad=True) + 1.5,))


def test_while_loop_counts_and_differentiates_what_ran():
    i, x = lucid.while_loop(
        lambda i, x: i < 5, lambda i, x: (i + 1, x * 2), (lucid.tensor(0), lucid.ones(2))
    )
    assert i.item() == 5 and x.tolist() == [32.0, 32.0]
    assert lucid.while_loop(lambda i: i < 0, lambda i: (i + 1,), (3,)) == (3,)
    w = real(2, grad=True)
    (y,) = lucid.while_loop(lambda y: y.abs().sum() > 0.01, lambda y: [y * w], (real(2, seed=3),))
    g = lucid.autograd.grad(y.sum(), w)[0]
    assert g.abs().sum() > 0
    with pytest.raises(RuntimeError, match="max_steps=3"):
        lucid.while_loop(lambda i: i < 5, lambda i: (i + 1,), (lucid.tensor(0),), max_steps=3)
    (i,) = lucid.while_loop(lambda i: i < 3, lambda i: (i + 1,), (lucid.tensor(0),), max_steps=3)
    assert i.item() == 3


def test_no_node_is_made_under_no_grad():
    x = real(2, grad=True)
    with lucid.no_grad():
        y = lucid.cond(x.sum() > 9, lambda x: x, lambda x: x * 2, (x,))
        c, ys = lucid.scan(lambda c, t: (c * t, c), x, real(3, 2))
    assert not y.requires_grad and not c.requires_grad and not ys.requires_grad


A, B = lucid.ones(2), lucid.ones(3)
ERRORS = [
    (lambda: lucid.cond(1, lambda: A, lambda: A), TypeError, "pred is a bool or a tensor"),
    (lambda: lucid.cond(A > 0, lambda: A, lambda: A), RuntimeError, r"one element, .*\(2,\)"),
    (lambda: lucid.cond(True, A, lambda: A), TypeError, "true_fn is a function, got Tensor"),
    (lambda: lucid.cond(True, lambda: A, None), TypeError, "false_fn is a function"),
    (lambda: lucid.cond(True, len, len, A), TypeError, "operands are a tuple"),
    (lambda: lucid.cond(True, lambda: 3, lambda: A), RuntimeError, "returns a int"),
    (
        lambda: lucid.cond(True, lambda x: x.add_(1), lambda x: x, (lucid.ones(2),)),
        RuntimeError,
        "writes in place",
    ),
    (lambda: lucid.scan(lambda c, x: c, A, A), RuntimeError, r"returns \(carry, y\)"),
    (lambda: lucid.scan(lambda c, x: (B, c), A, A), RuntimeError, r"shape \(3,\) as leaf 0"),
    (lambda: lucid.scan(lambda c, x: (c.long(), c), A, A), RuntimeError, "int64 of shape"),
    (lambda: lucid.scan(lambda c, x: ((c,), c), A, A), RuntimeError, "another nest"),
    (lambda: lucid.scan(lambda c, x: (c, 1), A, A), RuntimeError, "returns a int; return tensors"),
    (lambda: lucid.scan(lambda c, x: (c, c), A, (A, B)), RuntimeError, "same size in dimension 0"),
    (lambda: lucid.scan(lambda c, x: (c, c), A, lucid.ones(0)), RuntimeError, "not 0"),
    (lambda: lucid.scan(lambda c, x: (c, c), A, A, 1), IndexError, "dim 1 is out of range"),
    (lambda: lucid.scan(lambda c, x: (c, c), A, [1]), RuntimeError, "xs holds tensors, got a int"),
    (lambda: lucid.scan(lambda c, x: (c, c), 1.0, A), RuntimeError, "init holds tensors"),
    (lambda: lucid.scan(lambda c, x: (c, c), (), A), RuntimeError, "init holds no tensor"),
    (lambda: lucid.scan(lambda c, x: (c.add_(1), c), A, A), RuntimeError, "in place"),
    (lambda: lucid.scan(3, A, A), TypeError, "combine_fn is a function"),
    (lambda: lucid.while_loop(lambda x: x, lambda x: (x,), (A,)), RuntimeError, r"shape \(2,\)"),
    (lambda: lucid.while_loop(lambda x: 1, lambda x: (x,), (A,)), TypeError, "got int"),
    (lambda: lucid.while_loop(lambda x: True, lambda x: (B,), (A,)), RuntimeError, "leaf 0"),
    (lambda: lucid.while_loop(lambda x: True, lambda x: (x, x), (A,)), RuntimeError, "nest"),
    (lambda: lucid.while_loop(lambda x: True, lambda x: (x,), A), TypeError, "tuple or list"),
    (lambda: lucid.while_loop(len, len, (A,), max_steps=1.5), TypeError, "number of steps"),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors(case):
    function, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        function()


def test_pytorchs_names():
    import lucid.compat.torch as torch

    assert torch.cond is lucid.cond
    from lucid.compat.torch._higher_order_ops import scan, while_loop
    from lucid.compat.torch._higher_order_ops.cond import cond

    assert (cond, scan, while_loop) == (lucid.cond, lucid.scan, lucid.while_loop)
    from lucid.compat.torch._higher_order_ops.scan import scan as again

    assert again is lucid.scan


def test_vmap_of_scan():
    xs, w = real(3, 4, 2), real(3, 2, seed=1)
    f = lambda xs, w: lucid.scan(lambda c, x: (c * w + x, c), lucid.zeros(2).double(), xs)  # noqa: E731
    got = lucid.vmap(f)(xs, w)
    for b in range(3):
        want = f(xs[b], w[b])
        np.testing.assert_allclose(got[0][b].numpy(), want[0].numpy())
        np.testing.assert_allclose(got[1][b].numpy(), want[1].numpy())
