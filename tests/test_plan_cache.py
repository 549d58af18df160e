"""Plans on disk: another process takes them over, with the same bits and the same errors."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import json, sys
    import lucid
    from lucid import nn
    from lucid.nn import functional as F
    from lucid.compiler.planned import ProgramPlan

    kept = []
    restore = ProgramPlan._restore
    ProgramPlan._restore = lambda self, *a: kept.append(restore(self, *a)) or kept[-1]

    lucid.manual_seed(0)
    table = nn.Embedding(20, 8)
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 4))
    optimizer = lucid.optim.AdamW([*table.parameters(), *model.parameters()], lr=0.01)
    mask = lucid.ones(20, 20).tril()

    @lucid.compile
    def step(i, y):
        optimizer.zero_grad()
        x = table(i)
        x = (mask[: len(i), : len(i)] + lucid.arange(len(i))) @ x / 100
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    forward = lucid.compile(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    i, y = lucid.arange(20), lucid.arange(20) % 4
    losses = [step(i, y).item() for _ in range(3)]
    x = lucid.ones(2, 4, requires_grad=True)
    forward(x).sum().backward()
    try:
        step(i + 1, y)
        message = ""
    except IndexError as error:
        message = str(error)
    numbers = [p.tolist() for p in model.parameters()] + [x.grad.tolist()]
    print(json.dumps([kept, losses, numbers, message, step.traces]))
"""


CONTROL = """
    import json
    import lucid
    from lucid.compiler.planned import ProgramPlan

    kept = []
    restore = ProgramPlan._restore
    ProgramPlan._restore = lambda self, *a: kept.append(restore(self, *a)) or kept[-1]
    weight = (lucid.arange(12.0).view(3, 4) / 12).requires_grad_()
    optimizer = lucid.optim.Adam([weight], 0.1)

    @lucid.compile
    def step(x, i):
        optimizer.zero_grad()
        def body(c, row):
            def sine(c):
                return (c * weight[i].sum(0)).sin()
            c = lucid.cond(c.sum() > 0, sine, lambda c: c + row, (c,))
            return c + row, c * row
        c, ys = lucid.scan(body, x[0] * 0, x)
        n, c = lucid.while_loop(
            lambda n, c: (c * c).sum() < 40, lambda n, c: (n + 1, c * 1.3 + weight[1]),
            (lucid.tensor(0), c), max_steps=60,
        )
        (c.sum() + ys.sum()).backward()
        optimizer.step()
        return n, c, ys

    found = []
    for k in range(4):
        x = lucid.arange(20.0).view(5, 4) / 20 - 0.4 + 0.1 * k
        found += [y.tolist() for y in step(x, lucid.tensor([k % 3]))] + [weight.tolist()]
    message = ""
    try:
        step(x + 1, lucid.tensor([3]))
    except IndexError as error:
        message = str(error)
    print(json.dumps([kept, found, weight.tolist(), message, step.traces]))
"""


def outcome(folder, program=PROGRAM, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=120,
        env={**os.environ, "LUCID_CACHE_DIR": str(folder), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_second_process_plans_nothing(tmp_path, count):
    first = outcome(tmp_path / "a", LUCID_NUM_THREADS=count)
    second = outcome(tmp_path / "a", LUCID_NUM_THREADS=count)
    assert first[0] == [False] * 3 and second[0] == [True] * 3
    assert first[1:] == second[1:]
    assert "index 20 is out of range" in second[3] and "<string>" in second[3]
    other = outcome(tmp_path / "a", LUCID_NUM_THREADS=count, LUCID_PASSES="-same")
    assert other[0] == [False] * 3 and other[1:] == first[1:]


def test_what_is_damaged_or_gone_is_planned_anew(tmp_path):
    folder = tmp_path / "a"
    first = outcome(folder)
    for i, path in enumerate(sorted(folder.iterdir())):
        if b'{"codes"' in path.read_bytes():
            path.write_bytes(path.read_bytes()[:-7])
        elif i % 2:
            path.unlink()
    second = outcome(folder)
    assert second[0] == [False] * 3 and first[1:] == second[1:]
    assert outcome(folder)[0] == [True] * 3
    assert outcome(folder, LUCID_CACHE_MB="0")[1:] == first[1:]


@pytest.mark.parametrize("count", ["1", "2"])
def test_control_flow_and_what_it_runs_are_taken_over(tmp_path, count):
    first = outcome(tmp_path / "a", CONTROL, LUCID_NUM_THREADS=count)
    second = outcome(tmp_path / "a", CONTROL, LUCID_NUM_THREADS=count)
    assert len(first[0]) > 8 and set(first[0]) == {False}
    assert len(second[0]) == len(first[0]) and set(second[0]) == {True}
    assert first[1:] == second[1:]
    assert "index 3 is out of range" in second[3] and "<string>" in second[3]
    assert (
        outcome(tmp_path / "b", CONTROL, LUCID_NUM_THREADS=count, LUCID_CACHE_MB="0")[1:]
        == (first[1:])
    )


def test_a_part_that_is_gone_is_planned_anew(tmp_path):
    folder = tmp_path / "a"
    first = outcome(folder, CONTROL)
    plans = [p for p in sorted(folder.iterdir()) if b'{"codes"' in p.read_bytes()]
    for path in plans[::2]:
        path.unlink()
    second = outcome(folder, CONTROL)
    assert second[0].count(False) == len(plans[::2]) and first[1:] == second[1:]
    assert set(outcome(folder, CONTROL)[0]) == {True}
