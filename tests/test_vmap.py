"""vmap against a loop over the batch: every record, every choice of mapped arguments, nested, and
through backward."""

import itertools

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid.autograd.batch import BatchLevel
from lucid.func import vmap
from lucid.op import Elementwise, find, records
from tests.test_records import RECORDS, STEPS, call, inputs_of
from tests.vmap_spatial import cases as spatial_cases

B = 3


def real(*shape, low=0.2, high=0.9, seed=0):
    values = np.random.default_rng([seed, *shape]).uniform(low, high, shape)
    return lucid.tensor(values, dtype=lucid.float64)


def whole(*shape, high=2, seed=0):
    return lucid.tensor(np.random.default_rng([seed, *shape]).integers(0, high, shape))


def parts(made):
    return list(made) if isinstance(made, (tuple, list)) else [made]


def looped(function, args, dims):
    """What vmap means: the function of each element, stacked."""
    pairs = list(zip(args, dims, strict=True))
    rows = [
        parts(function(*[a if d is None else a.select(d, b) for a, d in pairs])) for b in range(B)
    ]
    return [lucid.stack([row[i] for row in rows]) for i in range(len(rows[0]))]


def compare(got, want):
    assert got.shape == want.shape and got.dtype is want.dtype
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-12, atol=1e-13)


def gradients(made, leaves):
    """Those of a weighted sum of all floating outputs."""
    total = sum((y * lucid.arange(1, y.numel() + 1).reshape(y.shape)).sum()
                for y in made if y.requires_grad)  # fmt: skip
    return lucid.autograd.grad(total, leaves, allow_unused=True) if leaves else ()


def check(function, args, dims, differentiable=True):
    """vmap(function) with these in_dims is the loop, and so are its gradients."""
    leaves = [a.detach().requires_grad_() if a.is_floating_point() else a for a in args]
    got = parts(vmap(function, tuple(dims))(*leaves))
    want = looped(function, leaves, dims)
    for g, w in zip(got, want, strict=True):
        compare(g, w)
    assert [y.requires_grad for y in got] == [y.requires_grad for y in want]
    if differentiable and any(y.requires_grad for y in want):
        inputs = [a for a in leaves if a.requires_grad]
        pairs = zip(gradients(got, inputs), gradients(want, inputs), strict=True)
        for g, w in pairs:
            assert (g is None) == (w is None)
            if g is not None:
                compare(g, w)


def batched(arg, dim):
    """B tensors like arg, that differ, along a new dimension."""
    rows = [arg.roll(b, 0) if arg.ndim else arg if b % 2 else 1 - arg for b in range(B)]
    if arg.is_floating_point():
        rows = [r * (1 - 0.05 * b) for b, r in enumerate(rows)]
    return lucid.stack(rows, dim)


def every_choice(function, args, differentiable=True):
    """Each non-empty set of arguments mapped over the first dimension, and all over the last."""
    for choice in itertools.product((False, True), repeat=len(args)):
        if any(choice):
            for end in (0, -1) if all(choice) else (0,):
                given = [batched(a, end) if c else a for a, c in zip(args, choice, strict=True)]
                check(function, given, [end if c else None for c in choice], differentiable)


def nested(function, args):
    """Two maps at once, of which the inner one maps all arguments, the outer one the first."""
    first = batched(batched(args[0], 0), 0)
    rest = [batched(a, 0) for a in args[1:]]
    inner = vmap(function)
    got = parts(vmap(inner, (0, *[None] * len(rest)))(first, *rest))
    rows = [looped(function, [first[b], *rest], [0] * len(args)) for b in range(B)]
    for i, g in enumerate(got):
        compare(g, lucid.stack([row[i] for row in rows]))


# Elementwise records


def arguments_of(record, shapes):
    if lucid.dtypes.FLOATING in record.refuses:
        return [lucid.tensor(np.abs(a).astype(np.int64) + 1)
                for a in inputs_of(record, np.float64, shapes)]  # fmt: skip
    return [lucid.tensor(a) for a in inputs_of(record, np.float64, shapes)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_elementwise(record):
    def function(*xs):
        return call(record, xs)

    smooth = record.name not in STEPS
    dims = [0] * len(record.inputs)
    check(function, arguments_of(record, [(B, 2, 4)]), dims, smooth)
    if len(dims) > 1:
        # An element of fewer dimensions than another, and one that is the same for all.
        args = arguments_of(record, [(B, 4), (B, 2, 4)])
        check(function, args, dims, smooth)
        check(function, [args[0][0], *args[1:]], [None, *dims[1:]], smooth)
        check(function, [*args[:-1], args[-1][0]], [*dims[:-1], None], smooth)
    args = arguments_of(record, [(B, 2, 4)])
    got = vmap(vmap(function))(*args)
    assert lucid.equal(got, function(*args))
    assert lucid.equal(vmap(vmap(function, 1, 1))(*args), function(*args))


# All others: functions of the public API, and what they are called with

LAYERS = {
    "rnn": lucid.nn.RNN(3, 2).double(), "gru": lucid.nn.GRU(3, 2).double(),
    "lstm": lucid.nn.LSTM(3, 2).double(),
    "lstm_projected": lucid.nn.LSTM(3, 4, proj_size=2).double(),
}  # fmt: skip
SQUARE = real(3, 3) + 2 * lucid.eye(3, dtype=lucid.float64)


def complex_parts(z, w):
    made = z * w + z.exp() + z.log() + z.sqrt() + z.sin() * z.cos() + w.conj() / z + z * 2.5
    both = lucid.complex(z.real, w.imag)
    return lucid.view_as_real(made), z.abs(), lucid.view_as_real(both)


IMAGE = real(2, 4, 5, 6)
KERNEL = real(2, 4, 3, 3)
CASES = {
    "cast": (lambda x: x.to(lucid.float32) + x.to(lucid.int64), [real(3, high=5.0)]),
    "triangle": (lambda x: (x.tril(), x.triu(1)), [real(3, 4)]),
    "permute": (lambda x: x.permute(2, 0, 1), [real(2, 3, 4)]),
    "expand": (lambda x: x.expand(2, 4, 3), [real(1, 3)]),
    "reshape": (lambda x: x.reshape(-1, 2), [real(4, 3)]),
    "subscript": (lambda x: (x[1, ::2], x[..., -1], x[:, None]), [real(3, 4)]),
    "subscript_at": (
        lambda x: find("subscript_at")(x, 5, (1, 2), (2, 3), ()), [real(4, 5)],
    ),
    "subscript_back": (
        lambda g: find("subscript_back")(g, 5, (4, 5), (1, 2), (2, 3), ()), [real(2, 3)],
    ),
    "flip": (lambda x: x.flip(0, 1), [real(3, 4)]),
    "diagonal": (lambda x: (x.diagonal(1, 0, 2), x[0].trace()), [real(3, 4, 5)]),
    "diagonal_back": (lambda x: lucid.diag(x, -1), [real(3)]),
    "unfold": (lambda x: x.unfold(0, 2, 1), [real(4, 3)]),
    "unfold_back": (lambda g: find("unfold_back")(g, 5, 0, 3, 2), [real(2, 4, 3)]),
    "take_1": (lambda x, i: x[:, i], [real(2, 3, 2), whole(2, 2, high=3)]),
    "take_2": (lambda x, i, j: x[i, j], [real(2, 3, 4), whole(5), whole(3, 5, high=3)]),
    "take_none": (lambda x, i: x[i], [real(2, 3), lucid.tensor(1)]),
    "put_1": (
        lambda x, v, i: lucid.index_copy(x, 1, i, v),
        [real(2, 3), real(2, 2, seed=1), lucid.tensor([2, 0])],
    ),
    "put_add_1": (
        lambda x, v, i: x.index_add(0, i, v), [real(3, 2), real(4, 2), whole(4, high=3)],
    ),
    "put_add_2": (
        lambda x, v, i, j: x.index_put((i, j), v, accumulate=True),
        [real(2, 3, 2), real(5, 2), whole(5), whole(5, high=3)],
    ),
    "put_zeros_add_1": (
        lambda v, i: find("put_zeros_add_1")(v, i, 1, (2, 3)), [real(2, 4), whole(4, high=3)],
    ),
    "gather": (lambda x, i: x.gather(1, i), [real(2, 3), whole(2, 4, high=3)]),
    "scatter_set": (
        lambda x, v, i: x.scatter(1, i, v),
        [real(2, 3), real(2, 2), lucid.tensor([[2, 0], [1, 2]])],
    ),
    "scatter_plus": (
        lambda x, v, i: x.scatter_add(0, i, v), [real(3, 2), real(4, 2), whole(4, 2, high=3)],
    ),
    **{
        f"scatter_{how}": (
            lambda x, v, i, how=how: x.scatter_reduce(0, i, v, how),
            [real(3, 2), real(4, 2), whole(4, 2, high=3)],
        )
        for how in ("prod", "mean", "amax", "amin")
    },
    "take": (lucid.take, [real(2, 3), whole(4, high=6)]),
    "one_place": (
        lambda v, i: find("one_place")(v, i, 4, 1), [real(2, 1), whole(2, 1, high=4)],
    ),
    "where": (lambda c, x, w: lucid.where(c > 0.5, x, w), [real(3), real(2, 3), real(2, 1)]),
    "sum": (lambda x: (x.sum(1), x.sum(), x.sum((0, 2), keepdim=True)), [real(2, 3, 4)]),
    "prod": (lambda x: find("prod")(x.detach(), (0,), False), [real(3, 2)]),
    "amax": (lambda x: (x.amax(0), x.amin(1), x.max()), [real(3, 4)]),
    "any": (lambda x: ((x > 0.5).any(0), (x > 0.5).all(1)), [real(3, 4)]),
    "located": (lambda x: (*x.max(0), *x.min(1, True), x.argmax()), [real(3, 4)]),
    "product": (lucid.matmul, [real(3, 4), real(4, 2)]),
    "product_batches": (lucid.matmul, [real(2, 1, 3, 4), real(5, 4, 2)]),
    "product_vectors": (lucid.matmul, [real(4), real(4)]),
    "affine": (F.linear, [real(3, 4), real(2, 4), real(2)]),
    "integer_product": (lambda x, w: x @ w, [whole(3, 4, high=9), whole(4, 2, high=9)]),
    "einsum": (lambda x, w: lucid.einsum("ij,kj->ik", x, w), [real(2, 3), real(4, 3)]),
    "softmax": (lambda x: (x.softmax(0), x.log_softmax(1)), [real(3, 4)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), [real(3, 4), real(4), real(4)]),
    "layer_norm_bare": (lambda x: F.layer_norm(x, (3, 4)), [real(3, 4)]),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [real(3, 4, 2), real(4), real(4)],
    ),
    "batch_norm_fixed": (
        lambda x, m, v, w: F.batch_norm(x, m.detach(), v.detach(), w, w),
        [real(3, 4), real(4), real(4, seed=1), real(4)],
    ),
    "masked_softmax": (
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
        [real(2, 3, 4), real(3, 3)],
    ),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        [real(3, 4), real(3, 4), real(3, 2)],
    ),
    "max_windows": (
        lambda x: (F.max_pool2d(x, 2), F.max_pool2d(x, 3, 2, 1, return_indices=True)[1]), [IMAGE],
    ),
    "max_windows_back": (
        lambda g, i: find("max_windows_back")(g, i, (4, 4)),
        [real(1, 2, 2), lucid.tensor([[[0, 2], [8, 15]]])],
    ),
    "sum_windows": (lambda x: F.avg_pool2d(x, 3, 2, 1), [IMAGE]),
    "sum_windows_back": (
        lambda g: find("sum_windows_back")(g, (4, 4), (2, 2), (2, 2), (0, 0), (1, 1)),
        [real(1, 2, 2)],
    ),
    "window_counts": (
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), [IMAGE],
    ),
    "adaptive_sum": (
        lambda x: (F.adaptive_avg_pool2d(x, (3, 4)), F.adaptive_avg_pool2d(x, 1)), [IMAGE],
    ),
    "adaptive_sum_back": (lambda g: find("adaptive_sum_back")(g, (5, 4)), [real(1, 2, 3)]),
    "conv2d_forward": (lambda x, w: F.conv2d(x, w, stride=2, padding=1), [IMAGE, KERNEL]),
    "conv2d_groups": (lambda x, w: F.conv2d(x, w, groups=2), [IMAGE, real(6, 2, 2, 3)]),
    "conv2d_biased": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [IMAGE, KERNEL, real(2)]),
    "conv2d_input": (
        lambda c, w: find("conv2d_input")(
            c, w, (1, 1), ((0, 0), (0, 0)), (1, 1), 1, (2, 4, 5, 6)
        ),
        [real(2, 2, 3, 4), KERNEL],
    ),
    "conv2d_weight": (
        lambda x, c: find("conv2d_weight")(
            x, c, (1, 1), ((0, 0), (0, 0)), (1, 1), 1, (2, 4, 3, 3)
        ),
        [IMAGE, real(2, 2, 3, 4)],
    ),
    "nll": (
        lambda x, t, w: F.nll_loss(x, t, w.detach()), [real(4, 3), whole(4, high=3), real(3)],
    ),
    "cross_entropy": (
        lambda x, t: (F.cross_entropy(x, t, label_smoothing=0.1),
                      F.cross_entropy(x, t, ignore_index=1, reduction="sum")),
        [real(4, 3, 2), whole(4, 2, high=3)],
    ),
    "class_weight": (
        lambda w, t: F.cross_entropy(real(4, 3), t, w.detach(), reduction="none"),
        [real(3), whole(4, high=3)],
    ),
    "placed": (lambda g, t: find("placed")(g, t, 3, -1), [real(4, 2), whole(4, 2, high=3)]),
    "glu": (lambda x: F.glu(x, 1), [real(3, 4)]),
    "bag_sum": (
        lambda i, w, f: F.embedding_bag(i, w, mode="sum", per_sample_weights=f),
        [whole(2, 3, high=4), real(4, 2), real(2, 3)],
    ),
    "ctc": (
        lambda x: F.ctc_loss(x.log_softmax(2), lucid.tensor([[1, 2], [2, 1]]), [4, 3], [2, 1]),
        [real(4, 2, 3)],
    ),
    "rnn": (lambda x: LAYERS["rnn"](x)[0], [real(4, 2, 3)]),
    "gru": (lambda x: LAYERS["gru"](x)[0], [real(4, 2, 3)]),
    "lstm": (lambda x, h: LAYERS["lstm"](x, (h, h * 0.5))[1][1], [real(4, 2, 3), real(1, 2, 2)]),
    "lstm_projected": (lambda x: LAYERS["lstm_projected"](x)[0], [real(4, 2, 3)]),
    "linalg_square": (
        lambda x: (lucid.linalg.det(x), lucid.linalg.inv(x), *lucid.linalg.slogdet(x),
                   lucid.linalg.cholesky(x @ x.t()), lucid.linalg.eigvalsh(x @ x.t())),
        [SQUARE],
    ),
    "eigh": (lambda x: lucid.linalg.eigh(x + x.t())[0], [SQUARE]),
    "eig": (lambda x: lucid.linalg.eig(x.detach())[0].abs(), [SQUARE]),
    "lu": (lambda x: sum(lucid.linalg.lu(x), 0.0), [SQUARE]),
    "ldl": (
        lambda x: lucid.linalg.ldl_solve(*lucid.linalg.ldl_factor_ex(x.detach())[:2], x.detach()),
        [SQUARE],
    ),
    "geqrf": (lambda x: (*lucid.geqrf(x.detach()), lucid.hash_tensor(x, 0)), [SQUARE]),
    "solve": (lucid.linalg.solve, [SQUARE, real(3, 2)]),
    "qr": (lucid.linalg.qr, [real(4, 3)]),
    "svd": (
        lambda x: (lucid.linalg.svd(x, full_matrices=False)[1], lucid.linalg.pinv(x),
                   lucid.linalg.svdvals(x)),
        [real(4, 3)],
    ),
    "fft": (
        lambda x: lucid.view_as_real(lucid.fft.fft(lucid.view_as_complex(x.contiguous()), dim=0)),
        [real(4, 3, 2)],
    ),
    "rfft": (lambda x: lucid.view_as_real(lucid.fft.rfft(x, dim=0)), [real(4, 3)]),
    "irfft": (lambda x: lucid.fft.irfft(lucid.view_as_complex(x.contiguous())), [real(3, 2)]),
    "complex": (
        lambda x, w: complex_parts(*(lucid.view_as_complex(p.contiguous()) for p in (x, w))),
        [real(3, 2), real(2, 3, 2)],
    ),
    "frexp": (lambda x: lucid.frexp(x.detach()), [real(3)]),
    "gcd": (lucid.gcd, [whole(2, 3, high=30), whole(3, high=30)]),
    "cross": (lucid.linalg.cross, [real(2, 3), real(2, 3, seed=1)]),
    "cdist": (lucid.cdist, [real(3, 2), real(4, 2)]),
    "mse_mean": (F.mse_loss, [real(3, 4), real(3, 4, seed=1)]),
    "losses": (
        lambda x, t: (F.l1_loss(x, t), F.huber_loss(x, t), F.kl_div(x.log(), t),
                      F.binary_cross_entropy(x, t.detach()),
                      F.binary_cross_entropy_with_logits(x, t.detach())),
        [real(3, 4), real(3, 4, seed=1)],
    ),
    "pad_constant": (lambda x: F.pad(x, (1, -1, 0, 2), value=3.0), [real(3, 4)]),
    "one_hot": (lambda x: find("one_hot")(x, 4), [whole(2, 3, high=4)]),
    "embedding": (lambda i, w: F.embedding(i, w, padding_idx=1), [whole(2, 3, high=4), real(4, 2)]),
    "mean": (lambda x: (x.mean(0), x.mean()), [real(3, 4)]),
    "var": (lambda x: (x.var(1), x.std(0), x.std(correction=0)), [real(3, 4)]),
    "product_over": (lambda x: (x.prod(1), x.prod()), [real(3, 4)]),
    "logsumexp": (lambda x: x.logsumexp((0, 1)), [real(3, 4)]),
    "norm": (lambda x: (x.norm(), x.norm(3, 0), x.norm(1, 1)), [real(3, 4)]),
    "running": (lambda x: (x.cumsum(1), x.cumprod(0)), [real(3, 4)]),
    "running_extremes": (
        lambda x: (*x.cummax(1), *x.cummin(0), x.logcumsumexp(1)), [real(3, 4)],
    ),
    "ordered": (
        lambda x: (*x.sort(0), *x.topk(2), x.argsort(1, True), x.quantile(0.3, 1), x.median()),
        [real(3, 4)],
    ),
    "search": (lucid.searchsorted, [lucid.tensor([0.2, 0.5, 0.7]), real(2, 3).float()]),
    "search_rows": (
        lambda row, x: lucid.searchsorted(row, x, right=True), [whole(2, 5).cumsum(1), whole(2, 3)],
    ),
    "recurrence": (lambda x, w: find("recurrence")(x, w, 1), [real(3, 4), real(3, 4, seed=1)]),
    "cat": (lambda x, w: (lucid.cat([x, w], 1), lucid.stack([x, x])), [real(2, 3), real(2, 4)]),
    "created": (
        lambda x: x + lucid.arange(3) + lucid.eye(3) + lucid.full((3,), 2.0) + lucid.zeros(3),
        [real(3)],
    ),
    "meshes": (lambda x, w: lucid.meshgrid(x, w, indexing="xy"), [real(3), real(2)]),
    "masks": (lambda x: lucid.masked_fill(x, x > 0.5, 0.0).clamp(0.3, 0.4), [real(3, 4)]),
    "repeats": (lambda x: (x.repeat(2, 1), x.roll(1, 0), x.repeat_interleave(2, 1)), [real(2, 3)]),
}  # fmt: skip
CASES["incomplete_gamma"] = (
    lambda a, x: (
        lucid.igamma(a, x), lucid.igammac(a, x),
        find("gamma_slope")(a.detach() + x.detach() * 0.0, x.detach().log() + a.detach() * 0.0),
    ),
    [real(3, 4), real(3, 4, seed=1)],
)  # fmt: skip
CASES["totals"] = (
    lambda x, t: (
        F.smooth_l1_loss(x, t), F.poisson_nll_loss(x, t.abs()),
        F.binary_cross_entropy_with_logits(x, t.sigmoid()),
    ),
    [real(2, 3), real(2, 3)],
)  # fmt: skip
CASES |= spatial_cases(real, whole)


@pytest.mark.parametrize("name", CASES)
def test_every_choice_of_mapped_arguments(name):
    every_choice(*CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_nested(name):
    nested(*CASES[name])


# Which record has which reason to be in no case.
NEVER_MAPPED = {
    "strided": "its strides are those of one tensor",
    "put_into_": "put is mapped", "put_into_add_": "put is mapped",
    "full": "its input is a number", "count": "its inputs are numbers", "eye": "no inputs",
    "between": "its inputs are numbers",
    "window_counts": "no inputs", "adaptive_counts": "no inputs",
    "fill_places": "its size depends on values", "bernoulli_numbers": "test_random",
    "dropout": "test_random", "permutation": "test_random", "uniform_numbers": "test_random",
    "lstsq": "its function asks for the rank",
    "attention_dropped": "test_random", "attention_masked_dropped": "test_random",
    "ctc_alphas": "ctc is mapped whole", "ctc_betas": "ctc is mapped whole",
    "normal_numbers": "test_random", "integer_numbers": "test_random",
    "standard_gamma": "test_random", "poisson_numbers": "test_random",
    "binomial_numbers": "test_random",
    "overwritten": "made in compiled programs", "assembled": "made in compiled programs",
    "compiled": "a Node's",
    "cond": "made in compiled programs", "loop": "made in compiled programs",
    "packed_right": "made in compiled programs", "prepacked": "made in compiled programs",
}  # fmt: skip


def test_the_cases_reach_every_record(monkeypatch):
    seen = set()
    add = BatchLevel.add

    def noted(self, op, *rest):
        seen.add(op.name)
        return add(self, op, *rest)

    monkeypatch.setattr(BatchLevel, "add", noted)
    for function, args in CASES.values():
        vmap(function)(*[batched(a, 0) for a in args])

    def family(name):  # take_1 .. take_7 are one record, made for each number of dimensions
        joint = name.startswith(("take_", "put_", "cat_", "stack_"))
        return name.rstrip("0123456789") if joint else name

    seen = {family(name) for name in seen}
    public = {r.name for r in records().values() if not issubclass(r, Elementwise)}
    made_in_tests = {n for n in public if "without" in n or find(n).__module__.startswith("tests")}
    # Ways back have the maps of the ways there, see test_batched_cotangents_of_layers; sequences
    # of several lengths are put together on the host.
    alike = {n for n in public if n.endswith("_back") and n[:-5] in public or "_ragged" in n}
    # The sum of an elementwise loss, made when it is asked for, is a Reduction as any other.
    alike |= {n for n in public if n.endswith("_total") and n[:-6] in records()}
    missing = {family(n) for n in public - made_in_tests - alike} - seen - NEVER_MAPPED.keys()
    assert not missing, f"no case maps {sorted(missing)}"


# Random ops


def drawn(function, randomness):
    lucid.manual_seed(5)
    return parts(vmap(function, randomness=randomness)(real(B, 2, 4)))


RANDOM = {
    "rand": lambda x: x + lucid.rand(4), "randn": lambda x: x * lucid.randn(2, 1),
    "randint": lambda x: x + lucid.randint(0, 9, (4,)), "dropout": lambda x: F.dropout(x, 0.4),
    "dropout_of_the_same": lambda x: F.dropout(lucid.ones(2, 4), 0.4) * x,
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.3),
    "bernoulli": lambda x: x.bernoulli(), "bernoulli_of_the_same": lambda x: lucid.bernoulli(
        lucid.full((2, 4), 0.5)) + x,
    "normal": lambda x: lucid.normal(x, 2.0), "uniform_": lambda x: x.clone().uniform_(),
    "random_": lambda x: x.clone().random_(0, 9),
    "gamma": lambda x: lucid._standard_gamma(x * 3.0), "poisson": lambda x: lucid.poisson(x * 50.0),
    "binomial": lambda x: lucid.binomial((x * 50.0).round(), x),
}  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
def test_random(name):
    function = RANDOM[name]
    got = drawn(function, "different")
    lucid.manual_seed(5)
    want = looped(function, [real(B, 2, 4)], [0])
    for g, w in zip(got, want, strict=True):
        compare(g, w)
    same = drawn(function, "same")[0]
    lucid.manual_seed(5)
    state = lucid.get_rng_state()
    rows = []
    for b in range(B):
        lucid.set_rng_state(state)
        rows.append(function(real(B, 2, 4)[b]))
    compare(same, lucid.stack(rows))
    with pytest.raises(RuntimeError, match="randomness='different'"):
        drawn(function, "error")


def test_random_nested_and_permutations():
    def inner(x):
        return x + lucid.rand(2)

    lucid.manual_seed(1)
    x = real(B, B, 2)
    got = vmap(vmap(inner, randomness="different"), randomness="different")(x)
    lucid.manual_seed(1)
    want = lucid.stack([lucid.stack([inner(x[a, b]) for b in range(B)]) for a in range(B)])
    compare(got, want)
    got = vmap(vmap(inner, randomness="different"), randomness="same")(x) - x
    assert len({tuple(row) for row in got[0].round(decimals=6).tolist()}) == B
    np.testing.assert_allclose(got[0].numpy(), got[1].numpy(), atol=1e-12)

    def shuffled(x):
        return x[lucid.randperm(50)]

    lucid.manual_seed(1)
    got = vmap(vmap(shuffled, randomness="different"), randomness="different")(
        lucid.arange(50).expand(2, 2, 50)
    ).reshape(4, 50)
    assert all(sorted(row) == list(range(50)) for row in got.tolist())
    assert len({tuple(row) for row in got.tolist()}) == 4


# Writes in place


def test_writes_in_place():
    x = real(B, 3, 4)

    def write(x, w):
        y = x.clone()
        y.mul_(w)
        y[0] = 2.0
        y[:, 1:].add_(w[1:])
        y.t()[0].neg_()
        y[y > 1.5] = 0.0
        y.masked_fill_(y < 0.1, 0.25)
        return y

    check(write, [x, real(4)], [0, None])
    check(write, [x.permute(1, 2, 0), real(4, B)], [-1, -1])


def test_a_write_to_an_argument_is_seen_outside():
    x = lucid.zeros(2, B)
    vmap(lambda a: a.add_(1.0), 1)(x)
    assert x.sum().item() == 6.0


def test_a_write_to_what_is_the_same_for_all_raises():
    same, x = lucid.zeros(3), real(B, 3)
    with pytest.raises(RuntimeError, match="add_: a tensor from outside"):
        vmap(lambda a: same.add_(a))(x)
    with pytest.raises(RuntimeError, match="copy_: a tensor from outside"):
        vmap(lambda a: vmap(lambda b: a.copy_(b))(x))(x)
    with pytest.raises(RuntimeError, match=r"add_: .*shape.*\(2, 3\)"):
        vmap(lambda a: a.add_(lucid.zeros(2, 3)))(x)


# Types, structures, errors


def test_types_are_those_of_the_elements():
    wide = lucid.tensor([1.0, 2.0, 3.0], dtype=lucid.float64)
    row = lucid.ones(2)
    assert vmap(lambda a: a + row)(wide).dtype is lucid.float32  # a 0-d tensor does not decide
    assert vmap(lambda a: a + row.sum())(wide).dtype is lucid.float64
    assert vmap(lambda a: row.double().sum() * a)(lucid.ones(2)).dtype is lucid.float64
    assert vmap(lambda a: a + 1.5)(lucid.ones(2, dtype=lucid.int64)).dtype is lucid.float32
    assert vmap(lambda a: F.softmax(a, 0))(lucid.ones(2, 3).half()).dtype is lucid.float16


def test_structures_in_and_out():
    def f(pair, options, scale):
        x, w = pair
        return {"sum": x + w, "rest": [x * options["k"], lucid.ones(2)]}, scale

    x, w, k = real(B, 2), real(2), real(2, B)
    made, scale = vmap(f, ((0, None), {"k": 1}, None), ({"sum": 1, "rest": 0}, None))(
        (x, w), {"k": k}, w
    )
    compare(made["sum"], (x + w).t())
    compare(made["rest"][0], x * k.t())
    assert made["rest"][1].shape == (B, 2) and scale is w
    assert vmap(lambda x, *, y: x + y)(x, y=x).shape == (B, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: vmap(lucid.sin, (0, 0))(x), ValueError, "in_dims .* for 2 arguments"),
        (lambda x: vmap(lucid.sin, None)(x), ValueError, "no argument of sin is mapped"),
        (lambda x: vmap(lucid.sin, 2)(x), ValueError, "in_dims has 2 for argument 0 of sin"),
        (lambda x: vmap(lucid.add)(x, x[:2]), ValueError, "arguments differ: \\[2, 3\\]"),
        (lambda x: vmap(lucid.add)(x, 2.0), ValueError, "argument 1 of .* is a float"),
        (lambda x: vmap(lucid.sin, out_dims=2)(x), ValueError, "out_dims has 2"),
        (lambda x: vmap(lucid.sin, out_dims=None)(x), ValueError, "differs from element"),
        (lambda x: vmap(lucid.sin, randomness="some")(x), ValueError, "'some'"),
        (lambda x: vmap(lambda a: 3)(x), TypeError, "returned a int"),
        (lambda x: vmap(lambda a: a if a[0] > 0 else -a)(x), RuntimeError, "item: under vmap"),
        (lambda x: vmap(lambda a: a.nonzero())(x), RuntimeError, "nonzero: its size depends"),
        (lambda x: vmap(lambda a: a.numpy())(x), RuntimeError, "numpy: under vmap"),
        (lambda x: vmap(lambda a: a.requires_grad_())(x), NotImplementedError, "gradients by"),
        (lambda x: vmap(lambda a: a @ lucid.ones(5).double())(x), RuntimeError, "of 2 and 5"),
        (lambda x: vmap(lambda a: a + lucid.ones(5))(x), RuntimeError, "add: .*\\(2,\\).*\\(5,\\)"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(real(B, 2))
    assert vmap(lucid.sin)(real(B, 2)).shape == (B, 2)  # nothing of the failed map is left


def test_an_op_without_an_axis_map_is_named():
    class strange(lucid.op.Opaque):
        def names(x):
            pass

        def infer(types, params):
            return [(types[0][0], types[0][1])]

    try:
        with pytest.raises(NotImplementedError, match="vmap: strange has no axis map"):
            vmap(strange)(real(B, 2))
    finally:
        del records()["strange"]


def test_what_leaves_the_map_is_not_used_again():
    kept = []
    vmap(lambda a: kept.append(a) or a)(real(B, 2))
    with pytest.raises(RuntimeError, match="add: a tensor of a vmap is used after"):
        kept[0] + 1
    assert "BatchedTensor(level=1" in repr(kept[0])


# Functions and modules


class Cube(lucid.autograd.Function):
    @staticmethod
    def forward(ctx, x, n):
        ctx.save_for_backward(x)
        return x**3 * n

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x**2, None


class MappedCube(Cube):
    @staticmethod
    def vmap(info, in_dims, x, n):
        assert info.batch_size == B and in_dims == (0, None)
        return MappedCube.apply(x, n), 0


def test_function():
    with pytest.raises(RuntimeError, match="vmap: Cube is a Function without a rule for batches"):
        vmap(lambda x: Cube.apply(x, 2))(real(B, 2))
    check(lambda x: MappedCube.apply(x, 2), [real(B, 2)], [0])
    plain = vmap(lambda x, w: x + Cube.apply(w, 2), (0, None))(real(B, 2), real(2))
    compare(plain, real(B, 2) + 2 * real(2) ** 3)


def test_modules():
    net = lucid.nn.Sequential(
        lucid.nn.Conv2d(2, 3, 3), lucid.nn.ReLU(), lucid.nn.MaxPool2d(2), lucid.nn.Flatten(),
        lucid.nn.Linear(12, 5), lucid.nn.LayerNorm(5),
    ).double()  # fmt: skip
    x = real(B, 2, 2, 6, 7)
    weights = list(net.parameters())
    got = vmap(net)(x)
    want = lucid.stack([net(x[b]) for b in range(B)])
    compare(got, want)
    for g, w in zip(gradients([got], weights), gradients([want], weights), strict=True):
        np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-9, atol=1e-11)
    batch_norm = lucid.nn.BatchNorm1d(2).double()
    with pytest.raises(RuntimeError, match="same for|from outside"):
        vmap(batch_norm)(real(B, 4, 2))
    assert vmap(batch_norm.eval())(real(B, 4, 2)).shape == (B, 4, 2)


# Several cotangents in one pass


def test_batched_cotangents():
    """Through views, writes, composites and a Function: as one cotangent after another."""
    x, w = real(3, 4).requires_grad_(), real(4, 2).requires_grad_()

    def outputs(x, w):
        y = (x @ w).softmax(1)
        z = y.clone()
        z[0] = z[1] * 2
        z[:, 0].mul_(y[:, 1])
        return z, F.layer_norm(x, (4,)).sum(1), x.std(0), Cube.apply(x, 2)

    made = outputs(x, w)
    given = [real(5, *y.shape) for y in made]
    got = lucid.autograd.grad(made, [x, w], given, retain_graph=True, is_grads_batched=True)
    for b in range(5):
        one = [g[b] for g in given]
        want = lucid.autograd.grad(made, [x, w], one, retain_graph=True)
        for g, v in zip(got, want, strict=True):
            np.testing.assert_allclose(g[b].numpy(), v.numpy(), rtol=1e-11, atol=1e-13)


def test_a_jacobian_and_its_derivative():
    x = real(4).requires_grad_()
    rows = lucid.eye(4, dtype=lucid.float64)
    (jacobian,) = lucid.autograd.grad(
        x**3, x, rows, create_graph=True, is_grads_batched=True
    )  # fmt: skip
    np.testing.assert_allclose(jacobian.detach().numpy(), np.diag(3 * x.detach().numpy() ** 2))
    (second,) = lucid.autograd.grad(jacobian.sum(), x)
    np.testing.assert_allclose(second.numpy(), 6 * x.detach().numpy())
    with pytest.raises(RuntimeError, match="first dimension of one size"):
        lucid.autograd.grad(x.sum(), x, is_grads_batched=True)


@pytest.mark.parametrize("name", LAYERS)
def test_batched_cotangents_of_layers(name):
    x = real(4, 2, 3).requires_grad_()
    y = LAYERS[name](x)[0]
    given = real(5, *y.shape)
    leaves = [x, *LAYERS[name].parameters()]
    got = lucid.autograd.grad(y, leaves, given, retain_graph=True, is_grads_batched=True)
    for b in range(5):
        want = lucid.autograd.grad(y, leaves, given[b], retain_graph=True)
        for g, v in zip(got, want, strict=True):
            np.testing.assert_allclose(g[b].numpy(), v.numpy(), rtol=1e-11, atol=1e-13)
