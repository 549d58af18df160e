"""Scaled dot-product attention: two products and one fused row kernel between them, as one plan.

Called by lucid.nn.functional and lucid.nn.attention.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any

from lucid.dtypes import FLOATING, bool_
from lucid.layout import broadcast_shapes
from lucid.op import Composite, OpMeta
from lucid.ops.contract import product, transposed
from lucid.ops.creation import ones, tril
from lucid.ops.elementwise import where
from lucid.ops.random import default_generator, dropout_
from lucid.ops.reduce import amax_, sum_
from lucid.ops.transcendental import exp_negative
from lucid.ops.view import reshape

LOWEST = float("-inf")


def _weights(q: Any, k: Any, mask: Any, scale: float, causal_: bool) -> Any:
    """softmax(q k^T scale + mask) along the last dimension; a row that is masked whole gives 0."""
    s = product(q, transposed(k)) * scale
    if causal_:
        s = where(causal(s.shape[-2], s.shape[-1]), s, LOWEST)
    if mask is not None:
        s = where(mask, s, LOWEST) if mask.dtype is bool_ else s + mask
    last = (len(s.shape) - 1,)
    if s.shape[-1] == 0:
        return s
    high = amax_(s, last, True)
    if mask is None and not causal_:
        e = exp_negative(s - high)
        return e * (1.0 / sum_(e, last, True))
    e = exp_negative(s - where(high == LOWEST, 0.0, high))
    total = sum_(e, last, True)
    return e * (1.0 / where(total == 0.0, 1.0, total))


def _attended(**given: Any) -> tuple[Any, Any]:
    p = _weights(given["q"], given["k"], given.get("mask"), given["scale"], given["causal_"])
    if "seed" in given:
        p = dropout_(p, given["seed"], given["offset"], given["drop"])
    return product(p, given["v"]), p


def _kept(given: dict[str, Any]) -> Any:
    """The weights before dropout, again: those that were saved are after it."""
    if "seed" not in given:
        return given["y1"]
    return _weights(given["q"], given["k"], given.get("mask"), given["scale"], given["causal_"])


def _back(**given: Any) -> dict[str, Any]:
    """All cotangents. What they have in common is computed once; products only where needed."""
    g, p = given["g"], _kept(given)
    gp = product(g, transposed(given["v"]))
    gp = gp if given["g1"] is None else gp + given["g1"]
    if "seed" in given:
        gp = dropout_(gp, given["seed"], given["offset"], given["drop"])
    gs = (gp - sum_(gp * p, (len(p.shape) - 1,), True)) * p
    scaled = gs * given["scale"]
    return {
        "q": lambda: product(scaled, given["k"]),
        "k": lambda: product(transposed(scaled), given["q"]),
        "v": lambda: product(transposed(given["y1"]), g),
        "mask": gs,
    }


def _record(masked: bool, dropped: bool) -> Any:
    """(y, weights) of attention with or without a mask and dropout."""
    inputs = ("q", "k", "v", *(["mask"] if masked else []))
    wanted = inputs
    inputs += ("seed", "offset") if dropped else ()
    statics = ("scale", "causal_", "drop")

    def forward(*values: Any, **static: Any) -> tuple[Any, Any]:
        return _attended(**dict(zip(inputs, values, strict=True)), **static)

    def rule(**given: Any) -> dict[str, Any]:
        return _back(**given)

    rule.needs = ("g", "g1", *inputs, "y1", *statics)  # type: ignore[attr-defined]
    members = {
        "arguments": (inputs, statics),
        "forward": forward,
        "count": 2,
        "public": False,
        "label": "scaled_dot_product_attention",
        "autocast": "low",
        "__doc__": "softmax(q k^T scale + mask) v, and the softmax. Vaswani et al., 2017.",
        **{f"vjp_{n}": rule for n in wanted},
    }
    name = "attention" + "_masked" * masked + "_dropped" * dropped
    return OpMeta(name, (Composite,), members)


RECORDS = {(m, d): _record(m, d) for m in (False, True) for d in (False, True)}


def attention(
    q: Any, k: Any, v: Any, mask: Any, scale: float, causal_: bool, drop: float
) -> tuple[Any, Any]:
    """(y, weights); `weights` are those after dropout."""
    inputs = (q, k, v) if mask is None else (q, k, v, mask)
    if drop:
        count = 1
        batch = broadcast_shapes("attention", tuple(q.shape[:-2]), tuple(k.shape[:-2]))
        for n in (*batch, q.shape[-2], k.shape[-2]):
            count *= n
        inputs += default_generator.reserve(count)
    record = RECORDS[mask is not None, drop > 0]
    return record.dispatch(record, inputs, (scale, causal_, drop))


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
):  # fmt: skip
    """softmax(query key^T * scale + mask) value. Vaswani et al., 2017.

    query (..., L, E), key (..., S, E), value (..., S, Ev) -> (..., L, Ev); scale is 1 / sqrt(E)
    by default. attn_mask broadcasts to (..., L, S): bool (True takes part) or added. A query
    whose keys are all masked gives 0. With is_causal a position sees itself and what is before.
    With enable_gqa each head of key and value serves several heads of query (Ainslie et al., 2023).

    >>> import lucid
    >>> q = lucid.zeros(1, 2, 4)
    >>> lucid.nn.functional.scaled_dot_product_attention(q, q, lucid.ones(1, 2, 4)).shape
    lucid.Size([1, 2, 4])
    """
    _check(query, key, value, attn_mask, is_causal, dropout_p)
    scale = 1.0 / sqrt(max(query.shape[-1], 1)) if scale is None else float(scale)
    if not enable_gqa:
        return attention(query, key, value, attn_mask, scale, bool(is_causal), float(dropout_p))[0]
    heads, groups = query.shape[-3], key.shape[-3]
    if value.shape[-3] != groups or heads % groups:
        raise RuntimeError(
            f"scaled_dot_product_attention: {heads} heads of query are no multiple of those of key "
            f"({groups}) and value ({value.shape[-3]})"
        )
    query = _split_heads(query, heads, groups)
    key, value = (reshape(x, (*x.shape[:-2], 1, *x.shape[-2:])) for x in (key, value))
    if attn_mask is not None and attn_mask.ndim > 2:
        attn_mask = _split_heads(attn_mask, heads, groups)
    y = attention(query, key, value, attn_mask, scale, bool(is_causal), float(dropout_p))[0]
    return reshape(y, (*y.shape[:-4], heads, *y.shape[-2:]))


def _split_heads(x: Any, heads: int, groups: int) -> Any:
    """(..., heads, L, E) as (..., groups, heads / groups, L, E); 1 for all heads stays 1."""
    split: Sequence[int] = (1, 1) if x.shape[-3] == 1 else (groups, heads // groups)
    return reshape(x, (*x.shape[:-3], *split, *x.shape[-2:]))


def _check(query: Any, key: Any, value: Any, mask: Any, is_causal: bool, p: float) -> None:
    name = "scaled_dot_product_attention"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(f"{name}: query, key and value need at least 2 dimensions")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"{name}: query {tuple(query.shape)}, key {tuple(key.shape)} "
            f"and value {tuple(value.shape)} do not fit"
        )
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError(
            f"{name}: query {query.dtype!r}, key {key.dtype!r} and value {value.dtype!r} must have "
            "one dtype; convert with to()"
        )
    if not 0.0 <= p < 1.0:
        raise ValueError(f"{name}: dropout_p must lie in [0, 1), got {p}")
    if mask is None:
        return
    if is_causal:
        raise RuntimeError(f"{name}: attn_mask and is_causal exclude each other")
    if mask.dtype is not bool_ and mask.dtype.category != FLOATING:
        raise RuntimeError(f"{name}: attn_mask must be bool or floating, got {mask.dtype!r}")


def causal(rows: int, columns: int) -> Any:
    """The mask under which a position sees itself and what is before it."""
    return tril(ones(rows, columns, dtype=bool_))
