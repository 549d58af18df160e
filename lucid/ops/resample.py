"""Resizing along dimensions: each output element is a weighted sum of a few neighbours.

neighbours.py says which, and with which weights; interpolate.py calls `resized`. The transpose of a
resize along one dimension has the same form, with tables of its own, so every derivative does too.
"""

from itertools import product
from typing import Any

from lucid.dtypes import int64
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.op import OpMeta, Pointwise, Reduction


def _within(at: Expr, n: int) -> Expr:
    """The place itself; any place is read safely, whatever the tables hold."""
    return expr.where((at >= 0) & (at < expr.size(n)), at, expr.ZERO)


class band(Reduction):
    """y[.., o, ..] = sum over t of weight[o, t] x[.., start[o] + t, ..] along dim.

    back_start and back_weight are the tables of the transpose; only rules use them.
    """

    public = False

    def names(x, start, weight, back_start, back_weight, *, dim):
        pass

    def domain(types, params):
        shape, dim = types[0][0], params[0]
        outputs, taps = types[2][0]
        return (*shape[:dim], outputs, *shape[dim + 1 :], taps), (len(shape),)

    def monoid(types, params):
        return loops.sum_of(types[0][1].compute)

    def infer(types, params):
        shape, dim = types[0][0], params[0]
        return [((*shape[:dim], types[1][0][0], *shape[dim + 1 :]), types[0][1])]

    def element(types, params, index, loads):
        dim = params[0]
        inner = list(index[:-1])
        inner[dim] = _within(expr.cast(loads[1]([index[dim]]), int64) + index[-1], types[0][0][dim])
        return (loads[2]([index[dim], index[-1]]) * loads[0](inner),)

    def axis_map(call):
        return call.run(call.inputs, (call.params[0] + 1,))

    def vjp_x(g, start, weight, back_start, back_weight, dim):
        return band(g, back_start, back_weight, start, weight, dim)


def _resize_record(rank: int) -> Any:
    """The last `rank` dimensions at once, with few taps: one pass over the output."""
    parts = ("start", "weight", "back_start", "back_weight")
    names = ("x", *(f"{part}{d}" for d in range(rank) for part in parts))

    def infer(types, params):
        size = tuple(types[1 + 4 * d][0][0] for d in range(rank))
        return [((*types[0][0][:-rank], *size), types[0][1])]

    def element(types, index, loads, plain):
        lead = len(types[0][0]) - rank
        choices = []
        for d in range(rank):
            o = index[lead + d]
            start = expr.cast(loads[1 + 4 * d]([o]), int64)
            n, taps = types[0][0][lead + d], types[2 + 4 * d][0][1]
            read = loads[2 + 4 * d]
            choices.append(
                [
                    (_within(start + t, n), None if plain else read([o, expr.const(t, int64)]))
                    for t in range(taps)
                ]
            )
        total = None
        for places in product(*choices):
            value = loads[0]([*index[:lead], *(at for at, _ in places)])
            for _, weight in reversed(places):
                value = value if weight is None else value * weight
            total = value if total is None else total + value
        return total

    def rule(g, **tables):
        for d in range(rank):
            start, weight, back_start, back_weight = (tables[f"{part}{d}"] for part in parts)
            g = band(g, back_start, back_weight, start, weight, g.ndim - rank + d)
        return g

    def axis_map(call):
        return call.run(call.inputs, call.params)

    rule.needs = ("g", *names[1:])  # type: ignore[attr-defined]
    members = {
        "arguments": (names, ("plain",)),
        "infer": infer,
        "element": element,
        "vjp_x": rule,
        "axis_map": axis_map,
        "label": "interpolate",
        "public": False,
        "__doc__": f"The last {rank} dimensions resized; plain: the element itself, unweighted.",
    }
    return OpMeta(f"resize_{rank}", (Pointwise,), members)


RESIZE = {rank: _resize_record(rank) for rank in (1, 2, 3)}


def resized(x: Any, tables: tuple, plain: bool) -> Any:
    """x with its last dimensions resized; four tables of each, see `band`."""
    rank = len(tables)
    work = 1
    for table in tables:
        work *= table[1].shape[1]
    if work <= 16:
        record = RESIZE[rank]
        return record.dispatch(record, (x, *(t for table in tables for t in table)), (plain,))
    # Dimensions that shrink most come first: what is in between is smallest then.
    order = sorted(range(rank), key=lambda d: tables[d][0].shape[0] / x.shape[d - rank])
    for d in order:
        x = band(x, *tables[d], x.ndim - rank + d)
    return x
