"""Comparison, logic and bit patterns: elementwise ops whose results have no gradient."""

import numpy as np

from lucid.dtypes import BOOL, FLOATING, bool_
from lucid.op import Elementwise, OpMeta


def _shown(formula: str, call: str, result: str) -> str:
    """A docstring with an example."""
    return f"{formula}\n\n>>> import lucid\n>>> lucid.{call}\ntensor({result})\n"


def _comparison(name: str, formula: str, reference, result: str):
    def body(b, x, w):
        return b.binary(name, x, w)

    doc = _shown(f"{name}(x, w) = {formula}", f"{name}(lucid.tensor([1, 2, 3]), 2)", result)
    members = {"body": body, "result": "bool", "ref": reference, "__doc__": doc}
    return OpMeta(name, (Elementwise,), members)


eq = _comparison("eq", "x == w; false with NaN.", np.equal, "[False,  True, False]")
ne = _comparison("ne", "x != w; true with NaN.", np.not_equal, "[ True, False,  True]")
lt = _comparison("lt", "x < w; false with NaN.", np.less, "[ True, False, False]")
le = _comparison("le", "x <= w; false with NaN.", np.less_equal, "[ True,  True, False]")
gt = _comparison("gt", "x > w; false with NaN.", np.greater, "[False, False,  True]")
ge = _comparison("ge", "x >= w; false with NaN.", np.greater_equal, "[False,  True,  True]")


def _truth(b, x):
    return x if x.dtype is bool_ else x.ne(0)


class logical_and(Elementwise):
    """logical_and(x, w): both are non-zero.

    >>> import lucid
    >>> lucid.logical_and(lucid.tensor([0, 2]), lucid.tensor([1, 3]))
    tensor([False,  True])
    """

    result = "bool"

    def body(b, x, w):
        return _truth(b, x) & _truth(b, w)

    ref = np.logical_and


class logical_or(Elementwise):
    """logical_or(x, w): one is non-zero.

    >>> import lucid
    >>> lucid.logical_or(lucid.tensor([0, 2]), lucid.tensor([0, 3]))
    tensor([False,  True])
    """

    result = "bool"

    def body(b, x, w):
        return _truth(b, x) | _truth(b, w)

    ref = np.logical_or


class logical_xor(Elementwise):
    """logical_xor(x, w): exactly one is non-zero.

    >>> import lucid
    >>> lucid.logical_xor(lucid.tensor([0, 2]), lucid.tensor([1, 3]))
    tensor([ True, False])
    """

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
    """isinf(x): x is infinite.

    >>> import lucid
    >>> lucid.isinf(lucid.tensor([1.0, -float("inf")]))
    tensor([False,  True])
    """

    result = "bool"

    def body(b, x):
        return abs(x).eq(float("inf")) if x.dtype.category == FLOATING else x.ne(x)

    ref = np.isinf


class isfinite(Elementwise):
    """isfinite(x): x is neither infinite nor NaN.

    >>> import lucid
    >>> lucid.isfinite(lucid.tensor([1.0, float("nan")]))
    tensor([ True, False])
    """

    result = "bool"

    def body(b, x):
        return abs(x) < float("inf") if x.dtype.category == FLOATING else x.eq(x)

    ref = np.isfinite


def _bitwise(name: str, primitive: str, formula: str, reference, result: str):
    def body(b, x, w):
        return b.binary(primitive, x, w)

    refuses = (FLOATING, BOOL) if "shift" in name else (FLOATING,)
    doc = _shown(formula, f"{name}(lucid.tensor([12, 5]), 3)", result)
    members = {"body": body, "refuses": refuses, "ref": reference, "__doc__": doc}
    return OpMeta(name, (Elementwise,), members)


bitwise_and = _bitwise("bitwise_and", "and", "x & w, bit by bit.", np.bitwise_and, "[0, 1]")
bitwise_or = _bitwise("bitwise_or", "or", "x | w, bit by bit.", np.bitwise_or, "[15,  7]")
bitwise_xor = _bitwise("bitwise_xor", "xor", "x ^ w, bit by bit.", np.bitwise_xor, "[15,  6]")
bitwise_left_shift = _bitwise(
    "bitwise_left_shift", "shl", "x << w; 0 where w is outside [0, bits).", np.left_shift,
    "[96, 40]",
)  # fmt: skip


class bitwise_right_shift(Elementwise):
    """x >> w, arithmetic for signed types.

    >>> import lucid
    >>> lucid.bitwise_right_shift(lucid.tensor([-8, 8]), 2)
    tensor([-2,  2])
    """

    refuses = (FLOATING, BOOL)

    def body(b, x, w):
        return b.binary("shr" if x.dtype.signed else "lshr", x, w)

    ref = np.right_shift


class bitwise_not(Elementwise):
    """bitwise_not(x) = ~x.

    >>> import lucid
    >>> lucid.bitwise_not(lucid.tensor([0, 5]))
    tensor([-1, -6])
    """

    refuses = (FLOATING,)

    def body(b, x):
        return ~x

    ref = np.bitwise_not
