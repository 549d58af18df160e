"""Window functions: `lucid.signal.windows` and `hann_window` with its relatives.

Each is a formula of the place k in 0 .. M - 1; sym=False (periodic) takes the window of M + 1
places without its last.
"""

import math
from collections.abc import Iterable
from typing import Any

from lucid.dtypes import FLOATING, float64, get_default_dtype, of_type
from lucid.ops.bessel import i0
from lucid.ops.cast import to_dtype
from lucid.ops.creation import arange, ones, zeros


def _places(name: str, m: int, sym: bool) -> tuple[Any, int]:
    """0 .. M - 1 as float64, and what a period is counted by."""
    if m < 0:
        raise ValueError(f"{name}: the length must not be negative, got {m}")
    return arange(m, dtype=float64), (m - 1 if sym or m == 1 else m)


def _finish(y: Any, dtype: Any, requires_grad: bool) -> Any:
    dtype = of_type(dtype)
    if dtype is not None and dtype.category != FLOATING:
        raise RuntimeError(f"windows: a floating dtype is needed, got {dtype!r}")
    y = to_dtype(y, dtype or get_default_dtype())
    return y.requires_grad_() if requires_grad else y


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype=None, device=None, requires_grad=False
):
    """w[k] = sum over i of (-1)^i a[i] cos(2 pi i k / (M - 1)).

    >>> from lucid.signal import windows
    >>> windows.general_cosine(3, a=[0.5, 0.5])
    tensor([0., 1., 0.])
    """
    k, period = _places("general_cosine", M, sym)
    a = tuple(a)
    if not a:
        raise ValueError("general_cosine: a must have at least one factor")
    if M == 1:
        return _finish(ones(1), dtype, requires_grad)
    y = zeros(M, dtype=float64)
    for i, factor in enumerate(a):
        y = y + (-1) ** i * factor * (k * (2.0 * math.pi * i / max(period, 1))).cos()
    return _finish(y, dtype, requires_grad)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any):
    """w[k] = alpha - (1 - alpha) cos(2 pi k / (M - 1))."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, **options)


def hamming(M: int, *, sym: bool = True, **options: Any):
    """w[k] = 0.54 - 0.46 cos(2 pi k / (M - 1))."""
    return general_hamming(M, sym=sym, **options)


def hann(M: int, *, sym: bool = True, **options: Any):
    """w[k] = 0.5 - 0.5 cos(2 pi k / (M - 1)).

    >>> from lucid.signal import windows
    >>> windows.hann(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return general_hamming(M, alpha=0.5, sym=sym, **options)


def blackman(M: int, *, sym: bool = True, **options: Any):
    """w[k] = 0.42 - 0.5 cos(2 pi k / (M - 1)) + 0.08 cos(4 pi k / (M - 1))."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, **options)


def nuttall(M: int, *, sym: bool = True, **options: Any):
    """Four cosines whose side lobes are small (Nuttall, 1981)."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, **options)


def bartlett(M: int, *, sym: bool = True, dtype=None, device=None, requires_grad=False):
    """w[k] = 1 - |2 k / (M - 1) - 1|: a triangle that ends at 0."""
    k, period = _places("bartlett", M, sym)
    y = ones(1, dtype=float64) if M == 1 else 1.0 - (k * (2.0 / max(period, 1)) - 1.0).abs()
    return _finish(y, dtype, requires_grad)


def cosine(M: int, *, sym: bool = True, dtype=None, device=None, requires_grad=False):
    """w[k] = sin(pi (k + 1/2) / M)."""
    k, period = _places("cosine", M, sym)
    return _finish(((k + 0.5) * (math.pi / max(period + 1, 1))).sin(), dtype, requires_grad)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype=None,
    device=None, requires_grad=False,
):  # fmt: skip
    """w[k] = e^(-|k - center| / tau), by default around the middle."""
    if tau <= 0:
        raise ValueError(f"exponential: tau must be positive, got {tau}")
    if center is not None and sym:
        raise ValueError("exponential: a center can only be given where sym is False")
    k, period = _places("exponential", M, sym)
    middle = period / 2.0 if center is None else center
    return _finish((-(k - middle).abs() / tau).exp(), dtype, requires_grad)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype=None, device=None,
             requires_grad=False):  # fmt: skip
    """w[k] = e^(-((k - middle) / std)^2 / 2)."""
    if std <= 0:
        raise ValueError(f"gaussian: std must be positive, got {std}")
    k, period = _places("gaussian", M, sym)
    return _finish((((k - period / 2.0) / std) ** 2 * -0.5).exp(), dtype, requires_grad)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype=None, device=None,
           requires_grad=False):  # fmt: skip
    """w[k] = I_0(beta sqrt(1 - (2 k / (M - 1) - 1)^2)) / I_0(beta)  (Kaiser, 1974)."""
    if beta < 0:
        raise ValueError(f"kaiser: beta must not be negative, got {beta}")
    k, period = _places("kaiser", M, sym)
    if M == 1:
        return _finish(ones(1), dtype, requires_grad)
    u = k * (2.0 / max(period, 1)) - 1.0
    top = i0(zeros(1, dtype=float64) + beta)
    return _finish(i0(beta * (1.0 - u * u).clamp(min=0).sqrt()) / top, dtype, requires_grad)


def hann_window(window_length: int, periodic: bool = True, **options: Any):
    """`signal.windows.hann`, periodic by default.

    >>> import lucid
    >>> lucid.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return hann(window_length, sym=not periodic, **_plain(options))


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46,
    **options: Any,
):  # fmt: skip
    """w[k] = alpha - beta cos(2 pi k / N), periodic by default.

    >>> import lucid
    >>> lucid.hamming_window(3)
    tensor([0.0800, 0.7700, 0.7700])
    """
    return general_cosine(window_length, a=[alpha, beta], sym=not periodic, **_plain(options))


def blackman_window(window_length: int, periodic: bool = True, **options: Any):
    """`signal.windows.blackman`, periodic by default.

    >>> import lucid
    >>> lucid.blackman_window(3)[1:]
    tensor([0.6300, 0.6300])
    """
    return blackman(window_length, sym=not periodic, **_plain(options))


def bartlett_window(window_length: int, periodic: bool = True, **options: Any):
    """`signal.windows.bartlett`, periodic by default.

    >>> import lucid
    >>> lucid.bartlett_window(3)
    tensor([0.0000, 0.6667, 0.6667])
    """
    return bartlett(window_length, sym=not periodic, **_plain(options))


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any):
    """`signal.windows.kaiser`, periodic by default.

    >>> import lucid
    >>> lucid.kaiser_window(3)[1:]
    tensor([0.5188, 0.5188])
    """
    return kaiser(window_length, beta=beta, sym=not periodic, **_plain(options))


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """The options without those of memory, which have one value here."""
    if options.pop("layout", None) not in (None, "strided"):
        raise TypeError("window: only strided layout is supported")
    options.pop("pin_memory", None)  # all memory is the CPU's: nothing to pin
    return options
