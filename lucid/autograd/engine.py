"""The backward pass: runs the tape, iteratively, in an order that respects it.

`Tensor.backward` and `autograd.grad` call `run`. What a Node computes is in rules.py. Several
passes may run at once, in threads or inside one another: a pass keeps its state to itself.
"""

import heapq
import os
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from lucid.apply import apply, current_node
from lucid.array import Array
from lucid.autograd import anomaly
from lucid.autograd.mode import set_grad_enabled
from lucid.autograd.node import Deferred, Node
from lucid.autograd.rules import pull_back
from lucid.config import settings
from lucid.error import BackwardError
from lucid.op import find
from lucid.ops.elementwise import add
from lucid.tracing import journal, note_grad, program, uncast
from lucid.write import write

# Threads that run backward at once may add to the same leaf; hooks run outside of it.
_adding = threading.Lock()


def _fresh_lock() -> None:
    global _adding
    _adding = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_lock)


def run(
    roots: Sequence[Any],
    cotangents: Sequence[Any],
    targets: Sequence[Any] | None,
    keep: bool,
    create: bool,
    accumulate: bool = False,
) -> list[Any] | None:
    """Send the roots' cotangents backward.

    targets None: add each leaf's gradient to its `.grad`. Otherwise only what leads to a target
    runs; return the targets' gradients (None where nothing arrives), or with `accumulate` add them
    to the targets' `.grad`.
    """
    with set_grad_enabled(create), uncast():  # gradients have the types of what they belong to
        state = Pass(targets, keep, create)
        token = _current.set(state)
        try:
            state.run(roots, cotangents)
        finally:
            _current.reset(token)
        if targets is not None and accumulate:
            for target, g in zip(targets, state.found, strict=True):
                if g is not None:
                    _accumulate(target, g, create)
        return None if targets is None else state.found


_current: ContextVar[Any] = ContextVar("lucid_backward", default=None)


def current() -> Any:
    """The backward pass that runs here, for what its hooks ask; None outside."""
    return _current.get()


class Pass:
    """One backward pass: what has arrived, and where results go."""

    def __init__(self, targets: Sequence[Any] | None, keep: bool, create: bool):
        self.keep = keep
        self.create = create
        self.waiting: dict[Any, int] = {}
        if settings.anomaly and (tracer := program()) is not None:
            tracer.refuse("detect_anomaly", "look for anomalies with functions not compiled")
        self.arrived: dict[Node, list] = {}
        self.fresh: set[int] = set()  # ids of those that have arrived and show nobody else's bytes
        self.leaves: dict[int, tuple[Any, Any, bool]] = {}  # leaf, gradient, is it nobody else's
        # What is asked for, and the Nodes that lead there; None: every leaf, every Node.
        self.wanted: dict[int, list[int]] | None = None
        self.leading: set[Node] | None = None
        self.captures: dict[tuple[Node, int], list[int]] = {}
        self.found: list[Any] = []
        self.cut: Any = None  # a Node that was met, and of which it is not known where it leads
        if targets is not None:
            self.found = [None] * len(targets)
            self.wanted = {}
            for i, t in enumerate(targets):
                node = current_node(t)
                if node is None:
                    self.wanted.setdefault(id(t), []).append(i)
                else:
                    self.captures.setdefault((node, t._nr), []).append(i)

    def run(self, roots: Sequence[Any], cotangents: Sequence[Any]) -> None:
        ends = [(current_node(root) or root, root._nr) for root in roots]
        starts = [end for end, _ in ends if isinstance(end, Node)]
        waiting = self.waiting = _dependencies(starts)
        if self.wanted is not None:
            self.leading = self._leading(waiting)
        for (end, number), g in zip(ends, cotangents, strict=True):
            self.deliver(end, number, g, False)
        for end, _ in ends:
            if not isinstance(end, Node) and id(end) not in waiting:
                self.finish(end)
        ready = [(-n.sequence, n) for n in dict.fromkeys(starts) if not waiting[n]]
        heapq.heapify(ready)
        while ready:
            node = heapq.heappop(ready)[1]
            arrived = self.arrived.pop(node, None)
            if arrived is not None:
                self.visit(node, arrived)
            for e in node.edges:
                if e is None:
                    continue
                target = e[0]
                if isinstance(target, Node):
                    waiting[target] -= 1
                    if not waiting[target]:
                        heapq.heappush(ready, (-target.sequence, target))
                else:
                    waiting[id(target)] -= 1
                    if not waiting[id(target)]:
                        self.finish(target)
        if self.cut is not None and any([g is None for g in self.found]):
            self.cut.run([])  # it may have led to them: it says why that is not known

    def reaches(self, x: Any) -> bool:
        """Whether the gradient of x is computed in this pass."""
        node = current_node(x)
        if node is None:
            return id(x) in self.waiting and (self.wanted is None or id(x) in self.wanted)
        if node not in self.waiting:
            return False
        leading = self.leading
        return leading is None or node in leading or (node, x._nr) in self.captures

    def _leading(self, nodes: dict) -> set[Node]:
        """The Nodes whose cotangents reach a target, or may. A Node is younger than where its edges
        lead."""
        leading: set[Node] = set()
        for node in sorted([n for n in nodes if isinstance(n, Node)], key=lambda n: n.sequence):
            if node.cut or any(e is not None and self.wants(e, leading) for e in node.edges):
                leading.add(node)
        return leading

    def wants(self, e: tuple, leading: set[Node]) -> bool:
        """Whether the cotangent that goes along an edge matters to a target."""
        if isinstance(e[0], Node):
            return e[0] in leading or e in self.captures
        return id(e[0]) in self.wanted  # type: ignore[operator]

    def deliver(self, target: Any, number: int, g: Any, fresh: bool) -> None:
        """Add to what has arrived. `fresh`: no other tensor shows these bytes."""
        if isinstance(target, Node):
            arrived = self.arrived.get(target)
            if arrived is None:
                arrived = self.arrived[target] = [None] * len(target.recipe.outputs)
            old = arrived[number]
            if old is not None:
                self.fresh.discard(id(old))
                g, fresh = apply(add, (old, g)), True
            arrived[number] = g
            if fresh:
                self.fresh.add(id(g))
        elif self.wanted is None or id(target) in self.wanted:
            before = self.leaves.get(id(target))
            if before is not None:
                g, fresh = apply(add, (before[1], g)), True
            self.leaves[id(target)] = (target, g, fresh)

    def visit(self, node: Node, arrived: list) -> None:
        """Everything that has arrived at a Node goes on to where its edges lead."""
        fresh = self.taken(arrived)
        if node.pre_hooks or node.retain or self.captures:
            self.on_outputs(node, arrived)
            fresh = False
        leading = self.leading
        if leading is not None:
            if node.cut:
                self.cut = node
            if node.cut or node not in leading:
                return
        if node.pre_hooks and None in node.pre_hooks:
            arrived = _before(node, arrived)
        if arrived[0] is None and all([g is None for g in arrived]):
            return
        if leading is None and node.run is None:
            needed = node.recipe.needed
        elif leading is None:
            needed = tuple([e is not None for e in node.edges])
        else:
            needed = tuple([e is not None and self.wants(e, leading) for e in node.edges])
        if node.onto:
            edges = zip(node.edges[: node.onto], needed, strict=False)
            arrived = [*arrived, *[self.sum_at(e) if need else None for e, need in edges]]
            fresh = False
        results, fresh = self.call(node, arrived, needed, fresh)
        if len(results) != len(node.edges):  # zip(strict=True) would take 0.2 us
            raise ValueError(f"{node.name()}: {len(results)} gradients, {len(node.edges)} inputs")
        for i, g in enumerate(results):
            if g is not None and needed[i]:
                e: Any = node.edges[i]
                if i < node.onto:
                    self.clear(e)
                self.deliver(e[0], e[1], g, fresh)

    def sum_at(self, e: tuple | None) -> Any:
        """What has arrived so far where an edge leads; None if nothing has."""
        if e is None:
            return None
        if isinstance(e[0], Node):
            arrived = self.arrived.get(e[0])
            return None if arrived is None else arrived[e[1]]
        there = self.leaves.get(id(e[0]))
        return None if there is None else there[1]

    def clear(self, e: tuple) -> None:
        """Forget it: the sum that comes next has it."""
        if not isinstance(e[0], Node):
            self.leaves.pop(id(e[0]), None)
        elif e[0] in self.arrived:
            self.fresh.discard(id(self.arrived[e[0]][e[1]]))
            self.arrived[e[0]][e[1]] = None

    def taken(self, arrived: list) -> bool:
        """Whether all of it was fresh. It leaves the set: a dead tensor's id is given again."""
        known, fresh = self.fresh, True
        for g in arrived:
            if id(g) in known:
                known.remove(id(g))
            elif g is not None:
                fresh = False
        return fresh

    def on_outputs(self, node: Node, arrived: list) -> None:
        """Hooks on the outputs, then retained gradients and captures, see the whole cotangent."""
        for number, hooks in list((node.pre_hooks or {}).items()):
            if number is not None and arrived[number] is not None:
                arrived[number] = _hooked(hooks, arrived[number])
        for number, weak in (node.retain or {}).items():
            tensor, new = weak(), arrived[number]
            if tensor is not None and new is not None:
                old = tensor._grad
                tensor._grad = _clone(new) if old is None else apply(add, (old, new))
        if self.captures:
            for number, g in enumerate(arrived):
                for i in self.captures.get((node, number), ()):
                    self.found[i] = g

    def call(
        self, node: Node, arrived: list, needed: tuple, fresh: bool
    ) -> tuple[Sequence[Any], bool]:
        """The Node's rules on what arrived, which may be `fresh`, and whether the results are."""
        # Of two passes in two threads, which may change places at any call, one is told.
        if node.taken or node.saved is None:
            raise BackwardError(
                f"{node.name()}: its saved tensors have been freed by an earlier backward pass, or "
                "one in another thread; use retain_graph=True there to go through the same graph "
                "again"
            )
        node.taken = not self.keep
        try:
            results, fresh = self.compute(node, arrived, needed, fresh)
            if settings.anomaly > 1:
                anomaly.check(node, arrived, results)
            return results, fresh
        except BaseException as error:
            node.taken = False
            if settings.anomaly:
                anomaly.note(node, error)
            raise

    def compute(
        self, node: Node, arrived: list, needed: tuple, fresh: bool
    ) -> tuple[Sequence[Any], bool]:
        while isinstance(node.saved, Deferred):
            node.saved.fill()
        if node.run is not None:
            if not node.by_ops and (noted := journal()) is not None:
                noted.refuse(f"the backward of {node.title()} is called")
            results, fresh = node.run(arrived), False
        else:
            results, fresh = pull_back(node, needed, arrived, self.create, fresh)
        if node.hooks:
            results, fresh = _after(node, results, arrived), False
        if not self.keep:
            node.saved = None
        return results, fresh

    def finish(self, leaf: Any) -> None:
        """All of a leaf's gradient is there."""
        there = self.leaves.pop(id(leaf), None)
        if there is None:
            return
        _, g, fresh = there
        if leaf._hooks:
            g, fresh = _hooked(leaf._hooks, g), False
        if self.wanted is None:
            _accumulate(leaf, g, self.create, fresh)
        else:
            for i in self.wanted[id(leaf)]:
                self.found[i] = g if fresh or self.create else _clone(g)


def _dependencies(starts: Sequence[Node]) -> dict[Any, int]:
    """For each reachable Node, and each leaf by its id, how many edges lead to it."""
    waiting: dict[Any, int] = dict.fromkeys(starts, 0)
    stack = list(waiting)
    while stack:
        for e in stack.pop().edges:
            if e is None:
                continue
            target = e[0]
            if isinstance(target, Node):
                if target not in waiting:
                    waiting[target] = 0
                    stack.append(target)
                waiting[target] += 1
            else:
                waiting[id(target)] = waiting.get(id(target), 0) + 1
    return waiting


# Hooks


def _hooked(hooks: dict, g: Any) -> Any:
    """A gradient after the hooks of its tensor."""
    for hook in list(hooks.values()):
        changed = hook(g)
        if changed is not None:
            g = _fitting(hook, changed, g)
    return g


def _fitting(hook: Any, changed: Any, g: Any) -> Any:
    """What a hook has returned, if it can take the place of g."""
    if not isinstance(changed, Array):
        raise TypeError(
            f"hook {_name(hook)}: it returned {type(changed).__name__}, a tensor or None is needed"
        )
    if g is not None and changed._layout.shape != g._layout.shape:
        raise RuntimeError(
            f"hook {_name(hook)}: it returned a gradient of shape {changed._layout.shape} in the "
            f"place of one of shape {g._layout.shape}"
        )
    return changed


def _before(node: Node, arrived: list) -> list:
    for hook in list(node.pre_hooks[None].values()):  # type: ignore[index]
        changed = hook(tuple(arrived))
        if changed is not None:
            arrived = list(_all_fitting(hook, changed, arrived))
    return arrived


def _after(node: Node, results: Sequence[Any], arrived: list) -> Sequence[Any]:
    for hook in list(node.hooks.values()):  # type: ignore[union-attr]
        changed = hook(tuple(results), tuple(arrived))
        if changed is not None:
            results = _all_fitting(hook, changed, results)
    return results


def _all_fitting(hook: Any, changed: Any, old: Sequence[Any]) -> tuple:
    changed = tuple(changed) if isinstance(changed, (tuple, list)) else (changed,)
    if len(changed) != len(old):
        raise RuntimeError(
            f"hook {_name(hook)}: it returned {len(changed)} gradients, {len(old)} are needed"
        )
    return tuple(
        [c if c is None else _fitting(hook, c, g) for c, g in zip(changed, old, strict=True)]
    )


def _name(hook: Any) -> str:
    return getattr(hook, "__qualname__", type(hook).__name__)


# .grad


def _clone(g: Any) -> Any:
    return apply(find("clone"), (g,))


def _accumulate(leaf: Any, g: Any, create: bool, fresh: bool = False) -> None:
    """leaf.grad += g, in place where no graph is made. The first g is kept if it is `fresh`."""
    note_grad(leaf)
    with _adding:
        old = leaf._grad
        if old is None:
            leaf._grad = g if fresh else _clone(g)
        elif create or old._requires_grad or not _writable(old):
            leaf._grad = apply(add, (old, g))
        else:
            write(add, old, (old, g))
    post_hooks = leaf.__dict__.get("_post_hooks")
    if post_hooks:
        for hook in list(post_hooks.values()):
            hook(leaf)


def _writable(old: Any) -> bool:
    """Whether its elements have memory of their own: an expanded gradient has not, a sparse one
    cannot take a dense sum."""
    if old.is_sparse:
        return False
    lay = old._layout
    return not any(s == 0 and n > 1 for n, s in zip(lay.shape, lay.strides, strict=True))
