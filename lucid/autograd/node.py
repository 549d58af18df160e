"""The tape: Nodes that point backward, and what they keep.

apply.py makes a Node for each recorded call; autograd/backward.py runs them. A Node never points
at its own outputs, so that graphs die by refcount.
"""

import itertools
from typing import Any

from lucid.array import Array
from lucid.layout import Layout
from lucid.op import Op

_sequence = itertools.count()


class Saved:
    """A residual: the bytes as they were, and the version that must still hold when it is read."""

    __slots__ = ("tensor", "storage", "layout", "offset", "version", "nr")

    def __init__(self, tensor: Array, own: bool):
        # The Node's own output is not kept as a tensor, which would point back at the Node.
        self.tensor = None if own else tensor
        self.storage = tensor._storage
        self.layout: Layout = tensor._layout
        self.offset = tensor._offset
        self.version = tensor._storage.version
        self.nr = tensor._nr


class Node:
    """A recorded call: how cotangents of its outputs become cotangents of its inputs.

    edges: for each input None (no gradient), or (target, number): another Node and which of its
    outputs, or a leaf tensor. saved: what the rules asked for, by name.
    """

    hooks: list | None = None  # after: f(grad_inputs, grad_outputs)
    pre_hooks: dict | None = None  # before: output number -> [f(grad)]
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

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    @property
    def next_functions(self) -> tuple:
        return tuple((e[0], e[1]) if e is not None else (None, 0) for e in self.edges)

    def register_hook(self, hook):  # noqa: ANN001, ANN201
        """Call `hook(grad_inputs, grad_outputs)` after this Node has run; a result replaces
        the cotangents of the inputs. Returns a handle with `remove()`."""
        if self.hooks is None:
            self.hooks = []
        self.hooks.append(hook)
        return Handle(self.hooks, hook)

    def register_prehook(self, hook):  # noqa: ANN001, ANN201
        """Call `hook(grad_outputs)` before this Node runs; a result replaces the cotangents."""
        if self.pre_hooks is None:
            self.pre_hooks = {}
        hooks = self.pre_hooks.setdefault(None, [])
        hooks.append(hook)
        return Handle(hooks, hook)


class Handle:
    """What registering a hook returns: `remove()` takes it out again."""

    __slots__ = ("items", "hook")

    def __init__(self, items: list, hook: Any):
        self.items = items
        self.hook = hook

    def remove(self) -> None:
        if self.hook in self.items:
            self.items.remove(self.hook)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *details: object) -> None:
        self.remove()
