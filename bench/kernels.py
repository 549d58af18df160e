"""Kernels at the limit of the memory: elementwise chains, softmax, norms, cross-entropy, Adam.

python bench/kernels.py [--rounds 3] [--threads 1,2] [--only softmax] [--json FILE]
"""

from harness import array, case, labels, main

MILLION = 1 << 20


@case("x*sigmoid(1.702*x)+tanh(x)*0.5, 4M, op by op", unit="ms")
def chain(t):
    def f(x):
        return x * t.sigmoid(1.702 * x) + t.tanh(x) * 0.5

    return f, (array(t, 4 * MILLION),)


def forward_and_backward(f, x, *rest):
    """One forward and backward pass with a ready cotangent; gradients start from None."""

    def step(g):
        x.grad = None
        for parameter in rest:
            parameter.grad = None
        f(x).backward(g)

    return step


@case("softmax 4096x1024, forward", unit="ms", bytes=2 * 4 * 4096 * 1024)
def softmax_forward(t):
    return (lambda x: t.softmax(x, -1)), (array(t, 4096, 1024),)


@case("softmax 4096x1024, forward and backward", unit="ms", bytes=5 * 4 * 4096 * 1024)
def softmax(t):
    x = array(t, 4096, 1024, requires_grad=True)
    step = forward_and_backward(lambda x: t.softmax(x, -1), x)
    return step, (array(t, 4096, 1024, seed=1),)


@case("layer_norm 4096x1024, forward", unit="ms", bytes=2 * 4 * 4096 * 1024)
def layer_norm_forward(t):
    w, b = array(t, 1024, seed=2), array(t, 1024, seed=3)
    f = t.nn.functional.layer_norm
    return (lambda x: f(x, (1024,), w, b)), (array(t, 4096, 1024),)


@case("layer_norm 4096x1024, forward and backward", unit="ms", bytes=5 * 4 * 4096 * 1024)
def layer_norm(t):
    x = array(t, 4096, 1024, requires_grad=True)
    w = array(t, 1024, seed=2, requires_grad=True)
    b = array(t, 1024, seed=3, requires_grad=True)
    f = t.nn.functional.layer_norm
    step = forward_and_backward(lambda x: f(x, (1024,), w, b), x, w, b)
    return step, (array(t, 4096, 1024, seed=1),)


@case("cross_entropy 512x50257, forward and backward", unit="ms", bytes=2 * 4 * 512 * 50257)
def cross_entropy(t):
    x = array(t, 512, 50257, requires_grad=True)
    y = labels(t, 512, 50257)

    def step():
        x.grad = None
        t.nn.functional.cross_entropy(x, y).backward()

    return step, ()


@case("Adam, 8M parameters, PyTorch fused", unit="ms", bytes=7 * 4 * 8 * MILLION)
def adam(t):
    p = array(t, 8 * MILLION, requires_grad=True)
    p.grad = array(t, 8 * MILLION, seed=1)
    fused = {"fused": True} if t.__name__ == "torch" else {}  # Lucid's is one pass without asking
    return t.optim.Adam([p], lr=1e-3, **fused).step, ()


if __name__ == "__main__":
    main(__doc__)
