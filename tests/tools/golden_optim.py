"""Record PyTorch's optimizers and schedulers: python tests/tools/golden_optim.py (needs torch).

Writes tests/golden/optim.safetensors: for each case of tests/optim_cases.py the parameters and the
state after three steps, for each scheduler its rates and momenta. test_optim_golden.py reads it.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import optim_cases as cases  # noqa: E402


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    found: dict[str, np.ndarray] = {}
    for name, (kind, options) in cases.CASES.items():
        params, optimizer = cases.run(torch, kind, options)
        for i, value in enumerate(params):
            found[f"{name}/param.{i}"] = np.array(value, order="C")
        for key, value in cases.flat_state(optimizer, torch).items():
            found[f"{name}/state.{key}"] = np.array(value, order="C")
    for name in cases.SCHEDULERS:
        for optimizer_name in cases.OPTIMIZERS:
            found[f"{name}/{optimizer_name}/rates"] = cases.rates(torch, name, optimizer_name)[0]
    path = ROOT / "golden" / "optim.safetensors"
    save_file(found, path, {"torch": torch.__version__})
    print(f"{path}: {len(found)} arrays, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
