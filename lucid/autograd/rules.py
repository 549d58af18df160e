"""What a Node computes: its saved tensors again, and its op's rules on the cotangents.

engine.py calls this for each Node. The rules of one Node run as one fused plan; with create_graph
they run as ordinary recorded ops, with the same bits.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from lucid.apply import CPU, apply, record, trace_call, wrap
from lucid.array import Array
from lucid.autograd.node import Node, Recipe, Saved
from lucid.autograd.packing import Packed, packs
from lucid.dtypes import FLOATING
from lucid.fused import Fused, keep_plan, planned
from lucid.layout import Layout, contiguous_strides, layout
from lucid.op import Composite, Elementwise, find, widened
from lucid.ops.cast import to_dtype
from lucid.ops.creation import zeros
from lucid.ops.reduce import sum_
from lucid.ops.view import expand, reshape
from lucid.plan.fuse import viewed
from lucid.tracing import journal, tracing
from lucid.write import last_write


def unpack(node: Node, name: str, s: Any, create: bool) -> Any:
    """A residual as a tensor; raises if it was overwritten since it was saved."""
    if type(s) is Packed:
        s = unpacked(node, name, s)
    if not isinstance(s, Saved):
        return s
    if s.storage.version != s.version:
        raise _overwritten(node, name, s)
    y = wrap(s.storage, s.layout, s.offset)
    if create:
        if s.edge is None:
            if s.nr is not None and s.layout.dtype.category >= FLOATING:
                y._node, y._nr, y._requires_grad = node, s.nr, True
        elif isinstance(s.edge[0], Node):
            y._node, y._nr, y._requires_grad = *s.edge, True
        else:
            leaf = s.edge[0]
            if leaf._storage is s.storage and leaf._layout is s.layout:
                return leaf
            # Its data was swapped since: the bytes of then, with the gradient of the leaf.
            record(find("clone"), (leaf,), (), y, (s.edge,))
    return y


def unpacked(node: Node, name: str, p: Packed) -> Saved:
    """A packed residual as one that lies in memory."""
    if p.version is not None and p.version[0].version != p.version[1]:
        raise _overwritten(node, name, Saved(p.version[0], p.layout, 0, p.version[1], None, None))
    x = p.unpack(p.value)
    if not isinstance(x, Array) or x._storage is None:
        raise TypeError(
            f"saved_tensors_hooks: unpack_hook returned {type(x).__name__}, a tensor in memory is "
            "needed"
        )
    if x._layout.shape != p.layout.shape or x._layout.dtype is not p.layout.dtype:
        raise RuntimeError(
            f"saved_tensors_hooks: unpack_hook returned a tensor of shape {x._layout.shape} and "
            f"{x._layout.dtype!r}, saved was one of shape {p.layout.shape} and {p.layout.dtype!r}"
        )
    return Saved(x._storage, x._layout, x._offset, x._storage.version, p.edge, p.nr)


def _overwritten(node: Node, name: str, s: Saved) -> RuntimeError:
    at = f" (made at {node.line})" if node.line else ""
    return RuntimeError(
        f"{node.name()}: a tensor of shape {s.layout.shape} that {node.title()}{at} saved as "
        f"{name!r} was modified in place{last_write(s.storage)}: it is at version "
        f"{s.storage.version}, version {s.version} is needed. Use an out-of-place operation, "
        "or clone() it first"
    )


def pull_back(
    node: Node, needed: tuple, arrived: list, create: bool, fresh: bool
) -> tuple[Sequence[Any], bool]:
    """The rules of the needed inputs: as one plan, kept under what they are given, or as ordinary
    recorded ops where they are to be differentiated. And whether the results are nobody else's
    bytes; `fresh`: so is what has arrived."""
    recipe = node.recipe
    kept: Any = node.saved  # held until the call is over: another pass may give it back
    if packs and any([type(s) is Packed for s in kept]):
        pairs = zip(recipe.names, kept, strict=True)
        kept = tuple([unpacked(node, n, s) if type(s) is Packed else s for n, s in pairs])
    tracer = tracing()
    if not create and tracer is not None and tracer.whole:
        return tracer.rules(node, needed, arrived), not recipe.direct
    if create and (noted := journal()) is not None:
        noted.refuse("gradients are differentiated inside")
    if create or recipe.direct or tracer is not None:
        return _as_ops(node, kept, needed, arrived, create)
    inputs: list[Any] = []
    marks: list[Any] = [recipe, needed]
    for g in arrived:
        if g is None:
            marks.append(None)
        else:
            inputs.append(g)
            marks.append(g._layout)
    if recipe.kept:
        for s in kept:
            if type(s) is Saved:
                block, lay, offset, version, _, _ = s
                if block.version != version:
                    raise _overwritten(node, recipe.names[kept.index(s)], s)
                # A native call takes the address as well as a tensor.
                inputs.append(block.ptr + offset * lay.dtype.itemsize)
                marks.append(lay)
            elif type(s) is float or type(s) is int:
                inputs.append(s)
                marks.append(type(s))
            else:
                marks.append((s,))  # True is not 1 here
    key = tuple(marks)
    found = planned.get(key)
    if found is None:
        if any([g is not None and g._storage is None for g in arrived]):
            return _as_ops(node, kept, needed, arrived, False)  # no plan can read a sparse one
        found = keep_plan(key, _plan(node, kept, needed, arrived))
    return found(tuple(inputs)), type(found) is Fused or (fresh and found.single)


def _as_ops(
    node: Node, kept: tuple, needed: tuple, arrived: list, create: bool
) -> tuple[Sequence[Any], bool]:
    """The rules as ordinary ops, recorded where they are to be differentiated."""
    recipe = node.recipe
    pairs = zip(recipe.names, kept, strict=True)
    saved = recipe.fixed | {name: unpack(node, name, s, create) for name, s in pairs}
    if (
        create
        and issubclass(recipe.op, Composite)
        and not saved.keys().isdisjoint(recipe.op.hidden)
    ):
        saved = _recomputed(recipe, saved)
    return rules_of(recipe, needed, saved, arrived), not create and not recipe.direct


class Passed:
    """Rules that hand on what has arrived, or parts of it that lie side by side: no kernel."""

    __slots__ = ("parts", "single")

    def __init__(self, parts: tuple, whole: bool):
        self.parts = parts  # which input, layout, offset; None where no gradient is needed
        self.single = whole  # whether it is one result, with all that has arrived

    def __call__(self, inputs: tuple) -> tuple:
        made: list[Any] = []
        for part in self.parts:
            if part is None:
                made.append(None)
                continue
            number, lay, offset = part
            g = inputs[number]
            same = lay is g._layout
            made.append(g if same else wrap(g._storage, lay, g._offset + offset))
        return tuple(made)


def _passed(rules: Callable, given: tuple) -> Passed | None:
    """The rules without kernels, if that makes no difference to what follows but the copies."""
    present: list[bool] = []

    def outputs(*xs: Any) -> list:
        made = rules(*xs)
        present[:] = [y is not None for y in made]
        return [y for y in made if y is not None]

    graph = trace_call(outputs, given)
    numbers = {id(v): i for i, v in enumerate(graph.inputs)}
    parts: list[Any] = []
    for value in graph.outputs:
        base, strides, offset = viewed(value)
        number = numbers.get(id(base))
        if number is None or base.dtype is not value.dtype or base.weak:
            return None
        dense = contiguous_strides(value.shape)
        if any(n > 1 and s != d for n, s, d in zip(value.shape, strides, dense, strict=True)):
            return None
        parts.append((number, layout(value.shape, dense, value.dtype, CPU), offset))
    rest = iter(parts)
    whole = len(parts) == len(given) == 1
    whole = whole and prod(graph.outputs[0].shape) == prod(graph.inputs[0].shape)
    return Passed(tuple([next(rest) if there else None for there in present]), whole)


def _plan(node: Node, kept: tuple, needed: tuple, arrived: Sequence[Any]) -> Fused | Passed:
    """The rules as a function of the cotangents that are there, and of the saved values that may
    differ from call to call."""
    recipe = node.recipe
    there = tuple([g is not None for g in arrived])
    values = dict(zip(recipe.names, kept, strict=True))
    varying = {n: s for n, s in values.items() if type(s) in (Saved, float, int)}
    fixed = recipe.fixed | {n: s for n, s in values.items() if n not in varying}

    def rules(*xs: Any) -> tuple:
        it = iter(xs)
        gs = [next(it) if t else None for t in there]
        return rules_of(recipe, needed, fixed | {n: next(it) for n in varying}, gs)

    examples = [unpack(node, n, s, False) for n, s in varying.items()]
    given = (*[g for g in arrived if g is not None], *examples)
    made = None if varying else _passed(rules, given)
    return Fused(rules, given, f"{recipe.op.name}_backward") if made is None else made


def _recomputed(recipe: Recipe, saved: dict[str, Any]) -> dict[str, Any]:
    """Hidden outputs again, as differentiable functions of the saved inputs."""
    op: Any = recipe.op
    made = op.run([saved.get(n) for n in op.inputs], recipe.params)
    hidden = dict(zip(op.hidden, made[op.count :], strict=True))
    return {n: hidden.get(n, v) for n, v in saved.items()}


def rules_of(
    recipe: Recipe, needed: Sequence[bool], saved: dict[str, Any], arrived: Sequence[Any]
) -> tuple:
    """Each needed input's rule, summed over broadcast dimensions, in the input's dtype."""
    op, outputs = recipe.op, recipe.outputs
    results: list[Any] = []
    given = dict(saved)
    for i, g in enumerate(arrived):
        given["g" if i == 0 else f"g{i}"] = g
    if issubclass(op, (Composite, Elementwise)):
        # As in the forward: 16 bits are for storing, not for what a rule multiplies and adds up.
        given = {name: widened(x) for name, x in given.items()}
    shared: dict[Callable, Any] = {}
    for name, lay, need in zip(op.inputs, recipe.inputs, needed, strict=True):
        if not need or lay is None:
            results.append(None)
            continue
        rule = op.rules[name]
        if "g" in rule.names and given["g"] is None:
            given["g"] = zeros(outputs[0].shape, dtype=outputs[0].dtype)
        if rule.function not in shared:
            shared[rule.function] = rule.function(**{n: given.get(n) for n in rule.names})
        made = shared[rule.function]
        if isinstance(made, dict):  # one rule for several inputs; what costs more is a function
            made = made[name]
            made = made() if callable(made) else made
        results.append(fit(made, lay))
    return tuple(results)


def fit(g: Any, lay: Layout) -> Any:
    """A cotangent in an input's shape and dtype: broadcast dimensions are summed."""
    if g is None:
        return None
    shape = lay.shape
    if tuple(g.shape) != shape:
        extra = len(g.shape) - len(shape)
        dims = [d for d in range(len(g.shape)) if d < extra or shape[d - extra] != g.shape[d]]
        dims = [d for d in dims if d < extra or shape[d - extra] == 1]
        if dims:
            g = apply(sum_, (g,), (tuple(dims), False))
        if tuple(g.shape) != shape:
            g = _widen(g, shape)
    return to_dtype(g, lay.dtype)


def _widen(g: Any, shape: tuple[int, ...]) -> Any:
    """A cotangent of fewer elements (a scalar rule) or with dropped sizes of 1."""
    size = 1
    for n in shape:
        size *= n
    if g.numel() == size:
        return reshape(g, shape)
    return expand(g, shape)
