"""Activations that networks use now and then: celu, selu, prelu, the shrinks, glu.

The common ones stand in transcendental.py. Called by lucid.nn.functional, with which it is loaded.
"""

from typing import Any

import numpy as np

from lucid.kernel.expr import math
from lucid.op import Composite, Elementwise, normal_dim
from lucid.ops.elementwise import abs_, where
from lucid.ops.join import cat
from lucid.ops.shape import _cut
from lucid.ops.transcendental import exp, sigmoid, tanh

# Klambauer et al., 2017: the fixed point of mean 0 and variance 1.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


class celu(Elementwise):
    """celu(x, alpha=1) = x if x > 0 else alpha (e^(x / alpha) - 1). Barron, 2017."""

    public = False

    def body(b, x, alpha):
        return b.where(x > 0.0, x, alpha * math("expm1", x / alpha))

    def vjp_x(g, x, alpha):
        return where(x > 0.0, g, g * exp(x / alpha))

    optional = {"alpha": 1.0}

    def ref(x, alpha=1.0):
        return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


class selu(Elementwise):
    """selu(x) = s x if x > 0 else s a (e^x - 1), s = 1.0507.., a = 1.6732.. Klambauer et al.,
    2017."""

    public = False

    def body(b, x):
        below = math("expm1", x) * (SELU_SCALE * SELU_ALPHA)
        return b.where(x > 0.0, x * SELU_SCALE, below)

    def vjp_x(g, x):
        return where(x > 0.0, g * SELU_SCALE, g * exp(x) * (SELU_SCALE * SELU_ALPHA))

    def ref(x):
        return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))


class softsign(Elementwise):
    """softsign(x) = x / (1 + |x|)."""

    public = False
    result = "float"

    def body(b, x):
        return x / (abs(x) + 1.0)

    def vjp_x(g, x):
        scale = abs_(x) + 1.0
        return g / (scale * scale)

    def ref(x):
        with np.errstate(invalid="ignore"):
            return x / (1 + np.abs(x))


class softshrink(Elementwise):
    """softshrink(x, lambd=0.5) = x - lambd where x > lambd, x + lambd where x < -lambd, else 0."""

    public = False

    def body(b, x, lambd):
        return b.where(x > lambd, x - lambd, b.where(x < -lambd, x + lambd, x * 0.0))

    def vjp_x(g, x, lambd):
        # lambd may be a bool, which has no negative.
        return where((x > lambd) | (x < lambd * -1), g, 0.0)

    optional = {"lambd": 0.5}

    def ref(x, lambd=0.5):
        with np.errstate(invalid="ignore"):
            return np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, x * 0.0))


class hardshrink(Elementwise):
    """hardshrink(x, lambd=0.5) = x where |x| > lambd, else 0."""

    public = False

    def body(b, x, lambd):
        return b.where((x >= -lambd) & (x <= lambd), b.zero(x), x)

    def vjp_x(g, x, lambd):
        return where((x >= lambd * -1) & (x <= lambd), 0.0, g)

    optional = {"lambd": 0.5}

    def ref(x, lambd=0.5):
        return np.where((x >= -lambd) & (x <= lambd), 0.0, x)


class tanhshrink(Elementwise):
    """tanhshrink(x) = x - tanh(x)."""

    public = False
    result = "float"

    def body(b, x):
        return x - math("tanh", x)

    def vjp_x(g, x):
        t = tanh(x)
        return g * (t * t)

    def ref(x):
        return x - np.tanh(x)


class threshold(Elementwise):
    """threshold(x, least, value) = x where x > least, else value."""

    public = False

    def body(b, x, least, value):
        return b.where(x <= least, value, x)

    def vjp_x(g, x, least):
        return where(x <= least, 0.0, g)

    optional = {"least": 0.0, "value": 0.0}

    def ref(x, least=0.0, value=0.0):
        return np.where(x <= least, value, x)


class prelu(Elementwise):
    """prelu(x, w) = x where x > 0, else w x. He et al., 2015."""

    public = False

    def body(b, x, w):
        return b.where(x > 0.0, x, x * w)

    def vjp_x(g, x, w):
        return where(x > 0.0, g, g * w)

    def vjp_w(g, x):
        return where(x > 0.0, 0.0, g * x)

    def ref(x, w):
        return np.where(x > 0, x, x * w)


class glu_(Composite):
    """a sigmoid(b), for x = [a, b] along dim."""

    public = False
    numbered = ("dim",)

    def forward(x, *, dim):
        a, b = _halves(x, dim)
        return a * sigmoid(b)

    def vjp_x(g, x, dim):
        a, b = _halves(x, dim)
        s = sigmoid(b)
        gs = g * s
        return cat([gs, gs * a * (1.0 - s)], dim)


def _halves(x: Any, dim: int) -> tuple[Any, Any]:
    n = x.shape[dim] // 2
    return _cut(x, dim, 0, n), _cut(x, dim, n, n)


def glu(input: Any, dim: int = -1) -> Any:
    """a sigmoid(b) for x = [a, b], two halves along `dim`. Dauphin et al., 2017.

    Raises RuntimeError where the dimension cannot be halved.

    >>> import lucid
    >>> lucid.nn.functional.glu(lucid.tensor([3.0, 0.0])).tolist()
    [1.5]
    """
    if not input.ndim:
        raise RuntimeError("glu: does not support 0-dimensional tensors")
    dim = normal_dim("glu", dim, input.ndim)
    if input.shape[dim] % 2:
        raise RuntimeError(
            f"glu: halving dimension {dim} of shape {tuple(input.shape)} needs an even size"
        )
    return glu_(input, dim)
