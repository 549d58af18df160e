"""The same bits on any number of threads, fused or not, from many Python threads at once."""

import threading

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F

RNG = np.random.default_rng(0)


def tensor(*shape):
    return lucid.tensor(RNG.standard_normal(shape).astype(np.float32), requires_grad=True)


# Composites and structural ops: (function, inputs).
CASES = {
    "softmax": (lambda x: x.softmax(1), [(33, 130)]),
    "log_softmax": (lambda x: x.log_softmax(0), [(33, 130)]),
    "logsumexp": (lambda x: x.logsumexp(1), [(33, 130)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (130,), w, b), [(33, 130), (130,), (130,)]),
    "layer_norm, columns along with rows": (
        lambda x, w, b: F.layer_norm(x, (70,), w, b),
        [(11, 100, 70), (70,), (70,)],
    ),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        [(8, 5, 6, 6), (5,), (5,)],
    ),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, lucid.arange(33), label_smoothing=0.1),
        [(33, 130)],
    ),
    "mean": (lambda x: x.mean(0), [(333, 70)]),
    "var": (lambda x: x.var(1), [(33, 1300)]),
    "std": (lambda x: x.std(1), [(33, 1300)]),
    "norm": (lambda x: x.norm(3, 1), [(33, 130)]),
    "prod": (lambda x: x.prod(1), [(33, 13)]),
    "gelu": (lambda x: F.gelu(x), [(33, 130)]),
    "mse": (lambda x, y: F.mse_loss(x, y), [(33, 130), (33, 130)]),
    "bce": (
        lambda x, y: F.binary_cross_entropy_with_logits(x, y.detach().sigmoid()),
        [(33, 130), (33, 130)],
    ),
    "attention": (F.scaled_dot_product_attention, [(2, 9, 8), (2, 9, 8), (2, 9, 8)]),
    "matmul": (lambda x, w: x @ w, [(130, 70), (70, 90)]),
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=1), [(4, 6, 9, 9), (8, 6, 3, 3)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [(2, 5, 17, 17)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1), [(2, 5, 17, 17)]),
    "embedding": (lambda w: F.embedding(lucid.arange(60) % 7, w), [(9, 20)]),
    "index": (lambda x: x[lucid.arange(90) % 33], [(33, 130)]),
    "cumsum": (lambda x: x.cumsum(0), [(33, 130)]),
}


def run(function, inputs, create_graph=False):
    y = function(*inputs)
    g = lucid.ones(y.shape) * 0.7
    found = lucid.autograd.grad(y, inputs, g, create_graph=create_graph, allow_unused=True)
    return [t.detach().numpy().copy() for t in (y, *found) if t is not None]


def same(a, b):
    return len(a) == len(b) and all(p.tobytes() == q.tobytes() for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_fused_and_op_by_op(name):
    """A backward of one plan, and the same rules as ordinary recorded ops."""
    function, shapes = CASES[name]
    inputs = [tensor(*s) for s in shapes]
    assert same(run(function, inputs), run(function, inputs, create_graph=True))


@pytest.mark.parametrize("name", CASES)
def test_threads(name):
    function, shapes = CASES[name]
    inputs = [tensor(*s) for s in shapes]
    before = lucid.get_num_threads()
    try:
        found = []
        for n in (1, 2, 4):
            lucid.set_num_threads(n)
            found.append(run(function, inputs))
    finally:
        lucid.set_num_threads(before)
    assert same(found[0], found[1]) and same(found[0], found[2])


def test_eight_python_threads_run_one_model():
    inputs = [tensor(17, 20), tensor(30, 20), tensor(30), tensor(10, 30)]

    def model(x, w, b, v):
        h = F.layer_norm(F.linear(x, w, b).relu(), (30,))
        return F.cross_entropy(F.linear(h, v), lucid.arange(17) % 10)

    want = run(model, inputs)
    wrong = []

    def work():
        for _ in range(20):
            if not same(run(model, inputs), want):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
