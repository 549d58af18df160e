"""The type stubs say what the package has: they are generated, and here held against it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_stubs_are_up_to_date():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "tools" / "stubs.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _mypy(*arguments, cwd=ROOT):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    return done.stdout + done.stderr


def test_a_program_passes_in_strict_mode():
    assert "Success" in _mypy("tests/typed/program.py", "tests/typed/data.py")


def test_wrong_programs_are_told(tmp_path):
    wrong = [
        "lucid.ones(2).exp_(foo=2)",
        "n: int = lucid.ones(2).stride()",
        "lucid.no_such_name",
        "lucid.nn.Linear('a', 2)",
    ]
    path = tmp_path / "wrong.py"
    path.write_text("import lucid\n" + "\n".join(wrong) + "\n")
    said = _mypy(str(path))
    for line in range(2, len(wrong) + 2):
        assert f"wrong.py:{line}: error" in said, said
