"""softmax, layer_norm, batch_norm: composites over rows or channels.

Each is a plain function of ops, fused by the planner into one or two kernels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid.apply import apply_all
from lucid.autograd.mode import no_grad
from lucid.dtypes import FLOATING
from lucid.op import Composite, OpMeta, normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.elementwise import rsqrt
from lucid.ops.reduce import amax_, sum_
from lucid.ops.transcendental import exp, log
from lucid.ops.view import reshape


class softmax_(Composite):
    """e^(x - max) / sum, along one dimension."""

    public = False
    autocast = "float32"
    numbered = ("dim",)

    def forward(x, *, dim):
        if x.shape[dim] == 0:
            return x * 1.0
        e = exp(x - amax_(x, (dim,), True))
        return e / sum_(e, (dim,), True)

    def vjp_x(g, y, dim):
        return (g - sum_(g * y, (dim,), True)) * y

    def ref(x, dim):
        e = np.exp(x - x.max(dim, keepdims=True))
        return e / e.sum(dim, keepdims=True)


class log_softmax_(Composite):
    """x - max - log(sum(e^(x - max))), along one dimension."""

    public = False
    autocast = "float32"
    numbered = ("dim",)

    def forward(x, *, dim):
        if x.shape[dim] == 0:
            return x * 1.0
        shifted = x - amax_(x, (dim,), True)
        return shifted - log(sum_(exp(shifted), (dim,), True))

    def vjp_x(g, y, dim):
        return g - exp(y) * sum_(g, (dim,), True)

    def ref(x, dim):
        s = x - x.max(dim, keepdims=True)
        return s - np.log(np.exp(s).sum(dim, keepdims=True))


def _along(name: str, record: Any, x: Any, dim: int | None, kind: Any) -> Any:
    if dim is None:
        raise TypeError(f"{name}: dim must be given")
    x = x if kind is None else to_dtype(x, kind)
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"{name}: a floating tensor is needed, got {x.dtype!r}; pass dtype=")
    d = normal_dim(name, dim, x.ndim)
    if x.ndim == 0:
        return reshape(record(reshape(x, (1,)), 0), ())
    return record(x, d)


def softmax(input, dim=None, *, dtype=None):
    """softmax(x)_i = e^x_i / sum_j e^x_j along `dim`.

    >>> import lucid
    >>> lucid.softmax(lucid.zeros(4), 0)
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return _along("softmax", softmax_, input, dim, dtype)


def log_softmax(input, dim=None, *, dtype=None):
    """log(softmax(x)) along `dim`, computed without underflow.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.log_softmax(lucid.zeros(1), dim=0).tolist()
    [0.0]
    """
    return _along("log_softmax", log_softmax_, input, dim, dtype)


def softmin(input, dim=None, *, dtype=None):
    """softmax(-x).

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.softmin(lucid.tensor([2.0, 2.0]), dim=0).tolist()
    [0.5, 0.5]
    """
    return softmax(-input, dim, dtype=dtype)


class layer_norm_(Composite):
    """(x - mean) * rstd * w + b over the trailing `n` dimensions. Ba et al., 2016."""

    public = False
    autocast = "float32"
    hidden = ("mean", "rstd")

    def forward(x, w, b, *, n, eps):
        dims = tuple(range(len(x.shape) - n, len(x.shape)))
        count = count_of(x.shape, dims)
        mean = sum_(x, dims, True) / count
        centre = x - mean
        rstd = rsqrt(sum_(centre * centre, dims, True) / count + eps)
        y = centre * rstd
        y = y if w is None else y * w
        return (y if b is None else y + b), mean, rstd

    def vjp_x(g, x, w, mean, rstd, n):
        dims = tuple(range(len(x.shape) - n, len(x.shape)))
        count = count_of(x.shape, dims)
        normal = (x - mean) * rstd
        gw = g if w is None else g * w
        total = sum_(gw, dims, True) / count
        along = sum_(gw * normal, dims, True) / count
        return (gw - total - normal * along) * rstd

    def vjp_w(g, x, mean, rstd, n):
        return sum_(g * ((x - mean) * rstd), tuple(range(len(x.shape) - n)), False)

    def vjp_b(g, n):
        return sum_(g, tuple(range(len(g.shape) - n)), False)

    def axis_map(call):
        return call.body() if any(call.batched[1:]) else call.run(call.inputs, call.params)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps: float = 1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias, over the trailing dimensions.

    mean and var (biased) are those of the last len(normalized_shape) dimensions.
    Ba, Kiros and Hinton, 2016.

    >>> import lucid
    >>> lucid.nn.functional.layer_norm(lucid.tensor([1.0, 3.0]), (2,))
    tensor([-1.0000,  1.0000])
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"layer_norm: normalized_shape {shape} is not the end of the input's shape "
            f"{tuple(input.shape)}"
        )
    for name, p in (("weight", weight), ("bias", bias)):
        if p is not None and tuple(p.shape) != shape:
            raise RuntimeError(f"layer_norm: {name} has shape {tuple(p.shape)}, not {shape}")
    return _optional(layer_norm_, input, weight, bias, (len(shape), float(eps)))


def _optional(record: Any, x: Any, w: Any, b: Any, params: tuple) -> Any:
    """The variant of a norm without the inputs that are None."""
    variant = variant_of(record, w is None, b is None)
    inputs = tuple(v for v in (x, w, b) if v is not None)
    return variant.dispatch(variant, inputs, params)


_VARIANTS: dict[tuple, Any] = {}


def variant_of(record: Any, no_w: bool, no_b: bool) -> Any:
    """The record with weight or bias left out of its inputs."""
    if not no_w and not no_b:
        return record
    key = (record, no_w, no_b)
    if key not in _VARIANTS:
        gone = {n for n, absent in (("w", no_w), ("b", no_b)) if absent}
        kept = tuple(n for n in record.inputs if n not in gone)
        plain = record.forward

        def forward(*inputs: Any, **static: Any) -> Any:
            given = dict(zip(kept, inputs, strict=True))
            return plain(*(given.get(n) for n in record.inputs), **static)

        members: dict[str, Any] = {
            "arguments": (kept, record.statics),
            "forward": forward,
            "hidden": record.hidden,
            "count": record.count,
            "public": False,
            "label": record.label,
            "autocast": record.autocast,
            "axis_map": record.axis_map,
            "__doc__": record.__doc__,
        }
        for n in kept:
            if n in record.rules:
                members[f"vjp_{n}"] = _without(record.rules[n], gone)
        name = f"{record.__name__}without_{'_'.join(sorted(gone))}"
        _VARIANTS[key] = OpMeta(name, (Composite,), members)
    return _VARIANTS[key]


def _without(rule: Any, gone: set[str]) -> Any:
    def reduced(**given: Any) -> Any:
        return rule.function(**given, **{n: None for n in rule.names if n in gone})

    reduced.needs = tuple(n for n in rule.names if n not in gone)  # type: ignore[attr-defined]
    return reduced


def count_of(shape: Any, dims: Sequence[int]) -> int:
    n = 1
    for d in dims:
        n *= shape[d]
    return n


class batch_norm_(Composite):
    """Per channel (dimension 1): (x - mean) * rstd * w + b with the batch's own statistics.
    Ioffe and Szegedy, 2015."""

    public = False
    autocast = "float32"
    hidden = ("mean", "rstd", "variance")

    def forward(x, w, b, *, eps):
        dims = _not_channels(x)
        count = count_of(x.shape, dims)
        mean = sum_(x, dims, True) / count
        centre = x - mean
        variance = sum_(centre * centre, dims, True) / count
        rstd = rsqrt(variance + eps)
        y = centre * rstd
        y = y if w is None else y * reshape(w, _channels(x))
        y = y if b is None else y + reshape(b, _channels(x))
        return y, mean, rstd, variance

    def vjp_x(g, x, w, mean, rstd):
        dims = _not_channels(x)
        count = count_of(x.shape, dims)
        normal = (x - mean) * rstd
        total = sum_(g, dims, True) / count
        along = sum_(g * normal, dims, True) / count
        gx = (g - total - normal * along) * rstd
        return gx if w is None else gx * reshape(w, _channels(x))

    def vjp_w(g, x, mean, rstd):
        return sum_(g * ((x - mean) * rstd), _not_channels(x), False)

    def vjp_b(g):
        return sum_(g, _not_channels(g), False)


def _not_channels(x: Any) -> tuple[int, ...]:
    return tuple(d for d in range(len(x.shape)) if d != 1)


def _channels(x: Any) -> tuple[int, ...]:
    return tuple(x.shape[1] if d == 1 else 1 for d in range(len(x.shape)))


class batch_norm_fixed(Composite):
    """batch_norm with given statistics."""

    public = False
    autocast = "float32"

    def forward(x, mean, variance, w, b, *, eps):
        shape = _channels(x)
        y = (x - reshape(mean, shape)) * rsqrt(reshape(variance, shape) + eps)
        y = y if w is None else y * reshape(w, shape)
        return y if b is None else y + reshape(b, shape)

    def vjp_x(g, x_meta, variance, w, eps):
        shape = _channels(x_meta)
        gx = g * rsqrt(reshape(variance, shape) + eps)
        return gx if w is None else gx * reshape(w, shape)

    def vjp_w(g, x, mean, variance, eps):
        shape = _channels(x)
        normal = (x - reshape(mean, shape)) * rsqrt(reshape(variance, shape) + eps)
        return sum_(g * normal, _not_channels(x), False)

    def vjp_b(g):
        return sum_(g, _not_channels(g), False)


def batch_norm(
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
):
    """Per channel: (x - mean) / sqrt(var + eps) * weight + bias. Ioffe and Szegedy, 2015.

    training: statistics of the batch (var biased), and running = (1 - momentum) running +
    momentum batch, with the unbiased variance; otherwise the running statistics are used.
    x is (N, C, ...); every other tensor (C,).

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.batch_norm(lucid.tensor([[1.0], [3.0]]), None, None, training=True).round().tolist()
    [[-1.0], [1.0]]
    """
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: x must be (N, C, ...), got shape {tuple(input.shape)}")
    for name, p in (
        ("running_mean", running_mean), ("running_var", running_var), ("weight", weight),
        ("bias", bias),
    ):  # fmt: skip
        if p is not None and tuple(p.shape) != (input.shape[1],):
            raise RuntimeError(
                f"batch_norm: {name} has shape {tuple(p.shape)}, not ({input.shape[1]},)"
            )
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("batch_norm: without training, running statistics are needed")
        variant = variant_of(batch_norm_fixed, weight is None, bias is None)
        given = (input, running_mean, running_var, weight, bias)
        return variant.dispatch(variant, tuple(v for v in given if v is not None), (float(eps),))
    count = input.numel() // max(input.shape[1], 1)
    if eps <= 0.0:
        raise ValueError(f"batch_norm: eps must be positive in training, got {eps}")
    if count == 1:
        raise ValueError(
            f"batch_norm: more than one value per channel is needed in training, got shape "
            f"{tuple(input.shape)}"
        )
    variant = variant_of(batch_norm_, weight is None, bias is None)
    inputs = tuple(v for v in (input, weight, bias) if v is not None)
    if running_mean is None and running_var is None:
        return variant.dispatch(variant, inputs, (float(eps),))
    y, mean, variance = _with_statistics(variant, inputs, (float(eps),))
    if not count:  # of nothing: the running statistics stay as they are
        return y
    _update(running_mean, reshape(mean, (input.shape[1],)), momentum, 1.0)
    _update(running_var, reshape(variance, (input.shape[1],)), momentum, count / (count - 1))
    return y


def _with_statistics(record: Any, inputs: tuple, params: tuple) -> tuple:
    y, mean, _, variance = apply_all(record, inputs, params)
    return y, mean, variance


def _update(running: Any, batch: Any, momentum: float, scale: float) -> None:
    if running is not None:
        with no_grad():
            running.mul_(1.0 - momentum).add_(batch.detach() * (momentum * scale))
