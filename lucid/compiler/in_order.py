"""in_order: batched products are written in the order in which they are read.

planned.py calls it. What attention makes of its heads, and its gradients, is permuted and then
copied: such a copy is a view where the product stores its rows in that order to begin with.
"""

from lucid.graph import Equation, Graph, Value
from lucid.layout import strides_in_order
from lucid.plan.fuse import viewed
from lucid.plan.passes.replace import Replacement


def in_order(graph: Graph) -> None:
    """Give products whose only reader is a permutation, made row-major, that order of strides."""
    readers: dict[int, list[Equation]] = {}
    for e in graph.equations:
        for v in e.inputs:
            readers.setdefault(id(v), []).append(e)
    outputs = set(map(id, graph.outputs))
    done = Replacement()
    for e in graph.equations:
        if e.op.name != "product" or not _apart(e):
            continue
        p = e.outputs[0]
        turn = _only(readers, outputs, p)
        if turn is None or turn.op.name != "permute":
            continue
        order = turn.params[0]
        then = _only(readers, outputs, turn.outputs[0])
        if then is None or order[-1] != len(order) - 1 or not _row_major(then):
            continue
        if then.op.name != "reshape" and id(then.outputs[0]) in outputs:
            continue
        p.strides = strides_in_order(p.shape, order)
        if then.op.name != "reshape":
            done.put(then.outputs[0], turn.outputs[0])
    for e in graph.equations:
        e.inputs = tuple([done.of(v) for v in e.inputs])


def _only(readers: dict[int, list[Equation]], outputs: set[int], v: Value) -> Equation | None:
    """The equation that reads a value, where it is one and nobody else sees the value."""
    found = readers.get(id(v), [])
    alone = len(found) == 1 and v.strides is None and id(v) not in outputs
    return found[0] if alone else None


def _row_major(e: Equation) -> bool:
    """Whether the equation makes a row-major copy of its input, or needs one."""
    y = e.outputs[0]
    if e.op.name == "reshape":
        return y.strides is None
    return e.op.name == "contiguous_copy" and y.strides is None


def _apart(e: Equation) -> bool:
    """Whether each batch element has a right side of its own: rows of several are then never
    multiplied as one matrix, so that the order of the result says nothing about its bits."""
    y, w = e.outputs[0], e.inputs[1]
    if len(y.shape) < 3 or y.strides is not None or 0 in y.shape or y.shape[-1] == 1:
        return False
    strides = viewed(w)[1]
    return w.shape[:-2] == y.shape[:-2] and all(
        s != 0 for s, n in zip(strides[:-2], w.shape[:-2], strict=True) if n != 1
    )
