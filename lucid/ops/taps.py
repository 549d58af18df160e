"""Weighted sums of elements at computed places: what sampling on a grid is made of.

grid.py calls `gather_taps`. x is (N, C, P), places and weights (N, T, S): T terms for each of S
results; a place of -1 counts as 0. The three ops are each other's derivatives.
"""

from lucid.dtypes import int64
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Axis, Scan, Store
from lucid.op import Opaque, Pointwise, Reduction
from lucid.ops.spatial import merged
from lucid.plan.copies import copy_step
from lucid.plan.nest import Nest, array_of, step


def _found(place: Expr, n: int) -> tuple[Expr, Expr]:
    """Whether there is an element, and where (0 if there is none)."""
    good = (place >= 0) & (place < expr.size(n))
    return good, expr.where(good, place, expr.ZERO)


class gather_taps(Pointwise):
    """y[n, c, s] = sum over t of w[n, t, s] x[n, c, places[n, t, s]]."""

    public = False
    axis_map = staticmethod(merged)

    def names(x, w, places):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        return [((*shape[:2], types[2][0][2]), kind)]

    def element(types, index, loads):
        n, c, s = index
        total = None
        for t in range(types[2][0][1]):
            at = [n, expr.const(t, int64), s]
            good, place = _found(loads[2](at), types[0][0][2])
            x = loads[0]([n, c, place])
            term = expr.where(good, x, expr.zero(x)) * loads[1](at)
            total = term if total is None else total + term
        return total

    def vjp_x(g, w, places, x_meta):
        return scatter_taps(g, w, places, x_meta.shape[2])

    def vjp_w(g, x, places):
        return dot_taps(g, x, places)


class scatter_taps(Opaque):
    """y[n, c, p] = sum over t and s with places[n, t, s] = p of w[n, t, s] c[n, c, s]."""

    public = False
    axis_map = staticmethod(merged)

    def names(c, w, places, *, size):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        return [((*shape[:2], params[0]), kind)]

    def lower(context, inputs, params, outputs):
        c, w, places = inputs
        y = outputs[0]
        if 0 in y.shape:
            return []
        n, k, s, t = (expr.index(a) for a in "nkst")
        good, place = _found(expr.load("x2", [n, t, s], places.dtype), params[0])
        compute = y.dtype.compute
        left = expr.cast(expr.load("x1", [n, t, s], w.dtype), compute)
        term = left * expr.cast(expr.load("x0", [n, k, s], c.dtype), compute)
        old = expr.cast(expr.load("y0", [n, k, place], y.dtype), compute)
        store = Store("y0", (n, k, place), expr.cast(old + term, y.dtype), good)
        operands = {"y0": y, "x0": c, "x1": w, "x2": places}
        arrays = {a: array_of(a, o, "inout" if a == "y0" else "in") for a, o in operands.items()}
        terms, results = places.shape[1:]
        extents = {"n": y.shape[0], "k": y.shape[1], "s": results, "t": terms}
        scan = Scan(0, (Axis("s", expr.ZERO), Axis("t", expr.ZERO)), (), (), (store,))
        nest = Nest("scatter_taps", arrays, extents, ["n", "k"], ["s", "t"], [scan], [])
        return [copy_step(None, y), step(nest, "none", operands)]

    def vjp_c(g, w, places):
        return gather_taps(g, w, places)

    def vjp_w(g, c, places):
        return dot_taps(c, g, places)


class dot_taps(Reduction):
    """y[n, t, s] = sum over c of c[n, c, s] x[n, c, places[n, t, s]]."""

    public = False
    axis_map = staticmethod(merged)

    def names(c, x, places):
        pass

    def domain(types, params):
        return (*types[2][0], types[0][0][1]), (3,)

    def monoid(types, params):
        return loops.sum_of(types[0][1].compute)

    def infer(types, params):
        return [(types[2][0], types[0][1])]

    def element(types, params, index, loads):
        n, t, s, c = index
        good, place = _found(loads[2]([n, t, s]), types[1][0][2])
        x = loads[1]([n, c, place])
        return (expr.where(good, x, expr.zero(x)) * loads[0]([n, c, s]),)

    def vjp_c(g, x, places):
        return gather_taps(x, g, places)

    def vjp_x(g, c, places, x_meta):
        return scatter_taps(c, g, places, x_meta.shape[2])
