"""`checkpoint`: run a function without keeping its intermediates, and again in backward.

The function is recorded as always; then its Nodes are told to fetch what they keep from a second
run. So the graph is the plain one: hooks, `autograd.grad`, closures and create_graph work.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from lucid.apply import current_node, wrap
from lucid.array import Array
from lucid.autograd.mode import enable_grad, is_grad_enabled
from lucid.autograd.node import Deferred, Node, Saved, keep, newest
from lucid.ops.random import default_generator
from lucid.tracing import casting, compiling, tracing


class _Segment(Deferred):
    """One checkpointed call: how to run it again, and the Nodes that wait for that."""

    __slots__ = ("function", "inputs", "options", "state", "nodes", "casting")

    def __init__(self, function: Callable, args: tuple, options: dict, keep_state: bool):
        self.function = function
        self.inputs = [_kept(a) for a in args]
        self.options = {name: _kept(a) for name, a in options.items()}
        self.state = _position() if keep_state else None
        self.nodes: list[weakref.ref[Node]] = []
        self.casting = casting.get()

    def types(self) -> AbstractContextManager:
        """Autocast as it was, with no parameter cast yet: both runs record the same."""
        return nullcontext() if self.casting is None else self.casting.renewed()

    def fill(self) -> None:
        stands_for: dict[int, Any] = {}  # leaf or Node of the second run -> where it belongs
        fresh: list[Any] = []  # held, so that no address is used twice

        def again(s: Any) -> Any:
            if not isinstance(s, Saved):
                return s
            _check(s, self.nodes)
            x = wrap(s.storage, s.layout, s.offset)
            if (found := compiling()) is not None:  # whose passes know the values of the first run
                x = found.renew(x)
            if s.edge is not None:
                x._requires_grad = True
                stands_for[id(x)] = s.edge
            fresh.append(x)
            return x

        args = [again(s) for s in self.inputs]
        options = {name: again(s) for name, s in self.options.items()}
        start = newest()
        made = self._run(args, options)
        nodes = _nodes_since(start, made)
        old = [reference() for reference in self.nodes]
        self._compare(nodes, old)
        for new, node in zip(nodes, old, strict=True):
            stands_for[id(new)] = node
        for new, node in zip(nodes, old, strict=True):
            if node is not None and node.saved is self:
                _hand_over(new, node, stands_for)

    def _run(self, args: list, options: dict) -> Any:
        with _from(self.state), enable_grad(), self.types():
            return self.function(*args, **options)

    def _compare(self, new: list[Node], old: list[Node | None]) -> None:
        if len(new) == len(old) and all(
            o is None or (n.name(), n.outputs) == (o.name(), o.outputs)
            for n, o in zip(new, old, strict=True)
        ):
            return
        raise RuntimeError(
            f"checkpoint: the function did other operations when it ran again: {len(new)} recorded "
            f"ones ({_names(new)}), at first {len(old)} ({_names(old)}); it must depend on its "
            "arguments alone"
        )


def _position() -> Any:
    """Where the default generator is."""
    found = compiling()
    return default_generator.get_state() if found is None else found.position(default_generator)


@contextmanager
def _from(position: Any) -> Iterator[None]:
    """Random numbers from this position on, None for those that follow, in the block."""
    if position is None:
        yield
        return
    now = _position()
    _go_to(position)
    try:
        yield
    finally:
        _go_to(now)


def _go_to(position: Any) -> None:
    found = compiling()
    if found is None:
        default_generator.set_state(position)
    else:
        found.go_to(default_generator, position)


def _names(nodes: list) -> str:
    names = [n.name() if n is not None else "?" for n in nodes[:8]]
    return ", ".join(names) + (", ..." if len(nodes) > 8 else "")


def _kept(a: Any) -> Any:
    if not isinstance(a, Array):
        return a
    current_node(a)
    return keep(a)


def _check(s: Saved, nodes: list) -> None:
    if s.storage.version != s.version:
        raise RuntimeError(
            f"checkpoint: an argument of shape {s.layout.shape} was modified in place since the "
            "function ran; clone() it first"
        )


def _nodes_since(start: int, made: Any) -> list[Node]:
    """The Nodes younger than `start` that lead to these outputs, oldest first."""
    found: set[Node] = set()
    stack: list[Any] = [current_node(y) for y in _tensors(made)]
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node.sequence > start and node not in found:
            found.add(node)
            stack += [e[0] for e in node.edges if e is not None]
    return sorted(found, key=lambda n: n.sequence)


def _tensors(made: Any) -> list[Any]:
    if isinstance(made, Array):
        return [made]
    if isinstance(made, dict):
        made = list(made.values())
    return [t for y in made for t in _tensors(y)] if isinstance(made, (tuple, list)) else []


def _hand_over(new: Node, node: Node, stands_for: dict[int, Any]) -> None:
    """Give a Node what its twin of the second run keeps, with the edges of the first run."""

    def moved(s: Any) -> Any:
        if not isinstance(s, Saved) or s.edge is None:
            return s
        there = stands_for.get(id(s.edge[0]), s.edge[0])
        return s._replace(edge=(there, s.edge[1]) if isinstance(there, (Node, Array)) else there)

    kept = new.saved
    if isinstance(kept, _Segment):  # a checkpoint inside: it goes on waiting, for this Node
        kept.nodes = [weakref.ref(node) if r() is new else r for r in kept.nodes]
        kept.inputs = [moved(s) for s in kept.inputs]
        kept.options = {name: moved(s) for name, s in kept.options.items()}
        node.saved = kept
    else:
        node.saved = tuple([moved(s) for s in kept])  # type: ignore[union-attr]


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs) that keeps only its arguments; backward runs it again, with the
    same random numbers. Without gradients the function just runs.

    `use_reentrant` makes no difference here. Raises RuntimeError in backward if an argument was
    modified since, or if the function does other operations when it runs again. Chen et al.,
    "Training deep nets with sublinear memory cost", 2016.

    >>> import lucid
    >>> from lucid.utils.checkpoint import checkpoint
    >>> x = lucid.ones(2, requires_grad=True)
    >>> checkpoint(lambda x: x * x, x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """
    level = tracing()
    if not is_grad_enabled() or (level is not None and not level.whole):
        return function(*args, **kwargs)
    segment = _Segment(function, args, kwargs, preserve_rng_state)
    start = newest()
    with segment.types():
        made = function(*args, **kwargs)
    nodes = _nodes_since(start, made)
    segment.nodes = [weakref.ref(node) for node in nodes]
    for node in nodes:
        node.saved = segment
    return made
