"""Random numbers: Philox against its definition, distributions, generators, dropout."""

import numpy as np
import pytest
from scipy import stats

import lucid


def philox(seed, offset, n):
    """Words 0 and 1 of Philox4x32-10 for n counters, written out from the paper's definition."""
    low = np.uint64(0xFFFFFFFF)
    counters = np.arange(offset, offset + n, dtype=np.uint64)
    c = [
        counters & low,
        counters >> np.uint64(32),
        np.zeros_like(counters),
        np.zeros_like(counters),
    ]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first, second = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [
            (second >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), second & low,
            (first >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), first & low,
        ]  # fmt: skip
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[0], c[1]


def test_philox_is_the_published_one():
    """Known answers of the Random123 distribution, for counters and keys of zeros."""
    first, second = philox(0, 0, 1)
    assert (int(first[0]), int(second[0])) == (0x6627E8D5, 0xE169C58D)


@pytest.mark.parametrize("seed", [0, 7, 2**63 + 12345, 2**64 - 1])
def test_bits(seed):
    n = 1000
    words, more = philox(seed, 0, n)
    g = lucid.Generator().manual_seed(seed)
    want = (words >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)
    np.testing.assert_array_equal(lucid.rand(10, 100, generator=g).numpy().ravel(), want)
    words, more = philox(seed, n, n)
    y = lucid.rand(n, generator=g, dtype=lucid.float64).numpy()
    bits = (words >> np.uint64(5)) * np.uint64(1 << 26) + (more >> np.uint64(6))
    np.testing.assert_array_equal(y, bits.astype(np.float64) * 2.0**-53)
    words, more = philox(seed, 2 * n, n)
    y = lucid.randint(-5, 12, (n,), generator=g).numpy()
    wide = (words << np.uint64(31)) ^ more
    np.testing.assert_array_equal(y, (wide % np.uint64(17)).astype(np.int64) - 5)
    words, more = philox(seed, 3 * n, n)
    y = lucid.randn(n, generator=g).numpy()
    u = ((words >> np.uint64(8)).astype(np.float64) + 1) * 2.0**-24
    angle = (more >> np.uint64(8)).astype(np.float64) * (2.0**-23 * np.pi)
    np.testing.assert_allclose(y, np.sqrt(-2 * np.log(u)) * np.cos(angle), atol=3e-6)


def test_distributions():
    """Kolmogorov and Smirnov; the seed is fixed, so that the answer is."""
    g = lucid.Generator().manual_seed(3)
    n = 20000
    assert stats.kstest(lucid.rand(n, generator=g).numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(lucid.randn(n, generator=g).numpy(), "norm").pvalue > 0.01
    x = lucid.empty(n, dtype=lucid.float64).normal_(2.0, 3.0, generator=g).numpy()
    assert stats.kstest(x, "norm", (2.0, 3.0)).pvalue > 0.01
    x = lucid.empty(n).uniform_(-1.0, 3.0, generator=g).numpy()
    assert stats.kstest(x, "uniform", (-1.0, 4.0)).pvalue > 0.01 and x.min() >= -1 and x.max() < 3
    counts = np.bincount(lucid.randint(0, 10, (n,), generator=g).numpy(), minlength=10)
    assert stats.chisquare(counts).pvalue > 0.01
    ones = lucid.bernoulli(lucid.full((n,), 0.3), generator=g).sum().item()
    assert abs(ones - 0.3 * n) < 4 * np.sqrt(n * 0.21)
    firsts = [lucid.randperm(5, generator=g)[0].item() for _ in range(1000)]
    assert stats.chisquare(np.bincount(firsts, minlength=5)).pvalue > 0.01


def test_permutations():
    for n in (0, 1, 2, 1000):
        assert sorted(lucid.randperm(n).tolist()) == list(range(n))


def test_state():
    g = lucid.Generator().manual_seed(5)
    lucid.rand(17, generator=g)
    state = g.get_state()
    first = lucid.randn(100, generator=g)
    second = lucid.randn(100, generator=g)
    assert not lucid.equal(first, second)
    assert lucid.equal(lucid.randn(100, generator=lucid.Generator().set_state(state)), first)
    lucid.manual_seed(1)
    a, kept = lucid.rand(3), lucid.get_rng_state()
    b = lucid.rand(3)
    lucid.set_rng_state(kept)
    assert lucid.equal(lucid.rand(3), b)
    lucid.manual_seed(1)
    assert lucid.equal(lucid.rand(3), a)
    with pytest.raises(RuntimeError, match="16 bytes"):
        g.set_state(lucid.zeros(3, dtype=lucid.uint8))


def test_dropout_draws_one_mask_for_both_directions():
    x = lucid.rand(64, 33, dtype=lucid.float64).requires_grad_()
    for source in (x, x.t()):
        y = lucid.nn.functional.dropout(source, 0.25)
        g = lucid.autograd.grad(y.sum(), x)[0]
        kept = (y != 0).double() / 0.75
        want = kept if source is x else kept.t()
        np.testing.assert_array_equal(g.numpy(), want.numpy())
        assert abs((y != 0).double().mean().item() - 0.75) < 0.05
    assert lucid.nn.functional.dropout(x, 0.5, training=False) is x
    assert not lucid.nn.functional.dropout(x, 1.0).any().item()
    with pytest.raises(ValueError, match="1.5"):
        lucid.nn.functional.dropout(x, 1.5)


def test_bernoulli_with_a_probability_ignores_the_values():
    x = lucid.tensor([np.nan, np.inf, 2.0, -1.0])
    assert x.bernoulli(1.0).tolist() == [1.0] * 4 and x.bernoulli(0.0).tolist() == [0.0] * 4


def test_errors():
    with pytest.raises(RuntimeError, match="no integer"):
        lucid.randint(3, 3, (2,))
    with pytest.raises(RuntimeError, match="floating"):
        lucid.rand(2, dtype=lucid.int64)
    with pytest.raises(RuntimeError, match="floating"):
        lucid.zeros(2, dtype=lucid.int64).uniform_()


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int32", "int64", "bool"])
def test_random_reaches_what_the_dtype_has(kind):
    kind = getattr(lucid, kind)
    x = lucid.empty(4000, dtype=kind).random_().numpy()
    top = 1 if kind is lucid.bool else np.iinfo(kind.numpy).max
    assert x.min() >= 0 and int(x.max()) > top * 0.97


def test_random_of_floating_numbers_and_of_bounds():
    for kind, digits in (("float16", 11), ("bfloat16", 8), ("float32", 24), ("float64", 53)):
        x = lucid.empty(4000, dtype=getattr(lucid, kind)).random_().double().numpy()
        assert 2.0**digits * 0.97 < x.max() <= 2.0**digits and x.min() >= 0
    x = lucid.empty(200, dtype=lucid.int8).random_(-128, -126)
    assert set(x.tolist()) == {-128, -127}
    with pytest.raises(RuntimeError, match=r"\[0, 300\) does not lie in \[0, 256\) of"):
        lucid.empty(2, dtype=lucid.uint8).random_(300)
    with pytest.raises(RuntimeError, match="there is no integer"):
        lucid.empty(2).random_(5, 5)
