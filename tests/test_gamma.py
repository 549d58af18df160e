"""polygamma against mpmath; test_records.py has lgamma and digamma."""

import mpmath
import numpy as np
import pytest

import lucid


@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_polygamma(n):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(0.01, 20, 20), rng.uniform(-5.95, -0.02, 20), [50.0, 1e6]])
    got = lucid.polygamma(n, lucid.tensor(x)).numpy()
    want = np.array([float(mpmath.polygamma(n, v)) for v in x.tolist()])
    np.testing.assert_allclose(got, want, rtol=2e-14)


def test_poles_and_refusals():
    x = lucid.tensor([0.0, -1.0, float("inf"), float("nan")])
    assert lucid.polygamma(1, x).tolist()[:3] == [float("inf"), float("inf"), 0.0]
    assert lucid.polygamma(2, x).tolist()[:2] == [float("-inf"), float("-inf")]
    assert lucid.polygamma(1, x)[3].isnan()
    y = lucid.tensor([0.3, 2.0])
    assert lucid.equal(y.polygamma(0), y.digamma())
    assert y.half().polygamma(1).dtype is lucid.float16
    with pytest.raises(ValueError, match="n is -1"):
        lucid.polygamma(-1, y)
    with pytest.raises(NotImplementedError, match="orders up to 30"):
        y.polygamma(31)
