"""Compiled functions under use: threads, hooks, graphs kept, functions in functions, memory."""

import copy
import functools
import gc
import inspect
import threading
import weakref

import pytest

import lucid
from lucid import memory, nn
from lucid.error import TraceError
from lucid.nn import functional as F


def same(a, b):
    return lucid.equal(a, b) and a.dtype is b.dtype and a.stride() == b.stride()


def network():
    lucid.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3))


def in_threads(work, count=8):
    """work(i) in threads at once; raises what one of them raised."""
    errors, barrier = [], threading.Barrier(count)

    def run(i):
        try:
            barrier.wait()
            work(i)
        except BaseException as error:  # shown by the caller
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def test_eight_threads_call_one_model():
    m = network()
    compiled = lucid.compile(m)
    inputs = [lucid.randn(5, 6) for _ in range(8)]
    with lucid.no_grad():
        expected = [m(x) for x in inputs]

    def work(i):
        for _ in range(20):
            x = inputs[i].clone().requires_grad_()
            y = compiled(x)
            assert same(y.detach(), expected[i])
            (g,) = lucid.autograd.grad(y.sum(), x)
            assert g.shape == x.shape

    in_threads(work)
    assert compiled.traces == 1


def test_eight_threads_with_shapes_of_their_own():
    m = network()
    compiled = lucid.compile(m)

    def work(i):
        x = lucid.ones(i + 1, 6)
        for _ in range(5):
            with lucid.no_grad():
                assert same(compiled(x), m(x))

    in_threads(work)
    assert compiled.traces + compiled.resizes == 8


def test_eager_calls_go_on_while_a_program_is_traced():
    m = network()
    done = threading.Event()

    def trace():
        for n in range(1, 12):
            lucid.compile(m)(lucid.ones(n, 6))
        done.set()

    tracer = threading.Thread(target=trace)
    tracer.start()
    x = lucid.ones(3)
    while not done.is_set():
        y = (x + 1) * 2
        y.mul_(2)
        assert y.tolist() == [8.0] * 3
    tracer.join()


def test_two_calls_before_backward_and_graphs_that_are_kept():
    m = network()
    compiled = lucid.compile(m)
    results = []
    for f in (m, compiled):
        x = lucid.arange(12.0).reshape(2, 6).requires_grad_()
        a, b = f(x), f(x * 2)
        b.sum().backward(retain_graph=True)
        a.square().sum().backward()
        b.sum().backward()
        results.append([x.grad, *[p.grad for p in m.parameters()]])
        with pytest.raises(RuntimeError, match="freed by an earlier backward"):
            b.sum().backward()
        m.zero_grad()
    assert all(same(a, b) for a, b in zip(*results, strict=True))
    assert compiled.traces <= 2


def test_an_input_that_backward_reads_is_not_overwritten():
    w = lucid.ones(3, requires_grad=True)
    compiled = lucid.compile(lambda x: x * w)
    x = lucid.ones(3)
    y = compiled(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match=r"modified in place by add_.*clone"):
        y.sum().backward()


def test_second_derivatives_say_so():
    x = lucid.ones(3, requires_grad=True)
    y = lucid.compile(lambda x: x * x * x)(x)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        lucid.autograd.grad(y.sum(), x, create_graph=True)


def test_hooks_on_inputs_outputs_and_parameters():
    m = network()
    compiled = lucid.compile(m)
    seen = []
    for f in (m, compiled):
        calls = []
        x = lucid.ones(2, 6, requires_grad=True)
        handles = [
            m[0].weight.register_hook(lambda g, c=calls: (c.append(("w", g.clone())), g * 2)[1]),
            x.register_hook(lambda g, c=calls: c.append(("x", g.clone()))),
            m[3].bias.register_post_accumulate_grad_hook(
                lambda p, c=calls: c.append(("b", p.grad.clone()))
            ),
        ]
        y = f(x)
        y.register_hook(lambda g, c=calls: (c.append(("y", g.clone())), g * 3)[1])
        y.sum().backward()
        calls.append(("grad", m[0].weight.grad))
        for h in handles:
            h.remove()
        m.zero_grad()
        seen.append(dict(calls))
    assert seen[0].keys() == seen[1].keys() == {"w", "x", "y", "b", "grad"}
    assert all(same(seen[0][k], seen[1][k]) for k in seen[0])


def test_functions_in_functions():
    @lucid.compile
    def inner(x):
        return x.sin() * 2

    @lucid.compile
    def outer(x):
        return inner(x) + inner(x.cos())

    x = lucid.randn(4)
    for _ in range(2):
        assert same(outer(x), x.sin() * 2 + x.cos().sin() * 2)
    assert inner.traces == 0 and outer.traces == 1
    assert same(inner(x), x.sin() * 2) and inner.traces == 1


class Scaler:
    def __init__(self, by):
        self.by = by

    @lucid.compile
    def scale(self, x):
        """x times by."""
        return x * self.by


def test_methods():
    a, b = Scaler(2.0), Scaler(3.0)
    x = lucid.ones(3)
    for _ in range(2):
        assert a.scale(x).tolist() == [2.0] * 3 and b.scale(x).tolist() == [3.0] * 3
    a.by = 5.0
    assert a.scale(x).tolist() == [5.0] * 3


def test_the_name_and_signature_stay():
    def f(x, y: int = 2):
        """Doc of f."""
        return x * y

    g = lucid.compile(f)
    assert g.__name__ == "f" and g.__doc__ == "Doc of f." and g.__wrapped__ is f
    assert g.__qualname__ == f.__qualname__ and g.__module__ == f.__module__
    assert inspect.signature(g) == inspect.signature(f)
    assert lucid.compile(fullgraph=True)(f)(lucid.ones(1)).item() == 2.0
    assert callable(functools.partial(g, y=3))


def test_a_compiled_module_is_the_module():
    m = network()
    compiled = lucid.compile(m)
    assert list(compiled.state_dict()) == list(m.state_dict())
    assert all(a is b for a, b in zip(compiled.parameters(), m.parameters(), strict=True))
    compiled.eval()
    assert not m.training and not compiled.training
    compiled.train()
    compiled.note = "kept"
    assert m.note == "kept" and compiled[0] is m[0] and len(compiled) == 4
    assert isinstance(compiled, nn.Module)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = compiled

        def forward(self, x):
            return self.body(x) * 2

    outer = Outer()
    assert [n for n, _ in outer.named_parameters()][0] == "body.0.weight"
    x = lucid.ones(2, 6)
    assert same(outer(x).detach(), m(x).detach() * 2)
    assert same(lucid.compile(outer)(x).detach(), m(x).detach() * 2)
    twin = copy.deepcopy(outer)
    assert same(twin(x).detach(), outer(x).detach())
    assert next(twin.parameters()) is not next(outer.parameters())


def test_module_compile():
    m, plain = network(), network()
    m.compile()
    x = lucid.ones(2, 6, requires_grad=True)
    y = m(x)
    assert y.grad_fn.name() == "CompiledBackward" and same(y.detach(), plain(x).detach())
    m[0].register_forward_hook(lambda mod, args, out: out * 2)
    plain[0].register_forward_hook(lambda mod, args, out: out * 2)
    assert same(m(x).detach(), plain(x).detach())
    assert list(m.state_dict()) == list(plain.state_dict())
    copied = copy.deepcopy(m)
    assert same(copied(x).detach(), m(x).detach())


def test_errors_of_the_function_pass_through():
    def f(x):
        if x.dim() == 1:
            raise KeyError("mine")
        return x @ x

    compiled = lucid.compile(f)
    with pytest.raises(KeyError, match="mine"):
        compiled(lucid.ones(3))
    with pytest.raises(RuntimeError):
        compiled(lucid.ones(2, 3))
    assert compiled(lucid.ones(2, 2)).tolist() == [[2.0] * 2] * 2
    with pytest.raises(TypeError):
        compiled()


def test_backward_inside_that_reaches_outside():
    w = lucid.ones(3, requires_grad=True)

    @lucid.compile
    def f(x):
        x.sum().backward()
        return x

    with pytest.raises(TraceError, match="history that argument 0 had.*detach"):
        f(w * 2)
    assert w.grad is None


def test_backward_inside_from_what_was_written_to_a_view_with_a_history():
    """The write is part of its base's history: eager, backward goes on to before it."""
    w = lucid.ones(3, 4, requires_grad=True)

    def f(x):
        x.fill_(3)
        (x[1:] - 1).square().sum().backward()

    f((w * 2).T)
    assert w.grad.tolist() == [[0.0] * 4] * 3
    w.grad = None
    with pytest.raises(TraceError, match="history that argument 0 had.*detach"):
        lucid.compile(f)((w * 2).T)
    assert w.grad is None
    free = lucid.zeros(3, 4)  # no history before: nothing is reached

    @lucid.compile
    def g(x):
        x.copy_(w.T)
        y = (x * x).sum()
        y.backward()
        return y

    assert g(free.T).item() == 12.0
    assert w.grad.tolist() == [[2.0] * 4] * 3


def test_a_view_of_a_leaf_is_not_written():
    w = lucid.ones(3, 4, requires_grad=True)
    for call in (lambda x: x.add_(1), lambda x: x[1:].add_(1)):
        for way in (call, lucid.compile(call)):
            with pytest.raises(RuntimeError, match="leaf that requires a gradient is modified"):
                way(w[:2])
    assert w.tolist() == [[1.0] * 4] * 3


@pytest.mark.parametrize("of_a_base", [False, True])
def test_what_is_written_with_a_history_has_one(of_a_base):
    def f(x, w):
        x.add_(w * w)

    for way in (f, lucid.compile(f)):
        w = lucid.tensor([2.0, 3.0], requires_grad=True)
        whole = lucid.ones(4)
        x = whole[1:3] if of_a_base else lucid.ones(2)
        way(x, w)
        end = whole if of_a_base else x
        assert x.requires_grad and end.requires_grad and end.sum().item() == 13 + len(end)
        end.sum().backward()
        assert w.grad.tolist() == [4.0, 6.0]


def test_a_view_made_under_no_grad_is_known_as_one():
    def f(x):
        with lucid.no_grad():
            return x[1:]

    for way in (f, lucid.compile(f)):
        x = lucid.ones(3, requires_grad=True)
        y = way(x)
        with pytest.raises(RuntimeError, match="view that was made under no_grad"):
            y.mul_(2.0)
        assert x.tolist() == [1.0] * 3


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_memory_is_flat(no_collector):
    m = network()
    opt = lucid.optim.Adam(m.parameters(), lr=1e-3)
    forward = lucid.compile(m)

    @lucid.compile
    def step(x, t):
        opt.zero_grad()
        loss = F.cross_entropy(m(x), t)
        loss.backward()
        opt.step()
        return loss

    x, t = lucid.ones(2, 6), lucid.tensor([0, 1])

    def once():
        step(x, t)
        y = forward(x)
        y.sum().backward()
        with lucid.no_grad():
            forward(x)

    for _ in range(30):
        once()
    live, objects = memory.stats()["live"], len(gc.get_objects())
    for _ in range(1000):  # three calls each
        once()
    assert memory.stats()["live"] == live
    assert len(gc.get_objects()) - objects < 100


def test_what_is_dropped_dies():
    m = network()
    compiled = lucid.compile(m)
    compiled(lucid.ones(2, 6)).sum().backward()
    compiled(lucid.ones(3, 6))
    gone = [weakref.ref(compiled), weakref.ref(m), weakref.ref(m[0].weight)]
    del compiled, m
    gc.collect()
    assert all(r() is None for r in gone)
    results = [lucid.compile(lambda x: x * 2)(lucid.ones(2)) for _ in range(3)]
    kept = weakref.ref(results[0])
    del results
    gc.collect()
    assert kept() is None


def test_plans_are_bounded():
    compiled = lucid.compile(lambda x, k: x + k)
    for k in range(150):
        assert compiled(lucid.ones(1), k).item() == k + 1
    assert sum(map(len, compiled.plans.values())) <= 64


class Plain(tuple):
    """A tuple by another name, without constructor."""


def test_tuples_of_any_class_are_results():
    x = lucid.tensor([[1.0, 5.0], [7.0, 2.0]])
    found = lucid.compile(lambda x: x.max(0))(x)
    assert type(found) is type(x.max(0))
    assert found.values.tolist() == [7, 5] and found.indices.tolist() == [1, 0]
    found = lucid.compile(lambda x: (Plain((x + 1, x.shape)),))(x)
    assert type(found[0]) is Plain and found[0][0].tolist() == [[2, 6], [8, 3]]
    assert type(found[0][1]) is lucid.Size and found[0][1] == (2, 2)


def test_what_would_keep_tensors_of_the_trace_is_refused():
    def attribute(x):
        made = Plain((x + 1,))
        made.rest = x * 2
        return made

    for f in (attribute, lambda x: lambda: x * 2, lambda x: frozenset([x * 2])):
        with pytest.raises(TraceError, match="make anew"):
            lucid.compile(f)(lucid.ones(2))


@pytest.mark.parametrize(
    "function",
    [
        lucid.fft.rfft,
        lambda x: lucid.fft.fft(x)[1:],
        lambda x: (lucid.complex(x, x * 2), x * 3),
    ],
)
def test_complex_results_have_gradients(function):
    compiled = lucid.compile(function)
    for n in (4, 6, 8):  # sizes become symbols
        x = lucid.randn(n, dtype=lucid.float64, requires_grad=True)
        found = []
        for call in (function, compiled):
            y = call(x)
            y = y if isinstance(y, tuple) else (y,)
            gs = [lucid.ones_like(t) * (1 + 2j if t.is_complex() else 1) for t in y]
            found.append((*y, *lucid.autograd.grad(y, x, gs)))
        for eager, ours in zip(*found, strict=True):
            assert (eager == ours).all()
    with lucid.no_grad():
        y = compiled(x)
    assert not (y[0] if isinstance(y, tuple) else y).requires_grad


def test_a_history_that_was_used_up_inside_is_not_silently_none():
    def function(x):
        y = (x * x).exp()
        y.sum().backward()
        return y

    x, w = (lucid.ones(3, requires_grad=True) for _ in range(2))
    for call in (function, lucid.compile(function)):
        y = call(x)
        with pytest.raises(lucid.error.BackwardError, match="freed"):
            lucid.autograd.grad(y.sum(), x, allow_unused=True)
        assert lucid.autograd.grad((y + w).sum(), w)[0].tolist() == [1.0] * 3


def test_losses_that_look_at_values_do_not_in_a_trace():
    x, t = lucid.randn(4, 3, requires_grad=True), lucid.randn(4, 3)
    v = lucid.rand(4, 3) + 0.1
    want = F.gaussian_nll_loss(x, t, v)
    assert lucid.compile(F.gaussian_nll_loss)(x, t, v).item() == want.item()
    with pytest.raises(ValueError, match="negative"):
        F.gaussian_nll_loss(x, t, -v)
