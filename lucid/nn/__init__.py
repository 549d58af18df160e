"""lucid.nn: modules, their parameters, layers, losses and how they start.

Loaded on first use of `lucid.nn`. Nothing of the core imports it.
"""

from lucid.nn import functional, init, utils
from lucid.nn.activation import (
    GELU,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from lucid.nn.batchnorm import BatchNorm1d, BatchNorm2d
from lucid.nn.container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from lucid.nn.conv import Conv2d
from lucid.nn.dropout import Dropout
from lucid.nn.flatten import Flatten, Unflatten
from lucid.nn.linear import Identity, Linear
from lucid.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from lucid.nn.module import Module
from lucid.nn.normalization import LayerNorm
from lucid.nn.parameter import Buffer, Parameter
from lucid.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from lucid.nn.sparse import Embedding

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GELU",
    "Identity",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Unflatten",
    "functional",
    "init",
    "utils",
]
