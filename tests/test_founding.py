"""The names of the founding framework that PyTorch has not: all are there, and work."""

import numpy as np
import pytest

import lucid
from lucid import nn

# name -> what it gives, and what that should be
FUNCTIONS = {
    "grad_enabled": lambda: (lucid.grad_enabled(), True),
    "_grad_enabled": lambda: (lucid._grad_enabled, True),
    "newaxis": lambda: (lucid.ones(2)[lucid.newaxis].shape, (1, 2)),
    "inf": lambda: (lucid.inf, float("inf")),
    "pi": lambda: (lucid.pi, np.pi),
    "cube": lambda: (lucid.cube(lucid.tensor([2.0])).tolist(), [8.0]),
    "power": lambda: (lucid.power(lucid.tensor([2.0]), 3).tolist(), [8.0]),
    "multiply": lambda: (lucid.multiply(lucid.tensor([2.0]), 3).tolist(), [6.0]),
    "subtract": lambda: (lucid.subtract(lucid.tensor([2.0]), 3).tolist(), [-1.0]),
    "divide": lambda: (lucid.divide(lucid.tensor([3.0]), 2).tolist(), [1.5]),
    "inner": lambda: (lucid.inner(lucid.ones(3), lucid.ones(3)).item(), 3.0),
    "expand_dims": lambda: (lucid.expand_dims(lucid.ones(2, 3), 1).shape, (2, 1, 3)),
    "pad": lambda: (lucid.pad(lucid.ones(1), 1).tolist(), [0.0, 1.0, 0.0]),
    "hstack": lambda: (lucid.hstack([lucid.ones(1), lucid.ones(2)]).shape, (3,)),
    "vstack": lambda: (lucid.vstack([lucid.ones(2), lucid.ones(2)]).shape, (2, 2)),
    "broadcast_to": lambda: (lucid.broadcast_to(lucid.ones(1), (2, 3)).shape, (2, 3)),
    "clip": lambda: (lucid.clip(lucid.tensor([5.0]), min_value=0, max_value=2).tolist(), [2.0]),
    "astype": lambda: (lucid.ones(1).astype(lucid.Int8).dtype, lucid.int8),
    "copy_data": lambda: (lucid.ones(1, requires_grad=True).copy_data().requires_grad, False),
    "copy_grad": lambda: (lucid.ones(1).copy_grad(), None),
    "is_free": lambda: (lucid.tensor(1.0).is_free, True),
    "to_tensor": lambda: (lucid.to_tensor(np.ones(2), requires_grad=True).requires_grad, True),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_methods(name):
    made, expected = FUNCTIONS[name]()
    assert made == expected


def test_dtypes():
    pairs = {"Int8": "int8", "Int16": "int16", "Int32": "int32", "Int64": "int64",
             "Float16": "float16", "Float32": "float32", "Float64": "float64",
             "Complex64": "complex64"}  # fmt: skip
    for name, ours in pairs.items():
        assert getattr(lucid, name) is getattr(lucid, ours)
        assert lucid.ones(2, dtype=getattr(lucid, name)).dtype is getattr(lucid, ours)


def test_grad_mode_as_a_name():
    with lucid.no_grad():
        assert not lucid._grad_enabled and not lucid.grad_enabled()


def test_to_tensor():
    array = np.arange(4.0)
    assert lucid.to_tensor(array).dtype is lucid.float64
    assert lucid.to_tensor(array, dtype=lucid.float32).dtype is lucid.float32
    x = lucid.ones(2)
    assert lucid.to_tensor(x) is x and lucid.to_tensor(x, requires_grad=True) is not x
    assert not x.requires_grad


@pytest.mark.parametrize("width", [2, (1, 2), ((1, 2), (0, 3)), [[1, 2], [0, 3]]])
def test_pad_is_numpys(width):
    array = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(lucid.pad(lucid.tensor(array), width).numpy(), np.pad(array, width))
    assert np.array_equal(lucid.tensor(array).pad(width).numpy(), np.pad(array, width))
    with pytest.raises(ValueError, match="does not fit 2 dimensions"):
        lucid.pad(lucid.tensor(array), ((1, 1), (1, 1), (1, 1)))


def test_expand_dims_is_numpys():
    array = np.zeros((2, 3))
    for axis in (0, -1, 2, (0, 1), (0, -1), (1, 3)):
        made = lucid.expand_dims(lucid.tensor(array), axis)
        assert made.shape == np.expand_dims(array, axis).shape
    with pytest.raises(ValueError, match="twice"):
        lucid.expand_dims(lucid.tensor(array), (0, 0))


def test_cube_has_gradients():
    x = lucid.tensor([1.0, -2.0], dtype=lucid.float64, requires_grad=True)
    assert lucid.autograd.gradcheck(lucid.cube, (x,))
    assert lucid.autograd.gradgradcheck(lucid.cube, (x,))


def test_clip():
    x = lucid.tensor([-2.0, 0.5, 2.0])
    assert x.clip(-1, 1).tolist() == x.clip(min_value=-1, max_value=1).tolist() == [-1, 0.5, 1]
    assert x.clip(max_value=0).tolist() == [-2, 0, 0]
    assert x.clone().clip_(0, 1).tolist() == [0, 0.5, 1]
    with pytest.raises(TypeError, match="given twice"):
        x.clip(0, min_value=0)


def test_gradients_of_tensors():
    x = lucid.ones(2, requires_grad=True)
    (x * 3).sum().backward()
    kept = x.copy_grad()
    x.zero_grad(set_to_none=False)
    assert kept.tolist() == [3, 3] and x.grad.tolist() == [0, 0]
    x.zero_grad()
    assert x.grad is None and x.copy_grad() is None
    y = x.copy_data()
    y.zero_()
    assert x.tolist() == [1, 1]


def test_random():
    r = lucid.random
    assert r.seed(5) == r.get_seed() == lucid.initial_seed() == 5
    first = r.rand(3), r.randn(2, 2), r.randint(2, 9, 4), r.uniform(-3, -2, (3,))
    r.seed(5)
    again = r.rand(3), r.randn(2, 2), r.randint(2, 9, 4), r.uniform(-3, -2, (3,))
    assert all(lucid.equal(a, b) for a, b in zip(first, again, strict=True))
    assert first[2].shape == (4,) and 2 <= first[2].min() and first[2].max() < 9
    assert -3 <= first[3].min() and first[3].max() < -2
    assert r.randint(1, size=(2, 2)).tolist() == [[0, 0], [0, 0]]
    assert r.bernoulli([0, 1, 1]).tolist() == [0, 1, 1]
    assert 0.4 < r.bernoulli(lucid.full((2000,), 0.5)).mean() < 0.6
    assert sorted(r.permutation(5).tolist()) == [0, 1, 2, 3, 4]
    assert r.uniform(requires_grad=True).requires_grad
    before = lucid.get_rng_state()
    with r.fork_rng():
        r.rand(5)
    assert lucid.equal(lucid.get_rng_state(), before)
    assert r.seed() != r.seed(), "without a number the seed is a new one"


def test_errors():
    with pytest.raises(lucid.error.UnknownDeviceError):
        lucid.ones(1, device="abacus")
    with pytest.raises(lucid.error.BackwardError):
        lucid.ones(1).sum().backward()
    y = lucid.ones(1, requires_grad=True).exp()
    y.backward()
    with pytest.raises(lucid.error.BackwardError):
        y.backward()
    assert issubclass(lucid.error.DeviceMismatchError, RuntimeError)


LAYERS = {
    "Swish": ((), (2, 3)), "HardSwish": ((), (2, 3)), "HardSigmoid": ((), (2, 3)),
    "DropBlock": ((3,), (2, 3, 8, 8)), "DropPath": ((0.1,), (2, 3)),
    "GlobalResponseNorm": ((3,), (2, 3, 4, 4)), "Rearrange": (("a b -> b a",), (2, 3)),
    "ConvBNReLU1d": ((3, 4, 3), (2, 3, 8)), "ConvBNReLU2d": ((3, 4, 3), (2, 3, 8, 8)),
    "ConvBNReLU3d": ((3, 4, 3), (2, 3, 8, 8, 8)),
    "DepthSeparableConv1d": ((3, 4, 3), (2, 3, 8)),
    "DepthSeparableConv2d": ((3, 4, 3), (2, 3, 8, 8)),
    "DepthSeparableConv3d": ((3, 4, 3), (2, 3, 8, 8, 8)), "SEModule": ((8,), (2, 8, 4, 4)),
    "SelectiveKernel": ((8, 8, [3, 5]), (2, 8, 6, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    arguments, shape = LAYERS[name]
    layer = getattr(nn, name)(*arguments)
    x = lucid.randn(*shape, requires_grad=True)
    y = layer(x)
    assert y.isfinite().all()
    y.square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert layer.count_parameters() == sum(p.numel() for p in layer.parameters())
    assert layer.parameter_size == layer.count_parameters()


def test_modules_of_their_own():
    for name in ("datasets", "transforms", "einops", "models", "random", "error"):
        assert name in dir(lucid) and getattr(lucid, name).__name__ == f"lucid.{name}"


# ---- counting, and models at a glance ---------------------------------------------------------


def test_products_and_convolutions_are_counted_exactly():
    a, b = lucid.randn(5, 6, 7), lucid.randn(7, 8)
    x, w = lucid.randn(2, 4, 9, 9), lucid.randn(6, 2, 3, 3)
    with lucid.count_flops() as count:
        a @ b
    assert count.total == int(count) == 2 * 5 * 6 * 7 * 8
    with lucid.count_flops() as count:
        y = nn.functional.conv2d(x, w, stride=2, padding=1, groups=2)
    assert count.total == 2 * y.numel() * 2 * 3 * 3
    with lucid.count_flops() as count:
        x + x
        x.transpose(0, 1)
        lucid.arange(5) + 1
        x.to(lucid.float64)
    assert count.total == x.numel()
    with lucid.count_flops() as count:
        x.sum()
    assert x.numel() <= count.total <= 2 * x.numel()


def test_what_is_counted():
    x = lucid.randn(8, 16, requires_grad=True)
    layer = nn.Linear(16, 4)
    with lucid.count_flops() as outer:
        with lucid.count_flops() as inner:
            y = layer(x)
        y.sum().backward()
    forward = 2 * 8 * 16 * 4
    assert inner.by_kernel["gemm"] == forward
    assert outer.by_kernel["gemm"] == 3 * forward, "forward, and both gradients"
    layer(x)
    assert outer.by_kernel["gemm"] == 3 * forward, "after the block nothing is counted"
    assert "floating-point operations" in str(outer)
    for _ in range(2):  # the second plan comes from the disk
        compiled = lucid.compile(lambda x: (x @ x.t()).relu())
        compiled(x.detach())
        with lucid.count_flops() as count:
            compiled(x.detach())
        assert count.total >= 2 * 8 * 8 * 16


def test_counting_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), lucid.count_flops() as count:
        raise ZeroDivisionError
    lucid.ones(3) + 1
    assert count.total == 0
    with lucid.profile() as profile:
        lucid.ones(3).exp()
    assert [event.name for event in profile.events][-1] == "exp"


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.first.bias.requires_grad_(False)

    def forward(self, x, scale=1.0):
        return self.norm(self.first(self.first(x))) * scale


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.drop = nn.Dropout(0.5)
        self.inner.norm.eval()

    def forward(self, x, y, scale=1.0):
        return self.drop(self.inner(x, scale)), y.sum()


def test_describe():
    model = Outer()
    modes = [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    found = lucid.models.describe(model, [(4, 6), (3,)], scale=2.0)
    assert [m.training for m in model.modules()] == modes
    assert all(lucid.equal(v, state[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    rows = [(row.path, row.kind, row.depth, row.shared) for row in found.layers]
    assert rows == [
        ("", "Outer", 0, False), ("inner", "Inner", 1, False),
        ("inner.first", "Linear", 2, False), ("inner.first", "Linear", 2, True),
        ("inner.norm", "BatchNorm1d", 2, False), ("drop", "Dropout", 1, False),
    ]  # fmt: skip
    assert found.layers[0].inputs == [(4, 6), (3,)] and found.layers[0].outputs == [(4, 6), ()]
    assert found.layers[2].parameters == 42 and found.layers[1].layers == 2
    assert (found.parameters, found.trainable) == (54, 48)
    assert found.flops >= 2 * 2 * 4 * 36
    assert [row.path for row in lucid.models.describe(model, [(4, 6), (3,)], False).layers] == [
        "", "inner", "drop",
    ]  # fmt: skip


def test_summarize(capsys):
    lucid.models.summarize(Outer(), [(4, 6), (3,)], truncate_from=2)
    said = capsys.readouterr().out
    for words in ("Summary of Outer", "4 more layers", "parameters: 54", "6 of them fixed"):
        assert words in said
    assert "Dropout" not in said
    assert "4 x 6" in str(lucid.models.describe(nn.Linear(6, 2), (4, 6)))
    tokens = nn.Embedding(10, 3)
    assert lucid.models.describe(tokens, (2, 5), dtype=lucid.int64).layers[0].outputs == (2, 5, 3)
    with pytest.raises(TypeError, match="expected a Module"):
        lucid.models.summarize(lambda x: x, (1,))


def test_a_model_that_fails_is_left_as_it_was():
    model = Inner().train()
    with pytest.raises(RuntimeError):
        lucid.models.describe(model, (4, 5))
    assert model.training and not model._forward_hooks and not model.first._forward_pre_hooks
