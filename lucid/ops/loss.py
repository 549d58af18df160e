"""Losses of classes: cross-entropy and negative log-likelihood.

Composites are plain functions of ops, fused by the planner; loss rows are one pass.
"""

from typing import Any

from lucid.dtypes import FLOATING, int64
from lucid.kernel import expr
from lucid.kernel.expr import checked
from lucid.op import ERROR_TARGET, Composite, Pointwise
from lucid.ops.cast import to_dtype
from lucid.ops.elementwise import where
from lucid.ops.loss_terms import check_reduction, legacy, reduced
from lucid.ops.normalize import log_softmax, variant_of
from lucid.ops.reduce import amax_, sum_
from lucid.ops.transcendental import exp, log
from lucid.ops.view import expand, reshape, with_batch, without_batch


class picked(Pointwise):
    """x[.., t, ..] along dimension 1: the score of the target class; a target that is ignored
    gives 0."""

    public = False

    def names(x, t, *, ignore):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        return [((shape[0], *shape[2:]), kind)]

    def element(types, index, loads, ignore):
        at, skip = _target(types[0][0][1], loads[1](index), ignore)
        x = loads[0]([index[0], at, *index[1:]])
        return expr.where(skip, expr.zero(x), x)

    def limits(types, params):
        return f" for {types[0][0][1]} classes"

    def vjp_x(g, x_meta, t, ignore):
        return placed(g, t, x_meta.shape[1], ignore)

    def axis_map(call):
        return _by_rows(call)


def _target(classes: int, t: Any, ignore: int) -> tuple:
    t = expr.cast(t, int64)
    skip = t.eq(ignore)
    good = (t >= 0) & (t < expr.size(classes))
    safe = expr.where(good, t, expr.ZERO)
    return checked(safe, good | skip, ERROR_TARGET, t), skip


class placed(Pointwise):
    """Zeros with g at the target class: the transpose of `picked`."""

    public = False

    def names(g, t, *, classes, ignore):
        pass

    def infer(types, params):
        shape = types[0][0]
        return [((shape[0], params[0], *shape[1:]), types[0][1])]

    def element(types, index, loads, classes, ignore):
        rest = [index[0], *index[2:]]
        t = expr.cast(loads[1](rest), int64)
        g = loads[0](rest)
        hit = index[1].eq(t) & t.ne(ignore)
        return expr.where(hit, g, expr.zero(g))

    def vjp_g(g, t, ignore):
        return picked(g, t, ignore)

    def axis_map(call):
        return _by_rows(call)


def _by_rows(call: Any) -> Any:
    """The batch and dimension 0 as one: rows know nothing of each other."""
    y = call.run([with_batch(v, 0) for v in call.spread()], call.params)
    return without_batch(y, call.size, 0)


class nll_(Composite):
    """Per element: -w[t] x[t], and the total of the weights w[t]."""

    public = False
    count = 2
    autocast = "float32"

    def forward(x, t, w, *, ignore, reduction):
        score = picked(x, t, ignore)
        weight = _weights(w, t, score, ignore)
        loss = -(score * weight)
        if reduction == "none":
            return loss, weight
        total = sum_(loss, tuple(range(len(loss.shape))), False)
        mass = sum_(weight, tuple(range(len(loss.shape))), False)
        return (total / mass if reduction == "mean" else total), mass

    def vjp_x(g, x_meta, t, w, y1, ignore, reduction):
        g = g / y1 if reduction == "mean" else g
        size = (x_meta.shape[0], *x_meta.shape[2:])
        g = g if reduction == "none" else expand(g, size)
        return placed(-(g * _weights(w, t, g, ignore)), t, x_meta.shape[1], ignore)


def _weights(w: Any, t: Any, like: Any, ignore: int) -> Any:
    """The weight of each target, 0 where it is ignored."""
    if w is None:
        return to_dtype(where(t == ignore, 0.0, 1.0), like.dtype)
    return class_weight(w, t, ignore)


class class_weight(Pointwise):
    """w[t], 0 where t is ignored."""

    public = False

    def names(w, t, *, ignore):
        pass

    def infer(types, params):
        return [(types[1][0], types[0][1])]

    def element(types, index, loads, ignore):
        at, skip = _target(types[0][0][0], loads[1](index), ignore)
        w = loads[0]([at])
        return expr.where(skip, expr.zero(w), w)

    def axis_map(call):
        if not call.batched[0]:
            return call.run(call.inputs, call.params)
        w, t = call.spread()  # weights for each element of the batch: those are picked
        count = t.numel() // max(call.size, 1)
        wide = expand(reshape(w, (*w.shape, 1)), (*w.shape, count))
        found = picked(wide, reshape(t, (call.size, count)), *call.params)
        return reshape(found, tuple(t.shape))


class cross_entropy_(Composite):
    """-log_softmax(x)[t] with class weights and label smoothing, averaged over the targets."""

    public = False
    count = 2
    hidden = ("lse",)
    autocast = "float32"

    def forward(x, t, w, *, ignore, reduction, smoothing):
        high = amax_(x, (1,), True)
        lse = log(sum_(exp(x - high), (1,), True)) + high
        flat = reshape(lse, (x.shape[0], *x.shape[2:]))
        weight = _weights(w, t, flat, ignore)
        loss = (where(t == ignore, 0.0, flat) - picked(x, t, ignore)) * weight
        if smoothing:
            each = _smooth_terms(x, lse, w)
            loss = loss * (1.0 - smoothing) + where(t == ignore, 0.0, each) * (
                smoothing / x.shape[1]
            )
        if reduction == "none":
            return loss, weight, lse
        dims = tuple(range(len(loss.shape)))
        total, mass = sum_(loss, dims, False), sum_(weight, dims, False)
        return (total / mass if reduction == "mean" else total), mass, lse

    def vjp_x(g, x, t, w, lse, y1, ignore, reduction, smoothing):
        g = g / y1 if reduction == "mean" else g
        size = (x.shape[0], *x.shape[2:])
        g = g if reduction == "none" else expand(g, size)
        gw = g * _weights(w, t, g, ignore)
        wide = (x.shape[0], 1, *x.shape[2:])
        p = exp(x - lse)
        gx = p * reshape(gw, wide) - placed(gw, t, x.shape[1], ignore)
        if smoothing:
            gs = reshape(where(t == ignore, 0.0, g), wide) * (smoothing / x.shape[1])
            rest = p * x.shape[1] - 1.0 if w is None else _weighted(p, w, x)
            gx = gx * (1.0 - smoothing) + gs * rest
        return gx


def _smooth_terms(x: Any, lse: Any, w: Any) -> Any:
    terms = lse - x
    if w is not None:
        terms = terms * reshape(w, (1, w.shape[0], *(1,) * (len(x.shape) - 2)))
    return sum_(terms, (1,), False)


def _weighted(p: Any, w: Any, x: Any) -> Any:
    wide = reshape(w, (1, w.shape[0], *(1,) * (len(x.shape) - 2)))
    return p * sum_(w, (0,), False) - wide


def _class_inputs(name: str, x: Any, t: Any, weight: Any) -> tuple[Any, Any]:
    """(N, C, ...) scores and (N, ...) targets, from (C,) and () too."""
    if x.ndim == 0:
        raise RuntimeError(f"{name}: scores need a class dimension")
    if t.dtype.category == FLOATING or t.dtype.name == "bool":
        raise RuntimeError(f"{name}: targets must be class indices (int64), got {t.dtype!r}")
    if x.ndim == 1:
        x, t = reshape(x, (1, x.shape[0])), reshape(t, (1,))
    if tuple(t.shape) != (x.shape[0], *x.shape[2:]):
        raise RuntimeError(
            f"{name}: targets of shape {tuple(t.shape)} do not fit scores of shape "
            f"{tuple(x.shape)}: ({x.shape[0]}, {', '.join(map(str, x.shape[2:]))}) is needed"
        )
    if weight is not None and tuple(weight.shape) != (x.shape[1],):
        raise RuntimeError(
            f"{name}: weight has shape {tuple(weight.shape)} for {x.shape[1]} classes"
        )
    return x, t


def cross_entropy(
    input, target, weight=None, size_average=None, ignore_index: int = -100, reduce=None,
    reduction: str = "mean", label_smoothing: float = 0.0,
):  # fmt: skip
    """-log softmax(x)[target] over the classes of dimension 1.

    target: class indices (N, ...) for x (N, C, ...), or probabilities of x's shape. "mean" divides
    by the sum of the targets' weights. Targets equal to ignore_index count nothing; any other
    outside of [0, C) raises IndexError.

    >>> import lucid
    >>> lucid.nn.functional.cross_entropy(lucid.zeros(1, 4), lucid.tensor([2]))
    tensor(1.3863)
    """
    reduction = legacy(reduction, size_average, reduce)
    check_reduction(reduction, "cross_entropy")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}, not in [0, 1]")
    if target.dtype.category == FLOATING:
        if ignore_index >= 0:
            raise RuntimeError(
                f"cross_entropy: ignore_index {ignore_index} needs targets of class indices, "
                f"got probabilities ({target.dtype!r})"
            )
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    scores, t = _class_inputs("cross_entropy", input, target, weight)
    variant = variant_of(cross_entropy_, weight is None, False)
    inputs = (scores, t) if weight is None else (scores, t, weight)
    params = (int(ignore_index), reduction, float(label_smoothing))
    loss = variant.dispatch(variant, inputs, params)[0]
    return reshape(loss, ()) if input.ndim == 1 and reduction == "none" else loss


def _soft_cross_entropy(x: Any, p: Any, weight: Any, reduction: str, smoothing: float) -> Any:
    if tuple(x.shape) != tuple(p.shape):
        raise RuntimeError(
            f"cross_entropy: probabilities of shape {tuple(p.shape)} for scores {tuple(x.shape)}"
        )
    d = 0 if x.ndim == 1 else 1
    if smoothing:
        p = p * (1.0 - smoothing) + smoothing / x.shape[d]
    terms = -log_softmax(x, d) * p
    if weight is not None:
        if tuple(weight.shape) != (x.shape[d],):
            raise RuntimeError(
                f"cross_entropy: weight has shape {tuple(weight.shape)} for {x.shape[d]} classes"
            )
        wide = tuple(x.shape[d] if i == d else 1 for i in range(x.ndim))
        terms = terms * reshape(weight, wide)
    loss = sum_(terms, (d,), False)
    if reduction == "mean":
        return loss.sum() / (loss.numel() if loss.ndim else 1)
    return reduced(loss, reduction, "cross_entropy")


def nll_loss(
    input, target, weight=None, size_average=None, ignore_index: int = -100, reduce=None,
    reduction: str = "mean",
):  # fmt: skip
    """-weight[target] x[target] for log-probabilities x (N, C, ...).

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.nll_loss(lucid.tensor([[-0.5, -2.0]]), lucid.tensor([1])).item()
    2.0
    """
    reduction = legacy(reduction, size_average, reduce)
    check_reduction(reduction, "nll_loss")
    scores, t = _class_inputs("nll_loss", input, target, weight)
    variant = variant_of(nll_, weight is None, False)
    inputs = (scores, t) if weight is None else (scores, t, weight)
    loss = variant.dispatch(variant, inputs, (int(ignore_index), reduction))[0]
    return reshape(loss, ()) if input.ndim == 1 and reduction == "none" else loss
