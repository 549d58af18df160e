"""Losses of element against element, as functions; the terms are those of loss_terms.py.

Called by lucid.nn.functional.
"""

import warnings
from math import log as log_of
from math import pi
from typing import Any

from lucid.dtypes import COMPLEX
from lucid.layout import broadcast_shapes
from lucid.ops.loss_terms import (
    absolute_error,
    binary_entropy,
    check_reduction,
    divergence,
    gaussian_term,
    hinge_term,
    huber_error,
    legacy,
    log_divergence,
    logit_entropy,
    loss_of,
    poisson_term,
    ranking_term,
    reduced,
    smooth_error,
    soft_margin_term,
    squared_error,
    weighted_logit_entropy,
)
from lucid.ops.view import reshape
from lucid.tracing import tracing


def _compare_sizes(name: str, x: Any, target: Any) -> None:
    """Shapes that broadcast are accepted, with a warning: it is rarely what was meant."""
    a, b = tuple(x.shape), tuple(target.shape)
    broadcast_shapes(name, a, b)
    if a != b:
        warnings.warn(
            f"{name}: the target's shape {b} differs from the input's {a}; they are broadcast",
            stacklevel=3,
        )


def _same_size(name: str, x: Any, target: Any) -> None:
    if tuple(x.shape) != tuple(target.shape):
        raise ValueError(
            f"{name}: target shape {tuple(target.shape)} differs from the input's {tuple(x.shape)}"
        )


def mse_loss(input, target, size_average=None, reduce=None, reduction: str = "mean", weight=None):
    """(x - target)^2, averaged, summed or as it is. `weight` multiplies each term.

    >>> import lucid
    >>> lucid.nn.functional.mse_loss(lucid.zeros(2), lucid.ones(2))
    tensor(1.)
    """
    _compare_sizes("mse_loss", input, target)
    reduction = legacy(reduction, size_average, reduce)
    return _weighted(squared_error, "mse_loss", (input, target), weight, reduction)


def l1_loss(input, target, size_average=None, reduce=None, reduction: str = "mean", weight=None):
    """|x - target|, averaged, summed or as it is. `weight` multiplies each term.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.l1_loss(lucid.tensor([1.0, 5.0]), lucid.zeros(2)).item()
    3.0
    """
    _compare_sizes("l1_loss", input, target)
    if COMPLEX in (input.dtype.category, target.dtype.category):  # the distance is real
        input = (input - target).abs()
        target = input.new_zeros(tuple(input.shape))
    reduction = legacy(reduction, size_average, reduce)
    return _weighted(absolute_error, "l1_loss", (input, target), weight, reduction)


def smooth_l1_loss(
    input, target, size_average=None, reduce=None, reduction: str = "mean", beta: float = 1.0
):
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.smooth_l1_loss(lucid.tensor([3.0]), lucid.tensor([0.0]), beta=2.0).item()
    2.0
    """
    _compare_sizes("smooth_l1_loss", input, target)
    reduction = legacy(reduction, size_average, reduce)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}; it must not be negative")
    if beta == 0:
        return loss_of(absolute_error, "smooth_l1_loss", (input, target), None, reduction)
    inputs = (input, target, float(beta))
    return loss_of(smooth_error, "smooth_l1_loss", inputs, None, reduction)


def huber_loss(input, target, reduction: str = "mean", delta: float = 1.0, weight=None):
    """d^2 / 2 where d = |x - target| < delta, else delta (d - delta / 2). Huber, 1964.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.huber_loss(lucid.tensor([3.0]), lucid.tensor([0.0])).item()
    2.5
    """
    _compare_sizes("huber_loss", input, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta is {delta}; it must be positive")
    inputs = (input, target, float(delta))
    return _weighted(huber_error, "huber_loss", inputs, weight, reduction)


def _weighted(term: Any, name: str, inputs: tuple, weight: Any, reduction: str) -> Any:
    """With weights "mean" divides by their sum."""
    if weight is None or reduction != "mean":
        return loss_of(term, name, inputs, weight, reduction)
    shape = broadcast_shapes(name, tuple(inputs[0].shape), tuple(inputs[1].shape))
    return loss_of(term, name, inputs, weight, "sum") / weight.expand(shape).sum()


def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean",
    pos_weight=None,
):  # fmt: skip
    """-(t log s(x) + (1 - t) log(1 - s(x))) with s the sigmoid, computed without overflow.

    `pos_weight` multiplies the first part, `weight` the whole; both broadcast.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.binary_cross_entropy_with_logits(lucid.zeros(2), lucid.ones(2))
    tensor(0.6931)
    """
    name = "binary_cross_entropy_with_logits"
    _same_size(name, input, target)
    reduction = legacy(reduction, size_average, reduce)
    if pos_weight is None:
        return loss_of(logit_entropy, name, (input, target), weight, reduction)
    return loss_of(weighted_logit_entropy, name, (input, target, pos_weight), weight, reduction)


def binary_cross_entropy(
    input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean"
):
    """-(t log x + (1 - t) log(1 - x)) for probabilities x; logarithms are cut at -100.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.binary_cross_entropy(lucid.tensor([1.0, 0.0]), lucid.tensor([1.0, 0.0])).item()
    0.0
    """
    _same_size("binary_cross_entropy", input, target)
    reduction = legacy(reduction, size_average, reduce)
    return loss_of(binary_entropy, "binary_cross_entropy", (input, target), weight, reduction)


def kl_div(
    input, target, size_average=None, reduce=None, reduction: str = "mean", log_target: bool = False
):
    """target (log target - x) for log-probabilities x; "batchmean" divides by the first size.

    With `log_target` the target is a logarithm. Kullback and Leibler, 1951.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.kl_div(lucid.zeros(2), lucid.ones(2), reduction="sum").item()
    0.0
    """
    reduction = legacy(reduction, size_average, reduce)
    term = log_divergence if log_target else divergence
    if reduction != "batchmean":
        return loss_of(term, "kl_div", (input, target), None, reduction)
    total = loss_of(term, "kl_div", (input, target), None, "sum")
    return total / input.shape[0] if input.ndim else total


def poisson_nll_loss(
    input, target, log_input: bool = True, full: bool = False, size_average=None,
    eps: float = 1e-8, reduce=None, reduction: str = "mean",
):  # fmt: skip
    """e^x - t x, or without `log_input` x - t log(x + eps): -log of Poisson's probability of t.

    `full` adds Stirling's t log t - t + log(2 pi t) / 2 for targets above 1.

    >>> import lucid
    >>> lucid.nn.functional.poisson_nll_loss(lucid.zeros(2), lucid.ones(2)).item()
    1.0
    """
    reduction = legacy(reduction, size_average, reduce)
    inputs, params = (input, target, float(eps)), (bool(log_input), bool(full))
    return loss_of(poisson_term, "poisson_nll_loss", inputs, None, reduction, params)


def gaussian_nll_loss(
    input, target, var, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
):
    """(log v + (x - t)^2 / v) / 2 with v = max(var, eps); `full` adds log(2 pi) / 2.

    var: of x's shape, or with sizes of 1, or without the last dimension, or a number. Raises
    ValueError where it does not fit or is negative; a compiled function does not look at its
    numbers. Nix and Weigend, 1994.

    >>> import lucid
    >>> x = lucid.zeros(2)
    >>> lucid.nn.functional.gaussian_nll_loss(x, x, lucid.ones(2)).item()
    0.0
    """
    if isinstance(var, (int, float)):
        var = input.new_full(tuple(input.shape), float(var))
    shape = tuple(input.shape)
    if tuple(var.shape) != shape:
        if shape[:-1] == tuple(var.shape):
            var = reshape(var, (*var.shape, 1))
        elif len(shape) != var.ndim or any(
            v not in (1, n) for v, n in zip(var.shape, shape, strict=True)
        ):
            raise ValueError(
                f"gaussian_nll_loss: var of shape {tuple(var.shape)} for an input {shape}"
            )
    if tracing() is None and bool((var < 0).any()):
        raise ValueError("gaussian_nll_loss: var has negative entries")
    check_reduction(reduction, "gaussian_nll_loss")
    inputs = (input, target, var, float(eps))
    if not full:
        return loss_of(gaussian_term, "gaussian_nll_loss", inputs, None, reduction)
    terms = loss_of(gaussian_term, "gaussian_nll_loss", inputs, None, "none")
    return reduced(terms + 0.5 * log_of(2 * pi), reduction, "gaussian_nll_loss")


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction: str = "mean"):
    """log(1 + e^(-t x)) for targets t of 1 and -1.

    >>> import lucid
    >>> lucid.nn.functional.soft_margin_loss(lucid.zeros(2), lucid.ones(2))
    tensor(0.6931)
    """
    reduction = legacy(reduction, size_average, reduce)
    return loss_of(soft_margin_term, "soft_margin_loss", (input, target), None, reduction)


def hinge_embedding_loss(
    input, target, margin: float = 1.0, size_average=None, reduce=None, reduction: str = "mean"
):
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> import lucid
    >>> F = lucid.nn.functional
    >>> F.hinge_embedding_loss(lucid.tensor([0.5, 0.5]), lucid.tensor([1.0, -1.0])).item()
    0.5
    """
    reduction = legacy(reduction, size_average, reduce)
    inputs = (input, target, float(margin))
    return loss_of(hinge_term, "hinge_embedding_loss", inputs, None, reduction)


def margin_ranking_loss(
    input1, input2, target, margin: float = 0, size_average=None, reduce=None,
    reduction: str = "mean",
):  # fmt: skip
    """max(0, margin - t (x1 - x2)): x1 shall be larger where t is 1, smaller where it is -1.

    >>> import lucid
    >>> F, x = lucid.nn.functional, lucid.tensor([2.0])
    >>> F.margin_ranking_loss(x, x + 1, lucid.ones(1)).item()
    1.0
    """
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            f"margin_ranking_loss: inputs {tuple(input1.shape)}, {tuple(input2.shape)} and target "
            f"{tuple(target.shape)} must have the same number of dimensions"
        )
    reduction = legacy(reduction, size_average, reduce)
    inputs = (input1, input2, target, float(margin))
    return loss_of(ranking_term, "margin_ranking_loss", inputs, None, reduction)
