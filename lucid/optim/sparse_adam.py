"""SparseAdam: Adam for gradients that touch few rows. Called by users' training loops."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import lucid
from lucid.optim.optimizer import Optimizer, check_betas
from lucid.optim.update import update_places


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float
    step_size: float
    eps: float


def sparse_adam(b: Any, row: Any, n: Numbers, *, maximize: bool) -> tuple[Any, Any, Any]:
    """m <- m + (1 - beta1)(g - m); v <- beta2 v + (1 - beta2) g^2; p <- p - s m / (sqrt(v)+eps)"""
    p, m, v, g = row
    g = -g if maximize else g
    m = m + (g - m) * n.one_minus_beta1
    v = v * n.beta2 + g * g * n.one_minus_beta2
    return p - m / (b.sqrt(v) + n.eps) * n.step_size, m, v


class SparseAdam(Optimizer):
    """Adam whose moments and parameters change only where a sparse gradient has values.

    For those rows m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps). `maximize` turns the sign.
    A dense gradient raises RuntimeError.

    >>> import lucid
    >>> layer = lucid.nn.Embedding(3, 1, sparse=True)
    >>> layer(lucid.tensor([2])).sum().backward()
    >>> layer.weight.grad.indices().tolist()
    [[2]]
    >>> lucid.optim.SparseAdam(layer.parameters(), lr=0.1).step()
    >>> layer.weight.grad = lucid.ones(3, 1)
    >>> lucid.optim.SparseAdam(layer.parameters()).step()
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
        lr, (beta1, beta2) = float(group["lr"]), group["betas"]
        dense, sparse = self.dense_and_sparse(group)
        if dense:
            raise RuntimeError(
                "SparseAdam does not support dense gradients, please consider Adam instead"
            )
        for p, g in sparse:
            state = self.state[p]
            if not state:
                state["step"] = 0
                state["exp_avg"], state["exp_avg_sq"] = lucid.zeros_like(p), lucid.zeros_like(p)
            state["step"] += 1
            t = state["step"]
            n = Numbers(
                one_minus_beta1=1 - beta1,
                beta2=beta2,
                one_minus_beta2=1 - beta2,
                step_size=lr * math.sqrt(1 - beta2**t) / (1 - beta1**t),
                eps=group["eps"],
            )
            row = (p, state["exp_avg"], state["exp_avg_sq"])
            update_places(sparse_adam, row, g, n, maximize=group["maximize"])
