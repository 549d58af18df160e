"""Adafactor (Shazeer and Stern, 2018). Called by users' training loops."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

import lucid
from lucid.optim.counted import Counted, Tick
from lucid.optim.optimizer import check_nonnegative
from lucid.optim.update import update_whole


def adafactor(
    p: Any, *rest: Any, maximize: bool, decays: bool, eps1: float, eps2: float, d: float
) -> tuple[Any, ...]:
    """The parameter and its variances, of rows and columns or of each number, after one step."""
    *variances, g, share, rate, keep = rest
    g = -g if maximize else g
    count = math.prod(p.shape)
    scale = lucid.maximum(lucid.sqrt((p * p).sum() / count), eps2) * rate
    p = p * keep if decays else p
    if len(variances) == 2:
        row, column = variances
        row = row + ((g * g).mean(dim=-1, keepdim=True) - row) * share
        column = column + ((g * g).mean(dim=-2, keepdim=True) - column) * share
        changed = [row, column]
        v = row * column / lucid.maximum(row.mean(dim=-2, keepdim=True), eps1)
    else:
        v = variances[0] + (g * g - variances[0]) * share
        changed = [v]
    step = g / lucid.sqrt(lucid.maximum(v, eps1 * eps1))
    length = lucid.maximum(lucid.sqrt((step * step).sum() / count) / d, 1.0)
    return p - step * (scale / length), *changed


class Adafactor(Counted):
    """Adam's scaling with a row and a column of second moments in the place of the whole matrix.

    With share = t^beta2_decay over the last two dimensions, r <- r + share (mean_j g^2 - r),
    c <- c + share (mean_i g^2 - c), v = r c / mean(r) (a vector keeps v itself);
    u = g / sqrt(max(v, eps[0]^2));
    p <- p - max(eps[1], rms(p)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / d).
    eps[0] of None is the machine epsilon. `weight_decay` shrinks p by lr weight_decay first;
    `maximize` turns the sign. `foreach` chooses between loops in PyTorch; every value gives the
    same result here. Parameters are real.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor([1.0, 1.0]))
    >>> p.grad = lucid.tensor([2.0, 2.0])
    >>> lucid.optim.Adafactor([p], lr=0.5).step()
    >>> p.tolist()
    [0.5, 0.5]
    """

    counters: ClassVar[dict[str, float]] = {"step": 0.0}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_nonnegative(lr=lr, weight_decay=weight_decay)
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def begin(self, p: Any, group: dict[str, Any]) -> dict[str, Any]:
        if p.dtype.is_complex:
            raise RuntimeError("Adafactor does not support complex parameters")
        state = self.state[p]
        state.update(self.counters)
        if p.dim() > 1:
            *before, rows, columns = p.shape
            state["row_var"] = lucid.zeros(*before, rows, 1, dtype=p.dtype)
            state["col_var"] = lucid.zeros(*before, 1, columns, dtype=p.dtype)
        else:
            state["variance"] = lucid.zeros_like(p)
        return state

    def update(self, group: dict[str, Any]) -> None:
        lr, decay, (eps1, eps2) = float(group["lr"]), group["weight_decay"], group["eps"]
        for p, g in self.gradients(group):
            state = self.state[p] or self.begin(p, group)
            state["step"] += 1
            t = state["step"]
            names = ("row_var", "col_var") if p.dim() > 1 else ("variance",)
            row = (p, *[state[name] for name in names])
            numbers = (t ** group["beta2_decay"], min(lr, 1 / math.sqrt(t)), 1 - lr * decay)
            update_whole(
                adafactor,
                row,
                (g, *numbers),
                maximize=group["maximize"],
                decays=decay != 0,
                eps1=smallest_step(p.dtype) if eps1 is None else eps1,
                eps2=eps2,
                d=group["d"],
            )

    def tick(self, group: dict[str, Any], counters: tuple[float, ...]) -> Tick:
        raise NotImplementedError("Adafactor updates each parameter as a whole")


def smallest_step(dtype: lucid.dtype) -> float:
    """The distance from 1 to the next number."""
    digits = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
    return float(np.ldexp(1.0, -digits[dtype.name]))
