"""Dropout (Srivastava et al., 2014). Called by users' models."""

from __future__ import annotations

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module


class Dropout(Module):
    """In training each element is zero with probability p, the others are divided by 1 - p.

    In evaluation y = x. Raises ValueError where p lies outside [0, 1].

    >>> import lucid
    >>> lucid.nn.Dropout(0.5).eval()(lucid.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return F.dropout(x, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
