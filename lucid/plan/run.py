"""Plans: what a cache hit runs.

apply.py keeps plans by key and calls `plan.run(addresses..., numbers...)`, or `plan.launch` where
every call counts. A `Plan` compiles its steps at the first and is immutable and re-entrant then.
"""

from collections.abc import Sequence
from typing import Any

from lucid import storage
from lucid.graph import Graph
from lucid.lazy import lazy
from lucid.op import ERRORS
from lucid.plan.lower import lower
from lucid.plan.steps import bits

call = lazy("lucid.backend.cpu.call")
threads = lazy("lucid.backend.cpu.threads")

Outcome = tuple[int, int, int] | None  # an error of native code: its code, value, and the call
LONG = 20_000  # elements of work above which a call releases the GIL


class Plan:
    """A graph as native calls: `run(*outputs, *inputs)` with addresses, and numbers as they are.
    `launch` is the same without raising: it returns None or what `fail` turns into an error.

    Where the plan needs an arena it is taken for each call, so that eight threads can run one plan.
    """

    __slots__ = ("graph", "lowered", "launch", "arena_bytes", "threads", "segment", "name")

    def __init__(self, graph: Graph, out_strides: Sequence[tuple[int, ...] | None], name: str):
        self.graph = graph
        self.name = name
        self.lowered = lower(graph, out_strides)
        self.launch: Any = self._first
        self.segment: Any = None
        self.threads = 0
        self.arena_bytes = 0

    def kernels(self) -> list[str]:
        """The names of the kernels in order; nothing is compiled."""
        return [step.name for step in self.lowered.steps]

    def run(self, *arguments: int | float) -> None:
        outcome = self.launch(*arguments)
        if outcome is not None:
            self.fail(outcome)

    def _first(self, *arguments: int | float) -> Outcome:
        self._bind()
        return self.launch(*arguments)

    def _bind(self) -> None:
        """Compile the steps into one segment."""
        count = threads.get_num_threads()
        graph, lowered = self.graph, self.lowered
        place: dict[int, int] = {}
        for i, v in enumerate([*graph.outputs, *graph.inputs]):
            place[id(v)] = i
        arena = len(graph.outputs) + len(graph.inputs)
        calls = []
        bounds = [bound for step in lowered.steps for bound in step.bind(count)]
        scratch = max((bound.scratch for bound in bounds), default=0)
        for bound in bounds:
            words = [0, 0, count, *bound.words]
            patches = []
            for word, operand in bound.pointers:
                at = operand.offset * operand.dtype.itemsize
                if id(operand.value) in lowered.arena:
                    patches.append((word, arena, at + lowered.arena[id(operand.value)]))
                else:
                    patches.append((word, place[id(operand.value)], at))
            for word, number in bound.scalars:
                if number.number is not None:
                    words[word] = bits(number.number, number.dtype)
                else:
                    patches.append((word, place[id(number)], 0))
            if scratch:
                patches.append((1, arena, lowered.arena_bytes))
            calls.append(call.Call(bound.address, words, patches))
        self.arena_bytes = lowered.arena_bytes + scratch
        self.threads = count
        long = any(step.work > LONG for step in lowered.steps)
        self.segment = call.Segment(calls, long)
        if not calls:
            self.launch = _nothing
        elif self.arena_bytes:
            self.launch = self._with_arena
        else:
            self.launch = self.segment.run

    def _with_arena(self, *arguments: int | float) -> Outcome:
        arena = storage.allocate(self.arena_bytes)
        return self.segment.run(*arguments, arena.ptr)

    def fail(self, outcome: tuple[int, int, int]) -> None:
        """Raise what native code reported."""
        code, value, _ = outcome
        kind, message = ERRORS[code]
        raise kind(f"{self.name}: {message.format(value=value)}")


def _nothing(*arguments: int | float) -> None:
    return None
