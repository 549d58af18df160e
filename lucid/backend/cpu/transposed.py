"""Reads whose lanes lie far apart, but side by side along the axis before: 16 x 16 at a time.

schedule.py calls `sources` and `emit_tile` for kernels without inner loops, such as the copy of a
transposed matrix: a gather would touch 16 lines of the cache for 16 elements.
"""

from collections.abc import Callable, Sequence

from lucid.backend.cpu.access import STRIDED
from lucid.backend.cpu.emit import memory
from lucid.backend.cpu.llvm import Function, Value
from lucid.backend.cpu.prepare import StageCode
from lucid.backend.cpu.stages import Body, Scope
from lucid.kernel.expr import Expr
from lucid.kernel.loops import LANES, Kernel, Map

ROWS = LANES  # rows of the grid that are worked on together


def transpose(f: Function, rows: list[Value]) -> list[Value]:
    """n vectors of n lanes, n a power of two: the n columns."""
    count, distance = len(rows), 1
    while distance < count:
        made = list(rows)
        for i in range(count):
            if i & distance:
                continue
            a, b = rows[i], rows[i + distance]
            low = [x if not x & distance else count + x - distance for x in range(count)]
            high = [x + distance if not x & distance else count + x for x in range(count)]
            made[i], made[i + distance] = f.shuffle(a, b, low), f.shuffle(a, b, high)
        rows, distance = made, 2 * distance
    return rows


def sources(kernel: Kernel, codes: Sequence[StageCode]) -> list[tuple[StageCode, Expr]]:
    """The reads that are contiguous along the last grid axis but one, not along the last."""
    found: dict[int, tuple[StageCode, Expr]] = {}
    if any(not isinstance(c.stage, Map) or c.stage.axes for c in codes):
        return []
    for code in codes:
        for node in [n for level in code.each for n in level]:
            if node.op != "read" or node.attr[1] != STRIDED:
                continue
            _, step = code.low.advance.get(id(node.args[0]), ("", None))
            buffer = code.low.buffers[node.attr[0]]
            if step is not None and step.op == "const" and step.attr == 1 and buffer.role == "in":
                found[id(node)] = code, node
    return list(found.values())


def emit_tile(
    body: Body,
    codes: Sequence[StageCode],
    reads: Sequence[tuple[StageCode, Expr]],
    row: Callable[[Value], Scope],
    lane: str,
    left: Value,
    right: Value,
) -> None:
    """ROWS rows of the grid in the columns [left, right); `row(j)` is the scope of their row j."""
    f = body.f
    first = row(f.i64(0))
    kept = {
        id(node): f.slot(f"[{ROWS * LANES} x {memory(node.dtype)}]").pointer for _, node in reads
    }

    def visit(i: Value) -> None:
        corner = Scope(first)
        body.bind(corner, "start", lane, i)
        last = f.minimum(right - i, LANES) - 1
        for code, node in reads:
            unit, wide = memory(node.dtype), memory(node.dtype, LANES)
            at = body.demand(code, node.args[0], corner)
            stride = body.demand(code, node.args[2], corner)
            # beyond the last column the last one again, which nobody looks at
            rows = [
                f.load(wide, f.address(at, stride * f.minimum(r, last), unit)) for r in range(LANES)
            ]
            for n, line in enumerate(transpose(f, rows)):
                f.store(line, f.address(kept[id(node)], n * LANES, unit))
        with f.loop(0, ROWS) as j:
            point = Scope(row(j))
            body.bind(point, "start", lane, i)
            body.given = {
                id(node): f.load(
                    memory(node.dtype, LANES),
                    f.address(kept[id(node)], j * LANES, memory(node.dtype)),
                )
                for _, node in reads
            }
            for code in codes:
                body.stage(code, point)
            body.given = {}

    body.vectors(left, right, 1, visit)
