"""The LUCID_DEBUG ladder, as a user meets it: a program of its own, read from standard error.

1 prints the kernels that run, 2 also the graphs, 3 the loop nests, 4 the LLVM IR.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import lucid
import lucid.nn.functional as F
x = lucid.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
w = lucid.ones(2, 3, requires_grad=True)
y = F.softmax(F.linear(x * 3.0, w), 1)
y.sum().backward()
with lucid.no_grad():
    x.add_(1.0)
lucid.optim.SGD([w], 0.1).step()
print("done")
"""
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the program prints on standard error, by level; code is cached from 1 on."""
    cache = str(tmp_path_factory.mktemp("cache"))

    def run(level: int) -> str:
        environment = os.environ | {
            "LUCID_DEBUG": str(level),
            "LUCID_CACHE_DIR": cache,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "done\n"  # the program's own output is untouched
        return done.stderr

    return [run(level) for level in range(5)]


def test_0_prints_nothing(shown):
    assert shown[0] == ""


def test_1_prints_the_kernels_that_run(shown):
    """Eager ops, composites, products, backward passes, in-place writes, optimizers."""
    lines = shown[1].splitlines()
    assert all(line.startswith("lucid: ") for line in lines)
    for kernel in ("mul", "amax_sum_div", "gemm", "sum", "add"):
        assert any(kernel in line for line in lines), kernel
    forward = next(i for i, line in enumerate(lines) if "amax_sum_div" in line)
    backward = [line for line in lines[forward + 1 :] if line.startswith("lucid: kernel sum")]
    assert len(backward) >= 2  # y.sum(), and the row sums of softmax's rule
    assert any(" us" in line for line in lines)
    assert "graph(" not in shown[1]


def test_2_adds_the_graphs(shown):
    for graph in ("mul: graph(", "softmax: graph(", "softmax_backward: graph(", "add_: graph("):
        assert f"lucid: {graph}" in shown[2], graph
    assert " = exp(" in shown[2]
    assert "map over" not in shown[2]


def test_3_adds_the_loop_nests(shown):
    assert "lucid: kernel amax_sum_div vector=" in shown[3]
    assert "  fold 0 over" in shown[3]
    assert "map over" in shown[3]
    assert "graph(" in shown[3] and "define" not in shown[3]


def test_4_adds_the_llvm_text_of_cached_code_too(shown):
    assert "define" in shown[4] and "fold 0 over" in shown[4]
    kernels = [line for line in shown[4].splitlines() if line.startswith("define void @k")]
    assert len(kernels) >= 5
