"""Learning-rate schedulers: closed forms, resuming, combination, warnings, PyTorch."""

import math
import warnings

import pytest

import lucid
from lucid import nn, optim
from lucid.optim import lr_scheduler as lrs


def make_optimizer(library=lucid, rates=(1.0, 0.5)):
    groups = [{"params": [library.nn.Parameter(library.zeros(1))], "lr": rate} for rate in rates]
    return library.optim.SGD(groups)


def run(scheduler, optimizer, epochs):
    """The rates of the first group, from epoch 0."""
    seen = [optimizer.param_groups[0]["lr"]]
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
        seen.append(optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
    return seen


CASES = {
    "lambda": (lambda L, o: L.LambdaLR(o, lambda e: 1 / (e + 1)), lambda e: 1 / (e + 1)),
    "multiplicative": (lambda L, o: L.MultiplicativeLR(o, lambda e: 0.9), lambda e: 0.9**e),
    "step": (lambda L, o: L.StepLR(o, 3, gamma=0.5), lambda e: 0.5 ** (e // 3)),
    "multistep": (
        lambda L, o: L.MultiStepLR(o, [2, 5, 5], gamma=0.5),
        lambda e: 0.5 ** ((e >= 2) + 2 * (e >= 5)),
    ),
    "exponential": (lambda L, o: L.ExponentialLR(o, 0.9), lambda e: 0.9**e),
    "constant": (lambda L, o: L.ConstantLR(o, 0.5, 3), lambda e: 0.5 if e < 3 else 1.0),
    "linear": (
        lambda L, o: L.LinearLR(o, 0.25, 0.75, total_iters=4),
        lambda e: 0.25 + 0.5 * min(e, 4) / 4,
    ),
    "cosine": (
        lambda L, o: L.CosineAnnealingLR(o, 5, eta_min=0.1),
        lambda e: 0.1 + 0.9 * (1 + math.cos(math.pi * e / 5)) / 2,
    ),
}


@pytest.mark.parametrize("build, formula", CASES.values(), ids=CASES)
def test_closed_form(build, formula):
    optimizer = make_optimizer()
    seen = run(build(lrs, optimizer), optimizer, 14)
    assert seen == pytest.approx([formula(e) for e in range(15)], abs=1e-12)


@pytest.mark.parametrize("build", [case[0] for case in CASES.values()], ids=CASES)
def test_equals_pytorch_and_resumes(build):
    torch = pytest.importorskip("torch")
    theirs = make_optimizer(torch)
    expected = run(build(torch.optim.lr_scheduler, theirs), theirs, 12)
    ours = make_optimizer()
    scheduler = build(lrs, ours)
    first = run(scheduler, ours, 5)
    again = make_optimizer()
    resumed = build(lrs, again)
    again.load_state_dict(ours.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert first[:-1] + run(resumed, again, 7) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["step", "exponential", "cosine", "linear", "multistep"])
def test_resuming_by_last_epoch(name):
    build = {
        "step": lambda o, e: lrs.StepLR(o, 3, last_epoch=e),
        "exponential": lambda o, e: lrs.ExponentialLR(o, 0.9, last_epoch=e),
        "cosine": lambda o, e: lrs.CosineAnnealingLR(o, 5, last_epoch=e),
        "linear": lambda o, e: lrs.LinearLR(o, total_iters=9, last_epoch=e),
        "multistep": lambda o, e: lrs.MultiStepLR(o, [2, 6], last_epoch=e),
    }[name]
    with pytest.raises(KeyError, match="initial_lr"):
        build(make_optimizer(), 3)
    torch = pytest.importorskip("torch")
    theirs_build = {
        "step": lambda o, e: torch.optim.lr_scheduler.StepLR(o, 3, last_epoch=e),
        "exponential": lambda o, e: torch.optim.lr_scheduler.ExponentialLR(o, 0.9, last_epoch=e),
        "cosine": lambda o, e: torch.optim.lr_scheduler.CosineAnnealingLR(o, 5, last_epoch=e),
        "linear": lambda o, e: torch.optim.lr_scheduler.LinearLR(o, total_iters=9, last_epoch=e),
        "multistep": lambda o, e: torch.optim.lr_scheduler.MultiStepLR(o, [2, 6], last_epoch=e),
    }[name]
    rates = []
    for library, make in ((lucid, build), (torch, theirs_build)):
        optimizer = make_optimizer(library)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        rates.append(run(make(optimizer, 3), optimizer, 6))
    assert rates[0] == pytest.approx(rates[1], rel=1e-12)


def test_schedulers_multiply():
    optimizer = make_optimizer()
    a, b = lrs.ExponentialLR(optimizer, 0.5), lrs.StepLR(optimizer, 2, gamma=0.1)
    for _ in range(4):
        optimizer.step()
        a.step()
        b.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5**4 * 0.1**2)


def sequential(library, optimizer):
    L = library.optim.lr_scheduler
    parts = [
        L.LinearLR(optimizer, 0.1, total_iters=3),
        L.StepLR(optimizer, 2, gamma=0.5),
        L.CosineAnnealingLR(optimizer, 4),
    ]
    return L.SequentialLR(optimizer, parts, milestones=[3, 7])


def test_sequential():
    optimizer = make_optimizer()
    seen = run(sequential(lucid, optimizer), optimizer, 11)
    cosine = [(1 + math.cos(math.pi * e / 4)) / 2 for e in range(5)]
    assert seen == pytest.approx([0.1, 0.4, 0.7, 1, 1, 0.5, 0.5, *cosine], abs=1e-12)


def test_sequential_resumes():
    whole = make_optimizer()
    expected = run(sequential(lucid, whole), whole, 10)
    optimizer = make_optimizer()
    scheduler = sequential(lucid, optimizer)
    run(scheduler, optimizer, 5)
    again = make_optimizer()
    resumed = sequential(lucid, again)
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert run(resumed, again, 5) == pytest.approx(expected[5:], rel=1e-12)


def test_sequential_refuses():
    optimizer = make_optimizer()
    step = lrs.StepLR(optimizer, 1)
    for parts, milestones, message in [
        ([], [], "at least one"),
        ([step], [3], "one more"),
        ([step, lrs.ReduceLROnPlateau(optimizer)], [3], "ReduceLROnPlateau"),
        ([step, lrs.StepLR(make_optimizer(), 1)], [3], "same optimizer"),
    ]:
        with pytest.raises(ValueError, match=message):
            lrs.SequentialLR(optimizer, parts, milestones)


def test_plateau_by_hand():
    optimizer = make_optimizer()
    scheduler = lrs.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=1, cooldown=2, min_lr=[0.2, 0.4]
    )
    seen = []
    for loss in [3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]:
        scheduler.step(lucid.tensor(float(loss)))
        seen.append(optimizer.param_groups[0]["lr"])
    # bad epochs 3 and 4 reduce; 5 and 6 are cooldown; 7 and 8 reduce; ...
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2]
    assert scheduler.get_last_lr() == [0.2, 0.4]


PLATEAUS = [
    dict(),
    dict(mode="max"),
    dict(threshold_mode="abs", threshold=0.3),
    dict(mode="max", threshold_mode="abs", threshold=0.3, cooldown=1),
    dict(threshold=0.2, min_lr=0.3),
]


@pytest.mark.parametrize("options", PLATEAUS)
def test_plateau_equals_pytorch(options):
    torch = pytest.importorskip("torch")
    losses = [5, 4.5, 4.6, 4.4, 4.7, 4.1, 4.2, 4.3, 6, 7, -1, -1.1, -0.9, -1.2, -1, -1, 8, 9]
    seen = []
    for library in (lucid, torch):
        optimizer = make_optimizer(library)
        scheduler = library.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=1, **options
        )
        rates = []
        for loss in losses:
            scheduler.step(loss)
            rates.append(optimizer.param_groups[0]["lr"])
        seen.append(rates)
    assert seen[0] == seen[1]


def test_plateau_resumes_and_refuses():
    optimizer = make_optimizer()
    scheduler = lrs.ReduceLROnPlateau(optimizer, "max", patience=0)
    scheduler.step(1.0)
    other = lrs.ReduceLROnPlateau(make_optimizer())
    other.load_state_dict(scheduler.state_dict())
    assert other.best == 1.0 and other.mode == "max"
    for options, message in [
        (dict(factor=1.0), "Factor"),
        (dict(mode="up"), "mode up"),
        (dict(threshold_mode="x"), "threshold mode x"),
        (dict(min_lr=[0.1]), "expected 2 min_lrs"),
    ]:
        with pytest.raises(ValueError, match=message):
            lrs.ReduceLROnPlateau(make_optimizer(), **options)


def test_wrong_arguments():
    optimizer = make_optimizer()
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        lrs.StepLR(3, 1)
    with pytest.raises(ValueError, match="Expected 2 lr_lambdas"):
        lrs.LambdaLR(optimizer, [lambda e: 1])
    with pytest.raises(ValueError, match="Starting multiplicative"):
        lrs.LinearLR(optimizer, start_factor=0)
    with pytest.raises(ValueError, match="Ending multiplicative"):
        lrs.LinearLR(optimizer, end_factor=2)
    with pytest.raises(ValueError, match="Constant multiplicative"):
        lrs.ConstantLR(optimizer, factor=2)
    with pytest.raises(NotImplementedError, match="get_lr"):
        lrs.LRScheduler(optimizer)


def test_warnings():
    optimizer = make_optimizer()
    scheduler = lrs.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    with pytest.warns(UserWarning, match="deprecated"):
        scheduler.step(4)
    assert scheduler.get_last_lr() == pytest.approx([1e-4, 0.5e-4])
    optimizer = make_optimizer()
    scheduler = lrs.StepLR(optimizer, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(scheduler, optimizer, 3)


def test_a_rate_that_is_a_tensor_is_changed_in_place():
    rate = lucid.tensor(1.0)
    optimizer = optim.SGD([nn.Parameter(lucid.zeros(1))], lr=rate)
    scheduler = lrs.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == 0.5
    assert scheduler.base_lrs[0].item() == 1.0


class Factor:
    def __init__(self, value):
        self.value = value

    def __call__(self, epoch):
        return self.value


def test_callable_objects_are_saved():
    optimizer = make_optimizer()
    scheduler = lrs.LambdaLR(optimizer, [Factor(2.0), lambda e: 3.0])
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{"value": 2.0}, None] and "optimizer" not in state
    other = lrs.LambdaLR(make_optimizer(), [Factor(5.0), lambda e: 4.0])
    other.load_state_dict(state)
    assert [f(0) for f in other.lr_lambdas] == [2.0, 4.0]
