"""lucid.compile(fullgraph=False): what cannot be traced runs in Python, with eager's bits."""

import threading

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid import nn
from lucid.error import TraceError
from tests.compiled import agree as compare
from tests.compiled import bits, made


def agree(function, make, calls=3):
    compiled = lucid.compile(function, fullgraph=False)
    compare(function, compiled, make, calls)
    return compiled


def test_what_can_be_traced_is_one_plan():
    compiled = agree(lambda x: (x * 2).relu().sum(), made((3,)))
    assert compiled.traces == 2 and not compiled.broken


LOG: list = []


def note(y):
    LOG.append(round(y.mean().item(), 3))


def through_numpy(y):
    return lucid.from_numpy(np.sort(y.detach().numpy(), axis=-1)) + y


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.seen = 0
        self.largest = None

    def forward(self, x):
        h = self.drop(self.norm(self.first(x)).relu())
        self.seen += len(x)
        self.largest = h.max()
        if self.largest > 2.5:
            h = h / self.largest
        note(h)
        return self.last(h)


def branches(x, w):
    y = x * w + x
    if y.sum() > 0:
        y = y * 2
    while y.abs().max() > 0.5:
        y = y * 0.6 - 0.01 * w
    return y, int((y > 0).sum())


def in_place(x, w):
    y = x + w
    z = y[0]
    y.mul_(2)
    a = y.detach().numpy()
    z = z + 1
    with lucid.no_grad():
        b = float(a.sum())
        y.add_(x)
        c = float(a.sum())
        w.detach().add_(1)
        w[0].mul_(c)
    return z, b, c, x.t() * 2, y


def views(x, w):
    y = (x * w).t()
    note(y)
    a, b = y[1:], y.reshape(-1)[::2]
    note(a)
    return a * b.sum(), y.flatten() * 2, (y.expand(2, *y.shape) + a.sum()).contiguous(), x[1], y[0]


def slope(x, w):
    with lucid.enable_grad():
        y = ((x * w).sin() ** 2).sum()
    return lucid.autograd.grad(y, x, create_graph=lucid.is_grad_enabled())[0]


PROGRAMS = {
    "prints": lambda x, w: (print(x[0, 0]), (x * w).sin())[1],
    "numpy": lambda x, w: through_numpy(x * w).sum(0) * w,
    "branches": branches,
    "in place": in_place,
    "views": views,
    "nonzero": lambda x, w: x[(x * w) > 0].sum() * lucid.nonzero(x * w).shape[0] * w,
    "random": lambda x, w: (F.dropout(x * lucid.rand(3, 4)), note(w), lucid.randn(2) * w[0, 0]),
    "both": lambda x, w: [note(x), x @ w.t(), x, w.detach(), 3, None, {"a": w * x}],
    "complex": lambda x, w: (lucid.fft.fft(x * w).abs() * w.sum().item()),
    "cond": lambda x, w: (note(x), lucid.cond(x.sum() > 0, lambda: x * w, lambda: x - w))[1],
    "scan": lambda x, w: (note(x), lucid.scan(lambda c, r: (c * r, c), w[0], x))[1],
    "dtypes": lambda x, w: (note(x), (x.double() * 2).long(), x.view(lucid.int32) + 1, x * 2),
    "grad inside": lambda x, w: (note(x), slope(x, w) * w)[1],
    "long": lambda x, w: (note(x), sum([x * i + w for i in range(400)]))[1],
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name, capsys):
    compiled = agree(PROGRAMS[name], made((3, 4), (3, 4)))
    assert compiled.broken and compiled.traces == 0
    if name == "prints":
        lines = capsys.readouterr().out.splitlines()
        assert lines and lines == [line for line in lines if "tensor" in line]


def test_a_training_step():
    def build(compiled):
        lucid.manual_seed(0)
        model = Model()
        optimizer = lucid.optim.AdamW(model.parameters(), 0.05)
        scheduler = lucid.optim.lr_scheduler.StepLR(optimizer, 2)

        def step(x, t):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), t)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            if norm.item() < 100:
                optimizer.step()
            scheduler.step()
            return loss.item(), norm, optimizer.param_groups[0]["lr"]

        if compiled:
            step = lucid.compile(step, fullgraph=False)
        return step, model, optimizer

    (eager, a, p), (step, b, q) = build(False), build(True)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = lucid.tensor(rng.normal(size=(5, 4)).astype(np.float32))
        t = lucid.tensor(rng.integers(0, 2, 5))
        LOG.clear()
        lucid.manual_seed(seed)
        want = [bits(y) for y in eager(x, t)]
        lucid.manual_seed(seed)
        assert [bits(y) for y in step(x, t)] == want
        assert LOG[: len(LOG) // 2] == LOG[len(LOG) // 2 :] and LOG
        assert a.seen == b.seen and bits(a.largest) == bits(b.largest)
        for u, v in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
            assert bits(u) == bits(v)
        for u, v in zip(a.parameters(), b.parameters(), strict=True):
            assert bits(u.grad) == bits(v.grad)
        assert str(p.state_dict()["param_groups"]) == str(q.state_dict()["param_groups"])


def test_a_compiled_model_in_pieces():
    def run(compiled):
        lucid.manual_seed(0)
        model = Model().eval()
        if compiled:
            model = lucid.compile(model, fullgraph=False)
        x = lucid.tensor(np.arange(12, dtype=np.float32).reshape(3, 4) / 9, requires_grad=True)
        y = model(x)
        y.sum().backward(retain_graph=True)
        y.sum().backward()
        return [bits(t) for t in (y, x.grad, *[p.grad for p in model.parameters()])]

    assert run(True) == run(False)


def test_plans_are_found_again():
    from lucid.compiler import pending

    f = lucid.compile(lambda x, k: (note(x * k), (x * k + 1).sin())[1], fullgraph=False)
    x = lucid.ones(37)
    f(x, 1.0)
    known = len(pending._segments)
    for k in (2.0, 3.0, 4.0):
        assert bits(f(x, k)) == bits((x * k + 1).sin())
    assert len(pending._segments) == known


def test_python_sees_the_present_state():
    scale = [2.0]
    f = lucid.compile(lambda x: (note(x), x * scale[0])[1], fullgraph=False)
    assert f(lucid.ones(1)).item() == 2.0
    scale[0] = 5.0
    assert f(lucid.ones(1)).item() == 5.0


def test_compiled_functions_inside_run_as_plans_of_their_own():
    inner = lucid.compile(lambda x: (x * 3).cos())
    f = lucid.compile(lambda x: (note(x), inner(x + 1) * 2)[1], fullgraph=False)
    x = lucid.rand(5)
    assert bits(f(x)) == bits(((x + 1) * 3).cos() * 2)
    assert inner.traces == 1


def test_errors_come_with_their_line_and_hide_nothing():
    w = lucid.zeros(3)

    def f(x, i):
        w.add_(1)
        note(w)
        y = x * 2
        return y[i]

    compiled = lucid.compile(f, fullgraph=False)
    assert compiled(lucid.ones(3), lucid.tensor([0, 2])).tolist() == [2.0, 2.0]
    with pytest.raises(IndexError, match="7.*test_compile_pieces.py"):
        compiled(lucid.ones(3), lucid.tensor([0, 7]))
    assert w.tolist() == [2.0] * 3

    def caught(x, i):
        y = x * 2
        try:
            return x[i].sum().item()
        except IndexError:
            return y

    compiled = lucid.compile(caught, fullgraph=False)
    assert compiled(lucid.ones(3), lucid.tensor([2])) == 1.0
    with pytest.raises(TraceError, match="was caught there"):
        compiled(lucid.ones(3), lucid.tensor([9]))

    def own(x):
        w.fill_(7)
        note(x)
        w.mul_(2)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        lucid.compile(own, fullgraph=False)(lucid.ones(2))
    assert w.tolist() == [14.0] * 3


def test_explain_lists_what_runs_in_python():
    f = lucid.compile(lambda x: (note(x * 2 + 1), (x * 3).relu().sum())[1], fullgraph=False)
    report = lucid.explain(f, lucid.ones(100))
    assert report.segments == 2
    assert any("note at " in line and "item" in line for line in report.breaks)
    assert "test_compile_pieces.py" in report.breaks[0]
    assert "note" in str(report) and len(report.kernels) >= 2
    assert all(k.seconds > 0 for k in report.kernels)


def test_threads():
    def f(x, w):
        y = x * w
        if y.sum() > 0:
            y = y + 1
        return (y * y).sin()

    compiled = lucid.compile(f, fullgraph=False)
    cases = [made((50,), (50,), grad=False)(seed) for seed in range(4)]
    want = [bits(f(*c)) for c in cases]
    found = [None] * 4

    def run(i):
        for _ in range(20):
            found[i] = bits(compiled(*cases[i]))
            assert found[i] == want[i]

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert found == want
