"""Ops with structure against PyTorch, where it is installed: values, dtypes and gradients.

Every case is one function of (framework, functional, *tensors), run on both in float64.
"""

import numpy as np
import pytest

import lucid
import lucid.nn.functional as LF

torch = pytest.importorskip("torch")
TF = torch.nn.functional
RNG = np.random.default_rng(0)
CASES = {}


def run(name, function, *arrays, grads=True, tol=1e-9):
    assert name not in CASES, name
    CASES[name] = (function, arrays, grads, tol)


def R(*shape):
    return RNG.standard_normal(shape)


def P(*shape):
    return RNG.random(shape) + 0.2


run("pow scalar", lambda t, F, x: x**3 + x**2 + x**0.5 + 2**x + x**-1, P(3, 4))
for n in "sum mean prod amax amin var std logsumexp cumsum cumprod max min".split():
    for d in (0, 1, -1):
        run(f"{n} {d}", lambda t, F, x, n=n, d=d: getattr(t, n)(x, d), P(4, 5, 3), tol=1e-8)
for n in "sum mean prod var std max min amax norm any all argmax argmin".split():
    run(n, lambda t, F, x, n=n: getattr(t, n)(x), P(4, 5), tol=1e-8)
run("sum dims", lambda t, F, x: x.sum((0, 2), keepdim=True), R(4, 5, 3))
run("var_mean", lambda t, F, x: t.var_mean(x, (0, 2)), R(4, 5, 3))
run("norm1", lambda t, F, x: (x.norm(1, 1), x.norm(float("inf"), 1), x.norm(3, 1)), R(4, 5, 3))
run("softmax", lambda t, F, x: (t.softmax(x, 1), t.log_softmax(x, 0), F.softmax(x, -1)), R(4, 5, 3))
run("layer_norm", lambda t, F, x, w, b: F.layer_norm(x, (5, 3), w, b), R(4, 5, 3), R(5, 3), R(5, 3))
run("layer_norm now", lambda t, F, x: F.layer_norm(x, (3,)), R(4, 5, 3))
run(
    "batch_norm",
    lambda t, F, x, w, b: F.batch_norm(x, None, None, w, b, True),
    R(4, 5, 3, 2),
    R(5),
    R(5),
)
run(
    "batch_norm eval",
    lambda t, F, x, m, v, w, b: F.batch_norm(x, m.detach(), v.detach(), w, b, False),
    R(4, 5, 3, 2),
    R(5),
    P(5),
    R(5),
    R(5),
)
T = np.array([1, 0, 3, 2])
run("xent", lambda t, F, x, y: F.cross_entropy(x, y), R(4, 5), T)
run(
    "xent sum w",
    lambda t, F, x, y, w: F.cross_entropy(x, y, w.detach(), reduction="sum"),
    R(4, 5),
    T,
    P(5),
)
run(
    "xent none ls",
    lambda t, F, x, y, w: F.cross_entropy(x, y, w.detach(), label_smoothing=0.1),
    R(4, 5),
    T,
    P(5),
)
run("xent ign", lambda t, F, x, y: F.cross_entropy(x, y, ignore_index=3), R(4, 5), T)
run(
    "xent 4d",
    lambda t, F, x, y: F.cross_entropy(x, y, reduction="none"),
    R(4, 5, 2),
    np.array([[1, 2], [0, 4], [3, 3], [2, 1]]),
)
run("xent soft", lambda t, F, x, p: F.cross_entropy(x, p.softmax(1)), R(4, 5), R(4, 5))
run("nll", lambda t, F, x, y, w: F.nll_loss(F.log_softmax(x, 1), y, w.detach()), R(4, 5), T, P(5))
run(
    "mse",
    lambda t, F, x, y: (
        F.mse_loss(x, y),
        F.mse_loss(x, y, reduction="sum"),
        F.l1_loss(x, y),
        F.l1_loss(x, y),
    ),
    R(4, 5),
    R(4, 5),
)
run(
    "bce",
    lambda t, F, x, y: F.binary_cross_entropy_with_logits(x, y.sigmoid().detach()),
    R(4, 5),
    R(4, 5),
)
run(
    "bce pw",
    lambda t, F, x, y: F.binary_cross_entropy_with_logits(
        x, y.sigmoid().detach(), pos_weight=t.tensor([1.0, 2, 3, 4, 5]).double()
    ),
    R(4, 5),
    R(4, 5),
)
for s in [
    dict(),
    dict(stride=2),
    dict(padding=1),
    dict(stride=2, padding=2, dilation=2),
    dict(groups=2),
    dict(padding="same"),
]:
    run(
        f"conv {s}",
        lambda t, F, x, w, b, s=s: F.conv2d(x, w, b, **s),
        R(2, 4, 9, 8),
        R(6, 4 // s.get("groups", 1), 3, 3),
        R(6),
    )
run("conv dw", lambda t, F, x, w: F.conv2d(x, w, groups=4, padding=1), R(2, 4, 9, 8), R(4, 1, 3, 3))
run("conv 1x1", lambda t, F, x, w: F.conv2d(x, w), R(2, 4, 9, 8), R(7, 4, 1, 1))
for s in [(2,), (3, 2, 1), (3, 1, 1), (2, 2, 0)]:
    run(f"maxpool {s}", lambda t, F, x, s=s: F.max_pool2d(x, *s), R(2, 4, 9, 8))
    run(f"avgpool {s}", lambda t, F, x, s=s: F.avg_pool2d(x, *s), R(2, 4, 9, 8))
run(
    "avgpool ceil",
    lambda t, F, x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    R(2, 4, 9, 8),
)
run(
    "maxpool ceil dil",
    lambda t, F, x: F.max_pool2d(x, 3, 2, 1, dilation=2, ceil_mode=True),
    R(2, 4, 9, 8),
)
run(
    "adaptive",
    lambda t, F, x: (
        F.adaptive_avg_pool2d(x, (4, 3)),
        F.adaptive_avg_pool2d(x, 1),
        F.adaptive_avg_pool2d(x, (3, 4)),
    ),
    R(2, 4, 9, 8),
)
run(
    "sdpa",
    lambda t, F, q, k, v: F.scaled_dot_product_attention(q, k, v),
    R(2, 3, 5, 4),
    R(2, 3, 6, 4),
    R(2, 3, 6, 4),
)
run(
    "sdpa causal",
    lambda t, F, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    R(2, 3, 6, 4),
    R(2, 3, 6, 4),
    R(2, 3, 6, 4),
)
run(
    "sdpa mask",
    lambda t, F, q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m),
    R(2, 3, 5, 4),
    R(2, 3, 6, 4),
    R(2, 3, 6, 4),
    R(5, 6),
)
run("embedding", lambda t, F, w: F.embedding(t.tensor([[1, 2], [2, 0]]), w, padding_idx=2), R(4, 3))
run("matmul", lambda t, F, x, y: x @ y, R(2, 3, 4), R(4, 5))
run("matmul b", lambda t, F, x, y: x @ y, R(2, 1, 3, 4), R(5, 4, 2))
run("mv", lambda t, F, x, y: (x @ y, y @ x.transpose(-1, -2)), R(3, 4), R(4))
run("dot", lambda t, F, x, y: x @ y, R(4), R(4))
run("linear", lambda t, F, x, w, b: F.linear(x, w, b), R(2, 3, 4), R(5, 4), R(5))
run("linear nb", lambda t, F, x, w: F.linear(x, w), R(2, 3, 4), R(5, 4))
for e, s in [
    ("ij,jk->ik", ((3, 4), (4, 5))),
    ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
    ("ii->i", ((4, 4),)),
    ("ij->ji", ((3, 4),)),
    ("i,j->ij", ((3,), (4,))),
    ("bhqd,bhkd->bhqk", ((2, 3, 4, 5), (2, 3, 6, 5))),
    ("...ij,...jk->...ik", ((2, 3, 4), (2, 4, 5))),
    ("ij,ij->", ((3, 4), (3, 4))),
    ("i,ij,j->", ((3,), (3, 4), (4,))),
]:
    run(f"einsum {e}", lambda t, F, *a, e=e: t.einsum(e, *a), *[R(*q) for q in s])
run(
    "index",
    lambda t, F, x: (
        x[1],
        x[:, 1:3],
        x[..., -1],
        x[[0, 2]],
        x[:, [1, 1, 0]],
        x[::2, None],
        x[t.tensor([0, 1]), t.tensor([1, 2])],
        x[x > 0],
    ),
    R(4, 5, 3),
)
run("index sep", lambda t, F, x: (x[t.tensor([0, 1]), :, t.tensor([1, 2])],), R(4, 5, 3))
run(
    "gather",
    lambda t, F, x: (
        t.gather(x, 1, t.tensor([[0, 1], [2, 2], [4, 0], [1, 1]])),
        t.index_select(x, 0, t.tensor([1, 1, 3])),
    ),
    R(4, 5),
)
run(
    "scatter",
    lambda t, F, x, s: (
        x.scatter(1, t.tensor([[0, 1], [2, 3], [4, 0], [1, 2]]), s),
        x.scatter_add(0, t.tensor([[0, 1], [2, 3], [0, 0], [1, 2]]), s),
        x.index_add(1, t.tensor([1, 1]), s),
    ),
    R(4, 5),
    R(4, 2),
)
run(
    "where",
    lambda t, F, x, y: (
        t.where(x > 0, x, y),
        x.masked_fill(x > 0, 2.0),
        x.clamp(-0.5, 0.5),
        x.clamp(min=0),
    ),
    R(4, 5),
    R(5),
)
run(
    "shape",
    lambda t, F, x: (
        x.reshape(5, -1),
        x.permute(2, 0, 1),
        x.transpose(0, 2).reshape(-1),
        x.flatten(1),
        x.unsqueeze(1).squeeze(),
        x.expand(2, 4, 5, 3),
        x.repeat(2, 1, 1),
        x.flip(0, 2),
        x.roll(2, 1),
        x.roll((1, 2), (0, 1)),
        x.tril(),
        x.triu(1),
    ),
    R(4, 5, 3),
)
run(
    "cat",
    lambda t, F, x, y: (t.cat([x, y], 1), t.stack([x, x], 1), t.cat([x.t(), x.t()])),
    R(4, 5),
    R(4, 2),
)
run("split", lambda t, F, x: (*x.split(2, 1), *x.chunk(3), *x.unbind(1)), R(4, 5))
run(
    "pad",
    lambda t, F, x: (F.pad(x, (1, 2)), F.pad(x, (1, 2, 0, 3), value=2.0), F.pad(x, (-1, 2))),
    R(4, 5),
)
run(
    "diag",
    lambda t, F, x: (x.diagonal(1), t.diag(x), t.diag(x[0]), x.diagonal(-1, 1, 0), x.trace()),
    R(5, 5),
)
run("unfold", lambda t, F, x: x.unfold(1, 3, 2), R(4, 7))
run(
    "lerp",
    lambda t, F, x, y: (
        t.lerp(x, y, 0.3),
        t.addcmul(x, x, y, value=0.5),
        t.addcdiv(x, x, y.exp(), value=0.5),
    ),
    R(4, 5),
    R(4, 5),
)
run("cumsum", lambda t, F, x: x.cumsum(1), R(3, 70))
run(
    "nan",
    lambda t, F, x: (t.isnan(x), t.isinf(x), t.nan_to_num(x)),
    np.array([1.0, np.nan, np.inf, -np.inf]),
    grads=False,
)
INTEGERS = RNG.integers(-5, 6, (3, 4))
J = RNG.integers(1, 4, (4,))
run(
    "int",
    lambda t, F, x, y: (
        x + y,
        x * y,
        x // y,
        x % y,
        x / y,
        -x,
        x.abs(),
        x & y,
        x | y,
        x ^ y,
        ~x,
        x << y,
        x >> y,
        x == y,
        x.sum(),
        x.sum(0),
        x.prod(1),
        x.max(),
        x.float(),
        x.pow(2),
        x**y,
        x.cumsum(0),
        t.fmod(x, y),
        x.clamp(0, 3),
        x.sign(),
        x.any(1),
        (x > 0).all(),
        x.argmax(1),
        x.flip(0),
        x.bool(),
        x.to(t.uint8),
        t.div(x, y, rounding_mode="trunc"),
    ),
    INTEGERS,
    J,
    grads=False,
)
run(
    "promo",
    lambda t, F, x: (
        x + 1.5,
        x * 2,
        x / 2,
        x.bool() + 1,
        x.to(t.int32) + x,
        x.float() + x.double(),
        x.to(t.int8) + x.to(t.uint8),
        (x > 0) + (x > 1),
        x + True,
        x.float() * t.tensor(2.0, dtype=t.float64),
    ),
    INTEGERS,
    grads=False,
)
run(
    "creation",
    lambda t, F: (
        t.arange(5),
        t.arange(1, 2, 0.25),
        t.eye(3),
        t.full((2,), 3),
        t.full((2,), 3.0),
        t.zeros(2, 3),
        t.ones(2),
        t.tensor([1, 2]),
        t.tensor([True]),
        t.tensor(2.5),
        t.meshgrid(t.arange(3), t.arange(2), indexing="ij")[0],
    ),
    grads=False,
)
run(
    "f32",
    lambda t, F, x: (
        x.float().softmax(1),
        x.float().std(),
        x.half() + 1,
        (x.bfloat16() * 3).float(),
        x.bfloat16().sum(1).float(),
        x.half().mean(),
    ),
    R(4, 50),
    grads=False,
    tol=1e-2,
)


def both(name):
    function, arrays, grads, tol = CASES[name]
    ours = [
        lucid.tensor(a, requires_grad=grads and a.dtype.kind == "f")
        if isinstance(a, np.ndarray)
        else a
        for a in arrays
    ]
    theirs = [
        torch.tensor(a, requires_grad=grads and a.dtype.kind == "f")
        if isinstance(a, np.ndarray)
        else a
        for a in arrays
    ]
    return function, ours, theirs, grads, tol


@pytest.mark.parametrize("name", CASES)
def test_like_pytorch(name):
    function, ours, theirs, grads, tol = both(name)
    want, got = function(torch, TF, *theirs), function(lucid, LF, *ours)
    want = want if isinstance(want, (tuple, list)) else (want,)
    got = got if isinstance(got, (tuple, list)) else (got,)
    assert len(want) == len(got)
    for w, g in zip(want, got, strict=True):
        w, g = w.detach().numpy(), g.detach().numpy()
        assert w.shape == g.shape and w.dtype == g.dtype
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol)
    if not any(w.requires_grad for w in want):
        return
    for framework, outputs in ((torch, want), (lucid, got)):
        total = framework.zeros((), dtype=framework.float64)
        for w, y in zip(want, outputs, strict=True):
            if w.requires_grad:
                total = total + (y * y.detach().cos()).sum()
        total.backward()
    for w, g in zip(theirs, ours, strict=True):
        if getattr(w, "grad", None) is not None:
            np.testing.assert_allclose(g.grad.numpy(), w.grad.numpy(), rtol=tol, atol=tol)
