"""Elementwise ops: arithmetic, comparison, logic, rounding. Transcendental ones: transcendental.py.

Each record is a scalar body, a rule for each input that has a gradient, and a NumPy reference.
"""

import numpy as np

from lucid import dtypes
from lucid.dtypes import BOOL, FLOATING, bool_, int64
from lucid.kernel import expr
from lucid.kernel.expr import checked, mad, one, zero
from lucid.op import ERROR_DIVISION, Elementwise, OpMeta, broadcast_index, result_type
from lucid.ops.logic import isnan


class add(Elementwise):
    """add(x, w) = x + w; on bool, x or w.

    >>> import lucid
    >>> lucid.ones(2) + lucid.tensor([1.0, 2.0])
    tensor([2., 3.])
    """

    def body(b, x, w):
        return x | w if x.dtype is bool_ else x + w

    def vjp_x(g):
        return g

    def vjp_w(g):
        return g

    ref = np.add


class sub(Elementwise):
    """sub(x, w) = x - w.

    >>> import lucid
    >>> lucid.ones(2) - lucid.tensor([1.0, 2.0])
    tensor([ 0., -1.])
    """

    refuses = (BOOL,)

    def body(b, x, w):
        return x - w

    def vjp_x(g):
        return g

    def vjp_w(g):
        return -g

    ref = np.subtract


class mul(Elementwise):
    """mul(x, w) = x * w; on bool, x and w.

    >>> import lucid
    >>> lucid.mul(lucid.tensor([1.0, 2.0]), 3)
    tensor([3., 6.])
    """

    def body(b, x, w):
        return x & w if x.dtype is bool_ else x * w

    def vjp_x(g, w):
        return g * w

    def vjp_w(g, x):
        return g * x

    ref = np.multiply


class div(Elementwise):
    """div(x, w) = x / w; integers become the default floating type.

    >>> import lucid
    >>> lucid.tensor([7, 8]) / 2
    tensor([3.5000, 4.0000])
    """

    result = "float"

    def body(b, x, w):
        return x / w

    def vjp_x(g, w):
        return g / w

    def vjp_w(g, x, w):
        return -g * x / (w * w)

    ref = np.true_divide


class neg(Elementwise):
    """neg(x) = -x.

    >>> import lucid
    >>> lucid.neg(lucid.tensor([1, -2]))
    tensor([-1,  2])
    """

    refuses = (BOOL,)

    def body(b, x):
        return -x

    def vjp_x(g):
        return -g

    ref = np.negative


class positive(Elementwise):
    """positive(x) = x.

    >>> import lucid
    >>> lucid.positive(lucid.tensor([1, -2]))
    tensor([ 1, -2])
    """

    refuses = (BOOL,)

    def body(b, x):
        return x

    def vjp_x(g):
        return g

    ref = np.positive


class Same(Elementwise, abstract=True):
    """The values of x."""

    def body(b, x):
        return x

    def vjp_x(g):
        return g

    ref = np.copy


class clone(Same):
    """clone(x): the same values in new memory."""


class assign(Same):
    """What `copy_` writes: the source, in the target's type."""

    public = False


class contiguous_copy(Same):
    """The same values, row-major."""

    public = False
    row_major = True


class abs_(Elementwise):
    """abs(x) = |x|. The gradient at 0 is 0.

    >>> import lucid
    >>> lucid.abs(lucid.tensor([-1, 2]))
    tensor([1, 2])
    """

    def body(b, x):
        return x if x.dtype is bool_ or not x.dtype.signed else abs(x)

    def vjp_x(g, x):
        return g * sign(x)

    ref = np.abs


class sign(Elementwise):
    """sign(x) = -1, 0 or 1; 0 at NaN as at 0.

    >>> import lucid
    >>> lucid.sign(lucid.tensor([-3.0, 0.0, 2.0]))
    tensor([-1.,  0.,  1.])
    """

    def body(b, x):
        if x.dtype is bool_:
            return x
        above = b.where(x > 0, one(x), zero(x))
        return b.where(x < 0, b.const(-1, x.dtype), above) if x.dtype.signed else above

    def vjp_x(g):
        return g * 0.0

    def ref(x):
        return np.where(np.isnan(x), 0, np.sign(x)) if x.dtype.kind == "f" else np.sign(x)


class square(Elementwise):
    """square(x) = x * x.

    >>> import lucid
    >>> lucid.square(lucid.tensor([-3, 2]))
    tensor([9, 4])
    """

    def body(b, x):
        return x * x

    @classmethod
    def common(cls, types):
        kind = super().common(types)
        return int64 if kind is bool_ else kind

    def vjp_x(g, x):
        return g * x * 2.0

    ref = np.square


class reciprocal(Elementwise):
    """reciprocal(x) = 1 / x.

    >>> import lucid
    >>> lucid.reciprocal(lucid.tensor([2.0, -4.0]))
    tensor([ 0.5000, -0.2500])
    """

    result = "float"

    def body(b, x):
        return 1.0 / x

    def vjp_x(g, y):
        return -g * (y * y)

    ref = np.reciprocal


class sqrt(Elementwise):
    """sqrt(x); NaN below 0.

    >>> import lucid
    >>> lucid.sqrt(lucid.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """

    result = "float"
    domain = (0.0, 9.0)

    def body(b, x):
        return b.unary("sqrt", x)

    def vjp_x(g, y):
        return g / (y * 2.0)

    ref = np.sqrt


class rsqrt(Elementwise):
    """rsqrt(x) = 1 / sqrt(x).

    >>> import lucid
    >>> lucid.rsqrt(lucid.tensor([4.0, 16.0]))
    tensor([0.5000, 0.2500])
    """

    result = "float"
    domain = (0.1, 9.0)

    def body(b, x):
        return 1.0 / b.unary("sqrt", x)

    def vjp_x(g, y):
        return g * (y * y * y) * -0.5

    def ref(x):
        return 1 / np.sqrt(x)


def _rounding(name: str, primitive: str, formula: str, reference, result: str):
    """An op that rounds: integers pass through, the gradient is 0."""

    def body(b, x):
        return b.unary(primitive, x) if x.dtype.category == FLOATING else x

    def vjp_x(g):
        return g * 0.0

    call = f">>> import lucid\n>>> lucid.{name}(lucid.tensor([-1.75, 0.5, 2.5]))"
    doc = f"{name}(x): {formula}\n\n{call}\ntensor({result})\n"
    members = {"body": body, "vjp_x": vjp_x, "ref": reference, "__doc__": doc}
    return OpMeta(name, (Elementwise,), members)


floor = _rounding("floor", "floor", "the largest integer not above x.", np.floor, "[-2.,  0.,  2.]")
ceil = _rounding("ceil", "ceil", "the smallest integer not below x.", np.ceil, "[-1.,  1.,  3.]")
trunc = _rounding("trunc", "trunc", "x without its fraction.", np.trunc, "[-1.,  0.,  2.]")
round_ = _rounding("round", "rint", "to nearest, ties to even.", np.rint, "[-2.,  0.,  2.]")


class frac(Elementwise):
    """frac(x) = x - trunc(x).

    >>> import lucid
    >>> lucid.frac(lucid.tensor([1.5, -2.25]))
    tensor([ 0.5000, -0.2500])
    """

    def body(b, x):
        return x - b.unary("trunc", x)

    def vjp_x(g):
        return g

    def ref(x):
        return x - np.trunc(x)


class maximum(Elementwise):
    """maximum(x, w): the larger, NaN if either is. Equal inputs share the gradient.

    >>> import lucid
    >>> lucid.maximum(lucid.tensor([1, 5]), lucid.tensor([3, 2]))
    tensor([3, 5])
    """

    def body(b, x, w):
        return x | w if x.dtype is bool_ else b.maximum(x, w)

    def vjp_x(g, x, w):
        return g * share(x, w)

    def vjp_w(g, x, w):
        return g * share(w, x)

    ref = np.maximum


class minimum(Elementwise):
    """minimum(x, w): the smaller, NaN if either is. Equal inputs share the gradient.

    >>> import lucid
    >>> lucid.minimum(lucid.tensor([1, 5]), lucid.tensor([3, 2]))
    tensor([1, 2])
    """

    def body(b, x, w):
        return x & w if x.dtype is bool_ else b.minimum(x, w)

    def vjp_x(g, x, w):
        return g * share(w, x)

    def vjp_w(g, x, w):
        return g * share(x, w)

    ref = np.minimum


class share(Elementwise):
    """1 where x > w, 1/2 where x == w, else 0: the gradient of a maximum."""

    public = False
    result = "float"

    def body(b, x, w):
        return b.where(x > w, one(x), b.where(x.eq(w), b.const(0.5, x.dtype), zero(x)))

    def vjp_x(g):
        return g * 0.0

    def vjp_w(g):
        return g * 0.0

    def ref(x, w):
        return np.where(x > w, 1.0, np.where(x == w, 0.5, 0.0)).astype(x.dtype)


class fmax(Elementwise):
    """fmax(x, w): the larger; a NaN is ignored if the other is a number.

    >>> import lucid
    >>> lucid.fmax(lucid.tensor([1.0, float("nan")]), lucid.tensor([0.0, 2.0]))
    tensor([1., 2.])
    """

    def body(b, x, w):
        if x.dtype is bool_:
            return x | w
        return b.where((x >= w) | b.isnan(w), x, w)

    def vjp_x(g, x, w):
        return where((x >= w) | isnan(w), g, 0.0)

    def vjp_w(g, x, w):
        return where((x >= w) | isnan(w), 0.0, g)

    ref = np.fmax


class fmin(Elementwise):
    """fmin(x, w): the smaller; a NaN is ignored if the other is a number.

    >>> import lucid
    >>> lucid.fmin(lucid.tensor([1.0, float("nan")]), lucid.tensor([0.0, 2.0]))
    tensor([0., 2.])
    """

    def body(b, x, w):
        if x.dtype is bool_:
            return x & w
        return b.where((x <= w) | b.isnan(w), x, w)

    def vjp_x(g, x, w):
        return where((x <= w) | isnan(w), g, 0.0)

    def vjp_w(g, x, w):
        return where((x <= w) | isnan(w), 0.0, g)

    ref = np.fmin


def _checked_divisor(y):
    return checked(y, y.ne(0), ERROR_DIVISION, y)


def _modulo(b, x, w, floored: bool):
    """The remainder of x / w: with the sign of w (floored) or of x."""
    if x.dtype.category == FLOATING:
        wide = dtypes.float64
        u, v = b.cast(x, wide), b.cast(w, wide)
        # One fused step is exact while the quotient is below 2^53.
        r = mad(-b.unary("trunc", u / v), v, u)
        r = b.where(abs(u) < abs(v), u, r)
        r = b.where(abs(v).eq(float("inf")) & abs(u).ne(float("inf")), u, r)
        if floored:
            r = b.where(r.ne(0.0) & ((r < 0.0) ^ (v < 0.0)), r + v, r)
        return b.cast(r, x.dtype)
    w = _checked_divisor(w)
    r = b.binary("irem", x, w)
    if floored and x.dtype.signed:
        r = b.where(r.ne(0) & ((r < 0) ^ (w < 0)), r + w, r)
    return r


class remainder(Elementwise):
    """remainder(x, w) = x - floor(x / w) * w, with the sign of w. An integer w of 0 raises.

    >>> import lucid
    >>> lucid.remainder(lucid.tensor([-7, 7]), 3)
    tensor([2, 1])
    """

    refuses = (BOOL,)

    def body(b, x, w):
        return _modulo(b, x, w, True)

    def vjp_x(g):
        return g

    def vjp_w(g, x, w):
        return -g * floor(x / w)

    domain_w = (0.5, 3.0)
    ref = np.remainder


class fmod(Elementwise):
    """fmod(x, w) = x - trunc(x / w) * w, with the sign of x. An integer w of 0 raises.

    >>> import lucid
    >>> lucid.fmod(lucid.tensor([-7, 7]), 3)
    tensor([-1,  1])
    """

    refuses = (BOOL,)

    def body(b, x, w):
        return _modulo(b, x, w, False)

    def vjp_x(g):
        return g

    def vjp_w(g, x, w):
        return -g * trunc(x / w)

    domain_w = (0.5, 3.0)
    ref = np.fmod


class floor_divide(Elementwise):
    """floor_divide(x, w) = floor(x / w). An integer w of 0 raises.

    >>> import lucid
    >>> lucid.floor_divide(lucid.tensor([-7, 7]), 2)
    tensor([-4,  3])
    """

    refuses = (BOOL,)

    def body(b, x, w):
        if x.dtype.category == FLOATING:
            q = b.unary("rint", (x - _modulo(b, x, w, True)) / w)
            return b.where(w.eq(0.0), x / w, q)
        w = _checked_divisor(w)
        q = b.binary("idiv", x, w)
        if not x.dtype.signed:
            return q
        r = x - q * w
        return b.where(r.ne(0) & ((r < 0) ^ (w < 0)), q - 1, q)

    def vjp_x(g):
        return g * 0.0

    def vjp_w(g):
        return g * 0.0

    domain_w = (0.5, 3.0)
    ref = np.floor_divide


class div_trunc(Elementwise):
    """trunc(x / w): div with rounding_mode="trunc". An integer w of 0 raises."""

    public = False

    def body(b, x, w):
        if x.dtype.category == FLOATING:
            return b.unary("trunc", x / w)
        return b.binary("idiv", x, _checked_divisor(w))

    def vjp_x(g):
        return g * 0.0

    def vjp_w(g):
        return g * 0.0

    domain_w = (0.5, 3.0)

    def ref(x, w):
        return np.trunc(x / w).astype(x.dtype)


class where(Elementwise):
    """where(condition, x, w): x where the condition holds, else w."""

    def body(b, condition, x, w):
        raise NotImplementedError  # see elements: the condition is not promoted

    @classmethod
    def infer(cls, types, params):
        if types[0][1] is not bool_:
            raise RuntimeError(f"where: the condition must be bool, got {types[0][1]!r}")
        return super().infer(types, params)

    @classmethod
    def common(cls, types):
        return result_type(types[1:])

    @classmethod
    def elements(cls, types, params, index, loads):
        c, x, w = (read(broadcast_index(t[0], index)) for t, read in zip(types, loads, strict=True))
        kind = cls.common(types)
        made = expr.where(
            expr.cast(c, bool_), expr.cast(x, kind.compute), expr.cast(w, kind.compute)
        )
        return [expr.cast(made, kind)]

    def vjp_x(g, condition):
        return where(condition, g, 0.0)

    def vjp_w(g, condition):
        return where(condition, 0.0, g)

    ref = np.where
