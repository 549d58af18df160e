"""Small kernels in one parallel region: the bits are those without it, and so is what is left after
an error, in another process, and with several Python threads."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.compiler import regions
from lucid.config import settings
from lucid.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def restored():
    passes, threads, debug = settings.passes, lucid.get_num_threads(), settings.debug
    yield
    settings.passes, settings.debug = passes, debug
    lucid.set_num_threads(threads)


@pytest.fixture
def all_pay(monkeypatch):
    """Regions of any size: as large as is worth a second thread, programs of a test are slow."""
    monkeypatch.setattr(regions, "LEAST", 1)
    monkeypatch.setattr(settings, "cache_mb", 0)


def steps_of(compiled, *arguments):
    runner, _ = compiled.find(arguments, {})
    return runner.plan.lowered.steps


def regions_of(compiled, *arguments):
    return [s for s in steps_of(compiled, *arguments) if s.parts]


def raw(tensors):
    return [np.array(x.detach().numpy()).tobytes() for x in tensors]


def training(model, optimizer):
    """A training step, and a scheduler that halves its rate."""

    def step(x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, lucid.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)


def layers(kind, width=24, count=5):
    """A training step of a small network, its model and its arguments."""
    lucid.manual_seed(5)
    parts = []
    for _ in range(count):
        parts += [nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU()]
    model = nn.Sequential(*parts)
    if kind == "adam":
        optimizer = lucid.optim.AdamW(model.parameters(), lr=1e-2)
    else:
        optimizer = lucid.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    step, scheduler = training(model, optimizer)
    generator = np.random.default_rng(0)
    x, y = (lucid.tensor(generator.standard_normal((8, width)).astype("f4")) for _ in range(2))
    return step, model, scheduler, (x, y)


def normalized():
    """A training step of a convolutional network with batch normalization."""
    lucid.manual_seed(6)
    parts = []
    for i in range(4):
        parts += [nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    model = nn.Sequential(*parts)
    optimizer = lucid.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    step, scheduler = training(model, optimizer)
    generator = np.random.default_rng(1)
    x = lucid.tensor(generator.standard_normal((2, 3, 6, 6)).astype("f4"))
    y = lucid.tensor(generator.standard_normal((2, 8, 6, 6)).astype("f4"))
    return step, model, scheduler, (x, y)


PROGRAMS = {"adam": lambda: layers("adam"), "sgd": lambda: layers("sgd"), "bn": normalized}


def trained(program, compiles):
    """Losses, parameters and statistics of three steps at three rates, and the function."""
    step, model, scheduler, arguments = PROGRAMS[program]()
    f = lucid.compile(step) if compiles else step
    found = []
    for _ in range(3):
        found.append(f(*arguments))
        scheduler.step()
    return raw([*found, *model.parameters(), *model.buffers()]), f, arguments


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_training_step(program, all_pay):
    wanted, _, _ = trained(program, False)
    for threads in (1, 2, 4):
        lucid.set_num_threads(threads)
        counts = {}
        for passes in ("-regions", ""):
            settings.passes = passes
            found, f, arguments = trained(program, True)
            assert found == wanted, (threads, passes)
            counts[passes] = len(steps_of(f, *arguments))
            made = regions_of(f, *arguments)
            assert bool(made) == (threads > 1 and not passes)
        if threads > 1:
            inside = sum(len(s.parts) - 1 for s in made)
            assert inside > 8 and counts[""] == counts["-regions"] - inside
            assert all("add_sub" in s.name for s in made[-1:])  # the updates of the optimizer
        else:
            assert counts[""] == counts["-regions"]


def test_the_two_products_of_a_backward_share_a_region():
    lucid.set_num_threads(2)
    lucid.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU())
    x = lucid.randn(64, 64)

    def gradients(x):
        return lucid.autograd.grad(model(x).square().sum(), tuple(model.parameters()))

    wanted = raw(gradients(x))
    f = lucid.compile(gradients)
    assert raw(f(x)) == wanted
    made = regions_of(f, x)
    assert any(sum(p.name.startswith("gemm") for p in s.parts) == 2 for s in made)
    assert f.traces == 1


def test_small_regions_are_left_alone():
    lucid.set_num_threads(2)
    x, y = lucid.ones(64), lucid.ones(32)
    f = lucid.compile(lambda x, y: (x.exp(), y.sin()))
    f(x, y)
    assert not regions_of(f, x, y)


def test_what_depends_on_each_other_stays_in_order(all_pay):
    lucid.set_num_threads(2)

    def f(x, y, z):
        a = x.sum(0)
        b = y.exp()
        x += 1  # read before, and again after
        c = x.sum(1)
        y[2:] = z[1:].sum(1)
        z[0] = c[0]
        return a, b, c, y.sum(), z.sum(0)

    def arguments():
        generator = np.random.default_rng(3)
        shapes = (6, 6), (5,), (4, 7)
        return tuple(lucid.tensor(generator.standard_normal(s).astype("f4")) for s in shapes)

    given = arguments()
    wanted = raw([*f(*given), *given])
    for passes in ("", "-regions"):
        settings.passes = passes
        compiled = lucid.compile(f)
        for _ in range(2):
            given = arguments()
            assert raw([*compiled(*given), *given]) == wanted
        assert bool(regions_of(compiled, *given)) != bool(passes)


def test_an_error_leaves_the_weights(all_pay):
    lucid.set_num_threads(2)
    lucid.manual_seed(0)
    table = nn.Embedding(10, 8)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    every = [*table.parameters(), *model.parameters()]
    optimizer = lucid.optim.Adam(every, lr=1e-2)

    def step(i):
        optimizer.zero_grad()
        loss = model(table(i)).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = lucid.compile(step)
    good, bad = lucid.tensor([1, 2, 3]), lucid.tensor([1, 99, 3])
    compiled(good)
    assert regions_of(compiled, good)
    states = [s for p in every for s in optimizer.state[p].values() if isinstance(s, lucid.Tensor)]
    before = raw([*every, *states])
    with pytest.raises(IndexError):
        compiled(bad)
    assert raw([*every, *states]) == before
    compiled(good)
    assert raw(every) != before[: len(every)]


def test_a_kernel_that_may_fail_is_in_no_region(all_pay):
    lucid.set_num_threads(2)
    f = lucid.compile(lambda x, i, j: (x[i], x[j], x.exp(), x.sin().sum(0)))
    x, i = lucid.randn(7, 5), lucid.tensor([1, 2])
    f(x, i, i)
    inside = [p.name for s in regions_of(f, x, i, i) for p in s.parts]
    assert inside and not any("take" in name for name in inside)
    with pytest.raises(IndexError):
        f(x, i, lucid.tensor([0, 7]))


def test_a_long_region_is_cut(all_pay, monkeypatch):
    monkeypatch.setattr(regions, "MOST", 100)
    lucid.set_num_threads(2)
    wanted, _, _ = trained("adam", False)
    found, f, arguments = trained("adam", True)
    assert found == wanted
    runner, _ = f.find(arguments, {})
    segment = runner.plan.bind()
    assert len(segment.calls) > len(runner.plan.lowered.steps)
    assert max(len(c.words) for s, c in zip(runner.plan.owners, segment.calls, strict=True)
               if runner.plan.lowered.steps[s].parts) < 200  # fmt: skip


def test_who_is_woken_up(monkeypatch):
    lucid.set_num_threads(2)

    def signs(least):
        monkeypatch.setattr(regions, "ROUSE", least)
        settings.cache_mb, before = 0, settings.cache_mb
        _, f, arguments = trained("adam", True)
        settings.cache_mb = before
        runner, _ = f.find(arguments, {})
        plan = runner.plan
        calls = zip(plan.owners, plan.bind().calls, strict=True)
        return [c.words[5] for i, c in calls if plan.lowered.steps[i].parts]

    monkeypatch.setattr(regions, "LEAST", 1)
    count = len(signs(1))
    assert count > 2
    assert signs(1) == [1] * count  # each is worth it
    assert signs(1 << 60) == [-1] * count
    some = signs(100_000)  # the first one, for all of them
    assert some == [1] + [-1] * (count - 1)


def test_eight_threads_run_one_plan(all_pay):
    lucid.set_num_threads(2)
    weights = [lucid.randn(16) for _ in range(12)]

    def f(x):
        return [(x[:, i:] * w[i:]).tanh().sum(0) for i, w in enumerate(weights)]

    compiled = lucid.compile(f)
    inputs = [lucid.randn(16, 16) for _ in range(8)]
    wanted = [raw(f(x)) for x in inputs]
    compiled(inputs[0])
    assert regions_of(compiled, inputs[0])
    wrong = []

    def work(n):
        for _ in range(60):
            if raw(compiled(inputs[n])) != wanted[n]:
                wrong.append(n)

    running = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert not wrong


CHILD = """
import json, numpy as np, lucid
from lucid import nn
from lucid.backend.cpu import compiler
lucid.set_num_threads(2)
lucid.manual_seed(0)
weights = [nn.Parameter(lucid.randn(48, 48)) for _ in range(8)]
for w in weights:
    w.grad = w.detach() * 0.1
optimizer = lucid.optim.Adam(weights, lr=1e-2)
step = lucid.compile(lambda: optimizer.step())
step()
optimizer.param_groups[0]["lr"] = 0.5
step()
runner, _ = step.find((), {})
kept = runner.plan._lowered is None
calls = len(runner.plan.bind().calls)
made = [len(s.parts) for s in runner.plan.lowered.steps]
print(json.dumps([kept, calls, made, [w.detach().numpy().tobytes().hex() for w in weights]]))
"""


def test_kept_on_disk(tmp_path):
    def child():
        environment = {"LUCID_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": ""}
        done = subprocess.run(
            [sys.executable, "-c", CHILD], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first, second = child(), child()
    assert not first[0] and second[0]  # the second process has planned nothing
    assert first[1:] == second[1:]
    assert first[1] == 1 and first[2] == [8]


def test_explain_and_profile(all_pay):
    lucid.set_num_threads(2)
    settings.passes = ""
    step, _, _, arguments = layers("adam")
    compiled = lucid.compile(step)
    report = lucid.explain(compiled, *arguments)
    made = [k for k in report.kernels if k.text.startswith("side by side:")]
    updates = made[-1]
    assert " x " in updates.name and updates.family == "optimizers"
    assert "of these:\nkernel" in updates.text and updates.flops > 0 and updates.bytes > 0
    with lucid.count_flops() as together:
        compiled(*arguments)
    settings.passes = "-regions"
    step, _, _, arguments = layers("adam")
    other = lucid.compile(step)
    report = lucid.explain(other, *arguments)
    with lucid.count_flops() as apart:
        other(*arguments)
    assert together.by_kernel == apart.by_kernel
    settings.passes = ""
    with lucid.profile() as p:
        compiled(*arguments)
    assert "(5 add_sub side by side)" in p.events[-1].name.split(" + ")


def test_the_pass_has_a_name():
    settings.passes = "-region"
    with pytest.raises(ValueError, match="regions"):
        lucid.compile(lambda x: x + 1)(lucid.ones(3))
