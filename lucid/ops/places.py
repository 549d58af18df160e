"""gather, scatter and their relatives along a dimension: the public functions over gather.py.

ops/methods.py makes them functions and methods. Shapes and dtypes are checked here.
"""

import functools
from collections.abc import Callable
from typing import Any

from lucid.apply import apply
from lucid.array import Array
from lucid.autograd.mode import is_grad_enabled
from lucid.dtypes import bool_
from lucid.lazy import lazy
from lucid.op import normal_dim
from lucid.ops import cast as casts
from lucid.ops import creation, gather, index
from lucid.ops.elementwise import where
from lucid.ops.scatter import same_kind, same_rank, scatter_reduce, source_of
from lucid.tensor import Tensor

_rows = lazy("lucid.sparse.rows")


def gather_along(x, dim: int, index, *, sparse_grad: bool = False):
    """y[.., i, ..] = x[.., index[.., i, ..], ..] along dim. With sparse_grad the gradient of x is a
    sparse tensor of the elements that were read.

    >>> import lucid
    >>> lucid.gather(lucid.tensor([[1, 2], [3, 4]]), 1, lucid.tensor([[1], [0]]))
    tensor([[2],
            [3]])
    """
    if sparse_grad and is_grad_enabled() and x.requires_grad and x.ndim:
        return _rows.gather(x, normal_dim("gather", dim, x.ndim), index)
    rank = len(x._layout.shape)
    if rank != len(index._layout.shape):
        if index.numel() == 0:
            return x.reshape(-1)[:0].reshape(index.shape)
        if rank > 1 or len(index._layout.shape) > 1:
            same_rank("gather", x, index)
        return gather_along(x.reshape(-1), dim, index.reshape(-1)).reshape(index.shape)
    if rank == 0:
        return gather_along(x.reshape(1), dim, index.reshape(index.numel())).reshape(())
    return apply(gather.gather_, (x, index), (normal_dim("gather", dim, rank),))


def _slices(name: str, x: Any, dim: int, places: Any, source: Any = None) -> tuple[Any, int]:
    """The index vector and the dimension that it is for; the source must have their shape."""
    d = normal_dim(name, dim, x.ndim)
    if places.ndim > 1:
        raise IndexError(
            f"{name}: the index must be a vector, got shape {tuple(places.shape)}; use gather() "
            "or x[index]"
        )
    if source is not None:
        same_kind(name, x, source)
        needed = tuple(places.numel() if i == d else n for i, n in enumerate(x.shape))
        if tuple(source.shape) != needed:
            raise RuntimeError(
                f"{name}: {places.numel()} indices for dimension {d} of a tensor of shape "
                f"{tuple(x.shape)} need a source of shape {needed}, got {tuple(source.shape)}"
            )
    return places.reshape(places.numel()), d


def _numbers_too(function: Callable) -> Callable:
    """A function of slices that takes a 0-d tensor as a vector of one element."""

    @functools.wraps(function)
    def wrapped(x: Any, dim: int, index: Any, *args: Any, **options: Any) -> Any:
        if x.ndim:
            return function(x, dim, index, *args, **options)
        args = tuple([v.reshape(1) if isinstance(v, Tensor) and not v.ndim else v for v in args])
        y = function(x.reshape(1), dim, index, *args, **options)
        return x if function.__name__.endswith("_") else y.reshape(())

    return wrapped


def scatter(x, dim: int, index, src=None, *, value=None, reduce=None):
    """x with src (or a number) written at index along dim; reduce may be "add" or "multiply".

    >>> import lucid
    >>> lucid.scatter(lucid.zeros(3), 0, lucid.tensor([2, 0]), lucid.ones(2))
    tensor([1., 0., 1.])
    """
    if reduce == "multiply":
        return scatter_reduce(x, dim, index, source_of(x, index, src, value), "prod")
    src = value if src is None else src
    same_rank("scatter", x, index)
    src = source_of(x, index, src, value)
    record = gather.scatter_set if reduce is None else gather.scatter_plus
    if reduce not in (None, "add", "sum"):
        raise NotImplementedError(
            f"scatter: reduce={reduce!r} is not supported; use 'add' or 'multiply'"
        )
    same_kind("scatter", x, src)
    if x.ndim == 0:
        made = record(x.reshape(1), src.reshape(1), index.reshape(index.numel()), 0)
        return made.reshape(())
    return record(x, src, index, normal_dim("scatter", dim, x.ndim))


def take(x, index):
    """The elements of x, as one row, at the given places; the result has the index's shape.

    >>> import lucid
    >>> lucid.take(lucid.tensor([[1, 2], [3, 4]]), lucid.tensor([[0, -1]]))
    tensor([[1, 4]])
    """
    return gather.take(x.reshape(x.numel()), [index], 0)


def argwhere(x):
    """The places of the non-zero elements, one row for each.

    >>> import lucid
    >>> lucid.argwhere(lucid.tensor([[0, 1], [2, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    return index.nonzero(x)


def scatter_add(x, dim: int, index, src):
    """x with src added at index along dim.

    >>> import lucid
    >>> lucid.scatter_add(lucid.zeros(2), 0, lucid.tensor([1, 1]), lucid.ones(2))
    tensor([0., 2.])
    """
    return scatter(x, dim, index, src, reduce="add")


@_numbers_too
def index_select(x, dim: int, index):
    """The slices of x at the given places of a dimension.

    >>> import lucid
    >>> lucid.index_select(lucid.arange(4), 0, lucid.tensor([3, 0]))
    tensor([3, 0])
    """
    places, d = _slices("index_select", x, dim, index)
    return gather.take(x, [places], d)


@_numbers_too
def index_add(x, dim: int, index, source, *, alpha=1):
    """x with alpha * source added at the given places of a dimension.

    >>> import lucid
    >>> lucid.index_add(lucid.zeros(3), 0, lucid.tensor([2, 2]), lucid.ones(2))
    tensor([0., 0., 2.])
    """
    places, d = _slices("index_add", x, dim, index, source)
    return gather.put(x, source if alpha == 1 else source * alpha, [places], d, True)


@_numbers_too
def index_add_(x, dim: int, index, source, *, alpha=1):
    """In place: alpha * source added at the given places of a dimension."""
    places, d = _slices("index_add", x, dim, index, source)
    scaled = source if alpha == 1 else source * alpha
    return gather.put_into("index_add_", x, scaled, [places], d, True)


@_numbers_too
def index_copy(x, dim: int, index, source):
    """x with source written at the given places of a dimension.

    >>> import lucid
    >>> lucid.index_copy(lucid.zeros(3), 0, lucid.tensor([2, 0]), lucid.tensor([5.0, 6.0]))
    tensor([6., 0., 5.])
    """
    places, d = _slices("index_copy", x, dim, index, source)
    return gather.put(x, source, [places], d, False)


@_numbers_too
def index_copy_(x, dim: int, index, source):
    """In place: source written at the given places of a dimension."""
    places, d = _slices("index_copy", x, dim, index, source)
    return gather.put_into("index_copy_", x, source, [places], d, False)


@_numbers_too
def index_fill(x, dim: int, index, value):
    """x with a number written at the given places of a dimension.

    >>> import lucid
    >>> lucid.index_fill(lucid.zeros(3), 0, lucid.tensor([1]), 7.0)
    tensor([0., 7., 0.])
    """
    places, d = _slices("index_fill", x, dim, index)
    size = tuple(places.numel() if i == d else n for i, n in enumerate(x.shape))
    if isinstance(value, Tensor):
        # A place that is named twice reads the value once: so says its gradient.
        zeros = creation.zeros(x.shape, dtype=bool_)
        hit = gather.put(zeros, creation.ones(size, dtype=bool_), [places], d, False)
        return where(hit, casts.to_dtype(value.reshape(()), x.dtype), x)
    return gather.put(x, creation.full(size, value, dtype=x.dtype), [places], d, False)


def index_put(x, indices, values, accumulate: bool = False):
    """x with values written (or added) at integer tensors for its first dimensions.

    >>> import lucid
    >>> lucid.index_put(lucid.zeros(3), [lucid.tensor([0, 2])], lucid.tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    values, places = _put_parts(x, indices, values)
    return gather.put(x, values, places, 0, accumulate)


def index_put_(x, indices, values, accumulate: bool = False):
    """In place: values written (or added) at integer tensors for the first dimensions."""
    values, places = _put_parts(x, indices, values)
    return gather.put_into("index_put_", x, values, places, 0, accumulate)


def _put_parts(x: Any, indices: Any, values: Any) -> tuple[Any, list[Any]]:
    places = [p for i in indices for p in ([i] if not index._is_mask(i) else index.nonzero(
        i, as_tuple=True))]  # fmt: skip
    if not isinstance(values, Array):
        values = creation.tensor(values, dtype=x.dtype)
    same_kind("index_put", x, values)
    return index._spread(values, x, places, 0), places
