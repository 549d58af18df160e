"""Attention with several heads as a function. Published by functional.py, called by attention.py.

Every mode goes one way: projections, `attention` of lucid/ops/attention.py, the output projection.
"""

from __future__ import annotations

import math
from typing import Any

import lucid
from lucid.ops import linear
from lucid.ops.attention import attention


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Any, Any]:
    """(y, weights) of attention with `num_heads` heads. Vaswani et al., 2017.

    query (L, N, E), key and value (S, N, ..), or without N. attn_mask (L, S) or (N heads, L, S),
    key_padding_mask (N, S): bool, True is left out, or added. weights (N, L, S), or (N, heads, L,
    S) where they are not averaged, None unless `need_weights`. bias_k, bias_v (1, 1, E) and
    `add_zero_attn` add a key and its value. A query whose keys are all left out gives 0 before the
    output projection. `is_causal` says that attn_mask is causal, which must be given.

    >>> import lucid
    >>> x, w = lucid.zeros(3, 1, 4), lucid.eye(4)
    >>> y, p = lucid.nn.functional.multi_head_attention_forward(
    ...     x, x, x, 4, 2, lucid.cat([w, w, w]), None, None, None, False, 0.0, w, None)
    >>> y.shape, p.shape
    (lucid.Size([3, 1, 4]), lucid.Size([1, 3, 3]))
    """
    name = "multi_head_attention"
    single = query.ndim == 2
    _check_ranks(name, query, key, value, key_padding_mask, attn_mask, num_heads)
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if single:
        same = key is query, value is key
        query = query.unsqueeze(1)
        key = query if same[0] else key.unsqueeze(1)
        value = key if same[1] else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    frames, batch, width = tuple(query.shape)
    if width != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}"
        )
    head = width // num_heads
    if head * num_heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    if tuple(key.shape[:2]) != tuple(value.shape[:2]) or key.shape[1] != batch:
        raise AssertionError(
            f"{name}: query {tuple(query.shape)}, key {tuple(key.shape)} and value "
            f"{tuple(value.shape)} do not fit"
        )
    if use_separate_proj_weight:
        weights = q_proj_weight, k_proj_weight, v_proj_weight
        q, k, v = _separate(query, key, value, weights, in_proj_bias)
    else:
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k and bias_v must be given together")
    if bias_k is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias_k and bias_v cannot be added to static keys or values")
        k = lucid.cat([k, bias_k.expand(1, batch, width)])
        v = lucid.cat([v, bias_v.expand(1, batch, width)])
    q = q.reshape(frames, batch, num_heads, head).permute(1, 2, 0, 3)  # (N, heads, L, E)
    k = _heads(name, "static_k", k, static_k, batch, num_heads, head)
    v = _heads(name, "static_v", v, static_v, batch, num_heads, head)
    added = 0 if bias_k is None else 1
    if add_zero_attn:
        nothing = lucid.zeros(batch, num_heads, 1, head, dtype=k.dtype)
        k, v, added = lucid.cat([k, nothing], 2), lucid.cat([v, nothing], 2), added + 1
    mask = _mask(name, attn_mask, key_padding_mask, (batch, num_heads, frames, k.shape[2]), added)
    mask = mask if mask is None else mask.to(q.dtype)
    drop = float(dropout_p) if training else 0.0
    y, p = attention(q, k, v, mask, 1.0 / math.sqrt(max(head, 1)), False, drop)
    y = linear(y.permute(2, 0, 1, 3).reshape(frames, batch, width), out_proj_weight, out_proj_bias)
    y = y.squeeze(1) if single else y
    if not need_weights:
        return y, None
    p = p.mean(1) if average_attn_weights else p
    return y, p.squeeze(0) if single else p


def _check_ranks(
    name: str, query: Any, key: Any, value: Any, padding: Any, mask: Any, heads: int
) -> None:
    rank = query.ndim
    if rank not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor"
        )
    if key.ndim != rank or value.ndim != rank:
        raise AssertionError(
            f"{name}: query is {rank}-D, key {key.ndim}-D and value {value.ndim}-D; they must agree"
        )
    if padding is not None and padding.ndim != rank - 1:
        raise AssertionError(f"{name}: key_padding_mask must be {rank - 1}-D, got {padding.ndim}-D")
    if mask is not None and mask.ndim not in (2, 3):
        raise AssertionError(f"{name}: attn_mask must be 2-D or 3-D, got {mask.ndim}-D")


def _projected(query: Any, key: Any, value: Any, w: Any, b: Any) -> tuple:
    """q, k and v by one weight (3 E, E): as few products as there are different inputs."""
    width = query.shape[-1]
    if query is key and key is value:
        return tuple(linear(query, w, b).chunk(3, -1))
    w_q, w_k, w_v = w.chunk(3, 0)
    b_q, b_k, b_v = (None, None, None) if b is None else b.chunk(3, 0)
    q = linear(query, w_q, b_q)
    if key is value:
        both = linear(key, w[width:], None if b is None else b[width:])
        return (q, *both.chunk(2, -1))
    return q, linear(key, w_k, b_k), linear(value, w_v, b_v)


def _separate(query: Any, key: Any, value: Any, weights: tuple, b: Any) -> tuple:
    biases = (None, None, None) if b is None else b.chunk(3, 0)
    made = []
    for x, w, bias in zip((query, key, value), weights, biases, strict=True):
        if w is None:
            raise AssertionError("use_separate_proj_weight needs q, k and v_proj_weight")
        made.append(linear(x, w, bias))
    return tuple(made)


def _heads(name: str, what: str, x: Any, static: Any, batch: int, heads: int, head: int) -> Any:
    """(N, heads, S, E), of the projection (S, N, heads E) or given (N heads, S, E)."""
    if static is None:
        return x.reshape(x.shape[0], batch, heads, head).permute(1, 2, 0, 3)
    if static.shape[0] != batch * heads or static.shape[2] != head:
        raise AssertionError(
            f"{name}: {what} of shape {tuple(static.shape)}; ({batch * heads}, S, {head}) is needed"
        )
    return static.reshape(batch, heads, static.shape[1], head)


def _mask(name: str, mask: Any, padding: Any, shape: tuple, added: int) -> Any:
    """Both masks as one that is added, broadcast to (N, heads, L, S); None where there is none."""
    batch, heads, rows, columns = shape
    if mask is not None:
        mask = _added(name, "attn_mask", mask)
        wanted = {2: (rows, columns - added), 3: (batch * heads, rows, columns - added)}[mask.ndim]
        if tuple(mask.shape) != wanted:
            raise RuntimeError(
                f"The shape of the {mask.ndim}D attn_mask is {tuple(mask.shape)}, but should be "
                f"{wanted}."
            )
        mask = mask.reshape(batch, heads, *mask.shape[1:]) if mask.ndim == 3 else mask
        mask = lucid.nn.functional.pad(mask, (0, added)) if added else mask
    if padding is not None:
        padding = _added(name, "key_padding_mask", padding)
        if tuple(padding.shape) != (batch, columns - added):
            raise AssertionError(
                f"expecting key_padding_mask shape of {(batch, columns - added)}, but got "
                f"{tuple(padding.shape)}"
            )
        padding = lucid.nn.functional.pad(padding, (0, added)) if added else padding
        padding = padding.reshape(batch, 1, 1, columns)
        mask = padding if mask is None else mask + padding
    return mask


def _added(name: str, what: str, mask: Any) -> Any:
    """A mask that is added: -inf where a bool one is True."""
    if mask.dtype is lucid.bool:
        return lucid.where(mask, float("-inf"), lucid.zeros(1))
    if not mask.is_floating_point():
        raise AssertionError(f"{name}: {what} must be bool or floating, got {mask.dtype!r}")
    return mask
