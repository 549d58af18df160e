"""The definition of kernels: plain scalar loops over NumPy scalars, in the order of loops.py.

Tests compare every backend with it bit by bit. Slow on purpose: a few hundred elements at a time.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from lucid.dtypes import FLOATING
from lucid.kernel import expr as e
from lucid.kernel import primitives
from lucid.kernel.expr import Expr
from lucid.kernel.loops import (
    ACCUMULATORS,
    COLUMN_BLOCK,
    LANES,
    ROW_BLOCK,
    Axis,
    Buffer,
    Fold,
    Kernel,
    Map,
    Scan,
    Store,
)

State = tuple[np.generic, ...]
Program = tuple[list[Expr], list[Expr], dict[int, object], object]


def run(
    kernel: Kernel,
    buffers: Mapping[str, np.ndarray],
    words: Mapping[str, int] | None = None,
    scalars: Mapping[str, int | float] | None = None,
    *,
    fused: bool = True,
    expand: Callable[[list[Expr]], list[Expr]] = list,
    starts: Mapping[str, int] | None = None,
) -> tuple[int, int] | None:
    """Run a kernel on flat arrays, in place; None, or (code, value) of the first failed check.

    buffers: one-dimensional arrays by name; starts: the position of element [0, ..., 0] in them
    (0 unless strides are negative). fused: whether `mad` rounds once on the target. expand: turns
    exp, log, ... into primitives; without it they raise TypeError. An access outside a buffer
    raises IndexError.

    >>> from lucid.dtypes import float32, int64
    >>> from lucid.kernel.loops import Axis, Buffer, Kernel, Map, Store
    >>> i, one = e.index("i"), (e.const(1, int64),)
    >>> double = Store("y", (i,), e.load("x", [i], float32) * 2)
    >>> b = (Buffer("x", float32, one), Buffer("y", float32, one, "out"))
    >>> kernel = Kernel("double", b, ("n",), (), (Axis("i", e.word("n")),), (Map((), (double,)),))
    >>> x, y = np.float32([1, 2, 3]), np.zeros(3, np.float32)
    >>> run(kernel, {"x": x, "y": y}, {"n": 3})
    >>> y.tolist()
    [2.0, 4.0, 6.0]
    """
    interpreter = _Interpreter(kernel, buffers, words or {}, scalars or {}, fused, expand)
    interpreter.starts = dict(starts or {})
    with np.errstate(all="ignore"):
        for _ in interpreter.points(kernel.grid):
            interpreter.point()
    return interpreter.error


class _Interpreter:
    """One run of a kernel: where its loops stand, and what its folds have left behind."""

    def __init__(
        self,
        kernel: Kernel,
        buffers: Mapping[str, np.ndarray],
        words: Mapping[str, int],
        scalars: Mapping[str, int | float],
        fused: bool,
        expand: Callable[[list[Expr]], list[Expr]],
    ):
        self.kernel = kernel
        self.described: dict[str, Buffer] = {b.name: b for b in kernel.buffers}
        self.arrays: dict[str, np.ndarray] = {name: np.asarray(a) for name, a in buffers.items()}
        self.words = words
        self.scalars = scalars
        self.fused = fused
        self.expand = expand
        self.starts: dict[str, int] = {}
        self.index: dict[str, int] = {}
        self.folded: dict[int, State] = {}
        self.state: dict[int, State] = {}
        self.after: dict[int, State] = {}
        self.error: tuple[int, int] | None = None
        self.programs: dict[tuple[int, ...], Program] = {}
        for b in kernel.buffers:
            if b.role != "local" and b.dtype.numpy != self.arrays[b.name].dtype:
                raise TypeError(f"buffer {b.name}: {b.dtype!r}, not {self.arrays[b.name].dtype}")

    # Loops

    def points(self, axes: Sequence[Axis]) -> Iterator[None]:
        """Every point of the axes, row-major; an extent may depend on the axes before it."""
        if not axes:
            yield
            return
        for i in range(self.number(axes[0].extent)):
            self.index[axes[0].name] = i
            yield from self.points(axes[1:])

    def point(self) -> None:
        """All stages at one point of the grid, which has local buffers of its own."""
        self.folded.clear()
        for b in self.kernel.buffers:
            if b.role == "local":
                size = int(np.prod([self.number(x) for x in b.extents], dtype=np.int64))
                self.arrays[b.name] = np.zeros(size, b.dtype.numpy)
        for stage in self.kernel.stages:
            if isinstance(stage, Map):
                for _ in self.points(stage.axes):
                    self.write(stage.stores)
            elif isinstance(stage, Fold):
                self.folded[stage.number] = self.fold(stage)
            else:
                self.folded[stage.number] = self.scan(stage)

    def write(self, stores: Sequence[Store]) -> None:
        """All stores of one point: each sees the buffers as they were before any of them."""
        done = []
        for s in stores:
            keep = s.mask is None or self.values([s.mask])[0]
            places = self.values(s.subscripts)
            (value,) = self.values([s.value])
            if keep:
                done.append((s.buffer, self.offset(s.buffer, places), value))
        for name, offset, value in done:
            self.arrays[name][offset] = value

    def scan(self, stage: Scan) -> State:
        number = stage.number
        self.state[number] = self.values(stage.initial)
        for _ in self.points(stage.axes):
            self.after[number] = self.values(stage.update)
            self.write(stage.stores)
            self.state[number] = self.after[number]
        return self.state[number]

    # Folds: the order that loops.Fold lays down

    def fold(self, stage: Fold) -> State:
        neutral = self.values(stage.monoid.neutral)
        state = neutral
        if not stage.axes:
            return self.combine(stage, state, self.combine(stage, neutral, self.element(stage)))
        inner = self.kernel.vector == "inner"
        block, join = (ROW_BLOCK, self.fold_lanes) if inner else (COLUMN_BLOCK, self.fold_serial)
        *outer, last = stage.axes
        for _ in self.points(outer):
            extent = self.number(last.extent)
            for first in range(0, extent, block):
                places = range(first, min(first + block, extent))
                state = self.combine(stage, state, join(stage, neutral, last.name, places))
        return state

    def fold_serial(self, stage: Fold, neutral: State, axis: str, places: range) -> State:
        state = neutral
        for place in places:
            self.index[axis] = place
            state = self.combine(stage, state, self.element(stage))
        return state

    def fold_lanes(self, stage: Fold, neutral: State, axis: str, places: range) -> State:
        sums = [[neutral] * LANES for _ in range(ACCUMULATORS)]
        main = len(places) - len(places) % (LANES * ACCUMULATORS)
        for i, place in enumerate(places):
            self.index[axis] = place
            accumulator, lane = i // LANES % ACCUMULATORS if i < main else 0, i % LANES
            sums[accumulator][lane] = self.combine(
                stage, sums[accumulator][lane], self.element(stage)
            )
        while len(sums) > 1:
            pairs = zip(sums[::2], sums[1::2], strict=True)
            sums = [
                [self.combine(stage, x, y) for x, y in zip(a, b, strict=True)] for a, b in pairs
            ]
        lanes = sums[0]
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [self.combine(stage, lanes[k], lanes[k + half]) for k in range(half)]
        return lanes[0]

    def element(self, stage: Fold) -> State:
        return self.values(stage.values)

    def combine(self, stage: Fold, a: State, b: State) -> State:
        kinds = stage.monoid.dtypes
        key = (id(stage.monoid),)
        if key not in self.programs:
            leaves = e.arguments([*kinds, *kinds])
            rule = list(stage.monoid.combine(leaves[: len(kinds)], leaves[len(kinds) :]))
            self.programs[key] = self.program(rule, stage)
        return self.evaluate(*self.programs[key][:3], [*a, *b])

    # Expressions

    def number(self, x: Expr) -> int:
        return int(self.values([x])[0])

    def values(self, roots: Sequence[Expr]) -> State:
        key = tuple(id(x) for x in roots)
        if key not in self.programs:
            self.programs[key] = self.program(list(roots), roots)
        return self.evaluate(*self.programs[key][:3], [])

    def program(self, roots: list[Expr], owner: object) -> Program:
        """The roots in primitives, their nodes in order, the values of those that are constants;
        the owner, so that its id stays its."""
        primitive = self.expand(roots)
        nodes = list(e.postorder(primitive))
        known = {id(x): primitives.constant(x.attr, x.dtype) for x in nodes if x.op == "const"}
        return primitive, [x for x in nodes if x.op != "const"], known, (roots, owner)

    def evaluate(
        self, roots: list[Expr], order: list[Expr], known: dict[int, object], given: Sequence
    ) -> State:
        done = known.copy()
        for node in order:
            done[id(node)] = self.node(node, [done[id(a)] for a in node.args], given)
        return tuple(done[id(root)] for root in roots)  # type: ignore[misc]

    def node(self, node: Expr, args: list, given: Sequence) -> object:
        op, attr = node.op, node.attr
        if op == "arg":
            return given[attr]
        if op == "index":
            return np.int64(self.index[attr])
        if op == "word":
            return np.int64(self.words[attr])
        if op == "scalar":
            given_number = self.scalars[attr]
            return (np.float64 if node.dtype.category == FLOATING else np.int64)(given_number)
        if op == "load":
            return self.arrays[attr][self.offset(attr, args)]
        if op in ("folded", "state", "next"):
            table = {"folded": self.folded, "state": self.state, "next": self.after}[op]
            return table[attr[0]][attr[1]]
        if op == "checked":
            value, good, bad = args
            if not good and self.error is None:
                self.error = (attr, int(bad))
            return value
        if op in e.MATH:
            raise TypeError(f"{op} is no primitive: run(..., expand=...) writes it out")
        return primitives.apply(node, args, self.fused)

    def offset(self, name: str, subscripts: Sequence) -> int:
        """The position of an element in its flat array; inside it, or IndexError."""
        b = self.described[name]
        if b.role == "local":
            extents = [self.number(x) for x in b.extents]
            sizes = [*itertools.accumulate(reversed([*extents[1:], 1]), lambda x, y: x * y)]
            strides = sizes[::-1]
        else:
            strides = [self.number(s) for s in b.strides]
        if len(strides) != len(subscripts):
            raise ValueError(f"buffer {name}: {len(subscripts)} subscripts, {len(strides)} strides")
        pairs = zip(subscripts, strides, strict=True)
        place = self.starts.get(name, 0) + sum(int(s) * stride for s, stride in pairs)
        if not 0 <= place < self.arrays[name].size:
            where = ", ".join(str(int(s)) for s in subscripts)
            raise IndexError(
                f"{self.kernel.name}: {name}[{where}] is element {place} of "
                f"{self.arrays[name].size}"
            )
        return place
