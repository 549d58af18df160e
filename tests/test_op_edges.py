"""Inputs at the edges of what ops take: 0-d and empty tensors, repeated places, other dtypes, sizes
of 1, wrong arguments. Values are NumPy's or written down.
"""

import numpy as np
import pytest

import lucid
from lucid.autograd import gradcheck, gradgradcheck

f64 = lucid.float64


def vector(*numbers, grad=False):
    return lucid.tensor(numbers, dtype=f64, requires_grad=grad)


@pytest.mark.parametrize("sizes", [(2, 3), (3, 1), (2, 3, 4), (3,)])
@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_grids(sizes, indexing):
    arrays = [np.arange(float(n)) for n in sizes]
    made = lucid.meshgrid(*[lucid.tensor(a) for a in arrays], indexing=indexing)
    for ours, theirs in zip(made, np.meshgrid(*arrays, indexing=indexing), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)


def test_ranges_end_where_they_should():
    for end, steps in ((0.3, 4), (1.1, 12), (-7.7, 50)):
        made = lucid.linspace(0, end, steps, dtype=f64)
        assert made[-1].item() == end and made[0].item() == 0.0
        np.testing.assert_allclose(made.numpy(), np.linspace(0, end, steps), atol=1e-15)
    assert lucid.linspace(-3.7, 5.2, 7, dtype=lucid.int64).tolist() == [-3, -1, 0, 1, 2, 3, 5]
    assert lucid.linspace(1, 9, 1).tolist() == [1.0] and lucid.linspace(1, 9, 0).tolist() == []
    assert lucid.logspace(0, 4.3, 5, dtype=lucid.int64).tolist() == [1, 10, 100, 1000, 10000]
    for steps in (2.0, -1):
        with pytest.raises(RuntimeError, match="steps"):
            lucid.linspace(0, 1, steps)


def test_slices_of_a_number():
    """A 0-d tensor is as a vector of one element."""
    x, i = lucid.tensor(3.0), lucid.tensor([0])
    assert x.index_select(0, i).tolist() == 3.0
    assert x.index_fill(0, i, 5.0).tolist() == 5.0
    assert x.index_add(0, i, lucid.tensor(2.0)).tolist() == 5.0
    assert x.index_copy(-1, i, lucid.tensor([9.0])).tolist() == 9.0
    assert x.gather(0, i).tolist() == [3.0] and x.gather(0, i[0]).tolist() == 3.0
    assert lucid.arange(3).gather(0, lucid.zeros(2, 0, dtype=lucid.int64)).shape == (2, 0)
    assert x.unfold(0, 1, 1).tolist() == [3.0] and x.unfold(0, 0, 1).tolist() == []
    assert x.repeat_interleave(2).tolist() == x.repeat_interleave(2, dim=0).tolist() == [3.0, 3.0]
    y = x.clone()
    assert y.index_add_(0, i, lucid.tensor([2.0])) is y and y.item() == 5.0
    with pytest.raises(IndexError, match="dim 1"):
        x.index_select(1, i)


def test_gradients_at_repeated_places_and_of_large_steps():
    x, v = vector(1.0, 2.0, 3.0, grad=True), lucid.tensor(2.0, dtype=f64, requires_grad=True)
    twice = lucid.tensor([0, 0, 2])
    assert gradcheck(lambda x, v: lucid.index_fill(x, 0, twice, v), (x, v))
    assert gradcheck(lambda x: lucid.logcumsumexp(x, 0), (x,))
    assert gradgradcheck(lambda x: lucid.logcumsumexp(x, 0), (x,))
    steep = vector(1.0, 1e4, 3.0, grad=True)
    lucid.logcumsumexp(steep, 0).backward(vector(1.0, -1.0, 2.0))
    np.testing.assert_allclose(steep.grad.numpy(), [1.0, 1.0, 0.0], rtol=1e-11)
    low = vector(-np.inf, -np.inf, 0.0, grad=True)
    lucid.logcumsumexp(low, 0).sum().backward()
    assert low.grad.tolist() == [0.0, 0.0, 1.0]
    lucid.nextafter(x, x + 1).backward(vector(1.0, 2.0, 3.0))
    assert x.grad.tolist() == [1.0, 2.0, 3.0]
    lucid.fill(lucid.tensor([np.inf, np.nan]), v).sum().backward()
    assert v.grad.item() == 2.0


def test_dtypes():
    few = lucid.tensor([1, 2, 3], dtype=lucid.int32)
    assert few.sum().dtype is lucid.int64 and few.sum(dtype=lucid.int32).dtype is lucid.int32
    assert few.prod(dtype=lucid.float32).dtype is lucid.float32
    truth = lucid.tensor([True, False])
    assert truth.prod(dtype=lucid.bool).dtype is lucid.bool
    assert truth.square().tolist() == [1, 0] and (truth**2).dtype is lucid.int64
    assert few.nan_to_num(2.5).dtype is lucid.int32
    assert lucid.tensor([np.nan]).nan_to_num(None).tolist() == [0.0]
    assert lucid.isclose(truth, ~truth).tolist() == [False, False]
    places = lucid.tensor([0, 0])
    assert truth.scatter_add(0, places, ~truth).tolist() == [True, False]
    assert truth.scatter_reduce(0, places, truth, "prod").tolist() == [False, False]
    z = np.array([1 + 2j, -0.5j])
    for made, wanted in ((lucid.float_power, z**2.0), (lucid.ldexp, z * 4)):
        np.testing.assert_allclose(made(lucid.tensor(z), lucid.tensor([2.0, 2.0])).numpy(), wanted)
    made = lucid.ldexp(lucid.tensor([1.0, 1.0]), lucid.tensor(z))
    np.testing.assert_allclose(made.numpy(), 2**z, rtol=1e-6)
    places = lucid.tensor([255, 3], dtype=lucid.uint8)
    assert [p.tolist() for p in lucid.unravel_index(places, (2, 256))] == [[0, 0], [255, 3]]
    whole = lucid.zeros(0, 3, dtype=lucid.int64).mm(lucid.ones(3, 2, dtype=lucid.int64))
    assert whole.shape == (0, 2) and whole.dtype is lucid.int64
    a, b = np.arange(6).reshape(1, 2, 3), np.arange(6).reshape(1, 3, 2)
    assert lucid.bmm(lucid.tensor(a), lucid.tensor(b)).tolist() == (a @ b).tolist()


def test_histograms_without_a_range():
    for x in ([2.0, 2.0], []):
        counts, edges = lucid.histogram(vector(*x), 4)
        for ours, theirs in zip((counts, edges), np.histogram(np.array(x), 4), strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs)
    assert lucid.histc(vector(2.0), 3).tolist() == [0.0, 1.0, 0.0]


def test_tensordot():
    x, w = np.ones((2, 1, 3)), np.arange(8.0).reshape(2, 4, 1)
    made = lucid.tensordot(lucid.tensor(x), lucid.tensor(w), ((0, 1), (0, 1)))
    np.testing.assert_array_equal(made.numpy(), np.einsum("ijk,iml->kl", x, w))
    with pytest.raises(RuntimeError, match="same size"):
        lucid.tensordot(lucid.ones(2, 3), lucid.ones(3, 2), ((0, 1), (0, 1)))
    with pytest.raises(RuntimeError, match="pairs"):
        lucid.tensordot(lucid.ones(2, 3), lucid.ones(3, 2), ((0,), (0, 1)))
    with pytest.raises(IndexError, match="dim 2"):
        lucid.tensordot(lucid.ones(2, 3), lucid.ones(3, 2), ((2,), (0,)))


def test_forms_of_calls():
    x = lucid.arange(6).reshape(2, 3)
    assert x.flip(dims=(0, 1)).tolist() == x.flip(0, 1).tolist() == x.flip([0, 1]).tolist()
    cuts = lucid.tensor([1, 2])
    assert [p.tolist() for p in lucid.arange(3).tensor_split(cuts)] == [[0], [1], [2]]
    assert len(x.tensor_split(lucid.tensor(2))) == 2
    assert lucid.normal(0.0, 1.0, (2,), layout=lucid.strided, pin_memory=False).shape == (2,)
    assert lucid.repeat_interleave(lucid.tensor([2, 0, 1])).tolist() == [0, 0, 2]
    assert x.repeat_interleave(lucid.tensor([1, 2]), 0, output_size=3).shape == (3, 3)
    assert lucid.gradient(vector(1.0, 2.0, 4.0), spacing=None)[0].tolist() == [1.0, 1.5, 2.0]
    m = np.arange(6.0).reshape(2, 3)
    assert np.isclose(lucid.norm(lucid.tensor(m), "nuc").item(), np.linalg.norm(m, "nuc"))
    a, tau = lucid.geqrf(lucid.tensor(m))
    np.testing.assert_allclose((lucid.ormqr(a, tau, lucid.triu(a))).numpy(), m, atol=1e-12)


def test_pools_with_places():
    F, x = lucid.nn.functional, lucid.arange(16.0).reshape(1, 1, 4, 4)
    by_position = F.max_pool2d_with_indices(x, 2, 2, 0, 1, False, False)
    adaptive = F.adaptive_max_pool2d_with_indices(x, 2)
    for made in (F.max_pool2d_with_indices(x, kernel_size=2), by_position, adaptive):
        assert [y.flatten().tolist() for y in made] == [[5, 7, 13, 15], [5, 7, 13, 15]]


REFUSED = [
    (lambda: lucid.logsumexp(lucid.tensor([1j]), 0), "floating"),
    (lambda: lucid.ones(3).narrow(0, lucid.tensor([1]), 1), "start"),
    (lambda: lucid.ones(3).narrow(0, lucid.tensor(True), 1), "start"),
    (lambda: lucid.ones(3, 2).repeat_interleave(lucid.tensor([1, 2]), 0), "counts|count"),
    (lambda: lucid.ones(2).repeat_interleave(2, output_size=5), "output_size"),
    (lambda: lucid.gradient(lucid.ones(3, 3), dim=(1, 1)), "more than once"),
    (lambda: lucid.renorm(lucid.ones(3), 2, 0, 1.0), "2 dimensions"),
    (lambda: lucid.ones(3).mean(dtype=lucid.int64), "floating"),
    (lambda: lucid.ones(2).masked_fill(lucid.tensor(True), 1j), "complex"),
    (lambda: lucid.ones(2).normal_(0.0, -1.0), "std"),
    (lambda: lucid.ones(2).uniform_(3.0, -1.0), "above"),
    (lambda: lucid.isclose(lucid.ones(2), lucid.ones(2), rtol=-1.0), "rtol"),
    (lambda: lucid.fill(lucid.ones(2), lucid.ones(2)), "0-d"),
    (lambda: lucid.tensor(1.0).tensor_split(1), "dimension"),
    (lambda: lucid.ormqr(lucid.ones(2, 3), lucid.ones(3), lucid.ones(2, 2)), "tau"),
]


@pytest.mark.parametrize("call, message", REFUSED)
def test_refused(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()
