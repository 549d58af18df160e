"""The gradient of a convolution's weight, on the register tile of gemm_tile.py.

Its transpose is a product: row (kh, kw, channel) of the unfolded input times the cotangent, summed
over pixels in blocks that depend on their number alone. Rows are addresses into the padded input,
steps of k are pixels of a line, so nothing is unfolded. conv.py plans it.
"""

from dataclasses import dataclass

from lucid.backend.cpu import conv_copy
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.conv_copy import WEIGHT_WORDS, pad_words, shared
from lucid.backend.cpu.conv_driver import point_rows
from lucid.backend.cpu.emit import memory
from lucid.backend.cpu.gemm_driver import BODIES, Words, call_body, emit_entry
from lucid.backend.cpu.gemm_tile import ADD, AHEAD, STORE, Tile
from lucid.backend.cpu.target import Target
from lucid.dtypes import dtype


@dataclass(frozen=True)
class Variant:
    """What the text depends on: how the input and the cotangent are copied (conv_copy.py) or
    "none", and whether (inner, kh, kw) of the weight is one contiguous axis."""

    storage: dtype
    pad: str
    copy: str
    dense: bool

    def key(self) -> str:
        return f"conv weight gradient {self.storage.name} {self.pad} {self.copy} {self.dense}"


def word_names(rows: int) -> list[str]:
    """The call's words after the header, in order."""
    return [
        *("x", "w", "y"),
        *pad_words("pad"),
        *pad_words("g"),
        *WEIGHT_WORDS,
        *("sums_to", "sums_pitch", "g_pitch_k", "unpack_tasks"),
        *("pixels", "image", "line", "lines", "depth", "blocks", "x_n", "x_h", "x_w"),
        *("tap_h", "tap_w", "groups", "tasks", "row_tiles", "column_tiles"),
        *("tile_rows", "tile_panels", "threads", "slots_at", "slot_bytes"),
        *(f"body{r}_{last}" for r in range(1, rows + 1) for last in range(BODIES)),
    ]


def emit(symbol: str, machine: Target, tile: Tile, variant: Variant) -> str:
    """The text of a variant: pad the input, copy the cotangent, the tiles, store the result."""
    module = ll.Module(machine.flags)
    names = word_names(tile.rows)
    steps = [("task", "tasks"), ("unpack", "unpack_tasks")]
    if variant.copy != "none":
        conv_copy.emit_pad(module, names, variant.storage, tile, variant.copy, "y", "g")
        steps.insert(0, ("g", "g_tasks"))
    if variant.pad != "none":
        conv_copy.emit_pad(module, names, variant.storage, tile, variant.pad, "x", "pad")
        steps.insert(0, ("pad", "pad_tasks"))
    _task(module, names, tile, variant)
    conv_copy.emit_unpack(module, names, variant.storage, tile, variant.dense)
    emit_entry(module, symbol, names, steps)
    return module.text()


def _task(module: ll.Module, names: list[str], tile: Tile, variant: Variant) -> None:
    """A range of rows (kh, kw, channel) by a range of panels of output channels, of one group."""
    f = module.function("task", conv_copy.TASK, internal=True)
    words, number, slot = f.arguments
    w = Words(f, words, names)
    runs = f.address(shared(f, words, w, "slots_at"), slot * w["slot_bytes"])
    rows = f.slot(f"[{tile.rows} x ptr]").pointer
    unit = memory(variant.storage)
    inner, outer = w["weight_inner"], w["weight_outer"]
    column_tile, rest = number % w["column_tiles"], number // w["column_tiles"]
    row_tile, group = rest % w["row_tiles"], rest // w["row_tiles"]
    x = w.pointer("x") if variant.pad == "none" else shared(f, words, w, "pad_to")
    x = f.address(x, group * inner, unit if variant.pad == "none" else tile.element)
    g = w.pointer("y") if variant.copy == "none" else shared(f, words, w, "g_to")
    g = f.address(g, group * outer, unit if variant.copy == "none" else tile.element)
    pitch = w["sums_pitch"]
    first_row = row_tile * w["tile_rows"]
    task_rows = f.minimum(w["tile_rows"], w["weight_depth"] - first_row)
    sums = shared(f, words, w, "sums_to")
    sums = f.address(sums, (group * w["weight_depth"] + first_row) * pitch, tile.element)
    panels = (outer + (tile.width - 1)) // tile.width
    first_panel = column_tile * w["tile_panels"]
    stop_panel = f.minimum(first_panel + w["tile_panels"], panels)
    counters = [f.slot("i64") for _ in range(3)]
    tap = first_row // inner
    start = (tap // w["weight_kw"], tap % w["weight_kw"], first_row % inner)
    strips = (task_rows + (tile.rows - 1)) // tile.rows
    least, longer = task_rows // strips, task_rows % strips
    with f.loop(0, w["blocks"]) as block:
        pixel = block * w["depth"]
        count = _runs(f, w, runs, pixel, f.minimum(w["depth"], w["pixels"] - pixel))
        for counter, value in zip(counters, start, strict=True):
            counter.set(value)
        with f.loop(0, strips) as strip:
            row = strip * least + f.minimum(strip, longer)
            height = least + f.select(strip < longer, f.i64(1), f.i64(0))
            strides = (w["tap_h"], w["tap_w"], f.i64(1))
            point_rows(f, tile, counters, strides, (w["weight_kw"], inner), height, x, rows)
            with f.loop(first_panel, stop_panel) as panel:
                columns = f.minimum(outer - panel * tile.width, tile.width)
                last = f.select(columns.eq(tile.width), f.i64(0), f.i64(1))
                index = (height - 1) * BODIES + last + w.places["body1_0"]
                right = pixel * w["g_pitch_k"] + panel * tile.width
                place = row * pitch + panel * tile.width
                call_body(
                    f,
                    f.load("ptr", f.address(words, index, "i64")),
                    [
                        *(rows, runs, count, w["x_w"]),
                        f.address(g, right, tile.element),
                        w["g_pitch_k"],
                        f.address(sums, place, tile.element),
                        pitch,
                        f.select(block.eq(0), f.i64(STORE), f.i64(ADD)),
                        (columns - 1) % tile.lanes + 1,
                        w["g_pitch_k"] * AHEAD,
                    ],
                )
    f.finish()


def _runs(f: ll.Function, w: Words, runs: ll.Value, pixel: ll.Value, depth: ll.Value) -> ll.Value:
    """The runs of `depth` pixels from `pixel` on, (offset, count) each; how many there are."""
    size, lines = w["line"], w["lines"]
    rest = pixel // size
    starts = (pixel % size, rest % lines, rest // lines)
    column, line, image = (f.slot("i64", v) for v in starts)
    left, count = f.slot("i64", depth), f.slot("i64", 0)
    with f.loop_while(lambda: left.get() > 0):
        part = f.minimum(size - column.get(), left.get())
        start = image.get() * w["x_n"] + line.get() * w["x_h"] + column.get() * w["x_w"]
        f.store(start, runs, count.get() * 2)
        f.store(part, runs, count.get() * 2 + 1)
        count.set(count.get() + 1)
        left.set(left.get() - part)
        column.set(0)
        below = line.get() + 1
        turn = below.eq(lines)
        line.set(f.select(turn, f.i64(0), below))
        image.set(image.get() + f.select(turn, f.i64(1), f.i64(0)))
    return count.get()
