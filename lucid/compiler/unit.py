"""Units: what eager would run as one plan, as a graph that is put into a program's.

trace.py asks `unit` for each op, rule, write and formula. A unit is traced once for its layouts, as
a plan of its own would be. How its folds are built is found out there and kept with its equations:
so the bits of a program are those of eager, however the planner fuses.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid.apply import layouts_and_types, trace_call
from lucid.caches import kept_plans, trim
from lucid.graph import Equation, Graph, Value
from lucid.plan.lower import folds_of

Strides = tuple[int, ...] | None

_units: dict[tuple, "Unit"] = kept_plans({})


class Unit:
    """A graph, the strides of its outputs in eager, and how its folds are built."""

    def __init__(
        self, graph: Graph, strides: list[Strides], folds: dict[int, tuple], present: tuple
    ):
        self.strides = strides
        self.present: tuple[bool, ...] = present  # which of the function's results are tensors
        self.updates = False  # whether it is an optimizer's formula
        self.count = len(graph.inputs)
        # Values are numbered: the inputs, then the outputs of one equation after another. What
        # is a constant stands for itself.
        numbers: dict[int, int] = {id(v): n for n, v in enumerate(graph.inputs)}
        self.steps: list[tuple] = []
        for i, e in enumerate(graph.equations):
            given = tuple([numbers.get(id(v), v) for v in e.inputs])
            kinds = [(v.shape, v.dtype, v.weak, v.place) for v in e.outputs]
            self.steps.append((e.op, given, e.params, folds.get(i), kinds))
            for v in e.outputs:
                numbers[id(v)] = len(numbers)
        self.outputs: list[int | Value] = [numbers.get(id(v), v) for v in graph.outputs]
        self.kinds = [(v.shape, v.dtype) for v in graph.outputs]

    def put_into(
        self, graph: Graph, inputs: Sequence[Value], line: str, number: int
    ) -> list[Value]:
        """Add the unit's equations to a graph, on these inputs; returns its outputs."""
        assert len(inputs) == self.count
        values = list(inputs)
        for op, given, params, fold, kinds in self.steps:
            read = tuple([values[v] if type(v) is int else v for v in given])
            made = Equation(op, read, params, (), line, number, fold)
            made.outputs = tuple(
                [Value(shape, kind, weak, None, made, place) for shape, kind, weak, place in kinds]
            )
            values += made.outputs
            graph.equations.append(made)
        results = [v if isinstance(v, Value) else values[v] for v in self.outputs]
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
