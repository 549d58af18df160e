"""`checkpoint`: the same gradients as without it, whatever the function does inside."""

import gc

import pytest

import lucid
from lucid import nn
from lucid.autograd import grad
from lucid.utils.checkpoint import checkpoint


def leaf(*values: float) -> lucid.Tensor:
    return lucid.tensor(list(values), dtype=lucid.float64, requires_grad=True)


def both(function, *inputs, params=()):
    """Gradients with and without checkpoint, each from the same random state."""
    found = []
    for run in (function, lambda *xs: checkpoint(function, *xs)):
        lucid.manual_seed(3)
        y = run(*inputs)
        wanted = [x for x in (*inputs, *params) if isinstance(x, lucid.Tensor) and x.requires_grad]
        found.append([g.tolist() for g in grad((y * y).sum(), wanted)])
    return found


def test_gradients_of_inputs_and_of_what_the_function_closes_over():
    w = leaf(2.0, 3.0)
    plain, kept = both(lambda x, n: (x * w).exp() * n, leaf(0.5, 1.0), 3, params=(w,))
    assert plain == kept and w.grad is None


def test_only_closed_over_parameters_require_gradients():
    layer = nn.Linear(3, 3)
    plain, kept = both(layer, lucid.ones(2, 3), params=tuple(layer.parameters()))
    assert plain == kept


def test_dropout_and_no_grad_inside():
    def function(x):
        h = nn.functional.dropout(x, 0.5, True) * 2
        with lucid.no_grad():
            scale = h.max()
        return (h * scale).exp()

    plain, kept = both(function, lucid.linspace(0, 0.5, 8).requires_grad_())
    assert plain == kept
    with lucid.no_grad():
        assert not checkpoint(function, leaf(1.0)).requires_grad


def test_keywords_several_outputs_and_nesting():
    w = leaf(2.0)

    def inner(x, *, scale):
        return x.exp() * scale, 7

    def outer(x):
        a, n = checkpoint(inner, x, scale=w)
        return checkpoint(lambda a: a * n * w, a)

    plain, kept = both(outer, leaf(0.5), params=(w,))
    assert plain == kept


def test_twice_and_second_derivatives():
    x, w = leaf(0.5), leaf(1.5)
    y = checkpoint(lambda x: (x * w).exp(), x)
    (g,) = grad(y.sum(), x, create_graph=True)
    second = grad(g.sum(), [x, w])
    (p,) = grad((x * w).exp().sum(), x, create_graph=True)
    assert [s.tolist() for s in second] == [s.tolist() for s in grad(p.sum(), [x, w])]
    y = checkpoint(lambda x: x * x * x, x).sum()
    assert grad(y, x, retain_graph=True)[0].tolist() == grad(y, x)[0].tolist()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_a_changed_function_or_input_is_found():
    count = [0]

    def changes(x):
        count[0] += 1
        return x * 2 if count[0] == 1 else (x * 2).exp()

    x = leaf(1.0) * 1
    with pytest.raises(RuntimeError, match="checkpoint"):
        checkpoint(lambda x: changes(x).exp(), x).sum().backward()
    y = checkpoint(lambda x: x.exp(), x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified in place"):
        y.sum().backward()


def test_intermediates_are_not_kept():
    def function(x):
        for _ in range(8):
            x = x.exp().log()
        return x

    x = lucid.ones(1 << 16, requires_grad=True)
    gc.collect()
    before = lucid.memory.stats()["live"]
    y = checkpoint(function, x)
    assert lucid.memory.stats()["live"] - before <= 2 * (4 << 16)
    y.backward(lucid.ones(1 << 16))
    del y
    assert x.grad is not None
    assert lucid.memory.stats()["live"] - before <= 2 * (4 << 16)
