"""Scalar expressions: what one lane of a kernel computes.

Bodies of ops build them, loops.py holds them, interp.py defines them, backends translate them.
Every operation is total: each result is defined for every input (see `PRIMITIVES`).
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from lucid.dtypes import BOOL, FLOATING, bool_, dtype, float64, int32, int64

Number = bool | int | float

# What each primitive means. Floating arithmetic is IEEE, round to nearest, never contracted.
PRIMITIVES = {
    "add": "x + y; integers wrap",
    "sub": "x - y; integers wrap",
    "mul": "x * y; integers wrap",
    "div": "x / y, floating only",
    "mad": "x * y + z in one rounding where the target has fma, in two otherwise",
    "neg": "-x; integers wrap",
    "abs": "|x|; the smallest integer stays",
    "sqrt": "square root, correctly rounded",
    "floor": "towards minus infinity, floating",
    "ceil": "towards plus infinity, floating",
    "trunc": "towards zero, floating",
    "rint": "to nearest, ties to even, floating",
    "idiv": "integer quotient towards zero; x / 0 = 0; smallest / -1 wraps",
    "irem": "x - idiv(x, y) * y; x rem 0 = 0",
    "and": "bitwise, or logical on bool",
    "or": "bitwise, or logical on bool",
    "xor": "bitwise, or logical on bool",
    "not": "bitwise, or logical on bool",
    "shl": "x << y; 0 where y is outside [0, bits)",
    "shr": "arithmetic x >> y; the sign everywhere where y is outside [0, bits)",
    "lshr": "logical x >> y; 0 where y is outside [0, bits)",
    "lt": "x < y; false with NaN",
    "le": "x <= y; false with NaN",
    "gt": "x > y; false with NaN",
    "ge": "x >= y; false with NaN",
    "eq": "x == y; false with NaN",
    "ne": "x != y; true with NaN",
    "where": "c ? x : y",
    "cast": "value conversion: floating to integer truncates, saturates, NaN gives 0; "
    "to bool is x != 0; integer to integer wraps",
    "bitcast": "the same bits as another type of the same size",
    "checked": "x; where the condition is false, the error slot is set to (code, bad)",
}
# Functions that a backend expands into primitives (backend/cpu/math.py). exp2_normal(x) is 2^x
# where that is a normal number; elsewhere it is anything. exp_negative(x) is e^x for x <= 0, and 0
# where that is no normal number.
MATH = frozenset(
    "exp exp_negative exp2 exp2_normal expm1 log log2 log10 log1p sin cos tan asin acos atan sinh "
    "cosh tanh asinh acosh atanh erf erfc erfinv pow atan2 lgamma digamma".split()
)
COMPARISONS = frozenset(("lt", "le", "gt", "ge", "eq", "ne"))
LEAVES = frozenset(
    ("const", "arg", "index", "word", "scalar", "load", "folded", "state", "next", "size")
)


class Expr:
    """A node of a scalar expression. Immutable; shared by identity."""

    __slots__ = ("op", "args", "dtype", "attr")

    def __init__(self, op: str, args: tuple["Expr", ...], result: dtype, attr: Any = None):
        self.op = op
        self.args = args
        self.dtype = result
        self.attr = attr

    def __add__(self, other: "Expr | Number") -> "Expr":
        return binary("add", self, other)

    def __radd__(self, other: Number) -> "Expr":
        return binary("add", const(other, self.dtype), self)

    def __sub__(self, other: "Expr | Number") -> "Expr":
        return binary("sub", self, other)

    def __rsub__(self, other: Number) -> "Expr":
        return binary("sub", const(other, self.dtype), self)

    def __mul__(self, other: "Expr | Number") -> "Expr":
        return binary("mul", self, other)

    def __rmul__(self, other: Number) -> "Expr":
        return binary("mul", const(other, self.dtype), self)

    def __truediv__(self, other: "Expr | Number") -> "Expr":
        return binary("div", self, other)

    def __rtruediv__(self, other: Number) -> "Expr":
        return binary("div", const(other, self.dtype), self)

    def __and__(self, other: "Expr | Number") -> "Expr":
        return binary("and", self, other)

    def __or__(self, other: "Expr | Number") -> "Expr":
        return binary("or", self, other)

    def __xor__(self, other: "Expr | Number") -> "Expr":
        return binary("xor", self, other)

    def __lshift__(self, other: "Expr | Number") -> "Expr":
        return binary("shl", self, other)

    def __rshift__(self, other: "Expr | Number") -> "Expr":
        return binary("shr", self, other)

    def __neg__(self) -> "Expr":
        return unary("neg", self)

    def __abs__(self) -> "Expr":
        return unary("abs", self)

    def __invert__(self) -> "Expr":
        return unary("not", self)

    def __lt__(self, other: "Expr | Number") -> "Expr":
        return binary("lt", self, other)

    def __le__(self, other: "Expr | Number") -> "Expr":
        return binary("le", self, other)

    def __gt__(self, other: "Expr | Number") -> "Expr":
        return binary("gt", self, other)

    def __ge__(self, other: "Expr | Number") -> "Expr":
        return binary("ge", self, other)

    def eq(self, other: "Expr | Number") -> "Expr":
        return binary("eq", self, other)

    def ne(self, other: "Expr | Number") -> "Expr":
        return binary("ne", self, other)

    def __bool__(self) -> bool:
        raise TypeError("a kernel expression has no truth value: use where(condition, x, y)")

    def __repr__(self) -> str:
        return render([self])


def const(value: Number, kind: dtype) -> Expr:
    """A constant of type `kind`; integers wrap into its range."""
    if kind.category == FLOATING:
        return Expr("const", (), kind, float(value))
    if kind.category == BOOL:
        return Expr("const", (), kind, bool(value))
    bits = 8 * kind.itemsize
    wrapped = int(value) & ((1 << bits) - 1)
    if kind.signed and wrapped >> (bits - 1):
        wrapped -= 1 << bits
    return Expr("const", (), kind, wrapped)


def unary(op: str, x: Expr) -> Expr:
    return Expr(op, (x,), x.dtype)


def binary(op: str, x: Expr, y: "Expr | Number") -> Expr:
    if not isinstance(y, Expr):
        y = const(y, x.dtype)
    if x.dtype is not y.dtype:
        raise TypeError(f"kernel expression {op}: {x.dtype!r} with {y.dtype!r}")
    if op == "div" and x.dtype.category != FLOATING:
        raise TypeError(f"kernel expression div: floating operands expected, got {x.dtype!r}")
    return Expr(op, (x, y), bool_ if op in COMPARISONS else x.dtype)


def where(condition: Expr, x: "Expr | Number", y: "Expr | Number") -> Expr:
    if not isinstance(x, Expr):
        if not isinstance(y, Expr):
            raise TypeError("where: one of the two values must be an expression")
        x = const(x, y.dtype)
    if not isinstance(y, Expr):
        y = const(y, x.dtype)
    if x.dtype is not y.dtype or condition.dtype is not bool_:
        raise TypeError(f"where: {condition.dtype!r}, {x.dtype!r}, {y.dtype!r}")
    return Expr("where", (condition, x, y), x.dtype)


def mad(x: Expr, y: "Expr | Number", z: "Expr | Number") -> Expr:
    y = y if isinstance(y, Expr) else const(y, x.dtype)
    z = z if isinstance(z, Expr) else const(z, x.dtype)
    return Expr("mad", (x, y, z), x.dtype)


def cast(x: Expr, kind: dtype) -> Expr:
    return x if x.dtype is kind else Expr("cast", (x,), kind)


def bitcast(x: Expr, kind: dtype) -> Expr:
    if x.dtype.itemsize != kind.itemsize:
        raise TypeError(f"bitcast: {x.dtype!r} to {kind!r} changes the size")
    return Expr("bitcast", (x,), kind)


def checked(x: Expr, condition: Expr, code: int, bad: Expr) -> Expr:
    """x; where `condition` is false the error slot receives `code` and the int64 value `bad`."""
    return Expr("checked", (x, condition, cast(bad, int64)), x.dtype, code)


def math(name: str, *args: Expr) -> Expr:
    """exp, log, pow, ...: see `MATH`. Floating arguments of one type."""
    return Expr(name, args, args[0].dtype)


def zero(x: Expr) -> Expr:
    return const(0, x.dtype)


def one(x: Expr) -> Expr:
    return const(1, x.dtype)


def isnan(x: Expr) -> Expr:
    return x.ne(x)


def maximum(x: Expr, y: Expr) -> Expr:
    """The larger; NaN if either is NaN."""
    larger = where(x > y, x, y)
    return where(x.ne(x), x, larger) if x.dtype.category == FLOATING else larger


def minimum(x: Expr, y: Expr) -> Expr:
    """The smaller; NaN if either is NaN."""
    smaller = where(x < y, x, y)
    return where(x.ne(x), x, smaller) if x.dtype.category == FLOATING else smaller


ZERO = const(0, int64)


def index(axis: str) -> Expr:
    """The position along a loop axis (int64)."""
    return Expr("index", (), int64, axis)


def word(name: str) -> Expr:
    """A run-time int64 of the call: a size or a stride."""
    return Expr("word", (), int64, name)


def size(n: int) -> Expr:
    """An int64 that depends on sizes: the planner passes it at run time, as a word."""
    return Expr("size", (), int64, n) if n not in (0, 1) else const(n, int64)


def quotient(x: Expr, n: int) -> Expr:
    """x / n towards zero for a position x below 2^31 and a number that belongs in the text: lanes
    divide by a constant in a few instructions, by a word one lane at a time."""
    if n == 1:
        return x
    return cast(binary("idiv", cast(x, int32), n), int64)


def scalar(name: str, kind: dtype) -> Expr:
    """A run-time number of the call, passed as int64 or float64."""
    leaf = Expr("scalar", (), float64 if kind.category == FLOATING else int64, name)
    return cast(leaf, kind)


def load(buffer: str, subscripts: Sequence[Expr], kind: dtype) -> Expr:
    return Expr("load", tuple(subscripts), kind, buffer)


def postorder(roots: Sequence[Expr]) -> Iterator[Expr]:
    """Every node reachable from the roots once, arguments first. Iterative."""
    seen: set[int] = set()
    stack: list[Expr | None] = [*reversed(roots)]
    while stack:
        node = stack.pop()
        if node is None:  # the arguments of what stands below it are done
            yield stack.pop()  # type: ignore[misc]
        elif id(node) not in seen:
            seen.add(id(node))
            if node.args:
                stack += (node, None)
                stack += [a for a in reversed(node.args) if id(a) not in seen]
            else:
                yield node


def rewrite(roots: Sequence[Expr], rule) -> list[Expr]:
    """Rebuild the roots bottom-up; `rule(node)` returns a replacement or None to keep it."""
    done: dict[int, Expr] = {}
    for node in postorder(roots):
        args = tuple(done[id(a)] for a in node.args)
        kept = node
        if any(a is not b for a, b in zip(args, node.args, strict=True)):
            kept = Expr(node.op, args, node.dtype, node.attr)
        replacement = rule(kept)
        done[id(node)] = kept if replacement is None else replacement
    return [done[id(root)] for root in roots]


def substitute(roots: Sequence[Expr], args: Sequence[Expr]) -> list[Expr]:
    """Put `args[i]` where the roots hold the leaf `arg i`."""
    return rewrite(roots, lambda node: args[node.attr] if node.op == "arg" else None)


def arguments(kinds: Sequence[dtype]) -> list[Expr]:
    """Placeholders for a body's inputs, replaced by `substitute`."""
    return [Expr("arg", (), kind, i) for i, kind in enumerate(kinds)]


def literal(node: Expr) -> str:
    """A constant as text, exact: floats by their bits."""
    if node.dtype.category == FLOATING:
        value = float(node.attr)
        if value == int(value) if abs(value) < 1e15 else False:
            return f"{value:.1f}" if str(value)[0] != "-" or value else "-0.0"
        return "0x" + struct.pack(">d", value).hex()
    return str(node.attr)


def render(roots: Sequence[Expr], prefix: str = "") -> str:
    """The roots as text: shared nodes are named once. Equal text means an equal computation."""
    uses: dict[int, int] = {}
    order = list(postorder(roots))
    for node in order:
        for a in node.args:
            uses[id(a)] = uses.get(id(a), 0) + 1
    names: dict[int, str] = {}
    lines: list[str] = []
    for node in order:
        inner = [names[id(a)] for a in node.args]
        if node.op == "const":
            text = f"{literal(node)}:{node.dtype.name}"
        elif node.op == "load":
            text = f"{node.attr}[{', '.join(inner)}]"
        elif node.op in ("index", "word"):
            text = f"{node.op}.{node.attr}"
        elif node.op in LEAVES:
            text = f"{node.op}.{node.attr}:{node.dtype.name}"
        else:
            extra = f".{node.dtype.name}" if node.op in ("cast", "bitcast") else ""
            extra = f".{node.attr}" if node.op == "checked" else extra
            text = f"{node.op}{extra}({', '.join(inner)})"
        if uses.get(id(node), 0) > 1 and node.args:
            name = f"{prefix}t{len(lines)}"
            lines.append(f"{name} = {text}")
            text = name
        names[id(node)] = text
    results = ", ".join(names[id(root)] for root in roots)
    return "; ".join([*lines, results])
