"""The further distributions, transforms and divergences: against SciPy, integrals, samples, exact
cases, and PyTorch live."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

import lucid
import lucid.distributions as D
from lucid.autograd import gradcheck
from lucid.distributions import biject_to, constraints, transform_to

stats = pytest.importorskip("scipy.stats")
A, B = np.array([0.4, 1.0, 3.5]), np.array([0.7, 2.0, 1.5])
P = np.array([0.1, 0.4999, 0.8])
C = np.array([-0.3, 0.0, 0.2])
RNG = np.random.default_rng(0)
ROOT = RNG.standard_normal((4, 4))
COVARIANCE = ROOT @ ROOT.T + np.eye(4)


def double(x):
    return lucid.tensor(np.asarray(x, np.float64))


def close(got, want, tolerance=1e-10):
    np.testing.assert_allclose(got.numpy(), want, rtol=tolerance, atol=tolerance)


def made(name, parameters, kind=lucid.float64):
    return getattr(D, name)(*[double(p).to(kind) for p in parameters])


def each(distribution, *parameters):
    return [distribution(*p) for p in zip(*parameters, strict=True)]


class Kumaraswamy(stats.rv_continuous):
    def _cdf(self, x, a, b):
        return 1 - (1 - x**a) ** b

    def _pdf(self, x, a, b):
        return a * b * x ** (a - 1) * (1 - x**a) ** (b - 1)


class ContinuousBernoulli(stats.rv_continuous):
    def _pdf(self, x, p):
        return p**x * (1 - p) ** (1 - x) * np.log(p / (1 - p)) / (2 * p - 1)


kumaraswamy = Kumaraswamy(a=0.0, b=1.0, shapes="a, b")
continuous_bernoulli = ContinuousBernoulli(a=0.0, b=1.0, shapes="p")

CONTINUOUS = {
    "Pareto": ((B, A + 4), each(lambda m, a: stats.pareto(a, scale=m), B, A + 4)),
    "GeneralizedPareto": ((A, B, C), each(lambda m, s, c: stats.genpareto(c, m, s), A, B, C)),
    "Weibull": ((B, A + 0.5), each(lambda s, k: stats.weibull_min(k, scale=s), B, A + 0.5)),
    "Kumaraswamy": ((A + 1, B), each(kumaraswamy, A + 1, B)),
    "FisherSnedecor": ((A * 4, B * 7), each(stats.f, A * 4, B * 7)),
    "ContinuousBernoulli": ((P,), each(continuous_bernoulli, P)),
    "VonMises": ((A - 1, B * 2), each(lambda m, k: stats.vonmises(k, m), A - 1, B * 2)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name):
    parameters, wanted = CONTINUOUS[name]
    d = made(name, parameters)
    levels = np.array([0.05, 0.3, 0.5, 0.9])
    x = np.stack([w.ppf(levels) for w in wanted], 1)
    logs = np.stack([w.logpdf(v) for w, v in zip(wanted, x.T, strict=True)], 1)
    rough = 1e-6 if name == "ContinuousBernoulli" else 1e-9  # whose logarithm at 1/2 cancels
    close(d.log_prob(double(x)), logs, rough)
    close(d.entropy(), [w.entropy() for w in wanted], max(rough, 1e-8))
    if name not in ("FisherSnedecor", "VonMises"):
        close(d.cdf(double(x)), np.repeat(levels[:, None], 3, 1), max(rough, 1e-8))
        close(d.icdf(double(levels)[:, None]), x, max(rough, 1e-8))
    if name == "VonMises":
        close(d.mean, A - 1)
        k = B * 2
        close(d.variance, [1 - stats.vonmises(c).expect(np.cos) for c in k], 1e-9)
        return
    close(d.mean, [w.mean() for w in wanted], max(rough, 1e-8))
    close(d.variance, [w.var() for w in wanted], max(rough, 1e-7))
    close(d.stddev, [w.std() for w in wanted], max(rough, 1e-7))


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("kind", [lucid.float32, lucid.float64])
def test_samples_have_the_distribution(name, kind):
    parameters, wanted = CONTINUOUS[name]
    lucid.manual_seed(11)
    drawn = made(name, parameters, kind).sample((3000,))
    assert drawn.dtype is kind and not drawn.requires_grad and drawn.shape == (3000, 3)
    for column, w in zip(drawn.numpy().T.astype(np.float64), wanted, strict=True):
        if name == "VonMises":
            assert column.min() >= -math.pi - 1e-6 and column.max() < math.pi + 1e-6
            mean = w.args[1]
            column = (column - mean + math.pi) % (2 * math.pi) - math.pi + mean
        assert stats.kstest(column, w.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", [n for n in CONTINUOUS if n != "VonMises"])
def test_samples_move_with_the_parameters(name):
    """Gradients of samples against moved quantiles: the same uniform numbers, other parameters."""
    parameters, _ = CONTINUOUS[name]
    leaves = [double(p).requires_grad_() for p in parameters]

    def drawn(*leaves):
        lucid.manual_seed(8)
        return getattr(D, name)(*leaves).rsample((3,))

    if name == "FisherSnedecor":  # gamma numbers are drawn by rejection
        (slope,) = lucid.autograd.grad(drawn(*leaves).sum(), leaves[:1])
        assert bool(slope.isfinite().all())
        return
    assert gradcheck(drawn, leaves)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_gradients_of_densities(name):
    parameters, _ = CONTINUOUS[name]
    d = made(name, parameters)
    x = d.sample((2,)).requires_grad_()
    leaves = [double(p).requires_grad_() for p in parameters]
    assert gradcheck(lambda x, *leaves: getattr(D, name)(*leaves).log_prob(x), (x, *leaves))
    assert gradcheck(lambda *leaves: getattr(D, name)(*leaves).entropy(), leaves)


def test_edges():
    inf = math.inf
    assert D.Pareto(1.0, double([0.5, 1.0, 2.0])).mean.tolist() == [inf, inf, 2]
    assert D.Pareto(1.0, double([1.5, 2.0])).variance.tolist() == [inf, inf]
    assert D.GeneralizedPareto(0.0, 1.0, double([1.0])).mean.isnan().all()
    bounded = D.GeneralizedPareto(1.0, 2.0, -0.5)
    assert bounded.support.upper_bound.item() == 5.0
    assert bounded.log_cdf(lucid.tensor(3.0)).exp().item() == pytest.approx(0.75)
    assert D.GeneralizedPareto(0.0, 2.0, -1.0).log_prob(lucid.tensor(1.5)).item() == (
        pytest.approx(-math.log(2))
    )
    with pytest.raises(ValueError, match="GeneralizedPareto: value must lie in the support"):
        bounded.log_prob(lucid.tensor(6.0))
    with pytest.raises(ValueError, match="Pareto: value must lie in the support"):
        D.Pareto(2.0, 1.0).log_prob(lucid.tensor(1.0))
    assert D.Weibull(2.0, double([0.5, 1.0])).mode.tolist() == [0, 0]
    assert D.Kumaraswamy(1.0, 1.0).mode.isnan() and D.Kumaraswamy(2.0, 1.0).mode.item() == 1
    half = D.ContinuousBernoulli(double(0.5), validate_args=False)
    assert half.cdf(double([-1.0, 0.25, 2.0])).tolist() == pytest.approx([0, 0.25, 1])
    close(D.ContinuousBernoulli(logits=double([0.0, 2.0])).probs, [0.5, 1 / (1 + math.exp(-2))])
    for k in (1e-12, 1e-6, 1e3):
        drawn = D.VonMises(double(0.5), k).sample((200,))
        assert bool((drawn.abs() <= math.pi).all())
    assert D.VonMises(double(0.5), 1e3).sample((500,)).mean().item() == pytest.approx(0.5, abs=0.01)


# ---- counts -------------------------------------------------------------------------------------


def test_negative_binomial():
    n = np.array([2.0, 3.0, 5.5])
    d = D.NegativeBinomial(double(n), double(P))
    wanted = [stats.nbinom(a, 1 - p) for a, p in zip(n, P, strict=True)]
    k = np.arange(9.0)
    close(d.log_prob(double(k)[:, None]), np.stack([w.logpmf(k) for w in wanted], 1), 1e-9)
    close(d.mean, [w.mean() for w in wanted])
    close(d.variance, [w.var() for w in wanted])
    again = D.NegativeBinomial(double(n), logits=double(np.log(P / (1 - P))))
    close(again.log_prob(double(k)[:, None]), d.log_prob(double(k)[:, None]).numpy())
    lucid.manual_seed(3)
    drawn = d.sample((20000,)).numpy()
    np.testing.assert_allclose(drawn.mean(0), d.mean.numpy(), rtol=0.05)
    np.testing.assert_allclose(drawn.var(0), d.variance.numpy(), rtol=0.1)
    nothing = D.NegativeBinomial(0.0, 0.3)
    assert nothing.log_prob(lucid.tensor(0.0)).item() == 0
    assert nothing.sample((3,)).tolist() == [0, 0, 0]
    assert d.expand((2, 3)).sample().shape == (2, 3)
    with pytest.raises(ValueError, match="NegativeBinomial: parameter probs"):
        D.NegativeBinomial(1.0, 1.0)


def test_multinomial():
    p = np.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]])
    d = D.Multinomial(5, double(p))
    x = np.array([[1.0, 1.0, 3.0], [0.0, 5.0, 0.0]])
    close(d.log_prob(double(x)), [stats.multinomial(5, r).logpmf(v) for r, v in zip(p, x)], 1e-9)  # noqa: B905
    close(d.entropy(), [stats.multinomial(5, r).entropy() for r in p], 1e-9)
    close(d.mean, 5 * p)
    close(d.variance, 5 * p * (1 - p))
    lucid.manual_seed(4)
    drawn = d.sample((6000,))
    assert drawn.shape == (6000, 2, 3) and bool((drawn.sum(-1) == 5).all())
    np.testing.assert_allclose(drawn.numpy().mean(0), 5 * p, atol=0.08)
    np.testing.assert_allclose(drawn.numpy().var(0), 5 * p * (1 - p), atol=0.1)
    sure = D.Multinomial(3, double([1.0, 0.0]))
    assert sure.log_prob(double([3.0, 0.0])).item() == pytest.approx(0, abs=1e-12)
    assert sure.sample().tolist() == [3, 0] and d.expand((4, 2)).sample().shape == (4, 2, 3)
    assert D.Multinomial(0, double(p)).sample().tolist() == [[0] * 3] * 2
    with pytest.raises(NotImplementedError, match="total_count must be one int"):
        D.Multinomial(double([1.0, 2.0]), double(p))
    with pytest.raises(ValueError, match="support"):
        d.log_prob(double([[6.0, 0.0, 0.0]]))


# ---- vectors and matrices -----------------------------------------------------------------------


def test_low_rank_multivariate_normal():
    w, diagonal = RNG.standard_normal((4, 2)), np.array([0.5, 1.0, 2.0, 0.3])
    loc = RNG.standard_normal((3, 4))
    d = D.LowRankMultivariateNormal(double(loc), double(w), double(diagonal))
    covariance = w @ w.T + np.diag(diagonal)
    assert d.batch_shape == (3,) and d.event_shape == (4,)
    x = RNG.standard_normal((3, 4))
    wanted = [stats.multivariate_normal(m, covariance) for m in loc]
    close(d.log_prob(double(x)), [n.logpdf(v) for n, v in zip(wanted, x, strict=True)], 1e-9)
    close(d.entropy(), [n.entropy() for n in wanted], 1e-9)
    close(d.covariance_matrix[1], covariance)
    close(d.precision_matrix[2], np.linalg.inv(covariance), 1e-9)
    close(d.scale_tril[0], np.linalg.cholesky(covariance), 1e-9)
    close(d.variance[0], np.diag(covariance))
    lucid.manual_seed(5)
    np.testing.assert_allclose(np.cov(d.sample((30000,)).numpy()[:, 0].T), covariance, atol=0.15)
    assert d.expand((2, 3)).log_prob(double(x)).shape == (2, 3)
    leaves = [double(v).requires_grad_() for v in (loc, w, diagonal)]
    assert gradcheck(lambda *v: D.LowRankMultivariateNormal(*v).log_prob(double(x)), leaves)
    with pytest.raises(ValueError, match="cov_factor .* must be"):
        D.LowRankMultivariateNormal(double(loc), double(w.T), double(diagonal))
    with pytest.raises(ValueError, match="cov_diag"):
        D.LowRankMultivariateNormal(double(loc), double(w), double(diagonal[:2]))


@pytest.mark.parametrize("given", ["covariance_matrix", "precision_matrix", "scale_tril"])
def test_wishart(given):
    df = np.array([5.0, 6.5])
    value = {"covariance_matrix": COVARIANCE, "precision_matrix": np.linalg.inv(COVARIANCE),
             "scale_tril": np.linalg.cholesky(COVARIANCE)}[given]  # fmt: skip
    d = D.Wishart(double(df), **{given: double(value)})
    wanted = [stats.wishart(n, COVARIANCE) for n in df]
    x = COVARIANCE * 2 + np.eye(4)
    close(d.log_prob(double(x)), [w.logpdf(x) for w in wanted], 1e-8)
    close(d.entropy(), [w.entropy() for w in wanted], 1e-8)
    close(d.mean, [w.mean() for w in wanted], 1e-8)
    close(d.variance, [w.var() for w in wanted], 1e-8)
    close(d.mode[1], wanted[1].mode(), 1e-8)
    assert bool(d.mode[0].isnan().all())
    close(d.covariance_matrix[0], COVARIANCE, 1e-8)
    close(d.precision_matrix[0], np.linalg.inv(COVARIANCE), 1e-8)
    lucid.manual_seed(6)
    drawn = d.sample((8000,)).numpy()
    np.testing.assert_allclose(drawn.mean(0), d.mean.numpy(), rtol=0.1, atol=1.0)
    assert d.expand((3, 2)).sample().shape == (3, 2, 4, 4)


def test_wishart_gradients_and_errors():
    root = double(np.linalg.cholesky(COVARIANCE)).requires_grad_()
    df = double(5.5).requires_grad_()
    x = double(COVARIANCE)
    assert gradcheck(lambda df, root: D.Wishart(df, scale_tril=root.tril()).log_prob(x), (df, root))
    assert D.Wishart(df, scale_tril=root).rsample().requires_grad
    with pytest.raises(ValueError, match="df must be above 3"):
        D.Wishart(3.0, double(COVARIANCE))
    with pytest.raises(ValueError, match="exactly one of"):
        D.Wishart(5.0)


def test_lkj_is_normalised_and_drawn_so():
    """Of 3 x 3 matrices, with det^(c - 1) as the density in the correlations."""
    for c in (0.7, 2.0):
        d = D.LKJCholesky(3, double(c))
        nodes, weights = np.polynomial.legendre.leggauss(80)
        # x = tanh-like shares of each row: the whole space of factors is a cube of them
        z = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
        w = np.prod(np.stack(np.meshgrid(weights, weights, weights, indexing="ij"), -1), -1)
        factors = D.CorrCholeskyTransform()(double(np.arctanh(z)))
        left = np.sqrt(1 - factors.numpy()[:, 2, 0] ** 2)  # d y / d z of the element (2, 1)
        total = (d.log_prob(factors).exp().numpy() * left * w.reshape(-1)).sum()
        assert total == pytest.approx(1, abs=2e-2 if c < 1 else 1e-4)
    lucid.manual_seed(7)
    for dim, c in ((2, 1.0), (3, 0.7), (5, 2.5)):
        drawn = D.LKJCholesky(dim, double(c)).sample((3000,))
        assert bool(constraints.corr_cholesky.check(drawn).all())
        whole = (drawn @ drawn.mT).numpy()
        # Every correlation r has (r + 1) / 2 from Beta(b, b), b = c + dim / 2 - 1.
        beta = stats.beta(c + dim / 2 - 1, c + dim / 2 - 1)
        for i, j in itertools.combinations(range(dim), 2):
            assert stats.kstest((whole[:, i, j] + 1) / 2, beta.cdf).pvalue > 1e-4
    assert D.LKJCholesky(4, double([1.0, 2.0])).sample((3,)).shape == (3, 2, 4, 4)
    assert D.LKJCholesky(3).expand((2,)).sample().shape == (2, 3, 3)
    with pytest.raises(ValueError, match="dim must be"):
        D.LKJCholesky(1)


# ---- mixtures -----------------------------------------------------------------------------------


def test_mixtures():
    p, loc, scale = np.array([0.2, 0.5, 0.3]), np.array([-2.0, 0.5, 3.0]), np.array([0.5, 1.0, 0.3])
    d = D.MixtureSameFamily(D.Categorical(double(p)), D.Normal(double(loc), double(scale)))
    x = np.array([-1.0, 0.0, 2.9])
    parts = stats.norm(loc, scale)
    close(d.log_prob(double(x)), np.log((parts.pdf(x[:, None]) * p).sum(1)))
    close(d.cdf(double(x)), (parts.cdf(x[:, None]) * p).sum(1))
    mean = (p * loc).sum()
    close(d.mean, mean)
    close(d.variance, (p * (scale**2 + loc**2)).sum() - mean**2)
    lucid.manual_seed(8)
    drawn = d.sample((5000,)).numpy()
    assert stats.kstest(drawn, lambda x: (parts.cdf(x[:, None]) * p).sum(1)).pvalue > 1e-4
    assert not d.has_rsample and d.support is not None
    with pytest.raises(NotImplementedError):
        d.rsample()
    vectors = D.MultivariateNormal(double(RNG.standard_normal((2, 3, 4))), double(COVARIANCE))
    many = D.MixtureSameFamily(D.Categorical(double(np.ones((2, 3)))), vectors)
    assert (many.batch_shape, many.event_shape) == ((2,), (4,))
    assert many.sample((5,)).shape == (5, 2, 4) and many.mean.shape == (2, 4)
    x = double(RNG.standard_normal((2, 4)))
    each = vectors.log_prob(x[:, None]).exp().mean(-1).log()
    close(many.log_prob(x), each.numpy())
    assert many.expand((6, 2)).sample((5,)).shape == (5, 6, 2, 4)
    leaves = [double(v).requires_grad_() for v in (p, loc, scale)]

    def density(p, loc, scale):
        return D.MixtureSameFamily(D.Categorical(p), D.Normal(loc, scale)).log_prob(double(0.3))

    assert gradcheck(density, leaves)
    for mixture, component, said in (
        (D.Normal(0.0, 1.0), D.Normal(double(loc), 1.0), "must be Categorical"),
        (D.Categorical(double(p)), D.Normal(double(loc[:2]), 1.0), "3 categories choose along"),
        (D.Categorical(double(p)), D.Normal(0.0, 1.0), "3 categories choose along"),
        (D.Categorical(double(np.ones((2, 3)))), D.Normal(double(np.ones((4, 3))), 1.0), "fit"),
    ):
        with pytest.raises(ValueError, match=said):
            D.MixtureSameFamily(mixture, component)


def test_logistic_normal():
    d = D.LogisticNormal(double([0.1, 0.2]), double([0.5, 1.0]))
    assert (d.batch_shape, d.event_shape) == ((), (3,)) and d.has_rsample
    assert D.LogisticNormal(0.0, 1.0).event_shape == (2,)
    close(d.loc, [0.1, 0.2])
    close(d.scale, [0.5, 1.0])
    drawn = d.sample((50,))
    close(drawn.sum(-1), np.ones(50))
    assert d.log_prob(drawn).shape == (50,)
    # The density in the first two numbers has the integral 1.
    nodes, weights = np.polynomial.legendre.leggauss(120)
    u, wu = (nodes + 1) / 2, weights / 2
    a, b = np.meshgrid(u, u, indexing="ij")
    points = np.stack([a, b * (1 - a), 1 - a - b * (1 - a)], -1)
    total = (d.log_prob(double(points)).exp().numpy() * (1 - a) * np.outer(wu, wu)).sum()
    assert total == pytest.approx(1, abs=1e-3)


# ---- transforms ---------------------------------------------------------------------------------


def jacobian_of(transform, x, places):
    """log |det| of the transform of a vector, by autograd; of y the given places."""
    whole = lucid.autograd.functional.jacobian(lambda v: transform(v).reshape(-1)[places], x)
    return np.linalg.slogdet(whole.numpy())[1]


def test_corr_cholesky_transform():
    t = D.CorrCholeskyTransform()
    x = double(RNG.standard_normal((2, 6)))
    y = t(x)
    assert y.shape == (2, 4, 4) and bool(constraints.corr_cholesky.check(y).all())
    close(t.inv(y), x.numpy(), 1e-9)
    rows, columns = np.tril_indices(4, -1)
    places = double(rows * 4 + columns).long()
    want = [jacobian_of(t, row, places) for row in x]
    close(t.log_abs_det_jacobian(x, y), want, 1e-9)
    assert t.forward_shape((5, 6)) == (5, 4, 4) and t.inverse_shape((5, 4, 4)) == (5, 6)
    for wrong in (lambda: t.forward_shape((4,)), lambda: t.inverse_shape((2, 3))):
        with pytest.raises(ValueError, match="CorrCholeskyTransform"):
            wrong()


def test_cat_and_stack_transforms():
    x = double(RNG.standard_normal((3, 5)))
    cat = D.CatTransform([D.ExpTransform(), D.AffineTransform(1.0, 2.0)], dim=1, lengths=[2, 3])
    y = cat(x)
    close(y, np.concatenate([np.exp(x.numpy()[:, :2]), 1 + 2 * x.numpy()[:, 2:]], 1))
    close(cat.inv(y), x.numpy())
    slope = np.concatenate([x.numpy()[:, :2], np.full((3, 3), math.log(2))], 1)
    close(cat.log_abs_det_jacobian(x, y), slope)
    assert cat.length == 5 and cat.bijective and bool(cat.codomain.check(y).all())
    stack = D.StackTransform([D.ExpTransform(), D.TanhTransform(), D.SigmoidTransform()], dim=0)
    y = stack(x)
    close(stack.inv(y), x.numpy(), 1e-9)
    close(y[0], np.exp(x.numpy()[0]))
    parts = zip(stack.transforms, x, y, strict=True)
    want = np.stack([t.log_abs_det_jacobian(a, b).numpy() for t, a, b in parts])
    close(stack.log_abs_det_jacobian(x, y), want)
    whole = D.CatTransform([D.IndependentTransform(D.ExpTransform(), 1)], dim=-1, lengths=[5])
    close(whole.log_abs_det_jacobian(x, whole(x)), x.numpy().sum(1))
    for wrong, error in (
        (lambda: D.CatTransform([D.ExpTransform()], lengths=[1, 2]), ValueError),
        (lambda: D.CatTransform([1]), ValueError),
        (lambda: cat(x[:, :4]), ValueError),
        (lambda: D.CatTransform([D.ExpTransform()], dim=7)(x), IndexError),
    ):
        with pytest.raises(error, match="CatTransform"):
            wrong()


def test_other_transforms():
    x = double(RNG.standard_normal((2, 3, 3)))
    t = D.PositiveDefiniteTransform()
    y = t(x)
    assert bool(constraints.positive_definite.check(y).all())
    close(t(t.inv(y)), y.numpy(), 1e-9)
    normal = D.Normal(double(0.5), 2.0)
    t = D.CumulativeDistributionTransform(normal)
    x = double([-1.0, 0.0, 2.0])
    close(t(x), stats.norm(0.5, 2).cdf(x.numpy()))
    close(t.inv(t(x)), x.numpy(), 1e-9)
    close(t.log_abs_det_jacobian(x, t(x)), stats.norm(0.5, 2).logpdf(x.numpy()))
    uniform = D.TransformedDistribution(normal, t)
    close(uniform.log_prob(double([0.2, 0.7])), [0, 0], 1e-9)
    kept = D.ExpTransform().with_cache()
    y = kept(x)
    assert kept.inv(y) is x and kept.with_cache(1) is kept and kept.inv.with_cache(1) is not None
    assert kept.with_cache(0).inv(y) is not x


CONSTRAINTS = {
    "real": constraints.real, "positive": constraints.positive,
    "nonnegative": constraints.nonnegative, "greater_than": constraints.greater_than(2.0),
    "tensor": constraints.greater_than_eq(double([1.0, 2.0, 3.0])),
    "less_than": constraints.less_than(-1.0), "unit_interval": constraints.unit_interval,
    "interval": constraints.interval(-1.0, double([1.0, 2.0, 3.0])),
    "half_open": constraints.half_open_interval(2.0, 3.0), "simplex": constraints.simplex,
    "real_vector": constraints.real_vector,
    "independent": constraints.independent(constraints.positive, 1),
    "corr_cholesky": constraints.corr_cholesky,
    "cat": constraints.cat([constraints.positive, constraints.real], -1, [1, 2]),
    "stack": constraints.stack([constraints.positive, constraints.real], 0),
    "lower_cholesky": constraints.lower_cholesky,
    "positive_definite": constraints.positive_definite,
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_registries(name):
    constraint = CONSTRAINTS[name]
    matrices = name in ("lower_cholesky", "positive_definite")
    x = double(RNG.standard_normal((2, 3, 3) if matrices else (2, 3)))
    for table in (transform_to,) if matrices else (transform_to, biject_to):
        t = table(constraint)
        y = t(x)
        assert bool(constraint.check(y).all())
        close(t(t.inv(y)), y.numpy(), 1e-8)
        if table is biject_to:
            assert t.bijective
            close(t.inv(y), x.numpy(), 1e-7)
            assert bool(t.log_abs_det_jacobian(x, y).isfinite().all())


def test_registration():
    table = type(biject_to)()

    @table.register(constraints.real)
    def found(constraint):
        return D.ExpTransform()

    assert isinstance(table(constraints.real), D.ExpTransform)
    with pytest.raises(NotImplementedError, match="no transform is registered for"):
        table(constraints.simplex)
    with pytest.raises(TypeError, match="a constraint or its type"):
        table.register(int, found)


@pytest.mark.parametrize("diag", [1, 0, -1, -2])
def test_triangles(diag):
    from lucid.distributions.utils import tril_matrix_to_vec, vec_to_tril_matrix

    n = 4
    rows, columns = np.tril_indices(n, diag, n)
    want = np.zeros((2, n, n))
    want[:, rows, columns] = RNG.standard_normal((2, len(rows)))
    vectors = double(want[:, rows, columns])
    close(vec_to_tril_matrix(vectors, diag), want)
    close(tril_matrix_to_vec(double(want), diag), vectors.numpy())
    with pytest.raises(ValueError, match="triangle of no matrix"):
        vec_to_tril_matrix(lucid.ones(4))


# ---- divergences --------------------------------------------------------------------------------

ONE = {
    "Beta": (1.8, 2.5), "ContinuousBernoulli": (0.3,), "Exponential": (1.5,), "Gamma": (2.5, 1.5),
    "Gumbel": (0.3, 0.8), "Laplace": (0.3, 0.5), "Normal": (0.3, 0.6), "Pareto": (0.8, 5.5),
    "Uniform": (0.2, 0.9),
}  # fmt: skip
OTHER = {
    "Normal": (0.5, 1.5), "Exponential": (0.7,), "Gamma": (1.7, 1.2), "Gumbel": (-0.2, 1.1),
    "ContinuousBernoulli": (0.8,), "Uniform": (-0.5, 1.5), "Pareto": (0.1, 2.0),
}  # fmt: skip
INTEGRALS = [
    *[(p, "Normal") for p in ("Beta", "ContinuousBernoulli", "Exponential", "Gamma", "Gumbel",
                              "Laplace", "Pareto", "Uniform")],
    *[(p, "Exponential") for p in ("Beta", "ContinuousBernoulli", "Pareto", "Uniform")],
    *[(p, "Gamma") for p in ("Beta", "Pareto", "Uniform")],
    *[(p, "Gumbel") for p in ("Exponential", "Gamma", "Normal", "Uniform")],
    *[(p, "ContinuousBernoulli") for p in ("Beta", "ContinuousBernoulli", "Uniform")],
    *[(p, "Uniform") for p in ("Beta", "ContinuousBernoulli")],
    ("Pareto", "Pareto"), ("Uniform", "Pareto"),
]  # fmt: skip
ENDS = {
    "Beta": (1e-9, 1 - 1e-9), "ContinuousBernoulli": (0, 1), "Exponential": (0, 30),
    "Gamma": (1e-9, 30), "Gumbel": (-3, 25), "Laplace": (-20, 20), "Normal": (-6, 6.6),
    "Pareto": (0.8, 200), "Uniform": (0.2, 0.9 - 1e-12),
}  # fmt: skip


@pytest.mark.parametrize("p, q", INTEGRALS)
def test_divergences_are_integrals(p, q):
    first, second = made(p, ONE[p]), made(q, OTHER[q])
    low, high = ENDS[p]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    edges = np.linspace(0, 1, 81) ** 3  # short at the lower end
    if p in ("Normal", "Laplace", "Gumbel"):
        edges = np.linspace(0, 1, 401)
    widths = np.diff(edges)[:, None]
    x = (edges[:-1, None] + widths * (nodes + 1) / 2).ravel() * (high - low) + low
    w = (widths * weights / 2).ravel() * (high - low)
    log_p = first.log_prob(double(x))
    terms = (log_p.exp() * (log_p - second.log_prob(double(x)))).numpy()
    got = D.kl_divergence(first, second).item()
    assert got == pytest.approx((terms * w).sum(), rel=2e-3, abs=1e-6)


def test_infinite_divergences():
    for p, q in (
        ("Normal", "Pareto"), ("Beta", "Pareto"), ("Gamma", "ContinuousBernoulli"),
        ("Gumbel", "Beta"), ("Pareto", "Beta"), ("Pareto", "Uniform"), ("Gumbel", "Exponential"),
        ("Gumbel", "Gamma"), ("Laplace", "ContinuousBernoulli"),
    ):  # fmt: skip
        second = made(q, OTHER.get(q) or ONE[q])
        assert D.kl_divergence(made(p, ONE[p]), second).item() == math.inf
    one = double([0.5])
    assert D.kl_divergence(D.Uniform(-one, one), D.Exponential(one)).item() == math.inf
    assert D.kl_divergence(D.Pareto(one, one), D.Normal(one, one)).item() == math.inf
    assert D.kl_divergence(D.Pareto(one, one * 3), D.Pareto(2 * one, one)).item() == math.inf
    assert D.kl_divergence(D.Beta(one, one), D.Uniform(one, one * 3)).item() == math.inf


def test_divergences_of_normal_vectors():
    w, diagonal = RNG.standard_normal((4, 2)), np.array([0.5, 1.0, 2.0, 0.3])
    loc, other = RNG.standard_normal((3, 4)), RNG.standard_normal(4)
    low = D.LowRankMultivariateNormal(double(loc), double(w), double(diagonal))
    full = D.MultivariateNormal(double(other), double(COVARIANCE))
    again = D.LowRankMultivariateNormal(double(other), double(w[::-1].copy()), double(diagonal + 1))
    dense = {
        d: D.MultivariateNormal(d.loc, d.covariance_matrix) for d in (low, full, again)
    }  # fmt: skip
    for p, q in itertools.permutations((low, full, again), 2):
        close(D.kl_divergence(p, q), D.kl_divergence(dense[p], dense[q]).numpy(), 1e-9)
    with pytest.raises(ValueError, match="of .4,. elements"):
        small = D.LowRankMultivariateNormal(lucid.zeros(2), lucid.ones(2, 1), lucid.ones(2))
        D.kl_divergence(low, small)


class Rate(D.ExponentialFamily):
    """Exponential numbers by their natural parameter -rate: F is -log(rate), k is 0."""

    arg_constraints = {"rate": constraints.positive}
    _mean_carrier_measure = 0

    def __init__(self, rate):
        self.rate = rate
        super().__init__(rate.shape, ())

    @property
    def _natural_params(self):
        return (-self.rate,)

    def _log_normalizer(self, x):
        return -(-x).log()


class Point(D.ExponentialFamily):
    """Normal vectors of variance 1: F is |loc|^2 / 2, k is -(|x|^2 + n log 2 pi) / 2."""

    arg_constraints = {"loc": constraints.real_vector}

    def __init__(self, loc):
        self.loc = loc
        super().__init__(loc.shape[:-1], loc.shape[-1:])

    @property
    def _natural_params(self):
        return (self.loc,)

    def _log_normalizer(self, x):
        return x.square().sum(-1) / 2

    @property
    def _mean_carrier_measure(self):
        n = self.loc.shape[-1]
        return -(self.loc.square().sum(-1) + n + n * math.log(2 * math.pi)) / 2


def test_exponential_families_of_ones_own():
    a, b = double(A).requires_grad_(), double(B).requires_grad_()
    close(Rate(a).entropy().detach(), D.Exponential(a).entropy().detach().numpy())
    divergence, want = (D.kl_divergence(k(a), k(b)) for k in (Rate, D.Exponential))
    close(divergence.detach(), want.detach().numpy())
    for x in (a, b):
        got, expected = (lucid.autograd.grad(y.sum(), x, retain_graph=True)[0]
                         for y in (divergence, want))  # fmt: skip
        close(got, expected.numpy())
    rows, others = double(RNG.standard_normal((2, 3))), double(RNG.standard_normal((2, 3)))
    normal = D.Independent(D.Normal(rows, 1.0), 1)
    close(Point(rows).entropy().detach(), normal.entropy().numpy())
    other = D.Independent(D.Normal(others, 1.0), 1)
    close(D.kl_divergence(Point(rows), Point(others)).detach(),
          D.kl_divergence(normal, other).numpy())  # fmt: skip
    with pytest.raises(NotImplementedError, match="Point and Rate"):
        D.kl_divergence(Point(rows), Rate(a))
    with pytest.raises(NotImplementedError, match="Bernoulli and Beta"):
        D.kl_divergence(D.Bernoulli(0.5), D.Beta(1.0, 1.0))


# ---- PyTorch ------------------------------------------------------------------------------------


def test_all_names_of_pytorch():
    torch = pytest.importorskip("torch")
    theirs = torch.distributions
    assert not set(theirs.__all__) - set(D.__all__)
    for module in ("constraints", "transforms"):
        names = getattr(theirs, module).__all__
        assert not [n for n in names if not hasattr(getattr(D, module), n)]
    ours = {(p.__name__, q.__name__) for p, q in D.kl._registry}
    assert not {(p.__name__, q.__name__) for p, q in theirs.kl._KL_REGISTRY} - ours


@pytest.fixture
def doubles():
    """Both with float64 as the default type: some of PyTorch's formulas take no other."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_against_pytorch(name, doubles):
    parameters, _ = CONTINUOUS[name]
    ours = made(name, parameters)
    theirs = getattr(doubles.distributions, name)(*[doubles.tensor(p) for p in parameters])
    value = theirs.sample((4,))
    near = 1e-6 if name == "VonMises" else 1e-9  # PyTorch has a polynomial of float32 there
    close(ours.log_prob(double(value.numpy())), theirs.log_prob(value).numpy(), near)
    for asked in ("mean", "mode", "variance", "stddev", "entropy"):
        try:
            want = getattr(theirs, asked)
            want = want() if asked == "entropy" else want
        except NotImplementedError:
            continue
        got = getattr(ours, asked)
        if asked == "mode" and name in ("Kumaraswamy", "Weibull"):
            continue  # PyTorch's is NaN for some that have one
        close(got() if asked == "entropy" else got, want.numpy(), near)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.sample((2,)).shape == tuple(theirs.sample((2,)).shape)


@pytest.mark.parametrize("p, q", list(itertools.product(ONE, OTHER)))
def test_divergences_against_pytorch(p, q, doubles):
    theirs = doubles.distributions
    numbers = [[doubles.tensor([v]) for v in given] for given in (ONE[p], OTHER[q])]
    try:
        want = theirs.kl_divergence(
            getattr(theirs, p)(*numbers[0]), getattr(theirs, q)(*numbers[1])
        )
    except NotImplementedError:
        return
    ours = [getattr(D, n)(*[double([v]) for v in g]) for n, g in ((p, ONE[p]), (q, OTHER[q]))]
    close(D.kl_divergence(*ours), want.numpy(), 1e-9)


def test_under_pytorchs_names():
    program = """
import lucid.compat.torch
from torch.distributions.constraint_registry import biject_to, transform_to
from torch.distributions.lkj_cholesky import LKJCholesky
from torch.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from torch.distributions.mixture_same_family import MixtureSameFamily
from torch.distributions.multinomial import Multinomial
from torch.distributions.negative_binomial import NegativeBinomial
from torch.distributions.pareto import Pareto
from torch.distributions.von_mises import VonMises
from torch.distributions.weibull import Weibull
from torch.distributions.wishart import Wishart
from torch.distributions import constraints
assert transform_to(constraints.positive) is not None
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
