"""From a group of equations to a loop nest: stages, axes merged and ordered, sizes to words.

lower.py calls `build` with a group of fuse.py and the places of its buffers; the kernel's text
depends on the structure only, never on a size, so that another batch size compiles nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lucid.dtypes import dtype, int64
from lucid.graph import Value
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.kernel.loops import LANES, Axis, Buffer, Fold, Kernel, Map, Monoid, Scan, Stage, Store
from lucid.op import Reduction
from lucid.plan.fuse import Group, Misaligned, Root, types_of
from lucid.plan.steps import Operand, Step, nest_step

APART = 12  # what 16 elements that lie apart cost more than those side by side
SHORT = 16  # a folded axis shorter than this is not worth lanes of its own


@dataclass(eq=False, repr=False)
class Array:
    """A buffer of a nest, with its numbers: shape and strides in elements."""

    name: str
    dtype: dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    role: str


@dataclass(eq=False, repr=False)
class Nest:
    """A kernel before its sizes become words."""

    name: str
    arrays: dict[str, Array]
    extents: dict[str, int]  # axis -> size
    grid: list[str]
    inner: list[str]
    stages: list[Stage]
    scalars: list[str]
    static: bool = False
    block: tuple[str, int] | None = None  # an inner axis cut into blocks: partial folds
    ordered: int = 0  # see loops.Kernel


@dataclass(eq=False, repr=False)
class Call:
    """A kernel with the values of its words; buffers and scalars are bound by lower.py."""

    kernel: Kernel
    words: list[int]
    arrays: list[str] = field(default_factory=list)  # buffer order


def stages_of(group: Group) -> list[Stage]:
    """The group's folds, those that do not need each other in one pass, then its stores."""
    inner = tuple(Axis(f"i{d}", expr.ZERO) for d in group.dims)
    level: list[int] = []
    for root in group.folds:
        needs = [level[n.attr[0]] for n in expr.postorder(root.exprs) if n.op == "folded"]
        level.append(1 + max(needs, default=-1))
    stages: list[Fold] = []
    places: dict[tuple[int, int], tuple[int, int]] = {}
    for depth in range(max(level, default=-1) + 1):
        members = [i for i, at in enumerate(level) if at == depth]
        monoids: list[Monoid] = []
        values: list[Expr] = []
        for i in members:
            monoid = monoid_of(group.folds[i])
            for component in range(len(monoid.dtypes)):
                places[i, component] = (depth, len(values) + component)
            monoids.append(monoid)
            values.extend(group.folds[i].exprs)
        joined = monoids[0] if len(monoids) == 1 else product(monoids)
        stages.append(Fold(depth, inner, joined, tuple(values)))

    def renumber(node: Expr) -> Expr | None:
        if node.op == "folded":
            return Expr("folded", (), node.dtype, places[node.attr])
        return None

    # One rewriting for all, so that what two stages share stays one node (see keep.py).
    roots = [v for s in stages for v in s.values] + [r.exprs[0] for r in group.stores]
    renumbered = iter(expr.rewrite(roots, renumber))
    stages = [replace(s, values=tuple(next(renumbered) for _ in s.values)) for s in stages]
    full: list[Store] = []
    row: list[Store] = []
    for i, root in enumerate(group.stores):
        store = Store(f"y{i}", root.index, expr.cast(next(renumbered), root.value.dtype))
        (full if root.level == "full" else row).append(store)
    maps = [Map((), tuple(row))] if row else []
    maps += [Map(inner, tuple(full))] if full else []
    return [*stages, *maps]


def monoid_of(root: Root) -> Monoid:
    assert root.equation is not None and issubclass(root.equation.op, Reduction)
    return root.equation.op.monoid(types_of(root.equation), root.equation.params)


def product(monoids: Sequence[Monoid]) -> Monoid:
    """Several folds in one pass."""

    def combine(a: Sequence[Expr], b: Sequence[Expr]) -> tuple[Expr, ...]:
        out: list[Expr] = []
        at = 0
        for m in monoids:
            n = len(m.dtypes)
            out.extend(m.combine(a[at : at + n], b[at : at + n]))
            at += n
        return tuple(out)

    return Monoid(
        "+".join(m.name for m in monoids),
        tuple(k for m in monoids for k in m.dtypes),
        tuple(v for m in monoids for v in m.neutral),
        combine,
    )


def nest_of(group: Group, name: str, strides: dict[str, tuple[int, ...]]) -> Nest:
    """The group as a nest. `strides` gives the strides of each buffer."""
    stages = stages_of(group)
    arrays: dict[str, Array] = {}
    for i, root in enumerate(group.stores):
        v = root.value
        arrays[f"y{i}"] = Array(f"y{i}", v.dtype, v.shape, strides[f"y{i}"], "out")
    for i, v in enumerate(group.reads):
        arrays[f"x{i}"] = Array(f"x{i}", v.dtype, v.shape, strides[f"x{i}"], "in")
    return Nest(
        name,
        arrays,
        {f"i{d}": n for d, n in enumerate(group.domain)},
        [f"i{d}" for d in group.kept],
        [f"i{d}" for d in group.dims],
        stages,
        [f"s{i}" for i in range(len(group.numbers))],
        group.static,
    )


# Every use of a buffer: (array name, subscripts). Loads and stores alike.
Use = tuple[str, tuple[Expr, ...]]


def expressions(stages: Sequence[Stage]) -> list[Expr]:
    """All expressions of the stages, stores' subscripts included."""
    found: list[Expr] = []
    for s in stages:
        if isinstance(s, Fold):
            found.extend(s.values)
            continue
        if isinstance(s, Scan):
            found.extend((*s.initial, *s.update))
        for store in s.stores:
            found.extend((*store.subscripts, store.value))
            if store.mask is not None:
                found.append(store.mask)
    return found


def rebuild(stages: Sequence[Stage], rule, store_rule) -> list[Stage]:
    """The stages with every expression rewritten by `rule` and every store by `store_rule`."""
    roots = expressions(stages)
    new = iter(expr.rewrite(roots, rule))
    result: list[Stage] = []
    for s in stages:
        if isinstance(s, Fold):
            result.append(replace(s, values=tuple(next(new) for _ in s.values)))
            continue
        changed: dict = {}
        if isinstance(s, Scan):
            changed["initial"] = tuple(next(new) for _ in s.initial)
            changed["update"] = tuple(next(new) for _ in s.update)
        stores = []
        for store in s.stores:
            subscripts = tuple(next(new) for _ in store.subscripts)
            value = next(new)
            mask = next(new) if store.mask is not None else None
            stores.append(store_rule(Store(store.buffer, subscripts, value, mask)))
        result.append(replace(s, stores=tuple(stores), **changed))
    return result


def uses(stages: Sequence[Stage]) -> list[Use]:
    found: list[Use] = []
    for node in expr.postorder(expressions(stages)):
        if node.op == "load":
            found.append((node.attr, node.args))
    for s in stages:
        if not isinstance(s, Fold):
            found.extend((store.buffer, store.subscripts) for store in s.stores)
    return found


def simplify(nest: Nest, apart: frozenset[str] = frozenset()) -> None:
    """Drop axes of size 1 and buffer dimensions that do not move; merge axes that run together,
    except those `apart` with what follows them."""
    ones = {a for a, n in nest.extents.items() if n == 1}
    if ones:
        nest.stages = rebuild(
            nest.stages,
            lambda node: expr.ZERO if node.op == "index" and node.attr in ones else None,
            lambda store: store,
        )
    nest.grid = [a for a in nest.grid if a not in ones]
    nest.inner = [a for a in nest.inner if a not in ones]
    if not nest.inner:
        _write_out_steps(nest)
    _drop_still_dimensions(nest)
    _merge(nest, apart)


def _write_out_steps(nest: Nest) -> None:
    """A scan of one step carries no state: what it starts from and comes to, as expressions."""
    known: dict[tuple, Expr] = {}
    rule = lambda x: known.get((x.op, x.attr))  # noqa: E731
    for s in [s for s in nest.stages if isinstance(s, Scan)]:
        known.update({("state", (s.number, i)): x for i, x in enumerate(s.initial)})
        for i, x in enumerate(expr.rewrite(s.update, rule)):
            known["next", (s.number, i)] = known["folded", (s.number, i)] = x
    stages = [Map((), s.stores) if isinstance(s, Scan) else s for s in nest.stages]
    nest.stages = rebuild(stages, rule, lambda store: store)


def _drop_still_dimensions(nest: Nest) -> None:
    if any(0 in array.strides for array in nest.arrays.values()):
        _keep_checks(nest)
    moving: dict[str, set[int]] = {name: set() for name in nest.arrays}
    for name, subscripts in uses(nest.stages):
        for d, sub in enumerate(subscripts):
            if not is_zero(sub) and nest.arrays[name].strides[d] != 0:
                moving[name].add(d)
    _keep_dimensions(nest, {name: sorted(dims) for name, dims in moving.items()})


def _keep_checks(nest: Nest) -> None:
    """A place that may be out of range is an error also in a dimension that does not move: there
    the check goes over to what is loaded."""

    def rule(node: Expr) -> Expr | None:
        if node.op != "load":
            return None
        strides = nest.arrays[node.attr].strides
        still = [sub for sub, s in zip(node.args, strides, strict=True) if s == 0]
        checks = [x for x in expr.postorder(still) if x.op == "checked"]
        if not checks:
            return None
        places = [expr.ZERO if s == 0 else x for x, s in zip(node.args, strides, strict=True)]
        made = expr.load(node.attr, tuple(places), node.dtype)
        for check in checks:
            made = expr.checked(made, check.args[1], check.attr, check.args[2])
        return made

    nest.stages = rebuild(nest.stages, rule, lambda store: store)


def _keep_dimensions(nest: Nest, keep: dict[str, list[int]]) -> None:
    def pick(name: str, items: Sequence) -> tuple:
        return tuple(items[d] for d in keep[name])

    def rule(node: Expr) -> Expr | None:
        if node.op == "load":
            return expr.load(node.attr, pick(node.attr, node.args), node.dtype)
        return None

    def store_rule(store: Store) -> Store:
        return replace(store, subscripts=pick(store.buffer, store.subscripts))

    nest.stages = rebuild(nest.stages, rule, store_rule)
    for name, array in nest.arrays.items():
        array.shape = pick(name, array.shape)
        array.strides = pick(name, array.strides)


def is_zero(x: Expr) -> bool:
    return x.op == "const" and x.attr == 0


def _merge(nest: Nest, apart: frozenset[str]) -> None:
    """Two neighbouring axes become one where every buffer steps through both as through one."""
    roots = expressions(nest.stages)
    nodes = list(expr.postorder(roots))
    inside: set[str] = set()  # axes used other than as a whole subscript
    used = uses(nest.stages)
    for node in nodes:
        if node.op not in ("load", "index"):
            inside.update(a.attr for a in node.args if a.op == "index")
    for s in nest.stages:
        values: list[Expr] = list(s.values) if isinstance(s, Fold) else []
        if isinstance(s, Scan):
            values.extend((*s.initial, *s.update))
        if not isinstance(s, Fold):
            values.extend(store.value for store in s.stores)
            values.extend(store.mask for store in s.stores if store.mask is not None)
        inside.update(v.attr for v in values if v.op == "index")

    def together(outer: str, last: str) -> bool:
        if outer in inside or last in inside:
            return False
        places: dict[str, tuple] = {}  # by array: dimensions are dropped for all of its uses
        for name, subscripts in used:
            strides = nest.arrays[name].strides
            a = [d for d, s in enumerate(subscripts) if s.op == "index" and s.attr == outer]
            b = [d for d, s in enumerate(subscripts) if s.op == "index" and s.attr == last]
            if places.setdefault(name, (a, b)) != (a, b):
                return False
            if not a and not b:
                continue
            if len(a) != 1 or len(b) != 1:
                return False
            if strides[a[0]] != strides[b[0]] * nest.extents[last]:
                return False
        return True

    # Merging goes pairwise from the right; a merged run keeps the name of its last axis.
    gone: set[str] = set()
    for axes in (nest.grid, nest.inner):
        for place in range(len(axes) - 2, -1, -1):
            outer, last = axes[place], axes[place + 1]
            if outer not in apart and together(outer, last):
                nest.extents[last] *= nest.extents[outer]
                gone.add(outer)
                axes[place] = last
                del axes[place + 1]
    if gone:
        keep = {name: list(range(len(a.strides))) for name, a in nest.arrays.items()}
        for name, subscripts in used:
            keep[name] = [
                d
                for d in keep[name]
                if not (subscripts[d].op == "index" and subscripts[d].attr in gone)
            ]
        _keep_dimensions(nest, keep)


def order(nest: Nest, lanes: bool | None = None) -> str:
    """Order the grid so that its last axis is the contiguous one; say where the lanes lie: along
    the folded axes or not, as `lanes` says, or where they do best."""

    def stride(axis: str, found: list[Use]) -> list[int]:
        return [
            sum(
                nest.arrays[name].strides[d]
                for d, s in enumerate(subs)
                if s.op == "index" and s.attr == axis
            )
            for name, subs in found
        ]

    found = uses(nest.stages)
    stores = [u for u in found if nest.arrays[u[0]].role != "in"]

    def dense_stores(axis: str) -> int:
        return sum(s == 1 for s in stride(axis, stores))

    if not nest.inner and len(nest.grid) > 1:
        nest.grid.sort(key=lambda a: [-abs(s) for s in stride(a, stores)])
        # What is read along another axis comes next to the lanes: backends transpose it in tiles.
        loads = [u for u in found if nest.arrays[u[0]].role == "in"]
        lanes_of = stride(nest.grid[-1], loads)
        for axis in nest.grid[:-2]:
            if any(s == 1 and t > 1 for s, t in zip(stride(axis, loads), lanes_of, strict=True)):
                nest.grid.remove(axis)
                nest.grid.insert(-1, axis)
                break

        def lane_cost(axis: str) -> float:
            apart = sum(s not in (0, 1) for s in stride(axis, found))
            return (len(found) + APART * apart) / min(max(nest.extents[axis], 1), LANES)

        if nest.extents[nest.grid[-1]] * 2 <= SHORT:  # most lanes would do nothing
            best = min(nest.grid, key=lane_cost)
            if lane_cost(best) * 2 < lane_cost(nest.grid[-1]):
                nest.grid.remove(best)
                nest.grid.append(best)
    if nest.inner:
        if len(nest.inner) > 1 and not nest.static:
            loads = [u for u in found if nest.arrays[u[0]].role == "in"]
            nest.inner.sort(key=lambda a: -max((abs(s) for s in stride(a, loads)), default=0))
        last = nest.inner[-1]
        # The large buffers decide: those that move along the fold and along the grid.
        found = [u for u in found if moves(u, nest.inner) and moves(u, nest.grid)] or found
        along = [s for s in stride(last, found) if s != 0]
        dense = sum(1 for s in along if s == 1)
        # Lanes along a fold over rows at places that are read would be elements of many rows.
        apart = [u for u in found if looked_up(u, last)]
        short = nest.extents[last] < SHORT
        if not nest.grid:
            return "none" if lanes is False else "inner"
        rows = [a for a in nest.grid if nest.extents[a] >= SHORT and 1 in stride(a, apart)]
        if lanes is None and not rows and not short and dense * 2 >= max(len(along), 1):
            return "inner"
        # Lanes along the grid: put its most contiguous axis last.
        best = min(
            rows or nest.grid,
            key=lambda a: (*grid_cost(stride(a, found), nest.extents[a]), -dense_stores(a)),
        )
        cost = grid_cost(stride(best, found), nest.extents[best])
        if lanes is None:
            lanes = not (rows or short or cost < grid_cost(along, nest.extents[last]))
        if not lanes:
            nest.grid.remove(best)
            nest.grid.append(best)
            return "grid"
        return "inner"
    return "grid" if nest.grid else "none"


def moves(use: Use, axes: Sequence[str]) -> bool:
    """Whether a use's place depends on one of the axes."""
    return any(n.op == "index" and n.attr in axes for n in expr.postorder(use[1]))


def looked_up(use: Use, axis: str) -> bool:
    """Whether a subscript is made of what is read at places along the axis."""
    nodes = expr.postorder([n for s in use[1] for n in expr.postorder([s]) if n.op == "load"])
    return any(n.op == "index" and n.attr == axis for n in nodes)


def grid_cost(strides: Sequence[int], extent: int) -> tuple[float, int]:
    """Smaller is better: the share of uses that are neither contiguous nor still."""
    bad = sum(1 for s in strides if s not in (0, 1))
    return (bad / max(len(strides), 1) + (extent < SHORT), -extent)


def finish(nest: Nest, vector: str) -> Call:
    """Sizes and strides to words, in the order of their appearance."""
    words: list[str] = []
    numbers: list[int] = []

    def word(value: int, exact: bool = False) -> Expr:
        if value in (0, 1) or exact:
            return expr.const(value, int64)
        words.append(f"w{len(words)}")
        numbers.append(value)
        return expr.word(words[-1])

    extents: dict[str, Expr] = {}
    for axis in nest.grid:
        extents[axis] = word(nest.extents[axis])
    for axis in nest.inner:
        extents[axis] = word(nest.extents[axis], nest.static)
    bound = nest.extents
    if nest.block is not None:
        # The blocked axis: index = block * size + position, the last block may be short.
        axis, size = nest.block
        whole = word(bound[axis])
        start = expr.index("block") * size
        left = whole - start
        extents[axis] = expr.where(left < size, left, expr.const(size, int64))
    sizes: dict[int, Expr] = {}

    def rule(node: Expr) -> Expr | None:
        if node.op == "size":
            n = int(node.attr)
            if n not in sizes:
                sizes[n] = word(n)
            return sizes[n]
        if nest.block is not None and node.op == "index" and node.attr == nest.block[0]:
            return expr.index("block") * nest.block[1] + node
        return None

    stages = rebuild(nest.stages, rule, lambda store: store)
    axes = tuple(Axis(a, extents[a]) for a in nest.grid)
    inner = tuple(Axis(a, extents[a]) for a in nest.inner)
    stages = [replace(s, axes=inner if s.axes else ()) for s in stages]
    buffers = []
    for name, array in nest.arrays.items():
        if array.role == "local":
            extents_of = tuple(extents[a] for a in nest.inner)
            still = (expr.ZERO,) * len(extents_of)
            buffers.append(Buffer(name, array.dtype, still, "local", extents_of))
            continue
        strides = tuple(word(s) for s in array.strides)
        buffers.append(Buffer(name, array.dtype, strides, array.role))
    kernel = Kernel(
        nest.name,
        tuple(buffers),
        tuple(words),
        tuple(nest.scalars),
        axes,
        tuple(stages),
        vector,
        nest.ordered,
    )
    return Call(kernel, numbers, list(nest.arrays))


def step(
    nest: Nest, vector: str, operands: dict[str, Operand], scalars: Sequence[Value] = ()
) -> Step:
    """The native call of a nest that an opaque op has built by hand."""
    simplify(nest)
    work = 1
    for axis in (*nest.grid, *nest.inner):
        work *= nest.extents[axis]
    call = finish(nest, vector if nest.grid or vector == "inner" else "none")
    return nest_step(call.kernel, call.words, operands, scalars, work)


def array_of(name: str, operand: Operand, role: str) -> Array:
    """The buffer of a nest that shows an operand."""
    return Array(name, operand.dtype, operand.shape, operand.strides, role)


def build(group: Group, name: str, strides: dict[str, tuple[int, ...]]) -> tuple[Nest, str]:
    """The group's nest, simplified and ordered, and where its lanes lie. In a program folds are
    built as `group.fold` says; Misaligned where the buffers do not allow it."""
    nest = nest_of(group, name, strides)
    if group.fold is None:
        simplify(nest)
        return nest, order(nest)
    lanes, axes = group.fold
    simplify(nest, frozenset(axes))
    if sorted(nest.inner) != sorted(axes):
        raise Misaligned
    vector = order(nest, lanes)
    nest.inner = list(axes)
    return nest, vector


def fold_of(nest: Nest, vector: str) -> tuple[bool, tuple[str, ...]]:
    """On what the bits of the nest's folds depend: whether lanes lie along them, and which axes
    are left, in order, when those that run together are one."""
    return vector == "inner", tuple(nest.inner)


def split(nest: Nest, vector: str) -> tuple[Nest, Nest] | None:
    """A long fold over few rows as two nests: states of its blocks, then their combination.

    The bits are those of the one nest (loops.Fold): blocks fold alike and join in order. None
    where the fold is short or its rows are many.
    """
    block = loops.ROW_BLOCK if vector == "inner" else loops.COLUMN_BLOCK
    folds = [s for s in nest.stages if isinstance(s, Fold)]
    maps = [s for s in nest.stages if not isinstance(s, Fold)]
    if len(folds) != 1 or len(nest.inner) != 1 or any(s.axes for s in maps) or nest.static:
        return None
    axis = nest.inner[0]
    rows = 1
    for a in nest.grid:
        rows *= nest.extents[a]
    enough = 64 if vector == "inner" else 4096
    if nest.extents[axis] <= 2 * block or rows >= enough:
        return None
    blocks = -(-nest.extents[axis] // block)
    fold = folds[0]
    kinds = fold.monoid.dtypes
    shape = tuple(nest.extents[a] for a in nest.grid)
    partial = {}
    for i, kind in enumerate(kinds):
        steps = [1] * (len(shape) + 1)  # (block, *grid), row-major
        for d in range(len(shape) - 1, -1, -1):
            steps[d] = steps[d + 1] * shape[d]
        partial[f"p{i}"] = Array(f"p{i}", kind, (blocks, *shape), tuple(steps), "out")
    at = (expr.index("block"), *(expr.index(a) for a in nest.grid))
    stores = tuple(
        Store(f"p{i}", at, loops.folded(fold.number, i, kind)) for i, kind in enumerate(kinds)
    )
    first = Nest(
        nest.name + "_blocks",
        {**partial, **{n: replace(a) for n, a in nest.arrays.items() if a.role == "in"}},
        {"block": blocks, **nest.extents},
        ["block", *nest.grid],
        [axis],
        [fold, Map((), stores)],
        nest.scalars,
        block=(axis, block),
    )
    before = [loops.state(fold.number, i, kind) for i, kind in enumerate(kinds)]
    read = [expr.load(f"p{i}", at, kind) for i, kind in enumerate(kinds)]
    scan = Scan(
        fold.number,
        (Axis("block", expr.ZERO),),
        fold.monoid.neutral,
        fold.monoid.combine(before, read),
        (),
    )
    second = Nest(
        nest.name + "_join",
        {
            **{n: replace(nest.arrays[n]) for n in dict.fromkeys([n for n, _ in uses(maps)])},
            **{n: replace(a, role="in") for n, a in partial.items()},
        },
        {"block": blocks, **nest.extents},
        list(nest.grid),
        ["block"],
        [scan, *maps],
        nest.scalars,
    )
    simplify(first)
    simplify(second)
    return first, second
