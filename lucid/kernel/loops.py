"""Loop nests: the form in which the planner hands a kernel to a backend.

A kernel runs its stages, in order, at every point of a parallel grid. interp.py defines what a
stage computes; a backend chooses tiles, vectors and threads, but never the order of a reduction.

    kernel softmax(grid r < n0)
      fold  0 over j < n1: max  x[r, j]
      fold  1 over j < n1: sum  exp(x[r, j] - folded.0)
      map   over j < n1: y[r, j] = exp(x[r, j] - folded.0) / folded.1
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lucid.dtypes import BOOL, FLOATING, bool_, dtype, int64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr

# The order of a reduction, part of the definition and the same on every target.
LANES = 16  # lanes of a vector, whatever the element type
ACCUMULATORS = 4  # vectors in flight in a fold along a row
ROW_BLOCK = 8192  # elements of a row folded in lanes before their result joins the others
COLUMN_BLOCK = 256  # elements of a column folded one after another before that


# Every process makes these classes at import: without generated comparison and text they take a
# third of the time. None of them is changed after it is made.
@dataclass(eq=False, repr=False)
class Axis:
    """A loop: `index(name)` runs from 0 to extent. The extent may use words and outer indices."""

    name: str
    extent: Expr


@dataclass(eq=False, repr=False)
class Buffer:
    """A strided array of the call. Strides count elements; constants 0 and 1 are worth knowing.

    role: `in`, `out`, `inout` (read and written at the same element), or `local`: scratch of one
    grid point, addressed by the inner axes, with the given extents.
    """

    name: str
    dtype: dtype
    strides: tuple[Expr, ...]
    role: str = "in"
    extents: tuple[Expr, ...] = ()


@dataclass(eq=False, repr=False)
class Monoid:
    """How a fold combines: state types, the neutral state, and an associative rule."""

    name: str
    dtypes: tuple[dtype, ...]
    neutral: tuple[Expr, ...]
    combine: Callable[[Sequence[Expr], Sequence[Expr]], tuple[Expr, ...]]


@dataclass(eq=False, repr=False)
class Store:
    """buffer[subscripts] = value, where mask (if any) is true."""

    buffer: str
    subscripts: tuple[Expr, ...]
    value: Expr
    mask: Expr | None = None


@dataclass(eq=False, repr=False)
class Map:
    """The stores, at every point of the inner axes (none: once), in any order."""

    axes: tuple[Axis, ...]
    stores: tuple[Store, ...]


@dataclass(eq=False, repr=False)
class Fold:
    """The monoid's combination of `values` over the inner axes; later stages read
    `folded(number, component)`.

    Along the last axis the elements are folded in blocks, each block by `Kernel.vector`:
    "inner": ROW_BLOCK elements; element i of a block of n goes to lane i % LANES of accumulator
        (i // LANES) % ACCUMULATORS if i < n - n % (LANES * ACCUMULATORS), else accumulator 0;
        accumulators combine as (a0, a1), (a2, a3), lanes by halves: l with l + 8, 4, 2, 1.
    "grid", "none": COLUMN_BLOCK elements, one after another, starting from neutral.
    The state starts at neutral; blocks join it from the left in order, outer axes row-major.
    """

    number: int
    axes: tuple[Axis, ...]
    monoid: Monoid
    values: tuple[Expr, ...]


@dataclass(eq=False, repr=False)
class Scan:
    """A serial loop over the inner axes, row-major, that carries a state.

    `state(i)` is the state before the step, `after(i)` the state after it; stores see both.
    Loads see what earlier steps stored. A later stage reads the final state as
    `folded(number, component)`.
    """

    number: int
    axes: tuple[Axis, ...]
    initial: tuple[Expr, ...]
    update: tuple[Expr, ...]
    stores: tuple[Store, ...]


Stage = Map | Fold | Scan


@dataclass(eq=False, repr=False)
class Kernel:
    """A loop nest. `vector` says along which axis the lanes of a backend lie: the last `inner`
    axis of each stage, the last `grid` axis, or `none`.

    A call passes the buffers' addresses in order (locals excepted), then the words, then the
    scalars. `ordered`, a power of two, makes points of a grid of one axis depend on each other:
    each run of so many points, the first one being 0, goes in order, and loads see what the
    earlier points of the run have stored.
    """

    name: str
    buffers: tuple[Buffer, ...]
    words: tuple[str, ...]
    scalars: tuple[str, ...]
    grid: tuple[Axis, ...]
    stages: tuple[Stage, ...]
    vector: str = "grid"
    ordered: int = 0
    _text: list = field(default_factory=list, compare=False, repr=False)

    def __str__(self) -> str:
        """The kernel as text, complete: equal text means equal machine code."""
        if not self._text:
            self._text.append("\n".join(_lines(self)))
        return self._text[0]


def state(number: int, component: int, kind: dtype) -> Expr:
    return Expr("state", (), kind, (number, component))


def after(number: int, component: int, kind: dtype) -> Expr:
    return Expr("next", (), kind, (number, component))


def folded(number: int, component: int, kind: dtype) -> Expr:
    return Expr("folded", (), kind, (number, component))


def _lines(kernel: Kernel) -> list[str]:
    def axes(items: Sequence[Axis]) -> str:
        return ", ".join(f"{a.name} < {a.extent!r}" for a in items)

    lines = [f"kernel {kernel.name} vector={kernel.vector}"]
    if kernel.ordered:
        lines[0] += f" ordered={kernel.ordered}"
    for b in kernel.buffers:
        strides = ", ".join(repr(s) for s in b.strides)
        extents = f" extents [{', '.join(repr(x) for x in b.extents)}]" if b.extents else ""
        lines.append(f"  {b.role} {b.name}: {b.dtype.name} strides [{strides}]{extents}")
    lines.append(f"  words {', '.join(kernel.words)}")
    lines.append(f"  scalars {', '.join(kernel.scalars)}")
    lines.append(f"  grid {axes(kernel.grid)}")
    for stage in kernel.stages:
        if isinstance(stage, Fold):
            lines.append(
                f"  fold {stage.number} over {axes(stage.axes)}: "
                f"{stage.monoid.name} {e.render(stage.values)}"
            )
            lines.append(f"    {_rule(stage.monoid)}")
            continue
        if isinstance(stage, Scan):
            lines.append(f"  scan {stage.number} over {axes(stage.axes)}:")
            lines.append(f"    from {e.render(stage.initial)}; step {e.render(stage.update)}")
        else:
            lines.append(f"  map over {axes(stage.axes)}:")
        for s in stage.stores:
            # One rendering for all parts keeps shared subexpressions visible.
            parts = [*s.subscripts, s.value, *([s.mask] if s.mask is not None else [])]
            lines.append(f"    {s.buffer}/{len(s.subscripts)} <- {e.render(parts)}")
    return lines


def _rule(monoid: Monoid) -> str:
    """How a monoid starts and combines: the name alone would not tell an edited rule."""
    states = e.arguments([*monoid.dtypes, *monoid.dtypes])
    n = len(monoid.dtypes)
    made = monoid.combine(states[:n], states[n:])
    return f"from {e.render(monoid.neutral)}; combine {e.render(made)}"


def _plain(name: str, kind: dtype, neutral: float | int, rule) -> Monoid:
    return Monoid(name, (kind,), (e.const(neutral, kind),), lambda a, b: (rule(a[0], b[0]),))


def lowest(kind: dtype) -> float | int | bool:
    if kind.category == FLOATING:
        return float("-inf")
    return False if kind.category == BOOL else -(1 << (8 * kind.itemsize - 1)) * kind.signed


def highest(kind: dtype) -> float | int | bool:
    if kind.category == FLOATING:
        return float("inf")
    return True if kind.category == BOOL else (1 << (8 * kind.itemsize - kind.signed)) - 1


def sum_of(kind: dtype) -> Monoid:
    return _plain("sum", kind, 0, lambda a, b: a + b)


def product_of(kind: dtype) -> Monoid:
    return _plain("prod", kind, 1, lambda a, b: a * b)


def maximum_of(kind: dtype) -> Monoid:
    if kind is bool_:
        return _plain("max", kind, False, lambda a, b: a | b)
    return _plain("max", kind, lowest(kind), e.maximum)


def minimum_of(kind: dtype) -> Monoid:
    if kind is bool_:
        return _plain("min", kind, True, lambda a, b: a & b)
    return _plain("min", kind, highest(kind), e.minimum)


def any_of() -> Monoid:
    return _plain("any", bool_, False, lambda a, b: a | b)


def all_of() -> Monoid:
    return _plain("all", bool_, True, lambda a, b: a & b)


def extremum_with_index(kind: dtype, largest: bool) -> Monoid:
    """(value, index): the first largest (smallest) element and where it is; NaN beats all."""

    def combine(a: Sequence[Expr], b: Sequence[Expr]) -> tuple[Expr, ...]:
        (x, i), (y, j) = a, b
        better = (y > x) if largest else (y < x)
        if kind is bool_:
            better = (y & ~x) if largest else (~y & x)
        tie = y.eq(x) if kind is not bool_ else ~(x ^ y)
        if kind.category == FLOATING:
            x_nan, y_nan = e.isnan(x), e.isnan(y)
            better = (better & ~x_nan) | (y_nan & ~x_nan)
            tie = tie | (x_nan & y_nan)
        # A neutral element has index -1 and never wins over a real one.
        take = (better | (tie & (j < i))) & (j >= 0) | (i < 0)
        return e.where(take, y, x), e.where(take, j, i)

    neutral = e.const(lowest(kind) if largest else highest(kind), kind)
    name = "argmax" if largest else "argmin"
    return Monoid(name, (kind, int64), (neutral, e.const(-1, int64)), combine)
