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
    ProgramPlan._restore = lambda self, name: kept.append(restore(self, name)) or kept[-1]

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


def outcome(folder, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
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
