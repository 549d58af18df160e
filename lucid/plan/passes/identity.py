"""identity: copies in a graph of values are no copies, and two views are one."""

from lucid.graph import Equation, Graph, Value
from lucid.plan.passes.replace import Replacement

COPIES = ("clone", "assign", "cast")


def identity(graph: Graph) -> None:
    """Drop `clone` and the like, views that change nothing, and views of views of a kind."""
    done = Replacement()
    for equation in graph.equations:
        equation.inputs = tuple([done.of(v) for v in equation.inputs])
        found = _plain(equation)
        if found is not None:
            done.put(equation.outputs[0], found)
    done.outputs(graph)


def _plain(equation: Equation) -> Value | None:
    """The value that the equation's output is already; the equation may take a shorter way."""
    x, y = equation.inputs[0] if equation.inputs else None, equation.outputs[0]
    if x is None or x.weak or x.dtype is not y.dtype:
        return None
    name = equation.op.name
    if name in COPIES:
        return x if x.shape == y.shape and x.strides == y.strides else None
    before = x.equation
    if name in ("reshape", "permute") and before is not None and before.op is equation.op:
        if name == "permute":
            inner = before.params[0]
            equation.params = (tuple([inner[d] for d in equation.params[0]]),)
        equation.inputs = before.inputs
        x = equation.inputs[0]
    if name == "reshape" and x.shape == y.shape:
        return x
    if name == "permute" and equation.params[0] == tuple(range(len(y.shape))):
        return x
    return None
