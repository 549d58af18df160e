"""How parameters start: exact fills, bounds, moments, and the helpers for gradients and vectors."""

import math

import numpy as np
import pytest
from scipy import stats

import lucid
from lucid import nn
from lucid.nn import init, utils


def array(tensor):
    return tensor.detach().numpy()


@pytest.fixture(autouse=True)
def seed():
    lucid.manual_seed(0)


def test_exact_fills():
    w = nn.Parameter(lucid.empty(2, 3))
    assert init.constant_(w, 3.5) is w and (array(w) == 3.5).all()
    assert (array(init.ones_(w)) == 1).all() and (array(init.zeros_(w)) == 0).all()
    np.testing.assert_array_equal(array(init.eye_(w)), np.eye(2, 3))
    assert w.requires_grad and w.is_leaf and w.grad_fn is None
    with pytest.raises(ValueError, match="2 dimensions"):
        init.eye_(lucid.empty(3))


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_passes_channels_on(groups):
    conv = nn.Conv2d(4, 4, 3, padding=1, groups=groups, bias=False)
    init.dirac_(conv.weight, groups)
    x = lucid.randn(1, 4, 5, 5)
    np.testing.assert_array_equal(array(conv(x)), array(x))
    with pytest.raises(ValueError, match="3, 4, or 5"):
        init.dirac_(lucid.empty(2, 2))
    with pytest.raises(ValueError, match="divisible by groups"):
        init.dirac_(lucid.empty(3, 2, 1), 2)


def check(tensor, distribution):
    """The sample fits the distribution (Kolmogorov-Smirnov)."""
    assert stats.kstest(array(tensor).astype(np.float64).ravel(), distribution.cdf).pvalue > 1e-4


def uniform(bound):
    return stats.uniform(-bound, 2 * bound)


SHAPE = (40, 30, 3, 3)  # fan_in 270, fan_out 360


def test_distributions():
    w = lucid.empty(SHAPE)
    check(init.uniform_(w, 2, 5), stats.uniform(2, 3))
    check(init.normal_(w, 2, 5), stats.norm(2, 5))
    check(init.xavier_uniform_(w, gain=2.0), uniform(2 * math.sqrt(6 / 630)))
    check(init.xavier_normal_(w, gain=2.0), stats.norm(0, 2 * math.sqrt(2 / 630)))
    check(init.kaiming_uniform_(w, a=math.sqrt(5)), uniform(1 / math.sqrt(270)))
    check(
        init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
        stats.norm(0, math.sqrt(2 / 360)),
    )


@pytest.mark.parametrize(
    "mean, std, a, b",
    [(0, 1, -2, 2), (1, 0.02, -2, 2), (0, 1, 2, 3), (0, 1, -0.1, 0.1), (3, 2, -9, 0)],
)
def test_truncated_normal(mean, std, a, b):
    w = init.trunc_normal_(lucid.empty(20000), mean, std, a, b)
    assert (array(w) >= a).all() and (array(w) <= b).all()
    check(w, stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std))
    with pytest.raises(ValueError, match="a < b"):
        init.trunc_normal_(w, a=1, b=1)


def test_the_seed_decides():
    def draw():
        lucid.manual_seed(3)
        return [array(f(lucid.empty(4, 4))).copy() for f in (init.normal_, init.trunc_normal_)]

    for a, b in zip(draw(), draw(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (6, 3), (4, 2, 3), (2, 3, 2)])
def test_orthogonal(shape):
    w = array(init.orthogonal_(lucid.empty(shape), gain=2.0)).reshape(shape[0], -1)
    rows, columns = w.shape
    product = w @ w.T if rows <= columns else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(min(rows, columns)), atol=1e-5)
    with pytest.raises(ValueError, match="2 or more"):
        init.orthogonal_(lucid.empty(3))


def test_gains():
    for name, value in [
        ("linear", 1),
        ("conv2d", 1),
        ("sigmoid", 1),
        ("tanh", 5 / 3),
        ("relu", math.sqrt(2)),
        ("selu", 0.75),
        ("leaky_relu", math.sqrt(2 / (1 + 0.01**2))),
    ]:
        assert init.calculate_gain(name) == pytest.approx(value)
    assert init.calculate_gain("leaky_relu", 2) == pytest.approx(math.sqrt(2 / 5))
    with pytest.raises(ValueError, match="Unsupported nonlinearity gelu"):
        init.calculate_gain("gelu")
    with pytest.raises(ValueError, match="not a valid number"):
        init.calculate_gain("leaky_relu", True)


def test_fans():
    assert init._calculate_fan_in_and_fan_out(lucid.empty(SHAPE)) == (270, 360)
    assert init._calculate_fan_in_and_fan_out(lucid.empty(4, 3)) == (3, 4)
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        init.xavier_uniform_(lucid.empty(4))
    with pytest.raises(ValueError, match="Mode fan_up not supported"):
        init.kaiming_normal_(lucid.empty(4, 4), mode="fan_up")


def test_layers_start_as_documented():
    layer = nn.Linear(64, 500)
    check(layer.weight, uniform(1 / 8))
    check(layer.bias, uniform(1 / 8))
    conv = nn.Conv2d(16, 500, 2, groups=4)
    check(conv.weight, uniform(1 / 4))
    check(conv.bias, uniform(1 / 4))
    check(nn.Embedding(100, 50).weight, stats.norm(0, 1))
    assert (array(nn.Embedding(4, 2, padding_idx=-1).weight)[3] == 0).all()
    assert nn.Linear(0, 3).weight.shape == (3, 0)


# ---- nn.utils ----------------------------------------------------------------------------------


def with_grads(*grads):
    parameters = []
    for g in grads:
        p = nn.Parameter(lucid.zeros(*np.shape(g)))
        p.grad = lucid.tensor(np.asarray(g, np.float32))
        parameters.append(p)
    return parameters


@pytest.mark.parametrize("p, norm", [(2.0, 13.0), (1.0, 19.0), (math.inf, 12.0), (3, None)])
def test_clip_grad_norm(p, norm):
    params = with_grads([3.0, -4.0], [[12.0]]) + [nn.Parameter(lucid.zeros(1))]
    norm = norm or (27 + 64 + 1728) ** (1 / 3)
    assert utils.clip_grad_norm_(iter(params), norm / 2, p).item() == pytest.approx(norm)
    np.testing.assert_allclose(array(params[0].grad), [1.5, -2], rtol=1e-5)
    utils.clip_grad_norm_(params, 1e9, p)
    np.testing.assert_allclose(array(params[1].grad), [[6]], rtol=1e-5)
    assert utils.clip_grad_norm_([], 1.0).item() == 0


def test_clip_grad_norm_that_is_not_finite():
    params = with_grads([np.inf, 1.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert array(params[0].grad)[1] == 1
    assert utils.clip_grad_norm_(params, 1.0).item() == np.inf


def test_clip_grad_value():
    (p,) = with_grads([3.0, -4.0, 0.5])
    utils.clip_grad_value_(p, 1)
    np.testing.assert_array_equal(array(p.grad), [1, -1, 0.5])


def test_vectors():
    model = nn.Linear(2, 3)
    vector = utils.parameters_to_vector(model.parameters())
    assert vector.shape == (9,) and vector.requires_grad
    new = lucid.arange(9, dtype=lucid.float32)
    utils.vector_to_parameters(new, model.parameters())
    np.testing.assert_array_equal(array(model.weight), [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(array(model.bias), [6, 7, 8])
    assert model.weight.requires_grad and model.weight.is_leaf
    with pytest.raises(TypeError, match="list"):
        utils.vector_to_parameters([1.0], model.parameters())
    with pytest.raises(ValueError, match="9 elements"):
        utils.vector_to_parameters(new[:4], model.parameters())
