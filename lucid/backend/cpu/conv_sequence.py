"""Several native calls on the same buffers as one: the phases of a strided input gradient.

conv.py plans them. The words of the parts stand one behind the other in the words of the whole.
"""

from collections.abc import Sequence

from lucid.backend.cpu import jit
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.gemm import KernelCall
from lucid.backend.cpu.gemm_driver import HEADER
from lucid.backend.cpu.target import target


def plan(calls: Sequence[KernelCall]) -> KernelCall:
    """One call that makes all of them in order; they share scratch, and have the same pointers."""
    if len(calls) == 1:
        return calls[0]
    pointers = calls[0].pointers
    head = HEADER + len(pointers)
    if any(c.pointers != pointers for c in calls) or pointers[-1][1] != head - 1:
        raise ValueError("a sequence of calls needs the same buffers in each of them")
    words = [0, 0, max(c.threads for c in calls), *(0 for _ in pointers), len(calls)]
    for c in calls:
        words += [c.address, len(c.words), *c.words]
    address = jit.function(f"sequence {head}", lambda symbol: _emit(symbol, head))
    scratch = max(c.scratch for c in calls)
    return KernelCall(address, words, pointers, 0, words[2], scratch)


def _emit(symbol: str, head: int) -> str:
    """The text: the head of the whole becomes the head of each part, which is then called."""
    module = ll.Module(target().flags)
    f = module.function(symbol, [("ptr", "words")])
    words = f.arguments[0]
    place = f.slot("i64", head + 1)
    with f.loop(0, f.load("i64", words, head)):
        entry = f.load("ptr", words, place.get())
        part = f.address(words, place.get() + 2, "i64")
        for i in range(head):
            f.store(f.load("i64", words, i), part, i)
        f.line(f"call void {entry.name}(ptr {part.name})")
        place.set(place.get() + 2 + f.load("i64", words, place.get() + 1))
    f.finish()
    return module.text()
