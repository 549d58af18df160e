"""Expressions evaluated on whole NumPy arrays: what the tests of the vector math run.

`evaluate(roots, args, fused)` gives every primitive the meaning of lucid.kernel.expr.PRIMITIVES.
"""

import numpy as np

from lucid.dtypes import FLOATING
from lucid.kernel import expr as e


def fma32(x, y, z):
    """x * y + z rounded once: the sum in float64, rounded to odd, then to float32."""
    product = x.astype(np.float64) * y.astype(np.float64)
    z = z.astype(np.float64)
    s = product + z
    shifted = s - product
    error = (product - (s - shifted)) + (z - shifted)
    bits = s.view(np.int64)
    # Where the sum is inexact and even, step to its odd neighbour on the side of the error.
    inexact = (error != 0) & np.isfinite(s) & (bits & 1 == 0)
    step = np.where((error > 0) == (s > 0), 1, -1)
    return np.where(inexact, bits + step, bits).view(np.float64).astype(np.float32)


def fma64(x, y, z):
    """x * y + z; the last bit may differ from a true fma when a tie is decided far below."""
    with np.errstate(all="ignore"):
        high = (np.frexp(x)[0] * 134217729.0, np.frexp(y)[0] * 134217729.0)
        (xm, xe), (ym, ye) = np.frexp(x), np.frexp(y)
        xh = high[0] - (high[0] - xm)
        yh = high[1] - (high[1] - ym)
        p = xm * ym
        low = ((xh * yh - p) + xh * (ym - yh) + (xm - xh) * yh) + (xm - xh) * (ym - yh)
        scale = xe + ye
        product, low = np.ldexp(p, scale), np.ldexp(low, scale)
        s = product + z
        shifted = s - product
        error = (product - (s - shifted)) + (z - shifted)
        exact = np.where(error + low == 0, s, s + (error + low))  # -0.0 + 0.0 would be 0.0
        return np.where(np.isfinite(exact), exact, x * y + z)


def divide(x, y):
    safe = np.where(y == 0, 1, y)
    quotient = np.abs(x.astype(object)) // np.abs(safe.astype(object))
    signed = np.where((x < 0) ^ (safe < 0), -quotient, quotient)
    return np.where(y == 0, 0, signed)


def to_integer(x, kind):
    info = np.iinfo(kind)
    x = np.trunc(np.where(np.isnan(x), 0, x)).astype(np.float64)
    inside = (x >= info.min) & (x < -float(info.min) if info.min else x <= info.max)
    clipped = np.where(x < 0, info.min, info.max).astype(kind)
    return np.where(inside, np.where(inside, x, 0).astype(kind), clipped)


def shifted(op, x, y):
    bits = 8 * x.dtype.itemsize
    outside = (y < 0) | (y >= bits)
    y = np.where(outside, 0, y).astype(x.dtype)
    if op == "shl":
        return np.where(outside, x.dtype.type(0), x << y)
    if op == "shr":
        return np.where(outside, x >> x.dtype.type(bits - 1), x >> y)
    unsigned = x.view(f"u{x.dtype.itemsize}") >> y.view(f"u{x.dtype.itemsize}")
    return np.where(outside, x.dtype.type(0), unsigned.view(x.dtype))


SIMPLE = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "where": np.where,
}


def evaluate(roots, args, fused=True):
    """The roots at arrays `args`, which the leaves `arg i` stand for."""
    done = {}
    uses: dict[int, int] = {}
    order = list(e.postorder(roots))
    for node in order:
        for a in node.args:
            uses[id(a)] = uses.get(id(a), 0) + 1
    with np.errstate(all="ignore"):
        for node in order:
            done[id(node)] = step(node, [done[id(a)] for a in node.args], args, fused)
            for a in node.args:  # memory: values die at their last use
                uses[id(a)] -= 1
                if not uses[id(a)] and a not in roots:
                    done[id(a)] = None
    return [done[id(root)] for root in roots]


def step(node, v, args, fused):
    kind = node.dtype.numpy
    if node.op == "const":
        return np.asarray(node.attr, kind)
    if node.op == "arg":
        return args[node.attr]
    if node.op in SIMPLE:
        result = SIMPLE[node.op](*v)
    elif node.op == "mad":
        fma = fma32 if kind == np.float32 else fma64
        result = fma(*v) if fused else v[0] * v[1] + v[2]
    elif node.op in ("shl", "shr", "lshr"):
        result = shifted(node.op, *v)
    elif node.op == "bitcast":
        result = np.asarray(v[0]).view(kind)
    elif node.op == "cast" and node.args[0].dtype.category == FLOATING != node.dtype.category:
        result = to_integer(v[0], kind)
    elif node.op == "cast":
        result = np.asarray(v[0]).astype(kind)
    else:
        raise NotImplementedError(node.op)
    result = np.asarray(result)
    assert result.dtype == kind, (node.op, result.dtype, kind)
    return result
