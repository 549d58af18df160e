"""Details of bodies and rules that a mutation run found untested: ties, ranks, borders."""

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid.fused import fused
from lucid.op import REGISTRY, Elementwise


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


SIGNED = np.array([7, 6, -7, -6, 1, -1, 0, 5], np.int64)


@pytest.mark.parametrize("divisor", [-3, -2, 2, 3])
@pytest.mark.parametrize("kind", [np.int64, np.int8, np.float64])
def test_divisions_of_every_sign(kind, divisor):
    x, w = SIGNED.astype(kind), np.full(8, divisor, kind)
    for name, reference in (
        ("floor_divide", np.floor_divide), ("remainder", np.remainder), ("fmod", np.fmod),
    ):  # fmt: skip
        y = getattr(lucid, name)(lucid.tensor(x), lucid.tensor(w))
        np.testing.assert_array_equal(y.numpy(), reference(x, w))
    y = lucid.div(lucid.tensor(x), lucid.tensor(w), rounding_mode="trunc")
    np.testing.assert_array_equal(y.numpy(), np.trunc(x / w).astype(kind))


def test_floor_division_of_floating_numbers_by_zero():
    y = lucid.floor_divide(lucid.tensor([1.0, -1.0, 0.0]), 0.0)
    assert y.tolist()[:2] == [float("inf"), float("-inf")] and y[2].isnan()


def test_writes_that_overlap_what_they_read():
    """More than a vector of elements: one store at a time would read what it has written."""
    a = np.random.default_rng(0).standard_normal(300)
    for target, source in (
        (slice(1, None), slice(None, -1)),
        (slice(None, -1), slice(1, None)),
        (slice(20, None), slice(None, -20)),
    ):
        x, want = lucid.tensor(a), a.copy()
        x[target].add_(x[source])
        want[target] = a[target] + a[source]
        np.testing.assert_array_equal(x.numpy(), want)


def test_rows_that_are_read_in_another_order_than_they_are_folded():
    """The sum of another row is not at hand where a row is computed."""
    a = np.random.default_rng(0).standard_normal((5, 7))
    x = lucid.tensor(a)

    def turned(x):
        return (x * x.sum(1).flip(0).reshape(5, 1),)

    def shifted(x):
        return (x[1:] * x.sum(1)[:-1].reshape(4, 1),)

    def across(x):
        return (x[:, :5] * x.sum(1),)

    total = a.sum(1)
    for function, want in (
        (turned, a * total[::-1, None]), (shifted, a[1:] * total[:-1, None]),
        (across, a[:, :5] * total),
    ):  # fmt: skip
        (y,) = fused((function.__name__,), function, (x,), function.__name__)
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-12)


def test_a_tensor_whose_gradient_is_kept_may_die():
    x = lucid.ones(2, requires_grad=True)
    y = x * 2
    y.retain_grad()
    z = (y * 3).sum()
    del y
    z.backward()
    assert x.grad.tolist() == [6.0, 6.0]


def test_a_rule_that_asks_for_what_is_not_there():
    class misspelt(Elementwise):
        def body(b, x):
            return x

        def vjp_x(g, input):
            return g

    try:
        with pytest.raises(TypeError, match="misspelt: its rules ask for 'input', which is no"):
            misspelt(lucid.ones(2, requires_grad=True))
    finally:
        del REGISTRY["misspelt"]


def test_indices_of_windows_are_those_of_the_first_largest():
    """The order in which a window is folded shows in ties."""
    x = lucid.zeros(1, 1, 4, 4, requires_grad=True)
    y, places = F.max_pool2d(x, (3, 2), 1, return_indices=True)
    assert places.flatten().tolist() == [0, 1, 2, 4, 5, 6]
    y.sum().backward()
    assert x.grad.flatten().tolist() == [1, 1, 1, 0, 1, 1, 1, 0] + [0] * 8


def test_one_hot_checks_in_its_kernel():
    compiled = lucid.compile(lambda t: F.one_hot(t, 4).sum(0))
    assert compiled(lucid.tensor([0, 1, 1])).tolist() == [1, 2, 0, 0]
    for function in (compiled, lambda t: F.one_hot(t, 4)):
        for wrong in (-1, 4):
            with pytest.raises(RuntimeError, match=f"class {wrong} is out of range for 4 classes"):
                function(lucid.tensor([0, 1, wrong]))
    with pytest.raises(RuntimeError, match="class -2 is out of range"):
        F.one_hot(lucid.tensor([-2, 1]))
    with pytest.raises(RuntimeError, match="num_classes must be positive"):
        F.one_hot(lucid.tensor([1]), 0)
    with pytest.raises(RuntimeError, match="num_classes is needed"):
        F.one_hot(lucid.zeros(0, dtype=lucid.int64))
    assert F.one_hot(lucid.tensor([0, 0])).shape == (2, 1)
    assert F.one_hot(lucid.zeros(0, dtype=lucid.int64), 3).shape == (0, 3)


def test_quotients_that_are_rounded_have_a_gradient_of_zero():
    x, w = lucid.tensor([[5.0], [-7.0]], requires_grad=True), lucid.tensor([2.0, 3.0])
    for mode in ("floor", "trunc"):
        y = lucid.div(x, w.requires_grad_(), rounding_mode=mode)
        y.sum().backward()
        assert x.grad.tolist() == [[0.0], [0.0]] and w.grad.tolist() == [0.0, 0.0]
