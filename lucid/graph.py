"""The typed graph: what a program computes, before anyone decides how.

The funnel records into it (apply.py), the planner reads it (plan/). It prints, parses back, and
verifies itself: `verify` derives every type anew by the op's own rule.

    graph(%0: float32[4, 5], %1: float32[5]) {
      %2: float32[4, 5] = add(%0, %1)
      return %2
    }
"""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lucid import dtypes
from lucid.array import Array
from lucid.dtypes import dtype
from lucid.kernel.expr import Number
from lucid.layout import dense_order, strides_in_order
from lucid.op import Composite, Elementwise, Op, Opaque, find


@dataclass(eq=False, repr=False)
class Value:
    """A tensor in a graph. `number` marks a Python number, which promotes weakly: its value, or
    None where it arrives at run time."""

    shape: tuple[int, ...]
    dtype: dtype
    weak: bool = False
    number: Number | None = None
    equation: "Equation | None" = None
    place: int = 0  # which output of its equation
    strides: tuple[int, ...] | None = None  # in memory, None for row-major
    whole: bool = False  # a tensor of the program, not a step inside of an op

    @property
    def type(self) -> str:
        return f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"


@dataclass(eq=False, repr=False)
class Equation:
    """outputs = op(inputs; params)."""

    op: type[Op]
    inputs: tuple[Value, ...]
    params: tuple
    outputs: tuple[Value, ...] = ()
    # In the trace of a program: the user's line, the number of the call that it belongs to, and
    # for a reduction how its fold is built (plan/nest.py), which fusion must not change.
    line: str = ""
    unit: int = 0
    fold: tuple | None = None


@dataclass(eq=False, repr=False)
class Graph:
    """Equations in an order in which they can run."""

    inputs: list[Value] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)

    def add(self, op: type[Op], inputs: Sequence[Value], params: tuple) -> tuple[Value, ...]:
        """Append an equation; the op's rule gives the outputs' types."""
        equation = Equation(op, tuple(inputs), params)
        types = op.infer([(v.shape, v.dtype, v.weak) for v in inputs], params)
        # What is computed from Python numbers alone promotes as they do.
        weak = issubclass(op, Elementwise) and all(v.weak for v in inputs)
        equation.outputs = tuple(
            Value(shape, kind, weak, equation=equation, place=i)
            for i, (shape, kind) in enumerate(types)
        )
        self.equations.append(equation)
        return equation.outputs

    def pruned(self) -> "Graph":
        """Without the equations that lead to no output."""
        needed = needed_by(self.outputs)
        self.equations = [e for e in self.equations if id(e) in needed]
        return self

    def fresh(self) -> "Graph":
        """A copy that shares no value with this graph, so that planning it changes nothing here.
        Its inputs and outputs are in the same order."""
        same: dict[int, Value] = {}

        def copy(v: Value) -> Value:
            found = same.get(id(v))
            if found is None:
                found = Value(v.shape, v.dtype, v.weak, v.number, strides=v.strides, whole=v.whole)
                same[id(v)] = found
            return found

        graph = Graph([copy(v) for v in self.inputs])
        for e in self.equations:
            inputs = tuple([copy(v) for v in e.inputs])
            made = Equation(e.op, inputs, e.params, line=e.line, unit=e.unit, fold=e.fold)
            made.outputs = tuple([copy(v) for v in e.outputs])
            for place, v in enumerate(made.outputs):
                v.equation, v.place = made, place
            graph.equations.append(made)
        graph.outputs = [copy(v) for v in self.outputs]
        return graph

    def __str__(self) -> str:
        return render(self)

    def verify(self) -> None:
        """Raise ValueError where a value is used before it is made or a type is not the rule's."""
        known = {id(v) for v in self.inputs}
        for equation in self.equations:
            for v in equation.inputs:
                if id(v) not in known and v.number is None:
                    raise ValueError(f"graph: {equation.op.name} reads a value not yet made")
            types = equation.op.infer(
                [(v.shape, v.dtype, v.weak) for v in equation.inputs], equation.params
            )
            made = [(v.shape, v.dtype) for v in equation.outputs]
            if list(types) != made:
                raise ValueError(f"graph: {equation.op.name} makes {types}, the graph says {made}")
            known.update(id(v) for v in equation.outputs)
        for v in self.outputs:
            if id(v) not in known and v.number is None:
                raise ValueError("graph: an output is never made")


def needed_by(wanted: Iterable[Value]) -> set[int]:
    """The ids of the equations that lead to these values."""
    found: set[int] = set()
    stack = [v.equation for v in wanted if v.equation is not None]
    while stack:
        equation = stack.pop()
        if id(equation) in found:
            continue
        found.add(id(equation))
        stack += [v.equation for v in equation.inputs if v.equation is not None]
    return found


def computed_from(graph: Graph, given: Iterable[Value]) -> set[int]:
    """The ids of the values that follow from these and from numbers alone, these included."""
    found = {id(v) for v in given}
    for e in graph.equations:
        if e.inputs and all(v.number is not None or id(v) in found for v in e.inputs):
            found.update(map(id, e.outputs))
    return found


def render(graph: Graph) -> str:
    """The graph as text, which `parse` reads back."""
    names: dict[int, str] = {}

    def name(v: Value) -> str:
        if v.number is not None:
            return repr(v.number)
        return names.setdefault(id(v), f"%{len(names)}")

    def declared(v: Value) -> str:
        weak = " weak" if v.weak else ""
        strides = f" strides {v.strides}" if v.strides is not None else ""
        return f"{name(v)}: {v.type}{weak}{strides}"

    lines = [f"graph({'; '.join(declared(v) for v in graph.inputs)}) {{"]
    for equation in graph.equations:
        inputs = ", ".join(name(v) for v in equation.inputs)
        params = f"; {equation.params!r}" if equation.params else ""
        made = ", ".join(declared(v) for v in equation.outputs)
        lines.append(f"  {made} = {equation.op.name}({inputs}{params})")
    lines.append(f"  return {', '.join(name(v) for v in graph.outputs)}")
    return "\n".join([*lines, "}"])


def parse(text: str) -> Graph:
    """Read what `render` wrote. Types come from the ops' rules and must agree with the text."""
    graph = Graph()
    names: dict[str, Value] = {}
    head, *lines = [line.strip() for line in text.strip().splitlines()]
    for declared in filter(None, head[len("graph(") : head.rindex(")")].split("; ")):
        value = _declared(declared, names)
        graph.inputs.append(value)
    for line in lines:
        if line.startswith("return "):
            graph.outputs = [_operand(t, names) for t in line[len("return ") :].split(", ")]
        elif line != "}":
            left, right = line.split(" = ", 1)
            op_name, inner = right[:-1].split("(", 1)
            operands, _, params = inner.partition("; ")
            inputs = [_operand(t, names) for t in operands.split(", ") if t]
            made = graph.add(find(op_name), inputs, _params(params))
            for text_of, value in zip(re.findall(r"%\d+: \w+\[[^]]*\]", left), made, strict=True):
                key, kind = text_of.split(": ")
                if kind != value.type:
                    raise ValueError(f"graph text says {kind} where {op_name} makes {value.type}")
                names[key] = value
    return graph


def _declared(text: str, names: dict[str, Value]) -> Value:
    found = re.fullmatch(r"(%\d+): (\w+)\[([^]]*)\]( weak)?(?: strides (\(.*\)))?", text)
    if found is None:
        raise ValueError(f"graph text: cannot read {text!r}")
    key, kind, sizes, weak, strides = found.groups()
    shape = tuple(int(n) for n in sizes.split(", ") if n)
    value = Value(shape, dtypes.BY_NAME[kind], bool(weak))
    value.strides = ast.literal_eval(strides) if strides else None
    names[key] = value
    return value


def _operand(text: str, names: dict[str, Value]) -> Value:
    if text in names:
        return names[text]
    return constant(float(text) if text in ("inf", "-inf", "nan") else ast.literal_eval(text))


def _params(text: str) -> tuple:
    if not text:
        return ()
    # dtypes print as lucid.float32; everything else in params is a Python literal.
    quoted = re.sub(r"lucid\.(\w+)", r"'dtype:\1'", text)

    def restore(x: object) -> object:
        if isinstance(x, tuple):
            return tuple(restore(y) for y in x)
        if isinstance(x, str) and x.startswith("dtype:"):
            return dtypes.BY_NAME[x[6:]]
        return x

    result = restore(ast.literal_eval(quoted))
    assert isinstance(result, tuple)
    return result


def constant(number: Number) -> Value:
    """A Python number as a weak value known now."""
    return Value((), dtypes.of_scalar(number), True, number)


def preserved(op: type[Op], inputs: Sequence, output: Value) -> tuple[int, ...] | None:
    """The strides of a result, None for row-major. Results keep the order of the
    dimensions of a dense input of their shape, as channels-last."""
    if issubclass(op, Opaque):
        return op.strides([x._layout for x in inputs if isinstance(x, Array)], output.shape)
    if not issubclass(op, (Elementwise, Composite)) or op.row_major:
        return None
    for x in inputs:
        if isinstance(x, Array) and x._layout.shape == output.shape:
            if x._layout.contiguous:
                return None
            order = dense_order(x._layout)
            if order is not None:
                return strides_in_order(output.shape, order)
    return None
