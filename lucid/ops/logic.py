"""Comparison, logic and bit patterns: elementwise ops whose results have no gradient."""

import numpy as np

from lucid.dtypes import BOOL, FLOATING, bool_
from lucid.op import Elementwise


def _comparison(name: str, primitive: str, formula: str, reference):
    def body(b, x, w):
        return b.binary(primitive, x, w)

    members = {"body": body, "result": "bool", "ref": reference, "__doc__": formula}
    return type(Elementwise)(name, (Elementwise,), members)


eq = _comparison("eq", "eq", "eq(x, w) = x == w; false with NaN.", np.equal)
ne = _comparison("ne", "ne", "ne(x, w) = x != w; true with NaN.", np.not_equal)
lt = _comparison("lt", "lt", "lt(x, w) = x < w; false with NaN.", np.less)
le = _comparison("le", "le", "le(x, w) = x <= w; false with NaN.", np.less_equal)
gt = _comparison("gt", "gt", "gt(x, w) = x > w; false with NaN.", np.greater)
ge = _comparison("ge", "ge", "ge(x, w) = x >= w; false with NaN.", np.greater_equal)


def _truth(b, x):
    return x if x.dtype is bool_ else x.ne(0)


class logical_and(Elementwise):
    """logical_and(x, w): both are non-zero."""

    result = "bool"

    def body(b, x, w):
        return _truth(b, x) & _truth(b, w)

    ref = np.logical_and


class logical_or(Elementwise):
    """logical_or(x, w): one is non-zero."""

    result = "bool"

    def body(b, x, w):
        return _truth(b, x) | _truth(b, w)

    ref = np.logical_or


class logical_xor(Elementwise):
    """logical_xor(x, w): exactly one is non-zero."""

    result = "bool"

    def body(b, x, w):
        return _truth(b, x) ^ _truth(b, w)

    ref = np.logical_xor


class logical_not(Elementwise):
    """logical_not(x): x is zero.

    >>> import lucid
    >>> lucid.logical_not(lucid.tensor([True, False]))
    tensor([False,  True])
    """

    result = "bool"

    def body(b, x):
        return ~_truth(b, x)

    ref = np.logical_not


class isnan(Elementwise):
    """isnan(x): x is not a number.

    >>> import lucid
    >>> lucid.isnan(lucid.tensor([1.0, float("nan")]))
    tensor([False,  True])
    """

    result = "bool"

    def body(b, x):
        return x.ne(x)

    ref = np.isnan


class isinf(Elementwise):
    """isinf(x): x is infinite."""

    result = "bool"

    def body(b, x):
        return abs(x).eq(float("inf")) if x.dtype.category == FLOATING else x.ne(x)

    ref = np.isinf


class isfinite(Elementwise):
    """isfinite(x): x is neither infinite nor NaN."""

    result = "bool"

    def body(b, x):
        return abs(x) < float("inf") if x.dtype.category == FLOATING else x.eq(x)

    ref = np.isfinite


def _bitwise(name: str, primitive: str, formula: str, reference):
    def body(b, x, w):
        return b.binary(primitive, x, w)

    refuses = (FLOATING, BOOL) if "shift" in name else (FLOATING,)
    members = {"body": body, "refuses": refuses, "ref": reference, "__doc__": formula}
    return type(Elementwise)(name, (Elementwise,), members)


bitwise_and = _bitwise("bitwise_and", "and", "bitwise_and(x, w) = x & w.", np.bitwise_and)
bitwise_or = _bitwise("bitwise_or", "or", "bitwise_or(x, w) = x | w.", np.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", "xor", "bitwise_xor(x, w) = x ^ w.", np.bitwise_xor)
bitwise_left_shift = _bitwise(
    "bitwise_left_shift", "shl", "x << w; 0 where w is outside [0, bits).", np.left_shift
)


class bitwise_right_shift(Elementwise):
    """x >> w, arithmetic for signed types."""

    refuses = (FLOATING, BOOL)

    def body(b, x, w):
        return b.binary("shr" if x.dtype.signed else "lshr", x, w)

    ref = np.right_shift


class bitwise_not(Elementwise):
    """bitwise_not(x) = ~x."""

    refuses = (FLOATING,)

    def body(b, x):
        return ~x

    ref = np.bitwise_not
