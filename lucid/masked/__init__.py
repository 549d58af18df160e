"""Reductions, running sums and normalizations that leave elements out: `lucid.masked`, loaded on
first use. Compositions of other ops: what a mask leaves out is filled with what changes nothing.

Every function takes `mask`, booleans of at most the input's dimensions that broadcast to it: True
counts; without one all do. `dtype` is that of the result, the input's by default.
"""

import math
from typing import Any

import lucid
from lucid.dtypes import COMPLEX, FLOATING, bool_, float32, int64, of_type
from lucid.layout import broadcast_shapes
from lucid.linalg import vector_norm
from lucid.nn import functional
from lucid.op import normal_dims


def _kept(name: str, x: Any, mask: Any) -> Any:
    """The mask as booleans; it must broadcast to x."""
    shape = tuple(x.shape)
    if mask.ndim > x.ndim or broadcast_shapes(f"masked.{name}", shape, tuple(mask.shape)) != shape:
        raise RuntimeError(
            f"masked.{name}: a mask of shape {tuple(mask.shape)} does not broadcast to the input's "
            f"shape {shape}"
        )
    return mask.to(bool_)


def _filled(name: str, x: Any, mask: Any, value: float) -> Any:
    """x with `value` where the mask is False; for an infinite one the end of an integer type."""
    if mask is None:
        return x
    if x.dtype.category < FLOATING:
        ends = lucid.iinfo(x.dtype) if x.dtype is not bool_ else None
        value = int(value) if math.isfinite(value) else (
            bool(value > 0) if ends is None else ends.max if value > 0 else ends.min
        )  # fmt: skip
    return lucid.where(_kept(name, x, mask), x, lucid.tensor(value, dtype=x.dtype))


def _dims(name: str, x: Any, dim: Any) -> tuple[int, ...]:
    return normal_dims(f"masked.{name}", None if dim == () else dim, x.ndim)


def _summed(x: Any, dtype: Any) -> Any:
    """The type of a sum or product: int64 for integers and booleans."""
    return dtype or (x.dtype if x.dtype.category >= FLOATING else int64)


def sum(input, dim=None, *, keepdim: bool = False, dtype=None, mask=None):
    """The sum over `dim` (all by default) of what the mask keeps, 0 where it keeps nothing.

    >>> import lucid
    >>> x = lucid.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> lucid.masked.sum(x, 1, mask=x != 2)
    tensor([1., 7.])
    """
    x = _filled("sum", input, mask, 0)
    return x.to(_summed(x, dtype)).sum(_dims("sum", x, dim), keepdim)


def prod(input, dim=None, *, keepdim: bool = False, dtype=None, mask=None):
    """The product over `dim` of what the mask keeps, 1 where it keeps nothing.

    >>> import lucid
    >>> lucid.masked.prod(lucid.tensor([2, 3, 4]), mask=lucid.tensor([True, False, True]))
    tensor(8)
    """
    x = _filled("prod", input, mask, 1).to(_summed(input, dtype))
    for d in reversed(_dims("prod", x, dim)):
        x = x.prod(d, keepdim)
    return x


def cumsum(input, dim: int, *, dtype=None, mask=None):
    """Running sums along `dim`, to which only what the mask keeps adds.

    >>> import lucid
    >>> x, mask = lucid.tensor([1.0, 2.0, 3.0]), lucid.tensor([True, False, True])
    >>> lucid.masked.cumsum(x, 0, mask=mask)
    tensor([1., 1., 4.])
    """
    return _filled("cumsum", input, mask, 0).cumsum(dim, dtype=dtype or input.dtype)


def cumprod(input, dim: int, *, dtype=None, mask=None):
    """Running products along `dim`, of what the mask keeps.

    >>> import lucid
    >>> x, mask = lucid.tensor([2.0, 5.0, 3.0]), lucid.tensor([True, False, True])
    >>> lucid.masked.cumprod(x, 0, mask=mask)
    tensor([2., 2., 6.])
    """
    return _filled("cumprod", input, mask, 1).cumprod(dim, dtype=dtype or input.dtype)


def amax(input, dim=None, *, keepdim: bool = False, dtype=None, mask=None):
    """The greatest over `dim` of what the mask keeps; -inf (the least integer) for nothing.

    >>> import lucid
    >>> lucid.masked.amax(lucid.tensor([1.0, 9.0, 3.0]), mask=lucid.tensor([True, False, True]))
    tensor(3.)
    """
    x = _filled("amax", input, mask, -math.inf)
    return x.amax(_dims("amax", x, dim), keepdim).to(dtype or x.dtype)


def amin(input, dim=None, *, keepdim: bool = False, dtype=None, mask=None):
    """The least over `dim` of what the mask keeps; inf (the greatest integer) for nothing.

    >>> import lucid
    >>> lucid.masked.amin(lucid.tensor([2.0, 0.0, 3.0]), mask=lucid.tensor([True, False, True]))
    tensor(2.)
    """
    x = _filled("amin", input, mask, math.inf)
    return x.amin(_dims("amin", x, dim), keepdim).to(dtype or x.dtype)


def argmax(input, dim: int | None = None, *, keepdim: bool = False, dtype=None, mask=None):
    """Where `amax` is, in the input's dtype unless `dtype` is given, as PyTorch has it.

    >>> import lucid
    >>> x, mask = lucid.tensor([1.0, 9.0, 3.0]), lucid.tensor([True, False, True])
    >>> lucid.masked.argmax(x, 0, dtype=lucid.int64, mask=mask)
    tensor(2)
    """
    x = _filled("argmax", input, mask, -math.inf)
    return x.argmax(dim, keepdim).to(dtype or x.dtype)


def argmin(input, dim: int | None = None, *, keepdim: bool = False, dtype=None, mask=None):
    """Where `amin` is, in the input's dtype unless `dtype` is given, as PyTorch has it.

    >>> import lucid
    >>> x, mask = lucid.tensor([2.0, 0.0, 3.0]), lucid.tensor([True, False, True])
    >>> lucid.masked.argmin(x, 0, dtype=lucid.int64, mask=mask)
    tensor(0)
    """
    x = _filled("argmin", input, mask, math.inf)
    return x.argmin(dim, keepdim).to(dtype or x.dtype)


def _count(name: str, x: Any, dim: Any, mask: Any) -> Any:
    """How many elements count over `dim`, which are kept as 1."""
    ones = lucid.ones(tuple(x.shape), dtype=int64)
    return sum(ones, dim, keepdim=True, mask=None if mask is None else _kept(name, x, mask))


def mean(input, dim=None, *, keepdim: bool = False, dtype=None, mask=None):
    """The mean over `dim` of what the mask keeps; NaN where it keeps nothing.

    >>> import lucid
    >>> lucid.masked.mean(lucid.tensor([1.0, 9.0, 3.0]), mask=lucid.tensor([True, False, True]))
    tensor(2.)
    """
    dtype = of_type(dtype)
    if (dtype or input.dtype).category < FLOATING:
        raise ValueError(
            f"masked.mean: a floating dtype is needed, got {dtype or input.dtype!r}; pass dtype="
        )
    total = sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count("mean", input, dim, mask).reshape(tuple(total.shape))


def median(input, dim: int = -1, *, keepdim: bool = False, dtype=None, mask=None):
    """The lower median along `dim` of what the mask keeps; NaN where it keeps nothing, which for
    integers raises.

    >>> import lucid
    >>> lucid.masked.median(lucid.tensor([1.0, 9.0, 3.0]), mask=lucid.tensor([True, False, True]))
    tensor(1.)
    """
    floating = input.dtype.category == FLOATING
    x = input if floating else input.to(float32)
    made = _filled("median", x, mask, math.nan).nanmedian(dim, keepdim)[0]
    if floating:
        return made
    if bool(made.isnan().any()):
        raise ValueError("masked.median: nothing is kept somewhere, and integers have no NaN")
    return made.to(dtype or input.dtype)


def norm(input, ord: float | None = 2.0, dim=None, *, keepdim=False, dtype=None, mask=None):
    """`linalg.vector_norm` over `dim` of what the mask keeps.

    >>> import lucid
    >>> lucid.masked.norm(lucid.tensor([3.0, 9.0, 4.0]), mask=lucid.tensor([True, False, True]))
    tensor(5.)
    """
    ord = 2.0 if ord is None else ord
    x = _filled("norm", input, mask, math.inf if ord == -math.inf else 0)
    return vector_norm(x, ord, _dims("norm", x, dim), keepdim, dtype=dtype)


def _variance(name: str, x: Any, dim: Any, unbiased: Any, correction: Any, options: dict) -> Any:
    keepdim, dtype, mask = options["keepdim"], options["dtype"], options["mask"]
    if unbiased is not None and correction is not None:
        raise ValueError(f"masked.{name}: give one of unbiased and correction")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    kind = of_type(dtype) or (x.dtype if x.dtype.category >= FLOATING else float32)
    x, count = x.to(kind), _count(name, x, dim, mask)
    apart = x - sum(x, dim, keepdim=True, mask=mask) / count
    square = (apart * apart.conj()).real if kind.category == COMPLEX else apart * apart
    total = sum(square, dim, keepdim=keepdim, mask=mask)
    left = (count.to(total.dtype) - correction).clamp(min=0)
    return (total / left.reshape(tuple(total.shape))).to(kind)


def var(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The variance over `dim` of what the mask keeps: squares divided by their number less
    `correction`, 1 by default (unbiased=False: 0).

    >>> import lucid
    >>> lucid.masked.var(lucid.tensor([1.0, 9.0, 3.0]), mask=lucid.tensor([True, False, True]))
    tensor(2.)
    """
    options = {"keepdim": keepdim, "dtype": dtype, "mask": mask}
    return _variance("var", input, dim, unbiased, correction, options)


def std(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The root of `var`.

    >>> import lucid
    >>> x, mask = lucid.tensor([1.0, 9.0, 3.0]), lucid.tensor([True, False, True])
    >>> lucid.masked.std(x, correction=0, mask=mask)
    tensor(1.)
    """
    options = {"keepdim": keepdim, "dtype": dtype, "mask": mask}
    return _variance("std", input, dim, unbiased, correction, options).sqrt()


def softmax(input, dim: int, *, dtype=None, mask=None):
    """`softmax` along `dim`, in which what the mask leaves out has no weight.

    >>> import lucid
    >>> x, mask = lucid.tensor([1.0, 9.0, 1.0]), lucid.tensor([True, False, True])
    >>> lucid.masked.softmax(x, 0, mask=mask)
    tensor([0.5000, 0.0000, 0.5000])
    """
    return functional.softmax(_filled("softmax", input, mask, -math.inf), dim, dtype=dtype)


def log_softmax(input, dim: int, *, dtype=None, mask=None):
    """The logarithm of `softmax`: -inf for what the mask leaves out.

    >>> import lucid
    >>> x, mask = lucid.tensor([1.0, 9.0]), lucid.tensor([True, False])
    >>> lucid.masked.log_softmax(x, 0, mask=mask)
    tensor([  0., -inf])
    """
    return functional.log_softmax(_filled("log_softmax", input, mask, -math.inf), dim, dtype=dtype)


def softmin(input, dim: int, *, dtype=None, mask=None):
    """`softmax` of the negative.

    >>> import lucid
    >>> x, mask = lucid.tensor([1.0, 0.0, 1.0]), lucid.tensor([True, False, True])
    >>> lucid.masked.softmin(x, 0, mask=mask)
    tensor([0.5000, 0.0000, 0.5000])
    """
    return functional.softmin(_filled("softmin", input, mask, math.inf), dim, dtype=dtype)


def normalize(input, ord: float, dim: int, *, eps: float = 1e-12, dtype=None, mask=None):
    """Divided by the `norm` along `dim`, which counts as at least eps; 0 for what is left out.

    >>> import lucid
    >>> x, mask = lucid.tensor([3.0, 9.0, 4.0]), lucid.tensor([True, False, True])
    >>> lucid.masked.normalize(x, 2.0, 0, mask=mask)
    tensor([0.6000, 0.0000, 0.8000])
    """
    size = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return _filled("normalize", input, mask, 0) / size.clamp(min=eps)


def logsumexp(input, dim=None, *, keepdim: bool = False, dtype=None, mask=None):
    """log of the sum of e^x over `dim` of what the mask keeps; -inf for nothing.

    >>> import lucid
    >>> lucid.masked.logsumexp(lucid.tensor([2.0, 9.0]), mask=lucid.tensor([True, False]))
    tensor(2.)
    """
    x = _filled("logsumexp", input, mask, -math.inf)
    return x.logsumexp(_dims("logsumexp", x, dim), keepdim).to(dtype or x.dtype)


def logaddexp(input, other, *, dtype=None, input_mask=None, other_mask=None):
    """log(e^x + e^y), each where its mask keeps it.

    >>> import lucid
    >>> x = lucid.tensor([1.0, 2.0])
    >>> lucid.masked.logaddexp(x, x, other_mask=lucid.tensor([False, False]))
    tensor([1., 2.])
    """
    x = _filled("logaddexp", input, input_mask, -math.inf)
    return lucid.logaddexp(x, _filled("logaddexp", other, other_mask, -math.inf)).to(
        dtype or input.dtype
    )


__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp",
    "logsumexp", "mean", "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum",
    "var",
]  # fmt: skip
