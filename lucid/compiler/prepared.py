"""What a program computes from its parameters alone, computed once for each version of them.

runner.py asks for the blocks before each run. These are weights into which a batch normalization
was folded (plan/passes/batch_norm.py), and weights of products, packed (prepack.py),
where `lucid.compile` was asked for it.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

from lucid import storage
from lucid.apply import CPU
from lucid.compiler.captured import Captured, Input
from lucid.compiler.planned import ProgramPlan
from lucid.compiler.prepack import prepack
from lucid.config import settings
from lucid.graph import Graph, Value, needed_by
from lucid.layout import layout
from lucid.plan.passes.batch_norm import fold_batch_norm


class _Made:
    """The blocks of values, which plans of the same parameters share."""

    __slots__ = ("blocks", "storages", "__weakref__")

    def __init__(self, blocks: list[Any], storages: list[Any]):
        self.blocks = blocks
        self.storages = storages  # alive, so that the ids in the key stay theirs


_shared: WeakValueDictionary[tuple, _Made] = WeakValueDictionary()


class Prepared:
    """Values that depend on these inputs only, with the bytes that they had last."""

    def __init__(
        self,
        graph: Graph,
        inputs: Sequence[Input],
        values: Sequence[Value],
        name: str,
        count: int = 1,
    ):
        leading = needed_by(values)
        used = {id(v) for e in graph.equations if id(e) in leading for v in e.inputs}
        self.name = name
        self.count = count  # of the layers that are prepared
        self.inputs = [i for i in inputs if id(i.value) in used]
        alone = Graph([i.value for i in self.inputs], list(graph.equations), list(values))
        self.graph = alone.pruned().fresh()
        self.plan = ProgramPlan(self.graph.fresh(), [None] * len(values), name, {})
        self.layouts = [layout(v.shape, None, v.dtype, CPU) for v in values]
        self.text = f"{settings.target} {self.graph}"
        self.ready: tuple[list[tuple[Any, int, int]], _Made] | None = None

    def blocks(self) -> list[Any]:
        """The storages of the values; they are made anew after a write to one of the inputs, and
        never written, so that a call that reads the older ones goes on with them."""
        now: list[tuple[Any, int, int]] = []
        for i in self.inputs:
            x = i.source.tensor
            now.append((x._storage, x._storage.version, x._ptr + i.shift))
        ready = self.ready
        if ready is None or not all(
            a[0] is b[0] and a[1:] == b[1:] for a, b in zip(ready[0], now, strict=True)
        ):
            key = (self.text, *[(id(block), version, at) for block, version, at in now])
            made = _shared.get(key)
            if made is None:
                blocks = [storage.allocate(lay.nbytes) for lay in self.layouts]
                self.plan.run(*[block.ptr for block in blocks], *[at for *_, at in now])
                made = _shared[key] = _Made(blocks, [block for block, *_ in now])
            ready = self.ready = now, made
        return ready[1].blocks


def prepared(
    captured: Captured, graph: Graph, name: str, fold: bool, pack: bool
) -> tuple[list[Value], list[Prepared]]:
    """Take out of the graph what is to be prepared: the inputs that it has for that now, and what
    makes them."""
    written = {id(i) for i, *_ in captured.writes}
    fixed = [i for i in captured.inputs if i.source.fixed and id(i) not in written]
    inputs = [i.value for i in fixed]
    folded = fold_batch_norm(graph, inputs) if fold else []
    packed = prepack(graph, inputs, settings.prepack_mb << 20) if pack else []
    steady = needed_by([*folded, *packed])
    read = {id(v) for e in graph.equations if id(e) not in steady for v in e.inputs}
    direct = [v for v in folded if id(v) in read]  # the others are packed next
    found = [Prepared(graph, fixed, [v], f"{name}_packed") for v in packed]
    if direct:
        found.insert(0, Prepared(graph, fixed, direct, f"{name}_folded", len(folded) // 2))
    values = [*direct, *packed]
    for v in values:
        v.equation = None
    graph.pruned()
    return values, found
