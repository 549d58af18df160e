"""Scaled dot-product attention: products and one fused row kernel between them."""

from math import sqrt
from typing import Any

from lucid.dtypes import bool_
from lucid.op import Composite
from lucid.ops.contract import product, transposed
from lucid.ops.creation import ones, tril
from lucid.ops.elementwise import where
from lucid.ops.normalize import softmax_
from lucid.ops.random import dropout
from lucid.ops.reduce import amax_, sum_
from lucid.ops.shape import repeat_interleave
from lucid.ops.transcendental import exp


class masked_softmax(Composite):
    """softmax(x * scale + mask) along the last dimension; a row that is masked whole gives 0."""

    public = False
    autocast = "float32"

    def forward(x, mask, *, scale):
        if mask.dtype is bool_:
            s = where(mask, x * scale, float("-inf"))
        else:
            s = x * scale + mask
        last = (len(s.shape) - 1,)
        high = amax_(s, last, True)
        e = exp(s - where(high == float("-inf"), 0.0, high))
        total = sum_(e, last, True)
        return e / where(total == 0.0, 1.0, total)

    def vjp_x(g, y, scale):
        last = (len(y.shape) - 1,)
        return (g - sum_(g * y, last, True)) * y * scale

    def vjp_mask(g, y):
        last = (len(y.shape) - 1,)
        return (g - sum_(g * y, last, True)) * y

    def axis_map(call):
        return call.run(call.aligned(), call.params)


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
):  # fmt: skip
    """softmax(query key^T * scale + mask) value. Vaswani et al., 2017.

    query (..., L, E), key (..., S, E), value (..., S, Ev) -> (..., L, Ev); scale is 1 / sqrt(E)
    by default. attn_mask broadcasts to (..., L, S): bool (True takes part) or added. A query
    whose keys are all masked gives 0. With enable_gqa the heads of key and value are repeated.

    >>> import lucid
    >>> q = lucid.zeros(1, 2, 4)
    >>> lucid.nn.functional.scaled_dot_product_attention(q, q, lucid.ones(1, 2, 4)).shape
    lucid.Size([1, 2, 4])
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: query {tuple(query.shape)}, key {tuple(key.shape)} "
            f"and value {tuple(value.shape)} do not fit"
        )
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = repeat_interleave(key, times, -3), repeat_interleave(value, times, -3)
    scale = 1.0 / sqrt(query.shape[-1]) if scale is None else float(scale)
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError("scaled_dot_product_attention: attn_mask and is_causal exclude")
        attn_mask = causal(query.shape[-2], key.shape[-2])
    scores = product(query, transposed(key))
    if attn_mask is None:
        p = softmax_(scores * scale, scores.ndim - 1)
    else:
        p = masked_softmax(scores, attn_mask, scale)
    return product(dropout(p, dropout_p), value)


def causal(rows: int, columns: int) -> Any:
    """The mask under which a position sees itself and what is before it."""
    return tril(ones(rows, columns, dtype=bool_))
