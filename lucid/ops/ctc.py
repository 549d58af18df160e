"""Connectionist temporal classification: the probability of a label sequence over all alignments.

Graves et al., 2006. Forward and backward variables in logarithms, one native call for each frame.
Called by lucid.nn.functional.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid.dtypes import FLOATING, INTEGER, bool_, int64
from lucid.kernel import expr
from lucid.kernel.expr import Expr, math
from lucid.kernel.loops import Map, Store
from lucid.op import Composite, Opaque
from lucid.ops.cast import to_dtype
from lucid.ops.creation import tensor, zeros
from lucid.ops.elementwise import where
from lucid.ops.gather import scatter_plus
from lucid.ops.loss_terms import check_reduction
from lucid.ops.transcendental import exp
from lucid.ops.unroll import at_time, moving, walk
from lucid.ops.view import expand, reshape, with_batch, without_batch
from lucid.plan.copies import copy_step
from lucid.plan.nest import Nest, array_of, step
from lucid.plan.steps import Operand, Step

LOWEST = float("-inf")


class Variables(Opaque, abstract=True):
    """Log-probabilities (T + 1, N, S) of paths to, or from, each state s at each time.

    x (T, N, C) log-probabilities; labels (N, S): blank, first label, blank, ...; skip (N, S): a
    path may come from two states before; inside (T, N): frames that count; start (N, S): the
    variables at the end where they are known.
    """

    public = False
    label = "ctc_loss"

    def names(x, labels, skip, inside, start):
        pass

    def infer(types, params):
        return [((types[0][0][0] + 1, *types[1][0]), types[0][1])]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        x, labels, skip, inside, start = inputs
        y, frames = outputs[0], x.shape[0]
        if 0 in y.shape:
            return []
        first, after = cls.ends(frames)
        places = {"y0": y, "x0": x, "x1": labels, "x2": skip, "x3": inside, "x4": y}
        # At time 0: the frame is frame 0; where y is written and read differs by one.
        now = {n: at_time(o, 0) if n in ("x0", "x3") else o for n, o in places.items()}
        now["y0"], now["x4"] = at_time(y, after), at_time(y, 1 - after)
        nest = _state_step(now, cls.neighbours)
        made = moving(nest, *((now[n], places[n]) for n in ("y0", "x0", "x3", "x4")))
        times = range(frames) if after else range(frames - 1, -1, -1)
        return [copy_step(start, at_time(y, first)), walk("ctc", [(times, [made])])]

    def vjp_x(g):
        raise NotImplementedError("ctc_loss: its second derivative is not supported")


class ctc_alphas(Variables):
    """log p(paths that have passed states up to s after t frames)."""

    def ends(frames):
        return 0, 1

    @staticmethod
    def neighbours(s: Expr, size: Expr, skip: Any, states: Any, score: Any) -> list[Expr]:
        """Paths come from s, from s - 1, and over a blank from s - 2; all pay for s."""
        one, two = s >= 1, (s >= 2) & skip(s)
        paid = score(s)
        return [
            states(s) + paid,
            expr.where(one, states(expr.where(one, s - 1, s)) + paid, LOWEST),
            expr.where(two, states(expr.where(two, s - 2, s)) + paid, LOWEST),
        ]


class ctc_betas(Variables):
    """log p(paths from state s after t frames to the end)."""

    def ends(frames):
        return frames, 0

    @staticmethod
    def neighbours(s: Expr, size: Expr, skip: Any, states: Any, score: Any) -> list[Expr]:
        """Paths go to s, s + 1 and s + 2; each pays for where it goes."""
        one = s + 1 < size
        next_ = expr.where(one, s + 1, s)
        far = s + 2 < size
        second = expr.where(far, s + 2, s)
        far = far & skip(second)
        return [
            states(s) + score(s),
            expr.where(one, states(next_) + score(next_), LOWEST),
            expr.where(far, states(second) + score(second), LOWEST),
        ]


def _state_step(operands: dict[str, Operand], neighbours: Any) -> Step:
    """One frame: y0[n, s] from x4[n, .] and the scores x0[n, labels[n, .]]."""
    y, x, labels, skip, inside, before = (operands[n] for n in ("y0", "x0", "x1", "x2", "x3", "x4"))
    n, s = expr.index("i0"), expr.index("i1")
    kind = y.dtype

    def states(at: Expr) -> Expr:
        return expr.load("x4", (n, at), before.dtype)

    def score(at: Expr) -> Expr:
        return expr.load("x0", (n, expr.load("x1", (n, at), labels.dtype)), x.dtype)

    def allowed(at: Expr) -> Expr:
        return expr.load("x2", (n, at), skip.dtype)

    paths = neighbours(s, expr.size(y.shape[1]), allowed, states, score)
    high = expr.maximum(expr.maximum(paths[0], paths[1]), paths[2])
    safe = expr.where(high.eq(LOWEST), expr.zero(high), high)
    total = math("exp", paths[0] - safe) + math("exp", paths[1] - safe)
    value = math("log", total + math("exp", paths[2] - safe)) + safe
    counts = expr.load("x3", (n,), inside.dtype)
    value = expr.where(counts, expr.cast(value, kind), states(s))
    arrays = {name: array_of(name, o, "out" if name == "y0" else "in")
              for name, o in operands.items()}  # fmt: skip
    nest = Nest(
        "ctc", arrays, {"i0": y.shape[0], "i1": y.shape[1]}, ["i0", "i1"], [],
        [Map((), (Store("y0", (n, s), value),))], [],
    )  # fmt: skip
    return step(nest, "grid", operands)


class ctc_(Composite):
    """-log p(labels): (N,), from the variables at the last frame."""

    public = False
    hidden = ("alphas",)
    autocast = "float32"
    label = "ctc_loss"

    def forward(x, labels, skip, inside, start, end, *, zero):
        alphas = ctc_alphas(x, labels, skip, inside, start)
        final = _final(alphas, end)
        high = final.amax(1)
        none = high == LOWEST
        safe = where(none, 0.0, high)
        loss = -(exp(final - reshape(safe, (labels.shape[0], 1))).sum(1).log() + safe)
        return (where(none, 0.0, loss) if zero else loss), alphas

    def vjp_x(g, x, labels, skip, inside, start, end, y, alphas, zero):
        frames, batch, _ = tuple(x.shape)
        states = labels.shape[1]
        betas = ctc_betas(x, labels, skip, inside, where(end, zeros(1, dtype=x.dtype), LOWEST))
        # How much of the probability passes each state in each frame.
        passed = exp(alphas[1:] + betas[1:] + reshape(y, (1, batch, 1)))
        at = expand(reshape(labels, (1, batch, states)), (frames, batch, states))
        occupied = scatter_plus(zeros(tuple(x.shape), dtype=x.dtype), passed, at, 2)
        # With e^x, as what comes before is a log_softmax: its own rule leaves this as it is.
        each = where(reshape(inside, (frames, batch, 1)), exp(x) - occupied, 0.0)
        if zero:
            g = where(_final(alphas, end).amax(1) == LOWEST, 0.0, g)
            each = where(reshape(g, (1, batch, 1)) == 0.0, 0.0, each)
        return each * reshape(g, (1, batch, 1))

    def axis_map(call):
        """The batch and the sequences as one; sequences are dimension 1 of x and inside."""
        given = [with_batch(v, int(i in (0, 3))) for i, v in enumerate(call.spread())]
        loss, alphas = call.run(given, call.params)
        return without_batch(loss, call.size, 0), without_batch(alphas, call.size, 1)


def _final(alphas: Any, end: Any) -> Any:
    """The variables of the states in which a path may end."""
    last = reshape(alphas[alphas.shape[0] - 1 :], tuple(end.shape))
    return where(end, last, LOWEST)


def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
):  # fmt: skip
    """-log p(targets | log_probs), summed over all alignments. Graves et al., 2006.

    log_probs (T, N, C) or (T, C), outputs of log_softmax; targets (N, L), or the N sequences one
    after the other; lengths (N,). "mean" divides each loss by its target's length first. With
    `zero_infinity` a target that does not fit into its frames gives 0 and no gradient.
    The gradient is that with respect to the input of the log_softmax, as in PyTorch.

    >>> import lucid
    >>> x = lucid.zeros(1, 1, 2).log_softmax(2)
    >>> lucid.nn.functional.ctc_loss(x, lucid.tensor([[1]]), [1], [1])
    tensor(0.6931)
    """
    check_reduction(reduction, "ctc_loss")
    single = log_probs.ndim == 2
    if single:
        log_probs = reshape(log_probs, (log_probs.shape[0], 1, log_probs.shape[1]))
        targets = reshape(targets, (1, targets.shape[0])) if targets.ndim == 1 else targets
    if log_probs.ndim != 3 or log_probs.dtype.category != FLOATING:
        raise RuntimeError(
            f"ctc_loss: floating log_probs (T, N, C) are needed, got {log_probs.dtype!r} of shape "
            f"{tuple(log_probs.shape)}"
        )
    frames, batch, classes = tuple(log_probs.shape)
    given = _lengths("input_lengths", input_lengths, batch, frames)
    wanted = _lengths("target_lengths", target_lengths, batch, None)
    if not 0 <= blank < classes:
        raise RuntimeError(f"ctc_loss: blank {blank} is not in [0, {classes})")
    labels = _labels(targets, wanted, blank, classes)
    skip = np.zeros(labels.shape, bool)
    skip[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
    states = np.arange(labels.shape[1])
    start = np.where(states == 0, 0.0, LOWEST)[None].repeat(batch, 0)
    last = 2 * wanted[:, None]
    end = (states == last) | (states == last - 1)
    inside = np.arange(frames)[:, None] < given
    kind = log_probs.dtype.compute
    loss = ctc_(
        to_dtype(log_probs, kind),
        tensor(labels, dtype=int64),
        tensor(skip, dtype=bool_),
        tensor(inside, dtype=bool_),
        tensor(start, dtype=kind),
        tensor(end, dtype=bool_),
        zero=bool(zero_infinity),
    )
    if reduction == "mean":
        loss = (loss / tensor(np.maximum(wanted, 1), dtype=loss.dtype)).mean()
    elif reduction == "sum":
        loss = loss.sum()
    elif single:
        loss = reshape(loss, ())
    return to_dtype(loss, log_probs.dtype)


def _lengths(name: str, lengths: Any, batch: int, most: int | None) -> np.ndarray:
    values = np.asarray(lengths.tolist() if hasattr(lengths, "tolist") else lengths, np.int64)
    values = values.reshape(-1)
    if len(values) != batch:
        raise RuntimeError(f"ctc_loss: {len(values)} {name} for a batch of {batch}")
    if (values < 0).any() or (most is not None and (values > most).any()):
        limit = "" if most is None else f" up to {most}, the number of frames"
        raise RuntimeError(f"ctc_loss: {name} must be 0 or more{limit}; got {values.tolist()}")
    return values


def _labels(targets: Any, lengths: np.ndarray, blank: int, classes: int) -> np.ndarray:
    """(N, 2 L + 1): blanks, and the targets between them."""
    if targets.dtype.category != INTEGER:
        raise RuntimeError(f"ctc_loss: targets must be integers, got {targets.dtype!r}")
    given = np.asarray(targets.tolist(), np.int64).reshape(tuple(targets.shape))
    longest = int(lengths.max()) if len(lengths) else 0
    rows: Sequence[np.ndarray]
    if given.ndim == 1:
        if len(given) != lengths.sum():
            raise RuntimeError(
                f"ctc_loss: {len(given)} targets, target_lengths add up to {lengths.sum()}"
            )
        rows = np.split(given, np.cumsum(lengths)[:-1])
    elif given.shape[0] != len(lengths) or given.shape[1] < longest:
        raise RuntimeError(
            f"ctc_loss: targets of shape {given.shape} for {len(lengths)} target_lengths up to "
            f"{longest}"
        )
    else:
        rows = [row[:n] for row, n in zip(given, lengths, strict=True)]
    made = np.full((len(lengths), 2 * longest + 1), blank)
    for row, labels in zip(made, rows, strict=True):
        if ((labels < 0) | (labels >= classes)).any():
            raise RuntimeError(f"ctc_loss: a target is not in [0, {classes})")
        row[1 : 2 * len(labels) + 1 : 2] = labels
    return made
