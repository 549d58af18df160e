"""Several kernels, band by band: a task runs all of them on one part of a batch, then the next.

compiler/bands.py plans it: attention of one head is such a task, whose scores never leave the
second-level cache. One machine code serves all: what it calls stands in its words.

    tasks, bytes of scratch per thread, sizes of the batch, calls, addresses of operands, then for
    each call: address, words, patches, the words from the scratch on, and the patches.

A patch (word, from, offset, steps) makes that word the address at word `from`, or the thread's
scratch if that is 0, plus offset bytes and the steps of the task's place in the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lucid.backend.cpu import jit
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.target import target

HEADER = 3  # words before: error slot, scratch, threads
DIMS = 4  # of the batch
PATCH = 3 + DIMS
MOST = 1024  # words of a call
FIRST = HEADER + 3 + DIMS  # word of the first address
TASKS, SLOT_BYTES, CALLS = HEADER, HEADER + 1, HEADER + 2 + DIMS


@dataclass(frozen=True)
class Part:
    """A call of a band: its words from the scratch on, and its patches."""

    address: int
    words: Sequence[int]
    patches: Sequence[tuple[int, int, int, Sequence[int]]]


def words_of(batch: Sequence[int], scratch: int, operands: int, parts: Sequence[Part]) -> list[int]:
    """The words after the header; addresses of operands go to those from FIRST on."""
    sizes = [1] * (DIMS - len(batch)) + list(batch)
    tasks = 1
    for n in sizes:
        tasks *= n
    words = [tasks, scratch, *sizes, len(parts), *[0] * operands]
    for part in parts:
        words += [part.address, len(part.words), len(part.patches), *part.words]
        for word, origin, offset, steps in part.patches:
            words += [word, origin, offset, *[0] * (DIMS - len(steps)), *steps]
    return words


def address(operands: int) -> int:
    """The machine code for so many addresses of operands."""
    key = f"bands of {operands} operands"
    return jit.function(key, lambda symbol: emit(symbol, operands))


def emit(symbol: str, operands: int) -> str:
    f, errors = task_of_calls()
    words, task, slot = f.arguments
    here = f.slot(f"[{MOST} x i64]").pointer
    place: list[ll.Value] = []
    rest = task
    for d in reversed(range(DIMS)):
        size = f.load("i64", words, HEADER + 2 + d)
        place.insert(0, rest % size)
        rest = rest // size
    scratch = f.load("i64", words, 1) + slot * f.load("i64", words, SLOT_BYTES)
    f.store(errors, here, 0)
    f.store(f.i64(1), here, 2)
    at = f.slot("i64", FIRST + operands)
    with f.loop(0, f.load("i64", words, CALLS)):
        start = at.get()
        callee, count, patches = (f.load("i64", words, start + n) for n in range(3))
        with f.loop(0, count) as i:
            f.store(f.load("i64", words, start + 3 + i), here, i + HEADER)
        first = start + 3 + count
        with f.loop(0, patches) as number:
            patch = f.address(words, first + number * PATCH, "i64")
            origin = f.load("i64", patch, 1)
            base = f.select(origin.eq(0), scratch, f.load("i64", words, origin))
            base = base + f.load("i64", patch, 2)
            for d in range(DIMS):
                base = base + place[d] * f.load("i64", patch, 3 + d)
            f.store(base, here, f.load("i64", patch))
        code = f.cast(callee, "inttoptr", "ptr")
        f.line(f"call void {code.name}(ptr {here.name})")
        at.set(first + patches * PATCH)
    return with_entry(f, symbol)


def task_of_calls() -> tuple[ll.Function, ll.Value]:
    """The function of a task that calls kernels, and the address of an error slot for these:
    signals are looked for between tasks, and what a call finds in that slot is that all is well."""
    module = ll.Module(target().flags)
    f = module.function("task", [("ptr", "words"), ("i64", "task"), ("i64", "slot")], internal=True)
    errors = f.slot("[4 x i64]").pointer
    for field in range(4):
        f.store(f.i64(0), errors, field)
    return f, f.cast(errors, "ptrtoint", "i64")


def with_entry(task: ll.Function, symbol: str, sign: int | None = None) -> str:
    """The text of `symbol(ptr words)`, which runs the tasks; sign: the word of a 1 or -1 that the
    number of threads is multiplied by."""
    task.finish()
    f = task.module.function(symbol, [("ptr", "words")])
    tasks, threads = f.load("i64", f.arguments[0], TASKS), f.load("i64", f.arguments[0], 2)
    threads = threads if sign is None else threads * f.load("i64", f.arguments[0], sign)
    f.call("lucid_parallel", ll.Value("@task", "ptr", f), f.arguments[0], tasks, threads)
    f.finish()
    return task.module.text()
