"""Gathers and scatters: elements at places that integer tensors give.

Reading is pointwise and fuses. Writing is a serial scan over the places, in parallel over all
other dimensions, so that repeated places add up in order, the same on any number of threads.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lucid.autograd.mode import is_grad_enabled
from lucid.dtypes import COMPLEX, INTEGER, bool_, int64
from lucid.kernel import expr
from lucid.kernel.expr import Expr, checked
from lucid.kernel.loops import Axis, Scan, Store
from lucid.layout import broadcast_shapes, contiguous_strides
from lucid.op import ERROR_INDEX, Opaque, OpMeta, Pointwise, broadcast_index
from lucid.ops.creation import zeros
from lucid.ops.elementwise import assign
from lucid.ops.view import expand, permute, subscript_back
from lucid.plan.copies import copy_step
from lucid.plan.nest import Nest, array_of, step
from lucid.plan.steps import Operand, Step
from lucid.tracing import tracing
from lucid.write import needs_gradient, write


def in_range(i: Expr, n: int) -> Expr:
    """An index counted from either end; outside of the range the error slot is set, 0 is read."""
    size = expr.size(n)
    turned = expr.where(i < 0, i + size, i)
    good = (turned >= 0) & (turned < size)
    return checked(expr.where(good, turned, expr.ZERO), good, ERROR_INDEX, i)


def check_places(name: str, kind: Any, shape: Sequence[int], n: int, dim: int) -> None:
    """An index tensor of this dtype and shape for a dimension of size n."""
    check_index(name, kind)
    if n == 0 and 0 not in shape:
        raise IndexError(f"{name}: no index is in range for dimension {dim} of size 0")


def check_index(name: str, kind: Any) -> None:
    if kind.category != INTEGER:
        raise IndexError(f"{name}: an index tensor must be of an integer type, got {kind!r}")


def side_by_side(context: Any, x: Operand) -> tuple[list[Step], Operand]:
    """x with its elements side by side, for kernels that read them so: itself, or a copy."""
    if x.strides == contiguous_strides(x.shape):
        return [], x
    copy = context.temporary(x.shape, x.dtype)
    return [copy_step(x, copy)], copy


# Integer tensors for consecutive dimensions

zeros_of = zeros  # the name is a parameter below


def _middle(types: Sequence) -> tuple[int, ...]:
    return broadcast_shapes("index", *(t[0] for t in types))


def _limits(shape: Sequence[int], first: int, n: int) -> str:
    sizes = ", ".join(f"{d} of size {shape[d]}" for d in range(first, first + n))
    return f" for dimension {sizes}"


def _names(n: int) -> tuple[str, ...]:
    return tuple(f"i{d}" for d in range(n))


def _take_map(call: Any) -> Any:
    """The batch of x stays in front; where there are places for each element of it, it is one
    more indexed dimension."""
    (x, *places), (first,) = call.inputs, call.params
    if not any(call.batched[1:]):
        return take(x, places, first + 1)
    rank = max(len(call.types[1 + d][0]) for d in range(len(places)))
    places = call.aligned(rank)[1:]
    if call.batched[0]:
        x = _moved(x, 0, first)
        places = [call.numbers(rank), *places]
    return _moved(take(x, places, first), first, 0)


def _put_map(call: Any, zeros: bool, add: bool) -> Any:
    """As for `take`: x and v are in the batch, or x is zeros."""
    first = call.params[0]
    shift = 1 if zeros else 2
    if any(call.batched[shift:]):
        rank = max(len(t[0]) for t in call.types[shift:])
        places = [call.numbers(rank), *call.aligned(rank)[shift:]]
        given = [_moved(t, 0, first) for t in call.spread()[:shift]]
        size = call.params[1] if zeros else ()
        size, back = (*size[:first], call.size, *size[first:]), first
    else:
        places, given, first, back = call.inputs[shift:], call.spread()[:shift], first + 1, 0
        size = (call.size, *call.params[1]) if zeros else ()
    if zeros:
        y = put_zeros(given[0], places, size, first)
    else:
        y = put(given[0], given[1], places, first, add)
    return _moved(y, back, 0)


def _moved(x: Any, start: int, end: int) -> Any:
    """x with one dimension in another place."""
    order = [d for d in range(len(x.shape)) if d != start]
    order.insert(end, start)
    return x if start == end else permute(x, tuple(order))


def _take_record(n: int) -> Any:
    """x at n integer tensors, for dimensions first .. first + n - 1."""

    def infer(types, params):
        shape, kind, _ = types[0]
        first = params[0]
        middle = _middle(types[1:])
        for d, t in enumerate(types[1:]):
            check_places("index", t[1], middle, shape[first + d], first + d)
        return [((*shape[:first], *_middle(types[1:]), *shape[first + n :]), kind)]

    def element(types, index, loads, first):
        shape = types[0][0]
        width = len(_middle(types[1:]))
        inner = index[first : first + width]
        at = [
            in_range(expr.cast(read(broadcast_index(t[0], inner)), int64), shape[first + d])
            for d, (t, read) in enumerate(zip(types[1:], loads[1:], strict=True))
        ]
        return loads[0]([*index[:first], *at, *index[first + width :]])

    def limits(types, params):
        return _limits(types[0][0], params[0], n)

    def rule(g, x_meta, first, **indices):
        places = [indices[name] for name in _names(n)]
        return put_zeros(g, places, x_meta.shape, first)

    rule.needs = ("g", "x_meta", "first", *_names(n))  # type: ignore[attr-defined]
    members = {
        "arguments": (("x", *_names(n)), ("first",)),
        "infer": infer,
        "element": element,
        "vjp_x": rule,
        "limits": limits,
        "axis_map": _take_map,
        "label": "index",
        "public": False,
        "__doc__": f"Elements of x at {n} integer tensors.",
    }
    return OpMeta(f"take_{n}", (Pointwise,), members)


def _put_record(n: int, zeros: bool, add: bool) -> Any:
    """x, or zeros, with v written (or added) at n integer tensors."""
    shift = 1 if zeros else 2  # inputs before the indices: v, or x and v

    def infer(types, params):
        first, shape = params[0], tuple(params[1]) if zeros else types[0][0]
        middle = _middle(types[shift:])
        for d, t in enumerate(types[shift:]):
            check_places("index", t[1], middle, shape[first + d], first + d)
        given, needed = types[shift - 1][0], (*shape[:first], *middle, *shape[first + n :])
        if given != needed:
            raise RuntimeError(
                f"index: values of shape {given} for places of shape {needed} in a tensor of "
                f"shape {shape}"
            )
        if zeros:
            return [(shape, types[0][1])]
        return [(types[0][0], types[0][1])]

    def lower(context, inputs, params, outputs):
        first = params[0]
        y = outputs[0]
        base = None if zeros else inputs[0]
        v, places = inputs[shift - 1], inputs[shift:]
        return [copy_step(base, y), scatter_step(y, v, places, first, add)]

    def rule_v(g, v_meta, first, **indices):
        return take(g, [indices[name] for name in _names(n)], first)

    rule_v.needs = ("g", "v_meta", "first", *_names(n))  # type: ignore[attr-defined]

    def rule_x(g, v_meta, first, **indices):
        if add:
            return g
        places = [indices[name] for name in _names(n)]
        return put(g, zeros_of(v_meta.shape, dtype=g.dtype), places, first, False)

    def limits(types, params):
        first, shape = params[0], params[1] if zeros else types[0][0]
        return _limits(shape, first, n)

    rule_x.needs = ("g", "v_meta", "first", *_names(n))  # type: ignore[attr-defined]
    members = {
        "arguments": (
            (*(() if zeros else ("x",)), "v", *_names(n)),
            ("first", "size") if zeros else ("first",),
        ),
        "infer": infer,
        "lower": lower,
        "vjp_v": rule_v,
        "limits": limits,
        "axis_map": lambda call: _put_map(call, zeros, add),
        "label": "index",
        "public": False,
        "__doc__": f"v {'added' if add else 'written'} at {n} integer tensors.",
    }
    if not zeros:
        members["vjp_x"] = rule_x
    name = f"put_{'zeros_' if zeros else ''}{'add_' if add else ''}{n}"
    return OpMeta(name, (Opaque,), members)


# Records for the dimensions that a tensor may have, and one for those of a batch (vmap).
MOST = 7
_TAKE = {n: _take_record(n) for n in range(1, MOST + 1)}
_PUT = {
    (n, zeros, add): _put_record(n, zeros, add)
    for n in range(1, MOST + 1)
    for zeros, add in ((False, False), (False, True), (True, True))
}


def _into_record(n: int, add: bool) -> Any:
    """What is there, with v written (or added) at n integer tensors: for writes alone."""

    def infer(types, params):
        return [(params[1], types[0][1])]

    def lower(context, inputs, params, outputs):
        return [scatter_step(outputs[0], inputs[0], inputs[1:], params[0], add)]

    members = {
        "arguments": (("v", *_names(n)), ("first", "size")),
        "infer": infer,
        "lower": lower,
        "limits": lambda types, params: _limits(params[1], params[0], n),
        "label": "index",
        "public": False,
        "__doc__": f"What is there, with v {'added' if add else 'written'} at {n} integer tensors.",
    }
    return OpMeta(f"put_into_{'add_' if add else ''}{n}", (Opaque,), members)


_INTO = {(n, add): _into_record(n, add) for n in range(1, MOST + 1) for add in (False, True)}


def take(x: Any, places: Sequence[Any], first: int) -> Any:
    """x[.., places[0], places[1], ..]: broadcast integer tensors from dimension `first` on."""
    record = _TAKE[len(places)]
    return record.dispatch(record, (x, *places), (first,))


def put(x: Any, v: Any, places: Sequence[Any], first: int, add: bool) -> Any:
    """x with v at those places, added or in place of what was there (the last one wins)."""
    record = _PUT[len(places), False, add]
    return record.dispatch(record, (x, v, *places), (first,))


def put_zeros(v: Any, places: Sequence[Any], size: Sequence[int], first: int) -> Any:
    """Zeros of the given size with v added at those places."""
    record = _PUT[len(places), True, True]
    return record.dispatch(record, (v, *places), (first, tuple(size)))


def put_into(name: str, x: Any, v: Any, places: Sequence[Any], first: int, add: bool) -> Any:
    """In place: v at those places of x, added or in place of what was there. Only they are touched
    where nothing is recorded; a place outside of x is told before anything is written."""
    if x._layout.numel < LARGE or not _touches_alone(x, (v, *places)):
        return write(assign, x, (put(x, v, places, first, add),), name=name)
    shape, n = tuple(x.shape), len(places)
    middle = broadcast_shapes("index", *(tuple(p.shape) for p in places))
    if tuple(v.shape) != (*shape[:first], *middle, *shape[first + n :]) or 0 in shape:
        return write(assign, x, (put(x, v, places, first, add),), name=name)
    within = (1,) * first + shape[first : first + n]
    take(_nothing(within), places, first)
    return write(_INTO[n, add], x, (v, *places), (first, shape), name)


LARGE = 1 << 16  # elements that are copied twice in the time that the other way takes to begin


@functools.lru_cache(64)
def _nothing(shape: tuple[int, ...]) -> Any:
    """A tensor of this shape, of one byte, to read places from."""
    return expand(zeros((), dtype=bool_), shape)


def _touches_alone(x: Any, others: Sequence[Any]) -> bool:
    """Whether x can be written to while the others are read, and nobody records it."""
    if tracing() is not None or x._value is not None or x.dtype.category == COMPLEX:
        return False
    if others[0].dtype is not x.dtype:
        return False
    if is_grad_enabled() and any([needs_gradient(t) for t in (x, others[0])]):
        return False
    return all([t._storage is not None and t._storage is not x._storage for t in others])


def scatter_step(y: Operand, v: Operand, places: Sequence[Operand], first: int, add: bool) -> Step:
    """y[.., places, ..] (+)= v: serial over the places, parallel over the other dimensions."""
    n = len(places)
    middle = broadcast_shapes("index", *(p.shape for p in places))
    before = [f"a{d}" for d in range(first)]
    after = [f"c{d}" for d in range(len(y.shape) - first - n)]
    steps = [f"m{d}" for d in range(len(middle))]
    extents = dict(zip(before, y.shape[:first], strict=True))
    extents |= dict(zip(after, y.shape[first + n :], strict=True))
    extents |= dict(zip(steps, middle, strict=True))
    inner = [expr.index(s) for s in steps]
    operands = {"y0": y, "x0": v}
    arrays = {"y0": array_of("y0", y, "inout"), "x0": array_of("x0", v, "in")}
    at = []
    for d, p in enumerate(places):
        name = f"x{d + 1}"
        operands[name] = p
        arrays[name] = array_of(name, p, "in")
        read = expr.load(name, broadcast_index(p.shape, inner), p.dtype)
        at.append(in_range(expr.cast(read, int64), y.shape[first + d]))
    grid_before = [expr.index(a) for a in before]
    grid_after = [expr.index(a) for a in after]
    target = (*grid_before, *at, *grid_after)
    full = [*grid_before, *inner, *grid_after]
    value = expr.cast(expr.load("x0", broadcast_index(v.shape, full), v.dtype), y.dtype.compute)
    if add:
        old = expr.cast(expr.load("y0", target, y.dtype), y.dtype.compute)
        value = old + value if y.dtype.name != "bool" else old | value
    store = Store("y0", target, expr.cast(value, y.dtype))
    scan = Scan(0, tuple(Axis(s, expr.ZERO) for s in steps), (), (), (store,))
    nest = Nest("put", arrays, extents, [*before, *after], steps, [scan], [])
    return step(nest, "grid" if after else "none", operands)


# Along one dimension


class gather_(Pointwise):
    """y[.., i, ..] = x[.., index[.., i, ..], ..] along dim."""

    public = False
    numbered = ("dim",)

    def names(x, index, *, dim):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        size = types[1][0]
        check_places("gather", types[1][1], size, shape[params[0]], params[0])
        for d, (n, m) in enumerate(zip(shape, size, strict=True)):
            if d != params[0] and m > n:
                raise RuntimeError(
                    f"gather: index has size {m} in dimension {d}, the input only {n}"
                )
        return [(size, kind)]

    def element(types, index, loads, dim):
        at = in_range(expr.cast(loads[1](index), int64), types[0][0][dim])
        return loads[0]([at if d == dim else i for d, i in enumerate(index)])

    def limits(types, params):
        return f" for dimension {params[0]} of size {types[0][0][params[0]]}"

    def vjp_x(g, x_meta, index, dim):
        return scatter_zeros(g, index, x_meta.shape, dim)

    def ref(x, index, dim):
        return np.take_along_axis(x, index, dim)


class ScatterAlong(Opaque, abstract=True):
    """x, or zeros, with v written or combined at index along dim."""

    combine: Callable | None = None
    numbered = ("dim",)

    @classmethod
    def infer(cls, types, params):
        x, v, index = types
        check_places(cls.label, index[1], index[0], x[0][params[0]], params[0])
        for d, m in enumerate(index[0]):
            limit = min(v[0][d], x[0][d]) if d != params[0] else v[0][d]
            if m > limit:
                raise RuntimeError(
                    f"{cls.label}: index of shape {index[0]} reaches beyond dimension {d} of the "
                    f"input {x[0]} or the source {v[0]}"
                )
        return [(x[0], x[1])]

    @classmethod
    def limits(cls, types, params):
        return f" for dimension {params[0]} of size {types[0][0][params[0]]}"

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        x, v, index = inputs
        y = outputs[0]
        return [copy_step(x, y), along_step(y, v, index, params[0], cls.combine)]


def along_step(y: Operand, v: Operand, index: Operand, dim: int, combine: Callable | None) -> Step:
    """y[.., index, ..] = combine(y, v): serial along dim, parallel over the rest."""
    axes = [f"i{d}" for d in range(len(index.shape))]
    at = [expr.index(a) for a in axes]
    place = in_range(expr.cast(expr.load("x1", at, index.dtype), int64), y.shape[dim])
    target = tuple(place if d == dim else i for d, i in enumerate(at))
    value = expr.cast(expr.load("x0", at, v.dtype), y.dtype.compute)
    if combine is not None:
        value = combine(expr.cast(expr.load("y0", target, y.dtype), y.dtype.compute), value)
    scan = Scan(
        0, (Axis(axes[dim], expr.ZERO),), (), (),
        (Store("y0", target, expr.cast(value, y.dtype)),),
    )  # fmt: skip
    arrays = {
        "y0": array_of("y0", y, "inout"),
        "x0": array_of("x0", v, "in"),
        "x1": array_of("x1", index, "in"),
    }
    grid = [a for d, a in enumerate(axes) if d != dim]
    nest = Nest(
        "scatter", arrays, dict(zip(axes, index.shape, strict=True)), grid, [axes[dim]], [scan], []
    )
    vector = "grid" if grid and dim != len(axes) - 1 else "none"
    return step(nest, vector, {"y0": y, "x0": v, "x1": index})


class scatter_set(ScatterAlong):
    """x with v at index along dim; where places repeat, the last one wins."""

    public = False
    label = "scatter"

    def names(x, v, index, *, dim):
        pass

    def vjp_x(g, index, v_meta, dim):
        return scatter_set(g, zeros(v_meta.shape, dtype=g.dtype), index, dim)

    def vjp_v(g, index, v_meta, dim):
        return fit_source(gather_(g, index, dim), v_meta)


class scatter_plus(ScatterAlong):
    """x with v added at index along dim."""

    public = False
    label = "scatter_add"

    def names(x, v, index, *, dim):
        pass

    def combine(old, new):
        return old | new if old.dtype is bool_ else old + new

    def vjp_x(g):
        return g

    def vjp_v(g, index, v_meta, dim):
        return fit_source(gather_(g, index, dim), v_meta)


def fit_source(g: Any, meta: Any) -> Any:
    """The cotangent of a source that is larger than the index: zeros where nothing was read."""
    if tuple(g.shape) == tuple(meta.shape):
        return g
    n = len(meta.shape)
    return subscript_back(g, 0, tuple(meta.shape), (1,) * n, tuple(g.shape), ())


def scatter_zeros(v: Any, index: Any, size: Sequence[int], dim: int) -> Any:
    """Zeros of the given size with v added at index along dim."""
    return scatter_plus(zeros(tuple(size), dtype=v.dtype), v, index, dim)


class one_place(Pointwise):
    """Zeros with v at place index along dim, where both have size 1 in dim: a scatter of one."""

    public = False
    numbered = ("dim",)

    def names(v, index, *, n, dim):
        pass

    def infer(types, params):
        n, dim = params
        shape = types[0][0]
        return [(tuple(n if d == dim else m for d, m in enumerate(shape)), types[0][1])]

    def element(types, index, loads, n, dim):
        at = [expr.ZERO if d == dim else i for d, i in enumerate(index)]
        v = loads[0](at)
        return expr.where(index[dim].eq(expr.cast(loads[1](at), int64)), v, expr.zero(v))

    def vjp_v(g, index, dim):
        return gather_(g, index, dim)
