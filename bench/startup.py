"""Starting: import times, the installed size, and the time to the first result of a network.

    python bench/startup.py [--repeats 7] [--json FILE]

Cold is a process with an empty code cache, warm one with a filled cache; both include the start of
Python. The installed size counts the packages that `pip install lucid` brings.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import ROOT, print_table, run_process

NETWORK = """
import {framework} as t
t.manual_seed(0)
nn = t.nn
model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
    nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.4), nn.Linear(256, 10))
x, y = t.rand(64, 1, 8, 8), t.randint(0, 10, (64,))
"""
FORWARD = "model.eval()\nwith t.no_grad(): print(model(x).sum().item())\n"
STEP = """
optimizer = t.optim.Adam(model.parameters())
loss = nn.functional.cross_entropy(model(x), y)
loss.backward()
optimizer.step()
print(loss.item())
"""


# 60 ms where a process that imports NumPy takes 85 ms of processor time above one that does not: a
# machine at half its speed takes twice the time for both, so what is compared is the ratio.
BUDGET = 0.7
INSIDE = """
import time
a = time.process_time()
import numpy
b = time.process_time()
import lucid
print(b - a, time.process_time() - b)
"""


def seconds(code: str, repeats: int, **variables: str) -> float:
    """The median time of a fresh Python process that runs `code`."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run_process(["-c", code], 1, **variables)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def imports(repeats: int) -> list[dict]:
    """Import times, alternating: of the statement, and of processes that import and end, which
    frees it all. Processor time, as an import is one thread's work. First runs are thrown away."""
    programs = {
        "python": "pass",
        "import numpy": "import numpy",
        "import lucid": "import lucid",
        "import lucid, nn, optim": "import lucid; lucid.nn.Linear; lucid.optim.Adam",
    }
    if importlib.util.find_spec("torch"):
        programs["import torch"] = "import torch"
    walls: dict[str, list[float]] = {name: [] for name in programs}
    work: dict[str, list[float]] = {name: [] for name in programs}
    inside: list[list[float]] = []
    for number in range(repeats + 1):
        for name, code in programs.items():
            before = _child_seconds()
            taken = seconds(code, 1)
            if number:
                walls[name].append(taken)
                work[name].append(_child_seconds() - before)
        if number:
            inside.append([float(x) for x in run_process(["-c", INSIDE], 1).split()])
    spent = {name: statistics.median(work[name]) * 1e3 for name in programs}
    unit = spent["import numpy"] - spent["python"]
    numpy, lucid = (statistics.median(column) * 1e3 for column in zip(*inside, strict=True))
    rows = [
        {"what": "statement: import numpy", "processor ms": round(numpy, 1)},
        {
            "what": "statement: import lucid, then",
            "processor ms": round(lucid, 1),
            "of numpy's process": round(lucid / unit, 2),
            "budget": BUDGET,
            "met": "yes" if lucid <= BUDGET * unit else "NO",
        },
    ]
    for name in programs:
        above = spent[name] - spent["import numpy"]
        rows.append({
            "what": f"process: {name}",
            "processor ms": round(spent[name], 1),
            "wall ms": round(statistics.median(walls[name]) * 1e3, 1),
            "above numpy": round(above, 1),
            "of numpy's process": round(above / unit, 2),
        })  # fmt: skip
    return rows


def _child_seconds() -> float:
    """Processor time of all finished child processes."""
    times = os.times()
    return times.children_user + times.children_system


def first_results(repeats: int) -> list[dict]:
    """Python's start to the first result: one forward pass, and one training step."""
    rows = []
    for what, code in {"forward, batch 64": FORWARD, "training step, batch 64": STEP}.items():
        row: dict = {"first result": what}
        program = NETWORK.format(framework="lucid") + code
        cold = []
        with tempfile.TemporaryDirectory() as scratch:
            for number in range(min(3, repeats)):
                cache = str(Path(scratch) / str(number))
                cold.append(seconds(program, 1, LUCID_CACHE_DIR=cache))
            row["lucid cold s"] = round(statistics.median(cold), 3)
            row["lucid warm s"] = round(seconds(program, repeats, LUCID_CACHE_DIR=cache), 3)
        if importlib.util.find_spec("torch"):
            program = NETWORK.format(framework="torch") + code
            row["torch s"] = round(seconds(program, repeats), 3)
        rows.append(row)
    return rows


def requirements() -> set[str]:
    """Lucid's dependencies and theirs, by name; those of extras are left out."""
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)\]", text, re.M | re.S)
    assert listed is not None
    waiting = [_name(x) for x in re.findall(r'"([^"]+)"', listed[1])]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needed = importlib.metadata.requires(name) or []
            waiting += [
                _name(x) for x in needed if "extra ==" not in x and "python_version" not in x
            ]
    return found


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0]


def sizes() -> list[dict]:
    """Megabytes on disk of Lucid and each package that it needs, compiled Python files included."""
    own = sum(p.stat().st_size for p in (ROOT / "lucid").rglob("*") if p.is_file())
    rows = [{"package": "lucid", "MB": round(own / 1e6, 1)}]
    for name in sorted(requirements()):
        files = importlib.metadata.files(name) or []
        paths = {Path(str(f.locate())) for f in files}
        # wheels keep their shared libraries in a directory of their own, which is listed too
        total = sum(p.stat().st_size for p in paths if p.is_file())
        rows.append({"package": name, "MB": round(total / 1e6, 1)})
    total = round(sum(row["MB"] for row in rows), 1)
    met = "yes" if total < 300 else "NO"
    return [*rows, {"package": "together", "MB": total, "budget": 300, "met": met}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    report = {
        "imports": imports(options.repeats),
        "first results": first_results(options.repeats),
        "installed size": sizes(),
    }
    for title, table in report.items():
        print(f"\n{title}")
        print_table(table)
    bare = subprocess.run([sys.executable, "--version"], capture_output=True, text=True)
    print(f"\n{bare.stdout.strip()}, medians of {options.repeats} processes")
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
