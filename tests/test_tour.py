"""docs/tour.py, the framework in miniature, is right in all that it claims."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parent.parent / "docs" / "tour.py"


@pytest.fixture(scope="module")
def tour():
    spec = importlib.util.spec_from_file_location("tour", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["tour"] = module
    spec.loader.exec_module(module)
    return module


def test_it_runs_and_fits():
    done = subprocess.run([sys.executable, str(FILE)], capture_output=True, text=True, check=True)
    assert "w = 1.99" in done.stdout or "w = 2.00" in done.stdout
    assert "out[i] = mul(x, w)" in done.stdout


def test_machine_code_is_what_the_definition_says(tour):
    rng = np.random.default_rng(0)
    for op in tour.Op.__subclasses__():
        for n in (1, 7, 64):
            arrays = [rng.standard_normal(n) for _ in op.inputs]
            arrays[0][0] = np.nan if n == 7 else -0.0
            wanted = np.empty(1 if op.fold else n)
            tour.interpret(op.kernel, wanted, arrays)
            assert tour.execute(op.kernel, arrays).tobytes() == wanted.tobytes(), op.__name__


def test_gradients(tour):
    def loss(x, w):
        return (((x * w + w).relu() - x) * x).sum()

    x, w = np.array([0.5, -2.0, 3.0]), np.array([0.7])
    tensors = [tour.Tensor(x, requires_grad=True), tour.Tensor(w, requires_grad=True)]
    loss(*tensors).backward()
    for k, (t, a) in enumerate(zip(tensors, (x, w), strict=True)):
        for i in range(len(a)):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [x.copy(), w.copy()]
                moved[k][i] += step
                ends.append(loss(*map(tour.Tensor, moved)).data[0])
            assert t.grad.data[i] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


def test_no_grad_and_errors(tour):
    x = tour.Tensor([1.0, 2.0], requires_grad=True)
    with tour.no_grad():
        assert (x * 2.0).node is None
    assert (x * 2.0).node is not None
    with pytest.raises(RuntimeError, match="Add: 2 elements do not broadcast to 3"):
        x + tour.Tensor([1.0, 2.0, 3.0])
