"""Many plans of one form as one native call: what an optimizer's step is.

optim/update.py makes a plan for each row of tensors and joins them here.
"""

from collections.abc import Callable, Sequence

from lucid.lazy import lazy
from lucid.plan.run import Plan

call = lazy("lucid.backend.cpu.call")


def join(plans: Sequence[Plan], numbers: int) -> Callable[..., object]:
    """`run(*numbers, *addresses)` with the addresses of all rows one after the other.

    Each plan takes the tensors of its row, then the numbers, which all rows share, and writes its
    outputs into the first tensors of the row. Plans with an arena cannot be joined.
    """
    calls = []
    start = numbers
    for plan in plans:
        plan.bind()
        if plan.arena_bytes:
            raise ValueError(f"{plan.name}: a plan with an arena cannot be joined")
        outputs, tensors = len(plan.graph.outputs), len(plan.graph.inputs) - numbers
        row = range(start, start + tensors)
        places = [*row[:outputs], *row, *range(numbers)]
        for one in plan.segment.calls:
            patches = [(word, places[argument], offset) for word, argument, offset in one.patches]
            calls.append(call.Call(one.address, one.words, patches))
        start += tensors
    segment = call.Segment(calls, any(plan.segment.releases_gil for plan in plans))
    return lambda *arguments: call.run_of(segment)(*arguments)
