"""Record checkpoints of PyTorch: python tests/tools/golden_checkpoints.py (needs torch).

Writes tests/golden/zip.pt and tests/golden/legacy.pt, both with the value of checkpoint_cases.py,
and tests/golden/old.pt in the form of PyTorch 0.1, which is written by hand.
"""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import checkpoint_cases as cases  # noqa: E402


def main() -> None:
    folder = ROOT / "golden"
    torch.save(cases.value(torch), folder / "zip.pt")
    torch.save(cases.value(torch), folder / "legacy.pt", _use_new_zipfile_serialization=False)
    (folder / "old.pt").write_bytes(cases.old_tar())


if __name__ == "__main__":
    main()
