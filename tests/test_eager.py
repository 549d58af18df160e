"""The hit path of the funnel: a cached plan gives what the first call gave, and keeps nothing."""

import gc

import numpy as np
import pytest

import lucid.tensor  # noqa: F401 - apply makes Tensors from then on
from lucid import memory
from lucid.apply import apply
from lucid.autograd.mode import no_grad
from lucid.fused import fused
from lucid.ops import creation, elementwise, transcendental, view
from lucid.write import write


def numbers(x):
    lay = x._layout
    return x._storage.as_numpy(lay.dtype, lay.shape, lay.strides, x._offset)


@pytest.fixture
def x():
    return creation.tensor([1.0, -2.0, 3.0])


def test_a_hit_equals_a_miss(x):
    for _ in range(3):
        w = creation.tensor([10.0, 20.0, 30.0])
        assert numbers(apply(elementwise.add, (x, w))).tolist() == [11.0, 18.0, 33.0]
        assert numbers(apply(elementwise.neg, (x,))).tolist() == [-1.0, 2.0, -3.0]


def test_numbers_arrive_at_run_time(x):
    for scale in (2, 3, 0.5, -1.25, np.float64(4), True):
        expected = np.float32([1, -2, 3]) * np.float32(scale)
        assert numbers(apply(elementwise.mul, (x, scale))).tolist() == expected.tolist()
        assert numbers(apply(elementwise.mul, (scale, x))).tolist() == expected.tolist()
        assert numbers(apply(elementwise.sub, (scale, x))).tolist() == (scale - numbers(x)).tolist()


def test_recording_follows_inputs_and_mode(x):
    r = creation.tensor([1.0, 1.0, 1.0])
    r.requires_grad_()
    for _ in range(2):
        for inputs in ((x, r), (r, x), (r, 2.0), (2.0, r)):
            y = apply(elementwise.mul, inputs)
            assert y._requires_grad and y._node.op is elementwise.mul
            with no_grad():
                y = apply(elementwise.mul, inputs)
            assert not y._requires_grad and y._node is None
        assert apply(elementwise.mul, (x, x))._node is None


def test_graphs_die_by_reference_counts(x):
    r = creation.tensor([1.0, 1.0, 1.0])
    r.requires_grad_()
    gc.collect()
    gc.disable()
    try:
        live = memory.stats()["live"]
        for _ in range(100):
            y = apply(transcendental.exp, (apply(elementwise.mul, (r, x)),))
            y = apply(elementwise.add, (y, 1.0))
        assert memory.stats()["live"] > live
        y = None
        assert memory.stats()["live"] == live
    finally:
        gc.enable()


def test_an_output_that_is_a_view_has_bytes_of_its_own():
    x = creation.tensor([7.0])

    def views(t):
        return apply(view.expand, (apply(view.reshape, (t,), ((1, 1),)),), ((2, 3),))

    (y,) = fused(("views",), lambda t: (views(t),), (x,), "views")
    assert y._storage is not x._storage
    assert numbers(y).tolist() == [[7.0] * 3] * 2


def test_views_follow_a_later_write_to_their_base():
    base = creation.zeros(3)
    y = apply(view.reshape, (base,), ((3, 1),))
    assert not y.requires_grad and apply(elementwise.mul, (y, 2.0))._node is None
    r = creation.tensor([1.0, 2.0, 3.0])
    r.requires_grad_()
    write(elementwise.add, base, (base, r))
    twice = apply(elementwise.mul, (y, 2.0))
    assert twice._requires_grad and y.requires_grad
    assert numbers(twice).tolist() == [[2.0], [4.0], [6.0]]


EMPTY = [(0, 4), (4, 0), (0,), (2, 0, 3), (0, 0), (0, 1, 5), (3, 0, 1, 2)]


@pytest.mark.parametrize("shape", EMPTY)
def test_reshapes_of_nothing(shape):
    for size in EMPTY:
        x = creation.zeros(shape)
        x.requires_grad_()
        (x * 2).reshape(size).transpose(0, -1).sum().backward()
        assert tuple(x.grad.shape) == shape
        compiled = lucid.compile(lambda x, size=size: ((x * 2).reshape(size) + 1).exp())
        assert tuple(compiled(x.detach()).shape) == size


def test_views_of_the_shape_of_another():
    x = lucid.arange(6)
    like = lucid.zeros(2, 3).shape
    for _ in range(3):  # looked up from the second time on
        for size in (like, (2, 3), [2, 3]):
            assert x.view(size).tolist() == x.reshape(size).tolist() == [[0, 1, 2], [3, 4, 5]]
        assert x.view(like)._base is x
        with pytest.raises(RuntimeError, match="elements"):
            x.view(lucid.zeros(4).shape)
        with pytest.raises(TypeError, match="ints"):
            x.view((2, 3.0))
