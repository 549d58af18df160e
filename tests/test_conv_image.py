"""Gradients of images, which have few channels: products of taps, added up where they fall."""

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid.caches import clear_plans
from lucid.ops import conv

# (N, C, H, W), (O, KH, KW), stride, padding, dilation
CASES = [
    ((2, 3, 18, 33), (8, 3, 3), 1, 1, 1),
    ((2, 3, 37, 40), (6, 7, 7), 2, 3, 1),
    ((1, 1, 16, 19), (4, 5, 5), 1, 0, 1),
    ((3, 4, 17, 30), (9, 2, 3), (1, 2), (1, 0), 1),
    ((2, 2, 30, 31), (4, 3, 3), (3, 1), (0, 2), (2, 1)),
    ((2, 2, 30, 32), (4, 3, 3), 2, 2, 2),  # of the four residues only one is seen
    ((2, 1, 25, 40), (3, 2, 2), 3, 0, 1),  # some places are seen by no tap
    ((1, 16, 9, 12), (32, 1, 1), 1, 0, 1),
]


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def seen_by_taps(g, x, size, stride, padding, dilation):
    """The weight's gradient: each element times the cotangents that it has gone to."""
    (sh, sw), (ph, pw), (dh, dw) = map(pair, (stride, padding, dilation))
    (oh, ow), wide = g.shape[2:], np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    w = np.zeros((g.shape[1], x.shape[1], *size))
    for p in range(size[0]):
        for q in range(size[1]):
            rows, columns = slice(p * dh, p * dh + oh * sh, sh), slice(q * dw, q * dw + ow * sw, sw)
            w[:, :, p, q] = np.einsum("nohv,nchv->oc", g, wide[:, :, rows, columns][:, :, :oh, :ow])
    return w


def by_definition(g, w, shape, stride, padding, dilation):
    """Each product of a cotangent and a weight added to the element that it has come from."""
    (sh, sw), (ph, pw), (dh, dw) = map(pair, (stride, padding, dilation))
    n, c, h, v = shape
    (oh, ow), (kh, kw) = g.shape[2:], w.shape[2:]
    wide = np.zeros((n, c, h + 2 * ph + sh, v + 2 * pw + sw))
    for p in range(kh):
        for q in range(kw):
            part = np.einsum("nohv,oc->nchv", g, w[:, :, p, q])
            rows, columns = slice(p * dh, p * dh + oh * sh, sh), slice(q * dw, q * dw + ow * sw, sw)
            wide[:, :, rows, columns] += part
    return wide[:, :, ph : ph + h, pw : pw + v]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16"])
def test_gradients(case, kind, monkeypatch):
    shape, (o, kh, kw), stride, padding, dilation = case
    kind, rng = getattr(lucid, kind), np.random.default_rng(0)
    used = []

    def spy(*given):
        used.append(steps(*given))
        return used[-1]

    steps = conv.few_steps
    monkeypatch.setattr(conv, "few_steps", spy)
    clear_plans()
    x = lucid.tensor(rng.normal(size=shape)).to(kind).requires_grad_()
    w = lucid.tensor(rng.normal(size=(o, shape[1], kh, kw))).to(kind).requires_grad_()
    y = F.conv2d(x, w, None, stride, padding, dilation)
    g = lucid.tensor(rng.normal(size=tuple(y.shape))).to(kind)
    found = {}
    for threads in (1, 2):
        lucid.set_num_threads(threads)
        try:
            found[threads] = lucid.autograd.grad(y, [x, w], g, retain_graph=True)
        finally:
            lucid.set_num_threads(1)
    places = (stride, padding, dilation)
    both = 2 if shape[1] * kh * kw <= 96 else 1  # else the weight's gradient is the template's
    assert sum(u is not None for u in used) == 2 * both, "the template was used"
    gs, xs, ws = (a.detach().to(lucid.float64).numpy() for a in (g, x, w))
    wanted = by_definition(gs, ws, shape, *places), seen_by_taps(gs, xs, (kh, kw), *places)
    near = {lucid.float64: 1e-12, lucid.float32: 2e-5, lucid.bfloat16: 2e-2}[kind]
    for a, b, want in zip(found[1], found[2], wanted, strict=True):
        assert a.equal(b)
        assert np.abs(a.to(lucid.float64).numpy() - want).max() <= near * np.abs(want).max()


def test_parts_of_the_batch_are_the_whole(monkeypatch):
    """Images are taken some at a time: each has the bits that it has alone."""
    monkeypatch.setattr("lucid.ops.conv_few.BYTES", 1 << 16)
    x, w = lucid.randn(6, 3, 20, 24, requires_grad=True), lucid.randn(8, 3, 3, 3)
    y = F.conv2d(x, w, padding=1)
    g = lucid.randn(*y.shape)
    clear_plans()
    (whole,) = lucid.autograd.grad(y, x, g, retain_graph=True)
    alone = [lucid.autograd.grad(F.conv2d(x[i : i + 1], w, padding=1), x, g[i : i + 1])[0][i]
             for i in range(6)]  # fmt: skip
    assert whole.equal(lucid.stack(alone))
    clear_plans()


def test_second_gradients_and_compiled_bits():
    x = lucid.randn(2, 3, 16, 16, dtype=lucid.float64, requires_grad=True)
    w = lucid.randn(6, 3, 3, 3, dtype=lucid.float64, requires_grad=True)
    assert lucid.autograd.gradgradcheck(
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        (x[:1, :, :8].detach().requires_grad_(), w),
    )

    def gradients(x, w):
        return lucid.autograd.grad((F.conv2d(x, w, stride=2, padding=1) ** 3).sum(), [x, w])

    for a, b in zip(gradients(x, w), lucid.compile(gradients)(x, w), strict=True):
        assert a.equal(b)


def test_transposed_to_an_image():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 16, 9, 12)), rng.normal(size=(16, 3, 4, 4))
    y = F.conv_transpose2d(lucid.tensor(x), lucid.tensor(w), stride=2, padding=1)
    want = by_definition(x, w, (2, 3, 18, 24), 2, 1, 1)
    assert np.allclose(y.numpy(), want)
