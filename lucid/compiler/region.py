"""Regions: the branch of a cond or the body of a loop, traced into equations of its own.

control.py makes them. While a region records, the program's equations go to it; what it reads from
outside becomes inputs of its graph. Its backward pass is another region, which begins with the
equations of the first: so nothing in between is kept, it is computed again.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lucid.apply import apply, current_node
from lucid.array import Array
from lucid.autograd import engine
from lucid.autograd.mode import set_grad_enabled
from lucid.autograd.node import Node, newest
from lucid.compiler.ledger import Ledger, put_back
from lucid.compiler.outside import Entry
from lucid.compiler.trace import Cell, Program
from lucid.error import TraceError
from lucid.graph import Equation, Graph, Value
from lucid.layout import Layout
from lucid.ops.elementwise import add
from lucid.tracing import casting, uncast

End = tuple[Any, int]  # a Node and which of its outputs, or a leaf and 0


class Unroll(TraceError):
    """The body draws random numbers: its steps are to be traced one by one."""


class Region:
    """Equations that are recorded apart. `before` is the region whose values it goes on with."""

    def __init__(self, program: Program, who: str, before: "Region | None" = None):
        self.program = program
        self.who = who
        self.before = before
        self.equations: list[Equation] = []
        self.cells: dict[int, Cell] = {}  # of storages that are made inside
        self.ranges: list[tuple[int, int]] = []  # of the Nodes that are made inside
        self.inputs: list[Value] = []
        self.entries: list[Any] = []  # the Nodes of what it is given, None without a gradient
        self.outside: set[int] = set()  # storages that it may not write to
        program.regions.append(self)
        if program.journal is not None:
            program.journal.refuse(f"{who} is traced as a part of its own")

    def chain(self) -> list["Region"]:
        """This region and those before, the first one first."""
        return [*(self.before.chain() if self.before is not None else ()), self]

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        program = self.program
        graph, views, above = program.graph, program.views, program.region
        outer, graph.equations = graph.equations, self.equations
        program.views = dict(views)
        known = set(program.cells)
        self.outside |= known
        for region in self.chain():
            program.cells.update(region.cells)
            self.outside -= region.cells.keys()
        program.region = self
        start = newest()
        cast = casting.get()
        try:
            with cast.renewed() if cast else contextlib.nullcontext():
                yield
        finally:
            self.ranges.append((start, newest()))
            program.region = above
            graph.equations = outer
            program.views = views
            old = {key for region in self.chain()[:-1] for key in region.cells}
            for key, cell in list(program.cells.items()):
                if key not in known and (cell.first is None or key in old):
                    del program.cells[key]
                    if key not in old:
                        self.cells[key] = cell

    def given(self, lay: Layout, gradient: bool) -> Any:
        """A tensor that the function is given in each run."""
        value = Value(lay.shape, lay.dtype)
        self.inputs.append(value)
        x = self.program.new(value)
        self.outside.add(id(x._storage))
        entry = None
        if gradient:
            entry = Entry(x._layout, -1)
            x._requires_grad, x._node = True, entry
        self.entries.append(entry)
        return x

    def run(self, function: Callable, arguments: Sequence[Any]) -> Any:
        """function(*arguments), which may do nothing but compute."""
        ledger = Ledger([function, *[a for a in arguments if not isinstance(a, Array)]])
        try:
            return function(*arguments)
        finally:
            changes = ledger.changes()
            for change in changes:
                put_back(change)
            if changes:
                self.program.refuse(
                    f"{self.who} stores to {changes[0].what()}{ledger.line(changes[0])}",
                    "return what it should hold: it runs as often as values say",
                )

    # ---- what the program asks ----------------------------------------------------------------

    def check_write(self, cell: Cell) -> None:
        if id(cell.storage) in self.outside or cell.first is not None:
            self.program.refuse(
                f"{self.who} writes in place to a tensor from outside",
                "clone() it, or return the new value",
            )

    def drawn(self) -> None:
        """Random numbers are asked for."""
        if self.who.startswith("scan"):
            raise Unroll
        self.program.refuse(
            f"{self.who} draws random numbers",
            "how many are drawn must not depend on values: draw them before and pass them in",
        )

    def refuse(self, what: str) -> None:
        self.program.refuse(f"{self.who} {what}", "it may only compute; do so outside")

    # ---- what it came to ----------------------------------------------------------------------

    def graph(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> tuple[Graph, list[Value]]:
        """What computes the outputs from these inputs, and the values from outside that it takes
        besides, which are its last inputs."""
        equations = [e for region in self.chain() for e in region.equations]
        while True:
            graph = Graph(list(inputs), list(equations), list(outputs)).pruned()
            free = _free(graph)
            weak = [v.equation for v in free if v.weak and v.equation is not None]
            if not weak:
                break
            equations = [*dict.fromkeys(weak), *equations]  # computed from numbers alone
        if any(v.weak for v in free):
            self.refuse("uses a number that each call sets anew")
        graph.inputs += free
        graph = graph.fresh()
        for v in graph.inputs:
            v.strides = None
        return graph, free

    def holds(self, node: Node) -> bool:
        """Whether a Node was made inside."""
        return any(
            start < node.sequence < end for region in self.chain() for start, end in region.ranges
        )

    def inner(self, tensors: Sequence[Any]) -> tuple[list[Node], list[End]]:
        """The Nodes inside that lead to these tensors, the latest first, and where their edges
        lead to from the inside."""
        mine = {entry for region in self.chain() for entry in region.entries}
        nodes: dict[Node, None] = {}
        ends: dict[tuple[int, int], End] = {}
        stack: list[End] = [(current_node(y) or y, y._nr) for y in tensors]
        made = {id(c.storage) for region in self.chain() for c in region.cells.values()}
        while stack:
            target, number = stack.pop(0)
            if isinstance(target, Node) and target not in mine and self.holds(target):
                if target not in nodes:
                    nodes[target] = None
                    stack += [e for e in target.edges if e is not None]
            elif isinstance(target, Node) or id(target._storage) not in made:
                ends.setdefault((id(target), number), (target, number))
        return sorted(nodes, key=lambda n: -n.sequence), list(ends.values())


def _free(graph: Graph) -> list[Value]:
    known = {id(v) for v in graph.inputs}
    known |= {id(v) for e in graph.equations for v in e.outputs}
    found: dict[int, Value] = {}
    for v in [*[v for e in graph.equations for v in e.inputs], *graph.outputs]:
        if id(v) not in known and v.number is None:
            found.setdefault(id(v), v)
    return list(found.values())


class Inside(engine.Pass):
    """A backward pass through a region: `sums` are the gradients of its ends, which go on from
    what has arrived there before."""

    def __init__(self, region: Region, ends: Sequence[End], before: Sequence[Any], create: bool):
        super().__init__(None, True, create)
        self.region = region
        self.keys = [(id(target), number) for target, number in ends]
        self.sums = dict(zip(self.keys, before, strict=True))

    def go(self, roots: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        """The gradients of the ends."""
        nodes, _ = self.region.inner(roots)
        with set_grad_enabled(self.create), uncast():
            for y, g in zip(roots, cotangents, strict=True):
                self.deliver(current_node(y) or y, y._nr, g, False)
            for node in nodes:
                arrived = self.arrived.pop(node, None)
                if arrived is not None:
                    self.visit(node, arrived)
        return [self.sums[key] for key in self.keys]

    def deliver(self, target: Any, number: int, g: Any, fresh: bool) -> None:
        key = (id(target), number)
        if key in self.sums:
            old = self.sums[key]
            self.sums[key] = g if old is None else apply(add, (old, g))
        elif isinstance(target, Node):
            super().deliver(target, number, g, fresh)

    def sum_at(self, e: tuple | None) -> Any:
        if e is not None and (id(e[0]), e[1]) in self.sums:
            return self.sums[id(e[0]), e[1]]
        return super().sum_at(e)

    def clear(self, e: tuple) -> None:
        if (id(e[0]), e[1]) in self.sums:
            self.sums[id(e[0]), e[1]] = None
        else:
            super().clear(e)
