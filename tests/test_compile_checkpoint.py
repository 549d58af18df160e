"""Checkpoints in compiled functions: eager's bits, the same random numbers, and less memory."""

import pytest

import lucid
from lucid import nn
from lucid.error import TraceError
from lucid.utils.checkpoint import checkpoint

LAYERS = 8


class Network(nn.Module):
    def __init__(self, mode: str):
        super().__init__()
        lucid.manual_seed(0)
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32), nn.Dropout(0.2))
            for _ in range(LAYERS)
        )
        self.mode = mode

    def forward(self, x):
        for part in self.parts:
            if self.mode == "plain":
                x = part(x)
            elif self.mode == "checkpoint":
                x = checkpoint(part, x, use_reentrant=False)
            else:
                x = checkpoint(nested, part, x, use_reentrant=False)
        return x


def nested(part, x):
    return part[2:](checkpoint(part[:2], x, use_reentrant=False))


def trained(model: Network, run, inside: bool) -> list:
    """Losses, gradients and the next random number; `inside`: run is a whole step."""
    lucid.manual_seed(5)
    found = []
    for n in (24, 24, 40, 56):
        x = lucid.randn(n, 32, generator=lucid.Generator().manual_seed(n))
        loss = run(x)
        if not inside:
            loss = loss.square().sum()
            loss.backward()
        found.append(loss.item())
    return [*found, *[p.grad.tolist() for p in model.parameters()], lucid.rand(1).item()]


def step_of(model: Network):
    optimizer = lucid.optim.SGD(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    return step


@pytest.mark.parametrize("mode", ["checkpoint", "nested"])
@pytest.mark.parametrize("fullgraph", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_bits(mode, fullgraph, inside):
    ends = []
    for how, compiled in (("plain", False), (mode, False), (mode, True)):
        model = Network(how)
        run = step_of(model) if inside else model
        run = lucid.compile(run, fullgraph=fullgraph) if compiled else run
        ends.append(trained(model, run, inside))
        if compiled and fullgraph:
            assert (run.traces, run.resizes) == (2, 1)
    assert ends[0] == ends[1] == ends[2]


def test_a_step_needs_less_memory():
    arenas = []
    for mode in ("plain", "checkpoint"):
        compiled = lucid.compile(step_of(Network(mode)))
        compiled(lucid.ones(512, 32))
        (runner,) = [r for known in compiled.plans.values() for r in known]
        arenas.append(runner.plan.arena_bytes)
    assert arenas[1] < 0.5 * arenas[0]


def test_a_forward_half_keeps_what_the_parts_were_given():
    kept = []
    for mode in ("plain", "checkpoint"):
        compiled = lucid.compile(Network(mode))
        compiled(lucid.ones(512, 32, requires_grad=True))
        (runner,) = [r for known in compiled.plans.values() for r in known]
        kept.append(sum(runner.kept_bytes))
    each = 512 * 32 * 4
    assert kept[1] <= LAYERS * each < 0.4 * kept[0]


def test_the_state_of_a_generator_is_not_known_while_tracing():
    with pytest.raises(TraceError, match="get_state of a generator"):
        lucid.compile(lambda x: (x + 1, lucid.get_rng_state()))(lucid.ones(2))
    state = lucid.get_rng_state()
    with pytest.raises(TraceError, match="set_state of a generator"):
        lucid.compile(lambda x: (lucid.set_rng_state(state), x + 1)[1])(lucid.ones(2))
    assert lucid.equal(lucid.get_rng_state(), state)
