"""MultiheadAttention. Called by nn/transformer.py and users' models; the computation is
lucid.nn.functional's."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.linear import NonDynamicallyQuantizableLinear
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter


class MultiheadAttention(Module):
    """softmax(Q K^T / sqrt(d)) V in `num_heads` heads, between projections (Vaswani et al., 2017).

    query (L, N, E), key (S, N, kdim), value (S, N, vdim); (N, L, E) with `batch_first`; N may be
    left out. Returns (y, weights), weights (N, L, S) averaged over heads, or (N, heads, L, S), or
    None. Masks: see lucid.nn.functional.multi_head_attention_forward.

    >>> import lucid
    >>> x = lucid.zeros(3, 1, 4)
    >>> y, p = lucid.nn.MultiheadAttention(4, 2)(x, x, x)
    >>> y.shape, p.shape
    (lucid.Size([3, 1, 4]), lucid.Size([1, 3, 3]))
    """

    in_proj_weight: lucid.Tensor | None
    in_proj_bias: lucid.Tensor | None
    bias_k: lucid.Tensor | None
    bias_v: lucid.Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, "
                f"got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        made = {"device": device, "dtype": dtype}
        shapes = {
            "q_proj_weight": (embed_dim, embed_dim),
            "k_proj_weight": (embed_dim, self.kdim),
            "v_proj_weight": (embed_dim, self.vdim),
            "in_proj_weight": (3 * embed_dim, embed_dim),
        }
        for name, shape in shapes.items():
            here = (name == "in_proj_weight") is self._qkv_same_embed_dim
            self.register_parameter(name, Parameter(lucid.empty(shape, **made)) if here else None)
        drawn = Parameter(lucid.empty(3 * embed_dim, **made)) if bias else None
        self.register_parameter("in_proj_bias", drawn)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, **made)
        for name in ("bias_k", "bias_v"):
            drawn = Parameter(lucid.empty((1, 1, embed_dim), **made)) if add_bias_kv else None
            self.register_parameter(name, drawn)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def __setstate__(self, state: dict[str, Any]) -> None:
        state.setdefault("_qkv_same_embed_dim", True)  # models saved before there was a choice
        super().__setstate__(state)

    def forward(
        self,
        query: lucid.Tensor,
        key: lucid.Tensor,
        value: lucid.Tensor,
        key_padding_mask: lucid.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: lucid.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[lucid.Tensor, lucid.Tensor | None]:
        turned = self.batch_first and query.dim() == 3
        if turned:
            given = {id(x): x.transpose(0, 1) for x in (query, key, value)}  # one object stays one
            query, key, value = (given[id(x)] for x in (query, key, value))
        y, weights = F.multi_head_attention_forward(
            *(query, key, value, self.embed_dim, self.num_heads),
            *(self.in_proj_weight, self.in_proj_bias, self.bias_k, self.bias_v),
            *(self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias),
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (y.transpose(0, 1) if turned else y), weights
