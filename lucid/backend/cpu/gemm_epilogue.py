"""What happens to a finished block of C before it is stored: bias, activation, residual, beta.

An epilogue is a scalar expression: arg 0 is the sum over k in the compute type, arg 1.. are
operands. gemm.py and conv.py describe it, gemm_driver.py emits it.
"""

from dataclasses import dataclass

from lucid.backend.cpu import math
from lucid.backend.cpu.emit import Emitter, memory
from lucid.backend.cpu.gemm_tile import Tile
from lucid.backend.cpu.llvm import Function, Value
from lucid.backend.cpu.transposed import transpose
from lucid.dtypes import dtype
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr

UNITS = 4  # vectors of a long epilogue that are worked on together


@dataclass(frozen=True)
class Epilogue:
    """value: the expression, of C's type. kinds, accesses: one per operand. target: how C lies.

    Lanes run along n, or along m where C is contiguous there; accesses and target are along them.
    inside: the sums are where C will be.
    """

    value: Expr
    kinds: tuple[dtype, ...]
    accesses: tuple[str, ...]
    output: dtype
    target: str = "next"
    along: str = "n"
    inside: bool = False

    def key(self) -> str:
        kinds = ", ".join(f"{k.name} {a}" for k, a in zip(self.kinds, self.accesses, strict=True))
        to = f"{self.output.name} {self.target} along {self.along}{' inside' * self.inside}"
        return f"{e.render([self.value])} of [{kinds}] to {to}"


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


def emit_block(
    f: Function,
    flags: frozenset[str],
    tile: Tile,
    epilogue: Epilogue,
    block: Block,
) -> None:
    """Stores of one block: C[m][n] = value(sums[m - m0][n - n0], operands[m][n])."""
    emitter = Emitter(f, flags)
    value = math.expand([epilogue.value])[0]
    if epilogue.along == "m":
        _emit_along_rows(f, emitter, value, tile, epilogue, block)
        return
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

        def vectors_at(j: Value, mask: Value | None, count: int, bases=bases, sums=sums, out=out):
            line = f"<{tile.lanes} x {tile.element}>"
            places = [j + u * tile.lanes for u in range(count)]
            given = []
            for at in places:
                if mask is not None and epilogue.inside:
                    values = [f.masked_load(line, f.address(sums, at, tile.element), mask)]
                else:
                    values = [f.load(line, sums, at)]
                for k, kind in enumerate(epilogue.kinds):
                    access, s_n = epilogue.accesses[k], block.column_strides[k]
                    n = block.first_column + at
                    values.append(_read(f, bases[k], kind, access, n, s_n, tile.lanes, mask))
                given.append(values)
            results = emitter.together([value], given, tile.lanes)
            for at, (made,) in zip(places, results, strict=True):
                n = block.first_column + at
                _write(f, made, out, epilogue, n, block.c_column, mask)

        # Several vectors side by side, so that long chains of operations overlap.
        step = tile.lanes * (1 if "avx512" in flags and _short(epilogue.value) else UNITS)
        whole: Value | int = 0
        if step > tile.lanes or "avx512" not in flags:
            whole = block.columns // step * step
            with f.loop(0, whole, step) as j:
                vectors_at(j, None, step // tile.lanes)
        with f.loop(whole, block.columns, tile.lanes) as j:
            vectors_at(j, f.first_lanes(block.columns - j, tile.lanes), 1)


def _short(value: Expr) -> bool:
    """Whether there is little to overlap."""
    nodes = list(e.postorder([value]))
    return sum(bool(n.args) for n in nodes) < 12 and not any(n.op in e.MATH for n in nodes)


def _emit_along_rows(
    f: Function, emitter: Emitter, value: Expr, tile: Tile, epilogue: Epilogue, block: Block
) -> None:
    """Squares of the sums are turned in registers, so that stores follow C's contiguous axis."""
    lanes, kind = tile.lanes, f"<{tile.lanes} x {tile.element}>"
    square = f.slot(f"[{lanes * lanes} x {tile.element}]").pointer
    last = block.rows - 1
    with f.loop(0, block.columns, lanes) as j, f.loop(0, block.rows, lanes) as i:
        # Rows beyond the last repeat it, and are masked away.
        rows = [
            f.load(kind, block.sums, f.minimum(i + r, last) * block.pitch + j) for r in range(lanes)
        ]
        for lane, column in enumerate(transpose(f, rows)):
            f.store(column, square, lane * lanes)
        mask = f.first_lanes(block.rows - i, lanes)
        m = block.first_row + i
        with f.loop(0, f.minimum(block.columns - j, lanes)) as k:
            n = block.first_column + j + k
            values = [f.load(kind, square, k * lanes)]
            for o, unit in enumerate(epilogue.kinds):
                base = f.address(block.operands[o], n * block.column_strides[o], memory(unit))
                stride = block.row_strides[o]
                values.append(_read(f, base, unit, epilogue.accesses[o], m, stride, lanes, mask))
            made = emitter.evaluate([value], values, lanes)[0]
            out = f.address(block.c, n * block.c_column, memory(epilogue.output))
            _write(f, made, out, epilogue, m, block.c_row, mask)


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
