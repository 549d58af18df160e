"""Counted: the base of optimizers that count steps and keep tensors for each parameter.

adam.py and most files beside it subclass it; each writes its formula and what changes by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import lucid
from lucid.optim.optimizer import Optimizer
from lucid.optim.update import Formula, update_all

# The counters after the step, the formula, its numbers, and its flags.
Tick = tuple[dict[str, float], Formula, tuple, dict[str, bool]]


class Counted(Optimizer):
    """State of a parameter: `counters`, which are numbers, and `tensors`, which start as zeros.

    Parameters with equal counters are updated together, in one native call. Counters are tensors
    in checkpoints, as in PyTorch, and numbers here, since nothing on the device needs them.
    """

    counters: ClassVar[dict[str, float]] = {"step": 0.0}

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The names of the state's tensors, in the order in which the formula takes them."""
        raise NotImplementedError(f"{type(self).__name__} does not name its state's tensors")

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        """One step of the counters, and what to run for all parameters that stood at them."""
        raise NotImplementedError(f"{type(self).__name__} does not define tick()")

    def begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        """The state of a parameter before its first step."""
        state = self.state[p]
        state.update(self.counters)
        for name in self.tensors(group):
            state[name] = lucid.zeros_like(p)
        return state

    def prepare(self, params: Iterable[Any]) -> Callable[[], None] | None:
        wanted = {id(p) for p in params}
        made = []
        for group in self.param_groups:
            for p in group["params"]:
                if id(p) in wanted and not self.state.get(p):
                    self.begin(p, group)
                    made.append(p)

        def undo() -> None:
            for p in made:
                self.state.pop(p, None)

        return undo if made else None

    def update(self, group: dict[str, Any]) -> None:
        names, counters = self.tensors(group), tuple(self.counters)
        due: dict[tuple, tuple[Tick, list[tuple]]] = {}
        for p, g in self.gradients(group):
            state = self.state[p] or self.begin(p, group)
            before = tuple([state[name] for name in counters])
            found = due.get(before)
            if found is None:
                found = due[before] = (self.tick(group, before), [])
            state.update(found[0][0])
            row = (p, *[state[name] for name in names], g)
            found[1].append(row)
        for (_, formula, numbers, flags), rows in due.values():
            update_all(formula, rows, numbers, **flags)

    def _state_out(self, state: dict[str, Any]) -> dict[str, Any]:
        return {k: lucid.tensor(v) if k in self.counters else v for k, v in state.items()}

    def _state_in(self, state: dict[str, Any]) -> dict[str, Any]:
        return {k: float(v) if k in self.counters else v for k, v in state.items()}


def descent(p: Any, g: Any, decay: Any, *, maximize: bool, decays: bool) -> Any:
    """The gradient with its sign turned where the objective is to grow, and decay p added."""
    g = -g if maximize else g
    return g + p * decay if decays else g


def form_of(group: dict[str, Any]) -> dict[str, bool]:
    """The flags that `descent` takes."""
    return {"maximize": group["maximize"], "decays": group["weight_decay"] != 0}
