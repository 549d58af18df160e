"""assemble: the gradient of a tensor that was split is put together, not added up.

Each part's gradient is zeros everywhere else (`subscript_back`), and their sum reads all of them
at every element. Where the parts do not overlap, each is copied to its place.
"""

from lucid.graph import Equation, Graph, Value
from lucid.op import find
from lucid.plan.passes.replace import Replacement


def assemble(graph: Graph) -> None:
    """Sums of `subscript_back` of one size that do not overlap become `assembled`."""
    users: dict[int, int] = {}
    for equation in graph.equations:
        for v in equation.inputs:
            users[id(v)] = users.get(id(v), 0) + 1
    for v in graph.outputs:
        users[id(v)] = users.get(id(v), 0) + 1
    done = Replacement()
    known: dict[int, list[Equation]] = {}  # of what is assembled already: its parts
    equations: list[Equation] = []
    for equation in graph.equations:
        equation.inputs = tuple([done.of(v) for v in equation.inputs])
        equations.append(equation)
        if equation.op.name != "add":
            continue
        y = equation.outputs[0]
        parts = _parts(y, users, known, True)
        if parts is None or len(parts) < 2 or _overlap(parts):
            continue
        regions = tuple([_region(e) for e in parts])
        made = Equation(find("assembled"), tuple([e.inputs[0] for e in parts]), (y.shape, regions))
        made.line, made.unit = equation.line, equation.unit
        value = Value(y.shape, y.dtype, equation=made, strides=y.strides, whole=y.whole)
        made.outputs = (value,)
        known[id(value)] = parts
        users[id(value)] = users.get(id(y), 0)
        equations.append(made)
        done.put(y, value)
    done.outputs(graph)
    graph.equations = equations


def _parts(
    v: Value, users: dict[int, int], known: dict[int, list[Equation]], first: bool = False
) -> list[Equation] | None:
    """The `subscript_back` equations that add up to v; None where there is anything else."""
    if not first and users.get(id(v), 0) != 1:
        return None
    if id(v) in known:
        return list(known[id(v)])
    equation = v.equation
    if equation is None or v.weak:
        return None
    if equation.op.name == "subscript_back" and equation.params[0] == v.shape:
        return [equation] if equation.inputs[1].number is not None else None
    if equation.op.name != "add" or any(x.shape != v.shape or x.weak for x in equation.inputs):
        return None
    found: list[Equation] = []
    for x in equation.inputs:
        more = _parts(x, users, known)
        if more is None or x.dtype is not v.dtype:
            return None
        found += more
    return found


def _region(part: Equation) -> tuple:
    """Where a `subscript_back` puts its input: starts, steps, lengths and dropped dimensions."""
    size, *places = part.params
    at, starts = int(part.inputs[1].number or 0), []
    for n in reversed(size):
        starts.append(at % max(n, 1))
        at //= max(n, 1)
    return (tuple(starts[::-1]), *places)


def _overlap(parts: list[Equation]) -> bool:
    """Whether two parts may write the same element."""
    for i, a in enumerate(parts):
        for b in parts[:i]:
            if not _apart(_region(a), _region(b)):
                return True
    return False


def _apart(a: tuple, b: tuple) -> bool:
    """Whether along some dimension one part ends before the other begins."""
    (starts, steps, lengths, _), (starts2, steps2, lengths2, _) = a, b
    for s, k, n, s2, k2, n2 in zip(starts, steps, lengths, starts2, steps2, lengths2, strict=True):
        ends = sorted((s, s + k * (n - 1)))
        ends2 = sorted((s2, s2 + k2 * (n2 - 1)))
        if ends[1] < ends2[0] or ends2[1] < ends[0]:
            return True
    return False
