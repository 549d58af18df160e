"""Samples of activations, losses, embeddings and what follows sequences: see samples.py."""

import lucid
import lucid.nn.functional as F
from tests.samples import R, sample, whole


@sample
def gated(n, kind):
    x = R(4, 2 * n, kind=kind)
    return [F.glu(x), F.glu(x, 0), F.rrelu(x, training=True), F.gumbel_softmax(x)]


@sample
def losses_of_elements(n, kind):
    x, t, p = R(3, n, kind=kind), R(3, n, kind=kind).detach(), R(n, kind=kind).detach()
    return [
        F.smooth_l1_loss(x, t),
        F.huber_loss(x, t, "sum"),
        F.binary_cross_entropy_with_logits(x, t, pos_weight=p),
        F.kl_div(x, t, log_target=True),
        F.poisson_nll_loss(x, t, full=True),
        F.gaussian_nll_loss(x, t, t, reduction="none"),
        F.soft_margin_loss(x, t),
        F.hinge_embedding_loss(x, t),
        F.margin_ranking_loss(x[0], x[1], p),
    ]


@sample
def margins_and_distances(n, kind):
    x, w, t = R(3, n, kind=kind), R(3, n, kind=kind), whole(3)
    made = [
        F.cosine_embedding_loss(x, w, lucid.tensor([1, -1, 1])),
        F.multi_margin_loss(x, t, weight=R(n, kind=kind).detach()),
        F.multilabel_margin_loss(x, whole(3, n) - 1),
        F.multilabel_soft_margin_loss(x, w.detach()),
        F.triplet_margin_loss(x, w, w * 2, swap=True),
        F.pdist(x),
    ]
    if kind in (lucid.float32, lucid.float64):
        made += [F.bilinear(x, w, R(2, n, n, kind=kind))]
    return made


@sample
def alignments(n, kind):
    x = R(4, 2, n, kind=kind).log_softmax(2)
    return [F.ctc_loss(x, whole(2, 2, high=2) + 1, [4, 3], [2, 1], zero_infinity=True)]


@sample
def bags(n, kind):
    w, places = R(5, n, kind=kind), whole(3, 2, high=5)
    return [
        F.embedding_bag(places, w),
        F.embedding_bag(places, w, mode="max"),
        F.embedding_bag(places.reshape(-1), w, lucid.tensor([0, 2, 2]), padding_idx=1),
        F.embedding_bag(places, w, mode="sum", per_sample_weights=R(3, 2, kind=kind)),
        F.embedding(places, R(5, n, kind=kind), scale_grad_by_freq=True, max_norm=0.5),
    ]


@sample
def recurrent_layers(n, kind):
    kind = kind if kind is lucid.float64 else lucid.float32
    size = min(n, 5)
    made = []
    for model in (
        lucid.nn.LSTM(3, size),
        lucid.nn.LSTM(3, size, proj_size=1, bidirectional=True),
        lucid.nn.GRU(3, size),
        lucid.nn.RNN(3, size),
    ):
        model = model.to(kind)
        x = R(2, 10, 3, kind=kind)
        packed = lucid.nn.utils.rnn.pack_padded_sequence(x, [2] * 4 + [1] * 6)
        made += [model(x)[0], model(packed)[0].data]
    return made


@sample
def attention_with_dropout(n, kind):
    q, k, mask = R(2, 2, n, 4, kind=kind), R(2, 1, n, 4, kind=kind), R(n, n, kind=kind)
    return [
        F.scaled_dot_product_attention(q, q, q, mask, dropout_p=0.3),
        F.scaled_dot_product_attention(q, k, k, dropout_p=0.3, enable_gqa=True),
    ]
