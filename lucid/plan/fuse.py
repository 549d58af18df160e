"""Fusion: which equations of a graph become one kernel.

lower.py calls `partition` with a graph; each `Group` it returns becomes one loop nest (nest.py).
Pointwise equations and views are inlined into whoever reads them; a reduction opens a group, and
whatever reads its result row by row joins it, so that softmax or layer_norm is one group.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from lucid.dtypes import FLOATING, float64
from lucid.graph import Equation, Graph, Value
from lucid.kernel import expr
from lucid.kernel.expr import MATH, Expr
from lucid.kernel.loops import folded
from lucid.layout import contiguous_strides
from lucid.op import Elementwise, Opaque, Pointwise, Reduction, View, find


class Misaligned(Exception):
    """A group's own reduction is read at other rows: it must be in memory first."""


@dataclass(eq=False, repr=False)
class Root:
    """Something a group computes: a reduction's states or a value to store."""

    value: Value
    equation: Equation | None = None  # the reduction, or None for a store
    level: str = "full"  # where a store happens: "full" or "row"
    index: tuple[Expr, ...] = ()
    exprs: tuple[Expr, ...] = ()


@dataclass(eq=False, repr=False)
class Group:
    """One kernel to be: a domain, the folded dimensions, and its roots in order."""

    number: int
    domain: tuple[int, ...]
    dims: tuple[int, ...]  # the folded ones
    static: bool  # whether the folded extents belong in the text (pooling windows)
    folds: list[Root] = field(default_factory=list)
    stores: list[Root] = field(default_factory=list)
    reads: list[Value] = field(default_factory=list)  # buffers loaded, in order of appearance
    numbers: list[Value] = field(default_factory=list)  # scalars, in order of appearance
    loads: list[tuple[Value, tuple[Expr, ...]]] = field(default_factory=list)
    computed: dict[int, Equation] = field(default_factory=dict)  # the equations inlined here
    fold: tuple | None = None  # in a program: how its folds are built
    closed: int = 0  # the only call whose equations may join, if any
    touched: set[int] = field(default_factory=set)  # ids of the values that it has asked for
    # Of the attempt to put one more thing in: how many there were, how many buffers were read
    # before, and how often it asked for what the group has already.
    attempts: int = 0
    known: int = 0
    shared: int = 0
    memo: dict = field(default_factory=dict)
    axes: tuple[Expr, ...] = ()

    def __post_init__(self) -> None:
        self.axes = tuple(expr.index(f"i{d}") for d in range(len(self.domain)))

    def equations(self) -> list[Equation]:
        """What it computes."""
        folds = [r.equation for r in self.folds if r.equation is not None]
        return [*self.computed.values(), *folds]

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(d for d in range(len(self.domain)) if d not in self.dims)


Item = Group | Equation  # an Equation here is opaque


class Partition:
    """The groups of a graph and the values that must be in memory."""

    def __init__(self, graph: Graph, program: "Program | None" = None):
        self.graph = graph
        self.program = program
        self.items: list[Item] = []
        self.made: dict[int, int] = {id(v): -1 for v in graph.inputs}  # value -> item number
        self.fold_group: dict[int, Group] = {}  # reduction output -> its group
        self.fold_number: dict[int, int] = {}
        self.wanted = {id(v) for v in graph.outputs}
        for equation in graph.equations:
            if issubclass(equation.op, Opaque):
                self.wanted.update(id(viewed(v)[0]) for v in equation.inputs if not is_number(v))
        if program is not None:
            self.wanted |= program.stored
        for equation in graph.equations:
            self._place(equation)

    def _place(self, equation: Equation) -> None:
        if issubclass(equation.op, Opaque):
            for v in equation.outputs:
                self.made[id(v)] = len(self.items)
            self.items.append(equation)
            return
        if issubclass(equation.op, Reduction):
            self._fold(equation, equation.op)
        for v in equation.outputs:
            if id(v) in self.wanted and id(v) not in self.made:
                self.materialise(v)

    def _fold(self, equation: Equation, op: type[Reduction]) -> None:
        types = types_of(equation)
        domain, dims = op.domain(types, equation.params)
        static = getattr(op, "static_window", False)

        def attempt(group: Group) -> None:
            loads = self._loads(equation, group)
            values = op.element(types, equation.params, group.axes, loads)
            root = Root(equation.outputs[0], equation, exprs=tuple(values))
            number = len(group.folds)
            group.folds.append(root)
            for v in equation.outputs:
                self.fold_group[id(v)] = group
                self.fold_number[id(v)] = number

        for group in self._candidates(equation.outputs[0], equation.inputs):
            if group.domain == domain and group.dims == dims and group.static == static:
                if group.fold == equation.fold and self._try(group, attempt):
                    return
        group = self._new(domain, dims, static, equation.inputs, attempt, equation.fold)
        if self.program is not None and id(equation) in self.program.alone:
            group.closed = equation.unit

    def materialise(self, value: Value) -> None:
        """Give the value a place in memory: a store in some group."""
        if id(value) in self.made or value.number is not None:
            return
        group = self.fold_group.get(id(value))
        if group is not None:
            # A reduction's result is stored by its own group, at row level.
            self._store(group, value, "row")
            return

        equation = value.equation
        assert equation is not None
        for group in self._candidates(value, equation.inputs):
            level = store_level(group, value.shape)
            if level is not None and self._try(
                group, lambda g, lv=level: self._store(g, value, lv)
            ):
                return
        self._new(value.shape, (), False, equation.inputs, lambda g: self._store(g, value, "full"))

    def _store(self, group: Group, value: Value, level: str) -> None:
        index = store_index(group, value.shape, level)
        element = self._pull(value, index, group)
        group.stores.append(Root(value, None, level, index, (element,)))
        self.made[id(value)] = group.number

    def _candidates(self, value: Value, inputs: Sequence[Value]) -> list[Group]:
        """Groups that run late enough to have all that the value reads, the latest first."""
        earliest, needed = self._ready(inputs)
        found = [g for g in self.items[max(earliest, 0) :] if isinstance(g, Group)]
        if self.program is not None:
            unit = value.equation.unit if value.equation is not None else 0
            found = [g for g in found if g.closed in (0, unit) and not needed.isdisjoint(g.touched)]
        return found[::-1]

    def _ready(self, inputs: Sequence[Value]) -> tuple[int, set[int]]:
        """The first item that may compute something from these inputs, and the ids of the values
        that it would ask for."""
        latest, seen, stack = 0, set(), list(inputs)
        while stack:
            v = stack.pop()
            if id(v) in seen or is_number(v):
                continue
            seen.add(id(v))
            if id(v) in self.made:
                # What a group stores can be computed again inside that group.
                opaque = v.equation is not None and issubclass(v.equation.op, Opaque)
                latest = max(latest, self.made[id(v)] + opaque)
            elif id(v) in self.fold_group:
                latest = max(latest, self.fold_group[id(v)].number)
            elif v.equation is not None:
                stack.extend(v.equation.inputs)
        return latest, seen

    def _try(self, group: Group, attempt) -> bool:
        lists: list[list] = [group.folds, group.stores, group.reads, group.numbers, group.loads]
        saved = [len(items) for items in lists]
        made, folds = dict(self.made), dict(self.fold_group)
        group.shared, group.known = 0, len(group.reads)
        group.attempts += 1
        try:
            attempt(group)
            if self.program is not None and not group.shared:
                raise Misaligned
            return True
        except Misaligned:
            for items, n in zip(lists, saved, strict=True):
                del items[n:]
            group.memo.clear()
            self.made, self.fold_group = made, folds
            return False

    def _new(
        self, domain, dims, static, inputs: Sequence[Value], attempt, fold: tuple | None = None
    ) -> Group:
        for v in self._pending_folds(inputs):
            self.materialise(v)
        group = Group(len(self.items), tuple(domain), tuple(dims), static, fold=fold)
        self.items.append(group)
        attempt(group)
        return group

    def _pending_folds(self, inputs: Sequence[Value]) -> list[Value]:
        """Reductions that the inputs read through inlined equations and that are not in memory."""
        found, seen, stack = [], set(), list(inputs)
        while stack:
            v = stack.pop()
            if id(v) in seen or id(v) in self.made or is_number(v):
                continue
            seen.add(id(v))
            if id(v) in self.fold_group:
                found.append(v)
            elif v.equation is not None:
                stack.extend(v.equation.inputs)
        return found

    def _loads(self, equation: Equation, group: Group) -> list:
        return [
            lambda subscripts, v=v: self._pull(v, tuple(subscripts), group) for v in equation.inputs
        ]

    def _pull(self, value: Value, index: tuple[Expr, ...], group: Group) -> Expr:
        """The value's element at `index`, as an expression over the group's axes."""
        key = (id(value), tuple(id(i) for i in index))
        found = group.memo.get(key)
        if found is None:
            # The indices are kept with the entry: their ids must stay theirs.
            made = _with_checks(self._pull_new(value, index, group), index)
            group.touched.add(id(value))
            found = group.memo[key] = (made, index, group.attempts)
        elif found[2] < group.attempts and not value.weak:
            group.shared += 1
        return found[0]

    def _load(self, value: Value, index: tuple[Expr, ...], group: Group) -> Expr:
        """An element of what is in memory."""
        place = position(group.reads, value)
        group.shared += place < group.known
        group.loads.append((value, index))
        return compute(expr.load(f"x{place}", index, value.dtype))

    def _pull_new(self, value: Value, index: tuple[Expr, ...], group: Group) -> Expr:
        if value.weak and value.equation is None:
            number = position(group.numbers, value)
            # A Python float keeps its 53 bits until the op casts it to its own type.
            kind = float64 if value.dtype.category == FLOATING else value.dtype
            return expr.scalar(f"s{number}", kind)
        own = self.fold_group.get(id(value))
        if own is group:
            group.shared += 1
            return self._read_fold(value, index, group)
        made = self.made.get(id(value))
        if made is not None and made < group.number:
            return self._load(value, index, group)
        if own is not None:
            if own.number >= group.number:
                raise Misaligned
            self.materialise(value)
            return self._load(value, index, group)
        equation = value.equation
        assert equation is not None
        group.computed[id(equation)] = equation
        if issubclass(equation.op, View):
            base = viewed(value)[0]
            if base is not value and self.made.get(id(base), group.number) < group.number:
                # The base is in memory: read it through the view's own strides.
                return self._load(value, index, group)
            source = equation.inputs[0]
            static = equation.op.static(equation.params)
            return self._pull(source, tuple(equation.op.pull(source.shape, index, **static)), group)
        if not issubclass(equation.op, Pointwise):
            raise Misaligned
        types = types_of(equation)
        made_all = equation.op.elements(types, equation.params, index, self._loads(equation, group))
        return compute(made_all[value.place])

    def _read_fold(self, value: Value, index: tuple[Expr, ...], group: Group) -> Expr:
        subscripts = index
        if len(index) == len(group.domain):
            subscripts = tuple(index[d] for d in group.kept)
        for d, sub in zip(group.kept, subscripts, strict=True):
            if sub is not group.axes[d] and group.domain[d] != 1:
                raise Misaligned
        equation = value.equation
        assert equation is not None and issubclass(equation.op, Reduction)
        number = self.fold_number[id(value)]
        types = types_of(equation)
        monoid = equation.op.monoid(types, equation.params)
        states = [folded(number, i, kind) for i, kind in enumerate(monoid.dtypes)]
        results = equation.op.finish(types, equation.params, states)
        # Bits must not depend on fusion: the value passes through its own type.
        return compute(expr.cast(results[value.place], value.dtype))


def compute(x: Expr) -> Expr:
    """The expression in its type's arithmetic type (bfloat16 computes in float32)."""
    return expr.cast(x, x.dtype.compute)


def _with_checks(made: Expr, index: Sequence[Expr]) -> Expr:
    """The element, with the checks of its place: what is the same at every place, as a number
    that was spread out is, has dropped them."""
    places = [i for i in index if i.op not in ("index", "const")]
    checks = [x for x in expr.postorder(places) if x.op == "checked"]
    inside = {id(x) for x in expr.postorder([made])} if checks else set()
    for check in checks:
        if id(check) not in inside:
            _, condition, bad = check.args
            made = expr.checked(made, condition, check.attr, bad)  # type: ignore[arg-type]
    return made


def position(items: list[Value], value: Value) -> int:
    for i, v in enumerate(items):
        if v is value:
            return i
    items.append(value)
    return len(items) - 1


def is_number(v: Value) -> bool:
    return v.weak


def types_of(equation: Equation) -> list[tuple]:
    return [(v.shape, v.dtype, v.weak) for v in equation.inputs]


def viewed(
    value: Value,
    strides_of: Callable[[Value], tuple[int, ...]] | None = None,
    stop: AbstractSet[int] = frozenset(),
) -> tuple[Value, tuple[int, ...], int]:
    """What a value is a view of, with its strides and offset there; itself where it takes a copy.

    `strides_of` gives the strides of values in memory; without it, inputs have their own and
    everything else is row-major. Views of what is in `stop`, by id, end there.
    """
    equation = value.equation
    if equation is not None and issubclass(equation.op, View) and id(value) not in stop:
        source = equation.inputs[0]
        base, strides, offset = viewed(source, strides_of, stop)
        static = equation.op.static(equation.params)
        found = equation.op.strides(source.shape, strides, offset, **static)
        if found is not None:
            return base, found[0], found[1]
    if strides_of is not None:
        return value, strides_of(value), 0
    return value, value.strides or contiguous_strides(value.shape), 0


def store_level(group: Group, shape: tuple[int, ...]) -> str | None:
    """Where in the group a value of this shape can be stored, if anywhere."""
    if shape == group.domain:
        return "full"
    if not group.dims:
        return None
    if shape == tuple(group.domain[d] for d in group.kept):
        return "row"
    kept = tuple(1 if d in group.dims else n for d, n in enumerate(group.domain))
    return "row" if shape == kept else None


def store_index(group: Group, shape: tuple[int, ...], level: str) -> tuple[Expr, ...]:
    if level == "full":
        return group.axes
    if len(shape) == len(group.domain):
        return tuple(expr.ZERO if d in group.dims else a for d, a in enumerate(group.axes))
    return tuple(group.axes[d] for d in group.kept)


def worth_storing(graph: Graph) -> set[int]:
    """Tensors of a program that several others read, and that are dearer to compute again than to
    read."""
    users: dict[int, int] = {}
    for equation in graph.equations:
        for v in {id(v): v for v in equation.inputs}.values():
            base = v
            while base.equation is not None and issubclass(base.equation.op, View):
                base = base.equation.inputs[0]
            users[id(base)] = users.get(id(base), 0) + 1
    found = set()
    for equation in graph.equations:
        if issubclass(equation.op, Pointwise) and users.get(id(equation.outputs[0]), 0) > 1:
            for v in equation.outputs:
                if v.whole and not is_cheap(equation):
                    found.add(id(v))
    return found


def is_cheap(equation: Equation) -> bool:
    """Whether an element is as quickly computed as read: arithmetic of one input in memory."""
    if not issubclass(equation.op, Elementwise):
        return False
    shape = equation.outputs[0].shape
    wide = [v for v in equation.inputs if v.shape == shape and not v.weak]
    return len(wide) <= 1 and not is_transcendental(equation)


def is_transcendental(equation: Equation) -> bool:
    """Whether an element takes a function of the vector math."""
    op: Any = equation.op
    index = [expr.index(f"i{d}") for d in range(len(equation.outputs[0].shape))]
    loads = [
        lambda at, i=i, v=v: compute(expr.load(f"x{i}", tuple(at), v.dtype))
        for i, v in enumerate(equation.inputs)
    ]
    made = op.elements(types_of(equation), equation.params, index, loads)
    return any(node.op in MATH for node in expr.postorder(made))


class Program:
    """What the fusion of a whole program keeps to: only what shares something is put into one
    kernel; `stored` values have a place in memory, and no other call joins the folds `alone`."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.stored = worth_storing(graph)
        self.alone: set[int] = set()

    def loosen(self, group: Group) -> None:
        """The group's folds cannot be built as its own call alone would: take it apart."""
        more = {
            id(v)
            for e in group.computed.values()
            for v in e.outputs
            if v.whole and issubclass(e.op, Pointwise)
        }
        folds = {id(r.equation) for r in group.folds}
        if more <= self.stored and folds <= self.alone:
            more = self._copies(group)
            if not more:
                what = f"a fold of {group.domain} cannot be built as {group.fold}"
                raise RuntimeError(f"plan: {what}")
        self.stored |= more
        self.alone |= folds

    def _copies(self, group: Group) -> set[int]:
        """Copies of the views that the folds, and what is computed for them, read: their strides
        stood in the way."""
        made = set()
        readers = [r.equation for r in group.folds if r.equation is not None]
        readers += [e for e in group.computed.values() if not issubclass(e.op, View)]
        for equation in readers:
            at = next(i for i, e in enumerate(self.graph.equations) if e is equation)
            for v in [v for v in equation.inputs if v.equation and issubclass(v.equation.op, View)]:
                copy = Equation(find("clone"), (v,), (), line=equation.line, unit=equation.unit)
                value = Value(v.shape, v.dtype, equation=copy, whole=True)
                copy.outputs = (value,)
                self.graph.equations.insert(at, copy)
                equation.inputs = tuple([value if x is v else x for x in equation.inputs])
                made.add(id(value))
        return made


def partition(graph: Graph, program: Program | None = None) -> Partition:
    return Partition(graph, program)
