"""The gradient of while_loop in compiled functions: eager's bits, whatever number of steps runs."""

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid import nn
from tests.compiled import agree, bits, made


def grown(limit, body, most=40):
    """x and w -> what a loop makes of x until its sum of squares reaches the limit."""

    def f(x, w, *others):
        n, y = lucid.while_loop(
            lambda n, c: (c * c).sum() < limit,
            lambda n, c: (n + 1, body(c, w, *others)),
            (lucid.tensor(0), x * w),
            max_steps=most,
        )
        return n, y * x

    return f


BODIES = {
    "linear": lambda c, w: c * 1.5 + w,
    "twice": lambda c, w: (c * w).tanh() * c + c * c * w + 2 * c + w.exp(),
    "views": lambda c, w: (c.view(3, 1) * w.exp()).sum(1).abs() + c[:1] * 2 + 1,
    "matmul": lambda c, w: c @ w.exp().expand(3, 3) + w.exp(),
    "in place inside": lambda c, w: (c * 2).add_(w).mul_(w.exp() + 1).add_(1),
    "detached": lambda c, w: c.detach().abs() * 2 + w.exp() * (c * c) + 1,
}


@pytest.mark.parametrize("name", BODIES)
def test_bits_are_those_of_eager(name):
    f = grown(1e3, BODIES[name])
    compiled = lucid.compile(f)
    agree(f, compiled, made((3,), (3,)), 3)
    assert compiled.traces == 2
    steps = {f(*made((3,), (3,))(seed))[0].item() for seed in range(3)}
    assert steps - {0}


@pytest.mark.parametrize("limit", [0.0, 1e-3, 0.5, 10.0, 1e5])
def test_any_number_of_steps_by_one_plan(limit):
    def f(x, w, level):
        n, y = lucid.while_loop(
            lambda n, c: (c * c).sum() < level,
            lambda n, c: (n + 1, c * (w * w + 1) + w * x),
            (lucid.tensor(0), x * w),
            max_steps=200,
        )
        return n, (y + w) * x

    compiled = lucid.compile(f)
    rest = made((3,), (3,))
    agree(f, compiled, lambda seed: [*rest(seed), lucid.tensor(limit * (seed + 1))], 3)
    assert compiled.traces == 2


def test_no_step_hands_the_gradient_through():
    f = lucid.compile(
        lambda x, w: lucid.while_loop(lambda c: c.sum() > 9, lambda c: (c * w,), (x,), 4)[0]
    )
    x, w = lucid.ones(2, requires_grad=True), lucid.ones(2, requires_grad=True)
    (f(x, w) * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert w.grad.tolist() == [0.0, 0.0]  # whether the body runs is not known in the trace


def test_the_gradient_is_the_derivative():
    x = lucid.tensor([0.3, -0.2], dtype=lucid.float64, requires_grad=True)
    w = lucid.tensor([1.1, 1.3], dtype=lucid.float64, requires_grad=True)

    def f(x, w):
        _, y, z = lucid.while_loop(
            lambda n, c, d: n < 6,
            lambda n, c, d: (n + 1, (c * w + d).sin() + w, d * c.exp()),
            (lucid.tensor(0), x, x * w),
            max_steps=6,
        )
        return y * w, z

    assert lucid.autograd.gradcheck(f, (x, w))
    assert lucid.autograd.gradcheck(lucid.compile(f), (x, w))


def test_carries_change_places_and_counts_stay_integers():
    def f(x, w, a, b):
        n, (a, b), k = lucid.while_loop(
            lambda n, c, k: n < k,
            lambda n, c, k: (n + 1, (c[1] * w, c[0] + x), k),
            (lucid.tensor(0), (a, b), lucid.tensor(5)),
            max_steps=7,
        )
        return n, a * w, b

    agree(f, lucid.compile(f), made((3,), (3,), (3,), (3,)), 2)


def test_a_gradient_that_only_the_body_brings():
    def f(x, w):
        return lucid.while_loop(
            lambda c: c.abs().sum() < 20, lambda c: (c * 2 + w.exp(),), (x.detach(),), max_steps=30
        )[0]

    w = lucid.tensor([0.5, 1.0], requires_grad=True)
    v = lucid.tensor([0.5, 1.0], requires_grad=True)
    x = lucid.ones(2)
    f(x, w).sum().backward()
    lucid.compile(f)(x, v).sum().backward()
    assert bits(w.grad) == bits(v.grad)


def test_inside_of_scan_and_cond():
    def f(x, w):
        def step(c, row):
            (y,) = lucid.while_loop(
                lambda y: (y * y).sum() < 4, lambda y: (y * 1.5 + w.exp(),), (c + row,), 20
            )
            y = lucid.cond(y.sum() > 3, lambda: y.tanh() * w, lambda: y * w * w)
            return y, y.sum()

        return lucid.scan(step, w * 1, x)

    agree(f, lucid.compile(f), made((4, 3), (3,)), 3)


def test_in_a_training_step():
    def build():
        lucid.manual_seed(0)
        layer, head = nn.Linear(6, 6), nn.Linear(6, 2)
        parameters = [*layer.parameters(), *head.parameters()]
        optimizer = lucid.optim.Adam(parameters, 0.02)

        def step(x, t):
            optimizer.zero_grad()
            _, y = lucid.while_loop(
                lambda n, y: (n < 9) & ((y * y).mean() < 2),
                lambda n, y: (n + 1, layer(y).tanh() + y * 1.2),
                (lucid.tensor(0), x),
                max_steps=9,
            )
            loss = F.mse_loss(head(y), t)
            loss.backward()
            optimizer.step()
            return loss

        return step, parameters

    (eager, a), (step, b) = build(), build()
    step = lucid.compile(step)
    for seed in range(4):
        x, t = made((5, 6), (5, 2), grad=False)(seed)
        assert bits(eager(x, t)) == bits(step(x, t))
        assert [bits(p) for p in a] == [bits(p) for p in b]
    assert step.traces == 1


def test_more_steps_than_may_be_raises_and_changes_nothing():
    w = lucid.ones(2, requires_grad=True)
    total = lucid.zeros(2)

    def f(x):
        total.add_(1)
        y = lucid.while_loop(lambda c: c.sum() < 100, lambda c: (c * 2 * w,), (x,), 3)[0]
        y.sum().backward()

    f = lucid.compile(f)
    f(lucid.full((2,), 20.0))
    before = bits(w.grad), bits(total)
    with pytest.raises(RuntimeError, match="max_steps=3"):
        f(lucid.ones(2))
    assert (bits(w.grad), bits(total)) == before


def test_without_max_steps_asking_for_the_gradient_raises():
    x = lucid.ones(2, requires_grad=True)

    def f(x):
        return lucid.while_loop(lambda c: c.sum() < 9, lambda c: (c * 2,), (x,))[0]

    y = lucid.compile(f)(x)
    assert y.tolist() == [8.0, 8.0] and y.requires_grad
    with pytest.raises(RuntimeError, match="while_loop at .*test_compile_while.*max_steps=n"):
        y.sum().backward()
    with pytest.raises(NotImplementedError, match="while_loop at .*needs max_steps=n"):
        lucid.compile(lambda x: f(x).sum().backward())(x)
    with lucid.no_grad():
        assert lucid.compile(f)(x).tolist() == [8.0, 8.0]


def test_what_has_no_gradient_raises_by_name():
    x = lucid.ones(2, requires_grad=True)

    def f(x):
        return lucid.while_loop(lambda c: c.sum() < 9, lambda c: (c * c + 1,), (x,), 9)[0]

    def second(x):
        return lucid.autograd.grad(f(x).sum(), x, create_graph=True)[0]

    with pytest.raises(NotImplementedError, match="while_loop at .*no second derivative"):
        lucid.compile(second)(x)

    def cast(x):
        with lucid.autocast("cpu", lucid.bfloat16):
            f(x).sum().backward()

    with pytest.raises(NotImplementedError, match="while_loop at .*under autocast"):
        lucid.compile(cast)(x)


def test_memory_is_that_of_the_steps_it_may_take():
    """The carries are kept, nothing else: what a step makes in between is made again."""
    x = lucid.tensor(np.linspace(0.1, 0.2, 1000), dtype=lucid.float32, requires_grad=True)

    def f(x):
        y = lucid.while_loop(
            lambda c: c.sum() < 1e3, lambda c: (c.sin().exp() * c.exp() + c,), (x,), 16
        )[0]
        y.sum().backward()

    compiled = lucid.compile(f)
    compiled(x)
    (runner,) = [r for known in compiled.plans.values() for r in known]
    loops = [e for e in runner.captured.graph.equations if e.op.name == "loop"]
    assert [v.shape for v in loops[0].outputs] == [(1000,), (16, 1000), ()]
