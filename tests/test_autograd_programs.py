"""Programs of autograd give what PyTorch gives; second derivatives of a sample of everything."""

import json
import random
from pathlib import Path

import pytest

import lucid
import lucid.utils.checkpoint  # noqa: F401
from lucid.autograd import gradgradcheck
from tests.autograd_programs import programs
from tests.test_forward_mode import moving
from tests.test_vmap import CASES

GOLDEN = json.loads((Path(__file__).parent / "golden" / "autograd.json").read_text())
PROGRAMS = programs(lucid)


def same(a, b):
    if isinstance(b, float) and not isinstance(a, bool):
        return abs(a - b) <= 1e-9 * (1 + abs(b))
    if isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_every_program_is_recorded():
    assert GOLDEN.keys() == PROGRAMS.keys()


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    made = json.loads(json.dumps(PROGRAMS[name](), default=str))
    assert same(made, GOLDEN[name]), f"{made}, PyTorch gives {GOLDEN[name]}"


def test_a_write_to_what_shares_its_bytes_with_a_neighbour():
    """PyTorch refuses it; the gradient is right here."""
    x = lucid.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = x * 1
    a, b = y[:2], y[2:]
    a.mul_(b)
    (y.sum() + b.sum()).backward()
    assert x.grad.tolist() == [3.0, 4.0, 3.0, 4.0]


# Values that are detached, types that finite differences are too coarse for, and what says that it
# has no second derivative.
NO_SECOND = {"cast", "ctc", "losses", "incomplete_gamma", "complex"}


def test_second_derivatives_of_a_sample():
    """A new sample in each run; all cases pass."""
    seed = random.randrange(2**32)
    print("seed", seed)
    names = sorted(CASES.keys() - NO_SECOND)
    for name in random.Random(seed).sample(names, 8):
        run, xs = moving(*CASES[name])
        if not xs or any(x.is_complex() for x in xs):
            continue
        own = [x.detach().clone().requires_grad_() for x in xs]
        ys = [y.sum() for y in run(*own) if y.requires_grad and not y.is_complex()]
        if not ys:
            continue
        found = lucid.autograd.grad(ys, own, allow_unused=True)
        own = [x.detach() if g is None else x for x, g in zip(own, found, strict=True)]

        def real(*given, run=run):
            made = [y for y in run(*given) if y.requires_grad and not y.is_complex()]
            return tuple(y.double() for y in made)

        assert gradgradcheck(real, own, atol=1e-4), (name, seed)


def test_second_derivatives_that_are_refused():
    x = lucid.rand(4, 2, 3, dtype=lucid.float64, requires_grad=True)

    def loss(x):
        labels = lucid.tensor([[1, 2], [2, 1]])
        return lucid.nn.functional.ctc_loss(x.log_softmax(2), labels, [4, 3], [2, 1])

    (g,) = lucid.autograd.grad(loss(x), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="ctc_loss: its second derivative"):
        g.sum().backward()


@pytest.mark.parametrize("only", [0, 1, 2])
def test_second_derivatives_where_one_input_needs_them(only):
    """A rule that reads nothing which is computed on the way."""
    F = lucid.nn.functional
    x, w, b = (lucid.rand(*s, dtype=lucid.float64) for s in ((2, 4, 3), (4,), (4,)))
    given = [t.requires_grad_(i == only) for i, t in enumerate((x, w, b))]
    assert gradgradcheck(lambda x, w, b: F.group_norm(x, 2, w, b), given)
    assert gradgradcheck(lambda x, w, b: F.batch_norm(x, None, None, w, b, True), given)
    assert gradgradcheck(lambda x, w, b: F.layer_norm(x.movedim(1, 2), (4,), w, b), given)


def test_live_against_torch():
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.utils.checkpoint")
    for name, run in programs(torch).items():
        made = json.loads(json.dumps(run(), default=str))
        assert same(made, GOLDEN[name]), name
