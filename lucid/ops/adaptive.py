"""Adaptive pooling: as many windows as are asked for, window o covers floor(o n / m) up to
ceil((o + 1) n / m) of a dimension of size n. Called as functional.adaptive_*_pool*.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from lucid.dtypes import bool_, int64
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.op import Pointwise, Reduction
from lucid.ops.elementwise import div
from lucid.ops.gather import scatter_zeros
from lucid.ops.pool import _avg_pool, inside, linear, trailing
from lucid.ops.spatial import batched, flat, unbatched
from lucid.ops.view import reshape


class Adaptive(Reduction, abstract=True):
    """A fold of what lies beside each element of an output of `size`.

    place(o, i, n, m): whether there is an i-th of n elements beside the o-th of m, and where.
    """

    place: ClassVar[Callable[..., Any]]
    public = False
    numbered = ()
    static_window = True

    @classmethod
    def domain(cls, types, params):
        shape, size = types[0][0], params[0]
        rank = len(size)
        most = tuple(_most(n, m) for n, m in zip(shape[-rank:], size, strict=True))
        return (*shape[:-rank], *size, *most), trailing(shape, rank)

    @classmethod
    def monoid(cls, types, params):
        return loops.sum_of(types[0][1].compute)

    @classmethod
    def infer(cls, types, params):
        return [((*types[0][0][: -len(params[0])], *params[0]), types[0][1])]

    @classmethod
    def beside(cls, types, params, index) -> tuple[Expr, list[Expr]]:
        """Whether there is such an element, and its subscripts."""
        shape, size = types[0][0], params[0]
        rank = len(size)
        lead = len(shape) - rank
        good, inner = expr.const(True, bool_), list(index[:lead])
        for d in range(rank):
            fits, at = cls.place(index[lead + d], index[lead + rank + d], shape[lead + d], size[d])
            good = good & fits
            inner.append(at)
        return good, inner

    @classmethod
    def element(cls, types, params, index, loads):
        good, inner = cls.beside(types, params, index)
        x = loads[0](inner)
        return (expr.where(good, x, expr.zero(x)),)


def _in_window(o: Expr, i: Expr, n: int, m: int) -> tuple[Expr, Expr]:
    start, end = _bounds(o, n, m)
    at = start + i
    fits = at < end
    return fits, expr.where(fits, at, expr.ZERO)


class adaptive_sum(Adaptive):
    """The sum of each adaptive window."""

    place = _in_window

    def names(x, *, size):
        pass

    def vjp_x(g, x_meta, size):
        return adaptive_sum_back(g, tuple(x_meta.shape[-len(size) :]))


def _most(n: int, m: int) -> int:
    """The most elements of n that lie beside one of m."""
    return max((-(-(o + 1) * n // m) - o * n // m for o in range(m)), default=1)


def _bounds(o: Expr, n: int, m: int) -> tuple[Expr, Expr]:
    return _share(o, n, m), _share(o + 1, n, m, m - 1)


def _share(o: Expr, n: int, m: int, more: int = 0) -> Expr:
    """(o n + more) / m. Usual sizes belong in the text: lanes divide slowly by a number that is
    known only later."""
    if (m + 1) * n + m < 1 << 31:
        return expr.quotient(o * n + more, m)
    return expr.binary("idiv", o * expr.size(n) + expr.size(more), expr.size(m))


class adaptive_sum_back(Adaptive):
    """The sum of g over the adaptive windows that cover an element."""

    def names(g, *, size):
        pass

    def place(o, i, n, m):
        first = _share(o, n, m)
        fits, at = inside(first + i, n)
        start, end = _bounds(at, m, n)
        return fits & (start <= o) & (o < end), at

    def vjp_g(g, g_meta, size):
        return adaptive_sum(g, tuple(g_meta.shape[-len(size) :]))


class adaptive_counts(Pointwise):
    """The sizes of the adaptive windows, for one channel."""

    public = False

    def names(*, size, shape, kind):
        pass

    def infer(types, params):
        return [(params[0], params[2])]

    def element(types, index, loads, size, shape, kind):
        total = None
        for d in range(len(size)):
            start, end = _bounds(index[d], shape[d], size[d])
            total = end - start if total is None else total * (end - start)
        return expr.cast(total, kind)


class adaptive_max(Adaptive):
    """The largest of each adaptive window, and its place in the flattened spatial dimensions."""

    count = 2
    place = _in_window

    def names(x, *, size):
        pass

    def monoid(types, params):
        return loops.extremum_with_index(types[0][1].compute, True)

    def infer(types, params):
        size = (*types[0][0][: -len(params[0])], *params[0])
        return [(size, types[0][1]), (size, int64)]

    @classmethod
    def element(cls, types, params, index, loads):
        good, inner = cls.beside(types, params, index)
        x = loads[0](inner)
        rank = len(params[0])
        at = linear(inner[-rank:], types[0][0][-rank:])
        return expr.where(good, x, loops.lowest(x.dtype)), expr.where(good, at, -1)

    def finish(types, params, states):
        return [states[0], states[1]]

    def vjp_x(g, y1, x_meta, size):
        return put_at(g, y1, tuple(x_meta.shape[-len(size) :]))


def put_at(v: Any, places: Any, size: tuple[int, ...]) -> Any:
    """Zeros with v added at places of the flattened last dimensions, which have this size."""
    rank, lead = len(size), v.ndim - len(size)
    total = 1
    for n in size:
        total *= n
    shape = tuple(v.shape[:lead])
    y = scatter_zeros(flat(v, rank), flat(places, rank), (*shape, total), lead)
    return reshape(y, (*shape, *size))


def _size(name: str, x: Any, rank: int, output_size: Any) -> tuple[int, ...]:
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * rank
    given = tuple(given) * rank if len(given) == 1 else tuple(given)
    shape = tuple(x.shape[-rank:])
    if len(given) != rank:
        raise RuntimeError(f"{name}: output_size {output_size} is not for {rank} dimensions")
    size = tuple(n if m is None else int(m) for n, m in zip(shape, given, strict=True))
    if any(m < 1 for m in size) or any(n < 1 for n in shape):
        raise RuntimeError(f"{name}: from {shape} to {size}")
    return size


def _average(rank: int, x: Any, output_size: Any) -> Any:
    name = f"adaptive_avg_pool{rank}d"
    x, single = batched(name, x, rank)
    size, shape = _size(name, x, rank, output_size), tuple(x.shape[-rank:])
    if all(m == 1 for m in size):
        y = x.mean(tuple(range(2, 2 + rank)), True)
    elif all(n % m == 0 for n, m in zip(shape, size, strict=True)):
        kernel = tuple(n // m for n, m in zip(shape, size, strict=True))
        y = _avg_pool(rank, x, kernel, None, 0, False, True)
    else:
        counts = adaptive_counts(size, shape, x.dtype.compute)
        y = div(adaptive_sum(x, size), counts.to(x.dtype))
    return unbatched(y, single)


def adaptive_avg_pool1d(input, output_size):
    """The mean of each of `output_size` windows that cover (N, C, L) evenly.

    >>> import lucid
    >>> lucid.nn.functional.adaptive_avg_pool1d(lucid.arange(4.0).reshape(1, 1, 4), 2)
    tensor([[[0.5000, 2.5000]]])
    """
    return _average(1, input, output_size)


def adaptive_avg_pool2d(input, output_size):
    """The mean of OH x OW windows that cover (N, C, H, W) evenly; None keeps a size.

    >>> import lucid
    >>> lucid.nn.functional.adaptive_avg_pool2d(lucid.ones(1, 2, 7, 5), 1).shape
    lucid.Size([1, 2, 1, 1])
    """
    return _average(2, input, output_size)


def adaptive_avg_pool3d(input, output_size):
    """The mean of OD x OH x OW windows that cover (N, C, D, H, W) evenly; None keeps a size.

    >>> import lucid
    >>> lucid.nn.functional.adaptive_avg_pool3d(lucid.ones(1, 2, 7, 5, 3), (1, None, 2)).shape
    lucid.Size([1, 2, 1, 5, 2])
    """
    return _average(3, input, output_size)


def _largest(rank: int, x: Any, output_size: Any, return_indices: bool) -> Any:
    name = f"adaptive_max_pool{rank}d"
    x, single = batched(name, x, rank)
    y, places = adaptive_max(x, _size(name, x, rank, output_size))
    y = unbatched(y, single)
    return (y, unbatched(places, single)) if return_indices else y


def adaptive_max_pool1d(input, output_size, return_indices: bool = False):
    """The largest of each of `output_size` windows that cover (N, C, L) evenly.

    >>> import lucid
    >>> lucid.nn.functional.adaptive_max_pool1d(lucid.arange(5.0).reshape(1, 1, 5), 2)
    tensor([[[2., 4.]]])
    """
    return _largest(1, input, output_size, return_indices)


def adaptive_max_pool2d(input, output_size, return_indices: bool = False):
    """The largest of OH x OW windows that cover (N, C, H, W) evenly; None keeps a size.

    >>> import lucid
    >>> lucid.nn.functional.adaptive_max_pool2d(lucid.ones(1, 2, 7, 5), (3, None)).shape
    lucid.Size([1, 2, 3, 5])
    """
    return _largest(2, input, output_size, return_indices)


def adaptive_max_pool3d(input, output_size, return_indices: bool = False):
    """The largest of OD x OH x OW windows that cover (N, C, D, H, W) evenly; None keeps a size.

    >>> import lucid
    >>> lucid.nn.functional.adaptive_max_pool3d(lucid.ones(1, 2, 7, 5, 3), 2).shape
    lucid.Size([1, 2, 2, 2, 2])
    """
    return _largest(3, input, output_size, return_indices)
