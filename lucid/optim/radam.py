"""RAdam: Adam with a rectified warm-up (Liu et al., 2020). Called by users' training loops."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lucid.optim.counted import Counted, Tick, descent
from lucid.optim.optimizer import check_betas, check_nonnegative, refuse


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    decay: float
    keep: float  # 1 - lr decay
    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float
    step_size: float  # lr / (1 - beta1^t), times the rectification and sqrt(1 - beta2^t)
    eps: float


def radam(
    b: Any,
    row: Any,
    n: Numbers,
    *,
    decays: bool,
    decoupled: bool,
    maximize: bool,
    rectified: bool,
) -> tuple[Any, Any, Any]:
    """p <- p - step_size m, divided by sqrt(v) + eps once the variance of v is finite"""
    p, m, v, g = row
    p = p * n.keep if decays and decoupled else p
    g = descent(p, g, n.decay, maximize=maximize, decays=decays and not decoupled)
    m = m + (g - m) * n.one_minus_beta1
    v = v * n.beta2 + g * g * n.one_minus_beta2
    step = m * n.step_size
    return p - (step / (b.sqrt(v) + n.eps) if rectified else step), m, v


class RAdam(Counted):
    """Adam whose adaptive rate is used as far as its variance is known.

    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  rho = 2 / (1 - beta2) - 1;
    rho_t = rho - 2 t beta2^t / (1 - beta2^t). Where rho_t > 5:
    p <- p - lr r_t m / (1 - beta1^t) sqrt(1 - beta2^t) / (sqrt(v) + eps) with
    r_t = sqrt((rho_t - 4)(rho_t - 2) rho / ((rho - 4)(rho - 2) rho_t)), else
    p <- p - lr m / (1 - beta1^t).
    `weight_decay` adds weight_decay p to g, with `decoupled_weight_decay` shrinks p by
    lr weight_decay instead; `maximize` turns the sign. `foreach` and `capturable` choose between
    loops in PyTorch; every value gives the same result here. `differentiable=True` raises
    NotImplementedError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.RAdam([p], lr=0.25).step()
    >>> round(p.item(), 6)
    0.5
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_nonnegative(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        refuse("RAdam", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        (step,) = counters
        t, lr, decay = step + 1, float(group["lr"]), group["weight_decay"]
        beta1, beta2 = group["betas"]
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        step_size = lr / (1 - beta1**t)
        if length > 5:
            ratio = (length - 4) * (length - 2) * longest
            ratio /= (longest - 4) * (longest - 2) * length
            step_size *= math.sqrt(ratio) * math.sqrt(1 - beta2**t)
        n = Numbers(
            decay=decay,
            keep=1 - lr * decay,
            one_minus_beta1=1 - beta1,
            beta2=beta2,
            one_minus_beta2=1 - beta2,
            step_size=step_size,
            eps=group["eps"],
        )
        form = {
            "decays": decay != 0,
            "decoupled": group["decoupled_weight_decay"],
            "maximize": group["maximize"],
            "rectified": length > 5,
        }
        return {"step": t}, radam, n, form
