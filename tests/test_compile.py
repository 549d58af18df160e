"""`lucid.compile`: same bits as eager, in and out of place, forward, backward and training."""

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F


def same(a, b):
    return lucid.equal(a, b) and a.dtype is b.dtype and a.stride() == b.stride()


def test_views_and_writes_through_them():
    def f(x, y):
        z = (x @ y).relu() * 2
        z[0] = 1.0
        z.t().mul_(3)
        row = z[1:3]
        row += z[0]
        return z.sum(1), {"z": z, "row": row}

    x, y = lucid.randn(5, 6), lucid.randn(6, 7)
    compiled = lucid.compile(f)
    for _ in range(2):
        total, rest = compiled(x, y)
        expected, others = f(x, y)
        assert same(total, expected)
        assert same(rest["z"], others["z"]) and same(rest["row"], others["row"])
        assert rest["row"].data_ptr() == rest["z"][1].data_ptr()
    assert compiled.traces == 1


def test_arguments_are_written_and_returned_as_in_eager():
    def f(x, y):
        x.add_(1)
        return x, x[0], y

    x, y = lucid.zeros(3), lucid.ones(3)
    compiled = lucid.compile(f)
    for step in range(1, 4):
        a, b, c = compiled(x, y)
        assert a is x and c is y
        assert x.tolist() == [step] * 3 and b.item() == step
    assert b.data_ptr() == x.data_ptr() and x._version == 3


def gradients(m, x):
    found = [p.grad for p in m.parameters()] + [x.grad]
    for p in (*m.parameters(), x):
        p.grad = None
    return found


def test_a_model_is_one_node():
    lucid.manual_seed(0)
    m = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))
    x = lucid.randn(5, 6, requires_grad=True)
    compiled = lucid.compile(m)
    for _ in range(2):
        y = m(x * 1.0)
        y.square().sum().backward()
        expected = gradients(m, x)
        z = compiled(x * 1.0)
        assert same(y.detach(), z.detach()) and z.grad_fn.name() == "CompiledBackward"
        z.square().sum().backward()
        for a, b in zip(expected, gradients(m, x), strict=True):
            assert same(a, b)
    assert compiled.traces == 1


def train(compiled: bool, optimizer, steps: int = 5):
    lucid.manual_seed(1)
    m = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))
    opt = optimizer(m.parameters())
    schedule = lucid.optim.lr_scheduler.StepLR(opt, 2, 0.5)

    def step(x, t):
        opt.zero_grad()
        loss = F.cross_entropy(m(x), t)
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        schedule.step()
        return loss

    run = lucid.compile(step) if compiled else step
    x, t = lucid.randn(16, 20), lucid.randint(0, 10, (16,))
    losses = [run(x, t).item() for _ in range(steps)]
    if compiled:
        assert run.traces <= 2, run.reasons
    values = [p.detach() for p in m.parameters()] + [p.grad for p in m.parameters()]
    return losses, values, opt.state_dict()


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: lucid.optim.SGD(p, lr=0.1),
        lambda p: lucid.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: lucid.optim.Adam(p, lr=1e-2, amsgrad=True),
        lambda p: lucid.optim.AdamW(p, lr=1e-2),
    ],
)
def test_training_steps(optimizer):
    losses, values, state = train(False, optimizer)
    found, others, other_state = train(True, optimizer)
    assert losses == found
    assert all(same(a, b) for a, b in zip(values, others, strict=True))
    assert state["param_groups"] == other_state["param_groups"]


def test_gradients_of_parts_are_put_together():
    def f(x, w):
        a, b, c = (x * w).split(4, 1)
        (a.sin() * 2 + b.t().t().cos() - c).sum().backward()
        g, x.grad = x.grad, None
        return g

    x, w = lucid.randn(6, 12, requires_grad=True), lucid.randn(6, 12)
    compiled = lucid.compile(f)
    assert same(f(x, w), compiled(x, w))
    assert "assembled" in lucid.explain(compiled, x, w).after


def test_batch_norm_statistics():
    lucid.manual_seed(0)
    pairs = []
    for compiled in (False, True):
        lucid.manual_seed(0)
        m = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        f = lucid.compile(m) if compiled else m
        for _ in range(3):
            y = f(lucid.randn(2, 3, 8, 8))
        pairs.append((y.detach(), [b for b in m.buffers()]))
    assert same(pairs[0][0], pairs[1][0])
    assert all(lucid.equal(a, b) for a, b in zip(pairs[0][1], pairs[1][1], strict=True))


def test_a_bad_index_leaves_the_weights():
    table = nn.Embedding(4, 2)
    opt = lucid.optim.SGD(table.parameters(), lr=1.0)

    @lucid.compile
    def step(i):
        opt.zero_grad()
        table(i).sum().backward()
        opt.step()

    step(lucid.tensor([1]))
    step(lucid.tensor([1]))
    before = table.weight.detach().clone()
    with pytest.raises(IndexError, match=r"index 7 is out of range.*of size 4.*test_compile"):
        step(lucid.tensor([7]))
    assert lucid.equal(before, table.weight)


@pytest.mark.parametrize(
    "pick",
    [
        lambda x, i: (x.mean(0) * 1.5).gather(0, i[0]),  # a number, computed
        lambda x, i: lucid.full((3,), 2.0).gather(0, i),  # the same everywhere
        lambda x, i: (x.sum() * 1.5).expand(3).index_select(0, i),  # a number, spread out
        lambda x, i: F.embedding(i, lucid.ones(3, 2)),
    ],
)
def test_places_are_checked_where_what_is_read_does_not_depend_on_them(pick):
    compiled = lucid.compile(pick)
    x, good, bad = lucid.tensor(2.0), lucid.tensor([0, 0]), lucid.tensor([3, 3])
    assert lucid.equal(compiled(x, good), pick(x, good))
    for f in (pick, compiled):
        with pytest.raises(IndexError, match="index 3 is out of range"):
            f(x, bad)


def test_values_are_refused_with_the_line():
    @lucid.compile
    def f(x):
        return x if x.sum().item() > 0 else -x

    with pytest.raises(lucid.error.TraceError, match=r"item.*test_compile.py:\d+.*where"):
        f(lucid.ones(3))


def test_a_number_written_into_a_tensor_is_no_number_any_more():
    def f(x):
        y = x.prod(1)
        y[..., 0].fill_(3)
        return y, y[0] + 1

    x = lucid.arange(12).reshape(3, 4)
    assert [t.tolist() for t in lucid.compile(f)(x)] == [[3, 840, 7920], 4]


def test_a_fold_of_a_view_that_overlaps():
    def f(x):
        windows = x.unfold(0, 2, 1).clone()
        return windows.sum(), windows.mean(), x.unfold(0, 2, 1).clone().exp().sum(1)

    x = lucid.randn(4, 4)
    for a, b in zip(f(x), lucid.compile(f)(x), strict=True):
        assert same(a, b)


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 4), (5,)])
def test_rows_of_what_also_says_which_rows(shape):
    """One kernel reads a tensor at its elements for the places, and at those places."""
    numbers = np.arange(float(np.prod(shape)), dtype=np.float32).reshape(shape) - 3
    table = numbers.reshape(len(numbers), -1)
    got = lucid.compile(
        lambda x: (x[(x > 0).long()], F.embedding((x < 2).long(), x.view(len(x), -1)))
    )(lucid.tensor(numbers))
    assert np.array_equal(got[0].numpy(), numbers[(numbers > 0).astype(int)])
    assert np.array_equal(got[1].numpy(), table[(numbers < 2).astype(int)])


def test_what_was_written_to_a_part_of_a_tensor_is_kept_for_backward():
    """Its rows lie apart, and so do those of what the Node keeps: there is room for the gaps."""
    weight = nn.Parameter(lucid.eye(4))

    @lucid.compile
    def f(x):
        x[..., 0] = 2
        return F.linear(x, weight)

    for seed in range(8):
        numbers = np.random.default_rng(seed).standard_normal((4, 5, 6)).astype(np.float32)
        part = lucid.tensor(numbers)[1:3, 1:4, 1:5]
        y = f(part)
        others = [lucid.ones(4, 5, 6) for _ in range(4)]  # what lies behind is someone else's
        weight.grad = None
        y.sum().backward()
        numbers[1:3, 1:4, 1] = 2
        want = np.broadcast_to(numbers[1:3, 1:4, 1:5].sum((0, 1)), (4, 4))
        assert np.allclose(weight.grad.numpy(), want, atol=1e-5)
        assert all((x == 1).all() for x in others)


def test_folds_of_nothing_next_to_other_axes():
    def f(x):
        return F.one_hot((x[..., 1:] > 0).long(), 3).split(2, 2)[-1].logsumexp(2)

    y = lucid.compile(f)(lucid.randn(3, 1))
    assert (tuple(y.shape), y.dtype) == ((3, 0), f(lucid.randn(3, 1)).dtype)
