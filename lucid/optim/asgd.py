"""ASGD: averaged stochastic gradient descent (Polyak and Juditsky, 1992). Called by users."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from lucid.optim.counted import Counted, Tick, descent, form_of
from lucid.optim.optimizer import check_nonnegative, refuse


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    decay: float
    keep: float  # 1 - lambd eta
    eta: float
    mu: float


def asgd(b: Any, row: Any, n: Numbers, *, averages: bool, **form: bool) -> tuple[Any, Any]:
    """p <- (1 - lambd eta) p - eta g; the average a <- a + mu (p - a), p itself while mu is 1"""
    p, a, g = row
    g = descent(p, g, n.decay, **form)
    p = p * n.keep - g * n.eta
    return p, a + (p - a) * n.mu if averages else p


class ASGD(Counted):
    """Gradient descent that also averages the parameters, in `state[p]["ax"]`.

    p <- (1 - lambd eta) p - eta g;  a <- a + mu (p - a);  then for the next step
    eta = lr / (1 + lambd lr t)^alpha  and  mu = 1 / max(1, t - t0).
    `weight_decay` adds weight_decay p to g; `maximize` turns the sign. `foreach` and `capturable`
    choose between loops in PyTorch; every value gives the same result here.
    `differentiable=True` raises NotImplementedError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.ASGD([p], lr=0.25, lambd=0.0).step()
    >>> p.item()
    0.5
    """

    counters: ClassVar[dict[str, float]] = {"step": 0.0, "eta": 0.0, "mu": 1.0}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_nonnegative(lr=lr, weight_decay=weight_decay)
        refuse("ASGD", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("ax",)

    def begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        state = super().begin(p, group)
        state["eta"] = float(group["lr"])
        return state

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        step, eta, mu = counters
        t, lr, lambd = step + 1, float(group["lr"]), group["lambd"]
        after = {
            "step": t,
            "eta": lr / (1 + lambd * lr * t) ** group["alpha"],
            "mu": 1 / max(1, t - group["t0"]),
        }
        n = Numbers(group["weight_decay"], 1 - lambd * eta, eta, mu)
        return after, asgd, n, {"averages": mu != 1, **form_of(group)}
