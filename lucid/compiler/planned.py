"""The plan of a program: found on disk under the graph as it was traced, or planned now.

runner.py makes two, of the forward and of the backward half. What is kept is what binding ends in:
the calls with their words, the constants and the size of the arena; the machine code has entries of
its own. Steps, for errors and `explain`, are planned anew when they are asked for.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid import dtypes, storage
from lucid.compiler.bands import bands
from lucid.compiler.constants import fold
from lucid.compiler.epilogues import epilogues
from lucid.compiler.in_order import in_order
from lucid.compiler.regions import regions
from lucid.config import settings
from lucid.dtypes import dtype
from lucid.graph import Equation, Graph, Value
from lucid.kernel import cache
from lucid.lazy import lazy
from lucid.plan import host
from lucid.plan.control import Branch, Loop, Nested, nested_call
from lucid.plan.lower import Lowered
from lucid.plan.passes import improve, left_out
from lucid.plan.run import Plan

call = lazy("lucid.backend.cpu.call")
compiler = lazy("lucid.backend.cpu.compiler")
jit = lazy("lucid.backend.cpu.jit")
threads = lazy("lucid.backend.cpu.threads")

MOST = 4 << 20  # bytes of constants that are kept on disk
Strides = Sequence[tuple[int, ...] | None]
_stamp: list[str] = []  # of the files that plan


class ProgramPlan(Plan):
    """A `Plan` whose graph goes through the passes first, and whose constants are its own."""

    __slots__ = ("constants", "nested")

    def _begin(self) -> None:
        self.constants: list[Any] = []  # their storages
        self.nested: list[Nested] = []  # what its steps call, of a plan that comes from the disk

    def _lower(self) -> Lowered:
        graph, off = improve(self.graph), left_out()
        if "in_order" not in off:
            in_order(graph)
        fixed = fold(graph)
        self.graph.inputs = [*self.graph.inputs, *[v for v, _ in fixed]]
        self.constants = [block for _, block in fixed]
        return super()._lower()

    def join(self, context: Any) -> None:
        off = left_out()
        if "epilogues" not in off:
            epilogues(context, self._overwritten())
        if "bands" not in off:
            bands(context)

    def gather(self, context: Any) -> None:
        if "regions" not in left_out():
            count = self.threads or threads.get_num_threads()
            regions(context, self._overwritten(), count)

    def _overwritten(self) -> dict[int, Value]:
        """By output's id, the input that it is written into."""
        return {id(self.graph.outputs[i]): v for i, v in (self.into or {}).items()}

    def run(self, *arguments: int | float) -> None:
        segment = self.bind()
        if settings.debug and not segment.steps:  # somebody looks at a plan that is from the disk
            segment.steps = self.lowered.steps
        super().run(*arguments, *[block.ptr for block in self.constants])

    def times(self, *arguments: int | float) -> list[float]:
        self.bind()
        assert self.lowered  # the constants are those of the steps
        return super().times(*arguments, *[block.ptr for block in self.constants])

    def bind(self) -> Any:
        if self.segment is not None:
            return self.segment
        name = self._entry()
        records = [e.params[0] for e in self.graph.equations if _is_nested(e)]
        if name and self._restore(name, records):
            return self.segment
        super().bind()
        if name:
            self._keep(name, records)
        return self.segment

    # ---- on disk -----------------------------------------------------------------------------

    def _entry(self) -> str:
        """The name of the entry; "" where nothing is to be kept. What is asked to print its
        graphs and nests is planned anew."""
        if self._lowered is not None or settings.debug >= 2 or settings.cache_mb <= 0:
            return ""
        text = text_of(self.graph, self.strides, self.into)
        if text is None:
            return ""
        if not _stamp:
            _stamp.append(cache.marks("", "ops", "plan", "plan/passes", "compiler"))
        surroundings = f"{threads.get_num_threads()} {settings.passes}\n{_stamp[0]}"
        return str(compiler.digest_of(f"plan {surroundings}\n{text}"))

    def _keep(self, name: str, records: list[Any]) -> None:
        segment = self.segment
        codes: dict[int, int] = {}  # address -> its number
        found = []
        calls = []
        for one in segment.calls:
            for address in (one.address, *one.words):
                told = jit.stored(address)
                if told is not None and address not in codes:
                    codes[address] = len(codes)
                    found.append(told)
            if one.address in codes:
                places = [(i, codes[w]) for i, w in enumerate(one.words) if w in codes]
                calls.append((codes[one.address], one.words, places, one.patches))
                continue
            called = host.called(one)
            if not isinstance(called, Nested):  # Python's code, which no other process has
                return
            calls.append((-1 - records.index(called.record), one.words, [], one.patches))
        if sum(block.nbytes for block in self.constants) > MOST:
            return
        constants = [
            block.as_numpy(dtypes.uint8, (block.nbytes,), (1,)).tobytes().hex()
            for block in self.constants
        ]
        entry = {
            "codes": found, "calls": calls, "owners": self.owners, "constants": constants,
            "arena": self.arena_bytes, "threads": self.threads, "releases": segment.releases_gil,
        }  # fmt: skip
        cache.put(name, json.dumps(entry).encode())

    def _restore(self, name: str, records: list[Any]) -> bool:
        """Take over what the disk has, if it is all there."""
        image = cache.get(name)
        if image is None:
            return False
        entry = json.loads(image)
        addresses = [jit.restore(*code) for code in entry["codes"]]
        if None in addresses:
            return False
        calls = []
        for code, words, places, patches in entry["calls"]:
            for at, number in places:
                words[at] = addresses[number]
            if code < 0:  # control flow, of the graph that was traced here
                self.nested.append(nested_call(records[-1 - code]))
                address = host.address_of(self.nested[-1], words)
            else:
                address = addresses[code]
            calls.append(call.Call(address, words, [tuple(p) for p in patches]))
        self.constants = [_constant(text) for text in entry["constants"]]
        self.owners, self.threads = entry["owners"], entry["threads"]
        self.arena_bytes = entry["arena"]
        self.segment = call.Segment(calls, entry["releases"])
        return True


def _constant(text: str) -> Any:
    raw = np.frombuffer(bytes.fromhex(text), np.uint8)
    block = storage.allocate(raw.nbytes)
    block.as_numpy(dtypes.uint8, raw.shape, (1,))[...] = raw
    return block


def text_of(graph: Graph, strides: Strides, into: dict[int, Value] | None) -> str | None:
    """All that planning depends on, as text; None where a parameter has none that lasts."""
    numbers: dict[int, int] = {}

    def told(v: Value) -> str:
        if v.number is not None and v.equation is None:
            return f"{v.dtype.name} {v.number!r}"
        return f"%{numbers.setdefault(id(v), len(numbers))}"

    def declared(v: Value) -> str:
        marks = f"{v.weak:d}{v.whole:d}"
        return f"{told(v)} {v.dtype.name} {v.shape} {v.strides} {marks}"

    lines = ["; ".join(map(declared, graph.inputs))]
    for e in graph.equations:
        if not _lasting(e.params):
            return None
        inputs = ", ".join(map(told, e.inputs))
        made = "; ".join(map(declared, e.outputs))
        lines.append(f"{made} = {e.op.name}({inputs}) {e.params!r} {e.unit} {e.fold}")
    lines.append(f"{', '.join(map(told, graph.outputs))} {list(strides)}")
    lines.append(str([(i, told(v)) for i, v in (into or {}).items()]))
    return "\n".join(lines)


def _lasting(x: Any) -> bool:
    """Whether the text of a parameter says all of it, in any process."""
    if isinstance(x, (tuple, list)):
        return all(map(_lasting, x))
    return x is None or isinstance(x, (bool, int, float, str, dtype, Branch, Loop))


def _is_nested(e: Equation) -> bool:
    return bool(e.params) and isinstance(e.params[0], (Branch, Loop))
