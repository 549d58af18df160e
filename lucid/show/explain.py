"""`lucid.explain`: what a compiled function became, and where its time goes.

The report holds the graph before and after the passes, every kernel with the user's lines that it
came from, what it reads, computes and takes, and when each value lives in the plan's memory.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from typing import Any

from rich.console import Console
from rich.table import Table

from lucid.compiler import Compiled
from lucid.compiler.capture import capture
from lucid.compiler.runner import Runner
from lucid.kernel import expr
from lucid.kernel.loops import Kernel
from lucid.lazy import lazy
from lucid.plan.lower import nbytes
from lucid.plan.nest import expressions
from lucid.plan.steps import Step
from lucid.show.families import Family, families, family_of
from lucid.show.limits import Machine, machine

_page = lazy("lucid.show.explain_page")

ARITHMETIC = frozenset(("add", "sub", "mul", "div", "mad", "sqrt", "max", "min", "neg", "abs"))
MATH_COST = 20  # operations that a function of the vector math is counted as


@dataclass(frozen=True)
class KernelReport:
    """One kernel of a plan."""

    name: str
    lines: tuple[str, ...]  # of the user's program
    text: str  # the loop nest; for a template, its name and shapes
    bytes: int
    flops: int
    seconds: float
    family: str = ""  # what it is counted as (families.py)

    def share(self, limits: Machine) -> float:
        """The time that the machine would need at least, as a fraction of the time taken."""
        least = max(self.bytes / limits.bandwidth, self.flops / limits.flops)
        return min(least / self.seconds, 1.0) if self.seconds else 0.0


@dataclass(frozen=True)
class Block:
    """A value between two kernels: where it lies in the arena, and from which step to which."""

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Report:
    """What `explain` found: print it, or write it as a page with `html(path)`."""

    name: str
    before: str
    after: str
    kernels: tuple[KernelReport, ...]
    arena: int
    least: int  # the largest live set, which no plan can do with less
    blocks: tuple[Block, ...]
    segments: int
    traces: int
    reasons: tuple[str, ...]  # of traces after the first
    limits: Machine
    breaks: tuple[str, ...] = ()  # what runs in Python between the segments, and why
    symbols: tuple[str, ...] = ()  # which sizes of arguments are symbols, which are not, and why
    resizes: int = 0  # plans that were made for other sizes without a trace
    notes: tuple[str, ...] = ()  # where it is not what was written, as was asked for

    @property
    def seconds(self) -> float:
        """The time of all kernels."""
        return sum(k.seconds for k in self.kernels)

    def table(self) -> Table:
        """The kernels as a table of rich."""
        made = Table(title=f"{self.name}: {len(self.kernels)} kernels, {self.seconds * 1e3:.3f} ms")
        for title in ("kernel", "ms", "MB", "MFLOP", "of the limit", "lines"):
            made.add_column(title, justify="left" if title in ("kernel", "lines") else "right")
        for k in self.kernels:
            made.add_row(
                k.name, f"{k.seconds * 1e3:.3f}", f"{k.bytes / 1e6:.2f}", f"{k.flops / 1e6:.2f}",
                f"{k.share(self.limits):.0%}", ", ".join(k.lines),
            )  # fmt: skip
        return made

    def families(self) -> tuple[Family, ...]:
        """The time by kernel family, the longest first."""
        return families(self.kernels)

    def shares(self) -> Table:
        """The families as a table of rich."""
        made = Table(title="time by kernel family")
        for title in ("family", "kernels", "ms", "share"):
            made.add_column(title, justify="left" if title == "family" else "right")
        for f in self.families():
            made.add_row(f.name, str(f.kernels), f"{f.seconds * 1e3:.3f}", f"{f.share:.1%}")
        return made

    def facts(self) -> dict[str, str]:
        """The rest of the report in lines."""
        return {
            "machine": str(self.limits),
            "memory": f"{self.arena:,} bytes between kernels, {self.least:,} live at once",
            "segments": f"{self.segments} of native code in a call",
            "traces": f"{self.traces}" + "".join(f"\n  again: {r}" for r in self.reasons),
            **({"sizes": self._sizes()} if self.symbols else {}),
            **({"asked for": "".join(f"\n  {n}" for n in self.notes)} if self.notes else {}),
            **({"in Python": "".join(f"\n  {b}" for b in self.breaks)} if self.breaks else {}),
        }

    def _sizes(self) -> str:
        lines = "".join(f"\n  {line}" for line in self.symbols)
        return f"{self.resizes} plans for other sizes without a trace{lines}"

    def __str__(self) -> str:
        console = Console(width=120, no_color=True, file=None)
        with console.capture() as caught:
            self._print(console)
        return caught.get()

    def print(self) -> None:
        """Print the report to the terminal."""
        self._print(Console())

    def _print(self, console: Console) -> None:
        console.print(self.table())
        console.print(self.shares())
        for name, text in self.facts().items():
            console.print(f"{name}: {text}", highlight=False, markup=False)

    def html(self, path: str) -> None:
        """Write the report as one HTML file that needs no other."""
        _page.write(self, path)


def explain(function: Any, *args: Any, **kwargs: Any) -> Report:
    """Call a function compiled, and report what it became.

    `function` is called twice or three times, with all that it does: a training step trains. The
    times are those of the last call, in which each kernel is started and timed on its own.

    >>> import lucid
    >>> report = lucid.explain(lambda x: (x * 2 + 1).relu(), lucid.ones(1000))
    >>> len(report.kernels)
    1
    """
    compiled = function if isinstance(function, Compiled) else Compiled(function)
    runner: Runner | None = None
    leaves: list[Any] = []
    for _ in range(3):
        compiled(*args, **kwargs)
        runner, leaves = compiled.find(args, kwargs)
        if runner is not None:
            break
        if compiled.broken:
            return _in_pieces(compiled, args, kwargs)
    if runner is None:
        raise RuntimeError(f"explain: no plan of this call was kept: {compiled.reasons}")
    before = str(capture(compiled.function, args, kwargs).graph)
    seconds = runner.timed(leaves)
    plan = runner.plan
    steps = plan.lowered.steps
    rates = {id(v) for v in runner.captured.lates}
    kernels = tuple(_kernel(s, t, rates) for s, t in zip(steps, seconds, strict=True))
    blocks = tuple(_blocks(plan))
    after, notes = str(plan.graph), []
    if runner.prepared:
        made = {p: p.name.removeprefix(f"{runner.name}_") for p in runner.prepared}
        graphs = "\n".join(str(p.graph) for p in made)
        after = f"computed once for each version of the weights:\n{graphs}\n{after}"
        folded = sum(p.count for p, kind in made.items() if kind == "folded")
        if folded:
            notes.append(f"{folded} batch normalizations are folded into weights: other bits")
        packed = [lay.nbytes for p, kind in made.items() if kind == "packed" for lay in p.layouts]
        if packed:
            notes.append(f"{len(packed)} weights are packed once: {sum(packed):,} bytes")
    live = [sum(b.bytes for b in blocks if b.first <= i <= b.last) for i in range(len(steps))]
    return Report(
        name=runner.name,
        before=before,
        after=after,
        kernels=kernels,
        arena=plan.arena_bytes,
        least=max(live, default=0),
        blocks=blocks,
        segments=1,
        traces=compiled.traces,
        reasons=tuple(compiled.reasons),
        limits=machine(),
        symbols=tuple(
            [line for known in compiled.templates.values() for line in known[0].template.symbols()]
        ),
        resizes=compiled.resizes,
        notes=tuple(notes),
    )


def _in_pieces(compiled: Compiled, args: tuple, kwargs: dict) -> Report:
    """The report of a function that runs in Python between native segments."""
    _, ran = compiled.in_pieces(args, kwargs, timed=True)
    plans = [segment.plan for segment, _ in ran.segments]
    kernels: list[KernelReport] = []
    for segment, seconds in ran.segments:
        steps = segment.plan.lowered.steps
        kernels += [_kernel(s, t, segment.rates) for s, t in zip(steps, seconds, strict=True)]
    largest = max(plans, key=lambda plan: plan.arena_bytes, default=None)
    blocks = tuple(_blocks(largest)) if largest is not None else ()
    count = len(largest.lowered.steps) if largest is not None else 0
    live = [sum(b.bytes for b in blocks if b.first <= i <= b.last) for i in range(count)]
    return Report(
        name=getattr(compiled.function, "__name__", "module"),
        before="\n".join(segment.before for segment, _ in ran.segments),
        after="\n".join(str(plan.graph) for plan in plans),
        kernels=tuple(kernels),
        arena=largest.arena_bytes if largest is not None else 0,
        least=max(live, default=0),
        blocks=blocks,
        segments=len(plans),
        traces=compiled.traces,
        reasons=tuple(compiled.reasons),
        limits=machine(),
        breaks=tuple(ran.breaks),
    )


def _kernel(step: Step, seconds: float, rates: Collection[int]) -> KernelReport:
    lines = tuple(dict.fromkeys(e.line for e in step.equations if e.line))
    seen = {id(o.value): o for o in step.operands}
    size = sum(prod(o.shape) * o.dtype.itemsize for o in seen.values())
    text, flops = _computed(step)
    return KernelReport(step.name, lines, text, size, flops, seconds, family_of(step, rates))


def _computed(step: Step) -> tuple[str, int]:
    """What a step does, as text, and its operations."""
    if step.parts:
        parts = [_computed(part) for part in step.parts]
        counts = Counter(text for text, _ in parts)
        texts = [f"{n} of these:\n{text}" if n > 1 else text for text, n in counts.items()]
        return "\n".join(["side by side:", *texts]), sum(flops for _, flops in parts)
    if step.kernel is not None:
        return str(step.kernel), step.work * _operations(step.kernel)
    shapes = " ".join(str(o.shape) for o in step.operands)
    return f"{step.name} {shapes}\n{step.text}".rstrip(), 2 * step.work


def _operations(kernel: Kernel) -> int:
    """Operations for each element of the loops, every stage's added up."""
    count = 0
    for node in expr.postorder(expressions(list(kernel.stages))):
        count += MATH_COST if node.op in expr.MATH else node.op in ARITHMETIC
    return max(count, 1)


def _blocks(plan: Any) -> list[Block]:
    lowered = plan.lowered
    found: dict[int, list[int]] = {}
    for i, step in enumerate(lowered.steps):
        for operand in step.operands:
            if id(operand.value) in lowered.arena:
                found.setdefault(id(operand.value), [i, i])[1] = i
    values = {id(v): v for v in lowered.values}
    made = []
    for key, (first, last) in found.items():
        v = values[key]
        name = v.equation.op.name if v.equation is not None else "scratch"
        made.append(Block(f"{name} {v.type}", lowered.arena[key], nbytes(v), first, last))
    return sorted(made, key=lambda b: (b.first, b.offset))
