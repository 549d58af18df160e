"""Record PyTorch's numbers: python tests/tools/golden_spatial.py (needs torch).

Writes tests/golden/spatial.safetensors: for each case of tests/spatial_cases.py the outputs, all
gradients and the buffers. Of large arrays 64 weighted sums are kept: see `kept`.
"""

import sys
from pathlib import Path

import torch
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import spatial_cases as cases  # noqa: E402


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    for name in cases.CASES:
        for key, value in cases.run(torch, name).items():
            found[f"{name}/{key}"] = cases.kept(value)
    path = ROOT / "golden" / "spatial.safetensors"
    save_file(found, path, {"torch": torch.__version__})
    print(f"{path}: {len(found)} arrays, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
