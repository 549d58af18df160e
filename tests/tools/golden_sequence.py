"""Record PyTorch's numbers: python tests/tools/golden_sequence.py (needs torch).

Writes tests/golden/sequence.safetensors: for each case of tests/sequence_cases.py the outputs and
all gradients. test_sequence_golden.py reads it.
"""

import sys
from pathlib import Path

import torch
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import sequence_cases as cases  # noqa: E402


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    for name in cases.CASES:
        for key, value in cases.run(torch, name).items():
            found[f"{name}/{key}"] = value
    path = ROOT / "golden" / "sequence.safetensors"
    save_file(found, path, {"torch": torch.__version__})
    print(f"{path}: {len(found)} arrays, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
