"""Kernels at random: every primitive, element type, stage and layout, with data to run them on.

test_interp.py and tools/fuzz.py run them on each target against kernel/interp.py.
"""

from dataclasses import dataclass

import numpy as np

from lucid import dtypes as d
from lucid.dtypes import BOOL, FLOATING, dtype, int64
from lucid.kernel import expr as e
from lucid.kernel import loops
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Axis, Buffer, Fold, Kernel, Map, Scan, Store

KINDS = [k for k in d.ALL]
FLOATS = [k for k in KINDS if k.category == FLOATING]
CHEAP_MATH = ("exp", "log", "tanh", "erf", "sin", "log1p", "expm1", "atan")
DEAR_MATH = sorted(e.MATH - set(CHEAP_MATH))
SPECIALS = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e-40, -3e38, 5e-324, 65504.0]


@dataclass
class Case:
    """A kernel, and what one call of it receives. `arrays` are flat; `starts` as in interp.run."""

    kernel: Kernel
    arrays: dict[str, np.ndarray]
    starts: dict[str, int]
    words: dict[str, int]
    scalars: dict[str, int | float]


def data(rng: np.random.Generator, kind: dtype, size: int) -> np.ndarray:
    if kind.category == BOOL:
        return rng.integers(0, 2, size).astype(bool)
    if kind.category == FLOATING:
        x = rng.standard_normal(size) * 10.0 ** rng.integers(-3, 4, size)
        odd = rng.random(size) < rng.choice([0, 0, 0, 0.1])
        x[odd] = rng.choice(SPECIALS, odd.sum())
        with np.errstate(all="ignore"):
            return x.astype(kind.numpy)
    info = np.iinfo(kind.numpy)
    x = rng.integers(info.min, info.max, size, dtype=kind.numpy, endpoint=True)
    small = rng.random(size) < 0.7
    x[small] = rng.integers(0 if info.min == 0 else -9, 10, small.sum()).astype(kind.numpy)
    return x


class Expressions:
    """Random expressions over given leaves."""

    def __init__(self, rng: np.random.Generator, leaves: list[Expr]):
        self.rng = rng
        self.pool = list(leaves)
        self.dear = int(rng.random() < 0.25)  # functions that need many primitives

    def pick(self, items):
        return items[int(self.rng.integers(len(items)))]

    def make(self, kind: dtype, depth: int) -> Expr:
        known = [x for x in self.pool if x.dtype is kind]
        if known and (depth <= 0 or self.rng.random() < 0.1):
            return self.pick(known)
        if depth <= 0:
            return self.leaf(kind)
        if kind.category == BOOL:
            made = self.boolean(depth)
        elif kind.category == FLOATING:
            made = self.floating(kind, depth)
        else:
            made = self.integer(kind, depth)
        self.pool.append(made)
        return made

    def leaf(self, kind: dtype) -> Expr:
        if self.rng.random() < 0.5:
            return e.const(data(self.rng, kind, 1)[0].item(), kind)
        return e.cast(self.pick(self.pool), kind)

    def boolean(self, depth: int) -> Expr:
        op = self.pick(["compare", "compare", "and", "or", "xor", "not", "cast"])
        if op == "compare":
            kind = self.pick([k for k in KINDS if k.category != BOOL])
            compare = self.pick(sorted(e.COMPARISONS))
            return e.binary(compare, self.make(kind, depth - 1), self.make(kind, depth - 1))
        if op == "cast":
            return e.cast(self.make(self.pick(KINDS), depth - 1), d.bool_)
        x = self.make(d.bool_, depth - 1)
        return ~x if op == "not" else e.binary(op, x, self.make(d.bool_, depth - 1))

    def chosen(self, kind: dtype, depth: int) -> Expr:
        condition = self.make(d.bool_, depth - 1)
        return e.where(condition, self.make(kind, depth - 1), self.make(kind, depth - 1))

    def cast(self, kind: dtype, depth: int) -> Expr:
        return e.cast(self.make(self.pick(KINDS), depth - 1), kind)

    def floating(self, kind: dtype, depth: int) -> Expr:
        def inner() -> Expr:
            return self.make(kind, depth - 1)

        group = self.pick("binary binary mad mad unary where cast extreme math".split())
        if group == "binary":
            return e.binary(self.pick(["add", "sub", "mul", "div"]), inner(), inner())
        if group == "mad":
            return e.mad(inner(), inner(), inner())
        if group == "unary":
            ops = ["neg", "abs", "sqrt", "floor", "ceil", "trunc", "rint"]
            return e.unary(self.pick(ops), inner())
        if group == "where":
            return self.chosen(kind, depth)
        if group == "cast":
            return self.cast(kind, depth)
        if group == "extreme":
            return self.pick([e.maximum, e.minimum])(inner(), inner())
        if kind not in (d.float32, d.float64):
            return e.bitcast(self.make(d.int16, depth - 1), kind)
        if self.dear and self.rng.random() < 0.3:
            self.dear -= 1
            name = self.pick(DEAR_MATH)
        else:
            name = self.pick(CHEAP_MATH)
        return e.math(name, *(inner() for _ in range(2 if name in ("pow", "atan2") else 1)))

    def integer(self, kind: dtype, depth: int) -> Expr:
        def inner() -> Expr:
            return self.make(kind, depth - 1)

        group = self.pick(["binary"] * 4 + ["mad", "unary", "where", "cast", "bitcast"])
        if group == "binary":
            ops = "add sub mul idiv irem and or xor shl shr lshr".split()
            return e.binary(self.pick(ops), inner(), inner())
        if group == "mad":
            return e.mad(inner(), inner(), inner())
        if group == "unary":
            return e.unary(self.pick(["neg", "abs", "not"]), inner())
        if group == "where":
            return self.chosen(kind, depth)
        sources = [k for k in FLOATS if k.itemsize == kind.itemsize]
        if group == "cast" or not sources:
            return self.cast(kind, depth)
        # The bits of a NaN are nobody's promise.
        x = self.make(self.pick(sources), depth - 1)
        return e.bitcast(e.where(e.isnan(x), 0.0, x), kind)


MONOIDS = (loops.sum_of, loops.product_of, loops.maximum_of, loops.minimum_of)


class Maker:
    """One random kernel."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.seed = seed
        self.buffers: list[Buffer] = []
        self.words: dict[str, int] = {}
        self.arrays: dict[str, np.ndarray] = {}
        self.starts: dict[str, int] = {}
        self.extents: dict[str, int] = {}
        self.scalars: dict[str, int | float] = {}

    def pick(self, items):
        return items[int(self.rng.integers(len(items)))]

    def case(self) -> Case:
        rng = self.rng
        vector = self.pick(["grid", "grid", "inner", "inner", "none"])
        grid = [
            self.axis(f"g{k}") for k in range(int(rng.integers(0 if vector != "grid" else 1, 3)))
        ]
        self.inner = [self.axis(f"r{k}") for k in range(int(rng.integers(1, 3)))]
        self.sizes(grid, vector)
        leaves = self.leaves(grid)
        stages: list = []
        for number in range(int(rng.integers(1, 4))):
            form = self.pick(["fold", "fold", "scan", "map"])
            if number == 2 or form == "map":
                stages.append(self.map(grid, leaves, number))
            elif form == "fold":
                stages.append(self.fold(number, grid, leaves))
            else:
                stages.append(self.scan(number, grid, leaves))
            stage = stages[-1]
            if isinstance(stage, Fold):
                for k, kind in enumerate(stage.monoid.dtypes):
                    leaves.append(loops.folded(number, k, kind))
        # Whatever the maps do not happen to use is seen here.
        last = []
        for x in leaves:
            if x.op == "folded":
                name = f"f{len(last)}"
                last.append(Store(name, tuple(self.buffer(name, x.dtype, grid, "out")), x))
        if last:
            stages.append(Map((), tuple(last)))
        kernel = Kernel(
            f"random{self.seed}",
            tuple(self.buffers),
            tuple(self.words),
            tuple(self.scalars),
            tuple(grid),
            tuple(stages),
            vector,
        )
        return Case(kernel, self.arrays, self.starts, self.words, self.scalars)

    def axis(self, name: str) -> Axis:
        self.words[f"n_{name}"] = self.extents[name] = 1
        return Axis(name, e.word(f"n_{name}"))

    def sizes(self, grid: list[Axis], vector: str) -> None:
        """Long along the lanes, and now and then beyond a block of a fold; short elsewhere."""
        rng, names = self.rng, [a.name for a in (*grid, *self.inner)]
        for name in names:
            self.extents[name] = int(rng.integers(1, 4))
        long = self.inner[-1].name
        if vector == "grid" and rng.random() < 0.8:
            long = grid[-1].name
            self.extents[long] = self.pick([1, 15, 16, 33, 65, 100])
        elif rng.random() < 0.15 and len(names) < 4:
            self.extents[long] = 300 if vector != "inner" else 8192 + int(rng.integers(1, 200))
            for name in names:
                if name != long:
                    self.extents[name] = 1
        else:
            self.extents[long] = self.pick([0, 1, 16, 63, 64, 130])
        for name in names:
            self.words[f"n_{name}"] = self.extents[name]

    def buffer(self, name: str, kind: dtype, axes: list[Axis], role: str) -> list[Expr]:
        """A buffer over the axes with strides of its own; the subscripts that read it."""
        sizes = [self.extents[a.name] for a in axes]
        order = self.rng.permutation(len(axes)) if self.rng.random() < 0.4 else range(len(axes))
        steps, step = [0] * len(axes), self.pick([1, 1, 1, 2])
        for place in reversed(list(order)):
            steps[place] = step
            step *= max(sizes[place], 1)
        start, total = 0, max(step, 1) + 3
        for place, size in enumerate(sizes):
            if role == "in" and self.rng.random() < 0.1:
                steps[place] = 0
            elif self.rng.random() < 0.1 and size:
                start += steps[place] * (size - 1)
                steps[place] = -steps[place]
        strides = []
        for place, value in enumerate(steps):
            if value in (0, 1) and self.rng.random() < 0.5:
                strides.append(e.const(value, int64))
            else:
                self.words[f"s_{name}_{place}"] = value
                strides.append(e.word(f"s_{name}_{place}"))
        self.buffers.append(Buffer(name, kind, tuple(strides), role))
        self.arrays[name] = data(self.rng, kind, total)
        self.starts[name] = start
        return [e.index(a.name) for a in axes]

    def leaves(self, grid: list[Axis]) -> list[Expr]:
        """Reads of some buffers, a scalar, a position."""
        made: list[Expr] = []
        for k in range(int(self.rng.integers(1, 4))):
            kind = self.pick([*KINDS, *[d.float32] * 8, d.float64])
            axes = [a for a in (*grid, *self.inner) if self.rng.random() < 0.8]
            made.append(e.load(f"x{k}", self.buffer(f"x{k}", kind, axes, "in"), kind))
        kind = self.pick([d.float32, d.float64, d.int32])
        self.scalars["c"] = 3 if kind is d.int32 else 0.37
        made.append(e.scalar("c", kind))
        if grid:
            made.append(e.index(grid[-1].name))
        # A gather: a position that data decides, brought into range.
        self.buffers.append(Buffer("table", d.float32, (e.const(1, int64),)))
        self.arrays["table"] = data(self.rng, d.float32, 7)
        self.starts["table"] = 0
        place = e.binary("irem", abs(e.cast(made[0], int64)), 7)
        made.append(e.load("table", [e.where(place < 0, 0, place)], d.float32))
        return made

    def usable(self, leaves: list[Expr], axes: list[Axis]) -> list[Expr]:
        """The leaves that only use these axes."""
        names = {a.name for a in axes}
        return [
            x for x in leaves if all(n.op != "index" or n.attr in names for n in e.postorder([x]))
        ]

    def expressions(self, leaves: list[Expr], axes: list[Axis]) -> Expressions:
        return Expressions(self.rng, self.usable(leaves, axes))

    def map(self, grid: list[Axis], leaves: list[Expr], number: int) -> Map:
        inner = self.inner if self.rng.random() < 0.5 else []
        if self.rng.random() < 0.5:
            inner = inner[:1]
        axes = [*grid, *inner]
        made = self.expressions(leaves, axes)
        stores = []
        for k in range(int(self.rng.integers(1, 3))):
            kind = self.pick([*KINDS, *[d.float32] * 4])
            name = f"z{number}_{k}"
            places = self.buffer(name, kind, axes, "out")
            mask = made.make(d.bool_, 2) if self.rng.random() < 0.2 else None
            stores.append(Store(name, tuple(places), made.make(kind, 5), mask))
        return Map(tuple(inner), tuple(stores))

    def fold(self, number: int, grid: list[Axis], leaves: list[Expr]) -> Fold:
        axes = [*grid, *self.inner]
        made = self.expressions(leaves, axes)
        kind = self.pick([*[d.float32] * 4, d.float64, d.int32, d.int64, d.bool_])
        plain = [x for x in made.pool if x.dtype is kind and x.op == "load"]
        if plain and kind is not d.bool_ and self.rng.random() < 0.6:  # sums whose order shows
            return Fold(number, tuple(self.inner), loops.sum_of(kind), (self.pick(plain),))
        if self.rng.random() < 0.2:
            monoid = loops.extremum_with_index(kind, bool(self.rng.integers(2)))
            values = (made.make(kind, 3), e.index(self.inner[-1].name))
        elif kind is d.bool_:
            monoid, values = self.pick([loops.any_of, loops.all_of])(), (made.make(kind, 3),)
        else:
            monoid, values = self.pick(MONOIDS)(kind), (made.make(kind, 3),)
        return Fold(number, tuple(self.inner), monoid, values)

    def scan(self, number: int, grid: list[Axis], leaves: list[Expr]) -> Scan:
        axes = [*grid, *self.inner]
        kind = self.pick([d.float32, d.float64, d.int32])
        initial = self.expressions(leaves, grid).make(kind, 1)
        made = self.expressions([*leaves, loops.state(number, 0, kind)], axes)
        step = loops.state(number, 0, kind) + made.make(kind, 2)
        name = f"w{number}"
        places = self.buffer(name, kind, axes, "out")
        stored = self.pick([loops.state, loops.after])(number, 0, kind)
        return Scan(
            number, tuple(self.inner), (initial,), (step,), (Store(name, tuple(places), stored),)
        )


def compare(case: Case, arrays: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> str:
    """What differs between two runs; NaN equals NaN."""
    for b in case.kernel.buffers:
        got, want = arrays[b.name], wanted[b.name]
        bits = f"u{b.dtype.itemsize}"
        wrong = got.view(bits) != want.view(bits)
        if b.dtype.category == FLOATING:
            with np.errstate(invalid="ignore"):
                wrong &= ~(np.isnan(got.astype(np.float64)) & np.isnan(want.astype(np.float64)))
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            return (
                f"{b.name}[{first}]: {got[first]!r}, by definition {want[first]!r}; "
                f"{int(wrong.sum())} of {wrong.size} differ\n{case.kernel}\nwords {case.words}"
            )
    return ""
