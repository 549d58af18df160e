"""The backward pass: which Nodes run, in what order hooks see what, and what is left behind.

Also several passes at once: nested in one another, from many threads, over the same graph.
"""

import gc
import threading
import weakref

import numpy as np
import pytest

import lucid
from lucid.autograd import Function, backward, grad, pile


@pytest.fixture
def no_cycles():
    """Only reference counts free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(*values: float) -> lucid.Tensor:
    return lucid.tensor(list(values), requires_grad=True)


class Noted(Function):
    """The identity; its backward notes that it ran."""

    ran: list[str] = []

    @staticmethod
    def forward(ctx, x, name):
        ctx.label = name
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        Noted.ran.append(ctx.label)
        return g, None


# --- What runs ------------------------------------------------------------------------------------


def test_a_graph_in_two_halves():
    """The upper half's gradient is asked for by itself; the lower half is not touched by it."""
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = (w * w).exp()
    loss = (h * v).sum()
    (gh,) = grad(loss, h)
    assert gh.tolist() == v.tolist()
    h.backward(gh)
    np.testing.assert_allclose(w.grad.numpy(), [6 * np.exp(1), 16 * np.exp(4)], rtol=1e-6)
    assert v.grad is None


def test_only_what_leads_to_an_input_runs():
    Noted.ran.clear()
    x, w = leaf(1.0), leaf(2.0)
    h = Noted.apply(x, "below")
    y = Noted.apply(h * Noted.apply(w, "aside"), "above")
    grad(y.sum(), h, retain_graph=True)
    assert Noted.ran == ["above"]
    Noted.ran.clear()
    y.sum().backward(inputs=[w])
    assert Noted.ran == ["above", "aside"]
    assert x.grad is None and w.grad is not None


def test_rules_of_inputs_that_nobody_asks_for_do_not_run():
    seen = []

    class Product(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            seen.append(ctx.needs_input_grad)
            return g * b, g * a

    a, b = leaf(2.0), leaf(3.0)
    (g,) = grad(Product.apply(a, b).sum(), a)
    assert g.tolist() == [3.0] and b.grad is None


def test_grad_of_repeated_inputs_of_roots_and_of_leaves():
    x = leaf(2.0)
    y = x * x
    found = grad([y, y], [x, x, y, y], [lucid.ones(1), lucid.ones(1)], retain_graph=True)
    assert [g.item() for g in found] == [8.0, 8.0, 2.0, 2.0]
    assert grad(x, x, lucid.ones(1))[0].item() == 1.0
    with pytest.raises(RuntimeError, match="input 1"):
        grad(y, [x, leaf(1.0)], lucid.ones(1), retain_graph=True)
    assert grad(y, [x, leaf(1.0)], lucid.ones(1), allow_unused=True)[1] is None


def test_inputs_of_backward():
    x, w = leaf(2.0), leaf(5.0)
    h = x * 3
    y = (h * w).sum()
    y.backward(inputs=[h, w])
    assert h.grad.item() == 5.0 and w.grad.item() == 6.0 and x.grad is None
    with pytest.raises(RuntimeError, match="inputs"):
        (x * 1).sum().backward(inputs=[])
    with pytest.raises(RuntimeError, match="require"):
        (x * 1).sum().backward(inputs=[lucid.ones(1)])


def test_twice_through_one_graph():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()
    assert x.grad.item() == 8.0


def test_a_gradient_is_added_to_in_place():
    """Flat buffers of gradients, whose parts are the parameters' .grad, stay in use."""
    flat = lucid.zeros(4)
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    a.grad, b.grad = flat[:2], flat[2:]
    kept = a.grad
    for _ in range(2):
        (a * b).sum().backward()
    assert a.grad is kept
    assert flat.tolist() == [6.0, 8.0, 2.0, 4.0]


def test_a_gradient_shares_bytes_with_nothing_else():
    class Twice(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            return g, g

    a, b = leaf(1.0), leaf(2.0)
    given = lucid.ones(1)
    y = Twice.apply(a, b)
    y.retain_grad()
    y.backward(given)
    places = {t.data_ptr() for t in (given, y.grad, a.grad, b.grad)}
    assert len(places) == 4
    a.backward(given)
    a.grad.zero_()
    assert given.item() == 1.0
    c = leaf(1.0)
    c.backward(given)
    assert c.grad.data_ptr() != given.data_ptr()


def test_create_graph_accumulates_with_history():
    x = leaf(3.0)
    y = (x**3).sum()
    y.backward(create_graph=True)
    first = x.grad
    first.sum().backward()
    assert x.grad.item() == 27.0 + 18.0
    x.grad = None


# --- Hooks ----------------------------------------------------------------------------------------


def test_the_order_of_hooks():
    order = []
    x = leaf(1.0)
    y = x * 2
    y.grad_fn.register_prehook(lambda g: order.append("node before"))
    y.retain_grad()
    y.register_hook(lambda g: order.append("tensor") or g * 10)
    y.grad_fn.register_hook(lambda gi, go: order.append(("node after", gi[0].item())))
    x.register_hook(lambda g: order.append("leaf"))
    x.register_post_accumulate_grad_hook(lambda t: order.append(("after", t.grad.item())))
    y.sum().backward()
    assert order == ["tensor", "node before", ("node after", 20.0), "leaf", ("after", 20.0)]
    assert y.grad.item() == 10.0


def test_a_captured_gradient_has_passed_the_tensor_hooks_only():
    x = leaf(1.0)
    y = x * 2
    y.grad_fn.register_prehook(lambda gs: (gs[0] * 7,))
    y.register_hook(lambda g: g * 3)
    gy, gx = grad((y * 1).sum(), [y, x])
    assert (gy.item(), gx.item()) == (3.0, 42.0)


def test_a_leaf_is_done_before_the_rest_of_the_graph():
    """A hook after accumulation may update the parameter and drop its gradient: one at a time."""
    alive = []
    layers = [leaf(1.5) for _ in range(4)]
    h = lucid.ones(1)
    for p in layers:
        h = h * p

        def hook(t, p=p):
            alive.append(sum(q.grad is not None for q in layers))
            t.grad = None

        p.register_post_accumulate_grad_hook(hook)
    h.sum().backward()
    assert alive == [1, 1, 1, 1]


def test_a_post_accumulate_hook_is_for_leaves():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="leaves"):
        (x * 2).register_post_accumulate_grad_hook(lambda t: None)
    with pytest.raises(RuntimeError, match="require"):
        lucid.ones(1).register_post_accumulate_grad_hook(lambda t: None)


def test_hooks_that_return_something_else():
    x = leaf(1.0, 2.0)
    for wrong, error in ((3.0, TypeError), (lucid.ones(3), RuntimeError)):
        y = x * 2
        handle = y.register_hook(lambda g, wrong=wrong: wrong)
        with pytest.raises(error, match="hook"):
            y.sum().backward()
        handle.remove()
    assert lucid.is_grad_enabled()


def test_a_leaf_among_the_roots_is_finished_once():
    """With what its other uses give: its hook sees all of it, and `grad` returns all of it."""
    x, alone = leaf(3.0), leaf(4.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    y = x * 2
    backward([x, y, alone], retain_graph=True)
    assert seen == [3.0] and x.grad.item() == 3.0 and alone.grad.item() == 1.0
    seen.clear()
    gx, ga = grad([x, y, alone], [x, alone])
    assert seen == [3.0] and (gx.item(), ga.item()) == (3.0, 1.0)
    assert x.grad.item() == 3.0  # `grad` leaves it alone


def test_what_a_hook_of_a_node_may_return():
    """As many gradients as there are, in a tuple, a list or alone; None for none."""
    x, w = leaf(1.0, 2.0), lucid.tensor([3.0, 4.0])

    def through(hook, before=False):
        x.grad = None
        y = x * w
        (y.grad_fn.register_prehook if before else y.grad_fn.register_hook)(hook)
        y.backward(lucid.ones(2))
        return None if x.grad is None else x.grad.tolist()

    assert through(lambda gi, go: None) == [3.0, 4.0]
    assert through(lambda gi, go: (gi[0] * 2, None)) == [6.0, 8.0]
    assert through(lambda gi, go: [gi[0] * 2, gi[1]]) == [6.0, 8.0]
    assert through(lambda gi, go: (gi[0], lucid.ones(7))) == [3.0, 4.0]  # w has no gradient
    assert through(lambda gi, go: (None, None)) is None
    assert through(lambda go: go[0] * 2, before=True) == [6.0, 8.0]
    assert through(lambda go: [go[0] * 2], before=True) == [6.0, 8.0]
    assert through(lambda go: (None,), before=True) is None
    wrong = [
        (lambda gi, go: gi[0], "returned 1 gradients, 2 are needed"),
        (lambda gi, go: (*gi, *gi), "returned 4 gradients, 2 are needed"),
        (lambda gi, go: (lucid.ones(3), None), r"shape \(3,\) in the place of one of shape \(2,\)"),
        (lambda gi, go: (1.0, None), "returned float, a tensor or None is needed"),
    ]
    for hook, said in wrong:
        with pytest.raises((RuntimeError, TypeError), match=f"hook .*<lambda>.*{said}"):
            through(hook)
    with pytest.raises(RuntimeError, match="returned 2 gradients, 1 are needed"):
        through(lambda go: (go[0], go[0]), before=True)


def test_hooks_removed_and_removing_themselves():
    x = leaf(1.0)
    seen = []
    handles = []

    def once(g):
        seen.append("once")
        handles[0].remove()

    handles.append(x.register_hook(once))
    x.register_hook(lambda g: seen.append("always"))
    (x * 1).sum().backward()
    (x * 1).sum().backward()
    assert seen == ["once", "always", "always"]
    same = lambda g: seen.append("same")  # noqa: E731
    first, second = x.register_hook(same), x.register_hook(same)
    first.remove()
    first.remove()
    seen.clear()
    (x * 1).sum().backward()
    assert seen == ["always", "same"]
    second.remove()


def test_a_hook_before_a_write_sees_the_value_before_it():
    x = leaf(1.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(("before", g.item())))
    y.mul_(5)
    y.register_hook(lambda g: seen.append(("after", g.item())))
    y.sum().backward()
    assert seen == [("after", 1.0), ("before", 5.0)]


def test_retain_grad_follows_writes():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.retain_grad()
    v = y[:1]
    v.retain_grad()
    y.mul_(5)
    assert y.retains_grad and v.retains_grad
    (v * 3).sum().backward()
    assert y.grad.tolist() == [3.0, 0.0] and v.grad.tolist() == [3.0]
    assert x.grad.tolist() == [30.0, 0.0]


# --- Nested, failing, in threads ------------------------------------------------------------------


def test_backward_inside_backward():
    inner = leaf(2.0)

    class Inner(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 1

        @staticmethod
        def backward(ctx, g):
            with lucid.enable_grad():
                (inner * inner).sum().backward()
            (x,) = ctx.saved_tensors
            assert not lucid.is_grad_enabled()
            return g * x

    x = leaf(3.0)
    Inner.apply(Inner.apply(x)).sum().backward()
    assert x.grad.item() == 9.0 and inner.grad.item() == 8.0


def test_an_error_leaves_everything_usable():
    class Fails(Function):
        fail = True

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            if Fails.fail:
                raise KeyError("mine")
            return g * 2

    x = leaf(1.0)
    y = Fails.apply(x).sum()
    with pytest.raises(KeyError, match="mine"):
        y.backward(retain_graph=True)
    assert lucid.is_grad_enabled() and x.grad is None
    Fails.fail = False
    y.backward()
    assert x.grad.item() == 2.0


@pytest.mark.parametrize("create", [False, True])
def test_graphs_die_without_the_collector(no_cycles, create):
    def once(fail):
        x = leaf(1.0, 2.0)
        h = x.exp()
        y = lucid.nn.functional.softmax(h * h, 0)
        if fail:
            h.register_hook(lambda g: 1 / 0)
        watched = [weakref.ref(t) for t in (x, h, y)]
        watched += [weakref.ref(n) for n in (h.grad_fn, y.grad_fn)]
        try:
            y[0].backward(create_graph=create)
        except ZeroDivisionError:
            pass
        x.grad = None
        del x, h, y
        return watched

    for fail in (False, True):
        assert [w() for w in once(fail)] == [None] * 5


def test_a_tensor_written_with_what_was_made_from_it_dies(no_cycles):
    """x is saved by f, then takes f's result: the Node must not hold the tensor itself."""
    w = leaf(2.0)
    state = lucid.ones(1)
    for _ in range(3):
        state.add_((state * w).exp() * 0.1)
    other = w * 1
    other.add_(other * other)
    view = lucid.ones(2)
    view[:1] = view[:1] * w
    watched = [weakref.ref(t) for t in (state, other, view)]
    nodes = [weakref.ref(t.grad_fn) for t in (state, other, view)]
    del state, other, view
    assert [r() for r in watched + nodes] == [None] * 6


def test_second_derivatives_do_not_depend_on_what_happens_to_the_tensor_later():
    x = leaf(3.0)
    h = x * 1
    y = h * h
    h.detach_()
    (g,) = grad(y.sum(), x, create_graph=True)
    assert g.item() == 6.0
    assert grad(g.sum(), x)[0].item() == 2.0


def test_many_threads_add_to_one_leaf():
    x = lucid.ones(1000, requires_grad=True)
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        for _ in range(20):
            (x * 2).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert x.grad.tolist() == [320.0] * 1000


def test_many_threads_through_one_graph():
    x = leaf(1.0, 2.0)

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0] * 2

    y = Square.apply(Square.apply(x)).sum()
    results, errors = [], []

    def work():
        try:
            for _ in range(20):
                results.append(grad(y, x, retain_graph=True)[0].tolist())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and results == [[4.0, 32.0]] * 160


def test_long_graphs_in_a_small_stack():
    """Running and dropping a long graph, also after an error, recurses nowhere."""
    done = []

    def work():
        x = leaf(1.0)
        y = x
        for _ in range(200_000):
            y = y + 1
        del y
        y = x
        for _ in range(200_000):
            y = y + 1
        y.register_hook(lambda g: 1 / 0)
        try:
            y.sum().backward()
        except ZeroDivisionError:
            pass
        del y
        y = x
        for _ in range(50_000):
            y = y * 1.0
        y.sum().backward()
        done.append(x.grad.item())

    size = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(size)
    thread.join()
    assert done == [1.0]


def test_backward_of_several_roots():
    x = leaf(2.0)
    a = x * x
    backward([a, a * 3, x], [lucid.ones(1)] * 3)
    assert x.grad.item() == 4.0 + 12.0 + 1.0


# --- Graphs that pile up --------------------------------------------------------------------------


@pytest.fixture
def piled(monkeypatch):
    monkeypatch.setattr(pile, "MANY", 4)
    monkeypatch.setattr(pile, "_alive", {})
    monkeypatch.setattr(pile, "_limits", {})


def test_results_kept_with_their_graphs_are_warned_of_once_a_line(piled, recwarn):
    w = leaf(1.0)
    kept = [w * 2 for _ in range(2000)]
    (warning,) = recwarn.list
    assert "graphs that were made at" in str(warning.message) and "no_grad" in str(warning.message)
    assert warning.filename == __file__ and kept


def test_losses_added_up_with_their_histories_are_warned_of(piled, recwarn):
    w = leaf(1.0)
    total = lucid.zeros(1)
    for _ in range(2000):
        loss = (w * w).sum()
        loss.backward()
        total = total + loss
    assert {w.lineno for w in recwarn.list} and len(recwarn.list) <= 2


def test_ordinary_programs_are_not_warned_of(piled, recwarn):
    w = leaf(1.0)
    for _ in range(2000):
        (w * w).sum().backward()
        w * 2
    h = w
    for _ in range(4000):
        h = h * w
    h.sum().backward()
    with lucid.no_grad():
        kept = [w * 2 for _ in range(2000)]
    assert not recwarn.list and kept


def test_two_threads_on_one_graph_do_not_both_use_it_up():
    w = lucid.ones(50, requires_grad=True)
    for _ in range(20):
        y = w
        for _ in range(30):
            y = (y * 1.5).sin()
        loss = y.sum()
        (wanted,) = lucid.autograd.grad(loss, w, retain_graph=True)
        gate, outcomes = threading.Barrier(2), []

        def run(loss=loss, gate=gate, outcomes=outcomes):
            gate.wait()
            try:
                outcomes.append(lucid.autograd.grad(loss, w)[0])
            except RuntimeError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (found,) = [g for g in outcomes if not isinstance(g, str)]
        (message,) = [m for m in outcomes if isinstance(m, str)]
        assert "freed" in message
        assert found.tolist() == wanted.tolist()


def test_gradients_share_no_bytes():
    """Views hand cotangents on as they are; what comes out belongs to nobody else."""
    made = [
        (lambda x, y: x + y, (4, 6)), (lambda x, y: x.reshape(6, 4) - 0.0 + y.view(6, 4), (6, 4)),
        (lambda x, y: lucid.stack([x, y]), (2, 4, 6)), (lambda x, y: lucid.cat([x, y]), (8, 6)),
        (lambda x, y: x.unsqueeze(0) + y.permute(0, 1), (1, 4, 6)),
        (lambda x, y: (x.reshape(24) * 2).reshape(4, 6) + y, (4, 6)),
        (lambda x, y: lucid.stack([x.reshape(24), x.reshape(24) * 3, y.flatten()]), (3, 24)),
    ]  # fmt: skip
    for f, shape in made:
        x, y = lucid.rand(4, 6).requires_grad_(), lucid.rand(4, 6).requires_grad_()
        g = lucid.rand(*shape)
        before = g.clone()
        f(x, y).backward(g)
        found = [x.grad, y.grad, *lucid.autograd.grad(f(x, y), [x, y], g)]
        for a, b in zip(found[:2], found[2:], strict=True):
            assert a.equal(b)
        for i, a in enumerate(found):
            a.fill_(i)  # no other one changes
        assert g.equal(before)
        assert [a.unique().tolist() for a in found] == [[0.0], [1.0], [2.0], [3.0]]
