"""LRScheduler, the base class, and how rates are read and set. The files beside it use it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from typing import Any

import lucid
from lucid.optim.optimizer import Optimizer
from lucid.tracing import compiling

EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where "
    "possible. Please use `scheduler.step()` to step the scheduler."
)
_ORDER_WARNING = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. You should call them in "
    "the opposite order: `optimizer.step()` before `lr_scheduler.step()`; otherwise the first "
    "value of the learning rate schedule is skipped."
)


class LRScheduler:
    """Base class: counts epochs in `last_epoch` and sets each group's "lr" to `get_lr()`.

    A subclass defines `get_lr`, the next rates from the present ones. `last_epoch` other than -1
    resumes: the groups then need "initial_lr".
    """

    _schedulers: list[Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in cls.__dict__:
            cls.step = _in_python(cls.__dict__["step"])  # type: ignore[method-assign]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    "scheduler with last_epoch >= 0: load the optimizer's state first, or leave "
                    "last_epoch at -1 for a new run"
                )
        self.base_lrs = [copied(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._get_lr_called_within_step = False
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def get_lr(self) -> list[float]:
        """The rates at `last_epoch`, one a group; called by `step` only."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def get_last_lr(self) -> list[float]:
        """The rates set last."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go on by one epoch; called after `optimizer.step()`."""
        if self._step_count == 1 and not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(_ORDER_WARNING, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
        try:
            values = self.get_lr() if closed is None else closed()
        finally:
            self._get_lr_called_within_step = False
        set_rates(self.optimizer, values)
        self._last_lr = rates(self.optimizer)

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)


def _in_python(step: Any) -> Any:
    """`step`, which a compiled program leaves to Python: it changes rates, and no tensor."""

    @functools.wraps(step)
    def stepped(self: LRScheduler, *args: Any, **kwargs: Any) -> Any:
        if (tracer := compiling()) is None:
            return step(self, *args, **kwargs)
        if any(isinstance(a, lucid.Tensor) for a in (*args, *kwargs.values())):
            tracer.refuse("scheduler.step of a tensor", "call it after the compiled function")
        return tracer.host.scheduler(self, lambda: step(self, *args, **kwargs))

    return stepped


LRScheduler.step = _in_python(LRScheduler.step)  # type: ignore[method-assign]

_LRScheduler = LRScheduler  # its name in older programs


def check_optimizer(optimizer: object) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def copied(rate: Any) -> Any:
    return rate.clone() if isinstance(rate, lucid.Tensor) else rate


def rates(optimizer: Optimizer) -> list[Any]:
    return [copied(group["lr"]) for group in optimizer.param_groups]


def scaled(optimizer: Optimizer, factor: float) -> list[Any]:
    return [group["lr"] * factor for group in optimizer.param_groups]


def set_rates(optimizer: Optimizer, rates: Iterable[Any]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        set_rate(group, rate)


def set_rate(group: dict[str, Any], rate: Any) -> None:
    if isinstance(group["lr"], lucid.Tensor):
        group["lr"].fill_(float(rate))
    else:
        group["lr"] = rate


def each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """An option as a list with one value for each group."""
    count = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. "
            f"{name} has {len(value)} values, param_groups has {count}."
        )
    return list(value)


def momentum_option(optimizer: Optimizer) -> str:
    """The option that a cycle of momentum changes: "betas", whose first it is, or "momentum"."""
    for name in ("betas", "momentum"):
        if name in optimizer.defaults:
            return name
    raise ValueError(
        "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
    )


def set_momentum(group: dict[str, Any], option: str, value: float) -> None:
    group[option] = (value, *group["betas"][1:]) if option == "betas" else value
