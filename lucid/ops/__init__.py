"""The ops: one record each, and the functions made of them.

Importing this package attaches the methods to Tensor. `functions` and `creators` hold what
lucid/__init__.py publishes; the names below are those of networks, for lucid.nn.functional.
"""

from lucid.ops.contract import linear
from lucid.ops.methods import creators, functions
from lucid.ops.normalize import batch_norm, layer_norm, log_softmax, softmax, softmin
from lucid.ops.padding import (
    normalize,
    one_hot,
)
from lucid.ops.random import dropout

relu, relu6, leaky_relu, elu = (functions[n] for n in ("relu", "relu6", "leaky_relu", "elu"))
silu, gelu, mish, softplus = (functions[n] for n in ("silu", "gelu", "mish", "softplus"))
sigmoid, tanh, logsigmoid = (functions[n] for n in ("sigmoid", "tanh", "logsigmoid"))
hardtanh, hardsigmoid, hardswish = (functions[n] for n in ("hardtanh", "hardsigmoid", "hardswish"))
where = functions["where"]

__all__ = [
    "batch_norm", "creators", "dropout", "elu", "functions", "gelu", "hardsigmoid", "hardswish",
    "hardtanh", "layer_norm", "leaky_relu", "linear", "log_softmax", "logsigmoid", "mish",
    "normalize", "one_hot", "relu", "relu6", "sigmoid", "silu", "softmax", "softmin", "softplus",
    "tanh", "where",
]  # fmt: skip
