"""How parameters start: fills in place under no_grad, each returning its tensor.

Called by every layer's `reset_parameters` and by users.
"""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np

import lucid


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Any:
    """Fill with U(a, b), the real and the imaginary parts of complex tensors.

    >>> import lucid
    >>> w = lucid.nn.init.uniform_(lucid.empty(100), 2.0, 3.0)
    >>> bool((w >= 2).all() and (w <= 3).all())
    True
    """
    with lucid.no_grad():
        parts = lucid.view_as_real(tensor) if tensor.dtype.is_complex else tensor
        parts.uniform_(a, b, **_seeded(generator))
    return tensor


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Any:
    """Fill with N(mean, std^2)."""
    with lucid.no_grad():
        return tensor.normal_(mean, std, **_seeded(generator))


def trunc_normal_(
    tensor: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Any:
    """Fill with N(mean, std^2) restricted to [a, b], by drawing again what falls outside.

    Where the window holds little of the normal distribution, uniform draws are thinned by the
    density instead; the distribution is exact either way. Raises ValueError unless a < b.
    """
    if not a < b:
        raise ValueError(f"trunc_normal_: expected a < b, got a={a}, b={b}")
    low, high = (a - mean) / std, (b - mean) / std
    wide = _normal_mass(low, high) > 0.25
    with lucid.no_grad():
        drawn = _draw_window(tensor, low, high, wide, generator)
        pending = ~_inside(drawn[0], low, high, drawn[1])
        values = drawn[0]
        while bool(pending.any()):
            again, kept = _draw_window(tensor, low, high, wide, generator)
            values = lucid.where(pending, again, values)
            pending = pending & ~_inside(again, low, high, kept)
        return tensor.copy_((values * std + mean).clamp(a, b))


def _normal_mass(low: float, high: float) -> float:
    return (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2


def _draw_window(
    tensor: Any, low: float, high: float, wide: bool, generator: Any
) -> tuple[Any, Any]:
    """Standard normal candidates, and where they are kept (None: wherever they are inside)."""
    options = {"device": tensor.device, "dtype": lucid.float32}
    if tensor.dtype is lucid.float64:
        options["dtype"] = lucid.float64
    if wide:
        return normal_(lucid.empty(tensor.shape, **options), generator=generator), None
    # exp(-x^2 / 2) below 1e-16 of its peak in the window never shows
    peak = min(abs(low), abs(high)) if low * high > 0 else 0.0
    reach = math.sqrt(peak * peak + 74.0)
    x = uniform_(
        lucid.empty(tensor.shape, **options),
        max(low, -reach),
        min(high, reach),
        generator=generator,
    )
    u = uniform_(lucid.empty(tensor.shape, **options), generator=generator)
    return x, u <= ((peak * peak - x * x) * 0.5).exp()


def _inside(x: Any, low: float, high: float, kept: Any) -> Any:
    return (x >= low) & (x <= high) if kept is None else kept


def constant_(tensor: Any, val: float) -> Any:
    """Fill with `val`."""
    with lucid.no_grad():
        return tensor.fill_(val)


def ones_(tensor: Any) -> Any:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Any) -> Any:
    """Fill with 0."""
    with lucid.no_grad():
        return tensor.zero_()


def eye_(tensor: Any) -> Any:
    """Fill a matrix with the identity: ones on the diagonal."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with lucid.no_grad():
        return tensor.copy_(lucid.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """Fill a convolution's weight (3 to 5 dimensions) so that it passes its channels on."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    channels, inputs = tensor.shape[:2]
    if channels % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    per_group = channels // groups
    centre = tuple(size // 2 for size in tensor.shape[2:])
    with lucid.no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(per_group, inputs)):
                tensor[(group * per_group + channel, channel, *centre)] = 1
    return tensor


def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Fill with U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    a = math.sqrt(3.0) * gain * math.sqrt(2.0 / float(fan_in + fan_out))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Fill with N(0, gain^2 2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def kaiming_uniform_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Any:
    """Fill with U(-c, c), c = gain sqrt(3 / fan) (He et al., 2015); `a` is the leaky slope."""
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Any:
    """Fill with N(0, gain^2 / fan) (He et al., 2015); `a` is the leaky slope."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _kaiming_std(tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    if 0 in tensor.shape:
        return 0.0  # nothing will be filled
    return calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))


def orthogonal_(tensor: Any, gain: float = 1, generator: Any = None) -> Any:
    """Fill with a random (semi-)orthogonal matrix times gain (Saxe et al., 2014).

    Dimensions after the first are taken as one; the matrix is Haar distributed.
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    drawn = normal_(lucid.empty(rows, columns, dtype=lucid.float64), generator=generator).numpy()
    # NumPy's QR: the start of a parameter is no op of a model, and needs no kernel of its own.
    q, r = np.linalg.qr(drawn.T if rows < columns else drawn)
    q = q * np.sign(np.diagonal(r))  # the sign of QR is a convention; this makes it uniform
    q = np.ascontiguousarray(q.T if rows < columns else q) * gain
    with lucid.no_grad():
        return tensor.copy_(lucid.from_numpy(q).reshape(tensor.shape))


def sparse_(tensor: Any, sparsity: float, std: float = 0.01, generator: Any = None) -> Any:
    """Fill a matrix with N(0, std^2), and a fraction of each column with 0 (Martens, 2010)."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0.0, std, generator)
    # Random numbers in each column: the places of the smallest ones become 0.
    drawn = uniform_(lucid.empty(rows, columns), generator=generator).numpy()
    mask = np.argsort(np.argsort(drawn, 0), 0) >= zeros
    with lucid.no_grad():
        return tensor.mul_(lucid.from_numpy(mask).to(tensor.dtype))


_GAINS = {
    **dict.fromkeys(("linear", "sigmoid"), 1.0),
    **dict.fromkeys((f"conv{n}d" for n in (1, 2, 3)), 1.0),
    **dict.fromkeys((f"conv_transpose{n}d" for n in (1, 2, 3)), 1.0),
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through `nonlinearity`; `param`: the leaky slope.

    >>> import lucid
    >>> round(lucid.nn.init.calculate_gain("leaky_relu", 0.2), 4)
    1.3868
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Any) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _calculate_correct_fan(tensor: Any, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _older(name: str) -> Any:
    """A function under its name of before, which warns."""
    function = globals()[name + "_"]

    @functools.wraps(function)
    def older(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    older.__name__ = older.__qualname__ = name
    older.__doc__ = f"`{name}_` under its older name."
    return older


uniform, normal, constant = _older("uniform"), _older("normal"), _older("constant")
eye, dirac, sparse, orthogonal = (_older(n) for n in ("eye", "dirac", "sparse", "orthogonal"))
xavier_uniform, xavier_normal = _older("xavier_uniform"), _older("xavier_normal")
kaiming_uniform, kaiming_normal = _older("kaiming_uniform"), _older("kaiming_normal")


def _seeded(generator: Any) -> dict[str, Any]:
    return {} if generator is None else {"generator": generator}
