"""SGD with momentum (Polyak, 1964; Nesterov, 1983). Called by users' training loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import lucid
from lucid.optim.optimizer import Optimizer, check_nonnegative, refuse
from lucid.optim.update import update_all


class Numbers(NamedTuple):
    """What changes from step to step at most."""

    lr: float
    decay: float
    mu: float
    keep: float  # mu; 1 in the first step
    damping: float  # 1 - dampening; 1 in the first step


def sgd(b: Any, row: Any, n: Numbers, *, maximize: bool, decays: bool) -> tuple[Any]:
    """p <- p - lr g"""
    p, g = row
    return (p - _direction(p, g, n, maximize, decays) * n.lr,)


def momentum_sgd(
    b: Any, row: Any, n: Numbers, *, maximize: bool, decays: bool, nesterov: bool
) -> tuple[Any, Any]:
    """v <- mu v + (1 - dampening) g, at first v <- g; p <- p - lr v, or p - lr (g + mu v)"""
    p, v, g = row
    g = _direction(p, g, n, maximize, decays)
    v = v * n.keep + g * n.damping
    return p - (g + v * n.mu if nesterov else v) * n.lr, v


def _direction(p: Any, g: Any, n: Numbers, maximize: bool, decays: bool) -> Any:
    g = -g if maximize else g
    return g + p * n.decay if decays else g


class SGD(Optimizer):
    """Stochastic gradient descent.

    g = gradient + weight_decay p;  v <- momentum v + (1 - dampening) g (v = g at first);
    p <- p - lr v, with `nesterov` p - lr (g + momentum v), without momentum p - lr g.
    `maximize` turns the gradient's sign. `foreach` and `fused` choose between loops in PyTorch;
    every value gives the same result here. `differentiable=True` raises NotImplementedError.
    A sparse gradient changes the rows that it has, and its v is sparse; weight_decay does not go
    with it.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> p.grad = lucid.tensor(2.0)
    >>> lucid.optim.SGD([p], lr=0.25).step()
    >>> p.item()
    0.5
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_nonnegative(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        refuse("SGD", differentiable=differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    _waiting: frozenset[Any] = frozenset()  # parameters whose buffer has seen no gradient yet

    def _begin(self, p: Any) -> None:
        """A buffer whose first value will be the gradient, to the sign of a zero: -0 + g is g."""
        self.state[p]["momentum_buffer"] = lucid.full_like(p, -0.0)
        self._waiting |= {p}

    def prepare(self, params: Iterable[Any]) -> Callable[[], None] | None:
        wanted = {id(p) for p in params}
        made: list[tuple[Any, dict[str, Any] | None]] = []
        for group in self.param_groups:
            for p in group["params"] if group["momentum"] else ():
                before = self.state.get(p)
                if id(p) in wanted and (before or {}).get("momentum_buffer") is None:
                    made.append((p, None if before is None else dict(before)))
                    self._begin(p)

        def undo() -> None:
            self._waiting -= {p for p, _ in made}
            for p, before in made:
                self.state.pop(p, None)
                if before is not None:
                    self.state[p] = before

        return undo if made else None

    def update(self, group: dict[str, Any]) -> None:
        mu, damping = group["momentum"], 1 - group["dampening"]
        n = Numbers(float(group["lr"]), group["weight_decay"], mu, mu, damping)
        form = {"maximize": group["maximize"], "decays": n.decay != 0}
        found, sparse = self.dense_and_sparse(group)
        if sparse and n.decay:
            raise RuntimeError("SGD: weight_decay does not go with sparse gradients")
        for p, g in sparse:
            self._sparse(p, -g if group["maximize"] else g, n, group["nesterov"])
        if n.mu == 0:
            update_all(sgd, found, n, **form)
            return
        form["nesterov"] = group["nesterov"]
        started: dict[bool, list[tuple]] = {True: [], False: []}
        for p, g in found:
            v = self.state[p].get("momentum_buffer")
            if v is None:
                self._begin(p)
            elif v.is_sparse:
                self.state[p]["momentum_buffer"] = v.to_dense()
            started[p in self._waiting].append((p, self.state[p]["momentum_buffer"], g))
        self._waiting = self._waiting.difference([p for p, _ in found])
        for first, rows in started.items():
            if rows:
                numbers = n._replace(keep=1.0, damping=1.0) if first else n
                update_all(momentum_sgd, rows, numbers, **form)

    def _sparse(self, p: Any, g: Any, n: Numbers, nesterov: bool) -> None:
        """One parameter whose gradient is sparse; so is its buffer, unless it is dense already."""
        if n.mu:
            state = self.state[p]
            v = state.get("momentum_buffer")
            if v is None:
                v = g.clone()
            elif p in self._waiting:
                v.add_(g)
                self._waiting -= {p}
            else:
                v.mul_(n.mu).add_(g, alpha=n.damping)
            state["momentum_buffer"] = v = v.coalesce() if v.is_sparse else v
            g = v * n.mu + g if nesterov else v
        p.add_(g, alpha=-n.lr)
