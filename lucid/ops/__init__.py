"""The ops: one record each, and the functions made of them.

Importing this package attaches the methods to Tensor. `functions` and `creators` hold what
lucid/__init__.py publishes; the names below are those of networks, for lucid.nn.functional.
"""

from lucid.ops.attention import scaled_dot_product_attention
from lucid.ops.contract import linear
from lucid.ops.conv import conv2d
from lucid.ops.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from lucid.ops.methods import creators, functions
from lucid.ops.normalize import batch_norm, layer_norm, log_softmax, softmax, softmin
from lucid.ops.padding import embedding, normalize, one_hot, pad
from lucid.ops.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from lucid.ops.random import dropout

relu, relu6, leaky_relu, elu = (functions[n] for n in ("relu", "relu6", "leaky_relu", "elu"))
silu, gelu, mish, softplus = (functions[n] for n in ("silu", "gelu", "mish", "softplus"))
sigmoid, tanh, logsigmoid = (functions[n] for n in ("sigmoid", "tanh", "logsigmoid"))
hardtanh, hardsigmoid, hardswish = (functions[n] for n in ("hardtanh", "hardsigmoid", "hardswish"))
where = functions["where"]

__all__ = [
    "adaptive_avg_pool2d", "avg_pool2d", "conv2d", "max_pool2d", "scaled_dot_product_attention",
    "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits", "creators",
    "cross_entropy", "dropout", "elu", "embedding", "functions", "gelu", "hardsigmoid",
    "hardswish", "hardtanh", "huber_loss", "kl_div", "l1_loss", "layer_norm", "leaky_relu",
    "linear", "log_softmax", "logsigmoid", "mish", "mse_loss", "nll_loss", "normalize", "one_hot",
    "pad", "relu", "relu6", "sigmoid", "silu", "smooth_l1_loss", "softmax", "softmin", "softplus",
    "tanh", "where",
]  # fmt: skip
