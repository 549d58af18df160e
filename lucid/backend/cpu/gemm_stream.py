"""Few rows times a B that is contiguous along n: B is read once, from end to end.

gemm.py plans it, for up to 16 rows: nothing is packed, some rows of B are read side by side, and
sums wait in C or in scratch. Each element is the same chain over k as in gemm_driver.py.
"""

from dataclasses import dataclass

from lucid.backend.cpu import gemm_pack, interrupt
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.emit import memory
from lucid.backend.cpu.gemm_driver import LINE, Words, address_names, block_of, emit_entry, locate
from lucid.backend.cpu.gemm_epilogue import Epilogue, emit_block
from lucid.backend.cpu.gemm_pack import Reader
from lucid.backend.cpu.gemm_tile import CONTINUE, STORE, Tile
from lucid.backend.cpu.target import Target
from lucid.dtypes import dtype

FEW_ROWS = 16
# Rows of B that are read side by side: few, because rows far apart may share places of the
# caches, and for one row of A the factors stay in registers.
SIDE, SIDE_ONE = 16, 8
# Vectors side by side for each number of rows, so that the sums fill the registers.
VECTORS = {
    "avx512": {1: 4, 2: 4, 3: 4, 4: 4, 5: 4, 6: 4, 7: 3, 8: 3},
    "avx2": {1: 2, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1},
    "plain": {1: 1, 2: 1},
}


def fits(m: int, n: int, b_n: int) -> bool:
    """Whether this form is the fast one; b_n is the stride of B along n."""
    return b_n == 1 and 0 < m <= FEW_ROWS and n > 0


def most_rows(machine: Target) -> int:
    return max(VECTORS[machine.name])


@dataclass(frozen=True)
class Variant:
    """What the text depends on. left: how A is copied, or "direct"; heights of strips of rows.
    No epilogue: sums are stored to C."""

    storage: dtype
    left: str
    heights: tuple[int, ...]
    batch_dims: int
    epilogue: Epilogue | None

    def key(self) -> str:
        finish = self.epilogue.key() if self.epilogue else "none"
        return (
            f"stream {self.storage.name} {self.left} {self.heights} {self.batch_dims}\n"
            f"epilogue {finish}"
        )

    @property
    def side(self) -> int:
        return SIDE_ONE if self.heights == (1,) else SIDE

    @property
    def operands(self) -> int:
        return len(self.epilogue.kinds) if self.epilogue else 0


def word_names(variant: Variant) -> list[str]:
    """The call's words after the header, in order."""
    return [
        *address_names(variant.operands, variant.batch_dims),
        *("tasks", "column_tiles", "tile_columns", "strips", "blocks", "depth", "threads"),
        *("slot_bytes", "left_at", "partial_at", "sums_at"),
    ]


def emit(symbol: str, machine: Target, tile: Tile, variant: Variant) -> str:
    """The text of a variant: `symbol(ptr words)` and what it calls."""
    module = ll.Module(machine.flags)
    names = word_names(variant)
    if variant.left != "direct":
        gemm_pack.left(module, "pack_left", variant.storage, tile, variant.left)
    for rows in variant.heights:
        _sweep(module, machine, tile, variant, rows)
        _edge(module, machine, tile, variant.storage, rows)
    _task(module, machine, tile, variant, names)
    emit_entry(module, symbol, names, [("task", "tasks")])
    return module.text()


def _task(
    module: ll.Module, machine: Target, tile: Tile, variant: Variant, names: list[str]
) -> None:
    """void task(ptr words, i64 task, i64 slot): all rows of some columns."""
    f = module.function("task", [("ptr", "words"), ("i64", "task"), ("i64", "slot")], internal=True)
    words, number, slot = f.arguments
    w, epilogue, unit = Words(f, words, names), variant.epilogue, memory(variant.storage)
    scratch = f.address(f.load("ptr", words, 1), slot * w["slot_bytes"])
    column_tile, batch = number % w["column_tiles"], number // w["column_tiles"]
    units = [unit, unit, memory(epilogue.output) if epilogue else unit]
    units += [memory(kind) for kind in epilogue.kinds] if epilogue else []
    a, b, c, *operands = locate(f, w, units, variant.batch_dims, batch)
    a_m, a_k = w["a_m"], w["a_k"]
    if variant.left != "direct":
        copy = f.address(scratch, w["left_at"])
        f.call("pack_left", a, a_m, a_k, w["k"], w["m"], copy)
        a, a_m, a_k = copy, gemm_pack.pitch(tile, w["k"]), f.i64(1)
    first = column_tile * w["tile_columns"]
    columns = f.minimum(w["n"] - first, w["tile_columns"])
    sums, pitch = f.address(scratch, w["sums_at"]), w["tile_columns"]
    if not epilogue:
        sums, pitch = f.address(c, first, tile.element), w["c_m"]
    partial = f.address(scratch, w["partial_at"])
    with f.loop(0, w["blocks"]) as block:
        start = block * w["depth"]
        depth = f.minimum(w["depth"], w["k"] - start)
        # A later block's chain begins at zero, so it needs a place of its own.
        later = block > 0
        to, to_pitch = f.select(later, partial, sums), f.select(later, w["tile_columns"], pitch)
        left = f.address(a, start * a_k, tile.element)
        right = f.address(b, start * w["b_k"] + first, unit)
        sources = (left, f.i64(a_m), f.i64(a_k), right)
        widths = {rows: VECTORS[machine.name][rows] * tile.lanes for rows in variant.heights}
        _block(f, w, tile, variant, sources, depth, columns, to, to_pitch, widths)
        with f.when(later):
            _accumulate(f, w, tile, columns, partial, sums, pitch)
        interrupt.leave(f, words, slot, block + 1 < w["blocks"])
    if epilogue:
        sent = block_of(
            *(f, w, len(operands), sums, pitch, f.i64(0), w["m"], first, columns, c, operands)
        )
        emit_block(f, machine.flags, tile, epilogue, sent)
    f.finish()


def _block(
    f: ll.Function,
    w: Words,
    tile: Tile,
    variant: Variant,
    sources: tuple[ll.Value, ...],
    depth: ll.Value,
    columns: ll.Value,
    to: ll.Value,
    pitch: ll.Value,
    widths: dict[int, int],
) -> None:
    """One block of k: some rows of B at a time, and for them every strip of rows of A.

    sources: A and its strides along m and k, B.
    """
    left, a_m, a_k, right = sources
    size, unit = variant.storage.itemsize, memory(variant.storage)
    # Up to `head`, columns lie before a line of the cache: from there no load meets two lines.
    place = f.cast(right, "ptrtoint", "i64")
    even = (w["b_k"] * size & (LINE - 1)).eq(0)
    head = f.select(even, f.minimum(((0 - place) & (LINE - 1)) // size, columns), f.i64(0))
    least, longer = w["m"] // w["strips"], w["m"] % w["strips"]
    with f.loop(0, f.maximum(depth, 1), variant.side) as at:
        count = f.minimum(depth - at, variant.side)
        mode = f.select(at.eq(0), f.i64(STORE), f.i64(CONTINUE))
        b = f.address(right, at * w["b_k"], unit)
        with f.loop(0, w["strips"]) as strip:
            row = strip * least + f.minimum(strip, longer)
            rows = least + f.select(strip < longer, f.i64(1), f.i64(0))
            a = f.address(left, row * a_m + at * a_k, tile.element)
            c = f.address(to, row * pitch, tile.element)
            for height in variant.heights:
                with f.when(rows.eq(height)):
                    width = widths[height]
                    whole = (columns - head) // width * width
                    whole = f.select(count.eq(variant.side), whole, f.i64(0))

                    def run(name: str, n: ll.Value, first: ll.Value, h=height, a=a, c=c) -> None:
                        f.call(
                            f"{name}{h}",
                            *(a, a_m, a_k, f.address(b, first, unit), w["b_k"], count, n),
                            *(f.address(c, first, tile.element), pitch, mode),
                        )

                    run("edge", head, f.i64(0))
                    run("sweep", whole, head)
                    run("edge", columns - head - whole, head + whole)


ARGUMENTS = [("ptr", "a"), ("i64", "a_m"), ("i64", "a_k"), ("ptr", "b"), ("i64", "b_k")]
ARGUMENTS += [("i64", "count"), ("i64", "columns"), ("ptr", "to"), ("i64", "pitch")]
ARGUMENTS += [("i64", "mode")]


def _sweep(module: ll.Module, machine: Target, tile: Tile, variant: Variant, rows: int) -> None:
    """void sweepR(ARGUMENTS): `variant.side` steps of k for whole steps of columns.

    to[i][j] = (mode is CONTINUE: to[i][j]; STORE: 0), then plus a[i][k] * b[k][j] for each k.
    """
    f = module.function(f"sweep{rows}", ARGUMENTS, internal=True, inline="noinline")
    a, a_m, a_k, b, b_k, _, columns, to, pitch, mode = f.arguments
    reader = Reader(f, machine.flags, variant.storage)
    lanes, kind, vectors = tile.lanes, ll.vector(tile.lanes, tile.element), VECTORS[machine.name]
    fused, count = machine.name != "plain", vectors[rows]
    each = range(count)

    def left(i: int, u: int) -> ll.Value:
        return f.splat(f.load(tile.element, f.address(a, a_m * i + a_k * u, tile.element)), lanes)

    # One row's factors stay in registers; those of several are read again and again.
    kept = [left(0, u) for u in range(variant.side)] if rows == 1 else []
    with f.loop(0, columns, lanes * count) as j:
        lines = [f.address(to, pitch * i + j, tile.element) for i in range(rows)]
        sums = [[f.slot(kind, 0.0) for _ in each] for _ in range(rows)]
        with f.when(mode.ne(STORE)):
            for line, row in zip(lines, sums, strict=True):
                for v in each:
                    row[v].set(f.load(kind, line, v * lanes))
        here = reader.at(b, j)
        for u in range(variant.side):
            for v in each:
                f.prefetch(reader.at(here, (count + v) * lanes))
            right = [reader.read(reader.at(here, v * lanes), lanes) for v in each]
            for i in range(rows):
                factor = kept[u] if rows == 1 else left(i, u)
                for v in each:
                    old = sums[i][v].get()
                    made = f.fma(factor, right[v], old) if fused else old + factor * right[v]
                    sums[i][v].set(made)
            here = f.opaque(reader.at(here, b_k))
        for line, row in zip(lines, sums, strict=True):
            for v in each:
                f.store(row[v].get(), line, v * lanes)
    f.finish()


def _edge(module: ll.Module, machine: Target, tile: Tile, storage: dtype, rows: int) -> None:
    """void edgeR(ARGUMENTS): the same for any columns and count steps of k."""
    f = module.function(f"edge{rows}", ARGUMENTS, internal=True, inline="noinline")
    a, a_m, a_k, b, b_k, count, columns, to, pitch, mode = f.arguments
    reader = Reader(f, machine.flags, storage)
    lanes, kind = tile.lanes, ll.vector(tile.lanes, tile.element)
    with f.loop(0, columns, lanes) as j:
        mask = f.first_lanes(f.minimum(columns - j, lanes), lanes)
        lines = [f.address(to, pitch * i + j, tile.element) for i in range(rows)]
        sums = [f.slot(kind, 0.0) for _ in range(rows)]
        with f.when(mode.ne(STORE)):
            for line, total in zip(lines, sums, strict=True):
                total.set(f.masked_load(kind, line, mask))
        with f.loop(0, count) as k:
            right = reader.read(reader.at(b, k * b_k + j), lanes, mask)
            for i, total in enumerate(sums):
                place = f.address(a, a_m * i + a_k * k, tile.element)
                factor = f.splat(f.load(tile.element, place), lanes)
                if machine.name == "plain":
                    total.set(total.get() + factor * right)
                else:
                    total.set(f.fma(factor, right, total.get()))
        for line, total in zip(lines, sums, strict=True):
            f.masked_store(total.get(), line, mask)
    f.finish()


def _accumulate(
    f: ll.Function,
    w: Words,
    tile: Tile,
    columns: ll.Value,
    partial: ll.Value,
    sums: ll.Value,
    pitch: ll.Value,
) -> None:
    """sums += partial."""
    lanes, kind = tile.lanes, ll.vector(tile.lanes, tile.element)
    with f.loop(0, w["m"]) as i, f.loop(0, columns, lanes) as j:
        mask = f.first_lanes(f.minimum(columns - j, lanes), lanes)
        place = f.address(sums, i * pitch + j, tile.element)
        more = f.load(kind, partial, i * w["tile_columns"] + j)
        f.masked_store(f.masked_load(kind, place, mask) + more, place, mask)
