"""Kernel families: what the time of a program is summed up by. explain.py asks for each kernel's.

A fused kernel does several things; it counts as the first of these that it does: matrix products,
convolutions, control flow, optimizers, pooling, reductions, random numbers, elementwise, copies.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from lucid.compiler.nested import Nested
from lucid.op import Op, Pointwise, Reduction, View
from lucid.ops.contract import Product
from lucid.ops.conv import Convolution
from lucid.ops.pool import Windows, max_windows_back
from lucid.ops.random import Drawn
from lucid.plan.steps import Step

OTHER = "sorting, scans and others"
# Records that compute nothing.
MOVES = (
    "contiguous_copy", "clone", "assign", "cast", "take", "put", "full", "overwritten",
    "assembled", "gather",
)  # fmt: skip
RANDOM = ("bernoulli_numbers", "dropout", "permutation")


@dataclass(frozen=True)
class Family:
    """The kernels of a kind: how many, how long they take, and their share of the whole time."""

    name: str
    kernels: int
    seconds: float
    share: float


def families(kernels: Collection[Any]) -> tuple[Family, ...]:
    """Reports of kernels by family, the longest first."""
    total = sum(k.seconds for k in kernels)
    found = []
    for name in dict.fromkeys(k.family for k in kernels):
        own = [k.seconds for k in kernels if k.family == name]
        found.append(Family(name, len(own), sum(own), sum(own) / total if total else 0.0))
    return tuple(sorted(found, key=lambda f: -f.seconds))


def family_of(step: Step, rates: Collection[int] = ()) -> str:
    """The family of a step. `rates`: the ids of the numbers that optimizers' formulas take."""
    ops = [e.op for e in step.equations]

    def any_of(kind: type[Op]) -> bool:
        return any(issubclass(op, kind) for op in ops)

    if any_of(Product):
        return "matrix products"
    if any_of(Convolution):
        return "convolutions"
    if any_of(Nested):
        return "control flow"
    if any(id(v) in rates for e in step.equations for v in e.inputs):
        return "optimizers"
    if any_of(Windows) or any_of(max_windows_back):
        return "pooling"
    if any_of(Reduction):
        return "reductions"
    if any(issubclass(op, Drawn) or op.name in RANDOM for op in ops):
        return "random numbers"
    if all(issubclass(op, View) or op.name in MOVES for op in ops):
        return "copies"
    return "elementwise" if any_of(Pointwise) else OTHER
