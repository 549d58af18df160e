"""`cond` in the trace of a program: one equation of its graph. loops.py does so for loops.

func/control.py calls this. Branches and bodies are traced as regions (region.py); their gradients
are equations of the same kind, made where the backward pass comes to their Nodes.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid.apply import contiguous
from lucid.autograd.mode import is_grad_enabled
from lucid.autograd.node import Node, Recipe
from lucid.compiler.carried import tensors_only
from lucid.compiler.nested import branch, part
from lucid.compiler.outside import whole
from lucid.compiler.region import End, Inside, Region
from lucid.compiler.trace import Program
from lucid.compiler.tree import flatten, unflatten
from lucid.dtypes import FLOATING
from lucid.graph import Equation, Value
from lucid.layout import Layout
from lucid.lines import user_line
from lucid.op import Op
from lucid.ops.creation import zeros
from lucid.plan.control import Branch
from lucid.tracing import casting
from lucid.write import needs_gradient

# cond


def cond(program: Program, pred: Any, yes: Callable, no: Callable, operands: tuple) -> Any:
    """`lucid.cond` with a tensor as pred."""
    if pred.dtype.category:  # no bool
        pred = pred != 0
    line = user_line()
    if casts_gradients():
        program.refuse(
            "cond under autocast, with gradients",
            "those of weights that are cast inside would be summed up in another type: cast them "
            "before, or call it outside of autocast",
        )
    regions: list[Region] = []
    made: list[list[Any]] = []
    forms = []
    for name, function in (("true_fn", yes), ("false_fn", no)):
        region = Region(program, f"cond: {name}")
        with region.recording():
            leaves, form = flatten(region.run(function, operands))
            tensors_only(region.who, leaves)
            made.append([y if y is None else contiguous(y) for y in leaves])
        regions.append(region)
        forms.append(form)
    _check_alike(program, made, forms)
    places = [i for i, y in enumerate(made[0]) if y is not None]
    tensors = [[leaves[i] for i in places] for leaves in made]
    found = _branched(program, program.read(pred), regions, tensors, line)
    for i, y in zip(places, found, strict=True):
        made[0][i] = y
    return unflatten(forms[0], made[0])


def casts_gradients() -> bool:
    return casting.get() is not None and is_grad_enabled()


def _check_alike(program: Program, made: list[list[Any]], forms: list[Any]) -> None:
    advice = "both branches of cond return nests of the same form, shapes and dtypes"
    if forms[0] != forms[1]:
        program.refuse("cond: true_fn and false_fn return different nests", advice)
    for i, (a, b) in enumerate(zip(*made, strict=True)):
        said = ["None" if y is None else f"{y.dtype!r} of shape {tuple(y.shape)}" for y in (a, b)]
        if said[0] != said[1]:
            what = f"cond: true_fn returns {said[0]} as leaf {i}, false_fn returns {said[1]}"
            program.refuse(what, advice)


def _branched(
    program: Program,
    pred: Value,
    regions: Sequence[Region],
    made: Sequence[list[Any]],
    line: str,
) -> list[Any]:
    """The equation that gives the tensors of one of two regions; these tensors outside."""
    parts, frees = [], []
    for name, region, tensors in zip(("true", "false"), regions, made, strict=True):
        with region.recording():
            values = [program.read(y) for y in tensors]
        graph, free = region.graph([], values)
        parts.append(part(f"cond_{name}", graph))
        frees.append(free)
    given = list({id(v): v for free in frees for v in free}.values())
    numbers = {id(v): i for i, v in enumerate(given)}
    a, b = [tuple([numbers[id(v)] for v in free]) for free in frees]
    types = [(v.shape, v.dtype) for v in parts[0].graph.outputs]
    record = Branch((parts[0], parts[1]), (a, b), types)
    outputs = emit(program, branch, [pred, *given], record, line)
    if is_grad_enabled():
        attach(_Branched(program, pred, regions, made, line), made, outputs)
    return outputs


def emit(
    program: Program, op: type[Op], inputs: Sequence[Value], record: Any, line: str
) -> list[Any]:
    """One equation; its outputs as tensors."""
    program.calls += 1
    equation = Equation(op, tuple(inputs), (record,), line=line, unit=program.calls)
    types = op.infer([], (record,))
    equation.outputs = tuple(
        [Value(shape, kind, equation=equation, place=i) for i, (shape, kind) in enumerate(types)]
    )
    program.graph.equations.append(equation)
    return [program.new(v) for v in equation.outputs]


def attach(node: "Structured", made: Sequence[list[Any]], outputs: list[Any]) -> None:
    """The Node of the outputs which need a gradient in any of the regions."""
    for number, y in enumerate(outputs):
        if any(needs_gradient(tensors[number]) for tensors in made):
            if y._layout.dtype.category >= FLOATING:
                y._node, y._nr, y._requires_grad = node, number, True


class Structured(Node):
    """The Node of a cond or a loop."""

    __slots__ = ("program", "line_of")

    def __init__(self, program: Program, outputs: Sequence[Layout], edges: Sequence, line: str):
        super().__init__(Recipe(whole, (), (), tuple(outputs), ()), tuple(edges), ())
        self.program = program
        self.line_of = line

    def title(self) -> str:
        return self.name().removesuffix("Backward").lower()


class _Branched(Structured):
    """Its backward is a cond of the branches' backward passes."""

    __slots__ = ("pred", "regions", "made", "ends")

    def __init__(self, program, pred, regions, made, line):
        found: dict[tuple[int, int], End] = {}
        for region, tensors in zip(regions, made, strict=True):
            for target, number in region.inner([y for y in tensors if needs_gradient(y)])[1]:
                found.setdefault((id(target), number), (target, number))
        self.ends = list(found.values())
        super().__init__(program, [y._layout for y in made[0]], self.ends, line)
        self.pred, self.regions, self.made = pred, regions, made
        self.onto = len(self.ends)

    def name(self) -> str:
        return "CondBackward"

    def run(self, arrived: list) -> Sequence[Any]:  # type: ignore[override]
        count = len(self.made[0])
        before = arrived[count:]
        create = is_grad_enabled()
        regions: list[Region] = []
        found: list[list[Any]] = []
        for region, tensors in zip(self.regions, self.made, strict=True):
            later = Region(self.program, region.who, region)
            pairs = [
                (y, g)
                for y, g in zip(tensors, arrived, strict=False)
                if g is not None and needs_gradient(y)
            ]
            with later.recording():
                inside = Inside(later, self.ends, before, create)
                found.append(inside.go([y for y, _ in pairs], [g for _, g in pairs]))
            regions.append(later)
        places = [i for i, b in enumerate(before) if any(sums[i] is not b for sums in found)]
        results = list(before)
        made: list[list[Any]] = []
        for region, sums in zip(regions, found, strict=True):
            with region.recording():
                made.append([_or_zeros(sums[i], self.ends[i]) for i in places])
        if places:
            outputs = _branched(self.program, self.pred, regions, made, self.line_of)
            for i, y in zip(places, outputs, strict=True):
                results[i] = y
        return results


def _or_zeros(g: Any, end: End) -> Any:
    if g is not None:
        return contiguous(g)
    target, number = end
    lay = target.outputs[number] if isinstance(target, Node) else target._layout
    return zeros(lay.shape, dtype=lay.dtype)
