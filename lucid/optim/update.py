"""Running one formula over all parameters of a group, in place, as one native call.

An optimizer's `update` collects its tensors and numbers and hands them, with its formula, to
`update_all`. The formula is a scalar expression, so each row of tensors is one kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import lucid
from lucid.apply import trace_call
from lucid.backend.cpu.threads import get_num_threads
from lucid.fused import fused
from lucid.ops.gather import put_into, take
from lucid.plan.rows import join
from lucid.plan.run import Plan
from lucid.tracing import program
from lucid.write import touched

Formula = Callable[..., tuple[Any, ...]]
Row = tuple[lucid.Tensor, ...]

MOST_PLANS = 64
MOST_ROWS = 512  # in one native call

# Set while a compiled program asks for the numbers of a step: `collect(formula, rows, numbers,
# flags)` is then called in the place of the kernels.
replaying: ContextVar[Callable[..., None] | None] = ContextVar("lucid_replaying", default=None)

_joined: dict[tuple, tuple[Callable[..., object], int]] = {}


def update_all(formula: Formula, rows: Sequence[Row], numbers: Any, **flags: bool) -> None:
    """Write `formula(b, row, numbers, **flags)` into the first tensors of each row.

    `b` has the functions that are no operators (`sqrt`, `maximum`). The formula returns as many
    values as it changes tensors; these stand first in the row. `flags` choose between forms of
    the formula, `numbers`, a named tuple, differ from call to call.
    """
    collect = replaying.get()
    if collect is not None:
        collect(formula, rows, numbers, flags)
        return
    # The kernels take the bits of a float64: an integer's would be something else.
    numbers = type(numbers)(*map(float, numbers))
    if (tracer := program()) is not None:
        changed = _changed(formula, len(rows[0]), type(numbers), flags) if rows else None
        tracer.host.update(formula, rows, list(map(_real, rows)), numbers, flags, changed)
        return
    if any([row[0].dtype.is_complex for row in rows]):  # such a number is a pair of real ones
        rows = [_real(row) for row in rows]
    for start in range(0, len(rows), MOST_ROWS):
        part = rows[start : start + MOST_ROWS]
        if _separate(part):
            _at_once(formula, part, numbers, flags)
        else:
            _one_by_one(formula, part, numbers, flags)


def _real(row: Row) -> Row:
    return tuple(map(lucid.view_as_real, row)) if row[0].dtype.is_complex else row


def _separate(rows: Sequence[Row]) -> bool:
    """Whether no two tensors share bytes, so that the order of reads and writes is free."""
    storages = [t._storage for row in rows for t in row]
    return None not in storages and len(set(map(id, storages))) == len(storages)


def _at_once(formula: Formula, rows: Sequence[Row], numbers: Any, flags: dict[str, bool]) -> None:
    tensors = [t for row in rows for t in row]
    layouts = [t._layout for t in tensors]
    key = (formula, get_num_threads(), *flags.values(), *layouts)
    found = _joined.get(key)
    if found is None:
        if len(_joined) >= MOST_PLANS:
            _joined.pop(next(iter(_joined)))
        found = _joined[key] = _plan(formula, rows, numbers, flags)
    run, written = found
    run(*numbers, *[t._ptr for t in tensors])
    for row in rows:
        for target in row[:written]:
            touched(formula.__name__, target)


def _changed(
    formula: Formula, count: int, kind: Any, flags: dict[str, bool]
) -> Callable[..., tuple[Any, ...]]:
    """The formula as a function of a row's tensors and the numbers: the new tensors."""

    def changed(*given: Any) -> tuple[Any, ...]:
        row = given[:count]
        values = formula(lucid, row, kind(*given[count:]), **flags)
        return tuple(v.to(t.dtype) for v, t in zip(values, row, strict=False))

    return changed


def _plan(
    formula: Formula, rows: Sequence[Row], numbers: Any, flags: dict[str, bool]
) -> tuple[Callable[..., object], int]:
    changed = _changed(formula, len(rows[0]), type(numbers), flags)
    alike: dict[tuple, Plan] = {}  # rows of the same layouts share a plan
    for row in rows:
        layouts = tuple(t._layout for t in row)
        if layouts not in alike:
            graph = trace_call(changed, [*row, *numbers])
            strides = [lay.strides for lay in layouts[: len(graph.outputs)]]
            alike[layouts] = Plan(graph, strides, formula.__name__)
    plans = [alike[tuple(t._layout for t in row)] for row in rows]
    return join(plans, len(numbers)), len(plans[0].graph.outputs)


def _one_by_one(
    formula: Formula, rows: Sequence[Row], numbers: Any, flags: dict[str, bool]
) -> None:
    """While a function is traced, and for parameters that share storage."""
    for row in rows:
        values = formula(lucid, row, numbers, **flags)
        for target, value in zip(row, values, strict=False):
            target.copy_(value)


def update_places(formula: Formula, row: Row, g: Any, numbers: Any, **flags: bool) -> None:
    """`update_all` of one row of tensors (the first ones, without the gradient) and a sparse
    gradient `g`: the formula is computed and written where g has values, and nowhere else."""
    if row[0].dtype.is_complex:
        raise NotImplementedError(f"{formula.__name__}: sparse gradients of complex parameters")
    g = g.coalesce()
    if not g.indices().numel():
        return
    places, count = g.indices().unbind(0), len(row)

    def changed(*given: Any) -> tuple[Any, ...]:
        there = [take(t, given[count + 1 : count + 1 + len(places)], 0) for t in given[:count]]
        new = type(numbers)(*given[count + 1 + len(places) :])
        values = formula(lucid, (*there, given[count]), new, **flags)
        return tuple(v.to(t.dtype) for v, t in zip(values, row, strict=False))

    given = (*row, g.values(), *places, *map(float, numbers))
    made = fused((formula, len(places), *flags.items()), changed, given, formula.__name__)
    for target, values in zip(row, made, strict=False):
        put_into(formula.__name__, target, values, places, 0, False)


def update_whole(
    formula: Callable[..., tuple[Any, ...]], targets: Row, given: tuple[Any, ...], **form: Any
) -> None:
    """Write `formula(*targets, *given, **form)` into the targets: for formulas of whole tensors,
    such as sums and products, which are one plan too. Numbers among `given` arrive at run time,
    `form` is part of the plan's key."""

    def changed(*tensors: Any) -> tuple[Any, ...]:
        values = formula(*tensors, **form)
        return tuple(v.to(t.dtype) for v, t in zip(values, tensors, strict=False))

    key = (formula, *form.items())
    for target, value in zip(
        targets, fused(key, changed, (*targets, *given), formula.__name__), strict=True
    ):
        target.copy_(value)
