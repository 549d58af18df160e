"""Few rows times a B that is contiguous along k (a weight [N, K], or a matrix times a vector).

gemm.py plans it, for up to 16 rows: nothing is packed, lanes run along k, and each element of C is
a dot product: lane l sums the products at l, l + lanes, ...; lanes then add up by halves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lucid.backend.cpu import gemm_pack
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.emit import memory
from lucid.backend.cpu.gemm_driver import Words, address_names, block_of, emit_entry, locate
from lucid.backend.cpu.gemm_epilogue import Epilogue, emit_block
from lucid.backend.cpu.gemm_pack import Reader
from lucid.backend.cpu.gemm_tile import Tile
from lucid.backend.cpu.target import Target
from lucid.dtypes import dtype

FEW_ROWS = 16
LEAST_DEPTH = 32  # below this the sums over lanes cost more than the products
GROUP = 24  # columns whose part of B stays in cache while the strips of rows pass
# Columns side by side for each number of rows, so that the sums fill the registers.
COLUMNS = {
    "avx512": {1: 8, 2: 8, 3: 8, 4: 6, 5: 4, 6: 4, 7: 3, 8: 3},
    "avx2": {1: 4, 2: 3, 3: 2, 4: 1},
    "plain": {1: 2, 2: 1},
}


def fits(m: int, n: int, k: int, b_k: int) -> bool:
    """Whether this form is the fast one; b_k is the stride of B along k."""
    return b_k == 1 and 0 < m <= FEW_ROWS and k >= LEAST_DEPTH and n > 0


def most_rows(machine: Target) -> int:
    return max(COLUMNS[machine.name])


def columns_of(n: int, threads: int, batch: int) -> int:
    """Columns per task: a few tasks per thread, whole groups."""
    wanted = 1 if threads == 1 else max(1, 4 * threads // max(batch, 1))
    even = -(-n // wanted)
    return min(-(-even // GROUP) * GROUP, 2048 // GROUP * GROUP)


@dataclass(frozen=True)
class Variant:
    """What the text depends on. left: how A is copied, or "direct"; heights of strips of rows."""

    storage: dtype
    left: str
    heights: tuple[int, ...]
    batch_dims: int
    epilogue: Epilogue

    def key(self) -> str:
        return (
            f"dot {self.storage.name} {self.left} {self.heights} {self.batch_dims}\n"
            f"epilogue {self.epilogue.key()}"
        )


def word_names(variant: Variant) -> list[str]:
    """The call's words after the header, in order."""
    return [
        *address_names(len(variant.epilogue.kinds), variant.batch_dims),
        *("tasks", "column_tiles", "tile_columns", "strips", "threads"),
        *("slot_bytes", "left_at", "sums_at"),
    ]


def emit(symbol: str, machine: Target, tile: Tile, variant: Variant) -> str:
    """The text of a variant: `symbol(ptr words)` and what it calls."""
    module = ll.Module(machine.flags)
    names = word_names(variant)
    if variant.left != "direct":
        gemm_pack.left(module, "pack_left", variant.storage, tile, variant.left)
    for rows in variant.heights:
        _dot(module, machine, tile, variant.storage, rows)
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
    sums = f.address(scratch, w["sums_at"])
    column_tile, batch = number % w["column_tiles"], number // w["column_tiles"]
    units = [unit, unit, memory(epilogue.output), *(memory(kind) for kind in epilogue.kinds)]
    a, b, c, *operands = locate(f, w, units, variant.batch_dims, batch)
    a_m, pitch = w["a_m"], w["tile_columns"] + GROUP
    if variant.left != "direct":
        copy = f.address(scratch, w["left_at"])
        f.call("pack_left", a, a_m, w["a_k"], w["k"], w["m"], copy)
        a, a_m = copy, gemm_pack.pitch(tile, w["k"])
    first = column_tile * w["tile_columns"]
    columns = f.minimum(w["n"] - first, w["tile_columns"])
    least, longer = w["m"] // w["strips"], w["m"] % w["strips"]
    with f.loop(0, columns, GROUP) as j, f.loop(0, w["strips"]) as strip:
        row = strip * least + f.minimum(strip, longer)
        rows = least + f.select(strip < longer, f.i64(1), f.i64(0))
        for height in variant.heights:
            with f.when(rows.eq(height)):
                f.call(
                    f"dot{height}",
                    f.address(a, row * a_m, tile.element),
                    a_m,
                    f.address(b, (first + j) * w["b_n"], unit),
                    w["b_n"],
                    w["k"],
                    f.minimum(columns - j, GROUP),
                    f.address(sums, row * pitch + j, tile.element),
                    pitch,
                )
    block = block_of(
        *(f, w, len(operands), sums, pitch, f.i64(0), w["m"], first, columns, c, operands)
    )
    emit_block(f, machine.flags, tile, epilogue, block)
    f.finish()


def _dot(module: ll.Module, machine: Target, tile: Tile, storage: dtype, rows: int) -> None:
    """void dotR(ptr a, i64 a_m, ptr b, i64 b_n, i64 k, i64 columns, ptr to, i64 pitch)

    to[i][j] = sum over k of a[i][k] * b[j][k] for `rows` rows and `columns` columns; columns up to
    a whole step are written too.
    """
    arguments = [("ptr", "a"), ("i64", "a_m"), ("ptr", "b"), ("i64", "b_n"), ("i64", "k")]
    arguments += [("i64", "columns"), ("ptr", "to"), ("i64", "pitch")]
    f = module.function(f"dot{rows}", arguments, internal=True, inline="noinline")
    a, a_m, b, b_n, k, columns, to, pitch = f.arguments
    reader = Reader(f, machine.flags, storage)
    lanes, kind = tile.lanes, ll.vector(tile.lanes, tile.element)
    count = COLUMNS[machine.name][rows]
    fused = machine.name != "plain"
    lines = [f.address(a, a_m * i, tile.element) for i in range(rows)]
    whole = k & -lanes
    rest = f.first_lanes(k - whole, lanes)
    with f.loop(0, columns, count) as j:
        sources = [reader.at(b, f.minimum(j + i, columns - 1) * b_n) for i in range(count)]
        sums = [[f.slot(kind, 0.0) for _ in range(count)] for _ in range(rows)]

        def step(at: ll.Value, mask: ll.Value | None, sources=sources, sums=sums) -> None:
            right = [reader.read(reader.at(s, at), lanes, mask) for s in sources]
            for i in range(rows):
                place = f.address(lines[i], at, tile.element)
                if mask is None:
                    left = f.load(kind, place)
                else:
                    left = f.masked_load(kind, place, mask)
                for x, total in zip(right, sums[i], strict=True):
                    old = total.get()
                    total.set(f.fma(left, x, old) if fused else old + left * x)

        with f.loop(0, whole, lanes) as at:
            step(at, None)
        with f.when(whole < k):
            step(whole, rest)
        totals = sums_over_lanes(f, [s.get() for line in sums for s in line])
        for i in range(rows):
            for n in range(count):
                f.store(totals[i * count + n], to, pitch * i + j + n)
    f.finish()


def sums_over_lanes(f: ll.Function, vectors: Sequence[ll.Value]) -> list[ll.Value]:
    """The sum of each vector's lanes by halves: l and l + n/2, then n/4, ...

    Vectors are halved in pairs that share a register, so that n of them take n - 1 additions.
    """
    lanes = ll.lanes(vectors[0].kind)
    found: list[ll.Value] = []
    for start in range(0, len(vectors), lanes):
        group = [(v, [i]) for i, v in enumerate(vectors[start : start + lanes])]
        size = len(group)
        length = lanes
        while length > 1:
            if len(group) % 2:
                group.append(group[-1])
            pairs = list(zip(group[::2], group[1::2], strict=True))
            group = []
            for (x, first), (y, second) in pairs:
                starts = range(0, lanes, length)
                low = [s + o + half for o in (0, lanes) for s in starts for half in _to(length)]
                high = [place + length // 2 for place in low]
                if x is y and len(pairs) == 1:  # a single vector is left: it need not be doubled
                    second = first
                group.append((f.shuffle(x, y, low) + f.shuffle(x, y, high), first + second))
            length //= 2
        ordered: dict[int, ll.Value] = {}
        for vector, owners in group:
            for lane, owner in enumerate(owners[:lanes]):
                if owner not in ordered:
                    ordered[owner] = f.extract(vector, lane)
        found += [ordered[i] for i in range(size)]
    return found


def _to(length: int) -> range:
    return range(length // 2)
