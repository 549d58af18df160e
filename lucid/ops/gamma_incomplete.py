"""The regularised incomplete gamma functions and how a gamma quantile moves with its shape.

igamma, igammac are public (ops/tables.py); gamma_slope is the rule of the draws in draws_gamma.py.

With t = x e^u the integrals of t^(a - 1) e^-t from x outwards are x^a e^-x times that of e^-E(u),
E(u) = x (e^u - 1) - a u: smooth, without cancellation, at least as short as a normal curve. They
are summed at Gauss-Legendre nodes up to where E is 36, in float64, a loop over the nodes for lanes
of elements.
"""

from collections.abc import Sequence
from math import pi
from typing import Any

from lucid.dtypes import FLOATING, float32, float64, get_default_dtype, of_scalar
from lucid.kernel import expr
from lucid.kernel.expr import Expr, math
from lucid.kernel.loops import Axis, Map, Scan, Store, folded, state
from lucid.layout import broadcast_shapes
from lucid.op import Opaque, result_type
from lucid.ops.cast import to_dtype
from lucid.ops.creation import tensor
from lucid.ops.elementwise import where
from lucid.ops.gamma import digamma, lgamma
from lucid.ops.transcendental import exp, log, xlogy
from lucid.ops.view import expand
from lucid.plan.nest import Nest, array_of, step
from lucid.tensor import Tensor

# Half of the nodes and weights of Gauss and Legendre on [-1, 1]; the others mirror them. 24 nodes
# leave a relative error below 1e-8, 40 one below 1e-13.
NODES24 = (
    (0.9951872199970213, 0.0123412297999872), (0.9747285559713095, 0.028531388628933663),
    (0.9382745520027328, 0.04427743881741981), (0.8864155270044011, 0.05929858491543678),
    (0.820001985973903, 0.0733464814110803), (0.7401241915785544, 0.08619016153195327),
    (0.6480936519369755, 0.09761865210411388), (0.5454214713888396, 0.10744427011596563),
    (0.4337935076260451, 0.1155056680537256), (0.3150426796961634, 0.12167047292780339),
    (0.1911188674736163, 0.1258374563468283), (0.06405689286260563, 0.12793819534675216),
)  # fmt: skip
NODES40 = (
    (0.9982377097105593, 0.004521277098533191), (0.990726238699457, 0.010498284531152813),
    (0.9772599499837743, 0.01642105838190789), (0.9579168192137917, 0.02224584919416696),
    (0.9328128082786765, 0.0279370069800234), (0.9020988069688743, 0.033460195282547844),
    (0.8659595032122595, 0.038782167974472016), (0.8246122308333117, 0.04387090818567327),
    (0.7783056514265194, 0.04869580763507223), (0.7273182551899271, 0.05322784698393682),
    (0.6719566846141796, 0.05743976909939155), (0.6125538896679802, 0.06130624249292894),
    (0.5494671250951282, 0.06480401345660104), (0.4830758016861787, 0.0679120458152339),
    (0.413779204371605, 0.07061164739128678), (0.3419940908257585, 0.07288658239580406),
    (0.2681521850072537, 0.07472316905796826), (0.1926975807013711, 0.07611036190062624),
    (0.11608407067525521, 0.07703981816424797), (0.03877241750605082, 0.0775059479784248),
)  # fmt: skip
END = 36.0  # of E: beyond, e^-E is below 3e-16
# log gamma*(a) = log gamma(a) - (a - 1/2) log a + a - log(2 pi) / 2 in powers of 1 / a^2, a >= 10
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_INFINITY = float("inf")
_ONE, _ZERO, _NAN = (expr.const(c, float64) for c in (1.0, 0.0, float("nan")))
_TINY = expr.const(1e-300, float64)


class Quadrature(Opaque, abstract=True):
    """A function of the integrals of e^-E(u) and of s e^-E(u) over s from 0, u = -s or s.

    started(a, w) -> (shape, x, whether u = -s) of the integrals;
    finished(a, w, shape, x, left, total, moment) -> the value.
    """

    public = False

    def names(x, w):
        pass

    @classmethod
    def infer(cls, types, params):
        return [(types[0][0], types[0][1])]

    @classmethod
    def axis_map(cls, call):
        return call.run(call.spread(), call.params)

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        (x, w), y = inputs, outputs[0]
        table = NODES24 if y.dtype is float32 else NODES40
        axes = [f"i{d}" for d in range(len(y.shape))]
        at = tuple(expr.index(i) for i in axes)
        a0, w0 = (expr.cast(expr.load(n, at, o.dtype), float64) for n, o in (("x0", x), ("x1", w)))
        shape, place, left = cls.started(a0, w0)
        side = expr.where(left, -_ONE, _ONE)
        end = _end(shape, place, left)
        total, moment, shape_, place_, side_, end_ = (state(0, i, float64) for i in range(6))
        node, weight = (_entry([row[k] for row in table], expr.index("t")) for k in range(2))
        for t in (0.5 - 0.5 * node, 0.5 + 0.5 * node):
            s = end_ * t
            u = side_ * s
            value = math("exp", shape_ * u - place_ * math("expm1", u)) * (0.5 * weight)
            total, moment = total + value, moment + s * value
        scan = Scan(
            0,
            (Axis("t", expr.ZERO),),
            (_ZERO, _ZERO, shape, place, side, end),
            (total, moment, shape_, place_, side_, end_),
            (),
        )
        sums = [folded(0, i, float64) * folded(0, 5, float64) for i in range(2)]
        made = cls.finished(a0, w0, shape, place, left, *sums)
        last = Map((), (Store("y0", at, expr.cast(made, y.dtype)),))
        operands = {"y0": y, "x0": x, "x1": w}
        arrays = {n: array_of(n, o, "out" if n == "y0" else "in") for n, o in operands.items()}
        extents = dict(zip(axes, y.shape, strict=True)) | {"t": len(table)}
        nest = Nest(cls.name, arrays, extents, axes, ["t"], [scan, last], [])
        return [step(nest, "grid" if axes else "none", operands)]


def _entry(values: Sequence[float], place: Expr) -> Expr:
    """values[place], by halves."""
    if len(values) == 1:
        return expr.const(values[0], float64)
    middle = len(values) // 2
    low, high = _entry(values[:middle], place), _entry(values[middle:], place - middle)
    return expr.where(place < middle, low, high)


def _end(a: Expr, x: Expr, left: Expr) -> Expr:
    """Where E is 36."""
    side = expr.where(left, -_ONE, _ONE)
    some = expr.maximum(x, _TINY)
    root = expr.unary("sqrt", 2.0 * END / some)
    low = expr.minimum((x + END) / a, root * 1.3)
    high = expr.where(a > 10.0, root, math("log1p", 2.0 * END / some))
    # E is convex, and there it is above END: Newton's steps come down to it.
    end = expr.where(left, low, high)
    for _ in range(3):
        u = side * end
        rise = math("expm1", u)
        slope = side * (x * (rise + 1.0) - a)
        end = end - (x * rise - a * u - END) / slope
    return end


def _density(a: Expr, x: Expr) -> Expr:
    """x^a e^-x / gamma(a) for a > 0, x > 0."""
    big = a > 10.0
    far = expr.where(big, a, 10.0)
    square = 1.0 / (far * far)
    star = expr.const(_STIRLING[-1], float64)
    for c in _STIRLING[-2::-1]:
        star = star * square + c
    stretched = far * math("log1p", (x - far) / far) - (x - far) - star / far
    at_big = math("exp", stretched) * expr.unary("sqrt", far * (0.5 / pi))
    near = expr.where(big, 1.0, a)
    direct = math("exp", near * math("log", x) - x - math("lgamma", near))
    return expr.where(big, at_big, direct)


class Incomplete(Quadrature, abstract=True):
    """P(a, x) or Q(a, x) = 1 - P(a, x): the smaller of the two is summed."""

    def started(a, w):
        good = _inside(a, w)
        a, x = expr.where(good, a, 1.0), expr.where(good, w, 1.0)
        # Below 1 the integrand has a long plateau: P(a) = P(a + 1) + x^a e^-x / gamma(a + 1).
        shape = expr.where((a < 1.0) & (x < 1.0), a + 1.0, a)
        return shape, x, x < shape

    def finished(a, w, shape, x, left, total, moment, *, upper=False):
        good = _inside(a, w)
        a0 = expr.where(good, a, 1.0)
        small = (a0 < 1.0) & (x < 1.0)
        tail = total * _density(shape, x)
        power = a0 * math("log", x) - math("lgamma", a0 + 1.0)
        if upper:
            # 1 - x^a / gamma(a + 1) - a sum over n >= 1 of (-x)^n / (n! (a + n)) times the same
            series, term = _ZERO, _ONE
            for n in range(1, 19):
                term = term * (x * (-1.0 / n))
                series = series + term / (a0 + float(n))
            plateau = -math("expm1", power) - a0 * series * math("exp", power)
            made = expr.where(small, plateau, expr.where(left, 1.0 - tail, tail))
        else:
            lower = expr.where(left, tail, 1.0 - tail)
            made = expr.where(small, lower + math("exp", power - x), lower)
        made = expr.minimum(made, _ONE)
        # The ends: P is 0 at x = 0 and for a = inf, 1 at x = inf and for a = 0.
        ends = expr.where((w > 0.0) & (a < _INFINITY), _ONE, _ZERO)
        unknown = (a.eq(0.0) & w.eq(0.0)) | (a.eq(_INFINITY) & w.eq(_INFINITY))
        valid = (a >= 0.0) & (w >= 0.0) & ~unknown
        ends = expr.where(valid, 1.0 - ends if upper else ends, _NAN)
        return expr.where(good, made, ends)


def _inside(a: Expr, x: Expr) -> Expr:
    return (a > 0.0) & (x > 0.0) & (a < _INFINITY) & (x < _INFINITY)


class gamma_lower(Incomplete):
    """P(a, x)."""

    def vjp_x(g, x, w):
        return -g * _moved(x, w)

    def vjp_w(g, x, w):
        return g * exp(xlogy(x - 1.0, w) - w - lgamma(x))


class gamma_upper(Incomplete):
    """Q(a, x)."""

    def finished(*parts):
        return Incomplete.finished(*parts, upper=True)

    def vjp_x(g, x, w):
        return g * _moved(x, w)

    def vjp_w(g, x, w):
        return -g * exp(xlogy(x - 1.0, w) - w - lgamma(x))


def _moved(a: Any, x: Any) -> Any:
    """-dP/da: the density of log x times how its quantile moves with a."""
    inside = x > 0.0
    x = where(inside, x, 1.0)
    return where(inside, exp(a * log(x) - x - lgamma(a)) * slope_of(a, log(x)), 0.0)


class gamma_slope(Quadrature):
    """d log q / da of the quantile q of a gamma variable of shape a, where log q = w.

    -dP/da over the density of log q: the implicit reparametrisation of Figurnov, Mohamed and Mnih,
    "Implicit reparameterization gradients", 2018. As psi(a) is the mean of log t, -dP/da is the
    integral of psi(a) - log t below q, or of its negative above.
    """

    def started(a, w):
        good = _finite(a, w)
        a, place = expr.where(good, a, 1.0), expr.where(good, w, 0.0)
        # From a + 1 by L(a) = (x L(a + 1) + psi(a + 1) - log x) / a.
        shape = expr.where((a < 1.0) & (place < 0.0), a + 1.0, a)
        x = math("exp", expr.maximum(place, expr.const(-700.0, float64)))
        return shape, x, place < math("digamma", shape)

    def finished(a, w, shape, x, left, total, moment):
        good = _finite(a, w)
        place = expr.where(good, w, 0.0)
        apart = math("digamma", shape) - place
        made = abs(apart) * total + moment
        small = (a < 1.0) & (place < 0.0)
        made = expr.where(small, (x * made + apart) / expr.where(good, a, 1.0), made)
        return expr.where(good, made, _NAN)

    def vjp_x(g, x, w):
        raise NotImplementedError(
            "gamma: the second derivative of a draw in its concentration is not there; "
            "differentiate once in it"
        )

    def vjp_w(g, x, w, y):
        return g * (digamma(x) - w - y * (x - exp(w)))


def _finite(a: Expr, place: Expr) -> Expr:
    return (a > 0.0) & (a < _INFINITY) & (place < 700.0) & place.eq(place)


def slope_of(a: Any, place: Any) -> Any:
    """gamma_slope of tensors of one shape and dtype."""
    return gamma_slope(a, place)


def _called(record: Any, name: str, x: Any, other: Any) -> Any:
    types = [
        (tuple(v.shape), v.dtype, False) if isinstance(v, Tensor) else ((), of_scalar(v), True)
        for v in (x, other)
    ]
    kind = result_type(types)
    if kind.category != FLOATING:
        kind = get_default_dtype()
    shape = broadcast_shapes(name, types[0][0], types[1][0])
    pair = [
        expand(to_dtype(v, kind) if isinstance(v, Tensor) else tensor(v, dtype=kind), shape)
        for v in (x, other)
    ]
    return record(*pair)


def igamma(x, other):
    """igamma(a, x) = P(a, x), the regularised lower incomplete gamma function.

    1 / gamma(a) times the integral of t^(a - 1) e^-t from 0 to x, for a, x >= 0; NaN elsewhere.
    Relative error up to 1e-12 in float64 for a up to 1e6. Gradients in both arguments; that in a
    has itself none.

    >>> import lucid
    >>> lucid.igamma(lucid.tensor([1.0, 2.0]), lucid.tensor([1.0, 1.0]))
    tensor([0.6321, 0.2642])
    """
    return _called(gamma_lower, "igamma", x, other)


def igammac(x, other):
    """igammac(a, x) = Q(a, x) = 1 - P(a, x), the regularised upper incomplete gamma function.

    1 / gamma(a) times the integral of t^(a - 1) e^-t from x on, for a, x >= 0; NaN elsewhere.
    Relative error up to 1e-12 in float64 for a from 1e-3 to 1e6, where it is above 1e-290.
    Gradients in both arguments; that in a has itself none.

    >>> import lucid
    >>> lucid.igammac(lucid.tensor([1.0, 2.0]), lucid.tensor([1.0, 1.0]))
    tensor([0.3679, 0.7358])
    """
    return _called(gamma_upper, "igammac", x, other)
