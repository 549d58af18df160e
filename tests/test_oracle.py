"""Every kernel text that the ops lower to, as machine code and by definition, bit by bit.

samples.py makes the planner work; the kernels it made are run here on random data, among them NaN,
infinities and positions out of range. The templates (products, convolutions) are no loop nests:
test_gemm.py and test_conv_kernels.py hold them. LUCID_ORACLE=full: all sizes, types and targets.
"""

import os
import re
import zlib
from dataclasses import dataclass, field

import numpy as np
import pytest

import lucid
from lucid import apply as funnel
from lucid.backend.cpu.math import expand
from lucid.backend.cpu.target import target
from lucid.caches import clear_plans
from lucid.dtypes import FLOATING, INTEGER
from lucid.graph import Graph
from lucid.kernel import interp
from lucid.kernel.expr import Expr, postorder
from lucid.kernel.loops import Fold, Kernel, Scan, Stage
from lucid.op import View, records
from lucid.plan import run as plans
from lucid.plan.lower import lower
from lucid.plan.steps import Step
from tests import (  # noqa: F401
    samples,
    samples_functions,
    samples_sequence,
    samples_sorted,
    samples_spatial,
)
from tests.kernel_calls import available, on
from tests.kernel_calls import run as run_native
from tests.random_kernels import Case, compare, data

FULL = os.environ.get("LUCID_ORACLE") == "full"
SIZES = (3, 18, 67)  # a part of a vector; a vector and a tail; more than one group of accumulators
BEYOND = {"reductions": 300, "located": 300, "softmaxes": 300}  # more than one block of a column
KINDS = {
    lucid.float32: list(samples.SAMPLES),
    lucid.float64: ["softmaxes", "add", "exp", "pow"],
    lucid.bfloat16: ["fused_chains", "add"],
    lucid.float16: ["div"],
    lucid.int32: ["add", "floor_divide", "remainder", "bitwise_left_shift", "maximum", "eq"],
    lucid.uint8: ["add", "div", "bitwise_right_shift"],
}
if FULL:
    KINDS = {kind: [*samples.SAMPLES] if kind.is_floating_point else names
             for kind, names in KINDS.items()}  # fmt: skip
# "3/8": the third of eight parts of the samples, for a full run in pieces.
PART = os.environ.get("LUCID_ORACLE_PART", "")
if PART:
    _part, _parts = map(int, PART.split("/"))
    KINDS = {kind: [n for n in names if zlib.crc32(n.encode()) % _parts == _part - 1]
             for kind, names in KINDS.items()}  # fmt: skip
COST = 400_000 if FULL else 3_000  # primitives that a call may ask of the interpreter


@dataclass
class Found:
    """One kernel text, and the calls of it that differ in their words."""

    kernel: Kernel
    calls: dict[tuple, Step] = field(default_factory=dict)


@pytest.fixture(scope="module")
def collected():
    """(kernels by text, names of the ops that were lowered)"""
    kernels: dict[str, Found] = {}
    ops: set[str] = set()
    lower, add, build = plans.lower, Graph.add, funnel._build

    def lower_and_note(*arguments):
        made = lower(*arguments)
        for step in made.steps:
            if step.kernel is not None:
                words = tuple(words_of(step).values())
                found = kernels.setdefault(str(step.kernel), Found(step.kernel))
                found.calls.setdefault(words, step)
        return made

    def add_and_note(graph, op, inputs, params):
        ops.add(op.name)
        return add(graph, op, inputs, params)

    def build_and_note(op, inputs, params, key):
        ops.add(op.name)
        return build(op, inputs, params, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "lower", lower_and_note)
        patch.setattr(Graph, "add", add_and_note)
        patch.setattr(funnel, "_build", build_and_note)
        clear_plans()
        lucid.manual_seed(0)
        for kind, names in KINDS.items():
            for name in names:
                sizes = SIZES if kind is lucid.float32 or FULL else SIZES[1:2]
                for n in (*sizes, *([BEYOND[name]] if name in BEYOND else [])):
                    samples.run(name, n, kind)
    clear_plans()
    return kernels, ops


def words_of(step: Step) -> dict[str, int]:
    (bound,) = step.bind(1)
    buffers = [b for b in step.kernel.buffers if b.role != "local"]
    values = bound.words[len(buffers) : len(buffers) + len(step.kernel.words)]
    return dict(zip(step.kernel.words, values, strict=True))


def case_of(step: Step, seed: int, wild: bool) -> Case:
    """Arrays as the step's operands describe them. Wild ones hold anything; others hold positions
    that lie inside and divisors that are not zero."""
    rng = np.random.default_rng(seed)
    buffers = [b for b in step.kernel.buffers if b.role != "local"]
    arrays, starts = {}, {}
    for b, operand in zip(buffers, step.operands, strict=True):
        spans = [(n - 1) * s for n, s in zip(operand.shape, operand.strides, strict=True)]
        size = 0 if 0 in operand.shape else 1 + sum(abs(s) for s in spans)
        starts[b.name] = -sum(min(s, 0) for s in spans)
        if b.dtype.category == INTEGER and not wild:
            arrays[b.name] = rng.integers(0, 3, size).astype(b.dtype.numpy)
        else:
            arrays[b.name] = data(rng, b.dtype, size)
    (bound,) = step.bind(1)
    scalars = {}
    for name, (_, number) in zip(step.kernel.scalars, bound.scalars, strict=True):
        scalars[name] = 0.375 if number.dtype.category == FLOATING else 2
    return Case(step.kernel, arrays, starts, words_of(step), scalars)


def check(step: Step, seed: int, wild: bool) -> bool:
    """Whether buffers were compared: what both call an error leaves them as they may be."""
    case = case_of(step, seed, wild)
    wanted = {k: a.copy() for k, a in case.arrays.items()}
    fused = "fma" in target().flags
    error = interp.run(
        case.kernel, wanted, case.words, case.scalars, fused=fused, expand=expand,
        starts=case.starts,
    )  # fmt: skip
    arrays = {k: a.copy() for k, a in case.arrays.items()}
    views = {k: a[case.starts[k] :] for k, a in arrays.items()}
    outcome = run_native(case.kernel, views, case.words, case.scalars, threads=2)
    if error is not None or outcome is not None:
        assert outcome is not None and error is not None and outcome[0] == error[0], case.kernel
        return False
    difference = compare(case_without_locals(case), arrays, wanted)
    assert not difference, difference
    return True


def case_without_locals(case: Case) -> Case:
    k = case.kernel
    shown = tuple(b for b in k.buffers if b.role != "local")
    seen = Kernel(k.name, shown, k.words, k.scalars, k.grid, k.stages, k.vector)
    return Case(seen, case.arrays, case.starts, case.words, case.scalars)


def cost(step: Step) -> int:
    """About how many primitives the interpreter evaluates for it."""
    points = max((int(np.prod(operand.shape)) for operand in step.operands), default=1)
    roots = [x for stage in step.kernel.stages for x in expressions(stage)]
    return points * len(list(postorder(expand(roots))))


def expressions(stage: Stage) -> list[Expr]:
    if isinstance(stage, Fold):
        return list(stage.values)
    made = [x for s in stage.stores for x in (*s.subscripts, s.value)]
    return [*made, *stage.update] if isinstance(stage, Scan) else made


@pytest.mark.skipif(bool(PART), reason="a part of the samples")
def test_the_samples_reach_every_op(collected):
    _, ops = collected
    # Joins of n tensors, losses without some input and sums of losses are made when they are first
    # asked for: which of them exist depends on the tests that have run before.
    on_demand = re.compile(r"^(cat|stack)_\d+$|without_|_total$")
    # The Node of a compiled function, and what measures the machine, stand above the ops.
    ops_only = {name for name, r in records().items() if r.__module__.startswith("lucid.ops")}
    known = {name for name in ops_only if not on_demand.search(name)}
    views = {name for name, record in records().items() if issubclass(record, View)}
    assert sorted(known - ops - views) == []


@pytest.mark.parametrize("name", available())
def test_machine_code_is_what_the_definition_says(name, collected):
    """Not the first target: a sample of the texts, unless LUCID_ORACLE=full."""
    kernels, _ = collected
    whole, compared = FULL or name == available()[0], 0
    with on(name):
        for text, found in kernels.items():
            mark = zlib.crc32(text.encode())
            if not whole and mark % 16:
                continue
            calls = sorted(found.calls.values(), key=cost)
            for number, step in enumerate(calls):
                if number == 0 or cost(step) <= COST:
                    compared += check(step, mark + number, wild=False)
            if cost(calls[0]) <= COST:
                check(calls[0], mark, wild=True)
    print(f"{name}: {len(kernels)} kernel texts, {compared} calls compared")
    assert compared > (len(kernels) if whole else len(kernels) // 32)


def test_long_folds_in_blocks():
    """Two kernels: partial results of blocks, the last one short, and what joins them."""
    x = lucid.zeros(16_500)
    for function in (lambda x: x.sum(), lambda x: x.argmax()):
        steps = lower(funnel.trace_call(function, [x])).steps
        assert len(steps) == 2
        for step in steps:
            assert check(step, 5, wild=False)
