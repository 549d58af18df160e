"""What test_sequence_golden.py runs on Lucid and tools/golden_sequence.py on PyTorch: activations,
losses, embeddings, recurrent networks, attention. One program text for both.

A case is made with `t`, a module with PyTorch's names; `run` gives its outputs and gradients.
"""

import zlib

import numpy as np

CASES = {}


def module(name, make, *inputs, call=None, **options):
    """A case: `make(nn)` a module, `inputs` arrays or functions of a random generator."""
    CASES[name] = (make, inputs, call, options)


def N(*shape, low=None, high=None):
    """Normal numbers, or uniform ones in (low, high)."""
    if low is None:
        return lambda rng: rng.standard_normal(shape)
    return lambda rng: rng.uniform(low, high, shape)


def I(*shape, high):  # noqa: E743
    return lambda rng: rng.integers(0, high, shape)


def S(*shape):
    return lambda rng: np.where(rng.random(shape) > 0.5, 1.0, -1.0)


def A(*values):
    return lambda rng: np.array(*values)


def run(t, name):
    """{what: array}: outputs, gradients of inputs and of parameters, all in float64."""
    make, inputs, call, options = CASES[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    model = make(t.nn)
    if hasattr(model, "parameters"):
        model = model.double()
        model.train(options.get("train", True))
        for _, p in sorted(model.named_parameters()):
            p.data = t.from_numpy(rng.standard_normal(tuple(p.shape)) * 0.4)
    arrays = [x(rng) if callable(x) else x for x in inputs]
    fixed = options.get("fixed", ())
    given = []
    for i, x in enumerate(arrays):
        x = t.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x
        floats = getattr(x, "is_floating_point", bool)
        if floats() and i not in fixed:
            x.requires_grad_()
        given.append(x)
    made = (call or (lambda t, m, *xs: m(*xs)))(t, model, *given)
    outputs = [y for y in flat(made) if y.is_floating_point()]
    loss = sum(
        (y * t.from_numpy(rng.standard_normal(tuple(y.shape)))).sum()
        for y in outputs
        if y.requires_grad
    )
    loss.backward()
    found = {f"y{i}": y for i, y in enumerate(outputs)}
    found |= {f"gx{i}": x.grad for i, x in enumerate(given) if getattr(x, "grad", None) is not None}
    if hasattr(model, "parameters"):
        found |= {
            f"g.{n}": p.grad for n, p in sorted(model.named_parameters()) if p.grad is not None
        }
    return {k: np.array(v.detach().numpy(), np.float64, order="C") for k, v in found.items()}


def flat(made):
    if isinstance(made, (tuple, list)):
        return [y for part in made for y in flat(part)]
    return [] if made is None else [made]


# Activations
for _name, _arguments in {
    "LogSigmoid": (), "Softsign": (), "Tanhshrink": (), "SELU": (), "Mish": (), "Hardswish": (),
    "Hardsigmoid": (), "Hardtanh": (-0.7, 0.4), "ReLU6": (), "ELU": (0.5,), "CELU": (0.5,),
    "Softplus": (2.0, 3.0), "Softshrink": (0.3,), "Hardshrink": (0.3,), "Threshold": (0.1, 2.0),
    "GLU": (-2,), "PReLU": (5,), "Softmin": (1,), "SiLU": (), "GELU": (), "LeakyReLU": (0.2,),
    "ReLU": (), "Sigmoid": (), "Tanh": (), "Softmax": (0,), "LogSoftmax": (1,),
}.items():  # fmt: skip
    module(
        _name, lambda nn, n=_name, a=_arguments: getattr(nn, n)(*a),
        lambda rng: rng.standard_normal((4, 5)) * 2,
    )  # fmt: skip
module("RReLU", lambda nn: nn.RReLU(0.1, 0.5), N(4, 5), train=False)
module("Softmax2d", lambda nn: nn.Softmax2d(), N(2, 3, 2, 2))

# Losses. `fixed`: inputs, by number, whose gradient PyTorch does not give.
P = N(4, 5, low=0.1, high=0.9)
_LABELS = np.array([[0, 2, -1, 1, 1], [4, -1, 0, 0, 0], [-1] * 5, [1, 2, 3, 4, 0]])
for _reduction in ("mean", "sum", "none"):
    for _name, _options, _inputs, _more in (
        ("L1Loss", {}, (N(4, 5), N(4, 5)), {}),
        ("MSELoss", {}, (N(4, 5), N(4, 5)), {}),
        ("SmoothL1Loss", {"beta": 0.5}, (N(4, 5), N(4, 5)), {}),
        ("HuberLoss", {"delta": 0.5}, (N(4, 5), N(4, 5)), {}),
        ("BCELoss", {}, (P, P), {}),
        ("BCEWithLogitsLoss", {}, (N(4, 5), P), {}),
        ("KLDivLoss", {}, (N(4, 5), P), {}),
        ("KLDivLoss", {"log_target": True}, (N(4, 5), N(4, 5)), {}),
        ("PoissonNLLLoss", {"full": True}, (N(4, 5), N(4, 5, low=0.5, high=4)), {}),
        ("PoissonNLLLoss", {"log_input": False}, (P, P), {}),
        ("GaussianNLLLoss", {"full": True}, (N(4, 5), N(4, 5), P), {}),
        ("SoftMarginLoss", {}, (N(4, 5), S(4, 5)), {"fixed": (1,)}),
        ("HingeEmbeddingLoss", {"margin": 0.8}, (N(4, 5), S(4, 5)), {"fixed": (1,)}),
        ("CosineEmbeddingLoss", {"margin": 0.1}, (N(4, 5), N(4, 5), S(4)), {"fixed": (2,)}),
        ("MarginRankingLoss", {"margin": 0.3}, (N(4), N(4), S(4)), {"fixed": (2,)}),
        ("MultiMarginLoss", {"p": 2}, (N(4, 5), I(4, high=5)), {}),
        ("MultiLabelMarginLoss", {}, (N(4, 5), _LABELS), {}),
        ("MultiLabelSoftMarginLoss", {}, (N(4, 5), P), {"fixed": (1,)}),
        ("TripletMarginLoss", {"swap": True}, (N(4, 5), N(4, 5), N(4, 5)), {}),
        ("TripletMarginWithDistanceLoss", {}, (N(4, 5), N(4, 5), N(4, 5)), {}),
        ("CrossEntropyLoss", {"label_smoothing": 0.1}, (N(4, 5), I(4, high=5)), {}),
        ("CrossEntropyLoss", {}, (N(4, 5, 3), I(4, 3, high=5)), {}),
        ("NLLLoss", {}, (N(4, 5), I(4, high=5)), {}),
    ):  # fmt: skip
        module(
            f"{_name}.{'.'.join(_options)}.{_inputs[0] is P}.{_reduction}",
            lambda nn, n=_name, o=_options, r=_reduction: getattr(nn, n)(**o, reduction=r),
            *_inputs, **_more,
        )  # fmt: skip
    module(
        f"CTCLoss.{_reduction}",
        lambda nn, r=_reduction: nn.CTCLoss(reduction=r, zero_infinity=True),
        N(9, 4, 6),
        np.array([[1, 2, 2], [1, 1, 3], [5, 1, 1], [2, 2, 2]]),
        np.array([9, 7, 9, 3]),
        np.array([3, 2, 0, 3]),
        call=lambda t, m, x, *rest: m(x.log_softmax(2), *rest),
    )
module(
    "CTCLoss.joined",
    lambda nn: nn.CTCLoss(blank=2),
    N(7, 2, 5), np.array([1, 3, 3, 4]), np.array([7, 6]), np.array([3, 1]),
    call=lambda t, m, x, *rest: m(x.log_softmax(2), *rest),
)  # fmt: skip
module("KLDivLoss.batchmean", lambda nn: nn.KLDivLoss(reduction="batchmean"), N(4, 5), P)
module(
    "BCEWithLogitsLoss.weights", lambda nn: nn.BCEWithLogitsLoss(), N(4, 5), P, P, N(5),
    call=lambda t, m, x, y, w, p: t.nn.functional.binary_cross_entropy_with_logits(
        x, y, w, pos_weight=p
    ),
    fixed=(2, 3),
)  # fmt: skip
module(
    "AdaptiveLogSoftmaxWithLoss",
    lambda nn: nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 10], head_bias=True),
    N(6, 16), np.array([0, 4, 7, 12, 19, 10]),
)  # fmt: skip
module(
    "LinearCrossEntropyLoss", lambda nn: nn.LinearCrossEntropyLoss(4, 5, bias=True),
    N(3, 4), I(3, high=5),
)  # fmt: skip

# Distances, bilinear forms, embeddings
module("CosineSimilarity", lambda nn: nn.CosineSimilarity(), N(4, 5), N(4, 5))
module("PairwiseDistance", lambda nn: nn.PairwiseDistance(3.0), N(4, 5), N(4, 5))
for _p in (1.0, 2.0, 3.0, float("inf")):
    module(
        f"pdist.{_p}", lambda nn: None, N(5, 3),
        call=lambda t, m, x, p=_p: t.nn.functional.pdist(x, p),
    )  # fmt: skip
module("Bilinear", lambda nn: nn.Bilinear(4, 5, 6), N(2, 3, 4), N(2, 3, 5))
_INDICES = np.array([[2, 2, 2, 1, 0], [5, 6, 2, 9, 9], [1, 3, 2, 8, 7]])
for _name, _options in {
    "plain": {}, "padding": {"padding_idx": 2}, "frequency": {"scale_grad_by_freq": True},
    "norm": {"max_norm": 0.5}, "norm1": {"max_norm": 0.5, "norm_type": 1.0},
}.items():  # fmt: skip
    module(
        f"Embedding.{_name}", lambda nn, o=_options: nn.Embedding(10, 3, **o), _INDICES,
    )  # fmt: skip
_OFFSETS = np.array([0, 3, 3, 10])
for _mode in ("sum", "mean", "max"):
    for _name, _options in {"plain": {}, "padding": {"padding_idx": 2}}.items():
        module(
            f"EmbeddingBag.{_mode}.{_name}",
            lambda nn, m=_mode, o=_options: nn.EmbeddingBag(10, 3, mode=m, **o), _INDICES,
        )  # fmt: skip
        module(
            f"EmbeddingBag.{_mode}.{_name}.offsets",
            lambda nn, m=_mode, o=_options: nn.EmbeddingBag(10, 3, mode=m, **o),
            _INDICES.reshape(-1), _OFFSETS,
        )  # fmt: skip
module(
    "EmbeddingBag.last", lambda nn: nn.EmbeddingBag(10, 3, mode="sum", include_last_offset=True),
    _INDICES.reshape(-1)[:10], _OFFSETS,
)  # fmt: skip
module(
    "EmbeddingBag.weights", lambda nn: nn.EmbeddingBag(10, 3, mode="sum"),
    _INDICES.reshape(-1), _OFFSETS, N(15),
)  # fmt: skip

# Recurrent networks
_HX = {"LSTM": 2, "GRU": 1, "RNN": 1}
for _name, _options in (
    ("LSTM", {"num_layers": 2}),
    ("LSTM", {"bidirectional": True, "batch_first": True}),
    ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
    ("LSTM", {"bias": False}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("GRU", {"bias": False, "batch_first": True}),
    ("RNN", {"num_layers": 2}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
):

    def _make(nn, name=_name, options=_options):
        return getattr(nn, name)(3, 5, **options)

    def _with_state(t, m, x, *hx):
        return m(x, hx if len(hx) > 1 else hx[0])

    _rows = _options.get("num_layers", 1) * (2 if _options.get("bidirectional") else 1)
    _sizes = [_options.get("proj_size") or 5, 5][: _HX[_name]]
    _text = ".".join(f"{k}={v}" for k, v in _options.items())
    module(f"{_name}.{_text}", _make, N(4, 4, 3))
    module(
        f"{_name}.{_text}.state", _make, N(4, 4, 3), *[N(_rows, 4, n) for n in _sizes],
        call=_with_state,
    )  # fmt: skip
    module(f"{_name}.{_text}.single", _make, N(6, 3))

    def _packed(t, m, x, *hx, first="batch_first" in _options):
        packed = t.nn.utils.rnn.pack_padded_sequence(
            x, t.tensor([2, 4, 1]), batch_first=first, enforce_sorted=False
        )
        y, last = m(packed, hx if len(hx) > 1 else hx[0])
        return t.nn.utils.rnn.pad_packed_sequence(y, batch_first=first)[0], last

    _shape = (3, 4, 3) if _options.get("batch_first") else (4, 3, 3)
    module(
        f"{_name}.{_text}.packed", _make, N(*_shape), *[N(_rows, 3, n) for n in _sizes],
        call=_packed,
    )  # fmt: skip
module("LSTMCell", lambda nn: nn.LSTMCell(3, 5), N(2, 3), N(2, 5), N(2, 5),
       call=lambda t, m, x, h, c: m(x, (h, c)))  # fmt: skip
module("LSTMCell.single", lambda nn: nn.LSTMCell(3, 5, bias=False), N(3))
module("GRUCell", lambda nn: nn.GRUCell(3, 5), N(2, 3), N(2, 5))
module("RNNCell", lambda nn: nn.RNNCell(3, 5), N(2, 3), N(2, 5))
module("RNNCell.relu", lambda nn: nn.RNNCell(3, 5, nonlinearity="relu"), N(2, 3), N(2, 5))

# Attention
_CAUSAL = np.triu(np.full((4, 4), -np.inf), 1)
_PADDING = np.array([[False, False, False, True], [False, False, True, True]])
for _name, _options, _call in (
    ("plain", {}, {}),
    ("heads", {}, {"average_attn_weights": False}),
    ("no weights", {}, {"need_weights": False}),
    ("no bias", {"bias": False}, {}),
    ("more keys", {"add_bias_kv": True, "add_zero_attn": True}, {"padded": True, "causal": True}),
    ("causal", {}, {"causal": True}),
    ("causal hint", {}, {"causal": True, "is_causal": True, "need_weights": False}),
    ("padded", {}, {"padded": True}),
    ("batch first", {"batch_first": True}, {"padded": True}),
):

    def _attend(t, m, x, *more, call=_call, first="batch_first" in _options):
        call = dict(call)
        if call.pop("causal", False):
            call["attn_mask"] = t.from_numpy(_CAUSAL)
        if call.pop("padded", False):
            padding = t.from_numpy(np.where(_PADDING, -np.inf, 0.0))
            call["key_padding_mask"] = padding
        return m(x, *(more or (x, x)), **call)

    def _make_attention(nn, options=_options):
        return nn.MultiheadAttention(8, 2, **options)

    _size = (2, 4, 8) if _options.get("batch_first") else (4, 2, 8)
    module(f"MultiheadAttention.{_name}", _make_attention, N(*_size), call=_attend)
    module(
        f"MultiheadAttention.{_name}.three", _make_attention, N(*_size), N(*_size), N(*_size),
        call=_attend,
    )  # fmt: skip
module(
    "MultiheadAttention.separate", lambda nn: nn.MultiheadAttention(8, 2, kdim=5, vdim=3),
    N(4, 2, 8), N(6, 2, 5), N(6, 2, 3),
)  # fmt: skip
module("MultiheadAttention.single", lambda nn: nn.MultiheadAttention(8, 2), N(4, 8),
       call=lambda t, m, x: m(x, x, x))  # fmt: skip
for _name, _options in (("sdpa", {}), ("causal", {"is_causal": True}), ("scale", {"scale": 0.3}),
                        ("groups", {"enable_gqa": True})):  # fmt: skip
    module(
        f"attention.{_name}", lambda nn: None, N(2, 4, 5, 8),
        N(2, 2 if _name == "groups" else 4, 5, 8), N(2, 2 if _name == "groups" else 4, 5, 6),
        call=lambda t, m, *x, o=_options: (
            t.nn.functional.scaled_dot_product_attention(*x, **o)
        ),
    )  # fmt: skip
for _name, _mask in (("bool", lambda rng: np.tri(5, dtype=bool)), ("float", N(2, 1, 5, 5))):
    module(
        f"attention.mask {_name}", lambda nn: None, N(2, 4, 5, 8), N(2, 4, 5, 8), N(2, 4, 5, 6),
        _mask, call=lambda t, m, *x: t.nn.functional.scaled_dot_product_attention(*x),
    )  # fmt: skip
for _first in (False, True):
    for _norm_first in (False, True):
        _made = {"dropout": 0.0, "norm_first": _norm_first, "batch_first": _first}
        _made |= {"activation": "gelu"} if _norm_first else {}
        module(
            f"TransformerEncoderLayer.{_first}.{_norm_first}",
            lambda nn, o=_made: nn.TransformerEncoderLayer(8, 2, 12, **o),
            N(2, 4, 8) if _first else N(4, 2, 8),
            call=lambda t, m, x: m(x, src_mask=t.from_numpy(_CAUSAL)),
        )
        module(
            f"TransformerDecoderLayer.{_first}.{_norm_first}",
            lambda nn, o=_made: nn.TransformerDecoderLayer(8, 2, 12, **o),
            N(2, 4, 8) if _first else N(4, 2, 8), N(2, 3, 8) if _first else N(3, 2, 8),
            call=lambda t, m, x, y: m(x, y, tgt_mask=t.from_numpy(_CAUSAL)),
        )  # fmt: skip
module(
    "TransformerEncoder",
    lambda nn: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0), 2, nn.LayerNorm(8),
        enable_nested_tensor=False,
    ),
    N(4, 2, 8),
    call=lambda t, m, x: m(x, src_key_padding_mask=t.from_numpy(_PADDING)),
)  # fmt: skip
module(
    "Transformer",
    lambda nn: nn.Transformer(8, 2, 1, 2, 12, dropout=0.0, bias=False),
    N(3, 2, 8), N(4, 2, 8),
    call=lambda t, m, x, y: m(
        x, y, tgt_mask=m.generate_square_subsequent_mask(4, dtype=t.float64), tgt_is_causal=True
    ),
)  # fmt: skip
module("Transformer.single", lambda nn: nn.Transformer(8, 2, 1, 1, 12, dropout=0.0),
       N(3, 8), N(4, 8))  # fmt: skip
