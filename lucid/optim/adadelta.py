"""Adadelta (Zeiler, 2012). Called by users' training loops."""

from __future__ import annotations

from typing import Any, NamedTuple

from lucid.optim.counted import Counted, Tick, descent, form_of
from lucid.optim.optimizer import check_nonnegative, refuse


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    decay: float
    lr: float
    rho: float
    one_minus_rho: float
    eps: float


def adadelta(b: Any, row: Any, n: Numbers, **form: bool) -> tuple[Any, Any, Any]:
    """v: mean of g^2; d = sqrt(u + eps) / sqrt(v + eps) g; u: mean of d^2; p <- p - lr d"""
    p, v, u, g = row
    g = descent(p, g, n.decay, **form)
    v = v * n.rho + g * g * n.one_minus_rho
    d = b.sqrt(u + n.eps) / b.sqrt(v + n.eps) * g
    u = u * n.rho + d * d * n.one_minus_rho
    return p - d * n.lr, v, u


class Adadelta(Counted):
    """Steps in the proportion of past steps to past gradients, which need no rate of their own.

    v <- rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;
    u <- rho u + (1 - rho) d^2;  p <- p - lr d.
    `weight_decay` adds weight_decay p to g; `maximize` turns the sign. `foreach` and `capturable`
    choose between loops in PyTorch; every value gives the same result here.
    `differentiable=True` raises NotImplementedError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.Adadelta([p], eps=1.0, rho=0.25).step()
    >>> p.item()
    0.0
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_nonnegative(lr=lr, eps=eps, weight_decay=weight_decay)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        refuse("Adadelta", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "square_avg", "acc_delta"

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        (step,) = counters
        rho = group["rho"]
        n = Numbers(group["weight_decay"], float(group["lr"]), rho, 1 - rho, group["eps"])
        return {"step": step + 1}, adadelta, n, form_of(group)
