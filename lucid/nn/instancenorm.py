"""InstanceNorm1d, 2d, 3d (Ulyanov et al., 2016). Called by users' models."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.batchnorm import _NormBase


class _InstanceNorm(_NormBase):
    rank: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        options = (affine, track_running_stats, device, dtype)
        super().__init__(num_features, eps, momentum, *options, bias=bias)

    def _check_input_dim(self, x: lucid.Tensor) -> None:
        if x.dim() not in (self.rank + 1, self.rank + 2):
            raise ValueError(
                f"expected {self.rank + 1}D or {self.rank + 2}D input (got {x.dim()}D input)"
            )

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        self._check_input_dim(input)
        channels = input.shape[input.dim() - self.rank - 1]
        if channels != self.num_features and self.affine:
            raise ValueError(
                f"expected {self.num_features} channels, got {channels} in an input of shape "
                f"{tuple(input.shape)}"
            )
        single = input.dim() == self.rank + 1
        y = F.instance_norm(
            input.unsqueeze(0) if single else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return y.squeeze(0) if single else y


class InstanceNorm1d(_InstanceNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias. x: (N, C, L) or without N.

    Mean and biased variance are those of each channel of each sample. With track_running_stats
    evaluation uses running ones, which in training move by `momentum` towards the batch's mean.

    >>> import lucid
    >>> lucid.nn.InstanceNorm1d(3)(lucid.ones(2, 3, 4)).sum().item()
    0.0
    """

    rank = 1


class InstanceNorm2d(_InstanceNorm):
    """As InstanceNorm1d. x: (N, C, H, W) or without N.

    >>> import lucid
    >>> lucid.nn.InstanceNorm2d(3)(lucid.ones(2, 3, 4, 4)).sum().item()
    0.0
    """

    rank = 2


class InstanceNorm3d(_InstanceNorm):
    """As InstanceNorm1d. x: (N, C, D, H, W) or without N.

    >>> import lucid
    >>> lucid.nn.InstanceNorm3d(3)(lucid.ones(2, 3, 2, 4, 4)).sum().item()
    0.0
    """

    rank = 3
