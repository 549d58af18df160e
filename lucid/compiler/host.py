"""What a compiled program still does in Python: the bookkeeping of optimizers and schedulers.

While a program is traced, an optimizer's step records which tensors its formula changes; the
numbers of the formula (rates, corrections that grow with the step count) become arguments of the
plan. Before each run of the plan the optimizer's own Python runs again, with nothing but these
numbers to be found out: so rates and counts never retrace, and checkpoints stay true.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lucid.compiler.trace import Late, Program
from lucid.lazy import lazy
from lucid.tracing import traced_by
from lucid.write import touched

_update = lazy("lucid.optim.update")


@dataclass(eq=False)
class Update:
    """One call of a formula over rows of tensors."""

    formula: Callable[..., Any]
    rows: list[tuple[Any, ...]]
    flags: dict[str, Any]
    lates: tuple[Late, ...]
    steady: list[tuple[int, int, Any]] = field(default_factory=list)  # tensors that stay the same


@dataclass(eq=False)
class Step:
    """One call of `optimizer.step()` or `scheduler.step()`, in the order of the program."""

    run: Callable[[], Any]
    owner: Any
    updates: list[Update] = field(default_factory=list)
    graded: list[tuple[Any, bool]] = field(default_factory=list)  # parameters: with a gradient?


class Replayed(Exception):
    """The optimizer does something else than it did while it was traced."""


class Host:
    """The steps of one program, and what they had changed in Python while it was traced."""

    def __init__(self, program: Program):
        self.program = program
        self.steps: list[Step] = []
        self.saved: list[Snapshot] = []
        self.begun: list[Callable[[], None]] = []  # takes back the state that optimizers have made

    def optimizer(self, optimizer: Any, run: Callable[[], Any], again: Callable[[], Any]) -> Any:
        """A step in the trace; `again` is the call that is made with each run of the plan."""
        program = self.program
        if program.region is not None:
            program.region.refuse("calls step() of an optimizer")
        step = Step(again, optimizer)
        for group in optimizer.param_groups:
            step.graded += [(p, p.grad is not None) for p in group["params"]]
        with traced_by(None):  # it is no part of the program, and stays
            undo = optimizer.prepare([p for p, graded in step.graded if graded])
        if undo is not None:
            self.begun.append(undo)
        self.saved.append(Snapshot(optimizer))
        self.steps.append(step)
        program.stepping = optimizer
        try:
            return run()
        finally:
            program.stepping = None

    def scheduler(self, scheduler: Any, again: Callable[[], Any]) -> None:
        """A scheduler's step: it changes rates only, which are found out before each run."""
        if self.program.region is not None:
            self.program.region.refuse("calls step() of a scheduler")
        self.steps.append(Step(again, scheduler))

    def update(
        self,
        formula: Callable[..., Any],
        rows: Sequence[tuple],
        real: Sequence[tuple],
        numbers: Any,
        flags: dict[str, Any],
        changed: Callable[..., tuple],
    ) -> None:
        """`update_all` in a trace: `changed(*row, *numbers)` gives the new tensors of a row. real:
        the rows, complex ones as pairs."""
        program = self.program
        stepping, program.stepping = program.stepping, None
        lates = tuple([program.late(0.0) for _ in numbers])
        self.steps[-1].updates.append(Update(formula, list(rows), flags, lates))
        key = (formula, *flags.items())
        for row in real:
            for target in row[: program.put_row(key, changed, row, (*row, *lates))]:
                touched(formula.__name__, target)
        program.stepping = stepping

    def restore(self) -> None:
        """The optimizers' Python state as it was before the trace."""
        for snapshot in reversed(self.saved):
            snapshot.restore()
        self.saved.clear()


class Snapshot:
    """The Python side of an optimizer or a scheduler: everything but the tensors' bytes."""

    __slots__ = ("owner", "attributes", "dicts")

    def __init__(self, owner: Any):
        self.owner = owner
        self.attributes = dict(vars(owner))
        self.dicts: list[tuple[dict, dict]] = []
        for group in getattr(owner, "param_groups", ()):
            self.dicts.append((group, dict(group)))
        state = getattr(owner, "state", None)
        if isinstance(state, dict):
            self.dicts.append((state, dict(state)))
            self.dicts += [(own, dict(own)) for own in state.values() if isinstance(own, dict)]

    def restore(self) -> None:
        for now, before in self.dicts:
            now.clear()
            now.update(before)
        vars(self.owner).clear()
        vars(self.owner).update(self.attributes)


def replay(steps: Sequence[Step]) -> tuple[list[float], list[Snapshot]]:
    """The numbers of all formulas now, in order, and how to undo what was counted.

    Raises Replayed, with everything as it was, where the steps are not those of the trace.
    """
    numbers: list[float] = []
    undo: list[Snapshot] = []
    try:
        for step in steps:
            undo.append(Snapshot(step.owner))
            updates = iter(step.updates)

            def collect(formula: Any, rows: Any, given: Any, flags: Any, updates=updates) -> None:
                known = next(updates, None)
                if known is None or known.formula is not formula or known.flags != flags:
                    raise Replayed
                if len(known.rows) != len(rows):
                    raise Replayed
                for i, j, t in known.steady:
                    if rows[i][j] is not t:
                        raise Replayed
                numbers.extend(map(float, given))

            token = _update.replaying.set(collect)
            there = [p._grad for p, _ in step.graded]
            try:
                for p, graded in step.graded:  # as it was there in the trace
                    p._grad = p if graded else None
                step.run()
            finally:
                _update.replaying.reset(token)
                for (p, _), grad in zip(step.graded, there, strict=True):
                    p._grad = grad
            if next(updates, None) is not None:
                raise Replayed
    except BaseException:
        for snapshot in reversed(undo):
            snapshot.restore()
        raise
    return numbers, undo
