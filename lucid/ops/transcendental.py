"""Transcendental elementwise ops and the activations made of them.

The vector math itself is the backend's (backend/cpu/math); here are bodies, rules, references.
"""

from math import pi
from math import sqrt as root

import numpy as np

from lucid.dtypes import FLOATING, bool_
from lucid.kernel.expr import math, one, zero
from lucid.lazy import lazy
from lucid.op import Elementwise, OpMeta
from lucid.ops.elementwise import sqrt, where

special = lazy("scipy.special", extra="scipy")


# Under autocast these run in float32: their results span more than 16 bits hold.
FLOAT32 = frozenset("exp exp2 expm1 log log2 log10 log1p pow".split())


# An argument and the value there, for the example of each function's docstring; others are 0 at 0.
SHOWN = {
    "exp": (0.0, 1.0), "exp2": (3.0, 8.0), "log": (1.0, 0.0), "log2": (8.0, 3.0),
    "log10": (100.0, 2.0), "cos": (0.0, 1.0), "acos": (1.0, 0.0), "cosh": (0.0, 1.0),
    "acosh": (1.0, 0.0), "erfc": (0.0, 1.0), "lgamma": (1.0, 0.0),
}  # fmt: skip


def unary(name: str, formula: str, rule, reference, domain=(-3.0, 3.0)):
    """An op whose body is one function of the vector math."""

    def body(b, x):
        return math(name, x)

    at, value = SHOWN.get(name, (0.0, 0.0))
    example = f">>> import lucid\n>>> lucid.{name}(lucid.tensor({at})).item()\n{value}\n"
    members = {
        "body": body,
        "result": "float",
        "vjp_x": rule,
        "ref": reference,
        "domain": domain,
        "autocast": "float32" if name in FLOAT32 else "widest",
        "__doc__": f"{formula}\n\n{example}",
    }
    return OpMeta(name, (Elementwise,), members)


def _exp(g, y):
    return g * y


def _exp2(g, y):
    return g * (y * 0.6931471805599453)


def _expm1(g, y):
    return g * (y + 1.0)


def _log(g, x):
    return g / x


def _log2(g, x):
    return g / (x * 0.6931471805599453)


def _log10(g, x):
    return g / (x * 2.302585092994046)


def _log1p(g, x):
    return g / (x + 1.0)


def _sin(g, x):
    return g * cos(x)


def _cos(g, x):
    return -g * sin(x)


def _tan(g, y):
    return g * (1.0 + y * y)


def _asin(g, x):
    return g / sqrt(1.0 - x * x)


def _acos(g, x):
    return -g / sqrt(1.0 - x * x)


def _atan(g, x):
    return g / (x * x + 1.0)


def _sinh(g, x):
    return g * cosh(x)


def _cosh(g, x):
    return g * sinh(x)


def _tanh(g, y):
    return g * (1.0 - y * y)


def _asinh(g, x):
    return g / sqrt(x * x + 1.0)


def _acosh(g, x):
    return g / sqrt(x * x - 1.0)


def _atanh(g, x):
    return g / (1.0 - x * x)


def _erf(g, x):
    return g * (exp(-x * x) * (2.0 / root(pi)))


def _erfc(g, x):
    return g * (exp(-x * x) * (-2.0 / root(pi)))


def _erfinv(g, y):
    return g * (exp(y * y) * (root(pi) / 2.0))


def _special(name: str):
    """A SciPy reference, looked up when a test calls it."""

    def reference(x):
        return getattr(special, name)(x)

    return reference


exp = unary("exp", "exp(x) = e^x.", _exp, np.exp)


class exp_negative(Elementwise):
    """e^x for x <= 0; below the smallest normal number 0."""

    public = False
    result = "float"
    domain = (-3.0, -0.1)

    def body(b, x):
        return math("exp_negative", x)

    vjp_x = _exp
    ref = np.exp


exp2 = unary("exp2", "exp2(x) = 2^x.", _exp2, np.exp2)
expm1 = unary("expm1", "expm1(x) = e^x - 1, exact near 0.", _expm1, np.expm1)
log = unary("log", "log(x), natural; -inf at 0, NaN below.", _log, np.log, (0.1, 9.0))
log2 = unary("log2", "log2(x), to base 2.", _log2, np.log2, (0.1, 9.0))
log10 = unary("log10", "log10(x), to base 10.", _log10, np.log10, (0.1, 9.0))
log1p = unary("log1p", "log1p(x) = log(1 + x), exact near 0.", _log1p, np.log1p, (-0.9, 9.0))
sin = unary("sin", "sin(x), x in radians.", _sin, np.sin)
cos = unary("cos", "cos(x), x in radians.", _cos, np.cos)
tan = unary("tan", "tan(x), x in radians.", _tan, np.tan, (-1.2, 1.2))
asin = unary("asin", "asin(x), in radians; NaN outside [-1, 1].", _asin, np.arcsin, (-0.9, 0.9))
acos = unary("acos", "acos(x), in radians; NaN outside [-1, 1].", _acos, np.arccos, (-0.9, 0.9))
atan = unary("atan", "atan(x), in radians.", _atan, np.arctan)
sinh = unary("sinh", "sinh(x) = (e^x - e^-x) / 2.", _sinh, np.sinh)
cosh = unary("cosh", "cosh(x) = (e^x + e^-x) / 2.", _cosh, np.cosh)
tanh = unary("tanh", "tanh(x) = sinh(x) / cosh(x).", _tanh, np.tanh)
asinh = unary("asinh", "asinh(x), the inverse of sinh.", _asinh, np.arcsinh)
acosh = unary("acosh", "acosh(x); NaN below 1.", _acosh, np.arccosh, (1.1, 9.0))
atanh = unary("atanh", "atanh(x); NaN outside [-1, 1].", _atanh, np.arctanh, (-0.9, 0.9))
erf = unary("erf", "erf(x) = 2/sqrt(pi) int_0^x e^(-t^2) dt.", _erf, _special("erf"))
erfc = unary("erfc", "erfc(x) = 1 - erf(x).", _erfc, _special("erfc"))
erfinv = unary("erfinv", "The inverse of erf.", _erfinv, _special("erfinv"), (-0.9, 0.9))


class atan2(Elementwise):
    """atan2(x, w): the angle of the point (w, x), in radians.

    >>> import lucid
    >>> lucid.atan2(lucid.tensor([1.0, 0.0]), lucid.tensor([0.0, -1.0]))
    tensor([1.5708, 3.1416])
    """

    result = "float"

    def body(b, x, w):
        return math("atan2", x, w)

    def vjp_x(g, x, w):
        return g * w / (x * x + w * w)

    def vjp_w(g, x, w):
        return -g * x / (x * x + w * w)

    ref = np.arctan2


class pow_(Elementwise):
    """pow(x, w) = x ** w; integers by repeated squaring, a negative integer power is 0 or +-1."""

    autocast = "float32"

    def body(b, x, w):
        if x.dtype.category == FLOATING:
            return math("pow", x, w)
        if x.dtype is bool_:
            return x | ~w
        result, square_, left = one(x), x, w
        for _ in range(8 * x.dtype.itemsize - x.dtype.signed):
            odd = (left & 1).eq(1)
            result = b.where(odd, result * square_, result)
            square_ = square_ * square_
            left = b.binary("lshr", left, one(left))
        if x.dtype.signed:
            unit = b.where(x.eq(1), one(x), zero(x))
            unit = b.where(x.eq(-1), b.where((w & 1).eq(1), x, one(x)), unit)
            result = b.where(w < 0, unit, result)
        return result

    def vjp_x(g, x, w):
        return g * where(w == 0.0, 0.0, w * pow_(x, w - 1.0))

    def vjp_w(g, x, w):
        raised = pow_(x, w)
        return g * where((x == 0.0) & (w >= 0.0), 0.0, raised * log(x))

    domain = (0.2, 3.0)
    ref = np.power


class logaddexp(Elementwise):
    """logaddexp(x, w) = log(e^x + e^w).

    >>> import lucid
    >>> lucid.logaddexp(lucid.tensor([0.0]), lucid.tensor([0.0]))
    tensor([0.6931])
    """

    result = "float"

    def body(b, x, w):
        high = b.maximum(x, w)
        made = high + math("log1p", math("exp", -abs(x - w)))
        return b.where(x.eq(w) & abs(x).eq(float("inf")), x, made)

    def vjp_x(g, x, w):
        return g * sigmoid(x - w)

    def vjp_w(g, x, w):
        return g * sigmoid(w - x)

    ref = np.logaddexp


class xlogy(Elementwise):
    """xlogy(x, w) = x log(w), and 0 where x is 0 unless w is NaN.

    >>> import lucid
    >>> lucid.xlogy(lucid.tensor([0.0, 2.0]), lucid.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """

    result = "float"

    def body(b, x, w):
        return b.where(x.eq(0.0) & w.eq(w), zero(x), x * math("log", w))

    def vjp_x(g, x, w):
        return g * where((x == 0.0) & (w <= 0.0), 0.0, log(w))

    def vjp_w(g, x, w):
        return g * x / w

    domain = (0.2, 3.0)

    def ref(x, w):
        return np.where(x == 0, 0.0, x * np.log(np.where(x == 0, 1, w)))


# Activations


class sigmoid(Elementwise):
    """sigmoid(x) = 1 / (1 + e^-x).

    >>> import lucid
    >>> lucid.sigmoid(lucid.tensor(0.0)).item()
    0.5
    """

    result = "float"

    def body(b, x):
        return 1.0 / (math("exp", -x) + 1.0)

    def vjp_x(g, y):
        return g * (y * (1.0 - y))

    def ref(x):
        return 1 / (1 + np.exp(-x))


class relu(Elementwise):
    """relu(x) = max(x, 0). The gradient at 0 is 0; NaN stays NaN.

    >>> import lucid
    >>> lucid.relu(lucid.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def body(b, x):
        return b.where(x <= 0, zero(x), x)

    def vjp_x(g, y):
        return where(y <= 0.0, 0.0, g)

    def ref(x):
        return np.maximum(x, 0)


class relu6(Elementwise):
    """relu6(x) = min(max(x, 0), 6).

    >>> import lucid
    >>> lucid.nn.functional.relu6(lucid.tensor([-1.0, 3.0, 9.0]))
    tensor([0., 3., 6.])
    """

    def body(b, x):
        return b.minimum(b.maximum(x, zero(x)), b.const(6, x.dtype))

    def vjp_x(g, x):
        return where((x > 0.0) & (x < 6.0), g, 0.0)

    def ref(x):
        return np.clip(x, 0, 6)


class leaky_relu(Elementwise):
    """leaky_relu(x, negative_slope=0.01) = x if x > 0 else negative_slope * x.

    >>> import lucid
    >>> lucid.nn.functional.leaky_relu(lucid.tensor([-2.0, 3.0]), 0.5)
    tensor([-1.,  3.])
    """

    def body(b, x, negative_slope):
        return b.where(x > 0.0, x, x * negative_slope)

    def vjp_x(g, x, negative_slope):
        return where(x > 0.0, g, g * negative_slope)

    optional = {"negative_slope": 0.01}

    def ref(x, negative_slope=0.01):
        return np.where(x > 0, x, x * negative_slope)


class elu(Elementwise):
    """elu(x, alpha=1) = x if x > 0 else alpha (e^x - 1).

    >>> import lucid
    >>> lucid.nn.functional.elu(lucid.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    def body(b, x, alpha):
        return b.where(x > 0.0, x, alpha * math("expm1", x))

    def vjp_x(g, x, alpha):
        return where(x > 0.0, g, g * alpha * exp(x))

    optional = {"alpha": 1.0}

    def ref(x, alpha=1.0):
        return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


class silu(Elementwise):
    """silu(x) = x sigmoid(x).

    >>> import lucid
    >>> lucid.nn.functional.silu(lucid.tensor([0.0, 2.0]))
    tensor([0.0000, 1.7616])
    """

    result = "float"

    def body(b, x):
        return x / (math("exp", -x) + 1.0)

    def vjp_x(g, x):
        s = sigmoid(x)
        return g * (s * (1.0 + x * (1.0 - s)))

    def ref(x):
        return x / (1 + np.exp(-x))


class softplus(Elementwise):
    """softplus(x, beta=1, threshold=20) = log(1 + e^(beta x)) / beta; x where beta x is larger
    than the threshold.

    >>> import lucid
    >>> lucid.nn.functional.softplus(lucid.tensor([0.0, 100.0]))
    tensor([  0.6931, 100.0000])
    """

    result = "float"

    def body(b, x, beta, threshold):
        t = x * beta
        high = b.maximum(t, zero(t))
        made = (high + math("log1p", math("exp", -abs(t)))) / beta
        return b.where(t > threshold, x, made)

    def vjp_x(g, x, beta, threshold):
        return where(x * beta > threshold, g, g * sigmoid(x * beta))

    optional = {"beta": 1.0, "threshold": 20.0}

    def ref(x, beta=1.0, threshold=20.0):
        return np.where(x * beta > threshold, x, np.log1p(np.exp(x * beta)) / beta)


class logsigmoid(Elementwise):
    """logsigmoid(x) = log(sigmoid(x)), exact for large |x|.

    >>> import lucid
    >>> lucid.nn.functional.logsigmoid(lucid.tensor(0.0))
    tensor(-0.6931)
    """

    result = "float"

    def body(b, x):
        return b.minimum(x, zero(x)) - math("log1p", math("exp", -abs(x)))

    def vjp_x(g, x):
        return g * sigmoid(-x)

    def ref(x):
        return -np.logaddexp(0, -x)


class hardtanh(Elementwise):
    """hardtanh(x, min_val=-1, max_val=1) = min(max(x, min_val), max_val).

    >>> import lucid
    >>> lucid.nn.functional.hardtanh(lucid.tensor([-3.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """

    def body(b, x, min_val, max_val):
        return b.minimum(b.maximum(x, min_val), max_val)

    def vjp_x(g, x, min_val, max_val):
        return where((x > min_val) & (x < max_val), g, 0.0)

    optional = {"min_val": -1.0, "max_val": 1.0}

    def ref(x, min_val=-1.0, max_val=1.0):
        return np.clip(x, min_val, max_val)


class hardsigmoid(Elementwise):
    """hardsigmoid(x) = min(max(x / 6 + 1/2, 0), 1).

    >>> import lucid
    >>> lucid.nn.functional.hardsigmoid(lucid.tensor([-3.0, 0.0]))
    tensor([0.0000, 0.5000])
    """

    result = "float"

    def body(b, x):
        return b.minimum(b.maximum(x / 6.0 + 0.5, zero(x)), one(x))

    def vjp_x(g, x):
        return where((x > -3.0) & (x < 3.0), g / 6.0, 0.0)

    def ref(x):
        return np.clip(x / 6 + 0.5, 0, 1)


class hardswish(Elementwise):
    """hardswish(x) = x min(max(x + 3, 0), 6) / 6.

    >>> import lucid
    >>> lucid.nn.functional.hardswish(lucid.tensor([-3.0, 3.0]))
    tensor([-0.,  3.])
    """

    result = "float"

    def body(b, x):
        return x * b.minimum(b.maximum(x + 3.0, zero(x)), b.const(6, x.dtype)) / 6.0

    def vjp_x(g, x):
        return where(x >= 3.0, g, where(x <= -3.0, 0.0, g * (x / 3.0 + 0.5)))

    def ref(x):
        return x * np.clip(x + 3, 0, 6) / 6


class mish(Elementwise):
    """mish(x) = x tanh(softplus(x)).

    >>> import lucid
    >>> lucid.nn.functional.mish(lucid.tensor([0.0, 2.0]))
    tensor([0.0000, 1.9440])
    """

    result = "float"

    def body(b, x):
        soft = b.maximum(x, zero(x)) + math("log1p", math("exp", -abs(x)))
        return x * math("tanh", soft)

    def vjp_x(g, x):
        t = tanh(softplus(x, 1.0, 20.0))
        return g * (t + x * sigmoid(x) * (1.0 - t * t))

    def ref(x):
        return x * np.tanh(np.log1p(np.exp(x)))
