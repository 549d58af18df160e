"""SparseAdam: Adam for gradients that touch few rows. Called by users' training loops."""

from __future__ import annotations

import math
from typing import Any

import lucid
from lucid.optim.optimizer import Optimizer, check_betas


class SparseAdam(Optimizer):
    """Adam whose moments and parameters change only where a sparse gradient has values.

    For those rows m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps). `maximize` turns the sign.
    A dense gradient raises RuntimeError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.zeros(3, 1))
    >>> p.grad = lucid.ones(3, 1)
    >>> lucid.optim.SparseAdam([p]).step()
    Traceback (most recent call last):
        ...
    RuntimeError: SparseAdam does not support dense gradients, please consider Adam instead
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if not 0.0 < lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0.0 < eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def update(self, group: dict[str, Any]) -> None:
        lr, eps, (beta1, beta2) = float(group["lr"]), group["eps"], group["betas"]
        for p in group["params"]:
            g = p.grad
            if g is None:
                continue
            if not getattr(g, "is_sparse", False):
                raise RuntimeError(
                    "SparseAdam does not support dense gradients, please consider Adam instead"
                )
            state = self.state[p]
            if not state:
                state["step"] = 0
                state["exp_avg"], state["exp_avg_sq"] = lucid.zeros_like(p), lucid.zeros_like(p)
            state["step"] += 1
            g = g.coalesce()
            at = tuple(g.indices().unbind(0))
            values = -g.values() if group["maximize"] else g.values()
            if values.numel() == 0:
                continue
            m, v, t = state["exp_avg"], state["exp_avg_sq"], state["step"]
            mean = m[at] + (values - m[at]) * (1 - beta1)
            square = v[at] * beta2 + values * values * (1 - beta2)
            m[at], v[at] = mean, square
            step_size = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
            p[at] -= mean / (lucid.sqrt(square) + eps) * step_size
