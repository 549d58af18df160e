"""A loop nest as machine code: `emit` writes LLVM text, `compile` hands it to jit.py.

plan/lower.py and eager call `compile`. This file writes the loops over the grid: the split into
tasks, rows, and vectors of the last grid axis; stages.py writes what happens at each point.
A kernel is `void name(ptr words)`: error slot, scratch, threads, addresses, words, scalars.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lucid.backend.cpu import interrupt, jit, transposed
from lucid.backend.cpu.access import Lowering, Table
from lucid.backend.cpu.emit import Emitter, register
from lucid.backend.cpu.llvm import Function, Module, Slot, Value
from lucid.backend.cpu.math import expand, unrolling_weight
from lucid.backend.cpu.prepare import StageCode, rows_abreast
from lucid.backend.cpu.stages import Body, Scope
from lucid.backend.cpu.target import Target, target
from lucid.dtypes import FLOATING, int64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr
from lucid.kernel.loops import LANES, Fold, Kernel, Map, Scan, Stage

TASK_BITS = 18  # log2 of the operations in a task
ALONE_BITS = 22  # on one thread, where tasks are only there to look for signals in between
HEADER = 3  # words before the buffers' addresses
ALIGN = 64

Expand = Callable[[list[Expr]], list[Expr]]


def lanes_along_grid(kernel: Kernel) -> bool:
    """Whether lanes lie along the last grid axis. An inner extent that varies along it forbids
    that; the kernel then runs point by point, with the same bits."""
    if kernel.vector != "grid" or not kernel.grid:
        return False
    last = kernel.grid[-1].name
    extents = [a.extent for stage in kernel.stages for a in stage.axes]
    return all(n.op != "index" or n.attr != last for n in e.postorder(extents))


def expanded(stage: Stage, expand: Expand) -> Stage:
    """The stage with exp, log, ... replaced by primitives."""
    if isinstance(stage, Fold):
        return Fold(stage.number, stage.axes, stage.monoid, tuple(expand(list(stage.values))))
    roots: list[Expr] = []
    if isinstance(stage, Scan):
        roots += [*stage.initial, *stage.update]
    for s in stage.stores:
        roots += [*s.subscripts, s.value, *([s.mask] if s.mask is not None else [])]
    done = iter(expand(roots))
    initial: tuple[Expr, ...] = ()
    update: tuple[Expr, ...] = ()
    if isinstance(stage, Scan):
        initial = tuple(next(done) for _ in stage.initial)
        update = tuple(next(done) for _ in stage.update)
    stores = tuple(
        type(s)(
            s.buffer,
            tuple(next(done) for _ in s.subscripts),
            next(done),
            next(done) if s.mask is not None else None,
        )
        for s in stage.stores
    )
    if isinstance(stage, Scan):
        return Scan(stage.number, stage.axes, initial, update, stores)
    return Map(stage.axes, stores)


def units_in_flight(kernel: Kernel) -> int:
    """Vectors of the last grid axis that are worked on together: fewer for long bodies."""
    roots: list[Expr] = []
    for stage in kernel.stages:
        if isinstance(stage, Fold):
            roots += stage.values
            continue
        roots += stage.update if isinstance(stage, Scan) else ()
        roots += [s.value for s in stage.stores]
    nodes = [n for n in e.postorder(roots) if n.args and n.op != "load"]
    size = sum(unrolling_weight(n) if n.op in e.MATH else 1 for n in nodes)
    states = [len(s.monoid.dtypes) for s in kernel.stages if isinstance(s, Fold)]
    if states and sum(states) <= 2 and size <= 12:
        return 8  # a wider strip of rows that lie far apart: fewer pages to a byte
    return 4 if size <= 64 else 2 if size <= 80 else 1


class Schedule:
    """The text of one kernel in the making."""

    def __init__(self, kernel: Kernel, symbol: str, target: Target, expand: Expand):
        self.kernel = kernel
        self.symbol = symbol
        self.target = target
        self.expand = expand
        self.module = Module(target.flags)
        self.table = Table()
        self.grid = lanes_along_grid(kernel)
        stages = [expanded(s, expand) for s in kernel.stages]
        self.units = units_in_flight(kernel)
        self.block = LANES * self.units if self.grid else 1
        self.locals = [b for b in kernel.buffers if b.role == "local"]
        self.abreast = rows_abreast(kernel)
        self.codes = [StageCode(kernel, s, self.table, self.grid, self.block) for s in stages]
        passes = [c for c in self.codes if c.lane is not None and not self.grid]
        if len(passes) > 1 and self.abreast == 1:
            longest = max(passes, key=lambda c: c.operations)
            if len(longest.stores) < 2:  # with more, the rows at hand fill the nearest cache
                longest.look_ahead()
        self.turned = transposed.sources(kernel, self.codes) if self.grid else []
        self.weights = [code.operations for code in self.codes]
        self.narrow = (self.block * (4 if self.grid else 1)).bit_length() - 1
        depths = {a.name: 1 for a in kernel.grid}
        self.low = Lowering(self.table, {}, depths, None, 1, 1, False, 1, True)
        self.extents = [self.low.lower(a.extent) for a in kernel.grid]
        for axis, extent in zip(kernel.grid, self.extents, strict=True):
            if self.low.depth[id(extent)]:
                raise ValueError(f"grid axis {axis.name}: its extent must be the same everywhere")
        self.middle = [self._middle(stage) for stage in stages]
        passed = [b.name for b in kernel.buffers if b.role != "local"]
        self.place: dict[tuple[str, str], int] = {}
        for number, key in enumerate(
            [("base", n) for n in passed]
            + [("word", n) for n in kernel.words]
            + [("scalar", n) for n in kernel.scalars]
        ):
            self.place[key] = HEADER + number

    def text(self) -> str:
        if any(n.op == "checked" for code in self.codes for n in code.low.order):
            self._report()
        self._work()
        self._entry()
        return self.module.text()

    def _middle(self, stage: Stage) -> list[Expr]:
        """The extents of the stage's axes half way along the loops around them."""
        halves: dict[str, Expr] = {}

        def rule(node: Expr) -> Expr | None:
            return halves[node.attr] if node.op == "index" else None

        extents = []
        for axis in (*self.kernel.grid, *stage.axes):
            extent = e.rewrite([axis.extent], rule)[0]
            halves[axis.name] = e.binary("shr", extent, 1)
            extents.append(self.low.lower(extent))
        return extents[len(self.kernel.grid) :]

    # Pieces that both functions use

    def _leaf(self, f: Function, words: Value) -> Callable[[Expr], Value]:
        def read(node: Expr) -> Value:
            place = self.place[node.op, node.attr]
            kind = "i64"
            if node.op == "base":
                kind = "ptr"
            elif node.op == "scalar" and node.dtype.category == FLOATING:
                kind = "double"
            at = f.address(words, place, "i64")
            return f.emit(f"load {kind}, ptr {at.name}, align 8", kind)

        return read

    def _body(self, f: Function) -> Body:
        words = f.arguments[0]
        leaf = self._leaf(f, words)
        return Body(self.kernel, self.table, f, Emitter(f, self.target.flags), self.expand, leaf)

    def _demand(self, body: Body, low: Lowering, node: Expr, scope: Scope) -> Value:
        for n in e.postorder([node]):
            if scope.find(id(n)) is None:
                scope.values[id(n)] = [body.node(low, n, scope, 0)]
        return body.value(node, scope)

    def _work_per_point(self, body: Body, scope: Scope) -> Value:
        """The work of one grid point, in operations on elements: its middle stands for all."""
        f, fixed, total = body.f, 1, None
        for weight, extents in zip(self.weights, self.middle, strict=True):
            if not extents:
                fixed += weight
                continue
            count = f.i64(weight)
            for extent in extents:
                count = count * f.maximum(self._demand(body, self.low, extent, scope), 1)
            total = count if total is None else total + count
        return f.i64(fixed) if total is None else total + fixed

    def _sizes(self, body: Body, scope: Scope) -> tuple[Value | None, Value, Value]:
        """Rows (None: a single one), columns (1 unless lanes lie along the grid) and work."""
        f = body.f
        extents = [self._demand(body, self.low, x, scope) for x in self.extents]
        columns = extents.pop() if self.grid else f.i64(1)
        rows = extents[0] if extents else None
        for x in extents[1:]:
            rows = rows * x
        return rows, columns, self._work_per_point(body, scope)

    def _pauses(self, body: Body, scope: Scope) -> None:
        """After how many turns of each loop of a stage its task looks for signals, powers of two.
        None where the extents are small numbers."""
        f = body.f
        for code, extents in zip(self.codes, self.middle, strict=True):
            code.pauses, inside = [], f.i64(1)
            sizes = [int(x.attr) if x.op == "const" else 1 << 20 for x in extents]
            bits = interrupt.STEP - code.width_bits
            if not sizes or code.unrolled or math.prod(sizes) >> bits == 0:
                continue
            code.pauses = [f.i64(1 << bits)]
            for extent in reversed(extents[1:]):
                inside = inside * f.maximum(self._demand(body, self.low, extent, scope), 1)
                code.pauses.insert(0, f.i64(1) << f.maximum(bits - _log2(f, inside), 0))

    def _task_bits(self, f: Function) -> Value:
        threads = f.load("i64", f.arguments[0], 2)
        return f.select(threads > 1, f.i64(TASK_BITS), f.i64(ALONE_BITS))

    def _chunks(self, f: Function, rows: Value | None, columns: Value, work: Value):
        """Binary logarithms of the rows and columns of a task, and how many tasks lie abreast."""
        left = self._task_bits(f) - _log2(f, work)
        if not self.grid:
            least = max(self.kernel.ordered, 1).bit_length() - 1
            return f.maximum(left, least), None, f.i64(1)
        least = 0
        if self.turned:  # whole tiles of rows
            least = transposed.ROWS.bit_length() - 1
            left = left - least
        wide = f.maximum(left, self.narrow)
        across = (columns + ((f.i64(1) << wide) - 1)) >> wide
        if rows is None:
            return f.i64(0), wide, across
        many = f.maximum(left - _log2(f, columns), 0) + least
        return f.select(across > 1, f.i64(least), many), wide, across

    # Functions

    def _report(self) -> None:
        """report(words, code, value): the first error takes the slot."""
        f = self.module.function(
            "report", [("ptr", "words"), ("i64", "code"), ("i64", "value")], "void", True, "cold"
        )
        words, code, value = f.arguments
        slot = f.load("ptr", words)
        pair = f.emit(
            f"cmpxchg ptr {slot.name}, i64 0, i64 {code.name} acq_rel acquire", "{ i64, i1 }"
        )
        won = f.emit(f"extractvalue {pair.kind} {pair.name}, 1", "i1")
        with f.when(won):
            f.store(value, slot, 1)
        f.finish()

    def _work(self) -> None:
        """work(words, task, slot): one task, or everything if task is negative."""
        f = self.module.function(
            "work", [("ptr", "words"), ("i64", "task"), ("i64", "slot")], "void", True, "noinline"
        )
        words, task, slot = f.arguments
        body, scope = self._body(f), Scope()
        self._scratch(body, scope, words, slot)
        rows, columns, work = self._sizes(body, scope)
        self._pauses(body, scope)
        ranges = [f.slot("i64", x) for x in (f.i64(0), rows or f.i64(1), f.i64(0), columns)]

        with f.when(task >= 0):
            many, wide, across = self._chunks(f, rows, columns, work)
            down = task
            if wide is not None:
                if rows is not None:
                    down = task // across
                    task = task - down * across
                left = task << wide
                ranges[2].set(left)
                ranges[3].set(f.minimum(left + (f.i64(1) << wide), columns))
            if rows is not None:
                first = down << many
                ranges[0].set(first)
                ranges[1].set(f.minimum(first + (f.i64(1) << many), rows))
        for code in self.codes:
            for node in code.once[0]:
                if scope.find(id(node)) is None:
                    scope.values[id(node)] = [body.node(code.low, node, scope, 0)]
        start, stop, left, right = [r.get() for r in ranges]
        self._rows(body, scope, start, stop, left, right)
        f.finish()

    def _rows(
        self, body: Body, scope: Scope, start: Value, stop: Value, left: Value, right: Value
    ) -> None:
        f = body.f
        axes = list(self.kernel.grid[:-1] if self.grid else self.kernel.grid)
        if not axes:
            self._row(body, scope, left, right)
            return
        extents = [body.value(x, scope) for x in self.extents[: len(axes)]]
        # The place of the first row by division, of the next ones by counting.
        counters: list[Slot] = []
        rest = start
        for extent in reversed(extents[1:]):
            upper = rest // extent
            counters.insert(0, f.slot("i64", rest - upper * extent))
            rest = upper
        counters.insert(0, f.slot("i64", rest))
        row = f.slot("i64", start)
        folded: dict[Expr, Value] = {}
        with f.loop_while(lambda: row.get() < stop):
            inner = Scope(scope)
            places = [c.get() for c in counters]
            for axis, place in zip(axes, places, strict=True):
                body.bind(inner, "index", axis.name, place)
            step = f.i64(1)
            if self.turned:
                step = self._tile_or_row(
                    body, scope, inner, row.get(), stop, extents[-1], left, right
                )
            elif self.abreast > 1:
                left_over = f.minimum(stop - row.get(), extents[-1] - places[-1])
                step = f.minimum(left_over, self.abreast)
                for code in self.codes:
                    with f.loop(0, step) as j:
                        one = Scope(inner)
                        body.bind(one, "index", axes[-1].name, places[-1] + j)
                        self._one_of(body, code, one, j, folded)
            else:
                self._row(body, inner, left, right)
            row.set(row.get() + step)
            for counter, place, extent in reversed(
                list(zip(counters, places, extents, strict=True))
            ):
                following = place + step
                if counter is not counters[0]:
                    full = following.eq(extent)
                    step = f.cast(full, "zext", "i64")
                    following = f.select(full, f.i64(0), following)
                counter.set(following)

    def _one_of(
        self, body: Body, code: StageCode, scope: Scope, j: Value, folded: dict[Expr, Value]
    ) -> None:
        """A stage at row j of those that go together. folded: by value, the array of all rows'."""
        f, stage = body.f, code.stage
        for buffer, size in self.sizes.items():
            base = self.table.make("base", (), int64, buffer)
            scope.values[id(base)] = [f.address(body.value(base, scope), j * size)]
        for leaf, array in folded.items():
            scope.values[id(leaf)] = [f.load(register(leaf.dtype), array, j)]
        body.stage(code, scope)
        if isinstance(stage, Fold):
            for i, kind in enumerate(stage.monoid.dtypes):
                leaf = self.table.make("folded", (), kind, (stage.number, i))
                if leaf not in folded:
                    folded[leaf] = f.slot(f"[{self.abreast} x {register(kind)}]").pointer
                f.store(body.value(leaf, scope), folded[leaf], j)

    def _tile_or_row(
        self,
        body: Body,
        scope: Scope,
        inner: Scope,
        row: Value,
        stop: Value,
        extent: Value,
        left: Value,
        right: Value,
    ) -> Value:
        """A tile of rows if that many are left, or one row; how many it was."""
        f, count = body.f, transposed.ROWS
        *others, axis = [a.name for a in self.kernel.grid[:-1]]
        lane = self.kernel.grid[-1].name
        place = body.value(self.table.make("index", (), int64, axis), inner)
        several = (row + count <= stop) & (place + count <= extent)

        def at(j: Value) -> Scope:
            made = Scope(scope)
            for name in others:
                leaf = self.table.make("index", (), int64, name)
                made.values[id(leaf)] = [body.value(leaf, inner)]
            body.bind(made, "index", axis, place + j)
            for code in self.codes:
                body.emit_once(code, 1, made)
                body.emit_each(code, 1, made, 0)
            return made

        f.either(
            several,
            lambda: transposed.emit_tile(body, self.codes, self.turned, at, lane, left, right),
            lambda: self._row(body, inner, left, right),
        )
        return f.select(several, f.i64(count), f.i64(1))

    def _row(self, body: Body, scope: Scope, left: Value, right: Value) -> None:
        """All stages at one row of the grid."""
        if not self.grid:
            for code in self.codes:
                body.stage(code, scope)
            return
        for code in self.codes:
            body.emit_once(code, 1, scope)
            body.emit_each(code, 1, scope, 0)

        def visit(i: Value) -> None:
            point = Scope(scope)
            body.bind(point, "start", self.kernel.grid[-1].name, i)
            for code in self.codes:
                body.stage(code, point)

        body.vectors(left, right, self.units, visit)

    def _entry(self) -> None:
        f = self.module.function(self.symbol, [("ptr", "words")])
        words = f.arguments[0]
        body, scope = self._body(f), Scope()
        rows, columns, work = self._sizes(body, scope)
        points = columns if rows is None else rows * columns if self.grid else rows
        threads = f.load("i64", words, 2)
        several = points * work > (f.i64(2) << self._task_bits(f))

        def parallel() -> None:
            many, _, across = self._chunks(f, rows, columns, work)
            tasks = across
            if rows is not None:
                tasks = ((rows + ((f.i64(1) << many) - 1)) >> many) * across
            f.call("lucid_parallel", Value("@work", "ptr", f), words, tasks, threads)

        with f.when(points > 0):
            f.either(several, parallel, lambda: f.call("work", words, f.i64(-1), f.i64(0)))
        f.finish()

    # Local buffers

    def _scratch(self, body: Body, scope: Scope, words: Value, slot: Value) -> None:
        """The addresses of this thread's local buffers, one after another, aligned."""
        self.sizes: dict[str, Value] = {}  # of a row's part
        if not self.locals:
            return
        f = body.f
        offset, places = f.i64(0), []
        for buffer in self.locals:
            places.append(offset)
            count = f.i64(self.block)
            for extent in buffer.extents:
                count = count * self._demand(body, self.low, self.low.lower(extent), scope)
            self.sizes[buffer.name] = (count * buffer.dtype.itemsize + (ALIGN - 1)) & -ALIGN
            offset = offset + self.sizes[buffer.name] * self.abreast
        start = f.address(f.load("ptr", words, 1), slot * offset)
        for buffer, place in zip(self.locals, places, strict=True):
            node = self.table.make("base", (), int64, buffer.name)
            scope.values[id(node)] = [f.address(start, place)]


def scratch_bytes(kernel: Kernel, words: dict[str, int]) -> int:
    """Bytes of local buffers for each thread, as `Schedule._scratch` lays them out."""
    buffers = [b for b in kernel.buffers if b.role == "local"]
    if not buffers:
        return 0
    block = LANES * units_in_flight(kernel) if lanes_along_grid(kernel) else 1
    total, rows = 0, rows_abreast(kernel)
    for buffer in buffers:
        count = block
        for extent in buffer.extents:
            count *= number(extent, words)
        total += -(-count * buffer.dtype.itemsize // ALIGN) * ALIGN * rows
    return total


def _log2(f: Function, x: Value) -> Value:
    """The binary logarithm of a positive x, rounded up."""
    return 64 - f.intrinsic("llvm.ctlz.i64", "i64", x - 1, Value("false", "i1", f))


def number(node: Expr, words: dict[str, int]) -> int:
    """An expression of words and constants as an int."""
    if node.op == "const":
        return int(node.attr)
    if node.op == "word":
        return words[node.attr]
    a = [number(x, words) for x in node.args]
    rules: dict[str, Callable[[], int]] = {
        "add": lambda: a[0] + a[1],
        "sub": lambda: a[0] - a[1],
        "mul": lambda: a[0] * a[1],
        "idiv": lambda: a[0] // a[1],
        "lt": lambda: a[0] < a[1],
        "gt": lambda: a[0] > a[1],
        "where": lambda: a[1] if a[0] else a[2],
    }
    if node.op not in rules:
        raise ValueError(f"the size of a local buffer cannot use {node.op}")
    return rules[node.op]()


@dataclass(frozen=True)
class CompiledKernel:
    """Machine code of a kernel: its address, and the bytes of scratch that each thread needs for
    given words."""

    address: int
    scratch_per_thread: Callable[[dict[str, int]], int]


def emit(kernel: Kernel, symbol: str, place: Target, expand: Expand = expand) -> str:
    """The kernel as LLVM text that defines `symbol`, a `void (ptr words)`."""
    return Schedule(kernel, symbol, place, expand).text()


def compile(kernel: Kernel) -> CompiledKernel:
    """The kernel as machine code for the present target."""
    address = jit.function(str(kernel), lambda symbol: emit(kernel, symbol, target()))
    return CompiledKernel(address, lambda words: scratch_bytes(kernel, words))
