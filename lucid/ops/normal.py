"""The normal distribution function and gelu: elementwise records, as in transcendental.py.

ops/methods.py makes gelu a function.
"""

from math import log as log_of
from math import pi
from math import sqrt as root

import numpy as np

from lucid.dtypes import float32
from lucid.kernel.expr import mad, math, zero
from lucid.lazy import lazy
from lucid.op import Elementwise
from lucid.ops.transcendental import exp_negative, tanh

special = lazy("scipy.special", extra="scipy")

# log(2 Phi(-z sqrt 2)) + z^2 on [0, 6]: weighted least squares, made minimax by Lawson's iteration.
TAIL = (
    1.1487323337000532e-07, -1.1283885531470959, 0.3634998452650078, -0.10333069548728605,
    0.020375745636215113, -0.0012954951746774821, -0.0006829020826704722, 0.00025561683143516265,
    -4.20887680831829e-05, 3.5497536947937294e-06, -1.2374285233338186e-07,
)  # fmt: skip


# The same as the logarithm to base 2 of Phi(-u), in powers of u.
_LOG2_PHI = [c * root(0.5) ** k / log_of(2) for k, c in enumerate(TAIL)]
_LOG2_PHI[0] -= 1
_LOG2_PHI[2] -= 0.5 / log_of(2)
_END = 6 * root(2)  # of u: beyond, Phi(-u) is below 1e-16


def _phi_of_minus(b, u):
    """Phi(-u) for 0 <= u <= _END in float32, by one exponential."""
    p = b.const(_LOG2_PHI[-1], float32)
    for c in _LOG2_PHI[-2::-1]:
        p = mad(p, u, c)
    return math("exp2_normal", p)


def normal_distribution(b, x):
    """Phi(x). In float32 |error| < 4e-7 where Phi is multiplied by x."""
    if x.dtype is not float32:
        return math("erfc", x * -root(0.5)) * 0.5
    u = abs(x)
    half = _phi_of_minus(b, b.where(u > _END, b.const(_END, float32), u))
    return b.where(x < 0.0, half, 1.0 - half)


class normal_cdf(Elementwise):
    """Phi(x), the normal distribution function, as gelu takes it."""

    public = False
    result = "float"

    def body(b, x):
        return normal_distribution(b, x)

    def vjp_x(g, x):
        return g * (exp_negative(x * x * -0.5) * (1 / root(2 * pi)))

    def ref(x):
        return special.ndtr(x)


class gelu(Elementwise):
    """gelu(x) = x Phi(x), Phi the normal distribution function; `approximate="tanh"` for
    0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Hendrycks and Gimpel, 2016.

    >>> import lucid
    >>> lucid.nn.functional.gelu(lucid.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8413])
    """

    result = "float"

    def body(b, x, *, approximate="none"):
        if approximate == "tanh":
            inner = (x + x * x * x * 0.044715) * root(2 / pi)
            made = x * 0.5 * (math("tanh", inner) + 1.0)
        elif approximate == "none":
            if x.dtype is float32:
                # max(x, 0) - |x| Phi(-|x|), whose second part is 0 beyond the end.
                u = b.where(abs(x) < _END, abs(x), zero(x))
                return mad(-u, _phi_of_minus(b, u), b.where(x < 0.0, zero(x), x))
            made = x * normal_distribution(b, x)
        else:
            raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
        return b.where(x.eq(float("-inf")), -zero(x), made)

    def vjp_x(g, x, approximate):
        if approximate == "tanh":
            inner = (x + x * x * x * 0.044715) * root(2 / pi)
            t = tanh(inner)
            slope = (1.0 + x * x * (3 * 0.044715)) * root(2 / pi)
            return g * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope)
        density = exp_negative(x * x * -0.5) * (1 / root(2 * pi))
        return g * (normal_cdf(x) + x * density)

    def ref(x, approximate="none"):
        if approximate == "tanh":
            return 0.5 * x * (1 + np.tanh(root(2 / pi) * (x + 0.044715 * x**3)))
        return x * special.ndtr(x)
