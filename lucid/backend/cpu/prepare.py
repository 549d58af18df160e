"""`StageCode`: a stage of a kernel made ready to be written as machine code.

schedule.py makes one for each stage, stages.py writes it. Its expressions are lowered (access.py)
and sorted by the loop in which they belong. Lanes lie along the last inner axis or the last grid
axis (`Kernel.vector`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lucid.backend.cpu.access import CONTIGUOUS, UNIFORM, Lowering, Table
from lucid.backend.cpu.llvm import Value
from lucid.backend.cpu.rare import FIXED, Item, grouped
from lucid.dtypes import bool_, dtype, int64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Buffer, Fold, Kernel, Map, Scan, Stage

AHEAD = 1 << 18  # bytes of a row that is asked for while the one before it is worked on
BELOW = 8  # rows by which a fold of columns reads ahead
ABREAST, SHARED = 16, 2048  # most rows that go through a stage together, and their elements
UNROLLED = 27  # points of inner axes of constant extents that are written out


def rows_abreast(kernel: Kernel) -> int:
    """Rows that go through a stage one after another before the next stage: where each of them
    waits for what it has folded, the next one has work. Their length must be a known number."""
    extents = [[a.extent for a in s.axes] for s in kernel.stages if s.axes]
    folds = [s for s in kernel.stages if isinstance(s, Fold)]
    if (
        (kernel.vector != "inner" or not kernel.grid or kernel.ordered or len(extents) < 2)
        or any(isinstance(s, Scan) for s in kernel.stages)
        or any(n.op != "const" for several in extents for n in several)
        or any(kind is bool_ for s in folds for kind in s.monoid.dtypes)
    ):
        return 1
    longest = max(math.prod(int(n.attr) for n in several) for several in extents)
    return min(max(SHARED // max(longest, 1), 1), ABREAST)


@dataclass
class StoreCode:
    """A store made ready: `args` are those of a read in the same mode."""

    buffer: Buffer
    mode: str
    args: tuple[Expr, ...]
    value: Expr
    mask: Expr | None


class StageCode:
    """A stage's expressions, lowered and sorted by depth."""

    def __init__(self, kernel: Kernel, stage: Stage, table: Table, grid: bool, block: int):
        self.stage = stage
        inner = [a.name for a in stage.axes]
        depths = {a.name: 1 for a in kernel.grid}
        self.entry = 1
        lane = None
        if grid:
            lane = kernel.grid[-1].name
            depths[lane] = self.entry = 2
        elif kernel.vector == "inner" and inner and not isinstance(stage, Scan):
            lane = inner[-1]
        self.lane = lane
        for place, name in enumerate(inner):
            depths[name] = self.entry + 1 + place
        self.depths = depths
        self.innermost = self.entry + len(inner)
        ragged = any(
            n.op == "index" and n.attr in inner for n in e.postorder([a.extent for a in stage.axes])
        )
        # The axis whose steps prefetches and transposed reads follow.
        steps = (
            (stage.axes if isinstance(stage, Fold) else kernel.grid[:-1]) if grid else kernel.grid
        )
        row = steps[-1].name if steps else ""
        self.low = low = Lowering(
            table,
            {b.name: b for b in kernel.buffers},
            depths,
            lane,
            self.entry,
            self.innermost,
            grid,
            block,
            not ragged,
            row,
        )
        self.ahead: list[tuple[Expr, Expr, dtype]] = []  # see `look_ahead`
        # Signals are looked for after so many turns of each loop (schedule.py), fewer wide ones.
        self.width_bits = max(block.bit_length() - 3, 0) if grid else 0
        self.pauses: list[Value] = []
        stores = stage.stores if isinstance(stage, Map | Scan) else ()
        low.written = {s.buffer for s in stores}
        if rows_abreast(kernel) > 1:
            low.moving = {b.name for b in kernel.buffers if b.role == "local"}
        if not inner:
            low.early = {b.name for b in kernel.buffers if b.role == "in"}
        self.extents = [low.lower(a.extent) for a in stage.axes]
        sizes = [int(x.attr) if x.op == "const" else 1 << 20 for x in self.extents]
        # Loops over few points are written out.
        self.unrolled = math.prod(sizes) <= UNROLLED and lane not in inner
        self.initial: list[Expr] = []
        self.update: list[Expr] = []
        if isinstance(stage, Scan):
            self.initial = [low.lower(x) for x in stage.initial]
            self.update = [low.lower(x) for x in stage.update]
            if grid:
                self.initial = [low.widen(x) for x in self.initial]
                self.update = [low.widen(x) for x in self.update]
        self.stores = [self._store(s.buffer, s.subscripts, s.value, s.mask) for s in stores]
        self.values: list[Expr] = []
        if isinstance(stage, Fold):
            self.values = [low.lower(v) for v in stage.values]
            if lane is not None:
                self.values = [low.widen(v) for v in self.values]
        self._sort()
        if grid and isinstance(stage, Fold) and inner and not self.unrolled:
            self._look_below()

    def _store(
        self, name: str, subscripts: Sequence[Expr], value: Expr, mask: Expr | None
    ) -> StoreCode:
        low = self.low

        def after(node: Expr) -> Expr | None:
            return self.update[node.attr[1]] if node.op == "next" else None

        places = [low.lower(s, after) for s in subscripts]
        mode, args = low.address(name, places)
        made = low.lower(value, after)
        made_mask = low.lower(mask, after) if mask is not None else None
        if mode != UNIFORM:
            made = low.widen(made)
            made_mask = low.widen(made_mask) if made_mask is not None else None
        elif low.wide[id(made)] or (made_mask is not None and low.wide[id(made_mask)]):
            raise ValueError(
                f"store to {name}: the value differs along {self.lane}, the subscripts do not"
            )
        return StoreCode(low.buffers[name], mode, args, made, made_mask)

    def look_ahead(self) -> None:
        """Have this stage ask for the next row while it works on this one.

        Caches foresee a row that is read at the pace of memory; they do not foresee the next one
        while a stage that computes goes over a row for the second time.
        """
        low = self.low
        for node in [n for level in self.each for n in level]:
            if node.op != "read" or node.attr[1] != CONTIGUOUS:
                continue
            found = low.advance.get(id(node.args[0]))
            if found is None:
                continue
            name, step = found
            kind = low.buffers[name].dtype
            limit = AHEAD // kind.itemsize
            inside = low.node(
                "le", (low.node("abs", (step,)), low.lower(e.const(limit, int64))), bool_
            )
            # a row too long to wait in the cache: the line that is read anyway
            nothing = low.lower(e.const(0, int64))
            step = low.node("where", (inside, step, nothing), int64)
            self.ahead.append((node.args[0], step, kind))
        self._sort()

    def _look_below(self) -> None:
        """Ask for rows further down while columns are folded: no cache foresees them, since they
        lie further apart than a page."""
        low = self.low
        for node in self.each[self.innermost]:
            if node.op == "read" and node.attr[1] == CONTIGUOUS:
                found = low.advance.get(id(node.args[0]))
                if found is not None:
                    name, step = found
                    step = low.node("mul", (step, low.lower(e.const(BELOW, int64))), int64)
                    self.ahead.append((node.args[0], step, low.buffers[name].dtype))
        self._sort()

    def _sort(self) -> None:
        low = self.low
        roots = [x for _, x, _ in self.ahead]
        roots += [*self.values, *self.initial, *self.update, *self.extents]
        for s in self.stores:
            roots += [*s.args, s.value, *([s.mask] if s.mask is not None else [])]
        live = {id(n) for n in e.postorder(roots)}
        self.once: list[list[Expr]] = [[] for _ in range(self.innermost + 1)]  # by depth
        self.each: list[list[Expr]] = [[] for _ in range(self.innermost + 1)]
        for node in low.order:
            if id(node) in live:
                group = self.each if low.many[id(node)] else self.once
                group[low.depth[id(node)]].append(node)
        hoisted = [
            n for level in (self.once, self.each) for d in level[: self.innermost] for n in d
        ]
        self.guarded = bool(self.stage.axes) and any(n.op in FIXED for n in hoisted)
        # `each` in the order of emission: what is seldom needed in the innermost loop in groups
        users = [n for n in low.order if id(n) in live]
        self.items: list[Sequence[Item]] = [*self.each[:-1]]
        self.items.append(grouped(self.each[-1], roots, users))

    @property
    def size(self) -> int:
        """Operations of the innermost loop: what unrolling is decided by."""
        return len(self.each[self.innermost])

    @property
    def operations(self) -> int:
        """A rough count of the work on one element, a load being worth four operations."""
        nodes = self.once[self.innermost] + self.each[self.innermost]
        reads = sum(n.op in ("read", "guarded") for n in nodes) + len(self.stores)
        return 1 + 4 * reads + sum(bool(n.args) and n.op != "step" for n in nodes)
