"""What a Node computes: its saved tensors again, and its op's rules on the cotangents.

engine.py calls this for each Node. The rules of one Node run as one fused plan; with create_graph
they run as ordinary recorded ops, with the same bits.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid.apply import apply, fused, record, wrap
from lucid.array import Array
from lucid.autograd.node import Node, Saved
from lucid.dtypes import FLOATING
from lucid.layout import Layout
from lucid.op import Composite, Op, find
from lucid.ops.cast import to_dtype
from lucid.ops.creation import zeros
from lucid.ops.reduce import sum_
from lucid.ops.view import expand, reshape
from lucid.write import last_write


def unpack(node: Node, name: str, s: Any, create: bool) -> Any:
    """A residual as a tensor; raises if it was overwritten since it was saved."""
    if not isinstance(s, Saved):
        return s
    if s.storage.version != s.version:
        at = f" (made at {node.line})" if node.line else ""
        raise RuntimeError(
            f"{node.name()}: a tensor of shape {s.layout.shape} that {node.title()}{at} saved as "
            f"{name!r} was modified in place{last_write(s.storage)}: it is at version "
            f"{s.storage.version}, version {s.version} is needed. Use an out-of-place operation, "
            "or clone() it first"
        )
    y = wrap(s.storage, s.layout, s.offset)
    if create:
        if s.edge is None:
            if s.nr is not None and s.layout.dtype.category == FLOATING:
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


def pull_back(
    node: Node, needed: tuple, saved: dict[str, Any], arrived: Sequence[Any], create: bool
) -> tuple:
    """The rules of the needed inputs, fused into one plan unless they are to be differentiated."""
    op = node.op
    if create:
        if op.hidden and issubclass(op, Composite):
            saved = _recomputed(op, node, saved)
        return _rules(op, node.params, node.inputs, needed, node.outputs, saved, arrived)
    names = [n for n, v in saved.items() if isinstance(v, Array)]
    rest = {n: v for n, v in saved.items() if not isinstance(v, Array)}
    numbers = [n for n, v in rest.items() if type(v) in (int, float) and n in op.inputs]
    fixed = tuple((n, v) for n, v in rest.items() if n not in numbers)
    there = tuple([g is not None for g in arrived])
    present = [g for g in arrived if g is not None]
    inputs = [*present, *[saved[n] for n in names], *[saved[n] for n in numbers]]
    key = (op, "vjp", node.params, needed, there, fixed, tuple(names), node.inputs)

    def rules(*xs: Any) -> tuple:
        it = iter(xs)
        gs = [next(it) if t else None for t in there]
        given = {**dict(fixed), **{n: next(it) for n in (*names, *numbers)}}
        return _rules(op, node.params, node.inputs, needed, node.outputs, given, gs)

    return fused(key, rules, inputs, f"{op.name}_backward")


def _recomputed(op: type[Op], node: Node, saved: dict[str, Any]) -> dict[str, Any]:
    """Hidden outputs again, as differentiable functions of the saved inputs."""
    inputs = [saved.get(n) for n in op.inputs]
    made = op.forward(*inputs, **op.static(node.params))  # type: ignore[attr-defined]
    hidden = dict(zip(op.hidden, made[op.count :], strict=True))
    return {n: hidden.get(n, v) for n, v in saved.items()}


def _rules(
    op: type[Op],
    params: tuple,
    layouts: Sequence[Layout | None],
    needed: Sequence[bool],
    outputs: Sequence[Layout],
    saved: dict[str, Any],
    arrived: Sequence[Any],
) -> tuple:
    """Each needed input's rule, summed over broadcast dimensions, in the input's dtype."""
    results: list[Any] = []
    given = dict(saved)
    for i, g in enumerate(arrived):
        given["g" if i == 0 else f"g{i}"] = g
    shared: dict[Callable, Any] = {}
    for name, lay, need in zip(op.inputs, layouts, needed, strict=True):
        if not need or lay is None:
            results.append(None)
            continue
        rule = op.rules[name]
        if "g" in rule.names and given["g"] is None:
            given["g"] = zeros(outputs[0].shape, dtype=outputs[0].dtype)
        if rule.function not in shared:
            shared[rule.function] = rule.function(**{n: given.get(n) for n in rule.names})
        results.append(fit(shared[rule.function], lay))
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
