"""Matrix products on the CPU: C = epilogue(A @ B), batched, any strides, any sizes.

ops/contract.py calls `plan_matmul` and binds the `KernelCall` to its buffers. Read gemm_tile.py,
then gemm_driver.py for how the product runs; gemv.py has the products with few rows.

Each element of C is sum over blocks of k, left to right, of a chain of `mad` from zero along k.
The blocks depend on K alone (`depth_of`), so tiles, tasks and threads never change a bit.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lucid import dtypes
from lucid.backend.cpu import gemm_driver, gemm_pack, gemm_stream, gemm_tile, gemv, jit
from lucid.backend.cpu.gemm_epilogue import Epilogue, access_of, activation
from lucid.backend.cpu.gemm_tile import Tile
from lucid.backend.cpu.target import target
from lucid.dtypes import FLOATING, dtype
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr

BLOCK = 512  # most steps of k whose products are summed before they join C
# Of packed B per task: stays in a level-2 cache of 1 MiB together with what passes through it. A
# whose columns are copied is copied for each task: there fewer tasks count for more.
RIGHT_BYTES, RIGHT_BYTES_COPIED = 500 * 1024, 800 * 1024
SUMS_BYTES = 256 * 1024  # of unfinished C per task
SMALL = 1 << 20  # multiplications below which one thread is faster than two
SMALL_READ = 1 << 17  # the same for elements of B that are read once
MODERATE_ROWS, DIRECT_BYTES = 128, 832 * 1024  # B in the second-level cache is not packed
WORTH_ALIGNING = 48  # rows above which a B that is not aligned is packed all the same


@dataclass(frozen=True)
class Operand:
    """A further input of an epilogue: its type, and its strides along batch, m and n."""

    name: str
    dtype: dtype
    batch: tuple[int, ...]
    m: int
    n: int


@dataclass(frozen=True)
class MatmulSpec:
    """C[m, n] = value(sum over k of A[m, k] * B[k, n]); strides count elements, 0 broadcasts.

    value(s) = activation(s + bias) + residual + beta * C, in the compute type of `dtype`
    (float32 for 16-bit storage), rounded once to `output`. `activation` is "none", "relu", "gelu",
    or an expression of arg 0 = s + bias and arg 1.. = `operands`, in the compute type.
    """

    dtype: dtype
    m: int
    n: int
    k: int
    a: tuple[int, int]  # strides along m, k
    b: tuple[int, int]  # along k, n
    c: tuple[int, int]  # along m, n
    batch: tuple[int, ...] = ()
    a_batch: tuple[int, ...] = ()
    b_batch: tuple[int, ...] = ()
    c_batch: tuple[int, ...] = ()
    bias: str | None = None  # "column": one per n, "row": one per m
    activation: str | Expr = "none"
    operands: tuple[Operand, ...] = ()
    residual: Operand | None = None
    beta: float = 0.0
    output: dtypes.dtype | None = None
    threads: int = 1
    packed: bool = False  # B has come as `packed_panels` says, whatever its strides are
    one_of_many: bool = False  # of a batch, whose elements are called one by one


@dataclass
class KernelCall:
    """A native call: `address(words)`. Put the address of each buffer into its words, the scratch
    base into words[1]; words[0] is the error slot, words[2] the threads allowed, of which no more
    than `threads` are used. `pointers`: (name, word) with the names "a",
    "b", "c", "bias" and those of the operands; c appears twice where beta reads it."""

    address: int
    words: list[int]
    pointers: tuple[tuple[str, int], ...]
    scratch_per_thread: int
    threads: int
    scratch_shared: int = 0  # before the threads' own

    @property
    def scratch(self) -> int:
        """Bytes of scratch of the whole call, 64-byte aligned."""
        return self.scratch_shared + self.scratch_per_thread * self.threads


@dataclass(frozen=True)
class Product:
    """A `MatmulSpec` in its general form: the epilogue as one expression with its operands."""

    spec: MatmulSpec
    operands: tuple[Operand, ...] = ()
    value: Expr | None = None
    swapped: bool = field(default=False)


def depth_of(k: int) -> int:
    """Steps of k per block."""
    if k <= BLOCK:
        return max(k, 1)
    even = -(-k // -(-k // BLOCK))
    return -(-even // 16) * 16


def plan_matmul(spec: MatmulSpec) -> KernelCall:
    """The call that computes `spec`; compiles what is missing.

    ValueError for a spec that makes no sense, TypeError for a type without arithmetic.
    """
    _check(spec)
    return plan_general(_general(_merged(_plain_strides(spec))))


def plan_general(product: Product) -> KernelCall:
    """The call of a product whose epilogue is given as an expression."""
    if product.spec.packed:
        return plan_product(product)
    product = _transposed(product)
    return _planner(product.spec)(product)


def _planner(spec: MatmulSpec) -> Callable[[Product], KernelCall]:
    if gemv.fits(spec.m, spec.n, spec.k, spec.b[0]):
        return plan_dot
    if gemm_stream.fits(spec.m, spec.n, spec.b[1]) and not _in_first_cache(spec):
        return plan_stream
    return plan_product


def plan_dot(product: Product) -> KernelCall:
    """Few rows times a B that is contiguous along k: dot products along both."""
    spec, machine = product.spec, target()
    tile = gemm_tile.tile_of(spec.dtype.compute, machine)
    epilogue = epilogue_of(product, always=True)
    assert epilogue is not None
    strips = -(-spec.m // gemv.most_rows(machine))
    heights = tuple(sorted({spec.m // strips, -(-spec.m // strips)}))
    left = "direct" if spec.dtype is spec.dtype.compute and spec.a[1] == 1 else "rows"
    left = "any" if spec.a[1] != 1 else left
    variant = gemv.Variant(spec.dtype, left, heights, len(spec.batch), epilogue)
    threads = spec.threads if spec.n * spec.k * _count(spec.batch) > SMALL_READ else 1
    columns = gemv.columns_of(spec.n, threads, _count(spec.batch))
    scratch = Scratch()
    pitch = gemm_pack.row_of_left(tile, spec.k)
    left_at = scratch.take(spec.m * pitch * tile.size if left != "direct" else 0)
    sums_at = scratch.take(spec.m * (columns + gemv.GROUP) * tile.size)
    column_tiles = -(-spec.n // columns)
    values = _strides(product)
    values |= dict(m=spec.m, n=spec.n, k=spec.k, strips=strips, column_tiles=column_tiles)
    values |= dict(tile_columns=columns, tasks=column_tiles * _count(spec.batch))
    values |= dict(slot_bytes=scratch.size, left_at=left_at, sums_at=sums_at)
    address = jit.function(variant.key(), lambda symbol: gemv.emit(symbol, machine, tile, variant))
    return finish(
        address, gemv.word_names(variant), values, _pointer_names(product), scratch.size, threads
    )


def plan_stream(product: Product) -> KernelCall:
    """Few rows times a B that is contiguous along n: sums in C, B read once."""
    spec, machine = product.spec, target()
    tile = gemm_tile.tile_of(spec.dtype.compute, machine)
    epilogue = epilogue_of(product)
    strips = -(-spec.m // gemm_stream.most_rows(machine))
    heights = tuple(sorted({spec.m // strips, -(-spec.m // strips)}))
    left = "direct" if spec.dtype is spec.dtype.compute else "rows" if spec.a[1] == 1 else "any"
    variant = gemm_stream.Variant(spec.dtype, left, heights, len(spec.batch), epilogue)
    count = _count(spec.batch)
    threads = spec.threads if spec.m * spec.n * spec.k * count > SMALL else 1
    panels = -(-spec.n // tile.width)
    most = max(1, SUMS_BYTES // (spec.m * tile.width * tile.size))
    tasks = max(-(-panels // most), min(threads, panels))
    columns = -(-panels // tasks) * tile.width
    depth = depth_of(spec.k)
    blocks = max(1, -(-spec.k // depth))
    scratch = Scratch()
    pitch = gemm_pack.row_of_left(tile, spec.k)
    left_at = scratch.take(spec.m * pitch * tile.size if left != "direct" else 0)
    partial_at = scratch.take(spec.m * columns * tile.size if blocks > 1 else 0)
    sums_at = scratch.take(spec.m * columns * tile.size if epilogue else 0)
    column_tiles = -(-spec.n // columns)
    values = _strides(product)
    values |= dict(m=spec.m, n=spec.n, k=spec.k, strips=strips, column_tiles=column_tiles)
    values |= dict(tile_columns=columns, tasks=column_tiles * count, blocks=blocks, depth=depth)
    values |= dict(slot_bytes=scratch.size, left_at=left_at)
    values |= dict(partial_at=partial_at, sums_at=sums_at)
    address = jit.function(
        variant.key(), lambda symbol: gemm_stream.emit(symbol, machine, tile, variant)
    )
    names, pointers = gemm_stream.word_names(variant), _pointer_names(product)
    return finish(address, names, values, pointers, scratch.size, threads)


def plan_product(product: Product) -> KernelCall:
    spec, machine = product.spec, target()
    tile = gemm_tile.tile_of(spec.dtype.compute, machine)
    epilogue = epilogue_of(product)
    if epilogue and _plain_c(spec) and all(o.name != "c" for o in product.operands):
        epilogue = replace(epilogue, inside=True)
    beside = epilogue is not None and not epilogue.inside
    depth = depth_of(spec.k)
    blocks = max(1, -(-spec.k // depth))
    panels = -(-spec.n // tile.width)
    right = _right_mode(spec, tile)
    threads = spec.threads if spec.m * spec.n * spec.k * _count(spec.batch) > SMALL else 1
    rows, columns = task_shape(spec, tile, depth, threads, right, epilogue)
    left = _left_mode(spec, columns)
    variant = gemm_driver.Variant(spec.dtype, left, right, len(spec.batch), epilogue)
    row_tiles, column_tiles = -(-spec.m // rows), -(-panels // columns)
    scratch = Scratch()
    strips = -(-min(rows, spec.m) // tile.rows)
    left_at = scratch.take(gemm_pack.bytes_of_left(tile, depth, left, strips))
    right_bytes = 0
    if right not in ("direct", "packed"):
        right_bytes = gemm_pack.bytes_of_right(tile, depth, columns)
    right_at = scratch.take(right_bytes)
    kept = rows if blocks > 1 else tile.rows
    sums_at = scratch.take(kept * columns * tile.width * tile.size if beside else 0)
    values = _strides(product)
    values |= dict(m=spec.m, n=spec.n, k=spec.k, blocks=blocks, depth=depth)
    values |= dict(row_tiles=row_tiles, column_tiles=column_tiles, tile_rows=rows)
    values |= dict(tile_panels=columns, tasks=row_tiles * column_tiles * _count(spec.batch))
    values |= dict(slot_bytes=scratch.size, left_at=left_at, right_at=right_at, sums_at=sums_at)
    if spec.m and spec.n:
        values |= bodies(spec.m, spec.n, tile, rows, right)
    address = jit.function(
        variant.key(), lambda symbol: gemm_driver.emit(symbol, machine, tile, variant)
    )
    names = gemm_driver.word_names(variant, tile.rows)
    return finish(address, names, values, _pointer_names(product), scratch.size, threads)


def finish(
    address: int,
    names: Sequence[str],
    values: dict[str, int],
    pointers: Sequence[str],
    scratch: int,
    threads: int,
    shared: int = 0,
    tail: Sequence[int] = (),
) -> KernelCall:
    """A call from its words by name, then a tail; the first names are the pointers."""
    header = gemm_driver.HEADER
    values["threads"] = threads
    words = [0, 0, threads, *(values.get(name, 0) for name in names), *tail]
    places = tuple((name, header + i) for i, name in enumerate(pointers))
    return KernelCall(address, words, places, scratch, threads, shared)


def epilogue_of(product: Product, always: bool = False) -> Epilogue | None:
    """None where the tile can store to C by itself."""
    spec = product.spec
    output = spec.output or spec.dtype
    compute = spec.dtype.compute
    access = access_of(spec.c[1]) if spec.c[1] else "strided"
    if product.value is None and _plain_c(spec) and not always:
        return None
    value = product.value if product.value is not None else Expr("arg", (), compute, 0)
    kinds = tuple(o.dtype for o in product.operands)
    accesses = tuple(access_of(o.n) for o in product.operands)
    return Epilogue(e.cast(value, output), kinds, accesses, output, access)


def _plain_c(spec: MatmulSpec) -> bool:
    """Whether sums can be where C is."""
    output = spec.output or spec.dtype
    return output is spec.dtype is spec.dtype.compute and spec.c[1] == 1


class Scratch:
    """Lays out the scratch of a thread in pieces of whole lines."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, count: int) -> int:
        at = self.size
        self.size += -(-count // 64) * 64
        return at


def _count(sizes: Sequence[int]) -> int:
    total = 1
    for n in sizes:
        total *= n
    return total


def _check(spec: MatmulSpec) -> None:
    kinds = [spec.dtype, spec.output or spec.dtype, *(o.dtype for o in spec.operands)]
    for kind in kinds:
        if kind.category != FLOATING:
            raise TypeError(f"matrix product: floating types expected, got {kind!r}")
    if min(spec.m, spec.n, spec.k, *spec.batch, 0) < 0:
        raise ValueError(f"matrix product: negative size in {(spec.m, spec.n, spec.k)}")
    if spec.bias not in (None, "column", "row"):
        raise ValueError(f"matrix product: bias {spec.bias!r} is not None, 'column' or 'row'")
    ranks = {len(x) for x in (spec.batch, spec.a_batch, spec.b_batch, spec.c_batch)}
    if len(ranks) != 1:
        raise ValueError("matrix product: batch, a_batch, b_batch and c_batch differ in length")


def _plain_strides(spec: MatmulSpec) -> MatmulSpec:
    """Strides of axes of length one say nothing: give them the value that is fastest."""
    (a_m, a_k), (b_k, b_n), (c_m, c_n) = spec.a, spec.b, spec.c
    if spec.k <= 1:
        a_k, b_k = 1, b_n * max(spec.n, 1)
    if spec.n <= 1:
        b_n, c_n = 1 if b_k != 1 else max(spec.k, 1), 1
    if spec.m <= 1:
        a_m, c_m = a_k * max(spec.k, 1), c_n * max(spec.n, 1)
    return replace(spec, a=(a_m, a_k), b=(b_k, b_n), c=(c_m, c_n))


def _merged(spec: MatmulSpec) -> MatmulSpec:
    """Batch axes that B does not have become rows where the strides allow it."""
    if spec.bias == "row" or spec.operands or spec.residual:
        return spec
    while spec.batch:
        count, steps = spec.batch[-1], (spec.a_batch[-1], spec.c_batch[-1])
        wanted = (spec.a[0] * spec.m, spec.c[0] * spec.m)
        if count != 1 and (spec.b_batch[-1] != 0 or steps != wanted):
            return spec
        spec = replace(
            spec,
            m=spec.m * count,
            batch=spec.batch[:-1],
            a_batch=spec.a_batch[:-1],
            b_batch=spec.b_batch[:-1],
            c_batch=spec.c_batch[:-1],
        )
    return spec


def _general(spec: MatmulSpec) -> Product:
    compute, none = spec.dtype.compute, (0,) * len(spec.batch)
    operands: list[Operand] = []

    def operand(o: Operand) -> Expr:
        operands.append(o)
        return e.cast(Expr("arg", (), o.dtype, len(operands)), compute)

    value = start = Expr("arg", (), compute, 0)
    if spec.bias:
        m, n = (0, 1) if spec.bias == "column" else (1, 0)
        value = value + operand(Operand("bias", spec.dtype, none, m, n))
    if isinstance(spec.activation, str):
        value = activation(spec.activation, value)
    else:
        inputs = [value, *(operand(o) for o in spec.operands)]
        value = e.substitute([spec.activation], inputs)[0]
    if spec.residual:
        value = value + operand(spec.residual)
    if spec.beta:
        kind = spec.output or spec.dtype
        old = operand(Operand("c", kind, spec.c_batch, *spec.c))
        value = value + (old if spec.beta == 1.0 else old * spec.beta)
    return Product(spec, tuple(operands), None if value is start else value)


def _transposed(product: Product) -> Product:
    """C^T = B^T A^T where C is contiguous along m, or has a single column."""
    spec = product.spec
    if not (spec.c[1] != 1 and spec.c[0] == 1 or spec.n == 1 and spec.m > 1):
        return product
    turned = replace(
        spec,
        m=spec.n,
        n=spec.m,
        a=spec.b[::-1],
        b=spec.a[::-1],
        c=spec.c[::-1],
        a_batch=spec.b_batch,
        b_batch=spec.a_batch,
    )
    operands = tuple(replace(o, m=o.n, n=o.m) for o in product.operands)
    return Product(turned, operands, product.value, not product.swapped)


def _pointer_names(product: Product) -> list[str]:
    first = ["b", "a", "c"] if product.swapped else ["a", "b", "c"]
    return [*first, *(o.name for o in product.operands)]


def _strides(product: Product) -> dict[str, int]:
    spec = product.spec
    values = dict(
        zip(("a_m", "a_k", "b_k", "b_n", "c_m", "c_n"), (*spec.a, *spec.b, *spec.c), strict=True)
    )
    for i, o in enumerate(product.operands):
        values |= {f"operand{i}_m": o.m, f"operand{i}_n": o.n}
    for d, size in enumerate(spec.batch):
        values[f"batch{d}"] = size
        values |= {f"a_batch{d}": spec.a_batch[d], f"b_batch{d}": spec.b_batch[d]}
        values[f"c_batch{d}"] = spec.c_batch[d]
        for i, o in enumerate(product.operands):
            values[f"operand{i}_batch{d}"] = o.batch[d]
    return values


def _in_first_cache(spec: MatmulSpec) -> bool:
    """One B of many is small enough to be read where it lies by any number of rows."""
    plain = spec.dtype is spec.dtype.compute
    many = spec.one_of_many or bool(spec.batch)
    return many and plain and spec.k * spec.n * spec.dtype.itemsize <= 64 * 1024


def alike(*specs: MatmulSpec) -> bool:
    """Whether specs that differ in C, batch and what becomes of the sums give the same sums."""
    for spec in specs:
        plain = _plain_strides(spec)
        if spec.c[1] != 1 or min(spec.m, spec.n) < 2:
            return False
        if _merged(replace(plain, operands=(), residual=None)).batch != plain.batch:
            return False
    return True


def packs_right(spec: MatmulSpec) -> bool:
    """Whether the call of this product copies all of B in panels first."""
    product = _transposed(_general(_merged(_plain_strides(spec))))
    s = product.spec
    if product.swapped or s.batch or s.dtype is not s.dtype.compute:
        return False
    tile = gemm_tile.tile_of(s.dtype.compute, target())
    return _planner(s) is plan_product and _right_mode(s, tile) in gemm_driver.PACKING


def packed_panels(kind: dtype, k: int, n: int) -> tuple[int, int, list[tuple[int, int]]]:
    """How B [k, n] is packed for products with `packed`: the width of a panel, their number, and
    the (start, length) of the blocks of k. to[block][panel][k][column]."""
    width, depth = gemm_tile.tile_of(kind.compute, target()).width, depth_of(k)
    blocks = [(start, min(depth, k - start)) for start in range(0, k, depth)]
    return width, -(-n // width), blocks


def _right_mode(spec: MatmulSpec, tile: Tile) -> str:
    if spec.packed:
        return "packed"
    size = spec.k * spec.n * tile.size
    small = _in_first_cache(spec)
    # A B that stays in the second-level cache is not packed for few rows, unless its rows all
    # start at the same place of a page: they would take turns in the same lines of the cache.
    apart = spec.b[0] * tile.size % 4096 != 0
    small = small or (
        gemm_stream.FEW_ROWS < spec.m <= MODERATE_ROWS and size <= DIRECT_BYTES and apart
    )
    if spec.b[1] == 1 and spec.dtype is spec.dtype.compute:
        if small:
            return "direct" if spec.m < WORTH_ALIGNING else "aligned"
    if spec.b[1] == 1:
        return "rows"
    return "columns" if spec.b[0] == 1 else "any"


def _left_mode(spec: MatmulSpec, panels: int) -> str:
    mode = "rows" if spec.a[1] == 1 else "columns" if spec.a[0] == 1 else "any"
    if spec.dtype is spec.dtype.compute and (mode == "rows" or panels < 2):
        return "direct"
    return mode


def task_shape(
    spec: MatmulSpec,
    tile: Tile,
    depth: int,
    threads: int,
    right: str,
    epilogue: Epilogue | None,
) -> tuple[int, int]:
    """(rows, panels) of a task: even work for the threads, B in cache, few repeated copies."""
    panels = max(1, -(-spec.n // tile.width))
    most_bytes = RIGHT_BYTES if spec.a[1] == 1 else RIGHT_BYTES_COPIED
    limit = max(1, most_bytes // (depth * tile.width * tile.size))
    batch = max(1, _count(spec.batch))
    copy = 12.0 if right in ("rows", "columns", "any") else 0.0  # rows of tiles: a row's packing
    turn = 0.2 if spec.a[1] != 1 else 0.0  # panels that packing a strip of A costs
    best = (float("inf"), tile.rows, 1)
    for column_tiles in range(-(-panels // limit), min(panels, 64 + panels // limit) + 1):
        columns = -(-panels // column_tiles)
        most = max(tile.rows, SUMS_BYTES // (columns * tile.width * tile.size))
        for row_tiles in (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32):
            rows = max(1, -(-spec.m // (row_tiles * tile.rows))) * tile.rows
            if row_tiles > 1 and rows * (row_tiles - 1) >= spec.m:
                continue
            if epilogue and not epilogue.inside and (spec.k > depth or epilogue.along == "m"):
                rows = min(rows, most // tile.rows * tile.rows)
            tasks = batch * -(-panels // columns) * -(-spec.m // rows)
            rounds = -(-tasks // threads)
            cost = rounds * rows * columns * (1 + copy / rows + turn / columns)
            if cost < best[0] * 0.995:
                best = (cost, rows, columns)
    return best[1], best[2]


def bodies(m: int, n: int, tile: Tile, rows: int, right: str = "rows") -> dict[str, int]:
    """The register tiles that m rows in tasks of `rows`, and n columns, meet; right: how B is
    packed. Where it is not, it ends with its last column."""
    heights: set[int] = set()
    for task_rows in {min(rows, m), (m - 1) % rows + 1}:
        strips = -(-task_rows // tile.rows)
        heights |= {task_rows // strips, -(-task_rows // strips)}
    rest = n % tile.width
    found = {}
    panels = right not in ("direct", "aligned")
    ends = not panels and rest % tile.lanes != 0
    for r, copies in itertools.product(heights, (False, True) if right == "aligned" else (False,)):
        kind = "copying" if copies else "body"
        if n >= tile.width:
            found[f"{kind}{r}_0"] = gemm_tile.body(tile, r, tile.vectors, False, copies, panels)
        if rest:
            last = -(-rest // tile.lanes)
            found[f"{kind}{r}_1"] = gemm_tile.body(tile, r, last, ends, copies, panels)
    return found
