"""An interpreter of pickles that builds data and executes nothing.

Called by torch_read.py. It knows the instructions that data needs; a name in the file stands only
for what the table of `allowed.py` has under it, and no other code is ever looked up or run.
Memory is bounded by the length of the file: a length that the file states is compared with what is
left of it before anything is allocated.
"""

import codecs
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

MOST_MEMO = 1 << 24
MOST_KEY = 64  # of parts in a key of a dict or an element of a set: hashing walks them all


# What Python raises for values of other types, lengths and sizes than were expected.
WRONG = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
    struct.error,
)  # fmt: skip


class Malformed(ValueError):
    """What a file holds is no pickle of data."""


class Source:
    """The bytes of a file, with the number of those left."""

    def __init__(self, file: BinaryIO, length: int):
        self.file = file
        self.left = length

    def take(self, count: int) -> bytes:
        """The next `count` bytes; Malformed where there are fewer."""
        if not 0 <= count <= self.left:
            raise Malformed(f"{count} bytes are stated where {self.left} are left")
        data = self.file.read(count)
        if len(data) != count:
            raise Malformed("the file ends in the middle")
        self.left -= count
        return data

    def fill(self, target: Any) -> None:
        """Read as many bytes as the buffer `target` has into it."""
        block = memoryview(target).cast("B")
        if block.nbytes > self.left:
            raise Malformed(f"{block.nbytes} bytes are stated where {self.left} are left")
        done = 0
        while done < block.nbytes:
            count = self.file.readinto(block[done:])  # type: ignore[attr-defined]
            if not count:
                raise Malformed("the file ends in the middle")
            done += count
        self.left -= done

    def line(self) -> bytes:
        """The bytes up to the next newline, which is dropped."""
        data = self.file.readline(self.left)
        self.left -= len(data)
        if not data.endswith(b"\n"):
            raise Malformed("the file ends in the middle of a line")
        return data[:-1]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]


class Mark:
    """The instruction MARK on the stack."""


class Global:
    """A name in a pickle: what calling it gives, and what BUILD does with the result."""

    def __init__(
        self,
        name: str,
        call: Callable[..., Any] | None = None,
        build: Callable[[Any, Any], Any] | None = None,
    ):
        self.name = name
        self.call = call
        self.build = build

    def __repr__(self) -> str:
        return self.name


class Builder:
    """A thing whose state comes later, by BUILD; `finish` gives what it then is."""

    def build(self, state: Any) -> Any:
        raise NotImplementedError


def load(
    source: Source,
    find: Callable[[str, str], Any],
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The object of the pickle at the source, whose end the source is left at.

    `find(module, name)` gives what a name stands for, `persistent(id)` what lies outside of the
    pickle. Malformed says what is wrong.
    """
    machine = _Machine(source, find, persistent)
    try:
        return machine.run()
    except Malformed:
        raise
    except WRONG as error:
        raise Malformed(f"{type(error).__name__}: {error}") from error


class _Machine:
    """A stack, a memo, and one method for each instruction."""

    def __init__(self, source: Source, find: Any, persistent: Any):
        self.source = source
        self.find = find
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        take = self.source.take
        while True:
            code = take(1)
            if code == b".":
                value = self.stack.pop()
                if value is Mark:
                    raise Malformed("the pickle ends at a mark")
                return value
            step = STEPS.get(code)
            if step is None:
                raise Malformed(
                    f"the pickle has the instruction {code!r}, which data does not need"
                )
            step(self)

    # ---- the stack ------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is Mark:
            raise Malformed("a mark stands where a value is needed")
        return value

    def top(self) -> Any:
        value = self.stack[-1]
        if value is Mark:
            raise Malformed("a mark stands where a value is needed")
        return value

    def since_mark(self) -> list[Any]:
        stack = self.stack
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is Mark:
                values = stack[i + 1 :]
                del stack[i:]
                return values
        raise Malformed("there is no mark")

    def drop(self) -> None:
        self.stack.pop()

    def drop_to_mark(self) -> None:
        self.since_mark()

    def tuple(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    # ---- containers -----------------------------------------------------------------------

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise Malformed(f"elements are appended to a {type(target).__name__}")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(values) % 2:
            raise Malformed(f"items are set in a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[checked_key(key)] = value

    def dict(self, values: list[Any]) -> None:
        self.push({})
        self.set_items(values)

    def add_items(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, set):
            raise Malformed(f"elements are added to a {type(target).__name__}")
        target.update(map(checked_key, values))

    # ---- names ----------------------------------------------------------------------------

    def put(self, place: int) -> None:
        if not 0 <= place < MOST_MEMO:
            raise Malformed(f"the memo has no place {place}")
        self.memo[place] = self.top()

    def get(self, place: int) -> None:
        self.push(self.memo[place])

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Malformed("a name is no string")
        self.push(self.find(module, name))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(called(function, arguments))

    def new(self, keywords: bool) -> None:
        given = self.pop() if keywords else {}
        arguments, function = self.pop(), self.pop()
        if given:
            raise Malformed(f"{function!r} is called with keywords")
        self.push(called(function, arguments))

    def build(self) -> None:
        state = self.pop()
        target = self.pop()
        if isinstance(target, Builder):
            self.push(self._replaced(target, target.build(state)))
        else:
            built = build_state(target, state)
            self.push(built)

    def _replaced(self, builder: Any, value: Any) -> Any:
        """The memo refers to the builder so far; from now on to what it has built."""
        for place, known in self.memo.items():
            if known is builder:
                self.memo[place] = value
        return value

    def outside(self, name: Any) -> None:
        if self.persistent is None:
            raise Malformed("the pickle refers to something outside of it")
        self.push(self.persistent(name))


def called(function: Any, arguments: Any) -> Any:
    if not isinstance(function, Global) or function.call is None:
        raise Malformed(f"{_shown(function)} is called, which is no function of data")
    if not isinstance(arguments, tuple):
        raise Malformed(f"{function!r} is called with a {type(arguments).__name__}")
    return function.call(*arguments)


def build_state(target: Any, state: Any) -> Any:
    """What BUILD does with an object of the allowed types that has attributes."""
    setter = STATES.get(type(target))
    if setter is None:
        raise Malformed(f"a {type(target).__name__} is given a state")
    setter(target, state)
    return target


# type -> how its instances take their state; allowed.py fills it
STATES: dict[type, Callable[[Any, Any], None]] = {}


def checked_key(key: Any) -> Any:
    """The key, if hashing it is cheap: shared tuples in tuples would be walked again and again."""
    left = MOST_KEY
    open_ = [key]
    while open_:
        part = open_.pop()
        left -= 1
        if left < 0:
            raise Malformed("a key has too many parts")
        if isinstance(part, tuple | frozenset):
            open_ += list(part)[: left + 1]
        elif not (part is None or isinstance(part, str | bytes | int | float | complex)):
            if not getattr(type(part), "__module__", "").startswith("lucid"):
                raise Malformed(f"a {type(part).__name__} is a key")
    return key


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, Global) else f"a {type(value).__name__}"


def _text(data: bytes) -> Any:
    """A string of Python 2: text where it is, else bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _quoted(line: bytes) -> Any:
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Malformed("a string is not quoted")
    return _text(codecs.escape_decode(line[1:-1])[0])


def _old_integer(line: bytes) -> Any:
    if line in (b"00", b"01"):  # how protocol 0 writes False and True
        return line == b"01"
    return int(line)


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _length(count: int) -> int:
    if count < 0:
        raise Malformed(f"a length is {count}")
    return count


STEPS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: _check_protocol(m.source.take(1)[0]),
    b"\x95": lambda m: _check_frame(m.source.number("<Q"), m.source.left),
    b"(": lambda m: m.push(Mark),
    b"0": lambda m: m.drop(),
    b"1": lambda m: m.drop_to_mark(),
    b"2": lambda m: m.push(m.top()),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_old_integer(m.source.line())),
    b"J": lambda m: m.push(m.source.number("<i")),
    b"K": lambda m: m.push(m.source.number("<B")),
    b"M": lambda m: m.push(m.source.number("<H")),
    b"L": lambda m: m.push(int(m.source.line().rstrip(b"L"))),
    b"\x8a": lambda m: m.push(_long(m.source.take(m.source.number("<B")))),
    b"\x8b": lambda m: m.push(_long(m.source.take(_length(m.source.number("<i"))))),
    b"F": lambda m: m.push(float(m.source.line())),
    b"G": lambda m: m.push(m.source.number(">d")),
    b"S": lambda m: m.push(_quoted(m.source.line().strip())),
    b"T": lambda m: m.push(_text(m.source.take(_length(m.source.number("<i"))))),
    b"U": lambda m: m.push(_text(m.source.take(m.source.number("<B")))),
    b"B": lambda m: m.push(m.source.take(m.source.number("<I"))),
    b"C": lambda m: m.push(m.source.take(m.source.number("<B"))),
    b"\x8e": lambda m: m.push(m.source.take(m.source.number("<Q"))),
    b"\x96": lambda m: m.push(bytearray(m.source.take(m.source.number("<Q")))),
    b"V": lambda m: m.push(m.source.line().decode("raw-unicode-escape")),
    b"X": lambda m: m.push(str(m.source.take(m.source.number("<I")), "utf-8", "surrogatepass")),
    b"\x8c": lambda m: m.push(str(m.source.take(m.source.number("<B")), "utf-8", "surrogatepass")),
    b"\x8d": lambda m: m.push(str(m.source.take(m.source.number("<Q")), "utf-8", "surrogatepass")),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.append([m.pop()]),
    b"e": lambda m: m.append(m.since_mark()),
    b"l": lambda m: m.push(m.since_mark()),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"\x85": lambda m: m.tuple(1),
    b"\x86": lambda m: m.tuple(2),
    b"\x87": lambda m: m.tuple(3),
    b"}": lambda m: m.push({}),
    b"d": lambda m: m.dict(m.since_mark()),
    b"s": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    b"u": lambda m: m.set_items(m.since_mark()),
    b"\x8f": lambda m: m.push(set()),
    b"\x90": lambda m: m.add_items(m.since_mark()),
    b"\x91": lambda m: m.push(frozenset(map(checked_key, m.since_mark()))),
    b"g": lambda m: m.get(int(m.source.line())),
    b"h": lambda m: m.get(m.source.number("<B")),
    b"j": lambda m: m.get(m.source.number("<I")),
    b"p": lambda m: m.put(int(m.source.line())),
    b"q": lambda m: m.put(m.source.number("<B")),
    b"r": lambda m: m.put(m.source.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"c": lambda m: m.name(m.source.line().decode(), m.source.line().decode()),
    b"\x93": lambda m: m.name(*[m.pop(), m.pop()][::-1]),
    b"R": lambda m: m.reduce(),
    b"\x81": lambda m: m.new(False),
    b"\x92": lambda m: m.new(True),
    b"b": lambda m: m.build(),
    b"Q": lambda m: m.outside(m.pop()),
    b"P": lambda m: m.outside(m.source.line().decode()),
}


def _check_protocol(number: int) -> None:
    if number > 5:
        raise Malformed(f"protocol {number} of pickles is unknown")


def _check_frame(length: int, left: int) -> None:
    if length > left:
        raise Malformed(f"a frame of {length} bytes stands where {left} are left")
