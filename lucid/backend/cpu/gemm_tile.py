"""The register tile of matrix products: a block of C held in registers while k runs.

gemm.py, conv.py and conv_gradient.py call it through an address; one body per tile size is made
on demand. Each element of C is one chain over k, so a tile's shape never changes a bit.
"""

from dataclasses import dataclass

from lucid.backend.cpu import jit
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.target import Target, target
from lucid.dtypes import dtype, float64

AHEAD = 8  # steps of k by which a packed B is prefetched
TURN = 4  # steps of k per turn of the inner loop where A is contiguous along k
# What a tile starts from and does with its sums.
STORE, ADD, CONTINUE = 0, 1, 2


@dataclass(frozen=True)
class Tile:
    """How C is tiled: `rows` by `vectors` * `lanes` elements of LLVM type `element`."""

    element: str
    lanes: int
    rows: int
    vectors: int

    @property
    def width(self) -> int:
        return self.vectors * self.lanes

    @property
    def size(self) -> int:
        return ll.BYTES[self.element]


def tile_of(kind: dtype, machine: Target) -> Tile:
    """The largest tile of a compute type that the registers hold, B and a broadcast beside it."""
    element, lanes = ("double", 8) if kind is float64 else ("float", 16)
    # A vector is 64 bytes: 1, 2 or 4 registers. 6 by 4 of 32 registers beats 8 by 3 on Cascade
    # Lake by 5 %, and by 10 % where 8 rows at a stride of 4 KiB fill every way of a cache set.
    rows, vectors = {"avx512": (6, 4), "avx2": (6, 1), "plain": (2, 1)}[machine.name]
    return Tile(element, lanes, rows, vectors)


def body(tile: Tile, rows: int, vectors: int, masked: bool, copying: bool, panels: bool) -> int:
    """The address of the body for `rows` by `vectors`; `masked`: B ends inside the last vector.

    void body(ptr rows, ptr runs, i64 count, i64 step, ptr b, i64 b_step, ptr c, i64 c_step,
              i64 mode, i64 columns, i64 ahead)

    rows[i] is the address of row i of A. A run (start, n) covers n steps of k; step k of it reads
    rows[i][start + k * step], and the next b_step elements of B. The last vector of C has
    `columns` valid lanes. mode: STORE the sum over all runs, ADD it to C, or CONTINUE C's chain.
    `ahead`: by how many elements the prefetch of B runs ahead.
    `copying`: a further argument `ptr copy` says where B is packed on the way, k by k.
    `panels`: B is packed, so b_step and ahead are known and not read.
    """
    machine = target()
    key = f"gemm body {tile.element} {tile.lanes} {rows}x{vectors} {masked} {copying} {panels}"
    return jit.function(
        key,
        lambda symbol: emit(symbol, machine, tile, rows, vectors, masked, copying, panels),
    )


ARGUMENTS = [
    ("ptr", "rows"),
    ("ptr", "runs"),
    ("i64", "count"),
    ("i64", "step"),
    ("ptr", "b"),
    ("i64", "b_step"),
    ("ptr", "c"),
    ("i64", "c_step"),
    ("i64", "mode"),
    ("i64", "columns"),
    ("i64", "ahead"),
]
COPYING = [*ARGUMENTS, ("ptr", "copy")]


def emit(
    symbol: str,
    machine: Target,
    tile: Tile,
    rows: int,
    vectors: int,
    masked: bool,
    copying: bool = False,
    panels: bool = False,
) -> str:
    """The text of `body`."""
    module = ll.Module(machine.flags)
    f = module.function(symbol, COPYING if copying else ARGUMENTS)
    row_table, runs, count, step, b, b_step, c, c_step, mode, columns, ahead = f.arguments[:11]
    if panels:  # known places need no instruction
        b_step, ahead = f.i64(tile.width), f.i64(AHEAD * tile.width)
    packed = f.slot("ptr", f.arguments[11]) if copying else None
    kind = ll.vector(tile.lanes, tile.element)
    fused = machine.name != "plain"
    sums = [[f.slot(kind, 0.0) for _ in range(vectors)] for _ in range(rows)]
    pointers = [f.load("ptr", row_table, i) for i in range(rows)]
    valid = f.first_lanes(columns, tile.lanes)
    cursor, place, left = f.slot("ptr", b), f.slot("i64"), f.slot("i64")

    def vector_of(pointer: ll.Value, j: int, guarded: bool) -> ll.Value:
        if guarded and j == vectors - 1:
            return f.masked_load(kind, f.address(pointer, j * tile.lanes, tile.element), valid)
        return f.load(kind, pointer, j * tile.lanes)

    def advance(steps: int = 1, apart: ll.Value | int = 1) -> None:
        """The next steps of k: one that moves `apart` elements on in A, or several side by side."""
        k, here = place.get(), cursor.get()
        for u in range(steps):
            later = f.address(here, ahead, tile.element)
            for j in range(vectors):
                f.prefetch(f.address(later, j * tile.lanes, tile.element))
            right = [vector_of(here, j, masked) for j in range(vectors)]
            if packed:
                to = packed.get()
                for j, vector in enumerate(right):
                    f.store(vector, to, j * tile.lanes)
                packed.set(f.opaque(f.address(to, tile.width, tile.element)))
            for i in range(rows):
                left = f.address(f.address(pointers[i], k, tile.element), u, tile.element)
                left_value = f.splat(f.load(tile.element, left), tile.lanes)
                for j in range(vectors):
                    total = sums[i][j].get()
                    product = (
                        f.fma(left_value, right[j], total)
                        if fused
                        else total + left_value * right[j]
                    )
                    sums[i][j].set(product)
            here = f.address(here, b_step, tile.element)
            if steps > 1 and not panels:  # or LLVM keeps an address per step, and spills them
                here = f.opaque(here)
        place.set(k + (steps if steps > 1 else apart))
        cursor.set(here)

    def start() -> None:
        for i, j, line in places():
            sums[i][j].set(vector_of(line, j, True))

    def places():
        for i in range(rows):
            line = f.address(c, c_step * i, tile.element)
            yield from ((i, j, line) for j in range(vectors))

    # C comes from afar, and a tile's worth of arithmetic later it is there.
    for _, j, line in places():
        f.prefetch(f.address(line, j * tile.lanes, tile.element))
    with f.when(mode.eq(CONTINUE)):
        start()
    with f.loop(0, count) as run:
        place.set(f.load("i64", runs, run * 2))
        left.set(f.load("i64", runs, run * 2 + 1))
        # Counting costs slots of the pipeline that the products need: several steps per turn.
        with f.when(step.eq(1)), f.loop_while(lambda: left.get() >= TURN):
            left.set(left.get() - TURN)
            advance(TURN)
        with f.loop_while(lambda: left.get() > 0):
            left.set(left.get() - 1)
            advance(1, step)

    with f.when(mode.eq(ADD)):
        for i, j, line in places():
            sums[i][j].set(vector_of(line, j, True) + sums[i][j].get())
    for i, j, line in places():
        if j < vectors - 1:
            f.store(sums[i][j].get(), line, j * tile.lanes)
        else:
            end = f.address(line, j * tile.lanes, tile.element)
            f.masked_store(sums[i][j].get(), end, valid)
    f.finish()
    return module.text()
