"""Products, convolutions, pooling, norms and losses: definitions in NumPy, two derivatives."""

import gc

import numpy as np
import pytest
from scipy import special

import lucid
import lucid.nn.functional as F
from lucid.autograd.check import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)


def R(*shape):
    return RNG.standard_normal(shape)


def normal(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def convolved(x, w, b, stride, padding, dilation, groups):
    p, d, s = padding, dilation, stride
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    n, c, h, width = x.shape
    o, per, kh, kw = w.shape
    size = [(m - d * (k - 1) - 1) // s + 1 for m, k in ((h, kh), (width, kw))]
    y = np.zeros((n, o, *size))
    for g in range(groups):
        part = x[:, g * per : (g + 1) * per]
        for k in range(g * o // groups, (g + 1) * o // groups):
            for i, j in np.ndindex(*size):
                window = part[:, :, i * s : i * s + d * kh : d, j * s : j * s + d * kw : d]
                y[:, k, i, j] = (window * w[k]).sum((1, 2, 3)) + b[k]
    return y


def pooled(x, fold, k, s, p, pad):
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=pad)
    size = [(m - k) // s + 1 for m in x.shape[2:]]
    y = np.zeros((*x.shape[:2], *size))
    for i, j in np.ndindex(*size):
        y[:, :, i, j] = fold(x[:, :, i * s : i * s + k, j * s : j * s + k], (2, 3))
    return y


def attention(q, k, v):
    return special.softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]), -1) @ v


T = np.array([1, 0, 3])
TARGET = lucid.tensor(T)
TRUTH = RNG.random((3, 4))
# name -> function of tensors, its definition, inputs
CASES = {
    "matmul": (lambda x, w: x @ w, np.matmul, [R(3, 4), R(4, 2)]),
    "batched": (lambda x, w: x @ w, np.matmul, [R(2, 1, 3, 4), R(3, 4, 2)]),
    "vectors": (lambda x, w: x @ w, np.matmul, [R(4), R(4)]),
    "row": (lambda x, w: x @ w, np.matmul, [R(4), R(2, 4, 3)]),
    "inner of nothing": (lambda x, w: x @ w, np.matmul, [R(3, 0), R(0, 2)]),
    "linear": (F.linear, lambda x, w, b: x @ w.T + b, [R(2, 3, 4), R(5, 4), R(5)]),
    "einsum": (
        lambda a, b, c: lucid.einsum("bij,jk,bk->bi", a, b, c),
        lambda a, b, c: np.einsum("bij,jk,bk->bi", a, b, c),
        [R(2, 3, 4), R(4, 2), R(2, 2)],
    ),
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, 2, 1),
        lambda x, w, b: convolved(x, w, b, 2, 1, 1, 1), [R(2, 2, 5, 4), R(3, 2, 3, 3), R(3)],
    ),
    "conv2d dilated groups": (
        lambda x, w, b: F.conv2d(x, w, b, 1, 2, 2, 2),
        lambda x, w, b: convolved(x, w, b, 1, 2, 2, 2), [R(1, 4, 5, 4), R(4, 2, 2, 3), R(4)],
    ),
    "max_pool2d": (
        lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: pooled(x, np.max, 3, 2, 1, -np.inf),
        [R(1, 2, 6, 5)],
    ),
    "avg_pool2d": (
        lambda x: F.avg_pool2d(x, 3, 2, 1), lambda x: pooled(x, np.mean, 3, 2, 1, 0),
        [R(1, 2, 6, 5)],
    ),
    "adaptive": (
        lambda x: F.adaptive_avg_pool2d(x, (3, 1)), lambda x: pooled_adaptive(x, (3, 1)),
        [R(1, 2, 7, 4)],
    ),
    "layer_norm": (
        lambda x, w, b: F.layer_norm(x, (4, 3), w, b),
        lambda x, w, b: normal(x, (1, 2)) * w + b, [R(3, 4, 3), R(4, 3), R(4, 3)],
    ),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        lambda x, w, b: normal(x, (0, 2)) * w[:, None] + b[:, None], [R(3, 2, 4), R(2), R(2)],
    ),
    "softmax": (lambda x: F.softmax(x, 1), lambda x: special.softmax(x, 1), [R(3, 4, 2)]),
    "log_softmax": (
        lambda x: F.log_softmax(x, -1), lambda x: special.log_softmax(x, -1), [R(3, 4)],
    ),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, TARGET),
        lambda x: -special.log_softmax(x, 1)[np.arange(3), T].mean(), [R(3, 4)],
    ),
    "cross_entropy smooth": (
        lambda x: F.cross_entropy(x, TARGET, label_smoothing=0.2, reduction="sum"),
        lambda x: (-0.8 * special.log_softmax(x, 1)[np.arange(3), T]
                   - 0.2 * special.log_softmax(x, 1).mean(1)).sum(), [R(3, 4)],
    ),
    "nll_loss": (
        lambda x: F.nll_loss(x, TARGET, reduction="none"), lambda x: -x[np.arange(3), T],
        [R(3, 4)],
    ),
    "mse_loss": (F.mse_loss, lambda x, y: ((x - y) ** 2).mean(), [R(3, 4), R(3, 4)]),
    "binary_cross_entropy": (
        lambda x: F.binary_cross_entropy_with_logits(x, lucid.tensor(TRUTH)),
        lambda x: (np.logaddexp(0, x) - x * TRUTH).mean(), [R(3, 4)],
    ),
    "attention": (
        F.scaled_dot_product_attention, attention, [R(2, 3, 4), R(2, 5, 4), R(2, 5, 2)],
    ),
    "embedding": (lambda w: F.embedding(TARGET, w), lambda w: w[T], [R(4, 2)]),
    "gelu": (F.gelu, lambda x: x * special.ndtr(x), [R(3, 4)]),
    "silu": (F.silu, lambda x: x * special.expit(x), [R(3, 4)]),
    "pad": (
        lambda x: F.pad(x, (1, 2, -1, 0), value=3.0),
        lambda x: np.pad(x[1:], ((0, 0), (1, 2)), constant_values=3.0), [R(3, 4)],
    ),
    "unfold": (
        lambda x: x.unfold(1, 3, 2),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 1)[:, ::2], [R(3, 8)],
    ),
    "cat": (
        lambda x, y: lucid.cat([x, y, x], 1), lambda x, y: np.concatenate([x, y, x], 1),
        [R(3, 4), R(3, 2)],
    ),
    "stack": (lambda x, y: lucid.stack([x, y], -1), lambda x, y: np.stack([x, y], -1),
              [R(3, 4), R(3, 4)]),
    "roll": (
        lambda x: x.roll((1, -2), (0, 1)), lambda x: np.roll(x, (1, -2), (0, 1)), [R(3, 4)],
    ),
    "repeat": (lambda x: x.repeat(2, 1, 3), lambda x: np.tile(x, (2, 1, 3)), [R(3, 4)]),
    "tril": (lambda x: x.tril(-1), lambda x: np.tril(x, -1), [R(3, 4)]),
    "diagonal": (lambda x: x.diagonal(1, 0, 2), lambda x: x.diagonal(1, 0, 2), [R(3, 2, 4)]),
    "permute": (lambda x: x.permute(2, 0, 1), lambda x: x.transpose(2, 0, 1), [R(3, 2, 4)]),
    "reshape": (
        lambda x: x.t().reshape(2, 6), lambda x: x.T.reshape(2, 6), [R(3, 4)],
    ),
}  # fmt: skip


def pooled_adaptive(x, size):
    y = np.zeros((*x.shape[:2], *size))
    for place in np.ndindex(*size):
        cut = tuple(
            slice(o * n // m, -(-(o + 1) * n // m))
            for o, n, m in zip(place, x.shape[2:], size, strict=True)
        )
        y[(..., *place)] = x[(..., *cut)].mean((2, 3))
    return y


def layouts(a):
    yield lucid.tensor(a)
    yield lucid.tensor(np.ascontiguousarray(a.T)).permute(*reversed(range(a.ndim)))
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1] + 1), a.dtype)
    wide[..., 1::2] = a
    yield lucid.from_numpy(wide)[..., 1::2]
    yield lucid.from_numpy(np.ascontiguousarray(a[::-1]))[::-1]


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    function, definition, arrays = CASES[name]
    want = definition(*arrays)
    for given in zip(*[layouts(a) for a in arrays], strict=True):
        y = function(*given)
        assert tuple(y.shape) == np.shape(want)
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    function, _, arrays = CASES[name]
    inputs = [lucid.tensor(a, requires_grad=True) for a in arrays]
    gc.disable()
    try:
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs, atol=1e-4)
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64"])
def test_products_of_integers(dtype):
    for s, t in (((3, 4), (4, 2)), ((4,), (4,)), ((2, 3, 4), (4, 5)), ((4,), (2, 4, 3))):
        a, b = (RNG.integers(0, 5, n).astype(dtype) for n in (s, t))
        y = lucid.tensor(a) @ lucid.tensor(b)
        assert y.dtype is getattr(lucid, dtype)
        np.testing.assert_array_equal(y.numpy(), a @ b)


ERRORS = [
    ("matmul.*3.*4", lambda: lucid.ones(2, 3) @ lucid.ones(4, 2)),
    ("dtypes.*differ", lambda: lucid.ones(2, 3) @ lucid.ones(3, 2, dtype=lucid.float64)),
    ("linear", lambda: F.linear(lucid.ones(2, 3), lucid.ones(4, 5))),
    ("bias", lambda: F.linear(lucid.ones(2, 3), lucid.ones(4, 3), lucid.ones(3))),
    ("conv2d", lambda: F.conv2d(lucid.ones(1, 3, 8, 8), lucid.ones(4, 2, 3, 3))),
    ("conv2d", lambda: F.conv2d(lucid.ones(1, 3, 2, 2), lucid.ones(4, 3, 3, 3))),
    ("layer_norm", lambda: F.layer_norm(lucid.ones(2, 3), (4,))),
    ("batch_norm", lambda: F.batch_norm(lucid.ones(3), None, None, training=True)),
    ("target 9 is out of range", lambda: F.cross_entropy(
        lucid.ones(2, 3), lucid.tensor([0, 9]))),
    ("cross_entropy", lambda: F.cross_entropy(lucid.ones(2, 3), lucid.tensor([0]))),
    ("index 9 is out of range", lambda: F.embedding(lucid.tensor([9]), lucid.ones(3, 2))),
    ("attention", lambda: F.scaled_dot_product_attention(
        lucid.ones(2, 3), lucid.ones(2, 4), lucid.ones(2, 4))),
]  # fmt: skip


@pytest.mark.parametrize("case", ERRORS, ids=lambda c: c[0])
def test_errors(case):
    text, function = case
    with pytest.raises((RuntimeError, ValueError, IndexError), match=text):
        function()


# Random programs: chains of ops on float64, against the same in NumPy.

STEPS = [
    (lambda x: x.exp().clamp(max=5.0), lambda a: np.minimum(np.exp(a), 5.0)),
    (lambda x: x.tanh() * x, lambda a: np.tanh(a) * a),
    (lambda x: x.t(), lambda a: a.T),
    (lambda x: x[::-1], lambda a: a[::-1]),
    (lambda x: x[1:, ::2], lambda a: a[1:, ::2]),
    (lambda x: x - x.mean(1, keepdim=True), lambda a: a - a.mean(1, keepdims=True)),
    (lambda x: x / (1 + x.abs()).sum(0), lambda a: a / (1 + np.abs(a)).sum(0)),
    (lambda x: x.softmax(1), lambda a: special.softmax(a, 1)),
    (lambda x: x @ x.t() * 0.1, lambda a: a @ a.T * 0.1),
    (lambda x: lucid.cat([x, x * 2], 1), lambda a: np.concatenate([a, a * 2], 1)),
    (lambda x: x.cumsum(0) * 0.5, lambda a: np.cumsum(a, 0) * 0.5),
    (lambda x: x.roll(1, 1), lambda a: np.roll(a, 1, 1)),
    (lambda x: lucid.where(x > 0, x, x * 0.1), lambda a: np.where(a > 0, a, a * 0.1)),
    (lambda x: x[[0, -1, 0]], lambda a: a[[0, -1, 0]]),
    (lambda x: x.reshape(-1, 2) if x.numel() % 2 == 0 else x,
     lambda a: a.reshape(-1, 2) if a.size % 2 == 0 else a),
    (lambda x: x.logsumexp(1, keepdim=True) + x.sin(),
     lambda a: special.logsumexp(a, axis=1, keepdims=True) + np.sin(a)),
    (lambda x: x.clone().add_(x.flip(0)), lambda a: a + a[::-1]),
]  # fmt: skip


def test_random_programs():
    seed = int(np.random.SeedSequence().entropy % 2**32)
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for number in range(25):
        chain, a = [], rng.standard_normal((int(rng.integers(2, 5)), int(rng.integers(2, 5))))
        b = a
        for _ in range(int(rng.integers(2, 7))):
            step = int(rng.integers(len(STEPS)))
            made = STEPS[step][1](b)
            if 2 <= min(made.shape) and made.size <= 60:
                chain.append(step)
                b = made

        def program(x, chain=tuple(chain)):
            for step in chain:
                x = STEPS[step][0](x)
            return x

        where = f"seed {seed}, program {number}: steps {chain} on {a.shape}"
        x = lucid.tensor(a, requires_grad=True)
        np.testing.assert_allclose(
            program(x).detach().numpy(), b, rtol=1e-9, atol=1e-11, err_msg=where
        )
        # The directional derivative, away from the corners of clamp and where.
        direction = rng.standard_normal(a.shape)
        weight = rng.standard_normal(b.shape)
        (program(x) * lucid.tensor(weight)).sum().backward()
        sides = []
        for eps in (1e-6, -1e-6, 5e-7, -5e-7):
            moved = a + eps * direction
            for step in chain:
                moved = STEPS[step][1](moved)
            sides.append((moved * weight).sum())
        slope = (sides[0] - sides[1]) / 2e-6
        finer = (sides[2] - sides[3]) / 1e-6
        if abs(slope - finer) < 1e-6 * (1 + abs(slope)):
            found = float((x.grad.numpy() * direction).sum())
            assert abs(found - slope) <= 1e-4 * (1 + abs(slope)), where
