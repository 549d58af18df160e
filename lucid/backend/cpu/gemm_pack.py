"""Copies of the operands of a matrix product in the order in which its register tile reads them.

gemm_driver.py adds these functions to its module. Storage types narrower than the arithmetic are
widened on the way. Which copy fits follows from the strides:
    rows     k (left) or n (right) is contiguous
    columns  m (left) or k (right) is contiguous
    any      neither is
"""

from lucid.backend.cpu.emit import Emitter, memory
from lucid.backend.cpu.gemm_tile import Tile
from lucid.backend.cpu.llvm import Function, Module, Value
from lucid.backend.cpu.transposed import transpose
from lucid.dtypes import dtype

_STRIDED = [("ptr", "x"), ("i64", "s_first"), ("i64", "s_second")]
_SIZES = [("i64", "depth"), ("i64", "count"), ("ptr", "to")]


class Reader:
    """Loads of a storage type as values of its compute type."""

    def __init__(self, f: Function, flags: frozenset[str], storage: dtype):
        self.f = f
        self.storage = storage
        self.unit = memory(storage)
        self.emitter = Emitter(f, flags)

    def at(self, pointer: Value, offset: Value | int) -> Value:
        """The address `offset` elements further."""
        return self.f.address(pointer, offset, self.unit)

    def read(self, pointer: Value, count: int = 1, mask: Value | None = None) -> Value:
        kind = memory(self.storage, count)
        if mask is None:
            found = self.f.load(kind, pointer)
        else:
            found = self.f.masked_load(kind, pointer, mask)
        return self.emitter.convert(found, self.storage, self.storage.compute)

    def write(self, value: Value, pointer: Value, mask: Value | None = None) -> None:
        """Store a value of the compute type, rounded."""
        small = self.emitter.convert(value, self.storage.compute, self.storage)
        if mask is None:
            self.f.store(small, pointer)
        else:
            self.f.masked_store(small, pointer, mask)


def left(module: Module, name: str, storage: dtype, tile: Tile, mode: str) -> None:
    """void name(ptr x, i64 s_m, i64 s_k, i64 depth, i64 rows, ptr to): `rows` rows of A, of the
    modes "rows" and "any". Row i starts at to + i * pitch, where it is contiguous: see `pitch`."""
    f = module.function(name, [*_STRIDED, *_SIZES], internal=True, inline="noinline")
    x, s_m, s_k, depth, rows, to = f.arguments
    reader = Reader(f, module.features, storage)
    step = pitch(tile, depth)
    with f.loop(0, rows) as i:
        source, target = reader.at(x, i * s_m), f.address(to, i * step, tile.element)
        whole = f.i64(0)
        if mode == "rows":
            whole = depth & -tile.lanes
            with f.loop(0, whole, tile.lanes) as k:
                f.store(reader.read(reader.at(source, k), tile.lanes), target, k)
        with f.loop(whole, depth) as k:
            f.store(reader.read(reader.at(source, k * s_k)), target, k)
    f.finish()


STRIPS = 8  # of rows whose columns are copied together


def left_columns(module: Module, name: str, storage: dtype, tile: Tile) -> None:
    """void name(ptr x, i64 s_k, i64 depth, i64 rows, ptr to): rows of A whose columns are
    contiguous, as `left` makes them: squares of lanes by lanes, transposed in registers."""
    given = [("ptr", "x"), ("i64", "s_k"), *_SIZES]
    f = module.function(name, given, internal=True, inline="noinline")
    x, s_k, depth, rows, to = f.arguments
    reader = Reader(f, module.features, storage)
    lanes, step, last = tile.lanes, pitch(tile, depth), depth - 1
    with f.loop(0, rows, lanes) as i:
        mask = f.first_lanes(rows - i, lanes)
        with f.loop(0, depth, lanes) as k:
            source = reader.at(x, i)
            for u in range(lanes):
                f.prefetch(reader.at(source, (k + lanes + u) * s_k))
            # Beyond the last column it is repeated: nobody reads that.
            places = [reader.at(source, f.minimum(k + u, last) * s_k) for u in range(lanes)]
            columns = [reader.read(place, lanes, mask) for place in places]
            for u, row in enumerate(transpose(f, columns)):
                f.store(row, f.address(to, (i + u) * step + k, tile.element))
    f.finish()


def pitch(tile: Tile, depth: Value) -> Value:
    """Elements from row to row of a copy of A; an odd number of lines of the cache, so that rows
    do not fall into the same sets."""
    return _round(depth, 2 * tile.lanes) + tile.lanes


PREFETCHED = 6  # rows of B by which a copy reads ahead: they are far apart in memory


def right(module: Module, name: str, storage: dtype, tile: Tile, mode: str) -> None:
    """void name(ptr x, i64 s_k, i64 s_n, i64 depth, i64 columns, ptr to): panels of B.

    to[n // width][k][n % width]; what lies beyond `columns` is not read by the caller.
    """
    f = module.function(name, [*_STRIDED, *_SIZES], internal=True, inline="noinline")
    x, s_k, s_n, depth, columns, to = f.arguments
    reader = Reader(f, module.features, storage)
    if mode == "rows":
        _right_rows(f, reader, tile)
    elif mode == "columns":
        _right_columns(f, reader, tile)
    else:
        with f.loop(0, depth) as k, f.loop(0, columns) as n:
            place = (n // tile.width * depth + k) * tile.width + n % tile.width
            f.store(reader.read(reader.at(x, k * s_k + n * s_n)), to, place)
    f.finish()


def _right_rows(f: Function, reader: Reader, tile: Tile) -> None:
    """Row after row across all panels: a row is a stream that the hardware follows."""
    x, s_k, _, depth, columns, to = f.arguments
    lanes, width = tile.lanes, tile.width
    whole = columns // width * width
    masks = [f.first_lanes(columns - whole - j * lanes, lanes) for j in range(tile.vectors)]
    with f.loop(0, depth) as k:
        source = reader.at(x, k * s_k)
        ahead = reader.at(source, s_k * PREFETCHED)
        row = f.address(to, k * width, tile.element)

        def copy(n: Value, guards: list, source=source, ahead=ahead, row=row) -> None:
            target = f.address(row, n * depth, tile.element)
            for j in range(tile.vectors):
                f.prefetch(reader.at(ahead, n + j * lanes))
                value = reader.read(reader.at(source, n + j * lanes), lanes, guards[j])
                f.store(value, target, j * lanes)

        with f.loop(0, whole, width) as n:
            copy(n, [None] * tile.vectors)
        with f.when(whole < columns):
            copy(whole, masks)


def _right_columns(f: Function, reader: Reader, tile: Tile) -> None:
    """Squares of lanes by lanes, transposed in registers."""
    x, _, s_n, depth, columns, to = f.arguments
    lanes, width = tile.lanes, tile.width
    whole = depth & -lanes
    last = columns - 1
    with f.loop(0, columns, lanes) as n:
        # Rows beyond the last one repeat it: the lanes they fill are never stored to C.
        sources = [reader.at(x, f.minimum(n + i, last) * s_n) for i in range(lanes)]
        target = f.address(to, n // width * depth * width + n % width, tile.element)
        with f.loop(0, whole, lanes) as k:
            for source in sources:
                f.prefetch(reader.at(source, s_n * lanes + k))
            rows = [reader.read(reader.at(source, k), lanes) for source in sources]
            for lane, column in enumerate(transpose(f, rows)):
                f.store(column, target, (k + lane) * width)
        with f.loop(whole, depth) as k, f.loop(0, lanes) as i:
            source = reader.at(x, f.minimum(n + i, last) * s_n + k)
            f.store(reader.read(source), target, k * width + i)


def _round(n: Value, step: int) -> Value:
    return (n + (step - 1)) & -step


def bytes_of_left(tile: Tile, depth: int, mode: str, strips: int) -> int:
    if mode == "direct":
        return 0
    rows = tile.rows
    if mode == "columns":  # whole squares
        rows = -(-rows * min(strips, STRIPS) // tile.lanes) * tile.lanes
    return row_of_left(tile, depth) * rows * tile.size


def row_of_left(tile: Tile, depth: int) -> int:
    """`pitch` as a number."""
    return (-(-depth // (2 * tile.lanes)) * 2 + 1) * tile.lanes


def bytes_of_right(tile: Tile, depth: int, panels: int) -> int:
    return depth * tile.width * panels * tile.size
