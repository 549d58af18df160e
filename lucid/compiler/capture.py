"""One call of the user's function under a trace, and what it amounts to: a `Captured`.

compiler/__init__.py calls `capture`; split.py cuts a graph with gradients in two, runner.py makes
what runs of it. No kernel runs here, and whatever the function changed in Python on the way
(gradients, counts of optimizers, versions) is put back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from lucid.apply import current_node, wrap
from lucid.array import Array
from lucid.autograd import engine
from lucid.autograd.mode import no_grad
from lucid.autograd.node import Node
from lucid.compiler.guard import Check, Walk, Watch
from lucid.compiler.host import Host, Step
from lucid.compiler.trace import Cell, Chain, Program, Promise, Restart
from lucid.compiler.tree import Form, flatten, unflatten
from lucid.error import TraceError
from lucid.graph import Graph, Value
from lucid.layout import Layout
from lucid.tracing import count_programs, traced_by
from lucid.write import needs_gradient


@dataclass(frozen=True)
class Source:
    """Where a tensor from outside is found at each call: argument `place`, or that very `tensor`;
    with `grad`, its gradient."""

    place: int = -1
    tensor: Any = None
    grad: bool = False

    def find(self, leaves: Sequence[Any]) -> Any:
        x = leaves[self.place] if self.place >= 0 else self.tensor
        return x._grad if self.grad else x


@dataclass(eq=False)
class Input:
    """A storage that the graph reads: where it is found, and what is looked at of it."""

    source: Source
    value: Value
    cell: Cell
    layout: Layout | None  # of the tensor that the source finds; None where it finds no tensor
    shift: int  # bytes from that tensor's first element
    requires: bool


@dataclass(eq=False)
class Output:
    """A tensor that the function returns, or leaves as a gradient.

    kind: "same", the tensor of `source` itself; "view", views of it; "made", in the new storage
    number `storage`, with this layout and offset.
    """

    kind: str
    source: Source | None = None
    chain: Chain = ()
    storage: int = -1
    layout: Layout | None = None
    offset: int = 0
    number: int = -1  # which output of the Node, where it has a gradient
    spent: bool = False  # its graph was used up inside
    recorded: bool = False


@dataclass(eq=False)
class Captured:
    """What a call came to."""

    graph: Graph
    inputs: list[Input]
    storages: list[Value]  # the values of the storages that are made for the caller
    layouts: list[Layout]
    outputs: list[Output | None]  # of the leaves of the result; None for a plain value
    result: list[Any]  # the leaves that are no tensors
    form: Form
    writes: list[tuple[Input, Value, int]]  # of storages from outside: the last value, how often
    gradients: list[tuple[Source, Output | None]]  # what `.grad` of leaves becomes
    steps: list[Step]
    lates: list[Value]  # numbers of the steps' formulas
    seeds: list[tuple[Any, Value]]
    offsets: list[tuple[Any, int, Value]]
    drawn: list[tuple[Any, int]]
    check: Check
    roots: list[tuple[Output, Layout]] = field(default_factory=list)  # with a gradient
    cotangents: list[Value] = field(default_factory=list)
    targets: list[Source] = field(default_factory=list)
    slopes: list[Value | None] = field(default_factory=list)  # the targets' gradients


def capture(function: Callable, args: tuple, kwargs: dict) -> Captured:
    """Trace function(*args, **kwargs)."""
    flat: frozenset[int] = frozenset()
    while True:
        try:
            return _Capture(function, flat).run(args, kwargs)
        except Restart as again:
            flat |= {again.block}


class _Capture:
    """The state of one trace."""

    def __init__(self, function: Callable, flat: frozenset[int]):
        self.function = function
        self.program = Program(flat)
        self.program.host = Host(self.program)
        self.stands: dict[int, int] = {}  # stand-in or argument -> number of the argument
        self.versions: list[tuple[Any, int]] = []
        self.held: list[Any] = []

    def run(self, args: tuple, kwargs: dict) -> Captured:
        program = self.program
        leaves, form = flatten((args, kwargs))
        given = [self._stand_in(x, i) if isinstance(x, Array) else x for i, x in enumerate(leaves)]
        positional, named = unflatten(form, given)
        watch = Watch()
        count_programs(1)
        try:
            with traced_by(program):
                with watch:
                    made = self.function(*positional, **named)
                results, result_form = flatten(made)
                captured = self._finish(watch, leaves, results, result_form)
        finally:
            count_programs(-1)
            self._restore()
        return captured

    def _stand_in(self, x: Any, place: int) -> Any:
        """What the function is given for a tensor. A leaf with a gradient stands for itself, as it
        may be met by another way too."""
        known = self.held
        for y, original in known:
            if original is x:
                return y
        if needs_gradient(x) and current_node(x) is None:
            y = x
        else:
            y = type(x)._make_subclass(type(x), wrap(x._storage, x._layout, x._offset))
            y._requires_grad = needs_gradient(x)
            y.__dict__.update({k: v for k, v in x.__dict__.items() if not k.startswith("_")})
        self.held.append((y, x))
        self.stands[id(y)] = place
        return y

    # ---- after the function has run ------------------------------------------------------------

    def _finish(self, watch: Watch, leaves: list[Any], results: list[Any], form: Form) -> Captured:
        program = self.program
        walk = Walk(watch)
        walk.follow(self.function)
        for x in leaves:
            if not isinstance(x, Array):
                walk.follow(x)
        sources = self._sources(walk, leaves)
        storages: dict[int, int] = {}
        outputs: list[Output | None] = []
        roots: list[Any] = []
        for y in results:
            outputs.append(self._output(y, sources, storages, roots))
        gradients = self._gradients(sources, storages)
        slopes, targets, cotangents = self._backward(roots)
        cells = [c for c in program.cells.values() if c.first is not None]
        inputs = [self._input(c, sources, leaves) for c in cells]
        by_value = {id(i.value): i for i in inputs}
        writes = [
            (by_value[id(c.first)], c.value, c.writes) for c in cells if c.value is not c.first
        ]
        made = [program.cells[key] for key in storages]
        return Captured(
            graph=program.graph,
            inputs=inputs,
            storages=[c.value for c in made],
            layouts=[c.layout for c in made],
            outputs=outputs,
            result=[None if isinstance(y, Array) else y for y in results],
            form=form,
            writes=writes,
            gradients=gradients,
            steps=program.host.steps,
            lates=[n.value for s in program.host.steps for u in s.updates for n in u.lates],
            seeds=[(g, late.value) for g, late in program.seeds.values()],
            offsets=program.offsets,
            drawn=[(g, program.drawn[key]) for key, (g, _) in program.seeds.items()],
            check=walk.check(),
            roots=_in_order(outputs),
            cotangents=cotangents,
            targets=targets,
            slopes=slopes,
        )

    def _sources(self, walk: Walk, leaves: list[Any]) -> dict[int, Source]:
        """Storage -> where it is found at each call."""
        program = self.program
        found: dict[int, Source] = {}
        for x in walk.tensors:
            found.setdefault(id(x._storage), Source(tensor=x))
        for step in program.host.steps:
            for update in step.updates:
                for i, row in enumerate(update.rows):
                    for j, t in enumerate(row):
                        if not isinstance(t._storage, Promise) and not self._is_grad(t):
                            update.steady.append((i, j, t))
                            found.setdefault(id(t._storage), Source(tensor=t))
        for x, before in program.grads.values():
            if before is not None:
                found[id(before._storage)] = self._grad_source(x)
        for i, x in reversed(list(enumerate(leaves))):
            if isinstance(x, Array):
                found[id(x._storage)] = Source(place=i)
        for block in program.constants.values():
            found.setdefault(id(block), Source(tensor=None))
        return found

    def _is_grad(self, t: Any) -> bool:
        return any(before is t for _, before in self.program.grads.values())

    def _grad_source(self, x: Any) -> Source:
        place = self.stands.get(id(x), -1)
        return Source(place, None if place >= 0 else x, True)

    def _leaf_source(self, x: Any) -> Source:
        place = self.stands.get(id(x), -1)
        return Source(place, None if place >= 0 else x)

    def _input(self, cell: Cell, sources: dict[int, Source], leaves: list[Any]) -> Input:
        assert cell.first is not None
        source = sources.get(id(cell.storage))
        if source is None:
            raise TraceError(
                f"compile: a tensor of {cell.layout!r} is used that is reached in a way which "
                "cannot be followed; pass it as an argument, or keep it in a module"
            )
        if source.place < 0 and source.tensor is None:  # made from Python data
            x = wrap(cell.storage, cell.layout, cell.offset)
            return Input(Source(tensor=x), cell.first, cell, cell.layout, 0, False)
        before = {id(x): g for x, g in self.program.grads.values()}
        if source.grad:
            owner = source.tensor
            if source.place >= 0:
                owner = next(y for y, _ in self.held if self.stands[id(y)] == source.place)
            x = before[id(owner)]
        else:
            x = source.find(leaves)
        shift = (cell.offset - x._offset) * cell.layout.dtype.itemsize
        return Input(source, cell.first, cell, x._layout, shift, needs_gradient(x))

    def _output(
        self, y: Any, sources: dict[int, Source], storages: dict[int, int], roots: list[Any]
    ) -> Output | None:
        if not isinstance(y, Array):
            return None
        program = self.program
        place = self.stands.get(id(y), -1)
        if place >= 0:
            return Output("same", Source(place))
        block = y._storage
        if not isinstance(block, Promise):
            source = sources.get(id(block))
            if source is None or (source.place < 0 and source.tensor is None):
                # Made from Python data: a new one each time.
                return self._made(program.new(program.read(y)), storages)
            if source.tensor is y:
                return Output("same", source)
            chain = program.chain(program.cell(y), y)
            if needs_gradient(y) and current_node(y) is not None and not chain:
                raise TraceError("compile: a tensor that was written in place is returned")
            return Output("view", source, chain, recorded=needs_gradient(y))
        made = self._made(y, storages)
        node = current_node(y)
        if node is not None and y._requires_grad:
            if _is_spent(node):
                made.spent = True
            else:
                made.number = len(roots)
                roots.append(y)
        return made

    def _made(self, y: Any, storages: dict[int, int]) -> Output:
        number = storages.setdefault(id(y._storage), len(storages))
        self.held.append((y, None))
        return Output("made", storage=number, layout=y._layout, offset=y._offset)

    def _gradients(
        self, sources: dict[int, Source], storages: dict[int, int]
    ) -> list[tuple[Source, Output | None]]:
        """What becomes of the `.grad` of leaves."""
        changed: list[tuple[Source, Output | None]] = []
        for x, before in self.program.grads.values():
            after = x._grad
            if after is before:
                continue
            target = self._leaf_source(x)
            if after is None:
                changed.append((target, None))
            else:
                output = self._output(after, sources, storages, [])
                changed.append((target, output))
        return changed

    def _backward(self, roots: list[Any]) -> tuple[list, list[Source], list[Value]]:
        """The gradients of the leaves as functions of cotangents of the outputs."""
        if not roots:
            return [], [], []
        program = self.program
        targets = _leaves_of(roots)
        cotangents, values = [], []
        for y in roots:
            g, value = program.input(y._layout)
            cotangents.append(g)
            values.append(value)
        hooks = [(t, t._hooks) for t in targets]
        try:
            for t in targets:
                t._hooks = None  # the caller's own backward pass will call them
            with no_grad():
                found = engine.run(roots, cotangents, targets, False, False) or []
        finally:
            for t, kept in hooks:
                t._hooks = kept
        slopes = [None if g is None else program.read(g) for g in found]
        return slopes, [self._leaf_source(t) for t in targets], values

    def _restore(self) -> None:
        program = self.program
        for cell in program.cells.values():
            if cell.first is not None and cell.writes:
                cell.storage.version -= cell.writes
        for x, before in program.grads.values():
            x._grad = before
        program.host.restore()


def _in_order(outputs: Sequence[Output | None]) -> list[tuple[Output, Layout]]:
    """The outputs with a gradient, as the Node numbers them."""
    found = [o for o in outputs if o is not None and o.number >= 0]
    found.sort(key=lambda o: o.number)
    return [(o, cast(Layout, o.layout)) for o in found]


def _is_spent(node: Node) -> bool:
    return node.saved is None and bool(node.recipe.kept)


def _leaves_of(roots: Sequence[Any]) -> list[Any]:
    """The leaves that the outputs' graphs lead to."""
    found: dict[int, Any] = {}
    seen: set[Node] = set()
    stack = [current_node(y) for y in roots]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for e in node.edges:
            if e is None:
                continue
            if isinstance(e[0], Node):
                stack.append(e[0])
            else:
                found.setdefault(id(e[0]), e[0])
    return list(found.values())
