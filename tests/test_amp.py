"""autocast: types by class, gradients, caches, threads, traces; GradScaler; custom_fwd and bwd."""

import threading
import warnings

import numpy as np
import pytest

import lucid
from lucid import amp, nn, optim
from lucid.nn import functional as F

BF16, F16, F32, F64 = lucid.bfloat16, lucid.float16, lucid.float32, lucid.float64


def test_types_by_class():
    x, w = lucid.ones(4, 4), lucid.ones(4, 4)
    for low in (BF16, F16):
        with lucid.autocast("cpu", dtype=low):
            y = x @ w
            assert y.dtype is low
            assert F.linear(x, w, lucid.ones(4)).dtype is low
            assert F.softmax(y, -1).dtype is F32 and y.exp().dtype is F32
            assert F.cross_entropy(y, lucid.tensor([0, 1, 2, 3])).dtype is F32
            assert (y + x).dtype is F32 and (y + y).dtype is low and y.relu().dtype is low
            assert (x.double() @ w.double()).dtype is F64
            assert F.conv2d(lucid.ones(1, 1, 4, 4), lucid.ones(1, 1, 3, 3)).dtype is low
        assert (x @ w).dtype is F32


def test_values_are_those_of_a_cast_by_hand():
    rng = np.random.default_rng(0)
    x, w = (lucid.tensor(rng.standard_normal((8, 8)).astype(np.float32)) for _ in range(2))
    with lucid.autocast("cpu"):
        got = x @ w
    np.testing.assert_array_equal(got.float().numpy(), (x.to(BF16) @ w.to(BF16)).float().numpy())


def test_gradients_are_those_of_a_cast_by_hand():
    rng = np.random.default_rng(1)
    x = lucid.tensor(rng.standard_normal((5, 3)).astype(np.float32))
    values = rng.standard_normal((3, 2)).astype(np.float32)
    w, v = (lucid.tensor(values, requires_grad=True) for _ in range(2))
    with lucid.autocast("cpu"):
        (x @ w).float().square().sum().backward()
    (x.to(BF16) @ v.to(BF16)).float().square().sum().backward()
    assert w.grad.dtype is F32
    np.testing.assert_array_equal(w.grad.numpy(), v.grad.numpy())


def test_backward_inside_and_outside_agree():
    def gradient(inside):
        lucid.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))
        x, t = lucid.randn(6, 4), lucid.tensor([0, 1, 2, 0, 1, 2])
        with lucid.autocast("cpu"):
            loss = F.cross_entropy(model(x), t)
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        return [p.grad.numpy().copy() for p in model.parameters()]

    for a, b in zip(gradient(True), gradient(False), strict=True):
        np.testing.assert_array_equal(a, b)


def test_plans_made_inside_are_not_used_outside():
    """Composites and backward passes are planned once, for both."""
    x = lucid.rand(7, 5, requires_grad=True)

    def value(on):
        with lucid.autocast("cpu", enabled=on):
            y = F.scaled_dot_product_attention(x[None], x[None], x[None])
            y = F.layer_norm(y, (5,)).float()
        x.grad = None
        y.sum().backward()
        return y.detach().numpy(), x.grad.numpy().copy()

    inside, outside = value(True), value(False)
    again = value(False)
    for a, b in zip(outside, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(inside[0], outside[0])


def test_nesting_and_leaving():
    x = lucid.ones(2, 2)
    assert not lucid.is_autocast_enabled("cpu")
    with lucid.autocast("cpu"):
        assert lucid.is_autocast_cpu_enabled() and lucid.get_autocast_cpu_dtype() is BF16
        with lucid.autocast("cpu", enabled=False):
            assert (x @ x).dtype is F32 and not lucid.is_autocast_enabled("cpu")
            with lucid.autocast("cpu", dtype=F16):
                assert (x @ x).dtype is F16
        assert (x @ x).dtype is BF16
    with pytest.raises(ZeroDivisionError), lucid.autocast("cpu"):
        raise ZeroDivisionError
    assert (x @ x).dtype is F32


def test_as_a_decorator_and_again():
    x = lucid.ones(2, 2)

    @lucid.autocast("cpu", dtype=F16)
    def product(x):
        return x @ x

    assert product(x).dtype is F16 and product(x).dtype is F16 and (x @ x).dtype is F32
    block = lucid.autocast("cpu")
    for _ in range(2):
        with block:
            assert (x @ x).dtype is BF16


def test_other_devices_and_types_warn_and_are_off():
    x = lucid.ones(2, 2)
    with pytest.warns(UserWarning, match="'cuda' is not here"), lucid.autocast("cuda"):
        assert (x @ x).dtype is F32
    with pytest.warns(UserWarning, match="bfloat16 or float16"), lucid.autocast("cpu", dtype=F64):
        assert (x @ x).dtype is F32
    with lucid.autocast("cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with lucid.autocast("cuda"):
            assert (x @ x).dtype is BF16  # that of the CPU stays on
    with pytest.raises(ValueError, match="device_type"):
        lucid.autocast(BF16)


def test_threads_have_their_own():
    x = lucid.ones(2, 2)
    seen = []
    with lucid.autocast("cpu"):
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start()
        thread.join()
        assert (x @ x).dtype is BF16
    assert seen == [F32]


def test_parameters_are_cast_once():
    w = nn.Parameter(lucid.ones(3, 3))
    x = lucid.ones(2, 3)
    with lucid.autocast("cpu"):
        first = (x @ w).sum() + (x @ w).sum()
        first.float().backward()
        np.testing.assert_array_equal(w.grad.numpy(), np.full((3, 3), 4.0))
        with lucid.no_grad():
            w.mul_(2)  # what was cast before is not what it is now
        assert (x @ w)[0, 0].item() == 6.0
        (x @ w).sum().float().backward()
        np.testing.assert_array_equal(w.grad.numpy(), np.full((3, 3), 6.0))
        with lucid.no_grad():
            x @ w
        assert (x @ w).requires_grad  # what was cast without gradients is not used with them
        lucid.clear_autocast_cache()
    with lucid.autocast("cpu", cache_enabled=False):
        assert not lucid.is_autocast_cache_enabled() and (x @ w)[0, 0].item() == 6.0


def test_a_loop_of_steps_inside():
    model = nn.Linear(3, 1)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    x = lucid.rand(16, 3)
    with lucid.autocast("cpu"):
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x).float(), x.sum(1, keepdim=True))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert all(p.dtype is F32 for p in model.parameters())


def test_checkpoint_runs_again_in_the_same_types():
    def gradient(checkpointed):
        lucid.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
        x = lucid.rand(3, 4, requires_grad=True)
        with lucid.autocast("cpu"):
            y = lucid.utils.checkpoint.checkpoint(model, x) if checkpointed else model(x)
        y.float().square().sum().backward()
        return [x.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]

    for a, b in zip(gradient(True), gradient(False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_set_autocast_enabled():
    x = lucid.ones(2, 2)
    lucid.set_autocast_enabled("cpu", True)
    try:
        assert (x @ x).dtype is BF16
    finally:
        lucid.set_autocast_enabled("cpu", False)
    assert (x @ x).dtype is F32
    lucid.set_autocast_dtype("cpu", F16)
    try:
        with lucid.autocast("cpu"):
            assert (x @ x).dtype is F16
    finally:
        lucid.set_autocast_dtype("cpu", BF16)
    with pytest.raises(RuntimeError, match="bfloat16 or float16"):
        lucid.set_autocast_dtype("cpu", F32)


def test_custom_functions():
    seen = []

    class Cast(lucid.autograd.Function):
        @staticmethod
        @amp.custom_fwd(device_type="cpu", cast_inputs=F32)
        def forward(ctx, x, w):
            seen.append((x.dtype, lucid.is_autocast_enabled("cpu")))
            ctx.save_for_backward(x, w)
            return x @ w

        @staticmethod
        @amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            seen.append((g.dtype, lucid.is_autocast_enabled("cpu")))
            return g @ w.t(), x.t() @ g

    x = lucid.ones(2, 2, requires_grad=True)
    with lucid.autocast("cpu"):
        y = Cast.apply(x.to(BF16), lucid.ones(2, 2))
    assert y.dtype is F32
    y.sum().backward()
    assert seen == [(F32, False), (F32, False)] and x.grad.dtype is F32
    seen.clear()

    class Keep(lucid.autograd.Function):
        @staticmethod
        @amp.custom_fwd(device_type="cpu")
        def forward(ctx, x):
            return x @ x

        @staticmethod
        @amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            seen.append(lucid.is_autocast_enabled("cpu"))
            return g.float()

    with lucid.autocast("cpu"):
        y = Keep.apply(x)
    y.float().sum().backward()
    assert seen == [True] and y.dtype is BF16 and not lucid.is_autocast_enabled("cpu")


def scaled(scale=4.0, **options):
    p = nn.Parameter(lucid.tensor([1.0, 2.0]))
    optimizer = optim.SGD([p], lr=0.5)
    return p, optimizer, amp.GradScaler("cpu", init_scale=scale, **options)


def test_scaler_steps_as_without():
    p, optimizer, scaler = scaled(growth_interval=2)
    for step in range(4):
        optimizer.zero_grad()
        loss = scaler.scale((p * p).sum())
        assert loss.item() == pytest.approx((p * p).sum().item() * scaler.get_scale())
        loss.backward()
        scaler.step(optimizer)
        scaler.update()
        np.testing.assert_allclose(p.detach().numpy(), [0.0, 0.0])
        assert scaler.get_scale() == 4.0 * 2.0 ** ((step + 1) // 2)


def test_scaler_leaves_out_steps_that_overflow():
    for bad in (float("inf"), float("nan")):
        p, optimizer, scaler = scaled()
        p.grad = lucid.tensor([1.0, bad])
        assert scaler.step(optimizer) is None
        scaler.update()
        assert p.tolist() == [1.0, 2.0] and scaler.get_scale() == 2.0
        p.grad = lucid.tensor([2.0, 2.0])
        scaler.step(optimizer)
        scaler.update()
        assert p.tolist() == [0.5, 1.5] and scaler.get_scale() == 2.0


def test_scaler_unscales_once():
    p, optimizer, scaler = scaled()
    p.grad = lucid.tensor([4.0, 8.0])
    scaler.unscale_(optimizer)
    assert p.grad.tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert p.tolist() == [0.5, 1.0]
    with pytest.raises(RuntimeError, match="step\\(\\) has already"):
        scaler.step(optimizer)
    scaler.update(new_scale=8.0)
    assert scaler.get_scale() == 8.0
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.update()
    half = nn.Parameter(lucid.ones(2, dtype=F16))
    half.grad = lucid.ones(2, dtype=F16)
    with pytest.raises(ValueError, match="FP16"):
        scaler.unscale_(optim.SGD([half]))
    with pytest.raises(RuntimeError, match="Closure"):
        scaler.step(optimizer, closure=lambda: None)


def test_scaler_state_and_off():
    _, _, scaler = scaled(growth_factor=3.0, backoff_factor=0.25, growth_interval=7)
    state = scaler.state_dict()
    other = amp.GradScaler("cpu")
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert state == {"scale": 4.0, "growth_factor": 3.0, "backoff_factor": 0.25,
                     "growth_interval": 7, "_growth_tracker": 0}  # fmt: skip
    with pytest.raises(RuntimeError, match="empty"):
        other.load_state_dict({})
    off = amp.GradScaler("cpu", enabled=False)
    p, optimizer, _ = scaled()
    p.grad = lucid.ones(2)
    off.step(optimizer)
    off.update()
    assert p.tolist() == [0.5, 1.5] and off.scale(p) is p and off.state_dict() == {}
    with pytest.warns(UserWarning, match="'cuda' is not here"):
        assert not amp.GradScaler().is_enabled()
    assert [x.item() for x in scaler.scale([lucid.tensor(1.0), lucid.tensor(2.0)])] == [4.0, 8.0]


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    shapes = [(16, 8), (16,), (4, 16), (4,)]
    weights = [rng.standard_normal(s).astype(np.float32) * 0.3 for s in shapes]
    x, t = rng.standard_normal((32, 8)).astype(np.float32), rng.integers(0, 4, 32)
    found = []
    for library in (lucid, torch):
        nn_ = library.nn
        model = nn_.Sequential(nn_.Linear(8, 16), nn_.GELU(), nn_.Linear(16, 4))
        for p, value in zip(model.parameters(), weights, strict=True):
            p.data.copy_(library.tensor(value))
        with library.autocast("cpu", dtype=library.bfloat16):
            loss = nn_.functional.cross_entropy(model(library.tensor(x)), library.tensor(t))
        loss.backward()
        found.append([loss.item(), *[p.grad.numpy() for p in model.parameters()]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-2, atol=3e-3)
