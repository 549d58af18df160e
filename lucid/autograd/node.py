"""The tape: Nodes that point backward, and what they keep.

apply.py makes a Node for each recorded call; autograd/engine.py runs them. A Node never points
at its own outputs, so that graphs die by refcount.
"""

import itertools
from typing import Any

from lucid.array import Array
from lucid.layout import Layout
from lucid.op import Op

_sequence = itertools.count()


class Saved:
    """A residual: the bytes as they were, and the version that must still hold when it is read.

    It keeps where the tensor's cotangent went, and not the tensor, which may take another history
    by a write, or is the Node's own output, number `nr`: either could point back at the Node.
    """

    __slots__ = ("storage", "layout", "offset", "version", "edge", "nr")

    def __init__(self, tensor: Array, nr: int | None = None):
        self.storage = tensor._storage
        self.layout: Layout = tensor._layout
        self.offset = tensor._offset
        self.version = tensor._storage.version
        self.nr = nr
        self.edge = None
        if nr is None and tensor._requires_grad:
            node = tensor._node
            self.edge = (tensor, 0) if node is None else (node, tensor._nr)


class Node:
    """A recorded call: how cotangents of its outputs become cotangents of its inputs.

    edges: for each input None (no gradient), or (target, number): another Node and which of its
    outputs, or a leaf tensor. saved: what the rules asked for, by name.
    """

    hooks: dict | None = None  # after: f(grad_inputs, grad_outputs)
    # Before: output number -> f(grad) of that output; None -> f(grad_outputs).
    pre_hooks: dict | None = None
    retain: dict | None = None  # output number -> weak tensor whose .grad is kept
    line: str | None = None

    def __init__(
        self,
        op: type[Op],
        params: tuple,
        edges: tuple,
        saved: dict[str, Any] | None,
        inputs: tuple,
        outputs: tuple[Layout, ...],
    ):
        self.op = op
        self.params = params
        self.edges = edges
        self.saved = saved
        self.inputs = inputs  # layouts of the inputs, None for numbers
        self.outputs = outputs
        self.sequence = next(_sequence)

    def name(self) -> str:
        return f"{self.op.label.title().replace('_', '')}Backward"

    def title(self) -> str:
        """What errors call the operation."""
        return self.op.name

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    @property
    def next_functions(self) -> tuple:
        return tuple((e[0], e[1]) if e is not None else (None, 0) for e in self.edges)

    def register_hook(self, hook):  # noqa: ANN001, ANN201
        """Call `hook(grad_inputs, grad_outputs)` after this Node has run; a result replaces
        the cotangents of the inputs. Returns a handle with `remove()`."""
        if self.hooks is None:
            self.hooks = {}
        return Handle(self.hooks, hook)

    def register_prehook(self, hook):  # noqa: ANN001, ANN201
        """Call `hook(grad_outputs)` before this Node runs; a result replaces the cotangents."""
        if self.pre_hooks is None:
            self.pre_hooks = {}
        return Handle(self.pre_hooks.setdefault(None, {}), hook)


class Handle:
    """What registering a hook returns: `remove()` takes it out again, and no other."""

    __slots__ = ("items",)

    def __init__(self, items: "dict[Handle, Any]", hook: Any):
        self.items = items
        items[self] = hook

    def remove(self) -> None:
        self.items.pop(self, None)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *details: object) -> None:
        self.remove()


def move_retained(x: Array, node: Node | None, number: int) -> None:
    """x has another history now: its gradient is kept there, if it was kept at `node`."""
    if node is None or node.retain is None or x._node is None:
        return
    weak = node.retain.get(number)
    if weak is not None and weak() is x:
        del node.retain[number]
        if x._node.retain is None:
            x._node.retain = {}
        x._node.retain[x._nr] = weak
