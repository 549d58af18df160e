"""`lucid run script.py [args]`: run a program that was written for PyTorch.

Called by the command line. `import torch` is answered with Lucid while the program runs.
"""

import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from lucid.compat import finder
from lucid.compat.scan import names_of


def run(script: str, arguments: Sequence[str], report: bool = False, module: bool = False) -> int:
    """Run the script (or module) as `python` would, and return its exit status.

    With `report`, the names of PyTorch's that it mentions and asks for are printed at the end, on
    standard error: those that Lucid has and those that it has not.
    """
    if not module and not Path(script).is_file():
        print(f"lucid run: there is no file {script}", file=sys.stderr)
        return 2
    finder.install()
    before = sys.argv, list(sys.path)
    sys.argv = [script, *arguments]
    status = 0
    try:
        if module:
            sys.path.insert(0, "")
            runpy.run_module(script, run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(script).resolve().parent))
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        status = _status(end.code)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _print_error(error)
        status = 1
    finally:
        sys.argv, sys.path[:] = before
        if report:
            print(report_of(None if module else Path(script)), file=sys.stderr)
    return status


def _status(code: object) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _print_error(error: BaseException) -> None:
    """The traceback from the program's first line on."""
    tail = error.__traceback__
    while tail is not None and tail.tb_frame.f_code.co_filename in (__file__, runpy.__file__):
        tail = tail.tb_next
    while tail is not None and "runpy" in tail.tb_frame.f_code.co_filename:
        tail = tail.tb_next
    traceback.print_exception(type(error), error, tail)


def report_of(script: Path | None) -> str:
    """The names that the program mentions or has asked for, present and missing ones."""
    asked = dict(finder.noted())
    mentioned = [] if script is None else names_of(script)
    present = {name: finder.exists(name) for name in mentioned}
    for name, there in asked.items():
        present.setdefault(name, there)
    have = sorted(name for name, there in present.items() if there)
    lack = sorted(name for name, there in present.items() if not there)
    lines = [f"lucid run: {len(have)} names of PyTorch are used and in Lucid"]
    lines += [f"  {name}" for name in have]
    lines.append(f"lucid run: {len(lack)} names are not in Lucid")
    lines += [f"  {name}{_where(name, asked)}" for name in lack]
    return "\n".join(lines)


def _where(name: str, asked: dict[str, bool]) -> str:
    return " (asked for)" if name in asked else " (mentioned)"
