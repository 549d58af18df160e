"""The records of control flow: one step of a plan that runs other plans (plan/control.py).

compiler/control.py adds them to a program's graph; they are called by nobody else.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from lucid.compiler.planned import ProgramPlan
from lucid.graph import Graph
from lucid.layout import contiguous_strides
from lucid.op import Opaque
from lucid.plan.control import Part, nested_step
from lucid.plan.copies import copy_step


def part(name: str, graph: Graph) -> Part:
    """A branch or a body, whose plan is kept on disk as that of a program is."""
    return Part(name, graph, ProgramPlan)


class Nested(Opaque, abstract=True):
    """Its only parameter is a Branch or a Loop."""

    public = False
    arguments = ((), ())

    @classmethod
    def put(cls, context: Any, inputs: Sequence[Any], outputs: Sequence[Any], step: Any) -> list:
        """step(inputs, outputs) on operands that are row-major, and the copies around it."""
        before, after = [], []
        ready: list[list[Any]] = [[], []]
        for x in inputs:
            if x.strides != contiguous_strides(x.shape):
                copy = context.temporary(x.shape, x.dtype)
                before.append(copy_step(x, copy))
                x = copy
            ready[0].append(x)
        for y in outputs:
            if y.strides != contiguous_strides(y.shape):
                copy = context.temporary(y.shape, y.dtype)
                after.append(copy_step(copy, y))
                y = copy
            ready[1].append(y)
        return [*before, step(*ready), *after]


class branch(Nested):
    """One of two graphs, as the first input says."""

    name = "cond"

    @classmethod
    def infer(cls, types, params):
        return params[0].types

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        return cls.put(context, inputs, outputs, partial(nested_step, params[0]))


class loop(Nested):
    """A graph that runs again and again."""

    name = "loop"

    @classmethod
    def infer(cls, types, params):
        return params[0].types()

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        return cls.put(context, inputs, outputs, partial(nested_step, params[0]))
