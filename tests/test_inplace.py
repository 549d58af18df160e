"""In-place forms: versions, overlaps, views of views, histories, what must raise."""

import numpy as np
import pytest

import lucid
from lucid.autograd.check import gradcheck

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 4))


def overlap(x):
    x[1:] += x[:-1]
    return x


def overlap_back(x):
    x[:-1] *= x[1:]
    return x


def transposed(x):
    x[:3, :3].t().add_(x[:3, :3])
    return x


def chain(x):
    v = x[1:]
    w = v.t()
    w[1:3].mul_(3)
    w[0] = 7.0
    return x * x, v, w


def siblings(x):
    a, b = x[0:2], x[1:3]
    a.mul_(b)
    b.add_(a)
    return a * 1, b * 1, x


def base_then_view(x):
    v = x[0]
    v.mul_(2)
    x.sin_()
    v.add_(1)
    return v * v, x


def own_rows(x):
    x[0].mul_(x[1])
    x[1].mul_(x[0])
    return x


def deep(x):
    x[1][1:][0].mul_(4)
    x[1][1:][1] = x[0][0]
    return x


def flat(x):
    v = x.view(2, 6)
    v[0].mul_(v[1])
    w = x.reshape(-1)[3:]
    w.exp_()
    return x, v, w


def broadcast(x):
    x.add_(x[:1])
    x[:, 0].zero_()
    return x


def reversed_rows(x):
    x.sub_(x.flip(0) * 0.5)
    x[::-1][0].mul_(3)
    return x


def diagonal(x):
    x[:, :3].diagonal().mul_(x[0, :3])
    return x


def masked(x):
    x[x > 0] = x[x > 0] * 2
    x.masked_fill_(x < -1, 0.5)
    return x


def composed(x):
    return x.clamp_(-1, 1).abs_().add_(1).pow_(1.5).addcmul_(x, x, value=0.5).cumsum_(1)


def placed(x):
    i = lucid.tensor([0, 0])
    x.index_add_(0, i, x[1:3])
    x.index_copy_(1, lucid.tensor([3]), x[:, :1] * 2)
    x.scatter_add_(1, lucid.tensor([[0], [1], [0]]), x[:, 1:2])
    return x


def source(x):
    y = lucid.ones(3, 4, dtype=lucid.float64)
    y[1] = x[0]
    y[:, 2] *= x[:, 0]
    y.t()[0].copy_(x[:, 1])
    return y


PROGRAMS = [
    overlap, overlap_back, transposed, chain, siblings, base_then_view, own_rows, deep, flat,
    broadcast, reversed_rows, diagonal, masked, composed, placed, source,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_gradients(program):
    """Values depend on the writes alone, so finite differences judge the histories."""
    x = lucid.tensor(A, requires_grad=True)
    assert gradcheck(lambda x: program(x * 1.0), (x,))


@pytest.mark.parametrize(
    "program",
    [
        f
        for f in PROGRAMS
        if f is not source and f is not placed and f is not composed and f is not masked
    ],
)
def test_values(program):
    """As NumPy computes them, where an in-place form reads everything before it writes."""
    made = program(lucid.tensor(A))
    made = made if isinstance(made, tuple) else (made,)
    if program is overlap:
        want = A.copy()
        want[1:] = A[1:] + A[:-1]
    elif program is overlap_back:
        want = A.copy()
        want[:-1] = A[:-1] * A[1:]
    elif program is transposed:
        want = A.copy()
        want[:3, :3] += A[:3, :3].T
    elif program is own_rows:
        want = A.copy()
        want[0] *= want[1]
        want[1] *= want[0]
    elif program is broadcast:
        want = A + A[:1]
        want[:, 0] = 0
    else:
        assert all(np.isfinite(y.numpy()).all() for y in made)
        return
    np.testing.assert_allclose(made[-1].numpy(), want, rtol=1e-15)


def test_every_write_counts_once_and_views_share_the_count():
    x = lucid.zeros(4, 4)
    v = x[1:].t()
    for i, write in enumerate([
        lambda: x.add_(1), lambda: v.mul_(2), lambda: v[0].zero_(), lambda: x.__setitem__(0, 3.0),
        lambda: x.copy_(v[:, :1]), lambda: lucid.add(x, 1, out=x), lambda: x.clamp_(0, 1),
    ]):  # fmt: skip
        write()
        assert x._version == v._version == i + 1
    assert x.detach()._version == x._version


def test_a_saved_value_that_is_overwritten_raises():
    x = lucid.tensor(A, requires_grad=True)
    y = x * 1.0
    z = y.exp()
    z.mul_(2)
    with pytest.raises(RuntimeError, match=r"exp saved as 'y' was modified in place.*version 1"):
        z.sum().backward()
    y = x * 1.0
    z = y.sin()
    y[0].add_(1)  # through a view
    with pytest.raises(RuntimeError, match="sin saved"):
        z.sum().backward()


def test_leaves():
    x = lucid.tensor(A, requires_grad=True)
    for write in (lambda: x.add_(1), lambda: x[0].add_(1), lambda: x.__setitem__(0, 1.0)):
        with pytest.raises(RuntimeError, match="leaf.*no_grad"):
            write()
    np.testing.assert_array_equal(x.detach().numpy(), A)
    with lucid.no_grad():
        x[0].add_(1)
    assert x.is_leaf and x._version == 1


ERRORS = [
    ("fit the target", lambda x: x.add_(lucid.zeros(2, 3, 4))),
    ("expanded", lambda x: x[:, :1].expand(3, 4).add_(1)),
    ("cannot be written", lambda x: x.long().add_(1.5)),
    ("cannot be written", lambda x: x.long().clamp_(0.5, 1.5)),
    ("out has shape", lambda x: lucid.add(x, 1, out=lucid.zeros(2))),
    ("cannot be written", lambda x: lucid.add(x, 1, out=lucid.zeros(3, 4, dtype=lucid.int64))),
]


@pytest.mark.parametrize("place", range(len(ERRORS)))
def test_errors(place):
    text, function = ERRORS[place]
    x = lucid.tensor(A)
    with pytest.raises(RuntimeError, match=text):
        function(x)
    np.testing.assert_array_equal(x.numpy(), A)


def test_out_may_be_an_input_or_overlap_it():
    x = lucid.tensor(A)
    lucid.mul(x[:-1], x[1:], out=x[1:])
    want = A.copy()
    want[1:] = A[:-1] * A[1:]
    np.testing.assert_array_equal(x.numpy(), want)
    y = lucid.empty(4, dtype=lucid.float64)
    assert lucid.sum(x, 0, out=y) is y
    np.testing.assert_allclose(y.numpy(), want.sum(0))


def test_views_of_a_view_that_became_a_leaf_are_not_written():
    base = lucid.ones(4)
    leaf = base[:2].requires_grad_()
    for write in (
        lambda: leaf.add_(1),
        lambda: leaf[:1].add_(1),
        lambda: leaf.view(2, 1)[0].mul_(2),
        lambda: leaf[:1].copy_(lucid.ones(1)),
    ):
        with pytest.raises(RuntimeError, match="a leaf that requires a gradient"):
            write()
    assert leaf.is_leaf and base.tolist() == [1.0] * 4
    with lucid.no_grad():
        leaf[:1].add_(1)
    assert leaf.tolist() == [2.0, 1.0] and leaf.is_leaf
    y = leaf * 1  # a view of what has a history is written as ever
    y[:1].mul_(3)
    y.sum().backward()
    assert leaf.grad.tolist() == [3.0, 1.0]


def test_a_second_output_is_written_in_place():
    def function(x):
        var, mean = lucid.var_mean(x * 1.0, 0)
        mean.mul_(2)  # it is the first output of another Node from here on
        return var + mean

    x = lucid.tensor([1.0, 2.0, 4.0], dtype=lucid.float64, requires_grad=True)
    assert gradcheck(function, (x,))
    for call in (function, lucid.compile(function)):
        x.grad = None
        call(x).backward()
        np.testing.assert_allclose(x.grad.numpy(), (x.numpy(force=True) - 7 / 3) + 2 / 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda **o: lucid.tril(lucid.tensor(A)[:2, :2], **o),
        lambda **o: lucid.softmax(lucid.tensor(A), 0, **o),
        lambda **o: lucid.index_select(lucid.tensor(A), 0, lucid.tensor([2, 0]), **o),
        lambda **o: lucid.fft.ifft(lucid.tensor(A) * (1 + 2j), **o),
        lambda **o: lucid.linalg.det(lucid.tensor(A)[:2, :2], **o),
        lambda **o: lucid.linalg.solve(lucid.eye(2), lucid.ones(2), **o),
        lambda **o: lucid.special.i1(lucid.tensor(A), **o),
        lambda **o: lucid.special.entr(lucid.tensor(A), **o),
        lambda **o: lucid.special.legendre_polynomial_p(lucid.tensor(A), 3, **o),
        lambda **o: lucid.arange(3, **o),
        lambda **o: lucid.full((2, 3), 7.0, **o),
    ],
)
def test_functions_write_into_out(function):
    want = function()
    target = lucid.empty_like(want)
    assert function(out=target) is target
    np.testing.assert_array_equal(target.numpy(), want.numpy())
    with pytest.raises(RuntimeError, match="shape"):
        function(out=lucid.empty(5, dtype=want.dtype))


def test_out_decides_the_type_of_what_is_made():
    target = lucid.empty(2, dtype=lucid.int32)
    assert lucid.ones(2, out=target) is target and target.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="tril: out= has no gradient"):
        lucid.tril(lucid.ones(2, 2, requires_grad=True), out=lucid.empty(2, 2))
