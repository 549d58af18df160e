"""Forward mode against finite differences and against reverse mode: every record and layer."""

import numpy as np
import pytest

import lucid
from lucid.autograd import forward_ad
from lucid.func import grad, jacfwd, jacrev, jvp, vjp, vmap
from tests.test_records import RECORDS, STEPS, inputs_of
from tests.test_vmap import CASES

f64 = lucid.float64
STEP = 1e-6


def direction(x, seed):
    values = np.random.default_rng([seed, *x.shape]).uniform(-1, 1, tuple(x.shape))
    if x.is_complex():
        values = values + 1j * np.random.default_rng([seed + 99, *x.shape]).uniform(size=x.shape)
    return lucid.tensor(values, dtype=x.dtype)


def tensors(made):
    """All tensors of a result, as one flat list."""
    if isinstance(made, lucid.Tensor):
        return [made]
    return [t for part in made for t in tensors(part)] if isinstance(made, (tuple, list)) else []


def moving(function, args):
    """The function of its floating arguments, whose floating results it gives."""
    places = [i for i, a in enumerate(args) if a.is_floating_point() or a.is_complex()]

    def run(*own):
        given = list(args)
        for i, x in zip(places, own, strict=True):
            given[i] = x
        made = tensors(function(*given))
        return [y for y in made if y.is_floating_point() or y.is_complex()]

    return run, tuple(args[i] for i in places)


def check(function, args, differences=True, rtol=2e-5, atol=2e-7):
    """The tangent is that of finite differences, and the transpose of reverse mode."""
    run, xs = moving(function, args)
    vs = tuple(direction(x, i) for i, x in enumerate(xs))
    if not xs or not run(*xs):
        return
    ys, ts = jvp(run, xs, vs)
    plain = run(*xs)
    for y, p, t in zip(ys, plain, ts, strict=True):
        np.testing.assert_array_equal(y.detach().numpy(), p.detach().numpy())
        assert t.shape == y.shape and t.dtype is y.dtype
    exact = all(y.dtype in (f64, lucid.complex128) for y in ys)
    if differences and exact:
        ahead = run(*[x + STEP * v for x, v in zip(xs, vs, strict=True)])
        behind = run(*[x - STEP * v for x, v in zip(xs, vs, strict=True)])
        for t, a, b in zip(ts, ahead, behind, strict=True):
            want = ((a - b) / (2 * STEP)).detach().numpy()
            np.testing.assert_allclose(t.detach().numpy(), want, rtol=rtol, atol=atol)
    # <c, J v> = <J' c, v>
    _, back = vjp(run, *xs)
    cs = [direction(y, 7 + i) for i, y in enumerate(ys)]
    gs = back(cs)
    gs = gs if isinstance(gs, tuple) else (gs,)

    def inner(a, b):
        return sum(float((p.conj() * q).real.sum()) for p, q in zip(a, b, strict=True))

    tolerance = (1e-9, 1e-11) if exact else (1e-5, 1e-6)
    np.testing.assert_allclose(inner(cs, ts), inner(gs, vs), *tolerance)


# What finite differences do not see as rules do: numbers that decide but have no gradient, inputs
# that are detached.
NO_DIFFERENCES = {
    "batch_norm_fixed", "nll", "class_weight", "eig", "lu", "ldl", "geqrf", "frexp", "losses",
    "embedding", "prod", "scatter_reduce", "fractional_windows", "max_windows_back",
    "incomplete_gamma",
}  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_elementwise(record):
    if lucid.dtypes.FLOATING in record.refuses:
        return
    arrays = [lucid.tensor(a) for a in inputs_of(record, np.float64)]
    places = [i for i, name in enumerate(record.inputs) if name in record.rules]

    def run(*own):
        given = list(arrays)
        for i, x in zip(places, own, strict=True):
            given[i] = x
        return record.dispatch(record, tuple(given), tuple(record.defaults.values()))

    check(run, [arrays[i] for i in places], record.name not in STEPS, 1e-4, 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_layers_and_functions(name):
    check(*CASES[name], name not in NO_DIFFERENCES)


SMALL = {"rnn", "gru", "lstm", "lstm_projected", "ctc"}


@pytest.mark.parametrize("name", list(CASES)[::9])
def test_second_derivatives_agree(name):
    """Forward over reverse, reverse over reverse and reverse over forward are one number."""
    if name in SMALL:
        return
    run, xs = moving(*CASES[name])
    vs = tuple(direction(x, i) for i, x in enumerate(xs))
    xs = tuple(x for x in xs)
    if not xs or not run(*xs):
        return

    def total(*own):
        return sum((y.abs() ** 2).sum().double() for y in run(*own))

    places = tuple(range(len(xs)))
    first = grad(total, places)
    forward = jvp(first, xs, vs)[1]

    def along(*own):
        return sum((g * v.conj()).real.sum() for g, v in zip(first(*own), vs, strict=True))

    def slope(*own):
        return jvp(total, own, vs)[1]

    for other in (along, slope):
        for a, b in zip(forward, grad(other, places)(*xs), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), 1e-6, 1e-8)


@pytest.mark.parametrize("name", list(CASES)[::11])
def test_mapped(name):
    """vmap over the directions is jvp of each; so is vmap over everything."""
    run, xs = moving(*CASES[name])
    if not xs or not run(*xs):
        return
    each = [tuple(direction(x, 10 * k + i) for i, x in enumerate(xs)) for k in range(3)]
    stacked = tuple(lucid.stack(list(column)) for column in zip(*each, strict=True))
    want = [lucid.stack(list(t)) for t in zip(*[jvp(run, xs, v)[1] for v in each], strict=True)]
    got = vmap(lambda *vs: jvp(run, xs, vs)[1])(*stacked)
    spread = tuple(x.expand(3, *x.shape) for x in xs)
    count = len(xs)
    both = vmap(lambda *given: jvp(run, given[:count], given[count:])[1])(*spread, *stacked)
    for g, b, w in zip(got, both, want, strict=True):
        np.testing.assert_allclose(g.detach().numpy(), w.detach().numpy(), 1e-9, 1e-11)
        np.testing.assert_allclose(b.detach().numpy(), w.detach().numpy(), 1e-9, 1e-11)


def leaf(*values):
    return lucid.tensor(values, dtype=f64)


def test_no_grad_stops_tangents():
    x, v = leaf(1.0, 2.0), leaf(3.0, 5.0)

    def half(x):
        with lucid.no_grad():
            weight = x * x
        return x * weight

    assert jvp(half, (x,), (v,))[1].tolist() == [3.0, 20.0]

    @lucid.no_grad()
    def frozen(x):
        return x * x

    y, t = jvp(frozen, (x,), (v,))
    assert y.tolist() == [1.0, 4.0] and t.tolist() == [0.0, 0.0]
    with lucid.no_grad():  # the mode outside does not matter
        y, t = jvp(lambda x: x * x, (x,), (v,))
        assert t.tolist() == [6.0, 20.0] and not t.requires_grad
        assert lucid.is_grad_enabled() is False
    with forward_ad.dual_level():
        d = forward_ad.make_dual(x, v)
        with lucid.no_grad():
            y = d * d
        assert forward_ad.unpack_dual(y).tangent is None
        assert forward_ad.unpack_dual(d * d).tangent.tolist() == [6.0, 20.0]


def test_a_write_under_no_grad_leaves_the_tangent():
    def half(x):
        y = x * 1
        with lucid.no_grad():
            y.mul_(2)
        return y

    y, t = jvp(half, (leaf(1.0),), (leaf(3.0),))
    assert (y.item(), t.item()) == (2.0, 3.0)


def test_detach_and_values():
    x, v = leaf(2.0, -1.0), leaf(1.0, 1.0)
    assert jvp(lambda x: x * x.detach(), (x,), (v,))[1].tolist() == [2.0, -1.0]
    assert jvp(lambda x: x * x.data, (x,), (v,))[1].tolist() == [2.0, -1.0]
    assert jvp(lambda x: x * 3 if x[0] > x[1].item() else x, (x,), (v,))[1].tolist() == [3.0, 3.0]
    assert jvp(lambda x: x[x > 0] * 2, (x,), (v,))[1].tolist() == [2.0]
    assert jvp(lambda x: x.sort()[0] * leaf(1.0, 10.0), (x,), (leaf(5.0, 7.0),))[1].tolist() == [
        7.0, 50.0,
    ]  # fmt: skip


def test_writes_in_place():
    def written(x):
        y = x.clone()
        y.mul_(y)
        y[0] = y[1] * 2
        part = y[1:]
        part.add_(x[0])
        y[2].zero_()
        return y

    x, v = leaf(2.0, 3.0, 4.0), leaf(1.0, 10.0, 100.0)
    y, t = jvp(written, (x,), (v,))
    assert y.tolist() == [18.0, 11.0, 0.0] and t.tolist() == [120.0, 61.0, 0.0]
    assert lucid.equal(jacfwd(written)(x), jacrev(written)(x))
    assert v.tolist() == [1.0, 10.0, 100.0] and x.tolist() == [2.0, 3.0, 4.0]
    # A result that is its input's tangent has bytes of its own.
    y, t = jvp(lambda x: (x + 1).mul_(3) + x, (x,), (v,))
    assert t.tolist() == [4.0, 40.0, 400.0]
    with pytest.raises(RuntimeError, match="tangent|mapped by vmap"):
        jvp(lambda x: lucid.zeros(3, dtype=f64).copy_(x), (x,), (v,))


def test_levels():
    three, one = leaf(3.0)[0], leaf(1.0)[0]

    def outer(x):
        return x * jvp(lambda y: x + y, (one,), (one,))[1]

    assert jvp(outer, (three,), (one,))[1].item() == 1.0  # not 2: the tangents are not confused

    def cube(x):
        return jvp(lambda y: y**3, (x,), (lucid.ones_like(x),))[1]

    assert jvp(cube, (three,), (one,))[1].item() == 18.0
    kept = []
    jvp(lambda x: kept.append(x) or x, (three,), (one,))
    with pytest.raises(RuntimeError, match="after the end"):
        kept[0] * 2


def test_gradients_of_parameters_through_tangents():
    w = leaf(0.5, 2.0).requires_grad_()
    x, v = leaf(0.3, 0.7), leaf(1.0, -1.0)
    _, t = jvp(lambda x: (w * x).sin(), (x,), (v,))
    t.sum().backward()
    want = v * ((w * x).cos() - w * x * (w * x).sin())
    np.testing.assert_allclose(w.grad.numpy(), want.detach().numpy(), rtol=1e-12)


def test_dual_tensors():
    x, v = leaf(3.0, 4.0), leaf(1.0, 0.0)
    with forward_ad.dual_level() as number:
        assert number == 0
        d = forward_ad.make_dual(x, v)
        value, tangent = forward_ad.unpack_dual(d.norm())
        assert (value.item(), tangent.item()) == (5.0, 0.6)
        assert forward_ad.unpack_dual(x) == (x, None)
        with forward_ad.dual_level() as inner:
            e = forward_ad.make_dual(d, v)
            cubed = forward_ad.unpack_dual(e**3, level=inner).tangent
            assert forward_ad.unpack_dual(cubed, level=0).tangent.tolist() == [18.0, 0.0]
        with pytest.raises(RuntimeError, match="has a tangent of this level"):
            forward_ad.make_dual(d, v)
        with pytest.raises(RuntimeError, match="shape"):
            forward_ad.make_dual(x, leaf(1.0))
        with pytest.raises(RuntimeError, match="float32"):
            forward_ad.make_dual(x, v.float())
        with pytest.raises(NotImplementedError, match="lucid.func.grad"):
            d.sum().backward()
        assert "tangent" in repr(d)
    with pytest.raises(RuntimeError, match="no level is open"):
        forward_ad.make_dual(x, v)
    with pytest.raises(RuntimeError, match="after the end"):
        d * 2
    number = forward_ad.enter_dual_level()
    with pytest.raises(RuntimeError, match="not the innermost"):
        forward_ad.exit_dual_level(level=number + 1)
    forward_ad.exit_dual_level(level=number)


def test_modules_with_dual_parameters():
    layer = lucid.nn.Linear(2, 1).double()
    x = leaf(1.0, 2.0)
    names = dict(layer.named_parameters())
    with forward_ad.dual_level():
        for name, p in names.items():
            delattr(layer, name)
            setattr(layer, name, forward_ad.make_dual(p, lucid.ones_like(p)))
        assert forward_ad.unpack_dual(layer(x)).tangent.tolist() == [4.0]


class Square(lucid.autograd.Function):
    @staticmethod
    def forward(ctx, x, power):
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x**power

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x, None


class Ruled(Square):
    calls: list = []

    @staticmethod
    def jvp(ctx, t, power):
        assert power is None
        (x,) = ctx.saved_tensors
        Ruled.calls.append(1)
        return 2 * t * x


class Wrong(Square):
    @staticmethod
    def jvp(ctx, t, power):
        return t, t


def test_functions():
    x, v = leaf(2.0, 3.0), leaf(1.0, 10.0)
    for function in (Square, Ruled):
        assert jvp(lambda x, f=function: f.apply(x, 2), (x,), (v,))[1].tolist() == [4.0, 60.0]
    assert Ruled.calls == [1]
    with pytest.raises(RuntimeError, match="Wrong.jvp returned 2 tangents for 1"):
        jvp(lambda x: Wrong.apply(x, 2), (x,), (v,))


def test_memory_does_not_grow_with_the_length():
    x, v = lucid.rand(1 << 14, dtype=f64), lucid.rand(1 << 14, dtype=f64)

    def most(length):
        def long(x):
            for _ in range(length):
                x = x.sin() * 1.5
            return x

        jvp(long, (x,), (v,))
        before = lucid.memory.stats()["live"]
        lucid.memory.reset_peak()
        jvp(long, (x,), (v,))
        return lucid.memory.stats()["peak"] - before

    assert most(40) <= most(4)
