"""Constant folding: what a program computes from numbers alone is computed when it is planned.

runner.py calls `fold`. Masks and positions are such: small tensors that each call would make anew.
"""

from typing import Any

from lucid import storage
from lucid.apply import CPU
from lucid.graph import Graph, Value, computed_from
from lucid.layout import layout
from lucid.plan.run import Plan

LEAST, MOST = 64, 1 << 20  # elements


def fold(graph: Graph) -> list[tuple[Value, Any]]:
    """Take constants out of the graph: each becomes an input, with the storage of its elements."""
    constant = computed_from(graph, [v for e in graph.equations if not e.inputs for v in e.outputs])
    wanted: dict[int, Value] = {}
    for equation in graph.equations:
        for v in equation.inputs:
            inside = all(id(y) in constant for y in equation.outputs)
            if id(v) in constant and not inside and _worthwhile(v):
                wanted[id(v)] = v
    found: list[tuple[Value, Any]] = []
    for v in wanted.values():
        alone = Graph([], list(graph.equations), [v]).pruned().fresh()
        lay = layout(v.shape, v.strides, v.dtype, CPU)
        block = storage.allocate(lay.nbytes)
        Plan(alone, [lay.strides], "constant").run(block.ptr)
        found.append((v, block))
    for v, _ in found:
        v.equation = None
    return found


def _worthwhile(v: Value) -> bool:
    n = 1
    for size in v.shape:
        n *= size
    # One number everywhere is no load at all inside of a kernel.
    return LEAST <= n <= MOST and v.equation is not None and v.equation.op.name != "full"
