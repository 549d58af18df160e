"""Recurrent layers, attention, losses and embeddings: Lucid against PyTorch on 1 and 2 threads.

    python bench/sequence.py [--only lstm] [--rounds 3] [--threads 1,2] [--json FILE]

Forward under no_grad, and forward with backward to inputs and parameters.
"""

from harness import array, case, labels, main


def filled(t, model):
    """The same parameters in every framework."""
    for seed, parameter in enumerate(model.parameters()):
        parameter.data = array(t, *parameter.shape, seed=seed) * 0.05
    return model


def both(name, make, **settings):
    """Two cases of make(t) -> (f, arguments): forward, and forward with backward."""

    @case(f"{name} forward", **settings)
    def forward(t):
        f, arguments = make(t)

        def run(*xs):
            with t.no_grad():
                return f(*xs)

        return run, arguments

    @case(f"{name} with backward", **settings)
    def backward(t):
        f, arguments = make(t)

        def run(*xs):
            made = f(*xs)
            made = made[0] if isinstance(made, tuple) else made
            (made if made.ndim == 0 else made.sum()).backward()

        return run, arguments


def layer(name, make, *shape):
    """A module on one input that asks for a gradient."""

    def made(t):
        return filled(t, make(t.nn)), (array(t, *shape, requires_grad=True),)

    both(name, made, unit="ms")


layer("lstm 2x256, 32 x 64 steps", lambda nn: nn.LSTM(256, 256, 2), 64, 32, 256)
layer("gru 256, 32 x 64 steps", lambda nn: nn.GRU(256, 256), 64, 32, 256)
layer("rnn 256, 32 x 64 steps", lambda nn: nn.RNN(256, 256), 64, 32, 256)
layer("lstm 64 both ways, 1 x 32 steps", lambda nn: nn.LSTM(64, 64, bidirectional=True), 32, 1, 64)


def loss(name, f):
    def made(t):
        x, y = array(t, 256, 1000, requires_grad=True), array(t, 256, 1000, seed=1)
        return f(t), (x, y)

    both(name, made)


for _name in ("l1_loss", "smooth_l1_loss", "huber_loss", "mse_loss"):
    loss(_name, lambda t, n=_name: getattr(t.nn.functional, n))
loss(
    "binary_cross_entropy_with_logits",
    lambda t: lambda x, y: t.nn.functional.binary_cross_entropy_with_logits(x, y),
)


def alignment(t):
    x = array(t, 50, 16, 40, requires_grad=True)
    target, long = labels(t, 320, 39).reshape(16, 20) + 1, t.full((16,), 50)
    return (
        lambda x: t.nn.functional.ctc_loss(x.log_softmax(2), target, long, t.full((16,), 20)),
        (x,),
    )


both("ctc_loss 50 frames, 16 x 20 labels", alignment)


def bags(t):
    table = array(t, 10_000, 64, requires_grad=True)
    places = labels(t, 256 * 20, 10_000).reshape(256, 20)
    return lambda w: t.nn.functional.embedding_bag(places, w), (table,)


both("embedding_bag 256 x 20 of 10,000 x 64", bags)

if __name__ == "__main__":
    main(__doc__)
