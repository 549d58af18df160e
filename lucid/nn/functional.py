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
from lucid.nn.functional_pooling import (
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d_with_indices,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d_with_indices,
    max_pool1d_with_indices,
    max_pool2d_with_indices,
    max_pool3d_with_indices,
)
from lucid.ops import (
    batch_norm,
    dropout,
    gelu,
    layer_norm,
    linear,
    log_softmax,
    logsigmoid,
    normalize,
    one_hot,
    sigmoid,
    softmax,
    softmin,
    softplus,
    tanh,
)
from lucid.ops.activation import glu
from lucid.ops.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from lucid.ops.attention import scaled_dot_product_attention
from lucid.ops.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from lucid.ops.ctc import ctc_loss
from lucid.ops.distance import bilinear, cosine_similarity, pairwise_distance, pdist
from lucid.ops.dropouts import (
    alpha_dropout,
    drop_block,
    drop_path,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from lucid.ops.embedding import embedding, embedding_bag
from lucid.ops.fold import (
    channel_shuffle,
    fold,
    pixel_shuffle,
    pixel_unshuffle,
    unfold,
)
from lucid.ops.grid import (
    affine_grid,
    grid_sample,
)
from lucid.ops.group_norms import (
    global_response_norm,
    group_norm,
    instance_norm,
    local_response_norm,
    rms_norm,
)
from lucid.ops.interpolate import (
    interpolate,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from lucid.ops.loss import cross_entropy, nll_loss
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
from lucid.ops.padding_modes import (
    pad,
)
from lucid.ops.pool import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from lucid.ops.unpool import (
    fractional_max_pool2d,
    fractional_max_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)

__all__ = [
    "batch_norm", "bilinear", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "celu", "celu_", "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "ctc_loss",
    "dropout", "elu", "elu_", "embedding", "embedding_bag", "gaussian_nll_loss", "gelu", "glu",
    "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_",
    "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss", "layer_norm", "leaky_relu",
    "leaky_relu_", "linear", "linear_cross_entropy", "log_softmax", "logsigmoid",
    "margin_ranking_loss", "mish", "mse_loss", "multi_head_attention_forward",
    "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss", "nll_loss",
    "normalize", "one_hot", "pairwise_distance", "pdist", "poisson_nll_loss", "prelu", "relu",
    "relu6", "relu_", "rrelu", "rrelu_", "scaled_dot_product_attention", "selu", "selu_",
    "sigmoid", "silu", "smooth_l1_loss", "soft_margin_loss", "softmax", "softmin", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "threshold_",
    "triplet_margin_loss", "triplet_margin_with_distance_loss",
]  # fmt: skip
# Spatial ops
__all__ += [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "affine_grid", "alpha_dropout", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "channel_shuffle", "conv1d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "drop_block", "drop_path",
    "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "fold",
    "fractional_max_pool2d", "fractional_max_pool3d", "global_response_norm", "grid_sample",
    "group_norm", "instance_norm", "interpolate", "local_response_norm", "lp_pool1d",
    "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "max_unpool1d",
    "max_unpool2d", "max_unpool3d", "pad", "pixel_shuffle", "pixel_unshuffle", "rms_norm",
    "unfold", "upsample", "upsample_bilinear", "upsample_nearest",
]  # fmt: skip
__all__ += [
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d_with_indices", "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d_with_indices", "max_pool1d_with_indices", "max_pool2d_with_indices",
    "max_pool3d_with_indices",
]  # fmt: skip
