"""RMSprop (Tieleman and Hinton, 2012; centred: Graves, 2013). Called by users' training loops."""

from __future__ import annotations

from typing import Any, NamedTuple

from lucid.optim.counted import Counted, Tick, descent, form_of
from lucid.optim.optimizer import check_nonnegative, refuse


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    decay: float
    lr: float
    alpha: float
    one_minus_alpha: float
    eps: float
    momentum: float


def rmsprop(
    b: Any, row: Any, n: Numbers, *, centered: bool, moving: bool, **form: bool
) -> tuple[Any, ...]:
    """v: mean of g^2, less the square of g's mean where centred; p <- p - lr g / (sqrt(v) + eps),
    with momentum by a buffer of these steps"""
    p, v, *others, g = row
    g = descent(p, g, n.decay, **form)
    v = v * n.alpha + g * g * n.one_minus_alpha
    spread, changed = v, [v]
    if centered:
        mean = others.pop(0)
        mean = mean + (g - mean) * n.one_minus_alpha
        spread = v - mean * mean
        changed.append(mean)
    step = g / (b.sqrt(spread) + n.eps)
    if moving:
        step = others.pop(0) * n.momentum + step
        changed.append(step)
    return p - step * n.lr, *changed


class RMSprop(Counted):
    """Steps divided by the root of the mean of the squared gradient.

    v <- alpha v + (1 - alpha) g^2, with `centered` less the square of the mean of g;
    b <- momentum b + g / (sqrt(v) + eps);  p <- p - lr b.
    `weight_decay` adds weight_decay p to g; `maximize` turns the sign. `foreach` and `capturable`
    choose between loops in PyTorch; every value gives the same result here.
    `differentiable=True` raises NotImplementedError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.RMSprop([p], lr=0.25, alpha=0.75).step()
    >>> round(p.item(), 6)
    0.5
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_nonnegative(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        refuse("RMSprop", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        mean = ("grad_avg",) if group["centered"] else ()
        buffer = ("momentum_buffer",) if group["momentum"] > 0 else ()
        return "square_avg", *mean, *buffer

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        (step,) = counters
        alpha, momentum = group["alpha"], group["momentum"]
        n = Numbers(
            decay=group["weight_decay"],
            lr=float(group["lr"]),
            alpha=alpha,
            one_minus_alpha=1 - alpha,
            eps=group["eps"],
            momentum=momentum,
        )
        form = {"centered": group["centered"], "moving": momentum > 0, **form_of(group)}
        return {"step": step + 1}, rmsprop, n, form
