"""Modules, losses and optimizers: Lucid against PyTorch eager at typical sizes.

    python bench/nn.py [--only conv] [--slices 3] [--threads 1,2] [--rounds 3] [--json FILE]

Each module runs forward under no_grad, and forward with backward to its input and parameters; each
optimizer takes steps. Behind the table stand the median of the ratios and the ten worst, with their
cause. The sizes of the modules are here; what is known of the slow ones is in `CAUSES`.
"""

import statistics

from harness import CASES, array, case, labels, main, rows

# Why a case is slower than PyTorch, by the beginning of its name.
CAUSES = {
    "stack 8": "each part's gradient is a copy of its own; PyTorch's show the cotangent's bytes",
    "conv2d grouped": "16 columns fill one of the four vectors of the register tile",
    "conv2d depthwise 32": "a copy with borders, and 49 taps written out",
    "conv2d depthwise": "step 1 runs on planes; the weight's gradient reads the input for each tap",
    "conv": "row-major input is turned to channels side by side, and the result back",
    "adaptive_avg_pool2d 7": "the windows of each element are divided out, where a table would do",
    "cummax": "each step waits for the one before; in PyTorch's loop a branch is predicted",
    "bincount": "checks each number, and reads all twice before for the extremes",
    "pad2d reflection": "three reads of a vector, those that are turned around one by one",
    "pad2d": "the gradient folds as many places for an inner element as for one at the border",
    "LBFGS": "a call for each product of vectors and each parameter",
    "lstm": "the products of a step, 32 rows by 1024 columns, and cells in a form of their own",
    "embedding_bag mean": "the number of entries is counted in kernels of its own",
}
FAMILIES: dict[str, list[str]] = {}


def family(name):
    """The cases that follow belong to this family."""
    FAMILIES[name] = []


def filled(t, model):
    """The same parameters in every framework."""
    for seed, parameter in enumerate(model.parameters()):
        parameter.data = array(t, *parameter.shape, seed=seed) * 0.05
    return model


def first(made):
    """A module's output, where it returns a state or weights too."""
    return made[0] if isinstance(made, tuple) else made


def both(name, make, modes=("forward", "backward"), **settings):
    """Two cases of `make(t) -> (f, inputs, leaves)`: without gradients, and with."""
    settings = {"unit": "us", **settings}

    def forward(t):
        f, inputs, _ = make(t)

        def run(*xs):
            with t.no_grad():
                return f(*xs)

        return run, inputs

    def backward(t):
        f, inputs, leaves = make(t)
        leaves = list(leaves)
        made = first(f(*inputs))
        g = None if made.ndim == 0 else array(t, *made.shape, seed=7)

        def run(*xs):
            for leaf in leaves:
                leaf.grad = None
            first(f(*xs)).backward(g)

        return run, inputs

    if "forward" in modes:
        declare(f"{name}: forward", forward, **settings)
    if "backward" in modes:
        declare(f"{name}: with backward", backward, **settings)


def declare(name, make, **settings):
    """A case of the present family."""
    list(FAMILIES.values())[-1].append(name)
    case(name, **settings)(make)


def layer(name, make, *shape, inputs=None):
    """A module on one input, or on `inputs(t)`."""

    def made(t):
        model = filled(t, make(t.nn))
        xs = inputs(t) if inputs else (array(t, *shape, requires_grad=True),)
        asking = [x for x in xs if getattr(x, "requires_grad", False)]
        return model, xs, [*asking, *model.parameters()]

    both(name, made)


def function(name, f, *shape):
    """A function of torch.nn.functional on one input: `f(F, x)`."""

    def made(t):
        x = array(t, *shape, requires_grad=True)
        return lambda x: f(t.nn.functional, x), (x,), [x]

    both(name, made)


family("Convolutions")

layer("conv1d 64-128 k5", lambda nn: nn.Conv1d(64, 128, 5, padding=2), 16, 64, 256)
layer("conv2d 64-64 k3", lambda nn: nn.Conv2d(64, 64, 3, padding=1), 8, 64, 28, 28)
layer("conv2d 3-64 k7 s2", lambda nn: nn.Conv2d(3, 64, 7, 2, 3), 4, 3, 112, 112)
layer("conv2d 256-64 k1", lambda nn: nn.Conv2d(256, 64, 1), 8, 256, 28, 28)
layer(
    "conv2d depthwise 128 k3", lambda nn: nn.Conv2d(128, 128, 3, 1, 1, groups=128), 8, 128, 28, 28
)
layer("conv2d depthwise 32 k7", lambda nn: nn.Conv2d(32, 32, 7, 1, 3, groups=32), 4, 32, 56, 56)
layer(
    "conv1d depthwise 256 k4", lambda nn: nn.Conv1d(256, 256, 4, padding=3, groups=256), 8, 256, 512
)
layer(
    "conv2d grouped 128 in 8 k3", lambda nn: nn.Conv2d(128, 128, 3, 1, 1, groups=8), 8, 128, 28, 28
)
layer("conv2d dilated 64 k3", lambda nn: nn.Conv2d(64, 64, 3, 1, 2, 2), 8, 64, 28, 28)
layer("conv3d 16-32 k3", lambda nn: nn.Conv3d(16, 32, 3, padding=1), 2, 16, 12, 28, 28)
layer("conv_transpose1d 64-64 k4 s2", lambda nn: nn.ConvTranspose1d(64, 64, 4, 2, 1), 8, 64, 256)
layer("conv_transpose2d 64-32 k4 s2", lambda nn: nn.ConvTranspose2d(64, 32, 4, 2, 1), 8, 64, 28, 28)
layer("conv_transpose3d 16-8 k2 s2", lambda nn: nn.ConvTranspose3d(16, 8, 2, 2), 2, 16, 12, 28, 28)

family("Pooling")

layer("max_pool1d k3 s2", lambda nn: nn.MaxPool1d(3, 2), 16, 64, 1024)
layer("max_pool2d k2", lambda nn: nn.MaxPool2d(2), 8, 64, 56, 56)
layer("max_pool2d k3 s2", lambda nn: nn.MaxPool2d(3, 2, 1), 8, 64, 56, 56)
layer("max_pool3d k2", lambda nn: nn.MaxPool3d(2), 4, 16, 16, 28, 28)
layer("avg_pool1d k3", lambda nn: nn.AvgPool1d(3, 2, 1), 16, 64, 1024)
layer("avg_pool2d k2", lambda nn: nn.AvgPool2d(2), 8, 64, 56, 56)
layer("avg_pool3d k2", lambda nn: nn.AvgPool3d(2), 4, 16, 16, 28, 28)
layer("adaptive_avg_pool2d 1", lambda nn: nn.AdaptiveAvgPool2d(1), 16, 256, 14, 14)
layer("adaptive_avg_pool2d 7", lambda nn: nn.AdaptiveAvgPool2d(7), 8, 64, 30, 30)
layer("adaptive_max_pool2d 7", lambda nn: nn.AdaptiveMaxPool2d(7), 8, 64, 30, 30)
layer("lp_pool2d", lambda nn: nn.LPPool2d(2, 2), 8, 64, 28, 28)

family("Norms")

layer("batch_norm1d 256", lambda nn: nn.BatchNorm1d(256), 256, 256)
layer("batch_norm2d 64", lambda nn: nn.BatchNorm2d(64), 8, 64, 56, 56)
layer("batch_norm2d 64 eval", lambda nn: nn.BatchNorm2d(64).eval(), 8, 64, 56, 56)
layer("batch_norm3d 16", lambda nn: nn.BatchNorm3d(16), 4, 16, 16, 28, 28)
layer("layer_norm 512", lambda nn: nn.LayerNorm(512), 32, 128, 512)
layer("group_norm 8 of 64", lambda nn: nn.GroupNorm(8, 64), 8, 64, 56, 56)
layer("instance_norm2d 64", lambda nn: nn.InstanceNorm2d(64, affine=True), 8, 64, 56, 56)
layer("rms_norm 512", lambda nn: nn.RMSNorm(512), 32, 128, 512)
layer("local_response_norm 5", lambda nn: nn.LocalResponseNorm(5), 8, 64, 28, 28)

family("Activations")

for _name in ("ReLU", "LeakyReLU", "GELU", "SiLU", "Mish", "ELU", "SELU", "CELU", "Softplus",
              "Sigmoid", "Tanh", "LogSigmoid", "Hardswish", "Hardsigmoid", "Hardtanh", "Softsign",
              "Softshrink", "Tanhshrink", "PReLU", "GLU"):  # fmt: skip
    layer(_name, lambda nn, n=_name: getattr(nn, n)(), 64, 128, 128)
layer("Softmax", lambda nn: nn.Softmax(-1), 64, 128, 128)
layer("LogSoftmax", lambda nn: nn.LogSoftmax(-1), 64, 128, 128)
layer("Dropout", lambda nn: nn.Dropout(0.1), 64, 128, 128)

family("Linear and embeddings")

layer("linear 512-512 x 256", lambda nn: nn.Linear(512, 512), 256, 512)
layer("linear 784-10 x 64", lambda nn: nn.Linear(784, 10), 64, 784)
layer("bilinear 64 64-32 x 128", lambda nn: nn.Bilinear(64, 64, 32),
      inputs=lambda t: (array(t, 128, 64, requires_grad=True),
                        array(t, 128, 64, seed=1)))  # fmt: skip
layer("embedding 64 x 64 of 10,000 x 256", lambda nn: nn.Embedding(10_000, 256),
      inputs=lambda t: (labels(t, 4096, 10_000).reshape(64, 64),))  # fmt: skip
for _name in ("sum", "mean", "max"):
    layer(f"embedding_bag {_name} 256 x 20 of 10,000 x 64",
          lambda nn, m=_name: nn.EmbeddingBag(10_000, 64, mode=m),
          inputs=lambda t: (labels(t, 256 * 20, 10_000).reshape(256, 20),))  # fmt: skip

family("Sequences")

layer("lstm 256 x 2, 32 x 32 steps", lambda nn: nn.LSTM(256, 256, 2), 32, 32, 256)
layer("lstm 64 both ways, 1 x 32 steps", lambda nn: nn.LSTM(64, 64, bidirectional=True), 32, 1, 64)
layer("gru 256, 32 x 32 steps", lambda nn: nn.GRU(256, 256), 32, 32, 256)
layer("rnn 256, 32 x 32 steps", lambda nn: nn.RNN(256, 256), 32, 32, 256)
layer("lstm cell 256 x 64", lambda nn: nn.LSTMCell(256, 256), 64, 256)
layer("gru cell 256 x 64", lambda nn: nn.GRUCell(256, 256), 64, 256)


def attention(nn):
    model = nn.MultiheadAttention(256, 8, batch_first=True)
    model.forward = lambda x, f=model.forward: f(x, x, x, need_weights=False)
    return model


layer("multihead_attention 8 x 128 x 256", attention, 8, 128, 256)
layer("transformer_encoder_layer 8 x 128 x 256",
      lambda nn: nn.TransformerEncoderLayer(256, 8, 1024, 0.0, batch_first=True),
      8, 128, 256)  # fmt: skip


def causal(t):
    xs = [array(t, 8, 8, 128, 32, seed=i, requires_grad=True) for i in range(3)]
    f = t.nn.functional.scaled_dot_product_attention
    return lambda *xs: f(*xs, is_causal=True), tuple(xs), xs


both("attention, causal 8 x 8 x 128 x 32", causal)

family("Losses")


def loss(name, make, target, *shape):
    """A loss of an input and `target(t, shape)`."""

    def made(t):
        x = array(t, *shape, requires_grad=True)
        return make(t.nn), (x, target(t, shape)), [x]

    both(name, made)


def normal(t, shape):
    return array(t, *shape, seed=1)


def probabilities(t, shape):
    return array(t, *shape, seed=1).sigmoid()


def classes(t, shape):
    return labels(t, shape[0], shape[1])


def signs(t, shape):
    return array(t, *shape, seed=1).sign()


for _name in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss"):
    loss(_name, lambda nn, n=_name: getattr(nn, n)(), normal, 256, 1000)
for _name in ("BCEWithLogitsLoss", "KLDivLoss"):
    loss(_name, lambda nn, n=_name: getattr(nn, n)(), probabilities, 256, 1000)
loss("BCELoss", lambda nn: lambda x, y: nn.functional.binary_cross_entropy(x.sigmoid(), y),
     probabilities, 256, 1000)  # fmt: skip
loss("CrossEntropyLoss 256 x 1000", lambda nn: nn.CrossEntropyLoss(), classes, 256, 1000)
loss("CrossEntropyLoss 64 x 10", lambda nn: nn.CrossEntropyLoss(), classes, 64, 10)
loss("NLLLoss", lambda nn: nn.NLLLoss(), classes, 256, 1000)
loss("MultiMarginLoss", lambda nn: nn.MultiMarginLoss(), classes, 256, 1000)
loss("SoftMarginLoss", lambda nn: nn.SoftMarginLoss(), signs, 256, 1000)
loss("HingeEmbeddingLoss", lambda nn: nn.HingeEmbeddingLoss(), signs, 256, 1000)
loss("PoissonNLLLoss", lambda nn: nn.PoissonNLLLoss(), probabilities, 256, 1000)
loss("GaussianNLLLoss", lambda nn: lambda x, y: nn.functional.gaussian_nll_loss(x, y, y * y + 1),
     normal, 256, 1000)  # fmt: skip
loss("CosineEmbeddingLoss", lambda nn: lambda x, y: nn.functional.cosine_embedding_loss(
     x, y, y[:, 0].sign()), normal, 256, 1000)  # fmt: skip
loss("TripletMarginLoss", lambda nn: lambda x, y: nn.functional.triplet_margin_loss(x, y, y * 2),
     normal, 256, 1000)  # fmt: skip
loss("MarginRankingLoss", lambda nn: lambda x, y: nn.functional.margin_ranking_loss(
     x[:, 0], x[:, 1], y[:, 0].sign()), normal, 256, 1000)  # fmt: skip
loss("MultiLabelSoftMarginLoss", lambda nn: nn.MultiLabelSoftMarginLoss(),
     probabilities, 256, 1000)  # fmt: skip


def alignment(t):
    x = array(t, 50, 16, 40, requires_grad=True)
    target, long, short = (
        labels(t, 320, 39).reshape(16, 20) + 1,
        t.full((16,), 50),
        t.full((16,), 20),
    )
    return lambda x: t.nn.functional.ctc_loss(x.log_softmax(2), target, long, short), (x,), [x]


both("ctc_loss 50 frames, 16 x 20 labels", alignment)

family("Resizing, sampling, padding")

for _mode in ("nearest", "bilinear", "bicubic"):
    function(f"interpolate {_mode} x 2", lambda F, x, m=_mode: F.interpolate(
        x, scale_factor=2, mode=m), 4, 32, 32, 32)  # fmt: skip
function("interpolate bilinear antialias / 2", lambda F, x: F.interpolate(
    x, scale_factor=0.5, mode="bilinear", antialias=True), 4, 32, 64, 64)  # fmt: skip
function("interpolate trilinear x 2", lambda F, x: F.interpolate(
    x, scale_factor=2, mode="trilinear"), 2, 16, 8, 16, 16)  # fmt: skip
function("interpolate linear x 2", lambda F, x: F.interpolate(
    x, scale_factor=2, mode="linear"), 8, 64, 256)  # fmt: skip


def sampling(t):
    x = array(t, 4, 32, 32, 32, requires_grad=True)
    grid = (array(t, 4, 32, 32, 2, seed=1) * 0.5).detach().requires_grad_()
    return lambda x, g: t.nn.functional.grid_sample(x, g, align_corners=False), (x, grid), [x, grid]


def affine(t):
    x = array(t, 16, 2, 3, requires_grad=True)
    f = t.nn.functional.affine_grid
    return lambda x: f(x, (16, 3, 32, 32), align_corners=False), (x,), [x]


both("grid_sample bilinear", sampling)
both("affine_grid", affine)
layer("pixel_shuffle 2", lambda nn: nn.PixelShuffle(2), 8, 64, 28, 28)
layer("pixel_unshuffle 2", lambda nn: nn.PixelUnshuffle(2), 8, 16, 56, 56)
layer("channel_shuffle 4", lambda nn: nn.ChannelShuffle(4), 8, 64, 28, 28)
layer("unfold k3", lambda nn: nn.Unfold(3, padding=1), 4, 32, 28, 28)
layer("fold k3", lambda nn: nn.Fold((28, 28), 3, padding=1), 4, 288, 784)
for _name in ("Constant", "Reflection", "Replication", "Circular"):
    extra = (0.5,) if _name == "Constant" else ()
    layer(f"pad2d {_name.lower()}",
          lambda nn, n=_name, e=extra: getattr(nn, f"{n}Pad2d")(3, *e), 8, 32, 28, 28)  # fmt: skip
layer("cosine_similarity", lambda nn: nn.CosineSimilarity(), inputs=lambda t: (
    array(t, 256, 512, requires_grad=True), array(t, 256, 512, seed=1)))  # fmt: skip
layer("pairwise_distance", lambda nn: nn.PairwiseDistance(), inputs=lambda t: (
    array(t, 256, 512, requires_grad=True), array(t, 256, 512, seed=1)))  # fmt: skip

family("Functions of tensors")


def tensors(name, f, make, modes=("forward",)):
    def made(t):
        xs = make(t)
        return lambda *xs: f(t, *xs), xs, [x for x in xs if x.requires_grad]

    both(name, made, modes)


def several(count, *shape):
    return lambda t: tuple(array(t, *shape, seed=i, requires_grad=True) for i in range(count))


_both = ("forward", "backward")
tensors("cat 2 x 10", lambda t, *xs: t.cat(xs), several(2, 10), _both)
tensors(
    "cat 4 x 8 x 64 x 28 x 28, dim 1", lambda t, *xs: t.cat(xs, 1), several(4, 8, 64, 28, 28), _both
)
tensors("stack 2 x 10", lambda t, *xs: t.stack(xs), several(2, 10), _both)
tensors("stack 8 x 64 x 1024", lambda t, *xs: t.stack(xs), several(8, 64, 1024), _both)
tensors("split, 64 x 1024 in 4", lambda t, x: t.cat([p * 2 for p in x.split(256, 1)], 1),
        several(1, 64, 1024), _both)  # fmt: skip
tensors("topk 5 of 256 x 1000", lambda t, x: x.topk(5), several(1, 256, 1000), _both)
tensors("topk 100 of 1M", lambda t, x: x.topk(100), several(1, 1_000_000))
tensors("sort 256 x 1000", lambda t, x: x.sort(), several(1, 256, 1000))
tensors("argsort 1M", lambda t, x: x.argsort(), several(1, 1_000_000))
tensors("median 256 x 1000", lambda t, x: x.median(1), several(1, 256, 1000))
tensors("median of 1M", lambda t, x: x.median(), several(1, 1_000_000))
tensors("kthvalue 256 x 1000", lambda t, x: x.kthvalue(10, 1), several(1, 256, 1000))
tensors("cummax 256 x 1000", lambda t, x: x.cummax(1), several(1, 256, 1000))
tensors("cumsum 256 x 1000", lambda t, x: x.cumsum(1), several(1, 256, 1000), _both)
tensors("cumsum of columns 256 x 1000", lambda t, x: x.cumsum(0), several(1, 256, 1000))
tensors("logcumsumexp 256 x 1000", lambda t, x: x.logcumsumexp(1), several(1, 256, 1000))
tensors("bincount 1M in 1000", lambda t, x: x.bincount(minlength=1000),
        lambda t: (labels(t, 1_000_000, 1000),))  # fmt: skip
tensors("max 256 x 1000", lambda t, x: x.max(1), several(1, 256, 1000), _both)
tensors("argmax 256 x 1000", lambda t, x: x.argmax(1), several(1, 256, 1000))
tensors("gather 256 x 100 of 256 x 1000", lambda t, x, i: x.gather(1, i), lambda t: (
    array(t, 256, 1000, requires_grad=True),
    labels(t, 25_600, 1000).reshape(256, 100)), _both)  # fmt: skip
tensors("index_select 1000 of 4096 x 256", lambda t, x, i: x.index_select(0, i), lambda t: (
    array(t, 4096, 256, requires_grad=True), labels(t, 1000, 4096)), _both)  # fmt: skip
tensors("x[mask], 1M", lambda t, x: x[x > 0], several(1, 1_000_000))
tensors("masked_fill 64 x 128 x 128", lambda t, x: x.masked_fill(x > 1, 0.0),
        several(1, 64, 128, 128), _both)  # fmt: skip
tensors("clip_grad_norm_, 64 tensors", lambda t, *xs: t.nn.utils.clip_grad_norm_(xs, 1.0),
        lambda t: tuple(with_gradient(t, x) for x in several(64, 1000)(t)))  # fmt: skip


def with_gradient(t, x):
    x.grad = array(t, *x.shape, seed=5)
    return x


family("Optimizers")

SMALL = [(1000,)] * 64
LARGE = [(256, 256), (256,), (1024, 256), (1024,), (256, 1024), (256,)] * 4


def steps(name, sizes, **options):
    """Steps with gradients that stay; `closure` for those that ask for it."""

    def made(t):
        parameters = [with_gradient(t, array(t, *s, seed=i, requires_grad=True))
                      for i, s in enumerate(sizes)]  # fmt: skip
        optimizer = getattr(t.optim, name)(parameters, **options)
        if name == "LBFGS":
            return lambda: optimizer.step(lambda: parameters[0].sum()), ()
        return optimizer.step, ()

    kind = "64 x 1,000" if sizes is SMALL else "3.2M in 24"
    declare(f"{name} {kind}: step", made)


for _name in ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adadelta", "Adagrad", "RMSprop",
              "Rprop", "ASGD", "Adafactor"):  # fmt: skip
    momentum = {"momentum": 0.9} if _name == "SGD" else {}
    for _sizes in (SMALL, LARGE):
        steps(_name, _sizes, **momentum)
steps("LBFGS", SMALL, max_iter=4)
steps("Muon", [s for s in LARGE if len(s) == 2])


def summary(options):
    """The median of the ratios, those of the families, and the ten worst with what is known."""
    names = options.frameworks.split(",") if options.frameworks else ["lucid", "torch"]
    chosen = [c for c in CASES.values() if options.only in c.name]
    for count in map(int, options.threads.split(",")):
        found = [r for r in rows(chosen, names, [count]) if "speed" in r]
        if not found:
            continue
        ratios = [r["speed"] for r in found]
        slow = sum(ratio < 0.5 for ratio in ratios)
        print(f"\n{count} thread{'s' * (count > 1)}: median {statistics.median(ratios):.2f} of "
              f"{len(ratios)} cases, {sum(r >= 1 for r in ratios)} at least as fast, {slow} slower "
              "than half as fast")  # fmt: skip
        of = {row["case"]: row["speed"] for row in found}
        for name, members in FAMILIES.items():
            speeds = sorted(of[m] for m in members if m in of)
            if speeds:
                print(f"  {name:<28} {len(speeds):3} cases, {statistics.median(speeds):.2f}, "
                      f"{speeds[0]:.2f} to {speeds[-1]:.2f}")  # fmt: skip
        print("  the ten worst:")
        for row in sorted(found, key=lambda r: r["speed"])[:10]:
            cause = next((why for n, why in CAUSES.items() if row["case"].startswith(n)), "")
            print(f"  {row['speed']:5.2f}  {row['case']:<50} {cause}")


if __name__ == "__main__":
    main(__doc__, summary, slices=3)
