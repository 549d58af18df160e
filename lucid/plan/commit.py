"""Outputs of a program that are written into its inputs: parameters, statistics, caches.

lower.py calls `commit` with the steps in order. An output goes straight into the input's bytes
where nobody reads the old ones afterwards; elsewhere it is made beside and copied at the end. All
such steps stand behind those that may still fail, so that an error leaves every input as it was;
but no later than they must, as what they read lives until then.
"""

from collections.abc import Sequence
from typing import Any

from lucid.graph import Value
from lucid.kernel.expr import Expr, postorder
from lucid.kernel.loops import Kernel
from lucid.plan.copies import copy_step
from lucid.plan.fuse import viewed
from lucid.plan.nest import expressions
from lucid.plan.steps import Step


def commit(context: Any, pairs: Sequence[tuple[Value, Value]]) -> None:
    """Order the steps and copy what cannot be written in place; `pairs` says which output goes
    into which input."""
    written, read = [[f(s) for s in context.steps] for f in (written_by, read_by)]
    late = _postponed(context.steps, written, read, pairs)
    order = [i for i in range(len(context.steps)) if i not in late] + sorted(late)
    groups = {new: context.groups[old] for new, old in enumerate(order) if old in context.groups}
    context.steps, context.groups = [context.steps[i] for i in order], groups
    writers, readers = [_places([sets[i] for i in order]) for sets in (written, read)]
    copies = [
        (output, target)
        for output, target in pairs
        if not _in_place(
            context, writers.get(id(output), []), readers.get(id(target), []), output, target
        )
    ]
    for output, _ in copies:
        _beside(context, output)


def _postponed(
    steps: Sequence[Step],
    written: Sequence[set[int]],
    read: Sequence[set[int]],
    pairs: Sequence[tuple[Value, Value]],
) -> set[int]:
    """The steps that write such outputs where a later one may fail or reads the input, and those
    that read what they wrote."""
    fails = next((i for i in reversed(range(len(steps))) if may_fail(steps[i])), -1)
    writers, readers = _places(written), _places(read)
    late = {
        id(v)
        for v, target in pairs
        if min(writers.get(id(v), [0])) < max(fails, *readers.get(id(target), [0]))
    }
    found: set[int] = set()
    for i, made in enumerate(written):
        if late & (made | read[i]):
            found.add(i)
            late |= made
    return found


def may_fail(s: Step) -> bool:
    """Whether a step may report an error."""
    if s.kernel is None:
        return not s.sure
    return any(node.op == "checked" for node in postorder(computed(s.kernel)))


def computed(kernel: Kernel) -> list[Expr]:
    """All expressions of a kernel, the extents of its axes included."""
    axes = [*kernel.grid, *(a for s in kernel.stages for a in s.axes)]
    return [*expressions(list(kernel.stages)), *(a.extent for a in axes)]


def written_by(s: Step) -> set[int]:
    """The values that a step writes."""
    if s.kernel is None:
        made = {id(v) for e in s.equations for v in e.outputs}
        read = {id(viewed(v)[0]) for v in inputs_of(s)} - made
        return {id(o.value) for o in s.operands} - read
    buffers = [b for b in s.kernel.buffers if b.role != "local"]
    return {id(o.value) for b, o in zip(buffers, s.operands, strict=True) if b.role != "in"}


def read_by(s: Step) -> set[int]:
    """The values that a step reads."""
    if s.kernel is None:  # a template: what it does not return may be scratch, written and read
        made = {id(v) for e in s.equations for v in e.outputs}
        return {id(o.value) for o in s.operands} - made
    buffers = [b for b in s.kernel.buffers if b.role != "local"]
    return {id(o.value) for b, o in zip(buffers, s.operands, strict=True) if b.role != "out"}


def inputs_of(s: Step) -> list[Value]:
    return [v for e in s.equations for v in e.inputs if not v.weak]


def _places(values: Sequence[set[int]]) -> dict[int, list[int]]:
    """By value, the steps that write, or read, it."""
    found: dict[int, list[int]] = {}
    for i, keys in enumerate(values):
        for key in keys:
            found.setdefault(key, []).append(i)
    return found


def _in_place(
    context: Any, writers: list[int], readers: list[int], output: Value, target: Value
) -> bool:
    """Whether the target's old bytes are read nowhere after, or elsewhere in, the writing step."""
    if len(writers) != 1 or any(i > writers[0] for i in readers):
        return False
    if writers[0] not in readers:
        return True
    group = context.groups.get(writers[0])
    # A point of the grid folds, then stores: it may read what it overwrites itself, unless it
    # stores rows first and elements then.
    if group is None or len({r.level for r in group.stores}) > 1:
        return False
    stored = next(r for r in group.stores if r.value is output)
    return all(
        v is target and all(a is b for a, b in zip(index, stored.index, strict=True))
        for v, index in group.loads
        if viewed(v)[0] is target
    )


def _beside(context: Any, output: Value) -> None:
    """Make the output in the arena, and copy it into the input when all is done."""
    beside = Value(output.shape, output.dtype, strides=context.strides[id(output)])
    context.strides[id(beside)] = context.strides[id(output)]
    for s in context.steps:
        for operand in s.operands:
            if operand.value is output:
                operand.value = beside
    context.steps.append(copy_step(context.own(beside), context.own(output)))
