"""lucid.nn.functional: the ops of networks under PyTorch's names, as functions.

The ops themselves are records in lucid/ops; here they are named. Called by the layers and by
users.
"""

from lucid.nn.functional_activation import (
    celu,
    celu_,
    elu,
    elu_,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    hardtanh_,
    leaky_relu,
    leaky_relu_,
    mish,
    prelu,
    relu,
    relu6,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    silu,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
    threshold_,
)
from lucid.nn.functional_attention import multi_head_attention_forward
from lucid.ops import (
    adaptive_avg_pool2d,
    avg_pool2d,
    batch_norm,
    conv2d,
    cross_entropy,
    dropout,
    gelu,
    layer_norm,
    linear,
    log_softmax,
    logsigmoid,
    max_pool2d,
    nll_loss,
    normalize,
    one_hot,
    pad,
    scaled_dot_product_attention,
    sigmoid,
    softmax,
    softmin,
    softplus,
    tanh,
)
from lucid.ops.activation import glu
from lucid.ops.ctc import ctc_loss
from lucid.ops.distance import bilinear, cosine_similarity, pairwise_distance, pdist
from lucid.ops.embedding import embedding, embedding_bag
from lucid.ops.loss_elements import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
)
from lucid.ops.loss_margin import (
    cosine_embedding_loss,
    linear_cross_entropy,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)

__all__ = [
    "adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "bilinear", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "celu", "celu_", "conv2d", "cosine_embedding_loss",
    "cosine_similarity", "cross_entropy", "ctc_loss", "dropout", "elu", "elu_", "embedding",
    "embedding_bag", "gaussian_nll_loss", "gelu", "glu", "gumbel_softmax", "hardshrink",
    "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "hinge_embedding_loss", "huber_loss",
    "kl_div", "l1_loss", "layer_norm", "leaky_relu", "leaky_relu_", "linear",
    "linear_cross_entropy", "log_softmax", "logsigmoid", "margin_ranking_loss", "max_pool2d",
    "mish", "mse_loss", "multi_margin_loss", "multi_head_attention_forward",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "nll_loss", "normalize", "one_hot", "pad", "pairwise_distance",
    "pdist", "poisson_nll_loss", "prelu", "relu", "relu6", "relu_", "rrelu", "rrelu_",
    "scaled_dot_product_attention", "selu", "selu_", "sigmoid", "silu", "smooth_l1_loss",
    "soft_margin_loss", "softmax", "softmin", "softplus", "softshrink", "softsign", "tanh",
    "tanhshrink", "threshold", "threshold_", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip
