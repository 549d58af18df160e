"""Small programs that make every op lower its kernels, forward and backward, at a size n.

test_oracle.py runs them and takes what the planner made. Each is a function of (n, kind): it calls
the public API on tensors of about n elements a row and gives its outputs.
"""

import lucid
import lucid.nn.functional as F
import lucid.special  # its records have samples here
from lucid import optim
from lucid.op import Elementwise, find, records
from lucid.ops.overwrite import assembled, overwritten
from lucid.write import write

SAMPLES = {}


def sample(function):
    SAMPLES[function.__name__] = function
    return function


def R(*shape, kind=None, low=0.2, high=0.9):
    """A leaf in (low, high), where nearly everything is defined and smooth."""
    made = lucid.rand(*shape) * (high - low) + low
    return made.to(kind or lucid.float32).requires_grad_()


def whole(*shape, high=3):
    return lucid.randint(0, high, shape)


@sample
def reductions(n, kind):
    x = R(5, n, kind=kind)
    made = []
    for name in ("sum", "mean", "prod", "amax", "amin", "logsumexp", "var", "std"):
        function = getattr(lucid, name)
        made += [function(x, 1), function(x, 0)]
    return [*made, x.sum(), x.norm(), x.norm(1, 1), x.sum(1, keepdim=True)]


@sample
def located(n, kind):
    x = R(4, n, kind=kind)
    found = [*x.max(1), *x.min(0), x.argmax(), x.argmin(1), *x.max(0), *x.min(1), x.argmax(0)]
    return [*found, (x > 0.5).any(1), (x > 0.5).all(0), (x > 0.5).any(), x.count_nonzero(1)]


@sample
def softmaxes(n, kind):
    x = R(4, n, kind=kind)
    return [x.softmax(1), x.softmax(0), x.log_softmax(1), x.log_softmax(0), F.softmin(x, 1)]


@sample
def normalizations(n, kind):
    x, w, b = R(4, n, kind=kind), R(n, kind=kind), R(n, kind=kind)
    image, scale, shift = R(2, 3, 2, n, kind=kind), R(3, kind=kind), R(3, kind=kind)
    mean, variance = scale.detach(), shift.detach()
    return [
        F.layer_norm(x, (n,), w, b),
        F.layer_norm(x, (n,)),
        F.layer_norm(x, (n,), w),
        F.batch_norm(image, None, None, scale, shift, True),
        F.batch_norm(image, mean.clone(), variance.clone(), scale, shift, True),
        F.batch_norm(image, mean, variance, scale, shift, False),
        F.normalize(x),
    ]


@sample
def losses(n, kind):
    x, y, w = R(4, n, kind=kind), R(4, n, kind=kind), R(n, kind=kind).detach()
    t, p = whole(4), R(4, n, kind=kind).detach()
    return [
        F.cross_entropy(x, t),
        F.cross_entropy(x, t, w, reduction="sum"),
        F.cross_entropy(x, t, label_smoothing=0.1, reduction="none"),
        F.cross_entropy(x, y.softmax(1)),
        F.nll_loss(x.log_softmax(1), t, w),
        F.mse_loss(x, y),
        F.l1_loss(x, y),
        F.smooth_l1_loss(x, y),
        F.huber_loss(x, y),
        F.binary_cross_entropy_with_logits(x, p),
        F.binary_cross_entropy(x, p),
        F.kl_div(x.log(), p),
    ]


@sample
def running(n, kind):
    x = R(3, n, kind=kind)
    return [x.cumsum(1), x.cumsum(0), x.cumprod(1), x.cumprod(0)]


@sample
def subscripts(n, kind):
    x = R(4, n, 3, kind=kind)
    rows, columns = whole(2, 2), whole(2, 2)
    deep = R(2, 2, 2, 2, 2, 2, n, kind=kind)
    i = whole(2, high=2)
    written = x.clone()
    written[rows] = 1.5
    written[:, 1:] = x[:, 1:]
    written[x > 0.5] = 0.0
    added = x.index_put((rows, columns), R(2, 2, 3, kind=kind), accumulate=True)
    reads = [x[1], x[:, 1:3], x[..., -1], x[rows], x[:, rows], x[::2, None], x[rows, columns]]
    mixed = [x[rows, :, columns], x[x > 0.5], deep[i, i, i], deep[i, i, i, i], deep[i, i, i, i, i]]
    puts = [
        lucid.zeros(deep.shape, dtype=x.dtype).index_put((i,) * k, R(2, *deep.shape[k:], kind=kind))
        for k in range(1, 8)
    ]
    sums = [
        deep.index_put((i,) * k, R(2, *deep.shape[k:], kind=kind), accumulate=True)
        for k in range(1, 8)
    ]
    here = deep.detach().clone()
    for k in range(1, 8):  # as in-place writes to large tensors
        given = R(2, *deep.shape[k:], kind=kind).detach()
        for add in ("", "add_"):
            into = find(f"put_into_{add}{k}")
            write(into, here, (given, *(i,) * k), (0, tuple(here.shape)))
    nonzero = (x.detach() > 0.5).nonzero()
    # The second derivative of a subscript: what is read from an element of this number on.
    subscript_at = find("subscript_at")
    reads += [subscript_at(x, 3 * n + 4, (1, 1, 2), (1, n - 1, 1), (0,)),
              subscript_at(x, 2, (1, 1, -1), (4, n, 3), ())] if n > 1 else []  # fmt: skip
    return [*reads, *mixed, deep[(i,) * 6], deep[(i,) * 7], *puts, *sums, written, added, nonzero]


@sample
def gathers(n, kind):
    x, v = R(4, n, kind=kind), R(4, 2, kind=kind)
    places = whole(4, 2)
    return [
        x.gather(1, places),
        x.gather(0, places),
        x.scatter(1, places, v),
        x.scatter(1, places, value=2.0),
        x.scatter_add(0, places, v),
        *(x.scatter_reduce(0, places, v, how) for how in ("prod", "amax", "amin", "mean")),
        x.index_select(0, whole(3)),
        x.index_add(1, whole(2), v),
        x.index_copy(1, lucid.tensor([0, 2]), v),
        x.index_fill(0, whole(2), 1.0),
        F.embedding(whole(2, n, high=4), x, padding_idx=2),
        F.one_hot(whole(n), 3),
    ]


@sample
def shapes(n, kind):
    x, y = R(4, n, 3, kind=kind), R(4, 2, 3, kind=kind)
    square = R(n, n, kind=kind)
    return [
        x.permute(2, 0, 1).clone(),
        x.transpose(0, 2).reshape(-1) * 2,
        x.expand(2, 4, n, 3) + 1,
        x.repeat(2, 1, 1),
        x.flip(0, 2) * 2,
        x.roll((1, 2), (0, 1)),
        x.tril(),
        x.triu(1),
        lucid.cat([x, y], 1),
        lucid.cat([x, x, x], 2),
        lucid.cat([x, y, y, x], 1),
        lucid.cat([x, y, y, y, x], 1),
        lucid.stack([x, x, x, x, x, x], 0),
        lucid.stack([x] * 7, 1),
        lucid.stack([x] * 8, 1),
        lucid.stack([x, x], 1),
        *x.split(2, 0),
        *x.unbind(2),
        F.pad(x, (1, 2)),
        F.pad(x, (-1, 2, 0, 3), value=2.0),
        square.diagonal(1) * 2,
        square.trace(),
        lucid.diag(square[0]),
        x.unfold(1, 2, 1) * 2,
        x.to(lucid.float64),
        x.contiguous(memory_format=None),
        square.t().contiguous(),
        lucid.meshgrid(x[0, 0], x[0, :, 0], indexing="ij")[0],
    ]


@sample
def products(n, kind):
    kind = kind if kind is lucid.float64 else lucid.float32
    x, w, b = R(3, n, kind=kind), R(5, n, kind=kind), R(5, kind=kind)
    integers = whole(3, n) @ whole(n, 2)
    return [
        integers,
        F.linear(x, w, b),
        F.linear(x, w),
        x @ w.t(),
        x[0] @ w[0],
        lucid.outer(b, x[0]),
    ]


@sample
def attention(n, kind):
    kind = kind if kind is lucid.float64 else lucid.float32
    q, k, v = (R(1, 2, n, 4, kind=kind) for _ in range(3))
    mask = R(n, n, kind=kind)
    return [
        F.scaled_dot_product_attention(q, k, v),
        F.scaled_dot_product_attention(q, k, v, is_causal=True),
        F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
    ]


@sample
def images(n, kind):
    x = R(1, 3, 4, min(n, 18) + 3, kind=kind)
    made = [
        F.max_pool2d(x, 2),
        F.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        F.avg_pool2d(x, 2),
        F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        F.adaptive_avg_pool2d(x, (3, 5)),
        F.max_pool2d(x.detach(), 2),
        F.adaptive_avg_pool2d(x, 1),
    ]
    if kind in (lucid.float32, lucid.float64):
        made += [F.conv2d(x, R(3, 3, 3, 3, kind=kind), R(3, kind=kind), padding=1)]
        made += [F.conv2d(x, R(3, 1, 3, 3, kind=kind), padding=1, groups=3)]
        made += [F.conv2d(x, R(6, 3, 2, 3, kind=kind), stride=(1, 2))]
    return made


@sample
def created(n, kind):
    made = [lucid.arange(n), lucid.arange(0, n, 0.5), lucid.eye(n, 3), lucid.ones(2, n)]
    drawn = [lucid.rand(n), lucid.randn(n), lucid.randn(n, dtype=lucid.float64), whole(n)]
    drawn += [lucid.rand(n, dtype=lucid.float64), lucid.randperm(n), lucid.linspace(0, 1, n)]
    x = R(n, kind=kind)
    return [*made, *drawn, x.bernoulli(), F.dropout(x, 0.3), lucid.full((n,), 3), x + 1, x.half()]


@sample
def in_place(n, kind):
    x, y = R(4, n, kind=kind).detach(), R(4, n, kind=kind).detach()
    x.add_(y).mul_(2.0).addcmul_(y, y, value=0.5).clamp_(0.1, 3.0)
    x[1:].sub_(y[1:])
    x.masked_fill_(y > 0.5, 1.0)
    x.copy_(y.t().contiguous().t())
    return [x, y.fill_(2.0), y.zero_()]


@sample
def fused_chains(n, kind):
    x, y = R(4, n, kind=kind), R(n, kind=kind)
    z = F.gelu(x * y + 0.5)
    return [z, x.mean(1, keepdim=True) - x, ((x - y) ** 2).sum(1).sqrt(), F.gelu(x) * x.sigmoid()]


@sample
def steps_of_optimizers(n, kind):
    kind = kind if kind is lucid.float64 else lucid.float32
    for make in (
        lambda ps: optim.SGD(ps, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda ps: optim.SGD(ps, 0.1),
        lambda ps: optim.Adam(ps, 0.1, weight_decay=0.1),
        lambda ps: optim.Adam(ps, 0.1, amsgrad=True),
        lambda ps: optim.AdamW(ps, 0.1),
    ):
        parameters = [lucid.nn.Parameter(R(n, kind=kind).detach()) for _ in range(2)]
        optimizer = make(parameters)
        for _ in range(2):
            optimizer.zero_grad()
            sum((p * p).sum() for p in parameters).backward()
            optimizer.step()
    return []


def _elementwise(record):
    def run(n, kind):
        if record.refuses and any(k == kind.category for k in record.refuses):
            kind = lucid.int64
        if record.name == "nextafter" and kind.is_floating_point and kind.itemsize == 2:
            kind = lucid.float32
        arguments = []
        for name in record.inputs:
            if name == "condition":
                arguments.append(lucid.rand(n) > 0.5)
            elif not kind.is_floating_point:
                arguments.append(lucid.randint(1, 5, (n,)).to(kind))
            else:
                low = 1.1 if record.name == "acosh" else 0.2
                arguments.append(R(n, kind=kind, low=low, high=low + 0.7))
        return [record.dispatch(record, tuple(arguments), tuple(record.defaults.values()))]

    run.__name__ = record.name
    return run


for _record in list(records().values()):
    if issubclass(_record, Elementwise):
        SAMPLES[_record.name] = _elementwise(_record)


def run(name, n, kind):
    """A sample forward, and backward from every output that has a history."""
    made = SAMPLES[name](n, kind)
    for y in made:
        if y.requires_grad and y.numel():
            y.backward(lucid.ones_like(y), retain_graph=True)


@sample
def programs(n, kind):
    """What writes through views and gradients of parts become in compiled programs."""
    x = R(3, n, kind=kind).detach()

    def written(x):
        y = x * 2.0
        y.t()[0] = x[:, 0]
        return y

    part = n // 2
    places = [((0, at), (1, 1), (3, size), ()) for at, size in ((0, part), (part, n - part))]
    parts = (x[:, :part], x[:, part:])
    row = ((0, 0), (1, 1), (1, n), (0,))
    return [
        lucid.compile(written)(x),
        assembled.dispatch(assembled, parts, ((3, n), tuple(places))),
        overwritten(x, x[1], chain=(("subscript", row),)),
    ]
