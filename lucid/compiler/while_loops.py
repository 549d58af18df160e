"""`while_loop` in the trace of a program: one equation of its graph.

func/control.py calls it. With `max_steps` it keeps the carry before each step, and how many steps
ran; its backward pass is that of a scan (loops.py) over so many of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid.apply import contiguous, edge
from lucid.array import Array
from lucid.autograd.mode import is_grad_enabled
from lucid.compiler.carried import alike, as_tuple
from lucid.compiler.control import Structured, attach, casts_gradients, emit
from lucid.compiler.loops import Repeated, Stored
from lucid.compiler.nested import loop, part
from lucid.compiler.region import Region
from lucid.compiler.trace import Program
from lucid.compiler.tree import unflatten
from lucid.graph import Value
from lucid.lines import user_line
from lucid.plan.control import CARRY, CONSTANT, MADE, Loop, Phase
from lucid.plan.fuse import position
from lucid.write import needs_gradient


def while_loop(
    program: Program,
    cond_fn: Callable,
    body_fn: Callable,
    first: Sequence[Any],
    form: Any,
    most: int | None,
) -> list[Any]:
    """`lucid.while_loop`."""
    line = user_line()
    for i, c in enumerate(first):
        if not isinstance(c, Array):
            program.refuse(
                f"while_loop: leaf {i} of carried_inputs is a {type(c).__name__}",
                "what is carried changes while the plan runs: make it a tensor",
            )
    first = [contiguous(c) for c in first]
    n = len(first)
    test = Region(program, "while_loop: cond_fn")
    with test.recording():
        given = [test.given(c._layout, needs_gradient(c)) for c in first]
        holds = test.run(cond_fn, tuple(unflatten(form, given)))
        if not isinstance(holds, Array) or holds._layout.numel != 1:
            kind = holds._layout.shape if isinstance(holds, Array) else type(holds).__name__
            program.refuse(f"while_loop: cond_fn gives {kind}", "give a tensor of one element")
        decided: Any = holds
        condition = program.read(decided != 0 if decided.dtype.category else decided)
    body, after = _body(program, body_fn, first, form)
    graded = is_grad_enabled() and any([needs_gradient(c) for c in after])
    keeps = graded and most is not None
    with body.recording():
        values = [program.read(c) for c in after]
    kept = body.inputs if keeps else []
    graphs = [test.graph(test.inputs, [condition]), body.graph(body.inputs, [*values, *kept])]
    constants: list[Value] = []
    reads = [
        [*[(CARRY, i) for i in range(n)], *[(CONSTANT, position(constants, v)) for v in free]]
        for _, free in graphs
    ]
    slots = list(range(n))
    types = [(c._layout.shape, c._layout.dtype) for c in first]
    writes = [(CARRY, i) for i in slots] + [(MADE, i) for i in range(len(kept))]
    record = Loop(
        [Phase(part("while_body", graphs[1][0]), reads[1], writes)],
        types,
        slots,
        slots,
        made=types if keeps else [],
        count=most or 0,
        condition=Phase(part("while_condition", graphs[0][0]), reads[0], []),
        most=most,
        counts=keeps,
    )
    inputs = [*[program.read(c) for c in first], *constants]
    outputs = emit(program, loop, inputs, record, line)
    shown = outputs[:n]
    if keeps:
        *saved, steps = [program.read(y) for y in outputs[n:]]
        stored = Stored(saved, [], steps)
        node: Any = _Counted(program, body, after, shown, stored, (first, []), record, line)
        node.cast = casts_gradients()
        attach(node, [after], shown)
    elif graded:
        edges = [edge(c) if needs_gradient(c) else None for c in first]
        edges += [end for end in body.inner(after)[1] if end[0] not in body.entries]
        attach(_Endless(program, [y._layout for y in shown], edges, line), [after], shown)
    return shown


def _body(
    program: Program, body_fn: Callable, first: Sequence[Any], form: Any
) -> tuple[Region, list[Any]]:
    """The body, traced, and the carry after it. What has a gradient after a step has it before
    the next one."""
    gradients = [needs_gradient(c) for c in first]
    while True:
        body = Region(program, "while_loop: body_fn")
        with body.recording():
            carry = [body.given(c._layout, g) for c, g in zip(first, gradients, strict=True)]
            made = as_tuple(body.run(body_fn, tuple(unflatten(form, carry))))
            after = alike("while_loop: body_fn", made, form, carry)
        grown = [g or needs_gradient(c) for g, c in zip(gradients, after, strict=True)]
        if grown == gradients:
            return body, after
        gradients = grown


class _Counted(Repeated):
    """The Node of a while_loop with `max_steps`."""

    __slots__ = ("cast",)
    cast: bool

    def run(self, arrived: list) -> Sequence[Any]:  # type: ignore[override]
        if self.cast:
            raise NotImplementedError(
                f"the gradient of while_loop at {self.line_of}: under autocast, those of weights "
                "that are cast inside would be summed up in another type: cast them before, or "
                "call it outside of autocast"
            )
        return super().run(arrived)


class _Endless(Structured):
    """The Node of a while_loop without `max_steps`: how many steps it takes has no bound, so
    nothing is kept."""

    __slots__ = ()

    def name(self) -> str:
        return "WhileLoopBackward"

    def run(self, arrived: list) -> Sequence[Any]:  # type: ignore[override]
        raise NotImplementedError(
            f"the gradient of while_loop at {self.line_of}: in a compiled function it needs "
            "max_steps=n, as the carry before each step is kept; or call it uncompiled"
        )
