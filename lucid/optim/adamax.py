"""Adamax (Kingma and Ba, 2015, section 7.1). Called by users' training loops."""

from __future__ import annotations

from typing import Any, NamedTuple

from lucid.optim.counted import Counted, Tick, descent, form_of
from lucid.optim.optimizer import check_betas, check_nonnegative, refuse


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    decay: float
    one_minus_beta1: float
    beta2: float
    step_size: float  # lr / (1 - beta1^t)
    eps: float


def adamax(b: Any, row: Any, n: Numbers, **form: bool) -> tuple[Any, Any, Any]:
    """m: mean of g; u <- max(beta2 u, |g| + eps); p <- p - step_size m / u"""
    p, m, u, g = row
    g = descent(p, g, n.decay, **form)
    m = m + (g - m) * n.one_minus_beta1
    u = b.maximum(u * n.beta2, abs(g) + n.eps)
    return p - m * n.step_size / u, m, u


class Adamax(Counted):
    """Adam with the largest gradient, decaying, in the place of the root mean square.

    m <- beta1 m + (1 - beta1) g;  u <- max(beta2 u, |g| + eps);  p <- p - lr m / (1 - beta1^t) / u.
    `weight_decay` adds weight_decay p to g; `maximize` turns the sign. `foreach` and `capturable`
    choose between loops in PyTorch; every value gives the same result here.
    `differentiable=True` raises NotImplementedError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.Adamax([p], lr=0.5).step()
    >>> round(p.item(), 6)
    0.5
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_nonnegative(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        refuse("Adamax", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_inf"

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        (step,) = counters
        t, (beta1, beta2) = step + 1, group["betas"]
        step_size = float(group["lr"]) / (1 - beta1**t)
        n = Numbers(group["weight_decay"], 1 - beta1, beta2, step_size, group["eps"])
        return {"step": t}, adamax, n, form_of(group)
