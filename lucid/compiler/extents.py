"""Sizes that know where they come from, while `lucid.compile` traces for several sizes.

tensor.py gives them out as `x.shape`, compiler/journal.py keeps what is asked of them. Arithmetic
makes another extent, of a whole number or a float; a comparison is answered and noted; whatever
asks for the number itself (`range`, `math.sqrt`, hashing, printing) gets it, and it is noted that
it was this one.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from lucid.extent import Extent, alike, has_extent, mapped

Form = Any  # a number, or (operation, parts ...); ("dim", place, d) and ("numel", place) are leaves

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "/": operator.truediv,
    "**": operator.pow,
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Told(Extent):
    """A number that passes for an int or a float: its value in this trace, and its form.

    It is no subclass of these, whose values C code reads without asking.
    """

    __slots__ = ()

    def __init__(self, journal: Any, form: Form, value: int | float):
        self.journal = journal
        self.form = form
        self.value = value

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.value)

    def pinned(self) -> Any:
        """The number, for those that need it: what is traced holds for this one only."""
        self.journal.guard(self.form, "==", self.value, True, True)
        return self.value

    def __neg__(self) -> "Told":
        return 0 - self  # type: ignore[operator, return-value]

    def __pos__(self) -> "Told":
        return self

    def __abs__(self) -> "Told":
        return -self if self < 0 else self  # type: ignore[operator]

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __bool__(self) -> bool:
        return self != 0

    def __int__(self) -> int:
        return int(self.pinned())

    __trunc__ = __int__

    def __index__(self) -> int:
        return operator.index(self.pinned())

    def __floor__(self) -> int:
        return math.floor(self.pinned())

    def __ceil__(self) -> int:
        return math.ceil(self.pinned())

    def __invert__(self) -> int:
        return ~self.pinned()

    def __round__(self, digits: Any = None) -> Any:
        return round(self.pinned(), digits)

    def __float__(self) -> float:
        return float(self.pinned())

    def __complex__(self) -> complex:
        return complex(self.pinned())

    def __hash__(self) -> int:
        return hash(self.pinned())

    def __repr__(self) -> str:
        return repr(self.pinned())

    def __format__(self, spec: str) -> str:
        return format(self.pinned(), spec)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        numpy = __import__("numpy")
        return numpy.asarray(self.pinned(), *args)

    def __reduce__(self) -> tuple:
        return type(self.value), (self.pinned(),)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return self.__reduce__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pinned(), name)


def _operand(x: Told, other: Any) -> tuple[Form, Any] | None:
    """The other operand of arithmetic; None for what is no real number."""
    kind = type(other)
    if kind is int or kind is float:
        return other, other
    if kind is bool:
        return int(other), int(other)
    if kind is Told:
        return (other.form if other.journal is x.journal else other.value), other.value
    return None


def _arithmetic(sign: str, reflected: bool) -> Callable[[Told, Any], Any]:
    function = _ARITHMETIC[sign]

    def method(self: Told, other: Any, *modulus: Any) -> Any:
        if modulus:
            return pow(self.pinned(), other, *modulus)
        found = _operand(self, other)
        if found is None:
            return _by_value(function, self, other, reflected)
        form, value = found
        parts = (form, self.form) if reflected else (self.form, form)
        made = function(value, self.value) if reflected else function(self.value, value)
        if isinstance(made, complex):
            return function(value, self.pinned()) if reflected else function(self.pinned(), value)
        return Told(self.journal, (sign, *parts), made)

    return method


def _by_value(function: Callable, x: Told, other: Any, reflected: bool) -> Any:
    """With a complex number, say. Tensors and sequences have their own way with whole numbers."""
    if not isinstance(other, (int, float, complex)):
        return NotImplemented
    other = int(other) if isinstance(other, int) else other  # a subclass of it
    return function(other, x.pinned()) if reflected else function(x.pinned(), other)


def _pinning(function: Callable, reflected: bool) -> Callable[[Told, Any], Any]:
    def method(self: Told, other: Any) -> Any:
        if type(other) is Told:
            other = other.pinned()
        return _by_value(function, self, other, reflected)

    return method


def _comparison(sign: str) -> Callable[[Told, Any], Any]:
    function = COMPARISONS[sign]

    def method(self: Told, other: Any) -> Any:
        found = _operand(self, other)
        if found is None:
            return _by_value(function, self, other, False)
        form, value = found
        answer = function(self.value, value)
        if form != self.form:
            self.journal.guard(self.form, sign, form, answer)
        return answer

    return method


_NAMES = ("add", "sub", "mul", "floordiv", "mod", "truediv", "pow")
for _sign, _name in zip(_ARITHMETIC, _NAMES, strict=True):
    setattr(Told, f"__{_name}__", _arithmetic(_sign, False))
    setattr(Told, f"__r{_name}__", _arithmetic(_sign, True))
for _name in ("lshift", "rshift", "and", "or", "xor"):
    _function = getattr(operator, f"__{_name}__")
    setattr(Told, f"__{_name}__", _pinning(_function, False))
    setattr(Told, f"__r{_name}__", _pinning(_function, True))
for _sign, _name in zip(COMPARISONS, ("eq", "ne", "lt", "le", "gt", "ge"), strict=True):
    setattr(Told, f"__{_name}__", _comparison(_sign))


def forms(x: Any) -> Any:
    """The same nest with `Held` forms, which outlives the trace."""
    return x if not has_extent(x) else mapped(x, lambda e: Held(e.form))


def filled(x: Any, value_of: Callable[[Form], int]) -> Any:
    """A nest that `forms` made, with numbers."""
    if type(x) is Held:
        return value_of(x.form)
    if isinstance(x, (tuple, list)):
        return alike(x, [filled(y, value_of) for y in x])
    return x


class Held:
    """The form of an extent in a journal."""

    __slots__ = ("form",)

    def __init__(self, form: Form):
        self.form = form

    def __eq__(self, other: object) -> bool:
        return type(other) is Held and self.form == other.form

    def __hash__(self) -> int:
        return hash(self.form)


def evaluated(form: Form, leaf: Callable[[Form], int]) -> Any:
    """The number of a form, where `leaf` knows the leaves."""
    if type(form) is not tuple:
        return form
    if form[0] in _ARITHMETIC:
        return _ARITHMETIC[form[0]](evaluated(form[1], leaf), evaluated(form[2], leaf))
    return leaf(form)


def leaves_of(form: Form) -> list[Form]:
    """The leaves of a form."""
    if type(form) is not tuple:
        return []
    if form[0] in _ARITHMETIC:
        return leaves_of(form[1]) + leaves_of(form[2])
    return [form]


def told(form: Form, leaf: Callable[[Form], str]) -> str:
    """A form in words."""
    if type(form) is not tuple:
        return str(form)
    if form[0] in _ARITHMETIC:
        sides: Sequence[str] = [
            f"({told(side, leaf)})" if type(side) is tuple and side[0] in _ARITHMETIC
            else told(side, leaf)
            for side in form[1:]
        ]  # fmt: skip
        return f"{sides[0]} {form[0]} {sides[1]}"
    return leaf(form)
