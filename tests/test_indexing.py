"""Subscripts, assignment, gather and scatter against NumPy; gradients; what must raise."""

import warnings

import numpy as np
import pytest

import lucid
from lucid import fused
from lucid.autograd.check import gradcheck, gradgradcheck
from lucid.ops import gather

RNG = np.random.default_rng(0)
A = RNG.standard_normal((4, 5, 3))
S, E = slice, Ellipsis
# Every kind of subscript, in NumPy's terms.
KEYS = {
    "int": 0,
    "negative": (-1, -2),
    "slices": (S(1, 3), S(None, None, 2), S(-2, None)),
    "reversed": (S(None, None, -1), S(4, 0, -2)),
    "beyond": (S(2, 100), S(-100, 2)),
    "nothing": S(3, 1),
    "none": (None, S(None), None),
    "ellipsis": (E, 0),
    "ellipsis inside": (0, E, 1),
    "empty tuple": (),
    "list": [0, 2, -1],
    "empty list": [],
    "two lists": ([0, 1], [2, -1]),
    "broadcast": (np.array([[0], [1]]), np.array([1, 2])),
    "apart": ([0, 1], S(None), [0, 2]),
    "list after none": (None, [0, 1]),
    "none between": ([0, 1], None, [1, 2]),
    "int and list": (0, [1, 2]),
    "list and int": ([1, 2], S(None), 0),
    "int apart from list": (0, S(None), [1, 2]),
    "list of lists": [[0, 1], [2, 3]],
    "mask": A > 0,
    "mask of rows": np.array([True, False, True, True]),
    "mask of columns": (S(None), np.array([True, False, True, True, False])),
    "mask of two": np.arange(20).reshape(4, 5) % 3 == 0,
    "mask and list": (np.array([True, False, True, False]), [1, 2]),
    "true": True,
    "false": False,
    "true and int": (True, 1),
    "array of no dimensions": (S(None), np.array(2), np.array([0, 1])),
    "narrow ints": np.array([1, 0], np.int16),
}


def ours(key):
    """The key with its arrays as tensors."""
    if isinstance(key, tuple):
        return tuple(ours(k) for k in key)
    return lucid.tensor(key) if isinstance(key, np.ndarray) else key


def theirs(key):
    """The key for NumPy: apart from tuples, ints next to lists count as lists there."""
    if isinstance(key, tuple):
        return tuple(theirs(k) for k in key)
    return np.array(key, int) if isinstance(key, list) else key


def expected(a, key):
    """NumPy's answer, with a single int taken as a view first, as it is here: then the place of
    the other lists does not move."""
    key = theirs(key)
    if isinstance(key, tuple) and any(isinstance(k, np.ndarray) for k in key):
        for place, k in enumerate(key):
            if isinstance(k, int) and not isinstance(k, bool):
                return expected(a[(S(None),) * place + (k,)], (*key[:place], *key[place + 1 :]))
    return a[key]


@pytest.mark.parametrize("name", KEYS)
def test_read(name):
    want = expected(A, KEYS[name])
    for x in (lucid.tensor(A), lucid.tensor(np.ascontiguousarray(A.T)).permute(2, 1, 0)):
        for key in (KEYS[name], ours(KEYS[name])):
            y = x[key]
            assert y.shape == want.shape
            np.testing.assert_array_equal(y.numpy(), want)


@pytest.mark.parametrize("name", KEYS)
def test_assignment(name):
    shape = expected(A, KEYS[name]).shape
    full = RNG.standard_normal(shape)
    values = [2.5, np.float64(1.5), full] + ([full[..., :1]] if shape else [])
    for value in values:
        want = A.copy()
        where = np.arange(A.size).reshape(A.shape)
        places = expected(where, KEYS[name])
        want.reshape(-1)[places.reshape(-1)] = np.broadcast_to(value, shape).reshape(-1)
        for layout in (lambda a: lucid.tensor(a), turned):
            x = layout(A)
            version = x._version
            x[ours(KEYS[name])] = lucid.tensor(value) if isinstance(value, np.ndarray) else value
            np.testing.assert_array_equal(x.numpy(), want)
            assert x._version > version or not A[theirs(KEYS[name])].size


def turned(a):
    return lucid.tensor(np.ascontiguousarray(a.T)).permute(*reversed(range(a.ndim)))


@pytest.mark.parametrize("name", KEYS)
def test_gradients(name):
    key = ours(KEYS[name])
    x = lucid.tensor(A, requires_grad=True)
    y = x[key]
    if y.numel() == 0:
        y.sum().backward()
        assert not x.grad.any().item()
        return
    weights = RNG.standard_normal(tuple(y.shape))
    (y * lucid.tensor(weights)).sum().backward()
    want = np.zeros(A.size)
    places = expected(np.arange(A.size).reshape(A.shape), KEYS[name])
    np.add.at(want, places.reshape(-1), weights.reshape(-1))
    np.testing.assert_allclose(x.grad.numpy().reshape(-1), want, rtol=1e-15)


@pytest.mark.parametrize("name", ["slices", "two lists", "apart", "mask of two", "reversed"])
def test_gradients_of_assignment(name):
    key = ours(KEYS[name])
    x = lucid.tensor(A[:, :, :], requires_grad=True)
    v = lucid.tensor(RNG.standard_normal(tuple(x[key].shape)), requires_grad=True)

    def assign(x, v):
        y = x * 1.0
        y[key] = v * v
        return (y * y).sum()

    assert gradcheck(assign, (x, v))


def test_second_derivatives():
    x = lucid.tensor(A[:2, :2], requires_grad=True)
    i = lucid.tensor([1, 0, 1])
    assert gradgradcheck(lambda x: x[i, i].exp(), (x,))
    assert gradgradcheck(lambda x: x[::-1, 1:].exp(), (x,))
    g = lucid.tensor([[[0, 1, 2], [1, 1, 0]]])
    assert gradgradcheck(lambda x: x.gather(2, g).exp(), (x,))
    assert gradgradcheck(lambda x: x.scatter_add(2, g, x.exp()[:1]) ** 2, (x,), atol=1e-4)
    assert gradgradcheck(lambda x: x.index_add(0, i, x[i].exp()) ** 2, (x,), atol=1e-4)
    assert gradgradcheck(lambda x: x.index_copy(0, i[:2], x.exp()) ** 2, (x,), atol=1e-4)
    assert gradgradcheck(lambda x: lucid.where(x > 0, x**3, x.exp()), (x,), atol=1e-4)
    table = lucid.tensor(A[0], requires_grad=True)
    embedding = lucid.nn.functional.embedding
    assert gradgradcheck(lambda w: embedding(i, w).exp(), (table,))


def test_repeated_places_add_up_and_the_last_is_kept():
    x, i = lucid.zeros(3), lucid.tensor([1, 1, 1, 0])
    v = lucid.tensor([1.0, 2.0, 4.0, 8.0])
    assert x.index_add(0, i, v).tolist() == [8.0, 7.0, 0.0]
    assert x.scatter_add(0, i, v).tolist() == [8.0, 7.0, 0.0]
    assert x.index_put((i,), v, accumulate=True).tolist() == [8.0, 7.0, 0.0]
    x[i] = v
    assert x.tolist() == [8.0, 4.0, 0.0]
    x[i] += 1  # read, add, write: once for each place
    assert x.tolist() == [9.0, 5.0, 0.0]


def test_gather_and_scatter():
    a = RNG.standard_normal((4, 6))
    for dim in (0, 1, -1):
        i = RNG.integers(0, a.shape[dim], (4, 6))
        got = lucid.tensor(a).gather(dim, lucid.tensor(i)).numpy()
        np.testing.assert_array_equal(got, np.take_along_axis(a, i, dim))
        order = np.argsort(RNG.random((4, 6)), axis=dim)
        want = a.copy()
        np.put_along_axis(want, order, a * 2, dim)
        x = turned(a)
        assert x.scatter_(dim, lucid.tensor(order), lucid.tensor(a * 2)) is x
        np.testing.assert_array_equal(x.numpy(), want)
    assert lucid.tensor(2.0).gather(0, lucid.tensor([0, 0][0])).item() == 2.0


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16", "bfloat16"])
def test_dtypes(dtype):
    x = lucid.arange(12).reshape(3, 4).to(getattr(lucid, dtype))
    i = lucid.tensor([2, 0])
    parts = [x[i], x[:, i], x.gather(1, i.expand(3, 2)), x.index_select(0, i), x[x > 0], x[::2]]
    parts += [lucid.where(x > 3, x, x), x.masked_fill(x > 3, 1), x.scatter(1, i.expand(3, 2), x)]
    assert all(p.dtype is x.dtype for p in parts)
    wide = x.double()
    np.testing.assert_array_equal(parts[1].double().numpy(), wide[:, i].numpy())
    x[1:, i] = 1
    wide[1:, i] = 1
    np.testing.assert_array_equal(x.double().numpy(), wide.numpy())


def test_values_are_cast_to_the_target():
    x = lucid.zeros(3, dtype=lucid.int64)
    x[0] = 2.7
    x[[1]] = lucid.tensor(2.7)
    x[x == 0] = True
    assert x.tolist() == [2, 2, 1]


def test_nonzero():
    a = (RNG.random((5, 7)) > 0.6).astype(np.float32)
    np.testing.assert_array_equal(lucid.nonzero(lucid.tensor(a)).numpy(), np.argwhere(a))
    np.testing.assert_array_equal(lucid.nonzero(turned(a)).numpy(), np.argwhere(a))
    pairs = zip(lucid.where(lucid.tensor(a) > 0), np.nonzero(a), strict=True)
    assert all(np.array_equal(t.numpy(), w) for t, w in pairs)
    assert lucid.nonzero(lucid.zeros(2, 3)).shape == (0, 2)
    assert lucid.nonzero(lucid.zeros(0, 3)).shape == (0, 2)
    assert lucid.nonzero(lucid.tensor(3.0)).shape == (1, 0)
    assert lucid.nonzero(lucid.tensor(3.0), as_tuple=True)[0].tolist() == [0]
    x = lucid.tensor(3.0)
    assert x[x > 0].shape == (1,) and x[x < 0].shape == (0,)


ERRORS = [
    (IndexError, "index 4 is out of range for dimension 0 of size 4", lambda x: x[4]),
    (IndexError, "index -5 is out of range", lambda x: x[-5]),
    (IndexError, "too many indices: 4 for a tensor of 3", lambda x: x[0, 0, 0, 0]),
    (IndexError, "index 5 is out of range.*dimension 1 of size 5", lambda x: x[:, [0, 5]]),
    (IndexError, "mask of shape .2,.*dimension 0", lambda x: x[[True, False]]),
    (IndexError, "integer type, got lucid.float32", lambda x: x[lucid.tensor([0.5])]),
    (IndexError, "uint8", lambda x: x[lucid.tensor([1, 0], dtype=lucid.uint8)]),
    (TypeError, "indexed by str", lambda x: x["a"]),
    (ValueError, "zero", lambda x: x[::0]),
    (RuntimeError, r"shapes \(2,\) and \(3,\)", lambda x: x[[0, 1], [0, 1, 2]]),
    (IndexError, "size 0", lambda x: x[:0][[0]]),
    (IndexError, "size 0", lambda x: x[:0].index_select(0, lucid.tensor([0]))),
    (IndexError, "size 0", lambda x: x[:0].gather(0, lucid.zeros(1, 1, 1, dtype=lucid.int64))),
    (IndexError, "vector", lambda x: x.index_select(0, lucid.tensor([[0]]))),
    (IndexError, "gather.*index 4.*size 4", lambda x: x.gather(0, lucid.tensor([[[4]]]))),
    (RuntimeError, "index has 1 dimensions, the input 3", lambda x: x.gather(0, lucid.tensor([0]))),
    (RuntimeError, "2 indices.*need a source of shape", lambda x: x.index_add(
        0, lucid.tensor([0, 1]), x[:1])),
    (RuntimeError, "need a source of shape", lambda x: x.index_copy(1, lucid.tensor([0]), x)),
    (RuntimeError, "source is lucid.int64", lambda x: x.index_add(
        0, lucid.tensor([0]), x[:1].long())),
    (RuntimeError, "scatter.*source is", lambda x: x.scatter(
        0, lucid.tensor([[[0]]]), x.float())),
    (RuntimeError, "mask must be bool", lambda x: x.masked_fill(x, 1)),
    (RuntimeError, "0-d tensor", lambda x: x.masked_fill(x > 0, x[0])),
    (RuntimeError, "condition must be bool", lambda x: lucid.where(x, x, x)),
    (TypeError, "mask must be bool", lambda x: x.masked_select(x)),
]  # fmt: skip


@pytest.mark.parametrize("case", ERRORS, ids=lambda c: c[1])
def test_errors(case):
    kind, text, function = case
    with pytest.raises(kind, match=text):
        function(lucid.tensor(A))


WRITES = [
    lambda x: x.__setitem__(4, 0.0),
    lambda x: x.__setitem__([0, 4], 0.0),
    lambda x: x.__setitem__(0, lucid.zeros(2, 3)),
    lambda x: x.__setitem__([0, 1], lucid.zeros(7)),
    lambda x: x.__setitem__(lucid.tensor([True]), 0.0),
    lambda x: x.index_add_(0, lucid.tensor([0, 9]), x[:2]),
    lambda x: x.scatter_(0, lucid.tensor([[[9]]]), 0.0),
]


@pytest.mark.parametrize("place", range(len(WRITES)))
def test_what_raises_writes_nothing(place):
    x = lucid.tensor(A)
    with pytest.raises((IndexError, RuntimeError)):
        WRITES[place](x)
    np.testing.assert_array_equal(x.numpy(), A)
    assert x._version == 0


def test_one_plan_serves_the_gradients_of_all_subscripts():
    x = lucid.tensor(np.arange(24.0).reshape(4, 6), requires_grad=True)
    places = [(i, j) for i in range(4) for j in range(6)]
    for number, (i, j) in enumerate(places):
        x.grad = None
        (x[i, j] * 2 + x[i].sum()).backward()
        wanted = np.zeros((4, 6))
        wanted[i] = 1
        wanted[i, j] += 2
        np.testing.assert_array_equal(x.grad.numpy(), wanted)
        if number == 0:
            before = len(fused.planned)
    assert len(fused.planned) == before
    # The second derivative reads what the subscript read.
    (g,) = lucid.autograd.grad((x[2:0:-1, 1::2] ** 3).sum(), x, create_graph=True)
    g.sum().backward()
    part = np.zeros((4, 6))
    part[2:0:-1, 1::2] = 6 * np.arange(24.0).reshape(4, 6)[2:0:-1, 1::2]
    x_grad = x.grad.numpy() - wanted
    np.testing.assert_allclose(x_grad, part)


@pytest.mark.parametrize(
    "data",
    [
        1.5, 7, True, [1.0, 2.0], [1, 2.5], [True, 3], [[1, 2], [3, 4]], ((1.0,), (2.0,)), [],
        [[]], [1 << 40], [float("nan"), -0.0, 1e300], [[True, False]], [2**53 + 1], [[1], [2.0]],
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [None, "float32", "float64", "int64", "int32", "uint8", "bool"])
def test_tensors_of_lists_are_those_of_numpy(data, kind):
    given = None if kind is None else getattr(lucid, kind)
    array = np.asarray(data)
    if given is None:
        wanted = {"f": np.float32, "i": np.int64, "b": np.bool_}[array.dtype.kind]
    else:
        wanted = given.numpy
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y, expected = lucid.tensor(data, dtype=given), array.astype(wanted)
    assert y.shape == array.shape and y.dtype.numpy == expected.dtype
    np.testing.assert_array_equal(y.numpy(), expected)


def test_lists_of_other_things_are_refused():
    for data in ([[1, 2], [3]], [1, "a"], [[1], 2]):
        with pytest.raises((ValueError, TypeError)):
            lucid.tensor(data)


VIEWS = {
    "row": lambda x: x[2],
    "part": lambda x: x[1:3],
    "column": lambda x: x[:, 1],
    "place": lambda x: x[1, 2],
    "dots": lambda x: x[..., -1],
    "reversed": lambda x: x[::-1, 1:],
    "reshaped": lambda x: x.view(6, 4),
    "of a tuple": lambda x: x.reshape((3, -1)),
    "turned": lambda x: x.t(),
    "wider": lambda x: x.unsqueeze(1),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("kind", ["plain", "offset", "view", "leaf", "result"])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_view_is_the_same_the_second_time(name, kind, recorded):
    data = lucid.arange(40.0)
    x = data[4:28].view(4, 6)
    if kind == "plain":
        x = x.clone()
    elif kind == "offset":
        x = x.detach()
    elif kind in ("leaf", "result"):
        x = x.clone().requires_grad_()
        x = x * 2 if kind == "result" else x
    with lucid.set_grad_enabled(recorded):
        made = [VIEWS[name](x) for _ in range(3)]
    for y in made[1:]:
        for field in ("_storage", "_layout", "_ptr", "_requires_grad", "_offset", "_base", "_view"):
            assert getattr(y, field) is getattr(made[0], field) or getattr(y, field) == getattr(
                made[0], field
            ), field
        np.testing.assert_array_equal(y.detach().numpy(), made[0].detach().numpy())
        assert (y.grad_fn is None) == (made[0].grad_fn is None)
        assert (y._shown is None) == (made[0]._shown is None)


def test_a_known_view_is_not_one_of_other_arguments():
    x = lucid.arange(4)
    assert x.view(1, 4).shape == (1, 4) and x[1].item() == 1 and x.unsqueeze(1).shape == (4, 1)
    for _ in range(2):
        assert x[True].shape == (1, 4)
        with pytest.raises(TypeError):
            x.view(1.0, 4)
        with pytest.raises(TypeError):
            x.unsqueeze(True)
        with pytest.raises(IndexError):
            x[4]
    with pytest.raises((AttributeError, TypeError)):
        lucid.reshape([1, 2], 2)


def test_assignments_count_and_are_seen():
    x = lucid.zeros(5)
    w = lucid.ones(5, requires_grad=True)
    y = (x * w).sum()
    for _ in range(2):
        before = x._version
        x[2] = 1.0
        x[3:] = lucid.tensor([2.0, 3.0])
        assert x._version == before + 2
    assert x.tolist() == [0, 0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="__setitem__"):
        y.backward()
    with pytest.raises(RuntimeError, match="leaf"):
        w[0] = 1.0
    v = w * 1
    for value in (1.0, lucid.tensor([4.0, 5.0])):
        v[1:3] = value
        assert v.requires_grad and v.grad_fn is not None
    v.sum().backward()
    assert w.grad.tolist() == [1, 0, 0, 1, 1]
    base = lucid.zeros(4)
    part = base[1:3]
    part[0] = w[0]
    assert base.requires_grad and base.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    "read",
    [
        lambda x, i: x[i],
        lambda x, i: x.index_select(0, i),
        lambda x, i: x.gather(0, i.view(1, 1).expand(1, 3)),
        lambda x, i: x.take(i * 3),
        lambda x, i: lucid.nn.functional.embedding(i, x),
    ],
)
def test_places_in_expanded_dimensions_are_checked(read):
    for size in (1, 4):
        x = lucid.arange(3.0).expand(size, 3)
        assert read(x, lucid.tensor([size - 1])).flatten()[0].item() == 0.0
        with pytest.raises(IndexError, match="out of range"):
            read(x, lucid.tensor([size]))


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 1), ()])
def test_nonzero_of_one_element(shape):
    for value in (0.0, 3.0):
        expected = np.argwhere(np.full(shape, value))
        assert lucid.full(shape, value).nonzero().tolist() == expected.tolist()
    x = lucid.full(shape, 2.0)
    assert x[x > 1].tolist() == [2.0] and x[x > 3].tolist() == []


# ---- writes at places -------------------------------------------------------------------------


def writes():
    """Each way to write at places: (in place on a tensor, the same on an array)."""
    rows, values = np.array([2, 0, 2, -1]), RNG.standard_normal((4, 5, 3))
    i, v = lucid.tensor(rows), lucid.tensor(values)

    def added(a):
        np.add.at(a, rows, values)

    def put(a):
        a[rows] = values

    def inner(a):
        np.add.at(a, (slice(None), rows), values[:, :4])

    return {
        "[]": (lambda x: x.__setitem__(i, v), put),
        "index_put_": (lambda x: x.index_put_((i,), v), put),
        "accumulate": (lambda x: x.index_put_((i,), v, accumulate=True), added),
        "index_add_": (lambda x: x.index_add_(0, i, v), added),
        "index_copy_": (lambda x: x.index_copy_(0, i, v), put),
        "dim 1": (lambda x: x.index_add_(1, i, v[:, :4]), inner),
    }


@pytest.fixture
def in_place(monkeypatch):
    """Small tensors are written to in place too, as large ones are."""
    monkeypatch.setattr(gather, "LARGE", 0)


@pytest.mark.parametrize("large", [0, gather.LARGE])
@pytest.mark.parametrize("name", writes())
@pytest.mark.parametrize("kind", ["row-major", "transposed", "strided", "of a leaf", "expanded"])
def test_writes_touch_only_their_places(name, kind, large, monkeypatch):
    monkeypatch.setattr(gather, "LARGE", large)
    ours, theirs = writes()[name]
    array = RNG.standard_normal((4, 5, 3))
    if kind == "transposed":
        x = lucid.tensor(array.transpose(2, 1, 0).copy()).permute(2, 1, 0)
    elif kind == "strided":
        x = lucid.tensor(np.repeat(array, 2, 1))[:, ::2]
    else:
        x = lucid.tensor(array, requires_grad=kind == "of a leaf")
    before = x._version
    if kind == "expanded":
        with pytest.raises(RuntimeError, match="one in memory"):
            ours(x[:, :1].expand(4, 5, 3))
        assert np.array_equal(x.numpy(), array)
        return
    if kind == "of a leaf":
        with pytest.raises(RuntimeError, match="a leaf that requires a gradient"):
            ours(x)
    with lucid.no_grad():
        ours(x)
    theirs(array)
    assert np.allclose(x.detach().numpy(), array)
    assert x._version > before


@pytest.mark.parametrize("name", writes())
def test_a_place_outside_is_told_before_anything_is_written(name, in_place):
    x = lucid.zeros(2, 3, 3).double()
    with pytest.raises((IndexError, RuntimeError)):
        writes()[name][0](x)
    assert x.sum().item() == 0
    x, i = lucid.zeros(4), lucid.tensor([1, 7])
    with pytest.raises(IndexError, match="7 .* dimension 0 of size 4"):
        x.index_add_(0, i, lucid.ones(2))
    with pytest.raises(IndexError, match="7 .* dimension 1 of size 4"):
        lucid.zeros(2, 4).index_add_(1, i, lucid.ones(2, 2))
    assert x.tolist() == [0] * 4


def test_writes_from_the_same_memory(in_place):
    x = lucid.arange(6.0)
    x.index_add_(0, lucid.tensor([0, 1, 2]), x[3:])
    assert x.tolist() == [3, 5, 7, 3, 4, 5]
    y = lucid.tensor([2, 0, 1])
    y[y] = y
    assert y.tolist() == np.array([0, 1, 2]).tolist()
    assert lucid.zeros(3).index_put_((lucid.tensor([True, False, True]),), lucid.ones(2)).tolist()


def test_writes_at_places_are_recorded_where_asked(in_place):
    i = lucid.tensor([0, 2, 1])

    def written(x, v, add):
        y = x * 2
        y.index_put_((i,), v, accumulate=add)
        y.index_add_(0, i[:1], v[:1])
        return y

    x = lucid.tensor(RNG.standard_normal((3, 2)), requires_grad=True)
    v = lucid.tensor(RNG.standard_normal((3, 2)), requires_grad=True)
    for add in (False, True):
        assert gradcheck(lambda x, v, add=add: written(x, v, add), (x, v))
        assert gradcheck(lambda v, add=add: written(x.detach(), v, add), (v,))
