"""NAdam: Adam with Nesterov momentum (Dozat, 2016). Called by users' training loops."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

from lucid.optim.counted import Counted, Tick, descent
from lucid.optim.optimizer import check_betas, check_nonnegative, refuse


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    decay: float
    keep: float  # 1 - lr decay
    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float
    correction: float  # sqrt(1 - beta2^t)
    eps: float
    by_gradient: float  # lr (1 - mu_t) / (1 - mu_1 ... mu_t)
    by_mean: float  # lr mu_{t+1} / (1 - mu_1 ... mu_{t+1})


def nadam(
    b: Any, row: Any, n: Numbers, *, decays: bool, decoupled: bool, maximize: bool
) -> tuple[Any, Any, Any]:
    """p <- p - (by_gradient g + by_mean m) / (sqrt(v) / correction + eps)"""
    p, m, v, g = row
    p = p * n.keep if decays and decoupled else p
    g = descent(p, g, n.decay, maximize=maximize, decays=decays and not decoupled)
    m = m + (g - m) * n.one_minus_beta1
    v = v * n.beta2 + g * g * n.one_minus_beta2
    scale = b.sqrt(v) / n.correction + n.eps
    return p - g * n.by_gradient / scale - m * n.by_mean / scale, m, v


class NAdam(Counted):
    """Adam that looks ahead by the momentum of the next step.

    With mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2):
    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr (mu_{t+1} m / (1 - mu_1 ... mu_{t+1}) + (1 - mu_t) g / (1 - mu_1 ... mu_t))
    / (sqrt(v / (1 - beta2^t)) + eps).
    `weight_decay` adds weight_decay p to g, with `decoupled_weight_decay` shrinks p by
    lr weight_decay instead; `maximize` turns the sign. `foreach` and `capturable` choose between
    loops in PyTorch; every value gives the same result here. `differentiable=True` raises
    NotImplementedError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.NAdam([p], lr=0.5).step()
    >>> round(p.item(), 3)
    0.472
    """

    counters: ClassVar[dict[str, float]] = {"step": 0.0, "mu_product": 1.0}

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_nonnegative(lr=lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_betas(betas)
        refuse("NAdam", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        step, mu_product = counters
        t, lr, decay = step + 1, float(group["lr"]), group["weight_decay"]
        beta1, beta2 = group["betas"]
        mu, mu_next = (
            beta1 * (1 - 0.5 * 0.96 ** (i * group["momentum_decay"])) for i in (t, t + 1)
        )
        product = mu_product * mu
        n = Numbers(
            decay=decay,
            keep=1 - lr * decay,
            one_minus_beta1=1 - beta1,
            beta2=beta2,
            one_minus_beta2=1 - beta2,
            correction=math.sqrt(1 - beta2**t),
            eps=group["eps"],
            by_gradient=lr * (1 - mu) / (1 - product),
            by_mean=lr * mu_next / (1 - product * mu_next),
        )
        form = {
            "decays": decay != 0,
            "decoupled": group["decoupled_weight_decay"],
            "maximize": group["maximize"],
        }
        return {"step": t, "mu_product": product}, nadam, n, form
