"""One primitive of lucid.kernel.expr as LLVM instructions, on a scalar or on a vector of lanes.

stages.py calls `Emitter.apply` for each node of a kernel; every rule here is total (see
`expr.PRIMITIVES`) and gives the same bits for a scalar as for a lane of a vector.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lucid.backend.cpu.half import (
    bfloat_from_float,
    float_from_bfloat,
    float_from_half,
    half_from_float,
)
from lucid.backend.cpu.llvm import Function, Value, element, lanes, like, suffix, vector
from lucid.dtypes import BOOL, FLOATING, INTEGER, bfloat16, bool_, dtype, float16, float32, int64
from lucid.kernel.expr import Expr, postorder

# How a value of each type lives in registers; 16-bit floats are held as their bits.
REGISTER = {"bool": "i1", "uint8": "i8", "int8": "i8", "int16": "i16", "int32": "i32"}
REGISTER |= {"int64": "i64", "float16": "i16", "bfloat16": "i16"}
REGISTER |= {"float32": "float", "float64": "double"}

_SIGNED = {"lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge", "eq": "eq", "ne": "ne"}
_UNSIGNED = {"lt": "ult", "le": "ule", "gt": "ugt", "ge": "uge", "eq": "eq", "ne": "ne"}
_FLOAT = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
_WORDS = {"add": ("fadd", "add"), "sub": ("fsub", "sub"), "mul": ("fmul", "mul")}
_WORDS |= {"and": ("", "and"), "or": ("", "or"), "xor": ("", "xor")}
# What is done in float32 and rounded back when asked of a 16-bit float.
_WIDENED = frozenset(
    "add sub mul div mad neg abs sqrt floor ceil trunc rint lt le gt ge eq ne".split()
)


def register(kind: dtype, count: int = 1) -> str:
    """The LLVM type that holds `count` lanes of `kind`."""
    return vector(count, REGISTER[kind.name])


def memory(kind: dtype, count: int = 1) -> str:
    """The same in memory, where a bool is a byte."""
    return vector(count, "i8" if kind is bool_ else REGISTER[kind.name])


class Emitter:
    """Writes primitives into one function."""

    def __init__(self, function: Function, flags: frozenset[str]):
        self.f = function
        self.fma = "fma" in flags
        self.rounds = bool(flags & {"avx2", "avx512"})  # floor and its kin are instructions
        self.half = "f16c" in flags and self.rounds

    def apply(self, node: Expr, args: Sequence[Value], count: int) -> Value:
        """The node's value from its arguments', all `count` lanes wide."""
        op = node.op
        if op in _WIDENED and node.args[0].dtype in (float16, bfloat16):
            return self._widened(node, args, count)
        if op in _FLOAT:
            return self._compare(op, node.args[0].dtype, *args)
        if op in _WORDS:
            return self._plain(op, node.dtype, *args)
        rule: Callable[..., Value] | None = getattr(self, f"_{op}", None)
        if rule is None:
            raise TypeError(f"kernel expression {op}: no primitive of the CPU has this name")
        return rule(node, count, *args)

    def evaluate(self, roots: Sequence[Expr], args: Sequence[Value], count: int) -> list[Value]:
        """The roots, where `arg i` is args[i]: a monoid's rule on lanes or scalars."""
        return self.together(roots, [args], count)[0]

    def together(
        self, roots: Sequence[Expr], given: Sequence[Sequence[Value]], count: int
    ) -> list[list[Value]]:
        """The roots for several lists of arguments, operation by operation."""
        every: list[dict[int, Value]] = [{} for _ in given]
        for node in postorder(roots):
            for done, args in zip(every, given, strict=True):
                if node.op == "arg":
                    done[id(node)] = args[node.attr]
                else:
                    done[id(node)] = self.apply(node, [done[id(a)] for a in node.args], count)
        return [[done[id(root)] for root in roots] for done in every]

    # Leaves

    def _const(self, node: Expr, count: int) -> Value:
        kind, value = node.dtype, node.attr
        if kind in (float16, bfloat16):
            value = int(np.array(value).astype(kind.numpy).view(np.int16))
        elif kind is float32:
            with np.errstate(over="ignore"):
                value = float(np.float32(value))
        return self.f.constant(value, register(kind, count))

    # Arithmetic

    def _widened(self, node: Expr, args: Sequence[Value], count: int) -> Value:
        kind = node.args[0].dtype
        wide = [self.convert(x, kind, float32) for x in args]
        inner = Expr("const", (), float32, 0.0)
        result = bool_ if node.dtype is bool_ else float32
        made = self.apply(Expr(node.op, (inner,) * len(args), result), wide, count)
        return made if result is bool_ else self.convert(made, float32, kind)

    def _plain(self, op: str, kind: dtype, x: Value, y: Value) -> Value:
        word = _WORDS[op][kind.category != FLOATING]
        if not word or (kind.category == BOOL and op not in ("and", "or", "xor")):
            raise TypeError(f"kernel expression {op} is not defined on {kind!r}")
        return self.f.emit(f"{word} {x.kind} {x.name}, {y.name}", x.kind)

    def _compare(self, op: str, kind: dtype, x: Value, y: Value) -> Value:
        if kind.category == FLOATING:
            word = f"fcmp {_FLOAT[op]}"
        else:
            word = f"icmp {(_SIGNED if kind.signed else _UNSIGNED)[op]}"
        return self.f.emit(f"{word} {x.kind} {x.name}, {y.name}", like(x.kind, "i1"))

    def _div(self, node: Expr, count: int, x: Value, y: Value) -> Value:
        return self.f.emit(f"fdiv {x.kind} {x.name}, {y.name}", x.kind)

    def _mad(self, node: Expr, count: int, x: Value, y: Value, z: Value) -> Value:
        if self.fma and node.dtype.category == FLOATING:
            return self.f.fma(x, y, z)
        return x * y + z

    def _neg(self, node: Expr, count: int, x: Value) -> Value:
        if node.dtype.category == FLOATING:
            return self.f.emit(f"fneg {x.kind} {x.name}", x.kind)
        return 0 - x

    def _abs(self, node: Expr, count: int, x: Value) -> Value:
        if node.dtype.category == FLOATING:
            return self.f.unary("fabs", x)
        if not node.dtype.signed:
            return x
        return self.f.select(x < 0, 0 - x, x)

    def _sqrt(self, node: Expr, count: int, x: Value) -> Value:
        return self.f.unary("sqrt", x)

    # Rounding. SSE2 has none of it and would call the C library for each lane.

    def _rint(self, node: Expr, count: int, x: Value) -> Value:
        f = self.f
        if self.rounds:
            return f.unary("roundeven", x)
        big = 2.0 ** (23 if element(x.kind) == "float" else 52)
        size = f.unary("fabs", x)
        near = self._copysign((size + big) - big, x)
        return f.select(size < big, near, x)

    def _floor(self, node: Expr, count: int, x: Value) -> Value:
        if self.rounds:
            return self.f.unary("floor", x)
        near = self._rint(node, count, x)
        return self._copysign(self.f.select(near > x, near - 1.0, near), x)

    def _ceil(self, node: Expr, count: int, x: Value) -> Value:
        if self.rounds:
            return self.f.unary("ceil", x)
        near = self._rint(node, count, x)
        return self._copysign(self.f.select(near < x, near + 1.0, near), x)

    def _trunc(self, node: Expr, count: int, x: Value) -> Value:
        if self.rounds:
            return self.f.unary("trunc", x)
        return self._copysign(self._floor(node, count, self.f.unary("fabs", x)), x)

    def _copysign(self, x: Value, sign: Value) -> Value:
        return self.f.intrinsic(f"llvm.copysign.{suffix(x.kind)}", x.kind, x, sign)

    # Integers

    def _idiv(self, node: Expr, count: int, x: Value, y: Value) -> Value:
        f, kind = self.f, node.dtype
        word = "sdiv" if kind.signed else "udiv"
        divisor = node.args[1]
        if divisor.op == "const" and divisor.attr not in (0, -1):
            return f.emit(f"{word} {x.kind} {x.name}, {y.name}", x.kind)
        if kind is int64 and count > 1:
            return self._idiv_lanes(x, y, count)
        zero = y.eq(0)
        unsafe = zero
        if kind.signed:
            smallest = -(1 << (8 * kind.itemsize - 1))
            # smallest / 1 is the value to which smallest / -1 wraps
            unsafe = zero | (y.eq(-1) & x.eq(smallest))
        return self._quotient(word, x, y, unsafe, zero)

    def _quotient(self, word: str, x: Value, y: Value, unsafe: Value, zero: Value) -> Value:
        f = self.f
        safe = f.select(unsafe, f.constant(1, y.kind), y)
        quotient = f.emit(f"{word} {x.kind} {x.name}, {safe.name}", x.kind)
        return f.select(zero, f.constant(0, x.kind), quotient)

    def _idiv_lanes(self, x: Value, y: Value, count: int) -> Value:
        """Lanes of int64, which no processor divides at once: as float64 where all are small.

        The quotient of integers below 2^51 is at least 2^-52 of itself away from the next whole
        number that it does not reach, so that rounding it cannot reach that number either.
        """
        f, wide = self.f, vector(count, "double")
        zero = y.eq(0)
        large = (((x + (1 << 51)) | (y + (1 << 51))) >> 52).ne(0)
        slot = f.slot(x.kind)

        def exact() -> None:
            unsafe = zero | (y.eq(-1) & x.eq(-(1 << 63)))
            slot.set(self._quotient("sdiv", x, y, unsafe, zero))

        def quick() -> None:
            divisor = f.cast(f.select(zero, f.constant(1, y.kind), y), "sitofp", wide)
            quotient = f.cast(f.cast(x, "sitofp", wide) / divisor, "fptosi", x.kind)
            slot.set(f.select(zero, f.constant(0, x.kind), quotient))

        f.either(f.cast(large, "bitcast", f"i{count}").ne(0), exact, quick)
        return slot.get()

    def _irem(self, node: Expr, count: int, x: Value, y: Value) -> Value:
        rest = x - self._idiv(node, count, x, y) * y
        divisor = node.args[1]
        if divisor.op == "const" and divisor.attr != 0:
            return rest
        return self.f.select(y.eq(0), self.f.constant(0, x.kind), rest)

    def _not(self, node: Expr, count: int, x: Value) -> Value:
        return x ^ (1 if node.dtype.category == BOOL else -1)

    def _shift(self, node: Expr, word: str, x: Value, y: Value) -> Value:
        f, bits = self.f, 8 * node.dtype.itemsize
        amount = node.args[1]
        if amount.op == "const" and 0 <= amount.attr < bits:
            return f.emit(f"{word} {x.kind} {x.name}, {y.name}", x.kind)
        limit = f.constant(bits, y.kind)
        inside = f.emit(f"icmp ult {y.kind} {y.name}, {limit.name}", like(y.kind, "i1"))
        safe = f.select(inside, y, f.constant(bits - 1 if word == "ashr" else 0, y.kind))
        moved = f.emit(f"{word} {x.kind} {x.name}, {safe.name}", x.kind)
        return moved if word == "ashr" else f.select(inside, moved, f.constant(0, x.kind))

    def _shl(self, node: Expr, count: int, x: Value, y: Value) -> Value:
        return self._shift(node, "shl", x, y)

    def _shr(self, node: Expr, count: int, x: Value, y: Value) -> Value:
        return self._shift(node, "ashr" if node.dtype.signed else "lshr", x, y)

    def _lshr(self, node: Expr, count: int, x: Value, y: Value) -> Value:
        return self._shift(node, "lshr", x, y)

    # Choice and conversion

    def _where(self, node: Expr, count: int, c: Value, x: Value, y: Value) -> Value:
        return self.f.select(c, x, y)

    def _cast(self, node: Expr, count: int, x: Value) -> Value:
        return self.convert(x, node.args[0].dtype, node.dtype)

    def _bitcast(self, node: Expr, count: int, x: Value) -> Value:
        source, to = node.args[0].dtype, node.dtype
        if source is bool_:
            return self.f.cast(x, "zext", register(to, count))
        if to is bool_:
            return x.ne(0)
        kind = register(to, count)
        return x if x.kind == kind else self.f.cast(x, "bitcast", kind)

    def convert(self, x: Value, source: dtype, to: dtype) -> Value:
        """A value conversion, as `cast` defines it."""
        f, count = self.f, lanes(x.kind)
        kind = register(to, count)
        if source is to:
            return x
        if source in (float16, bfloat16):
            if source is bfloat16:
                wide = float_from_bfloat(f, x)
            else:
                wide = float_from_half(f, x, self.half)
            return self.convert(wide, float32, to)
        if to is bfloat16:
            return bfloat_from_float(f, self.convert(x, source, float32))
        if to is float16:
            return half_from_float(f, self.convert(x, source, float32), self.half)
        if to is bool_:
            return x.ne(0.0 if source.category == FLOATING else 0)
        if source.category == FLOATING:
            if to.category == FLOATING:
                return f.cast(x, "fpext" if to.itemsize > source.itemsize else "fptrunc", kind)
            return self._saturate(x, to, kind)
        if to.category == FLOATING:
            return f.cast(x, "sitofp" if source.signed and source is not bool_ else "uitofp", kind)
        if source.category == INTEGER and to.itemsize <= source.itemsize:
            return x if to.itemsize == source.itemsize else f.cast(x, "trunc", kind)
        return f.cast(x, "sext" if source.signed and source is not bool_ else "zext", kind)

    def _saturate(self, x: Value, to: dtype, kind: str) -> Value:
        word = "fptosi" if to.signed else "fptoui"
        return self.f.intrinsic(f"llvm.{word}.sat.{suffix(kind)}.{suffix(x.kind)}", kind, x)
