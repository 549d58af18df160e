"""The vector math: its expressions, evaluated in NumPy, against float64 and multi-precision values.

tools/sweep.py does the same with machine code, for every float32 number.
"""

import mpmath as mp
import numpy as np
import pytest
import scipy.special

from lucid import dtypes as d
from lucid.backend.cpu.math import FUNCTIONS, coefficients, expand
from lucid.kernel import expr as e
from tests.tools import fit
from tests.vectorised import evaluate

# The largest error allowed in float32, in units of the last place; with fma and without.
SINGLE = {
    "exp": 1.1,
    "exp2": 1.2,
    "expm1": 1.4,
    "log": 0.9,
    "log2": 1.5,
    "log10": 1.5,
    "log1p": 1.0,
    "sin": 1.65,
    "cos": 1.65,
    "asin": 1.4,
    "acos": 1.15,
    "atan": 1.5,
    "sinh": 1.7,
    "cosh": 1.6,
    "tanh": 1.35,
    "erf": 1.5,
}
# Computed in float64 and rounded once.
SINGLE |= dict.fromkeys(
    ("tan", "asinh", "acosh", "atanh", "erfc", "erfinv", "lgamma", "digamma"), 0.501
)
REFERENCE = {name: getattr(np, name, None) for name in SINGLE}
REFERENCE |= {
    f"a{name}": getattr(np, f"arc{name}") for name in "sin cos tan sinh cosh tanh".split()
}
REFERENCE |= {name: getattr(scipy.special, name) for name in ("erf", "erfc", "erfinv")}
REFERENCE |= {"lgamma": scipy.special.gammaln, "digamma": scipy.special.digamma}

# Where the expressions choose between branches, and where results leave the range.
BREAKS = [0.0, 1e-45, 1.17549435e-38, 0.25, 0.36, 0.5, 0.6, 0.70710678, 1, 1.41421356, 1.5, 2.0]
BREAKS += [2.4142135, 2.5, 3, 4, 5, 6, 8, 20, 0.78539816, 1.57079633, 2.35619449, 3.14159265]
BREAKS += [88.0, 88.72283, 89.0, 89.41599, 90, 103.97208, 104, 127, 128, 126, 149, 150, 151, 17.5]
BREAKS += [2.0**k for k in (-24, -25, 11, 17, 23, 24, 37, 57, 77, 97, 117, 127)] + [3.4028235e38]


def written_out(name, kind):
    leaves = e.arguments([kind] * (2 if name in ("pow", "atan2") else 1))
    return expand([e.math(name, *leaves)])


def single_points(rng) -> np.ndarray:
    """Numbers spread over all exponents, and the neighbours of every break."""
    start = int(rng.integers(65537))
    spread = np.arange(start, 1 << 32, 65537, dtype=np.int64).astype(np.uint32)
    near = np.float32(BREAKS).view(np.uint32)[:, None] + np.arange(-6, 7, dtype=np.int64)
    near = np.clip(near, 0, 0x7F800000).astype(np.uint32).ravel()
    special = np.uint32([0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00000])
    return np.concatenate([spread, near, near | np.uint32(1 << 31), special]).view(np.float32)


def errors(y: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The distance to float64 values in units of the last place of float32; infinite where
    one is finite and the other not, or where zeros differ in sign."""
    with np.errstate(all="ignore"):
        rounded = want.astype(np.float32)
        unit = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(want), 2.0**-126))) - 23)
        distance = np.abs(y.astype(np.float64) - want) / unit
        finite = np.isfinite(y) & np.isfinite(rounded)
        alike = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
        alike &= (y != 0) | (rounded != 0) | (np.signbit(y) == np.signbit(rounded))
    zeros = (y == 0) & (rounded == 0)
    return np.where(finite & ~zeros, distance, np.where(alike, 0, np.inf))


@pytest.mark.parametrize("fused", [True, False], ids=["fma", "plain"])
@pytest.mark.parametrize("name", sorted(SINGLE))
def test_float32(name, fused):
    rng = np.random.default_rng()
    x = single_points(rng)
    with np.errstate(all="ignore"):
        want = REFERENCE[name](x.astype(np.float64))
    if name == "digamma":  # SciPy has no limits at 0, and infinities at the poles
        want = np.where(x == 0, np.where(np.signbit(x), np.inf, -np.inf), want)
        with np.errstate(invalid="ignore"):
            pole = (x < 0) & (x == np.floor(x))
        want = np.where(pole, np.nan, want)
    elif name == "lgamma":
        want[np.isinf(x)] = np.inf
    elif name == "erfinv":
        want = np.where(x == 0, x, want)
    (y,) = evaluate(written_out(name, d.float32), [x], fused)
    error = errors(y, want)
    worst = int(np.argmax(error))
    assert error[worst] <= SINGLE[name], (x[worst], y[worst], want[worst], error[worst])


# In float64, on the sampled ranges; lgamma for positive numbers.
DOUBLE = dict.fromkeys(SINGLE, 1.6) | {"erfc": 5.5, "lgamma": 4.5, "digamma": 5.5}
DOUBLE |= {"erfinv": 2.5, "tan": 2.0, "expm1": 1.8, "asinh": 2.0, "acosh": 2.5, "atanh": 2.0}
PRECISE = {name: getattr(mp, name, None) for name in SINGLE}
PRECISE |= {"exp2": lambda x: mp.power(2, x), "log2": lambda x: mp.log(x, 2)}
PRECISE |= {"lgamma": lambda x: mp.log(abs(mp.gamma(x)))}
POSITIVE = ("log", "log2", "log10", "lgamma")
SMALLEST = mp.mpf(2) ** -1022
UNIT = ("asin", "acos", "atanh", "erfinv")


def double_points(name, rng, count=60):
    wide = np.exp(rng.uniform(-600, 600, count)) * rng.choice([-1, 1], count)
    middle = np.concatenate([rng.standard_normal(count), rng.uniform(-9, 9, count)])
    if name in UNIT:
        edge = 1 - 2.0 ** rng.uniform(-53, 0, count)
        return np.concatenate([np.clip(middle, -1, 1) * 0.999, edge, -edge, 1 / (2 + abs(wide))])
    if name in POSITIVE:
        near = 1 + rng.standard_normal(count) * 1e-3
        return np.abs(np.concatenate([middle, wide, near, rng.uniform(2, 30, count)]))
    if name in ("sin", "cos", "tan"):
        close = np.round(rng.uniform(-1e5, 1e5, count)) * (np.pi / 2)
        limit = 2.0 ** rng.uniform(18, 22, count)
        return np.concatenate([middle, wide, close, limit])
    if name in ("log1p", "acosh"):
        start = -1 if name == "log1p" else 1
        return np.concatenate([start + np.exp(rng.uniform(-30, 3, 2 * count)), abs(wide) + 1])
    if name == "digamma":
        return np.concatenate([rng.uniform(0, 30, 2 * count), abs(wide)])
    end = {"erfc": 26.0, "exp2": 1021.0}.get(name, 707.0)
    return np.concatenate([middle, wide[abs(wide) < 27], rng.uniform(-end, end, count)])


def units(y: float, want, least=SMALLEST) -> float:
    """The error in units of the last place of float64, of `least` for smaller values."""
    if abs(want) >= mp.mpf(2) ** 1024:
        return 0.0 if y == mp.sign(want) * mp.inf else float("inf")
    if not np.isfinite(y):
        return float("inf")
    exponent = mp.frexp(max(abs(want), least))[1]
    return float(abs(mp.mpf(float(y)) - want) / mp.ldexp(1, exponent - 53))


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_float64(name):
    x = double_points(name, np.random.default_rng())
    root = written_out(name, d.float64)
    fused, plain = (evaluate(root, [x], way)[0] for way in (True, False))
    # digamma is a difference of larger terms: only its absolute error is small.
    least = mp.mpf(1) if name == "digamma" else SMALLEST
    with mp.workprec(160):
        for v, a, b in zip(x, fused, plain, strict=True):
            want = PRECISE[name](mp.mpf(float(v)))
            for y in (a, b):
                assert units(y, want, least) <= DOUBLE[name], (v, y, want)


@pytest.mark.parametrize("kind", [d.float32, d.float64], ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", ["pow", "atan2"])
def test_two_arguments(name, kind):
    rng = np.random.default_rng()
    k = 150
    x = np.concatenate([np.exp(rng.uniform(-6, 6, k)), 1 + rng.normal(size=k) * 1e-3])
    y = np.concatenate([rng.uniform(-70, 70, k), rng.uniform(-3e4, 3e4, k)])
    if kind is d.float64:
        x = np.append(x, np.exp(rng.uniform(-700, 700, k)))
        y = np.append(y, rng.uniform(-1.5, 1.5, k))
    if name == "atan2":
        x, y = x * rng.choice([-1, 1], x.size), np.exp(y / 1000) * np.sign(y)
    x, y = x.astype(kind.numpy), y.astype(kind.numpy)
    root = written_out(name, kind)
    with mp.workprec(160):
        rule = mp.power if name == "pow" else mp.atan2
        want = [rule(mp.mpf(float(a)), mp.mpf(float(b))) for a, b in zip(x, y, strict=True)]
        for fused in (True, False):
            (z,) = evaluate(root, [x, y], fused)
            if kind is d.float32:
                tops = np.array([float(min(w, mp.mpf(10) ** 300)) for w in want])
                assert errors(z, tops).max() <= 0.501
            else:
                assert max(units(a, w) for a, w in zip(z, want, strict=True)) <= 2.0


@pytest.mark.parametrize("kind", [d.float32, d.float64], ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", ["pow", "atan2"])
def test_special_pairs(name, kind):
    """Zeros, ones, infinities, NaN, odd and even numbers and their signs: as IEEE 754 has it."""
    with np.errstate(all="ignore"):
        special = [0.0, 1, 2, 0.5, 3, np.inf, 5e-324, 1e308, 2.5, 2.0**53 - 1, 2.0**24 - 1]
        special = np.array([*special, *(-s for s in special), np.nan]).astype(kind.numpy)
        x, y = (a.ravel().copy() for a in np.meshgrid(special, special))
        (z,) = evaluate(written_out(name, kind), [x, y])
        want = (np.power if name == "pow" else np.arctan2)(x, y)
        np.testing.assert_array_equal(np.isnan(z), np.isnan(want))
        np.testing.assert_array_equal(np.signbit(z[~np.isnan(z)]), np.signbit(want[~np.isnan(z)]))
        np.testing.assert_allclose(z, want, rtol=4 * np.finfo(kind.numpy).eps)


@pytest.mark.parametrize("kind", [d.float32, d.float64], ids=lambda kind: kind.name)
def test_special_values(kind):
    inf, nan = np.inf, np.nan
    table = {
        "exp": ([inf, -inf, 0, -0.0], [inf, 0, 1, 1]),
        "exp2": ([inf, -inf, 0, 10, -1], [inf, 0, 1, 1024, 0.5]),
        "expm1": ([inf, -inf, -0.0], [inf, -1, -0.0]),
        "log": ([inf, 0, -0.0, -1, 1], [inf, -inf, -inf, nan, 0]),
        "log2": ([inf, 0, -1, 8, 0.125], [inf, -inf, nan, 3, -3]),
        "log10": ([inf, 0, -1, 1], [inf, -inf, nan, 0]),
        "log1p": ([inf, -1, -2, -0.0], [inf, -inf, nan, -0.0]),
        "sin": ([inf, -inf, -0.0], [nan, nan, -0.0]),
        "cos": ([inf, 0, -0.0], [nan, 1, 1]),
        "tan": ([inf, -0.0], [nan, -0.0]),
        "asin": ([1.5, -inf, -0.0], [nan, nan, -0.0]),
        "acos": ([1.5, -inf, 1], [nan, nan, 0]),
        "sinh": ([inf, -inf, -0.0], [inf, -inf, -0.0]),
        "cosh": ([inf, -inf, -0.0], [inf, inf, 1]),
        "tanh": ([inf, -inf, -0.0], [1, -1, -0.0]),
        "atan": ([-0.0], [-0.0]),
        "asinh": ([inf, -inf, -0.0], [inf, -inf, -0.0]),
        "acosh": ([inf, 1, 0.5, -inf], [inf, 0, nan, nan]),
        "atanh": ([1, -1, 1.5, inf, -0.0], [inf, -inf, nan, nan, -0.0]),
        "erf": ([inf, -inf, -0.0], [1, -1, -0.0]),
        "erfc": ([inf, -inf, 0], [0, 2, 1]),
        "erfinv": ([1, -1, 1.5, -0.0], [inf, -inf, nan, -0.0]),
        "lgamma": ([inf, -inf, 0, -0.0, -3, 1, 2], [inf, inf, inf, inf, inf, 0, 0]),
        "digamma": ([inf, -inf, 0, -0.0, -3], [inf, nan, -inf, inf, nan]),
    }
    # exp2_normal is defined where its value is a normal number, exp_negative below 0.
    assert set(table) == set(FUNCTIONS) - {"pow", "atan2", "exp2_normal", "exp_negative"}
    for name, (x, want) in table.items():
        x = np.array([*x, nan], kind.numpy)
        (y,) = evaluate(written_out(name, kind), [x])
        want = np.array([*want, nan], kind.numpy)
        np.testing.assert_array_equal(y, want, err_msg=name)
        np.testing.assert_array_equal(
            np.signbit(y[:-1]) & (y[:-1] == 0), np.signbit(want[:-1]) & (want[:-1] == 0), name
        )


@pytest.mark.parametrize("kind", [d.float32, d.float64], ids=lambda kind: kind.name)
def test_exp2_of_normal_results(kind):
    least, most = (-126, 127) if kind is d.float32 else (-1022, 1023)
    whole = np.arange(least, most + 1).astype(kind.numpy)
    (y,) = evaluate(written_out("exp2_normal", kind), [whole])
    np.testing.assert_array_equal(y, np.ldexp(np.ones_like(whole), whole.astype(int)))
    x = np.random.default_rng(0).uniform(least + 1, most - 1, 4000).astype(kind.numpy)
    (y,) = evaluate(written_out("exp2_normal", kind), [x])
    want = np.exp2(x.astype(np.longdouble))
    ulp = np.spacing(want.astype(kind.numpy))
    assert np.abs((y - want) / ulp).max() <= 1.2


@pytest.mark.parametrize("kind", [d.float32, d.float64], ids=lambda kind: kind.name)
def test_exp_of_negative_arguments(kind):
    info, rng = np.finfo(kind.numpy), np.random.default_rng(0)
    x = -rng.uniform(0, -np.log(info.tiny) - 0.01, 4000).astype(kind.numpy)
    x[:2000] /= 20
    (y,) = evaluate(written_out("exp_negative", kind), [x])
    want = np.exp(x.astype(np.longdouble))
    # the rounding of x log2(e), then that of 2^p
    assert (np.abs(y - want) <= (1.2 + np.abs(x) / 2 * 1.5) * info.eps * want).all()
    assert np.abs(y - want).max() <= info.eps
    special = np.array([0, -0.0, -1e4, -np.inf, np.nan, np.log(info.tiny) - 1], kind.numpy)
    (y,) = evaluate(written_out("exp_negative", kind), [special])
    np.testing.assert_array_equal(y, np.array([1, 1, 0, 0, np.nan, 0], kind.numpy))


def test_only_primitives_remain_and_arguments_are_shared():
    x, y = e.arguments([d.float32, d.float32])
    power = e.math("exp", x) + e.math("log", y)
    first, second = expand([power, e.math("exp", x)])
    assert not [n for n in e.postorder([first, second]) if n.op in e.MATH]
    assert first.args[0] is second
    with pytest.raises(TypeError, match="exp: float32 or float64 expected, got lucid.float16"):
        expand([e.math("exp", *e.arguments([d.float16]))])


def test_the_coefficients_are_those_that_the_fit_gives():
    for name, kind in (("exp", "single"), ("tanh", "single"), ("sin", "double")):
        _, f, weight, low, high = fit.SPECS[name]
        values, _ = fit.fit(f, weight, low, high, *fit.FORMATS[kind])
        assert coefficients.POLYNOMIALS[f"{name}.{kind}"] == tuple(values)
    assert coefficients.CONSTANTS == fit.constants()
    assert list(coefficients.HALF_PI_PARTS) == fit.half_pi_parts()
