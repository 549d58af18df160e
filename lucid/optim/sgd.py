"""SGD with momentum (Polyak, 1964; Nesterov, 1983). Called by users' training loops."""

from __future__ import annotations

from typing import Any, NamedTuple

import lucid
from lucid.optim.optimizer import Optimizer, refuse
from lucid.optim.update import update_all


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    lr: float
    decay: float
    mu: float
    damping: float  # 1 - dampening


def sgd(b: Any, row: Any, n: Numbers, *, maximize: bool, decays: bool) -> tuple[Any]:
    """p <- p - lr g"""
    p, g = row
    return (p - _direction(p, g, n, maximize, decays) * n.lr,)


def momentum_sgd(
    b: Any, row: Any, n: Numbers, *, maximize: bool, decays: bool, nesterov: bool, first: bool
) -> tuple[Any, Any]:
    """v <- mu v + (1 - dampening) g, at first v <- g; p <- p - lr v, or p - lr (g + mu v)"""
    p, v, g = row
    g = _direction(p, g, n, maximize, decays)
    v = g if first else v * n.mu + g * n.damping
    return p - (g + v * n.mu if nesterov else v) * n.lr, v


def _direction(p: Any, g: Any, n: Numbers, maximize: bool, decays: bool) -> Any:
    g = -g if maximize else g
    return g + p * n.decay if decays else g


class SGD(Optimizer):
    """Stochastic gradient descent.

    g = gradient + weight_decay p;  v <- momentum v + (1 - dampening) g (v = g at first);
    p <- p - lr v, with `nesterov` p - lr (g + momentum v), without momentum p - lr g.
    `maximize` turns the gradient's sign. `foreach` and `fused` choose between loops in PyTorch;
    every value gives the same result here. `differentiable=True` raises NotImplementedError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.SGD([p], lr=0.25).step()
    >>> p.item()
    0.5
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        refuse("SGD", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def update(self, group: dict[str, Any]) -> None:
        n = Numbers(
            float(group["lr"]), group["weight_decay"], group["momentum"], 1 - group["dampening"]
        )
        form = {"maximize": group["maximize"], "decays": n.decay != 0}
        params = [p for p in group["params"] if p.grad is not None]
        if n.mu == 0:
            update_all(sgd, [(p, p.grad) for p in params], n, **form)
            return
        started: dict[bool, list[tuple]] = {False: [], True: []}
        for p in params:
            state = self.state[p]
            known = state.get("momentum_buffer") is not None
            if not known:
                state["momentum_buffer"] = lucid.zeros_like(p)
            started[known].append((p, state["momentum_buffer"], p.grad))
        for known, rows in started.items():
            form |= {"nesterov": group["nesterov"], "first": not known}
            update_all(momentum_sgd, rows, n, **form)
