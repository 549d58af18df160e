"""BatchNorm1d, 2d, 3d and SyncBatchNorm (Ioffe and Szegedy, 2015). Called by users' models.

instancenorm.py shares `_NormBase`.
"""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter


class _NormBase(Module):
    """Parameters and running statistics per channel."""

    _version = 2  # 1 had no num_batches_tracked
    running_mean: lucid.Tensor | None
    running_var: lucid.Tensor | None
    num_batches_tracked: lucid.Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        made = {"device": device, "dtype": dtype}
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            parameter = Parameter(lucid.empty(num_features, **made)) if wanted else None
            self.register_parameter(name, parameter)
        tracks = track_running_stats
        self.register_buffer("running_mean", lucid.zeros(num_features, **made) if tracks else None)
        self.register_buffer("running_var", lucid.ones(num_features, **made) if tracks else None)
        count = lucid.tensor(0, dtype=lucid.int64, device=device) if tracks else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics: mean 0, variance 1, no batch seen."""
        if self.track_running_stats:
            self.running_mean.zero_()  # type: ignore[union-attr]
            self.running_var.fill_(1)  # type: ignore[union-attr]
            self.num_batches_tracked.zero_()  # type: ignore[union-attr]

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, statistics forgotten."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, x: lucid.Tensor) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not say which shapes it takes")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats:
            own = self.num_batches_tracked
            state_dict.setdefault(key, lucid.tensor(0, dtype=lucid.int64) if own is None else own)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


class _BatchNorm(_NormBase):
    def _average_factor(self) -> float:
        """The weight of this batch in the running statistics; counts the batch."""
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain mean of all batches
                return 1.0 / float(self.num_batches_tracked)
        return 0.0 if self.momentum is None else self.momentum

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        self._check_input_dim(input)
        factor, mean, var = self._average_factor(), self.running_mean, self.running_var
        batch_statistics = self.training or (mean is None and var is None)
        kept = (mean, var) if not self.training or self.track_running_stats else (None, None)
        return F.batch_norm(
            input, *kept, self.weight, self.bias, batch_statistics, factor, self.eps
        )


class BatchNorm1d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, per channel. x: (N, C) or (N, C, L).

    In training mean and biased variance are the batch's, and the running statistics move by
    `momentum` (None: the mean of all batches so far) towards mean and unbiased variance; in
    evaluation they take the batch's place.

    >>> import lucid
    >>> lucid.nn.BatchNorm1d(3)(lucid.zeros(2, 3)).shape
    lucid.Size([2, 3])
    """

    def _check_input_dim(self, x: lucid.Tensor) -> None:
        if x.dim() not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {x.dim()}D input)")


class BatchNorm2d(_BatchNorm):
    """As BatchNorm1d, for images. x: (N, C, H, W).

    >>> import lucid
    >>> lucid.nn.BatchNorm2d(3)(lucid.zeros(2, 3, 4, 4)).shape
    lucid.Size([2, 3, 4, 4])
    """

    def _check_input_dim(self, x: lucid.Tensor) -> None:
        if x.dim() != 4:
            raise ValueError(f"expected 4D input (got {x.dim()}D input)")


class BatchNorm3d(_BatchNorm):
    """As BatchNorm1d, for volumes. x: (N, C, D, H, W).

    >>> import lucid
    >>> lucid.nn.BatchNorm3d(3)(lucid.zeros(2, 3, 2, 4, 4)).shape
    lucid.Size([2, 3, 2, 4, 4])
    """

    def _check_input_dim(self, x: lucid.Tensor) -> None:
        if x.dim() != 5:
            raise ValueError(f"expected 5D input (got {x.dim()}D input)")


class SyncBatchNorm(_BatchNorm):
    """BatchNorm of x (N, C, ...) whose statistics are those of all processes' batches.

    In one process, which is all that there is so far, it is BatchNorm; a `process_group` raises.

    >>> import lucid
    >>> lucid.nn.SyncBatchNorm(3)(lucid.zeros(2, 3)).shape
    lucid.Size([2, 3])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        if process_group is not None:
            raise NotImplementedError("SyncBatchNorm: process_group is not supported; use None")
        options = (affine, track_running_stats, device, dtype)
        super().__init__(num_features, eps, momentum, *options, bias=bias)
        self.process_group = None

    def _check_input_dim(self, x: lucid.Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {x.dim()}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with each BatchNorm in it replaced by a SyncBatchNorm of the same tensors."""
        made = module
        if isinstance(module, _BatchNorm):
            options = (module.affine, module.track_running_stats, process_group)
            made = cls(module.num_features, module.eps, module.momentum, *options)
            made._parameters.update(module._parameters)
            made._buffers.update(module._buffers)
            made.train(module.training)
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made
