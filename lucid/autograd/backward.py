"""The backward pass: runs the tape, iteratively, in an order that respects it.

`Tensor.backward` and `autograd.grad` call `run`. Each Node's rules run as one fused plan; with
create_graph they run as ordinary recorded ops, with the same bits.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from lucid.apply import apply, current_node, fused, wrap
from lucid.array import Array
from lucid.autograd.mode import set_grad_enabled
from lucid.autograd.node import Node, Saved
from lucid.layout import Layout
from lucid.op import Composite, Op
from lucid.ops.cast import to_dtype
from lucid.ops.creation import zeros
from lucid.ops.elementwise import add
from lucid.ops.reduce import sum_
from lucid.ops.view import expand, reshape


def run(
    roots: Sequence[Any],
    cotangents: Sequence[Any],
    targets: Sequence[Any] | None,
    keep: bool,
    create: bool,
) -> list[Any] | None:
    """Send the roots' cotangents backward.

    targets None: add each leaf's gradient to its `.grad`. Otherwise return the targets' gradients
    (None where nothing arrives) and touch no `.grad`.
    """
    with set_grad_enabled(create):
        return _run(roots, cotangents, targets, keep, create)


class _Pass:
    """One backward pass: what has arrived, and where results go."""

    def __init__(self, targets: Sequence[Any] | None):
        self.buffers: dict[Node, list] = {}
        self.leaves: dict[int, tuple[Any, Any]] = {}
        self.wanted_leaves: set[int] | None = None
        self.captures: dict[tuple[Node, int], list[int]] = {}
        self.found: list[Any] = []
        if targets is not None:
            self.found = [None] * len(targets)
            self.wanted_leaves = set()
            for i, t in enumerate(targets):
                node = current_node(t)
                if node is None:
                    self.wanted_leaves.add(id(t))
                else:
                    self.captures.setdefault((node, t._nr), []).append(i)

    def deliver(self, target: Any, number: int, g: Any) -> None:
        if isinstance(target, Node):
            arrived = self.buffers.setdefault(target, [None] * len(target.outputs))
            arrived[number] = g if arrived[number] is None else apply(add, (arrived[number], g))
        elif self.wanted_leaves is None or id(target) in self.wanted_leaves:
            before = self.leaves.get(id(target))
            total = g if before is None else apply(add, (before[1], g))
            self.leaves[id(target)] = (target, total)


def _run(roots, cotangents, targets, keep: bool, create: bool):  # noqa: ANN001, ANN202
    state = _Pass(targets)
    starts: list[Node] = []
    for root, g in zip(roots, cotangents, strict=True):
        node = current_node(root)
        state.deliver(root if node is None else node, root._nr, g)
        if node is not None:
            starts.append(node)
    waiting = _dependencies(starts)
    ready = [(-n.sequence, n) for n in dict.fromkeys(starts) if not waiting[n]]
    heapq.heapify(ready)
    while ready:
        node = heapq.heappop(ready)[1]
        arrived = state.buffers.pop(node, None)
        if arrived is not None:
            arrived = _before(node, arrived, state)
            if any(g is not None for g in arrived):
                results = _call(node, arrived, keep, create)
                for e, g in zip(node.edges, results, strict=True):
                    if e is not None and g is not None:
                        state.deliver(e[0], e[1], g)
        for e in node.edges:
            if e is not None and isinstance(e[0], Node):
                waiting[e[0]] -= 1
                if not waiting[e[0]]:
                    heapq.heappush(ready, (-e[0].sequence, e[0]))
    return _finish(state, targets, create)


def _dependencies(starts: Sequence[Node]) -> dict[Node, int]:
    """For each reachable Node, how many edges lead to it."""
    waiting: dict[Node, int] = dict.fromkeys(starts, 0)
    stack = list(waiting)
    while stack:
        for e in stack.pop().edges:
            if e is not None and isinstance(e[0], Node):
                if e[0] not in waiting:
                    waiting[e[0]] = 0
                    stack.append(e[0])
                waiting[e[0]] += 1
    return waiting


def _before(node: Node, arrived: list, state: _Pass) -> list:
    """Hooks on the outputs, retained gradients and captures see the whole cotangent."""
    if node.pre_hooks:
        for number, hooks in list(node.pre_hooks.items()):
            for hook in list(hooks):
                if number is None:
                    changed = hook(tuple(arrived))
                    if changed is not None:
                        arrived = list(changed) if isinstance(changed, (tuple, list)) else [changed]
                elif arrived[number] is not None:
                    changed = hook(arrived[number])
                    arrived[number] = arrived[number] if changed is None else changed
    if node.retain:
        for number, weak in node.retain.items():
            tensor = weak()
            if tensor is not None and arrived[number] is not None:
                old = tensor._grad
                new = arrived[number]
                tensor._grad = new if old is None else apply(add, (old, new))
    for number, g in enumerate(arrived):
        for i in state.captures.get((node, number), ()):
            state.found[i] = g
    return arrived


def _finish(state: _Pass, targets, create: bool):  # noqa: ANN001, ANN202
    for leaf, g in state.leaves.values():
        for hook in list(leaf._hooks or ()):
            changed = hook(g)
            g = g if changed is None else changed
        if targets is None:
            _accumulate(leaf, g, create)
        else:
            for i, t in enumerate(targets):
                if t is leaf:
                    state.found[i] = g
    return None if targets is None else state.found


def _accumulate(leaf: Any, g: Any, create: bool) -> None:
    """leaf.grad += g. The stored gradient is the leaf's own: nobody else's bytes."""
    if leaf._grad is None:
        leaf._grad = g if create else own(g)
    elif create:
        leaf._grad = apply(add, (leaf._grad, g))
    else:
        leaf._grad = apply(add, (leaf._grad, g))
    for hook in list(getattr(leaf, "_post_hooks", None) or ()):
        hook(leaf)


def own(g: Any) -> Any:
    """g without history, in memory that no other tensor shows."""
    return g.detach() if g._base is None and not g._requires_grad else g.detach().clone()


def _call(node: Node, arrived: list, keep: bool, create: bool) -> Sequence[Any]:
    """The Node's rules on what arrived: a cotangent for each edge, or None."""
    if node.saved is None:
        raise RuntimeError(
            f"{node.name()}: its saved tensors have been freed by an earlier backward pass; "
            "use retain_graph=True there to go through the same graph again"
        )
    backward = getattr(node, "run", None)
    if backward is not None:
        results = backward(arrived)
    else:
        saved = {name: unpack(node, name, s, create) for name, s in node.saved.items()}
        needed = tuple([e is not None for e in node.edges])
        results = pull_back(node, needed, saved, arrived, create)
    if node.hooks:
        for hook in list(node.hooks):
            changed = hook(tuple(results), tuple(arrived))
            if changed is not None:
                results = changed if isinstance(changed, (tuple, list)) else (changed,)
    if not keep:
        node.saved = None
    return results


def unpack(node: Node, name: str, s: Any, create: bool) -> Any:
    """A residual as a tensor; raises if it was overwritten since it was saved."""
    if not isinstance(s, Saved):
        return s
    if s.storage.version != s.version:
        at = f" (made at {node.line})" if node.line else ""
        writer = getattr(s.storage, "writer", None)
        by = f" by {writer}" if writer else ""
        raise RuntimeError(
            f"{node.name()}: a tensor of shape {s.layout.shape} that {node.op.name}{at} saved as "
            f"{name!r} was modified in place{by}: it is at version {s.storage.version}, version "
            f"{s.version} is needed. Use an out-of-place operation, or clone() it first"
        )
    if s.tensor is not None and s.tensor._storage is s.storage:
        return s.tensor if create else s.tensor.detach() if s.tensor._requires_grad else s.tensor
    y = wrap(s.storage, s.layout, s.offset)
    if s.tensor is None and create and s.layout.dtype.category == 2:
        y._node, y._nr, y._requires_grad = node, s.nr, True
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
