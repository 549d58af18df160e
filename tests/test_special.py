"""lucid.special beyond the elementary: values against mpmath, SciPy and exact polynomials, the
ends of the line, gradients, PyTorch live."""

import math

import numpy as np
import pytest

import lucid
import lucid.special as S
from lucid.autograd import gradcheck, gradgradcheck
from lucid.func import vmap
from lucid.ops.polynomials import FAMILIES

mp = pytest.importorskip("mpmath")
polynomial = np.polynomial


def tensor(x, kind=lucid.float64):
    return lucid.tensor(np.asarray(x, np.float64)).to(kind)


def points(*ranges, n=25, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(low, high, n) for low, high in ranges])


POSITIVE = points((0.01, 2.0), (2.0, 9.0), (9.0, 200.0))
LINE = np.concatenate([POSITIVE, -POSITIVE])

# function: its definition, where, and whether its error is relative to the value
REFERENCES = {
    "bessel_j0": (lambda x: mp.besselj(0, x), LINE, False),
    "bessel_j1": (lambda x: mp.besselj(1, x), LINE, False),
    "bessel_y0": (lambda x: mp.bessely(0, x), POSITIVE, False),
    "bessel_y1": (lambda x: mp.bessely(1, x), POSITIVE[POSITIVE > 0.1], False),
    "modified_bessel_i0": (lambda x: mp.besseli(0, x), LINE[abs(LINE) < 80], True),
    "modified_bessel_i1": (lambda x: mp.besseli(1, x), LINE[abs(LINE) < 80], True),
    "modified_bessel_k0": (lambda x: mp.besselk(0, x), POSITIVE[POSITIVE < 80], True),
    "modified_bessel_k1": (lambda x: mp.besselk(1, x), POSITIVE[POSITIVE < 80], True),
    "scaled_modified_bessel_k0": (lambda x: mp.besselk(0, x) * mp.exp(x), POSITIVE, True),
    "scaled_modified_bessel_k1": (lambda x: mp.besselk(1, x) * mp.exp(x), POSITIVE, True),
    "spherical_bessel_j0": (lambda x: mp.sin(x) / x, LINE, False),
    "airy_ai": (mp.airyai, points((-60.0, -6.0), (-6.0, 0.0), (0.0, 2.0), (2.0, 20.0)), False),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), points((-9.0, 0.0), (0, 5), (5, 900.0)), True),
    "log_ndtr": (lambda x: mp.log(mp.ncdf(x)), points((-40.0, -1.0), (-1.0, 5.0)), True),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_values(name):
    definition, x, relative = REFERENCES[name]
    function = getattr(S, name)
    for kind, limit in ((lucid.float64, 3e-14), (lucid.float32, 5e-7)):
        given = tensor(x, kind)
        with mp.workdps(40):
            want = np.array([float(definition(mp.mpf(float(v)))) for v in given.double().numpy()])
        scale = np.abs(want) if relative else 1.0
        # e^x I(x) is computed in the type itself, where e^x of large x is less exact.
        limit = 3e-6 if name[-2] == "i" and kind is lucid.float32 else limit
        got = function(given)
        assert got.dtype is kind
        assert (np.abs(got.double().numpy() - want) / scale).max() < limit
    whole = function(lucid.tensor([1, 2]))
    assert whole.dtype is lucid.float32
    out = lucid.empty(x.size, dtype=lucid.float64)
    assert function(tensor(x), out=out) is out and lucid.equal(out, function(tensor(x)))


def test_the_decay_of_airy_is_relative():
    x = points((2.0, 90.0))
    want = np.array([float(mp.airyai(mp.mpf(v))) for v in x])
    np.testing.assert_allclose(S.airy_ai(tensor(x)).numpy(), want, rtol=3e-13)


NAN, INF = math.nan, math.inf
ENDS = {  # at nan, inf, -inf, 0
    "bessel_j0": [NAN, 0, 0, 1],
    "bessel_j1": [NAN, 0, 0, 0],
    "bessel_y0": [NAN, 0, NAN, -INF],
    "bessel_y1": [NAN, 0, NAN, -INF],
    "modified_bessel_k0": [NAN, 0, NAN, INF],
    "modified_bessel_k1": [NAN, 0, NAN, INF],
    "scaled_modified_bessel_k0": [NAN, 0, NAN, INF],
    "scaled_modified_bessel_k1": [NAN, 0, NAN, INF],
    "spherical_bessel_j0": [NAN, 0, 0, 1],
    "airy_ai": [NAN, 0, 0, 0.3550280538878172],
    "erfcx": [NAN, 0, INF, 1],
    "log_ndtr": [NAN, 0, -INF, -math.log(2)],
}


@pytest.mark.parametrize("name", ENDS)
def test_ends(name):
    got = getattr(S, name)(tensor([NAN, INF, -INF, 0.0])).numpy()
    np.testing.assert_allclose(got, ENDS[name], rtol=1e-14)


@pytest.mark.parametrize("name", ENDS)
def test_gradients(name):
    x = tensor([0.3, 1.7, 3.1, 9.5]).requires_grad_()
    function = getattr(S, name)
    assert gradcheck(function, [x]) and gradgradcheck(function, [x])
    if name in ("bessel_j0", "bessel_j1", "spherical_bessel_j0", "airy_ai", "erfcx", "log_ndtr"):
        assert gradcheck(function, [tensor([-7.0, -0.4, 0.0]).requires_grad_()], atol=1e-4)


def test_layouts_and_vmap():
    x = tensor(points((0.1, 12.0), n=24)).reshape(4, 6)
    for name in ("bessel_j0", "airy_ai", "erfcx", "modified_bessel_k1"):
        function = getattr(S, name)
        want = function(x)
        assert lucid.equal(function(x.t()), want.t())
        assert lucid.equal(function(x[:, 1::2]), want[:, 1::2])
        assert lucid.equal(vmap(function)(x), want)
        assert lucid.equal(lucid.compile(function)(x), want)


def test_zeta():
    rng = np.random.default_rng(0)
    q, s = 10 ** rng.uniform(-2, 1.6, 60), 1 + 10 ** rng.uniform(-2, 1.7, 60)
    with mp.workdps(80):
        want = np.array([float(mp.zeta(mp.mpf(a), mp.mpf(b))) for a, b in zip(s, q, strict=True)])
    np.testing.assert_allclose(S.zeta(tensor(s), tensor(q)).numpy(), want, rtol=1e-14)
    # exact: zeta(2) = pi^2 / 6, zeta(4) = pi^4 / 90
    got = S.zeta(tensor([2.0, 4.0]), 1.0).numpy()
    np.testing.assert_allclose(got, [math.pi**2 / 6, math.pi**4 / 90], rtol=1e-15)
    ends = S.zeta(tensor([1.0, 0.5, 2.0, 2.0, INF, INF, NAN]), tensor([1, 1, 0, -1.5, 1, 2, 1]))
    np.testing.assert_array_equal(ends.numpy(), [INF, NAN, INF, NAN, 1, 0, NAN])
    q = tensor([0.5, 3.0]).requires_grad_()
    assert gradcheck(lambda q: S.zeta(tensor([1.5, 4.0]), q), [q])
    with pytest.raises(NotImplementedError, match="no gradient in x"):
        S.zeta(q, 1.0).sum().backward()


def shifted(series):
    return series(polynomial.Polynomial([-1, 2]))


def exact(name, n):
    """The polynomial of NumPy: third and fourth kinds are differences and sums of the second."""
    base = name.removeprefix("shifted_")
    kind = base.rsplit("_", 1)[1]
    unit = [0] * n + [1]
    if base.startswith("chebyshev"):
        if kind == "t":
            made = polynomial.Chebyshev(unit).convert(kind=polynomial.Polynomial)
        else:
            one, two = polynomial.Polynomial([1.0]), polynomial.Polynomial([0.0, 2.0])
            before, made = polynomial.Polynomial([0.0]), one
            for _ in range(n):
                before, made = made, two * made - before
            made = made - before if kind == "v" else made + before if kind == "w" else made
    else:
        family = {
            "h": polynomial.Hermite, "he": polynomial.HermiteE,
            "l": polynomial.Laguerre, "p": polynomial.Legendre,
        }[kind]  # fmt: skip
        made = family(unit).convert(kind=polynomial.Polynomial)
    return shifted(made) if name.startswith("shifted") else made


@pytest.mark.parametrize("name", FAMILIES)
def test_polynomials(name):
    function = getattr(S, name)
    x = np.linspace(-1.2, 1.3, 7)
    for n in (0, 1, 2, 7):
        want = exact(name, n)
        np.testing.assert_allclose(function(tensor(x), n).numpy(), want(x), rtol=1e-9, atol=1e-11)
        leaf = tensor(x).requires_grad_()
        (slope,) = lucid.autograd.grad(function(leaf, n).sum(), leaf)
        np.testing.assert_allclose(slope.numpy(), want.deriv()(x), rtol=1e-9, atol=1e-9)
    degrees = np.array([3, 0, 1, -1, 2, 5, 3])
    got = function(tensor(x), lucid.tensor(degrees)).numpy()
    each = [exact(name, n)(v) if n >= 0 else 0 for n, v in zip(degrees, x, strict=True)]
    np.testing.assert_allclose(got, each, rtol=1e-9, atol=1e-11)
    assert function(tensor(x), -2).abs().max().item() == 0.0
    with pytest.raises(ValueError, match="n must be whole"):
        function(tensor(x), 1.5)


def test_polynomials_of_high_degree():
    x = np.linspace(-1, 1, 9)
    for n in (40, 100):
        got = S.chebyshev_polynomial_t(tensor(x), n).numpy()
        np.testing.assert_allclose(got, np.cos(n * np.arccos(x)), atol=1e-11)
    single = S.legendre_polynomial_p(tensor(x, lucid.float32), 30).numpy()
    np.testing.assert_allclose(single, polynomial.Legendre([0] * 30 + [1])(x), atol=2e-6)


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    x = np.linspace(0.1, 20.0, 40)
    for name in sorted({*REFERENCES, *ENDS} - {"airy_ai"}):
        theirs = getattr(torch.special, name)(torch.tensor(x)).numpy()
        ours = getattr(S, name)(tensor(x)).numpy()
        # PyTorch's J and Y are off by 3e-7 between 5 and 10.
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6, err_msg=name)
    for name in FAMILIES:
        for n in (0, 3, 5):
            theirs = getattr(torch.special, name)(torch.tensor(x / 10), n).numpy()
            ours = getattr(S, name)(tensor(x / 10), n).numpy()
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8, err_msg=name)


def test_degrees_are_cut_to_whole_numbers():
    x, n = tensor([0.5, 0.5, 2.0]), tensor([2.7, -0.5, -1.0])
    assert S.legendre_polynomial_p(x, n).tolist() == [-0.125, 1.0, 0.0]
