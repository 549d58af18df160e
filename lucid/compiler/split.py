"""A graph with gradients cut in two: what runs when the function is called, and what in backward.

runner.py makes a plan of each half. Between them stand the residuals. What is cheap to compute
again from other residuals (views, arithmetic of one element) is not kept but computed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lucid.error import TraceError
from lucid.graph import Equation, Graph, Value, needed_by
from lucid.op import View
from lucid.plan.fuse import is_cheap


@dataclass(eq=False)
class Halves:
    """The two graphs; `residuals` are the first one's last outputs, or inputs of the whole, and
    the second one's first inputs, in this order."""

    forward: Graph
    backward: Graph
    residuals: list[Value]


def split(
    graph: Graph, outputs: Sequence[Value], slopes: Sequence[Value], written: Sequence[Value]
) -> Halves:
    """`outputs` are wanted at once, `slopes` in backward. Inputs of the graph are not residuals
    of their own: the second graph reads them, and whoever runs it has kept them; but for those
    that are `written`, whose bytes are others by then."""
    now = needed_by(outputs)
    later = needed_by(slopes)
    second = [e for e in graph.equations if id(e) in later and id(e) not in now]
    inside = {id(e) for e in second}
    again: set[int] = set()  # equations of the first half that the second repeats
    residuals: list[Value] = []
    known: set[int] = set()
    gone = {id(v) for v in written}
    for e in graph.equations:  # what would read them again
        if any(id(v) in gone for v in e.inputs) and _cheap(e):
            gone.update(map(id, e.outputs))

    def keep(v: Value) -> None:
        if id(v) in known or v.number is not None:
            return
        equation = v.equation
        if equation is None:
            if id(v) in gone:
                raise TraceError(
                    f"compile: backward reads a tensor of shape {v.shape} from outside as it was "
                    "before the function wrote to it in place: clone() it first"
                )
            known.add(id(v))
            residuals.append(v)
        elif id(equation) in inside or id(equation) in again:
            return
        elif _cheap(equation) and id(v) not in gone:
            again.add(id(equation))
            for x in equation.inputs:
                keep(x)
        else:
            known.add(id(v))
            residuals.append(v)

    for equation in second:
        for v in equation.inputs:
            keep(v)
    for v in slopes:
        keep(v)
    forward = Graph([], [e for e in graph.equations if id(e) in now], [*outputs])
    repeated = inside | again
    backward = Graph([], [e for e in graph.equations if id(e) in repeated], list(slopes))
    return Halves(forward, backward, residuals)


def _cheap(equation: Equation) -> bool:
    """Whether its values are as quickly computed as read: views, and arithmetic of one input in
    memory."""
    return issubclass(equation.op, View) or is_cheap(equation)
