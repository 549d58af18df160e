"""Plans: what a cache hit runs.

apply.py makes an entry of each (`entry`), which machine code runs on a hit. A `Plan` compiles its
steps when its segment is first needed, and is immutable and re-entrant from then on.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lucid import storage
from lucid.config import settings
from lucid.graph import Graph, Value
from lucid.layout import Layout
from lucid.lazy import lazy
from lucid.op import ERROR_HOST, ERRORS
from lucid.plan.lower import Lowered, lower
from lucid.plan.steps import bits, parts_of

call = lazy("lucid.backend.cpu.call")
launch = lazy("lucid.backend.cpu.launch")
threads = lazy("lucid.backend.cpu.threads")
host = lazy("lucid.plan.host")

CHAIN, DEEP = 50, 20_000
LONG = 20_000  # elements of work above which a call releases the GIL


@contextlib.contextmanager
def _deep(equations: int) -> Iterator[None]:
    """A chain of operations is fused by recursion."""
    limit = sys.getrecursionlimit()
    if equations > CHAIN and limit < DEEP:
        sys.setrecursionlimit(DEEP)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


class Plan:
    """A graph as native calls: `run(*outputs, *inputs)` with addresses, and numbers as they are.

    Where the plan needs an arena it is taken for each call, so that eight threads can run one plan.
    """

    __slots__ = (
        "graph", "strides", "into", "name", "_lowered", "segment", "owners", "threads",
        "arena_bytes",
    )  # fmt: skip

    def __init__(
        self,
        graph: Graph,
        out_strides: Sequence[tuple[int, ...] | None],
        name: str,
        into: dict[int, Value] | None = None,
    ):
        """`into`, of a whole program: outputs, by number, that are written into an input."""
        self.graph = graph
        self.strides = out_strides
        self.into = into
        self.name = name
        self.segment: Any = None
        self.owners: list[int] = []  # the step of each native call
        self.threads = 0
        self.arena_bytes = 0
        self._lowered: Lowered | None = None
        self._begin()

    def _begin(self) -> None:
        """What is wrong with the graph is said at once."""
        self._lowered = self._lower()

    @property
    def lowered(self) -> Lowered:
        """The steps, and where they keep what lives in between."""
        if self._lowered is None:
            self._lowered = self._lower()
        return self._lowered

    def _lower(self) -> Lowered:
        if settings.debug >= 2:
            print(f"lucid: {self.name}: {self.graph}", file=sys.stderr)
        with _deep(len(self.graph.equations)):
            lowered = lower(self.graph, self.strides, self.into, self.join, self.gather)
        if settings.debug >= 3:
            for step in parts_of(lowered.steps):
                nest = step.kernel or f"{step.name}: a template, no loop nest"
                print(f"lucid: {nest}", file=sys.stderr)
        return lowered

    def join(self, context: Any) -> None:
        """Steps that are put together: of programs (compiler/planned.py)."""

    def gather(self, context: Any) -> None:
        """The same for steps whose order is final."""

    def kernels(self) -> list[str]:
        """The names of the kernels in order; nothing is compiled."""
        return [step.name for step in self.lowered.steps]

    def run(self, *arguments: int | float) -> None:
        segment = self.bind()
        if self.arena_bytes:
            arena = storage.allocate(self.arena_bytes)
            outcome = call.run_of(segment)(*arguments, arena.ptr)
        else:
            outcome = call.run_of(segment)(*arguments)
        if outcome is not None:
            self.fail(outcome)

    def times(self, *arguments: int | float) -> list[float]:
        """Run, one native call for each step: the seconds that each took."""
        segment = self.bind()
        arena = storage.allocate(self.arena_bytes)
        seconds = [0.0] * len(self.lowered.steps)
        for owner, one in zip(self.owners, segment.calls, strict=True):
            alone = call.Segment([one], segment.releases_gil)
            given = (*arguments, arena.ptr)[: alone.arguments]
            start = time.perf_counter()
            outcome = alone.run(*given)
            seconds[owner] += time.perf_counter() - start
            if outcome is not None:
                self.fail((*outcome[:2], self.owners.index(owner)))
        return seconds

    def bind(self) -> Any:
        """The steps as one segment, compiled at the first call."""
        if self.segment is not None:
            return self.segment
        count = threads.get_num_threads()
        graph, lowered = self.graph, self.lowered
        place: dict[int, int] = {}
        for i, v in enumerate([*graph.outputs, *graph.inputs]):
            place[id(v)] = i
        arena = len(graph.outputs) + len(graph.inputs)
        calls = []
        bounds = []
        owners = []
        for i, step in enumerate(lowered.steps):
            made = step.bind(count)
            bounds += made
            owners += [i] * len(made)
        self.owners = owners
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
        self.segment.steps = lowered.steps
        return self.segment

    def entry(
        self,
        layouts: Sequence[Layout],
        visible: int,
        record: Callable | None,
        overlap: bool = False,
    ) -> tuple:
        """What launch.py runs: outputs of these layouts, of which the first `visible` are returned
        (-1: all), and `record(op, inputs, params, outputs)` where an input may need a gradient.
        `overlap` allows writing over an input. The plan itself is the last item."""
        outputs = [(lay, lay.nbytes) for lay in layouts]
        segment, inputs = self.bind(), len(self.graph.inputs)
        made = launch.entry(
            segment, outputs, inputs, self.fail, visible, self.arena_bytes, record, overlap
        )
        return (*made, self)

    def fail(self, outcome: tuple[int, int, int]) -> None:
        """Raise what native code reported."""
        code, value, place = outcome
        if code == ERROR_HOST:
            raise host.failure(value)
        kind, message = ERRORS[code]
        equations = self.lowered.steps[self.owners[place]].equations or self.graph.equations
        limits, name, at = "", self.name, ""
        for equation in equations:
            types = [(v.shape, v.dtype, v.weak) for v in equation.inputs]
            limits = equation.op.limits(types, equation.params)
            if equation.line:
                name, at = equation.op.label, f" (asked for at {equation.line})"
            if limits:
                break
        raise kind(f"{name}: {message.format(value=value, limits=limits)}{at}")
