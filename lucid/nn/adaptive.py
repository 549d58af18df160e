"""Adaptive softmax: classes in clusters by frequency. Called by users' language models."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import lucid
from lucid.nn import functional as F
from lucid.nn.container import ModuleList, Sequential
from lucid.nn.linear import Linear
from lucid.nn.module import Module


class Scored(NamedTuple):
    """The log-probability of each target (N,), and the mean of their negatives."""

    output: lucid.Tensor
    loss: lucid.Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """log p of classes sorted by frequency: the frequent ones by the head, the others by clusters.

    The head scores the classes below cutoffs[0] and one entry for each cluster; cluster i, of the
    classes from cutoffs[i] to cutoffs[i + 1], has a hidden layer of
    in_features // div_value^(i + 1). Returns (output, loss). Grave et al., 2017.

    >>> import lucid
    >>> made = lucid.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10])
    >>> made(lucid.zeros(3, 8), lucid.tensor([0, 7, 19])).output.shape
    lucid.Size([3])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        rising = all(a < b for a, b in itertools.pairwise([0, *cutoffs, n_classes]))
        if not rising or any(int(c) != c for c in cutoffs):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an "
                f"increasing order, each between 1 and n_classes-1; got {cutoffs}"
            )
        made = {"device": device, "dtype": dtype}
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, **made)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(itertools.pairwise(self.cutoffs)):
            hidden = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, **made),
                    Linear(hidden, high - low, bias=False, **made),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input: lucid.Tensor, target: lucid.Tensor) -> Scored:
        single = target.dim() == 0
        if target.dim() > 1 or input.dim() != target.dim() + 1:
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: input {tuple(input.shape)} and target "
                f"{tuple(target.shape)}: (N, F) and (N,), or (F,) and (), are needed"
            )
        x = input.unsqueeze(0) if single else input
        t = target.unsqueeze(0) if single else target
        if x.shape[0] != t.shape[0]:
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: {x.shape[0]} inputs and {t.shape[0]} targets"
            )
        if bool(((t < 0) | (t >= self.n_classes)).any()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{t.min().item()}, {t.max().item()}] were found."
            )
        output = lucid.zeros(x.shape[0], dtype=x.dtype)
        place = t
        for i, (low, high) in enumerate(itertools.pairwise(self.cutoffs)):
            rows = ((t >= low) & (t < high)).nonzero().reshape(-1)
            if not rows.numel():
                continue
            place = place.index_fill(0, rows, self.shortlist_size + i)
            scores = F.log_softmax(self.tail[i](x[rows]), dim=1)
            own = scores.gather(1, (t[rows] - low).unsqueeze(1)).squeeze(1)
            output = output.index_copy(0, rows, own)
        head = F.log_softmax(self.head(x), dim=1)
        output = output + head.gather(1, place.unsqueeze(1)).squeeze(1)
        loss = -output.mean()
        return Scored(output.squeeze(0) if single else output, loss)

    def log_prob(self, input: lucid.Tensor) -> lucid.Tensor:
        """log p of all classes: (N, n_classes) for x (N, in_features)."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i in range(self.n_clusters):
            entry = self.shortlist_size + i
            parts.append(F.log_softmax(self.tail[i](input), 1) + head[:, entry : entry + 1])
        return lucid.cat(parts, 1)

    def predict(self, input: lucid.Tensor) -> lucid.Tensor:
        """The class of the highest probability: (N,)."""
        # As in the paper's code: clusters are looked into only where the head chose one.
        best = self.head(input).argmax(1)
        rows = (best >= self.shortlist_size).nonzero().reshape(-1)
        if not rows.numel():
            return best
        return best.index_copy(0, rows, self.log_prob(input[rows]).argmax(1))
