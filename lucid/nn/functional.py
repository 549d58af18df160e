"""lucid.nn.functional: the ops of networks under PyTorch's names, as functions.

The ops themselves are records in lucid/ops; here they are named, and `inplace` and the few
functions that are compositions are added. Called by the layers and by users.
"""

from __future__ import annotations

from typing import Any

from lucid import ops
from lucid.ops import (
    adaptive_avg_pool2d,
    avg_pool2d,
    batch_norm,
    binary_cross_entropy_with_logits,
    conv2d,
    cross_entropy,
    embedding,
    gelu,
    layer_norm,
    linear,
    log_softmax,
    max_pool2d,
    mse_loss,
    nll_loss,
    pad,
    scaled_dot_product_attention,
    sigmoid,
    softmax,
    tanh,
)

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]


def relu(input: Any, inplace: bool = False) -> Any:  # noqa: A002
    """max(x, 0); `inplace` writes into x.

    >>> import lucid
    >>> lucid.nn.functional.relu(lucid.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return input.relu_() if inplace else ops.relu(input)


def silu(input: Any, inplace: bool = False) -> Any:  # noqa: A002
    """x sigmoid(x); `inplace` writes into x."""
    return _into(input, ops.silu(input), inplace)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:  # noqa: A002
    """x where x > 0, else negative_slope x; `inplace` writes into x."""
    return _into(input, ops.where(input > 0, input, input * negative_slope), inplace)


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:  # noqa: A002
    """Zeros with probability p, the rest divided by 1 - p; x itself unless `training`."""
    return _into(input, ops.dropout(input, p, training), inplace)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:  # noqa: A002
    """|x - target|, its mean, its sum, or with reduction "none" element by element."""
    distance = (input - target).abs()
    if reduction == "none":
        return distance
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return distance.mean() if reduction == "mean" else distance.sum()


def _into(input: Any, result: Any, inplace: bool) -> Any:  # noqa: A002
    return input.copy_(result) if inplace else result
