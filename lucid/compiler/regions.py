"""regions: small kernels that have nothing to do with each other share one parallel region.

planned.py calls it with the steps of a program in their last order. A kernel that is too short to
be worth two threads runs on one; of several such kernels, each thread takes some. The updates of
biases and norms and the statistics of batch normalization are such kernels, and so are the two
products of a small layer's backward. The kernels are the same: so are the bits.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from typing import Any

from lucid.graph import Value
from lucid.kernel import expr
from lucid.kernel.loops import Kernel
from lucid.lazy import lazy
from lucid.plan.commit import computed, may_fail, read_by, written_by
from lucid.plan.lower import lives_of
from lucid.plan.steps import HEAD, Bound, Operand, Step

_regions = lazy("lucid.backend.cpu.regions")

SMALL = 2 << 18  # operations of a kernel, above which it is parallel itself: schedule.py
LEAST = 1 << 17  # operations that other threads take over
ACCESS, MATH = 4, 20  # operations that a load or store, and a function such as exp, count as
PRODUCT = 4  # and a multiplication of a product
ROUSE = 1 << 22  # operations of them that are worth waking these up
MOST = 4096  # words of a call: they lie on the caller's stack
SHARES = 4  # tasks for each thread, and of what is worth a region
ALIGN = 64
PAGE = 4096  # bytes


@dataclass(eq=False, repr=False)
class Region:
    """Steps that may run at the same time, at the place of the first. passed: what the steps in
    between that are none of them write and read."""

    members: list[int] = field(default_factory=list)
    costs: list[int] = field(default_factory=list)
    written: set[int] = field(default_factory=set)
    read: set[int] = field(default_factory=set)
    passed_written: set[int] = field(default_factory=set)
    passed_read: set[int] = field(default_factory=set)
    fails: bool = False  # whether a step in between may

    def takes(self, written: set[int], read: set[int], commits: bool) -> bool:
        """Whether a step that comes later may run with the members. commits: it writes to an input,
        so that nothing may fail after it."""
        if commits and self.fails:
            return False
        before = self.written | self.passed_written
        return not (before & (written | read) or written & (self.read | self.passed_read))


def regions(context: Any, into: Mapping[int, Value], threads: int) -> None:
    """Put independent small steps together. into: by output's id, the input it overwrites."""
    found = _found(context, into) if threads > 1 else []
    found = [r for r in found if _saved(r.costs, threads) >= LEAST]
    if not found:
        return
    saved = [_saved(r.costs, threads) for r in found]
    # The first region wakes the threads up for all: they look for work for a while, then sleep.
    rouse = [n >= ROUSE or i == 0 and sum(saved) >= 2 * ROUSE for i, n in enumerate(saved)]
    before, steps = _most_alive(context), context.steps
    context.steps = _joined(steps, found, rouse)
    # What comes earlier than it was written lives longer, and what a region reads, all of it.
    if _most_alive(context) > before * 1.01 + PAGE:
        context.steps = steps
    else:
        context.groups = {}


def _most_alive(context: Any) -> int:
    """Bytes of the values in between where most of them are alive."""
    change = [0] * (len(context.steps) + 1)
    for size, first, last in lives_of(context)[1]:
        change[first] += size
        change[last + 1] -= size
    return max(accumulate(change))


def _found(context: Any, into: Mapping[int, Value]) -> list[Region]:
    same = {key: id(v) for key, v in into.items()}
    inputs = {id(v) for v in context.graph.inputs}
    weights: dict[int, int] = {}
    found: list[Region] = []
    for i, step in enumerate(context.steps):
        written = {same.get(key, key) for key in written_by(step)}
        read = {same.get(key, key) for key in read_by(step)}
        fails = may_fail(step)
        cost = None if fails else _cost(step, weights)
        if cost is None:
            for region in found[-1:]:
                region.passed_written |= written
                region.passed_read |= read
                region.fails = region.fails or fails
            continue
        if not found or not found[-1].takes(written, read, bool(written & inputs)):
            found.append(Region())
        region = found[-1]
        region.members.append(i)
        region.costs.append(cost)
        region.written |= written
        region.read |= read
    return found


def _saved(costs: Sequence[int], threads: int) -> int:
    """Operations that others take over."""
    return sum(costs) - max(sum(costs) // threads, *costs)


def _cost(step: Step, weights: dict[int, int]) -> int | None:
    """About how many operations a step is, where it runs on one thread."""
    if step.kernel is None:
        return step.work * PRODUCT if step.alone else None
    if id(step.kernel) not in weights:
        weights[id(step.kernel)] = _weight(step.kernel)
    work = step.work or max(prod(o.shape) for o in step.operands)
    cost = work * weights[id(step.kernel)]
    return cost if cost <= SMALL else None


def _weight(kernel: Kernel) -> int:
    """Operations for each element, as prepare.py counts them."""
    weight = len(kernel.stages)
    for node in expr.postorder(computed(kernel)):
        if node.op == "load":
            weight += ACCESS
        elif node.args:
            weight += MATH if node.op in expr.MATH else 1
    return weight + sum(ACCESS * len(getattr(s, "stores", ())) for s in kernel.stages)


def _joined(steps: Sequence[Step], found: Sequence[Region], rouse: Sequence[bool]) -> list[Step]:
    """The steps with each region as one."""
    inside = {i for region in found for i in region.members}
    made = {i: step for i, step in enumerate(steps) if i not in inside}
    for region, wakes in zip(found, rouse, strict=True):
        made[region.members[0]] = _step([steps[i] for i in region.members], region.costs, wakes)
    return [made[i] for i in sorted(made)]


def _step(parts: Sequence[Step], costs: Sequence[int], rouse: bool) -> Step:
    def bind(threads: int) -> list[Bound]:
        share = max(sum(costs) // (threads * SHARES), LEAST // SHARES)
        made: list[Bound] = []
        tasks: list[list[Bound]] = []
        size, filled = 0, share
        for part, cost in zip(parts, costs, strict=True):
            bounds = part.bind(1)
            words = 1 + sum(_regions.CALL + HEAD + len(b.words) for b in bounds)
            if tasks and size + words > MOST:
                made.append(_call(tasks, threads, rouse))
                tasks, size, filled = [], 0, share
            if filled >= share:
                tasks.append([])
                filled = 0
            tasks[-1] += bounds
            size += words
            filled += cost
        return [*made, _call(tasks, threads, rouse)]

    operands = {id(o): o for part in parts for o in part.operands}
    counts = Counter(part.name for part in parts)
    name = ", ".join(f"{name} x {n}" if n > 1 else name for name, n in counts.items())
    joined = Step(name, list(operands.values()), bind, work=sum(part.work for part in parts))
    joined.equations = [e for part in parts for e in part.equations]
    joined.parts = parts
    joined.sure = True
    return joined


def _call(tasks: Sequence[Sequence[Bound]], threads: int, rouse: bool) -> Bound:
    """One native call; the words of what it calls lie among its own."""
    bounds = [bound for task in tasks for bound in task]
    slot = max(-(-bound.scratch // ALIGN) * ALIGN for bound in bounds)
    calls = [[(bound.address, bound.words) for bound in task] for task in tasks]
    words, places = _regions.words_of(slot, rouse, calls)
    pointers: list[tuple[int, Operand]] = []
    scalars: list[tuple[int, Value]] = []
    for bound, at in zip(bounds, places, strict=True):
        pointers += [(at + word, o) for word, o in bound.pointers]
        scalars += [(at + word, v) for word, v in bound.scalars]
    return Bound(_regions.address(), words, pointers, scalars, slot * threads)
