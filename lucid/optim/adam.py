"""Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019). Called by users."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import lucid
from lucid.optim.optimizer import Optimizer, refuse
from lucid.optim.update import update_all


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


class Adam(Optimizer):
    """Steps by the mean of the gradient over the root of the mean of its square.

    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
    `weight_decay` adds weight_decay p to g, with `decoupled_weight_decay` shrinks p by
    lr weight_decay instead; `amsgrad` takes the largest v so far (Reddi et al., 2018);
    `maximize` turns the sign. `foreach` and `fused` choose between loops in PyTorch; every value
    gives the same result here. `capturable` and `differentiable` raise NotImplementedError.

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
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if eps < 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        name = type(self).__name__
        refuse(name, capturable=capturable, differentiable=differentiable)
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

    def update(self, group: dict[str, Any]) -> None:
        amsgrad = group["amsgrad"]
        by_step: dict[float, list[tuple]] = {}
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state[p] or self._begin(p, amsgrad)
            state["step"] += 1
            row = [p, state["exp_avg"], state["exp_avg_sq"], p.grad]
            if amsgrad:
                row.insert(3, state["max_exp_avg_sq"])
            by_step.setdefault(state["step"], []).append(tuple(row))
        lr, decay, (beta1, beta2) = float(group["lr"]), group["weight_decay"], group["betas"]
        for t, rows in by_step.items():
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
            update_all(
                adam,
                rows,
                n,
                amsgrad=amsgrad,
                decays=decay != 0,
                decoupled=group["decoupled_weight_decay"],
                maximize=group["maximize"],
            )

    def _begin(self, p: lucid.Tensor, amsgrad: bool) -> dict[str, Any]:
        state = self.state[p]
        state["step"] = 0.0
        names = ("exp_avg", "exp_avg_sq") + ("max_exp_avg_sq",) * amsgrad
        state.update((name, lucid.zeros_like(p)) for name in names)
        return state

    # The step is a number here, as nothing on the device needs it, and a tensor in checkpoints.

    def _state_out(self, state: dict[str, Any]) -> dict[str, Any]:
        return {k: lucid.tensor(v) if k == "step" else v for k, v in state.items()}

    def _state_in(self, state: dict[str, Any]) -> dict[str, Any]:
        return {k: float(v) if k == "step" else v for k, v in state.items()}


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
