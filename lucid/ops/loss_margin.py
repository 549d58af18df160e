"""Losses with margins between classes or between vectors, and the linear cross-entropy.

Compositions of ops. Called by lucid.nn.functional.
"""

import math
from collections.abc import Callable
from typing import Any

from lucid.dtypes import FLOATING, bool_
from lucid.lazy import lazy
from lucid.ops.cast import to_dtype
from lucid.ops.contract import linear
from lucid.ops.creation import ones
from lucid.ops.distance import distance_check, pairwise_distance
from lucid.ops.elementwise import minimum, where
from lucid.ops.gather import gather_, scatter_zeros
from lucid.ops.join import cat
from lucid.ops.loss import cross_entropy
from lucid.ops.loss_terms import check_reduction, legacy, reduced
from lucid.ops.reduce import sum_
from lucid.ops.scan import cumprod
from lucid.ops.transcendental import logsigmoid
from lucid.ops.view import reshape

_checkpoint = lazy("lucid.autograd.checkpoint")


def cosine_embedding_loss(
    input1, input2, target, margin: float = 0, size_average=None, reduce=None,
    reduction: str = "mean",
):  # fmt: skip
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    x1, x2 (N, D) with target (N,), or (D,) with target ().

    >>> import lucid
    >>> F, x = lucid.nn.functional, lucid.ones(1, 2)
    >>> F.cosine_embedding_loss(x, x, lucid.tensor([-1])).item()
    1.0
    """
    if target.ndim != input1.ndim - 1 or input1.ndim != input2.ndim or target.ndim > 1:
        raise RuntimeError(
            f"cosine_embedding_loss: inputs {tuple(input1.shape)}, {tuple(input2.shape)} and "
            f"target {tuple(target.shape)}: (N, D), (N, D), (N,) or (D,), (D,), () are needed"
        )
    d = (target.ndim,)
    tiny = 1e-12  # as in PyTorch: added to the squares, so that zero vectors have a cosine of 0
    dots = sum_(input1 * input2, d, False)
    squares = (sum_(input1 * input1, d, False) + tiny) * (sum_(input2 * input2, d, False) + tiny)
    cosine = dots / squares.sqrt()
    near = where(target == 1, 1.0 - cosine, 0.0)
    far = where(target == -1, (cosine - margin).clamp(min=0), 0.0)
    return reduced(near + far, legacy(reduction, size_average, reduce), "cosine_embedding_loss")


def multi_margin_loss(
    input, target, p: int = 1, margin: float = 1.0, weight=None, size_average=None, reduce=None,
    reduction: str = "mean",
):  # fmt: skip
    """sum over classes i != t of weight[t] max(0, margin - x[t] + x[i])^p / C, p 1 or 2.

    x (N, C) with target (N,), or (C,) with target ().

    >>> import lucid
    >>> F = lucid.nn.functional
    >>> F.multi_margin_loss(lucid.tensor([[1.0, 0.5]]), lucid.tensor([0])).item()
    0.25
    """
    name = "multi_margin_loss"
    reduction = legacy(reduction, size_average, reduce)
    check_reduction(reduction, name)
    if p not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2, got {p}")
    x, t, single = _rows(name, input, target, 0)
    classes = x.shape[1]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(f"{name}: weight {tuple(weight.shape)} for {classes} classes")
    places = reshape(t, (t.shape[0], 1))
    terms = (margin - gather_(x, places, 1) + x).clamp(min=0)
    terms = terms * terms if p == 2 else terms
    if weight is not None:
        terms = terms * reshape(weight[t], (t.shape[0], 1))
    others = scatter_zeros(ones(*places.shape), places, tuple(x.shape), 1) == 0
    loss = sum_(where(others, terms, 0.0), (1,), False) / classes
    return reshape(loss, ()) if single and reduction == "none" else reduced(loss, reduction, name)


def _rows(name: str, x: Any, t: Any, rank: int) -> tuple[Any, Any, bool]:
    """(N, C) scores and (N,) or (N, L) targets, from a single sample or a single class too."""
    single = x.ndim <= 1
    if single and t.ndim <= 1 and t.numel() == (x.numel() if rank else 1):
        x = reshape(x, (1, x.numel()))
        t = reshape(t, (1, t.numel()) if rank else (1,))
    if x.ndim != 2 or t.ndim != 1 + rank or t.shape[0] != x.shape[0]:
        raise RuntimeError(
            f"{name}: targets of shape {tuple(t.shape)} do not fit scores of shape {tuple(x.shape)}"
        )
    if t.dtype.category == FLOATING:
        raise RuntimeError(f"{name}: targets must be class indices, got {t.dtype!r}")
    return x, t, single


def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction: str = "mean"):
    """sum over targets j and other classes i of max(0, 1 - (x[j] - x[i])) / C.

    target (N, C): class indices, then -1; what follows the first -1 does not count.

    >>> import lucid
    >>> F = lucid.nn.functional
    >>> F.multilabel_margin_loss(lucid.tensor([[1.0, 0.5]]), lucid.tensor([[0, -1]])).item()
    0.25
    """
    name = "multilabel_margin_loss"
    reduction = legacy(reduction, size_average, reduce)
    x, t, single = _rows(name, input, target, 1)
    if tuple(t.shape) != tuple(x.shape):
        raise RuntimeError(f"{name}: target {tuple(t.shape)} for scores {tuple(x.shape)}")
    n, classes = tuple(x.shape)
    there = to_dtype(cumprod(to_dtype(t >= 0, t.dtype), 1), bool_)
    places = where(there, t, 0)
    counts = scatter_zeros(to_dtype(there, x.dtype), places, (n, classes), 1)
    gaps = 1.0 - reshape(gather_(x, places, 1), (n, classes, 1)) + reshape(x, (n, 1, classes))
    pairs = reshape(there, (n, classes, 1)) & reshape(counts == 0, (n, 1, classes))
    loss = sum_(where(pairs, gaps.clamp(min=0), 0.0), (1, 2), False) / classes
    return reshape(loss, ()) if single and reduction == "none" else reduced(loss, reduction, name)


def multilabel_soft_margin_loss(
    input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean"
):
    """-mean over classes of weight (t log s(x) + (1 - t) log s(-x)), s the sigmoid.

    >>> import lucid
    >>> lucid.nn.functional.multilabel_soft_margin_loss(lucid.zeros(1, 2), lucid.ones(1, 2))
    tensor(0.6931)
    """
    terms = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    terms = terms if weight is None else terms * weight
    loss = terms.mean(-1)
    reduction = legacy(reduction, size_average, reduce)
    return reduced(loss, reduction, "multilabel_soft_margin_loss")


def triplet_margin_loss(
    anchor, positive, negative, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average=None, reduce=None, reduction: str = "mean",
):  # fmt: skip
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm of a difference.

    With `swap` the negative's distance is the smaller one of those to anchor and positive.
    Balntas et al., 2016.

    >>> import lucid
    >>> x = lucid.zeros(1, 2)
    >>> lucid.nn.functional.triplet_margin_loss(x, x, x).item()
    1.0
    """

    def distance(a: Any, b: Any) -> Any:
        return pairwise_distance(a, b, p, eps)

    name = "triplet_margin_loss"
    reduction = legacy(reduction, size_average, reduce)
    return _triplets(name, (anchor, positive, negative), distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor, positive, negative, *, distance_function: Callable | None = None,
    margin: float = 1.0, swap: bool = False, reduction: str = "mean",
):  # fmt: skip
    """`triplet_margin_loss` with any distance of two tensors; pairwise_distance by default.

    >>> import lucid
    >>> F, x = lucid.nn.functional, lucid.zeros(1, 2)
    >>> d = lambda a, b: (a - b).abs().amax(1)
    >>> F.triplet_margin_with_distance_loss(x, x, x + 3, distance_function=d).item()
    0.0
    """
    distance = pairwise_distance if distance_function is None else distance_function
    name = "triplet_margin_with_distance_loss"
    return _triplets(name, (anchor, positive, negative), distance, margin, swap, reduction)


def _triplets(
    name: str, xs: tuple, distance: Callable, margin: float, swap: bool, reduction: str
) -> Any:
    anchor, positive, negative = xs
    distance_check(name, *xs)
    if margin <= 0:
        raise ValueError(f"{name}: margin must be greater than 0, got {margin}")
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced((margin + near - far).clamp(min=0), reduction, name)


def linear_cross_entropy(
    input, linear_weight, target, *, linear_bias=None, weight=None, reduction: str = "mean",
    ignore_index: int | None = None, label_smoothing: float = 0.0, options=None,
):  # fmt: skip
    """cross_entropy(linear(x, linear_weight, linear_bias), target).

    x (N, F) or (F,), linear_weight (C, F) or (C, d1, .., F), linear_bias of its shape without F.
    options: an nn.LinearCrossEntropyOptions asks for a computation in chunks of rows, whose scores
    are dropped, and computed again by backward: all N C of them never exist at one time. The value
    is the same, but for the order in which the losses are added up.

    >>> import lucid
    >>> F = lucid.nn.functional
    >>> F.linear_cross_entropy(lucid.zeros(1, 3), lucid.ones(2, 3), lucid.tensor([1]))
    tensor(0.6931)
    """
    classes, *more, features = tuple(linear_weight.shape)
    if more and input.ndim == 1:
        raise RuntimeError(
            f"linear_cross_entropy: a weight of shape {tuple(linear_weight.shape)} needs a batch "
            f"(N, {features}), got {tuple(input.shape)}"
        )
    if ignore_index is not None and target.dtype.category == FLOATING:
        raise RuntimeError("linear_cross_entropy: ignore_index needs targets of class indices")
    count = math.prod(more, start=classes)
    bias = None if linear_bias is None else reshape(linear_bias, (count,))
    flat = reshape(linear_weight, (count, features))
    ignored = -100 if ignore_index is None else ignore_index

    def loss(x: Any, flat: Any, bias: Any, target: Any, how: str) -> Any:
        scores = reshape(linear(x, flat, bias), (*x.shape[:-1], classes, *more))
        return cross_entropy(
            scores, target, weight=weight, ignore_index=ignored, reduction=how,
            label_smoothing=label_smoothing,
        )  # fmt: skip

    rows = 0 if input.ndim == 1 else input.shape[0]
    size = rows if options is None else options.rows(rows, features, classes)
    if size >= rows:
        return loss(input, flat, bias, target, reduction)
    check_reduction(reduction, "linear_cross_entropy")
    how = "none" if reduction == "none" else "sum"
    parts = []
    for start in range(0, rows, size):
        x, t = input[start : start + size], target[start : start + size]
        parts.append(_checkpoint.checkpoint(loss, x, flat, bias, t, how, preserve_rng_state=False))
    if reduction == "none":
        return cat(parts)
    total = sum(parts[1:], parts[0])
    if reduction == "sum":
        return total
    if target.dtype.category == FLOATING:
        return total * (1.0 / (rows * math.prod(more)))
    counts = where(target == ignored, 0.0, 1.0).to(total.dtype)
    if weight is not None:
        inside = where(target == ignored, 0, target)
        counts = counts * weight[inside]
    return total / counts.sum()
