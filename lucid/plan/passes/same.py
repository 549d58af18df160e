"""same: common subexpressions. What is computed twice from the same values is computed once.

Two draws of random numbers are never the same: each has a counter of its own among its inputs.
"""

from typing import Any

from lucid.graph import Graph, Value
from lucid.plan.passes.replace import Replacement


def same(graph: Graph) -> None:
    """Put the first of equal equations in the place of the others."""
    done = Replacement()
    first: dict[tuple, tuple[Value, ...]] = {}
    for equation in graph.equations:
        equation.inputs = tuple([done.of(v) for v in equation.inputs])
        key = (
            equation.op,
            equation.params,
            equation.fold,
            tuple([_mark(v) for v in equation.inputs]),
            tuple([v.strides for v in equation.outputs]),
        )
        known = first.setdefault(key, equation.outputs)
        if known is not equation.outputs:
            for old, new in zip(equation.outputs, known, strict=True):
                done.put(old, new)
    done.outputs(graph)


def _mark(v: Value) -> Any:
    """The same for two numbers that are the same, -0.0 and True being others than 0."""
    if v.number is None or v.equation is not None:
        return id(v)
    return (v.dtype, repr(v.number))
