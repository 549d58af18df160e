"""The first call of a compiled training step: it is the plan already, and a failure undoes it."""

import pytest

import lucid
from lucid import nn
from lucid.error import TraceError
from lucid.nn import functional as F


def training(optimizer, **options):
    lucid.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    unused = nn.Parameter(lucid.ones(3))
    made = optimizer([*model.parameters(), unused], **options)

    def step(x, y):
        made.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        made.step()
        return loss

    return step, model, made


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax"])
def test_the_first_step_is_compiled(name):
    x, y = lucid.randn(5, 6), lucid.tensor([0, 1, 2, 1, 0])
    states = []
    for compiled in (False, True):
        step, model, optimizer = training(getattr(lucid.optim, name), lr=0.01)
        f = lucid.compile(step) if compiled else step
        losses = [f(x, y).item() for _ in range(4)]
        if compiled:
            assert f.traces == 1 and not f.uncompiled
        tensors = {k: v for s in optimizer.state_dict()["state"].values() for k, v in s.items()}
        states.append((losses, [p.tolist() for p in model.parameters()], str(tensors)))
        assert len(optimizer.state) == (5 if name == "Adagrad" else 4)  # of what has a gradient
    assert states[0] == states[1]


def test_a_trace_that_fails_leaves_no_state():
    step, model, optimizer = training(lucid.optim.Adam)
    x, y = lucid.randn(5, 6), lucid.tensor([0, 1, 2, 1, 0])

    def asks(x, y):
        return step(x, y).item()

    with pytest.raises(TraceError, match="item of a tensor"):
        lucid.compile(asks)(x, y)
    assert not optimizer.state and all(p.grad is None for p in model.parameters())
