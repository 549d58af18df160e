"""Losses that are a sum of one term for each element: squared and absolute errors, binary
cross-entropy, Kullback-Leibler, Poisson and Gaussian likelihoods, hinges.

A term is an elementwise record; its sum or mean is a composite made of it, one kernel forward and
one backward. Called by lucid.nn.functional.
"""

from math import pi
from typing import Any

import numpy as np

from lucid.kernel.expr import math
from lucid.layout import broadcast_shapes
from lucid.op import Composite, Elementwise, OpMeta
from lucid.ops.elementwise import abs_, sign, where
from lucid.ops.normalize import count_of
from lucid.ops.reduce import sum_
from lucid.ops.transcendental import exp, log, sigmoid
from lucid.ops.view import expand

REDUCTIONS = ("none", "mean", "sum")


def legacy(reduction: str, size_average: Any, reduce: Any) -> str:
    """The reduction that PyTorch's two older arguments stand for, where they are given."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"


def reduced(x: Any, reduction: str, name: str) -> Any:
    """Terms as they are, their sum or their mean."""
    check_reduction(reduction, name)
    return x if reduction == "none" else x.sum() if reduction == "sum" else x.mean()


def check_reduction(reduction: str, name: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


class Term(Elementwise, abstract=True):
    """A loss of one element: inputs x and t, or more tensors, then numbers."""

    public = False
    result = "float"
    autocast = "float32"
    numbers: tuple[str, ...] = ()  # the inputs that are Python numbers


_TOTALS: dict[type[Term], Any] = {}


def total_of(term: type[Term]) -> Any:
    """The composite `sum of weight * term`, or its mean: one kernel for all.

    Made when it is first asked for; its rules are those of the term, on the cotangent spread over
    the elements.
    """
    if term not in _TOTALS:
        members: dict[str, Any] = {
            "arguments": (term.inputs, (*term.statics, "mean")),
            "forward": _forward_of(term),
            "public": False,
            "label": term.label,
            "autocast": "float32",
            "__doc__": f"The sum or the mean of {term.name}.",
        }
        members |= {f"vjp_{n}": _rule_of(term, n) for n in term.rules}
        _TOTALS[term] = OpMeta(f"{term.name}_total", (Composite,), members)
    return _TOTALS[term]


def _forward_of(term: type[Term]) -> Any:
    def forward(*inputs: Any, mean: bool, **static: Any) -> Any:
        terms = term.dispatch(term, inputs, tuple(static[n] for n in term.statics))
        total = sum_(terms, tuple(range(len(terms.shape))), False)
        count = count_of(terms.shape, range(len(terms.shape)))
        return total * (1.0 / count if count else float("nan")) if mean else total

    return forward


def _rule_of(term: type[Term], name: str) -> Any:
    rule = term.rules[name]
    tensors = [n for n in term.inputs if n not in term.numbers]

    def total_rule(**given: Any) -> Any:
        shape = broadcast_shapes(term.name, *(given[f"{n}_meta"].shape for n in tensors))
        g = given["g"]
        if given["mean"]:
            g = g * (1.0 / max(count_of(shape, range(len(shape))), 1))
        g = expand(g, shape)
        return rule.function(**{n: g if n == "g" else given[n] for n in rule.names})

    needs = (*rule.names, *(f"{n}_meta" for n in tensors), "mean")
    total_rule.needs = tuple(dict.fromkeys(("g", *needs)))  # type: ignore[attr-defined]
    return total_rule


def loss_of(
    term: type[Term],
    name: str,
    inputs: tuple,
    weight: Any,
    reduction: str,
    params: tuple | None = None,
) -> Any:
    """The terms of `inputs`, times `weight` where it is given, reduced."""
    check_reduction(reduction, name)
    params = (term.usual or ()) if params is None else params
    if weight is not None:
        return reduced(term.dispatch(term, inputs, params) * weight, reduction, name)
    if reduction == "none":
        return term.dispatch(term, inputs, params)
    total = total_of(term)
    return total.dispatch(total, inputs, (*params, reduction == "mean"))


class squared_error(Term):
    """(x - t)^2."""

    label = "mse_loss"

    def body(b, x, t):
        d = x - t
        return d * d

    def vjp_x(g, x, t):
        return g * ((x - t) * 2.0)

    def vjp_t(g, x, t):
        return g * ((t - x) * 2.0)

    def ref(x, t):
        return (x - t) ** 2


class absolute_error(Term):
    """|x - t|."""

    label = "l1_loss"

    def body(b, x, t):
        return abs(x - t)

    def vjp_x(g, x, t):
        return g * sign(x - t)

    def vjp_t(g, x, t):
        return g * sign(t - x)

    def ref(x, t):
        return np.abs(x - t)


class smooth_error(Term):
    """d^2 / (2 beta) where d = |x - t| < beta, else d - beta / 2."""

    label = "smooth_l1_loss"
    numbers = ("beta",)

    def body(b, x, t, beta):
        d = abs(x - t)
        return b.where(d < beta, d * d * 0.5 / beta, d - beta * 0.5)

    def vjp_x(g, x, t, beta):
        return g * _bounded(x - t, beta) / beta

    def vjp_t(g, x, t, beta):
        return g * _bounded(t - x, beta) / beta

    optional = {"beta": 1.0}
    domain_beta = (0.5, 2.0)

    def ref(x, t, beta=1.0):
        d = np.abs(x - t)
        return np.where(d < beta, d * d * 0.5 / beta, d - beta / 2)


def _bounded(d: Any, limit: Any) -> Any:
    """d cut to [-limit, limit]."""
    return where(d > limit, limit, where(d < -limit, -limit, d))


class huber_error(Term):
    """d^2 / 2 where d = |x - t| < delta, else delta (d - delta / 2). Huber, 1964."""

    label = "huber_loss"
    numbers = ("delta",)

    def body(b, x, t, delta):
        d = abs(x - t)
        return b.where(d < delta, d * d * 0.5, (d - delta * 0.5) * delta)

    def vjp_x(g, x, t, delta):
        return g * _bounded(x - t, delta)

    def vjp_t(g, x, t, delta):
        return g * _bounded(t - x, delta)

    optional = {"delta": 1.0}
    domain_delta = (0.5, 2.0)

    def ref(x, t, delta=1.0):
        d = np.abs(x - t)
        return np.where(d < delta, d * d * 0.5, (d - delta / 2) * delta)


def _log1p_exp(b: Any, x: Any) -> Any:
    """log(1 + e^x), without overflow."""
    return b.maximum(x, b.zero(x)) + math("log1p", math("exp", -abs(x)))


class logit_entropy(Term):
    """log(1 + e^x) - t x: binary cross-entropy of the probability sigmoid(x)."""

    label = "binary_cross_entropy_with_logits"

    def body(b, x, t):
        return _log1p_exp(b, x) - x * t

    def vjp_x(g, x, t):
        return g * (sigmoid(x) - t)

    def vjp_t(g, x):
        return -(g * x)

    def ref(x, t):
        return np.logaddexp(0, x) - x * t


class weighted_logit_entropy(Term):
    """(1 - t) x + (1 + (p - 1) t) log(1 + e^-x): positive targets count p times."""

    label = "binary_cross_entropy_with_logits"

    def body(b, x, t, p):
        return (1.0 - t) * x + ((p - 1.0) * t + 1.0) * _log1p_exp(b, -x)

    def vjp_x(g, x, t, p):
        return g * ((1.0 - t) - ((p - 1.0) * t + 1.0) * sigmoid(-x))

    def vjp_t(g, x, p):
        return g * ((p - 1.0) * _softplus(-x) - x)

    def vjp_p(g, x, t):
        return g * (t * _softplus(-x))

    def ref(x, t, p):
        return (1 - t) * x + (1 + (p - 1) * t) * np.logaddexp(0, -x)


def _softplus(x: Any) -> Any:
    return where(x > 0.0, x, 0.0) + log(exp(-abs_(x)) + 1.0)


class binary_entropy(Term):
    """-(t log x + (1 - t) log(1 - x)), logarithms cut at -100."""

    label = "binary_cross_entropy"

    def body(b, x, t):
        low = b.maximum(math("log", x), -100.0 + b.zero(x))
        high = b.maximum(math("log1p", -x), -100.0 + b.zero(x))
        return (t - 1.0) * high - t * low

    def vjp_x(g, x, t):
        spread = (1.0 - x) * x
        return g * (x - t) / where(spread < 1e-12, 1e-12, spread)

    def vjp_t(g, x):
        low, high = log(x), log(1.0 - x)
        return g * (where(high < -100.0, -100.0, high) - where(low < -100.0, -100.0, low))

    domain = (0.2, 0.8)

    def ref(x, t):
        return -(t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log1p(-x), -100))


class divergence(Term):
    """t (log t - x), 0 where t is 0. Kullback and Leibler, 1951."""

    label = "kl_div"

    def body(b, x, t):
        safe = b.where(t > 0.0, t, b.one(t))
        own = b.where(t < 0.0, math("log", t), t * math("log", safe))
        return own - t * x

    def vjp_x(g, t):
        return -(g * t)

    def vjp_t(g, x, t):
        return where(t.eq(0.0), -(g * x), g * (log(t) + 1.0 - x))

    domain_t = (0.1, 2.0)

    def ref(x, t):
        return t * np.log(t) - t * x


class log_divergence(Term):
    """e^t (t - x): the target t is a logarithm."""

    label = "kl_div"

    def body(b, x, t):
        return math("exp", t) * (t - x)

    def vjp_x(g, t):
        return -(g * exp(t))

    def vjp_t(g, x, t):
        return g * (exp(t) * (t - x + 1.0))

    def ref(x, t):
        return np.exp(t) * (t - x)


class poisson_term(Term):
    """e^x - t x, or x - t log(x + eps); `full` adds Stirling's t log t - t + log(2 pi t) / 2 for
    targets above 1."""

    label = "poisson_nll_loss"
    numbers = ("eps",)

    def body(b, x, t, eps, *, log_input=True, full=False):
        loss = math("exp", x) - t * x if log_input else x - t * math("log", x + eps)
        if not full:
            return loss
        safe = b.where(t > 1.0, t, b.one(t))
        more = safe * math("log", safe) - safe + math("log", safe * (2 * pi)) * 0.5
        return loss + b.where(t > 1.0, more, b.zero(t))

    def vjp_x(g, x, t, eps, log_input):
        return g * (exp(x) - t if log_input else 1.0 - t / (x + eps))

    def vjp_t(g, x, t, eps, log_input, full):
        slope = -x if log_input else -log(x + eps)
        if full:
            slope = slope + where(t > 1.0, log(t) + 0.5 / t, 0.0)
        return g * slope

    optional = {"eps": 1e-8}
    domain = (0.3, 3.0)

    def ref(x, t, eps=1e-8, log_input=True, full=False):
        return np.exp(x) - t * x


class gaussian_term(Term):
    """(log v + (x - t)^2 / v) / 2 with v = max(var, eps), whose gradient is that of var."""

    label = "gaussian_nll_loss"
    numbers = ("eps",)

    def body(b, x, t, var, eps):
        v = b.where(var < eps, eps, var)
        d = x - t
        return (math("log", v) + d * d / v) * 0.5

    def vjp_x(g, x, t, var, eps):
        return g * ((x - t) / where(var < eps, eps, var))

    def vjp_t(g, x, t, var, eps):
        return g * ((t - x) / where(var < eps, eps, var))

    def vjp_var(g, x, t, var, eps):
        v = where(var < eps, eps, var)
        d = (x - t) / v
        return g * ((1.0 / v - d * d) * 0.5)

    optional = {"eps": 1e-6}
    domain_var, domain_eps = (0.5, 2.0), (0.01, 0.4)

    def ref(x, t, var, eps=1e-6):
        v = np.maximum(var, eps)
        return 0.5 * (np.log(v) + (x - t) ** 2 / v)


class soft_margin_term(Term):
    """log(1 + e^(-t x))."""

    label = "soft_margin_loss"

    def body(b, x, t):
        return _log1p_exp(b, -(t * x))

    def vjp_x(g, x, t):
        return -(g * (t * sigmoid(-(t * x))))

    def vjp_t(g, x, t):
        return -(g * (x * sigmoid(-(t * x))))

    def ref(x, t):
        return np.logaddexp(0, -t * x)


class hinge_term(Term):
    """x where t is 1, max(0, margin - x) where t is -1."""

    label = "hinge_embedding_loss"
    numbers = ("margin",)
    kinks = True

    def body(b, x, t, margin):
        far = b.where(t.ne(1.0), b.maximum(margin - x, b.zero(x)), b.zero(x))
        return b.where(t.ne(-1.0), x, b.zero(x)) + far

    def vjp_x(g, x, t, margin):
        far = where((t != 1.0) & (margin - x >= 0.0), 1.0, 0.0)
        return g * (where(t != -1.0, 1.0, 0.0) - far)

    optional = {"margin": 1.0}

    def ref(x, t, margin=1.0):
        return np.where(t != 1, np.maximum(margin - x, 0), 0) + np.where(t != -1, x, 0)


class ranking_term(Term):
    """max(0, margin - t (x - w))."""

    label = "margin_ranking_loss"
    numbers = ("margin",)
    kinks = True

    def body(b, x, w, t, margin):
        return b.maximum(margin - t * (x - w), b.zero(x))

    def vjp_x(g, x, w, t, margin):
        return where(margin - t * (x - w) >= 0.0, -(g * t), 0.0)

    def vjp_w(g, x, w, t, margin):
        return where(margin - t * (x - w) >= 0.0, g * t, 0.0)

    def vjp_t(g, x, w, t, margin):
        return where(margin - t * (x - w) >= 0.0, g * (w - x), 0.0)

    optional = {"margin": 0.0}

    def ref(x, w, t, margin=0.0):
        return np.maximum(margin - t * (x - w), 0)
