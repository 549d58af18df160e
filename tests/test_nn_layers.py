"""Layers and losses: values against NumPy, gradients, shapes, errors, repr; PyTorch where it is."""

import math
import warnings

import numpy as np
import pytest
from scipy import special

import lucid
from lucid import nn
from lucid.nn import functional as F


def array(tensor):
    return tensor.detach().numpy()


def sample(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(tensor, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(array(tensor), expected, rtol=rtol, atol=atol)


def test_linear():
    layer, x = nn.Linear(4, 3), sample(2, 5, 4)
    close(layer(lucid.tensor(x)), x @ array(layer.weight).T + array(layer.bias))
    plain = nn.Linear(4, 3, bias=False, dtype=lucid.float64)
    close(plain(lucid.tensor(x.astype(np.float64))), x @ array(plain.weight).T)
    with pytest.raises(Exception, match="4") as caught:
        layer(lucid.zeros(2, 7))
    assert "Linear" in caught.value.__notes__[0]


def test_identity_flatten_unflatten():
    x = lucid.zeros(2, 3, 4, 5)
    assert nn.Identity(3, any=1)(x) is x
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(0, 1)(x).shape == (6, 4, 5)
    assert nn.Unflatten(-1, (5, -1))(x).shape == (2, 3, 4, 5, 1)
    assert nn.Unflatten(1, [3, 1])(x).shape == (2, 3, 1, 4, 5)
    with pytest.raises(TypeError, match="tuple of integers"):
        nn.Unflatten(1, 3)
    with pytest.raises(TypeError, match="str"):
        nn.Unflatten("c", (1, 3))
    with pytest.raises(IndexError, match="out of range"):
        nn.Unflatten(4, (1,))(x)


def convolve(x, w, b, stride, padding, dilation, groups):
    """A direct cross-correlation: x (N, C, H, W), w (O, C/groups, KH, KW)."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *[(p, p) for p in padding]))
    n, c, h, w_ = x.shape
    o, per, kh, kw = w.shape
    oh = (h - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (w_ - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, oh, ow))
    for k in range(o):
        first = k // (o // groups) * per
        for i in range(oh):
            for j in range(ow):
                top, left = i * stride[0], j * stride[1]
                window = x[
                    :,
                    first : first + per,
                    top : top + dilation[0] * kh : dilation[0],
                    left : left + dilation[1] * kw : dilation[1],
                ][:, :, :kh, :kw]
                y[:, k, i, j] = (window * w[k]).sum((1, 2, 3)) + (0 if b is None else b[k])
    return y


@pytest.mark.parametrize(
    "options",
    [
        dict(kernel_size=3),
        dict(kernel_size=(2, 3), stride=(2, 1), padding=(1, 2)),
        dict(kernel_size=3, dilation=2, padding=2, bias=False),
        dict(kernel_size=3, groups=2, padding=1),
        dict(kernel_size=1, stride=2),
    ],
)
def test_conv2d(options):
    layer, x = nn.Conv2d(4, 6, **options), sample(2, 4, 7, 8)
    bias = None if layer.bias is None else array(layer.bias)
    expected = convolve(
        x, array(layer.weight), bias, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    close(layer(lucid.tensor(x)), expected, rtol=1e-4, atol=1e-5)


def test_conv2d_padding_by_name():
    x = lucid.tensor(sample(1, 2, 6, 7))
    same = nn.Conv2d(2, 3, (3, 5), padding="same")
    padded = nn.Conv2d(2, 3, (3, 5), padding=(1, 2))
    padded.load_state_dict(same.state_dict())
    close(same(x), array(padded(x)))
    assert nn.Conv2d(2, 3, 3, padding="valid")(x).shape == (1, 3, 4, 5)
    assert nn.Conv2d(2, 3, 3, padding="same", dilation=2)(x).shape == (1, 3, 6, 7)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(groups=0), "groups must be a positive"),
        (dict(groups=3), "in_channels must be divisible"),
        (dict(groups=2, out_channels=3), "out_channels must be divisible"),
        (dict(padding="half"), "Invalid padding string 'half'"),
        (dict(padding="same", stride=2), "strided"),
        (dict(padding_mode="up"), "padding_mode must be one of"),
    ],
)
def test_conv2d_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        nn.Conv2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3, **options})


@pytest.mark.parametrize(
    "make, shape, axes",
    [
        (nn.BatchNorm1d, (6, 3), (0,)),
        (nn.BatchNorm1d, (6, 3, 5), (0, 2)),
        (nn.BatchNorm2d, (6, 3, 4, 5), (0, 2, 3)),
    ],
)
def test_batch_norm(make, shape, axes):
    layer, x = make(3, momentum=0.3), sample(*shape) * 2 + 1
    with lucid.no_grad():
        layer.weight.copy_(lucid.tensor([1.0, 2.0, 3.0]))
        layer.bias.copy_(lucid.tensor([0.0, 1.0, -1.0]))
    form = (1, 3) + (1,) * (len(shape) - 2)
    w, b = array(layer.weight).reshape(form), array(layer.bias).reshape(form)
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    close(layer(lucid.tensor(x)), (x - mean) / np.sqrt(var + 1e-5) * w + b, 1e-4, 1e-5)
    n = x.size / 3
    close(layer.running_mean, 0.3 * mean.ravel())
    close(layer.running_var, 0.7 + 0.3 * var.ravel() * n / (n - 1))
    assert layer.num_batches_tracked.item() == 1
    with lucid.no_grad():
        layer(lucid.tensor(x))
    assert layer.num_batches_tracked.item() == 2
    layer.eval()
    m, v = array(layer.running_mean).reshape(form), array(layer.running_var).reshape(form)
    close(layer(lucid.tensor(x)), (x - m) / np.sqrt(v + 1e-5) * w + b, 1e-4, 1e-5)
    assert layer.num_batches_tracked.item() == 2


def test_batch_norm_forms():
    x = sample(8, 2)
    cumulative = nn.BatchNorm1d(2, momentum=None)
    for part in (x[:4], x[4:]):
        cumulative(lucid.tensor(part))
    close(cumulative.running_mean, x.reshape(2, 4, 2).mean(1).mean(0))
    free = nn.BatchNorm1d(2, affine=False, track_running_stats=False).eval()
    assert not free.state_dict()
    close(free(lucid.tensor(x)), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 1e-4, 1e-5)
    layer = nn.BatchNorm1d(2)
    layer(lucid.tensor(x))
    layer.reset_running_stats()
    assert (array(layer.running_mean) == 0).all() and (array(layer.running_var) == 1).all()
    with pytest.raises(ValueError, match=r"expected 2D or 3D input \(got 4D input\)"):
        layer(lucid.zeros(1, 2, 1, 1))
    with pytest.raises(ValueError, match=r"expected 4D input \(got 2D input\)"):
        nn.BatchNorm2d(2)(lucid.zeros(1, 2))
    with pytest.raises(ValueError, match="eps must be positive"):
        nn.BatchNorm1d(2, eps=0.0)(lucid.zeros(3, 2))


def test_layer_norm():
    x = sample(2, 3, 4) * 3 + 2
    for shape, axes in [(4, (2,)), ((3, 4), (1, 2))]:
        layer = nn.LayerNorm(shape)
        with lucid.no_grad():
            layer.weight.fill_(2.0)
            layer.bias.fill_(1.0)
        mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        close(layer(lucid.tensor(x)), (x - mean) / np.sqrt(var + 1e-5) * 2 + 1, 1e-4, 1e-5)
    assert list(nn.LayerNorm(4, bias=False).state_dict()) == ["weight"]
    assert not nn.LayerNorm(4, elementwise_affine=False).state_dict()


def test_embedding():
    layer = nn.Embedding(5, 3, padding_idx=1)
    index = np.array([[0, 1], [4, 4]])
    y = layer(lucid.tensor(index))
    close(y, array(layer.weight)[index])
    y.sum().backward()
    close(layer.weight.grad, np.array([1, 0, 0, 0, 2])[:, None] * np.ones(3))
    frozen = nn.Embedding.from_pretrained(lucid.ones(2, 3))
    assert not frozen.weight.requires_grad and frozen.num_embeddings == 2
    with pytest.raises(AssertionError, match="Padding_idx"):
        nn.Embedding(5, 3, padding_idx=5)
    with pytest.raises(AssertionError, match="2-dimensional"):
        nn.Embedding.from_pretrained(lucid.ones(2))
    with pytest.raises(AssertionError, match="Shape of weight"):
        nn.Embedding(5, 3, _weight=lucid.ones(2, 2))


def test_dropout():
    lucid.manual_seed(0)
    layer, x = nn.Dropout(0.25), lucid.ones(10000)
    y = array(layer(x))
    np.testing.assert_allclose(np.unique(y), [0, 4 / 3], rtol=1e-6)
    assert abs((y == 0).mean() - 0.25) < 0.03
    assert (array(layer.eval()(x)) == 1).all()
    assert (array(nn.Dropout(1.0)(x)) == 0).all()
    written = lucid.ones(100)
    assert nn.Dropout(0.5, inplace=True)(written) is written and (array(written) == 0).any()
    with pytest.raises(ValueError, match="between 0 and 1"):
        nn.Dropout(1.5)


GELU_TANH = math.sqrt(2 / math.pi)
ACTIVATIONS = {
    "relu": (nn.ReLU(), lambda x: np.maximum(x, 0)),
    "gelu": (nn.GELU(), lambda x: x * special.ndtr(x)),
    "gelu tanh": (
        nn.GELU("tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(GELU_TANH * (x + 0.044715 * x**3))),
    ),
    "silu": (nn.SiLU(), lambda x: x * special.expit(x)),
    "sigmoid": (nn.Sigmoid(), special.expit),
    "tanh": (nn.Tanh(), np.tanh),
    "leaky": (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    "softmax": (nn.Softmax(dim=1), lambda x: special.softmax(x, 1)),
    "log softmax": (nn.LogSoftmax(dim=0), lambda x: special.log_softmax(x, 0)),
}


@pytest.mark.parametrize("layer, formula", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations(layer, formula):
    x = sample(3, 4) * 3
    close(layer(lucid.tensor(x)), formula(x.astype(np.float64)))


@pytest.mark.parametrize("make", [nn.ReLU, nn.SiLU, lambda **o: nn.LeakyReLU(0.3, **o)])
def test_inplace_activations(make):
    x = lucid.tensor(sample(3, 4))
    expected = array(make()(x))
    assert make(inplace=True)(x) is x
    close(x, expected)


def test_pooling():
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    t = lucid.tensor(x)
    close(nn.MaxPool2d(2)(t), [[[[5, 7], [13, 15]]]])
    close(nn.MaxPool2d(3, stride=1)(t), [[[[10, 11], [14, 15]]]])
    close(nn.MaxPool2d(2, padding=1)(-t), [[[[0, -1, -3], [-4, -5, -7], [-12, -13, -15]]]])
    close(nn.AvgPool2d(2)(t), [[[[2.5, 4.5], [10.5, 12.5]]]])
    close(nn.AvgPool2d(2, padding=1)(t)[0, 0, 0], [0, 0.75, 0.75])
    close(nn.AvgPool2d(2, padding=1, count_include_pad=False)(t)[0, 0, 0], [0, 1.5, 3])
    close(nn.AvgPool2d(2, divisor_override=1)(t), [[[[10, 18], [42, 50]]]])
    close(nn.AdaptiveAvgPool2d(1)(t), [[[[7.5]]]])
    close(nn.AdaptiveAvgPool2d((2, 4))(t), x.reshape(1, 1, 2, 2, 4).mean(3))
    close(nn.AdaptiveAvgPool2d((None, 1))(t), x.mean(3, keepdims=True))
    assert nn.MaxPool2d(3, stride=2, ceil_mode=True)(t).shape == (1, 1, 2, 2)


def reduced(values, reduction):
    return {"none": values, "sum": values.sum(), "mean": values.mean()}[reduction]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_regression_losses(reduction):
    x, t = sample(3, 4), sample(3, 4, seed=1)
    a, b = lucid.tensor(x), lucid.tensor(t)
    close(nn.MSELoss(reduction=reduction)(a, b), reduced((x - t) ** 2, reduction))
    close(nn.L1Loss(reduction=reduction)(a, b), reduced(abs(x - t), reduction))
    y = (t > 0).astype(np.float32)
    loss = -(y * special.log_expit(x) + (1 - y) * special.log_expit(-x))
    close(nn.BCEWithLogitsLoss(reduction=reduction)(a, lucid.tensor(y)), reduced(loss, reduction))
    w, p = np.array([1, 2, 3, 4], np.float32), np.array([2, 1, 0.5, 3], np.float32)
    loss = -w * (p * y * special.log_expit(x) + (1 - y) * special.log_expit(-x))
    weighted = nn.BCEWithLogitsLoss(
        lucid.tensor(w), pos_weight=lucid.tensor(p), reduction=reduction
    )
    close(weighted(a, lucid.tensor(y)), reduced(loss, reduction))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_losses(reduction, weighted):
    x, t = sample(5, 3), np.array([0, 2, -100, 1, 2])
    w = np.array([1, 2, 3], np.float32) if weighted else np.ones(3, np.float32)
    log = special.log_softmax(x, 1)
    each = np.where(t >= 0, w[t.clip(0)], 0)
    loss = -each * np.take_along_axis(log, t.clip(0)[:, None], 1)[:, 0]
    mean = {"none": loss, "sum": loss.sum(), "mean": loss.sum() / each.sum()}[reduction]
    given = lucid.tensor(w) if weighted else None
    target = lucid.tensor(t)
    close(nn.CrossEntropyLoss(given, reduction=reduction)(lucid.tensor(x), target), mean)
    close(nn.NLLLoss(given, reduction=reduction)(lucid.tensor(log), target), mean)


def test_label_smoothing():
    x, t = sample(4, 3), np.array([0, 2, 1, 2])
    log, e = special.log_softmax(x, 1), 0.3
    smooth = (1 - e) * np.eye(3)[t] + e / 3
    close(
        nn.CrossEntropyLoss(label_smoothing=e)(lucid.tensor(x), lucid.tensor(t)),
        -(smooth * log).sum(1).mean(),
    )


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_probabilities_as_targets_with_weights(reduction):
    x, p, w, e = (
        sample(4, 3, 2),
        special.softmax(sample(4, 3, 2, seed=1), 1),
        sample(3, seed=2),
        0.1,
    )
    each = -(w[:, None] * special.log_softmax(x, 1) * (p * (1 - e) + e / 3)).sum(1)
    expected = {"none": each, "sum": each.sum(), "mean": each.mean()}[reduction]
    loss = nn.CrossEntropyLoss(lucid.tensor(w), reduction=reduction, label_smoothing=e)
    close(loss(lucid.tensor(x), lucid.tensor(p)), expected)
    with pytest.raises(RuntimeError, match=r"weight has shape \(2,\) for 3 classes"):
        F.cross_entropy(lucid.tensor(x), lucid.tensor(p), lucid.ones(2))
    with pytest.raises(RuntimeError, match="ignore_index 1 needs"):
        F.cross_entropy(lucid.tensor(x), lucid.tensor(p), ignore_index=1)
    with pytest.raises(ValueError, match="label_smoothing is 1.5"):
        F.cross_entropy(lucid.tensor(x), lucid.tensor(p), label_smoothing=1.5)


def test_losses_of_few_dimensions():
    one = lucid.tensor(0.5)
    assert F.multilabel_margin_loss(one, lucid.tensor(0)).item() == 0
    assert F.multi_margin_loss(one, lucid.tensor(0)).item() == 0
    assert F.cosine_similarity(one, one, 0).item() == pytest.approx(1)
    with pytest.raises(RuntimeError, match=r"\(2,\) do not fit scores of shape \(\)"):
        F.multilabel_margin_loss(one, lucid.tensor([0, -1]))
    x, t, v = sample(4, 3), sample(4, 3, seed=1), np.abs(sample(1, 3, seed=2))
    given = (lucid.tensor(a) for a in (x, t, v))
    close(F.gaussian_nll_loss(*given), ((np.log(v) + (x - t) ** 2 / v) / 2).mean())
    with pytest.raises(ValueError, match=r"var of shape \(2, 3\)"):
        F.gaussian_nll_loss(lucid.tensor(x), lucid.tensor(t), lucid.ones(2, 3))


def test_arguments_have_pytorchs_names():
    x = lucid.ones(2, 3)
    layers = nn.Linear(3, 3), nn.ReLU(), nn.Dropout(), nn.LayerNorm(3), nn.BatchNorm1d(3)
    for layer in (*layers, nn.Sequential(*layers), nn.Flatten(), nn.AvgPool1d(1)):
        assert layer(input=x).shape == (2, 3)
    assert nn.CrossEntropyLoss()(input=x, target=lucid.zeros(2, dtype=lucid.int64)).shape == ()
    assert nn.Bilinear(3, 3, 1)(input1=x, input2=x).shape == (2, 1)
    assert nn.CosineEmbeddingLoss()(input1=x, input2=x, target=lucid.ones(2)).item() < 1e-6


def test_integers_stay_integers():
    x = lucid.tensor([[-3, 0, 2]])
    assert F.hardtanh(x).tolist() == [[-1, 0, 1]]
    assert F.linear(x, lucid.tensor([[1, 1, 1], [0, 1, 2]]), lucid.tensor([5, 6])).tolist() == [
        [4, 10]
    ]
    assert F.bilinear(x, x, lucid.ones(1, 3, 3, dtype=lucid.int64)).tolist() == [[1]]
    with pytest.raises(ValueError, match=r"min_val 0.5 is above max_val -0.5"):
        F.hardtanh(x, 0.5, -0.5)


def test_the_count_of_elements_has_a_gradient_of_zeros():
    x = lucid.tensor([[1.0, 0.0, 2.0]], requires_grad=True)
    count = lucid.linalg.vector_norm(x, 0) + F.pdist(lucid.cat([x, x + 1]), 0).sum()
    count.backward()
    assert count.item() == 5 and x.grad.tolist() == [[0.0, 0.0, 0.0]]


def test_losses_refuse_and_translate():
    with pytest.raises(ValueError, match="max is not a valid value for reduction"):
        nn.MSELoss(reduction="max")
    for arguments, reduction in [((False,), "sum"), ((True,), "mean"), ((None, False), "none")]:
        with pytest.warns(UserWarning, match=f"reduction='{reduction}'"):
            assert nn.MSELoss(*arguments).reduction == reduction


def test_buffers_of_losses_move_with_them():
    loss = nn.CrossEntropyLoss(lucid.ones(3))
    assert list(loss.state_dict()) == ["weight"]
    assert loss.double().weight.dtype is lucid.float64


def test_both_grad_modes_give_the_same_bits():
    lucid.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 8), nn.LayerNorm(8), nn.GELU(), nn.Softmax(dim=-1),
    ).eval()  # fmt: skip
    x = lucid.tensor(sample(3, 1, 8, 8))
    with lucid.no_grad():
        quiet = array(model(x))
    np.testing.assert_array_equal(quiet, array(model(x)))


# ---- against PyTorch ---------------------------------------------------------------------------

LAYERS = {
    "linear": (lambda nn: nn.Linear(4, 3), (2, 4)),
    "conv": (
        lambda nn: nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2),
        (2, 4, 7, 7),
    ),
    "conv same": (lambda nn: nn.Conv2d(2, 3, 4, padding="same", bias=False), (1, 2, 5, 5)),
    "batch norm": (lambda nn: nn.BatchNorm2d(3), (2, 3, 4, 4)),
    "batch norm free": (lambda nn: nn.BatchNorm1d(3, affine=False, momentum=None), (4, 3)),
    "layer norm": (lambda nn: nn.LayerNorm((3, 4), eps=1e-3), (2, 3, 4)),
    "gelu": (lambda nn: nn.GELU("tanh"), (3, 4)),
    "silu": (lambda nn: nn.SiLU(), (3, 4)),
    "leaky": (lambda nn: nn.LeakyReLU(), (3, 4)),
    "relu": (lambda nn: nn.ReLU(inplace=False), (3, 4)),
    "softmax": (lambda nn: nn.Softmax(dim=-1), (3, 4)),
    "log softmax": (lambda nn: nn.LogSoftmax(dim=1), (3, 4)),
    "max pool": (lambda nn: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (1, 2, 6, 6)),
    "avg pool": (lambda nn: nn.AvgPool2d(3, 2, 1, True, False), (1, 2, 6, 6)),
    "adaptive": (lambda nn: nn.AdaptiveAvgPool2d((3, 2)), (1, 2, 7, 5)),
    "flatten": (lambda nn: nn.Flatten(), (1, 2, 3)),
    "unflatten": (lambda nn: nn.Unflatten(1, (2, 3)), (1, 6)),
}


@pytest.mark.parametrize("build, shape", LAYERS.values(), ids=LAYERS)
def test_values_gradients_and_repr_equal_pytorch(build, shape):
    torch = pytest.importorskip("torch")
    ours, theirs = build(nn), build(torch.nn)
    assert repr(ours) == repr(theirs)
    state = {k: torch.tensor(array(v).copy()) for k, v in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x, g = sample(*shape), None
    results = []
    for library, layer in ((lucid, ours), (torch, theirs)):
        value = library.tensor(x, requires_grad=True)
        y = layer(value)
        g = sample(*y.shape, seed=1) if g is None else g
        y.backward(library.tensor(g))
        results.append([y, value.grad, *[p.grad for p in layer.parameters()], *layer.buffers()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=2e-4, atol=2e-5)


REPRS = {
    "losses": lambda nn: [nn.MSELoss(), nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()],
    "identity": lambda nn: [nn.Identity(3), nn.Tanh(), nn.Sigmoid(), nn.GELU()],
    "inplace": lambda nn: [nn.ReLU(True), nn.SiLU(True), nn.LeakyReLU(0.2, True), nn.Dropout()],
    "embedding": lambda nn: [nn.Embedding(3, 2), nn.Embedding(3, 2, padding_idx=-1)],
    "pooling": lambda nn: [nn.MaxPool2d(2), nn.AvgPool2d((2, 1)), nn.AdaptiveAvgPool2d(1)],
    "conv": lambda nn: [nn.Conv2d(2, 2, 1, padding_mode="reflect", groups=2, padding=(1, 0))],
}


@pytest.mark.parametrize("build", REPRS.values(), ids=REPRS)
def test_repr_equals_pytorch(build):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert list(map(repr, build(nn))) == list(map(repr, build(torch.nn)))


ACTIVATIONS = [
    "celu", "dropout", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu",
    "relu6", "rrelu", "selu", "silu", "threshold", "dropout2d", "alpha_dropout",
    "feature_alpha_dropout",
]  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_in_place_of_an_intermediate(name):
    """What the rule needs is what was there before the write."""
    function = getattr(nn.functional, name)
    args = (0.1, 2.0) if name == "threshold" else ()
    training = {"training": True} if "dropout" in name or name == "rrelu" else {}
    x = lucid.randn(3, 4, 5, 5, dtype=lucid.float64)
    found = []
    for inplace in (False, True):
        leaf = x.clone().requires_grad_()
        lucid.manual_seed(3)
        between = leaf * 2
        y = function(between, *args, inplace=inplace, **training)
        assert (y is between) == inplace
        (y * y).sum().backward()
        found.append((y.detach(), leaf.grad))
    assert lucid.equal(found[0][0], found[1][0]) and lucid.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_linear_cross_entropy_in_chunks(reduction, smoothing):
    rng = np.random.default_rng(0)
    x, w, b = (lucid.tensor(rng.normal(size=s)) for s in ((11, 4), (9, 4), (9,)))
    labels = rng.integers(0, 9, 11)
    labels[3] = -100
    given = {
        "weight": lucid.tensor(rng.uniform(0.5, 1, 9)), "reduction": reduction,
        "label_smoothing": smoothing, "linear_bias": b,
    }  # fmt: skip
    made = []
    for size in (None, 1, 4, 30):
        options = None if size is None else nn.LinearCrossEntropyOptions(batch_chunk_size=size)
        own = [t.clone().requires_grad_() for t in (x, w)]
        y = nn.functional.linear_cross_entropy(*own, lucid.tensor(labels), options=options, **given)
        scales = lucid.arange(1, 12).double() if reduction == "none" else 1.0
        first = lucid.autograd.grad((y * scales).sum(), own, create_graph=True)
        second = lucid.autograd.grad(sum((g * g).sum() for g in first), own)
        made.append([t.detach().numpy() for t in (y, *first, *second)])
    for other in made[1:]:
        for a, c in zip(other, made[0], strict=True):
            np.testing.assert_allclose(a, c, rtol=1e-11, atol=1e-13)


def test_options_of_linear_cross_entropy():
    Options = nn.LinearCrossEntropyOptions
    assert Options().rows(4096, 64, 50000) == 4
    assert Options(batch_chunk_size=7).rows(5, 3, 3) == 5
    assert Options(chunking_method=None).rows(5, 3, 3) == 5
    assert Options(chunking_method="aspect_ratio").rows(11, 4, 9) == 4
    for wrong in (
        {"acc_policy": "fast"}, {"chunking_method": "aspect_ratio:0"}, {"batch_chunk_size": 0},
        {"acc_dtype": lucid.int32},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Options(**wrong)
    with pytest.raises(ValueError, match="disagree"):
        Options(batch_chunk_size=3, chunking_method="aspect_ratio").rows(11, 4, 9)
    with pytest.raises(TypeError, match="got int"):
        nn.LinearCrossEntropyLoss(3, 2, options=3)
    # Scores of chunks are dropped: the peak is far below that of all of them.
    x = lucid.randn(256, 16).requires_grad_()
    peaks = []
    for options in (None, Options(batch_chunk_size=16)):
        loss = nn.LinearCrossEntropyLoss(16, 4096, options=options)
        for _ in range(2):
            lucid.memory.reset_peak()
            before = lucid.memory.stats()["live"]
            loss(x, lucid.arange(256)).backward()
            peak = lucid.memory.stats()["peak"] - before
        peaks.append(peak)
    assert peaks[1] < peaks[0] / 3


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_ctc_loss_of_16_bits_is_that_of_32_rounded(kind):
    rng = np.random.default_rng(5)
    half = lucid.tensor(rng.standard_normal((6, 2, 5)), dtype=getattr(lucid, kind)).log_softmax(2)
    losses, slopes = [], []
    for x in (half.detach(), half.detach().float()):
        x.requires_grad_()
        loss = F.ctc_loss(x, lucid.tensor([[1, 2], [3, 3]]), [6, 6], [2, 2])
        loss.backward()
        assert loss.dtype is x.dtype is x.grad.dtype
        losses.append(loss.to(half.dtype))
        slopes.append(x.grad.to(half.dtype))
    assert lucid.equal(*losses) and lucid.equal(*slopes)
