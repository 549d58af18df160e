"""The first step of a compiled program: state that optimizers make is PyTorch's, or nobody's."""

import copy

import numpy as np
import pytest

import lucid
from lucid.compiler import runner
from tests.compiled import bits

OPTIONS = [
    dict(momentum=0.9),
    dict(momentum=0.9, dampening=0.4, weight_decay=0.1),
    dict(momentum=0.9, nesterov=True, weight_decay=0.1),
    dict(momentum=0.5, maximize=True),
]


def parameters():
    """One whose gradient has zeros of both signs, and one that is used only sometimes."""
    w = lucid.tensor([1.0, -2.0, 3.0, 0.0], requires_grad=True)
    return w, lucid.tensor([0.5, 1.5], requires_grad=True)


def build(options, compiled):
    w, v = parameters()
    optimizer = lucid.optim.SGD([w, v], lr=0.1, **options)

    def step(x, both):
        optimizer.zero_grad()
        loss = (w * x).sum()
        if both:
            loss = loss + (v * v).sum()
        loss.backward()
        optimizer.step()
        return loss

    return (lucid.compile(step) if compiled else step), optimizer, (w, v)


def state(optimizer):
    told = optimizer.state_dict()["state"]
    return {i: {k: bits(x) for k, x in own.items()} for i, own in told.items()}


ZEROS = lucid.tensor([0.0, -0.0, 1.0, -3.0])


@pytest.mark.parametrize("options", OPTIONS)
def test_sgd_with_momentum_is_one_plan_from_the_first_step_on(options):
    eager, one, a = build(options, False)
    step, other, b = build(options, True)
    assert state(other) == {}
    for i in range(4):
        x = ZEROS * (i + 1)
        assert bits(eager(x, True)) == bits(step(x, True))
        assert [bits(p) for p in a] == [bits(p) for p in b]
        assert state(one) == state(other)
        assert step.traces == 1 and not step.reasons
        if i == 0 and not options.get("weight_decay"):
            sign = -1 if options.get("maximize") else 1
            assert state(other)[0]["momentum_buffer"] == bits(x * sign)


def test_a_parameter_whose_first_gradient_comes_later():
    eager, one, a = build(OPTIONS[1], False)
    step, other, b = build(OPTIONS[1], True)
    for both in (False, False, True, True, False, True):
        assert bits(eager(ZEROS, both)) == bits(step(ZEROS, both))
        assert [bits(p) for p in a] == [bits(p) for p in b]
        assert state(one) == state(other)


def test_rates_that_change_do_not_trace_again():
    eager, one, a = build(OPTIONS[0], False)
    step, other, b = build(OPTIONS[0], True)
    for rate, momentum in [(0.1, 0.9), (0.05, 0.8), (0.2, 0.95)]:
        for optimizer in (one, other):
            optimizer.param_groups[0].update(lr=rate, momentum=momentum)
        assert bits(eager(ZEROS, True)) == bits(step(ZEROS, True))
        assert [bits(p) for p in a] == [bits(p) for p in b]
    assert step.traces == 1


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_state_is_taken_back_where_planning_fails(kind, monkeypatch):
    w, _ = parameters()
    options = dict(momentum=0.9) if kind == "SGD" else {}
    optimizer = getattr(lucid.optim, kind)([w], lr=0.1, **options)

    @lucid.compile
    def step(x):
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    before = bits(w)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "ProgramPlan", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            step(ZEROS)
    assert optimizer.state_dict()["state"] == {} and bits(w) == before and w.grad is None
    step(ZEROS)
    assert set(optimizer.state_dict()["state"]) == {0}


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_state_is_taken_back_where_the_first_run_fails(kind):
    def made():
        w = lucid.tensor(np.linspace(-1, 1, 6).reshape(3, 2), dtype=lucid.float32)
        w.requires_grad_()
        options = dict(momentum=0.9) if kind == "SGD" else {}
        optimizer = getattr(lucid.optim, kind)([w], lr=0.1, **options)

        def step(i):
            optimizer.zero_grad()
            (w[i] ** 2).sum().backward()
            optimizer.step()

        return step, optimizer, w

    step, optimizer, w = made()
    eager, other, v = made()
    step = lucid.compile(step)
    before = bits(w)
    with pytest.raises(IndexError, match="7"):
        step(lucid.tensor([0, 7]))
    assert optimizer.state_dict()["state"] == {} and bits(w) == before
    for i in ([0, 2], [1, 1]):
        step(lucid.tensor(i))
        eager(lucid.tensor(i))
        assert bits(w) == bits(v) and state(optimizer) == state(other)
    with pytest.raises(IndexError, match="7"):
        step(lucid.tensor([0, 7]))
    assert state(optimizer) == state(other)  # what stood there stays


def test_a_buffer_from_a_checkpoint_goes_on():
    _, one, a = build(OPTIONS[1], False)
    eager, other, b = build(OPTIONS[1], False)
    eager(ZEROS, True)
    one.load_state_dict(copy.deepcopy(other.state_dict()))
    for p, q in zip(a, b, strict=True):
        p.data.copy_(q)
        p.grad, q.grad = lucid.ones_like(p), lucid.ones_like(p)
    one.step()
    other.step()
    assert [bits(p) for p in a] == [bits(p) for p in b] and state(one) == state(other)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_state_is_that_of_pytorch(options):
    torch = pytest.importorskip("torch")
    step, optimizer, own = build(options, True)
    theirs = [torch.tensor(p.detach().numpy(), requires_grad=True) for p in own]
    reference = torch.optim.SGD(theirs, lr=0.1, **options)
    assert reference.state_dict()["state"] == optimizer.state_dict()["state"] == {}
    for _ in range(3):
        step(ZEROS, True)
        reference.zero_grad()
        ((theirs[0] * torch.tensor(ZEROS.numpy())).sum() + (theirs[1] ** 2).sum()).backward()
        reference.step()
        told, found = reference.state_dict()["state"], optimizer.state_dict()["state"]
        assert {i: set(s) for i, s in told.items()} == {i: set(s) for i, s in found.items()}
        for i in told:
            a, b = told[i]["momentum_buffer"].numpy(), found[i]["momentum_buffer"].numpy()
            np.testing.assert_allclose(a, b, rtol=1e-6)
            np.testing.assert_array_equal(np.signbit(a), np.signbit(b))
