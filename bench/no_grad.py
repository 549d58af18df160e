"""What no_grad saves: time and peak memory of the same forward pass with and without gradients.

    python bench/no_grad.py [--threads 2] [--rounds 3] [--json FILE] [--page docs/no_grad.md]

An MLP, a CNN and a transformer run in alternating rounds in both modes, and their results are
compared bit by bit. PyTorch, where it is installed, runs the same text in a process of its own (it
keeps no count of its memory on the CPU). `--page` puts Lucid's rows where the page has its markers.
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import array, load, print_table, run_process, seconds_per_call

BEGIN, END = "<!-- table: bench/no_grad.py -->", "<!-- end of table -->"


def mlp(t: Any) -> tuple[Any, Any]:
    """Sixteen layers of 1024: little but matrix products."""
    layers: list[Any] = []
    for _ in range(16):
        layers += [t.nn.Linear(1024, 1024), t.nn.ReLU()]
    return t.nn.Sequential(*layers), array(t, 256, 1024)


def cnn(t: Any) -> tuple[Any, Any]:
    """Six 3x3 convolutions with batch normalisation on images of 32x32."""
    layers: list[Any] = []
    channels = 3
    for wide in (32, 32, 64, 64, 128, 128):
        layers += [t.nn.Conv2d(channels, wide, 3, padding=1), t.nn.BatchNorm2d(wide), t.nn.ReLU()]
        if channels == wide:
            layers.append(t.nn.MaxPool2d(2))
        channels = wide
    layers += [t.nn.AdaptiveAvgPool2d(1), t.nn.Flatten(), t.nn.Linear(128, 10)]
    return t.nn.Sequential(*layers).eval(), array(t, 32, 3, 32, 32)


def transformer(t: Any) -> tuple[Any, Any]:
    """Four pre-norm blocks, width 256, four heads, eight sequences of 128 tokens."""
    functional = t.nn.functional

    class Block(t.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, width: int, heads: int):
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = t.nn.LayerNorm(width), t.nn.LayerNorm(width)
            self.qkv, self.out = t.nn.Linear(width, 3 * width), t.nn.Linear(width, width)
            self.up, self.down = t.nn.Linear(width, 4 * width), t.nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            B, T, C = x.shape
            q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)  # (B, T, C) each
            q, k, v = [a.view(B, T, self.heads, C // self.heads).transpose(1, 2) for a in (q, k, v)]
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, C/H)
            x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    return t.nn.Sequential(*[Block(256, 4) for _ in range(4)]), array(t, 8, 128, 256)


MODELS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "MLP": mlp,
    "CNN": cnn,
    "transformer": transformer,
}


def measure(t: Any, make: Callable[[Any], tuple[Any, Any]], rounds: int) -> dict[str, Any]:
    """Median milliseconds, and for Lucid peak MiB above weights and input, in both modes."""
    t.manual_seed(0)
    model, x = make(t)
    times: dict[bool, list[float]] = {True: [], False: []}
    found: dict[str, Any] = {}
    results = {}
    for enabled in (True, False):
        with t.set_grad_enabled(enabled):
            y = model(x)  # compiles what has to be compiled
            results[enabled] = y.detach().numpy().tobytes()
            del y
            if t.__name__ == "lucid":
                memory = importlib.import_module("lucid.memory")
                before = memory.stats()["live"]
                memory.reset_peak()
                y = model(x)
                found[f"peak {enabled}"] = (memory.stats()["peak"] - before) / 2**20
                del y
    for number in range(20 * rounds):
        enabled = number % 2 == 0  # call by call, so that what else the machine does hits both
        with t.set_grad_enabled(enabled):
            start = time.perf_counter()
            y = model(x)
            times[enabled].append(time.perf_counter() - start)
        del y
    found["same bits"] = results[True] == results[False]
    for enabled, taken in times.items():
        found[f"time {enabled}"] = statistics.median(taken) * 1e3
    return found


def block_cost(t: Any) -> float:
    """Nanoseconds of entering and leaving one no_grad block."""
    no_grad = t.no_grad

    def enter_and_leave() -> None:
        with no_grad():
            pass

    return seconds_per_call(enter_and_leave) * 1e9


def rows(found: dict[str, Any]) -> list[dict[str, str]]:
    """The table: one row a model, times and peaks in both modes, and what no_grad saves."""
    table = []
    for name in MODELS:
        for framework in found:
            f = found[framework][name]
            on, off = f["time True"], f["time False"]
            row = {
                "forward pass": name,
                "framework": framework,
                "ms, gradients on": f"{on:.2f}",
                "ms, no_grad": f"{off:.2f}",
                "time saved": f"{100 * (1 - off / on):.0f} %",
            }
            if "peak True" in f:
                on, off = f["peak True"], f["peak False"]
                row |= {
                    "peak MiB, gradients on": f"{on:.1f}",
                    "peak MiB, no_grad": f"{off:.1f}",
                    "memory saved": f"{100 * (1 - off / on):.0f} %",
                    "same bits": "yes" if f["same bits"] else "NO",
                }
            table.append(row)
    return table


def markdown(table: list[dict[str, str]], note: str) -> str:
    columns = list(dict.fromkeys(key for row in table for key in row))
    lines = [columns, ["---"] * len(columns), *[[r.get(c, "-") for c in columns] for r in table]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n\n" + note


def put(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        sys.exit(f"{page} has no markers {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", default="")
    parser.add_argument("--page", default="")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        t = load(options.worker, options.threads)
        found = {name: measure(t, make, options.rounds) for name, make in MODELS.items()}
        print(json.dumps({**found, "block": block_cost(t)}))
        return
    program = str(Path(__file__).resolve())
    found = {}
    for name in ("lucid", "torch"):
        if importlib.util.find_spec(name):
            arguments = [program, "--worker", name, "--threads", str(options.threads)]
            arguments += ["--rounds", str(options.rounds)]
            found[name] = json.loads(run_process(arguments, options.threads).splitlines()[-1])
    table = rows(found)
    print_table(table)
    blocks = ", ".join(f"{name} {f['block'] / 1e3:.2f} us" for name, f in found.items())
    busy = os.getloadavg()[0]
    note = (
        f"Medians on {platform.machine()}, {options.threads} threads, Python "
        f"{platform.python_version()}, load average {busy:.1f}; peaks are above the "
        f"weights and the input. Entering and leaving one block: {blocks}."
    )
    print(note)
    if options.page:
        mine = {"lucid": found["lucid"]}
        put(Path(options.page), markdown(rows(mine), note))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))
    sys.exit(0 if all(found["lucid"][name]["same bits"] for name in MODELS) else 1)


if __name__ == "__main__":
    main()
