"""Long runs hold their memory: training, inference and shapes that vary, the collector off.

bench/memory.py runs the same for 10,000 steps.
"""

import gc

import pytest

import lucid
from lucid import apply, caches, fused, memory, nn, write
from lucid.ops import once


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held():
    """Live bytes of tensors, and Python objects that the collector knows."""
    return memory.stats()["live"], len(gc.get_objects())


def assert_flat(step, warm=30, steps=200):
    for i in range(warm):
        step(i)
    live, objects = held()
    for i in range(steps):
        step(warm + i)
    live_after, objects_after = held()
    assert live_after == live
    assert objects_after - objects < steps / 4  # not one for each step


def failure(call):
    """The message of what a call raises; pytest.raises would leave cycles behind."""
    try:
        call()
    except RuntimeError as error:
        return str(error)
    raise AssertionError("nothing was raised")


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4))


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_training_steps(kind, no_collector):
    model = network()
    optimizer = getattr(lucid.optim, kind)(model.parameters(), lr=1e-3)
    x, y = lucid.randn(6, 8), lucid.tensor([0, 1, 2, 3, 0, 1])

    def step(_):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    assert_flat(step)


def test_inference_requests(no_collector):
    model = network()
    x = lucid.randn(6, 8)

    def request(_):
        with lucid.no_grad():
            model(x).argmax(1).tolist()

    assert_flat(request)


def test_views_writes_hooks_and_failures(no_collector):
    w = lucid.ones(4, 4, requires_grad=True)

    def step(i):
        z = w * 2.0
        z[i % 4].mul_(0.5)
        z.t()[1:].register_hook(lambda g: g)
        z.retain_grad()
        z.sum().backward()
        w.grad = None
        assert "cotangent" in failure(lambda: z.sum().backward(lucid.ones(3)))
        y = z * z
        z.detach().add_(1.0)
        assert "by add_" in failure(lambda: y.sum().backward())
        w.grad = None

    assert_flat(step, steps=100)


def test_caches_are_bounded(monkeypatch):
    monkeypatch.setattr(caches, "MOST_PLANS", 32)
    w = lucid.ones(3, requires_grad=True)
    bounded = {
        "entries": apply._entries, "plans": fused.planned, "views": apply._views,
        "writes": write._entries, "subscripts": once.known, "recipes": apply._recipes,
    }  # fmt: skip
    caches.clear_plans()
    for cache in (apply._views, once.known, apply._recipes):
        cache.clear()
    for n in range(1, 80):
        x = lucid.zeros(n, 3) * w
        x[n - 1].add_(1.0)
        x.reshape(3, n).sum().backward()
    for name, cache in bounded.items():
        assert 0 < len(cache) <= 32, name
