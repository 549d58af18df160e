"""Optimizers: the formulas against NumPy, state, groups, hooks, closures, checkpoints."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.optim import optimizer as optimizer_file

SHAPES = [(3, 4), (5,), ()]


def array(tensor):
    return tensor.detach().numpy()


def start(seed=0, dtype=np.float64):
    """Values and three steps of gradients for parameters of SHAPES."""
    rng = np.random.default_rng(seed)
    values = [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES]
    grads = [[np.asarray(rng.standard_normal(s), dtype) for s in SHAPES] for _ in range(3)]
    return values, grads


def parameters(values, library=lucid):
    return [library.nn.Parameter(library.tensor(v)) for v in values]


def run(optimizer, params, grads, library=lucid):
    for step in grads:
        for p, g in zip(params, step, strict=True):
            p.grad = library.tensor(g)
        optimizer.step()
    return [p.detach().numpy() for p in params]


def sgd(values, grads, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    values, buffers = [v.copy() for v in values], [None] * len(values)
    for step in grads:
        for i, g in enumerate(step):
            g = (-g if maximize else g) + weight_decay * values[i]
            if momentum:
                old = buffers[i]
                buffers[i] = g if old is None else momentum * old + (1 - dampening) * g
                g = g + momentum * buffers[i] if nesterov else buffers[i]
            values[i] = values[i] - lr * g
    return values


def adam(
    values,
    grads,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0,
    amsgrad=False,
    maximize=False,
    decoupled=False,
):
    values = [v.copy() for v in values]
    m, v, top = ([np.zeros_like(p) for p in values] for _ in range(3))
    for t, step in enumerate(grads, 1):
        for i, g in enumerate(step):
            g = -g if maximize else g
            if decoupled:
                values[i] = values[i] * (1 - lr * weight_decay)
            else:
                g = g + weight_decay * values[i]
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g * g
            top[i] = np.maximum(top[i], v[i])
            root = np.sqrt((top[i] if amsgrad else v[i]) / (1 - betas[1] ** t))
            values[i] = values[i] - lr * m[i] / (1 - betas[0] ** t) / (root + eps)
    return values


SGD_OPTIONS = [
    dict(lr=0.1),
    dict(lr=0.1, weight_decay=0.3),
    dict(lr=0.1, momentum=0.9),
    dict(lr=0.1, momentum=0.9, dampening=0.4),
    dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    dict(lr=0.1, momentum=0.5, maximize=True),
]
ADAM_OPTIONS = [
    dict(),
    dict(lr=0.1, betas=(0.5, 0.9), eps=1e-3),
    dict(lr=0.1, weight_decay=0.2),
    dict(lr=0.1, amsgrad=True, betas=(0.9, 0.1)),
    dict(lr=0.1, maximize=True, weight_decay=0.2),
]


@pytest.mark.parametrize("options", SGD_OPTIONS)
def test_sgd(options):
    values, grads = start()
    params = parameters(values)
    got = run(optim.SGD(params, **options), params, grads)
    for a, b in zip(got, sgd(values, grads, **options), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("options", ADAM_OPTIONS)
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(options, decoupled):
    values, grads = start()
    params = parameters(values)
    optimizer = (optim.AdamW if decoupled else optim.Adam)(params, **options)
    given = {"weight_decay": 0.01, **options} if decoupled else options
    expected = adam(values, grads, **given, decoupled=decoupled)
    for a, b in zip(run(optimizer, params, grads), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_float32_is_close_to_float64():
    values, grads = start(dtype=np.float32)
    params = parameters(values)
    wide = [[g.astype(np.float64) for g in step] for step in grads]
    expected = adam([v.astype(np.float64) for v in values], wide, lr=0.1)
    for a, b in zip(run(optim.Adam(params, lr=0.1), params, grads), expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
@pytest.mark.parametrize("chosen", [dict(foreach=True), dict(foreach=False), dict(fused=True)])
def test_choices_of_the_loop_change_nothing(make, chosen):
    values, grads = start()
    plain, other = parameters(values), parameters(values)
    expected = run(make(plain, lr=0.1), plain, grads)
    for a, b in zip(run(make(other, lr=0.1, **chosen), other, grads), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "make, options, error, message",
    [
        (optim.SGD, dict(lr=-1), ValueError, "learning rate: -1"),
        (optim.SGD, dict(momentum=-1), ValueError, "momentum value"),
        (optim.SGD, dict(weight_decay=-1), ValueError, "weight_decay value"),
        (optim.SGD, dict(nesterov=True), ValueError, "Nesterov momentum requires"),
        (optim.SGD, dict(differentiable=True), NotImplementedError, "differentiable=True"),
        (optim.Adam, dict(lr=-1), ValueError, "learning rate: -1"),
        (optim.Adam, dict(eps=-1), ValueError, "epsilon value"),
        (optim.Adam, dict(betas=(1.0, 0.9)), ValueError, "beta parameter at index 0: 1.0"),
        (optim.Adam, dict(betas=(0.9, -1)), ValueError, "beta parameter at index 1"),
        (optim.Adam, dict(weight_decay=-1), ValueError, "weight_decay value"),
        (optim.AdamW, dict(differentiable=True), NotImplementedError, "AdamW: differentiable"),
        (optim.SGD, dict(lr=lucid.ones(2)), ValueError, r"Tensor lr must be 1-element.*\(2,\)"),
        (optim.Adam, dict(lr=lucid.ones(2)), ValueError, r"Tensor lr must be 1-element.*\(2,\)"),
    ],
)
def test_bad_options_are_named(make, options, error, message):
    with pytest.raises(error, match=message):
        make([nn.Parameter(lucid.zeros(1))], **options)


def test_parameters_without_gradient_and_late_ones():
    p, q = parameters([np.ones(2), np.ones(2)])
    optimizer = optim.Adam([p, q], lr=0.1)
    p.grad = lucid.ones(2, dtype=lucid.float64)
    optimizer.step()
    assert (array(q) == 1).all() and q not in optimizer.state
    q.grad = lucid.ones(2, dtype=lucid.float64)
    optimizer.step()  # steps 2 and 1 in one call
    np.testing.assert_allclose(array(q), 0.9, rtol=1e-6)
    np.testing.assert_allclose(array(p), 0.8, rtol=1e-6)


def test_parameters_that_share_storage():
    values, grads = start()
    params = parameters(values)
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(params).detach(), params)
    expected = adam(values, grads, lr=0.1)
    for a, b in zip(run(optim.Adam(params, lr=0.1), params, grads), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_transposed_parameters_and_expanded_gradients():
    w = np.arange(6.0).reshape(2, 3)
    p = nn.Parameter(lucid.tensor(w).t())
    p.grad = lucid.ones(1, 1, dtype=lucid.float64).expand(3, 2)
    optim.SGD([p], lr=1.0, momentum=0.5).step()
    np.testing.assert_array_equal(array(p), w.T - 1)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
@pytest.mark.parametrize("dtype", [lucid.float16, lucid.bfloat16])
def test_narrow_parameters(make, dtype):
    p = nn.Parameter(lucid.ones(5, dtype=dtype))
    p.grad = lucid.ones(5, dtype=dtype)
    make([p], lr=0.25, weight_decay=0).step()
    assert p.dtype is dtype
    np.testing.assert_allclose(p.detach().float().numpy(), 0.75, rtol=1e-2)


def test_a_step_is_seen_by_the_version_check():
    p = nn.Parameter(lucid.ones(2))
    optimizer = optim.SGD([p], lr=1.0)
    y = (p * p).sum()
    p.grad = lucid.ones(2)
    optimizer.step()
    with pytest.raises(RuntimeError):
        y.backward()


def test_groups_have_their_own_options():
    p, q = parameters([np.zeros(1), np.zeros(1)])
    optimizer = optim.SGD([{"params": [p]}, {"params": q, "lr": 10.0}], lr=1.0)
    optimizer.param_groups[0]["lr"] = 2.0
    run(optimizer, [p, q], [[np.ones(1), np.ones(1)]])
    assert (p.item(), q.item()) == (-2.0, -10.0)


def test_named_parameters():
    m = nn.Linear(1, 1)
    optimizer = optim.SGD(m.named_parameters(), lr=1.0)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="without names"):
        optimizer.add_param_group({"params": [nn.Parameter(lucid.zeros(1))]})
    with pytest.raises(ValueError, match="names are missing"):
        optim.SGD([("a", m.weight), m.bias])


@pytest.mark.parametrize(
    "params, error, message",
    [
        (lambda p: p, TypeError, "iterable of Tensors"),
        (lambda p: [], ValueError, "empty parameter list"),
        (lambda p: [3], TypeError, "one of the params is int"),
        (lambda p: [{"params": {p}}], TypeError, "ordered collections"),
        (lambda p: [p * 2], ValueError, "non-leaf"),
        (lambda p: [{"params": [p]}, {"params": [p]}], ValueError, "more than one parameter"),
        (lambda p: [{"params": [p]}, [p]], TypeError, "must be a dict"),
    ],
)
def test_bad_parameters_are_named(params, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(params(nn.Parameter(lucid.zeros(1))), lr=1.0)


def test_duplicates_warn():
    p = nn.Parameter(lucid.zeros(1))
    with pytest.warns(UserWarning, match="duplicate"):
        optim.SGD([p, p])


def test_required_options():
    class Needs(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": optimizer_file.required})

    p = nn.Parameter(lucid.zeros(1))
    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Needs([p])
    assert Needs([{"params": [p], "lr": 1}]).param_groups[0]["lr"] == 1


def test_zero_grad():
    p = nn.Parameter(lucid.ones(2))
    optimizer = optim.SGD([p])
    (p * 2).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert (array(p.grad) == 0).all()
    optimizer.zero_grad()
    assert p.grad is None


# ---- grad mode, closures, hooks ----------------------------------------------------------------


def test_step_works_in_any_grad_mode_and_restores_it():
    p = nn.Parameter(lucid.ones(2))
    p.grad = lucid.ones(2)
    optimizer = optim.SGD([p], lr=0.5)
    for mode in (lucid.no_grad, lucid.enable_grad):
        with mode():
            before = lucid.is_grad_enabled()
            optimizer.step()
            assert lucid.is_grad_enabled() is before
    assert (array(p) == 0).all() and p.is_leaf and p.requires_grad


@pytest.mark.parametrize("mode", [lucid.no_grad, lucid.enable_grad])
def test_closure_runs_with_gradients(mode):
    p = nn.Parameter(lucid.tensor(3.0))
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = p * p
        loss.backward()
        return loss

    with mode():
        assert optimizer.step(closure).item() == 9.0
        assert optimizer.step(closure=closure).item() == 0.0


def test_a_subclass_writes_only_the_update():
    class Signs(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def update(self, group):
            assert not lucid.is_grad_enabled()
            for p in group["params"]:
                p -= p.grad.sign() * group["lr"]

    class Old(optim.Optimizer):
        def step(self, closure=None):
            assert not lucid.is_grad_enabled()
            loss = closure()
            for p in self.param_groups[0]["params"]:
                p -= p.grad
            return loss

    p = nn.Parameter(lucid.tensor(3.0))

    def closure():
        p.grad = None
        (p * p).backward()
        return "loss"

    assert Signs([p], 0.5).step(closure) == "loss" and p.item() == 2.5
    assert Old([p], {}).step(closure) == "loss" and p.item() == -2.5
    with pytest.raises(NotImplementedError, match="neither update"):
        optim.Optimizer([p], {}).step()


def test_a_closure_that_raises_restores_the_mode():
    optimizer = optim.SGD([nn.Parameter(lucid.ones(1))])
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    assert lucid.is_grad_enabled()


def test_step_hooks():
    p = nn.Parameter(lucid.zeros(1))
    p.grad = lucid.ones(1)
    optimizer, log = optim.SGD([p], lr=1.0), []
    handles = [
        optimizer.register_step_pre_hook(lambda o, a, k: log.append(("pre", p.item()))),
        optimizer.register_step_post_hook(lambda o, a, k: log.append(("post", p.item()))),
        optimizer_file.register_optimizer_step_pre_hook(lambda o, a, k: log.append("first")),
        optimizer_file.register_optimizer_step_post_hook(lambda o, a, k: log.append("last")),
    ]
    try:
        optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    optimizer.step()
    assert log == ["first", ("pre", 0.0), ("post", -1.0), "last"]
    optimizer.register_step_pre_hook(lambda o, a, k: 3)
    with pytest.raises(RuntimeError, match="new_args, new_kwargs"):
        optimizer.step()


# ---- checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [dict(momentum=0.9, lr=0.1), None])
@pytest.mark.parametrize("through", ["state_dict", "pickle", "deepcopy"])
def test_a_resumed_run_equals_an_unbroken_one(options, through):
    def make(params):
        if options:
            return optim.SGD(params, **options)
        return optim.Adam(params, lr=0.1, amsgrad=True)

    values, grads = start()
    params = parameters(values)
    expected = run(make(params), params, grads)
    broken = parameters(values)
    optimizer = make(broken)
    half = run(optimizer, broken, grads[:1])
    if through == "state_dict":
        resumed = parameters(half)
        again = make(resumed)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    else:
        both = (optimizer, broken)
        both = copy.deepcopy(both) if through == "deepcopy" else pickle.loads(pickle.dumps(both))
        again, resumed = both
        assert again.param_groups[0]["params"][0] is resumed[0]
    for a, b in zip(run(again, resumed, grads[1:]), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_state_dict_layout():
    values, grads = start()
    params = parameters(values)
    optimizer = optim.Adam([{"params": params[:1]}, {"params": params[1:], "lr": 7.0}])
    run(optimizer, params, grads)
    state = optimizer.state_dict()
    assert [g["params"] for g in state["param_groups"]] == [[0], [1, 2]]
    assert list(state["state"]) == [0, 1, 2]
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    step = state["state"][0]["step"]
    assert step.item() == 3.0 and step.dtype is lucid.float32
    assert "Parameter Group 1\n    amsgrad: False" in repr(optimizer)


def test_loading_casts_state_and_keeps_the_step():
    values, grads = start()
    params = parameters(values)
    optimizer = optim.Adam(params)
    run(optimizer, params, grads)
    narrow = parameters([v.astype(np.float32) for v in values])
    other = optim.Adam(narrow, lr=5.0)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["lr"] == 1e-3
    assert other.state[narrow[0]]["exp_avg"].dtype is lucid.float32
    assert float(other.state[narrow[0]]["step"]) == 3.0


def test_loading_mistakes():
    a, b = parameters([np.ones(1), np.ones(1)])
    optimizer = optim.SGD([a, b])
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optimizer.load_state_dict({"state": {}, "param_groups": []})
    with pytest.raises(ValueError, match="doesn't match the size"):
        optimizer.load_state_dict({"state": {}, "param_groups": [{"params": [0]}]})


def test_state_dict_hooks():
    optimizer, log = optim.SGD([nn.Parameter(lucid.zeros(1))]), []
    optimizer.register_state_dict_pre_hook(lambda o: log.append("pre"))
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "more": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, s: log.append(s["more"]))
    optimizer.register_load_state_dict_post_hook(lambda o: log.append("post"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert log == ["pre", 1, "post"]


# ---- a whole run -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: optim.Adam(p, lr=0.05),
        lambda p: optim.AdamW(p, lr=0.05),
    ],
)
def test_a_network_learns(make):
    lucid.manual_seed(0)
    rng = np.random.default_rng(0)
    x = lucid.tensor(rng.standard_normal((64, 2)).astype(np.float32))
    y = (x[:, 0] * x[:, 1] > 0).to(lucid.int64)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer, loss = make(model.parameters()), nn.CrossEntropyLoss()
    first = loss(model(x), y).item()
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
    assert value.item() < 0.5 * first


# ---- against PyTorch ---------------------------------------------------------------------------

BOTH = [("SGD", o) for o in SGD_OPTIONS] + [(n, o) for n in ("Adam", "AdamW") for o in ADAM_OPTIONS]


@pytest.mark.parametrize("name, options", BOTH)
def test_equals_pytorch(name, options):
    torch = pytest.importorskip("torch")
    values, grads = start(1)
    ours, theirs = parameters(values), parameters(values, torch)
    a = getattr(optim, name)(ours, **options)
    b = getattr(torch.optim, name)(theirs, **options)
    expected = run(b, theirs, grads, torch)
    for x, y in zip(run(a, ours, grads), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10)
    assert repr(a) == repr(b)
    assert a.state_dict()["param_groups"] == b.state_dict()["param_groups"]


@pytest.mark.parametrize("name, options", [("SGD", SGD_OPTIONS[2]), ("AdamW", ADAM_OPTIONS[3])])
def test_checkpoints_are_exchanged_with_pytorch(name, options):
    torch = pytest.importorskip("torch")
    values, grads = start(2)
    ours, theirs = parameters(values), parameters(values, torch)
    a = getattr(optim, name)(ours, **options)
    b = getattr(torch.optim, name)(theirs, **options)
    expected = run(b, theirs, grads, torch)
    half = run(a, ours, grads[:1])

    def moved(state, source, target):
        new = {
            i: {k: target.tensor(np.asarray(v)) for k, v in s.items()}
            for i, s in state["state"].items()
        }
        return {"state": new, "param_groups": state["param_groups"]}

    there = parameters(half, torch)
    b = getattr(torch.optim, name)(there, **options)
    b.load_state_dict(moved(a.state_dict(), lucid, torch))
    middle = run(b, there, grads[1:2], torch)
    back = parameters(middle)
    a = getattr(optim, name)(back, **options)
    a.load_state_dict(moved(b.state_dict(), torch, lucid))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x, y in zip(run(a, back, grads[2:]), expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-10)


def test_a_step_that_calls_its_parents_step_is_one_step():
    class Mine(optim.SGD):
        def step(self, closure=None):
            loss = super().step(closure)
            modes.append(lucid.is_grad_enabled())
            return loss

    modes, seen = [], []
    p = nn.Parameter(lucid.tensor(3.0))
    optimizer = Mine([p], lr=0.5)
    optimizer.register_step_pre_hook(lambda *a: seen.append("before"))
    optimizer.register_step_post_hook(lambda *a: seen.append("after"))

    def closure():
        optimizer.zero_grad()
        modes.append(lucid.is_grad_enabled())
        loss = p * p
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0 and p.item() == 0.0
    assert seen == ["before", "after"] and modes == [True, False]
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    optimizer.step()
    assert seen == ["before", "after", "before", "before", "after"]
