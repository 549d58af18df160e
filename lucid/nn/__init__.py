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
from lucid.nn.activation_more import (
    CELU,
    ELU,
    GLU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LogSigmoid,
    Mish,
    PReLU,
    ReLU6,
    RReLU,
    Softmax2d,
    Softmin,
    Softplus,
    Softshrink,
    Softsign,
    Tanhshrink,
    Threshold,
)
from lucid.nn.adaptive import AdaptiveLogSoftmaxWithLoss
from lucid.nn.attention import MultiheadAttention
from lucid.nn.batchnorm import BatchNorm1d, BatchNorm2d
from lucid.nn.container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from lucid.nn.conv import Conv2d
from lucid.nn.distance import CosineSimilarity, PairwiseDistance
from lucid.nn.dropout import Dropout
from lucid.nn.flatten import Flatten, Unflatten
from lucid.nn.linear import Bilinear, Identity, Linear
from lucid.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from lucid.nn.loss_more import (
    BCELoss,
    CosineEmbeddingLoss,
    CTCLoss,
    GaussianNLLLoss,
    HingeEmbeddingLoss,
    HuberLoss,
    KLDivLoss,
    LinearCrossEntropyLoss,
    MarginRankingLoss,
    MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss,
    MultiMarginLoss,
    PoissonNLLLoss,
    SmoothL1Loss,
    SoftMarginLoss,
    TripletMarginLoss,
    TripletMarginWithDistanceLoss,
)
from lucid.nn.module import Module
from lucid.nn.normalization import LayerNorm
from lucid.nn.parameter import Buffer, Parameter
from lucid.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from lucid.nn.rnn import GRU, LSTM, RNN, RNNBase
from lucid.nn.rnn_cell import GRUCell, LSTMCell, RNNCell, RNNCellBase
from lucid.nn.sparse import Embedding, EmbeddingBag
from lucid.nn.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "AdaptiveAvgPool2d", "AdaptiveLogSoftmaxWithLoss", "AvgPool2d", "BCELoss", "BCEWithLogitsLoss",
    "BatchNorm1d", "BatchNorm2d", "Bilinear", "Buffer", "CELU", "CTCLoss", "Conv2d",
    "CosineEmbeddingLoss", "CosineSimilarity", "CrossEntropyLoss", "Dropout", "ELU", "Embedding",
    "EmbeddingBag", "Flatten", "GELU", "GLU", "GRU", "GRUCell", "GaussianNLLLoss", "Hardshrink",
    "Hardsigmoid", "Hardswish", "Hardtanh", "HingeEmbeddingLoss", "HuberLoss", "Identity",
    "KLDivLoss", "L1Loss", "LSTM", "LSTMCell", "LayerNorm", "LeakyReLU", "Linear",
    "LinearCrossEntropyLoss", "LogSigmoid", "LogSoftmax", "MSELoss", "MarginRankingLoss",
    "MaxPool2d", "Mish", "Module", "ModuleDict", "ModuleList", "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss", "MultiMarginLoss", "MultiheadAttention", "NLLLoss", "PReLU",
    "PairwiseDistance", "Parameter", "ParameterDict", "ParameterList", "PoissonNLLLoss", "RNN",
    "RNNBase", "RNNCell", "RNNCellBase", "RReLU", "ReLU", "ReLU6", "SELU", "Sequential", "SiLU",
    "Sigmoid", "SmoothL1Loss", "SoftMarginLoss", "Softmax", "Softmax2d", "Softmin", "Softplus",
    "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold", "Transformer",
    "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer", "TripletMarginLoss", "TripletMarginWithDistanceLoss", "Unflatten",
    "functional", "init", "utils",
]  # fmt: skip
