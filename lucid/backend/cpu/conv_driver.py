"""The loops of a convolution: an implicit matrix product on the register tile of gemm_tile.py.

Rows are output pixels, columns output channels, k runs over (kh, kw, channel). The address of a
row's k-th factor is pixel offset + k offset in the padded NHWC input, so nothing is unfolded: the
offsets of k are a few runs (words, made by conv.py), those of pixels are counted along.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lucid.backend.cpu import conv_copy
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.conv_copy import WEIGHT_WORDS, pad_words, shared
from lucid.backend.cpu.emit import memory
from lucid.backend.cpu.gemm_driver import BODIES, Words, call_body, emit_entry
from lucid.backend.cpu.gemm_epilogue import Block, Epilogue, emit_block
from lucid.backend.cpu.gemm_tile import ADD, AHEAD, STORE, Tile
from lucid.backend.cpu.target import Target
from lucid.dtypes import dtype


@dataclass(frozen=True)
class Variant:
    """What the text depends on. pad: how lines are copied (conv_copy.py), or "none" where the
    input is read where it stands. weights: how they are packed. No epilogue: the tile stores."""

    storage: dtype
    pad: str
    weights: str
    epilogue: Epilogue | None

    def key(self) -> str:
        finish = self.epilogue.key() if self.epilogue else "none"
        return f"conv {self.storage.name} {self.pad} {self.weights}\nepilogue {finish}"

    @property
    def operands(self) -> int:
        return len(self.epilogue.kinds) if self.epilogue else 0


AXES = "nhwc"


def word_names(variant: Variant, rows: int) -> list[str]:
    """The call's words after the header, in order. After them: the runs of k, (start, count)
    each, then the blocks of k, (first run, runs, first k) each."""
    operands = range(variant.operands)
    return [
        *("x", "w", "y"),
        *(f"operand{i}" for i in operands),
        *pad_words("pad"),
        *WEIGHT_WORDS,
        *("rows", "columns", "depth", "image", "line", "inner"),
        *(f"x_{axis}" for axis in AXES),
        "y_base",
        *(f"y_{axis}" for axis in AXES),
        *(f"operand{i}_{axis}" for i in operands for axis in AXES),
        *("tasks", "row_tiles", "column_tiles", "groups", "tile_rows", "tile_panels", "blocks"),
        *("threads", "slots_at", "slot_bytes", "blocks_at"),
        *(f"body{r}_{last}" for r in range(1, rows + 1) for last in range(BODIES)),
    ]


def emit(symbol: str, machine: Target, tile: Tile, variant: Variant) -> str:
    """The text of a variant: pad the input, pack the weights, then the tiles."""
    module = ll.Module(machine.flags)
    names = word_names(variant, tile.rows)
    steps = [("pack", "pack_tasks"), ("task", "tasks")]
    if variant.pad != "none":
        conv_copy.emit_pad(module, names, variant.storage, tile, variant.pad, "x", "pad")
        steps.insert(0, ("pad", "pad_tasks"))
    conv_copy.emit_weights(module, names, variant.storage, tile, variant.weights, "pack")
    _Task(module, names, machine, tile, variant).emit()
    emit_entry(module, symbol, names, steps)
    return module.text()


def point_rows(
    f: ll.Function,
    tile: Tile,
    counters: list[ll.Slot],
    strides: Sequence[ll.Value],
    sizes: Sequence[ll.Value],
    rows: ll.Value,
    base: ll.Value,
    table: ll.Value,
) -> None:
    """The addresses of the next `rows` positions of three counters, the last one fastest, into
    the table. sizes: of the second and the third."""
    first, second, third = counters
    for i in range(tile.rows):
        a, b, c = first.get(), second.get(), third.get()
        place = a * strides[0] + b * strides[1] + c * strides[2]
        f.store(f.address(base, place, tile.element), table, i)
        c = c + f.select(rows > i, f.i64(1), f.i64(0))
        turn = c.eq(sizes[1])
        third.set(f.select(turn, f.i64(0), c))
        b = b + f.select(turn, f.i64(1), f.i64(0))
        turn = b.eq(sizes[0])
        second.set(f.select(turn, f.i64(0), b))
        first.set(a + f.select(turn, f.i64(1), f.i64(0)))


class _Task:
    """void task(ptr words, i64 task, i64 slot): a block of pixels by a range of panels."""

    def __init__(
        self, module: ll.Module, names: list[str], machine: Target, tile: Tile, variant: Variant
    ):
        self.f = f = module.function("task", conv_copy.TASK, internal=True)
        self.tile, self.variant, self.machine = tile, variant, machine
        # Turning sums to lanes along pixels needs many rows of them: the whole task's.
        self.turned = variant.epilogue is not None and variant.epilogue.along == "m"
        self.words, self.number, slot = f.arguments
        self.w = w = Words(f, self.words, names)
        self.tail = f.address(self.words, 3 + len(names), "i64")
        scratch = shared(f, self.words, w, "slots_at")
        self.sums_at = f.address(scratch, slot * w["slot_bytes"])
        self.rows = f.slot(f"[{tile.rows} x ptr]").pointer

    def emit(self) -> None:
        f, w, tile = self.f, self.w, self.tile
        column_tile, rest = self.number % w["column_tiles"], self.number // w["column_tiles"]
        row_tile, rest = rest % w["row_tiles"], rest // w["row_tiles"]
        group, batch = rest % w["groups"], rest // w["groups"]
        first_row = row_tile * w["tile_rows"]
        self.task_rows = f.minimum(w["tile_rows"], w["rows"] - first_row)
        pixel = batch * w["rows"] + first_row
        self.start = (
            pixel // w["image"],
            pixel % w["image"] // w["line"],
            pixel % w["image"] % w["line"],
        )
        self._locate(group)
        panels = (w["columns"] + (tile.width - 1)) // tile.width
        self.first_panel = column_tile * w["tile_panels"]
        self.stop_panel = f.minimum(self.first_panel + w["tile_panels"], panels)
        weights = shared(f, self.words, w, "weights_at")
        self.weights = f.address(weights, group * panels * w["depth"] * tile.width, tile.element)
        self.counters = [f.slot("i64") for _ in range(3)]
        with f.loop(0, w["blocks"]) as block:
            self._block(block)
        f.finish()

    def _locate(self, group: ll.Value) -> None:
        f, w, variant = self.f, self.w, self.variant
        unit = memory(variant.storage)
        if variant.pad == "none":
            x = w.pointer("x")
        else:
            x, unit = shared(f, self.words, w, "pad_to"), self.tile.element
        self.x = f.address(x, group * w["inner"] * w["x_c"], unit)
        epilogue = variant.epilogue
        channel = group * w["columns"]
        unit = memory(epilogue.output) if epilogue else unit
        self.y = f.address(self._at("y", unit, channel), w["y_base"], unit)
        kinds = epilogue.kinds if epilogue else ()
        self.operands = [
            self._at(f"operand{i}", memory(kind), channel) for i, kind in enumerate(kinds)
        ]

    def _at(self, name: str, unit: str, channel: ll.Value) -> ll.Value:
        """The address of the task's first pixel in y or in an operand."""
        f, w = self.f, self.w
        offset = channel * w[f"{name}_c"]
        for axis, index in zip(AXES, self.start, strict=False):
            offset = offset + index * w[f"{name}_{axis}"]
        return f.address(w.pointer(name), offset, unit)

    def _block(self, block: ll.Value) -> None:
        f, w, tile = self.f, self.w, self.tile
        entry = f.address(self.tail, w["blocks_at"] + block * 3, "i64")
        first_run, runs, k = (f.load("i64", entry, i) for i in range(3))
        table = f.address(self.tail, first_run * 2, "i64")
        for counter, value in zip(self.counters, self.start, strict=True):
            counter.set(value)
        strips = (self.task_rows + (tile.rows - 1)) // tile.rows
        least, longer = self.task_rows // strips, self.task_rows % strips
        lines = w["image"] // w["line"]
        with f.loop(0, strips) as strip:
            row = strip * least + f.minimum(strip, longer)
            rows = least + f.select(strip < longer, f.i64(1), f.i64(0))
            strides, sizes = (w["x_n"], w["x_h"], w["x_w"]), (lines, w["line"])
            point_rows(f, tile, self.counters, strides, sizes, rows, self.x, self.rows)
            self._strip(block, table, runs, k, row, rows)
        if self.turned:
            with f.when((block + 1).eq(w["blocks"])):
                self._finish(f.i64(0), self.task_rows, self.sums_at)

    def _strip(
        self,
        block: ll.Value,
        table: ll.Value,
        runs: ll.Value,
        k: ll.Value,
        row: ll.Value,
        rows: ll.Value,
    ) -> None:
        f, w, tile, variant = self.f, self.w, self.tile, self.variant
        first = self.first_panel * tile.width
        if variant.epilogue:
            # A single block of k is finished strip by strip, in the same place.
            pitch = w["tile_panels"] * tile.width
            kept = row if self.turned else f.select(w["blocks"].eq(1), f.i64(0), row)
            to = f.address(self.sums_at, kept * pitch, tile.element)
        else:
            pitch = w["y_w"]
            to = f.address(self.y, row * pitch + first, tile.element)
        mode = f.select(block.eq(0), f.i64(STORE), f.i64(ADD))
        with f.loop(self.first_panel, self.stop_panel) as panel:
            columns = f.minimum(w["columns"] - panel * tile.width, tile.width)
            last = f.select(columns.eq(tile.width), f.i64(0), f.i64(1))
            index = (rows - 1) * BODIES + last + w.places["body1_0"]
            right = f.address(self.weights, (panel * w["depth"] + k) * tile.width, tile.element)
            place = f.address(to, (panel - self.first_panel) * tile.width, tile.element)
            call_body(
                f,
                f.load("ptr", f.address(self.words, index, "i64")),
                [
                    *(self.rows, table, runs, f.i64(1), right, f.i64(tile.width)),
                    *(place, pitch, mode, (columns - 1) % tile.lanes + 1),
                    f.i64(AHEAD * tile.width),
                ],
            )
        if variant.epilogue and not self.turned:
            with f.when((block + 1).eq(w["blocks"])):
                self._finish(row, rows, to)

    def _finish(self, row: ll.Value, rows: ll.Value, sums: ll.Value) -> None:
        """The epilogue of some rows of the task."""
        f, w, tile, variant = self.f, self.w, self.tile, self.variant
        assert variant.epilogue is not None
        first, pitch = self.first_panel * tile.width, w["tile_panels"] * tile.width
        columns = f.minimum(w["columns"], self.stop_panel * tile.width) - first
        operands = range(variant.operands)
        block = Block(
            *(sums, pitch, row, rows, first, columns, self.y, w["y_w"], w["y_c"], self.operands),
            [w[f"operand{i}_w"] for i in operands],
            [w[f"operand{i}_c"] for i in operands],
        )
        emit_block(f, self.machine.flags, tile, variant.epilogue, block)
