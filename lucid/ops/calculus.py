"""Differences, sums of areas, covariances, distances, sums that skip NaN."""

import builtins
from typing import Any

from lucid.dtypes import FLOATING, float64, get_default_dtype
from lucid.op import Composite, normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.contract import matmul
from lucid.ops.creation import linspace, tensor, whole_ends
from lucid.ops.elementwise import abs_, sqrt, where
from lucid.ops.join import cat
from lucid.ops.reduce import sum_
from lucid.ops.scatter import scatter_reduce
from lucid.ops.shape import narrow
from lucid.ops.statistics import norm, norm_
from lucid.ops.view import expand, reshape
from lucid.tensor import Tensor
from lucid.tracing import program


def diff(x, n: int = 1, dim: int = -1, prepend=None, append=None):
    """Differences of neighbours along `dim`, n times; prepend and append are joined on first.

    >>> import lucid
    >>> lucid.diff(lucid.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    if n < 0:
        raise RuntimeError(f"diff: n must not be negative, got {n}")
    d = normal_dim("diff", dim, x.ndim)
    if x.ndim == 0:
        raise RuntimeError("diff: a tensor of at least one dimension is needed")
    if n == 0:
        return x.clone()
    parts = [p for p in (prepend, x, append) if p is not None]
    x = cat(parts, d) if len(parts) > 1 else x
    for _ in range(n):
        size = x.shape[d]
        if size <= 1:
            return narrow(x, d, 0, 0)
        after, before = narrow(x, d, 1, size - 1), narrow(x, d, 0, size - 1)
        x = after ^ before if x.dtype.category == 0 else after - before
    return x


def _areas(name: str, y: Any, x: Any, dx: Any, dim: int) -> tuple[Any, int]:
    """The trapezoids under y along dim."""
    d = normal_dim(name, dim, y.ndim)
    n = y.shape[d]
    if n == 0:
        return narrow(y, d, 0, 0), d
    sides = narrow(y, d, 1, n - 1) + narrow(y, d, 0, n - 1)
    if x is None:
        return sides * (dx / 2.0), d
    if x.ndim == 1 and y.ndim > 1:
        if x.shape[0] != n:
            raise RuntimeError(f"{name}: {x.shape[0]} places for {n} values along dimension {d}")
        x = reshape(x, tuple(n if i == d else 1 for i in range(y.ndim)))
        widths = diff(x, dim=d)
    else:
        widths = diff(x, dim=dim if dim < 0 else d - y.ndim)
    return sides * widths / 2.0, d


def trapezoid(y, x=None, *, dx=1.0, dim: int = -1):
    """The area under y along `dim` by trapezoids, at places x or `dx` apart.

    >>> import lucid
    >>> lucid.trapezoid(lucid.tensor([1.0, 2.0, 3.0]))
    tensor(4.)
    """
    areas, d = _areas("trapezoid", y, x, dx, dim)
    return areas.sum(d)


def cumulative_trapezoid(y, x=None, *, dx=1.0, dim: int = -1):
    """Running areas under y along `dim`, one fewer than places.

    >>> import lucid
    >>> lucid.cumulative_trapezoid(lucid.tensor([1.0, 2.0, 3.0]))
    tensor([1.5000, 4.0000])
    """
    areas, d = _areas("cumulative_trapezoid", y, x, dx, dim)
    return areas.cumsum(d)


def gradient(x, *, spacing=1, dim=None, edge_order: int = 1):
    """Derivatives along each dimension (or those of `dim`) by central differences: a tuple.

    `spacing`: the distance of neighbours, one for each dimension, or vectors of places.
    Of second order inside (Fornberg, 1988, for uneven places); at the ends of `edge_order`.

    >>> import lucid
    >>> lucid.gradient(lucid.tensor([1.0, 2.0, 4.0]))
    (tensor([1.0000, 1.5000, 2.0000]),)
    """
    spacing = 1 if spacing is None else spacing
    if edge_order not in (1, 2):
        raise RuntimeError(f"gradient: edge_order must be 1 or 2, got {edge_order}")
    dims = list(range(x.ndim)) if dim is None else [
        normal_dim("gradient", d, x.ndim) for d in ([dim] if isinstance(dim, int) else dim)
    ]  # fmt: skip
    if len(set(dims)) < len(dims):
        raise RuntimeError(f"gradient: a dimension of {dim} appears more than once")
    if isinstance(spacing, (int, float)):
        spacing = [spacing] * len(dims)
    elif isinstance(spacing, Tensor):
        spacing = [spacing]
    if len(spacing) != len(dims):
        raise RuntimeError(f"gradient: {len(spacing)} spacings for {len(dims)} dimensions")
    return tuple(_derivative(x, d, s, edge_order) for d, s in zip(dims, spacing, strict=True))


def _derivative(x: Any, d: int, spacing: Any, order: int) -> Any:
    n = x.shape[d]
    if n < order + 1:
        raise RuntimeError(f"gradient: dimension {d} of size {n} is too short")
    even = not (isinstance(spacing, Tensor) and spacing.ndim)
    if even:
        h = expand(reshape(tensor(1.0, dtype=_kind(x)), (1,)), (n - 1,)) * spacing
    else:
        h = diff(spacing)
    h = reshape(h, tuple(n - 1 if i == d else 1 for i in range(x.ndim)))

    def part(y: Any, start: int, count: int) -> Any:
        return narrow(y, d, start, count)

    slope = (part(x, 1, n - 1) - part(x, 0, n - 1)) / h
    a, b = part(h, 0, n - 2), part(h, 1, n - 2)
    inner = (part(slope, 0, n - 2) * b + part(slope, 1, n - 2) * a) / (a + b)
    first, last = part(slope, 0, 1), part(slope, n - 2, 1)
    if order == 2:
        bend = (part(slope, 1, 1) - first) / (part(h, 0, 1) + part(h, 1, 1))
        first = first - bend * part(h, 0, 1)
        bend = (last - part(slope, n - 3, 1)) / (part(h, n - 2, 1) + part(h, n - 3, 1))
        last = last + bend * part(h, n - 2, 1)
    return cat([first, inner, last], d)


def _kind(x: Any) -> Any:
    return x.dtype if x.dtype.category == FLOATING else get_default_dtype()


def nansum(x, dim=None, keepdim: bool = False, *, dtype=None):
    """The sum over `dim` of what is not NaN.

    >>> import lucid
    >>> lucid.nansum(lucid.tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    x = x if dtype is None else to_dtype(x, dtype)
    if x.dtype.category == FLOATING:
        x = where(x != x, 0.0, x)
    return x.sum(dim, keepdim)


def nanmean(x, dim=None, keepdim: bool = False, *, dtype=None):
    """The mean over `dim` of what is not NaN.

    >>> import lucid
    >>> lucid.nanmean(lucid.tensor([1.0, float("nan"), 2.0]))
    tensor(1.5000)
    """
    x = x if dtype is None else to_dtype(x, dtype)
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"nanmean: a floating tensor is needed, got {x.dtype!r}")
    count = (x == x).sum(dim, keepdim)
    return nansum(x, dim, keepdim) / to_dtype(count, x.dtype)


def cov(x, *, correction: int = 1, fweights=None, aweights=None):
    """The covariances of variables (rows) over observations (columns), divided by
    n - correction; fweights are counts of observations, aweights their importance.

    >>> import lucid
    >>> lucid.cov(lucid.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if x.ndim > 2:
        raise RuntimeError(f"cov: at most 2 dimensions are possible, got {x.ndim}")
    rows = to_dtype(x, _kind(x))
    rows = reshape(rows, (1, rows.numel())) if x.ndim < 2 else rows
    n = rows.shape[1]
    weights = None
    for given, name in ((fweights, "fweights"), (aweights, "aweights")):
        if given is not None:
            if tuple(given.shape) != (n,):
                raise RuntimeError(f"cov: {name} of shape {tuple(given.shape)} for {n} columns")
            if name == "fweights" and given.dtype.category >= FLOATING:
                raise RuntimeError(f"cov: fweights must be whole numbers, got {given.dtype!r}")
            if program() is None and bool((given < 0).any()):
                raise RuntimeError(f"cov: {name} must not be negative")
            part = to_dtype(given, rows.dtype)
            weights = part if weights is None else weights * part
    if weights is None:
        total, mean = float(n), rows.mean(1, True)
        left: Any = builtins.max(n - correction, 0)
        spread = rows - mean
        made = matmul(spread, spread.t()) / float(left)
    else:
        total = weights.sum()
        mean = (rows * weights).sum(1, True) / total
        left = total - correction
        if aweights is not None:
            left = total - correction * (weights * to_dtype(aweights, rows.dtype)).sum() / total
        spread = rows - mean
        made = matmul(spread, (spread * weights).t()) / left
    return reshape(made, ()) if rows.shape[0] == 1 else made


def corrcoef(x):
    """Pearson's correlations of variables (rows), clamped to [-1, 1].

    >>> import lucid
    >>> lucid.corrcoef(lucid.tensor([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0]])).round()
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    c = cov(x)
    if c.ndim == 0:
        return c / c
    scale = sqrt(c.diagonal())
    return (c / scale.unsqueeze(1) / scale.unsqueeze(0)).clamp(-1, 1)


def logspace(start, end, steps: int, base: float = 10.0, *, dtype=None, device=None):
    """base ** linspace(start, end, steps). Of an integer dtype, the ends are rounded towards zero.

    >>> import lucid
    >>> lucid.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    kind = dtype or get_default_dtype()
    start, end = whole_ends(start, end, kind)
    wide = linspace(float(start), float(end), steps, dtype=float64, device=device)
    return to_dtype(float(base) ** wide, kind)


# Distances


def dist(x, other, p: float = 2):
    """The p-norm of x - other.

    >>> import lucid
    >>> lucid.dist(lucid.tensor([3.0, 4.0]), lucid.zeros(2))
    tensor(5.)
    """
    return norm(x - other, p)


class distances(Composite):
    """(sum over the last dimension of |x_i - w_j|^p)^(1/p) for all rows i of x and j of w."""

    public = False
    label = "cdist"

    def forward(x, w, *, p):
        gap = _gaps(x, w)
        if p == 0.0:
            return to_dtype(sum_(gap != 0, (len(gap.shape) - 1,), False), x.dtype)
        if p == 1.0:
            return sum_(abs_(gap), (len(gap.shape) - 1,), False)
        if p == float("inf"):
            return abs_(gap).amax(-1)
        return norm_.forward(gap, p=p, dims=(len(gap.shape) - 1,), keepdim=False)

    def vjp_x(g, x, w, y, p):
        return sum_(_slopes(g, x, w, y, p), (len(x.shape) - 1,), False)

    def vjp_w(g, x, w, y, p):
        return -sum_(_slopes(g, x, w, y, p), (len(x.shape) - 2,), False)


def _gaps(x: Any, w: Any) -> Any:
    """x_i - w_j: (..., rows of x, rows of w, width)."""
    return x.unsqueeze(-2) - w.unsqueeze(-3)


def _slopes(g: Any, x: Any, w: Any, y: Any, p: float) -> Any:
    """g times the derivative of each distance in each gap."""
    gap = _gaps(x, w)
    far, g = y.unsqueeze(-1), g.unsqueeze(-1)
    if p == 0.0:
        return gap * 0.0
    if p == 1.0:
        return g * gap.sign()
    if p == float("inf"):
        hit = where(abs_(gap) == far, 1.0, 0.0)
        return g * gap.sign() * hit
    none = (far == 0.0) | (gap == 0.0)
    if p == 2.0:
        return g * where(none, 0.0, gap / where(none, 1.0, far))
    ratio = where(none, 1.0, abs_(gap)) / where(none, 1.0, far)
    return g * where(none, 0.0, gap.sign() * ratio ** (p - 1.0))


def cdist(x1, x2, p: float = 2.0, compute_mode: str | None = None):
    """The p-distances of all rows of x1 (..., P, M) and x2 (..., R, M): (..., P, R).

    Each distance is computed from differences, whatever `compute_mode` allows.

    >>> import lucid
    >>> lucid.cdist(lucid.zeros(1, 2), lucid.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """
    if compute_mode not in (
        None, "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist",
        "donot_use_mm_for_euclid_dist",
    ):  # fmt: skip
        raise ValueError(f"cdist: compute_mode {compute_mode!r} is not known")
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"cdist: shapes {tuple(x1.shape)} and {tuple(x2.shape)}: both need two dimensions "
            "and the same last size"
        )
    if p < 0:
        raise RuntimeError(f"cdist: p must not be negative, got {p}")
    if x1.shape[-1] == 0:
        return sum_(_gaps(x1, x2), (builtins.max(x1.ndim, x2.ndim),), False)
    return distances(x1, x2, float(p))


def renorm(x, p: float, dim: int, maxnorm: float):
    """x whose slices along `dim` have a p-norm of at most maxnorm: larger ones are scaled.

    >>> import lucid
    >>> lucid.renorm(lucid.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    d = normal_dim("renorm", dim, x.ndim)
    if x.ndim < 2:
        raise RuntimeError(f"renorm: at least 2 dimensions are needed, got {x.ndim}")
    rest = [i for i in range(x.ndim) if i != d]
    size = norm(x, p, rest, True)
    return x * where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


def index_reduce(x, dim: int, index, source, reduce: str, *, include_self: bool = True):
    """x with the slices of source combined at places of `dim`: "prod", "mean", "amax", "amin".

    Without `include_self` the slices of x at those places do not take part.

    >>> import lucid
    >>> i = lucid.tensor([0, 0])
    >>> lucid.index_reduce(lucid.ones(2), 0, i, lucid.tensor([3.0, 2.0]), "amax")
    tensor([3., 1.])
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce: reduce must be prod, mean, amax or amin, not {reduce!r}")
    d = normal_dim("index_reduce", dim, x.ndim)
    shape = tuple(index.numel() if i == d else n for i, n in enumerate(x.shape))
    if tuple(source.shape) != shape:
        raise RuntimeError(
            f"index_reduce: the source has shape {tuple(source.shape)}, {shape} is needed"
        )
    places = expand(
        reshape(index, tuple(index.numel() if i == d else 1 for i in range(x.ndim))), shape
    )
    return scatter_reduce(x, d, places, source, reduce, include_self=include_self)
