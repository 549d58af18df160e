"""CosineAnnealingLR: half a wave from the initial rate down to the smallest."""

from __future__ import annotations

import math

from lucid.optim.lr_scheduler.base import LRScheduler, rates
from lucid.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (initial lr - eta_min) (1 + cos(pi epoch / T_max)) / 2.

    (Loshchilov and Hutter, 2017, without restarts)

    >>> import lucid
    >>> optimizer = lucid.optim.SGD([lucid.nn.Parameter(lucid.zeros(1))], lr=1.0)
    >>> scheduler = lucid.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        self._warn_outside_step()
        present, low, epoch = rates(self.optimizer), self.eta_min, self.last_epoch
        if self._is_initial:
            return present
        if self._step_count == 1 and epoch > 0:  # resumed
            return self._get_closed_form_lr()
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # at the bottom the ratio is 0 / 0
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [
                rate + (base - low) * rise
                for rate, base in zip(present, self.base_lrs, strict=True)
            ]
        ratio = (1 + self._cosine(epoch)) / (1 + self._cosine(epoch - 1))
        return [ratio * (rate - low) + low for rate in present]

    def _get_closed_form_lr(self) -> list[float]:
        height = (1 + self._cosine(self.last_epoch)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def _cosine(self, epoch: int) -> float:
        return math.cos(math.pi * epoch / self.T_max)
