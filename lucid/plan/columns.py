"""Folds of columns taken along by a kernel that goes over the same rows.

lower.py calls `along` with two groups. The backward pass of layer_norm folds the rows of what it
reads for one gradient and the columns for two others: in one kernel the rows are read once.
"""

from dataclasses import replace

from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Axis, Fold, Map, Stage, Store
from lucid.lazy import lazy
from lucid.plan.nest import Nest, rebuild
from lucid.plan.steps import Operand

threads = lazy("lucid.backend.cpu.threads")

BLOCK = loops.COLUMN_BLOCK


def along(rows: Nest, columns: Nest, shared: dict[str, str], scalars: int) -> Nest | None:
    """The nest `rows`, whose lanes lie along its rows, with the first half of a split fold of
    columns (nest.split) done on the way; None where the two do not go over the same elements.

    `shared` says which arrays of `columns` are which of `rows`. The others get the name that it
    has with a `c` in front, and scalar s0 of `columns` becomes the one after the `scalars` of
    `rows`. BLOCK rows are one task, which adds each row to what the ones before it left.
    """
    if len(rows.grid) != 1 or len(rows.inner) != 1 or rows.static or rows.block or not shared:
        return None
    assert columns.block is not None
    row, lane = rows.grid[0], rows.inner[0]
    if columns.grid != ["block", lane] or columns.block[0] != row:
        return None
    if any(rows.extents[a] != columns.extents[a] for a in (row, lane)):
        return None
    if columns.extents["block"] < 2 * max(threads.get_num_threads(), 2):
        return None  # too few tasks
    names = {name: shared.get(name, f"c{name}") for name in columns.arrays}
    for name, other in shared.items():
        if columns.arrays[name].strides != rows.arrays[other].strides:
            return None

    def rename(node: Expr) -> Expr | None:
        if node.op == "load":
            return expr.load(names[node.attr], node.args, node.dtype)
        if node.op == "scalar":
            return expr.scalar(f"s{int(node.attr[1:]) + scalars}", node.dtype)
        return None

    (fold,) = [s for s in rebuild(columns.stages, rename, _same) if isinstance(s, Fold)]
    arrays = {names[n]: replace(a, name=names[n]) for n, a in columns.arrays.items()}
    partial = [n for n, a in columns.arrays.items() if a.role == "out"]
    at = (expr.index(row) >> (BLOCK.bit_length() - 1), expr.index(lane))
    first = (expr.index(row) & (BLOCK - 1)).eq(0)
    kinds = fold.monoid.dtypes
    before = [
        expr.where(first, neutral, expr.load(names[n], at, kind))
        for n, neutral, kind in zip(partial, fold.monoid.neutral, kinds, strict=True)
    ]
    made = fold.monoid.combine(before, fold.values)
    stores = tuple(Store(names[n], at, x) for n, x in zip(partial, made, strict=True))
    for n in partial:
        arrays[names[n]].role = "inout"
    *others, last = rows.stages
    stages: list[Stage] = [*rows.stages, Map((Axis(lane, expr.ZERO),), stores)]
    if isinstance(last, Map) and last.axes:  # one pass over the row
        stages = [*others, replace(last, stores=last.stores + stores)]
    return replace(
        rows,
        arrays={**rows.arrays, **{n: a for n, a in arrays.items() if n not in rows.arrays}},
        stages=stages,
        scalars=[*rows.scalars, *[f"s{int(s[1:]) + scalars}" for s in columns.scalars]],
        ordered=BLOCK,
    )


def _same(store: Store) -> Store:
    return store


def shared(rows: dict[str, Operand], columns: dict[str, Operand]) -> dict[str, str]:
    """Which operands of `columns` are operands that `rows` reads too: names to names."""
    found = {}
    for name, x in columns.items():
        for other, y in rows.items():
            if (
                other[0] == "x"
                and x.value is y.value
                and (x.offset, x.strides, x.dtype) == (y.offset, y.strides, y.dtype)
            ):
                found[name] = other
                break
    return found
