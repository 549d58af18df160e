"""Complex tensors: values against NumPy, gradients by PyTorch's convention, views, writes."""

import copy
import pickle

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.autograd import gradcheck

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


A, B = numbers(3, 4), numbers(3, 4)
REAL = RNG.normal(size=(3, 4))

# name -> (function of tensors x, w, function of arrays or None)
CASES = {
    "add": (lambda x, w: x + w * 2, lambda x, w: x + w * 2),
    "sub": (lambda x, w: 1 - x - w, lambda x, w: 1 - x - w),
    "mul": (lambda x, w: x * w, lambda x, w: x * w),
    "mul_real": (lambda x, w: x * w.real, lambda x, w: x * w.real),
    "mul_number": (lambda x, w: 2j * x, lambda x, w: 2j * x),
    "broadcast": (lambda x, w: x * w[0], lambda x, w: x * w[0]),
    "div": (lambda x, w: x / w, lambda x, w: x / w),
    "div_real": (lambda x, w: x / w.imag, lambda x, w: x / w.imag),
    "reciprocal": (lambda x, w: x.reciprocal(), lambda x, w: 1 / x),
    "neg": (lambda x, w: -x, lambda x, w: -x),
    "exp": (lambda x, w: x.exp(), lambda x, w: np.exp(x)),
    "log": (lambda x, w: x.log(), lambda x, w: np.log(x)),
    "log2": (lambda x, w: x.log2(), lambda x, w: np.log2(x)),
    "sqrt": (lambda x, w: x.sqrt(), lambda x, w: np.sqrt(x)),
    "rsqrt": (lambda x, w: x.rsqrt(), lambda x, w: 1 / np.sqrt(x)),
    "sin": (lambda x, w: x.sin(), lambda x, w: np.sin(x)),
    "cos": (lambda x, w: x.cos(), lambda x, w: np.cos(x)),
    "tan": (lambda x, w: x.tan(), lambda x, w: np.tan(x)),
    "sinh": (lambda x, w: x.sinh(), lambda x, w: np.sinh(x)),
    "cosh": (lambda x, w: x.cosh(), lambda x, w: np.cosh(x)),
    "tanh": (lambda x, w: x.tanh(), lambda x, w: np.tanh(x)),
    "square": (lambda x, w: x.square(), lambda x, w: x * x),
    "cube": (lambda x, w: x**3, lambda x, w: x**3),
    "power": (lambda x, w: x**w, lambda x, w: x**w),
    "abs": (lambda x, w: x.abs(), lambda x, w: np.abs(x)),
    "angle": (lambda x, w: x.angle(), lambda x, w: np.angle(x)),
    "conj": (lambda x, w: x.conj() * w, lambda x, w: np.conj(x) * w),
    "sgn": (lambda x, w: x.sgn(), lambda x, w: x / np.abs(x)),
    "real": (lambda x, w: x.real * w.imag, lambda x, w: x.real * w.imag),
    "sum": (lambda x, w: x.sum(0), lambda x, w: x.sum(0)),
    "mean": (lambda x, w: x.mean(), lambda x, w: x.mean()),
    "norm": (lambda x, w: x.norm(), lambda x, w: np.linalg.norm(x)),
    "cumsum": (lambda x, w: x.cumsum(1), lambda x, w: x.cumsum(1)),
    "matmul": (lambda x, w: x @ w.mT, lambda x, w: x @ w.T),
    "matmul_real": (lambda x, w: x @ w.imag.mT, lambda x, w: x @ w.imag.T),
    "adjoint": (lambda x, w: x @ w.mH, lambda x, w: x @ w.conj().T),
    "einsum": (lambda x, w: lucid.einsum("ij,kj->ik", x, w), lambda x, w: x @ w.T),
    "slice": (lambda x, w: x[1:, ::2], lambda x, w: x[1:, ::2]),
    "places": (lambda x, w: x[lucid.tensor([0, 2, 0])], lambda x, w: x[[0, 2, 0]]),
    "gather": (lambda x, w: x.gather(0, lucid.tensor([[2, 0, 1, 1]])),
               lambda x, w: np.take_along_axis(x, np.array([[2, 0, 1, 1]]), 0)),
    "masked": (lambda x, w: x[x.real > 0], lambda x, w: x[x.real > 0]),
    "where": (lambda x, w: lucid.where(x.real > 0, x, w), lambda x, w: np.where(x.real > 0, x, w)),
    "transpose": (lambda x, w: x.t().reshape(-1), lambda x, w: x.T.reshape(-1)),
    "expand": (lambda x, w: x.expand(2, 3, 4) * 2, lambda x, w: np.stack([x, x]) * 2),
    "flip": (lambda x, w: x.flip(0), lambda x, w: x[::-1]),
    "diagonal": (lambda x, w: x.diagonal(), lambda x, w: np.diagonal(x)),
    "tril": (lambda x, w: x.tril(), lambda x, w: np.tril(x)),
    "cat": (lambda x, w: lucid.cat([x, w], 1), lambda x, w: np.concatenate([x, w], 1)),
    "stack": (lambda x, w: lucid.stack([x, w]), lambda x, w: np.stack([x, w])),
    "pairs": (lambda x, w: lucid.view_as_complex(lucid.view_as_real(x) * 2), lambda x, w: x * 2),
    "complex": (lambda x, w: lucid.complex(x.real, w.real), lambda x, w: x.real + 1j * w.real),
    "polar": (lambda x, w: lucid.polar(x.real.abs(), w.real),
              lambda x, w: np.abs(x.real) * np.exp(1j * w.real)),
    "vdot": (lambda x, w: lucid.vdot(x[0], w[0]), lambda x, w: np.vdot(x[0], w[0])),
    "half": (lambda x, w: x.to(lucid.complex128) * 2, lambda x, w: x * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    function, reference = CASES[name]
    x, w = lucid.tensor(A, requires_grad=True), lucid.tensor(B, requires_grad=True)
    y = function(x, w)
    np.testing.assert_allclose(y.detach().numpy(), reference(A, B), rtol=1e-12, atol=1e-13)

    # As a function of real numbers, the parts of x and w.
    def of_parts(a, b):
        made = function(lucid.view_as_complex(a), lucid.view_as_complex(b))
        return lucid.view_as_real(made) if made.is_complex() else made

    pairs = [lucid.tensor(np.stack([v.real, v.imag], -1), requires_grad=True) for v in (A, B)]
    used = [p for p in pairs if p is not None]
    assert gradcheck(of_parts, used, atol=1e-4)


def test_pytorch_has_the_same_gradients():
    torch = pytest.importorskip("torch")
    for name in ("mul", "div", "exp", "log", "sqrt", "abs", "angle", "matmul", "sum", "sgn"):
        function = CASES[name][0]
        ours = [lucid.tensor(v, requires_grad=True) for v in (A, B)]
        theirs = [torch.tensor(v, requires_grad=True) for v in (A, B)]
        y, t = function(*ours), function(*theirs)
        g = numbers(*t.shape) if t.is_complex() else RNG.normal(size=tuple(t.shape))
        y.backward(lucid.tensor(g))
        t.backward(torch.tensor(g))
        for x, a in zip(ours, theirs, strict=True):
            if a.grad is not None:
                want = a.grad.resolve_conj().numpy()
                np.testing.assert_allclose(x.grad.numpy(), want, atol=1e-12)


def test_dtypes():
    x = lucid.tensor([1 + 2j, 3])
    assert x.dtype is lucid.complex64 is lucid.cfloat and x.is_complex() and lucid.is_complex(x)
    assert (x * lucid.ones(2, dtype=lucid.float64)).dtype is lucid.complex128
    assert (x.to(lucid.complex128) + x).dtype is lucid.complex128
    assert (lucid.ones(2) * 1j).dtype is lucid.complex64
    assert (lucid.ones(2, dtype=lucid.int64) + 1j).dtype is lucid.complex64
    assert x.abs().dtype is lucid.float32 and x.real.dtype is lucid.float32
    assert lucid.promote_types(lucid.complex64, lucid.float64) is lucid.complex128
    assert lucid.zeros(2, dtype=lucid.complex64).tolist() == [0j, 0j]
    assert lucid.full((1,), 2j, dtype=lucid.complex64).item() == 2j
    assert lucid.eye(2, dtype=lucid.complex64).sum().item() == 2
    assert x.to(lucid.float32).tolist() == [1.0, 3.0]
    assert lucid.ones(1).cfloat().dtype is lucid.complex64
    assert lucid.from_numpy(A).dtype is lucid.complex128
    assert complex(x[0]) == 1 + 2j and x.tolist() == [1 + 2j, 3 + 0j]
    assert repr(x) == "tensor([1.+2.j, 3.+0.j])"
    assert (x == x).all() and not (x != x).any() and x.isfinite().all()


def test_random_numbers():
    lucid.manual_seed(0)
    x = lucid.randn(20_000, dtype=lucid.complex64)
    assert abs((x.abs() ** 2).mean().item() - 1) < 0.05 and abs(x.mean().abs().item()) < 0.05
    assert (lucid.rand(9, dtype=lucid.complex128).imag < 1).all()
    assert lucid.randn_like(x).dtype is lucid.complex64 and x.type() == "lucid.ComplexFloatTensor"


def test_views_share_memory():
    x = lucid.tensor(A)
    parts = lucid.view_as_real(x)
    assert parts.shape == (3, 4, 2) and parts._storage is x._storage
    parts[0, 0, 1] = 9.0
    assert x[0, 0].item().imag == 9.0
    x.real.zero_()
    assert (x.real == 0).all() and x.imag[0, 0].item() == 9.0
    again = lucid.view_as_complex(parts[1:])
    assert again.shape == (2, 4) and again._storage is x._storage
    assert again.storage_offset() == 4 and lucid.equal(again, x[1:])
    assert lucid.view_as_real(x.t()).shape == (4, 3, 2)
    assert x.real.is_contiguous() is False
    with pytest.raises(RuntimeError, match="contiguous"):
        lucid.view_as_complex(lucid.zeros(2, 3).t())
    with pytest.raises(RuntimeError, match="size 2"):
        lucid.view_as_complex(lucid.zeros(3))
    with pytest.raises(RuntimeError, match="imaginary"):
        lucid.ones(2).imag  # noqa: B018


def test_writes():
    x = lucid.tensor(A)
    x += 1j
    x *= lucid.tensor(B)
    x[0] = 0
    x[1, 2] = 5 + 1j
    want = (A + 1j) * B
    want[0], want[1, 2] = 0, 5 + 1j
    np.testing.assert_allclose(x.numpy(), want)
    x.copy_(lucid.tensor(REAL))
    np.testing.assert_array_equal(x.numpy(), REAL.astype(complex))
    assert x.zero_().abs().sum().item() == 0 and x.fill_(2j)[0, 0].item() == 2j
    out = lucid.empty(3, 4, dtype=lucid.complex128)
    lucid.mul(lucid.tensor(A), lucid.tensor(B), out=out)
    np.testing.assert_allclose(out.numpy(), A * B)
    with pytest.raises(RuntimeError, match="complex"):
        lucid.ones(3, 4).add_(x)


def test_writes_are_differentiated():
    def function(pairs):
        x = lucid.view_as_complex(pairs) * 1
        x *= x
        x[0] = x[1] * 2
        lucid.view_as_real(x)[..., 0].mul_(3.0)
        return x.abs()

    pairs = lucid.tensor(np.stack([A.real, A.imag], -1), requires_grad=True)
    assert gradcheck(function, [pairs])
    leaf = lucid.tensor(A, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf.mul_(2)


def test_gradients_add_up_and_optimizers_step():
    x = lucid.tensor(A, requires_grad=True)
    for _ in range(2):
        (x * x.conj()).real.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * A)
    y = x.detach().clone().requires_grad_()
    (gradient,) = lucid.autograd.grad((y.abs() ** 2).sum(), [y], create_graph=True)
    gradient.abs().sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), 2 * A / np.abs(A))
    with lucid.no_grad():
        x -= 0.25 * x.grad
    np.testing.assert_allclose(x.detach().numpy(), np.zeros_like(A), atol=1e-15)


def test_a_linear_layer():
    layer = nn.Linear(3, 2, dtype=lucid.complex128)
    x, w, b = numbers(4, 3), layer.weight.detach().numpy(), layer.bias.detach().numpy()
    y = layer(lucid.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), x @ w.T + b)
    loss = nn.functional.l1_loss(y, lucid.tensor(x[:, :2]))
    np.testing.assert_allclose(loss.item(), np.abs(x @ w.T + b - x[:, :2]).mean())
    loss.backward()
    off = y.detach().numpy() - x[:, :2]
    np.testing.assert_allclose(layer.weight.grad.numpy(), (off / np.abs(off) / 8).T @ x.conj())


def test_large_and_special_numbers():
    big = lucid.tensor([1e30 + 1e30j])
    assert big.abs().isfinite().all() and (1 / big).abs().item() > 0
    assert lucid.tensor([complex("inf")]).abs().item() == float("inf")
    assert lucid.tensor(0j).sgn().item() == 0 and lucid.tensor([0j]).sqrt().item() == 0
    x = lucid.tensor([0j], requires_grad=True)
    x.abs().backward()
    assert x.grad.item() == 0
    assert lucid.tensor([-1.0]).angle().item() == pytest.approx(np.pi)


def test_copies():
    x = lucid.tensor(A, requires_grad=True)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.detach().clone()):
        assert y.dtype is lucid.complex128
        np.testing.assert_array_equal(y.detach().numpy(), A)


def test_rotary_embedding():
    """As programs write it: pairs of features turned by angles."""
    angles = lucid.outer(lucid.arange(5).float(), 1.0 / 10 ** (lucid.arange(2).float() / 2))
    turns = lucid.polar(lucid.ones_like(angles), angles)
    x = lucid.rand(2, 5, 4, requires_grad=True)
    turned = lucid.view_as_complex(x.float().reshape(2, 5, 2, 2)) * turns
    y = lucid.view_as_real(turned).flatten(2)
    np.testing.assert_allclose(y.norm(dim=2).detach().numpy(), x.norm(dim=2).detach().numpy(), 1e-5)
    (y * y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.detach().numpy(), rtol=1e-5)


def test_batches():
    x = lucid.tensor(A, requires_grad=True)
    made = lucid.func.vmap(lambda a: (a * a.conj()).real.sum() + lucid.fft.fft(a).abs().sum())(x)
    want = (np.abs(A) ** 2).sum(1) + np.abs(np.fft.fft(A)).sum(1)
    np.testing.assert_allclose(made.detach().numpy(), want)
    made.sum().backward()
    alone = lucid.tensor(A, requires_grad=True)
    ((alone.abs() ** 2).sum() + lucid.fft.fft(alone).abs().sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), alone.grad.numpy())


def test_what_is_not_there_is_named():
    x = lucid.tensor(A)
    for call in (lambda: x.erf(), lambda: lucid.compile(lambda x: x.erf())(x)):
        with pytest.raises(NotImplementedError, match="erf"):
            call()
