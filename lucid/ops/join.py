"""Joins: tensors one after another, which takes a copy. Functions that cut: shape.py."""

import operator
from collections.abc import Callable
from typing import Any

from lucid.apply import apply
from lucid.array import Array
from lucid.caches import trim
from lucid.dtypes import promote
from lucid.op import Opaque, OpMeta, normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.shape import _cut, narrow, ravel, select
from lucid.ops.view import reshape
from lucid.plan.copies import copy_step
from lucid.plan.steps import Operand


class Cat(Opaque, abstract=True):
    """Tensors one after another along a dimension: a copy of each into its place."""

    public, numbered = False, ("dim",)

    def infer(types, params):
        dim = params[0]
        shape, kind, _ = types[0]
        total = 0
        for i, (other, k, _) in enumerate(types):
            if len(other) != len(shape) or any(
                a != b for d, (a, b) in enumerate(zip(shape, other, strict=True)) if d != dim
            ):
                raise RuntimeError(
                    f"cat: tensor {i} has shape {other}, the first {shape}: all dimensions but "
                    f"{dim} must be equal"
                )
            if k is not kind:
                raise TypeError(f"cat: {k!r} beside {kind!r}")
            total += other[dim]
        return [(tuple(total if d == dim else n for d, n in enumerate(shape)), kind)]

    def lower(context, inputs, params, outputs):
        y, dim = outputs[0], params[0]
        steps, at = [], 0
        for x in inputs:
            if 0 not in x.shape:
                offset = y.offset + at * y.strides[dim]
                part = Operand(y.value, x.shape, y.strides, y.dtype, offset)
                steps.append(copy_step(x, part))
            at += x.shape[dim]
        return steps


class Stack(Opaque, abstract=True):
    """Tensors of one shape along a new dimension: a copy of each into its place."""

    public, numbered = False, ("dim",)

    def infer(types, params):
        dim = params[0]
        shape, kind, _ = types[0]
        for i, (other, k, _) in enumerate(types):
            if other != shape:
                raise RuntimeError(
                    f"stack: tensor {i} has shape {other}, the first {shape}: they must be equal"
                )
            if k is not kind:
                raise TypeError(f"stack: {k!r} beside {kind!r}")
        return [((*shape[:dim], len(types), *shape[dim:]), kind)]

    def lower(context, inputs, params, outputs):
        y, dim = outputs[0], params[0]
        strides, steps = (*y.strides[:dim], *y.strides[dim + 1 :]), []
        for i, x in enumerate(inputs):
            if 0 not in x.shape:
                part = Operand(y.value, x.shape, strides, y.dtype, y.offset + i * y.strides[dim])
                steps.append(copy_step(x, part))
        return steps


def _cat_rule(names: tuple, i: int) -> Any:
    def rule(g, dim, **metas):
        start = sum(metas[f"{name}_meta"].shape[dim] for name in names[:i])
        return narrow(g, dim, start, metas[f"{names[i]}_meta"].shape[dim])

    rule.needs = ("g", "dim", *(f"{name}_meta" for name in names))  # type: ignore[attr-defined]
    return rule


def _stack_rule(names: tuple, i: int) -> Any:
    return lambda g, dim: select(g, dim, i)


_records: dict[tuple, Any] = {}


def _record(family: Any, rule_of: Callable, n: int) -> Any:
    """The record of joins of n tensors."""
    found = _records.get((family, n))
    if found is None:
        names = tuple(f"x{i}" for i in range(n))
        members = {f"vjp_{name}": rule_of(names, i) for i, name in enumerate(names)}
        members |= {"arguments": (names, ("dim",)), "__doc__": f"{family.__name__} of {n} tensors."}
        name = f"{family.__name__.lower()}_{n}"
        found = _records[family, n] = OpMeta(name, (family,), members)
    return found


_layout_of = operator.attrgetter("_layout")
# Calls that need no conversion: function, dimension and layouts -> the record and its parameters.
_known: dict[tuple, tuple] = {}


def _key_of(join: Callable, tensors: tuple, dim: Any) -> tuple:
    """What a call is kept under; () where it is no plain one."""
    try:
        return (join, type(dim), dim, *map(_layout_of, tensors))
    except AttributeError:  # not a tensor
        return ()


def _checked(name: str, tensors: tuple) -> None:
    if not tensors:
        raise RuntimeError(f"{name}: expected at least one tensor")
    for x in tensors:
        if not isinstance(x, Array):
            raise TypeError(f"{name}: expected tensors, got {type(x).__name__}")


def _join(key: tuple, record: Any, tensors: tuple, used: Any, dim: int) -> Any:
    """The tensors, of one type, by the record; which is known from now on where they were so."""
    kind = used[0].dtype
    for x in tensors:
        kind = promote(kind, x.dtype)
    used = tuple([to_dtype(x, kind) for x in used])
    if len(used) == len(tensors) and all(map(operator.is_, used, tensors)):
        trim(_known)
        _known[key] = record, (dim,)
    return apply(record, used, (dim,))


def cat(tensors, dim: int = 0):
    """The tensors one after another along `dim`; all other dimensions must be equal.

    >>> import lucid
    >>> lucid.cat([lucid.zeros(1), lucid.ones(2)])
    tensor([0., 1., 1.])
    """
    tensors = tuple(tensors)
    key = _key_of(cat, tensors, dim)
    found = _known.get(key)
    if found is not None:
        return apply(found[0], tensors, found[1])
    _checked("cat", tensors)
    used = [x for x in tensors if tuple(x.shape) != (0,)] or tensors[:1]
    d = normal_dim("cat", dim, used[0].ndim)
    if used[0].ndim == 0:
        raise RuntimeError("cat: 0-d tensors cannot be joined; use stack")
    return _join(key, _record(Cat, _cat_rule, len(used)), tensors, used, d)


def stack(tensors, dim: int = 0):
    """Tensors of one shape along a new dimension.

    >>> import lucid
    >>> lucid.stack([lucid.zeros(2), lucid.ones(2)])
    tensor([[0., 0.],
            [1., 1.]])
    """
    tensors = tuple(tensors)
    key = _key_of(stack, tensors, dim)
    found = _known.get(key)
    if found is not None:
        return apply(found[0], tensors, found[1])
    _checked("stack", tensors)
    d = normal_dim("stack", dim, tensors[0].ndim + 1)
    return _join(key, _record(Stack, _stack_rule, len(tensors)), tensors, tensors, d)


def hstack(tensors):
    """cat along dimension 1, vectors along 0.

    >>> import lucid
    >>> lucid.hstack([lucid.tensor([1]), lucid.tensor([2, 3])])
    tensor([1, 2, 3])
    """
    tensors = [reshape(x, (1,)) if x.ndim == 0 else x for x in tensors]
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


def vstack(tensors):
    """cat along dimension 0, vectors as rows.

    >>> import lucid
    >>> lucid.vstack([lucid.tensor([1, 2]), lucid.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    return cat([reshape(x, (1, x.numel())) if x.ndim < 2 else x for x in tensors], 0)


def roll(x, shifts, dims=None):
    """Elements moved along dimensions, those that leave come in at the other end.

    >>> import lucid
    >>> lucid.roll(lucid.arange(4), 1)
    tensor([3, 0, 1, 2])
    """
    if dims is None:
        return reshape(roll(ravel(x), shifts, 0), x.shape)
    shifts = (shifts,) if hasattr(shifts, "__index__") else tuple(shifts)
    dims = (dims,) if hasattr(dims, "__index__") else tuple(dims)
    if len(shifts) != len(dims):
        raise RuntimeError(f"roll: {len(shifts)} shifts for {len(dims)} dimensions")
    for shift, dim in zip(shifts, dims, strict=True):
        d = normal_dim("roll", dim, x.ndim)
        n = x.shape[d]
        k = shift % n if n else 0
        if k:
            x = cat([_cut(x, d, n - k, k), _cut(x, d, 0, n - k)], d)
    return x
