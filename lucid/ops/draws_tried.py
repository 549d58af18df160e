"""The family of draws that try until a candidate is taken: draws_gamma.py, draws_counts.py.

Lanes try side by side, each with numbers of its own, a fixed number of times; the records choose
it so that all tries fail in less than one of 10^12 draws, and then the last candidate is taken.
"""

from math import pi
from typing import Any

from lucid.dtypes import float64, int64
from lucid.kernel import expr
from lucid.kernel.expr import Expr, math
from lucid.kernel.loops import Axis, Map, Scan, Store, folded, state
from lucid.op import Opaque
from lucid.ops.join import stack
from lucid.ops.random import linear, philox_words, uniform_of
from lucid.plan.nest import Nest, array_of, step


class Tried(Opaque, abstract=True):
    """Draws by acceptance and rejection, one for each element of x: a serial loop of `tries`,
    parallel over the elements. Inputs are parameters, then seed and offset.

    prepared(parameters) -> numbers that the tries need, worked out once;
    tried(prepared, words) -> (candidate, whether it is taken), in float64;
    finished(parameters, found, words, dtype, **static) -> the draw, with the words of one counter
    more. A record with `steps` sums up as well, so many steps beside each try:
    listed(parameters, words) -> what that starts with, listing(states, k) -> the states after
    step k; `found` is then the pair of the candidate and the last first state.
    """

    public = False
    drawn = True
    tries = 8
    steps = 0

    @classmethod
    def counters(cls, n: int) -> int:
        """How many counters n draws take."""
        return n * (cls.tries + 1)

    def prepared(given):
        return list(given)

    @classmethod
    def axis_map(cls, call):
        if not call.same:
            return call.run(call.spread(), call.params)
        given = call.spread()
        arrays, numbers = given[:-2], call.inputs[-2:]
        rows = [call.run((*(x.select(0, i) for x in arrays), *numbers), call.params)
                for i in range(call.size)]  # fmt: skip
        return stack(rows)

    @classmethod
    def infer(cls, types, params):
        return [(types[0][0], types[0][1])]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        arrays, numbers, y = inputs[:-2], inputs[-2:], outputs[0]
        axes = [f"i{d}" for d in range(len(y.shape))]
        at = tuple(expr.index(a) for a in axes)
        seed, offset = (expr.scalar(f"s{k}", int64) for k in range(2))
        operands = {"y0": y} | {f"x{i}": x for i, x in enumerate(arrays)}
        given = [expr.cast(expr.load(f"x{i}", at, x.dtype), float64) for i, x in enumerate(arrays)]
        first = offset + linear(at, y.shape) * (cls.tries + 1)
        found, done = state(0, 0, float64), state(0, 1, float64)
        words = philox_words(seed, first + expr.index("t"))
        final = philox_words(seed, first + cls.tries)
        needed = cls.prepared(given)
        # What does not change is carried from try to try: a loop's body is worked out each time.
        carried = [state(0, 2 + i, float64) for i in range(len(needed))]
        candidate, taken = cls.tried(carried, words)
        kept = done > 0.0
        reached: Any = folded(0, 0, float64)
        before: list[Expr] = []
        after: list[Expr] = []
        if cls.steps:
            at_first = 2 + len(needed)
            before = cls.listed(given, final)
            after = [state(0, at_first + i, float64) for i in range(len(before))]
            for j in range(cls.steps):
                k = expr.cast(expr.index("t") * cls.steps + j, float64)
                after = cls.listing(after, k)
            reached = reached, folded(0, at_first, float64)
        scan = Scan(
            0,
            (Axis("t", expr.ZERO),),
            (expr.const(0.0, float64), expr.const(0.0, float64), *needed, *before),
            (
                expr.where(kept, found, candidate),
                expr.where(kept | taken, expr.one(done), expr.zero(done)),
                *carried,
                *after,
            ),
            (),
        )
        static = cls.static(params)
        made = cls.finished(given, reached, final, y.dtype, **static)
        last = Map((), (Store("y0", at, expr.cast(made, y.dtype)),))
        shown = {n: array_of(n, o, "out" if n == "y0" else "in") for n, o in operands.items()}
        extents = dict(zip(axes, y.shape, strict=True)) | {"t": cls.tries}
        nest = Nest(cls.name, shown, extents, axes, ["t"], [scan, last], ["s0", "s1"])
        return [step(nest, "grid" if axes else "none", operands, numbers)]


def uniform_pair(words: Any) -> Expr:
    """A number in [0, 1) of the last two of four words."""
    return uniform_of((words[2], words[3]), float64)


def normal_of(words: Any) -> Expr:
    """A standard normal number of the first two words. Box and Muller, 1958."""
    u = (expr.cast(words[0], float64) + 1.0) * 2.0**-32
    angle = expr.cast(words[1], float64) * (2.0**-32 * 2 * pi)
    return expr.unary("sqrt", math("log", u) * -2.0) * math("cos", angle)
