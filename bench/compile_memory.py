"""Memory and first calls of compiled programs, each in a process of its own.

python bench/compile_memory.py [--frameworks lucid,lucid+compiled,torch,torch+compiled]

Peak: growth of the resident set over three calls, from after the model is made. For Lucid also the
bytes of the plan's arena beside the largest live set, which no plan can do with less. First: the
first call, and the second, in seconds; Lucid's machine code is in its cache for `warm`.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

from harness import labels, load, run_process
from models import encoder, gpt

CASES = ("GPT step", "encoder forward")


def program(t, name):
    t.manual_seed(0)
    if name == "encoder forward":
        model = encoder(t).eval()

        def forward(x):
            with t.no_grad():
                return model(x)

        return forward, (t.ones(8, 128, 384),)
    model = gpt(t)
    optimizer = t.optim.AdamW(model.parameters(), lr=1e-3)

    def step(x, y):
        optimizer.zero_grad()
        loss = t.nn.functional.cross_entropy(model(x).view(-1, 512), y.view(-1))
        loss.backward()
        optimizer.step()
        return loss

    return step, tuple(labels(t, 512, 512, seed=s).view(4, 128) for s in (0, 1))


def resident() -> float:
    """MiB, the most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(framework: str, name: str) -> dict:
    t = load(framework, 1)
    f, arguments = program(t, name)
    if framework.endswith("+compiled"):
        f = t.compile(f)
    before, seconds = resident(), []
    for _ in range(4):
        start = time.perf_counter()
        f(*arguments)
        seconds.append(time.perf_counter() - start)
    row = {"peak MiB": round(resident() - before, 1)}
    row |= {f"call {i + 1} s": round(s, 3) for i, s in enumerate(seconds)}
    if framework == "lucid+compiled":
        report = t.explain(f, *arguments)
        row["arena MiB"] = round(report.arena / 2**20, 2)
        row["least MiB"] = round(report.least / 2**20, 2)
        row["arena / least"] = round(report.arena / max(report.least, 1), 3)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frameworks", default="lucid,lucid+compiled,torch,torch+compiled")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(*options.worker)))
        return
    for name in CASES:
        for framework in options.frameworks.split(","):
            arguments = [str(Path(__file__).resolve()), "--worker", framework, name]
            for again in ("cold or warm", "warm")[: 2 if framework == "lucid+compiled" else 1]:
                found = json.loads(run_process(arguments, 1).splitlines()[-1])
                print(f"{name:16} {framework:16} {again:12} {found}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
