"""Fourier transforms, by NumPy's pocketfft: `lucid.fft` (the functions) and their records.

Three records on real tensors and pairs (see pairs.py) compute one-sided and whole transforms with
a factor; each is another's adjoint. The functions say which dimensions, sizes and factors.
"""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np

from lucid.dtypes import COMPLEX, FLOATING, float32, float64, get_default_dtype
from lucid.op import normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.complex import conj, parts, whole
from lucid.ops.creation import arange
from lucid.ops.elementwise import where
from lucid.ops.host import Host
from lucid.ops.join import roll
from lucid.ops.padding import pad as padded
from lucid.ops.shape import narrow
from lucid.ops.view import reshape


def _complex(x: np.ndarray) -> np.ndarray:
    return x.view(np.complex64 if x.dtype == np.float32 else np.complex128)[..., 0]


def _pairs(z: np.ndarray, like: np.ndarray) -> np.ndarray:
    made = np.empty((*z.shape, 2), like.dtype)
    made[..., 0], made[..., 1] = z.real, z.imag
    return made


class dft(Host):
    """factor times the sum over dims of x e^(-2 pi i j k / n), of pairs; + where inverse."""

    label = "fft"
    numbered = ("dims",)

    def names(x, *, dims, inverse, factor):
        pass

    def infer(types, params):
        return [types[0][:2]]

    def compute(x, dims, inverse, factor):
        if x.size == 0:
            return x
        run = np.fft.ifftn if inverse else np.fft.fftn
        made = run(_complex(x), axes=dims, norm="forward" if inverse else "backward")
        return _pairs(made * factor, x)

    def vjp_x(g, dims, inverse, factor):
        return dft(g, dims, not inverse, factor)


class rdft(Host):
    """`dft` along dim of real numbers: the first n // 2 + 1 results, the others are conjugates."""

    label = "rfft"
    numbered = ("dim",)

    def names(x, *, dim, factor):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        size = (n // 2 + 1 if d == params[0] else n for d, n in enumerate(shape))
        return [((*size, 2), kind)]

    def compute(x, dim, factor):
        return _pairs(np.fft.rfft(x, axis=dim) * factor, x)

    def vjp_x(g, x_meta, dim, factor):
        n = x_meta.shape[dim]
        none = [0, 0] * (len(g.shape) - 1 - dim)
        full = padded(g, [*none, 0, n - g.shape[dim]])
        return dft(full, (dim,), True, factor)[..., 0]


class cdft(Host):
    """The inverse of `rdft`, but for the factor: n real numbers from n // 2 + 1 pairs."""

    label = "irfft"
    numbered = ("dim",)

    def names(x, *, dim, n, factor):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        return [(tuple(params[1] if d == params[0] else m for d, m in enumerate(shape[:-1])), kind)]

    def compute(x, dim, n, factor):
        return np.fft.irfft(_complex(x), n, dim, norm="forward").astype(x.dtype) * factor

    def vjp_x(g, dim, n, factor):
        made = rdft(g, dim, factor)
        # All but the first, and the last of an even number, stand for their conjugates too.
        count = made.shape[dim]
        shape = tuple(count if d == dim else 1 for d in range(len(made.shape)))
        place = reshape(arange(count), shape)
        single = (place == 0) | (place * 2 == n)
        return made * where(single, 1.0, 2.0)


def _given(name: str, x: Any) -> Any:
    """A tensor of float32, float64 or complex numbers."""
    if x.dtype.category < FLOATING:
        return to_dtype(x, get_default_dtype())
    if x.dtype.category == FLOATING and x.dtype not in (float32, float64):
        raise RuntimeError(f"fft.{name}: float32 or float64 is needed, got {x.dtype!r}")
    return x


def _real(name: str, x: Any) -> Any:
    x = _given(name, x)
    if x.dtype.category == COMPLEX:
        raise RuntimeError(f"fft.{name}: real numbers are needed, got {x.dtype!r}")
    return x


def _factor(name: str, norm: str | None, n: int, inverse: bool) -> float:
    if norm not in (None, "backward", "ortho", "forward"):
        raise RuntimeError(f"fft.{name}: norm must be backward, ortho or forward, not {norm!r}")
    if norm == "ortho":
        return 1.0 / sqrt(n)
    return 1.0 / n if (norm == "forward") != inverse else 1.0


def _places(name: str, x: Any, s: Any, dim: Any) -> tuple[tuple[int, ...], list[int]]:
    """The dimensions of a transform and their sizes, which may be others than those of x."""
    dim, s = ((v,) if isinstance(v, int) else v for v in (dim, s))
    if dim is None:
        rank = x.ndim if s is None else len(s)
        dim = range(x.ndim - rank, x.ndim)
    dims = tuple(normal_dim(f"fft.{name}", d, x.ndim) for d in dim)
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"fft.{name}: dimensions {dims} appear more than once")
    sizes = [x.shape[d] for d in dims] if s is None else [int(n) for n in s]
    if len(sizes) != len(dims):
        raise RuntimeError(f"fft.{name}: {len(sizes)} sizes for {len(dims)} dimensions")
    sizes = [x.shape[d] if n == -1 else n for d, n in zip(dims, sizes, strict=True)]
    if any(n < 1 for n in sizes):
        raise RuntimeError(f"fft.{name}: sizes must be positive, got {sizes}")
    return dims, sizes


def _sized(x: Any, d: int, n: int) -> Any:
    """x with n elements along d: cut, or with zeros behind."""
    if x.shape[d] == n:
        return x
    if x.shape[d] > n:
        return narrow(x, d, 0, n)
    return padded(x, [0, 0] * (x.ndim - 1 - d) + [0, n - x.shape[d]])


def _transform(name: str, x: Any, s: Any, dim: Any, norm: Any, inverse: bool) -> Any:
    x = _given(name, x)
    dims, sizes = _places(name, x, s, dim)
    for d, n in zip(dims, sizes, strict=True):
        x = _sized(x, d, n)
    factor = _factor(name, norm, prod(sizes), inverse)
    return whole(dft(parts(x, x.dtype.parts), dims, inverse, factor)) if dims else x * (1 + 0j)


def _one_sided(name: str, x: Any, s: Any, dim: Any, norm: Any) -> Any:
    x = _real(name, x)
    dims, sizes = _places(name, x, s, dim)
    for d, n in zip(dims, sizes, strict=True):
        x = _sized(x, d, n)
    made = rdft(x, dims[-1], _factor(name, norm, prod(sizes), False))
    return whole(dft(made, dims[:-1], False, 1.0) if len(dims) > 1 else made)


def _to_real(name: str, x: Any, s: Any, dim: Any, norm: Any) -> Any:
    x = _given(name, x)
    s = (s,) if isinstance(s, int) else s
    dims, sizes = _places(name, x, s, dim)
    if s is None or list(s)[-1] == -1:
        sizes[-1] = 2 * (x.shape[dims[-1]] - 1)
    if sizes[-1] < 1:
        raise RuntimeError(f"fft.{name}: {sizes[-1]} elements are no result; pass its size")
    for d, n in zip(dims[:-1], sizes, strict=False):
        x = _sized(x, d, n)
    x = _sized(x, dims[-1], sizes[-1] // 2 + 1)
    pairs = parts(x, x.dtype.parts)
    pairs = dft(pairs, dims[:-1], True, 1.0) if len(dims) > 1 else pairs
    return cdft(pairs, dims[-1], sizes[-1], _factor(name, norm, prod(sizes), True))


def _size(n: int | None) -> list[int] | None:
    return None if n is None else [n]


def fft(input, n: int | None = None, dim: int = -1, norm: str | None = None):
    """y[k] = sum over j of x[j] e^(-2 pi i j k / n) along `dim`, cut or filled up to n elements.

    norm "backward" (the default) leaves it, "ortho" divides by sqrt(n), "forward" by n.

    >>> import lucid
    >>> lucid.fft.fft(lucid.tensor([1.0, 2.0]))
    tensor([ 3.+0.j, -1.+0.j])
    """
    return _transform("fft", input, _size(n), (dim,), norm, False)


def ifft(input, n: int | None = None, dim: int = -1, norm: str | None = None):
    """The inverse of `fft`: divided by n ("backward"), sqrt(n) ("ortho") or not ("forward").

    >>> import lucid
    >>> lucid.fft.ifft(lucid.tensor([3.0, -1.0]))
    tensor([1.+0.j, 2.+0.j])
    """
    return _transform("ifft", input, _size(n), (dim,), norm, True)


def rfft(input, n: int | None = None, dim: int = -1, norm: str | None = None):
    """The first n // 2 + 1 results of `fft` of real numbers; the others are their conjugates.

    >>> import lucid
    >>> lucid.fft.rfft(lucid.tensor([1.0, 2.0, 3.0]))
    tensor([ 6.0000+0.0000j, -1.5000+0.8660j])
    """
    return _one_sided("rfft", input, _size(n), (dim,), norm)


def irfft(input, n: int | None = None, dim: int = -1, norm: str | None = None):
    """The inverse of `rfft`: n real numbers, by default 2 (m - 1) from m.

    >>> import lucid
    >>> lucid.fft.irfft(lucid.fft.rfft(lucid.tensor([1.0, 2.0, 3.0, 4.0])))
    tensor([1., 2., 3., 4.])
    """
    return _to_real("irfft", input, _size(n), (dim,), norm)


def hfft(input, n: int | None = None, dim: int = -1, norm: str | None = None):
    """The real `fft` of a signal whose second half is the conjugate of its first, not given.

    >>> import lucid
    >>> lucid.fft.hfft(lucid.tensor([1.0, 2.0]))
    tensor([ 3., -1.])
    """
    return _to_real("hfft", conj(input), _size(n), (dim,), _swapped(norm))


def ihfft(input, n: int | None = None, dim: int = -1, norm: str | None = None):
    """The inverse of `hfft`: the first half of the `ifft` of real numbers.

    >>> import lucid
    >>> lucid.fft.ihfft(lucid.tensor([3.0, -1.0]))
    tensor([1.-0.j, 2.-0.j])
    """
    return conj(_one_sided("ihfft", input, _size(n), (dim,), _swapped(norm)))


def _swapped(norm: str | None) -> str | None:
    return {None: "forward", "backward": "forward", "forward": "backward"}.get(norm, norm)


def fft2(input, s=None, dim=(-2, -1), norm: str | None = None):
    """`fft` along two dimensions.

    >>> import lucid
    >>> lucid.fft.fft2(lucid.ones(2, 2))[0, 0]
    tensor(4.+0.j)
    """
    return _transform("fft2", input, s, dim, norm, False)


def ifft2(input, s=None, dim=(-2, -1), norm: str | None = None):
    """`ifft` along two dimensions.

    >>> import lucid
    >>> lucid.fft.ifft2(lucid.ones(2, 2))[0, 0]
    tensor(1.+0.j)
    """
    return _transform("ifft2", input, s, dim, norm, True)


def rfft2(input, s=None, dim=(-2, -1), norm: str | None = None):
    """`rfft` along the last of two dimensions, `fft` along the other.

    >>> import lucid
    >>> lucid.fft.rfft2(lucid.ones(2, 2))[0, 0]
    tensor(4.+0.j)
    """
    return _one_sided("rfft2", input, s, dim, norm)


def irfft2(input, s=None, dim=(-2, -1), norm: str | None = None):
    """The inverse of `rfft2`.

    >>> import lucid
    >>> lucid.fft.irfft2(lucid.ones(2, 2))[0, 0]
    tensor(1.)
    """
    return _to_real("irfft2", input, s, dim, norm)


def fftn(input, s=None, dim=None, norm: str | None = None):
    """`fft` along several dimensions, all by default.

    >>> import lucid
    >>> lucid.fft.fftn(lucid.ones(2, 2))[0, 0]
    tensor(4.+0.j)
    """
    return _transform("fftn", input, s, dim, norm, False)


def ifftn(input, s=None, dim=None, norm: str | None = None):
    """`ifft` along several dimensions, all by default.

    >>> import lucid
    >>> lucid.fft.ifftn(lucid.ones(2, 2))[0, 0]
    tensor(1.+0.j)
    """
    return _transform("ifftn", input, s, dim, norm, True)


def rfftn(input, s=None, dim=None, norm: str | None = None):
    """`rfft` along the last of several dimensions, `fft` along the others.

    >>> import lucid
    >>> lucid.fft.rfftn(lucid.ones(2, 2))[0, 0]
    tensor(4.+0.j)
    """
    return _one_sided("rfftn", input, s, dim, norm)


def irfftn(input, s=None, dim=None, norm: str | None = None):
    """The inverse of `rfftn`.

    >>> import lucid
    >>> lucid.fft.irfftn(lucid.ones(2, 2))[0, 0]
    tensor(1.)
    """
    return _to_real("irfftn", input, s, dim, norm)


def hfftn(input, s=None, dim=None, norm: str | None = None):
    """`hfft` along the last of several dimensions, `fft` along the others.

    >>> import lucid
    >>> lucid.fft.hfftn(lucid.ones(2, 2))[0, 0]
    tensor(4.)
    """
    return _to_real("hfftn", conj(input), s, dim, _swapped(norm))


def ihfftn(input, s=None, dim=None, norm: str | None = None):
    """The inverse of `hfftn`.

    >>> import lucid
    >>> lucid.fft.ihfftn(lucid.ones(2, 2))[0, 0]
    tensor(1.-0.j)
    """
    return conj(_one_sided("ihfftn", input, s, dim, _swapped(norm)))


def hfft2(input, s=None, dim=(-2, -1), norm: str | None = None):
    """`hfft` along the last of two dimensions, `fft` along the other.

    >>> import lucid
    >>> lucid.fft.hfft2(lucid.ones(2, 2))[0, 0]
    tensor(4.)
    """
    return hfftn(input, s, dim, norm)


def ihfft2(input, s=None, dim=(-2, -1), norm: str | None = None):
    """The inverse of `hfft2`.

    >>> import lucid
    >>> lucid.fft.ihfft2(lucid.ones(2, 2))[0, 0]
    tensor(1.-0.j)
    """
    return ihfftn(input, s, dim, norm)


def fftfreq(n: int, d: float = 1.0, *, dtype=None, device=None, requires_grad: bool = False):
    """The frequencies of the results of `fft`, in cycles per unit of the spacing d.

    >>> import lucid
    >>> lucid.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    k = arange(n, dtype=float64)
    k = where(k < (n + 1) // 2, k, k - n) / (n * d)
    return to_dtype(k, dtype or get_default_dtype()).requires_grad_(requires_grad)


def rfftfreq(n: int, d: float = 1.0, *, dtype=None, device=None, requires_grad: bool = False):
    """The frequencies of the results of `rfft`.

    >>> import lucid
    >>> lucid.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    k = arange(n // 2 + 1, dtype=float64) / (n * d)
    return to_dtype(k, dtype or get_default_dtype()).requires_grad_(requires_grad)


def _all(x: Any, dim: Any) -> tuple[int, ...]:
    if dim is None:
        return tuple(range(x.ndim))
    return (dim,) if isinstance(dim, int) else tuple(dim)


def fftshift(input, dim: int | Sequence[int] | None = None):
    """The frequency 0 moved to the middle.

    >>> import lucid
    >>> lucid.fft.fftshift(lucid.arange(4))
    tensor([2, 3, 0, 1])
    """
    dims = _all(input, dim)
    return roll(input, tuple(input.shape[d] // 2 for d in dims), dims)


def ifftshift(input, dim: int | Sequence[int] | None = None):
    """The inverse of `fftshift`.

    >>> import lucid
    >>> lucid.fft.ifftshift(lucid.arange(4))
    tensor([2, 3, 0, 1])
    """
    dims = _all(input, dim)
    return roll(input, tuple(-(input.shape[d] // 2) for d in dims), dims)
