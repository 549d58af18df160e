"""Memory: what a forward pass holds with and without no_grad, and whether long runs hold a line.

    python bench/memory.py [--steps 10000] [--json FILE]

An n-layer forward pass under no_grad should hold its largest live set (the input and the output of
one layer), whatever n is; with gradients it holds the sum. The long runs switch Python's cycle
collector off: whatever grows then is a reference cycle or a leak.
"""

import argparse
import gc
import importlib.util
import json
import resource
import sys
from pathlib import Path

from harness import array, labels, print_table, run_process

WIDTH = 1024
BATCH = 512


def forward_passes(t) -> list[dict]:
    """Peak bytes above the weights and the input, in units of one activation."""
    memory = importlib.import_module("lucid.memory")
    activation = BATCH * WIDTH * 4
    rows = []
    for layers in (2, 8, 32):
        modules = []
        for _ in range(layers):
            modules += [t.nn.Linear(WIDTH, WIDTH), t.nn.ReLU()]
        model = t.nn.Sequential(*modules)
        row: dict = {"layers": layers}
        for name, mode in {"gradients": True, "no_grad": False}.items():
            with t.set_grad_enabled(mode):
                x = array(t, BATCH, WIDTH)
                model(x)
                before = memory.stats()["live"]
                memory.reset_peak()
                y = model(x)
                peak = memory.stats()["peak"] - before
                del y
            row[f"{name} MiB"] = round(peak / 2**20, 1)
            row[f"{name} activations"] = round(peak / activation, 2)
        rows.append(row)
    return rows


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def long_runs(t, steps: int) -> list[dict]:
    """Live and resident bytes and Python objects along a run, gc disabled, in five samples."""
    model = t.nn.Sequential(t.nn.Linear(64, 64), t.nn.ReLU(), t.nn.Linear(64, 10))
    optimizer = t.optim.Adam(model.parameters(), lr=1e-3)
    x, y = array(t, 32, 64), labels(t, 32, 10)

    def train():
        optimizer.zero_grad()
        loss = t.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    def request():
        with t.no_grad():
            model(x)

    rows = []
    for name, step in {"training steps": train, "inference requests": request}.items():
        for _ in range(200):
            step()
        gc.collect()
        gc.disable()
        samples = []
        for number in range(steps):
            if number % (steps // 5) == 0:
                samples.append(_sample(t))
            step()
        samples.append(_sample(t))
        gc.enable()
        first, last = samples[0], samples[-1]
        flat = last["live"] == first["live"] and last["objects"] - first["objects"] < 100
        rows.append({
            "run": f"{steps} {name}",
            "live KiB": " ".join(f"{s['live'] / 1024:.1f}" for s in samples),
            "resident MiB": " ".join(f"{s['resident'] / 2**20:.1f}" for s in samples),
            "objects": " ".join(str(s["objects"]) for s in samples),
            "flat": "yes" if flat else "NO",
        })  # fmt: skip
    return rows


def _sample(t) -> dict:
    live = 0
    if t.__name__ == "lucid":
        live = importlib.import_module("lucid.memory").stats()["live"]
    return {"live": live, "resident": resident(), "objects": len(gc.get_objects())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--json", default="")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        t = importlib.import_module(options.worker)
        report = {"long runs": long_runs(t, options.steps)}
        if options.worker == "lucid":
            report["forward passes"] = forward_passes(t)
        print(json.dumps(report))
        return
    program = str(Path(__file__).resolve())
    reports = {}
    for name in ("lucid", "torch"):
        if importlib.util.find_spec(name):
            arguments = [program, "--worker", name, "--steps", str(options.steps)]
            reports[name] = json.loads(run_process(arguments, 1).splitlines()[-1])
            for title, table in reports[name].items():
                print(f"\n{name}: {title}")
                print_table(table)
    if options.json:
        Path(options.json).write_text(json.dumps(reports, indent=1))
    flat = all(row["flat"] == "yes" for row in reports["lucid"]["long runs"])
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
