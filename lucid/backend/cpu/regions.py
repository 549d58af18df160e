"""Several kernels that have nothing to do with each other, in one parallel region.

compiler/regions.py plans it: a kernel that is too short for two threads runs beside others. One
machine code serves all: what it calls stands in its words.

    tasks, bytes of scratch per thread, 1 (or -1: nobody is woken up), where each task begins and
    the last one ends, then for each call: address, number of words, and all its words.
"""

from collections.abc import Sequence

from lucid.backend.cpu import jit
from lucid.backend.cpu.bands import HEADER, task_of_calls, with_entry

TASKS, SLOT_BYTES, ROUSE, STARTS = range(HEADER, HEADER + 4)
NAME = "kernels side by side"
CALL = 2  # words of a call before its own: address, number


def words_of(
    scratch: int, rouse: bool, tasks: Sequence[Sequence[tuple[int, Sequence[int]]]]
) -> tuple[list[int], list[int]]:
    """The words after the header, and where those of each call begin, counted with the header;
    a call is its address and its words after its own header."""
    words = [len(tasks), scratch, 1 if rouse else -1, *[0] * (len(tasks) + 1)]
    places = []
    for n, calls in enumerate(tasks):
        words[STARTS - HEADER + n] = HEADER + len(words)
        for code, own in calls:
            places.append(HEADER + len(words) + CALL)
            words += [code, HEADER + len(own), 0, 0, 1, *own]
    words[STARTS - HEADER + len(tasks)] = HEADER + len(words)
    return words, places


def address() -> int:
    """The machine code."""
    return jit.function(NAME, emit)


def called(words: Sequence[int]) -> list[int]:
    """The addresses that a call with these words calls."""
    at, end, found = words[STARTS], words[STARTS + words[TASKS]], []
    while at < end:
        found.append(words[at])
        at += CALL + words[at + 1]
    return found


def emit(symbol: str) -> str:
    f, errors = task_of_calls()
    words, task, slot = f.arguments
    scratch = f.load("i64", words, 1) + slot * f.load("i64", words, SLOT_BYTES)
    at = f.slot("i64", f.load("i64", words, task + STARTS))
    end = f.load("i64", words, task + (STARTS + 1))
    with f.loop_while(lambda: at.get() < end):
        call = f.address(words, at.get(), "i64")
        own = f.address(call, CALL, "i64")
        f.store(errors, own, 0)
        f.store(scratch, own, 1)
        code = f.cast(f.load("i64", call), "inttoptr", "ptr")
        at.set(at.get() + f.load("i64", call, 1) + CALL)
        f.line(f"call void {code.name}(ptr {own.name})")
    return with_entry(f, symbol, ROUSE)
