"""L-BFGS (Nocedal, 1980): steps by a model of the curvature. Called by users' training loops.

line_search.py finds the length of a step where `line_search_fn="strong_wolfe"`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lucid
from lucid.optim.line_search import Point, strong_wolfe
from lucid.optim.optimizer import Optimizer, check_nonnegative

CURVATURE = 1e-10  # pairs below it would make the model indefinite


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last `history_size` differences of gradients and positions.

    The direction d = -H g is the two-loop recursion over pairs (y, s) with y = g_k - g_{k-1},
    s = t d and H starting at (y.s / y.y) I. One `step(closure)` takes up to `max_iter` iterations
    and `max_eval` evaluations (5/4 max_iter), with step length `lr`, the first shortened to
    min(1, 1 / |g|_1), or one that satisfies the strong Wolfe conditions where
    `line_search_fn="strong_wolfe"`. It ends at max |g| <= tolerance_grad, or where step and loss
    change by less than tolerance_change. The closure clears the gradients, runs backward and
    returns the loss. There is one parameter group.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor([3.0]))
    >>> optimizer = lucid.optim.LBFGS([p])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((p - 1.0) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item(), p.item()
    (4.0, 1.0)
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_nonnegative(lr=lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError(
                f"LBFGS: line_search_fn={line_search_fn!r}: only 'strong_wolfe' is supported"
            )
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        for p in self._parameters():
            if p.dtype.is_complex:
                raise NotImplementedError("LBFGS: complex parameters are not supported")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take up to `max_iter` iterations; returns the loss before the first."""
        if closure is None:
            raise TypeError("LBFGS.step needs a closure that evaluates the loss and its gradients")
        group = self.param_groups[0]
        lr, change = float(group["lr"]), group["tolerance_change"]
        state = self.state[self._parameters()[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = closure()
        loss, gradient = float(first), self._gradient()
        evaluations = 1
        state["func_evals"] += 1
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, gradient, group["history_size"])
            state["prev_flat_grad"] = gradient.clone()
            before = state["prev_loss"] = loss
            state["d"] = direction
            length = lr * min(1.0, 1.0 / _total(gradient)) if state["n_iter"] == 1 else lr
            state["t"] = length
            slope = _dot(gradient, direction)
            if slope > -change:
                break
            used = 0
            last = iteration == group["max_iter"]
            if group["line_search_fn"] is not None:
                start = Point(0.0, loss, gradient, slope)
                evaluate = self._along(closure, direction)
                limit = group["max_eval"] - evaluations
                point, used = strong_wolfe(evaluate, start, length, _largest(direction), limit)
                length, loss, gradient = point.length, point.loss, point.gradient
                state["t"] = length
                self._move(direction, length)
            else:
                self._move(direction, length)
                if not last:  # what nothing would read is not evaluated
                    loss, gradient, used = float(closure()), self._gradient(), 1
            evaluations += used
            state["func_evals"] += used
            if (
                last
                or evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction) * abs(length) <= change
                or abs(loss - before) < change
            ):
                break
        return first

    def _direction(self, state: dict[str, Any], gradient: Any, most: int) -> Any:
        """-H g; takes the newest pair into the history first."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -gradient
        differences, steps, inverse = state["old_dirs"], state["old_stps"], state["ro"]
        y = gradient - state["prev_flat_grad"]
        s = state["d"] * float(state["t"])
        product = (y * s).sum()
        if product.item() > CURVATURE:
            if len(differences) == most:
                for history in (differences, steps, inverse):
                    history.pop(0)
            differences.append(y)
            steps.append(s)
            inverse.append(1.0 / product)
            state["H_diag"] = product / (y * y).sum()
        weights = state.setdefault("al", [None] * most)
        q = -gradient
        for i in reversed(range(len(steps))):
            weights[i] = (steps[i] * q).sum() * inverse[i]
            q.sub_(differences[i] * weights[i])
        q.mul_(state["H_diag"])
        for i in range(len(steps)):
            back = (differences[i] * q).sum() * inverse[i]
            q.add_(steps[i] * (weights[i] - back))
        return q

    def _parameters(self) -> list[Any]:
        return self.param_groups[0]["params"]

    def _gradient(self) -> Any:
        """All gradients in one vector, zeros where there is none."""
        parts = [
            (lucid.zeros_like(p) if p.grad is None else p.grad.to_dense()).detach().reshape(-1)
            for p in self._parameters()
        ]
        return lucid.cat(parts)

    def _move(self, direction: Any, length: float) -> None:
        start, moved = 0, direction * length
        for p in self._parameters():
            size = p.numel()
            p.add_(moved[start : start + size].reshape(p.shape))
            start += size

    def _along(self, closure: Callable[[], Any], direction: Any) -> Callable[[float], Point]:
        """The loss and the slope at a length along the direction; parameters stay as they are."""
        kept = [p.clone() for p in self._parameters()]

        def evaluate(length: float) -> Point:
            self._move(direction, length)
            loss, gradient = float(closure()), self._gradient()
            for p, value in zip(self._parameters(), kept, strict=True):
                p.copy_(value)
            return Point(length, loss, gradient, _dot(gradient, direction))

        return evaluate


def _dot(x: Any, w: Any) -> float:
    return (x * w).sum().item()


def _largest(x: Any) -> float:
    return abs(x).max().item()


def _total(x: Any) -> float:
    return abs(x).sum().item()
