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
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    conv2d,
    cross_entropy,
    dropout,
    embedding,
    gelu,
    huber_loss,
    kl_div,
    l1_loss,
    layer_norm,
    linear,
    log_softmax,
    logsigmoid,
    max_pool2d,
    mse_loss,
    nll_loss,
    normalize,
    one_hot,
    pad,
    scaled_dot_product_attention,
    sigmoid,
    smooth_l1_loss,
    softmax,
    softmin,
    softplus,
    tanh,
)

__all__ = [
    "adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "conv2d", "cross_entropy", "dropout", "elu", "embedding",
    "gelu", "hardsigmoid", "hardswish", "hardtanh", "huber_loss", "kl_div", "l1_loss",
    "layer_norm", "leaky_relu", "linear", "log_softmax", "logsigmoid", "max_pool2d", "mish",
    "mse_loss", "nll_loss", "normalize", "one_hot", "pad", "relu", "relu6",
    "scaled_dot_product_attention", "sigmoid", "silu", "smooth_l1_loss", "softmax", "softmin",
    "softplus", "tanh",
]  # fmt: skip


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0); `inplace` writes into x.

    >>> import lucid
    >>> lucid.nn.functional.relu(lucid.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return _into(input, ops.relu(input), inplace)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.relu6(lucid.tensor([-1.0, 5.0, 7.0])).tolist()
    [0.0, 5.0, 6.0]
    """
    return _into(input, ops.relu6(input), inplace)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where x > 0, else negative_slope x; `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.leaky_relu(lucid.tensor([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    return _into(input, ops.leaky_relu(input, negative_slope), inplace)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha (exp(x) - 1); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.elu(lucid.tensor([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return _into(input, ops.elu(input, alpha), inplace)


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.silu(lucid.tensor(0.0)).item()
    0.0
    """
    return _into(input, ops.silu(input), inplace)


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(log(1 + exp(x))); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.mish(lucid.tensor(0.0)).item()
    0.0
    """
    return _into(input, ops.mish(input), inplace)


def hardtanh(
    input: Any,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> Any:
    """min(max(x, min_val), max_val); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.hardtanh(lucid.tensor([-4.0, 0.5, 4.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    return _into(input, ops.hardtanh(input, min_val, max_val), inplace)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6; `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.hardsigmoid(lucid.tensor([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return _into(input, ops.hardsigmoid(input), inplace)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x min(max(x + 3, 0), 6) / 6; `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.hardswish(lucid.tensor([-4.0, 0.0, 4.0])).tolist()
    [-0.0, 0.0, 4.0]
    """
    return _into(input, ops.hardswish(input), inplace)


def _into(input: Any, result: Any, inplace: bool) -> Any:
    return input.copy_(result) if inplace else result
