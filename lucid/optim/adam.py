"""Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019). Called by users."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lucid.optim.counted import Counted, Tick
from lucid.optim.optimizer import check_betas, check_nonnegative, refuse


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    decay: float
    keep: float  # 1 - lr decay
    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float
    step_size: float  # lr / (1 - beta1^t)
    correction: float  # sqrt(1 - beta2^t)
    eps: float


def adam(
    b: Any,
    row: Any,
    n: Numbers,
    *,
    amsgrad: bool,
    decays: bool,
    decoupled: bool,
    maximize: bool,
) -> tuple[Any, ...]:
    """m, v: means of g and g^2; p <- p - step_size m / (sqrt(v) / correction + eps)"""
    p, m, v, *largest, g = row
    g = -g if maximize else g
    if decays:
        p, g = (p * n.keep, g) if decoupled else (p, g + p * n.decay)
    m = m + (g - m) * n.one_minus_beta1
    v = v * n.beta2 + g * g * n.one_minus_beta2
    largest = [b.maximum(largest[0], v)] if amsgrad else []
    scale = b.sqrt(largest[0] if amsgrad else v) / n.correction + n.eps
    return p - m * n.step_size / scale, m, v, *largest


class Adam(Counted):
    """Steps by the mean of the gradient over the root of the mean of its square.

    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
    `weight_decay` adds weight_decay p to g, with `decoupled_weight_decay` shrinks p by
    lr weight_decay instead; `amsgrad` takes the largest v so far (Reddi et al., 2018);
    `maximize` turns the sign. `foreach`, `fused` and `capturable` choose between loops in PyTorch;
    every value gives the same result here. `differentiable=True` raises NotImplementedError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.Adam([p], lr=0.5).step()
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
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_nonnegative(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        refuse(type(self).__name__, differentiable=differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq") + ("max_exp_avg_sq",) * group["amsgrad"]

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        (step,) = counters
        t = step + 1
        lr, decay, (beta1, beta2) = float(group["lr"]), group["weight_decay"], group["betas"]
        n = Numbers(
            decay=decay,
            keep=1 - lr * decay,
            one_minus_beta1=1 - beta1,
            beta2=beta2,
            one_minus_beta2=1 - beta2,
            step_size=lr / (1 - beta1**t),
            correction=math.sqrt(1 - beta2**t),
            eps=group["eps"],
        )
        form = {
            "amsgrad": group["amsgrad"],
            "decays": decay != 0,
            "decoupled": group["decoupled_weight_decay"],
            "maximize": group["maximize"],
        }
        return {"step": t}, adam, n, form


class AdamW(Adam):
    """Adam with decoupled weight decay: p <- p (1 - lr weight_decay) before each step.
    Loshchilov and Hutter, 2019. `options` are those of Adam that go by name.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(0.0)
    >>> lucid.optim.AdamW([p], lr=0.5, weight_decay=0.5).step()
    >>> p.item()
    0.75
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay=True, **options
        )
