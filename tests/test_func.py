"""lucid.func and lucid.autograd.functional against derivatives written out in NumPy, and against
PyTorch where it is installed."""

import threading

import numpy as np
import pytest

import lucid
import lucid.autograd.functional as functional
from lucid import nn
from lucid.autograd.checkpoint import checkpoint
from lucid.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)

f64 = lucid.float64
A = np.random.default_rng(0).uniform(-1, 1, (3, 3))
X = np.random.default_rng(1).uniform(-1, 1, 3)
V = np.random.default_rng(2).uniform(-1, 1, 3)


def t(array):
    return lucid.tensor(np.asarray(array), dtype=f64)


def close(got, want):
    np.testing.assert_allclose(got.detach().numpy(), np.asarray(want), rtol=1e-11, atol=1e-12)


def form(x):
    """exp(x' A x / 2)"""
    return (0.5 * (x @ t(A) @ x)).exp()


S = 0.5 * (A + A.T)
Y = np.exp(0.5 * X @ A @ X)
G = Y * (S @ X)
H = Y * (S + np.outer(S @ X, S @ X))


def test_derivatives_of_a_form():
    x, v = t(X), t(V)
    close(grad(form)(x), G)
    g, y = grad_and_value(form)(x)
    close(g, G), close(y, Y)
    for second in (hessian(form), jacrev(grad(form)), jacfwd(grad(form)), jacrev(jacfwd(form)),
                   jacfwd(jacfwd(form))):  # fmt: skip
        close(second(x), H)
    y, s = jvp(form, (x,), (v,))
    close(y, Y), close(s, G @ V)
    y, back = vjp(form, x)
    close(back(t(2.0)), 2 * G)
    y, push = linearize(form, x)
    close(y, Y), close(push(v), G @ V), close(push(2 * v), 2 * G @ V)
    close(jvp(grad(form), (x,), (v,))[1], H @ V)
    close(grad(lambda x: grad(form)(x) @ v)(x), H @ V)
    assert not any(z.requires_grad for z in (g, y, s, push(v), hessian(form)(x)))


def test_third_derivatives():
    x = t(0.7)
    expected = -np.cos(0.7)
    close(grad(grad(grad(lucid.sin)))(x), expected)
    close(jacfwd(jacfwd(jacfwd(lucid.sin)))(x), expected)
    close(jacfwd(grad(jacfwd(lucid.sin)))(x), expected)
    close(grad(jacfwd(grad(lucid.sin)))(x), expected)


def test_maps_of_derivatives():
    batch = np.random.default_rng(3).uniform(-1, 1, (4, 3))
    want = [np.exp(0.5 * x @ A @ x) * (S @ x) for x in batch]
    close(vmap(grad(form))(t(batch)), want)
    each = [hessian(form)(t(x)).numpy() for x in batch]
    for second in (hessian(form), jacrev(jacrev(form)), jacfwd(jacfwd(form)), jacrev(jacfwd(form))):
        close(vmap(second)(t(batch)), each)
    close(vmap(vmap(grad(form)))(t(batch.reshape(2, 2, 3))), np.reshape(want, (2, 2, 3)))
    close(vmap(lambda v: jvp(form, (t(X),), (v,))[1])(t(batch)), batch @ G)
    _, back = vjp(lambda x: t(A) @ x, t(X))
    close(vmap(back)(t(np.eye(3))), A)
    _, push = linearize(lambda x: t(A) @ x, t(X))
    close(vmap(push, out_dims=1)(t(np.eye(3))), A)

    # One gradient for each sample of what is the same for all.
    def loss(w, x):
        return (w @ x).tanh()

    found = vmap(grad(loss), (None, 0))(t(X), t(batch))
    close(found, (1 - np.tanh(batch @ X) ** 2)[:, None] * batch)
    # grad of a map of grad
    close(
        grad(lambda w: vmap(grad(loss), (None, 0))(w, t(batch)).sum())(t(X)),
        sum(
            -2 * np.tanh(b @ X) * (1 - np.tanh(b @ X) ** 2) * b.sum() * b for b in batch
        ),
    )  # fmt: skip

    def mapped_back(c):
        return vjp(lambda x: x * c, t(X))[1](c)

    close(vmap(mapped_back)(t(batch)), batch**2)


def test_grad_inside_a_map_of_everything():
    """autograd.grad where outputs, inputs and cotangents are all of the map."""
    x = lucid.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    v = lucid.tensor([[1.0, 10.0], [2.0, 20.0]])
    got = vmap(lambda a, c: lucid.autograd.grad(a * a, a, c)[0])(x, v)
    assert got.tolist() == [[2.0, 40.0], [12.0, 160.0]]


def test_levels_are_kept_apart():
    three = t(3.0)
    assert grad(lambda x: x * grad(lambda y: x + y)(t(1.0)))(three).item() == 1.0
    assert grad(lambda x: x * grad(lambda y: x * y)(t(1.0)))(three).item() == 6.0
    assert jvp(lambda x: grad(lambda y: x * y * y)(x), (three,), (t(1.0),))[1].item() == 12.0

    def inner(x):  # constants of the inner derivative are variables of the outer one
        return grad(lambda y: y**2 * x)(t(5.0))

    assert (inner(three).item(), grad(inner)(three).item()) == (30.0, 10.0)


def test_arguments_and_results_in_nests():
    def f(pair, k, scale):
        (a, b) = pair["ab"]
        return (a * b * k).sum() * scale, {"a": a * 2, "note": "kept"}

    given = {"ab": (t(X), [t(V)][0])}
    found, aux = grad(f, (0, 1), has_aux=True)(given, t(2.0), scale=3.0)
    close(found[0]["ab"][0], 6 * V), close(found[0]["ab"][1], 6 * X), close(found[1], 3 * X @ V)
    close(aux["a"], 2 * X)
    assert aux["note"] == "kept" and not aux["a"].requires_grad
    (g, (y, aux)) = grad_and_value(f, -1, True)(given, t(2.0), scale=3.0)
    close(g, 3 * X @ V), close(y, 6 * X @ V)

    def g2(x, w):
        return {"p": x * w, "q": (x.sum(), w[:2])}

    (y, back, _) = vjp(lambda x, w: (g2(x, w), None), t(X), t(V), has_aux=True)
    gx, gw = back({"p": t([1, 1, 1]), "q": (t(2.0), t([1, 0]))})
    close(gx, V + 2), close(gw, X + [1, 0, 0])
    y, s = jvp(g2, (t(X), t(V)), (t([1, 0, 0]), t([0, 1, 0])))
    close(s["p"], [V[0], X[1], 0]), close(s["q"][0], 1.0), close(s["q"][1], [0, 1])
    for jac in (jacrev, jacfwd):
        made = jac(g2, (0, 1))(t(X), t(V))
        close(made["p"][0], np.diag(V)), close(made["p"][1], np.diag(X))
        close(made["q"][0][0], np.ones(3)), close(made["q"][1][1], np.eye(2, 3))
        close(made["q"][1][0], np.zeros((2, 3)))
    close(jacrev(lambda x: t(A) @ x, chunk_size=2)(t(X)), A)
    made, aux = jacfwd(lambda x: (t(A) @ x, x), has_aux=True)(t(X))
    close(made, A), close(aux, X)
    h = hessian(lambda x, w: (x * w).sum() ** 2, (0, 1))(t(X), t(V))
    close(h[0][1], 2 * (X @ V) * np.eye(3) + 2 * np.outer(V, X))


def test_history_of_results():
    w = t(V).requires_grad_()
    x = t(X)
    g = grad(lambda x: (w * x * x).sum())(x)
    assert g.requires_grad
    g.sum().backward()
    close(w.grad, 2 * X)
    w.grad = None
    assert not grad(lambda x: (x * x).sum() + w.sum())(x).requires_grad  # it leads nowhere
    x.requires_grad_()
    y, back = vjp(lambda x: x**3, x)
    back(lucid.ones(3, dtype=f64)).sum().backward(retain_graph=True)
    close(x.grad, 6 * X)
    x.grad = None
    y.sum().backward()
    close(x.grad, 3 * X**2)
    with lucid.no_grad():
        assert not grad(lambda x: (x * w).sum())(x).requires_grad
        y, s = jvp(lambda x: x * w, (x,), (x,))
        assert not y.requires_grad and not s.requires_grad
    _, s = jvp(lambda x: x**3, (x.detach(),), (w,))
    assert s.requires_grad
    _, push = linearize(lambda x: x**3, x)
    assert push(t(V)).requires_grad


def test_the_mode():
    x = t(X)
    with lucid.no_grad():
        close(grad(form)(x), G)
        close(hessian(form)(x), H)
        assert not lucid.is_grad_enabled()

    def cut(x):
        with lucid.no_grad():
            c = x * x
        return (x * c).sum()

    close(grad(cut)(x), X**2)
    close(grad(lambda x: (x * x.detach()).sum())(x), X)

    @lucid.no_grad()
    def dark(x):
        return (x * x).sum()

    close(grad(dark)(x), np.zeros(3))
    close(hessian(dark)(x), np.zeros((3, 3)))


def test_nothing_is_left_behind():
    x = t(X)
    for _ in range(3):
        hessian(form)(x)
    assert x.grad is None and not x.requires_grad
    before = lucid.autograd.graph_report().nodes
    for _ in range(5):
        vmap(grad(form))(t(np.stack([X, V])))
        jvp(grad(form), (x,), (t(V),))
    assert lucid.autograd.graph_report().nodes == before


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: grad(lambda x: x)(x), RuntimeError, r"shape \(3,\), a 0-d one is needed"),
        (lambda x: grad(lambda x: 3.0)(x), RuntimeError, "returned a float"),
        (lambda x: grad(lambda x: x.sum())(3.0), TypeError, "holds a float"),
        (lambda x: grad(lambda x: x.sum())(lucid.arange(3)), RuntimeError, "int64"),
        (lambda x: grad(form, 1)(x), RuntimeError, "argnums has 1"),
        (lambda x: grad(form, (0, 0))(x), ValueError, "names an argument twice"),
        (lambda x: grad(form, "x")(x), TypeError, "argnums must be"),
        (lambda x: grad(lambda x: x.sum(), has_aux=True)(x), RuntimeError, "tuple .output, aux."),
        (lambda x: vjp(lambda x: x, x)[1](x[:2]), RuntimeError, r"\(2,\), they must match \(3,\)"),
        (lambda x: jvp(lambda x: x, (x,), (x[:2],)), RuntimeError, "the tangents are"),
        (lambda x: jvp(lambda x: x, x, x), TypeError, "must be tuples"),
        (lambda x: jvp(lambda x: t(1.0), (x,), (x,), strict=True), RuntimeError, "not depend"),
        (lambda x: jacrev(form, chunk_size=0)(x), ValueError, "chunk_size"),
        (lambda x: vmap(lambda r: r.sum().backward())(x), NotImplementedError, "lucid.func.grad"),
        (lambda x: functional.jacobian(form, x, strategy="sideways"), ValueError, "sideways"),
        (lambda x: functional.jacobian(form, x, strategy="forward-mode"), NotImplementedError,
         "vectorize=True"),
        (lambda x: functional.vjp(lambda x: x, x), RuntimeError, "v may be left out"),
        (lambda x: functional.vjp(lambda x: t(1.0), x, strict=True), RuntimeError, "not depend"),
        (lambda x: functional.hessian(lambda x: x, x), RuntimeError, "one element"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(t(X))


# modules


def test_functional_call():
    m = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    own = {n: p.detach() * 2 for n, p in m.named_parameters()}
    before = {n: p.clone() for n, p in m.state_dict().items()}
    x = t(X)
    got = functional_call(m, own, (x,))
    w, b, w2, b2 = (own[n].numpy() for n in ("0.weight", "0.bias", "2.weight", "2.bias"))
    close(got, w2 @ np.tanh(w @ X + b) + b2)
    assert all(lucid.equal(v, before[n]) for n, v in m.state_dict().items())
    close(functional_call(m, {"2.bias": t([5.0])}, x), m(x).detach().numpy() + 5 - b2 / 2)
    g = grad(lambda p: functional_call(m, p, x).sum())(own)
    m.zero_grad()
    m.load_state_dict(own)
    m(x).sum().backward()
    for name, p in m.named_parameters():
        close(g[name], p.grad.numpy())
    with pytest.raises(RuntimeError, match="no parameter or buffer .'3.weight'"):
        functional_call(m, {"3.weight": x}, x)
    with pytest.raises(RuntimeError, match="nothing is given for"):
        functional_call(m, {"0.bias": x}, x, strict=True)
    with pytest.raises(ValueError, match="several of the dicts"):
        functional_call(m, ({"0.bias": x}, {"0.bias": x}), x)
    with pytest.raises(ZeroDivisionError):
        functional_call(m, own, (x,), {"input": 1 / 0})
    assert isinstance(m[0].weight, nn.Parameter)


def test_functional_call_of_buffers_and_tied_weights():
    m = nn.BatchNorm1d(2).double()
    state = {n: b.clone() for n, b in m.named_buffers()}
    functional_call(m, (dict(m.named_parameters()), state), (t([[1.0, 2.0], [3.0, 6.0]]),))
    close(state["running_mean"], [0.2, 0.4])
    assert state["num_batches_tracked"].item() == 1
    close(m.running_mean, [0.0, 0.0])

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(t([1.0]))
            self.b = self.a

        def forward(self):
            return self.a * 10 + self.b

    assert functional_call(Tied(), {"a": t([2.0])}).item() == 22.0
    assert functional_call(Tied(), {"b": t([2.0])}, tie_weights=False).item() == 12.0
    with pytest.raises(ValueError, match="one tensor of the module"):
        functional_call(Tied(), {"a": t([2.0]), "b": t([3.0])})


def test_ensembles():
    models = [nn.Linear(3, 2).double() for _ in range(4)]
    parameters, buffers = stack_module_state(models)
    assert parameters["weight"].shape == (4, 2, 3) and parameters["weight"].is_leaf
    assert parameters["weight"].requires_grad and buffers == {}
    y = vmap(lambda p, b, x: functional_call(models[0], (p, b), x), (0, 0, None))(
        parameters, buffers, t(X)
    )
    close(y, [m(t(X)).detach().numpy() for m in models])
    y.sum().backward()
    close(parameters["weight"].grad, np.broadcast_to(X, (4, 2, 3)))
    with pytest.raises(RuntimeError, match="one class"):
        stack_module_state([models[0], nn.Tanh()])
    with pytest.raises(RuntimeError, match="different shapes"):
        stack_module_state([nn.Linear(2, 2), nn.Linear(3, 2)])


def test_gradients_of_each_sample_of_a_network():
    m = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    parameters = {n: p.detach() for n, p in m.named_parameters()}
    rng = np.random.default_rng(5)
    images, labels = t(rng.normal(size=(5, 1, 4, 4))), lucid.tensor(rng.integers(0, 3, 5))

    def loss(p, image, label):
        logits = functional_call(m, p, (image.unsqueeze(0),))
        return nn.functional.cross_entropy(logits, label.unsqueeze(0))

    found = vmap(grad(loss), (None, 0, 0))(parameters, images, labels)
    for i in range(5):
        m.zero_grad()
        loss(dict(m.named_parameters()), images[i], labels[i]).backward()
        for name, p in m.named_parameters():
            close(found[name][i], p.grad.numpy())


# lucid.autograd.functional


def pair(x, w):
    return (x * w).sin(), (x @ w) ** 2 * w[:2]


def test_functional_against_func():
    x, w = t(X), t(V)
    want = jacrev(pair, (0, 1))(x, w)
    for options in ({}, {"vectorize": True}, {"create_graph": True},
                    {"vectorize": True, "strategy": "forward-mode"}):  # fmt: skip
        got = functional.jacobian(pair, (x, w), **options)
        for row, expected in zip(got, want, strict=True):
            for a, b in zip(row, expected, strict=True):
                close(a, b.numpy())

    def value(x, w):
        return (pair(x, w)[0] * x).sum() + pair(x, w)[1].prod()

    h = hessian(value, (0, 1))(x, w)
    for options in ({}, {"vectorize": True}, {"create_graph": True},
                    {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}):  # fmt: skip
        got = functional.hessian(value, (x, w), **options)
        for row, expected in zip(got, h, strict=True):
            for a, b in zip(row, expected, strict=True):
                close(a, b.numpy())
    product = [row[0].numpy() @ V + row[1].numpy() @ X for row in h]
    for function in (functional.hvp, functional.vhp):
        y, found = function(value, (x, w), (t(V), t(X)))
        close(y, value(x, w))
        close(found[0], product[0]), close(found[1], product[1])
    y, found = functional.vjp(form, x)
    close(y, Y), close(found, G)
    y, found = functional.jvp(form, x, t(V))
    close(y, Y), close(found, G @ V)


def test_functional_create_graph_and_strict():
    x = t(X).requires_grad_()
    close(lucid.autograd.grad(functional.vjp(form, x, create_graph=True)[1].sum(), x)[0], H.sum(0))
    made = functional.jvp(form, x, t(V), create_graph=True)[1]
    close(lucid.autograd.grad(made, x)[0], H @ V)
    j = functional.jacobian(lambda x: x**3, x, create_graph=True)
    close(lucid.autograd.grad(j.sum(), x)[0], 6 * X)
    assert not functional.jacobian(lambda x: x**3, x).requires_grad
    assert functional.jacobian(lambda x: lucid.ones(2, dtype=f64), x).abs().sum() == 0
    for function in (functional.jacobian, functional.hessian, functional.hvp, functional.vhp):
        given = (x,) if function in (functional.jacobian, functional.hessian) else (x, t(V))
        with pytest.raises(RuntimeError, match="not depend|does not require"):
            function(lambda x: t(1.0), *given, strict=True)


# PyTorch, where it is installed

PROGRAM = """
def forms(torch, func, x, w, v):
    def f(x, w):
        return (x @ w).tanh() * x.exp(), (w * x).softmax(0)
    def loss(x, w):
        a, b = f(x, w)
        return (a * b).sum() + x.prod() * w.std()
    yield func.grad(loss, (0, 1))(x, w)
    yield func.grad_and_value(loss)(x, w)
    yield func.vjp(f, x, w)[1]((v, v * 2))
    yield func.jvp(f, (x, w), (v, x))
    yield func.jacrev(f, (0, 1))(x, w)
    yield func.jacfwd(f)(x, w)
    yield func.hessian(loss, (0, 1))(x, w)
    yield func.vmap(func.grad(loss), (0, None))(torch.stack([x, v, w]), w)
    yield func.vmap(func.hessian(loss), (0, None))(torch.stack([x, v, w]), w)
    A = torch.autograd.functional
    yield A.jacobian(f, (x, w))
    yield A.hessian(loss, (x, w))
    yield A.hvp(loss, (x, w), (v, x))
    yield A.vhp(loss, (x, w), (v, x))
    yield A.jvp(f, (x, w), (v, x))
    yield A.vjp(f, (x, w), (v, x))
    F = torch.autograd.forward_ad
    with F.dual_level():
        made = F.unpack_dual(loss(F.make_dual(x, v), w))
    yield made
"""


def test_functional_checks_directions():
    x = lucid.tensor([1.0, 2.0])
    for call in (functional.vjp, functional.jvp, functional.vhp, functional.hvp):
        square = (lambda x: x * x) if call in (functional.vjp, functional.jvp) else _cubes
        with pytest.raises(RuntimeError, match=r"v has shapes \[\(3,\)\], .* has \[\(2,\)\]"):
            call(square, x, lucid.ones(3))
        assert call(square, x, lucid.ones(2), strict=True)[1].shape == (2,)


def _cubes(x):
    return (x**3).sum()


def test_live_against_torch():
    torch = pytest.importorskip("torch")
    space: dict = {}
    exec(PROGRAM, space)
    theirs = space["forms"](torch, torch.func, *(torch.tensor(a) for a in (X, X + V, V)))
    ours = space["forms"](lucid, lucid.func, *(t(a) for a in (X, X + V, V)))

    def flat(value):
        return [value] if not isinstance(value, tuple) else [p for v in value for p in flat(v)]

    for a, b in zip(ours, theirs, strict=True):
        a, b = flat(a), flat(b)
        assert len(a) == len(b)
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), 1e-10, 1e-12)


# compiled functions


COMPILED = {
    "grad": grad(form),
    "value": grad_and_value(form),
    "jvp": lambda x: jvp(form, (x,), (x * x,)),
    "hessian": hessian(form),
    "jacobian": jacrev(lambda x: x.softmax(0)),
    "mapped": lambda x: vmap(grad(form))(x.expand(2, 3)),
    "closure": lambda x: grad(lambda w: (w * x).sum().exp())(x),
}


@pytest.mark.parametrize("name", COMPILED)
def test_derivatives_inside_of_compiled_functions(name):
    x = t(X)
    got, want = lucid.compile(COMPILED[name])(x), COMPILED[name](x)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for a, b in pairs:
        close(a, b.numpy())


def test_derivatives_and_maps_of_compiled_functions():
    compiled = lucid.compile(form)
    x = t(X)
    compiled(x)
    close(grad(compiled)(x), G), close(hessian(compiled)(x), H)
    close(jvp(compiled, (x,), (t(V),))[1], G @ V)
    close(vmap(compiled)(t([X, X])), [Y, Y])
    layer = nn.Linear(3, 2).double()
    layer.compile()
    layer(x)
    close(vmap(layer)(t([X, V])), layer(t([X, V])).detach().numpy())


def test_random_numbers_inside_of_maps_that_are_compiled_are_refused():
    with pytest.raises(Exception, match="random"):
        lucid.compile(lambda x: vmap(lambda r: r + lucid.rand(3), randomness="different")(x))(
            t([X, V])
        )


def test_maps_in_chunks():
    seen = []

    def f(x, w):
        seen.append(1)
        return {"a": x * w, "b": (x.sum(), w.sum())}

    x, w = t(np.arange(15.0).reshape(3, 5)), t(V)
    whole = vmap(f, (1, None), {"a": 1, "b": (0, 0)})(x, w)
    for size in (1, 2, 3, 5, 9):
        seen.clear()
        made = vmap(f, (1, None), {"a": 1, "b": (0, 0)}, chunk_size=size)(x, w)
        assert len(seen) == -(-5 // size)
        close(made["a"], whole["a"].numpy()), close(made["b"][0], whole["b"][0].numpy())
    close(vmap(grad(form), chunk_size=2)(t([X, V, X])), vmap(grad(form))(t([X, V, X])).numpy())
    lucid.manual_seed(0)
    a = vmap(lambda x: x + lucid.rand(2, dtype=f64), randomness="different")(t([0, 0, 0]))
    lucid.manual_seed(0)
    b = vmap(lambda x: x + lucid.rand(2, dtype=f64), randomness="different", chunk_size=2)(
        t([0, 0, 0])
    )
    close(a, b.numpy())
    with pytest.raises(ValueError, match="chunk_size"):
        vmap(f, chunk_size=0)


def test_checkpoints_inside():
    def f(x):
        return checkpoint(lambda a: a.sin() * a, x).sum()

    x = t(X)
    close(grad(f)(x), np.cos(X) * X + np.sin(X))
    close(vmap(grad(f))(t([X, V]))[1], np.cos(V) * V + np.sin(V))
    close(jvp(f, (x,), (t(V),))[1], (np.cos(X) * X + np.sin(X)) @ V)
    close(hessian(f)(x), np.diag(2 * np.cos(X) - np.sin(X) * X))


def test_layers_forward_and_for_each_sample():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    lstm = nn.LSTM(8, 3).double()
    x = t(np.random.default_rng(7).normal(size=(3, 5, 8)))
    for f in (layer, lambda x: lstm(x)[0]):
        ahead, behind = f(x * (1 + 1e-6)), f(x * (1 - 1e-6))
        got = jvp(f, (x,), (x,))[1].detach().numpy()
        np.testing.assert_allclose(got, (ahead - behind).detach().numpy() / 2e-6, 1e-6, 1e-7)
    own = {n: p.detach() for n, p in layer.named_parameters()}

    def loss(own, x):
        return functional_call(layer, own, (x.unsqueeze(0),)).pow(2).sum()

    each, one = vmap(grad(loss), (None, 0))(own, x), grad(loss)(own, x[1])
    for name in own:
        close(each[name][1], one[name].numpy())


def test_threads():
    found = []

    def work():
        for _ in range(3):
            found.append(hessian(form)(t(X)).numpy())

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 12
    for made in found:
        np.testing.assert_allclose(made, H, rtol=1e-11)


def test_deep_functions():
    def deep(x):
        for _ in range(5000):
            x = x * 1.0001
        return x

    want = 1.0001**5000
    assert abs(grad(deep)(t(1.0)).item() / want - 1) < 1e-9
    assert abs(jvp(deep, (t(1.0),), (t(1.0),))[1].item() / want - 1) < 1e-9
