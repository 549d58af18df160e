"""The loops of a matrix product around its register tile: tasks, blocks of k, packing, epilogue.

gemm.py chooses a `Variant` and fills the words. The text is generic in sizes and strides: a new
size needs at most new register tiles (gemm_tile.py), whose addresses are words too.

    for task: for block of k: pack B; for strip of rows: (pack A); for panel of columns: tile
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lucid.backend.cpu import gemm_pack, interrupt
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.emit import memory
from lucid.backend.cpu.gemm_epilogue import Block, Epilogue, emit_block
from lucid.backend.cpu.gemm_tile import ADD, AHEAD, ARGUMENTS, COPYING, STORE, Tile
from lucid.backend.cpu.target import Target
from lucid.dtypes import dtype

PACKING = ("rows", "columns", "any")  # of B, each in panels before it is read


@dataclass(frozen=True)
class Variant:
    """What the text depends on. left, right: how A and B are packed (gemm_pack.py), or "direct".
    right "aligned": direct where rows of B start on lines of the cache, otherwise the first strip
    of rows packs it on the way. right "packed": B has come in panels, see gemm.packed_panels.
    No epilogue: the tile stores to C itself."""

    storage: dtype
    left: str
    right: str
    batch_dims: int
    epilogue: Epilogue | None

    def key(self) -> str:
        finish = self.epilogue.key() if self.epilogue else "none"
        return (
            f"gemm {self.storage.name} {self.left} {self.right} {self.batch_dims}\n"
            f"epilogue {finish}"
        )

    @property
    def packing(self) -> bool:
        """Whether B is packed before it is read."""
        return self.right in PACKING

    @property
    def reads_right(self) -> bool:
        """Whether tiles may read B where it lies."""
        return self.right in ("aligned", "direct")

    @property
    def operands(self) -> int:
        return len(self.epilogue.kinds) if self.epilogue else 0


LINE = 64  # bytes of a line of the cache
HEADER = 3  # words before the pointers: error slot, scratch, threads
# Of a register tile: [rows - 1][full or last panel].
BODIES = 2


def address_names(operands: int, batch_dims: int) -> list[str]:
    """The words that say where the matrices lie: the first ones of every product."""
    each, batch = range(operands), range(batch_dims)
    return [
        *("a", "b", "c"),
        *(f"operand{i}" for i in each),
        *("m", "n", "k", "a_m", "a_k", "b_k", "b_n", "c_m", "c_n"),
        *(f"operand{i}_m" for i in each),
        *(f"operand{i}_n" for i in each),
        *(f"batch{d}" for d in batch),
        *(f"{x}_batch{d}" for x in "abc" for d in batch),
        *(f"operand{i}_batch{d}" for i in each for d in batch),
    ]


def word_names(variant: Variant, rows: int) -> list[str]:
    """The call's words after the header, in order."""
    kinds = ("body", "copying") if variant.right == "aligned" else ("body",)
    return [
        *address_names(variant.operands, variant.batch_dims),
        *("tasks", "row_tiles", "column_tiles", "tile_rows", "tile_panels", "blocks", "depth"),
        *("threads", "slot_bytes", "left_at", "right_at", "sums_at"),
        *(
            f"{kind}{r}_{last}"
            for kind in kinds
            for r in range(1, rows + 1)
            for last in range(BODIES)
        ),
    ]


class Words:
    """Reads the words of a call by name."""

    def __init__(self, f: ll.Function, words: ll.Value, names: Sequence[str]):
        self.f = f
        self.words = words
        self.places = {name: HEADER + i for i, name in enumerate(names)}

    def __getitem__(self, name: str) -> ll.Value:
        return self.f.load("i64", self.words, self.places[name])

    def pointer(self, name: str) -> ll.Value:
        return self.f.load("ptr", self.words, self.places[name])


def emit(symbol: str, machine: Target, tile: Tile, variant: Variant) -> str:
    """The text of a variant: `symbol(ptr words)` and what it calls."""
    module = ll.Module(machine.flags)
    names = word_names(variant, tile.rows)
    if variant.left == "columns":
        gemm_pack.left_columns(module, "pack_left", variant.storage, tile)
    elif variant.left != "direct":
        gemm_pack.left(module, "pack_left", variant.storage, tile, variant.left)
    if variant.packing:
        gemm_pack.right(module, "pack_right", variant.storage, tile, variant.right)
    _Task(module, names, machine, tile, variant).emit()
    emit_entry(module, symbol, names, [("task", "tasks")])
    return module.text()


def emit_entry(
    module: ll.Module, symbol: str, names: Sequence[str], steps: Sequence[tuple[str, str]]
) -> None:
    """void symbol(ptr words): parallel regions, one after another: (task function, count word).

    They run on as many threads as the call may use and the plan has scratch for.
    """
    f = module.function(symbol, [("ptr", "words")])
    words = f.arguments[0]
    w = Words(f, words, names)
    threads = f.minimum(f.load("i64", words, 2), w["threads"])
    for task, count in steps:
        f.call("lucid_parallel", ll.Value(f"@{task}", "ptr", f), words, w[count], threads)
    f.finish()


def locate(
    f: ll.Function, w: Words, units: Sequence[str], batch_dims: int, batch: ll.Value
) -> list[ll.Value]:
    """The addresses of a, b, c and the operands, of types `units`, for one batch element."""
    names = ["a", "b", "c", *(f"operand{i}" for i in range(len(units) - 3))]
    offsets = [f.i64(0) for _ in names]
    for d in reversed(range(batch_dims)):
        index, batch = batch % w[f"batch{d}"], batch // w[f"batch{d}"]
        offsets = [
            o + index * w[f"{name}_batch{d}"] for o, name in zip(offsets, names, strict=True)
        ]
    return [
        f.address(w.pointer(name), offset, unit)
        for name, offset, unit in zip(names, offsets, units, strict=True)
    ]


def call_body(f: ll.Function, body: ll.Value, values: Sequence[ll.Value]) -> None:
    """An indirect call of a register tile: see gemm_tile.body."""
    kinds = COPYING if len(values) == len(COPYING) else ARGUMENTS
    given = ", ".join(f"{kind} {v.name}" for (kind, _), v in zip(kinds, values, strict=True))
    f.line(f"call void {body.name}({given})")


class _Task:
    """void task(ptr words, i64 task, i64 slot): one block of rows by a range of panels."""

    def __init__(
        self, module: ll.Module, names: list[str], machine: Target, tile: Tile, variant: Variant
    ):
        self.f = f = module.function(
            "task", [("ptr", "words"), ("i64", "task"), ("i64", "slot")], internal=True
        )
        self.tile, self.variant, self.machine = tile, variant, machine
        self.beside = variant.epilogue is not None and not variant.epilogue.inside
        self.words, self.number, self.thread = f.arguments
        self.w = w = Words(f, self.words, names)
        self.unit = memory(variant.storage)
        scratch = f.address(f.load("ptr", self.words, 1), self.thread * w["slot_bytes"])
        self.left_at = f.address(scratch, w["left_at"])
        self.right_at = f.address(scratch, w["right_at"])
        self.sums_at = f.address(scratch, w["sums_at"])
        self.rows = f.slot(f"[{tile.rows} x ptr]").pointer
        self.runs = f.slot("[2 x i64]").pointer
        f.store(f.i64(0), self.runs)

    def emit(self) -> None:
        f, w, tile = self.f, self.w, self.tile
        column_tile = self.number % w["column_tiles"]
        rest = self.number // w["column_tiles"]
        row_tile, batch = rest % w["row_tiles"], rest // w["row_tiles"]
        epilogue = self.variant.epilogue
        units = [self.unit, self.unit, memory(epilogue.output) if epilogue else self.unit]
        units += [memory(kind) for kind in epilogue.kinds] if epilogue else []
        self.a, self.b, self.c, *self.operands = locate(f, w, units, self.variant.batch_dims, batch)
        if self.variant.right == "aligned":
            # A vector across two lines of the cache takes two loads, once per strip of rows.
            place = f.cast(self.b, "ptrtoint", "i64") | w["b_k"] * tile.size
            self.packed = (place & (LINE - 1)).ne(0)
        self.first_row = row_tile * w["tile_rows"]
        self.task_rows = f.minimum(w["tile_rows"], w["m"] - self.first_row)
        panels = (w["n"] + (tile.width - 1)) // tile.width
        self.first_panel = column_tile * w["tile_panels"]
        self.stop_panel = f.minimum(self.first_panel + w["tile_panels"], panels)
        strips = (self.task_rows + (tile.rows - 1)) // tile.rows
        with f.loop(0, w["blocks"]) as block:
            self._block(block, strips)
            interrupt.leave(f, self.words, self.thread, block + 1 < w["blocks"])
        f.finish()

    def _block(self, block: ll.Value, strips: ll.Value) -> None:
        f, w, tile, variant = self.f, self.w, self.tile, self.variant
        start = block * w["depth"]
        depth = f.minimum(w["depth"], w["k"] - start)
        f.store(depth, self.runs, 1)
        if variant.packing:
            first = self.first_panel * tile.width
            f.call(
                "pack_right",
                f.address(self.b, start * w["b_k"] + first * w["b_n"], self.unit),
                *(w["b_k"], w["b_n"], depth, self._columns(), self.right_at),
            )
        with self._each_strip(strips, start, depth) as (row, rows, packed):
            self._strip(block, start, depth, row, rows, packed)
            interrupt.leave(f, self.words, self.thread, ((row + rows) & 511) < rows)

    @contextlib.contextmanager
    def _each_strip(
        self, strips: ll.Value, start: ll.Value, depth: ll.Value
    ) -> Iterator[tuple[ll.Value, ll.Value, ll.Value]]:
        """Row, rows, and where they are packed."""
        # Strips differ by one row at most: a short last strip would stall on its few chains.
        f, w, tile = self.f, self.w, self.tile
        least, longer = self.task_rows // strips, self.task_rows % strips

        def part(strip: ll.Value) -> tuple[ll.Value, ll.Value]:
            row = strip * least + f.minimum(strip, longer)
            return row, least + f.select(strip < longer, f.i64(1), f.i64(0))

        if self.variant.left != "columns":
            with f.loop(0, strips) as strip:
                yield *part(strip), self.left_at
            return
        with f.loop(0, strips, gemm_pack.STRIPS) as first:
            stop = f.minimum(first + gemm_pack.STRIPS, strips)
            top, end = part(first)[0], part(stop)[0]
            source = self._source(top, start)
            f.call("pack_left", source, w["a_k"], depth, end - top, self.left_at)
            step = gemm_pack.pitch(tile, depth)
            with f.loop(first, stop) as strip:
                row, rows = part(strip)
                yield row, rows, f.address(self.left_at, (row - top) * step, tile.element)

    def _sums(self) -> tuple[ll.Value, ll.Value]:
        """Where the task's sums go, and the stride of rows there."""
        f, w = self.f, self.w
        if self.beside:
            return self.sums_at, self._pitch()
        column = self.first_panel * self.tile.width
        place = f.address(self.c, self.first_row * w["c_m"] + column, self.tile.element)
        return place, w["c_m"]

    def _source(self, row: ll.Value, start: ll.Value) -> ll.Value:
        w = self.w
        return self.f.address(
            self.a, (self.first_row + row) * w["a_m"] + start * w["a_k"], self.unit
        )

    def _point_rows(self, source: ll.Value, pitch: ll.Value) -> None:
        for i in range(self.tile.rows):  # those beyond the strip are not read
            self.f.store(self.f.address(source, pitch * i, self.tile.element), self.rows, i)

    def _packed(self, panel: ll.Value, start: ll.Value, depth: ll.Value) -> ll.Value:
        if self.variant.right == "packed":
            width = self.tile.width
            panels = (self.w["n"] + (width - 1)) // width
            place = (panels * start + panel * depth) * width
            return self.f.address(self.b, place, self.tile.element)
        place = (panel - self.first_panel) * depth * self.tile.width
        return self.f.address(self.right_at, place, self.tile.element)

    def _strip(
        self,
        block: ll.Value,
        start: ll.Value,
        depth: ll.Value,
        row: ll.Value,
        rows: ll.Value,
        packed_left: ll.Value,
    ) -> None:
        """`rows` rows of the task, from `row` on, times every panel."""
        f, w, tile, variant = self.f, self.w, self.tile, self.variant
        source = self._source(row, start)
        if variant.left == "direct":
            pitch, step = w["a_m"], w["a_k"]
        else:
            if variant.left != "columns":
                f.call("pack_left", source, w["a_m"], w["a_k"], depth, rows, packed_left)
            source, pitch, step = packed_left, gemm_pack.pitch(tile, depth), f.i64(1)
        self._point_rows(source, pitch)
        sums, to_pitch = self._sums()
        # A single block of k is finished strip by strip, in the same place.
        kept = f.select(w["blocks"].eq(1), f.i64(0), row) if self.beside else row
        to = f.address(sums, kept * to_pitch, tile.element)
        mode = f.select(block.eq(0), f.i64(STORE), f.i64(ADD))
        with f.loop(self.first_panel, self.stop_panel) as panel:
            packed, width = self._packed(panel, start, depth), f.i64(tile.width)
            there = f.address(self.b, start * w["b_k"] + panel * tile.width, tile.element)
            place = f.address(to, (panel - self.first_panel) * tile.width, tile.element)

            self._ask(row, rows, panel)
            columns = f.minimum(w["n"] - panel * tile.width, tile.width)
            last = f.select(columns.eq(tile.width), f.i64(0), f.i64(1))
            number = (rows - 1) * BODIES + last

            def multiply(right: ll.Value, right_step: ll.Value, *copy: ll.Value) -> None:
                """By the register tile; copy: where it packs B on the way."""
                index = number + w.places["copying1_0" if copy else "body1_0"]
                given = [self.rows, self.runs, f.i64(1), step, right, right_step, place, to_pitch]
                given += [mode, (columns - 1) % tile.lanes + 1, right_step * AHEAD, *copy]
                call_body(f, f.load("ptr", f.address(self.words, index, "i64")), given)

            if variant.right == "aligned":
                f.either(
                    self.packed & row.eq(0),
                    lambda: multiply(there, w["b_k"], packed),
                    lambda: multiply(
                        f.select(self.packed, packed, there),
                        f.select(self.packed, width, w["b_k"]),
                    ),
                )
            elif variant.reads_right:
                multiply(there, w["b_k"])
            else:
                multiply(packed, width)
        if variant.epilogue:
            with f.when((block + 1).eq(w["blocks"])):
                self._finish(row, rows, to)

    def _ask(self, row: ll.Value, rows: ll.Value, panel: ll.Value) -> None:
        """What the epilogue reads beside a panel comes while the tile multiplies."""
        f, w, epilogue = self.f, self.w, self.variant.epilogue
        if epilogue is None or epilogue.along != "n":
            return
        for n, kind in enumerate(epilogue.kinds):
            if epilogue.accesses[n] != "next":
                continue
            unit, step = memory(kind), w[f"operand{n}_m"]
            first = f.address(self.operands[n], (self.first_row + row) * step, unit)
            first = f.address(first, panel * self.tile.width, unit)
            with f.loop(0, rows) as i:
                for at in range(0, self.tile.width, LINE // kind.itemsize):
                    f.prefetch(f.address(first, i * step + at, unit), 2)

    def _pitch(self) -> ll.Value:
        return self.w["tile_panels"] * self.tile.width

    def _columns(self) -> ll.Value:
        width = self.tile.width
        return self.f.minimum(self.w["n"], self.stop_panel * width) - self.first_panel * width

    def _finish(self, row: ll.Value, rows: ll.Value, sums: ll.Value) -> None:
        """The epilogue of some rows of the task."""
        epilogue, tile, first = self.variant.epilogue, self.tile, self.first_panel
        assert epilogue is not None
        place = (self.first_row + row, rows, first * tile.width, self._columns())
        pitch, count = self._sums()[1], self.variant.operands
        block = block_of(self.f, self.w, count, sums, pitch, *place, self.c, self.operands)
        emit_block(self.f, self.machine.flags, tile, epilogue, block)


def block_of(
    f: ll.Function,
    w: Words,
    count: int,
    sums: ll.Value,
    pitch: ll.Value,
    row: ll.Value,
    rows: ll.Value,
    column: ll.Value,
    columns: ll.Value,
    c: ll.Value,
    operands: list[ll.Value],
) -> Block:
    """A block of C for the epilogue, its strides from the words."""
    return Block(
        *(sums, pitch, row, rows, column, columns, c, w["c_m"], w["c_n"], operands),
        [w[f"operand{i}_m"] for i in range(count)],
        [w[f"operand{i}_n"] for i in range(count)],
    )
