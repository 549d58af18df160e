"""Sorting rows: a radix sort of (key, position) pairs, for ops/sort.py.

An element's bits become an unsigned key whose order is the wanted one: NaN after everything, -0.0
equal to 0.0, the bits inverted where the largest come first. A pass over each byte of the key,
from the lowest, keeps the order of equal keys, so the sort is stable. Keys of 32 bits or fewer
share a word with their position; a key of 64 bits has its position beside it. Short rows are
sorted by insertion, and so are the first k of a row where k is small. Where places `skip` to k of
a long row are wanted, a count of the keys' first bits tells which can stand there: only those are
sorted.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from lucid.backend.cpu import gemm, interrupt, jit
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.gemm_driver import Words, emit_entry
from lucid.backend.cpu.target import target
from lucid.dtypes import BOOL, FLOATING, dtype
from lucid.kernel.loops import LANES

Task = tuple[ll.Value, ll.Value]  # the words of a call, and which slot of scratch is ours
SHORT = 40  # up to this many elements, insertion beats the passes over bytes
FEW = 64  # up to this many wanted of a longer row, they are kept sorted while the row passes
SERIAL = 4_000  # elements below which a second thread costs more than it does
LONG = 512  # from here on a part of a row is picked out before it is sorted
DIGITS = 256
FIRST = 11  # bits of the key that tell which elements belong to a part
MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
WORDS = (
    "x", "values", "places", "rows", "n", "k", "skip", "tasks", "task_rows", "slot_bytes", "threads"
)  # fmt: skip
TASK = [("ptr", "words"), ("ptr", "x"), ("i64", "slot")]
FRONT = 64  # bytes before the pairs: insertion reads the one before the first


@dataclass(frozen=True)
class Variant:
    """What the text depends on. How a row is sorted: "few", only the first k, and k is small;
    "part", places skip to k; or "whole"."""

    kind: dtype
    descending: bool
    how: str

    def key(self) -> str:
        return f"sort {self.kind.name} descending={self.descending} {self.how}"

    @property
    def bits(self) -> int:
        return 8 * self.kind.itemsize

    @property
    def wide(self) -> bool:
        """Whether a pair takes two words."""
        return self.bits == 64


def plan_sort(kind: dtype, descending: bool, rows: int, n: int, k: int, skip: int, threads: int):
    """The call that writes places skip to k of each sorted row of n, and where they stood."""
    how = "few" if k <= FEW and n > SHORT else "part" if k - skip < n and n >= LONG else "whole"
    variant = Variant(kind, descending, how)
    address = jit.function(variant.key(), lambda symbol: emit(symbol, variant))
    task_rows = max(1, min(-(-rows // (4 * threads)), -(-SERIAL // max(n, 1))))
    threads = threads if rows * n > SERIAL else 1
    slot = gemm.Scratch()
    pair = 16 if variant.wide else 8
    held = FEW if how == "few" else n
    for _ in range(2):
        slot.take(FRONT + (held + 1) * pair)
    slot.take(max(DIGITS * kind.itemsize, 1 << FIRST) * 8)
    values = dict(
        rows=rows, n=n, k=k, skip=skip, tasks=-(-rows // task_rows), task_rows=task_rows,
        slot_bytes=slot.size,
    )  # fmt: skip
    return gemm.finish(address, WORDS, values, WORDS[:3], slot.size, threads)


def emit(symbol: str, variant: Variant) -> str:
    """The text: `symbol(ptr words)` and what it calls."""
    module = ll.Module(target().flags)
    few = variant.how == "few"
    if few:
        _few(module, variant)
    else:
        _row(module, variant)
    f = module.function("task", [("ptr", "words"), ("i64", "task"), ("i64", "slot")], internal=True)
    words, task, slot = f.arguments
    w = Words(f, words, WORDS)
    n, k, skip, size = w["n"], w["k"], w["skip"], variant.kind.itemsize
    held = FEW if few else n
    scratch = f.address(f.load("ptr", words, 1), slot * w["slot_bytes"])
    pitch = _pitch(f, held, variant)
    first = f.address(scratch, FRONT)
    second = f.address(first, pitch)
    counts = f.address(scratch, pitch + pitch)
    start = task * w["task_rows"]
    with f.loop(start, f.minimum(start + w["task_rows"], w["rows"])) as row:
        x = f.address(w.pointer("x"), row * n * size)
        pairs = first
        if few:
            f.call("few", words, x, slot, n, k, first)
        else:
            pairs = f.ask("row", words, x, slot, n, k, skip, first, second, counts)
            interrupt.leave(f, words, slot, pairs.eq(0))
        wanted = k - skip
        values = f.address(w.pointer("values"), row * wanted * size)
        places = f.address(w.pointer("places"), row * wanted * 8)
        with _long_loop(f, words, slot, 0, wanted) as j:
            place = _place(f, variant, pairs, j + skip if few else j)
            f.store(place, places, j)
            f.store(f.load(f"i{variant.bits}", x, place), values, j)
    f.finish()
    emit_entry(module, symbol, WORDS, [("task", "tasks")])
    return module.text()


@contextlib.contextmanager
def _long_loop(
    f: ll.Function, words: ll.Value, slot: ll.Value, start, stop, step: int = 1
) -> Iterator[ll.Value]:
    """A loop that ends its function where the call is over."""
    with interrupt.stretches(f, words, slot, start, stop, 1 << interrupt.STEP) as (first, end):
        with f.loop(first, end, step) as i:
            yield i


def _pitch(f: ll.Function, held, variant: Variant) -> ll.Value:
    """Bytes of one of the two arrays of pairs, as plan_sort laid them out."""
    pair = 16 if variant.wide else 8
    count = (f.i64(held) + 1) * pair + (FRONT + 63)
    return count & -64


def _key(f: ll.Function, x: ll.Value, variant: Variant) -> ll.Value:
    """The bits of an element, or of several in lanes, with the wanted order of unsigned numbers."""
    kind, bits = variant.kind, variant.bits
    top = 1 << (bits - 1)
    if kind.category == FLOATING:
        mantissa = MANTISSA[kind.name]
        size = x & (top - 1)
        infinity = ((1 << (bits - 1 - mantissa)) - 1) << mantissa
        key = f.select(x < 0, x ^ -1, x ^ _signed(top, bits))
        key = f.select(size.eq(0), f.constant(_signed(top, bits), x.kind), key)
        key = f.select(size > infinity, f.constant(-1, x.kind), key)
    elif kind.signed and kind.category != BOOL:
        key = x ^ _signed(top, bits)
    else:
        key = x
    return key ^ -1 if variant.descending else key


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _less(f: ll.Function, a: ll.Value, b: ll.Value) -> ll.Value:
    return f.emit(f"icmp ult {a.kind} {a.name}, {b.name}", "i1")


def _read(f: ll.Function, variant: Variant, x: ll.Value, i: ll.Value) -> ll.Value:
    """The first word of the pair of element i: its key, above its position if both fit."""
    key = _key(f, f.load(f"i{variant.bits}", x, i), variant)
    return key if variant.wide else (f.cast(key, "zext", "i64") << 32) | i


def _put(f: ll.Function, variant: Variant, pairs: ll.Value, at: ll.Value, pair: list) -> None:
    step = at * len(pair)
    for offset, word in enumerate(pair):
        f.store(word, pairs, step + offset)


def _get(f: ll.Function, variant: Variant, pairs: ll.Value, at: ll.Value) -> list:
    if not variant.wide:
        return [f.load("i64", pairs, at)]
    return [f.load("i64", pairs, at * 2), f.load("i64", pairs, at * 2 + 1)]


def _place(f: ll.Function, variant: Variant, pairs: ll.Value, at: ll.Value) -> ll.Value:
    pair = _get(f, variant, pairs, at)
    return pair[1] if variant.wide else pair[0] & 0xFFFFFFFF


def _insert(f: ll.Function, variant: Variant, pairs: ll.Value, start: ll.Value, pair: list) -> None:
    """Put a pair among the sorted ones before `start`, after those that are not greater."""
    at = f.slot("i64", start)

    def greater() -> ll.Value:
        j = at.get()
        before = _get(f, variant, pairs, j - 1)
        return (j > 0) & _less(f, pair[0], before[0])

    with f.loop_while(greater):
        j = at.get()
        _put(f, variant, pairs, j, _get(f, variant, pairs, j - 1))
        at.set(j - 1)
    _put(f, variant, pairs, at.get(), pair)


def _pair(f: ll.Function, variant: Variant, word: ll.Value, i: ll.Value) -> list:
    return [word, i] if variant.wide else [word]


def _few(module: ll.Module, variant: Variant) -> None:
    """void few(ptr words, ptr x, i64 slot, i64 n, i64 k, ptr pairs): the first k pairs, sorted."""
    arguments = [*TASK, ("i64", "n"), ("i64", "k"), ("ptr", "pairs")]
    f = module.function("few", arguments, internal=True, inline="noinline")
    words, x, slot, n, k, pairs = f.arguments
    with f.loop(0, k) as i:
        _insert(f, variant, pairs, i, _pair(f, variant, _read(f, variant, x, i), i))
    with f.when(k > 0):
        worst = f.slot("i64", _get(f, variant, pairs, k - 1)[0])
        with _long_loop(f, words, slot, k, n) as i:
            word = _read(f, variant, x, i)
            with f.when(_less(f, word, worst.get())):
                _insert(f, variant, pairs, k - 1, _pair(f, variant, word, i))
                worst.set(_get(f, variant, pairs, k - 1)[0])
    f.finish()


def _row(module: ll.Module, variant: Variant) -> None:
    """ptr row(ptr words, ptr x, i64 slot, i64 n, i64 k, i64 skip, ptr a, ptr b, ptr counts): the
    sorted pairs from place skip on, in a or in b; null where the call is over."""
    arguments = [*TASK, ("i64", "n"), ("i64", "k"), ("i64", "skip")]
    arguments += [("ptr", "a"), ("ptr", "b"), ("ptr", "counts")]
    f = module.function("row", arguments, result="ptr", internal=True, inline="noinline")
    words, x, slot, n, k, skip, a, b, counts = f.arguments
    task = (words, slot)
    here, there = f.slot("ptr", a), f.slot("ptr", b)
    if variant.how == "part":
        n, skip = _picked(f, variant, task, x, n, k, skip, a, counts)
    else:
        with _long_loop(f, *task, 0, n) as i:
            _put(f, variant, a, i, _pair(f, variant, _read(f, variant, x, i), i))

    def short() -> None:
        with f.loop(1, n) as i:
            _insert(f, variant, a, i, _get(f, variant, a, i))

    def long() -> None:
        bytes_ = variant.kind.itemsize
        shift = 0 if variant.wide else 32
        with f.loop(0, DIGITS * bytes_) as i:
            f.store(f.i64(0), counts, i)
        with _long_loop(f, *task, 0, n) as i:
            word = _get(f, variant, a, i)[0]
            for d in range(bytes_):
                at = ((word >> (shift + 8 * d)) & 255) + DIGITS * d
                f.store(f.load("i64", counts, at) + 1, counts, at)
        for d in range(bytes_):
            digits = f.address(counts, DIGITS * 8 * d)
            _pass(f, variant, task, n, here, there, digits, shift + 8 * d)

    f.either(n <= SHORT, short, long)
    f.finish(f.address(here.get(), skip * (16 if variant.wide else 8)))


def _picked(f, variant: Variant, task: Task, x, n, k, skip, a, counts) -> tuple[ll.Value, ll.Value]:
    """Put the pairs that may stand at places skip to k into a, in their order: how many they are,
    and how many of them come before place skip."""
    bits = min(FIRST, variant.bits)
    narrow = f"i{variant.bits}"
    whole = n & -LANES

    def digits(i: ll.Value, kind: str) -> ll.Value:
        key = _key(f, f.load(kind, f.address(x, i, narrow)), variant)
        places = f.constant(variant.bits - bits, kind)
        return f.emit(f"lshr {kind} {key.name}, {places.name}", kind)

    def count(digit: ll.Value) -> None:
        at = f.cast(digit, "zext", "i64") if variant.bits < 64 else digit
        f.store(f.load("i64", counts, at) + 1, counts, at)

    with f.loop(0, 1 << bits) as i:
        f.store(f.i64(0), counts, i)
    with _long_loop(f, *task, 0, whole, LANES) as i:
        several = digits(i, ll.vector(LANES, narrow))
        for lane in range(LANES):
            count(f.extract(several, lane))
    with f.loop(whole, n) as i:
        count(digits(i, narrow))
    total, before = f.slot("i64", 0), f.slot("i64", 0)
    low, high = f.slot("i64", 0), f.slot("i64", 0)
    with f.loop(0, 1 << bits) as i:
        start = total.get()
        stop = start + f.load("i64", counts, i)
        total.set(stop)
        with f.when((start <= skip) & (skip < stop)):
            low.set(i)
            before.set(start)
        with f.when((start < k) & (k <= stop)):
            high.set(i)
    first, span = low.get(), high.get() - low.get()
    if variant.bits < 64:
        first, span = (f.cast(v, "trunc", narrow) for v in (first, span))
    many = f.splat(first, LANES), f.splat(span, LANES)
    found = f.slot("i64", 0)

    def fits(digit: ll.Value, first: ll.Value, span: ll.Value, kind: str) -> ll.Value:
        offset = digit - first
        return f.emit(f"icmp ule {digit.kind} {offset.name}, {span.name}", kind)

    def take(i: ll.Value) -> None:
        at = found.get()
        _put(f, variant, a, at, _pair(f, variant, _read(f, variant, x, i), i))
        found.set(at + 1)

    left = f.slot("i32")
    with _long_loop(f, *task, 0, whole, LANES) as i:
        good = fits(digits(i, ll.vector(LANES, narrow)), *many, f"<{LANES} x i1>")
        left.set(f.cast(f.cast(good, "bitcast", f"i{LANES}"), "zext", "i32"))
        with f.loop_while(lambda: left.get().ne(0)):
            lanes = left.get()
            lane = f.intrinsic("llvm.cttz.i32", "i32", lanes, ll.Value("true", "i1", f))
            take(i + f.cast(lane, "zext", "i64"))
            left.set(lanes & (lanes - 1))
    with f.loop(whole, n) as i, f.when(fits(digits(i, narrow), first, span, "i1")):
        take(i)
    return found.get(), skip - before.get()


def _pass(
    f, variant: Variant, task: Task, n, here: ll.Slot, there: ll.Slot, counts, shift: int
) -> None:
    """Move the pairs into the order of one byte; a byte that is the same in all moves none."""
    source = here.get()
    sample = (_get(f, variant, source, f.i64(0))[0] >> shift) & 255
    with f.when(f.load("i64", counts, sample).ne(n)):
        total = f.slot("i64", 0)
        with f.loop(0, DIGITS) as digit:
            count = f.load("i64", counts, digit)
            f.store(total.get(), counts, digit)
            total.set(total.get() + count)
        goal = there.get()
        with _long_loop(f, *task, 0, n) as i:
            pair = _get(f, variant, source, i)
            digit = (pair[0] >> shift) & 255
            at = f.load("i64", counts, digit)
            f.store(at + 1, counts, digit)
            _put(f, variant, goal, at, pair)
        here.set(goal)
        there.set(source)
