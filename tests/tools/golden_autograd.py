"""Records what PyTorch makes of tests/autograd_programs.py, in tests/golden/autograd.json.

    python tests/tools/golden_autograd.py

Needs PyTorch, which the tests do not.
"""

import json
import sys
from pathlib import Path

import torch
import torch.utils.checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.autograd_programs import programs  # noqa: E402

if __name__ == "__main__":
    made = {name: run() for name, run in programs(torch).items()}
    text = json.dumps(made, indent=1, default=str)
    (ROOT / "tests" / "golden" / "autograd.json").write_text(text + "\n")
