"""Averages of a model's weights: AveragedModel, its averaging functions, SWALR, update_bn.

Called by users: stochastic weight averaging (Izmailov et al., 2018) and moving averages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any, NamedTuple

import lucid
from lucid import nn
from lucid.nn.batchnorm import _BatchNorm
from lucid.optim.lr_scheduler.base import LRScheduler, each_group
from lucid.optim.optimizer import Optimizer
from lucid.optim.update import update_all

__all__ = [
    "AveragedModel", "SWALR", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip


class Share(NamedTuple):
    """How much of the new value an average takes."""

    share: float


def average(b: Any, row: Any, n: Share) -> tuple[Any]:
    """a <- a + share (p - a)"""
    a, p = row
    return (a + (p - a) * n.share,)


def _mix(averaged: Any, present: Any, share: float) -> None:
    """Floating tensors in one native call, others one by one."""
    pairs = list(zip(averaged, present, strict=True))
    rows = [(a.detach(), p.detach()) for a, p in pairs if a.is_floating_point()]
    with lucid.no_grad():
        update_all(average, rows, Share(share))
        for a, p in pairs:
            if not a.is_floating_point():
                a.copy_(a + (p - a) * share)


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], None]:
    """A function for `AveragedModel`'s `multi_avg_fn`: a <- decay a + (1 - decay) p.

    >>> import lucid
    >>> a = [lucid.tensor([1.0])]
    >>> lucid.optim.swa_utils.get_ema_multi_avg_fn(0.5)(a, [lucid.tensor([3.0])], 1)
    >>> a
    [tensor([2.])]
    """
    _check_decay(decay)
    return lambda averaged, present, count: _mix(averaged, present, 1 - decay)


def get_swa_multi_avg_fn() -> Callable[[Any, Any, Any], None]:
    """A function for `AveragedModel`'s `multi_avg_fn`: the equal average of all models."""
    return lambda averaged, present, count: _mix(averaged, present, 1 / (int(count) + 1))


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """A function for `AveragedModel`'s `avg_fn`: decay a + (1 - decay) p."""
    _check_decay(decay)
    return lucid.no_grad()(lambda a, p, count: a * decay + p * (1 - decay))


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """A function for `AveragedModel`'s `avg_fn`: the equal average of all models."""
    return lucid.no_grad()(lambda a, p, count: a + (p - a) / (count + 1))


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


class AveragedModel(nn.Module):
    """A copy of `model` whose weights become an average of what `update_parameters` is given.

    The first call copies; each later one mixes by `multi_avg_fn(averages, values, count)`, which
    writes into the averages, or by `avg_fn(average, value, count)`, which returns the new one; the
    default is the equal average. Buffers are averaged with `use_buffers`, else copied.

    >>> import lucid
    >>> model = lucid.nn.Linear(1, 1)
    >>> averaged = lucid.optim.swa_utils.AveragedModel(model)
    >>> averaged.update_parameters(model)
    >>> averaged.n_averaged
    tensor(1)
    """

    n_averaged: lucid.Tensor

    def __init__(
        self,
        model: nn.Module,
        device: Any = None,
        avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Callable[[Any, Any, Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", lucid.tensor(0, dtype=lucid.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: nn.Module) -> None:
        """Take `model` into the average."""

        def averaged_of(module: nn.Module) -> list[Any]:
            found: Iterable[Any] = module.parameters()
            if self.use_buffers:
                found = chain(found, module.buffers())
            return [x.detach() for x in found]

        averages, values = averaged_of(self.module), averaged_of(model)
        count = int(self.n_averaged.item())
        with lucid.no_grad():
            if count == 0:
                for a, p in zip(averages, values, strict=True):
                    a.copy_(p)
            elif self.avg_fn is None:
                mix = self.multi_avg_fn or get_swa_multi_avg_fn()
                if averages:
                    mix(averages, values, self.n_averaged)
            else:
                for a, p in zip(averages, values, strict=True):
                    a.copy_(self.avg_fn(a, p, self.n_averaged))
            if not self.use_buffers:
                for a, p in zip(self.module.buffers(), model.buffers(), strict=True):
                    a.copy_(p)
            self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: nn.Module, device: Any = None) -> None:
    """Set the running statistics of `model`'s batch norms to those of one pass over `loader`.

    A batch is a tensor, or a list or tuple whose first element is the model's input.

    >>> import lucid
    >>> model = lucid.nn.BatchNorm1d(1)
    >>> lucid.optim.swa_utils.update_bn([lucid.tensor([[1.0], [3.0]])], model)
    >>> model.running_mean
    tensor([2.])
    """
    norms = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not norms:
        return
    was_training = model.training
    model.train()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the equal average over all batches
        with lucid.no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, list | tuple) else batch
                model(x if device is None else x.to(device))
    finally:
        for norm, momentum in norms.items():
            norm.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """From the present rate to `swa_lr` in `anneal_epochs` epochs, by a cosine or a line.

    >>> import lucid
    >>> optimizer = lucid.optim.SGD([lucid.nn.Parameter(lucid.zeros(1))], lr=1.0)
    >>> scheduler = lucid.optim.swa_utils.SWALR(optimizer, swa_lr=0.5, anneal_epochs=2)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [0.75]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        targets = each_group("swa_lr", optimizer, swa_lr)
        for group, rate in zip(optimizer.param_groups, targets, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._part(step - 1), self._part(step)
        found = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            # The rate that this way started from.
            start = target if before == 1 else (group["lr"] - before * target) / (1 - before)
            found.append(target * now + start * (1 - now))
        return found

    def _part(self, step: int) -> float:
        """How much of the way is done."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2
