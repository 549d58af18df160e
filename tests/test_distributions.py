"""lucid.distributions: densities against SciPy, samples against their distribution functions,
gradients of samples against moved quantiles, divergences against integrals, and PyTorch live."""

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import lucid
import lucid.distributions as D
from lucid.autograd import gradcheck
from lucid.distributions import constraints
from lucid.func import vmap

stats = pytest.importorskip("scipy.stats")
special = pytest.importorskip("scipy.special")
integrate = pytest.importorskip("scipy.integrate")


def double(x):
    return lucid.tensor(np.asarray(x, np.float64))


A, B = np.array([0.4, 1.0, 3.5]), np.array([0.7, 2.0, 1.5])
P = np.array([0.1, 0.5, 0.8])
ROWS = np.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]])
COVARIANCE = np.array([[2.0, 0.3], [0.3, 0.5]])

# name -> parameters, SciPy's distributions of each element
CONTINUOUS = {
    "Normal": ((A, B), [stats.norm(a, b) for a, b in zip(A, B, strict=True)]),
    "HalfNormal": ((B,), [stats.halfnorm(scale=b) for b in B]),
    "LogNormal": ((A, B), [stats.lognorm(b, scale=math.exp(a)) for a, b in zip(A, B, strict=True)]),
    "Gamma": ((A, B), [stats.gamma(a, scale=1 / b) for a, b in zip(A, B, strict=True)]),
    "Chi2": ((A,), [stats.chi2(a) for a in A]),
    "InverseGamma": ((A, B), [stats.invgamma(a, scale=b) for a, b in zip(A, B, strict=True)]),
    "Exponential": ((B,), [stats.expon(scale=1 / b) for b in B]),
    "Beta": ((A, B), [stats.beta(a, b) for a, b in zip(A, B, strict=True)]),
    "Uniform": ((-A, B), [stats.uniform(-a, a + b) for a, b in zip(A, B, strict=True)]),
    "Laplace": ((A, B), [stats.laplace(a, b) for a, b in zip(A, B, strict=True)]),
    "Cauchy": ((A, B), [stats.cauchy(a, b) for a, b in zip(A, B, strict=True)]),
    "HalfCauchy": ((B,), [stats.halfcauchy(scale=b) for b in B]),
    "Gumbel": ((A, B), [stats.gumbel_r(a, b) for a, b in zip(A, B, strict=True)]),
    "StudentT": ((A + 0.5, A, B), [stats.t(a + 0.5, a, b) for a, b in zip(A, B, strict=True)]),
}
DISCRETE = {
    "Bernoulli": ((P,), [stats.bernoulli(p) for p in P]),
    "Geometric": ((P,), [stats.geom(p, loc=-1) for p in P]),
    "Binomial": ((np.array(6.0), P), [stats.binom(6, p) for p in P]),
    "Poisson": ((A * 3,), [stats.poisson(3 * a) for a in A]),
}
NO_CDF = {"Beta", "StudentT"}


def made(name, parameters, kind=lucid.float64):
    return getattr(D, name)(*[double(p).to(kind) for p in parameters])


def close(got, want, tolerance=1e-10):
    np.testing.assert_allclose(got.numpy(), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name):
    parameters, wanted = CONTINUOUS[name]
    d = made(name, parameters)
    levels = np.array([0.05, 0.3, 0.5, 0.9])
    x = np.stack([w.ppf(levels) for w in wanted], 1)
    close(
        d.log_prob(double(x)), np.stack([w.logpdf(v) for w, v in zip(wanted, x.T, strict=True)], 1)
    )
    close(d.entropy(), [w.entropy() for w in wanted], 1e-7)
    if name not in NO_CDF:
        close(d.cdf(double(x)), np.repeat(levels[:, None], 3, 1), 1e-9)
        if name not in ("Gamma", "Chi2", "InverseGamma"):
            close(d.icdf(double(levels)[:, None]), x, 1e-8)
    if name not in ("Cauchy", "HalfCauchy", "InverseGamma", "StudentT"):
        close(d.mean, [w.mean() for w in wanted], 1e-9)
        close(d.variance, [w.var() for w in wanted], 1e-9)
        close(d.stddev, [w.std() for w in wanted], 1e-9)


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("kind", [lucid.float32, lucid.float64])
def test_samples_have_the_distribution(name, kind):
    parameters, wanted = CONTINUOUS[name]
    lucid.manual_seed(11)
    drawn = made(name, parameters, kind).sample((4000,))
    assert drawn.dtype is kind and not drawn.requires_grad
    for column, w in zip(drawn.numpy().T, wanted, strict=True):
        assert stats.kstest(column.astype(np.float64), w.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name):
    parameters, wanted = DISCRETE[name]
    d = made(name, parameters)
    k = np.arange(6.0 if name != "Bernoulli" else 2.0)
    close(d.log_prob(double(k)[:, None]), np.stack([w.logpmf(k) for w in wanted], 1), 1e-9)
    close(d.mean, [w.mean() for w in wanted])
    close(d.variance, [w.var() for w in wanted])
    if name != "Poisson":
        close(d.entropy(), [w.entropy() for w in wanted], 1e-8)
    lucid.manual_seed(12)
    n = 4000
    drawn = d.sample((n,)).numpy()
    for column, w in zip(drawn.T, wanted, strict=True):
        fit(column, w)


def fit(drawn, wanted):
    """Pearson's test of counts."""
    n = len(drawn)
    low, high = int(wanted.ppf(1e-3)), int(wanted.ppf(1 - 1e-3))
    edges = np.unique(np.linspace(low, high, min(high - low, 30) + 1).astype(int)) + 0.5
    edges = np.concatenate([[-np.inf], edges, [np.inf]])
    counts, expected = np.histogram(drawn, edges)[0], np.diff(wanted.cdf(edges)) * n
    some = expected > 5
    counts = np.append(counts[some], counts[~some].sum())
    expected = np.append(expected[some], max(expected[~some].sum(), 1e-9))
    if expected[-1] < 1:
        counts[-2] += counts[-1]
        expected[-2] += expected[-1]
        counts, expected = counts[:-1], expected[:-1]
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert stats.chi2(max(len(expected) - 1, 1)).sf(statistic) > 1e-4


@pytest.mark.parametrize("rate", [0.1, 4.0, 29.5, 30.5, 1e4])
def test_poisson_numbers(rate):
    lucid.manual_seed(3)
    drawn = lucid.poisson(lucid.full((20000,), rate, dtype=lucid.float64))
    fit(drawn.numpy(), stats.poisson(rate))


@pytest.mark.parametrize("n, p", [(5, 0.3), (100, 0.05), (30, 0.9), (21, 0.5), (10**6, 0.7)])
def test_binomial_numbers(n, p):
    lucid.manual_seed(4)
    drawn = lucid.binomial(double(n).expand(20000), double(p).expand(20000))
    fit(drawn.numpy(), stats.binom(n, p))


def test_counts_of_nothing():
    nan = float("nan")
    got = lucid.binomial(lucid.tensor([-1.0, 2.5, 3.0, 0.0]), lucid.tensor([0.5, 0.5, 1.5, 0.5]))
    np.testing.assert_array_equal(got.numpy(), [nan, nan, nan, 0.0])
    np.testing.assert_array_equal(lucid.poisson(lucid.tensor([-1.0, 0.0])).numpy(), [nan, 0.0])
    with pytest.raises(RuntimeError, match="poisson: a floating"):
        lucid.poisson(lucid.tensor([1]))


@pytest.mark.parametrize("shape", [0.02, 0.7, 1.0, 2.5, 40.0, 1e5])
def test_gamma_numbers(shape):
    lucid.manual_seed(5)
    a = lucid.full((4000,), shape, dtype=lucid.float64)
    drawn = lucid._standard_gamma(a, log=True).numpy()
    assert stats.kstest(drawn, stats.loggamma(shape).cdf).pvalue > 1e-4
    lucid.manual_seed(5)
    plain = lucid._standard_gamma(a).numpy()
    np.testing.assert_allclose(plain, np.maximum(np.exp(drawn), 2.3e-308), rtol=1e-11)


def test_the_gradient_of_gamma_numbers_is_that_of_a_quantile():
    shapes = np.repeat([0.02, 0.3, 0.99, 1.0, 4.0, 30.0, 2000.0], 40)
    lucid.manual_seed(6)
    a = double(shapes).requires_grad_()
    y = lucid._standard_gamma(a)
    (slope,) = lucid.autograd.grad(y.sum(), a)
    y = y.detach().numpy()
    u = special.gammainc(shapes, y)
    h = 1e-5 * shapes
    # To the side where the probability is known well.
    moved = np.where(
        u < 0.5,
        special.gammaincinv(shapes + h, u) - special.gammaincinv(shapes - h, u),
        special.gammainccinv(shapes + h, special.gammaincc(shapes, y))
        - special.gammainccinv(shapes - h, special.gammaincc(shapes, y)),
    ) / (2 * h)  # fmt: skip
    some = y > 1e-100
    np.testing.assert_allclose(slope.numpy()[some], moved[some], rtol=1e-5)
    single = double(shapes).float().requires_grad_()
    lucid.manual_seed(6)
    (narrow,) = lucid.autograd.grad(lucid._standard_gamma(single).sum(), single)
    seen = y > 1e-30
    np.testing.assert_allclose(narrow.numpy()[seen], slope.numpy()[seen], rtol=2e-5)


def test_gamma_slope_again():
    a, place = double([0.3, 2.0, 9.0]), double([-1.0, 0.5, 2.5]).requires_grad_()
    slope = lucid.op.find("gamma_slope")
    assert gradcheck(lambda w: slope(a, w), [place])
    with pytest.raises(NotImplementedError, match="second derivative"):
        lucid.autograd.grad(slope(a.requires_grad_(), place).sum(), a)


@pytest.mark.parametrize("kind, tolerance", [(lucid.float32, 1.3e-7), (lucid.float64, 1e-12)])
def test_igamma(kind, tolerance):
    rng = np.random.default_rng(1)
    a = 10 ** rng.uniform(-3, 6, 3000)
    x = rng.gamma(a) * np.exp(rng.normal(size=a.size) * 0.3 / np.sqrt(a + 1))
    a, x = (double(v).to(kind) for v in (a, np.maximum(x, 1e-30)))
    wide = a.double().numpy(), x.double().numpy()
    for function, reference in (
        (lucid.igamma, special.gammainc),
        (lucid.igammac, special.gammaincc),
    ):
        want = reference(*wide)
        seen = want > 1e-35
        np.testing.assert_allclose(function(a, x).numpy()[seen], want[seen], rtol=tolerance)
    for pair in [(0, 0), (0, 1), (1, 0), (math.inf, 1), (1, math.inf), (math.inf,) * 2, (-1, 1)]:
        for function, reference in (
            (lucid.igamma, special.gammainc),
            (lucid.igammac, special.gammaincc),
        ):
            got = function(*(lucid.tensor(float(v)) for v in pair)).item()
            assert got == pytest.approx(float(reference(*pair)), nan_ok=True), pair


def test_igamma_gradients_and_forms():
    a, x = double([[0.3], [1.5], [8.0]]), double([0.2, 2.5, 7.0])
    for function in (lucid.igamma, lucid.igammac):
        assert gradcheck(function, [a.clone().requires_grad_(), x.clone().requires_grad_()])
    out = lucid.empty(3, 3, dtype=lucid.float64)
    assert lucid.igamma(a, x, out=out) is out and lucid.equal(out, lucid.igamma(a, x))
    y = a.expand(3, 3).clone()
    assert lucid.equal(y.igammac_(x), lucid.igammac(a, x))
    assert lucid.igamma(lucid.tensor(2), 1.0).dtype is lucid.float32
    assert lucid.igamma(lucid.ones(0, 2), lucid.ones(2)).shape == (0, 2)


REPARAMETRISED = ["Normal", "Gamma", "Beta", "StudentT", "Laplace", "Exponential", "LogNormal"]


@pytest.mark.parametrize("name", REPARAMETRISED)
def test_samples_move_with_the_parameters(name):
    """The derivative of the mean of x is the mean of the derivatives."""
    parameters, _ = CONTINUOUS[name]
    base = [np.array([p[2]]) + (2.0 if name == "StudentT" and i == 0 else 0.0)
            for i, p in enumerate(parameters)]  # fmt: skip
    leaves = [double(p).requires_grad_() for p in base]
    lucid.manual_seed(8)
    drawn = getattr(D, name)(*leaves).rsample((60000,))
    slopes = lucid.autograd.grad(drawn.mean(), leaves)
    wanted = [double(p).requires_grad_() for p in base]
    means = lucid.autograd.grad(getattr(D, name)(*wanted).mean.sum(), wanted, allow_unused=True)
    for slope, want in zip(slopes, means, strict=True):
        want = 0.0 if want is None else want.item()
        assert slope.item() == pytest.approx(want, abs=0.05 + 0.05 * abs(want))


def test_categorical():
    d = D.Categorical(double(ROWS) * 4.0)
    close(d.probs, ROWS)
    close(d.log_prob(lucid.tensor([2, 0])), np.log([0.7, 0.3]))
    close(d.entropy(), -(ROWS * np.log(ROWS)).sum(1))
    lucid.manual_seed(2)
    drawn = d.sample((5, 4000)).numpy()
    assert drawn.shape == (5, 4000, 2) and drawn.dtype == np.int64
    for b in range(2):
        counts = np.bincount(drawn[..., b].ravel(), minlength=3)
        assert stats.chisquare(counts, ROWS[b] * 20000).pvalue > 1e-4
    assert d.sample().shape == (2,) and d.sample((0,)).shape == (0, 2)
    hot = D.OneHotCategorical(logits=double(np.log(ROWS)))
    s = hot.sample((7,))
    assert s.shape == (7, 2, 3) and bool((s.sum(-1) == 1).all())
    close(hot.log_prob(s), np.log(ROWS)[np.arange(2), s.argmax(-1).numpy()])
    close(hot.enumerate_support(False)[:, 0], np.eye(3))
    certain = D.Categorical(lucid.tensor([0.0, 1.0, 0.0]))
    assert bool((certain.sample((100,)) == 1).all())


def test_straight_through():
    p = double(ROWS).requires_grad_()
    weights = double([1.0, 2.0, 3.0])
    y = D.OneHotCategoricalStraightThrough(p).rsample()
    assert bool(((y.detach() == 0) | (y.detach() == 1)).all())
    (got,) = lucid.autograd.grad((y * weights).sum(), p)
    q = double(ROWS).requires_grad_()
    (want,) = lucid.autograd.grad((q / q.sum(-1, True) * weights).sum(), q)
    close(got, want.numpy())


def test_dirichlet():
    a = np.array([[0.5, 2.0, 3.0], [1.0, 1.0, 1.0]])
    d = D.Dirichlet(double(a))
    x = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    close(d.log_prob(double(x)), [stats.dirichlet(r).logpdf(v) for r, v in zip(a, x, strict=True)])
    close(d.entropy(), [stats.dirichlet(r).entropy() for r in a])
    close(d.variance, [stats.dirichlet(r).var() for r in a])
    lucid.manual_seed(1)
    drawn = d.sample((4000,)).numpy()
    for b in range(2):
        for k in range(3):
            marginal = stats.beta(a[b, k], a[b].sum() - a[b, k])
            assert stats.kstest(drawn[:, b, k], marginal.cdf).pvalue > 1e-4
    # The greater concentration has the greater density at its end; between 1 and 1 there is none.
    ends = D.Beta(double([0.4, 0.7, 3.0, 0.5]), double([0.7, 0.4, 2.0, 0.5])).mode
    np.testing.assert_allclose(ends.numpy(), [0.0, 1.0, 2 / 3, float("nan")])
    # Concentrations whose gamma numbers are 0 in float32 still give a point of the simplex.
    low = D.Dirichlet(lucid.full((100, 3), 1e-4)).sample()
    assert bool(((low.sum(-1) - 1).abs() < 1e-5).all())
    small = D.Beta(lucid.full((1000,), 1e-4), 1e-4).sample()
    assert not bool(small.isnan().any()) and 0.3 < small.mean().item() < 0.7


@pytest.mark.parametrize("given", ["covariance_matrix", "precision_matrix", "scale_tril"])
def test_multivariate_normal(given):
    matrix = {
        "covariance_matrix": COVARIANCE,
        "precision_matrix": np.linalg.inv(COVARIANCE),
        "scale_tril": np.linalg.cholesky(COVARIANCE),
    }[given]
    loc = np.array([[0.5, -1.0], [2.0, 0.0], [1.0, 1.0]])
    d = D.MultivariateNormal(double(loc), **{given: double(matrix)})
    x = np.random.default_rng(0).normal(size=(4, 3, 2))
    wanted = [stats.multivariate_normal(m, COVARIANCE) for m in loc]
    close(d.log_prob(double(x)), np.stack([w.logpdf(x[:, i]) for i, w in enumerate(wanted)], 1))
    close(d.entropy(), [w.entropy() for w in wanted])
    close(d.covariance_matrix[1], COVARIANCE)
    close(d.precision_matrix[2], np.linalg.inv(COVARIANCE))
    close(d.variance[0], COVARIANCE.diagonal())
    lucid.manual_seed(9)
    drawn = d.sample((20000,)).numpy()
    np.testing.assert_allclose(drawn.mean(0), loc, atol=0.05)
    np.testing.assert_allclose(np.cov(drawn[:, 0].T), COVARIANCE, atol=0.08)
    with pytest.raises(ValueError, match="MultivariateNormal: exactly one of"):
        D.MultivariateNormal(double(loc))
    with pytest.raises(ValueError, match="covariance_matrix .* must end in 2 x 2"):
        D.MultivariateNormal(double(loc), double(np.eye(3)))


PAIRS = [
    ("Normal", (0.3, 0.8), "Normal", (1.0, 1.5), (-12, 12)),
    ("Normal", (0.3, 0.8), "Laplace", (1.0, 1.5), (-12, 12)),
    ("Gamma", (2.0, 1.5), "Gamma", (3.0, 0.7), (1e-9, 40)),
    ("Gamma", (2.0, 1.5), "Exponential", (0.7,), (1e-9, 40)),
    ("InverseGamma", (4.0, 1.5), "InverseGamma", (3.0, 0.7), (1e-3, 400)),
    ("Exponential", (1.5,), "Gamma", (3.0, 0.7), (1e-9, 40)),
    ("Exponential", (1.5,), "Exponential", (0.7,), (1e-9, 40)),
    ("Beta", (2.0, 3.0), "Beta", (1.5, 1.0), (1e-9, 1 - 1e-9)),
    ("Laplace", (0.3, 0.8), "Laplace", (1.0, 1.5), (-40, 40)),
    ("Gumbel", (0.3, 0.8), "Gumbel", (1.0, 1.5), (-3.2, 40)),
    ("Uniform", (0.2, 0.8), "Uniform", (0.0, 1.5), (0.2, 0.8 - 1e-12)),
    ("Uniform", (0.2, 0.8), "Normal", (0.0, 1.5), (0.2, 0.8 - 1e-12)),
    ("Uniform", (0.2, 0.8), "Beta", (2.0, 1.5), (0.2, 0.8 - 1e-12)),
    ("HalfNormal", (0.8,), "HalfNormal", (1.5,), (0, 12)),
    ("LogNormal", (0.3, 0.5), "LogNormal", (0.0, 1.0), (1e-6, 60)),
]


@pytest.mark.parametrize("p, a, q, b, ends", PAIRS, ids=lambda v: v if isinstance(v, str) else "")
def test_divergences_are_integrals(p, a, q, b, ends):
    first = getattr(D, p)(*[double(v) for v in a])
    second = getattr(D, q)(*[double(v) for v in b])
    nodes, weights = np.polynomial.legendre.leggauss(30)
    parts = 60
    # Short ones where the density of positive numbers is steep.
    edges = np.linspace(0, 1, parts + 1)[:-1, None] ** (2 if ends[0] >= 0 else 1)
    widths = np.diff(np.append(edges[:, 0], 1))[:, None]
    nodes, weights = (edges + widths * (nodes + 1) / 2).ravel(), (widths * weights).ravel()
    x = double(nodes * (ends[1] - ends[0]) + ends[0])
    log_p = first.log_prob(x)
    terms = (log_p.exp() * (log_p - second.log_prob(x))).numpy()
    want = (terms * weights).sum() * (ends[1] - ends[0]) / 2
    assert D.kl_divergence(first, second).item() == pytest.approx(want, rel=1e-3, abs=1e-6)


def test_divergences_of_counts_and_vectors():
    k = double(np.arange(400.0))[:, None]
    for p, q in (
        (D.Poisson(double(A)), D.Poisson(double(B))),
        (D.Geometric(double(P)), D.Geometric(double(P[::-1].copy()))),
    ):
        log_p = p.log_prob(k)
        terms = log_p.exp() * (log_p - q.log_prob(k))
        close(D.kl_divergence(p, q), terms.sum(0).numpy(), 1e-8)
    p, q = D.Bernoulli(double(P)), D.Bernoulli(double(P[::-1].copy()))
    want = P * np.log(P / P[::-1]) + (1 - P) * np.log((1 - P) / (1 - P[::-1]))
    close(D.kl_divergence(p, q), want)
    close(
        D.kl_divergence(D.Binomial(4, double(P)), D.Binomial(4, double(P[::-1].copy()))), 4 * want
    )
    p, q = D.Categorical(double(ROWS)), D.Categorical(double(ROWS[::-1].copy()))
    close(D.kl_divergence(p, q), (ROWS * np.log(ROWS / ROWS[::-1])).sum(1))
    p = D.MultivariateNormal(double([0.0, 1.0]), double(COVARIANCE))
    q = D.MultivariateNormal(double([1.0, 0.0]), double(np.eye(2) * 2))
    apart = np.array([1.0, -1.0])
    want = 0.5 * (np.trace(COVARIANCE) / 2 + apart @ apart / 2 - 2
                  + math.log(4 / np.linalg.det(COVARIANCE)))  # fmt: skip
    assert D.kl_divergence(p, q).item() == pytest.approx(want)
    one = D.Independent(D.Normal(double(A), 1.0), 1)
    assert D.kl_divergence(one, D.Independent(D.Normal(0.0, 1.0).expand((3,)), 1)).item() == (
        pytest.approx((A**2).sum() / 2)
    )
    with pytest.raises(NotImplementedError, match="Normal and Dirichlet"):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Dirichlet(lucid.ones(2)))


TRANSFORMS = {
    "Exp": D.ExpTransform(), "Sigmoid": D.SigmoidTransform(), "Tanh": D.TanhTransform(),
    "Softplus": D.SoftplusTransform(), "Affine": D.AffineTransform(1.0, -2.5),
    "Chain": D.ComposeTransform([D.AffineTransform(0.5, 2.0), D.TanhTransform()]),
    "Inverse": D.ComposeTransform([D.SigmoidTransform(), D.ExpTransform().inv]),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    transform = TRANSFORMS[name]
    x = double([-1.5, -0.2, 0.0, 0.7, 1.4]).requires_grad_()
    y = transform(x)
    close(transform.inv(y).detach(), x.detach().numpy(), 1e-7)
    (slope,) = lucid.autograd.grad(y.sum(), x)
    close(transform.log_abs_det_jacobian(x, y).detach(), np.log(np.abs(slope.numpy())), 1e-8)


def test_stick_breaking_and_other_shapes():
    x = double(np.random.default_rng(3).normal(size=(2, 3)))
    t = D.StickBreakingTransform()
    y = t(x)
    close(y.sum(-1), np.ones(2))
    close(t.inv(y), x.numpy(), 1e-8)
    jacobian = lucid.func.vmap(lambda v: v)(x)  # the batch as it is
    rows = []
    for i in range(2):
        leaf = jacobian[i].clone().requires_grad_()
        out = t(leaf)[:-1]
        rows.append(np.stack([lucid.autograd.grad(o, leaf, retain_graph=True)[0].numpy()
                              for o in out.unbind(0)]))  # fmt: skip
    close(t.log_abs_det_jacobian(x, y), [np.linalg.slogdet(r)[1] for r in rows], 1e-8)
    r = D.ReshapeTransform((3,), (3, 1))
    assert r(x).shape == (2, 3, 1) and r.inv(r(x)).shape == (2, 3)
    with pytest.raises(ValueError, match="in_shape"):
        D.ReshapeTransform((3,), (2,))
    d = D.TransformedDistribution(D.Normal(double(np.zeros((2, 3))), 1.0), t)
    assert d.batch_shape == (2,) and d.event_shape == (4,) and d.sample((5,)).shape == (5, 2, 4)
    lower = D.LowerCholeskyTransform()
    m = double(np.random.default_rng(4).normal(size=(3, 3)))
    close(lower.inv(lower(m)), np.tril(m.numpy()), 1e-12)


def test_transformed():
    base = D.Normal(double(A), double(B))
    d = D.TransformedDistribution(base, [D.AffineTransform(1.0, -2.0), D.ExpTransform()])
    x = double([0.3, 2.0, 5.0])
    want = [stats.lognorm(2 * b, scale=math.exp(1 - 2 * a)) for a, b in zip(A, B, strict=True)]
    close(d.log_prob(x), [w.logpdf(v) for w, v in zip(want, x.numpy(), strict=True)])
    close(d.cdf(x), [w.cdf(v) for w, v in zip(want, x.numpy(), strict=True)])
    close(d.icdf(double(0.2)), [w.ppf(0.2) for w in want])
    wide = d.expand((4, 3))
    assert wide.batch_shape == (4, 3) and wide.rsample((2,)).shape == (2, 4, 3)
    close(wide.log_prob(x), np.stack([d.log_prob(x).numpy()] * 4))


def test_shapes_and_expansion():
    for name, (parameters, _) in (CONTINUOUS | DISCRETE).items():
        d = made(name, parameters)
        assert d.batch_shape == (3,) and d.event_shape == ()
        wide = d.expand((2, 3))
        assert type(wide) is type(d) and wide.batch_shape == (2, 3)
        assert wide.sample((4,)).shape == (4, 2, 3) and d.sample().shape == (3,)
        x = d.sample()
        close(wide.log_prob(x), np.stack([d.log_prob(x).numpy()] * 2))
    d = D.MultivariateNormal(lucid.zeros(2), lucid.eye(2)).expand((3,))
    assert d.sample().shape == (3, 2) and d.covariance_matrix.shape == (3, 2, 2)
    assert D.Independent(D.Normal(lucid.zeros(2, 3), 1.0), 2).log_prob(lucid.zeros(2, 3)).ndim == 0
    e = D.Categorical(logits=lucid.zeros(4)).expand((2,))
    assert e.sample().shape == (2,) and e.enumerate_support().shape == (4, 2)


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="Normal: parameter scale .* must be greater_than"):
        D.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match="parameter loc .* must be real"):
        D.Normal(float("nan"), 1.0)
    with pytest.raises(ValueError, match="Bernoulli: exactly one of probs and logits"):
        D.Bernoulli()
    with pytest.raises(ValueError, match="got both"):
        D.Categorical(lucid.ones(2), lucid.ones(2))
    with pytest.raises(ValueError, match="Dirichlet: concentration"):
        D.Dirichlet(lucid.tensor(1.0))
    with pytest.raises(ValueError, match="value must lie in the support"):
        D.Bernoulli(0.5).log_prob(lucid.tensor(0.3))
    with pytest.raises(ValueError, match="does not broadcast"):
        D.Normal(lucid.zeros(3), 1.0).log_prob(lucid.zeros(2))
    with pytest.raises(ValueError, match="end in the event shape"):
        D.Dirichlet(lucid.ones(3)).log_prob(lucid.ones(2) / 2)
    with pytest.raises(ValueError, match="low must be below high"):
        D.Uniform(1.0, 0.0)
    with pytest.raises(ValueError, match="positive definite"):
        D.MultivariateNormal(lucid.zeros(2), -lucid.eye(2))
    with pytest.raises(NotImplementedError, match="Beta has no icdf"):
        D.Beta(1.0, 1.0).icdf(lucid.tensor(0.5))
    with pytest.raises(NotImplementedError, match="no reparametrised"):
        D.Poisson(1.0).rsample()
    with pytest.raises(TypeError, match="a number or a tensor"):
        D.Normal("a", 1.0)
    assert D.Normal(0.0, -1.0, validate_args=False).scale.item() == -1.0
    D.Distribution.set_default_validate_args(False)
    try:
        D.Normal(0.0, -1.0)
    finally:
        D.Distribution.set_default_validate_args(True)


def test_constraints():
    check = {
        "simplex": ([[0.2, 0.8], [0.5, 0.6]], [True, False]),
        "positive_integer": ([0.0, 1.0, 1.5], [False, True, False]),
        "unit_interval": ([-0.1, 0.0, 1.0], [False, True, True]),
        "one_hot": ([[0.0, 1.0], [1.0, 1.0]], [True, False]),
        "lower_triangular": ([[[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 1.0]]], [True, False]),
        "positive_semidefinite": (
            [[[1.0, 1.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]],
            [True, False],
        ),
    }
    for name, (value, want) in check.items():
        assert getattr(constraints, name).check(lucid.tensor(value)).tolist() == want, name
    assert constraints.is_dependent(D.Uniform.support) and D.Uniform.support.event_dim == 0


def test_in_compiled_programs_and_vmap():
    def step(loc, scale):
        d = D.Normal(loc, scale.exp())
        z = d.rsample()
        kl = D.kl_divergence(d, D.Normal(0.0, 1.0)).sum()
        g = D.Gamma(scale.exp(), 1.0).rsample()
        return kl + (z * z).sum() + g.sum() + D.Categorical(logits=loc).entropy()

    loc, scale = lucid.randn(4, requires_grad=True), lucid.zeros(4, requires_grad=True)
    results = []
    for function in (step, lucid.compile(step)):
        lucid.manual_seed(0)
        y = function(loc, scale)
        results.append((y, *lucid.autograd.grad(y, (loc, scale))))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(
            got.detach().numpy(), want.detach().numpy(), rtol=1e-5, atol=1e-6
        )
    x, m = lucid.randn(5, 4), lucid.randn(5, 4)
    got = vmap(lambda x, m: D.Normal(m, 1.0).log_prob(x))(x, m)
    assert lucid.allclose(got, D.Normal(m, 1.0).log_prob(x))
    lucid.manual_seed(1)
    each = vmap(lambda m: D.Gamma(m.exp(), 1.0).sample(), randomness="different")(m)
    lucid.manual_seed(1)
    assert lucid.allclose(each, lucid.stack([D.Gamma(r.exp(), 1.0).sample() for r in m]))


def test_under_pytorchs_name():
    program = """
        import torch
        from torch.distributions import Categorical, Normal, constraints
        from torch.distributions.kl import kl_divergence, register_kl
        from torch.distributions.normal import Normal as Again
        from torch.distributions.transforms import TanhTransform
        from torch.distributions.utils import broadcast_all, lazy_property, logits_to_probs
        from torch.distributions.constraints import independent, positive
        from torch.distributions.studentT import StudentT
        import torch.distributions.constraints as same

        assert Normal is Again is torch.distributions.Normal and same.positive is positive
        assert independent(positive, 1).event_dim == 1
        assert kl_divergence(Normal(0.0, 1.0), Normal(0.0, 1.0)).item() == 0
        assert torch.special.zeta(torch.tensor(2.0), torch.tensor(1.0)) > 1.64
        assert torch.igamma(torch.tensor(1.0), torch.tensor(1.0)) > 0.63
    """
    code = "import lucid.compat.torch\n" + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


IN_PLACE = {
    "uniform_": ((-1.0, 3.0), stats.uniform(-1, 4)), "normal_": ((1.0, 2.0), stats.norm(1, 2)),
    "exponential_": ((2.0,), stats.expon(scale=0.5)), "cauchy_": ((1.0, 2.0), stats.cauchy(1, 2)),
    "log_normal_": ((0.5, 0.7), stats.lognorm(0.7, scale=math.exp(0.5))),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_draws_in_place(name):
    parameters, wanted = IN_PLACE[name]
    lucid.manual_seed(21)
    for kind in (lucid.float32, lucid.float64):
        x = lucid.empty(4000, dtype=kind)
        assert getattr(x, name)(*parameters) is x
        assert stats.kstest(x.double().numpy(), wanted.cdf).pvalue > 1e-4


def test_geometric_in_place():
    lucid.manual_seed(22)
    fit(lucid.empty(4000).geometric_(0.3).numpy(), stats.geom(0.3))
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        lucid.empty(2).geometric_(1.5)


def live(name, parameters):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.distributions, name)(*[torch.tensor(p) for p in parameters])
    return torch, made(name, parameters), theirs


@pytest.mark.parametrize(
    "name",
    [n for n in (*CONTINUOUS, *DISCRETE) if n != "Binomial"]
    + ["Dirichlet", "Categorical", "OneHotCategorical"],
)
def test_against_pytorch(name):
    rows = {"Dirichlet": (ROWS * 5,), "Categorical": (ROWS,), "OneHotCategorical": (ROWS,)}
    parameters = rows.get(name) or (CONTINUOUS | DISCRETE)[name][0]
    torch, ours, theirs = live(name, parameters)
    value = theirs.sample((4,))
    close(ours.log_prob(lucid.tensor(value.numpy())), theirs.log_prob(value).numpy(), 1e-9)
    for asked in ("mean", "mode", "variance", "stddev"):
        if asked == "mode" and name in ("Beta", "Dirichlet"):
            continue  # PyTorch takes the argmax of NaN where all concentrations are below 1
        try:
            want = getattr(theirs, asked).numpy()
        except NotImplementedError:
            continue
        close(getattr(ours, asked), want)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.sample((2,)).shape == tuple(theirs.sample((2,)).shape)
    if theirs.has_enumerate_support:
        close(ours.enumerate_support(), theirs.enumerate_support().numpy())
    if name != "Poisson":
        close(ours.entropy(), theirs.entropy().numpy(), 1e-9)
