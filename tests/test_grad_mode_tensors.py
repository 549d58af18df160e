"""Tensors under no_grad: what is recorded, saved, shared and refused, and what layers compute."""

import contextlib
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.config import settings
from tests.programs import run_python

pytestmark = pytest.mark.usefixtures("mode_is_left_on")


@pytest.fixture
def no_cycles() -> Iterator[None]:
    """Python's cycle collector is off: what is freed is freed by its reference count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(*values: float) -> Any:
    return lucid.tensor(list(values), requires_grad=True)


# --- What a result knows --------------------------------------------------------------------------


def test_the_family_is_in_lucid_and_in_autograd() -> None:
    names = "no_grad enable_grad set_grad_enabled is_grad_enabled inference_mode"
    for name in [*names.split(), "grad_enabled", "propagate_grad_mode"]:
        assert getattr(lucid, name) is getattr(lucid.autograd, name)
    assert lucid._grad_enabled is True
    with lucid.no_grad():
        assert lucid._grad_enabled is False


def test_results_made_inside_know_no_history() -> None:
    w = leaf(1.0, 2.0)
    with lucid.no_grad():
        y = w * 3 + 1
    assert (y.requires_grad, y.grad_fn, y.is_leaf) == (False, None, True)
    with pytest.raises(RuntimeError, match="no_grad"):
        y.sum().backward()
    z = w * 3
    assert z.requires_grad and z.grad_fn is not None and not z.is_leaf


def test_the_error_names_the_line_at_debug() -> None:
    done = run_python(
        """
        import lucid
        w = lucid.ones(2, requires_grad=True)
        with lucid.no_grad():
            y = (w * 2).sum()
        try:
            y.backward()
        except RuntimeError as error:
            print(error)
        """,
        LUCID_DEBUG="1",
    )
    assert "<string>:5" in done.stdout, done.stdout + done.stderr


def test_backward_through_a_mixed_graph_stops_at_what_was_made_inside() -> None:
    w = leaf(2.0)
    with lucid.no_grad():
        k = w * 10
    (w * k).sum().backward()
    assert w.grad.item() == 20.0


def test_inference_mode_results_are_ordinary_tensors() -> None:
    w = leaf(2.0, 3.0)
    with lucid.inference_mode():
        x = lucid.tensor([1.0, 2.0]) * 2
    (x * w).sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]
    x.add_(1)
    assert x.requires_grad_().requires_grad


# --- Views ----------------------------------------------------------------------------------------


def test_a_view_made_inside_requires_no_grad_and_shares_its_version() -> None:
    w = lucid.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with lucid.no_grad():
        for view in (w[0], w.view(4), w.t(), w.reshape(4, 1), w.detach()):
            assert not view.requires_grad and view.grad_fn is None
            assert view._version == w._version
        before = w._version
        w[0].mul_(2)
        assert w._version > before
    assert w.detach().tolist() == [[2.0, 4.0], [3.0, 4.0]]
    assert w.requires_grad and w.is_leaf


def test_an_operation_that_returns_its_input_returns_the_object() -> None:
    w = leaf(1.0)
    with lucid.no_grad():
        assert w.to(w.dtype) is w and w.contiguous() is w and w.float() is w
        assert w.to(w.dtype).requires_grad


def test_writing_in_grad_mode_to_a_view_made_inside() -> None:
    free = lucid.zeros(3)
    with lucid.no_grad():
        view = free[:2]
    view.add_(1)
    assert free.tolist() == [1.0, 1.0, 0.0]
    w = leaf(1.0, 2.0, 3.0)
    with lucid.no_grad():
        view = w[:2]
    with pytest.raises(RuntimeError, match="no_grad"):
        view.add_(1)
    assert w.detach().tolist() == [1.0, 2.0, 3.0]
    with lucid.no_grad():
        view.add_(1)
    assert w.detach().tolist() == [2.0, 3.0, 3.0]


def test_the_error_for_such_a_view_names_both_lines_at_debug() -> None:
    done = run_python(
        """
        import lucid
        w = lucid.ones(3, requires_grad=True)
        with lucid.no_grad():
            view = w[:2]
        try:
            view.add_(1)
        except RuntimeError as error:
            print(error)
        """,
        LUCID_DEBUG="1",
    )
    assert "<string>:5" in done.stdout and "<string>:7" in done.stdout, done.stdout + done.stderr


def test_a_view_whose_base_was_written_keeps_its_history() -> None:
    for look_inside in (False, True):
        w = leaf(2.0, 3.0)
        base = lucid.ones(2)
        view = base[:1]
        base.mul_(w)
        if look_inside:
            with lucid.no_grad():
                assert view.requires_grad
        y = view * 5
        assert y.requires_grad
        y.sum().backward()
        assert w.grad.tolist() == [5.0, 0.0]


def test_backward_from_a_view_whose_base_was_written() -> None:
    w = leaf(2.0, 3.0)
    base = w * 1
    view = base[0]
    base.mul_(10)
    view.backward()
    assert w.grad.tolist() == [10.0, 0.0]


# --- Leaves and writes ----------------------------------------------------------------------------


def test_what_asks_for_gradients_inside_gets_them() -> None:
    with lucid.no_grad():
        made = [
            lucid.zeros(2, requires_grad=True),
            lucid.tensor([1.0], requires_grad=True),
            lucid.randn(2, requires_grad=True),
            nn.Parameter(lucid.ones(2)),
            lucid.ones(2).requires_grad_(),
        ]
    for x in made:
        assert x.requires_grad and x.is_leaf
        (x * 2).sum().backward()
        assert x.grad.tolist() == [2.0] * x.numel()


def test_writes_to_a_leaf() -> None:
    w = leaf(1.0, 2.0)
    for write in (lambda: w.mul_(2), lambda: w.copy_(w.detach()), lambda: w.__setitem__(0, 1.0)):
        with pytest.raises(RuntimeError, match="leaf"):
            write()
    with pytest.raises(RuntimeError):
        lucid.add(w, 1, out=w)
    assert w._version == 0
    with lucid.no_grad():
        w.mul_(2)
        w[0] = 7.0
        w.zero_().add_(1)
        lucid.add(w, 1, out=w)
        assert w._version == 5
    assert w.requires_grad and w.is_leaf and w.detach().tolist() == [2.0, 2.0]


def test_a_write_inside_is_seen_by_the_version_check() -> None:
    w, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (w * x).sum()
    with lucid.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_detach_and_data() -> None:
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    assert w.data.data_ptr() == w.detach().data_ptr() == w.data_ptr()
    assert not w.data.requires_grad
    w.data.mul_(2)
    assert w._version == w.detach()._version == 1
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()
    y = (w * w).sum()
    w.data = lucid.tensor([10.0, 10.0])  # other bytes: the graph keeps the old ones
    y.backward()
    assert w.grad.tolist() == [4.0, 8.0] and w.requires_grad and w.is_leaf


def test_reading_works_inside_on_any_tensor() -> None:
    w = leaf(1.5)
    y = w * 2
    with lucid.no_grad():
        assert y.item() == 3.0 and float(w) == 1.5 and y.tolist() == [3.0]
        assert "3." in repr(y)
        assert w.numpy().tolist() == [1.5] and np.asarray(y).tolist() == [3.0]


# --- Backward inside ------------------------------------------------------------------------------


def test_backward_and_grad_of_a_graph_made_outside() -> None:
    w = leaf(3.0)
    y = w * w * w
    with lucid.no_grad():
        [first] = lucid.autograd.grad(y, w, create_graph=True)
        assert first.requires_grad and not lucid.is_grad_enabled()
        [second] = lucid.autograd.grad(first, w)
        assert not second.requires_grad
        (w.detach() * 2).sum()
    assert first.item() == 27.0 and second.item() == 18.0
    z = (w * w).sum()
    with lucid.no_grad():
        z.backward()
    assert w.grad.item() == 6.0 and not w.grad.requires_grad


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("create", [True, False])
def test_the_mode_during_backward_is_create_graph(outer: bool, create: bool) -> None:
    seen = []
    w = leaf(2.0)
    y = w * w

    def hook(g: Any) -> None:
        seen.append(lucid.is_grad_enabled())
        v = leaf(1.0)
        with lucid.enable_grad():
            z = (v * v).sum()
        lucid.autograd.grad(z, v, create_graph=not create)
        seen.append(lucid.is_grad_enabled())

    y.register_hook(hook)
    with lucid.set_grad_enabled(outer):
        lucid.autograd.grad(y, w, lucid.ones(1), create_graph=create)
        assert lucid.is_grad_enabled() is outer
    assert seen == [create, create]


def test_an_error_in_a_hook_restores_the_mode() -> None:
    w = leaf(2.0)
    y = w * w

    def hook(g: Any) -> None:
        raise ZeroDivisionError

    y.register_hook(hook)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward()
    assert lucid.is_grad_enabled()


# --- Nothing is saved -----------------------------------------------------------------------------


def test_an_intermediate_dies_at_its_last_use(no_cycles: None) -> None:
    w = leaf(*map(float, range(100)))
    for enabled, alive in [(True, True), (False, False)]:
        with lucid.set_grad_enabled(enabled):
            h = w.exp()
            storage = weakref.ref(h)
            y = h * w
            del h
        # With gradients on the product keeps exp's result, or its bytes, for its rule.
        assert not alive or y.grad_fn is not None
        if not alive:
            assert storage() is None
    del y


@pytest.mark.parametrize("layers", [2, 12])
def test_the_peak_is_the_largest_live_set(no_cycles: None, layers: int) -> None:
    w = lucid.randn(1 << 16, requires_grad=True)
    size = (1 << 16) * 4

    def forward() -> Any:
        x = w
        for _ in range(layers):
            x = (x * w).exp()
        return x

    peaks = {}
    for enabled in (True, False):
        with lucid.set_grad_enabled(enabled):
            forward()
            before = lucid.memory.stats()["live"]
            lucid.memory.reset_peak()
            y = forward()
            peaks[enabled] = lucid.memory.stats()["peak"] - before
            del y
            assert lucid.memory.stats()["live"] == before
    # The input of a layer, the product inside it, and its result.
    assert peaks[False] <= 3.1 * size
    assert peaks[True] >= layers * size


def test_no_exception_pins_a_tensor(no_cycles: None) -> None:
    w = lucid.randn(1 << 16, requires_grad=True)
    before = lucid.memory.stats()["live"]
    for mode in (lucid.no_grad, lucid.enable_grad):
        with contextlib.suppress(RuntimeError), mode():
            (w * 2) @ lucid.ones(3, 3)
        assert lucid.memory.stats()["live"] == before


# --- Layers, hooks, optimizers --------------------------------------------------------------------

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(33, 17), (5, 33)),
    "Conv2d": (lambda: nn.Conv2d(3, 8, 3, padding=1), (2, 3, 9, 9)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 5)),
    "LayerNorm": (lambda: nn.LayerNorm(33), (5, 33)),
    "GELU": (lambda: nn.GELU(), (5, 33)),
    "Softmax": (lambda: nn.Softmax(-1), (5, 33)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (2, 3, 8, 8)),
    "Sequential": (
        lambda: nn.Sequential(nn.Linear(33, 40), nn.ReLU(), nn.LayerNorm(40), nn.Linear(40, 3)),
        (5, 33),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("train", [True, False])
def test_a_layer_computes_the_same_bits_in_both_modes(name: str, train: bool) -> None:
    make, shape = LAYERS[name]
    lucid.manual_seed(0)
    layer, x = make().train(train), lucid.randn(*shape)
    recorded = layer(x.clone().requires_grad_())
    with lucid.no_grad():
        plain = layer(x)
    assert recorded.requires_grad and not plain.requires_grad
    assert recorded.detach().numpy().tobytes() == plain.numpy().tobytes()


def test_batch_norm_in_train_mode_counts_inside_too() -> None:
    layer, x = nn.BatchNorm2d(3), lucid.randn(4, 3, 5, 5) + 2
    with lucid.no_grad():
        layer(x)
    assert layer.num_batches_tracked.item() == 1
    assert (layer.running_mean.numpy() != 0).all()
    layer.eval()
    before = layer.running_mean.numpy().copy()
    layer(x)
    assert (layer.running_mean.numpy() == before).all()


def test_hooks() -> None:
    forward, backward = [], []
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(lambda *_: forward.append(1))
    layer.register_full_backward_hook(lambda *_: backward.append(1))
    with lucid.no_grad():
        y = layer(lucid.ones(1, 3))
    assert (len(forward), y.grad_fn) == (1, None)
    layer(lucid.ones(1, 3)).sum().backward()
    assert (len(forward), len(backward)) == (2, 1)


def test_an_optimizer_updates_with_gradients_off_and_closes_over_on() -> None:
    seen = []

    class Descent(lucid.optim.Optimizer):  # type: ignore[misc, name-defined]
        def update(self, group: Any) -> None:
            seen.append(lucid.is_grad_enabled())
            for p in group["params"]:
                p.sub_(p.grad)

    w = leaf(1.0)
    optimizer = Descent([w], {})

    def closure() -> Any:
        seen.append(("closure", lucid.is_grad_enabled()))
        optimizer.zero_grad()
        loss = (w * 3).sum()
        loss.backward()
        return loss

    for outer in (True, False):
        with lucid.set_grad_enabled(outer):
            assert optimizer.step(closure).item() == (3.0 if outer else -6.0)
            assert lucid.is_grad_enabled() is outer
    assert ("closure", True) in seen and ("closure", False) not in seen and True not in seen
    assert w.detach().item() == -5.0 and w.is_leaf and w.requires_grad


def test_state_dict_in_any_mode() -> None:
    one, two = nn.Linear(3, 2), nn.Linear(3, 2)
    with lucid.no_grad():
        state = one.state_dict()
        two.load_state_dict(state)
    assert all(p.requires_grad and p.is_leaf for p in two.parameters())
    assert two.weight.detach().numpy().tobytes() == one.weight.detach().numpy().tobytes()
    assert all(not x.requires_grad for x in one.state_dict().values())


def test_threads_record_each_in_its_own_mode() -> None:
    w, found = leaf(2.0), []

    def work() -> None:
        y = (w * w).sum()
        found.append((y.requires_grad, lucid.autograd.grad(y, w)[0].item()))

    with lucid.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not (w * 1).requires_grad
    assert found == [(True, 4.0)]


# --- Built on top ---------------------------------------------------------------------------------


def test_function_keeps_nothing_inside(no_cycles: None) -> None:
    contexts = []

    class Square(lucid.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            contexts.append(weakref.ref(ctx))
            assert not lucid.is_grad_enabled()
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            [x] = ctx.saved_tensors
            return 2 * x * g

    w = leaf(3.0)
    with lucid.no_grad():
        y = Square.apply(w)
    assert not y.requires_grad and y.grad_fn is None and contexts[0]() is None
    Square.apply(w).sum().backward()
    assert w.grad.item() == 6.0


def test_checkpoint(recwarn: pytest.WarningsRecorder) -> None:
    from lucid.utils.checkpoint import checkpoint

    w, calls = leaf(2.0), []

    def f(x: Any) -> Any:
        calls.append(lucid.is_grad_enabled())
        with lucid.no_grad():
            k = x * 10
        return x * k

    with lucid.no_grad():
        assert checkpoint(f, w, use_reentrant=False).item() == 40.0
    assert calls == [False] and not recwarn.list
    checkpoint(f, w, use_reentrant=False).sum().backward()
    assert w.grad.item() == 20.0  # the factor made under no_grad is a constant, also in the replay


def test_graph_report_names_the_lines_that_hold_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    before = lucid.autograd.graph_report()
    monkeypatch.setattr(settings, "debug", 1)
    w = lucid.ones(1 << 16, requires_grad=True)
    kept = [(w * w).exp() for _ in range(3)]
    with lucid.no_grad():
        none = [(w * w).exp() for _ in range(3)]
    report = lucid.autograd.graph_report()
    here = [group for group in report if "test_grad_mode_tensors.py" in group.line]
    assert {group.operation: group.nodes for group in here} == {"mul": 3, "exp": 3}
    assert report.nodes == before.nodes + 6
    # w once, and three results of exp.
    assert report.bytes - before.bytes == 4 * (1 << 16) * 4
    assert "test_grad_mode_tensors.py" in str(report)
    del kept, none
    assert lucid.autograd.graph_report().nodes == before.nodes
