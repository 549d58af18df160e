"""Schedulers by a function of the user: LambdaLR, MultiplicativeLR."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from lucid.optim.lr_scheduler.base import LRScheduler, rates
from lucid.optim.optimizer import Optimizer


class _ByFunction(LRScheduler):
    """One function, or one for each group; saved where it is a callable object."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        count = len(optimizer.param_groups)
        if not isinstance(lr_lambda, list | tuple):
            self.lr_lambdas = [lr_lambda] * count
        elif len(lr_lambda) != count:
            raise ValueError(f"Expected {count} lr_lambdas, but got {len(lr_lambda)}")
        else:
            self.lr_lambdas = list(lr_lambda)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["lr_lambdas"] = [
            None if isinstance(f, FunctionType) else f.__dict__.copy() for f in self.lr_lambdas
        ]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        for function, saved in zip(self.lr_lambdas, state.pop("lr_lambdas"), strict=True):
            if saved is not None:
                function.__dict__.update(saved)
        super().load_state_dict(state)


class LambdaLR(_ByFunction):
    """lr = initial lr * lr_lambda(epoch), with one function, or one for each group.

    Functions are not saved in `state_dict`; callable objects are, by their attributes.

    >>> import lucid
    >>> optimizer = lucid.optim.SGD([lucid.nn.Parameter(lucid.zeros(1))], lr=1.0)
    >>> scheduler = lucid.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [0.5]
    """

    def get_lr(self) -> list[float]:
        self._warn_outside_step()
        factors = [function(self.last_epoch) for function in self.lr_lambdas]
        return [base * factor for base, factor in zip(self.base_lrs, factors, strict=True)]


class MultiplicativeLR(_ByFunction):
    """lr <- lr * lr_lambda(epoch) at every epoch but the first.

    >>> import lucid
    >>> optimizer = lucid.optim.SGD([lucid.nn.Parameter(lucid.zeros(1))], lr=1.0)
    >>> scheduler = lucid.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [0.5]
    """

    def get_lr(self) -> list[float]:
        self._warn_outside_step()
        if self._is_initial:
            return rates(self.optimizer)
        pairs = zip(rates(self.optimizer), self.lr_lambdas, strict=True)
        return [rate * function(self.last_epoch) for rate, function in pairs]
