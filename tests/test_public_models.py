"""Models from packages of PyPI run unchanged on Lucid; skipped where the package is missing.

Their gradients are held against differences of losses in float64, and against PyTorch where it is
installed. tools/public_models.py runs all of them and writes docs/models.md.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("compared", HERE / "tools" / "public_models.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

MODELS = [
    ("mlp_mixer", "mlp_mixer_pytorch"),
    ("siren", "siren_pytorch"),
    ("torchvision.mobilenet_v3_small", "torchvision"),
]

# The derivative along a direction, by the gradients and by a difference of two losses.
DIRECTION = """
import sys
from lucid.compat import finder
finder.install()
import torch
from public_models import MODELS, run_once
torch.manual_seed(0)
case = MODELS[sys.argv[1]][1]()
case.model.to(torch.float64).train()
weights = [p for p in case.model.parameters() if p.requires_grad]
run_once(case, "float64")[1].backward()
torch.manual_seed(1)
steps = [torch.randn_like(p) for p in weights]
size = sum((s * s).sum() for s in steps).sqrt()
steps = [s / size for s in steps]
expected = sum((p.grad * s).sum() for p, s in zip(weights, steps)).item()
def shifted(by):
    with torch.no_grad():
        for p, s in zip(weights, steps):
            p += by * s
        loss = run_once(case, "float64")[1].item()
        for p, s in zip(weights, steps):
            p -= by * s
    return loss
found = (shifted(1e-6) - shifted(-1e-6)) / 2e-6
print(expected, found)
assert abs(found - expected) <= 1e-5 * max(abs(expected), 0.01), (expected, found)
"""


@pytest.mark.parametrize(("name", "package"), MODELS)
def test_gradients_are_derivatives(name, package):
    _need(package)
    command = [sys.executable, "-c", DIRECTION, name]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "package"), MODELS)
def test_numbers_are_pytorchs(name, package):
    pytest.importorskip("torch")
    _need(package)
    row = tool.compare(name, None, 120.0, "float64")
    assert "failed" not in row, row
    assert abs(row["loss"][0] - row["loss"][1]) <= 1e-9 * abs(row["loss"][0])
    assert row["output"][0] < 1e-9 and row["gradient"][0] < 1e-7, row


def _need(package):
    """Skip where it is not installed; it is imported in the other process only."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
