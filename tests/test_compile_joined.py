"""Products of compiled programs with epilogues, in the order of their readers, and by bands: each
against the plan without that pass, bit by bit."""

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.config import settings
from lucid.nn import functional as F
from lucid.plan.steps import parts_of

NONE = "-in_order,-epilogues,-bands"
INTEGERS = {2: lucid.int16, 4: lucid.int32, 8: lucid.int64}


@pytest.fixture(autouse=True)
def restored():
    passes, threads = settings.passes, lucid.get_num_threads()
    yield
    settings.passes = passes
    lucid.set_num_threads(threads)


def names(compiled, *arguments):
    runner, _ = compiled.find(arguments, {})
    return [s.name for s in parts_of(runner.plan.lowered.steps)]


def plan(f, arguments, passes, threads=1):
    """Results of a plan made with these passes, and its kernels."""
    settings.passes = passes
    lucid.set_num_threads(threads)
    lucid.manual_seed(3)
    compiled = lucid.compile(f)
    results = compiled(*arguments)
    return results, names(compiled, *arguments)


def bits(results):
    found = results if isinstance(results, tuple) else (results,)
    return [y.detach().contiguous().view(INTEGERS[y.dtype.itemsize]).numpy().copy() for y in found]


def check(f, arguments, expected=(), absent=(), passes=""):
    """The same bits without the passes, and in eager, on 1, 2 and 4 threads."""
    lucid.manual_seed(3)
    wanted = bits(f(*arguments))
    results, _ = plan(f, arguments, NONE)
    for one, other in zip(wanted, bits(results), strict=True):
        assert np.array_equal(one, other)
    for threads in (1, 2, 4):
        results, kernels = plan(f, arguments, passes, threads)
        for one, other in zip(wanted, bits(results), strict=True):
            assert np.array_equal(one, other), (threads, kernels)
        for name in expected:
            assert name in kernels, (name, kernels)
        for name in absent:
            assert name not in kernels, (name, kernels)


def made(*shape, kind=lucid.float32, seed=0):
    x = np.random.default_rng(seed).standard_normal(shape)
    return lucid.tensor(x).to(kind)


SIZES = [
    (67, 33, 50, lucid.float32),
    (130, 600, 129, lucid.float32),
    (7, 1030, 40, lucid.float32),
    (2, 5, 3, lucid.float32),
    (130, 600, 129, lucid.float64),
    (48, 48, 64, lucid.float64),
    (67, 530, 50, lucid.bfloat16),
]


@pytest.mark.parametrize("m, k, n, kind", SIZES)
def test_epilogues(m, k, n, kind):
    x, w, b = made(m, k, kind=kind), made(n, k, kind=kind, seed=1), made(n, kind=kind, seed=2)
    r, column = made(m, n, kind=kind, seed=3), made(m, 1, kind=kind, seed=4)
    wide, other = made(m, n, kind=kind, seed=5), made(n, k, kind=kind, seed=6)

    def f(x, w, b, r, column, wide, other):
        with lucid.no_grad():
            gelu = F.gelu(F.linear(x, w, b))
            added = r + F.linear(x, w)
            several = (x @ other.t() * 0.5 - wide) * b + column.tanh()
            return gelu, added, several

    found = ("gemm_gelu", "gemm_add")
    check(f, (x, w, b, r, column, wide, other), found, ("gelu", "add"))


def test_an_epilogue_reads_the_product_at_one_place_only():
    x, w = made(33, 33), made(33, 33, seed=1)

    def f(x, w):
        y = x @ w
        z = x @ x
        return y + y.t(), z.flip(0) * 2, (x @ w.t()).cumsum(0)

    check(f, (x, w), absent=("gemm_add", "gemm_mul", "gemm_cumsum"))


def test_what_others_read_is_kept():
    x, w = made(40, 30), made(30, 50, seed=1)

    def f(x, w):
        y = x @ w
        return y.relu() + 1, y

    check(f, (x, w))

    def g(x, w):
        y = x @ w
        return y.relu() + 1, y.sum(0)

    check(g, (x, w))


def test_epilogues_of_other_shapes():
    x, weights = made(6, 11, 20), [made(20, 30, seed=i) for i in range(1, 5)]
    row, image = made(30, seed=7), made(6, 11, 5, 6, seed=8)

    def f(x, weights, row, image):
        a, b, c, d = weights
        flat = (x @ a).reshape(-1).exp()
        parts = (x @ b).view(6, 11, 5, 6) * image
        turned = (x @ c).permute(2, 0, 1) + 1.0
        batch = lucid.bmm(x, d.expand(6, 20, 30)) - row
        heads = lucid.bmm(x, x.transpose(1, 2)).sigmoid()
        return flat, parts, turned, batch, heads

    check(f, (x, weights, row, image), ("gemm_mul", "gemm_sigmoid"))


def test_a_product_added_in_place():
    x, w = made(20, 20), made(20, 20, seed=1)

    def f(x, w):
        x.add_(x @ w)
        w.mul_(x.t() @ x)
        return x + 0, w + 0

    expected = bits(f(x.clone(), w.clone()))
    for passes in (NONE, ""):
        a, b = x.clone(), w.clone()
        results, _ = plan(f, (a, b), passes)
        for one, other in zip(expected, bits(results), strict=True):
            assert np.array_equal(one, other)
        assert np.array_equal(bits(a)[0], expected[0]) and np.array_equal(bits(b)[0], expected[1])


def test_numbers_that_come_with_the_call_stay_outside():
    x, w = made(20, 20).requires_grad_(), made(20, 20, seed=1)
    optimizer = lucid.optim.SGD([x], lr=0.1)

    def f(w):
        optimizer.zero_grad()
        (x @ w).square().sum().backward()
        optimizer.step()
        return x.detach() + 0, x.grad.clone()

    start, results = x.detach().clone(), []
    for compiled in (f, lucid.compile(f)):
        with lucid.no_grad():
            x.copy_(start)
        for rate in (0.1, 0.3):
            optimizer.param_groups[0]["lr"] = rate
            results.append(bits(compiled(w)))
    assert all(np.array_equal(a, b) for a, b in zip(results[0], results[2], strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(results[1], results[3], strict=True))


def attended(causal=False, masked=False, drop=0.0):
    def f(q, k, v, mask):
        for x in (q, k, v):
            x.grad = None
        given = {"attn_mask": mask} if masked else {"is_causal": causal}
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=drop, **given)
        z = y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1)
        z.square().sum().backward()
        return z.detach(), q.grad, k.grad, v.grad

    return f


HEADS = [
    (64, 64, 32, lucid.float32, {}),
    (67, 45, 24, lucid.float32, {"masked": True}),
    (129, 129, 40, lucid.float32, {"causal": True}),
    (40, 40, 16, lucid.float32, {"drop": 0.3}),
    (45, 128, 40, lucid.float32, {"masked": True}),
    (60, 128, 24, lucid.float64, {"causal": True}),
    (67, 45, 24, lucid.float64, {}),
    (33, 33, 16, lucid.bfloat16, {}),
]


@pytest.mark.parametrize("length, other, width, kind, options", HEADS, ids=str)
def test_attention_by_heads(length, other, width, kind, options):
    q = made(3, 5, length, width, kind=kind).requires_grad_()
    k = made(3, 5, other, width, kind=kind, seed=1).requires_grad_()
    v = made(3, 5, other, width, kind=kind, seed=2).requires_grad_()
    mask = made(length, other, seed=3) > 0
    f = attended(**options)
    check(f, (q, k, v, mask))
    _, kernels = plan(f, (q, k, v, mask), "")
    joined = [name for name in kernels if "+" in name]
    # Dropout takes numbers of the call; half types are widened and rounded apart.
    assert len(joined) == 2 or "drop" in options or kind is lucid.bfloat16, kernels


def test_heads_of_one_projection():
    """Views of one tensor, and the gradients put together again."""
    x, w = made(2, 48, 96).requires_grad_(), made(288, 96, seed=1)

    def f(x, w):
        x.grad = None
        q, k, v = (p.view(2, 48, 6, 16).transpose(1, 2) for p in F.linear(x, w).split(96, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        (y.transpose(1, 2).reshape(2, 48, 96) * x).sum().backward()
        return (y.detach().contiguous(), x.grad)

    check(f, (x, w))
    _, plain = plan(f, (x, w), "-in_order")
    _, ordered = plan(f, (x, w), "")
    assert plain.count("reshape") - ordered.count("reshape") >= 3, (plain, ordered)


def test_a_batch_shared_by_all_is_no_band():
    x, w, mask = made(8, 64, 64), made(64, 64, seed=1), made(64, 64, seed=2)

    def f(x, w, mask):
        y = lucid.bmm(x, w.expand(8, 64, 64))
        z = F.softmax(y + mask, -1)
        return lucid.bmm(z, x), z.sum(0)

    check(f, (x, w, mask))

    def g(x, w, mask):  # every element of the batch reads all of y
        y = lucid.bmm(x, x)
        return lucid.bmm(y.flip(0).contiguous(), x), lucid.bmm(y, y)

    check(g, (x, w, mask))


def test_a_band_that_others_read_too():
    x = made(16, 48, 48)

    def f(x):
        y = lucid.bmm(x, x.transpose(1, 2))
        z = F.softmax(y, -1)
        return lucid.bmm(z, x), z, y.amax()

    check(f, (x,))


def test_a_fold_in_two_kernels_is_no_band():
    x, w = made(16, 160, 48), made(16, 48, 160, seed=1)

    def f(x, w):
        y = lucid.bmm(x, w)
        return (y * 0.5).sum((1, 2)), lucid.bmm(x, w * 2)

    check(f, (x, w))


def test_a_model_and_its_training_step():
    lucid.manual_seed(0)
    model = nn.Sequential(
        nn.TransformerEncoderLayer(48, 4, 96, 0.0, "gelu", batch_first=True), nn.Linear(48, 5)
    )
    state = {name: p.clone() for name, p in model.state_dict().items()}
    x, target = made(3, 33, 48), lucid.tensor(np.arange(99) % 5)
    results = []
    for passes, threads, compiled in (
        (NONE, 1, 0),
        (NONE, 1, 1),
        ("", 1, 1),
        ("", 2, 1),
        ("", 4, 1),
    ):
        settings.passes = passes
        lucid.set_num_threads(threads)
        model.load_state_dict(state)
        optimizer = lucid.optim.AdamW(model.parameters(), lr=1e-2)

        def step(x, target, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x).view(-1, 5), target)
            loss.backward()
            optimizer.step()
            return loss

        run = lucid.compile(step) if compiled else step
        losses = [run(x, target).detach() for _ in range(3)]
        results.append([b for p in (*losses, *model.parameters()) for b in bits(p)])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_passes_by_name():
    settings.passes = "-bandz"
    with pytest.raises(ValueError, match="bands"):
        lucid.compile(lambda x: x + 1)(made(3))
