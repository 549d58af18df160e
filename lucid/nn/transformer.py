"""The Transformer: encoder and decoder layers, their stacks, and both together (Vaswani et al.,
2017). Called by users' models."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.attention import MultiheadAttention
from lucid.nn.container import ModuleList
from lucid.nn.dropout import Dropout
from lucid.nn.linear import Linear
from lucid.nn.module import Module
from lucid.nn.normalization import LayerNorm

Activation = str | Callable[[lucid.Tensor], lucid.Tensor]


def _activation(given: Activation) -> Callable[[lucid.Tensor], lucid.Tensor]:
    if callable(given):
        return given
    if given not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {given}")
    return F.relu if given == "relu" else F.gelu


class _Layer(Module):
    """Attentions, then a feed-forward network, with a norm and a dropout for each of them."""

    attentions: tuple[str, ...]

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made = {"device": device, "dtype": dtype}
        for name in self.attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, **made
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **made)
        self.norm_first = norm_first
        parts = range(1, len(self.attentions) + 2)
        for i in parts:
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, **made))
        for i in parts:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = _activation(activation)

    def _attend(
        self, attention: Module, x: Any, memory: Any, mask: Any, padding: Any, causal: bool
    ) -> lucid.Tensor:
        return attention(
            x, memory, memory, attn_mask=mask, key_padding_mask=padding, need_weights=False,
            is_causal=causal and mask is not None,
        )[0]  # fmt: skip

    def _feed_forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def __setstate__(self, state: dict[str, Any]) -> None:
        state.setdefault("activation", F.relu)  # models saved before there was a choice
        super().__setstate__(state)


class TransformerEncoderLayer(_Layer):
    """x + attention(x), then x + feed_forward(x), each normalized after, or before (norm_first).

    src (S, N, E), (N, S, E) with `batch_first`, or (S, E). Masks as of MultiheadAttention.

    >>> import lucid
    >>> lucid.nn.TransformerEncoderLayer(8, 2, 16)(lucid.zeros(3, 1, 8)).shape
    lucid.Size([3, 1, 8])
    """

    attentions = ("self_attn",)

    def forward(
        self,
        src: lucid.Tensor,
        src_mask: lucid.Tensor | None = None,
        src_key_padding_mask: lucid.Tensor | None = None,
        is_causal: bool = False,
    ) -> lucid.Tensor:
        def attended(x: lucid.Tensor) -> lucid.Tensor:
            y = self._attend(self.self_attn, x, x, src_mask, src_key_padding_mask, is_causal)
            return self.dropout1(y)

        x = src
        if self.norm_first:
            x = x + attended(self.norm1(x))
            return x + self.dropout2(self._feed_forward(self.norm2(x)))
        x = self.norm1(x + attended(x))
        return self.norm2(x + self.dropout2(self._feed_forward(x)))


class TransformerDecoderLayer(_Layer):
    """x + attention(x), x + attention(x, memory), x + feed_forward(x), each normalized.

    tgt (T, N, E) and memory (S, N, E), (N, .., E) with `batch_first`, or without N.

    >>> import lucid
    >>> x = lucid.zeros(3, 1, 8)
    >>> lucid.nn.TransformerDecoderLayer(8, 2, 16)(x, x).shape
    lucid.Size([3, 1, 8])
    """

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: lucid.Tensor,
        memory: lucid.Tensor,
        tgt_mask: lucid.Tensor | None = None,
        memory_mask: lucid.Tensor | None = None,
        tgt_key_padding_mask: lucid.Tensor | None = None,
        memory_key_padding_mask: lucid.Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> lucid.Tensor:
        def attended(x: Any) -> Any:
            y = self._attend(self.self_attn, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal)
            return self.dropout1(y)

        def remembered(x: Any) -> Any:
            given = memory_mask, memory_key_padding_mask, memory_is_causal
            return self.dropout2(self._attend(self.multihead_attn, x, memory, *given))

        x: Any = tgt
        if self.norm_first:
            x = x + attended(self.norm1(x))
            x = x + remembered(self.norm2(x))
            return x + self.dropout3(self._feed_forward(self.norm3(x)))
        x = self.norm1(x + attended(x))
        x = self.norm2(x + remembered(x))
        return self.norm3(x + self.dropout3(self._feed_forward(x)))


def _copies(layer: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


class TransformerEncoder(Module):
    """`num_layers` copies of a layer, one after the other, and a norm at the end.

    `enable_nested_tensor` and `mask_check` choose a faster way in PyTorch, whose value is the same;
    here both values give this one.

    >>> import lucid
    >>> layer = lucid.nn.TransformerEncoderLayer(8, 2, 16)
    >>> lucid.nn.TransformerEncoder(layer, 2)(lucid.zeros(3, 1, 8)).shape
    lucid.Size([3, 1, 8])
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self,
        src: lucid.Tensor,
        mask: lucid.Tensor | None = None,
        src_key_padding_mask: lucid.Tensor | None = None,
        is_causal: bool | None = None,
    ) -> lucid.Tensor:
        y = src
        for layer in self.layers:
            y = layer(
                y, src_mask=mask, src_key_padding_mask=src_key_padding_mask,
                is_causal=bool(is_causal),
            )  # fmt: skip
        return y if self.norm is None else self.norm(y)


class TransformerDecoder(Module):
    """`num_layers` copies of a decoder layer, one after the other, and a norm at the end.

    >>> import lucid
    >>> layer, x = lucid.nn.TransformerDecoderLayer(8, 2, 16), lucid.zeros(3, 1, 8)
    >>> lucid.nn.TransformerDecoder(layer, 2)(x, x).shape
    lucid.Size([3, 1, 8])
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: lucid.Tensor,
        memory: lucid.Tensor,
        tgt_mask: lucid.Tensor | None = None,
        memory_mask: lucid.Tensor | None = None,
        tgt_key_padding_mask: lucid.Tensor | None = None,
        memory_key_padding_mask: lucid.Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> lucid.Tensor:
        y = tgt
        for layer in self.layers:
            y = layer(
                *(y, memory, tgt_mask, memory_mask),
                *(tgt_key_padding_mask, memory_key_padding_mask),
                *(bool(tgt_is_causal), memory_is_causal),
            )
        return y if self.norm is None else self.norm(y)


class Transformer(Module):
    """An encoder and a decoder (Vaswani et al., 2017).

    src (S, N, E) and tgt (T, N, E), (N, .., E) with `batch_first`, or without N -> as tgt. Masks
    as of MultiheadAttention, for source, target and memory.

    >>> import lucid
    >>> made = lucid.nn.Transformer(8, 2, 1, 1, 16)
    >>> made(lucid.zeros(3, 1, 8), lucid.zeros(2, 1, 8)).shape
    lucid.Size([2, 1, 8])
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        made = {"device": device, "dtype": dtype}
        layer: tuple[Any, ...] = (d_model, nhead, dim_feedforward, dropout, activation)
        layer += (layer_norm_eps, batch_first, norm_first, bias)
        if custom_encoder is None:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
            encoder = TransformerEncoderLayer(*layer, **made)
            custom_encoder = TransformerEncoder(encoder, num_encoder_layers, norm)
        self.encoder = custom_encoder
        if custom_decoder is None:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
            decoder = TransformerDecoderLayer(*layer, **made)
            custom_decoder = TransformerDecoder(decoder, num_decoder_layers, norm)
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self,
        src: lucid.Tensor,
        tgt: lucid.Tensor,
        src_mask: lucid.Tensor | None = None,
        tgt_mask: lucid.Tensor | None = None,
        memory_mask: lucid.Tensor | None = None,
        src_key_padding_mask: lucid.Tensor | None = None,
        tgt_key_padding_mask: lucid.Tensor | None = None,
        memory_key_padding_mask: lucid.Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> lucid.Tensor:
        batch = 0 if self.batch_first else 1
        if src.dim() == 3 and src.shape[batch] != tgt.shape[batch]:
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError(
                "the feature number of src and tgt must be equal to d_model "
                f"({self.d_model}), got {src.shape[-1]} and {tgt.shape[-1]}"
            )
        memory = self.encoder(src, src_mask, src_key_padding_mask, bool(src_is_causal))
        return self.decoder(
            *(tgt, memory, tgt_mask, memory_mask),
            *(tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal, memory_is_causal),
        )

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: Any = None, dtype: Any = None
    ) -> lucid.Tensor:
        """(sz, sz): 0 on and below the diagonal, -inf above.

        >>> import lucid
        >>> lucid.nn.Transformer.generate_square_subsequent_mask(2).tolist()
        [[0.0, -inf], [0.0, 0.0]]
        """
        dtype = lucid.get_default_dtype() if dtype is None else dtype
        return lucid.full((sz, sz), float("-inf"), dtype=dtype, device=device).triu(1)

    def _reset_parameters(self) -> None:
        for p in self.parameters():
            if p.dim() > 1:
                init.xavier_uniform_(p)
