"""Levels of the funnel: tensors that stand for something else while one function runs.

batch.py (vmap) and forward.py (tangents) have a Level each; func/ opens them. Levels nest, the
innermost is asked first, and all of them end in ordinary ops on ordinary tensors and one tape. So
`fresh` and `pull` take gradients inside any nest of them: they go down to that tape and back up.
"""

from collections.abc import Callable, Iterator, Sequence
from contextvars import Token
from typing import Any

from lucid.apply import apply
from lucid.array import Array
from lucid.autograd import engine
from lucid.autograd.node import Node
from lucid.lazy import lazy
from lucid.ops.view import permute, reshape
from lucid.tensor import Tensor
from lucid.tracing import journal, traced_by, tracer
from lucid.write import needs_gradient

_batch = lazy("lucid.autograd.batch")


class Lifted(Tensor):
    """A tensor of a Level: `_held` is what it stands for, one level further out."""

    _held: Any
    _trace: Any

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad is True

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._refuse()

    @property
    def _version(self) -> int:
        return self._held._version

    def _refuse(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError(self._trace.refusal)

    backward = requires_grad_ = retain_grad = register_hook = detach_ = _refuse
    register_post_accumulate_grad_hook = _refuse


class Mark:
    """In the place of a traced value: plans and views must not be kept for what it marks."""

    __slots__ = ("type",)

    def __init__(self, type: str):
        self.type = type


class Level:
    """A transformation while its function runs: ops inside come to its `add` and `write`."""

    whole = False  # ops on tensors that are not of this level run as they are
    refusal = ""  # what `backward` and its like say inside

    def __init__(self) -> None:
        self.outer: Any = None
        self.depth = 1
        self._token: Token | None = None

    def __enter__(self) -> Any:
        self.outer = tracer.get()
        if (noted := journal()) is not None:
            noted.refuse("a map or derivative is traced inside")
        self.depth = self.outer.depth + 1 if isinstance(self.outer, Level) else 1
        self._token = tracer.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        assert self._token is not None
        tracer.reset(self._token)
        self._token = None

    @property
    def open(self) -> bool:
        return self._token is not None

    def owns(self, x: Any) -> bool:
        return isinstance(x, Lifted) and x._trace is self

    def held(self, x: Any) -> Any:
        """What a tensor of this level stands for; any other as it is."""
        return x._held if self.owns(x) else x

    def lifted(self, x: Any) -> Any:
        """x as what a random op draws for."""
        raise NotImplementedError

    def fresh(self, x: Any, rest: "Levels", recording: bool, spread: Callable) -> Any:
        """See `fresh`; `rest` are the levels further out."""
        raise NotImplementedError

    def pull(
        self, rest: "Levels", ys: list, gs: list, xs: list, batch: tuple, keep: bool, create: bool
    ) -> list:
        """See `pull`."""
        raise NotImplementedError

    def changed(self, x: Any, change: Callable) -> Any:
        """A tensor of this level with another thing in the place of what it stands for."""
        raise NotImplementedError

    def parts(self, x: Any) -> tuple:
        """The tensors that a tensor of this level is made of."""
        return (x._held,)


Levels = tuple[Level, ...]


def levels() -> Levels:
    """The levels that are open here, the innermost first."""
    found = []
    level = tracer.get()
    while isinstance(level, Level):
        found.append(level)
        level = level.outer
    return tuple(found)


def outside(level: Level) -> Any:
    """Its block runs at the level around this one."""
    return traced_by(level.outer)


def fresh(
    x: Any, recording: bool, spread: Callable[[Level], bool], inner: Levels | None = None
) -> Any:
    """x as a variable of its own, to which gradients can be taken. They go on to x where
    `recording`. What is the same for a whole batch is repeated for the levels that `spread` names,
    so that each element has a gradient to itself."""
    inner = levels() if inner is None else inner
    if inner:
        return inner[0].fresh(x, inner[1:], recording, spread)
    if recording and needs_gradient(x):
        return apply(reshape, (x,), (x._layout.shape,))
    y = x.detach()
    y._requires_grad = True  # not by requires_grad_(), which is for tensors that others know
    return y


def pull(
    ys: Sequence[Any],
    gs: Sequence[Any],
    xs: Sequence[Any],
    batch: tuple[int, ...] = (),
    keep: bool = True,
    create: bool = False,
    inner: Levels | None = None,
) -> list[Any]:
    """The gradients of xs, for cotangents gs of ys; None where nothing arrives.

    The cotangents may have dimensions `batch` in front, which the gradients then have too."""
    inner = levels() if inner is None else inner
    if inner:
        return inner[0].pull(inner[1:], list(ys), list(gs), list(xs), batch, keep, create)
    pairs = [(y, g) for y, g in zip(ys, gs, strict=True) if g is not None and needs_gradient(y)]
    if not pairs:
        return [None] * len(xs)
    if batch:
        return _pull_batches(pairs, xs, batch, keep, create)
    return _engine([y for y, _ in pairs], [g for _, g in pairs], xs, keep, create)


def _engine(ys: list, gs: list, xs: Sequence[Any], keep: bool, create: bool) -> list[Any]:
    return list(engine.run(ys, gs, xs, keep, create) or [])


def _pull_batches(
    pairs: list, xs: Sequence[Any], batch: tuple[int, ...], keep: bool, create: bool
) -> list[Any]:
    """One level of vmap for each dimension, around the engine."""
    size, *rest = batch
    level = _batch.BatchLevel(size, "error")
    with level:
        ys, gs = [y for y, _ in pairs], [level.wrap(g) for _, g in pairs]
        if rest:
            found = _pull_batches(list(zip(ys, gs, strict=True)), xs, tuple(rest), keep, create)
        else:
            found = _engine(ys, gs, xs, keep, create)
    return [None if g is None else level.whole_of(g) for g in found]


def moved(x: Any, source: int, place: int) -> Any:
    """x with one of its dimensions elsewhere."""
    if source == place:
        return x
    order = [d for d in range(len(x._layout.shape)) if d != source]
    order.insert(place, source)
    return permute(x, tuple(order))


# What is below all levels


def bottom(x: Any) -> Iterator[Any]:
    """The ordinary tensors that x consists of."""
    if not isinstance(x, Lifted):
        yield x
        return
    for part in x._trace.parts(x):
        yield from bottom(part)


def has_history(x: Any) -> bool:
    """Whether one of the ordinary tensors that x consists of needs a gradient."""
    return any(needs_gradient(part) for part in bottom(x))


def plain(x: Any) -> Any:
    """x without history at any level; its tangents stay."""
    return changed(x, lambda part: part.detach()) if has_history(x) else x


def changed(x: Any, change: Callable[[Any], Any]) -> Any:
    """x with each ordinary tensor that it consists of changed."""
    if not isinstance(x, Lifted):
        return change(x)
    return x._trace.changed(x, lambda part: changed(part, change))


def leading_outside(ys: Sequence[Any], own: set[int]) -> set[int]:
    """The ids of those of ys whose history leads to a leaf that is not one of `own`, by its id."""
    ends = {id(y): [_end(t) for t in bottom(y) if needs_gradient(t)] for y in ys}
    nodes: set[Node] = set()
    stack = [e for found in ends.values() for e in found if isinstance(e, Node)]
    while stack:
        node = stack.pop()
        if node not in nodes:
            nodes.add(node)
            stack += [e[0] for e in node.edges if e is not None and isinstance(e[0], Node)]
    leading: set[Node] = set()

    def leads(end: Any) -> bool:
        return end in leading if isinstance(end, Node) else id(end) not in own

    for node in sorted(nodes, key=lambda n: n.sequence):  # older than what points at it
        if any(e is not None and leads(e[0]) for e in node.edges):
            leading.add(node)
    return {key for key, found in ends.items() if any(leads(e) for e in found)}


def _end(x: Any) -> Any:
    node = x._node
    return x if node is None else node


def shares_bytes(x: Any, others: Sequence[Any]) -> bool:
    """Whether x shows the bytes of one of the others."""
    own = {id(t._storage) for t in bottom(x)} if isinstance(x, Array) else set()
    return any(id(t._storage) in own for y in others for t in bottom(y) if isinstance(y, Array))
