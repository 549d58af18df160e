"""lucid.autograd.graph and detect_anomaly: what graphs keep, hooks over several tensors, NaN."""

import gc

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.autograd import Function, detect_anomaly, grad, graph, set_detect_anomaly

f64 = lucid.float64


def leaf(*values):
    return lucid.tensor(values, dtype=f64, requires_grad=True)


def program(x, w):
    y = (x * w).sin()
    y = y.softmax(0) + x.exp()[:2].sum()
    z = y.clone()
    z[0] = y[1] * y[2]
    return (z.view(3, 1) @ w.view(1, 3)).tanh().sum()


def gradients(create, pack=None):
    x, w = leaf(0.1, 0.5, -0.3), leaf(1.0, -2.0, 0.4)
    if pack is None:
        y = program(x, w)
    else:
        with graph.saved_tensors_hooks(*pack):
            y = program(x, w)
    found = lucid.autograd.grad(y, (x, w), create_graph=create)
    if create:
        found += lucid.autograd.grad(sum((g * g).sum() for g in found), (x, w))
    return [g.detach().numpy().copy() for g in found]


@pytest.mark.parametrize("create", [False, True])
def test_packed_tensors_give_the_same_gradients(create):
    seen = []

    def pack(x):
        assert not x.requires_grad and not lucid.is_grad_enabled()
        seen.append(x.shape)
        (x * 2).sum()  # what a hook computes is not packed itself
        return x.numpy().copy(), x.stride()

    def unpack(kept):
        return lucid.tensor(kept[0])

    for got, want in zip(gradients(create, (pack, unpack)), gradients(create), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)
    assert len(seen) > 5


def test_packed_tensors_are_not_held():
    class Big:
        alive = 0

        def __init__(self):
            Big.alive += 1

        def __del__(self):
            Big.alive -= 1

    x = lucid.rand(1000, dtype=f64, requires_grad=True)
    before = lucid.memory.stats()["live"]
    with graph.saved_tensors_hooks(lambda t: Big(), lambda k: None):
        y = x.sin().exp().sum()
    assert lucid.memory.stats()["live"] - before < 1000
    assert Big.alive == 2
    gc.disable()
    del y
    assert Big.alive == 0
    gc.enable()


def test_functions_and_nested_hooks():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * y / x

    order = []

    def hooks(name):
        return lambda t: order.append(name) or t.clone(), lambda t: order.append(name.upper()) or t

    x = leaf(3.0)
    with graph.saved_tensors_hooks(*hooks("a")):
        with graph.saved_tensors_hooks(*hooks("b")):
            y = Twice.apply(x)
        z = y * y
    z.sum().backward()
    assert x.grad.tolist() == [24.0] and order == ["b", "b", "a", "a", "A", "A", "B", "B"]


def test_errors_of_hooks():
    x = leaf(1.0, 2.0)

    def with_hooks(pack, unpack):
        with graph.saved_tensors_hooks(pack, unpack):
            return (x * x).sum()

    with pytest.raises(TypeError, match="unpack_hook returned int"):
        with_hooks(lambda t: t, lambda t: 3).backward()
    mapped = []
    y = with_hooks(lambda t: t, lambda t: mapped[-1])
    with pytest.raises(TypeError, match="unpack_hook returned Batched, a tensor in memory"):
        # The hook gives back a tensor of the map that the gradient is taken in.
        lucid.func.vmap(lambda g: mapped.append(g * x) or grad(y, x, g)[0])(lucid.ones(2))
    with pytest.raises(RuntimeError, match=r"shape \(1,\) .* saved was one of shape \(2,\)"):
        with_hooks(lambda t: t, lambda t: t[:1]).backward()
    with pytest.raises(RuntimeError, match="pack_hook has modified"):
        with_hooks(lambda t: t.mul_(2), lambda t: t)
    with pytest.raises(TypeError, match="pack_hook is not callable"):
        graph.saved_tensors_hooks(None, None)
    y = x * 1
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        z = y * y
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified in place"):
        z.sum().backward()
    with graph.disable_saved_tensors_hooks("no hooks here"):
        with pytest.raises(RuntimeError, match="no hooks here"):
            with_hooks(lambda t: t, lambda t: t)
    with_hooks(lambda t: t, lambda t: t)
    x = leaf(1.0, 2.0)
    assert lucid.autograd.grad((x * x).sum(), x)[0].tolist() == [2.0, 4.0]


def test_save_on_cpu():
    for pinned in (False, True):
        x = leaf(1.0, 2.0)
        with graph.save_on_cpu(pin_memory=pinned):
            y = (x * x).sum()
        y.backward()
        assert x.grad.tolist() == [2.0, 4.0]


def test_increment_version():
    x, w = leaf(1.0), leaf(2.0)
    y = x * w
    graph.increment_version(x)
    graph.increment_version([w, w])
    assert (x._version, w._version) == (1, 2)
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()
    with pytest.raises(TypeError, match="float"):
        graph.increment_version([1.0])


def test_nodes():
    x = leaf(1.0)
    y = x * 2
    assert isinstance(y.grad_fn, graph.Node) and y.grad_fn.name() == "MulBackward"
    z = y.sin()
    assert z.grad_fn.next_functions == ((y.grad_fn, 0),)
    end, number = y.grad_fn.next_functions[0]
    assert end.variable is x and number == 0 and end.next_functions == ()
    assert end == (x * 3).grad_fn.next_functions[0][0] and end.name() == "AccumulateGrad"
    z.grad_fn.metadata["key"] = 1
    assert z.grad_fn.metadata == {"key": 1}


def test_hooks_over_several_tensors():
    x, w, v = leaf(1.0), leaf(2.0), leaf(3.0)
    y = x * w
    calls = []
    handle = graph.register_multi_grad_hook((x, y, v, lucid.ones(1)), calls.append)
    (y * w).backward(retain_graph=True)
    assert [None if g is None else g.item() for g in calls.pop()] == [4.0, 2.0, None, None]
    lucid.autograd.grad(y * v, (v, x))
    found = calls.pop()
    assert [None if g is None else g.item() for g in found] == [6.0, 3.0, 2.0, None]
    v.sum().backward()
    assert [None if g is None else g.item() for g in calls.pop()] == [None, None, 1.0, None]
    handle.remove()
    v.sum().backward()
    assert calls == []
    with graph.register_multi_grad_hook((x, w), calls.append, mode="any"):
        (x * w).backward()
        assert len(calls) == 1
        (x * w).backward()
        assert len(calls) == 2
    (x * w).backward()
    assert len(calls) == 2
    with pytest.raises(ValueError, match="'some'"):
        graph.register_multi_grad_hook((x,), calls.append, mode="some")
    with pytest.raises(RuntimeError, match="none of the tensors"):
        graph.register_multi_grad_hook((lucid.ones(1),), calls.append)


# anomalies


def test_the_line_of_a_nan_is_named():
    def loss(x):
        y = x.sqrt()  # the line that is named
        return (y * 0).sum()

    with pytest.raises(RuntimeError) as caught, detect_anomaly():
        loss(leaf(0.0, 4.0)).backward()
    line = loss.__code__.co_firstlineno + 1
    message = str(caught.value)
    assert message.startswith("SqrtBackward: the gradient of input 0 ('x') of sqrt")
    assert "1 NaN" in message and f"test_autograd_graph.py:{line}" in message
    (note,) = caught.value.__notes__
    assert "in loss" in note and "in test_the_line_of_a_nan_is_named" in note


def test_anomalies_only_where_asked_for():
    x = leaf(0.0)
    (x.sqrt() * 0).sum().backward()
    assert x.grad.isnan().all()
    with detect_anomaly(check_nan=False):
        (x.sqrt() * 0).sum().backward()
        assert lucid.autograd.is_anomaly_enabled()
        assert not lucid.autograd.is_anomaly_check_nan_enabled()
    y = (x.sqrt() * 0).sum()
    with detect_anomaly(), pytest.raises(RuntimeError, match="SqrtBackward") as caught:
        y.backward()
    assert "run the forward within the block too" in caught.value.__notes__[0]
    assert not lucid.autograd.is_anomaly_enabled()
    set_detect_anomaly(True)
    try:
        with set_detect_anomaly(False):
            assert not lucid.autograd.is_anomaly_enabled()
        assert lucid.autograd.is_anomaly_check_nan_enabled()
    finally:
        set_detect_anomaly(False)
    with pytest.raises(TypeError, match="must be a bool"):
        set_detect_anomaly(1)


def test_anomalies_of_functions_and_later_operations():
    class Bad(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * float("nan")

    class Raises(Bad):
        @staticmethod
        def backward(ctx, g):
            raise KeyError("inside")

    x = leaf(1.0)
    with detect_anomaly():
        with pytest.raises(RuntimeError, match="BadBackward: .* of Bad, .* ran at .*graph.py"):
            Bad.apply(x).sum().backward()
        with pytest.raises(KeyError) as caught:
            Raises.apply(x).sum().backward()
        assert "The operation Raises ran at" in caught.value.__notes__[0]
        y = x.sin()
        with pytest.raises(RuntimeError, match="SinBackward.*NaN was in what arrived"):
            y.backward(lucid.tensor([float("nan")], dtype=f64))


def test_anomalies_in_modules_and_second_derivatives():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    with detect_anomaly():
        model(lucid.ones(1, 2)).sum().backward()
        x = leaf(0.0)
        (g,) = lucid.autograd.grad(x.abs() ** 1.5, x, create_graph=True)
        with pytest.raises(RuntimeError, match="NaN"):
            g.backward()


def test_live_against_torch():
    torch = pytest.importorskip("torch")

    def run(lib):
        x = lib.tensor([0.5, 2.0], dtype=lib.float64, requires_grad=True)
        w = lib.tensor([3.0, 4.0], dtype=lib.float64, requires_grad=True)
        found = []
        with lib.autograd.graph.saved_tensors_hooks(lambda t: t * 1, lambda t: t * 2):
            y = (x * w).sum()
        lib.autograd.graph.register_multi_grad_hook((x, w), lambda gs: found.extend(gs))
        y.backward()
        return [t.tolist() for t in (x.grad, w.grad, *found)]

    assert run(lucid) == run(torch)
