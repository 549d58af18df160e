"""Random programs: eager and compiled agree to the bit (tests/random_programs.py has them)."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("pieces, seconds", [(False, 30), (True, 15)])
def test_random_programs(pieces, seconds):
    """As one plan; and in pieces, with Python that looks into tensors in between."""
    seed = random.SystemRandom().randrange(1 << 30)
    # In a process of its own: should a program hang, its number and the stacks are told.
    command = [sys.executable, str(Path(__file__).with_name("random_programs.py"))]
    command += ["--minutes", str(seconds / 60), "--seed", str(seed), "--patience", "100"]
    command += ["--pieces"] * pieces
    done = subprocess.run(command, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    told = re.fullmatch(r"(\d+) programs, (\d+) refused, .*", done.stdout.splitlines()[-1])
    assert told, done.stdout
    count, refused = int(told[1]), int(told[2])
    assert count and refused <= 3 + count // 3, (count, refused)
