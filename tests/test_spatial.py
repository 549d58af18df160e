"""Spatial layers beyond their numbers: definitions in SciPy, second derivatives, errors, lazy
layers, dropout's shares, the founding framework's blocks."""

import copy

import numpy as np
import pytest
from scipy import ndimage, signal

import lucid
from lucid import nn
from lucid.autograd import gradgradcheck
from lucid.nn import functional as F


def real(*shape, seed=0, grad=True):
    values = np.random.default_rng([seed, *shape]).uniform(0.1, 0.9, shape)
    return lucid.tensor(values).requires_grad_(grad)


def close(y, expected, tolerance=1e-10):
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_is_scipys(rank):
    shape = (9, 6, 5)[:rank]
    x, w = real(1, 2, *shape, grad=False), real(3, 2, *(2, 3, 2)[:rank], grad=False)
    y = getattr(F, f"conv{rank}d")(x, w)
    for o in range(3):
        parts = [signal.correlate(x[0, c].numpy(), w[o, c].numpy(), "valid") for c in range(2)]
        close(y[0, o], sum(parts))
    turned = w.transpose(0, 1)  # (in, out, ...)
    y = getattr(F, f"conv_transpose{rank}d")(x, turned)
    for o in range(3):
        parts = [signal.convolve(x[0, c].numpy(), turned[c, o].numpy()) for c in range(2)]
        close(y[0, o], sum(parts))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling_is_scipys(rank):
    x = real(1, 1, *(9, 6, 5)[:rank], grad=False)
    centre = (slice(1, -1),) * rank
    y = getattr(F, f"max_pool{rank}d")(x, 3, 1)
    close(y[0, 0], ndimage.maximum_filter(x[0, 0].numpy(), 3)[centre])
    y = getattr(F, f"avg_pool{rank}d")(x, 3, 1)
    close(y[0, 0], ndimage.uniform_filter(x[0, 0].numpy(), 3)[centre])


def test_padding_is_numpys():
    x = real(1, 2, 4, 5, grad=False)
    sides = ((0, 0), (0, 0), (2, 1), (1, 3))
    for mode, name in (("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")):
        close(F.pad(x, (1, 3, 2, 1), mode), np.pad(x.numpy(), sides, name))


TWICE = {
    "conv1d": (lambda x, w: F.conv1d(x, w, padding=1), [(1, 2, 5), (2, 2, 3)]),
    "conv3d": (
        lambda x, w: F.conv3d(x, w, stride=2, padding=1), [(1, 1, 3, 3, 3), (1, 1, 2, 2, 2)],
    ),
    "conv_transpose2d": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2), [(1, 2, 2, 2), (2, 1, 2, 2)],
    ),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2) ** 2, [(1, 1, 2, 4, 2)]),
    "adaptive_max_pool1d": (lambda x: F.adaptive_max_pool1d(x, 2) ** 2, [(1, 1, 5)]),
    "fractional": (
        lambda x: F.fractional_max_pool2d(
            x, 2, 2, _random_samples=lucid.full((1, 1, 2), 0.3, dtype=lucid.float64)) ** 2,
        [(1, 1, 5, 4)],
    ),
    "pad": (lambda x: F.pad(x, (2, 1), "reflect") ** 2, [(1, 1, 4)]),
    "interpolate": (lambda x: F.interpolate(x, (3, 5), mode="bicubic") ** 2, [(1, 1, 4, 3)]),
    "grid_sample": (F.grid_sample, [(1, 1, 3, 3), (1, 1, 2, 2)]),
    "fold": (lambda x: F.fold(F.unfold(x, 2), (3, 3), 2) ** 2, [(1, 1, 3, 3)]),
    "group_norm": (lambda x, w: F.group_norm(x, 2, w, w), [(2, 4, 2), (4,)]),
    "instance_norm": (lambda x: F.instance_norm(x), [(1, 2, 4)]),
    "rms_norm": (lambda x, w: F.rms_norm(x, (3,), w), [(2, 3), (3,)]),
    "local_response_norm": (lambda x: F.local_response_norm(x, 3, 0.5), [(1, 4, 2)]),
    "global_response_norm": (lambda x, g: F.global_response_norm(x, g, g), [(1, 2, 3), (2, 1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives(name):
    function, shapes = TWICE[name]
    assert gradgradcheck(function, tuple(real(*s, seed=i) for i, s in enumerate(shapes)))


X1, X2, X3 = lucid.ones(1, 2, 5), lucid.ones(1, 2, 5, 5), lucid.ones(1, 2, 5, 5, 5)
WRONG = {
    "channels": (lambda: F.conv1d(X1, lucid.ones(3, 4, 2)), RuntimeError, "channels"),
    "kernel": (lambda: F.conv3d(X3, lucid.ones(3, 2, 6, 2, 2)), RuntimeError, "does not fit"),
    "rank": (lambda: F.conv1d(X3, lucid.ones(3, 2, 2)), RuntimeError, "expected"),
    "same": (
        lambda: F.conv1d(X1, lucid.ones(3, 2, 2), stride=2, padding="same"), ValueError, "stride",
    ),
    "output_padding": (
        lambda: F.conv_transpose1d(X1, lucid.ones(2, 3, 2), output_padding=1), RuntimeError,
        "output_padding",
    ),
    "padding mode": (
        lambda: nn.ConvTranspose2d(1, 1, 2, padding_mode="reflect"), ValueError, "zeros",
    ),
    "pool padding": (lambda: F.max_pool1d(X1, 2, padding=2), RuntimeError, "half"),
    "pool rank": (lambda: F.avg_pool3d(X1, 2), RuntimeError, "D, H, W"),
    "adaptive size": (lambda: F.adaptive_max_pool2d(X2, (1, 2, 3)), RuntimeError, "output_size"),
    "unpool": (lambda: F.max_unpool1d(X1, X1, 2), RuntimeError, "integers"),
    "unpool size": (
        lambda: F.max_unpool1d(X1, X1.long(), 2, output_size=(30,)), ValueError, "output_size"),
    "fraction": (lambda: F.fractional_max_pool2d(X2, 2), ValueError, "output_ratio"),
    "reflect": (lambda: F.pad(X1, (5, 0), "reflect"), RuntimeError, "does not fit"),
    "pad mode": (lambda: F.pad(X1, (1, 0), "mirror"), NotImplementedError, "mirror"),
    "pad value": (lambda: F.pad(X1, (1, 0), "circular", 2.0), ValueError, "value"),
    "resize mode": (lambda: F.interpolate(X1, 3, mode="bilinear"), NotImplementedError, "4-d"),
    "resize size": (lambda: F.interpolate(X1), ValueError, "scale_factor"),
    "antialias": (lambda: F.interpolate(X1, 3, antialias=True), ValueError, "antialias"),
    "corners": (lambda: F.interpolate(X1, 3, align_corners=True), ValueError, "align_corners"),
    "grid": (lambda: F.grid_sample(X2, lucid.ones(1, 2, 2, 3)), RuntimeError, "grid"),
    "grid mode": (lambda: F.grid_sample(X2, lucid.ones(1, 2, 2, 2), "cubic"), ValueError, "cubic"),
    "theta": (lambda: F.affine_grid(lucid.ones(1, 3, 3), (1, 1, 2, 2)), RuntimeError, "theta"),
    "fold": (lambda: F.fold(lucid.ones(1, 4, 3), (3, 3), 2), RuntimeError, "windows"),
    "shuffle": (lambda: F.pixel_shuffle(X2, 2), RuntimeError, "multiple"),
    "groups": (lambda: F.group_norm(X2, 3), RuntimeError, "groups"),
    "instance": (lambda: F.instance_norm(lucid.ones(2, 2, 1)), ValueError, "spatial"),
    "rms": (lambda: F.rms_norm(X1, (4,)), RuntimeError, "normalized_shape"),
    "dropout": (lambda: nn.Dropout2d(1.5), ValueError, "probability"),
    "process group": (lambda: nn.SyncBatchNorm(2, process_group=1), NotImplementedError, "process"),
    "se": (lambda: nn.SEModule(4)(X2), ValueError, "SEModule"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_errors_say_what_is_wrong(name):
    call, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        call()


def test_an_output_size_chooses_the_padding():
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    assert layer(X2, output_size=(10, 9)).shape == (1, 3, 10, 9)
    with pytest.raises(ValueError, match="between 9 and 10"):
        layer(X2, output_size=(12, 9))


LAZY = {
    "LazyLinear": (lambda: nn.LazyLinear(3), X2, nn.Linear),
    "LazyConv2d": (lambda: nn.LazyConv2d(4, 3, groups=2), X2, nn.Conv2d),
    "LazyConvTranspose1d": (
        lambda: nn.LazyConvTranspose1d(4, 3, bias=False), X1, nn.ConvTranspose1d,
    ),
    "LazyBatchNorm3d": (lambda: nn.LazyBatchNorm3d(), X3, nn.BatchNorm3d),
    "LazyInstanceNorm1d": (lambda: nn.LazyInstanceNorm1d(), X1, nn.InstanceNorm1d),
}  # fmt: skip


@pytest.mark.parametrize("name", LAZY)
def test_lazy_layers(name):
    make, x, becomes = LAZY[name]
    layer, fresh = make(), copy.deepcopy(make())
    assert layer.has_uninitialized_params() and type(layer).__name__ == name
    with pytest.raises(RuntimeError, match="shape"):
        next(layer.parameters()).shape  # noqa: B018
    y = layer(x)
    assert type(layer) is becomes and not list(layer._forward_pre_hooks)
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    fresh.load_state_dict(layer.state_dict())
    assert not fresh.has_uninitialized_params()
    np.testing.assert_array_equal(
        fresh.eval()(x).detach().numpy(), layer.eval()(x).detach().numpy()
    )


def test_lazy_state_without_shapes_loads_into_a_lazy_layer():
    a, b = nn.LazyLinear(3), nn.LazyLinear(3)
    b.load_state_dict(a.state_dict())
    assert b.has_uninitialized_params()
    with pytest.raises(RuntimeError, match="no shape"):
        nn.Linear(2, 3).load_state_dict(a.state_dict())


def test_sync_batch_norm_takes_over_the_tensors():
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)).eval()
    made = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert type(made[1]) is nn.SyncBatchNorm and not made[1].training
    close(made(X2), model(X2).detach().numpy())


@pytest.mark.parametrize("layer", [nn.Dropout1d, nn.Dropout2d, nn.Dropout3d])
def test_dropout_of_channels(layer):
    lucid.manual_seed(3)
    x = lucid.ones(50, 40, *(2,) * {nn.Dropout1d: 1, nn.Dropout2d: 2, nn.Dropout3d: 3}[layer])
    y = layer(0.3)(x).numpy().reshape(2000, -1)
    assert (y == y[:, :1]).all() and set(np.unique(y)) == {0, np.float32(1 / 0.7)}
    assert 0.25 < (y == 0).mean() < 0.35
    assert layer(0.3).eval()(x) is x


def test_alpha_dropout_keeps_mean_and_variance():
    assert F.feature_alpha_dropout(lucid.ones(3)).tolist() == [1, 1, 1]  # nothing to do
    lucid.manual_seed(3)
    x = lucid.randn(100, 50, 10)
    for layer in (nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3)):
        y = layer(x)
        assert abs(float(y.mean())) < 0.08 and abs(float(y.std()) - 1) < 0.06
    assert nn.AlphaDropout(1.0)(x).abs().max().item() == 0


def test_drop_block_and_path():
    lucid.manual_seed(3)
    y = nn.DropBlock(3, 0.2)(lucid.ones(20, 10, 12, 12)).numpy()
    holes = (y == 0).mean()
    assert 0.12 < holes < 0.22 and abs(y.mean() - 1) < 1e-3
    eroded = ndimage.binary_opening(y[0, 0] == 0, np.ones((3, 3)))
    np.testing.assert_array_equal(eroded, y[0, 0] == 0)  # holes are unions of whole blocks
    y = nn.DropPath(0.5)(lucid.ones(400, 3)).numpy()
    assert (y == y[:, :1]).all() and set(np.unique(y)) == {0, 2} and 0.4 < (y == 0).mean() < 0.6


def test_cross_map_norm_of_an_odd_window_is_the_local_one():
    x = real(2, 6, 3, 3, grad=False)
    close(nn.CrossMapLRN2d(3, 0.5)(x), nn.LocalResponseNorm(3, 0.5)(x).numpy())


def test_blocks():
    x = lucid.randn(2, 4, 6, 6)
    block = nn.ConvBNReLU2d(4, 3, 3, padding=1)
    np.testing.assert_array_equal(
        block(x).detach().numpy(), F.relu(block.bn(block.conv(x))).detach().numpy()
    )
    assert nn.DepthSeparableConv2d(4, 8, 3, reversed=True)(x).shape == (2, 8, 4, 4)
    mixed = nn.SelectiveKernel(4, 8, (3, 5), groups=2)(x)
    mixed.sum().backward()
    weighted = nn.SEModule(4, 2)(x)
    assert mixed.shape == (2, 8, 6, 6) and (weighted.abs() <= x.abs()).all()
    assert float(nn.Swish()(lucid.tensor(1.0))) == float(F.silu(lucid.tensor(1.0)))


def test_empty_batches():
    x = lucid.ones(0, 2, 5, 5)
    for layer in (nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.ReflectionPad2d(1), nn.Upsample(7)):
        assert layer(x).shape[0] == 0
    norm = nn.BatchNorm2d(2)  # keeps its statistics, but for the count
    norm(x).sum().backward()
    assert norm.running_mean.tolist() == [0.0, 0.0] and norm.running_var.tolist() == [1.0, 1.0]
    assert norm.num_batches_tracked == 1 and norm.weight.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_integers_are_convolved_exactly(rank):
    rng = np.random.default_rng(rank)
    x, w = rng.integers(-9, 9, (2, 4, *(7, 6, 5)[:rank])), rng.integers(-9, 9, (6, 2, *(2,) * rank))
    conv = getattr(F, f"conv{rank}d")
    given = {"stride": 2, "padding": 2, "dilation": 3, "groups": 2}
    made = conv(lucid.tensor(x), lucid.tensor(w), lucid.arange(6), **given)
    real = (lucid.tensor(v.astype(float)) for v in (x, w, np.arange(6)))
    assert made.dtype is lucid.int64
    np.testing.assert_array_equal(made.numpy(), conv(*real, **given).numpy())
    big = lucid.tensor([[[2**62 + 1, 1]]])
    assert F.conv1d(big, lucid.tensor([[[1, -1]]])).item() == 2**62
    with pytest.raises(RuntimeError, match=r"conv_transpose1d: floating tensors .*int64"):
        F.conv_transpose1d(big, lucid.tensor([[[1, -1]]]))


def test_integers_are_averaged_towards_zero():
    x = lucid.tensor([[[-7, 2, -3, 4, 6]]])
    assert F.avg_pool1d(x, 2, ()).tolist() == [[[-2, 0]]]
    assert F.avg_pool1d(x, 3, 1, 1).tolist() == [[[-1, -2, 1, 2, 3]]]
    assert F.avg_pool1d(x, 3, 1, 1, count_include_pad=False).tolist() == [[[-2, -2, 1, 2, 5]]]
    assert F.avg_pool2d(x.unsqueeze(1), (1, 2), divisor_override=3).tolist() == [[[[-1, 0]]]]


def test_samples_of_fractional_pooling_may_be_of_a_larger_batch():
    x, samples = lucid.rand(4, 8, 8), lucid.rand(2, 4, 2)
    one = F.fractional_max_pool2d(x, 2, output_size=5, _random_samples=samples)
    both = F.fractional_max_pool2d(x.expand(2, 4, 8, 8), 2, output_size=5, _random_samples=samples)
    assert one.tolist() == both[0].tolist()


@pytest.mark.parametrize(
    "kernel, stride, padding, dilation",
    [((3, 3), 1, 1, 1), ((5, 3), 1, (2, 0), 1), ((3, 3), 2, 1, 1), ((3, 3), 1, 2, 2),
     ((7, 7), 1, 3, 1), ((1, 4), (1, 2), (0, 3), 1), ((7, 3), (2, 1), (0, 1), (1, 3))],
)  # fmt: skip
def test_one_channel_per_group_plane_by_plane(kernel, stride, padding, dilation):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 14, 19)), rng.normal(size=(3, 1, *kernel))
    (sh, sw), (ph, pw), (dh, dw) = (
        v if isinstance(v, tuple) else (v, v) for v in (stride, padding, dilation)
    )
    wide = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    size = [(wide.shape[2 + i] - d * (kernel[i] - 1) - 1) // s + 1
            for i, (s, d) in enumerate(((sh, dh), (sw, dw)))]  # fmt: skip
    wanted = np.zeros((2, 3, *size))
    for p in range(kernel[0]):
        for q in range(kernel[1]):
            seen = wide[:, :, p * dh :: sh, q * dw :: sw][:, :, : size[0], : size[1]]
            wanted += seen * w[None, :, 0, p, q, None, None]

    def f(x, w):
        return lucid.nn.functional.conv2d(x, w, None, stride, padding, dilation, groups=3)

    a, b = (lucid.tensor(v).requires_grad_() for v in (x, w))
    y = f(a, b)
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=1e-12, atol=1e-12)
    g = lucid.tensor(rng.normal(size=y.shape))
    found = lucid.autograd.grad(y, (a, b), g)
    # Channels side by side take the template: the same numbers another way.
    last = x.transpose(0, 2, 3, 1).copy()
    c = lucid.tensor(last).permute(0, 3, 1, 2).requires_grad_()
    for one, other in zip(found, lucid.autograd.grad(f(c, b), (c, b), g), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-11, atol=1e-11)
    threads = lucid.get_num_threads()
    try:
        lucid.set_num_threads(1)
        assert f(a, b).equal(y) and lucid.autograd.grad(f(a, b), b, g)[0].equal(found[1])
    finally:
        lucid.set_num_threads(threads)
    small = [lucid.tensor(v[:1, :2] if v.ndim == 4 and v.shape[1] > 1 else v[:2]).requires_grad_()
             for v in (x[:, :, :9, :11], w)]  # fmt: skip
    half = lucid.nn.functional.conv2d(
        *[v.detach().to(lucid.bfloat16) for v in small], None, stride, padding, dilation, groups=2
    )
    exact = lucid.nn.functional.conv2d(
        *[v.detach().to(lucid.bfloat16).double() for v in small], None, stride, padding, dilation,
        groups=2,
    )  # fmt: skip
    np.testing.assert_allclose(half.double().numpy(), exact.numpy(), rtol=2e-2, atol=2e-2)
