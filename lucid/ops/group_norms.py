"""Norms over groups of channels, rows and neighbouring channels: composites, fused.

Called as functional.group_norm, instance_norm, rms_norm, local_response_norm. normalize.py has
layer_norm and batch_norm.
"""

from math import prod
from typing import Any

from lucid.apply import apply_all
from lucid.dtypes import FLOATING
from lucid.op import Composite
from lucid.ops.elementwise import rsqrt
from lucid.ops.methods import finfo
from lucid.ops.normalize import _optional, _update, batch_norm, variant_of
from lucid.ops.pool import sum_windows, sum_windows_back
from lucid.ops.reduce import sum_
from lucid.ops.spatial import flat
from lucid.ops.view import reshape


class group_norm_(Composite):
    """(x - mean) * rstd * w + b of (N, G, C / G, S), over its last two dimensions; w and b are
    (G, C / G, 1). Wu and He, 2018."""

    public = False
    autocast = "float32"
    hidden = ("mean", "rstd", "variance")

    def forward(x, w, b, *, eps):
        count = x.shape[2] * x.shape[3]
        mean = sum_(x, (2, 3), True) / count
        centre = x - mean
        variance = sum_(centre * centre, (2, 3), True) / count
        rstd = rsqrt(variance + eps)
        y = centre * rstd
        y = y if w is None else y * w
        return (y if b is None else y + b), mean, rstd, variance

    def vjp_x(g, x, w, mean, rstd):
        count = x.shape[2] * x.shape[3]
        normal = (x - mean) * rstd
        gw = g if w is None else g * w
        total = sum_(gw, (2, 3), True) / count
        along = sum_(gw * normal, (2, 3), True) / count
        return (gw - total - normal * along) * rstd

    def vjp_w(g, x, mean, rstd):
        made = sum_(g * ((x - mean) * rstd), (0, 3), False)
        return reshape(made, (*made.shape, 1))

    def vjp_b(g):
        made = sum_(g, (0, 3), False)
        return reshape(made, (*made.shape, 1))


def _grouped(name: str, x: Any, groups: int, weight: Any, bias: Any) -> tuple:
    """x as (N, G, C / G, S), weight and bias as (G, C / G, 1)."""
    if x.ndim < 2:
        raise RuntimeError(f"{name}: x must be (N, C, ...), got shape {tuple(x.shape)}")
    n, c = x.shape[:2]
    if groups < 1 or c % groups:
        raise RuntimeError(f"{name}: {c} channels are no multiple of {groups} groups")
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"{name}: a floating tensor is needed, got {x.dtype!r}")
    inner = c // groups
    made = [reshape(x, (n, groups, inner, prod(x.shape[2:])))]
    for what, p in (("weight", weight), ("bias", bias)):
        if p is not None and tuple(p.shape) != (c,):
            raise RuntimeError(f"{name}: {what} has shape {tuple(p.shape)}, not ({c},)")
        made.append(None if p is None else reshape(p, (groups, inner, 1)))
    return tuple(made)


def group_norm(input, num_groups: int, weight=None, bias=None, eps: float = 1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias, over each of `num_groups` groups of channels.

    x is (N, C, ...), weight and bias (C,); var is biased. Wu and He, 2018.

    >>> import lucid
    >>> lucid.nn.functional.group_norm(lucid.tensor([[1.0, 3.0]]), 1)
    tensor([[-1.0000,  1.0000]])
    """
    x, w, b = _grouped("group_norm", input, num_groups, weight, bias)
    if x.shape[2] * x.shape[3] * x.shape[0] == 1:
        raise ValueError(
            f"group_norm: more than one value per group is needed, got shape {tuple(input.shape)}"
        )
    return reshape(_optional(group_norm_, x, w, b, (float(eps),)), tuple(input.shape))


def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
):  # fmt: skip
    """(x - mean) / sqrt(var + eps) * weight + bias, over each channel of each sample.

    x is (N, C, ...), every other tensor (C,). use_input_stats: the sample's statistics (var
    biased), towards whose mean over the batch the running ones move; otherwise the running ones
    are used. Ulyanov et al., 2016.

    >>> import lucid
    >>> lucid.nn.functional.instance_norm(lucid.tensor([[[1.0, 3.0]]]))
    tensor([[[-1.0000,  1.0000]]])
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    c = input.shape[1] if input.ndim > 1 else 1
    x, w, b = _grouped("instance_norm", input, c, weight, bias)
    count = x.shape[3]
    if count <= 1:
        raise ValueError(
            f"instance_norm: more than one spatial element is needed, got shape "
            f"{tuple(input.shape)}"
        )
    if running_mean is None and running_var is None:
        return reshape(_optional(group_norm_, x, w, b, (float(eps),)), tuple(input.shape))
    variant = variant_of(group_norm_, w is None, b is None)
    inputs = tuple(v for v in (x, w, b) if v is not None)
    y, mean, _, variance = apply_all(variant, inputs, (float(eps),))
    n = x.shape[0]
    for running, batch, scale in (
        (running_mean, mean, 1.0), (running_var, variance, count / (count - 1)),
    ):  # fmt: skip
        _update(running, reshape(batch.detach(), (n, c)).mean(0), momentum, scale)
    return reshape(y, tuple(input.shape))


class rms_norm_(Composite):
    """x * rsqrt(mean(x^2) + eps) * w over the trailing `n` dimensions. Zhang and Sennrich, 2019."""

    public = False
    autocast = "float32"
    hidden = ("rstd",)

    def forward(x, w, *, n, eps):
        dims = _last(x, n)
        rstd = rsqrt(sum_(x * x, dims, True) / prod(x.shape[d] for d in dims) + eps)
        y = x * rstd
        return (y if w is None else y * w), rstd

    def vjp_x(g, x, w, rstd, n):
        dims = _last(x, n)
        normal = x * rstd
        gw = g if w is None else g * w
        along = sum_(gw * normal, dims, True) / prod(x.shape[d] for d in dims)
        return (gw - normal * along) * rstd

    def vjp_w(g, x, rstd, n):
        return sum_(g * (x * rstd), tuple(range(len(x.shape) - n)), False)


def _last(x: Any, n: int) -> tuple[int, ...]:
    return tuple(range(len(x.shape) - n, len(x.shape)))


def rms_norm(input, normalized_shape, weight=None, eps: float | None = None):
    """x / sqrt(mean(x^2) + eps) * weight over the trailing dimensions. Zhang and Sennrich, 2019.

    normalized_shape: those dimensions' sizes; eps: the dtype's by default.

    >>> import lucid
    >>> lucid.nn.functional.rms_norm(lucid.tensor([3.0, 3.0]), (2,))
    tensor([1., 1.])
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"rms_norm: normalized_shape {shape} is not the end of the input's shape "
            f"{tuple(input.shape)}"
        )
    if weight is not None and tuple(weight.shape) != shape:
        raise RuntimeError(f"rms_norm: weight has shape {tuple(weight.shape)}, not {shape}")
    if input.dtype.category != FLOATING:
        raise RuntimeError(f"rms_norm: a floating tensor is needed, got {input.dtype!r}")
    eps = float(finfo(input.dtype).eps if eps is None else eps)
    variant = variant_of(rms_norm_, weight is None, False)
    return variant.dispatch(
        variant, (input,) if weight is None else (input, weight), (len(shape), eps)
    )


class local_response_norm_(Composite):
    """x s^-beta of (N, C, S), s = k + alpha * sum of x^2 over `size` channels from c - before on.
    Krizhevsky et al., 2012."""

    public = False
    autocast = "float32"
    hidden = ("scale",)

    def forward(x, *, size, before, alpha, beta, k):
        total = sum_windows(x * x, *_window(x, size, before))
        scale = total * alpha + k
        return x * scale ** (-beta), scale

    def vjp_x(g, x, scale, size, before, alpha, beta):
        kernel, stride, padding, dilation, shape = _window(x, size, before)
        shared = g * x * scale ** (-beta - 1.0)
        near = sum_windows_back(shared, shape, kernel, stride, padding, dilation)
        return g * scale ** (-beta) - x * near * (2.0 * alpha * beta)


def _window(x: Any, size: int, before: int) -> tuple:
    """Windows over channels: the statics of sum_windows for (N, C, S)."""
    return (size, 1), (1, 1), (before, 0), (1, 1), tuple(x.shape[1:])


def _response(name: str, x: Any, size: int, before: int, alpha: float, beta: float, k: float):
    if x.ndim < 3:
        raise ValueError(f"{name}: x must be (N, C, ...), got shape {tuple(x.shape)}")
    if size < 1:
        raise RuntimeError(f"{name}: size must be positive, got {size}")
    params = (int(size), before, float(alpha), float(beta), float(k))
    return reshape(local_response_norm_(flat(x, x.ndim - 2), *params), tuple(x.shape))


def local_response_norm(input, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
    """x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta.

    x is (N, C, ...). Krizhevsky et al., 2012.

    >>> import lucid
    >>> lucid.nn.functional.local_response_norm(lucid.ones(1, 1, 1), 1, alpha=3.0, beta=1.0)
    tensor([[[0.2500]]])
    """
    return _response("local_response_norm", input, size, size // 2, alpha / size, beta, k)


def cross_map_norm(input, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
    """local_response_norm over an odd number of channels around each: CrossMapLRN2d's.

    PyTorch's own leaves the first channel in the sums of all channels beyond its reach.
    """
    reach = int((size - 1) / 2 + 1) - 1
    return _response("cross_map_norm", input, 2 * reach + 1, reach, alpha / size, beta, k)


def global_response_norm(input, gamma, beta, eps: float = 1e-6):
    """gamma * (x * n) + beta + x, n = |x| / (mean over channels of |x| + eps).

    |x| is the norm over all pixels of a channel; x is (N, C, ...), gamma and beta broadcast
    against it. Woo et al., 2023 (ConvNeXt V2).

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.global_response_norm(lucid.ones(1, 1, 2), lucid.ones(1), lucid.zeros(1))
    tensor([[[2.0000, 2.0000]]])
    """
    if input.ndim < 3:
        raise RuntimeError(f"global_response_norm: x must be (N, C, ...), got {tuple(input.shape)}")
    size = input.norm(2, tuple(range(2, input.ndim)), True)
    return gamma * (input * (size / (size.mean(1, keepdim=True) + eps))) + beta + input
