"""Rates that go up and down: CyclicLR again and again, OneCycleLR once."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

from lucid.optim.lr_scheduler.base import (
    LRScheduler,
    check_optimizer,
    each_group,
    momentum_option,
    set_momentum,
    set_rate,
)
from lucid.optim.optimizer import Optimizer

MODES = {"triangular": "cycle", "triangular2": "cycle", "exp_range": "iterations"}


class CyclicLR(LRScheduler):
    """From `base_lr` up to `max_lr` in `step_size_up` steps, down in `step_size_down`, and again.

    The height is scaled by 1 ("triangular"), 1 / 2^(cycle - 1) ("triangular2"), gamma^step
    ("exp_range"), or `scale_fn` of the cycle or the step, as `scale_mode` says. With
    `cycle_momentum` momentum (or beta1) goes the other way, from `max_momentum` down to
    `base_momentum`. (Smith, 2017)

    >>> import lucid
    >>> optimizer = lucid.optim.SGD([lucid.nn.Parameter(lucid.zeros(1))], lr=1.0, momentum=0.9)
    >>> scheduler = lucid.optim.lr_scheduler.CyclicLR(optimizer, 1.0, 3.0, step_size_up=2)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [2.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Any,
        max_lr: Any,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.8,
        max_momentum: Any = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        if scale_fn is None and mode not in MODES:
            raise ValueError("mode is invalid and scale_fn is None")
        base_lrs = each_group("base_lr", optimizer, base_lr)
        self.max_lrs = each_group("max_lr", optimizer, max_lr)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom: Any = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else MODES[mode]
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = momentum_option(optimizer) == "betas"
            self.base_momentums = each_group("base_momentum", optimizer, base_momentum)
            self.max_momentums = each_group("max_momentum", optimizer, max_momentum)
        if last_epoch == -1:
            for i, group in enumerate(optimizer.param_groups):
                set_rate(group, base_lrs[i])
                if cycle_momentum:
                    set_momentum(group, momentum_option(optimizer), self.max_momentums[i])
                    group["max_momentum"] = self.max_momentums[i]
                    group["base_momentum"] = self.base_momentums[i]
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The height of the cycle or step x."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return 1 / 2.0 ** (x - 1) if self.mode == "triangular2" else self.gamma**x

    def get_lr(self) -> list[float]:
        self._warn_outside_step()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        rising = x <= self.step_ratio
        part = x / self.step_ratio if rising else (x - 1) / (self.step_ratio - 1)
        part *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            option = "betas" if self.use_beta1 else "momentum"
            for i, group in enumerate(self.optimizer.param_groups):
                low, high = self.base_momentums[i], self.max_momentums[i]
                set_momentum(group, option, high - (high - low) * part)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * part for low, high in pairs]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; a `scale_fn` that is a callable object by attributes."""
        state = super().state_dict()
        function = state["_scale_fn_custom"]
        plain = function is None or isinstance(function, FunctionType)
        state["_scale_fn_custom"] = None if plain else function.__dict__.copy()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        saved = state.pop("_scale_fn_custom")
        super().load_state_dict(state)
        if saved is not None:
            self._scale_fn_custom.__dict__.update(saved)


class OneCycleLR(LRScheduler):
    """From max_lr / div_factor up to max_lr, and down to a `final_div_factor`th of the start.

    The rise takes `pct_start` of `total_steps` (or epochs * steps_per_epoch); with `three_phase`
    as many steps lead back to the start and the rest to the end. Between, rates follow a cosine or
    a line ("linear"). With `cycle_momentum` momentum (or beta1) goes from `max_momentum` to
    `base_momentum` and back. (Smith and Topin, 2018)

    >>> import lucid
    >>> optimizer = lucid.optim.SGD([lucid.nn.Parameter(lucid.zeros(1))], lr=1.0, momentum=0.9)
    >>> scheduler = lucid.optim.lr_scheduler.OneCycleLR(optimizer, 2.0, total_steps=10)
    >>> for _ in range(2): optimizer.step(); scheduler.step()
    >>> scheduler.get_last_lr()
    [2.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = cycle_momentum and momentum_option(optimizer) == "betas"
        max_lrs = each_group("max_lr", optimizer, max_lr)
        highs = each_group("max_momentum", optimizer, max_momentum)
        lows = each_group("base_momentum", optimizer, base_momentum)
        if last_epoch == -1:
            for group, rate, high, low in zip(
                optimizer.param_groups, max_lrs, highs, lows, strict=True
            ):
                group["initial_lr"] = rate / div_factor
                group["max_lr"] = rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    set_momentum(group, momentum_option(optimizer), high)
                    group["max_momentum"] = high
                    group["base_momentum"] = low
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        self._warn_outside_step()
        step, phases = self.last_epoch, self._schedule_phases
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        i = next((i for i, p in enumerate(phases[:-1]) if step <= p["end_step"]), len(phases) - 1)
        begin = phases[i - 1]["end_step"] if i else 0.0
        part = (step - begin) / (phases[i]["end_step"] - begin)
        found = []
        for group in self.optimizer.param_groups:
            found.append(self._between(group, phases[i], "lr", part))
            if self.cycle_momentum:
                option = "betas" if self.use_beta1 else "momentum"
                set_momentum(group, option, self._between(group, phases[i], "momentum", part))
        return found

    def _between(
        self, group: dict[str, Any], phase: dict[str, Any], what: str, part: float
    ) -> float:
        start, end = group[phase["start_" + what]], group[phase["end_" + what]]
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (1 + math.cos(math.pi * part))
        return start + (end - start) * part


def _phases(steps: int, rise: float, three: bool) -> list[dict[str, Any]]:
    """Where each phase ends, and between which options of a group it goes."""

    def phase(end: float, lrs: tuple[str, str], momenta: tuple[str, str]) -> dict[str, Any]:
        names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
        return dict(zip(names, (end, *lrs, *momenta), strict=True))

    high, low = "max_momentum", "base_momentum"
    first = phase(rise * steps - 1, ("initial_lr", "max_lr"), (high, low))
    if not three:
        return [first, phase(steps - 1, ("max_lr", "min_lr"), (low, high))]
    back = phase(2 * rise * steps - 2, ("max_lr", "initial_lr"), (low, high))
    return [first, back, phase(steps - 1, ("initial_lr", "min_lr"), (high, high))]


def _total(total: int | None, epochs: int | None, each: int | None) -> int:
    if total is None and (epochs is None or each is None):
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    given = {"epochs": epochs, "steps_per_epoch": each} if total is None else {"total_steps": total}
    product = 1
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
        product *= value
    return product
