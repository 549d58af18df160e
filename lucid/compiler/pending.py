"""`lucid.compile(fullgraph=False)` of what cannot be traced: its Python runs at each call, and what
it computes waits until somebody looks.

compiler/__init__.py runs the function under a `Pending`. Tensors have their memory at once and
their bytes later: where bytes are asked for, and at the end, what has been recorded since becomes
one native segment. What is recorded are rows that cost little to make and to compare; a graph is
made of them only where they are new. Everything else is eager's own Python.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from lucid import apply as funnel
from lucid import dtypes, storage
from lucid.apply import CPU
from lucid.array import Array
from lucid.autograd.mode import no_grad
from lucid.autograd.node import Node
from lucid.autograd.rules import pull_back
from lucid.caches import kept_plans, trim
from lucid.compiler.planned import ProgramPlan
from lucid.compiler.trace import Cell, Chain, Program, Restart
from lucid.compiler.unit import Unit
from lucid.config import settings
from lucid.dtypes import dtype
from lucid.error import TraceError
from lucid.graph import Graph, Value
from lucid.layout import layout
from lucid.lazy import lazy
from lucid.lines import format_line, is_ours, user_function
from lucid.op import Op, find
from lucid.pairing import is_complex
from lucid.tracing import count_programs, traced_by
from lucid.write import touched, write

_threads = lazy("lucid.backend.cpu.threads")

MOST = 1000  # rows that wait
INPUT, NUMBER, UNIT, OP, WHOLE, STRIDES = range(6)  # what a row is

_ours: dict[CodeType, bool] = {}


def _position() -> tuple[CodeType, int]:
    """The user's code and line, as `user_line` finds it, in a fraction of the time."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        ours = _ours.get(code)
        if ours is None:
            ours = _ours[code] = is_ours(code.co_filename)
        if not ours:
            return code, frame.f_lineno or code.co_firstlineno
        frame = frame.f_back
    return _position.__code__, 0


class Slot:
    """Stands for a value of the graph that may be made of the rows."""

    __slots__ = ("place", "shape", "dtype", "strides", "whole")

    def __init__(self, place: int, shape: tuple[int, ...], kind: dtype):
        self.place = place
        self.shape = shape
        self.dtype = kind
        self.strides: tuple[int, ...] | None = None
        self.whole = False


@dataclass(eq=False)
class Segment:
    """A plan; which slots it takes tensors and numbers from; the graph as it was recorded; the
    ids of the numbers that optimizers' formulas take."""

    plan: ProgramPlan
    tensors: list[int]
    numbers: list[int]
    before: str
    rates: frozenset[int]


@dataclass
class Ran:
    """What one call came to: its segments, with the seconds of their steps where these are asked
    for, and where Python looked into a tensor."""

    segments: list[tuple[Segment, list[float]]] = field(default_factory=list)
    breaks: list[str] = field(default_factory=list)


_segments: dict[tuple, Segment] = kept_plans({})
_planning = threading.Lock()


def run_pending(
    function: Callable, args: tuple, kwargs: dict, name: str, timed: bool = False
) -> tuple[Any, Ran]:
    """function(*args, **kwargs) in Python, its computations in native segments."""
    pending = Pending(name, timed)
    count_programs(1)
    try:
        with traced_by(pending):
            try:
                made = function(*args, **kwargs)
            except BaseException:
                with contextlib.suppress(Exception):  # another error would hide this one
                    pending.flush()
                raise
            pending.flush()
    finally:
        count_programs(-1)
    if pending.failed is not None:
        raise TraceError(
            f"compile: an error inside of {name} was caught there, but what was computed together "
            "with it is lost; compile the parts without the `try`"
        ) from pending.failed
    return made, pending.ran


class Pending(Program):
    """Operations that wait. What the tape keeps is as in eager."""

    pending = True

    def __init__(self, name: str, timed: bool):
        super().__init__()
        self.name = name
        self.timed = timed
        self.ran = Ran()
        self.started = -1  # Nodes of earlier calls are gone through like others
        self.host = _Steps(self)
        self.rows: list[tuple] = []
        self.slots: list[Slot] = []
        self.outside: dict[int, Cell] = {}  # by slot: what comes from outside
        self.numbers: dict[int, Any] = {}
        self.shared: set[int] = set()  # storages whose bytes somebody outside may look at
        self.kept: list[Any] = []  # keeps their ids valid
        self.failed: BaseException | None = None

    # ---- what the funnel hands over -----------------------------------------------------------

    def call(self, op: type[Op], inputs: Sequence, params: tuple, everything: bool = False) -> Any:
        if len(self.rows) > MOST:
            self.flush()
        parent = super().call
        return self._tried(
            lambda: parent(op, inputs, params, everything),
            lambda: funnel._apply(op, tuple(inputs), params, everything),
        )

    def complex(self, op: type[Op], inputs: tuple, params: tuple, everything: bool) -> Any:
        """Complex numbers are not planned: such a call runs at once."""
        return self.at_once(lambda: funnel._apply(op, inputs, params, everything))

    def rules(self, node: Node, needed: tuple, arrived: Sequence[Any]) -> Any:
        parent = super().rules

        def eager() -> Any:
            return pull_back(node, needed, list(arrived), False, False)[0]

        if node.recipe.direct:
            return self.at_once(eager)
        return self._tried(lambda: parent(node, needed, arrived), eager)

    def store(self, key: tuple, target: Any, into: Callable[..., Any], inputs: Sequence) -> None:
        parent = super().store

        def eager() -> None:
            with no_grad():
                write(find("assign"), target, (into(*inputs),))
            target._storage.version -= 1  # the caller counts it

        self._tried(lambda: parent(key, target, into, inputs), eager)
        if id(target._storage) in self.shared:
            self.flush()

    def _tried(self, record: Callable[[], Any], eager: Callable[[], Any]) -> Any:
        """record(), if need be with nothing waiting and its storage as one row; or else eager()."""
        for _ in range(3):
            try:
                return record()
            except Restart as again:
                self.flush()
                self.flat |= {again.block}
            except TraceError:
                break
        return self.at_once(eager)

    def at_once(self, eager: Callable[[], Any]) -> Any:
        self.flush()
        with traced_by(None):
            return eager()

    def shown(self, x: Any, y: Any, step: Chain) -> None:
        # Where the way is not known it is found when y is read.
        with contextlib.suppress(Restart, TraceError):
            super().shown(x, y, step)

    # ---- rows ---------------------------------------------------------------------------------

    def _slot(self, shape: tuple[int, ...], kind: dtype) -> Slot:
        slot = Slot(len(self.slots), shape, kind)
        self.slots.append(slot)
        return slot

    def cell(self, x: Any) -> Cell:
        block = x._storage
        found = self.cells.get(id(block))
        if found is not None:
            return found
        lay, offset = x._layout, x._offset
        if not lay.contiguous or offset or lay.nbytes != block.nbytes or id(block) in self.flat:
            size, left = divmod(block.nbytes, lay.dtype.itemsize)
            if size and not left:  # other views of it may follow
                lay, offset = layout((size,), None, lay.dtype, CPU), 0
        strides = None if lay.contiguous else lay.strides
        slot: Any = self._slot(lay.shape, lay.dtype)
        self.rows.append((INPUT, lay.shape, lay.dtype, strides))
        found = self.cells[id(block)] = Cell(block, lay, offset, slot, slot)
        self.outside[slot.place] = found
        self.chains[id(block), lay, offset] = ()
        return found

    def new(self, value: Any, strides: tuple[int, ...] | None = None) -> Any:
        lay = layout(value.shape, strides, value.dtype, CPU)
        if strides is not None and not lay.contiguous:
            self.rows.append((STRIDES, value.place, strides))
        self.rows.append((WHOLE, value.place))
        block = storage.allocate(lay.nbytes)
        self.cells[id(block)] = Cell(block, lay, 0, value, None)
        self.chains[id(block), lay, 0] = ()
        return funnel.wrap(block, lay)

    def value_of(self, x: Any) -> Any:
        """Numbers arrive with the call, as in eager: another one is no other plan."""
        if isinstance(x, Array):
            return self.read(x)
        slot = self._slot((), dtypes.of_scalar(x))
        self.rows.append((NUMBER, slot.dtype))
        self.numbers[slot.place] = x
        return slot

    def put_unit(self, found: Unit, given: Sequence) -> list[Any]:
        places = tuple([self.value_of(x).place for x in given])
        self.rows.append((UNIT, found, places, _position()))
        return [self._slot(*kind) for kind in found.kinds]

    def _add(self, op: type[Op], inputs: Sequence[Any], params: tuple) -> Any:
        shape, kind = op.infer([(v.shape, v.dtype, False) for v in inputs], params)[0]
        self.rows.append((OP, op, params, tuple([v.place for v in inputs]), _position()))
        return self._slot(tuple(shape), kind)

    def put(self, target: Any, value: Any) -> None:
        super().put(target, value)
        cell = self.cell(target)
        if cell.value is not value and not cell.layout.contiguous:
            self.rows.append((STRIDES, cell.value.place, cell.layout.strides))

    # ---- what Python asks -----------------------------------------------------------------------

    def reserve(self, generator: Any, n: int) -> tuple[int, int]:  # type: ignore[override]
        return generator.taken(n)

    def constant(self, x: Any) -> Any:
        return x

    def altered(self, x: Any, what: str) -> None:
        pass

    def note_grad(self, x: Any, read: bool = True) -> None:
        pass

    def note_write(self, x: Any) -> None:
        pass

    def asked(self, x: Any, what: str) -> None:
        """Python asks for the bytes of a tensor: they are computed."""
        block = x._storage
        if what not in ("item", "tolist", "repr", "pickle"):
            self.shared.add(id(block))
            self.kept.append(block)
        cell = self.cells.get(id(block))
        if cell is not None and cell.value is not cell.first:
            shape = tuple(x._layout.shape)
            self.ran.breaks.append(f"{user_function()}: {what} of a tensor of shape {shape}")
            del cell
            self.flush()

    def flush(self) -> None:
        """Compute what is still looked at."""
        rows, cells, outside, numbers = self.rows, self.cells, self.outside, self.numbers
        slots = self.slots
        self.rows, self.cells, self.outside, self.numbers, self.slots = [], {}, {}, {}, []
        self.chains, self.views, self.flat = {}, {}, frozenset()
        made: list[Any] = []
        written: list[Any] = []
        for cell in cells.values():
            if cell.first is not None:
                if cell.value is not cell.first:
                    written.append(cell)
            elif sys.getrefcount(cell.storage) > 2 and cell.layout.numel:
                made.append(cell)  # a tensor, or a Node, has it besides this cell
        if not made and not written:
            return
        key = (
            settings.passes,
            _threads.get_num_threads(),
            *rows,
            *[(c.value.place, c.layout) for c in made],
            *[(c.value.place, c.first.place, c.layout) for c in written],
        )
        found = _segments.get(key)
        if found is None:
            with _planning:
                found = _segments.get(key) or _planned(self.name, key, rows, made, written)
        targets = [_address(c) for c in written]
        arguments: list[Any] = [c.storage.ptr for c in made]
        arguments += targets
        arguments += [_address(outside[place]) for place in found.tensors]
        arguments += [numbers[place] for place in found.numbers]
        seconds: list[float] = []
        try:
            if self.timed:
                seconds = found.plan.times(*arguments)
            else:
                found.plan.run(*arguments)
        except BaseException as error:
            self.failed = self.failed or error
            raise
        finally:
            del slots
        self.ran.segments.append((found, seconds))


def _address(cell: Cell) -> int:
    return cell.storage.ptr + cell.offset * cell.layout.dtype.itemsize


def _graph(rows: Sequence[tuple]) -> tuple[Graph, list[Value]]:
    """The graph of the rows, and the value of each slot."""
    graph = Graph()
    values: list[Value] = []
    calls = 0
    for kind, *row in rows:
        if kind == INPUT:
            shape, of, strides = row
            values.append(Value(shape, of, strides=strides))
            graph.inputs.append(values[-1])
        elif kind == NUMBER:
            values.append(Value((), row[0], True))
            graph.inputs.append(values[-1])
        elif kind == UNIT:
            unit, places, (code, line) = row
            calls += 1
            at = format_line(code.co_filename, line)
            values += unit.put_into(graph, [values[i] for i in places], at, calls)
        elif kind == OP:
            op, params, places, (code, line) = row
            values.append(graph.add(op, [values[i] for i in places], params)[0])
            graph.equations[-1].line = format_line(code.co_filename, line)
        elif kind == WHOLE:
            values[row[0]].whole = True
        elif values[row[0]].strides is None:
            values[row[0]].strides = row[1]
    return graph, values


def _planned(
    name: str, key: tuple, rows: Sequence[tuple], made: Sequence[Any], written: Sequence[Any]
) -> Segment:
    graph, values = _graph(rows)
    graph.outputs = [values[c.value.place] for c in (*made, *written)]
    firsts = [values[c.first.place] for c in written]
    into = {len(made) + i: v for i, v in enumerate(firsts)}
    before = str(graph.pruned())
    places = {id(v): i for i, v in enumerate(values)}
    read = {id(v) for e in graph.equations for v in e.inputs}
    read |= {id(v) for v in (*graph.outputs, *firsts)}
    inputs = [v for v in graph.inputs if id(v) in read]
    tensors = [v for v in inputs if not v.weak]
    numbers = [v for v in inputs if v.weak]
    graph.inputs = [*tensors, *numbers]
    given = {id(values[i]) for r in rows if r[0] == UNIT and r[1].updates for i in r[2]}
    plan = ProgramPlan(graph, [c.layout.strides for c in (*made, *written)], name, into)
    trim(_segments)
    found = _segments[key] = Segment(
        plan,
        [places[id(v)] for v in tensors],
        [places[id(v)] for v in numbers],
        before,
        frozenset(given.intersection(map(id, numbers))),
    )
    return found


class _Steps:
    """Optimizers run as they are; their formulas wait like all else."""

    def __init__(self, pending: Pending):
        self.pending = pending

    def update(
        self,
        formula: Callable[..., Any],
        rows: Sequence[tuple],
        real: Sequence[tuple],
        numbers: Any,
        flags: dict[str, Any],
        changed: Callable[..., tuple],
    ) -> None:
        pending = self.pending
        if any(is_complex(row, ()) for row in rows):
            update = lazy("lucid.optim.update")
            pending.flush()
            with traced_by(None):
                update.update_all(formula, real, numbers, **flags)
            return
        key = (formula, *flags.items())
        for row in rows:
            given = (*row, *numbers)

            def record(row: tuple = row, given: tuple = given) -> int:
                return pending.put_row(key, changed, row, given)

            def eager(row: tuple = row, given: tuple = given) -> int:
                values = changed(*given)
                with no_grad():
                    for target, value in zip(row, values, strict=False):
                        write(find("assign"), target, (value,))
                        target._storage.version -= 1
                return len(values)

            for target in row[: pending._tried(record, eager)]:
                touched(formula.__name__, target)
