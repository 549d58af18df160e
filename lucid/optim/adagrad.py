"""Adagrad (Duchi, Hazan and Singer, 2011). Called by users' training loops."""

from __future__ import annotations

from typing import Any, NamedTuple

import lucid
from lucid.optim.counted import Counted, Tick, descent, form_of
from lucid.optim.optimizer import check_nonnegative, refuse
from lucid.optim.update import update_places


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    decay: float
    rate: float  # lr / (1 + (t - 1) lr_decay)
    eps: float


def adagrad(b: Any, row: Any, n: Numbers, **form: bool) -> tuple[Any, Any]:
    """s <- s + g^2; p <- p - rate g / (sqrt(s) + eps)"""
    p, s, g = row
    g = descent(p, g, n.decay, **form)
    s = s + g * g
    return p - g * n.rate / (b.sqrt(s) + n.eps), s


class Adagrad(Counted):
    """Steps divided by the root of the sum of all squared gradients.

    s <- s + g^2;  p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).
    s starts at `initial_accumulator_value`, when the optimizer is made. `weight_decay` adds
    weight_decay p to g; `maximize` turns the sign. `foreach` and `fused` choose between loops in
    PyTorch; every value gives the same result here. `differentiable=True` raises
    NotImplementedError. A sparse gradient changes the rows that it has; weight_decay does not go
    with it.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.Adagrad([p], lr=0.5).step()
    >>> round(p.item(), 6)
    0.5
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_nonnegative(
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        refuse("Adagrad", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                self.begin(p, group)

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        state = super().begin(p, group)
        state["sum"] = lucid.full_like(p, group["initial_accumulator_value"]).detach()
        return state

    def update(self, group: dict[str, Any]) -> None:
        found, sparse = self.dense_and_sparse(group)
        if sparse and group["weight_decay"]:
            raise RuntimeError("Adagrad: weight_decay does not go with sparse gradients")
        for p, g in sparse:
            state = self.state[p] or self.begin(p, group)
            counted, _, n, _ = self.tick(group, (state["step"],))
            state.update(counted)
            update_places(
                adagrad, (p, state["sum"]), g, n, maximize=group["maximize"], decays=False
            )
        super().update(group if not sparse else {**group, "params": [p for p, _ in found]})

    def share_memory(self) -> None:
        """Raises: sharing state among processes is not supported."""
        raise NotImplementedError("Adagrad.share_memory: shared state is not supported")

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        (step,) = counters
        rate = float(group["lr"]) / (1 + step * group["lr_decay"])
        n = Numbers(group["weight_decay"], rate, group["eps"])
        return {"step": step + 1}, adagrad, n, form_of(group)
