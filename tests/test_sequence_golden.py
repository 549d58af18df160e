"""Activations, losses, embeddings, recurrent networks and attention against PyTorch's numbers, as
recorded and, where it is installed, live.

tools/golden_sequence.py records them; sequence_cases.py says what is run.
"""

from pathlib import Path

import numpy as np
import pytest
import sequence_cases as cases
from safetensors.numpy import load_file

import lucid

GOLDEN = load_file(Path(__file__).parent / "golden" / "sequence.safetensors")
# PyTorch computes these constants in float32.
LOOSE = {"Hardsigmoid": 1e-6, "CELU": 1e-6, "SELU": 1e-6}


def agree(got, expected, name):
    assert set(got) == set(expected)
    tolerance = LOOSE.get(name, 1e-9)
    for key, value in expected.items():
        assert got[key].shape == value.shape, key
        np.testing.assert_allclose(
            got[key], value, rtol=tolerance, atol=tolerance, err_msg=f"{name}: {key}"
        )


def golden(name):
    prefix = f"{name}/"
    return {k[len(prefix) :]: v for k, v in GOLDEN.items() if k.startswith(prefix)}


@pytest.mark.parametrize("name", cases.CASES)
def test_recorded(name):
    agree(cases.run(lucid, name), golden(name), name)


def test_live():
    """One test for all: PyTorch is imported once, and its threads meet ours once."""
    torch = pytest.importorskip("torch")
    for name in cases.CASES:
        agree(cases.run(torch, name), golden(name), name)
