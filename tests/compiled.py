"""Compiled functions against eager ones, to the bit. test_compile_control and _pieces call this."""

import numpy as np

import lucid
from lucid.compiler.tree import flatten


def made(*shapes, grad=True):
    """seed -> tensors of these shapes."""

    def make(seed):
        rng = np.random.default_rng(seed)
        return [
            lucid.tensor(rng.uniform(-1, 1, s).astype(np.float32), requires_grad=grad)
            for s in shapes
        ]

    return make


def bits(x):
    if not isinstance(x, lucid.Tensor):
        return x
    x = x.detach()
    return x.dtype, tuple(x.shape), x.stride(), x.contiguous().numpy().tobytes()


def outcome(function, arguments, grad):
    """Results, the arguments afterwards, and the gradients of a sum of squares of the results."""
    with lucid.set_grad_enabled(grad):
        results = flatten(function(*arguments))[0]
        inner = [y for y in results if isinstance(y, lucid.Tensor) and y.requires_grad]
        if grad and inner:
            sum([(y * y).sum() for y in inner]).backward()
    found = [bits(y) for y in results]
    return found + [
        (bits(a), bits(a.grad), a._version) for a in arguments if isinstance(a, lucid.Tensor)
    ]


def agree(function, compiled, make, calls):
    """The same outcome of both, with and without gradients, and as many random numbers drawn."""
    for grad in (True, False):
        for seed in range(calls):
            lucid.manual_seed(seed)
            want, drawn = outcome(function, make(seed), grad), lucid.rand(1).item()
            lucid.manual_seed(seed)
            assert outcome(compiled, make(seed), grad) == want, (seed, grad)
            assert lucid.rand(1).item() == drawn, (seed, grad)
