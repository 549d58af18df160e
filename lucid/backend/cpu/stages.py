"""The stages of a kernel as loops over vectors: maps, folds and scans at one point of the grid.

schedule.py places them in the loops over the grid; prepare.py makes a stage ready, `Body` writes
it. The order of a fold is that of loops.Fold; the other choices here do not change bits.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from lucid.backend.cpu import interrupt
from lucid.backend.cpu.access import CONTIGUOUS, UNIFORM, Lowering, Table
from lucid.backend.cpu.emit import Emitter, memory, register
from lucid.backend.cpu.llvm import Function, Slot, Value, lanes
from lucid.backend.cpu.prepare import StageCode, StoreCode
from lucid.backend.cpu.rare import Rare
from lucid.dtypes import bool_, dtype, int64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr
from lucid.kernel.loops import (
    ACCUMULATORS,
    COLUMN_BLOCK,
    LANES,
    ROW_BLOCK,
    Fold,
    Kernel,
    Map,
    Scan,
    Stage,
)


class Scope:
    """The values emitted at one level of the loops, and those around it."""

    def __init__(self, parent: "Scope | None" = None):
        self.parent = parent
        self.values: dict[object, list[Value]] = {}

    def find(self, key: object) -> list[Value] | None:
        scope: Scope | None = self
        while scope is not None:
            found = scope.values.get(key)
            if found is not None:
                return found
            scope = scope.parent
        return None


class Body:
    """Writes stages into one function. `units` vectors are in flight; `mask` says which lanes of
    a last, partial vector count."""

    def __init__(
        self,
        kernel: Kernel,
        table: Table,
        function: Function,
        emitter: Emitter,
        expand: Callable[[list[Expr]], list[Expr]],
        arguments: Callable[[Expr], Value],
    ):
        self.kernel = kernel
        self.table = table
        self.f = function
        self.emitter = emitter
        self.expand = expand
        self.arguments = arguments  # the value of a word, a scalar or a buffer's address
        self.units = 1
        self.mask: Value | None = None
        self.given: dict[int, Value] = {}  # reads whose value is here already
        self.buffers = {b.name: b for b in kernel.buffers}

    # Nodes

    def emit_once(self, code: StageCode, depth: int, scope: Scope) -> None:
        for node in code.once[depth]:
            if scope.find(id(node)) is None:
                scope.values[id(node)] = [self.node(code.low, node, scope, 0)]

    def emit_each(self, code: StageCode, depth: int, scope: Scope, unit: int) -> None:
        for node in code.items[depth]:
            if isinstance(node, Rare):
                self.rare(code, node, scope, unit)
                continue
            key = id(node)
            if key not in scope.values:
                if scope.find(key) is not None:
                    continue
                made = self.node(code.low, node, scope, unit)
                scope.values[key] = [made]
            elif len(scope.values[key]) == unit:
                scope.values[key].append(self.node(code.low, node, scope, unit))

    def rare(self, code: StageCode, group: Rare, scope: Scope, unit: int) -> None:
        """The values of a group's choices; a branch around what only they need."""
        f = self.f
        if len(scope.find(id(group.choices[0])) or ()) > unit:
            return
        condition = self.value(group.condition, scope, unit)
        usual = [self.value(c.args[2], scope, unit) for c in group.choices]
        slots = [f.slot(y.kind, y) for y in usual]
        bits = f.cast(condition, "bitcast", f"i{LANES}")
        with f.when(bits.ne(0)):
            inner = Scope(scope)
            for node in group.nodes:
                inner.values[id(node)] = [self.node(code.low, node, inner, unit)]
            for slot, choice, y in zip(slots, group.choices, usual, strict=True):
                slot.set(f.select(condition, self.value(choice.args[1], inner, unit), y))
        for slot, choice in zip(slots, group.choices, strict=True):
            scope.values.setdefault(id(choice), []).append(slot.get())

    def emit_level(self, code: StageCode, depth: int, scope: Scope) -> None:
        self.emit_once(code, depth, scope)
        for unit in range(self.units):
            self.emit_each(code, depth, scope, unit)

    def value(self, node: Expr, scope: Scope, unit: int = 0) -> Value:
        found = scope.find(id(node))
        if found is None:
            raise AssertionError(f"not emitted yet: {node.op} {node.attr}")
        return found[min(unit, len(found) - 1)]

    def demand(self, code: StageCode, node: Expr, scope: Scope) -> Value:
        """A uniform node now, with what it needs."""
        for n in e.postorder([node]):
            if scope.find(id(n)) is None:
                scope.values[id(n)] = [self.node(code.low, n, scope, 0)]
        return self.value(node, scope)

    def node(self, low: Lowering, node: Expr, scope: Scope, unit: int) -> Value:
        f, op = self.f, node.op
        args = [self.value(a, scope, unit) for a in node.args]
        if op in ("word", "scalar", "base"):
            return self.arguments(node)
        if op == "splat":
            if node.args[0].op == "const":
                return self.emitter.apply(node.args[0], [], LANES)
            return f.splat(args[0], LANES)
        if op == "ramp":
            return f.iota(LANES) * f.splat(args[0], LANES)
        if op == "lane":
            start = self.value(self.table.make("start", (), int64, node.attr), scope)
            start = start + LANES * unit if unit else start
            return f.splat(start, LANES) + f.iota(LANES)
        if op == "step":
            return f.address(args[0], args[1], memory(self.buffers[node.attr].dtype))
        if op == "read":
            return self.read(node, args, unit)
        if op == "guarded":
            return self.guarded(node, args, unit)
        if op == "checked":
            return self.check(node, args)
        return self.emitter.apply(node, args, LANES if low.wide[id(node)] else 1)

    def pointer(self, mode: str, kind: str, args: Sequence[Value], unit: int) -> Value:
        """The address, or addresses, of a read or a store."""
        f, at = self.f, args[0]
        if mode == UNIFORM:
            return at
        if mode == CONTIGUOUS:
            return f.address(at, LANES * unit, kind) if unit else at
        if unit:
            at = f.address(at, args[2] * (LANES * unit), kind)
        offsets = args[1]
        return f.emit(
            f"getelementptr {kind}, ptr {at.name}, {offsets.kind} {offsets.name}",
            f"<{LANES} x ptr>",
        )

    def read(self, node: Expr, args: Sequence[Value], unit: int) -> Value:
        f, kind = self.f, memory(node.dtype)
        mode = node.attr[1]
        if id(node) in self.given:
            raw = self.given[id(node)]
            return raw.ne(0) if node.dtype is bool_ else raw
        at = self.pointer(mode, kind, args, unit)
        wide = memory(node.dtype, LANES)
        if mode == UNIFORM:
            raw = f.load(kind, at)
        elif mode == CONTIGUOUS:
            raw = f.load(wide, at) if self.mask is None else f.masked_load(wide, at, self.mask)
        elif node.op == "guarded":
            raw = f.gather(wide, at, self.mask)  # type: ignore[arg-type]
        else:
            raw = f.lanes_at(wide, at, self.mask)
        return raw.ne(0) if node.dtype is bool_ else raw

    def guarded(self, node: Expr, args: list[Value], unit: int) -> Value:
        """A read of the lanes that the last argument has; the others are 0."""
        f, before = self.f, self.mask
        *args, mask = args
        _, mode, seldom = node.attr
        self.mask = mask if before is None else mask & before
        slot = f.slot(register(node.dtype, LANES), f.constant(0, register(node.dtype, LANES)))

        def fetch() -> None:
            raw = self.read(node, args, unit)
            slot.set(f.splat(raw, LANES) if mode == UNIFORM else raw)

        if mode == CONTIGUOUS and not seldom:
            fetch()
        else:
            with f.when(f.cast(self.mask, "bitcast", f"i{LANES}").ne(0)):
                fetch()
        self.mask = before
        return slot.get()

    def full(self) -> Value:
        return self.f.constant(1, f"<{LANES} x i1>")

    def store(self, store: StoreCode, scope: Scope, unit: int) -> None:
        f, kind = self.f, memory(store.buffer.dtype)
        args = [self.value(a, scope, unit) for a in store.args]
        value = self.value(store.value, scope, unit)
        mask = self.value(store.mask, scope, unit) if store.mask is not None else None
        if value.kind.endswith("i1") or value.kind.endswith("i1>"):
            value = f.cast(value, "zext", memory(bool_, lanes(value.kind)))
        at = self.pointer(store.mode, kind, args, unit)
        if store.mode == UNIFORM:
            if mask is None:
                f.store(value, at)
                return
            with f.when(mask):
                f.store(value, at)
            return
        if self.mask is not None:
            mask = self.mask if mask is None else self.mask & mask
        if store.mode != CONTIGUOUS:
            f.scatter(value, at, self.full() if mask is None else mask)
        elif mask is None:
            f.store(value, at)
        else:
            f.masked_store(value, at, mask)

    def check(self, node: Expr, args: Sequence[Value]) -> Value:
        """Report the first lane whose condition is false; a branch that is seldom taken."""
        f = self.f
        x, good, bad = args
        if good.kind == "i1":
            wrong = good ^ 1
        else:
            lanes_wrong = good ^ 1
            if self.mask is not None:
                lanes_wrong = lanes_wrong & self.mask
            bits = f.cast(f.cast(lanes_wrong, "bitcast", f"i{LANES}"), "zext", "i32")
            wrong = bits.ne(0)
        with f.when(wrong):
            if good.kind != "i1":
                first = f.intrinsic("llvm.cttz.i32", "i32", bits, Value("true", "i1", f))
                bad = f.emit(f"extractelement {bad.kind} {bad.name}, i32 {first.name}", "i64")
            f.call("report", f.arguments[0], f.i64(node.attr), bad)
        return x

    def prefetch(self, code: StageCode, scope: Scope, unit: int) -> None:
        if self.mask is not None:
            return
        f, flags = self.f, [Value(text, "i32", self.f) for text in ("0", "2", "1")]
        for at, step, kind in code.ahead:
            place = f.address(self.value(at, scope), self.value(step, scope), memory(kind))
            place = f.address(place, LANES * unit, memory(kind)) if unit else place
            f.call("llvm.prefetch.p0", place, *flags)

    # Loops

    def _stretches(
        self, extent: Value, length: Value
    ) -> AbstractContextManager[tuple[Value, Value]]:
        """A loop that is long: between its stretches the task may end."""
        words, _, thread = self.f.arguments
        return interrupt.stretches(self.f, words, thread, 0, extent, length)

    def _leave(self, when: Value) -> None:
        """Where an exception waits for the end of the call, the task ends here."""
        words, _, thread = self.f.arguments
        interrupt.leave(self.f, words, thread, when)

    def vectors(
        self, start: Value, stop: Value, units: int, visit: Callable[[Value], None]
    ) -> None:
        """Visit [start, stop) in `units` vectors at a time, then single ones, then a masked one."""
        f, step = self.f, LANES * units
        main = start + ((stop - start) & -step)
        single = start + ((stop - start) & -LANES)
        self.units, self.mask = units, None
        with f.loop(start, main, step) as i:
            visit(i)
        self.units = 1
        if units > 1:
            with f.loop(main, single, LANES) as i:
                visit(i)
        with f.when(single < stop):
            self.mask = f.first_lanes(stop - single, LANES)
            visit(single)
        self.mask = None

    def bind(self, scope: Scope, op: str, name: str, value: Value) -> None:
        scope.values[id(self.table.make(op, (), int64, name))] = [value]

    def stage(self, code: StageCode, outer: Scope) -> None:
        """Everything of one stage at the current point (or vector of points) of the grid."""
        scope = Scope(outer)
        finish = self._begin(code, scope)
        if code.guarded:
            known = [x for x in code.extents if code.low.depth[id(x)] <= code.entry]
            inside = [self.demand(code, x, scope) > 0 for x in known]
            condition = inside[0]
            for other in inside[1:]:
                condition = condition & other
            with self.f.when(condition):
                self._enter(code, Scope(scope))
        else:
            self._enter(code, scope)
        finish(outer)

    def _begin(self, code: StageCode, scope: Scope) -> Callable[[Scope], None]:
        """Set up the state that the stage leaves behind; the result publishes it."""
        f, stage = self.f, code.stage
        self.state: list[list[Slot]] = []
        if isinstance(stage, Map):
            return lambda outer: None
        count = LANES if code.low.wide_state else 1
        for i, kind in enumerate(_state_types(stage)):
            slots = []
            for _ in range(self.units if count > 1 else 1):
                slot = f.slot(register(kind, count))
                if isinstance(stage, Fold):
                    slot.set(self.neutral(stage, count)[i])
                slots.append(slot)
            self.state.append(slots)
        made = self.state

        def publish(outer: Scope) -> None:
            for i, (kind, slots) in enumerate(zip(_state_types(stage), made, strict=True)):
                leaf = self.table.make("folded", (), kind, (stage.number, i))
                outer.values[id(leaf)] = [s.get() for s in slots]

        return publish

    def _enter(self, code: StageCode, scope: Scope) -> None:
        self.emit_once(code, code.entry, scope)
        if code.stage.axes or isinstance(code.stage, Scan):
            for unit in range(self.units if code.low.wide_state else 1):
                self.emit_each(code, code.entry, scope, unit)
        if isinstance(code.stage, Scan):
            for i, first in enumerate(code.initial):
                for unit, slot in enumerate(self.state[i]):
                    slot.set(self.value(first, scope, unit))
        if not code.stage.axes:
            self._point(code, scope)
        else:
            self._axis(code, 0, scope)

    def _axis(self, code: StageCode, place: int, scope: Scope) -> None:
        """The loop of inner axis `place` and all within it."""
        axis = code.stage.axes[place]
        last = place + 1 == len(code.stage.axes)
        extent = self.demand(code, code.extents[place], scope)
        f, depth = self.f, code.entry + 1 + place
        if last and code.lane == axis.name:
            if isinstance(code.stage, Fold):
                self._fold_lanes(code, scope, axis.name, extent)
                return

            def visit(i: Value) -> None:
                inner = Scope(scope)
                self.bind(inner, "start", axis.name, i)
                self._point(code, inner)

            units = 4 if code.size <= 24 else 2
            if not code.pauses:
                self.vectors(f.i64(0), extent, units, visit)
                return
            with self._stretches(extent, code.pauses[place]) as (first, end):
                self.vectors(first, end, units, visit)
            return
        if last and isinstance(code.stage, Fold):
            self._fold_serial(code, scope, axis.name, extent)
            return

        def visit_index(i: Value) -> None:
            inner = Scope(scope)
            self.bind(inner, "index", axis.name, i)
            if last:
                self._point(code, inner)
            else:
                self.emit_level(code, depth, inner)
                self._axis(code, place + 1, inner)

        if code.unrolled:
            for i in range(code.extents[place].attr):
                visit_index(f.i64(i))
            return

        def short() -> None:
            with f.loop(0, extent) as i:
                visit_index(i)

        def long() -> None:
            with self._stretches(extent, code.pauses[place]) as (first, end):
                with f.loop(first, end) as i:
                    visit_index(i)

        # A call in a loop has values wait in memory: short rows of a scan have a loop without it.
        if not code.pauses:
            short()
        elif last and isinstance(code.stage, Scan):
            f.either(extent <= code.pauses[place], short, long)
        else:
            long()

    def _point(self, code: StageCode, scope: Scope) -> None:
        """The innermost level of a map, of a scan, or of a fold without axes."""
        stage, depth = code.stage, code.innermost
        wide = code.lane is not None
        if isinstance(stage, Scan):
            for i, kind in enumerate(_state_types(stage)):
                leaf = self.table.make("state", (), kind, (stage.number, i))
                scope.values[id(leaf)] = [s.get() for s in self.state[i]]
        self.emit_once(code, depth, scope)
        for unit in range(self.units if wide else 1):
            self.emit_each(code, depth, scope, unit)
            self.prefetch(code, scope, unit)
            if isinstance(stage, Fold):
                values = [self.value(v, scope, unit) for v in code.values]
                count = LANES if wide else 1
                block = self.combine(stage, self.neutral(stage, count), values, count)
                self._join(stage, unit, block)
                continue
            for store in code.stores:
                if store.mode != UNIFORM or unit == 0:
                    self.store(store, scope, unit)
            if isinstance(stage, Scan):
                for i, x in enumerate(code.update):
                    if unit < len(self.state[i]):
                        self.state[i][unit].set(self.value(x, scope, unit))

    # Folds

    def neutral(self, fold: Fold, count: int) -> list[Value]:
        return self.emitter.evaluate(self.expand(list(fold.monoid.neutral)), [], count)

    def combine(
        self, fold: Fold, left: Sequence[Value], right: Sequence[Value], count: int
    ) -> list[Value]:
        kinds = fold.monoid.dtypes
        leaves = e.arguments([*kinds, *kinds])
        roots = fold.monoid.combine(leaves[: len(kinds)], leaves[len(kinds) :])
        return self.emitter.evaluate(self.expand(list(roots)), [*left, *right], count)

    def _join(self, fold: Fold, unit: int, block: Sequence[Value]) -> None:
        slots = [s[unit] for s in self.state]
        count = lanes(slots[0].kind)
        for slot, x in zip(
            slots, self.combine(fold, [s.get() for s in slots], block, count), strict=True
        ):
            slot.set(x)

    def _fold_serial(self, code: StageCode, scope: Scope, name: str, extent: Value) -> None:
        """Blocks of COLUMN_BLOCK elements, one after another."""
        f, fold = self.f, code.stage
        assert isinstance(fold, Fold)
        wide = code.lane is not None
        count, units = (LANES, self.units) if wide else (1, 1)
        sums = [[f.slot(x.kind) for x in self.neutral(fold, count)] for _ in range(units)]

        def start() -> None:
            for slots in sums:
                for slot, x in zip(slots, self.neutral(fold, count), strict=True):
                    slot.set(x)

        def visit(i: Value) -> None:
            inner = Scope(scope)
            self.bind(inner, "index", name, i)
            self.emit_once(code, code.innermost, inner)
            for unit in range(units):
                self.emit_each(code, code.innermost, inner, unit)
                self.prefetch(code, inner, unit)
                self._accumulate(code, fold, inner, sums[unit], unit, count)

        def join() -> None:
            for unit in range(units):
                self._join(fold, unit, [s.get() for s in sums[unit]])

        if code.unrolled:
            start()
            for n in range(code.extents[-1].attr):
                visit(f.i64(n))
            join()
            return
        with f.loop(0, extent, COLUMN_BLOCK) as block:
            start()
            with f.loop(block, f.minimum(block + COLUMN_BLOCK, extent)) as i:
                visit(i)
            join()
            if code.pauses:
                following = block + COLUMN_BLOCK
                self._leave((following & (code.pauses[-1] - 1)).eq(0))

    def _accumulate(
        self, code: StageCode, fold: Fold, scope: Scope, slots: list[Slot], unit: int, count: int
    ) -> None:
        values = [self.value(v, scope, unit) for v in code.values]
        before = [s.get() for s in slots]
        made = self.combine(fold, before, values, count)
        for slot, old, new in zip(slots, before, made, strict=True):
            masked = self.mask is not None and not code.low.wide_state
            slot.set(self.f.select(self.mask, new, old) if masked else new)  # type: ignore[arg-type]

    def _fold_lanes(self, code: StageCode, scope: Scope, name: str, extent: Value) -> None:
        """Blocks of ROW_BLOCK elements in ACCUMULATORS vectors; see loops.Fold."""
        f, fold = self.f, code.stage
        assert isinstance(fold, Fold)
        fixed = code.extents[-1]
        short = fixed.op == "const" and int(fixed.attr) <= ROW_BLOCK
        blocks = nullcontext(f.i64(0)) if short else f.loop(0, extent, ROW_BLOCK)
        with blocks as block:
            sums = [
                [f.slot(x.kind, x) for x in self.neutral(fold, LANES)] for _ in range(ACCUMULATORS)
            ]

            def visit(i: Value) -> None:
                inner = Scope(scope)
                self.bind(inner, "start", name, i)
                self.emit_once(code, code.innermost, inner)
                for unit in range(self.units):
                    self.emit_each(code, code.innermost, inner, unit)
                    self.prefetch(code, inner, unit)
                    self._accumulate(code, fold, inner, sums[unit], unit, LANES)

            stop = extent if short else f.minimum(block + ROW_BLOCK, extent)
            self.vectors(block, stop, ACCUMULATORS, visit)
            parts = [[s.get() for s in slots] for slots in sums]
            while len(parts) > 1:
                pairs = zip(parts[::2], parts[1::2], strict=True)
                parts = [self.combine(fold, a, b, LANES) for a, b in pairs]
            self._join(fold, 0, self._across(fold, parts[0]))
            if code.pauses:
                following = block + ROW_BLOCK
                self._leave((following & (code.pauses[-1] - 1)).eq(0))

    def _across(self, fold: Fold, state: list[Value]) -> list[Value]:
        """The lanes of a vector combined by halves."""
        f, count = self.f, LANES
        while count > 1:
            count //= 2
            low = [_part(f, x, 0, count) for x in state]
            high = [_part(f, x, count, count) for x in state]
            state = self.combine(fold, low, high, count)
        return state


def _part(f: Function, x: Value, first: int, count: int) -> Value:
    if count == 1:
        return f.extract(x, first)
    return f.shuffle(x, None, range(first, first + count))


def _state_types(stage: Stage) -> tuple[dtype, ...]:
    if isinstance(stage, Fold):
        return stage.monoid.dtypes
    assert isinstance(stage, Scan)
    return tuple(x.dtype for x in stage.initial)
