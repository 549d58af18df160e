"""Every optimizer and scheduler against recorded numbers of PyTorch's, and live where it is there.

tools/golden_optim.py records them; optim_cases.py says what is run.
"""

import copy
from pathlib import Path

import numpy as np
import optim_cases as cases
import pytest
from safetensors.numpy import load_file

import lucid

GOLDEN = load_file(Path(__file__).parent / "golden" / "optim.safetensors")
# Muon iterates in bfloat16, where sums in another order differ in the last of 8 bits.
LOOSE = {"Muon": dict(rtol=0, atol=2e-4), "LBFGS": dict(rtol=1e-5, atol=1e-9)}
CLOSE = dict(rtol=2e-5, atol=2e-6)


def agree(got, expected, kind, name):
    np.testing.assert_allclose(got, expected, err_msg=name, **LOOSE.get(kind, CLOSE))


def golden_state(name):
    prefix = f"{name}/state."
    return {key[len(prefix) :]: value for key, value in GOLDEN.items() if key.startswith(prefix)}


@pytest.mark.parametrize("name", cases.CASES)
def test_three_steps(name):
    kind, options = cases.CASES[name]
    params, optimizer = cases.run(lucid, kind, options)
    for i, value in enumerate(params):
        agree(value, GOLDEN[f"{name}/param.{i}"], kind, f"parameter {i}")
    state = cases.flat_state(optimizer, lucid)
    expected = golden_state(name)
    assert set(state) == set(expected)
    for key, value in expected.items():
        assert state[key].shape == value.shape, key
        agree(state[key], value, kind, key)


@pytest.mark.parametrize("name", cases.CASES)
def test_choices_of_the_loop_change_nothing(name):
    kind, options = cases.CASES[name]
    make = getattr(lucid.optim, kind)
    taken = make.__init__.__code__.co_varnames[: make.__init__.__code__.co_argcount
            + make.__init__.__code__.co_kwonlyargcount]  # fmt: skip
    chosen = {key: True for key in ("foreach", "fused", "capturable") if key in taken}
    if not chosen:
        pytest.skip("has no such option")
    for got, plain in zip(
        cases.run(lucid, kind, {**options, **chosen})[0],
        cases.run(lucid, kind, options)[0],
        strict=True,
    ):
        np.testing.assert_array_equal(got, plain)


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in cases.CASES.values()}))
def test_differentiable_is_refused_by_name(kind):
    make = getattr(lucid.optim, kind)
    if "differentiable" not in make.__init__.__code__.co_varnames:
        pytest.skip("has no such option")
    with pytest.raises(NotImplementedError, match=f"{kind}: differentiable=True"):
        make([lucid.nn.Parameter(lucid.zeros(2, 2))], differentiable=True)


@pytest.mark.parametrize("name", cases.CASES)
def test_a_saved_state_goes_on(name, tmp_path):
    kind, options = cases.CASES[name]
    whole, _ = cases.run(lucid, kind, options)
    half, optimizer = cases.run(lucid, kind, options, steps=range(2))
    lucid.save(optimizer.state_dict(), tmp_path / "state")
    state = lucid.load(tmp_path / "state")
    rest, _ = cases.run(lucid, kind, options, start=half, state=state, steps=range(2, 3))
    for got, expected in zip(rest, whole, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("optimizer", cases.OPTIMIZERS)
@pytest.mark.parametrize("name", cases.SCHEDULERS)
def test_schedulers(name, optimizer):
    found, scheduler = cases.rates(lucid, name, optimizer)
    np.testing.assert_allclose(found, GOLDEN[f"{name}/{optimizer}/rates"], rtol=1e-12, atol=1e-12)
    state = copy.deepcopy(scheduler.state_dict())
    assert "optimizer" not in state
    scheduler.load_state_dict(state)


def test_chained_schedulers_multiply():
    optimizer = lucid.optim.SGD([lucid.nn.Parameter(lucid.zeros(1))], lr=1.0)
    lr = lucid.optim.lr_scheduler
    chained = lr.ChainedScheduler([lr.ExponentialLR(optimizer, 0.5), lr.StepLR(optimizer, 2, 0.1)])
    seen = []
    for _ in range(3):
        optimizer.step()
        chained.step()
        seen.append(chained.get_last_lr()[0])
    np.testing.assert_allclose(seen, [0.5, 0.025, 0.0125])
    chained.load_state_dict(chained.state_dict())
    with pytest.raises(ValueError, match="ReduceLROnPlateau"):
        lr.ChainedScheduler([lr.ReduceLROnPlateau(optimizer)])


def test_restarts_go_to_a_fraction():
    optimizer = lucid.optim.SGD([lucid.nn.Parameter(lucid.zeros(1))], lr=1.0)
    scheduler = lucid.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, T_mult=2)
    optimizer.step()
    scheduler.step(4.0)  # the second wave, 2 of 4 epochs in
    np.testing.assert_allclose(scheduler.get_last_lr(), [0.5])


@pytest.mark.parametrize("name", cases.CASES)
def test_states_are_exchanged_with_pytorch(name):
    """Two steps in one library, the third in the other, both ways."""
    torch = pytest.importorskip("torch")
    kind, options = cases.CASES[name]
    for first, second in ((torch, lucid), (lucid, torch)):
        start, optimizer = cases.run(first, kind, options, steps=range(2))
        state = _converted(copy.deepcopy(optimizer.state_dict()), first, second)
        got, _ = cases.run(second, kind, options, start=start, state=state, steps=range(2, 3))
        for i, value in enumerate(got):
            agree(value, GOLDEN[f"{name}/param.{i}"], kind, f"{first.__name__}, parameter {i}")


def _converted(value, source, target):
    if isinstance(value, source.Tensor):
        return target.tensor(value.detach().numpy())
    if isinstance(value, dict):
        return {k: _converted(v, source, target) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_converted(v, source, target) for v in value)
    return value


def test_average_of_models():
    models = [lucid.nn.Linear(2, 2) for _ in range(3)]
    averaged = lucid.optim.swa_utils.AveragedModel(models[0])
    moving = lucid.optim.swa_utils.AveragedModel(
        models[0], multi_avg_fn=lucid.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    by_one = lucid.optim.swa_utils.AveragedModel(
        models[0], avg_fn=lucid.optim.swa_utils.get_ema_avg_fn(0.9)
    )
    for model in models:
        for each in (averaged, moving, by_one):
            each.update_parameters(model)
    weights = [m.weight.detach().numpy() for m in models]
    np.testing.assert_allclose(averaged.module.weight.detach().numpy(), np.mean(weights, 0), 1e-5)
    ema = weights[0]
    for w in weights[1:]:
        ema = 0.9 * ema + 0.1 * w
    for each in (moving, by_one):
        np.testing.assert_allclose(each.module.weight.detach().numpy(), ema, rtol=1e-5)
    assert averaged.n_averaged.item() == 3
    assert sorted(averaged.state_dict()) == ["module.bias", "module.weight", "n_averaged"]
    with pytest.raises(AssertionError, match="Only one"):
        lucid.optim.swa_utils.AveragedModel(models[0], avg_fn=max, multi_avg_fn=max)


def test_update_bn():
    model = lucid.nn.Sequential(lucid.nn.BatchNorm1d(3), lucid.nn.Linear(3, 1))
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((8, 3)).astype(np.float32) for _ in range(4)]
    model.eval()
    lucid.optim.swa_utils.update_bn([(lucid.tensor(b), None) for b in batches], model)
    expected = np.mean([b.mean(0) for b in batches], 0)
    np.testing.assert_allclose(model[0].running_mean.numpy(), expected, rtol=1e-4, atol=1e-6)
    assert model[0].momentum == 0.1 and not model.training


def test_lbfgs_needs_a_closure_and_one_group():
    p, q = (lucid.nn.Parameter(lucid.zeros(2)) for _ in range(2))
    with pytest.raises(ValueError, match="parameter groups"):
        lucid.optim.LBFGS([{"params": [p]}, {"params": [q]}])
    with pytest.raises(TypeError, match="closure"):
        lucid.optim.LBFGS([p]).step()
    with pytest.raises(RuntimeError, match="strong_wolfe"):
        lucid.optim.LBFGS([p], line_search_fn="armijo")


def test_lbfgs_finds_the_minimum():
    p = lucid.nn.Parameter(lucid.tensor([-1.2, 1.0], dtype=lucid.float64))
    options = dict(max_iter=100, line_search_fn="strong_wolfe", tolerance_change=1e-15)
    optimizer = lucid.optim.LBFGS([p], **options)

    def closure():
        optimizer.zero_grad()
        loss = 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    np.testing.assert_allclose(p.detach().numpy(), [1.0, 1.0], atol=1e-5)


def test_muon_takes_matrices_only():
    with pytest.raises(ValueError, match="2D parameters"):
        lucid.optim.Muon([lucid.nn.Parameter(lucid.zeros(3))])


def test_parameters_that_are_views_of_one_storage():
    """Rows that share bytes are updated one by one, with the same result."""
    values, grads = cases.inputs("Adam")
    both = lucid.tensor(np.stack([values[1], values[1]]))
    params = [lucid.nn.Parameter(both[0]), lucid.nn.Parameter(both[1])]
    optimizer = lucid.optim.NAdam(params)
    for p in params:
        p.grad = lucid.tensor(grads[0][1])
    optimizer.step()
    alone = lucid.nn.Parameter(lucid.tensor(values[1]))
    alone.grad = lucid.tensor(grads[0][1])
    lucid.optim.NAdam([alone]).step()
    for p in params:
        np.testing.assert_allclose(p.detach().numpy(), alone.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "NAdam", "RMSprop", "Rprop", "ASGD", "Adadelta"])
def test_complex_parameters_are_pairs(kind):
    rng = np.random.default_rng(1)
    values, *grads = (rng.standard_normal((4, 3, 2)).astype(np.float32) for _ in range(4))
    pair = lucid.nn.Parameter(lucid.tensor(values))
    whole = lucid.nn.Parameter(lucid.view_as_complex(lucid.tensor(values)))
    for p in (pair, whole):
        optimizer = getattr(lucid.optim, kind)([p], lr=0.1)
        for g in grads:
            p.grad = lucid.tensor(g) if p is pair else lucid.view_as_complex(lucid.tensor(g))
            optimizer.step()
    np.testing.assert_array_equal(lucid.view_as_real(whole.detach()).numpy(), pair.detach().numpy())
