"""cond, scan and while_loop in compiled functions: eager's bits, gradients too, and what raises."""

import threading

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid import nn
from lucid.error import TraceError
from tests.compiled import agree as compare
from tests.compiled import bits, made


def agree(function, make, calls=4, traces=None):
    compiled = lucid.compile(function)
    compare(function, compiled, make, calls)
    assert compiled.traces == (traces or 2)
    return compiled


def test_cond_takes_the_branch_without_a_new_trace():
    agree(
        lambda x, w: lucid.cond(
            (x * w).sum() > 0, lambda x: x * w * w, lambda x: (x * w).sin() + w, (x,)
        ),
        made((3, 4), (3, 4)),
        8,
    )


def test_a_scan_of_one_row_leaves_what_has_no_history_without_one():
    def f(x):
        return lucid.scan(lambda c, t: ((c * t).sin() * c, c), lucid.ones(4), x)

    agree(f, made((1, 4)))


def test_cond_between_other_uses_of_the_same_tensors():
    def f(x, w, v):
        before = w * x + v
        y = lucid.cond(
            before.mean() > 0.05,
            lambda a: {"p": (a @ w.T) @ w * v, "q": w + v * w},
            lambda a: {"p": (a * w + v) * w, "q": (v * w) * w},
            (before * x,),
        )
        return y["p"] * w + v, y["q"] * w * before, before

    agree(f, made((4, 4), (4, 4), (4, 4)), 8)


def test_cond_in_a_training_step():
    def build():
        lucid.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        other = nn.Linear(6, 3)
        optimizer = lucid.optim.Adam([*model.parameters(), *other.parameters()], 0.05)

        def step(x, t):
            optimizer.zero_grad()
            y = lucid.cond(
                x.sum() > 0,
                lambda x: model(x) + 0 * other(x),
                lambda x: other(x) + 0 * model(x),
                (x,),
            )
            loss = F.cross_entropy(y, t)
            loss.backward()
            optimizer.step()
            return loss

        return step, [*model.parameters(), *other.parameters()]

    (eager, a), (step, b) = build(), build()
    step = lucid.compile(step)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = lucid.tensor(rng.normal(size=(5, 6)).astype(np.float32))
        t = lucid.tensor(rng.integers(0, 3, 5))
        assert bits(eager(x, t)) == bits(step(x, t))
        assert [bits(p) for p in a] == [bits(p) for p in b]
    assert step.traces == 1


def test_a_tensor_of_one_branch_gets_zeros_from_the_other():
    w = lucid.ones(2, requires_grad=True)
    f = lucid.compile(lambda x: lucid.cond(x.sum() > 0, lambda: x * w, lambda: x * 2))
    f(lucid.tensor([-1.0, -1.0], requires_grad=True)).sum().backward()
    assert w.grad.tolist() == [0.0, 0.0]
    f(lucid.tensor([1.0, 2.0], requires_grad=True)).sum().backward()
    assert w.grad.tolist() == [1.0, 2.0]


def test_cond_inside_of_cond_and_its_second_derivative():
    def f(x, w):
        def yes(x):
            return lucid.cond(x[0] > 0.3, lambda x: (x * w).exp(), lambda x: x.sin() * w, (x,))

        return lucid.cond(x.sum() > 0, yes, lambda x: x * w * w, (x,))

    def second(x, w):
        y = f(x, w)
        (g,) = lucid.autograd.grad((y * y).sum(), x, create_graph=True)
        return (g * y + w).sum()

    agree(f, made((3,), (3,)), 8)
    compiled = lucid.compile(second)
    for seed in range(8):  # sums of second derivatives may be in another order
        a, b = made((3,), (3,))(seed), made((3,), (3,))(seed)
        second(*a).backward()
        compiled(*b).backward()
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-5, atol=1e-6)
    assert compiled.traces == 1


def test_second_derivatives_of_a_compiled_scan_raise_by_name():
    def f(x):
        y = lucid.scan(lambda c, x: (c * x, c), x[0], x)[0]
        return lucid.autograd.grad(y.sum(), x, create_graph=True)[0]

    with pytest.raises(NotImplementedError, match="scan at .*no second derivative"):
        lucid.compile(f)(lucid.ones(3, 2, requires_grad=True))


BODIES = {
    "rnn": lambda c, x, w: ((c * w + x).tanh(), c * x),
    "twice": lambda c, x, w: ((c * w + x * c + w).tanh() * w, c * c * w),
    "same tensor": lambda c, x, w: (c + x * w,) * 2,
    "x goes through": lambda c, x, w: (c * w + c * x, x),
    "w is y": lambda c, x, w: (c * w * w + x, w),
    "w is the carry": lambda c, x, w: (w, c * w + x * w),
    "carry stays": lambda c, x, w: (c, c * x * w + c * w),
    "x unused": lambda c, x, w: (c.sin() * w, c + w),
    "carry unused": lambda c, x, w: (x * w, x + w),
    "views": lambda c, x, w: ((c.view(3, 1) * w).sum(1) + x[:1], c[:2] * x[0]),
    "matmul": lambda c, x, w: ((c @ w.expand(3, 3) + x).tanh(), (c @ w, x.sum())),
    "in place inside": lambda c, x, w: ((c * w).add_(x).mul_(w), c.clone().mul_(w)),
    "no y": lambda c, x, w: (c * w + x, None),
    "detached": lambda c, x, w: ((c.detach() * w + x).sin(), c),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("reverse", [False, True])
def test_scan(name, reverse):
    body = BODIES[name]

    def f(x, w, c):
        v = w * 2
        carry, ys = lucid.scan(lambda c, x: body(c, x, v), c * v, x * w, reverse=reverse)
        return carry * w + v, ys

    agree(f, made((5, 3), (3,), (3,)), 2)
    g = lambda x, w, c: lucid.scan(lambda c, x: body(c, x, w), c, x.T, 1, reverse)[0]  # noqa: E731
    agree(g, made((5, 3), (3,), (3,)), 1)
    if name != "no y":
        h = lambda x, w, c: lucid.scan(lambda c, x: body(c, x, w), c, x)[1]  # noqa: E731
        agree(h, made((1, 3), (3,), (3,)), 1)


def test_scan_where_carries_change_places():
    def f(x, w, a, b):
        (a, b), ys = lucid.scan(lambda c, x: ((c[1] * w, c[0] + x), c[0]), (a, b), x)
        return a

    for n in (1, 2, 5, 6):
        agree(f, made((n, 3), (3,), (3,), (3,)), 2)


def test_nothing_is_computed_from_a_cotangent_that_has_not_arrived():
    """sqrt has no gradient at 0: zeros that stand for nothing would make NaN of it."""

    def f(x, c):
        carry, ys = lucid.scan(lambda c, x: (c.sqrt(), c * x), c, x)
        return ys

    def make(seed):
        return [lucid.ones(3, 2, requires_grad=True), lucid.zeros(2, requires_grad=True)]

    agree(lambda x, c: f(x, c)[0], make, 1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("steps", "carried"), [(1, 1), (2, 0), (2, 1), (3, 0), (3, 1)])
def test_the_sign_of_a_zero_in_the_gradient_of_rows(carried, steps, reverse):
    """Eager adds up the gradients of several rows, 0 for each of the others: -0 + 0 is 0."""

    def f(x, w):
        c, ys = lucid.scan(lambda c, x: (c * x, c), w[0], x, reverse=reverse)
        y = c if carried else ys
        return lucid.autograd.grad((y * -w[0]).sum(), x)[0]

    w = lucid.tensor([[0.0, -0.0, 1.0, -1.0]])
    x = lucid.arange(1.0, 4.0 * steps + 1).view(steps, 4).requires_grad_()
    found = [g(x, w) for g in (f, lucid.compile(f))]
    assert bits(found[0]) == bits(found[1])


def test_scan_without_a_gradient_at_first():
    def f(x, w):
        carry, ys = lucid.scan(lambda c, x: (c * w + x.detach(), c), lucid.zeros(3), x)
        return carry, ys

    agree(f, made((4, 3), (3,)), 2)


def test_scan_of_integers_and_floats_together():
    def f(x, w):
        def body(c, x):
            n, y = c
            return (n + 1, y * w + x[0] * n), {"n": n, "y": (y, x[1])}

        return lucid.scan(body, (lucid.tensor(0), w * 1), (x, lucid.arange(x.shape[0])))

    agree(f, made((4, 3), (3,)), 2)


def test_loops_and_branches_inside_of_one_another():
    def f(x, w, c):
        def body(c, row):
            c = lucid.cond(c.sum() > 0, lambda c: c * w - row[0], lambda c: c + w * c, (c,))
            inner, ys = lucid.scan(lambda d, e: (d * w + e, d * e * c), c, row)
            return inner.tanh(), ys.sum(0) * w

        return lucid.cond(
            x.sum() > -100, lambda: lucid.scan(body, c, x), lambda: (c * w, x.sum(1) * w)
        )

    agree(f, made((3, 2, 4), (4,), (4,)), 4)


def test_a_network_over_time_in_a_training_step():
    def build():
        lucid.manual_seed(0)
        cell, head = nn.GRUCell(4, 6), nn.Linear(6, 2)
        parameters = [*cell.parameters(), *head.parameters()]
        optimizer = lucid.optim.SGD(parameters, 0.1, momentum=0.9)

        def step(x, t):
            optimizer.zero_grad()
            start = x.new_zeros(x.shape[1], 6)
            carry, ys = lucid.scan(lambda h, x: (cell(x, h),) * 2, start, x)
            loss = F.mse_loss(head(carry), t) + (ys * ys).mean()
            loss.backward()
            optimizer.step()
            return loss, ys

        return step, parameters

    (eager, a), (step, b) = build(), build()
    step = lucid.compile(step)
    for seed in range(4):
        x, t = made((7, 3, 4), (3, 2), grad=False)(seed)
        assert [bits(y) for y in eager(x, t)] == [bits(y) for y in step(x, t)]
        assert [bits(p) for p in a] == [bits(p) for p in b]
    assert step.traces == 1


def test_random_numbers_in_a_scan_are_those_of_eager():
    def f(x, w):
        return lucid.scan(lambda c, x: (F.dropout(c * w + x, 0.5), c), w * 1, x)

    agree(f, made((4, 3), (3,)), 2)


def test_while_loop():
    def f(x, w):
        return lucid.while_loop(
            lambda n, c: (c.abs().sum() < 30) & (n < 50),
            lambda n, c: (n + 1, c * 1.5 + x * w),
            (lucid.tensor(0), x),
        )

    agree(f, made((3,), (3,), grad=False), 4, 2)
    never = lucid.compile(lambda x: lucid.while_loop(lambda x: x.sum() > 9, lambda x: (-x,), (x,)))
    assert never(lucid.ones(2))[0].tolist() == [1.0, 1.0]
    most = lucid.compile(
        lambda n: lucid.while_loop(lambda n: n < 5, lambda n: (n + 1,), (n,), max_steps=3)
    )
    assert most(lucid.tensor(2))[0].item() == 5
    with pytest.raises(RuntimeError, match="max_steps=3"):
        most(lucid.tensor(1))


W = lucid.ones(2)
LIST: list = []


class Box:
    held = None


def in_list(x):
    LIST.append(1)
    return x


def in_box(x):
    Box.held = x
    return x


REFUSED = [
    (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: (x,)), "different nests"),
    (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: x[:1]), r"\(2,\) as leaf 0, .*\(1,\)"),
    (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: x.long()), "lucid.int64"),
    (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: None), "None"),
    (lambda x: lucid.cond(x.sum() > 0, lambda: W.add_(1), lambda: x), "true_fn writes in place"),
    (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: in_list(x)), "stores to an item"),
    (lambda x: lucid.cond(x.sum() > 0, lambda: in_box(x * 2), lambda: x), "stores to type.held"),
    (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: lucid.rand(2)), "draws random numbers"),
    (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: x * x.sum().item()), "item of a tensor"),
    (lambda x: lucid.scan(lambda c, x: (c.add_(x), c), W, x), "in place"),
    (lambda x: lucid.scan(lambda c, y: (c * y, x.mul_(2)), W[0], x), "in place"),
    (lambda x: lucid.while_loop(lambda n: n < 3, lambda n: (n + 1,), (1,)), "leaf 0 .* is a int"),
    (lambda x: lucid.while_loop(lambda c: True, lambda c: (c,), (x,)), "cond_fn gives bool"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_raises(case):
    function, message = REFUSED[case]
    x = lucid.tensor([1.0, 2.0])
    before = bits(W)
    with pytest.raises(TraceError, match=message) as raised:
        lucid.compile(function)(x)
    assert "test_compile_control.py" in str(raised.value)
    assert bits(W) == before and x.tolist() == [1.0, 2.0] and not LIST and Box.held is None


def test_what_leaks_from_a_branch_raises():
    def f(x):
        kept = {}

        def yes(x):
            kept["y"] = x * 2
            return x * 3

        y = lucid.cond(x.sum() > 0, yes, lambda x: x, (x,))
        return y + kept["y"]

    with pytest.raises(TraceError, match="stores to|used outside"):
        lucid.compile(f)(lucid.ones(2))


def test_a_bad_index_in_a_branch_raises_and_changes_nothing():
    w = lucid.zeros(3)

    def f(x, i):
        w.add_(1)
        w.add_(lucid.cond(x.sum() > 0, lambda: x[i], lambda: x))

    compiled = lucid.compile(f)
    compiled(-lucid.ones(3), lucid.tensor([0, 1, 9]))
    assert w.tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(IndexError, match="9"):
        compiled(lucid.ones(3), lucid.tensor([0, 1, 9]))
    assert w.tolist() == [0.0, 0.0, 0.0]


def test_autocast():
    lucid.manual_seed(0)
    layer = nn.Linear(8, 8)

    def f(x):
        with lucid.autocast("cpu", lucid.bfloat16):
            return lucid.scan(lambda c, x: (layer(c + x).tanh().float(), c), x[0], x)

    agree(f, made((4, 8)), 1)

    def g(x):
        with lucid.autocast("cpu", lucid.bfloat16):
            return lucid.cond(x.sum() > 0, lambda: layer(x), lambda: layer(-x)) + layer(x)

    with pytest.raises(TraceError, match="cond under autocast"):
        lucid.compile(g)(lucid.ones(8))
    with lucid.no_grad():
        compiled = lucid.compile(g)
        for x in (lucid.ones(8), -lucid.ones(8)):
            assert bits(compiled(x)) == bits(g(x))


def test_what_branches_use_is_guarded():
    scale = [2.0]
    f = lucid.compile(lambda x: lucid.cond(x.sum() > 0, lambda: x * scale[0], lambda: -x))
    assert f(lucid.ones(1)).item() == 2.0
    scale[0] = 5.0
    assert f(lucid.ones(1)).item() == 5.0


def test_threads_share_a_plan():
    f = lucid.compile(
        lambda x, w: lucid.scan(lambda c, x: ((c * w + x).tanh(), c), lucid.zeros(50), x)
    )
    arguments = [made((20, 50), (50,), grad=False)(seed) for seed in range(4)]
    want = [[bits(y) for y in f(*a)] for a in arguments]
    found = [None] * 4

    def run(i):
        for _ in range(20):
            found[i] = [bits(y) for y in f(*arguments[i])]
            assert found[i] == want[i]

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert found == want


def test_explain_shows_the_step():
    report = lucid.explain(
        lambda x: lucid.cond(x.sum() > 0, lambda: x * 2, lambda: x.sin()), lucid.ones(8)
    )
    assert any(k.name == "cond" for k in report.kernels)
    assert "sin" in report.before and "true" in report.before
