"""What a program computes from its parameters alone, computed once for each version of them.

runner.py asks for the pointers before each run. So far these are weights into which a batch
normalization was folded (plan/passes/batch_norm.py), where `fold_batch_norm=True` asks for it.
"""

from collections.abc import Sequence
from typing import Any

from lucid import storage
from lucid.apply import CPU
from lucid.compiler.captured import Captured, Input
from lucid.compiler.planned import ProgramPlan
from lucid.graph import Graph, Value
from lucid.layout import layout
from lucid.plan.passes.batch_norm import fold_batch_norm


class Prepared:
    """Values that depend on these inputs only, with the bytes that they had last."""

    def __init__(self, graph: Graph, inputs: Sequence[Input], values: Sequence[Value], name: str):
        used = _used(graph, values)
        self.inputs = [i for i in inputs if id(i.value) in used]
        alone = Graph([i.value for i in self.inputs], list(graph.equations), list(values))
        self.graph = alone.pruned().fresh()
        self.plan = ProgramPlan(self.graph.fresh(), [None] * len(values), f"{name}_prepared", {})
        self.layouts = [layout(v.shape, None, v.dtype, CPU) for v in values]
        self.ready: tuple[list[tuple[Any, int]], list[Any]] | None = None

    def blocks(self) -> list[Any]:
        """The storages of the values; they are made anew after a write to one of the inputs, and
        never written, so that a call that reads the older ones goes on with them."""
        storages: list[tuple[Any, int]] = []
        for i in self.inputs:
            block = i.source.tensor._storage
            storages.append((block, block.version))
        ready = self.ready
        if ready is None or not all(
            a is b and m == n for (a, m), (b, n) in zip(ready[0], storages, strict=True)
        ):
            made = [storage.allocate(lay.nbytes) for lay in self.layouts]
            given = [i.source.tensor._ptr + i.shift for i in self.inputs]
            self.plan.run(*[block.ptr for block in made], *given)
            ready = self.ready = storages, made
        return ready[1]


def prepared(captured: Captured, graph: Graph, name: str) -> tuple[list[Value], Prepared | None]:
    """Fold normalizations into weights; the inputs of the graph that these are now, and what makes
    them."""
    written = {id(i) for i, *_ in captured.writes}
    fixed = [i for i in captured.inputs if i.source.fixed and id(i) not in written]
    values = fold_batch_norm(graph, [i.value for i in fixed])
    if not values:
        return [], None
    found = Prepared(graph, fixed, values, name)
    for v in values:
        v.equation = None
    graph.pruned()
    return values, found


def _used(graph: Graph, values: Sequence[Value]) -> set[int]:
    """The inputs that lead to these values."""
    needed = {id(v) for v in values}
    for e in reversed(graph.equations):
        if any(id(v) in needed for v in e.outputs):
            needed.update(map(id, e.inputs))
    return needed
