"""Units: what eager would run as one plan, as a graph that is put into a program's.

trace.py asks `unit` for each op, rule, write and formula. A unit is traced once for its layouts, as
a plan of its own would be. How its folds are built is found out there and kept with its equations:
so the bits of a program are those of eager, however the planner fuses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lucid.apply import layouts_and_types, trace_call
from lucid.caches import kept_plans, trim
from lucid.graph import Equation, Graph, Value
from lucid.plan.lower import folds_of

Strides = tuple[int, ...] | None

_units: dict[tuple, "Unit"] = kept_plans({})


@dataclass(eq=False)
class Unit:
    """A graph, the strides of its outputs in eager, and by number how its folds are built."""

    graph: Graph
    strides: list[Strides]
    folds: dict[int, tuple]
    present: tuple[bool, ...]  # which of the function's results are tensors

    def put_into(
        self, graph: Graph, inputs: Sequence[Value], line: str, number: int
    ) -> list[Value]:
        """Add the unit's equations to a graph, on these inputs; returns its outputs."""
        there = dict(zip(map(id, self.graph.inputs), inputs, strict=True))

        def moved(v: Value) -> Value:
            return there[id(v)] if v.equation is not None or id(v) in there else v

        for i, e in enumerate(self.graph.equations):
            made = Equation(e.op, tuple([moved(v) for v in e.inputs]), e.params)
            made.line, made.unit, made.fold = line, number, self.folds.get(i)
            made.outputs = tuple(
                [Value(v.shape, v.dtype, v.weak, equation=made, place=v.place) for v in e.outputs]
            )
            there.update(zip(map(id, e.outputs), made.outputs, strict=True))
            graph.equations.append(made)
        results = [moved(v) for v in self.graph.outputs]
        for v in results:
            v.weak = v.weak and v.equation is None  # a tensor, whatever it is computed from
        return results


def unit(
    key: tuple,
    function: Callable[..., Any],
    inputs: Sequence[Any],
    strides: Callable[[Value], Strides],
) -> Unit:
    """The unit of function(*inputs), which is kept under `key` and the inputs' layouts. `strides`
    gives those of an output."""
    key = (*key, *layouts_and_types(inputs))
    found = _units.get(key)
    if found is None:
        present: list[bool] = []

        def listed(*xs: Any) -> list[Any]:
            made = function(*xs)
            results = made if isinstance(made, tuple) else (made,)
            present[:] = [y is not None for y in results]
            return [y for y in results if y is not None]

        graph = trace_call(listed, inputs)
        there = [strides(v) for v in graph.outputs]
        trim(_units)
        found = _units[key] = Unit(graph, there, folds_of(graph, there), tuple(present))
    return found
