"""`compile(..., prepack=True)`: the same bits, packed once for each version, in bounded memory."""

import gc
import pickle

import pytest

import lucid
from lucid import nn
from lucid.config import settings
from tests.compiled import bits


def runner_of(compiled, *arguments):
    with lucid.no_grad():
        compiled(*arguments)
        return compiled.find(arguments, {})[0]


def packed(compiled, *arguments):
    """The packed weights of a call."""
    return [p for p in runner_of(compiled, *arguments).prepared if p.name.endswith("_packed")]


W = lucid.randn(600, 90)
CASES = {
    "linear": (lambda: nn.Linear(100, 130), (40, 100), 1),
    "three dimensions": (lambda: nn.Linear(100, 130), (3, 10, 100), 1),
    "several blocks of k": (lambda: nn.Linear(1100, 70), (33, 1100), 1),
    "one panel, not full": (lambda: nn.Linear(64, 10), (20, 64), 1),
    "without a bias": (lambda: nn.Linear(70, 65, bias=False), (17, 70), 1),
    "float64": (lambda: nn.Linear(70, 100).double(), (40, 70), 1),
    "two": (lambda: nn.Sequential(nn.Linear(50, 90), nn.ReLU(), nn.Linear(90, 20)), (64, 50), 2),
    "row-major": (lambda: lambda x: x @ W, (200, 600), 1),
    "the transpose": (lambda: lambda x: x @ W.T, (200, 90), 1),
    "twice the same": (lambda: lambda x: (x @ W).sin() + (2 * x) @ W, (200, 600), 1),
    "few rows": (lambda: nn.Linear(100, 130), (16, 100), 0),
    "small and row-major": (lambda: lambda x: x @ W[:60], (64, 60), 0),
    "16 bits": (lambda: nn.Linear(100, 130).bfloat16(), (40, 100), 0),
    "no weight": (lambda: lambda x: x.T @ x, (100, 40), 0),
}  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_bits_are_the_same(name, threads):
    make, shape, count = CASES[name]
    before = lucid.get_num_threads()
    lucid.set_num_threads(threads)
    try:
        function = make()
        parameters = list(function.parameters()) if isinstance(function, nn.Module) else [W]
        x = lucid.randn(*shape).to(parameters[0].dtype)
        compiled = lucid.compile(function, prepack=True)
        with lucid.no_grad():
            assert bits(compiled(x)) == bits(function(x)) == bits(compiled(x))
        assert len(packed(compiled, x)) == count
    finally:
        lucid.set_num_threads(before)


def test_an_attention_block():
    lucid.manual_seed(0)
    model = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval()
    x = lucid.randn(2, 20, 64)
    compiled = lucid.compile(model, prepack=True)
    with lucid.no_grad():
        assert bits(compiled(x)) == bits(lucid.compile(model)(x)) == bits(model(x))
    assert packed(compiled, x)


def test_it_follows_whatever_changes():
    model = nn.Linear(50, 70)
    optimizer = lucid.optim.SGD(model.parameters(), 0.5)
    compiled = lucid.compile(model, prepack=True)
    x = lucid.randn(40, 50)

    def step():
        with lucid.enable_grad():
            model(x).sum().backward()
        optimizer.step()

    changes = [
        lambda: model.weight.mul_(2),
        lambda: model.weight[3:].zero_(),
        lambda: model.weight.t()[0].fill_(5),
        step,
        lambda: model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()}),
        lambda: setattr(model.weight, "data", model.weight.data * 3),
        lambda: setattr(model, "weight", nn.Parameter(model.weight * 3)),
        lucid.compile(lambda: model.weight.mul_(0.5)),
    ]
    with lucid.no_grad():
        seen = {bits(compiled(x))}
        for change in changes:
            change()
            assert bits(compiled(x)) == bits(model(x))
            seen.add(bits(compiled(x)))
    assert len(seen) == len(changes) + 1


def test_plans_of_the_same_weight_share_the_copy_and_it_dies_with_them():
    from lucid.compiler.prepared import _shared

    gc.collect()
    start = len(_shared)
    model = nn.Linear(50, 70)
    compiled = lucid.compile(model, prepack=True)
    a, b = (packed(compiled, lucid.randn(rows, 50))[0] for rows in (40, 80))
    assert a is not b and a.blocks()[0] is b.blocks()[0]
    other = lucid.compile(model, prepack=True)
    assert packed(other, lucid.randn(40, 50))[0].blocks()[0] is a.blocks()[0]
    first = a.blocks()
    assert a.blocks() is first
    assert len(_shared) == start + 1
    del a, b, first, compiled, other
    gc.collect()
    assert len(_shared) == start


def test_memory_is_bounded(monkeypatch):
    model = nn.Sequential(nn.Linear(500, 600), nn.ReLU(), nn.Linear(600, 100))
    x = lucid.randn(64, 500)
    found = {}
    for limit in (0, 1, 2, 256):
        monkeypatch.setattr(settings, "prepack_mb", limit)
        compiled = lucid.compile(model, prepack=True)
        found[limit] = len(packed(compiled, x))
        with lucid.no_grad():
            assert bits(compiled(x)) == bits(model(x))
    assert found == {0: 0, 1: 1, 2: 2, 256: 2}


def test_nothing_is_packed_by_default_or_where_gradients_are_recorded():
    model, x = nn.Linear(50, 70), lucid.randn(40, 50)
    assert not runner_of(lucid.compile(model), x).prepared
    compiled = lucid.compile(model, prepack=True)
    compiled(x).sum().backward()
    runner, _ = compiled.find((x,), {})
    assert runner is not None and not runner.prepared
    with pytest.raises(ValueError, match="prepack=True needs fullgraph=True"):
        lucid.compile(model, fullgraph=False, prepack=True)
    again = pickle.loads(pickle.dumps(compiled))
    assert again.prepack and not again.fold_batch_norm


def test_together_with_folded_normalization():
    lucid.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(50, 70), nn.BatchNorm1d(70), nn.ReLU(), nn.Linear(70, 90)
    ).eval()
    model[1].running_mean.normal_()
    x = lucid.randn(40, 50)
    folded = lucid.compile(model, fold_batch_norm=True)
    both = lucid.compile(model, fold_batch_norm=True, prepack=True)
    with lucid.no_grad():
        for _ in range(2):
            assert bits(folded(x)) == bits(both(x))
            model[0].weight.mul_(1.5)
            model[1].running_var.add_(1)
        report = lucid.explain(both, x)
    assert "2 weights are packed once" in str(report)
    assert "1 batch normalizations are folded" in str(report)
