"""What the planner puts into a plan: native calls and the operands that they bind.

lower.py and the opaque ops (matmul, convolution, scans) make them; run.py turns them into a
segment of machine code.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lucid.dtypes import FLOATING, dtype
from lucid.graph import Equation, Value
from lucid.kernel.expr import Number
from lucid.kernel.loops import Kernel
from lucid.lazy import lazy

schedule = lazy("lucid.backend.cpu.schedule")

HEAD = 3  # words before the buffers: error slot, scratch, threads


@dataclass(eq=False, repr=False)
class Operand:
    """A strided array in memory: an argument of the plan, or a part of the arena.

    `argument` is None for a value that the plan makes and drops: its block is then `value`'s.
    Strides and offset count elements.
    """

    value: Value
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: dtype
    offset: int = 0


@dataclass(eq=False, repr=False)
class Bound:
    """Machine code and its words, those of the head left out; `pointers` (word, operand) and
    `scalars` (word, number) say where addresses and numbers go, counting the head's words."""

    address: int
    words: list[int]
    pointers: list[tuple[int, Operand]]
    scalars: list[tuple[int, Value]] = field(default_factory=list)
    scratch: int = 0  # bytes of the whole call


@dataclass(eq=False, repr=False)
class Step:
    """One op's native calls, one as a rule. `bind(threads)` compiles them, or finds their code."""

    name: str
    operands: list[Operand]
    bind: Callable[[int], list[Bound]]
    kernel: Kernel | None = None
    work: int = 0  # elements touched or multiplied, to decide whether the GIL is released
    equations: Sequence[Equation] = ()  # what it computes
    absorb: Callable[[Any], "Step | None"] | None = None  # of a product: with an epilogue
    band: Callable[[], tuple | None] | None = None  # the same for one batch element: bands.py
    place: int = 0  # the number of the operand that these are about
    text: str = ""  # of a template: more about what it does
    sure: bool = False  # of a template: it cannot fail
    alone: bool = False  # of a template: it is too small for a second thread
    parts: Sequence["Step"] = ()  # that run side by side in it: compiler/regions.py


def nest_step(
    kernel: Kernel,
    words: Sequence[int],
    operands: dict[str, Operand],
    scalars: Sequence[Value] = (),
    work: int = 0,
) -> Step:
    """The call of a loop nest: buffers by name, words and scalars in the kernel's order."""
    buffers = [b for b in kernel.buffers if b.role != "local"]
    pointers = [(HEAD + i, operands[b.name]) for i, b in enumerate(buffers)]

    def bind(threads: int) -> list[Bound]:
        compiled = backend()(kernel)
        start = HEAD + len(buffers) + len(words)
        bound = Bound(
            compiled.address,
            [0] * len(buffers) + list(words) + [0] * len(scalars),
            pointers,
            [(start + i, v) for i, v in enumerate(scalars)],
            compiled.scratch_per_thread(dict(zip(kernel.words, words, strict=True))) * threads,
        )
        return [bound]

    return Step(kernel.name, [operand for _, operand in pointers], bind, kernel, work)


def template_step(
    name: str, operands: dict[str, Operand], plan: Callable[[int], Any], work: int
) -> Step:
    """The call of a template: `plan(threads)` gives its address, words, scratch, and `pointers`
    (operand's name, word)."""

    def bind(threads: int) -> list[Bound]:
        call = plan(threads)
        pointers = [(word, operands[name]) for name, word in call.pointers]
        return [Bound(call.address, call.words[HEAD:], pointers, scratch=call.scratch)]

    return Step(name, list(operands.values()), bind, work=work, sure=True)


def backend() -> Callable:
    """The CPU's compiler of loop nests, loaded with the first kernel."""
    return schedule.compile


def bits(number: Number, kind: dtype) -> int:
    """A number as the word that a kernel expects: int64, or the bits of a float64."""
    if kind.category == FLOATING:
        return struct.unpack("<q", struct.pack("<d", float(number)))[0]
    return int(number)


def parts_of(steps: Sequence[Step]) -> list[Step]:
    """The steps, in place of those that run others side by side these."""
    return [part for s in steps for part in s.parts or (s,)]


def users_of(steps: Sequence[Step]) -> dict[int, set[int]]:
    """By the id of a value, the numbers of the steps that read or write it."""
    found: dict[int, set[int]] = {}
    for i, step in enumerate(steps):
        for o in step.operands:
            found.setdefault(id(o.value), set()).add(i)
    return found
