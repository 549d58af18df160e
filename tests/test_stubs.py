"""The type stubs say what the package has: they are generated, and here held against it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_stubs_are_up_to_date():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "tools" / "stubs.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
