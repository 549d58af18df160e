"""`autograd.Function`: what forward and backward may be given, keep and return."""

import gc
import weakref

import pytest

import lucid
from lucid.autograd import Function, grad, gradcheck, gradgradcheck
from lucid.autograd.function import once_differentiable


def leaf(*values: float, dtype=lucid.float64) -> lucid.Tensor:
    return lucid.tensor(list(values), dtype=dtype, requires_grad=True)


class Power(Function):
    """x to a whole power, in the form with setup_context."""

    @staticmethod
    def forward(x, n, unused=None):
        return x**n

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.n = inputs[:2]
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.n * x ** (ctx.n - 1), None, None


class Inherits(Power):
    pass


@pytest.mark.parametrize("kind", [Power, Inherits])
def test_setup_context_and_arguments_that_are_no_tensors(kind):
    x = leaf(1.5, 2.5)
    assert gradcheck(lambda x: kind.apply(x, 3, "any"), (x,))
    assert gradgradcheck(lambda x: kind.apply(x, 3, None), (x,))


def test_outputs_that_are_no_tensors_have_their_place():
    class Parts(Function):
        @staticmethod
        def forward(ctx, x):
            return 7, x * 2, "text", x * 3

        @staticmethod
        def backward(ctx, *grads):
            assert grads[0] is None and grads[2] is None
            return grads[1] * 2 + grads[3] * 3

    x = leaf(1.0)
    number, a, text, b = Parts.apply(x)
    assert (number, text) == (7, "text")
    (a + 10 * b).sum().backward()
    assert x.grad.item() == 32.0


def test_missing_cotangents():
    seen = []

    class Two(Function):
        materialize = True

        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(Two.materialize)
            whole = x.to(lucid.int64)
            ctx.mark_non_differentiable(whole)
            return x * 2, x * 3, whole

        @staticmethod
        def backward(ctx, a, b, whole):
            seen.append((a, b))
            return a * 2

    x = leaf(1.0)
    for Two.materialize in (True, False):
        first, second, whole = Two.apply(x)
        assert not whole.requires_grad
        first.sum().backward()
    assert seen[0][1].tolist() == [0.0] and seen[1][1] is None


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda g: (g, g), RuntimeError, "2 gradients for 1 inputs"),
        (lambda g: 3.0, TypeError, "float for input 0"),
        (lambda g: lucid.ones(3), RuntimeError, r"shape \(3,\) for input 0"),
        (lambda g: g[0], RuntimeError, r"shape \(\) for input 0"),
    ],
)
def test_wrong_results_of_backward_are_named(returned, error, message):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return returned(g)

    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=f"Wrong.backward returned.*{message}"):
        Wrong.apply(x).sum().backward()
    assert x.grad is None and lucid.is_grad_enabled()


def test_results_of_backward_are_summed_and_cast_to_the_input():
    class Widens(Function):
        @staticmethod
        def forward(ctx, x):
            return x * lucid.ones(4, 2)

        @staticmethod
        def backward(ctx, g):
            return g.double()

    x = lucid.ones(2, requires_grad=True)
    Widens.apply(x).sum().backward()
    assert x.grad.dtype is lucid.float32 and x.grad.tolist() == [4.0, 4.0]


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_inputs_that_forward_modifies():
    def function(x):
        y = x * 1
        first, rest = y[:1], y[1:]
        assert Doubled.apply(y) is y
        Doubled.apply(rest)
        return y * y, first * x

    assert gradcheck(function, (leaf(1.0, 2.0, 3.0),))
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="leaf"):
        Doubled.apply(x)
    with pytest.raises(RuntimeError, match="leaf"):
        Doubled.apply(x[:1])


def test_an_output_that_is_somebody_elses_tensor():
    w = leaf(5.0)

    class Odd(Function):
        @staticmethod
        def forward(ctx, x):
            return x, w

        @staticmethod
        def backward(ctx, g, gw):
            return g + gw

    x = leaf(1.0)
    a, b = Odd.apply(x)
    assert a is not x and b is not w and w.is_leaf and x.is_leaf
    (a + b).sum().backward()
    assert x.grad.item() == 2.0 and w.grad is None


def test_what_is_saved_is_checked_and_given_back():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * x
            ctx.save_for_backward(x, None, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, nothing, y = ctx.saved_tensors
            assert nothing is None
            return g * 2 * x

    x = leaf(2.0)
    h = x * 1
    y = Square.apply(h)
    node = weakref.ref(y.grad_fn)
    y.sum().backward(retain_graph=True)
    h.add_(1)
    with pytest.raises(RuntimeError, match="Square saved as 'save_for_backward'.*by add_"):
        y.sum().backward()
    h = x * 1
    y = Square.apply(h)
    kept = weakref.ref(h)
    y.sum().backward()
    del h
    gc.collect()
    assert kept() is None
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.sum().backward()
    gc.disable()
    try:
        y = Square.apply(x)
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()
    with pytest.raises(TypeError, match="ctx"):

        class Keeps(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(3)

        Keeps.apply(x)


def test_bytes_are_given_back_after_backward():
    class Keeps(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.clone())
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    x = lucid.ones(1 << 16, requires_grad=True)
    y = Keeps.apply(x)
    before = lucid.memory.stats()["live"]
    y.backward(lucid.ones(1 << 16))
    x.grad = None
    assert before - lucid.memory.stats()["live"] >= 4 << 16
    assert y is not None


def test_once_differentiable():
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x

    x = leaf(2.0)
    assert grad(Cube.apply(x).sum(), x)[0].item() == 12.0
    (g,) = grad(Cube.apply(x).sum(), x, create_graph=True)
    assert g.item() == 12.0
    with pytest.raises(RuntimeError, match="Cube.*once_differentiable"):
        grad(g.sum(), x)


def test_an_error_in_forward_leaves_the_mode():
    class Fails(Function):
        @staticmethod
        def forward(ctx, x):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        Fails.apply(leaf(1.0))
    assert lucid.is_grad_enabled()
