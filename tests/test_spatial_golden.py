"""Spatial layers and functions give PyTorch's numbers: outputs, all gradients, running statistics.

From a recorded file, and live where PyTorch is installed.
"""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import lucid
from tests import spatial_cases as cases

GOLDEN = load_file(Path(__file__).parent / "golden" / "spatial.safetensors")


def test_the_file_has_every_case():
    assert {key.split("/")[0] for key in GOLDEN} == set(cases.CASES)


@pytest.mark.parametrize("name", cases.CASES)
def test_numbers(name):
    found = cases.run(lucid, name)
    expected = {k.split("/")[1]: v for k, v in GOLDEN.items() if k.split("/")[0] == name}
    assert set(found) == set(expected)
    for key, value in found.items():
        np.testing.assert_allclose(
            cases.kept(value), expected[key], rtol=1e-4, atol=1e-4, err_msg=f"{name}: {key}"
        )


def test_live():
    torch = pytest.importorskip("torch")
    for name in list(cases.CASES)[::3]:
        theirs = cases.run(torch, name)
        for key, value in cases.run(lucid, name).items():
            np.testing.assert_allclose(
                value, theirs[key], rtol=1e-4, atol=1e-4, err_msg=f"{name}: {key}"
            )
