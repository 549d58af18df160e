"""cond, scan and while_loop in the trace of a program. func/control.py calls these."""

from collections.abc import Callable, Sequence
from typing import Any

from lucid.compiler.trace import Program


def cond(program: Program, pred: Any, true_fn: Callable, false_fn: Callable, operands: tuple):
    """`lucid.cond` with a tensor as pred."""
    program.refuse("cond with a tensor as pred", "use where, or call it outside")


def scan(program: Program, combine_fn: Callable, init: tuple, xs: tuple, reverse: bool) -> None:
    """`lucid.scan`; None where its steps are to be traced one by one."""
    return None


def while_loop(
    program: Program,
    cond_fn: Callable,
    body_fn: Callable,
    carry: Sequence[Any],
    form: Any,
    max_steps: int | None,
) -> list[Any]:
    """`lucid.while_loop`."""
    program.refuse("while_loop", "use scan, or call it outside")
