"""What each primitive means, on one NumPy scalar at a time.

Called by interp.py, and by tests that compare a backend's instructions with it.
"""

import math
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lucid.dtypes import BOOL, FLOATING, bfloat16, dtype, float16, float32
from lucid.kernel.expr import COMPARISONS, Expr

Scalar = Any  # a NumPy scalar
SHORT = (float16, bfloat16)
# Arithmetic on 16-bit floats is done in float32 and rounded back.
WIDENED = COMPARISONS | frozenset("add sub mul div mad neg abs sqrt floor ceil trunc rint".split())


def apply(node: Expr, args: Sequence, fused: bool) -> Scalar:
    """The value of a primitive node. `fused`: whether the target's `mad` rounds once.
    Call it where NumPy's warnings are off."""
    op, kind = node.op, node.dtype
    if op == "const":
        return constant(node.attr, kind)
    if op == "where":
        return args[1] if args[0] else args[2]
    if op == "cast":
        return convert(args[0], node.args[0].dtype, kind)
    if op == "bitcast":
        return reinterpret(args[0], node.args[0].dtype, kind)
    source = node.args[0].dtype if node.args else kind
    if op in WIDENED and source in SHORT:
        wide = [convert(x, source, float32) for x in args]
        made = _floating(op, wide, fused)
        return made if op in COMPARISONS else convert(made, float32, kind)
    if source.category == FLOATING:
        return _floating(op, args, fused)
    if source.category == BOOL:
        return np.bool_(_rule(BOOLEANS, op)(*(bool(x) for x in args)))
    if op in COMPARISONS:
        return np.bool_(_rule(INTEGERS, op)(*(int(x) for x in args)))
    if op in SHIFTS:
        return wrap(SHIFTS[op](int(args[0]), int(args[1]), 8 * kind.itemsize), kind)
    return wrap(_rule(INTEGERS, op)(*(int(x) for x in args)), kind)


def wrap(value: int, kind: dtype) -> Scalar:
    """An integer modulo 2^bits, in the range of `kind`."""
    bits = 8 * kind.itemsize
    value &= (1 << bits) - 1
    if kind.signed and value >> (bits - 1):
        value -= 1 << bits
    return kind.numpy.type(value)


def constant(value: object, kind: dtype) -> Scalar:
    return np.array(value).astype(kind.numpy)[()]


def convert(x, source: dtype, kind: dtype) -> Scalar:
    """The `cast` primitive. 16-bit floats are reached, and left, through float32."""
    if source is kind:
        return x
    if source in SHORT:
        return convert(np.float32(x), float32, kind)
    if kind in SHORT:
        return convert(x, source, float32).astype(kind.numpy)
    if kind.category == BOOL:
        return np.bool_(x != 0)
    if kind.category == FLOATING:
        return np.asarray(x).astype(kind.numpy)[()]
    if source.category != FLOATING:
        return wrap(int(x), kind)
    if np.isnan(x):
        return kind.numpy.type(0)
    low, high = np.iinfo(kind.numpy).min, np.iinfo(kind.numpy).max
    if np.isinf(x):
        return kind.numpy.type(low if x < 0 else high)
    return kind.numpy.type(min(max(math.trunc(float(x)), low), high))


def reinterpret(x, source: dtype, kind: dtype) -> Scalar:
    if kind.category == BOOL:
        return np.bool_(int.from_bytes(x.tobytes()) != 0)
    raw = np.uint8(x) if source.category == BOOL else x
    return np.frombuffer(raw.tobytes(), kind.numpy)[0]


def fma(x, y, z):
    """x * y + z, rounded once, for float32 or float64 scalars."""
    if not (np.isfinite(x) and np.isfinite(y)):
        return x * y + z
    if not np.isfinite(z):
        return z
    if type(x) is np.float32:
        return _fma32(float(x), float(y), float(z))
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    if exact == 0:
        # Of two zeros the sum has the right sign; of p and -p it is +0.
        return x * y + z if 0 in (x, y) else np.float64(0)
    try:
        return np.float64(float(exact))
    except OverflowError:
        return np.float64(math.inf if exact > 0 else -math.inf)


def _fma32(x: float, y: float, z: float) -> Scalar:
    """`fma` of finite float32 values: their product is exact in float64, and the sum's error is
    (Knuth's TwoSum)."""
    product = x * y
    nearest = product + z
    part = nearest - product
    error = (product - (nearest - part)) + (z - part)
    # A second rounding is harmless from a number with an odd last bit: of the two neighbours of
    # an inexact sum, one is odd.
    if error and not struct.unpack("<q", struct.pack("<d", nearest))[0] & 1:
        nearest = math.nextafter(nearest, math.inf if error > 0 else -math.inf)
    return np.float32(nearest)


def quotient(x: int, y: int) -> int:
    """Towards zero; x / 0 = 0."""
    if y == 0:
        return 0
    return abs(x) // abs(y) if (x < 0) == (y < 0) else -(abs(x) // abs(y))


FLOATS: dict[str, Callable] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
}
INTEGERS: dict[str, Callable] = {
    **{op: FLOATS[op] for op in ("add", "sub", "mul", "neg", *sorted(COMPARISONS))},
    "mad": lambda x, y, z: x * y + z,
    "abs": lambda x: abs(x),
    "idiv": quotient,
    "irem": lambda x, y: x - quotient(x, y) * y if y else 0,
    "and": lambda x, y: x & y,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: x ^ y,
    "not": lambda x: ~x,
}
BOOLEANS: dict[str, Callable] = {
    **{op: FLOATS[op] for op in sorted(COMPARISONS)},
    "and": lambda x, y: x and y,
    "or": lambda x, y: x or y,
    "xor": lambda x, y: x != y,
    "not": lambda x: not x,
}
# On Python integers, given the width.
SHIFTS: dict[str, Callable[[int, int, int], int]] = {
    "shl": lambda x, y, bits: x << y if 0 <= y < bits else 0,
    "shr": lambda x, y, bits: x >> (y if 0 <= y < bits else bits),
    "lshr": lambda x, y, bits: (x & ((1 << bits) - 1)) >> y if 0 <= y < bits else 0,
}


def _floating(op: str, args: Sequence, fused: bool) -> Scalar:
    if op == "mad":
        x, y, z = args
        return fma(x, y, z) if fused else x * y + z
    return _rule(FLOATS, op)(*args)


def _rule(table: dict[str, Callable], op: str) -> Callable:
    if op not in table:
        raise TypeError(f"kernel expression {op}: no such primitive for these types")
    return table[op]
