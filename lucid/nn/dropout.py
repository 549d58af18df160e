"""Dropout of elements, channels, blocks and samples. Called by users' models.

Each changes x in training only; lucid.nn.functional does the computation.
"""

from __future__ import annotations

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training each element is zero with probability p, the others are divided by 1 - p.

    In evaluation y = x. Raises ValueError where p lies outside [0, 1]. Srivastava et al., 2014.

    >>> import lucid
    >>> lucid.nn.Dropout(0.5).eval()(lucid.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """In training whole channels of x (N, C, L) or (C, L) are zero with probability p, the
    others are divided by 1 - p. Tompson et al., 2015.

    >>> import lucid
    >>> lucid.nn.Dropout1d(1.0)(lucid.ones(1, 2, 3)).sum().item()
    0.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """In training whole channels of x (N, C, H, W) are zero with probability p, the
    others are divided by 1 - p. Tompson et al., 2015.

    >>> import lucid
    >>> lucid.nn.Dropout2d(1.0)(lucid.ones(1, 2, 3, 3)).sum().item()
    0.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """In training whole channels of x (N, C, D, H, W) or (C, D, H, W) are zero with probability
    p, the others are divided by 1 - p. Tompson et al., 2015.

    >>> import lucid
    >>> lucid.nn.Dropout3d(1.0)(lucid.ones(1, 2, 3, 3, 3)).sum().item()
    0.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """In training elements are SELU's negative limit with probability p; an affine map restores
    mean 0 and variance 1. Klambauer et al., 2017.

    >>> import lucid
    >>> lucid.nn.AlphaDropout(0.5).eval()(lucid.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """AlphaDropout of whole channels of x (N, C, ...).

    >>> import lucid
    >>> lucid.nn.FeatureAlphaDropout(0.5).eval()(lucid.ones(1, 3, 2)).sum().item()
    6.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)


class DropBlock(Module):
    """In training squares of block_size^2 pixels of x (N, C, H, W) are zero, a share p of all.
    Ghiasi et al., 2018.

    >>> import lucid
    >>> lucid.nn.DropBlock(3).eval()(lucid.ones(1, 1, 4, 4)).sum().item()
    16.0
    """

    def __init__(self, block_size: int, p: float = 0.1, eps: float = 1e-7) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.block_size = block_size
        self.p = p
        self.eps = eps

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return F.drop_block(x, self.block_size, self.p, self.eps, self.training)

    def extra_repr(self) -> str:
        return f"block_size={self.block_size}, p={self.p}, eps={self.eps}"


class DropPath(Module):
    """In training whole samples of x (N, ...) are zero with probability drop_prob, the others are
    divided by 1 - drop_prob (unless scale_by_keep is False). Huang et al., 2016.

    >>> import lucid
    >>> lucid.nn.DropPath(0.5).eval()(lucid.ones(2, 3)).sum().item()
    6.0
    """

    def __init__(self, drop_prob: float = 0.1, scale_by_keep: bool = True) -> None:
        super().__init__()
        if not 0 <= drop_prob <= 1:
            raise ValueError(f"drop_prob has to be between 0 and 1, but got {drop_prob}")
        self.drop_prob = drop_prob
        self.scale_by_keep = scale_by_keep

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return F.drop_path(x, self.drop_prob, self.scale_by_keep, self.training)

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob}, scale_by_keep={self.scale_by_keep}"
