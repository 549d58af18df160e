"""Where in the user's program are we? The first stack frame outside Lucid, as text.

Called by whatever reports to the user: errors, warnings, the trace of the grad mode, graph_report.
"""

import os
import sys
import warnings
from types import FrameType

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
# ExitStack and contextmanager stand between a block and the line that opened it.
_CONTEXTLIB = os.path.join(os.path.dirname(os.__file__), "contextlib.py")


def is_ours(filename: str) -> bool:
    # Generated Python is compiled under names such as "<lucid plan>".
    return (
        filename.startswith(_PACKAGE)
        or filename.startswith("<lucid")
        or filename == _CONTEXTLIB
        or filename == "<frozen contextlib>"
    )


def user_position(skip: int = 0) -> tuple[str, int]:
    """(file, line) of the innermost frame outside Lucid; `skip` passes over that many of them.

    Costs about a tenth of a microsecond per frame passed and keeps no frame alive. A stack that
    is Lucid's own to the end (a finaliser at exit, a thread of Lucid's) gives ("<lucid>", 0).
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not is_ours(filename):
            if skip == 0:
                # None between two lines of source: code that the compiler made up.
                return filename, frame.f_lineno or frame.f_code.co_firstlineno
            skip -= 1
        frame = frame.f_back
    return "<lucid>", 0


def user_function() -> str:
    """The innermost function outside Lucid, and the line in it: "train.<locals>.log at f.py:12"."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return "<lucid>"
    line = format_line(frame.f_code.co_filename, frame.f_lineno or frame.f_code.co_firstlineno)
    return f"{frame.f_code.co_qualname} at {line}"


def user_line(skip: int = 0) -> str:
    """The user's line as "file.py:12", the path being relative where it lies under the cwd.

    >>> user_line().rsplit(":")[1].isdigit()
    True
    """
    return format_line(*user_position(skip))


def user_stack(limit: int = 6) -> list[str]:
    """The innermost frames outside Lucid, the innermost first, as "file.py:12 in function".

    >>> len(user_stack(1))
    1
    """
    found: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(found) < limit:
        code = frame.f_code
        if not is_ours(code.co_filename):
            line = format_line(code.co_filename, frame.f_lineno or code.co_firstlineno)
            found.append(f"{line} in {code.co_name}")
        frame = frame.f_back
    return found


def format_line(filename: str, line: int) -> str:
    """The text of a position that `user_position` gave earlier."""
    try:
        here = os.getcwd() + os.sep
    except OSError:  # the working directory is gone
        here = os.sep
    if here != os.sep and filename.startswith(here):
        filename = filename[len(here) :]
    return f"{filename}:{line}"


def warn(message: str, category: type[Warning] = UserWarning, skip: int = 0) -> None:
    """Warn as if the user's own line had called `warnings.warn`."""
    filename, line = user_position(skip)
    warnings.warn_explicit(message, category, filename, line)
