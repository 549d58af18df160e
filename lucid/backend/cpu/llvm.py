"""An emitter of LLVM IR text with explicit vectors.

schedule.py, gemm.py and the other templates write machine code with it; jit.py compiles the text.
Python operators on a `Value` append an instruction to its function; loops and branches are context
managers. Mutable state lives in `Slot`s (allocas), which LLVM turns into registers.

LLVM aborts the whole process on an intrinsic that it cannot lower, so `intrinsic` accepts only
names of `GENERIC`, which every target lowers, and those that the target's features cover.
"""

import contextlib
import re
import struct
from collections.abc import Callable, Iterator, Sequence

BYTES = {"float": 4, "double": 8, "half": 2, "bfloat": 2, "i1": 1, "i8": 1, "i16": 2, "i32": 4}
BYTES |= {"i64": 8, "ptr": 8}
_SUFFIX = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}
GENERIC = frozenset(
    "fma sqrt floor ceil trunc roundeven fabs copysign smin smax umin umax abs ctlz cttz ctpop "
    "fptosi.sat fptoui.sat masked.load masked.store masked.gather masked.scatter prefetch "
    "vector.reduce.add vector.reduce.and vector.reduce.or assume".split()
)
FLOATS = frozenset(("float", "double", "half", "bfloat"))
_ATTRIBUTES = {"": "#0", "noinline": "#1", "alwaysinline": "#2", "cold": "#3"}


def vector(count: int, element: str) -> str:
    """The type of `count` lanes; one lane is the scalar."""
    return element if count == 1 else f"<{count} x {element}>"


def element(kind: str) -> str:
    return kind.split(" x ")[1][:-1] if kind[0] == "<" else kind


def lanes(kind: str) -> int:
    return int(kind[1:].split(" x ")[0]) if kind[0] == "<" else 1


def like(kind: str, new_element: str) -> str:
    """The type with as many lanes and another element."""
    return vector(lanes(kind), new_element)


def suffix(kind: str) -> str:
    """The mangled name of a type in an intrinsic: v16f32."""
    e = element(kind)
    name = _SUFFIX.get(e, e) if e != "ptr" else "p0"
    return f"v{lanes(kind)}{name}" if kind[0] == "<" else name


def literal(value: float | int, e: str) -> str:
    """A constant of element type e; floats by their exact bits."""
    if e == "float":
        value = struct.unpack("f", struct.pack("f", value))[0]
    if e in ("float", "double"):
        return "0x" + struct.pack(">d", value).hex().upper()
    if e in ("half", "bfloat"):
        raise TypeError(f"constants of {e} are not emitted: compute in float")
    if e == "ptr":
        return "null"
    return str(int(value))


class Module:
    """LLVM IR in the making: declarations and functions, and their attributes."""

    def __init__(self, features: frozenset[str] = frozenset()):
        self.features = features
        self.functions: dict[str, str] = {}
        self.declarations: dict[str, str] = {}

    def function(
        self,
        name: str,
        arguments: Sequence[tuple[str, str]],
        result: str = "void",
        internal: bool = False,
        inline: str = "",
    ) -> "Function":
        """Begin a function; arguments are (type, name) pairs, `ptr noalias` allowed.
        inline: "", "noinline", "alwaysinline" or "cold" (never inline, seldom called)."""
        return Function(self, name, arguments, result, internal, inline)

    def text(self) -> str:
        declared = [d for n, d in self.declarations.items() if n not in self.functions]
        widths = '"min-legal-vector-width"="512" "prefer-vector-width"="512"'
        attributes = [
            f"attributes #0 = {{ nounwind {widths} }}",
            f"attributes #1 = {{ nounwind noinline {widths} }}",
            f"attributes #2 = {{ nounwind alwaysinline {widths} }}",
            f"attributes #3 = {{ nounwind noinline cold {widths} }}",
        ]
        return "\n".join([*declared, *self.functions.values(), *attributes, ""])


class Value:
    """An SSA value: its name and type, and the function that it belongs to."""

    __slots__ = ("name", "kind", "function")

    def __init__(self, name: str, kind: str, function: "Function"):
        self.name = name
        self.kind = kind
        self.function = function

    def _binary(self, other, floating: str, integer: str, swapped: bool = False) -> "Value":
        f = self.function
        other = f.constant(other, self.kind)
        a, b = (other, self) if swapped else (self, other)
        word = floating if element(self.kind) in FLOATS else integer
        return f.emit(f"{word} {a.kind} {a.name}, {b.name}", self.kind)

    def __add__(self, other) -> "Value":
        return self._binary(other, "fadd", "add")

    __radd__ = __add__

    def __sub__(self, other) -> "Value":
        return self._binary(other, "fsub", "sub")

    def __rsub__(self, other) -> "Value":
        return self._binary(other, "fsub", "sub", True)

    def __mul__(self, other) -> "Value":
        return self._binary(other, "fmul", "mul")

    __rmul__ = __mul__

    def __truediv__(self, other) -> "Value":
        return self._binary(other, "fdiv", "sdiv")

    def __rtruediv__(self, other) -> "Value":
        return self._binary(other, "fdiv", "sdiv", True)

    def __floordiv__(self, other) -> "Value":
        """Unsigned quotient: for sizes and positions, which are never negative."""
        return self._binary(other, "fdiv", "udiv")

    def __mod__(self, other) -> "Value":
        return self._binary(other, "frem", "urem")

    def __and__(self, other) -> "Value":
        return self._binary(other, "and", "and")

    def __or__(self, other) -> "Value":
        return self._binary(other, "or", "or")

    def __xor__(self, other) -> "Value":
        return self._binary(other, "xor", "xor")

    def __lshift__(self, other) -> "Value":
        return self._binary(other, "shl", "shl")

    def __rshift__(self, other) -> "Value":
        return self._binary(other, "lshr", "lshr")

    def _compare(self, other, floating: str, integer: str) -> "Value":
        other = self.function.constant(other, self.kind)
        if element(self.kind) in FLOATS:
            word = f"fcmp {floating}"
        else:
            word = f"icmp {integer}"
        return self.function.emit(
            f"{word} {self.kind} {self.name}, {other.name}", like(self.kind, "i1")
        )

    def __lt__(self, other) -> "Value":
        return self._compare(other, "olt", "slt")

    def __le__(self, other) -> "Value":
        return self._compare(other, "ole", "sle")

    def __gt__(self, other) -> "Value":
        return self._compare(other, "ogt", "sgt")

    def __ge__(self, other) -> "Value":
        return self._compare(other, "oge", "sge")

    def eq(self, other) -> "Value":
        return self._compare(other, "oeq", "eq")

    def ne(self, other) -> "Value":
        return self._compare(other, "une", "ne")


class Slot:
    """A mutable local variable."""

    __slots__ = ("pointer", "kind", "function")

    def __init__(self, pointer: Value, kind: str, function: "Function"):
        self.pointer = pointer
        self.kind = kind
        self.function = function

    def get(self) -> Value:
        return self.function.emit(f"load {self.kind}, ptr {self.pointer.name}", self.kind)

    def set(self, value: "Value | float | int") -> None:
        value = self.function.constant(value, self.kind)
        self.function.line(f"store {value.kind} {value.name}, ptr {self.pointer.name}")


class Function:
    """A function under construction. Close it with `finish`."""

    def __init__(self, module, name, arguments, result, internal, inline):
        self.module = module
        self.name = name
        self.result = result
        self.internal = internal
        self.attribute = _ATTRIBUTES[inline]
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.count = 0
        self.signature = ", ".join(f"{kind} %{n}" for kind, n in arguments)
        self.arguments = [Value(f"%{n}", kind.split(" noalias")[0], self) for kind, n in arguments]
        self.lines.append("body:")

    # Instructions

    def fresh(self, prefix: str = "v") -> str:
        self.count += 1
        return f"%{prefix}{self.count}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def emit(self, text: str, kind: str) -> Value:
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return Value(name, kind, self)

    def constant(self, value: "Value | float | int", kind: str) -> Value:
        """A number as a value of type `kind`; a Value passes through."""
        if isinstance(value, Value):
            return value
        e = element(kind)
        text = literal(value, e)
        if kind[0] == "<":
            text = f"splat ({e} {text})" if e != "ptr" else "zeroinitializer"
        return Value(text, kind, self)

    def i64(self, value: "Value | int") -> Value:
        return self.constant(value, "i64")

    def slot(self, kind: str, initial: "Value | float | int | None" = None) -> Slot:
        """A local variable; `initial` is assigned here, at each pass of this point."""
        name = self.fresh("s")
        self.slots.append(f"  {name} = alloca {kind}, align 64")
        made = Slot(Value(name, "ptr", self), kind, self)
        if initial is not None:
            made.set(initial)
        return made

    def address(self, pointer: Value, offset: "Value | int", e: str = "i8") -> Value:
        """pointer + offset elements of type e."""
        offset = self.i64(offset)
        return self.emit(f"getelementptr {e}, ptr {pointer.name}, i64 {offset.name}", "ptr")

    def load(self, kind: str, pointer: Value, offset=None, align: int = 0) -> Value:
        """offset counts elements of the vector's element type."""
        if offset is not None:
            pointer = self.address(pointer, offset, element(kind))
        align = align or BYTES[element(kind)]
        return self.emit(f"load {kind}, ptr {pointer.name}, align {align}", kind)

    def store(self, value: Value, pointer: Value, offset=None, align: int = 0, extra: str = ""):
        if offset is not None:
            pointer = self.address(pointer, offset, element(value.kind))
        align = align or BYTES[element(value.kind)]
        self.line(f"store {value.kind} {value.name}, ptr {pointer.name}, align {align}{extra}")

    def masked_load(self, kind: str, pointer: Value, mask: Value) -> Value:
        """Lanes whose mask is false give 0 and touch no memory."""
        align = BYTES[element(kind)]
        name = f"llvm.masked.load.{suffix(kind)}.p0"
        self.declare(name, kind, ("ptr", mask.kind, kind))
        call = f"ptr align {align} {pointer.name}, {mask.kind} {mask.name}, {kind} zeroinitializer"
        return self.emit(f"call {kind} @{name}({call})", kind)

    def masked_store(self, value: Value, pointer: Value, mask: Value) -> None:
        kind, align = value.kind, BYTES[element(value.kind)]
        name = f"llvm.masked.store.{suffix(kind)}.p0"
        self.declare(name, "void", (kind, "ptr", mask.kind))
        call = f"{kind} {value.name}, ptr align {align} {pointer.name}, {mask.kind} {mask.name}"
        self.line(f"call void @{name}({call})")

    def gather(self, kind: str, pointers: Value, mask: Value) -> Value:
        align = BYTES[element(kind)]
        name = f"llvm.masked.gather.{suffix(kind)}.{suffix(pointers.kind)}"
        self.declare(name, kind, (pointers.kind, mask.kind, kind))
        call = f"{pointers.kind} align {align} {pointers.name}, {mask.kind} {mask.name}, "
        return self.emit(f"call {kind} @{name}({call}{kind} zeroinitializer)", kind)

    def lanes_at(self, kind: str, pointers: Value, mask: Value | None) -> Value:
        """What lies at each pointer, loaded one by one. Of lanes that a mask leaves out, which are
        the last ones, it is what lies at the first pointer.

        The processor's gather takes twice as long where microcode holds back speculation.
        """
        if mask is not None:
            pointers = self.select(
                mask, pointers, self.splat(self.extract(pointers, 0), lanes(kind))
            )
        made = Value("poison", kind, self)
        for i in range(lanes(kind)):
            made = self.insert(made, self.load(element(kind), self.extract(pointers, i)), i)
        return made

    def scatter(self, value: Value, pointers: Value, mask: Value) -> None:
        align = BYTES[element(value.kind)]
        name = f"llvm.masked.scatter.{suffix(value.kind)}.{suffix(pointers.kind)}"
        self.declare(name, "void", (value.kind, pointers.kind, mask.kind))
        call = f"{value.kind} {value.name}, {pointers.kind} align {align} {pointers.name}, "
        self.line(f"call void @{name}({call}{mask.kind} {mask.name})")

    def prefetch(self, pointer: Value, level: int = 1) -> None:
        """Ask for the line of `pointer` to be read into the caches from `level` outwards; any
        address will do."""
        hint = [Value(text, "i32", self) for text in ("0", str(4 - level), "1")]  # read, keep, data
        self.call("llvm.prefetch.p0", pointer, *hint)

    def opaque(self, value: Value) -> Value:
        """The same value in a register, of which LLVM forgets how it was made: what is derived
        from it is computed where it stands, not ahead in registers of its own."""
        return self.emit(f'call {value.kind} asm "", "=r,0"({value.kind} {value.name})', value.kind)

    def declare(self, name: str, result: str, kinds: Sequence[str], tail: str = "") -> None:
        self.module.declarations.setdefault(
            name, f"declare {result} @{name}({', '.join(kinds)}{tail})"
        )

    def intrinsic(self, name: str, result: str, *values: Value) -> Value:
        """An LLVM intrinsic by its full name, checked against what the target lowers."""
        plain = re.sub(r"^llvm\.", "", name)
        base = re.sub(r"(\.(v\d+)?(f16|bf16|f32|f64|i\d+|p0))+$", "", plain)
        if base not in GENERIC and not any(plain.startswith(f"x86.{x}") for x in self._native()):
            raise ValueError(f"intrinsic {name} is not on the list of what this target lowers")
        return self.ask(name, *values, result=result)

    def _native(self) -> list[str]:
        return ["sse2.pause", *(x for x in ("avx512",) if x in self.module.features)]

    def call(self, name: str, *values: Value) -> None:
        self.line(self._call(name, "void", values))

    def ask(self, name: str, *values: Value, result: str = "ptr") -> Value:
        """A call that gives something back."""
        return self.emit(self._call(name, result, values), result)

    def _call(self, name: str, result: str, values: Sequence[Value]) -> str:
        self.declare(name, result, [v.kind for v in values])
        return f"call {result} @{name}({', '.join(f'{v.kind} {v.name}' for v in values)})"

    def unary(self, name: str, x: Value) -> Value:
        """A generic one-argument intrinsic such as sqrt on any float type."""
        return self.intrinsic(f"llvm.{name}.{suffix(x.kind)}", x.kind, x)

    def fma(self, x: Value, y: "Value | float", z: "Value | float") -> Value:
        y, z = self.constant(y, x.kind), self.constant(z, x.kind)
        return self.intrinsic(f"llvm.fma.{suffix(x.kind)}", x.kind, x, y, z)

    def select(self, condition: Value, x, y) -> Value:
        kind = x.kind if isinstance(x, Value) else y.kind
        x, y = self.constant(x, kind), self.constant(y, kind)
        return self.emit(
            f"select {condition.kind} {condition.name}, {kind} {x.name}, {kind} {y.name}", kind
        )

    def minimum(self, x, y) -> Value:
        """The smaller of two i64."""
        x, y = self.i64(x), self.i64(y)
        return self.select(x < y, x, y)

    def maximum(self, x, y) -> Value:
        x, y = self.i64(x), self.i64(y)
        return self.select(x > y, x, y)

    def cast(self, value: Value, word: str, kind: str) -> Value:
        """word: LLVM's conversion, such as sext, fptrunc, bitcast, inttoptr."""
        return self.emit(f"{word} {value.kind} {value.name} to {kind}", kind)

    def splat(self, x: Value, count: int) -> Value:
        kind = vector(count, x.kind)
        first = self.emit(f"insertelement {kind} poison, {x.kind} {x.name}, i64 0", kind)
        return self.shuffle(first, None, [0] * count)

    def shuffle(self, a: Value, b: Value | None, places: Sequence[int]) -> Value:
        """Lanes picked from a (0..n-1) and b (n..2n-1)."""
        second = b.name if b is not None else "poison"
        mask = ", ".join(f"i32 {p}" for p in places)
        return self.emit(
            f"shufflevector {a.kind} {a.name}, {a.kind} {second}, <{len(places)} x i32> <{mask}>",
            vector(len(places), element(a.kind)),
        )

    def extract(self, v: Value, lane: int) -> Value:
        return self.emit(f"extractelement {v.kind} {v.name}, i64 {lane}", element(v.kind))

    def insert(self, v: Value, x: Value, lane: int) -> Value:
        return self.emit(f"insertelement {v.kind} {v.name}, {x.kind} {x.name}, i64 {lane}", v.kind)

    def iota(self, count: int, e: str = "i64") -> Value:
        """0, 1, 2, ... in lanes."""
        text = ", ".join(f"{e} {i}" for i in range(count))
        return Value(f"<{text}>", vector(count, e), self)

    def first_lanes(self, n: Value, count: int) -> Value:
        """A mask: lane < n (i64, below 2^31)."""
        return self.iota(count, "i32") < self.splat(self.cast(n, "trunc", "i32"), count)

    # Control flow

    def label(self) -> str:
        self.count += 1
        return f"L{self.count}"

    def begin(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def jump(self, label: str) -> None:
        self.line(f"br label %{label}")

    def branch(self, condition: Value, yes: str, no: str) -> None:
        self.line(f"br i1 {condition.name}, label %{yes}, label %{no}")

    @contextlib.contextmanager
    def loop(self, start, stop, step: "Value | int" = 1) -> Iterator[Value]:
        """for i in range(start, stop, step), with step > 0."""
        counter, stop = self.slot("i64", self.i64(start)), self.i64(stop)
        head, body, end = self.label(), self.label(), self.label()
        self.jump(head)
        self.begin(head)
        i = counter.get()
        self.branch(i < stop, body, end)
        self.begin(body)
        yield i
        counter.set(i + step)
        self.jump(head)
        self.begin(end)

    @contextlib.contextmanager
    def loop_while(self, condition: Callable[[], Value]) -> Iterator[None]:
        head, body, end = self.label(), self.label(), self.label()
        self.jump(head)
        self.begin(head)
        self.branch(condition(), body, end)
        self.begin(body)
        yield
        self.jump(head)
        self.begin(end)

    @contextlib.contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        body, end = self.label(), self.label()
        self.branch(condition, body, end)
        self.begin(body)
        yield
        self.jump(end)
        self.begin(end)

    def either(self, condition: Value, yes: Callable[[], None], no: Callable[[], None]) -> None:
        first, second, end = self.label(), self.label(), self.label()
        self.branch(condition, first, second)
        self.begin(first)
        yes()
        self.jump(end)
        self.begin(second)
        no()
        self.jump(end)
        self.begin(end)

    def finish(self, value: Value | None = None) -> None:
        """Return and add the function to its module."""
        self.line("ret void" if value is None else f"ret {value.kind} {value.name}")
        linkage = "internal " if self.internal else ""
        head = f"define {linkage}{self.result} @{self.name}({self.signature}) {self.attribute} {{"
        lines = [head, "entry:", *self.slots, "  br label %body", *self.lines, "}"]
        self.module.functions[self.name] = "\n".join(lines)
