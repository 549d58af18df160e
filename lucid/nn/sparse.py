"""Embedding and EmbeddingBag. Called by users' models; the computation is lucid.nn.functional's."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter


class Embedding(Module):
    """y[...] = weight[x[...]]: a learned vector for each index.

    x: integers (...), y: (..., embedding_dim). The row `padding_idx` starts at zero and gets no
    gradient. `max_norm` scales rows that are read in place, `scale_grad_by_freq` divides a row's
    gradient by how often it was read. With `sparse` the gradient of the weight is a sparse tensor
    of the rows that were read, which SGD, SparseAdam and Adagrad take.

    >>> import lucid
    >>> lucid.nn.Embedding(10, 3)(lucid.tensor([1, 2])).shape
    lucid.Size([2, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: lucid.Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError("Padding_idx must be within num_embeddings")
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        shape = (num_embeddings, embedding_dim)
        if _weight is not None and tuple(_weight.shape) != shape:
            raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
        drawn = _weight is None
        start = lucid.empty(shape, device=device, dtype=dtype) if drawn else _weight
        self.weight = Parameter(start, requires_grad=not _freeze)
        if drawn:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight from N(0, 1); the row of `padding_idx` is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with lucid.no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        text += f", padding_idx={self.padding_idx}" if self.padding_idx is not None else ""
        text += f", max_norm={self.max_norm}" if self.max_norm is not None else ""
        text += f", norm_type={self.norm_type}" if self.norm_type != 2 else ""
        text += ", scale_grad_by_freq=True" if self.scale_grad_by_freq else ""
        text += ", sparse=True" if self.sparse else ""
        return text

    @classmethod
    def from_pretrained(
        cls,
        embeddings: lucid.Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        **options: Any,
    ) -> Embedding:
        """An Embedding whose weight is `embeddings` (rows, columns), frozen unless told."""
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        return cls(rows, columns, padding_idx, _weight=embeddings, _freeze=freeze, **options)


class EmbeddingBag(Module):
    """The sum, mean or max of the rows of a weight over bags of indices.

    x: integers (B, L), or (N,) with `offsets` (B,), where each bag begins; y: (B, embedding_dim).
    With `sparse` the gradient of the weight is a sparse tensor, as that of Embedding.

    >>> import lucid
    >>> lucid.nn.EmbeddingBag(10, 3)(lucid.tensor([1, 2, 4]), lucid.tensor([0, 2])).shape
    lucid.Size([2, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: lucid.Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError("padding_idx must be within num_embeddings")
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset
        self.padding_idx = padding_idx
        shape = (num_embeddings, embedding_dim)
        if _weight is not None and tuple(_weight.shape) != shape:
            raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
        drawn = _weight is None
        self.weight = Parameter(
            lucid.empty(shape, device=device, dtype=dtype) if drawn else _weight
        )
        if drawn:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight from N(0, 1); the row of `padding_idx` is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with lucid.no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(
        self,
        input: lucid.Tensor,
        offsets: lucid.Tensor | None = None,
        per_sample_weights: lucid.Tensor | None = None,
    ) -> lucid.Tensor:
        return F.embedding_bag(
            *(input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq),
            *(self.mode, self.sparse, per_sample_weights, self.include_last_offset),
            padding_idx=self.padding_idx,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        text += f", max_norm={self.max_norm}" if self.max_norm is not None else ""
        text += f", norm_type={self.norm_type}" if self.norm_type != 2 else ""
        text += ", scale_grad_by_freq=True" if self.scale_grad_by_freq else ""
        text += f", mode={self.mode!r}"
        text += f", padding_idx={self.padding_idx}" if self.padding_idx is not None else ""
        return text

    @classmethod
    def from_pretrained(
        cls, embeddings: lucid.Tensor, freeze: bool = True, **options: Any
    ) -> EmbeddingBag:
        """An EmbeddingBag whose weight is `embeddings` (rows, columns), frozen unless told."""
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        bag = cls(rows, columns, _weight=embeddings, **options)
        bag.weight.requires_grad = not freeze
        return bag
