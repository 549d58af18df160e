"""Learning rates that change over time: `scheduler.step()` after each epoch, or each step.

Rates follow the recursive ("chainable") form: several schedulers on one optimizer multiply.
"""

from lucid.optim.lr_scheduler.base import LRScheduler, _LRScheduler
from lucid.optim.lr_scheduler.cosine import CosineAnnealingLR
from lucid.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    StepLR,
)
from lucid.optim.lr_scheduler.functions import LambdaLR, MultiplicativeLR
from lucid.optim.lr_scheduler.plateau import ReduceLROnPlateau
from lucid.optim.lr_scheduler.sequential import SequentialLR

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "_LRScheduler",
]
