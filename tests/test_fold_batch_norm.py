"""`compile(..., fold_batch_norm=True)`: near the exact result, off by default, never stale."""

import pickle

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid import nn
from tests.compiled import bits


def network(*layers):
    """In eval mode, with statistics as after training."""
    lucid.manual_seed(3)
    model = nn.Sequential(*layers)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.3, 3)
            if layer.weight is not None:
                nn.init.normal_(layer.weight, 1.0, 0.3)
                nn.init.normal_(layer.bias)
    return model.eval()


def folded(model, x):
    """How many normalizations went into weights."""
    compiled = lucid.compile(model, fold_batch_norm=True)
    with lucid.no_grad():
        compiled(x)
        runner, _ = compiled.find((x,), {})
    return sum(p.count for p in runner.prepared)


CASES = {
    "convolution": (lambda: [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()], (2, 3, 9, 9), 1),
    "no bias": (lambda: [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)], (2, 3, 9, 9), 1),
    "groups": (lambda: [nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8)], (2, 4, 9, 9), 1),
    "strided": (lambda: [nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)], (2, 3, 9, 9), 1),
    "not affine": (lambda: [nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, affine=False)], (1, 3, 4, 4), 1),
    "one-dimensional": (lambda: [nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8)], (2, 3, 9), 1),
    "linear": (lambda: [nn.Linear(6, 7), nn.BatchNorm1d(7), nn.Tanh()], (5, 6), 1),
    "linear without a bias": (lambda: [nn.Linear(6, 7, False), nn.BatchNorm1d(7)], (5, 6), 1),
    "two": (
        lambda: [
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
        ],
        (2, 3, 8, 8),
        2,
    ),
    "before the layer": (lambda: [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)], (2, 3, 8, 8), 0),
    "something in between": (
        lambda: [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)], (2, 3, 8, 8), 0
    ),
    "rows are not channels": (lambda: [nn.Linear(6, 7), nn.BatchNorm1d(5)], (2, 5, 6), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_result_is_as_near_to_the_exact_one(name):
    make, shape, count = CASES[name]
    model, exact = network(*make()), network(*make()).double()
    exact.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
    x = lucid.tensor(np.random.default_rng(1).normal(size=shape), dtype=lucid.float32)
    with lucid.no_grad():
        want = exact(x.double()).numpy()
        got = lucid.compile(model, fold_batch_norm=True)(x).numpy()
        plain = model(x)
        assert bits(lucid.compile(model)(x)) == bits(plain)  # by default nothing changes
    least = np.abs(plain.numpy() - want).max() + np.finfo(np.float32).eps * np.abs(want).max()
    assert np.abs(got - want).max() <= 4 * least
    assert folded(model, x) == count
    if not count:
        assert got.tobytes() == plain.numpy().tobytes()


def test_in_float64_it_is_the_same_function():
    model = network(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)).double()
    x = lucid.tensor(np.random.default_rng(1).normal(size=(2, 3, 7, 7)))
    with lucid.no_grad():
        got = lucid.compile(model, fold_batch_norm=True)(x)
        np.testing.assert_allclose(got.numpy(), model(x).numpy(), rtol=1e-12, atol=1e-13)


def trained(model, optimizer):
    model.train()
    F.mse_loss(model(lucid.randn(4, 3, 6, 6)), lucid.zeros(4, 5, 4, 4)).backward()
    optimizer.step()
    model.eval()


def compiled_step(model, optimizer):
    @lucid.compile
    def step(x):
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()

    model.train()
    step(lucid.randn(4, 3, 6, 6))
    model.eval()


CHANGES = {
    "a weight": lambda m, o: m[0].weight.mul_(2),
    "the layer's bias": lambda m, o: m[0].bias.add_(1),
    "the mean": lambda m, o: m[1].running_mean.add_(1),
    "the variance": lambda m, o: m[1].running_var.mul_(3),
    "a view of the variance": lambda m, o: m[1].running_var[:2].fill_(4),
    "the scale": lambda m, o: m[1].weight.neg_(),
    "the shift": lambda m, o: m[1].bias.zero_(),
    "another array": lambda m, o: setattr(m[0].weight, "data", m[0].weight.data * 3),
    "another parameter": lambda m, o: setattr(m[0], "weight", nn.Parameter(m[0].weight * 3)),
    "a checkpoint": lambda m, o: m.load_state_dict({k: v * 2 for k, v in m.state_dict().items()}),
    "a step": trained,
    "a compiled step": compiled_step,
}


def test_it_follows_whatever_changes():
    model = network(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    optimizer = lucid.optim.Adam(model.parameters(), 0.1)
    compiled = lucid.compile(model, fold_batch_norm=True)
    x = lucid.randn(2, 3, 6, 6)
    before = None
    for name, change in [("nothing", None), *CHANGES.items()]:
        with lucid.no_grad():
            if change in (trained, compiled_step):
                with lucid.enable_grad():
                    change(model, optimizer)
            elif change is not None:
                change(model, optimizer)
            got, want = compiled(x), model(x)
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-4, atol=1e-4, err_msg=name)
        assert before is None or not np.allclose(before, want.numpy(), atol=1e-3), name
        before = want.numpy().copy()


def test_the_weights_are_folded_once():
    model = network(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    compiled = lucid.compile(model, fold_batch_norm=True)
    x = lucid.randn(2, 3, 6, 6)
    with lucid.no_grad():
        compiled(x)
        runner, _ = compiled.find((x,), {})
        (made,) = runner.prepared
        ready = made.ready
        compiled(x)
        assert made.ready is ready
        model[0].bias.add_(1)
        compiled(x)
        assert made.ready is not ready
    assert compiled.traces == 1


def test_nothing_is_folded_where_gradients_are_recorded_or_the_batch_is_normalized():
    model = network(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    compiled = lucid.compile(model, fold_batch_norm=True)
    x = lucid.randn(2, 3, 6, 6)
    assert bits(compiled(x)) == bits(model(x))
    with lucid.no_grad():
        model.train()
        state = {k: v.clone() for k, v in model.state_dict().items()}
        got = bits(compiled(x))
        model.load_state_dict(state)
        assert got == bits(model(x))


def test_a_result_that_is_used_twice_stays():
    conv, norm = network(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))

    def f(x):
        y = conv(x)
        return norm(y), y

    x = lucid.randn(2, 3, 6, 6)
    with lucid.no_grad():
        got = lucid.compile(f, fold_batch_norm=True)(x)
        assert [bits(y) for y in got] == [bits(y) for y in f(x)]


def test_a_weight_that_the_function_writes_stays():
    conv, norm = network(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))

    def f(x):
        conv.bias.add_(1)
        return norm(conv(x))

    x = lucid.randn(2, 3, 6, 6)
    with lucid.no_grad():
        start = conv.bias.clone()
        got = [bits(lucid.compile(f, fold_batch_norm=True)(x)) for _ in range(2)]
        conv.bias.copy_(start)
        assert got == [bits(f(x)) for _ in range(2)]


def test_the_report_says_so():
    model = network(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    x = lucid.randn(2, 3, 6, 6)
    with lucid.no_grad():
        report = lucid.explain(lucid.compile(model, fold_batch_norm=True), x)
        plain = lucid.explain(lucid.compile(model), x)
    assert "1 batch normalizations are folded into weights: other bits" in str(report)
    assert "folded" not in str(plain)
    first, second = report.after.split("return", 1)
    assert "rsqrt" in first and "rsqrt" not in second and "conv2d_biased" in second


def test_the_option_is_kept_and_checked():
    model = network(nn.Linear(3, 4), nn.BatchNorm1d(4))
    again = pickle.loads(pickle.dumps(lucid.compile(model, fold_batch_norm=True)))
    assert again.fold_batch_norm and not lucid.compile(model).fold_batch_norm
    with pytest.raises(ValueError, match="needs fullgraph=True"):
        lucid.compile(model, fullgraph=False, fold_batch_norm=True)
    x = lucid.randn(5, 3)
    model.compile(fold_batch_norm=True)
    with lucid.no_grad():
        assert model(x).shape == (5, 4)
