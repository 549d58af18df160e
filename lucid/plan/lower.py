"""Lowering: a graph to a plan's steps.

run.py calls `lower`; fuse.py groups the equations, nest.py makes the loop nests, opaque ops bring
their own steps, memory.py places what lives in between.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lucid.dtypes import dtype
from lucid.graph import Equation, Graph, Value
from lucid.layout import contiguous_strides
from lucid.op import Opaque, Reduction, find
from lucid.plan import columns, fuse, nest
from lucid.plan.commit import commit
from lucid.plan.form import Form, form_of
from lucid.plan.fuse import Group
from lucid.plan.keep import keep
from lucid.plan.memory import arrange
from lucid.plan.steps import Operand, Step, nest_step


@dataclass(eq=False, repr=False)
class Lowered:
    """Steps in order, and the arena offsets of the values that live in between."""

    steps: list[Step]
    arena: dict[int, int]  # id(value) -> offset
    arena_bytes: int
    values: list[Value]  # keeps the ids of `arena` valid


class Context:
    """The state of one lowering; opaque ops see it as `context`."""

    def __init__(self, graph: Graph, out_strides: Sequence[tuple[int, ...] | None]):
        self.graph = graph
        self.steps: list[Step] = []
        self.groups: dict[int, Group] = {}  # of the steps that are made of one
        self.temporaries: list[Value] = []
        self.strides: dict[int, tuple[int, ...]] = {}
        for v in graph.inputs:
            self.strides[id(v)] = v.strides or contiguous_strides(v.shape)
        for v, strides in zip(graph.outputs, out_strides, strict=True):
            self.strides[id(v)] = strides or contiguous_strides(v.shape)
        self.outputs = {id(v) for v in graph.outputs}
        self.placed: set[int] = set()  # values that have memory: inputs, and what steps write

    def operand(self, value: Value) -> Operand:
        """Where a value lies in memory; a view lies where its base does."""
        base, strides, offset = fuse.viewed(value, self._strides)
        if id(base) not in self.placed:  # it was a view of it that was stored
            base, strides, offset = fuse.viewed(value, self._strides, self.placed)
        return Operand(base, value.shape, strides, value.dtype, offset)

    def reads(self, made: Operand) -> bool:
        """Whether anything wants a value that an op makes."""
        wanted = [v for equation in self.graph.equations for v in equation.inputs]
        return any([v is made.value for v in (*wanted, *self.graph.outputs)])

    def own(self, value: Value) -> Operand:
        """The memory of a value that is computed."""
        return Operand(value, value.shape, self._strides(value), value.dtype)

    def _strides(self, value: Value) -> tuple[int, ...]:
        strides = self.strides.get(id(value))
        if strides is None:
            strides = self.strides[id(value)] = value.strides or contiguous_strides(value.shape)
        return strides

    def temporary(self, shape: Sequence[int], kind: dtype) -> Operand:
        """Scratch memory of the plan, alive from its first to its last use."""
        value = Value(tuple(shape), kind)
        self.temporaries.append(value)
        return Operand(value, value.shape, contiguous_strides(shape), kind)


def lower(
    graph: Graph,
    out_strides: Sequence[tuple[int, ...] | None] | None = None,
    into: dict[int, Value] | None = None,
    join: Callable[["Context"], None] = lambda context: None,
    gather: Callable[["Context"], None] = lambda context: None,
) -> Lowered:
    """Plan the graph's kernels and memory. Outputs are row-major unless strides are given. `into`,
    of a whole program: which outputs, by number, are written into which inputs. `join` may put
    several steps into one, and so may `gather`, in their last order."""
    _separate_outputs(graph)
    program = fuse.Program(graph) if into is not None else None
    while True:
        context = Context(graph, out_strides or [None] * len(graph.outputs))
        try:
            _lower_all(context, fuse.partition(graph, program).items)
            break
        except NotAsAlone as cause:
            assert program is not None
            program.loosen(cause.group)
    join(context)
    if into:
        commit(context, [(graph.outputs[i], v) for i, v in into.items()])
    gather(context)
    values, lives = lives_of(context)
    offsets, total = arrange(lives)
    arena = {id(v): at for v, at in zip(values, offsets, strict=True)}
    return Lowered(context.steps, arena, total, values)


class NotAsAlone(Exception):
    """A group of a program cannot fold as its call alone would."""

    def __init__(self, group: Group):
        super().__init__()
        self.group = group


def _lower_all(context: Context, items: Sequence[fuse.Item]) -> None:
    _note_places(context, items)
    for grouped, part in itertools.groupby(items, _is_group):
        if grouped:
            _lower_groups(context, [group for group in part if isinstance(group, Group)])
            continue
        for item in part:
            assert isinstance(item, Equation) and issubclass(item.op, Opaque)
            _lower_opaque(context, item, item.op)


def _note_places(context: Context, items: Sequence[fuse.Item]) -> None:
    context.placed = {id(v) for v in context.graph.inputs}
    for item in items:
        stored = [r.value for r in item.stores] if isinstance(item, Group) else item.outputs
        context.placed.update(map(id, stored))


def _is_group(item: fuse.Item) -> bool:
    return isinstance(item, Group)


def folds_of(graph: Graph, out_strides: Sequence[tuple[int, ...] | None]) -> dict[int, tuple]:
    """How the folds of a graph are built, by the number of their equation: on this, besides the
    sizes, their bits depend (nest.fold_of)."""
    if not any(issubclass(e.op, Reduction) for e in graph.equations):
        return {}
    graph = graph.fresh()
    numbers = {id(e): i for i, e in enumerate(graph.equations)}
    _separate_outputs(graph)
    context = Context(graph, out_strides)
    found = {}
    items = fuse.partition(graph).items
    _note_places(context, items)
    for item in items:
        if isinstance(item, Group) and item.folds:
            _, strides = operands_of(context, item)
            built = nest.fold_of(*nest.build(item, "", strides))
            for root in item.folds:
                found[numbers[id(root.equation)]] = built
    return found


def _separate_outputs(graph: Graph) -> None:
    """Each output is a value of its own, made here: copies of inputs and repeats are explicit."""
    seen = {id(v) for v in graph.inputs}
    for i, v in enumerate(graph.outputs):
        if id(v) in seen or v.number is not None:
            graph.outputs[i] = graph.add(find("clone"), [v], ())[0]
        seen.add(id(graph.outputs[i]))


@dataclass(eq=False, repr=False)
class Built:
    """A group as a nest, or as two (nest.split), and what is bound to it."""

    group: Group
    form: Form
    operands: dict[str, Operand]


def _build(context: Context, group: Group) -> Built | None:
    """None where there is nothing to compute."""
    operands, strides = operands_of(context, group)
    if all(0 in r.value.shape for r in group.stores):
        return None
    try:
        form = form_of(group, name_of(group), strides)
    except fuse.Misaligned:
        raise NotAsAlone(group) from None
    if form.halves is not None:
        for array in form.halves[0].arrays.values():
            if array.role == "out":
                operands[array.name] = context.temporary(array.shape, array.dtype)
    return Built(group, form, operands)


def operands_of(context: Context, group: Group) -> tuple[dict[str, Operand], dict[str, tuple]]:
    """The operands of a group's kernel by name, and their strides."""
    # What is stored is there itself, also where its equation is a view of something else.
    operands = {f"y{i}": context.own(root.value) for i, root in enumerate(group.stores)}
    operands |= {f"x{i}": context.operand(v) for i, v in enumerate(group.reads)}
    return operands, {name: operand.strides for name, operand in operands.items()}


def _lower_groups(context: Context, groups: Sequence[Group]) -> None:
    """Groups that follow each other."""
    waiting: Built | None = None
    for group in groups:
        built = _build(context, group)
        if built is None:
            continue
        if waiting is not None:
            if _together(context, waiting, built) or _together(context, built, waiting):
                waiting = None
                continue
            _lower_built(context, waiting)
        waiting = built
    if waiting is not None:
        _lower_built(context, waiting)


def _lower_built(context: Context, built: Built) -> None:
    group, operands, form = built.group, built.operands, built.form
    if form.halves is None:
        _emit(context, form.whole(), operands, [group], form.work)
        return
    first, second = form.parts()
    _emit(context, first, operands, [group], form.work)
    _emit(context, second, operands, [group], 0)


def _together(context: Context, rows: Built, folds: Built) -> bool:
    """Emit both groups as one kernel and the join of its folds of columns, if that is possible."""
    halves = folds.form.halves
    if rows.form.vector != "inner" or rows.form.halves is not None:
        return False
    if folds.form.vector != "grid" or halves is None:
        return False
    made = {id(r.value) for r in (*rows.group.stores, *folds.group.stores)}
    if any(
        id(x.value) in made for b in (rows, folds) for n, x in b.operands.items() if n[0] == "x"
    ):
        return False
    same = columns.shared(rows.operands, folds.operands)
    joined = columns.along(rows.form.nest, halves[0], same, len(rows.group.numbers))
    if joined is None:
        return False
    keep(joined)
    operands = {**{f"c{n}": x for n, x in folds.operands.items()}, **rows.operands}
    groups = [rows.group, folds.group]
    _emit(context, nest.finish(joined, "inner"), operands, groups, rows.form.work)
    _emit(context, folds.form.parts()[1], folds.operands, [folds.group], 0)
    return True


def _emit(
    context: Context,
    call: nest.Call,
    operands: dict[str, Operand],
    groups: Sequence[Group],
    work: int,
) -> None:
    numbers = [v for group in groups for v in group.numbers]
    step = nest_step(call.kernel, call.words, operands, numbers, work)
    step.equations = [e for group in groups for e in group.equations()]
    if len(groups) == 1:
        context.groups[len(context.steps)] = groups[0]
    context.steps.append(step)


def name_of(group: Group) -> str:
    names = [r.equation.op.name for r in group.folds if r.equation is not None]
    names += [r.value.equation.op.name for r in group.stores if r.value.equation is not None]
    return "_".join(dict.fromkeys(names or ["copy"]))[:60]


def _lower_opaque(context: Context, equation: Equation, op: type[Opaque]) -> None:
    inputs = [v if v.weak else context.operand(v) for v in equation.inputs]
    outputs = [context.own(v) for v in equation.outputs]
    steps = op.lower(context, inputs, equation.params, outputs)
    for step in steps or ():
        step.equations = (equation,)
        context.steps.append(step)


def lives_of(context: Context) -> tuple[list[Value], list[tuple[int, int, int]]]:
    """The values in between, and for each its bytes and the first and the last step that it is an
    operand of."""
    outside = {id(v) for v in context.graph.inputs} | context.outputs
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    values: dict[int, Value] = {}
    for i, step in enumerate(context.steps):
        for operand in step.operands:
            key = id(operand.value)
            if key not in outside:
                first.setdefault(key, i)
                last[key] = i
                values[key] = operand.value
    keys = list(values)
    lives = [(nbytes(values[k]), first[k], last[k]) for k in keys]
    return list(values.values()), lives


def nbytes(value: Value | Operand) -> int:
    """With the gaps that its strides leave."""
    strides = value.strides or contiguous_strides(value.shape)
    if 0 in value.shape:
        return 0
    last = sum((n - 1) * s for n, s in zip(value.shape, strides, strict=True))
    return (last + 1) * value.dtype.itemsize


def count_kernels(graph: Graph) -> list[str]:
    """The names of the kernels that a graph becomes; nothing is compiled or run."""
    return [step.name for step in lower(graph).steps]
