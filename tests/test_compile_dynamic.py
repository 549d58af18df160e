"""Sizes as symbols: a third size neither traces nor compiles, and is eager's to the bit.

A function is traced for its second size in a way that can be repeated for others (journal.py); what
it asks of sizes is checked for each. resized.py compares such repetitions with traces.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest

import lucid
import lucid.compiler.tree
import lucid.nn.functional as F
from lucid import nn
from lucid.backend.cpu import jit
from lucid.compiler.capture import Untold
from lucid.lines import format_line
from lucid.op import records
from tests import (  # noqa: F401
    samples,
    samples_functions,
    samples_sequence,
    samples_sorted,
    samples_spatial,
)
from tests.compiled import bits
from tests.resized import journalled, repeated, traced


@pytest.fixture
def made(monkeypatch):
    """The keys of kernels whose machine code was not in memory."""
    found = []
    make = jit._make
    monkeypatch.setattr(jit, "_make", lambda key, build: found.append(key) or make(key, build))
    return found


def rand(*shape, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return lucid.tensor(rng.standard_normal(shape).astype(np.float32))


def whole(*shape, high=10, seed=0):
    return lucid.tensor(np.random.default_rng([seed, *shape]).integers(0, high, shape))


def state(model):
    return [bits(x) for x in (*model.parameters(), *model.buffers())]


class Steps:
    """The same training steps, eager and compiled, on two equal models."""

    def __init__(self, model, optimizer, step, dynamic=None):
        self.models, self.steps = [], []
        for compiled in (False, True):
            lucid.manual_seed(1)
            m = model()
            function = step(m, optimizer(m.parameters()))
            self.models.append(m)
            self.steps.append(lucid.compile(function, dynamic=dynamic) if compiled else function)
        self.compiled = self.steps[1]

    def call(self, *arguments, seed=0):
        found = []
        for model, step in zip(self.models, self.steps, strict=True):
            lucid.manual_seed(seed)
            found.append((bits(step(*arguments)), state(model), lucid.rand(1).item()))
        assert found[0] == found[1]


def classified(model, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def mlp():
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 10))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x):
        n, length, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, 2)
        q, k, v = (p.view(n, length, self.heads, -1).transpose(1, 2) for p in parts)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(n, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self, words=29, width=16, heads=2, layers=2, longest=40):
        super().__init__()
        self.token, self.place = nn.Embedding(words, width), nn.Embedding(longest, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        self.drop = nn.Dropout(0.1)
        self.longest = longest

    def forward(self, tokens):
        n, length = tokens.shape
        assert length <= self.longest
        x = self.drop(self.token(tokens) + self.place.weight[:length])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def spoken(model, optimizer):
    def step(tokens, following):
        optimizer.zero_grad()
        y = model(tokens)
        loss = F.cross_entropy(y.view(-1, y.size(-1)), following.view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


def convolved():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip


def adam(parameters):
    return lucid.optim.AdamW(parameters, lr=1e-2)


def momentum(parameters):
    return lucid.optim.SGD(parameters, lr=0.1, momentum=0.9)


def test_a_third_batch_size_of_a_training_step(made):
    steps = Steps(mlp, adam, classified)
    for n in (256, 192):
        steps.call(rand(n, 12), whole(n), seed=n)
    assert (steps.compiled.traces, steps.compiled.resizes) == (2, 0)
    made.clear()
    for n in (320, 224, 250, 320):
        steps.compiled(rand(n, 12), whole(n))
    assert (steps.compiled.traces, steps.compiled.resizes, made) == (2, 3, [])


def test_its_bits(made):
    steps = Steps(mlp, adam, classified)
    for n in (17, 33, 29, 65, 18):
        steps.call(rand(n, 12), whole(n), seed=n)
    assert (steps.compiled.traces, steps.compiled.resizes) == (2, 3)


def test_a_gpt_step_with_other_batches_and_lengths(made):
    steps = Steps(GPT, adam, spoken)
    sizes = [(3, 20), (5, 24), (4, 24), (5, 33), (7, 21)]
    for i, (n, length) in enumerate(sizes):
        steps.call(whole(n, length), whole(n, length, seed=1), seed=i)
    assert (steps.compiled.traces, steps.compiled.resizes) == (2, 3)
    made.clear()
    steps.compiled(whole(6, 27), whole(6, 27, seed=1))
    assert (steps.compiled.traces, steps.compiled.resizes, made) == (2, 4, [])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(kind):
    def model():
        layer = getattr(nn, kind)(5, 6, 2, bidirectional=True, batch_first=True)
        return nn.ModuleDict({"layer": layer, "head": nn.Linear(12, 3)})

    def step(m, optimizer):
        def run(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(m["head"](m["layer"](x)[0][:, -1]), y)
            loss.backward()
            optimizer.step()
            return loss

        return run

    steps = Steps(model, adam, step)
    for i, (n, length) in enumerate([(8, 9), (7, 11), (9, 13), (11, 8), (4, 15)]):
        steps.call(rand(n, length, 5), whole(n, high=3), seed=i)
    assert (steps.compiled.traces, steps.compiled.resizes) == (2, 3)


def test_a_network_of_convolutions_with_batch_norm():
    steps = Steps(convolved, momentum, classified)
    for i, (n, side) in enumerate([(4, 17), (5, 18), (7, 21), (6, 33), (4, 20)]):
        steps.call(rand(n, 3, side, side), whole(n), seed=i)
    assert (steps.compiled.traces, steps.compiled.resizes) == (2, 3)


def test_symbols_from_the_first_call():
    steps = Steps(mlp, adam, classified, dynamic=True)
    for n in (17, 33, 29):
        steps.call(rand(n, 12), whole(n), seed=n)
    assert (steps.compiled.traces, steps.compiled.resizes) == (1, 2)


def test_no_symbols():
    steps = Steps(mlp, adam, classified, dynamic=False)
    for n in (17, 33, 29):
        steps.call(rand(n, 12), whole(n), seed=n)
    assert (steps.compiled.traces, steps.compiled.resizes) == (3, 0)


def test_a_model_alone_is_differentiated_for_other_sizes():
    lucid.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    other = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    other.load_state_dict(model.state_dict())
    compiled = lucid.compile(other)
    for n in (4, 5, 7, 9):
        found = []
        for m in (model, compiled):
            x = rand(n, 6).requires_grad_()
            (m(x) ** 2).mean().backward()
            found.append((bits(x.grad), [bits(p.grad) for p in m.parameters()]))
            m.zero_grad()
        assert found[0] == found[1]
    assert (compiled.traces, compiled.resizes) == (2, 2)


# ---- what Python asks of sizes -----------------------------------------------------------------


def halved(x):
    return x[: x.shape[0] // 2].sum(0)


def averaged(x):
    return x.sum(0) / x.shape[0]


def averaged_by_a_float(x):
    return x.sum(0) * (1 / len(x))


def rooted(x):
    return x * math.sqrt(x.numel())


def branched(x):
    return x * 2 if x.shape[0] > 10 else x - 1


def looped(x):
    y = x[0]
    for i in range(1, x.size(0)):
        y = y * 0.5 + x[i]
    return y


def counted(x):
    return x + sum(1 for _ in range(0, x.shape[0], 8))


def remaining(x):
    return x + x.shape[0] % 7


def modulo_padded(x):
    return F.pad(x, (0, 0, 0, -x.shape[0] % 8))


def looked_up(x):
    return x + {5: 1.0, 8: 2.0}.get(x.shape[0], 3.0)


def formatted(x):
    return x * len(f"{x.shape[0]}")


def bits_of(x):
    return x + x.shape[0].bit_length()


def power(x):
    return x * 2 ** -x.shape[0]


def least(x):
    return x[: min(x.shape[0], 7)] * max(x.shape[0], 3)


def repeated_list(x):
    return x + lucid.tensor([1.0] * x.shape[0]).view(-1, 1)


def numpy_rows(x):
    return x * lucid.tensor(np.arange(x.shape[0], dtype=np.float32)).view(-1, 1)


def asked_type(x):
    n = x.shape[0]
    return x * (2 if type(n) is int else 3)


def asked_instance(x):
    n = x.shape[0]
    return x * (2 if isinstance(n, int) else 3)


def both_ways(x):
    return [x.shape[0], x.shape, {"n": x.numel() - 1}, x.T.contiguous().stride()]


def masked(x):
    n = x.shape[0]
    mask = lucid.arange(n).view(-1, 1) <= lucid.arange(n)
    return (x @ x.T).masked_fill(~mask, float("-inf")).softmax(1)


def lower(x):
    n = x.size(0)
    return lucid.tril(lucid.ones(n, n)) @ x


def one_hot(x):
    return F.one_hot(lucid.arange(x.shape[0]), 24) @ lucid.ones(24, 2, dtype=lucid.int64)


def eyes(x):
    return lucid.eye(x.shape[0]) @ x


def chunked(x):
    return [c.sum() for c in x.chunk(3)]


def split_up(x):
    return [c * 2 for c in x.split(4)]


def pooled(x):
    return F.max_pool1d(x.T[None], 3, 2), F.avg_pool1d(x.T[None], 2), F.adaptive_avg_pool1d(x.T, 3)


def interpolated(x):
    return F.interpolate(x.T[None], scale_factor=1.5, mode="linear"), \
        F.interpolate(x.T[None], size=7)  # fmt: skip


def interleaved(x):
    return x.repeat_interleave(2, 0), x.repeat(3, 1), x.unfold(0, 3, 2), x.roll(1, 0)


def moments(x):
    return x.mean(0), x.var(0), x.std(), x.norm(), F.normalize(x, dim=0)


def stacked(x):
    return lucid.stack([x, x + 1]), lucid.cat([x, x[1:], x[:-1]]), x.flip(0), x[::2], x[-3:]


def reshaped(x):
    n = x.shape[0]
    y = x.view(n, 2, 3).transpose(0, 1).reshape(2 * n, -1)
    return y, x.view(-1, 3).unflatten(0, (n, 2)), x.flatten(), x.expand(4, *x.shape), x[None]


def sorted_rows(x):
    return x.sort(0)[0], x.topk(3, 0)[0], x.argmax(0), x.cumsum(0), x.median()


def dropped(x):
    return F.dropout(x, 0.4), lucid.rand(x.shape[0], 2), lucid.randn_like(x)


def written(x):
    y = lucid.zeros(x.shape[0] + 2, 6)
    y[1:-1] = x
    y[0] = 3.0
    y.mul_(x.shape[0])
    return y


def many_rows(x):
    return [row.sum() for row in x]


def summed_slices(x):
    return x.index_select(0, lucid.arange(0, x.shape[0], 2)), x.gather(0, x.argsort(0))


def batched(x):
    n = x.shape[0]
    return lucid.bmm(x.view(n, 3, 2), x.view(n, 2, 3)), lucid.einsum("ij,kj->ik", x, x)


CASES = [
    halved, averaged, averaged_by_a_float, rooted, branched, looped, counted, remaining,
    modulo_padded, looked_up, formatted, bits_of, power, least, repeated_list, numpy_rows,
    asked_type, asked_instance, both_ways, masked, lower, one_hot, eyes, chunked, split_up, pooled,
    interpolated, interleaved, moments, stacked, reshaped, sorted_rows, dropped, written,
    many_rows, summed_slices, batched,
]  # fmt: skip
SIZES = (5, 8, 9, 15, 16, 17, 23, 4, 1, 12)
ALWAYS = {  # what holds for any size but 0 and 1
    averaged, remaining, modulo_padded, asked_instance, masked, lower, one_hot, eyes,
    moments, reshaped, dropped, written, summed_slices, batched, halved,
}  # fmt: skip


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_what_python_asks_of_sizes(function):
    compiled = lucid.compile(function)
    for n in SIZES:
        found = []
        for f in (function, compiled):
            lucid.manual_seed(n)
            try:
                made, _ = lucid.compiler.tree.flatten(f(rand(n, 6)))
                found.append([bits(y) for y in made])
            except RuntimeError as error:  # a window that does not fit
                found.append(type(error))
        assert found[0] == found[1], n
    if function in ALWAYS:
        assert compiled.traces <= 4, compiled.reasons


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_replays_are_what_traces_are(function):
    if function is asked_type:
        with pytest.raises(Untold, match="isinstance"):
            journalled(function, [rand(8, 6)])
        return
    captured = journalled(function, [rand(8, 6)])
    for n in (8, 9, 13, 16, 24):
        if captured.template is None:
            assert captured.static
            continue
        again, why = repeated(captured, [rand(n, 6)])
        assert why or again == traced(function, [rand(n, 6)])
        assert n != 8 or not why


def test_reasons_and_explain_name_the_sizes():
    def scaled(x, y):
        return (x * math.sqrt(x.shape[1])).sum(0) + y

    compiled = lucid.compile(scaled)
    for n in (4, 5, 7):
        compiled(rand(n, 6), rand(6))
    assert (compiled.traces, compiled.resizes, compiled.reasons) == (2, 1, [])
    report = lucid.explain(compiled, rand(8, 6), rand(6))
    text = str(report)
    assert "argument 0.shape[0]: a symbol" in text
    place = format_line(__file__, scaled.__code__.co_firstlineno + 1)
    assert f"argument 0.shape[1]: static, its value is used at {place}" in text
    assert report.resizes == 2 and "argument 1.shape[0]: a symbol" in text
    compiled(rand(5, 9), rand(9))
    (reason,) = compiled.reasons
    assert reason.startswith("the value of argument 0.shape[1] is used at ")
    assert reason.endswith(": it was 6, and is 9")


def test_a_branch_says_what_it_asked():
    compiled = lucid.compile(branched)
    for n in (4, 5, 9, 12):
        compiled(rand(n, 2))
    (reason,) = compiled.reasons
    assert reason.startswith("argument 0.shape[0] > 10 was False at ")


def test_what_python_does_is_guarded_besides():
    """A template is of no use after a change of what the function reads."""
    scale = {"by": 2.0}

    def scaled(x):
        return x * scale["by"]

    compiled = lucid.compile(scaled)
    for n in (4, 5, 7):
        compiled(rand(n, 3))
    scale["by"] = 3.0
    for n in (8, 9, 7):
        x = rand(n, 3)
        assert lucid.equal(compiled(x), x * 3.0)


def test_equal_sizes_are_one_symbol():
    def cross(x, y):
        return x[:, None] * y if x.shape[0] == y.shape[0] else x.sum() * y

    compiled = lucid.compile(cross)
    for n, m in ((4, 4), (5, 5), (7, 7), (7, 8), (8, 9), (8, 7), (9, 9)):
        x, y = rand(n), rand(m, 1)
        assert lucid.equal(compiled(x, y), cross(x, y)), (n, m)
    assert compiled.resizes >= 2


def test_sizes_0_and_1_are_their_own():
    def summed(x):
        return x.squeeze().sum(-1), x.shape[0]

    compiled = lucid.compile(summed)
    for n in (4, 5, 1, 7, 0, 6, 1, 0):
        x = rand(n, 3)
        y, size = compiled(x)
        assert lucid.equal(y, summed(x)[0]) and size == n and type(size) is int


def test_an_attribute_set_to_a_size_is_traced_for_each():
    class Noted:
        seen = None

    noted = Noted()

    def noting(x):
        noted.seen = x
        return x * 2

    compiled = lucid.compile(noting)
    for n in (4, 5, 7, 8):
        x = rand(n, 3)
        assert lucid.equal(compiled(x), x * 2) and noted.seen is x


def test_an_attribute_set_to_a_tensor_is_not():
    kept = SimpleNamespace(last=None)

    def f(x):
        kept.last = x.sum(0)
        return x * 2

    compiled = lucid.compile(f, dynamic=True)
    for n in (3, 4, 5, 6):
        x = lucid.randn(n, 2)
        assert lucid.equal(compiled(x), x * 2) and lucid.equal(kept.last, x.sum(0))
    assert compiled.traces <= 2


def test_another_layout_is_another_trace():
    compiled = lucid.compile(lambda x: (x * 2).reshape(-1).cumsum(0))
    for n in (4, 5, 7, 8):
        for x in (rand(n, 6), rand(6, n).T, rand(2 * n, 6)[::2]):
            assert bits(compiled(x)) == bits(compiled.function(x))
    assert compiled.resizes >= 4


VALUES = {  # they ask for values, or compute with complex numbers
    "subscripts", "decompositions", "complex_numbers", "losses_of_elements", "alignments", "bags",
    "recurrent_layers", "sorts", "steps_of_optimizers",
}  # fmt: skip
SEVERAL = [name for name in samples.SAMPLES if name not in records() and name not in VALUES]


def test_strides_that_are_asked_for_are_checked_for_each_size():
    def f(x, w):
        return x.sum(0) * w.stride()[0] + w.sum()

    compiled = lucid.compile(f, dynamic=True)
    w = lucid.ones(2, 3)
    for other, traces in ((w, 2), (lucid.ones(3, 2).t(), 4)):
        for n in (3, 4, 5, 6):
            x = lucid.randn(n, 3)
            assert lucid.equal(compiled(x, other), f(x, other))
        assert compiled.traces <= traces


@pytest.mark.parametrize("name", SEVERAL)
def test_ops_of_a_size_that_is_a_symbol(name):
    """All families of ops, forward and backward, where n is a size of an argument."""

    def program(x):
        made = samples.SAMPLES[name](x.shape[0], lucid.float32)
        found = [y for y in made if isinstance(y, lucid.Tensor)]
        terms = [(y * y).sum() for y in found if y.requires_grad]
        if terms:
            sum(terms).backward()
        return found

    captured = journalled(program, [lucid.zeros(6)])
    assert captured.template is not None, captured.static
    for n in (6, 9, 18):
        again, why = repeated(captured, [lucid.zeros(n)])
        assert why and n != 6 or again == traced(program, [lucid.zeros(n)])
