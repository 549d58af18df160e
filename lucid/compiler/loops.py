"""`scan` in the trace of a program: one equation of its graph.

func/control.py calls it. The backward pass is another loop, in the other direction; while_loops.py
takes it for its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lucid.apply import CPU, contiguous, edge
from lucid.autograd.mode import is_grad_enabled
from lucid.autograd.node import Node
from lucid.compiler.carried import stepped
from lucid.compiler.control import Structured, attach, casts_gradients, emit
from lucid.compiler.nested import loop, part
from lucid.compiler.region import End, Inside, Region, Unroll
from lucid.compiler.trace import Program
from lucid.compiler.tree import unflatten
from lucid.graph import Value
from lucid.layout import Layout, layout
from lucid.lines import user_line
from lucid.ops.creation import zeros
from lucid.plan.control import CARRY, CONSTANT, MADE, ROW, Loop, Phase
from lucid.plan.fuse import position
from lucid.write import needs_gradient


def scan(
    program: Program, combine_fn: Callable, init: tuple, xs: tuple, reverse: bool
) -> tuple | None:
    """`lucid.scan`; None where its steps are to be traced one by one."""
    if casts_gradients():
        return None  # what is cast in one step is used by the next ones
    line = user_line()
    first = [contiguous(c) for c in init[0]]
    rows = xs[0]
    gradients = [needs_gradient(c) for c in first]
    while True:
        region = Region(program, "scan: combine_fn")
        try:
            with region.recording():
                carry = [region.given(c._layout, g) for c, g in zip(first, gradients, strict=True)]
                given = [region.given(_row(x), needs_gradient(x)) for x in rows]
                pair = region.run(combine_fn, (unflatten(init[1], carry), unflatten(xs[1], given)))
                after, ys, y_form = stepped(pair, init[1], carry)
        except Unroll:
            return None
        grown = [g or needs_gradient(c) for g, c in zip(gradients, after, strict=True)]
        if grown == gradients:
            break
        gradients = grown
    made = [*after, *[y for y in ys if y is not None]]
    record = is_grad_enabled() and any([needs_gradient(y) for y in made])
    with region.recording():
        values = [program.read(y) for y in made]
    n, count = len(first), rows[0]._layout.shape[0]
    kept = region.inputs[:n] if record else []  # the carry before each step
    graph, free = region.graph(region.inputs, [*values, *kept])
    reads = [*[(CARRY, i) for i in range(n)], *[(ROW, i) for i in range(len(rows))]]
    reads += [(CONSTANT, i) for i in range(len(free))]
    writes = [(CARRY, i) for i in range(n)]
    writes += [(MADE, i) for i in range(len(graph.outputs) - n)]
    types = [(v.shape, v.dtype) for v in graph.outputs]
    loop_of = Loop(
        [Phase(part("scan", graph), reads, writes)],
        types[:n],
        list(range(n)),
        list(range(n)),
        [(v.shape, v.dtype) for v in region.inputs[n:]],
        types[n:],
        count,
        reverse,
    )
    stacked = [program.read(x) for x in rows]
    inputs = [*[program.read(c) for c in first], *stacked, *free]
    outputs = emit(program, loop, inputs, loop_of, line)
    if record:
        shown = outputs[: len(made)]
        saved = [program.read(y) for y in outputs[len(made) :]]
        stored = Stored(saved, stacked, None)
        node = Repeated(program, region, made, shown, stored, (first, rows), loop_of, line)
        attach(node, [made], shown)
    it = iter(outputs[n:])
    return outputs[:n], [y if y is None else next(it) for y in ys], y_form


def _row(x: Any) -> Layout:
    """The layout of a row of a row-major tensor."""
    return layout(x._layout.shape[1:], None, x._layout.dtype, CPU)


@dataclass(eq=False)
class Stored:
    """What the backward pass reads: the carry before each step, stacked; the rows; how many steps
    ran, where only the values say."""

    saved: list[Value]
    rows: list[Value]
    steps: Value | None


class Repeated(Structured):
    """The Node of a loop. Its backward is a loop in the other direction, which runs each step
    again."""

    __slots__ = ("region", "made", "stored", "ends", "loop")

    def __init__(self, program, region, made, shown, stored, given, loop_of, line):
        first, rows = given
        entries = {id(e) for e in region.entries}
        self.ends = [
            end
            for end in region.inner([y for y in made if needs_gradient(y)])[1]
            if id(end[0]) not in entries
        ]
        # In the order in which eager's Nodes of the rows and of the first carry run.
        edges = [*self.ends, *[edge(x) if needs_gradient(x) else None for x in reversed(rows)]]
        edges += [edge(c) if needs_gradient(c) else None for c in reversed(first)]
        super().__init__(program, [y._layout for y in shown], edges, line)
        self.onto = len(self.ends)
        self.region, self.made, self.loop, self.stored = region, made, loop_of, stored

    def name(self) -> str:
        return "ScanBackward" if self.stored.steps is None else "WhileLoopBackward"

    def run(self, arrived: list) -> Sequence[Any]:  # type: ignore[override]
        if is_grad_enabled():
            what = "scan" if self.stored.steps is None else "while_loop"
            raise NotImplementedError(
                f"{what} at {self.line_of}: in a compiled function it has no second derivative; "
                "call it uncompiled where create_graph=True is needed"
            )
        return LoopBackward(self, arrived).results()


class LoopBackward:
    """The loop that makes the gradients of a loop.

    Its carry: the gradients of the carry, then those of what the body uses from outside. A slot is
    empty until something arrives there, as in eager; for each set of full slots there is a phase.
    Where values say how many steps there are, all slots that may be full are outputs, zeros where
    they are not.
    """

    def __init__(self, node: Repeated, arrived: list):
        self.node = node
        self.n = len(node.loop.carry)
        count = len(node.made)
        self.cotangents = [None if g is None else contiguous(g) for g in arrived[:count]]
        self.before = arrived[count:]
        self.start = [*self.cotangents[: self.n], *self.before]
        self.ys = [i for i in range(self.n, count) if self.cotangents[i] is not None]
        self.phases: dict[tuple[bool, ...], _BackwardStep] = {}

    def results(self) -> list[Any]:
        node, n = self.node, self.n
        program, old = node.program, node.loop
        full = tuple([g is not None for g in self.start])
        first = full
        counted = node.stored.steps is not None
        reached = [full]
        for _ in range(old.count):
            if full not in self.phases:
                self.phases[full] = _BackwardStep(self, full)
            elif counted:
                break  # from here on it has been all this before
            full = self.phases[full].after
            reached.append(full)
        if counted:
            full = tuple([any(there) for there in zip(*reached, strict=True)])
        steps = list(self.phases.values())
        numbers = {key: i for i, key in enumerate(self.phases)}
        rows = sorted({i for step in steps for i, g in enumerate(step.rows) if g is not None})
        # Eager adds up a gradient of all rows for each that has one: so -0 becomes 0.
        several = {
            i for i in rows if sum(self.phases[f].rows[i] is not None for f in reached[:-1]) > 1
        }
        inputs = _Inputs(self)
        phases = []
        for step in steps:
            phases.append(step.phase(rows, several, inputs, numbers.get(step.after, 0)))
        slots = [i for i, there in enumerate(first) if there]
        record = Loop(
            phases,
            [(lay.shape, lay.dtype) for lay in self.layouts()],
            slots,
            [i for i, there in enumerate(full) if there],
            [(v.shape[1:], v.dtype) for v in inputs.rows],
            [(node.region.inputs[n + i].shape, node.region.inputs[n + i].dtype) for i in rows],
            old.count,
            not old.backward,
            counted=counted,
        )
        given = [program.read(contiguous(self.start[i])) for i in slots]
        outputs = emit(
            program, loop, [*given, *inputs.rows, *inputs.constants], record, node.line_of
        )
        carry = dict(zip(record.last, outputs, strict=False))
        slopes = dict(zip(rows, outputs[len(record.last) :], strict=True))
        results = [carry.get(n + i) for i in range(len(node.ends))]
        results += [slopes.get(i) for i in reversed(range(len(old.rows)))]
        return [*results, *[carry.get(i) for i in reversed(range(n))]]

    def layouts(self) -> list[Layout]:
        """Of the slots of the carry."""
        found = [y._layout for y in self.node.made[: self.n]]
        for target, number in self.node.ends:
            lay = target.outputs[number] if isinstance(target, Node) else target._layout
            found.append(layout(lay.shape, None, lay.dtype, CPU))
        return found


class _Inputs:
    """What the phases read, each once: stacked values, and values that stay."""

    def __init__(self, backward: LoopBackward):
        node: Any = backward.node
        program, region, stored = node.program, node.region, node.stored
        # What stands for a row inside -> the stacked value.
        self.stacks = dict(zip(map(id, region.inputs), [*stored.saved, *stored.rows], strict=True))
        self.slopes = {i: program.read(backward.cotangents[i]) for i in backward.ys}
        self.rows: list[Value] = []
        self.constants: list[Value] = [] if stored.steps is None else [stored.steps]

    def row(self, stack: Value) -> tuple[str, int]:
        return ROW, position(self.rows, stack)

    def constant(self, v: Value) -> tuple[str, int]:
        return CONSTANT, position(self.constants, v)


class _BackwardStep:
    """The backward pass of one step, where these slots are full."""

    def __init__(self, backward: LoopBackward, full: tuple[bool, ...]):
        node, n = backward.node, backward.n
        self.node, self.full = node, full
        self.part = "scan_backward" if node.stored.steps is None else "while_backward"
        self.ys = backward.ys
        self.region = Region(node.program, node.region.who, node.region)
        ends: list[End] = list(node.ends)
        places = [i for i, e in enumerate(node.region.entries) if e is not None]
        ends += [(node.region.entries[i], 0) for i in places]
        with self.region.recording():
            slots = [
                self.region.given(lay, False) if there else None
                for lay, there in zip(backward.layouts(), full, strict=True)
            ]
            slopes = {i: self.region.given(node.made[i]._layout, False) for i in self.ys}
            roots, cotangents = [], []
            for i in reversed(range(len(node.made))):
                g = slots[i] if i < n else slopes.get(i)
                if g is not None and needs_gradient(node.made[i]):
                    roots.append(node.made[i])
                    cotangents.append(g)
            before = [*slots[n:], *[None] * len(places)]
            sums = Inside(self.region, ends, before, False).go(roots, cotangents)
        found = dict(zip(places, sums[len(node.ends) :], strict=True))
        # A cotangent of a carry that has no gradient goes nowhere.
        self.slots = [*[found.get(i) for i in range(n)], *sums[: len(node.ends)]]
        self.rows = [found.get(n + i) for i in range(len(node.loop.rows))]
        self.after = tuple([g is not None for g in self.slots])

    def phase(self, rows: list[int], several: set[int], inputs: _Inputs, after: int) -> Phase:
        program, region, node = self.node.program, self.region, self.node
        n = len(node.loop.carry)
        with region.recording():
            made = [contiguous(g) for g in self.slots if g is not None]
            for i in rows:
                g = self.rows[i]
                v = node.region.inputs[n + i]
                if g is None:
                    made.append(zeros(v.shape, dtype=v.dtype))
                else:
                    made.append(contiguous(g + 0.0 if i in several else g))
            values = [program.read(g) for g in made]
        own = region.inputs
        graph, free = region.graph([*node.region.inputs, *own], values)
        reads = [inputs.row(inputs.stacks[id(v)]) for v in node.region.inputs]
        reads += [(CARRY, i) for i, there in enumerate(self.full) if there]
        reads += [inputs.row(inputs.slopes[i]) for i in self.ys]
        reads += [inputs.constant(v) for v in free]
        writes = [(CARRY, i) for i, g in enumerate(self.slots) if g is not None]
        writes += [(MADE, i) for i in range(len(rows))]
        return Phase(part(self.part, graph), reads, writes, after)
