"""Native calls repeated over time: a step's machine code is bound once and called for each place
in time, with the addresses of its operands moved on.

recurrent.py and ctc.py lower with it. A whole sequence is one segment of native calls.
"""

from collections.abc import Iterable, Sequence

from lucid.plan.steps import Bound, Operand, Step

# A step, and for operands that move how many elements one place in time is.
Moving = tuple[Step, dict[int, int]]


def at_time(operand: Operand, t: int) -> Operand:
    """Place t of an operand's first dimension, as an operand without it."""
    offset = operand.offset + t * operand.strides[0]
    return Operand(operand.value, operand.shape[1:], operand.strides[1:], operand.dtype, offset)


def moving(step: Step, *operands: tuple[Operand, Operand]) -> Moving:
    """A step for time 0. Each pair is an operand of it and the sequence of which it is a place."""
    return step, {id(place): whole.strides[0] for place, whole in operands}


def walk(name: str, runs: Iterable[tuple[Sequence[int], Sequence[Moving]]]) -> Step:
    """For each run, at each of its places in time, its steps in order: one Step of all calls."""
    kept = [(tuple(times), tuple(steps)) for times, steps in runs if len(times)]
    operands: dict[int, Operand] = {}
    work = 0
    for times, steps in kept:
        for step, _ in steps:
            work += step.work * len(times)
            for operand in step.operands:
                operands.setdefault(id(operand), operand)

    def bind(threads: int) -> list[Bound]:
        made = []
        for times, steps in kept:
            parts = [(bound, moves) for step, moves in steps for bound in step.bind(threads)]
            for t in times:
                made += [_moved(bound, moves, t) for bound, moves in parts]
        return made

    return Step(name, list(operands.values()), bind, work=work)


def _moved(bound: Bound, moves: dict[int, int], t: int) -> Bound:
    pointers = [
        (word, _shifted(operand, moves.get(id(operand), 0) * t)) for word, operand in bound.pointers
    ]
    return Bound(bound.address, bound.words, pointers, bound.scalars, bound.scratch)


def _shifted(operand: Operand, elements: int) -> Operand:
    if not elements:
        return operand
    return Operand(
        operand.value, operand.shape, operand.strides, operand.dtype, operand.offset + elements
    )
