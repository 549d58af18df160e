"""Losses beyond classes and squared errors, as modules. Called by users' training loops; the
formulas are lucid.nn.functional's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.linear import Linear
from lucid.nn.loss import _Loss, _WeightedLoss


class BCELoss(_WeightedLoss):
    """-weight (t log x + (1 - t) log(1 - x)) for probabilities x, logarithms cut at -100.

    >>> import lucid
    >>> lucid.nn.BCELoss()(lucid.ones(2), lucid.ones(2)).item()
    0.0
    """

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """d^2 / (2 beta) where d = |x - t| < beta, else d - beta / 2.

    >>> import lucid
    >>> lucid.nn.SmoothL1Loss()(lucid.tensor([2.0]), lucid.zeros(1)).item()
    1.5
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """d^2 / 2 where d = |x - t| < delta, else delta (d - delta / 2) (Huber, 1964).

    >>> import lucid
    >>> lucid.nn.HuberLoss()(lucid.tensor([2.0]), lucid.zeros(1)).item()
    1.5
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class KLDivLoss(_Loss):
    """t (log t - x) for log-probabilities x; "batchmean" divides by the first size.

    >>> import lucid
    >>> lucid.nn.KLDivLoss(reduction="batchmean")(lucid.zeros(2, 1), lucid.ones(2, 1)).item()
    0.0
    """

    reductions = ("mean", "sum", "none", "batchmean")

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Loss):
    """e^x - t x, or without `log_input` x - t log(x + eps).

    >>> import lucid
    >>> lucid.nn.PoissonNLLLoss()(lucid.zeros(2), lucid.ones(2)).item()
    1.0
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.poisson_nll_loss(
            log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(_Loss):
    """(log v + (x - t)^2 / v) / 2 with v = max(var, eps) (Nix and Weigend, 1994).

    >>> import lucid
    >>> x = lucid.zeros(2)
    >>> lucid.nn.GaussianNLLLoss()(x, x, lucid.ones(2)).item()
    0.0
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(
        self, input: lucid.Tensor, target: lucid.Tensor, var: lucid.Tensor | float
    ) -> lucid.Tensor:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-t x)) for targets 1 and -1.

    >>> import lucid
    >>> round(lucid.nn.SoftMarginLoss()(lucid.zeros(2), lucid.ones(2)).item(), 4)
    0.6931
    """

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class _MarginLoss(_Loss):
    margin: float

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class HingeEmbeddingLoss(_MarginLoss):
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> import lucid
    >>> lucid.nn.HingeEmbeddingLoss()(lucid.tensor([0.25]), lucid.tensor([-1.0])).item()
    0.75
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_MarginLoss):
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    >>> import lucid
    >>> x = lucid.ones(1, 2)
    >>> lucid.nn.CosineEmbeddingLoss()(x, x, lucid.tensor([-1])).item()
    1.0
    """

    def forward(
        self, input1: lucid.Tensor, input2: lucid.Tensor, target: lucid.Tensor
    ) -> lucid.Tensor:
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


class MarginRankingLoss(_MarginLoss):
    """max(0, margin - t (x1 - x2)).

    >>> import lucid
    >>> x = lucid.tensor([2.0])
    >>> lucid.nn.MarginRankingLoss()(x, x + 1, lucid.ones(1)).item()
    1.0
    """

    def forward(
        self, input1: lucid.Tensor, input2: lucid.Tensor, target: lucid.Tensor
    ) -> lucid.Tensor:
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """sum over classes i != t of weight[t] max(0, margin - x[t] + x[i])^p / C.

    >>> import lucid
    >>> lucid.nn.MultiMarginLoss()(lucid.tensor([[1.0, 0.5]]), lucid.tensor([0])).item()
    0.25
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: lucid.Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.dim() != 1:
            raise AssertionError(f"weight must be None or 1-dimensional, got {weight.dim()}")
        self.p = p
        self.margin = margin

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(_Loss):
    """sum over targets j and other classes i of max(0, 1 - (x[j] - x[i])) / C.

    >>> import lucid
    >>> loss = lucid.nn.MultiLabelMarginLoss()
    >>> loss(lucid.tensor([[1.0, 0.5]]), lucid.tensor([[0, -1]])).item()
    0.25
    """

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """-mean over classes of weight (t log s(x) + (1 - t) log s(-x)), s the sigmoid.

    >>> import lucid
    >>> loss = lucid.nn.MultiLabelSoftMarginLoss()
    >>> round(loss(lucid.zeros(1, 2), lucid.ones(1, 2)).item(), 4)
    0.6931
    """

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) (Balntas et al., 2016).

    >>> import lucid
    >>> x = lucid.zeros(1, 2)
    >>> lucid.nn.TripletMarginLoss()(x, x, x).item()
    1.0
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead"
            )
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(
        self, anchor: lucid.Tensor, positive: lucid.Tensor, negative: lucid.Tensor
    ) -> lucid.Tensor:
        return F.triplet_margin_loss(
            *(anchor, positive, negative, self.margin, self.p, self.eps, self.swap),
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """TripletMarginLoss with any distance of two tensors.

    >>> import lucid
    >>> x = lucid.zeros(1, 2)
    >>> loss = lucid.nn.TripletMarginWithDistanceLoss(
    ...     distance_function=lambda a, b: (a - b).abs().amax(1))
    >>> loss(x, x, x + 3).item()
    0.0
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[lucid.Tensor, lucid.Tensor], lucid.Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ValueError(
                "TripletMarginWithDistanceLoss: expected margin to be greater than 0, got "
                f"{margin} instead"
            )
        self.distance_function = distance_function or F.pairwise_distance
        self.margin = margin
        self.swap = swap

    def forward(
        self, anchor: lucid.Tensor, positive: lucid.Tensor, negative: lucid.Tensor
    ) -> lucid.Tensor:
        return F.triplet_margin_with_distance_loss(
            *(anchor, positive, negative),
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class CTCLoss(_Loss):
    """-log p(targets | log_probs), summed over all alignments (Graves et al., 2006).

    >>> import lucid
    >>> x = lucid.zeros(1, 1, 2).log_softmax(2)
    >>> round(lucid.nn.CTCLoss()(x, lucid.tensor([[1]]), [1], [1]).item(), 4)
    0.6931
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(
        self, log_probs: lucid.Tensor, targets: lucid.Tensor, input_lengths: Any,
        target_lengths: Any,
    ) -> lucid.Tensor:  # fmt: skip
        return F.ctc_loss(
            *(log_probs, targets, input_lengths, target_lengths),
            *(self.blank, self.reduction, self.zero_infinity),
        )


@dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` cuts its rows into chunks, of which it holds one at a time.

    batch_chunk_size: rows in a chunk, None for what chunking_method says; both where they disagree
    raise. chunking_method: "aspect_ratio:k": chunks whose scores take 1/k of the bytes of the input
    (k = 1 where it is left out), rounded to a power of two; "auto" is "aspect_ratio:2", or what
    batch_chunk_size says; None: batch_chunk_size, or one chunk.

    The other fields choose in PyTorch between precision, memory and repeated passes, of which none
    excludes another here: every chunk is computed in acc_dtype or wider (float32 for 16 bits), no
    gradient is kept from the forward pass, and retain_graph and higher derivatives work.

    >>> import lucid
    >>> options = lucid.nn.LinearCrossEntropyOptions(batch_chunk_size=2)
    >>> loss = lucid.nn.LinearCrossEntropyLoss(3, 5, options=options)
    >>> loss(lucid.ones(7, 3), lucid.arange(7) % 5).shape
    lucid.Size([])
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        name = "LinearCrossEntropyOptions"
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            raise ValueError(f"{name}: invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto") and not self._factor():
            raise ValueError(f"{name}: invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ValueError(f"{name}: batch_chunk_size must be positive or None, got {size!r}")
        floating = (None, lucid.float16, lucid.bfloat16, lucid.float32, lucid.float64)
        if self.acc_dtype not in floating:
            raise ValueError(f"{name}: acc_dtype must be floating or None, got {self.acc_dtype!r}")

    def _factor(self) -> int:
        """k of "aspect_ratio:k"; 0 where the method is none."""
        name, colon, factor = (self.chunking_method or "").partition(":")
        factor = factor if colon else "1"
        return int(factor) if name == "aspect_ratio" and factor.isdigit() else 0

    def rows(self, rows: int, features: int, classes: int) -> int:
        """How many rows a chunk has."""
        asked = None if self.batch_chunk_size is None else min(self.batch_chunk_size, rows)
        if self.chunking_method is None or (self.chunking_method == "auto" and asked is not None):
            return rows if asked is None else asked
        factor = 2 if self.chunking_method == "auto" else self._factor()
        least = -(-rows // max(-(-classes // features), 1))
        size = max(min((1 << max(least - 1, 0).bit_length()) // factor, rows), 1)
        if asked is not None and asked != size:
            raise ValueError(
                f"linear_cross_entropy: batch_chunk_size {asked} and chunking_method "
                f"{self.chunking_method!r}, which gives {size}, disagree; pass one of them"
            )
        return size


class LinearCrossEntropyLoss(_WeightedLoss):
    """cross_entropy(linear(x), target), with the linear layer as `linear`.

    x (N, in_features) or (in_features,); `out_features` (d1, ..) asks for scores (N, C, d1, ..).
    `options`: a LinearCrossEntropyOptions, for a computation in chunks that takes less memory.

    >>> import lucid
    >>> loss = lucid.nn.LinearCrossEntropyLoss(3, 2)
    >>> loss(lucid.ones(1, 3), lucid.tensor([1])).shape
    lucid.Size([])
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: lucid.Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(
                f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}"
            )
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(
                f"expected label_smoothing to be in range [0, 1], got {label_smoothing}"
            )
        if options is not None and not isinstance(options, LinearCrossEntropyOptions):
            raise TypeError(
                "LinearCrossEntropyLoss: options must be a LinearCrossEntropyOptions, got "
                f"{type(options).__name__}"
            )
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.options = options
        count = math.prod(out_features, start=num_classes)
        self.linear = Linear(in_features, count, bias=bias, device=device, dtype=dtype)

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> lucid.Tensor:
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*shape, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}"
        )
