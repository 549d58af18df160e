"""The command line: `lucid demo`, `lucid run`, `lucid --version`; also `python -m lucid`.

Called by the script `lucid` that the package installs.
"""

import argparse
import sys
from collections.abc import Sequence

from lucid.config import VERSION
from lucid.lazy import lazy

demo = lazy("lucid.show.demo")
program = lazy("lucid.compat.run")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 on a failure, 130 after Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        if options.command == "run":
            return program.run(options.script, options.args, options.report, options.module)
        return demo.main(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lucid", description="Lucid, a deep-learning framework in Python alone."
    )
    parser.add_argument("--version", action="version", version=f"lucid {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    run = commands.add_parser(
        "demo",
        help="train a convolutional network on handwritten digits and show the result",
        description="Train a small convolutional network on 1,797 real handwritten digits, save "
        "and reload it, evaluate it under no_grad, and write the result as one HTML file.",
    )
    run.add_argument("--epochs", type=_positive, default=16, help="passes over the data (16)")
    run.add_argument("--seed", type=int, default=0, help="seed of the weights and the order (0)")
    run.add_argument("--output", default="lucid-demo", help="directory to write to (lucid-demo)")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    torch = commands.add_parser(
        "run",
        help="run a program that was written for PyTorch",
        description="Run a Python program in which `import torch` is answered with Lucid.",
    )
    torch.add_argument(
        "--report", action="store_true", help="list the names of PyTorch used, and those missing"
    )
    torch.add_argument("-m", dest="module", action="store_true", help="SCRIPT is a module's name")
    torch.add_argument("script", help="the program")
    torch.add_argument("args", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
