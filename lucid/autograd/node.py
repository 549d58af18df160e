"""The tape: Nodes that point backward, and what they keep.

apply.py makes a Node for each recorded call; autograd/engine.py runs them. A Node never points
at its own outputs, so that graphs die by refcount.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lucid.array import Array
from lucid.config import settings
from lucid.dtypes import COMPLEX, FLOATING
from lucid.layout import Layout
from lucid.lines import user_line, user_stack
from lucid.op import Op, View

_sequence = itertools.count()


class Saved(NamedTuple):
    """A residual: the bytes as they were, and the version that must still hold when it is read.

    It keeps where the tensor's cotangent went, and not the tensor, which may take another history
    by a write, or is the Node's own output, number `nr`: either could point back at the Node.
    """

    storage: Any
    layout: Layout
    offset: int
    version: int
    edge: tuple | None
    nr: int | None


_tuple = tuple.__new__  # half the cost of a NamedTuple's own constructor


def keep(x: Array) -> Saved:
    """An input, or any tensor that the Node has not made."""
    block: Any = x._storage
    edge = None
    if x._requires_grad:
        node = x._node
        edge = (x, 0) if node is None else (node, x._nr)
    return _tuple(Saved, (block, x._layout, x._offset, block.version, edge, None))


def keep_own(y: Array, nr: int) -> Saved:
    """Output number `nr` of the Node that keeps it."""
    block: Any = y._storage
    return _tuple(Saved, (block, y._layout, y._offset, block.version, None, nr))


class Recipe:
    """What all calls of an op with these params and layouts, and gradients needed by the same
    inputs, have in common: what the rules read, and what Nodes keep for them."""

    __slots__ = (
        "op", "params", "inputs", "outputs", "needed", "kept", "names", "fixed", "floating",
        "direct",
    )  # fmt: skip

    def __init__(
        self,
        op: type[Op],
        params: tuple,
        inputs: tuple,
        outputs: tuple[Layout, ...],
        edges: tuple,
        numbers: tuple[str, ...] = (),  # names of what a view's Nodes keep (op.View)
    ):
        self.op = op
        self.params = params
        self.inputs = inputs  # layouts of the inputs, None for numbers
        self.outputs = outputs
        self.needed = tuple([e is not None for e in edges])
        # name -> whether it is an output, its number
        kept: dict[str, tuple[bool, int]] = dict.fromkeys(numbers, (False, 0))
        self.fixed: dict[str, Any] = {}  # what the rules read that is the same in each call
        for name, need in zip(op.inputs, self.needed, strict=True):
            for asked in op.rules[name].names if need else ():
                self._ask(asked, kept)
        self.kept = tuple(kept.values())
        self.names = tuple(kept)
        self.floating = tuple([n for n, y in enumerate(outputs) if y.dtype.category >= FLOATING])
        # Complex numbers are not planned: such rules run call by call.
        layouts = [lay for lay in (*inputs, *outputs) if lay is not None]
        self.direct = any([lay.dtype.category == COMPLEX for lay in layouts])

    def _ask(self, name: str, kept: dict[str, tuple[bool, int]]) -> None:
        op = self.op
        if name in kept:
            return
        if name in op.inputs:
            kept[name] = False, op.inputs.index(name)
        elif name == "y":
            kept[name] = True, 0
        elif name in op.hidden:
            kept[name] = True, op.count + op.hidden.index(name)
        elif name in op.statics:
            self.fixed[name] = self.params[op.statics.index(name)]
        elif name.endswith("_meta") and name[:-5] in op.inputs:
            self.fixed[name] = self.inputs[op.inputs.index(name[:-5])]
        elif name[0] == "y" and name[1:].isdigit():
            kept[name] = True, int(name[1:])
        elif name != "g" and not (name[0] == "g" and name[1:].isdigit()):
            raise TypeError(f"{op.name}: its rules ask for {name!r}, which is no input or output")

    def keep(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple:
        """What a Node of this kind keeps, in the order of `names`."""
        found = []
        for own, place in self.kept:
            if own:
                found.append(keep_own(outputs[place], place))
            else:
                x = inputs[place]
                found.append(keep(x) if isinstance(x, Array) else x)
        return tuple(found)


_view_recipes: dict[tuple, Recipe] = {}  # (op, what of the params decides, layouts)
MOST = 8192


def view_recipe(
    op: type[View], params: tuple, of: Layout, lay: Layout
) -> tuple[Recipe, tuple[int, ...]]:
    """The recipe of a view, which others like it share, and what a Node of this one keeps."""
    decisive, numbers = op.kept(of.shape, params)
    key = (op, decisive, of, lay)
    recipe = _view_recipes.get(key)
    if recipe is None:
        if len(_view_recipes) >= MOST:
            _view_recipes.clear()
        recipe = Recipe(op, params, (of,), (lay,), (True,), tuple(numbers))
        _view_recipes[key] = recipe
    return recipe, tuple(numbers.values())


class Deferred:
    """Stands where a Node's `saved` will be: `fill()` puts it there."""

    __slots__ = ()

    def fill(self) -> None:
        raise NotImplementedError


def newest() -> int:
    """A number greater than that of every Node so far, and smaller than those to come."""
    return next(_sequence)


class Node:
    """A recorded call: how cotangents of its outputs become cotangents of its inputs.

    edges: for each input None (no gradient), or (target, number): another Node and which of its
    outputs, or a leaf tensor. saved: what the rules read, in the order of the recipe's names; None
    once it has been given back. taken: a pass that will give it back has begun to run the Node. A
    subclass with rules of its own defines `run`. With `onto` = n its results for the first n edges
    go on from what has arrived there, which `run` gets after the cotangents, and replace it.
    """

    __slots__ = ("recipe", "edges", "saved", "sequence", "taken", "__dict__", "__weakref__")

    hooks: dict | None = None  # after: f(grad_inputs, grad_outputs)
    # Before: output number -> f(grad) of that output; None -> f(grad_outputs).
    pre_hooks: dict | None = None
    retain: dict | None = None  # output number -> weak tensor whose .grad is kept
    line: str | None = None
    stack: Sequence[str] = ()  # the frames around the line, where detect_anomaly asks for them
    onto: int = 0
    cut: bool = False  # whether it is not known where its edges led
    by_ops: bool = False  # whether its `run` takes sizes from tensors alone
    run: Callable[[list], Sequence[Any]] | None = None

    def __init__(self, recipe: Recipe, edges: tuple, saved: tuple | Deferred | None):
        self.recipe = recipe
        self.edges = edges
        self.saved = saved
        self.sequence = next(_sequence)
        self.taken = False
        if settings.debug or settings.anomaly:
            self.note_line()

    def note_line(self) -> None:
        """Where the user's program made it."""
        self.line = user_line()
        if settings.anomaly:
            self.stack = user_stack()

    @property
    def op(self) -> type[Op]:
        return self.recipe.op

    @property
    def outputs(self) -> tuple[Layout, ...]:
        return self.recipe.outputs

    def name(self) -> str:
        return f"{self.op.label.title().replace('_', '')}Backward"

    def title(self) -> str:
        """What errors call the operation."""
        return self.op.name

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    @property
    def next_functions(self) -> tuple:
        """For each input (what its cotangent goes to, which output of that), (None, 0) without."""
        return tuple([(None, 0) if e is None else _next(*e) for e in self.edges])

    @property
    def metadata(self) -> dict[str, Any]:
        """A dict for whatever a program wants to keep here."""
        return self.__dict__.setdefault("_metadata", {})

    def register_hook(self, hook):
        """Call `hook(grad_inputs, grad_outputs)` after this Node has run; a result replaces
        the cotangents of the inputs. Returns a handle with `remove()`."""
        if self.hooks is None:
            self.hooks = {}
        return Handle(self.hooks, hook)

    def register_prehook(self, hook):
        """Call `hook(grad_outputs)` before this Node runs; a result replaces the cotangents."""
        if self.pre_hooks is None:
            self.pre_hooks = {}
        return Handle(self.pre_hooks.setdefault(None, {}), hook)


def _next(target: Any, number: int) -> tuple:
    return (target if isinstance(target, Node) else AccumulateGrad(target)), number


class AccumulateGrad:
    """Stands at the end of a graph for a leaf, whose `.grad` is added to: `variable`."""

    __slots__ = ("variable",)
    next_functions: tuple = ()

    def __init__(self, variable: Any):
        self.variable = variable

    def name(self) -> str:
        return "AccumulateGrad"

    def __repr__(self) -> str:
        return "<AccumulateGrad>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return hash((AccumulateGrad, id(self.variable)))


class Handle:
    """What registering a hook returns: `remove()` takes it out again, and no other."""

    __slots__ = ("items", "key")

    def __init__(self, items: dict[object, Any], hook: Any):
        self.items = items
        self.key = object()  # not the handle, which would make a cycle
        items[self.key] = hook

    def remove(self) -> None:
        self.items.pop(self.key, None)

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
