"""Replacing a file in one step: an interrupted save leaves the old one.

Called by checkpoint.py and sharded.py.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def replace_file(target: str | os.PathLike, write: Callable[[BinaryIO], Any]) -> None:
    """Write beside `target` and rename over it; on any failure the old file stays as it was."""
    path = Path(os.path.realpath(os.fspath(target)))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        # "x" makes the file with the umask's permissions and never follows a planted link.
        with open(temporary, "x+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself must survive a power cut
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
