"""Short-time Fourier transforms: `stft` and its inverse, `istft`."""

from typing import Any

from lucid.dtypes import COMPLEX
from lucid.ops.complex import view_as_real
from lucid.ops.creation import ones
from lucid.ops.fft import fft, ifft, irfft, rfft
from lucid.ops.join import cat
from lucid.ops.padding import pad as padded
from lucid.ops.shape import narrow
from lucid.ops.shape import unfold as windows_of
from lucid.ops.view import unfold_back


def _window(name: str, window: Any, length: int, n_fft: int, kind: Any) -> Any:
    """The window with as many zeros on both sides as fill it up to n_fft."""
    if not 0 < length <= n_fft:
        raise RuntimeError(f"{name}: win_length {length} must lie between 1 and n_fft {n_fft}")
    window = ones(length, dtype=kind) if window is None else window
    if tuple(window.shape) != (length,):
        raise RuntimeError(
            f"{name}: the window has shape {tuple(window.shape)}, ({length},) is needed"
        )
    left = (n_fft - length) // 2
    return padded(window, [left, n_fft - length - left]) if length < n_fft else window


def _around(x: Any, n: int, mode: str) -> Any:
    """n more elements on both sides of the last dimension."""
    size = x.shape[-1]
    if mode == "constant":
        return padded(x, [n, n])
    if mode == "reflect":
        if n >= size:
            raise RuntimeError(f"stft: {size} elements cannot be reflected {n} times; center=False")
        return cat([narrow(x, -1, 1, n).flip(-1), x, narrow(x, -1, size - 1 - n, n).flip(-1)], -1)
    if mode == "circular":
        return cat([narrow(x, -1, size - n, n), x, narrow(x, -1, 0, n)], -1)
    if mode == "replicate":
        shape = (*x.shape[:-1], n)
        return cat([x[..., :1].expand(*shape), x, x[..., -1:].expand(*shape)], -1)
    raise RuntimeError(f"stft: pad_mode must be constant, reflect, replicate or circular: {mode!r}")


def stft(
    input, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window=None,
    center: bool = True, pad_mode: str = "reflect", normalized: bool = False, onesided=None,
    return_complex: bool | None = None,
):  # fmt: skip
    """The Fourier transforms of frames of n_fft elements, hop_length apart, times the window:
    (..., frequencies, frames). With `center` the signal is padded, so that frame t is around
    t * hop_length. normalized: divided by sqrt(n_fft). Real signals give n_fft // 2 + 1
    frequencies unless onesided is False. Without return_complex pairs of real numbers.

    >>> import lucid
    >>> lucid.stft(lucid.rand(16), 4, return_complex=True).shape
    lucid.Size([3, 17])
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(f"stft: a signal or a batch of them is needed, got {input.ndim} dims")
    hop = n_fft // 4 if hop_length is None else hop_length
    if n_fft <= 0 or hop <= 0:
        raise RuntimeError(f"stft: n_fft {n_fft} and hop_length {hop} must be positive")
    is_complex = input.dtype.category == COMPLEX
    if return_complex is None:
        if not is_complex and not (window is not None and window.is_complex()):
            raise RuntimeError("stft: return_complex must be given for real signals: True or False")
        return_complex = True
    window = _window("stft", window, n_fft if win_length is None else win_length, n_fft,
                     input.dtype.parts)  # fmt: skip
    is_complex = is_complex or window.is_complex()
    onesided = not is_complex if onesided is None else onesided
    if onesided and is_complex:
        raise RuntimeError("stft: complex signals have no one-sided transform")
    x = _around(input, n_fft // 2, pad_mode) if center else input
    if x.shape[-1] < n_fft:
        raise RuntimeError(f"stft: {x.shape[-1]} elements are fewer than n_fft {n_fft}")
    frames = windows_of(x, -1, n_fft, hop) * window  # (..., frames, n_fft)
    norm = "ortho" if normalized else None
    made = (rfft if onesided else fft)(frames, norm=norm).transpose(-1, -2)
    return made if return_complex else view_as_real(made)


def istft(
    input, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window=None,
    center: bool = True, normalized: bool = False, onesided=None, length: int | None = None,
    return_complex: bool = False,
):  # fmt: skip
    """The signal whose `stft` with the same arguments is the least far from the input: frames
    times the window, added up and divided by the sum of squared windows (Griffin and Lim, 1984).

    Raises RuntimeError where that sum is 0 somewhere within the signal.

    >>> import lucid
    >>> x = lucid.rand(16)
    >>> spectrum = lucid.stft(x, 4, window=lucid.hann_window(4), return_complex=True)
    >>> lucid.allclose(lucid.istft(spectrum, 4, window=lucid.hann_window(4)), x, atol=1e-5)
    True
    """
    if input.dtype.category != COMPLEX:
        raise RuntimeError(f"istft: a complex tensor is needed, got {input.dtype!r}")
    hop = n_fft // 4 if hop_length is None else hop_length
    window = _window("istft", window, n_fft if win_length is None else win_length, n_fft,
                     input.dtype.parts)  # fmt: skip
    if onesided is None:
        onesided = input.shape[-2] != n_fft
    needed = n_fft // 2 + 1 if onesided else n_fft
    if input.shape[-2] != needed:
        raise RuntimeError(
            f"istft: {input.shape[-2]} frequencies, {needed} are needed for n_fft {n_fft}"
        )
    spectra = input.transpose(-1, -2)
    norm = "ortho" if normalized else None
    if not return_complex:  # the second half of the frequencies is that of a real signal
        frames = irfft(spectra[..., : n_fft // 2 + 1], n_fft, norm=norm)
    elif onesided:
        raise RuntimeError("istft: a one-sided transform is that of a real signal")
    else:
        frames = ifft(spectra, norm=norm)
    count = frames.shape[-2]
    size = n_fft + hop * (count - 1)
    y = _added_up(frames * window, size, n_fft, hop)
    square = (window * window).expand(count, n_fft)
    weight = _added_up(square, size, n_fft, hop)
    start = n_fft // 2 if center else 0
    stop = size - start if length is None else min(start + length, size)
    y, weight = narrow(y, -1, start, stop - start), narrow(weight, -1, start, stop - start)
    if float(weight.detach().abs().min()) < 1e-11:
        raise RuntimeError("istft: the windows do not overlap to more than 0 everywhere")
    y = y / weight
    if length is not None and length > stop - start:
        y = padded(y, [0, length - (stop - start)])
    return y


def _added_up(frames: Any, size: int, n_fft: int, hop: int) -> Any:
    """Overlapping frames (..., frames, n_fft) as one signal of that size."""
    return unfold_back(frames, size, frames.ndim - 2, n_fft, hop)
