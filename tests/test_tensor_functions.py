"""Tensor functions beyond the core: values against NumPy, PyTorch where installed, gradients.

CASES: name -> (arguments, NumPy's answer or None). Arguments are arrays; "t" in a name's third
place says that it takes them as one list.
"""

import math

import numpy as np
import pytest

import lucid
from lucid.autograd import gradcheck

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape)


A, B, C, V, W = normal(3, 4), normal(3, 4), normal(2, 3, 4), normal(5), normal(5)
M, N = RNG.integers(-20, 20, (3, 4)), RNG.integers(-20, 20, (3, 4))
NAN = np.where(A > 1, np.nan, A)
MASK = A > 0

CASES = {
    "diff": [((A,), np.diff(A)), ((A, 2, 0), np.diff(A, 2, 0)), ((MASK,), np.diff(MASK))],
    "trapezoid": [((A,), np.trapezoid(A)), ((V, W), np.trapezoid(V, W))],
    "cumulative_trapezoid": [((A,), None), ((V, W), None)],
    "gradient": [((C,), np.gradient(C)), ((V,), np.gradient(V))],
    "nansum": [((NAN,), np.nansum(NAN)), ((NAN, 1), np.nansum(NAN, 1))],
    "nanmean": [((NAN,), np.nanmean(NAN)), ((NAN, 1), np.nanmean(NAN, 1))],
    "cov": [((A,), np.cov(A)), ((V,), np.cov(V))],
    "corrcoef": [((A,), np.corrcoef(A))],
    "dist": [((A, B), np.linalg.norm(A - B)), ((A, B, 3), None), ((A, B, math.inf), None)],
    "cdist": [
        ((A, B), np.linalg.norm(A[:, None] - B[None], axis=-1)),
        *[((A, B[:2], p), None) for p in (0.0, 1.0, 3.0, math.inf)],
        ((C, C[:, :1]), None),
    ],
    "renorm": [((A, 2, 0, 1.0), None), ((C, 1, 1, 2.0), None)],
    "addmv": [((V[:3], A, V[:4]), V[:3] + A @ V[:4])],
    "addr": [((A, V[:3], W[:4]), A + np.outer(V[:3], W[:4]))],
    "addbmm": [((normal(3, 3), C, normal(2, 4, 3)), None)],
    "inner": [((A, B), np.inner(A, B)), ((V, W), np.inner(V, W)), ((C, B), np.inner(C, B))],
    "vdot": [((V, W), np.vdot(V, W))],
    "kron": [((A, V), np.kron(A, V)), ((A, B[:2, :3]), np.kron(A, B[:2, :3]))],
    "cross": [((normal(4, 3), normal(4, 3)), None), ((A, B, 0), np.cross(A, B, axis=0))],
    "diag_embed": [((A,), None), ((A, 1, 0, 2), None), ((V, -2), np.diag(V, -2))],
    "diagflat": [((A,), np.diagflat(A)), ((V, 1), np.diagflat(V, 1))],
    "masked_scatter": [((A, MASK, normal(12)), None)],
    "put": [((A, np.array([5, -1, 0]), V[:3]), None), ((A, np.array([5, 5]), V[:2], True), None)],
    "take_along_dim": [((A, M % 4, 1), np.take_along_axis(A, M % 4, 1))],
    "fliplr": [((A,), np.fliplr(A))],
    "flipud": [((A,), np.flipud(A))],
    "rot90": [*[((C, k, (0, 2)), np.rot90(C, k, (0, 2))) for k in (-1, 0, 1, 2, 3)]],
    "sum_to_size": [((C, (3, 1)), C.sum((0, 2))[:, None])],
    "diagonal_scatter": [((A, V[:3]), None), ((A, V[:2], 2), None)],
    "select_scatter": [((A, V[:4], 0, 1), None)],
    "slice_scatter": [((A, normal(3, 2), 1, 0, None, 2), None)],
    "hsplit": [((A, 2), np.hsplit(A, 2)), ((V, [1, 3]), np.hsplit(V, [1, 3]))],
    "vsplit": [((A, [1]), np.vsplit(A, [1]))],
    "dsplit": [((C, 2), np.dsplit(C, 2))],
    "split_with_sizes": [((A, [1, 3], 1), None)],
    "atleast_1d": [((np.array(2.0),), np.array([2.0]))],
    "atleast_2d": [((V,), np.atleast_2d(V))],
    "atleast_3d": [((A,), np.atleast_3d(A)), ((V,), np.atleast_3d(V))],
    "block_diag": [((A, V, B[:1]), None)],
    "cartesian_prod": [((V, W[:2]), None)],
    "combinations": [((V,), None), ((V, 3, True), None)],
    "tril_indices": [((3, 4, 1), np.stack(np.tril_indices(3, 1, 4)))],
    "triu_indices": [((3, 4, -1), np.stack(np.triu_indices(3, -1, 4)))],
    "unravel_index": [((np.array([5, 23]), (2, 3, 4)), np.unravel_index([5, 23], (2, 3, 4)))],
    "frexp": [((A * 100,), np.frexp(A * 100)), ((np.array([0.0, np.inf, 5e-324]),), None)],
    "ldexp": [((A, M), np.ldexp(A, M))],
    "float_power": [((np.abs(A), 2.5), np.abs(A) ** 2.5), ((M, 2), np.float64(M) ** 2)],
    "index_reduce": [
        ((A, 0, np.array([0, 2, 0]), B, how), None) for how in ("amax", "amin", "mean", "prod")
    ],
    "rsub": [((A, B), B - A)],
    "logit": [((np.abs(A) / 4, 0.1), None)],
    "gcd": [((M, N), np.gcd(M, N))],
    "lcm": [((M, N), np.lcm(M, N))],
    "mvlgamma": [((np.abs(A) + 3, 3), None)],
    "signbit": [((A,), np.signbit(A)), ((M,), np.signbit(M))],
    "nextafter": [((A, B), np.nextafter(A, B)), ((A * 0, B), np.nextafter(A * 0, B))],
    "sinc": [((A,), np.sinc(A)), ((A * 0,), np.sinc(A * 0))],
    "i0": [((A * 20,), np.i0(A * 20))],
    "logspace": [((-1.0, 2.0, 5), None)],
    "constant_pad_nd": [((A, (1, 2), 3.0), None)],
    "fill": [((A, 3.0), A * 0 + 3)],
}
LISTS = {
    "column_stack": [([V, W], np.column_stack([V, W]))],
    "dstack": [([A, B], np.dstack([A, B]))],
}
FLAT = [(name, i) for name, cases in CASES.items() for i in range(len(cases))]
# Those whose result does not depend smoothly on what they are given.
ROUGH = {"frexp", "nextafter", "signbit", "fill", "corrcoef", "renorm", "mvlgamma", "i0", "gcd"}


def ours(x):
    return lucid.tensor(x) if isinstance(x, np.ndarray) else x


def flat(y):
    return list(y) if isinstance(y, tuple | list) else [y]


@pytest.mark.parametrize(("name", "number"), FLAT)
def test_values(name, number):
    args, want = CASES[name][number]
    got = flat(getattr(lucid, name)(*[ours(x) for x in args])) if hasattr(lucid, name) else []
    got = got or flat(getattr(ours(args[0]), name)(*[ours(x) for x in args[1:]]))
    if want is not None:
        for x, y in zip(got, flat(want), strict=True):
            np.testing.assert_allclose(x.numpy(), y, rtol=1e-12, atol=1e-13)
    torch = pytest.importorskip("torch")
    given = [torch.tensor(x) if isinstance(x, np.ndarray) else x for x in args]
    if name == "logspace":
        given, got = [*given], [x.to(lucid.float32) for x in got]
    function = getattr(torch, name, None)
    theirs = function(*given) if function else getattr(given[0], name)(*given[1:])
    for x, y in zip(got, flat(theirs), strict=True):
        assert tuple(x.shape) == tuple(y.shape) and x.dtype.name == str(y.dtype)[6:]
        rtol = 1e-6 if x.dtype is lucid.float32 else 1e-12
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=rtol, atol=1e-13)


@pytest.mark.parametrize(("name", "number"), FLAT)
def test_gradients(name, number):
    args, _ = CASES[name][number]
    places = [i for i, x in enumerate(args) if isinstance(x, np.ndarray) and x.dtype == np.float64]
    if name in ROUGH or not places or any(np.isnan(args[i]).any() for i in places):
        pytest.skip("no smooth function of floating numbers")

    def function(*xs):
        given = [ours(x) for x in args]
        for i, x in zip(places, xs, strict=True):
            given[i] = x
        method = getattr(lucid, name, None) or getattr(lucid.Tensor, name)
        return method(*given)

    inputs = [lucid.tensor(args[i], requires_grad=True) for i in places]
    if flat(function(*inputs))[0].requires_grad:
        assert gradcheck(function, inputs)


@pytest.mark.parametrize("name", LISTS)
def test_lists(name):
    for args, want in LISTS[name]:
        got = getattr(lucid, name)([ours(x) for x in args])
        np.testing.assert_array_equal(got.numpy(), want)


def test_in_place_forms():
    x = ours(A.copy())
    assert x.masked_scatter_(ours(MASK), ours(normal(12))) is x
    x.put_(lucid.tensor([0]), lucid.tensor([9.0], dtype=lucid.float64))
    assert x[0, 0].item() == 9.0
    x = lucid.tensor([12, 7])
    assert x.gcd_(lucid.tensor([18, 14])).tolist() == [6, 7]


def test_copies_are_no_views():
    x = ours(A)
    for name, args in {
        "transpose_copy": (0, 1), "permute_copy": ((1, 0),), "unsqueeze_copy": (0,),
        "view_copy": (12,), "t_copy": (), "squeeze_copy": (), "expand_copy": ((2, 3, 4),),
        "diagonal_copy": (), "narrow_copy": (0, 1, 2), "alias_copy": (), "unfold_copy": (1, 2, 1),
    }.items():  # fmt: skip
        y = getattr(x, name)(*args)
        assert y._storage is not x._storage
        np.testing.assert_array_equal(y.numpy(), getattr(x, name[:-5], lambda *_: x)(*args).numpy())
    assert all(y._storage is not x._storage for y in x.unbind_copy(0))


def test_legacy_constructors():
    assert lucid.FloatTensor(2, 3).shape == (2, 3)
    assert lucid.FloatTensor([1, 2]).dtype is lucid.float32
    assert lucid.LongTensor([[1, 2]]).tolist() == [[1, 2]]
    assert lucid.ByteTensor(np.array([1, 2])).dtype is lucid.uint8
    assert isinstance(lucid.ones(2), lucid.FloatTensor)
    assert not isinstance(lucid.ones(2), lucid.LongTensor)
    x = lucid.ones(2)
    assert x.type(lucid.DoubleTensor).dtype is lucid.float64
    assert x.type("torch.LongTensor").dtype is lucid.int64
    assert x.new(3, 1).shape == (3, 1) and x.new([1]).dtype is lucid.float32
    assert x.new().numel() == 0 and x.new(x.size()).shape == (2,)
    with pytest.raises(RuntimeError, match="CPU"):
        lucid.FloatTensor(2, device="cuda")
    try:
        lucid.set_default_tensor_type(lucid.DoubleTensor)
        assert lucid.ones(1).dtype is lucid.float64
    finally:
        lucid.set_default_tensor_type("torch.FloatTensor")
    with pytest.raises(ValueError, match="cuda"):
        lucid.set_default_tensor_type("torch.cuda.FloatTensor")


def test_resize():
    x = lucid.arange(6)
    assert x.resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    x.resize_(3, 4)
    assert x.shape == (3, 4) and x.flatten()[:6].tolist() == list(range(6))
    assert lucid.arange(3).resize_as_(lucid.zeros(1, 2)).tolist() == [[0, 1]]
    with pytest.raises(RuntimeError, match="gradient"):
        lucid.ones(2, requires_grad=True).resize_(1)


def test_strided():
    assert lucid.empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    assert lucid.empty_permuted((2, 3, 4), (0, 2, 1)).stride() == (12, 1, 3)
    assert lucid.ones(1).new_empty_strided((2,), (3,)).stride() == (3,)
    assert lucid.range(1, 2, 0.5).tolist() == [1.0, 1.5, 2.0]


def test_drawn_in_place():
    lucid.manual_seed(0)
    x = lucid.empty(200_000)
    assert abs(x.exponential_(2.0).mean().item() - 0.5) < 0.01
    assert abs(x.geometric_(0.25).mean().item() - 4) < 0.05 and x.min().item() == 1
    assert abs(x.cauchy_(3.0, 0.5).median().item() - 3) < 0.02
    assert abs(x.log_normal_(0.5, 0.25).log().mean().item() - 0.5) < 0.01
    whole = lucid.empty(10, dtype=lucid.int64).geometric_(0.5)
    assert (whole >= 1).all()
    for call in (lambda: x.exponential_(0), lambda: x.geometric_(1.5), lambda: x.cauchy_(0, 0)):
        with pytest.raises(RuntimeError, match="must"):
            call()


def test_windows():
    signal = pytest.importorskip("scipy.signal.windows")
    windows = lucid.signal.windows
    calls = {"bartlett": {}, "blackman": {}, "cosine": {}, "exponential": {"tau": 2.0},
             "gaussian": {"std": 1.5}, "hamming": {}, "hann": {}, "kaiser": {"beta": 7.0},
             "nuttall": {}, "general_cosine": {"a": [0.5, 0.3, 0.2]},
             "general_hamming": {"alpha": 0.6}}  # fmt: skip
    for name, options in calls.items():
        for sym in (True, False):
            for m in (1, 8, 9):
                got = getattr(windows, name)(m, sym=sym, dtype=lucid.float64, **options)
                want = getattr(signal, name)(m, sym=sym, **options)
                np.testing.assert_allclose(got.numpy(), want, atol=1e-14, err_msg=name)
    assert lucid.hann_window(4).dtype is lucid.float32
    np.testing.assert_allclose(lucid.hamming_window(5).numpy(), signal.hamming(5, False), 1e-6)


def test_errors():
    x = ours(A)
    square = lucid.ones(2, 2)
    for call, said in (
        (lambda: lucid.fliplr(lucid.ones(2)), "2 dimensions"),
        (lambda: lucid.cross(square, square), "size 3"),
        (lambda: square.cross(square, 1), "size 3"),
        (lambda: x.hsplit(3), "multiple"),
        (lambda: x.rot90(1, (0, 0)), "the same"),
        (lambda: x.masked_scatter(x > -9, lucid.ones(2, dtype=x.dtype)), "2 elements"),
        (lambda: lucid.cdist(x, lucid.ones(2, 3)), "last size"),
        (lambda: x.select_scatter(x, 0, 1), "is needed"),
        (lambda: lucid.gcd(x, x), "gcd"),
        (lambda: x.index_reduce(0, lucid.tensor([0]), x, "sum"), "reduce must be"),
    ):
        with pytest.raises((RuntimeError, IndexError, TypeError), match=said):
            call()


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (4, 4), (0, 3), (9, 2)])
def test_fill_diagonal(shape, wrap):
    want = np.zeros(shape)
    if 0 not in shape:
        np.fill_diagonal(want, 2.0, wrap)
    x = lucid.zeros(*shape)
    assert x.fill_diagonal_(2.0, wrap) is x
    np.testing.assert_array_equal(x.numpy(), want)


def test_fill_diagonal_of_cubes_and_gradients():
    want = np.zeros((3, 3, 3))
    np.fill_diagonal(want, 1.0)
    np.testing.assert_array_equal(lucid.zeros(3, 3, 3).fill_diagonal_(1).numpy(), want)
    x = lucid.ones(2, 2, requires_grad=True)
    y = x * 1
    y.fill_diagonal_(0.0)
    y.sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    with pytest.raises(RuntimeError, match="two dimensions"):
        lucid.zeros(3).fill_diagonal_(1)
    with pytest.raises(RuntimeError, match="must be equal"):
        lucid.zeros(3, 3, 2).fill_diagonal_(1)
    assert (
        lucid.zeros(2, 3).swapaxes_(0, 1).shape == (3, 2) == lucid.zeros(2, 3).swapdims(0, 1).shape
    )


@pytest.mark.parametrize("dim", [-4, -1, 0, 1, 2, 3])
def test_stack(dim):
    arrays = [normal(2, 3, 4) for _ in range(3)]
    xs = [lucid.tensor(a, requires_grad=True) for a in arrays]
    columns = lucid.tensor(np.moveaxis(arrays[1], 0, 2)).permute(2, 0, 1).requires_grad_()
    for given in (xs, tuple(xs), [xs[0], columns, xs[2]]) * 2:  # the second time they are known
        y = lucid.stack(given, dim)
        assert np.array_equal(y.detach().numpy(), np.stack(arrays, dim))
        g = lucid.tensor(normal(*y.shape))
        for x, part in zip(lucid.autograd.grad(y, given, g), g.unbind(dim), strict=True):
            assert x.equal(part)
    assert gradcheck(lambda *xs: lucid.stack(xs, dim) ** 2, tuple(xs))
    (x, w), (first, second) = xs[:2], lucid.stack(xs[:2], dim).unbind(dim)
    (again,) = lucid.autograd.grad((first * second).sum(), x, create_graph=True)
    assert lucid.autograd.grad(again.sum(), w)[0].equal(lucid.ones_like(w))


def test_stack_of_other_things():
    whole, half = lucid.tensor([1, 2]), lucid.tensor([0.5, 1.5])
    assert lucid.stack([whole, half]).tolist() == [[1, 2], [0.5, 1.5]]
    assert lucid.stack([whole[0], whole[1]]).tolist() == [1, 2]
    assert tuple(lucid.stack([lucid.zeros(0, 2)] * 3, 1).shape) == (0, 3, 2)
    for call, message in (
        (lambda: lucid.stack([]), "at least one"),
        (lambda: lucid.stack([whole, lucid.zeros(3)]), r"tensor 1 has shape \(3,\)"),
        (lambda: lucid.stack([whole], 2), "dim"),
    ):
        with pytest.raises((RuntimeError, IndexError), match=message):
            call()
    with pytest.raises(TypeError, match="expected tensors, got float"):
        lucid.stack([whole, 1.0])


# ---- strides, and methods that few call ----------------------------------------------------------


def test_as_strided_has_a_gradient():
    x = lucid.randn(12, dtype=lucid.float64, requires_grad=True)

    def windows(x):
        return (x * 1).as_strided((3, 4), (2, 1), 1)

    assert lucid.autograd.gradcheck(windows, (x,))
    assert lucid.autograd.gradgradcheck(lambda x: windows(x) ** 2, (x,))
    assert lucid.autograd.gradcheck(
        lambda x: lucid.as_strided((x * 2).reshape(3, 4)[1:], (2, 2), (1, 3)), (x,)
    )
    assert lucid.autograd.gradcheck(lambda x: (x * 2).as_strided((), (), 5), (x,))
    y = x * 1
    y.as_strided((2,), (3,)).mul_(3)  # a view: what it shows is changed, with its history
    y.sum().backward()
    assert x.grad.tolist() == [3, 1, 1, 3] + [1] * 8
    compiled = lucid.compile(lambda x: windows(x).sum())
    assert compiled(x).item() == pytest.approx(windows(x).sum().item())
    for wrong in (
        lambda: x.reshape(3, 4).t().as_strided((2,), (1,)),
        lambda: x[3:6].as_strided((4,), (1,)),
    ):
        with pytest.raises(RuntimeError, match="as_strided: the gradient of size"):
            wrong()
    with pytest.raises(RuntimeError, match="reach beyond the storage"):
        x.as_strided((13,), (1,))
    with lucid.no_grad():
        assert x[3:6].as_strided((4,), (1,)).shape == (4,)


def test_methods_under_second_names():
    x = lucid.tensor([0.25, -0.5, 0.75])
    for second, first in {
        "absolute": "abs", "arccos": "acos", "arcsin": "asin", "arcsinh": "asinh",
        "arctan": "atan", "arctanh": "atanh", "fix": "trunc", "negative": "neg",
    }.items():  # fmt: skip
        for name in (second, f"{second}_"):
            made = getattr(x.clone(), name)()
            assert lucid.equal(made, getattr(x, first)()), name
    for second, first in {
        "divide": "div", "multiply": "mul", "subtract": "sub", "arctan2": "atan2",
    }.items():  # fmt: skip
        assert lucid.equal(getattr(x.clone(), f"{second}_")(2.0), getattr(x, first)(2.0))
    for name in ("greater", "greater_equal", "less", "less_equal", "not_equal"):
        assert getattr(x.clone(), f"{name}_")(0.0).tolist() == getattr(x, name)(0.0).tolist()
    assert lucid.equal((1 + x.abs()).arccosh(), (1 + x.abs()).acosh())


def test_questions_and_functions_of_each_element():
    x, y = lucid.tensor([1.0, 2.0]), lucid.tensor([[3.0], [4.0]])
    assert x.is_same_size(lucid.zeros(2)) and not x.is_same_size(y)
    assert lucid.tensor(3).is_nonzero() and not lucid.tensor([0.0]).is_nonzero()
    with pytest.raises(RuntimeError, match="one element"):
        x.is_nonzero()
    assert x.is_set_to(x.view(2)) and not x.is_set_to(x.clone()) and not x.is_set_to(x[:1])
    assert not (x.is_conj() or x.is_neg() or x.is_shared())
    assert y.adjoint().tolist() == [[3, 4]] and y.names == (None, None)
    assert x.clone().apply_(lambda v: v * v).tolist() == [1, 4]
    assert x.clone().map_(y.reshape(2), lambda a, b: a - b).tolist() == [-2, -2]
    assert x.clone().map2_(x, lucid.tensor(2.0), lambda a, b, c: a + b + c).tolist() == [4, 6]
    with pytest.raises(RuntimeError, match="apply_: a tensor that requires a gradient"):
        lucid.ones(2, requires_grad=True).apply_(abs)
    assert lucid.tensor([1.0, 0.5]).polygamma_(1).tolist() == pytest.approx(
        lucid.polygamma(1, lucid.tensor([1.0, 0.5])).tolist()
    )
    assert lucid.tensor([1, 2, 4]).hash_tensor().item() == 7


def test_tensors_that_take_anothers_place():
    x, y = lucid.zeros(2), lucid.ones(3)
    assert x.set_(y) is x and x.tolist() == [1] * 3
    y.fill_(5.0)
    assert x.tolist() == [5] * 3 and x.set_().shape == (0,)
    for wrong, error in (
        (lambda: x.set_(lucid.ones(2).double()), RuntimeError),
        (lambda: x.set_([1.0]), TypeError),
        (lambda: lucid.ones(2, requires_grad=True).set_(y), RuntimeError),
        (lambda: y[1:].set_(x), RuntimeError),
    ):
        with pytest.raises(error, match="set_"):
            wrong()
    z = lucid.arange(4.0)
    assert z.as_strided_((2, 2), (1, 1), 1) is z and z.tolist() == [[1, 2], [2, 3]]
    with pytest.raises(RuntimeError, match="as_strided_: not for a view"):
        z[0].as_strided_((1,), (1,))
    memory = z[1:].untyped_storage()
    assert memory == z.untyped_storage() and memory.data_ptr() == z.untyped_storage().data_ptr()
    assert memory.nbytes() >= 16 and len(memory) == memory.size()
    assert memory != lucid.zeros(1).untyped_storage()
    numbers = lucid.arange(5)[3:].storage()
    assert numbers.tolist() == [0, 1, 2, 3, 4] and numbers[3] == 3
    assert len(numbers) == numbers.size() == 5 and numbers.dtype is lucid.int64
    assert numbers.nbytes() == 5 * numbers.element_size() == len(numbers.untyped())
    for name in ("int_repr", "q_scale", "q_zero_point"):
        with pytest.raises(RuntimeError, match=f"{name}: only quantized"):
            getattr(z, name)()
    with pytest.raises(RuntimeError, match="log_prob"):
        z.reinforce(1.0)


def test_places_that_are_cut_to_whole_numbers():
    for arguments in ((3.1,), (-8.000001, -4.0), (0.1, -7.9, -4.0), (2.1, -2.9, -1.0)):
        got = lucid.arange(*arguments, dtype=lucid.int64)
        assert got.tolist() == list(range(*map(int, arguments))), arguments
    assert lucid.arange(0.5, 6, 1.5, dtype=lucid.int32).tolist() == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="step must not be 0"):
        lucid.arange(0, 3, 0.5, dtype=lucid.int64)
    with pytest.raises(RuntimeError, match="m must not be negative"):
        lucid.eye(2, -1)


def test_covariances_of_one_variable_and_wrong_weights():
    row = lucid.tensor([[1.0, 2.0, 4.0]])
    np.testing.assert_allclose(lucid.cov(row).numpy(), np.cov(row.numpy()), rtol=1e-6)
    assert lucid.cov(row).shape == lucid.corrcoef(row).shape == ()
    assert lucid.diff(row, n=0, prepend=row).equal(row)
    for weights, said in (
        ({"fweights": lucid.ones(3)}, "whole numbers"),
        ({"fweights": lucid.tensor([1, -1, 1])}, "fweights must not be negative"),
        ({"aweights": lucid.tensor([1.0, -1.0, 1.0])}, "aweights must not be negative"),
    ):
        with pytest.raises(RuntimeError, match=said):
            lucid.cov(row, **weights)


def test_products_of_integers():
    a = np.arange(6).reshape(2, 3)
    x, w = lucid.tensor(a), lucid.tensor(a.T.copy())
    want = a @ a.T
    assert lucid.mm(x, w).tolist() == want.tolist()
    assert lucid.bmm(x[None], w[None])[0].tolist() == want.tolist()
    assert lucid.tensordot(x, w, 1).tolist() == lucid.einsum("ij,jk->ik", x, w).tolist()
    y = lucid.ones(2, 2, dtype=lucid.int64)
    assert lucid.addmm(y, x, w, alpha=2, beta=3).tolist() == (2 * want + 3).tolist()
    assert lucid.baddbmm(y[None], x[None], w[None])[0].tolist() == (want + 1).tolist()
    got = lucid.addmv(lucid.ones(2, dtype=lucid.int64), x, x[1], alpha=2)
    assert got.dtype is lucid.int64 and got.tolist() == [29, 101]
    with pytest.raises(RuntimeError, match=r"addmv: alpha = 0.5 is not whole"):
        lucid.addmv(y[0], x, x[1], alpha=0.5)


def test_a_scatter_by_strides_has_gradients():
    x, src = lucid.tensor(A, requires_grad=True), lucid.tensor(M[:2, :2] * 1.0, requires_grad=True)

    def scattered(x, src):
        return lucid.as_strided_scatter(x, src, (2, 2), (1, 2), 1)

    assert gradcheck(scattered, (x, src))
    assert scattered(x, src).equal(scattered(x.detach(), src.detach()))
    assert gradcheck(lambda s: scattered(x.detach(), s), (src,))  # by the source alone
    with pytest.raises(RuntimeError, match="contiguous"):
        scattered(x.t(), src)
