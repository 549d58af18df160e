"""What happens to a finished block of C before it is stored: bias, activation, residual, beta.

An epilogue is a scalar expression: arg 0 is the sum over k in the compute type, arg 1.. are
operands. gemm.py and conv.py describe it, gemm_driver.py emits it.
"""

from dataclasses import dataclass

from lucid.backend.cpu import math
from lucid.backend.cpu.emit import Emitter, memory
from lucid.backend.cpu.gemm_tile import Tile
from lucid.backend.cpu.llvm import Function, Value
from lucid.dtypes import dtype
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr

# How lanes along n read an operand: "same" n stride 0, "next" n stride 1, "strided" any other.
ACCESSES = ("same", "next", "strided")


@dataclass(frozen=True)
class Epilogue:
    """value: the expression, of C's type. kinds, accesses: one per operand. target: how C lies."""

    value: Expr
    kinds: tuple[dtype, ...]
    accesses: tuple[str, ...]
    output: dtype
    target: str = "next"

    def key(self) -> str:
        kinds = ", ".join(f"{k.name} {a}" for k, a in zip(self.kinds, self.accesses, strict=True))
        return f"{e.render([self.value])} of [{kinds}] to {self.output.name} {self.target}"


def access_of(stride: int) -> str:
    return {0: "same", 1: "next"}.get(stride, "strided")


def activation(name: str, x: Expr) -> Expr:
    """none, relu, or gelu (x * Phi(x), the erf form; Hendrycks and Gimpel 2016)."""
    if name == "none":
        return x
    if name == "relu":
        return e.where(x <= 0, e.zero(x), x)
    if name == "gelu":
        half = e.math("erf", x * 0.5**0.5) * 0.5 + 0.5
        # x * 0 is NaN at -inf, where gelu tends to 0
        return e.where(x < -20.0, e.zero(x), x * half)
    raise ValueError(f"matrix product: activation {name!r} is not one of none, relu, gelu")


def emit_block(
    f: Function,
    flags: frozenset[str],
    tile: Tile,
    epilogue: Epilogue,
    block: "Block",
) -> None:
    """Stores of one block: C[m][n] = value(sums[m - m0][n - n0], operands[m][n])."""
    emitter = Emitter(f, flags)
    value = math.expand([epilogue.value])[0]
    with f.loop(0, block.rows) as i:
        m = block.first_row + i
        sums = f.address(block.sums, i * block.pitch, tile.element)
        bases = [
            f.address(pointer, m * s_m, memory(kind))
            for pointer, s_m, kind in zip(
                block.operands, block.row_strides, epilogue.kinds, strict=True
            )
        ]
        out = f.address(block.c, m * block.c_row, memory(epilogue.output))

        def vector_at(j: Value, mask: Value | None, bases=bases, sums=sums, out=out) -> None:
            n = block.first_column + j
            values = [f.load(f"<{tile.lanes} x {tile.element}>", sums, j)]
            for k, kind in enumerate(epilogue.kinds):
                access = epilogue.accesses[k]
                values.append(
                    _read(f, bases[k], kind, access, n, block.column_strides[k], tile.lanes, mask)
                )
            made = emitter.evaluate([value], values, tile.lanes)[0]
            _write(f, made, out, epilogue, n, block.c_column, mask)

        whole: Value | int = 0
        if "avx512" not in flags:  # masks cost little there, and halve the code
            whole = block.columns & -tile.lanes
            with f.loop(0, whole, tile.lanes) as j:
                vector_at(j, None)
        with f.loop(whole, block.columns, tile.lanes) as j:
            vector_at(j, f.first_lanes(block.columns - j, tile.lanes))


@dataclass
class Block:
    """Where a block lies: sums in scratch, C and operands in memory (at row 0, column 0)."""

    sums: Value
    pitch: Value
    first_row: Value
    rows: Value
    first_column: Value
    columns: Value
    c: Value
    c_row: Value
    c_column: Value
    operands: list[Value]
    row_strides: list[Value]
    column_strides: list[Value]


def _lane_addresses(f: Function, base: Value, unit: str, n: Value, s_n: Value, count: int) -> Value:
    """count addresses, s_n elements apart, the first at element n."""
    places = (f.iota(count) + f.splat(n, count)) * f.splat(s_n, count)
    return f.emit(
        f"getelementptr {unit}, ptr {base.name}, {places.kind} {places.name}", _PTRS[count]
    )


_PTRS = {8: "<8 x ptr>", 16: "<16 x ptr>"}


def _read(
    f: Function,
    base: Value,
    kind: dtype,
    access: str,
    n: Value,
    s_n: Value,
    count: int,
    mask: Value | None,
) -> Value:
    unit = memory(kind)
    if access == "same":
        return f.splat(f.load(unit, base), count)
    if access == "next":
        place = f.address(base, n, unit)
        if mask is None:
            return f.load(memory(kind, count), place)
        return f.masked_load(memory(kind, count), place, mask)
    pointers = _lane_addresses(f, base, unit, n, s_n, count)
    return f.gather(memory(kind, count), pointers, mask or _all(f, count))


def _write(
    f: Function, value: Value, base: Value, epilogue: Epilogue, n: Value, s_n: Value, mask
) -> None:
    unit, count = memory(epilogue.output), int(value.kind[1:].split(" ")[0])
    if epilogue.target == "next":
        place = f.address(base, n, unit)
        if mask is None:
            f.store(value, place)
        else:
            f.masked_store(value, place, mask)
        return
    f.scatter(value, _lane_addresses(f, base, unit, n, s_n, count), mask or _all(f, count))


def _all(f: Function, count: int) -> Value:
    return f.constant(1, f"<{count} x i1>")
