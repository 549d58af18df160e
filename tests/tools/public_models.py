"""Runs tests/public_models.py with PyTorch and with Lucid and writes the comparison.

    python tests/tools/public_models.py [--only WORD] [--output docs/models.md]

Each model runs in two processes of its own: with PyTorch, which saves its initial weights, and
with `lucid run`, which loads them. Packages that are missing are named in the table.
"""

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parent.parent
PROGRAM = TESTS / "public_models.py"

# Torchvision's wheel of PyPI holds code for CUDA, which a PyTorch for the CPU cannot load; its
# Python files then ask for ops by name. No model here calls one, so their names are enough.
WITH_PYTORCH = """
import runpy, sys, torch
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
    library.define(name + "(Tensor x) -> Tensor")
    library.define("_" + name + "_backward(Tensor x) -> Tensor")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


CLOSE = 1e-4  # models that differ by more are run in float64 too


def names() -> list[tuple[str, str]]:
    """The models and their packages, as the program lists them."""
    code = "import json; from public_models import MODELS as m; "
    code += "print(json.dumps([(name, package) for name, (package, _) in m.items()]))"
    command = [sys.executable, "-c", code]
    made = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=120)
    if made.returncode:
        raise SystemExit(made.stderr)
    return [tuple(pair) for pair in json.loads(made.stdout)]


def run(command: list[str], folder: Path, timeout: float) -> tuple[str, dict[str, Any]]:
    """The last line of the error, "" where there is none, and what was found."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"did not end in {timeout:.0f} s", {}
    if done.returncode:
        (folder / "error.txt").write_text(done.stdout + done.stderr)
        lines = [
            line for line in done.stderr.splitlines() if re.match(r"[\w.]+(Error|Exit)\b", line)
        ]
        return (lines or [f"exit status {done.returncode}"])[-1], {}
    with np.load(folder / "found.npz") as found:
        return "", {key: found[key] for key in found.files}


def compare(name: str, keep: Path | None, timeout: float, kind: str) -> dict[str, Any]:
    """Losses, the largest relative differences and what failed, of one model."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = [sys.executable, "-c", WITH_PYTORCH]
        wrong, ours = run([*start, str(PROGRAM), name, temporary, kind], folder, timeout)
        if wrong:
            return {"name": name, "failed": f"PyTorch: {wrong}"}
        (folder / "found.npz").unlink()
        start = [sys.executable, "-m", "lucid", "run"]
        wrong, theirs = run([*start, str(PROGRAM), name, temporary, kind], folder, timeout)
        if wrong:
            if keep is not None:
                text = (folder / "error.txt").read_text() if "did not end" not in wrong else wrong
                (keep / f"{name}.txt").write_text(text)
            return {"name": name, "failed": wrong}
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())
        return {"name": name, "failed": f"found by one of them only: {odd[:3]}"}
    row: dict[str, Any] = {
        "name": name,
        "arrays": ours,
        "loss": [float(ours["loss"]), float(theirs["loss"])],
        "seconds": [float(ours["seconds"][1]), float(theirs["seconds"][1])],
        "parameters": sum(x.size for key, x in ours.items() if key.startswith("gradient ")),
    }
    for part in ("output", "gradient", "buffer"):
        row[part] = largest(part, ours, theirs)
    return row


def largest(part: str, a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> tuple[float, str]:
    """The largest difference of the arrays whose keys begin so, and which one it is."""
    mine = {key: x for key, x in a.items() if key.startswith(part + " ")}
    whole = np.sqrt(sum(float(np.square(x, dtype=np.float64).sum()) for x in mine.values()))
    worst, where = 0.0, ""
    for key, x in mine.items():
        value = difference(x, b[key], 0.0 if part == "output" else float(whole))
        if not value <= worst:
            worst, where = value, key
    return worst, where


def rounding(row: dict[str, Any]) -> None:
    """Where there is a run in float64: how far PyTorch's own float32 is from it."""
    arrays, double = row.pop("arrays", None), row.get("float64")
    exact = double.pop("arrays", None) if double else None
    if arrays is not None and exact is not None:
        near = {key: x.astype(arrays[key].dtype) for key, x in exact.items()}
        row["rounding"] = [largest(part, near, arrays)[0] for part in ("output", "gradient")]


def difference(a: np.ndarray, b: np.ndarray, whole: float) -> float:
    """|a - b| / |a| as vectors; those below a thousandth of the whole are measured by that."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    x, y = (v.astype(np.float64).ravel() for v in (a, b))
    if not (np.isfinite(x) == np.isfinite(y)).all():
        return float("inf")
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    size = max(float(np.linalg.norm(x)), 1e-3 * whole, 1e-30)
    return float(np.linalg.norm(x - y)) / size


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", help="models whose name begins so")
    parser.add_argument("--rows", type=Path, help="JSON file of rows, kept up to date")
    parser.add_argument("--errors", type=Path, help="folder for whole tracebacks")
    parser.add_argument("--output", type=Path, help="write the table to this file")
    parser.add_argument("--timeout", type=float, default=200.0)
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    if options.rows and options.rows.exists():
        rows = json.loads(options.rows.read_text())
    if options.errors:
        options.errors.mkdir(exist_ok=True, parents=True)
    for name, package in names():
        if options.only is not None and not name.startswith(tuple(options.only)):
            continue
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            row: dict[str, Any] = {"name": name, "failed": "the package is not installed"}
            version = ""
        else:
            row = compare(name, options.errors, options.timeout, "float32")
            if not max(row.get("gradient", [0])[0], row.get("output", [0])[0]) < CLOSE:
                # Rounding of float32, or a mistake? In float64 the first is gone.
                row["float64"] = compare(name, options.errors, options.timeout, "float64")
            rounding(row)
        row.pop("arrays", None)
        row["package"] = f"{package} {version}".strip()
        rows[name] = row
        print(line(row), flush=True)
        if options.rows:
            options.rows.write_text(json.dumps(rows, indent=1))
    if options.output:
        order = [name for name, _ in names()]
        text = page({name: rows[name] for name in order if name in rows})
        others = [name for name in order if name not in rows]
        if others:
            text += f"\nIn the program, not measured in its present form: {', '.join(others)}.\n"
        options.output.write_text(text)


INTRODUCTION = """# Public models, unchanged

Model definitions from packages of PyPI, imported by `lucid run` with Lucid as `torch`: their files
are as published, and none is in this repository. For each model a process with PyTorch {torch}
makes the initial weights and runs one training step, dropout 0 (tests/public_models.py has sizes
and inputs); then `lucid run` reads these weights with `torch.load` and runs the same step.

    python tests/tools/public_models.py --rows rows.json --output docs/models.md

Differences are |Lucid - PyTorch| / |PyTorch| of whole tensors: the largest of all outputs, and of
the gradients of all parameters (one below a thousandth of all of them together is measured by
that). Where one is above 1e-4, a second run in float64 tells rounding from a mistake. A ReLU whose
input is within a rounding of zero is on in one and off in the other, and in a network without
training that moves every gradient below it: in ResNet-18 it is one of 8,192 in the last stage. In
others, a batch norm over few values multiplies roundings; PyTorch's own float32 is then as far
from its float64.

{count} models of {packages} packages match.

| model | package | loss: PyTorch | Lucid | output | gradients | float64: output | gradients |
|---|---|---|---|---|---|---|---|
"""
FAILED = """
## What does not match

| model | package | why |
|---|---|---|
"""
# What is meant to be so.
REASONS = {
    "neural_ode_dopri5": "torchdiffeq writes through `.data` so that PyTorch's version check does "
    "not see it. Lucid's sees it (docs/no_grad.md) and backward raises; the solvers with a fixed "
    "step run"
}


def matches(row: dict[str, Any]) -> bool:
    """Whether the numbers are PyTorch's, in float64 where float32 could not tell."""
    best = row.get("float64", row)
    parts = [best[part][0] for part in ("output", "gradient", "buffer") if part in best]
    return len(parts) == 3 and max(parts) < CLOSE


def page(rows: dict[str, Any]) -> str:
    """docs/models.md."""
    good = [row for row in rows.values() if matches(row)]
    text = INTRODUCTION.format(
        torch=importlib.metadata.version("torch").partition("+")[0], count=len(good),
        packages=len({row["package"] for row in good}),
    )  # fmt: skip
    for row in good:
        double = row.get("float64")
        exact = [f"{double[part][0]:.0e}" if double else "" for part in ("output", "gradient")]
        a, b = row["loss"]
        text += (
            f"| {row['name']} | {row['package']} | {a:.6f} | {b:.6f} | {row['output'][0]:.0e} "
            f"| {row['gradient'][0]:.0e} | {exact[0]} | {exact[1]} |\n"
        )
    bad = [row for row in rows.values() if not matches(row)]
    if bad:
        text += FAILED
    for row in bad:
        why = REASONS.get(row["name"]) or row.get("failed") or line(row).replace("\n", "; ")
        text += f"| {row['name']} | {row['package']} | {why.replace('|', '/')} |\n"
    return text


def line(row: dict[str, Any]) -> str:
    """One row for the terminal."""
    if "failed" in row:
        return f"{row['name']}: FAILED: {row['failed']}"
    a, b = row["loss"]
    return (
        f"{row['name']}: loss {a:.6f} {b:.6f}; output {row['output'][0]:.1e}, "
        f"gradient {row['gradient'][0]:.1e} {row['gradient'][1]}, buffer {row['buffer'][0]:.1e}; "
        f"{row['seconds'][0]:.2f} {row['seconds'][1]:.2f} s"
        + (f"\n    rounding {row['rounding']}" if "rounding" in row else "")
        + (f"\n    in float64 {line(row['float64'])}" if "float64" in row else "")
    )


if __name__ == "__main__":
    main()
