"""`lucid.count_flops`: the floating-point operations of what runs in a block.

    with lucid.count_flops() as count:
        model(x)
    print(count.total)

Called by users and by models/summary.py.
"""

from typing import Any

from lucid.backend.cpu import call
from lucid.config import settings
from lucid.kernel import expr
from lucid.kernel.loops import Fold, Kernel
from lucid.plan.nest import expressions
from lucid.plan.steps import Step, parts_of

SINGLE = expr.MATH | {"add", "sub", "mul", "div", "sqrt", "max", "min", "neg", "abs"}
MOVES = ("sort", "host")  # native calls that compute nothing in floating point


class count_flops:
    """A block whose floating-point operations are counted, eager, compiled and backward.

    A product of matrices (M, K) and (K, N) counts 2MNK, a convolution 2 for each weight and output
    element, all else what its loops compute for each element that they go over: an addition, a
    multiplication, a comparison of sizes, a function such as exp count 1, a multiply-add 2. What a
    kernel does once for a whole row is counted with the elements of the row. Copies, casts and
    integers count 0. Blocks may stand in one another. Every thread's calls are counted.

    >>> import lucid
    >>> with lucid.count_flops() as count:
    ...     y = lucid.ones(2, 3) @ lucid.ones(3, 4)
    >>> count.total
    48
    """

    def __init__(self) -> None:
        self.by_kernel: dict[str, int] = {}
        self._known: dict[int, tuple[call.Segment, list[tuple[str, int]]]] = {}
        self._before: Any = None

    @property
    def total(self) -> int:
        """The operations so far."""
        return sum(self.by_kernel.values())

    def __int__(self) -> int:
        return self.total

    def __enter__(self) -> "count_flops":
        self._before = call.watcher, settings.debug
        settings.debug = max(1, settings.debug)
        call.watcher = self._note
        return self

    def __exit__(self, *details: object) -> None:
        call.watcher, settings.debug = self._before

    def _note(self, segment: call.Segment, seconds: float) -> None:
        outer = self._before[0]
        if outer is not None:
            outer(segment, seconds)
        if id(segment) not in self._known:  # kept together with the segment, so that ids stay
            steps = [(s.name, operations(s)) for s in parts_of(segment.steps)]
            self._known[id(segment)] = segment, steps
        for name, count in self._known[id(segment)][1]:
            if count:
                self.by_kernel[name] = self.by_kernel.get(name, 0) + count

    def __str__(self) -> str:
        rows = sorted(self.by_kernel.items(), key=lambda row: -row[1])
        lines = [f"{count:15,}  {name}" for name, count in rows]
        return "\n".join([f"{self.total:15,}  floating-point operations", *lines])


def operations(step: Step) -> int:
    """The floating-point operations of one step of a plan."""
    if step.kernel is not None:
        return step.work * _of_element(step.kernel)
    if step.name in MOVES or not any(o.dtype.is_floating_point for o in step.operands):
        return 0
    return 2 * step.work


def _of_element(kernel: Kernel) -> int:
    """What the loops compute for each element."""
    count = 0
    for node in expr.postorder(expressions(list(kernel.stages))):
        if node.dtype.is_floating_point:
            count += 2 if node.op == "mad" else node.op in SINGLE
    for stage in kernel.stages:
        if isinstance(stage, Fold):
            count += sum(kind.is_floating_point for kind in stage.monoid.dtypes)
    return count
