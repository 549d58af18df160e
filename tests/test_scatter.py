"""scatter_reduce, take and argwhere against loops over the elements, gradients included."""

import numpy as np
import pytest

import lucid
from lucid.autograd.check import gradcheck, gradgradcheck

COMBINE = {
    "sum": np.sum, "prod": np.prod, "amax": np.max, "amin": np.min, "mean": np.mean,
}  # fmt: skip


def expected(x, dim, index, src, how, include_self):
    """By definition: every place with what goes to it."""
    y = x.copy()
    for place in np.ndindex(x.shape):
        found = [
            src[at]
            for at in np.ndindex(index.shape)
            if (*at[:dim], index[at], *at[dim + 1 :]) == place
        ]
        if found:
            found += [x[place]] if include_self else []
            made = COMBINE[how](np.array(found))
            y[place] = np.floor(made) if y.dtype.kind == "i" else made
    return y


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("how", COMBINE)
def test_scatter_reduce(how, include_self):
    rng = np.random.default_rng(0)
    for dim, places in ((0, 3), (1, 4)):
        for kind in (np.float32, np.int64, np.uint8):
            x, src = (rng.integers(0, 4, s).astype(kind) for s in ((3, 4), (5, 6)))
            index = rng.integers(0, places, (5, 3) if dim == 0 else (3, 5))
            got = lucid.tensor(x).scatter_reduce(
                dim, lucid.tensor(index), lucid.tensor(src), how, include_self=include_self
            )
            want = expected(x, dim, index, src, how, include_self)
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)
            assert got.numpy().dtype == kind


@pytest.mark.parametrize("how", COMBINE)
def test_gradients_of_scatter_reduce(how):
    rng = np.random.default_rng(1)
    x, src = (lucid.tensor(rng.uniform(0.5, 2, s), requires_grad=True) for s in ((3, 4), (4, 6)))
    index = lucid.tensor(rng.integers(0, 4, (3, 5)))

    def f(x, src):
        return x.scatter_reduce(1, index, src, how)

    assert gradcheck(f, [x, src]) and gradgradcheck(f, [x, src])
    assert gradcheck(lambda a, b: a.scatter_reduce(1, index, b, how, include_self=False), [x, src])


def test_gradients_of_products_at_zeros_and_of_equal_extremes():
    x = lucid.tensor([2.0, 3.0, 5.0], requires_grad=True)
    src = lucid.tensor([0.0, 4.0, 0.0, 0.0], requires_grad=True)
    y = x.scatter_reduce(0, lucid.tensor([0, 0, 1, 1]), src, "prod")
    assert y.tolist() == [0.0, 0.0, 5.0]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0]  # one zero among the others, two, none
    assert src.grad.tolist() == [8.0, 0.0, 0.0, 0.0]
    x = lucid.tensor([1.0, 7.0], requires_grad=True)
    src = lucid.tensor([7.0, 7.0, 2.0], requires_grad=True)
    x.scatter_reduce(0, lucid.tensor([1, 1, 0]), src, "amax").sum().backward()
    third = pytest.approx(1 / 3)
    assert x.grad.tolist() == [0.0, third] and src.grad.tolist() == [third, third, 1.0]


def test_scatter_reduce_in_place_and_refusals():
    x = lucid.ones(3)
    assert x.scatter_reduce_(0, lucid.tensor([0, 0]), lucid.tensor([3.0, 4.0]), "prod") is x
    assert x.tolist() == [12.0, 1.0, 1.0]
    made = lucid.scatter(
        lucid.full((2,), 2.0), 0, lucid.tensor([1, 1]), value=3.0, reduce="multiply"
    )
    assert made.tolist() == [2.0, 18.0]
    with pytest.raises(ValueError, match="reduce must be one of .* not 'max'"):
        x.scatter_reduce(0, lucid.tensor([0]), lucid.ones(1), "max")
    with pytest.raises(RuntimeError, match="scatter_reduce: the source is .*int64"):
        x.scatter_reduce(0, lucid.tensor([0]), lucid.tensor([1]), "sum")
    with pytest.raises(IndexError, match="index 3 is out of range"):
        x.scatter_reduce(0, lucid.tensor([3]), lucid.ones(1), "amin")


def test_take_and_argwhere():
    x = lucid.arange(6.0).reshape(2, 3).requires_grad_()
    places = lucid.tensor([[5, -6], [1, 1]])
    y = x.take(places)
    assert y.tolist() == [[5.0, 0.0], [1.0, 1.0]]
    y.sum().backward()
    assert x.grad.tolist() == [[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]]
    with pytest.raises(IndexError, match="index 6 is out of range"):
        x.take(lucid.tensor([6]))
    assert lucid.argwhere(x > 3).tolist() == [[1, 1], [1, 2]]
    assert lucid.argwhere(lucid.tensor(3)).shape == (1, 0)
