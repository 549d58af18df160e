"""Similarities and distances as modules. Called by users' models; the formulas are
lucid.nn.functional's."""

from __future__ import annotations

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module


class CosineSimilarity(Module):
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`.

    >>> import lucid
    >>> x = lucid.tensor([[1.0, 0.0]])
    >>> lucid.nn.CosineSimilarity()(x, x).tolist()
    [1.0]
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: lucid.Tensor, x2: lucid.Tensor) -> lucid.Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps over the last dimension.

    >>> import lucid
    >>> d = lucid.nn.PairwiseDistance()(lucid.tensor([[3.0, 4.0]]), lucid.zeros(1, 2))
    >>> round(d.item(), 3)
    5.0
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: lucid.Tensor, x2: lucid.Tensor) -> lucid.Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
