"""Fused calls: a Python function of tensors as one plan, without gradients.

autograd/rules.py runs the rules of a Node so, and optim/update.py the update of a parameter.
"""

import operator
import time
from collections.abc import Callable, Sequence
from typing import Any

from lucid import apply as funnel
from lucid.caches import kept_plans, trim
from lucid.config import settings
from lucid.plan import run as plans

planned: dict[tuple, Any] = kept_plans({})


class Fused:
    """A function of tensors as one plan: call it with the inputs. No gradient is recorded."""

    __slots__ = ("entry", "launch", "spread")

    def __init__(self, function: Callable, inputs: Sequence, name: str):
        present: list[bool] = []

        def outputs_only(*xs: Any) -> list:
            made = function(*xs)
            present[:] = [y is not None for y in made]
            return [y for y in made if y is not None]

        graph = funnel.trace_call(outputs_only, inputs)
        self.entry = plans.launch.unhidden(funnel._entry(graph, [None] * len(graph.outputs), name))
        self.launch = funnel._native()[1]
        # Where each output stands among the results, None, which is put last, elsewhere.
        places = iter(range(len(present)))
        order = [next(places) if there else -1 for there in present]
        self.spread = None if all(present) else operator.itemgetter(*order, -1)

    def __call__(self, inputs: tuple) -> tuple:
        """The function's outputs, of which some may be None."""
        if settings.debug:
            start = time.perf_counter()
            outputs = self.launch(self.entry, inputs)
            plans.call.report(self.entry[-1].segment, time.perf_counter() - start)
        else:
            outputs = self.launch(self.entry, inputs)
        return outputs if self.spread is None else self.spread((*outputs, None))[:-1]


def fused(key: tuple, function: Callable, inputs: tuple, name: str) -> tuple:
    """function(*inputs) as one plan, kept under `key` and the inputs' layouts. No gradient is
    recorded. The function returns a tuple of tensors; None entries stay None."""
    if funnel._trace_of(inputs) is not None:
        return function(*inputs)
    key = (*key, *funnel.layouts_and_types(inputs))
    found = planned.get(key)
    if found is None:
        found = keep_plan(key, Fused(function, inputs, name))
    return found(inputs)


def keep_plan(key: tuple, plan: Any) -> Any:
    """Put a plan among those `planned`; returns it."""
    trim(planned)
    planned[key] = plan
    return plan
