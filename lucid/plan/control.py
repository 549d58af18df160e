"""Control flow in a plan: steps that run other plans, chosen and repeated by values.

compiler/control.py puts `Branch` and `Loop` into equations, as parameters of the records in
compiler/nested.py, whose lowering calls `nested_step`. To the outer plan such a
step is a native call like a host call (host.py): it gets addresses, and runs its own plans on them.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lucid import storage
from lucid.dtypes import dtype, int64
from lucid.graph import Graph
from lucid.plan.host import Called, call_step
from lucid.plan.run import Plan
from lucid.plan.steps import Operand, Step

Type = tuple[tuple[int, ...], dtype]
CARRY, ROW, CONSTANT, MADE = "carry", "row", "constant", "made"


@dataclass(eq=False, repr=False)
class Part:
    """A graph that is planned when it is first needed, by `kind`, as the plan around it was."""

    name: str
    graph: Graph
    kind: Callable[..., Plan]
    _plan: Plan | None = None

    def plan(self) -> Plan:
        if self._plan is None:
            graph = self.graph.fresh()
            self._plan = self.kind(graph, [None] * len(graph.outputs), self.name, {})
        return self._plan


@dataclass(eq=False)
class Branch:
    """Two parts with outputs of the same types; `reads`: which inputs, after the condition, each
    of them takes."""

    parts: tuple[Part, Part]
    reads: tuple[tuple[int, ...], tuple[int, ...]]
    types: list[Type]

    def __repr__(self) -> str:
        return _text("if", [("true", self.parts[0]), ("false", self.parts[1])])


@dataclass(eq=False)
class Phase:
    """One step of a loop: where its inputs come from and its outputs go, each a kind and a number;
    which phase the next step takes."""

    part: Part
    reads: list[tuple[str, int]]
    writes: list[tuple[str, int]]
    after: int = 0


@dataclass(eq=False)
class Loop:
    """A part that runs `count` times, forward or backward along rows of stacked inputs.

    A step reads the carry, its row of each stacked input, and constants; it writes the carry and
    its row of each stacked output. Slots of the carry may be empty: `first` are those that the
    inputs fill, `last` those that are outputs. Which slots are full decides about the phase. With a
    `condition` (of the carry and constants) it runs as long as that holds, `most` times at most;
    `counts`: how many steps that were is the last output. `counted`: such a number, at most
    `count`, is the first constant, and so many of the rows are there; slots of `last` that are
    empty in the end are filled with zeros.
    """

    phases: list[Phase]
    carry: list[Type]
    first: list[int]
    last: list[int]
    rows: list[Type] = field(default_factory=list)
    made: list[Type] = field(default_factory=list)
    count: int = 0
    backward: bool = False
    condition: Phase | None = None
    most: int | None = None
    counts: bool = False
    counted: bool = False

    def types(self) -> list[Type]:
        stacked = [((self.count, *shape), kind) for shape, kind in self.made]
        steps = [((), int64)] if self.counts else []
        return [*[self.carry[slot] for slot in self.last], *stacked, *steps]

    def __repr__(self) -> str:
        parts = [(f"step {i}, then {p.after}", p.part) for i, p in enumerate(self.phases)]
        if self.condition is not None:
            parts.insert(0, ("while", self.condition.part))
        way = " backward" if self.backward else ""
        wired = [(p.reads, p.writes) for p in self.phases]
        most = f", at most {self.most}" if self.most is not None else ""
        if self.counted:
            most = ", as many as there are"
        return _text(f"loop {self.count or ''}{way}{most} {wired}", parts)


def _text(head: str, parts: Sequence[tuple[str, Part]]) -> str:
    lines = [f"<{head}"]
    for name, part in parts:
        lines.append(f"    {name}:")
        lines += [f"      {line}" for line in str(part.graph).splitlines()]
    return "\n".join([*lines, "  >"])


class Nested(Called):
    """One step: `function(outputs, inputs)` on addresses, of a Branch or a Loop."""

    __slots__ = ("function", "count", "record")

    def __init__(self, function: Callable, count: int, record: "Branch | Loop"):
        super().__init__()
        self.function = function
        self.count = count  # of the outputs
        self.record = record

    def run(self, addresses: list[int]) -> None:
        self.function(addresses[: self.count], addresses[self.count :])


def _size(type_: Type) -> int:
    shape, kind = type_
    n = kind.itemsize
    for size in shape:
        n *= size
    return n


def nested_step(
    record: Branch | Loop, inputs: Sequence[Operand], outputs: Sequence[Operand]
) -> Step:
    """The step of a Branch or a Loop on row-major operands."""
    name = "cond"
    if isinstance(record, Loop):
        name = "scan" if record.condition is None and not record.counted else "while_loop"
    return call_step(name, nested_call(record), [*outputs, *inputs], 0)


def nested_call(record: Branch | Loop) -> Nested:
    """What such a step calls. A plan that comes from the disk asks for it again."""
    return _loop_call(record) if isinstance(record, Loop) else _branch_call(record)


def _branch_call(branch: Branch) -> Nested:
    """One of the two parts, as the first input, a byte, says."""

    def run(made: list[int], given: list[int]) -> None:
        place = 0 if ctypes.c_uint8.from_address(given[0]).value else 1
        rest = given[1:]
        branch.parts[place].plan().run(*made, *[rest[i] for i in branch.reads[place]])

    return Nested(run, len(branch.types), branch)


def _loop_call(loop: Loop) -> Nested:
    """The steps of a loop, one after the other. A carry lies in one of two places in turn, and
    ends where the output is."""
    sizes = [-(-_size(type_) // 64) * 64 for type_ in loop.carry]
    row_sizes = [_size(type_) for type_ in loop.rows]
    made_sizes = [_size(type_) for type_ in loop.made]
    starts = [sum(sizes[:slot]) for slot in range(len(sizes))]
    total = sum(sizes)

    def run(made: list[int], given: list[int]) -> None:
        carry = dict(zip(loop.first, given, strict=False))
        rows = given[len(loop.first) : len(loop.first) + len(row_sizes)]
        constants = given[len(loop.first) + len(row_sizes) :]
        ends = dict(zip(loop.last, made, strict=False))
        stacked = made[len(loop.last) :]
        scratch = storage.allocate(2 * total)

        def address(kind: str, place: int, i: int) -> int:
            if kind == CARRY:
                return carry[place]
            if kind == ROW:
                return rows[place] + i * row_sizes[place]
            return constants[place]

        def step(phase: Phase, i: int, number: int, last: bool) -> dict[int, int]:
            after: dict[int, int] = {}
            targets = []
            at = scratch.ptr + (number & 1) * total
            for kind, place in phase.writes:
                if kind == CARRY:
                    after[place] = ends[place] if last else at + starts[place]
                    targets.append(after[place])
                else:
                    targets.append(stacked[place] + i * made_sizes[place])
            sources = [address(kind, place, i) for kind, place in phase.reads]
            phase.part.plan().run(*targets, *sources)
            return after

        def settle() -> None:
            """The outputs that the last step has not written."""
            for slot, target in ends.items():
                source, size = carry.get(slot), _size(loop.carry[slot])
                if source is None:
                    ctypes.memset(target, 0, size)
                elif source != target:
                    ctypes.memmove(target, source, size)

        if loop.condition is None:
            state = 0
            count = loop.count
            if loop.counted:
                count = ctypes.c_int64.from_address(constants[0]).value
            for number in range(count):
                i = count - 1 - number if loop.backward else number
                carry = step(loop.phases[state], i, number, number == count - 1)
                state = loop.phases[state].after
            settle()
            return
        number = 0
        holds = ctypes.c_uint8(0)
        where = ctypes.addressof(holds)
        while True:
            sources = [address(kind, place, 0) for kind, place in loop.condition.reads]
            loop.condition.part.plan().run(where, *sources)
            if not holds.value:
                break
            if loop.most is not None and number >= loop.most:
                raise RuntimeError(
                    f"while_loop: the condition still holds after max_steps={loop.most} steps"
                )
            carry = step(loop.phases[0], number, number, False)
            number += 1
        settle()
        if loop.counts:
            ctypes.c_int64.from_address(made[-1]).value = number

    return Nested(run, len(loop.types()), loop)
