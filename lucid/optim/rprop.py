"""Rprop: steps by the sign of the gradient (Riedmiller and Braun, 1993). Called by users."""

from __future__ import annotations

from typing import Any, NamedTuple

import lucid
from lucid.optim.counted import Counted, Tick
from lucid.optim.optimizer import check_nonnegative, refuse


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    shrink: float
    grow: float
    smallest: float
    largest: float


def rprop(b: Any, row: Any, n: Numbers, *, maximize: bool) -> tuple[Any, Any, Any]:
    """s grows where g kept its sign and shrinks, without a step, where it turned; p -= sign(g) s"""
    p, before, s, g = row
    g = -g if maximize else g
    agreement = g * before
    turned = agreement < 0
    s = b.where(agreement > 0, s * n.grow, b.where(turned, s * n.shrink, s))
    s = b.minimum(b.maximum(s, n.smallest), n.largest)
    g = b.where(turned, 0.0, g)
    return p - b.sign(g) * s, g, s


class Rprop(Counted):
    """A step size of its own for each number, and steps by the gradient's sign alone.

    s <- clamp(s etas[1]) where g has the sign of the step before, clamp(s etas[0]) and g <- 0
    where it has turned, with `step_sizes` as the bounds;  p <- p - sign(g) s. s starts at `lr`.
    `maximize` turns the sign. `foreach` and `capturable` choose between loops in PyTorch; every
    value gives the same result here. `differentiable=True` raises NotImplementedError.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.Rprop([p], lr=0.5).step()
    >>> p.item()
    0.5
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_nonnegative(lr=lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        refuse("Rprop", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def tensors(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "prev", "step_size"

    def begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        state = super().begin(p, group)
        rate = float(group["lr"])
        whole = complex(rate, rate) if p.dtype.is_complex else rate
        state["step_size"] = lucid.full_like(p, whole).detach()
        return state

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        (step,) = counters
        n = Numbers(*group["etas"], *group["step_sizes"])
        return {"step": step + 1}, rprop, n, {"maximize": group["maximize"]}
