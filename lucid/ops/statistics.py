"""Public reductions: sum, mean, var, max, any, argmax, cumsum, norm and their relatives."""

import builtins
from typing import Any

import numpy as np

from lucid.array import Array
from lucid.dtypes import COMPLEX, FLOATING, bool_, dtype, get_default_dtype
from lucid.lazy import lazy
from lucid.op import Composite, normal_dim, normal_dims
from lucid.ops.cast import to_dtype
from lucid.ops.elementwise import abs_, maximum, minimum, sign, sqrt, where
from lucid.ops.reduce import (
    all_,
    amax_,
    amin_,
    any_,
    max_located,
    min_located,
    prod_,
    spread,
    sum_,
)
from lucid.ops.scan import cumprod_, reversed_along, shifted
from lucid.ops.transcendental import exp, log, pow_
from lucid.ops.view import permute, reshape

_norms = lazy("lucid.ops.norms")


def sum(x, dim=None, keepdim: bool = False, *, dtype: dtype | None = None):
    """The sum over `dim` (all by default); bool and integers add up in int64.

    >>> import lucid
    >>> lucid.ones(2, 3).sum(1)
    tensor([3., 3.])
    """
    x = x if dtype is None else to_dtype(x, dtype)
    return _typed(sum_(x, _dims("sum", x, dim), keepdim), dtype)


def _typed(y: Any, kind: dtype | None) -> Any:
    """y in the dtype that was asked for: small integers and bool are summed in int64."""
    return y if kind is None or y.dtype is kind else to_dtype(y, kind)


def _dims(name: str, x: Any, dim: Any) -> tuple[int, ...]:
    return normal_dims(name, None if dim == () else dim, len(x.shape))


def _floating(name: str, x: Any, kind: dtype | None) -> Any:
    if kind is not None:
        return to_dtype(x, kind)
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"{name}: a floating tensor is needed, got {x.dtype!r}; pass dtype=")
    return x


def _count(x: Any, dims: tuple[int, ...]) -> int:
    n = 1
    for d in dims:
        n *= x.shape[d]
    return n


class mean_(Composite):
    """The sum over dims divided by the count."""

    public = False
    numbered = ("dims",)

    def forward(x, *, dims, keepdim):
        n = _count(x, dims)
        return sum_(x, dims, keepdim) / float(n)

    def vjp_x(g, x_meta, dims, keepdim):
        count = builtins.max(_count(x_meta, dims), 1)
        return spread(g / float(count), x_meta.shape, dims, keepdim)

    def ref(x, dims, keepdim=False):
        return np.mean(x, axis=dims, keepdims=keepdim)


def mean(x, dim=None, keepdim: bool = False, *, dtype: dtype | None = None):
    """The mean over `dim` (all by default).

    >>> import lucid
    >>> lucid.tensor([1.0, 3.0]).mean()
    tensor(2.)
    """
    x = x if dtype is None else to_dtype(x, dtype)
    if x.dtype.category != COMPLEX:
        x = _floating("mean", x, None)
    return mean_(x, _dims("mean", x, dim), keepdim)


class var_(Composite):
    """sum((x - mean)^2) / (n - correction), in two passes."""

    public = False
    numbered = ("dims",)

    def forward(x, *, dims, correction, keepdim):
        n = _count(x, dims)
        centre = x - sum_(x, dims, True) / float(builtins.max(n, 1))
        left = builtins.max(n - correction, 0)
        return sum_(centre * centre, dims, keepdim) / (float(left) if n else float("nan"))

    def vjp_x(g, x, dims, correction, keepdim):
        n = _count(x, dims)
        centre = x - sum_(x, dims, True) / float(builtins.max(n, 1))
        left = builtins.max(n - correction, 0)
        return spread(g * 2.0 / float(left), x.shape, dims, keepdim) * centre

    def ref(x, dims, correction=1, keepdim=False):
        return np.var(x, axis=dims, ddof=correction, keepdims=keepdim)


def var(x, dim=None, unbiased=None, keepdim: bool = False, *, correction=None):
    """The variance over `dim`: divided by n - 1 (correction=1) unless told otherwise.

    >>> import lucid
    >>> lucid.var(lucid.tensor([1.0, 3.0])).item()
    2.0
    """
    dim, correction = _correction(dim, unbiased, correction)
    x = _floating("var", x, None)
    return var_(x, _dims("var", x, dim), correction, keepdim)


def _correction(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim, correction


def std(x, dim=None, unbiased=None, keepdim: bool = False, *, correction=None):
    """The standard deviation, sqrt(var). Its gradient where all elements are equal is 0.

    >>> import lucid
    >>> lucid.std(lucid.tensor([1.0, 3.0]), correction=0).item()
    1.0
    """
    dim, correction = _correction(dim, unbiased, correction)
    x = _floating("std", x, None)
    return std_(x, _dims("std", x, dim), correction, keepdim)


class std_(Composite):
    """sqrt(var); the gradient at 0 is 0."""

    public = False
    numbered = ("dims",)

    def forward(x, *, dims, correction, keepdim):
        return sqrt(var_.forward(x, dims=dims, correction=correction, keepdim=keepdim))

    def vjp_x(g, x, y, dims, correction, keepdim):
        part = where(y == 0.0, 0.0, g / where(y == 0.0, 1.0, y * 2.0))
        return var_.vjp_x(part, x, dims, correction, keepdim)

    def ref(x, dims, correction=1, keepdim=False):
        return np.std(x, axis=dims, ddof=correction, keepdims=keepdim)


def var_mean(x, dim=None, unbiased=None, keepdim: bool = False, *, correction=None):
    """(var, mean).

    >>> import lucid
    >>> lucid.var_mean(lucid.tensor([1.0, 3.0]))
    (tensor(2.), tensor(2.))
    """
    both = var(x, dim, unbiased, keepdim, correction=correction)
    return both, mean(x, None if isinstance(dim, bool) else dim, keepdim)


def std_mean(x, dim=None, unbiased=None, keepdim: bool = False, *, correction=None):
    """(std, mean).

    >>> import lucid
    >>> lucid.std_mean(lucid.tensor([1.0, 3.0]), correction=0)
    (tensor(1.), tensor(2.))
    """
    both = std(x, dim, unbiased, keepdim, correction=correction)
    return both, mean(x, None if isinstance(dim, bool) else dim, keepdim)


def prod(x, dim=None, keepdim: bool = False, *, dtype: dtype | None = None):
    """The product over one dimension, or over all.

    >>> import lucid
    >>> lucid.prod(lucid.tensor([2, 3, 4])).item()
    24
    """
    x = x if dtype is None else to_dtype(x, dtype)
    return _typed(product_over(x, _dims("prod", x, dim), keepdim), dtype)


class product_over(Composite):
    """prod, with the gradient g * (product of the others), right at zeros too."""

    public = False
    numbered = ("dims",)

    def forward(x, *, dims, keepdim):
        return prod_(x, dims, keepdim)

    def vjp_x(g, x, dims, keepdim):
        # The product of the others is that of those before times that of those after: no
        # division, so that it and its own derivatives are right at zeros.
        lead = tuple(d for d in range(len(x.shape)) if d not in dims)
        turned = permute(x, (*lead, *dims))
        rows = tuple(x.shape[d] for d in lead)
        line = reshape(turned, (*rows, _count(x, dims)))
        last = len(rows)
        before = cumprod_(shifted(line, last, 1.0), last)
        after = reversed_along(cumprod_(shifted(reversed_along(line, last), last, 1.0), last), last)
        each = reshape(before * after, tuple(turned.shape))
        places = (*lead, *dims)
        each = permute(each, tuple(places.index(d) for d in range(len(places))))
        shape = tuple(1 if d in dims else n for d, n in enumerate(x.shape))
        return reshape(g, shape) * each

    def ref(x, dims, keepdim=False):
        return np.prod(x, axis=dims, keepdims=keepdim)


def amax(x, dim=(), keepdim: bool = False):
    """The largest over `dim`; equal elements share the gradient.

    >>> import lucid
    >>> lucid.amax(lucid.tensor([[1, 5], [7, 2]]), 0)
    tensor([7, 5])
    """
    return amax_(x, _dims("amax", x, dim), keepdim)


def amin(x, dim=(), keepdim: bool = False):
    """The smallest over `dim`; equal elements share the gradient.

    >>> import lucid
    >>> lucid.amin(lucid.tensor([[1, 5], [7, 2]]), 0)
    tensor([1, 2])
    """
    return amin_(x, _dims("amin", x, dim), keepdim)


def aminmax(x, *, dim=None, keepdim: bool = False):
    """(amin, amax).

    >>> import lucid
    >>> lucid.aminmax(lucid.tensor([3, 1, 2]))
    (tensor(1), tensor(3))
    """
    return amin(x, () if dim is None else dim, keepdim), amax(
        x, () if dim is None else dim, keepdim
    )


class Pair(tuple):
    """(values, indices), as `max(dim)` and its relatives return them."""

    __slots__ = ()

    @property
    def values(self) -> Any:
        return self[0]

    @property
    def indices(self) -> Any:
        return self[1]


def max(x, dim=None, keepdim: bool = False):
    """The largest element; with `dim` (values, indices) along it; with a tensor, `maximum`.

    >>> import lucid
    >>> lucid.tensor([1, 5, 2]).max()
    tensor(5)
    """
    if isinstance(dim, Array):
        return maximum(x, dim)
    if dim is None:
        return amax_(x, _dims("max", x, None), False)
    return _located("max", max_located, x, dim, keepdim)


def min(x, dim=None, keepdim: bool = False):
    """The smallest element; with `dim` (values, indices) along it; with a tensor, `minimum`.

    >>> import lucid
    >>> lucid.tensor([[1, 5], [7, 2]]).min(1)
    (tensor([1, 2]), tensor([0, 1]))
    """
    if isinstance(dim, Array):
        return minimum(x, dim)
    if dim is None:
        return amin_(x, _dims("min", x, None), False)
    return _located("min", min_located, x, dim, keepdim)


def _located(name: str, record: Any, x: Any, dim: int, keepdim: bool) -> Pair:
    d = normal_dim(name, dim, x.ndim)
    if x.ndim == 0:
        values, indices = record(reshape(x, (1,)), 0, False)
        return Pair((values, indices))
    return Pair(record(x, d, keepdim))


def argmax(x, dim=None, keepdim: bool = False):
    """The index of the first largest element, of the flattened tensor or along `dim`.

    >>> import lucid
    >>> lucid.argmax(lucid.tensor([[1, 5], [7, 2]]), 1)
    tensor([1, 0])
    """
    return _argument("argmax", max_located, x, dim, keepdim)


def argmin(x, dim=None, keepdim: bool = False):
    """The index of the first smallest element, of the flattened tensor or along `dim`.

    >>> import lucid
    >>> lucid.argmin(lucid.tensor([3, 1, 2]))
    tensor(1)
    """
    return _argument("argmin", min_located, x, dim, keepdim)


def _argument(name: str, record: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    if dim is None:
        flat = record(reshape(x, (x.numel(),)), 0, False)[1]
        return reshape(flat, (1,) * x.ndim) if keepdim else flat
    return _located(name, record, x, dim, keepdim)[1]


def any(x, dim=None, keepdim: bool = False):
    """Whether any element is non-zero, over all or along `dim`.

    >>> import lucid
    >>> lucid.any(lucid.tensor([False, True])).item()
    True
    """
    return any_(x, _dims("any", x, dim), keepdim)


def all(x, dim=None, keepdim: bool = False):
    """Whether all elements are non-zero, over all or along `dim`.

    >>> import lucid
    >>> lucid.all(lucid.tensor([False, True])).item()
    False
    """
    return all_(x, _dims("all", x, dim), keepdim)


def count_nonzero(x, dim=None):
    """How many elements are non-zero.

    >>> import lucid
    >>> lucid.count_nonzero(lucid.tensor([0, 3, 4]))
    tensor(2)
    """
    return sum_(x != 0, _dims("count_nonzero", x, dim), False)


class logsumexp_(Composite):
    """log(sum(e^x)) without overflow: the largest is taken out first."""

    public = False
    numbered = ("dims",)

    def forward(x, *, dims, keepdim):
        if _count(x, dims) == 0:
            return log(sum_(x, dims, keepdim))  # of nothing: -inf
        high = amax_(x, dims, True)
        shift = where(abs_(high) == float("inf"), 0.0, high)
        total = log(sum_(exp(x - shift), dims, True)) + shift
        shape = tuple(n for d, n in enumerate(x.shape) if d not in dims)
        return total if keepdim else reshape(total, shape)

    def vjp_x(g, x, y, dims, keepdim):
        shape = tuple(1 if d in dims else n for d, n in enumerate(x.shape))
        top = reshape(y, shape)
        return reshape(g, shape) * exp(x - where(abs_(top) == float("inf"), 0.0, top))

    def ref(x, dims, keepdim=False):
        return np.logaddexp.reduce(x, axis=dims[0], keepdims=keepdim)


def logsumexp(x, dim, keepdim: bool = False):
    """log(sum(e^x)) over `dim`, without overflow.

    >>> import lucid
    >>> lucid.logsumexp(lucid.zeros(1, 2), 1)
    tensor([0.6931])
    """
    whole = x.dtype.category < FLOATING
    x = _floating("logsumexp", x, get_default_dtype() if whole else None)
    return logsumexp_(x, _dims("logsumexp", x, dim), keepdim)


def norm(x, p=2, dim=None, keepdim: bool = False, dtype=None):
    """The p-norm over `dim` (all by default): (sum |x|^p)^(1/p); p may be inf, -inf, "fro", or of
    matrices "nuc", the sum of their singular values.

    >>> import lucid
    >>> lucid.norm(lucid.tensor([3.0, 4.0])).item()
    5.0
    """
    if p == "nuc":
        dim = range(x.ndim) if dim is None else dim
        return _norms.matrix_norm(x, p, dim, keepdim, dtype=dtype)
    x = abs_(x) if x.dtype.category == COMPLEX else x
    x = _floating("norm", x, dtype)
    dims = _dims("norm", x, dim)
    if p in ("fro", None):
        p = 2.0
    if not isinstance(p, (int, float)):
        raise NotImplementedError(f"norm: p={p!r} is not supported; use a number or 'fro'")
    if p == float("inf"):
        return amax_(abs_(x), dims, keepdim)
    if p == float("-inf"):
        return amin_(abs_(x), dims, keepdim)
    if p == 0:
        return sum_(where(x == 0, x * 0.0, 1.0), dims, keepdim)  # with a gradient, of zeros
    if p == 1:
        return sum_(abs_(x), dims, keepdim)
    return norm_(x, float(p), dims, keepdim)


class norm_(Composite):
    """(sum |x|^p)^(1/p). The gradient is 0 where x or the norm is 0."""

    public = False
    numbered = ("dims",)

    def forward(x, *, p, dims, keepdim):
        if p == 2.0:
            return sqrt(sum_(x * x, dims, keepdim))
        return pow_(sum_(pow_(abs_(x), p), dims, keepdim), 1.0 / p)

    def vjp_x(g, x, y, p, dims, keepdim):
        shape = tuple(1 if d in dims else n for d, n in enumerate(x.shape))
        high, part = reshape(y, shape), reshape(g, shape)
        if p == 2.0:
            return part * where(high == 0.0, 0.0, x / where(high == 0.0, 1.0, high))
        # x |x|^(p - 2) / y^(p - 1), from |x| / y, whose powers do not overflow.
        none = (high == 0.0) | (x == 0.0)
        size = where(none, 1.0, abs_(x)) / where(none, 1.0, high)
        return part * where(none, 0.0, sign(x) * pow_(size, p - 1.0))

    def ref(x, p, dims, keepdim=False):
        return np.sum(np.abs(x) ** p, axis=dims, keepdims=keepdim) ** (1 / p)


def allclose(x, other, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |x - other| <= atol + rtol |other| everywhere.

    >>> import lucid
    >>> lucid.allclose(lucid.ones(2), lucid.ones(2) + 1e-7)
    True
    """
    return bool(isclose(x, other, rtol, atol, equal_nan).all().item())


def isclose(x, other, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False):
    """Where |x - other| <= atol + rtol |other|; equal infinities are close.

    >>> import lucid
    >>> lucid.isclose(lucid.ones(2), lucid.tensor([1.0, 1.1]))
    tensor([ True, False])
    """
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: rtol {rtol} and atol {atol} must not be negative")
    if x.dtype is bool_ and other.dtype is bool_:
        return x == other
    close = (x == other) | (
        ((x - other).abs() <= atol + rtol * other.abs()) & other.isfinite() & x.isfinite()
    )
    return close | (x.isnan() & other.isnan()) if equal_nan else close


def equal(x, other) -> bool:
    """Whether two tensors have the same shape and elements.

    >>> import lucid
    >>> lucid.equal(lucid.ones(2), lucid.ones(2))
    True
    """
    if tuple(x.shape) != tuple(other.shape):
        return False
    return x.numel() == 0 or bool((x == other).all().item())
