"""Records of programs alone: what in-place writes through views become, a new value of the whole;
and values that are to be computed again.

compiler/trace.py uses these; eager code writes in place and needs none of them.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from lucid.op import Opaque, find
from lucid.ops.elementwise import Same
from lucid.plan.copies import copy_step
from lucid.plan.steps import Operand


class overwritten(Opaque):
    """x with v where the views of `chain`, ((name, params), ...), look."""

    public = False

    def names(x, v, *, chain):
        pass

    def infer(types, params):
        return [types[0][:2]]

    def lower(context, inputs, params, outputs):
        x, v = inputs
        y = outputs[0]
        part = through(y, params[0])
        steps = [copy_step(x, y)] if 0 not in y.shape else []
        return [*steps, copy_step(v, part)] if 0 not in part.shape else steps


class assembled(Opaque):
    """Zeros of the given size plus each input where `subscript` with its (starts, steps, lengths,
    drop) reads; the places do not overlap."""

    public = False
    arguments = ((), ("size", "regions"))

    def infer(types, params):
        return [(params[0], types[0][1])]

    def lower(context, inputs, params, outputs):
        y = outputs[0]
        if 0 in y.shape:
            return []
        parts = [through(y, (("subscript", region),)) for region in params[1]]
        covered = sum(prod(part.shape) for part in parts)
        steps = [copy_step(None, y)] if covered < prod(y.shape) else []
        for x, part in zip(inputs, parts, strict=True):
            if 0 not in part.shape:
                steps.append(copy_step(x, part, plus_zero=True))
        return steps


def through(y: Operand, chain: Sequence[tuple[str, tuple]]) -> Operand:
    """What the views show of an operand."""
    shape, strides, offset = y.shape, y.strides, y.offset
    for name, params in chain:
        op: Any = find(name)
        static = op.static(params)
        found = op.strides(shape, strides, offset, **static)
        if found is None:
            raise RuntimeError(f"{name}: this view of strides {strides} takes a copy")
        shape, (strides, offset) = tuple(op.shape(shape, **static)), found
    return Operand(y.value, shape, strides, y.dtype, offset)


class renewed(Same):
    """x as a value that no pass takes for x: what is computed from it is computed again."""

    public = False
