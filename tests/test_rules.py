"""Details of bodies and rules that a mutation run found untested: ties, ranks, borders."""

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 2)])
def test_one_hot_of_any_rank(shape):
    x = np.arange(np.prod(shape)).reshape(shape) % 4
    np.testing.assert_array_equal(F.one_hot(lucid.tensor(x), 4).numpy(), np.eye(4, dtype=int)[x])


@pytest.mark.parametrize("name", ["fmax", "fmin"])
def test_ties_of_fmax_and_fmin_go_to_the_first(name):
    x = lucid.tensor([1.0, 2.0, float("nan"), 3.0], requires_grad=True)
    w = lucid.tensor([1.0, 2.0, 5.0, float("nan")], requires_grad=True)
    getattr(lucid, name)(x, w).sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 1]
    assert w.grad.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_of_maximum_and_minimum_are_shared(name):
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    w = lucid.tensor([1.0, 2.0], requires_grad=True)
    getattr(lucid, name)(x, w).sum().backward()
    assert x.grad.tolist() == w.grad.tolist() == [0.5, 0.5]


def test_long_folds_read_nothing_behind_the_end():
    """Such folds are cut into blocks, of which the last is short."""
    wide = np.full(120_000, np.nan, np.float32)
    wide[:100_000] = np.arange(100_000) % 7
    wide[99_999] = 9
    x = lucid.from_numpy(wide)[:100_000]
    assert x.sum().item() == wide[:100_000].sum(dtype=np.float64)
    assert x.argmax().item() == 99_999
    assert x.max(0).indices.item() == 99_999
