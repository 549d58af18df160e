"""Muon: momentum made orthogonal (Jordan et al., 2024). Called by users' training loops."""

from __future__ import annotations

import math
from typing import Any

import lucid
from lucid.optim.optimizer import Optimizer
from lucid.optim.update import update_whole


def muon(
    p: Any,
    v: Any,
    g: Any,
    mu: Any,
    keep: Any,
    rate: Any,
    *,
    nesterov: bool,
    coefficients: tuple[float, float, float],
    steps: int,
    eps: float,
) -> tuple[Any, Any]:
    """v: mean of g; p <- p keep - rate orthogonal(v), or of g's mean with v"""
    v = v + (g - v) * (1 - mu)
    direction = g + (v - g) * mu if nesterov else v
    return p * keep - orthogonal(direction, coefficients, steps, eps) * rate, v


def orthogonal(x: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """x with its singular values brought near 1, by a quintic Newton-Schulz iteration.

    x <- a x + (b x x' + c (x x')^2) x, in bfloat16, from x / max(|x|, eps).
    """
    a, b, c = coefficients
    y = x.to(lucid.bfloat16)
    tall = x.shape[0] > x.shape[1]
    if tall:
        y = y.T
    wide = y.to(lucid.float32)
    norm = lucid.sqrt((wide * wide).sum()).to(lucid.bfloat16)
    y = y / lucid.maximum(norm, eps)
    for _ in range(steps):
        square = y @ y.T
        # Sums of bfloat16 products are rounded once, as one product with an addend is.
        polynomial = (
            square.to(lucid.float32) * b + (square.to(lucid.float32) @ square.to(lucid.float32)) * c
        ).to(lucid.bfloat16)
        y = (y.to(lucid.float32) * a + polynomial.to(lucid.float32) @ y.to(lucid.float32)).to(
            lucid.bfloat16
        )
    return (y.T if tall else y).to(x.dtype)


class Muon(Optimizer):
    """Momentum whose matrix is replaced by the nearest orthogonal one; for matrices only.

    v <- momentum v + (1 - momentum) g;  u = v, with `nesterov` momentum v + (1 - momentum) g;
    p <- (1 - lr weight_decay) p - rate O, O near the orthogonal factor of u after `ns_steps`
    Newton-Schulz steps with `ns_coefficients`. rate = lr sqrt(max(1, rows / columns)) for
    `adjust_lr_fn` None or "original", 0.2 lr sqrt(max(rows, columns)) for "match_rms_adamw".

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.eye(2))
    >>> p.grad = lucid.eye(2) * 3
    >>> lucid.optim.Muon([p], lr=0.5, weight_decay=0.0).step()
    >>> 0.4 < p[0, 0].item() < 0.8
    True
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        for name, value in {
            "Learning rate": lr,
            "momentum": momentum,
            "weight decay": weight_decay,
        }.items():
            if not 0.0 <= value:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise ValueError(f"Number of steps must be less than 100, got {ns_steps}")
        if len(ns_coefficients) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.dim() != 2:
                raise ValueError(
                    "Muon only supports 2D parameters whereas we found a parameter with size: "
                    f"{tuple(p.shape)}"
                )

    def update(self, group: dict[str, Any]) -> None:
        lr = float(group["lr"])
        keep = 1 - lr * group["weight_decay"]
        for p, g in self.gradients(group):
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = lucid.zeros_like(p)
            rate = lr * _adjustment(group["adjust_lr_fn"], *p.shape)
            update_whole(
                muon,
                (p, state["momentum_buffer"]),
                (g, float(group["momentum"]), keep, rate),
                nesterov=group["nesterov"],
                coefficients=tuple(group["ns_coefficients"]),
                steps=group["ns_steps"],
                eps=group["eps"],
            )


def _adjustment(name: str | None, rows: int, columns: int) -> float:
    """The factor by which the rate depends on the matrix's shape."""
    if name == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))
