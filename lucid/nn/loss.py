"""Losses as modules. Called by users' training loops; the formulas are lucid.nn.functional's."""

from __future__ import annotations

import warnings

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module


class _Loss(Module):
    """A loss with a reduction: "mean", "sum" or "none"."""

    reductions: tuple[str, ...] = ("mean", "sum", "none")

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            reduction = _reduction_of(size_average, reduce)
        if reduction not in self.reductions:
            raise ValueError(f"{reduction} is not a valid value for reduction")
        self.reduction = reduction


class _WeightedLoss(_Loss):
    def __init__(
        self,
        weight: lucid.Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class L1Loss(_Loss):
    """|x - target|, reduced.

    >>> import lucid
    >>> lucid.nn.L1Loss()(lucid.tensor([1.0, 3.0]), lucid.tensor([2.0, 1.0])).item()
    1.5
    """

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(_Loss):
    """(x - target)^2, reduced.

    >>> import lucid
    >>> lucid.nn.MSELoss()(lucid.tensor([1.0, 3.0]), lucid.tensor([2.0, 1.0])).item()
    2.5
    """

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class NLLLoss(_WeightedLoss):
    """-weight[t] x[t] for log-probabilities x: (N, C, ...) and classes t: (N, ...).

    The mean is weighted; targets equal to `ignore_index` do not count.

    >>> import lucid
    >>> lucid.nn.NLLLoss()(lucid.tensor([[-1.0, -2.0]]), lucid.tensor([1])).item()
    2.0
    """

    def __init__(
        self,
        weight: lucid.Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class CrossEntropyLoss(_WeightedLoss):
    """-log softmax(x)[t] for scores x: (N, C, ...) and classes t: (N, ...) or probabilities.

    `label_smoothing` e mixes the target with the uniform distribution, weight e (Szegedy et al.,
    2016); the mean is weighted; targets equal to `ignore_index` do not count.

    >>> import lucid
    >>> round(lucid.nn.CrossEntropyLoss()(lucid.zeros(1, 2), lucid.tensor([0])).item(), 4)
    0.6931
    """

    def __init__(
        self,
        weight: lucid.Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class BCEWithLogitsLoss(_Loss):
    """-weight (pos_weight t log s(x) + (1 - t) log(1 - s(x))), s the sigmoid, t of x's shape.

    >>> import lucid
    >>> round(lucid.nn.BCEWithLogitsLoss()(lucid.zeros(2), lucid.ones(2)).item(), 4)
    0.6931
    """

    def __init__(
        self,
        weight: lucid.Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: lucid.Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


def _reduction_of(size_average: bool | None, reduce: bool | None) -> str:
    """The reduction that the two arguments of old programs stand for."""
    mean = size_average is None or size_average
    reduction = "none" if reduce is False else "mean" if mean else "sum"
    warnings.warn(
        "size_average and reduce args will be deprecated, please use "
        f"reduction='{reduction}' instead.",
        stacklevel=4,
    )
    return reduction
