"""Shapes in many parts: stacks and splits, triangles' indices, products of sets, scatter forms.

Everything here is made of the views and joins of shape.py.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lucid.array import Array
from lucid.dtypes import bool_, int64
from lucid.layout import broadcast_shapes as _broadcast
from lucid.op import normal_dim
from lucid.ops import shape
from lucid.ops.cast import to_dtype
from lucid.ops.creation import arange, tensor, zeros
from lucid.ops.elementwise import assign, where
from lucid.ops.index import nonzero
from lucid.ops.join import cat, stack
from lucid.ops.padding import pad as pad_constant_of
from lucid.ops.places import index_copy
from lucid.ops.reduce import sum_
from lucid.ops.scan import cumsum_
from lucid.ops.strided import as_strided, strided_places
from lucid.ops.together import meshgrid
from lucid.ops.view import diagonal as diagonal_view
from lucid.ops.view import diagonal_back, reshape, subscript
from lucid.write import write


def _each(tensors: tuple, function: Callable) -> Any:
    """The function of one tensor, or a tuple of those of several."""
    if len(tensors) == 1 and isinstance(tensors[0], Array):
        return function(tensors[0])
    given = tensors[0] if len(tensors) == 1 else tensors
    return tuple(function(x) for x in given)


def atleast_1d(*tensors):
    """Each tensor with at least one dimension.

    >>> import lucid
    >>> lucid.atleast_1d(lucid.tensor(2)).shape
    lucid.Size([1])
    """
    return _each(tensors, lambda x: x if x.ndim else reshape(x, (1,)))


def atleast_2d(*tensors):
    """Each tensor with at least two dimensions; new ones come first.

    >>> import lucid
    >>> lucid.atleast_2d(lucid.tensor([1])).shape
    lucid.Size([1, 1])
    """
    return _each(tensors, lambda x: x if x.ndim > 1 else reshape(x, (1, x.numel())))


def atleast_3d(*tensors):
    """Each tensor with at least three dimensions: (n,) becomes (1, n, 1), (n, m) (n, m, 1).

    >>> import lucid
    >>> lucid.atleast_3d(lucid.tensor([1])).shape
    lucid.Size([1, 1, 1])
    """

    def grown(x: Any) -> Any:
        if x.ndim > 2:
            return x
        return reshape(x, (*x.shape, 1) if x.ndim == 2 else (1, x.numel(), 1))

    return _each(tensors, grown)


def column_stack(tensors):
    """Side by side as columns; vectors count as columns.

    >>> import lucid
    >>> lucid.column_stack([lucid.tensor([1, 2]), lucid.tensor([3, 4])])
    tensor([[1, 3],
            [2, 4]])
    """
    return cat([x if x.ndim > 1 else reshape(x, (x.numel(), 1)) for x in tensors], 1)


def dstack(tensors):
    """Joined along the third dimension.

    >>> import lucid
    >>> lucid.dstack([lucid.tensor([1]), lucid.tensor([2])])
    tensor([[[1, 2]]])
    """
    return cat([atleast_3d(x) for x in tensors], 2)


def block_diag(*tensors):
    """The matrices on a diagonal, zeros elsewhere; vectors are rows.

    >>> import lucid
    >>> lucid.block_diag(lucid.tensor([1]), lucid.tensor([[2, 3]]))
    tensor([[1, 0, 0],
            [0, 2, 3]])
    """
    blocks = [atleast_2d(x) for x in tensors]
    for x in blocks:
        if x.ndim != 2:
            raise RuntimeError(f"block_diag: matrices are needed, got {x.ndim} dimensions")
    if not blocks:
        return zeros(1, 0)
    width = sum(x.shape[1] for x in blocks)
    rows, left = [], 0
    for x in blocks:
        right = width - left - x.shape[1]
        sides = [zeros((x.shape[0], n), dtype=x.dtype) for n in (left, right)]
        rows.append(cat([sides[0], x, sides[1]], 1))
        left += x.shape[1]
    return cat(rows, 0)


def _splitter(name: str, dim: int, least: int) -> Callable:
    def split(x: Any, indices_or_sections: Any) -> tuple:
        if x.ndim < least:
            raise RuntimeError(f"{name}: at least {least} dimensions are needed, got {x.ndim}")
        d = 0 if name == "hsplit" and x.ndim == 1 else dim
        if isinstance(indices_or_sections, int) and x.shape[d] % indices_or_sections:
            raise RuntimeError(
                f"{name}: size {x.shape[d]} of dimension {d} is no multiple of "
                f"{indices_or_sections}"
            )
        return shape.tensor_split(x, indices_or_sections, d)

    split.__name__ = split.__qualname__ = name
    split.__doc__ = f"""Views of parts along dimension {dim}: a number of equal ones, or cut places.

    >>> import lucid
    >>> [tuple(part.shape) for part in lucid.{name}(lucid.zeros(2, 2, 2), 2)]
    {[tuple(1 if d == dim else 2 for d in range(3))] * 2}
    """
    return split


hsplit, vsplit, dsplit = (_splitter(n, d, m) for n, d, m in (
    ("hsplit", 1, 1), ("vsplit", 0, 2), ("dsplit", 2, 3)
))  # fmt: skip


def split_with_sizes(x, split_sizes, dim: int = 0):
    """Views of parts of the given sizes along `dim`.

    >>> import lucid
    >>> lucid.split_with_sizes(lucid.arange(3), [1, 2])
    (tensor([0]), tensor([1, 2]))
    """
    return shape.split(x, list(split_sizes), dim)


def unsafe_split(x, split_size, dim: int = 0):
    """`split`.

    >>> import lucid
    >>> lucid.unsafe_split(lucid.arange(3), 2)
    (tensor([0, 1]), tensor([2]))
    """
    return shape.split(x, split_size, dim)


def unsafe_chunk(x, chunks: int, dim: int = 0):
    """`chunk`.

    >>> import lucid
    >>> lucid.unsafe_chunk(lucid.arange(4), 2)
    (tensor([0, 1]), tensor([2, 3]))
    """
    return shape.chunk(x, chunks, dim)


def fliplr(x):
    """The second dimension reversed.

    >>> import lucid
    >>> lucid.fliplr(lucid.tensor([[1, 2]]))
    tensor([[2, 1]])
    """
    if x.ndim < 2:
        raise RuntimeError(f"fliplr: at least 2 dimensions are needed, got {x.ndim}")
    return shape.flip(x, 1)


def flipud(x):
    """The first dimension reversed.

    >>> import lucid
    >>> lucid.flipud(lucid.tensor([1, 2]))
    tensor([2, 1])
    """
    if x.ndim < 1:
        raise RuntimeError("flipud: at least 1 dimension is needed, got 0")
    return shape.flip(x, 0)


def rot90(x, k: int = 1, dims: Sequence[int] = (0, 1)):
    """Turned k times by 90 degrees in the plane of two dimensions, from the first to the second.

    >>> import lucid
    >>> lucid.rot90(lucid.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    if len(dims) != 2:
        raise RuntimeError(f"rot90: two dimensions are needed, got {len(dims)}")
    a, b = (normal_dim("rot90", d, x.ndim) for d in dims)
    if a == b:
        raise RuntimeError(f"rot90: the two dimensions are the same, {a}")
    k %= 4
    if k == 0:
        return x.clone()
    if k == 2:
        return shape.flip(x, a, b).contiguous()
    turned = shape.transpose(shape.flip(x, b if k == 1 else a), a, b)
    return turned.contiguous()


def diag_embed(x, offset: int = 0, dim1: int = -2, dim2: int = -1):
    """Matrices with the last dimension of x on a diagonal, in dimensions dim1 and dim2.

    >>> import lucid
    >>> lucid.diag_embed(lucid.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    rank = x.ndim + 1
    a, b = (normal_dim("diag_embed", d, rank) for d in (dim1, dim2))
    if a == b:
        raise RuntimeError(f"diag_embed: dim1 and dim2 are the same, {a}")
    n = x.shape[-1] + abs(offset)
    rest = iter(x.shape[:-1])
    size = tuple(n if d in (a, b) else next(rest) for d in range(rank))
    return diagonal_back(x, size, offset, a, b)


def diagflat(x, offset: int = 0):
    """A matrix with the elements of x on a diagonal.

    >>> import lucid
    >>> lucid.diagflat(lucid.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag_embed(reshape(x, (x.numel(),)), offset)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype=int64, device=None):
    """The places of the lower triangle of a matrix: (2, count), row by row.

    >>> import lucid
    >>> lucid.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return _triangle(row, col, lambda i, j: j - i <= offset, dtype)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype=int64, device=None):
    """The places of the upper triangle of a matrix: (2, count), row by row.

    >>> import lucid
    >>> lucid.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return _triangle(row, col, lambda i, j: j - i >= offset, dtype)


def _triangle(row: int, col: int, inside: Callable, kind: Any) -> Any:
    i, j = reshape(arange(row), (row, 1)), reshape(arange(col), (1, col))
    return to_dtype(stack(nonzero(inside(i, j), as_tuple=True)), kind)


def cartesian_prod(*tensors):
    """All combinations of elements of vectors, one a row; a single vector stays one.

    >>> import lucid
    >>> lucid.cartesian_prod(lucid.tensor([1, 2]), lucid.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    given = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Array) else tensors
    for x in given:
        if x.ndim != 1:
            raise RuntimeError(f"cartesian_prod: vectors are needed, got {x.ndim} dimensions")
    if len(given) == 1:
        return given[0]
    parts = [reshape(p, (p.numel(),)) for p in meshgrid(*given, indexing="ij")]
    return stack(parts, 1)


def combinations(x, r: int = 2, with_replacement: bool = False):
    """Combinations of r elements of a vector, one a row.

    >>> import lucid
    >>> lucid.combinations(lucid.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    if x.ndim != 1:
        raise RuntimeError(f"combinations: a vector is needed, got {x.ndim} dimensions")
    pick = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(pick(range(x.shape[0]), r))
    places = tensor(np.array(rows, np.int64).reshape(len(rows), r))
    return x[places]


def unravel_index(indices, shape: Sequence[int]):
    """The subscripts of positions in a flattened tensor of the given shape.

    >>> import lucid
    >>> lucid.unravel_index(lucid.tensor([5]), (2, 3))
    (tensor([1]), tensor([2]))
    """
    found: list[Any] = []
    indices = indices.to(int64)
    for n in reversed(tuple(shape)):
        found.insert(0, indices % n)
        indices = indices // n
    return tuple(found)


def broadcast_shapes(*shapes):
    """The common shape of shapes.

    >>> import lucid
    >>> lucid.broadcast_shapes((2, 1), (3,))
    lucid.Size([2, 3])
    """
    given = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    return zeros(()).expand(_broadcast("broadcast_shapes", *given)).shape


def sum_to_size(x, *size):
    """The sum over dimensions that broadcasting from `size` would have made.

    >>> import lucid
    >>> lucid.sum_to_size(lucid.ones(3, 2), 1, 2)
    tensor([[3., 3.]])
    """
    wanted = shape.size_or(size)
    rank = x.ndim - len(wanted)
    if _broadcast("sum_to_size", tuple(x.shape), wanted) != tuple(x.shape):
        raise RuntimeError(f"sum_to_size: {tuple(x.shape)} does not broadcast from {wanted}")
    dims = [d for d in range(x.ndim) if d < rank or wanted[d - rank] != x.shape[d]]
    return reshape(sum_(x, tuple(dims), False), wanted) if dims else x


# Out of place: what a write to a view would make


def diagonal_scatter(x, src, offset: int = 0, dim1: int = 0, dim2: int = 1):
    """x with src on a diagonal.

    >>> import lucid
    >>> lucid.diagonal_scatter(lucid.zeros(2, 2), lucid.ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    a, b = (normal_dim("diagonal_scatter", d, x.ndim) for d in (dim1, dim2))
    ((wanted, _),) = diagonal_view.infer([(tuple(x.shape), x.dtype, False)], (offset, a, b))
    _fits("diagonal_scatter", src, wanted)
    on = diagonal_back(zeros(wanted, dtype=bool_) | True, tuple(x.shape), offset, a, b)
    return where(on, diagonal_back(to_dtype(src, x.dtype), tuple(x.shape), offset, a, b), x)


def _fits(name: str, src: Any, wanted: Sequence[int]) -> None:
    if tuple(src.shape) != tuple(wanted):
        raise RuntimeError(
            f"{name}: the source has shape {tuple(src.shape)}, {tuple(wanted)} is needed"
        )


def select_scatter(x, src, dim: int, index: int):
    """x with src in place of one slice of `dim`.

    >>> import lucid
    >>> lucid.select_scatter(lucid.zeros(2, 2), lucid.ones(2), 0, 1)
    tensor([[0., 0.],
            [1., 1.]])
    """
    d = normal_dim("select_scatter", dim, x.ndim)
    _fits("select_scatter", src, (*x.shape[:d], *x.shape[d + 1 :]))
    n = x.shape[d]
    if not -n <= index < n:
        raise IndexError(f"select_scatter: index {index} is out of range for size {n}")
    return slice_scatter(x, src.unsqueeze(d), d, index % n, index % n + 1)


def slice_scatter(x, src, dim: int = 0, start=None, end=None, step: int = 1):
    """x with src in place of x[start:end:step] along `dim`.

    >>> import lucid
    >>> lucid.slice_scatter(lucid.zeros(4), lucid.ones(2), 0, 1, 3)
    tensor([0., 1., 1., 0.])
    """
    d = normal_dim("slice_scatter", dim, x.ndim)
    places = range(*slice(start, end, step).indices(x.shape[d]))
    _fits("slice_scatter", src, (*x.shape[:d], len(places), *x.shape[d + 1 :]))
    at = tensor(np.arange(places.start, places.stop, places.step))
    return index_copy(x, d, at, to_dtype(src, x.dtype))


def as_strided_scatter(x, src, size, stride, storage_offset: int | None = None):
    """A copy of x with src where `as_strided` of it looks. Where a gradient is recorded x must
    be contiguous.

    >>> import lucid
    >>> lucid.as_strided_scatter(lucid.zeros(3), lucid.ones(2), (2,), (2,))
    tensor([1., 0., 1.])
    """
    at = storage_offset if storage_offset is not None else 0
    if x.requires_grad or src.requires_grad:
        size, stride = tuple(size), tuple(stride)
        _fits("as_strided_scatter", src, size)
        if not x.is_contiguous():
            raise RuntimeError(
                f"as_strided_scatter: a gradient needs a contiguous x, got stride {x.stride()}; "
                "call contiguous() first"
            )
        places = reshape(strided_places(size, stride, at), (src.numel(),))
        flat, new = reshape(x, (x.numel(),)), reshape(to_dtype(src, x.dtype), (src.numel(),))
        return reshape(index_copy(flat, 0, places, new), tuple(x.shape))
    y = x.clone()
    write(assign, as_strided(y, size, stride, at), (src,), name="as_strided_scatter")
    return y


def masked_scatter(x, mask, source):
    """x with the elements of source, in order, where the mask holds.

    >>> import lucid
    >>> lucid.masked_scatter(lucid.zeros(3), lucid.tensor([True, False, True]), lucid.ones(2))
    tensor([1., 0., 1.])
    """
    if mask.dtype is not bool_:
        raise RuntimeError(f"masked_scatter: the mask must be bool, got {mask.dtype!r}")
    if source.dtype is not x.dtype:
        raise RuntimeError(
            f"masked_scatter: the source is {source.dtype!r}, the tensor {x.dtype!r}"
        )
    size = _broadcast("masked_scatter", tuple(x.shape), tuple(mask.shape))
    mask = mask.expand(size)
    flat = reshape(mask, (mask.numel(),))
    number = cumsum_(to_dtype(flat, int64), 0)
    count = int(number[-1]) if flat.shape[0] else 0
    if count > source.numel():
        raise RuntimeError(
            f"masked_scatter: the mask holds {count} times, the source has only "
            f"{source.numel()} elements"
        )
    if count == 0:
        return x.expand(size).clone()
    taken = reshape(source, (source.numel(),))[(number - 1).clamp(min=0)]
    return where(mask, reshape(taken, size), x)


def put(x, index, source, accumulate: bool = False):
    """x with source written (or added) at positions of the flattened tensor.

    >>> import lucid
    >>> lucid.put(lucid.zeros(2, 2), lucid.tensor([3]), lucid.ones(1))
    tensor([[0., 0.],
            [0., 1.]])
    """
    if source.numel() != index.numel():
        raise RuntimeError(
            f"put: {index.numel()} positions need as many values, got {source.numel()}"
        )
    flat = reshape(x, (x.numel(),))
    places, values = reshape(index, (index.numel(),)), reshape(source, (source.numel(),))
    return reshape(flat.index_put((places,), values, accumulate), tuple(x.shape))


def sliced(x, dim: int = 0, start=None, end=None, step: int = 1):
    """A view of x[start:end:step] along `dim`."""
    d = normal_dim("slice", dim, x.ndim)
    found = range(*slice(start, end, step).indices(x.shape[d]))
    starts = tuple(found.start if i == d else 0 for i in range(x.ndim))
    steps = tuple(step if i == d else 1 for i in range(x.ndim))
    lengths = tuple(len(found) if i == d else n for i, n in enumerate(x.shape))
    return subscript(x, starts, steps, lengths, ())


def constant_pad_nd(x, pad: Sequence[int], value: float = 0):
    """`nn.functional.pad` with a constant.

    >>> import lucid
    >>> lucid.constant_pad_nd(lucid.ones(2), (1, 0))
    tensor([0., 1., 1.])
    """
    return pad_constant_of(x, pad, value=value)


# What follows the name in its example, and the result.
EXAMPLES = {
    "as_strided": "lucid.arange(4), (2,), (2,))\n    tensor([0, 2])",
    "diagonal": "lucid.eye(2))\n    tensor([1., 1.])",
    "expand": "lucid.ones(1), 2)\n    tensor([1., 1.])",
    "narrow": "lucid.arange(4), 0, 1, 2)\n    tensor([1, 2])",
    "permute": "lucid.zeros(2, 3), (1, 0)).shape\n    lucid.Size([3, 2])",
    "squeeze": "lucid.zeros(1, 3)).shape\n    lucid.Size([3])",
    "t": "lucid.zeros(2, 3)).shape\n    lucid.Size([3, 2])",
    "transpose": "lucid.zeros(2, 3), 0, 1).shape\n    lucid.Size([3, 2])",
    "unbind": "lucid.arange(2))\n    (tensor(0), tensor(1))",
    "unfold": "lucid.arange(3), 0, 2, 1).shape\n    lucid.Size([2, 2])",
    "unsqueeze": "lucid.zeros(3), 0).shape\n    lucid.Size([1, 3])",
    "view": "lucid.zeros(4), 2, 2).shape\n    lucid.Size([2, 2])",
    "split_with_sizes": "lucid.arange(2), [1, 1])\n    (tensor([0]), tensor([1]))",
    "alias": "lucid.arange(2))\n    tensor([0, 1])",
}


def _copied(name: str, view: Callable) -> Callable:
    """The view's elements in memory of their own."""

    def copy(*args: Any, **kwargs: Any) -> Any:
        made = view(*args, **kwargs)
        if isinstance(made, tuple):
            return tuple(y.clone() for y in made)
        return made.clone()

    copy.__name__ = copy.__qualname__ = f"{name}_copy"
    copy.__doc__ = f"""`{name}`, copied.

    >>> import lucid
    >>> lucid.{name}_copy({EXAMPLES[name]}
    """
    return copy


copies: dict[str, Callable] = {
    f"{name}_copy": _copied(name, as_strided if name == "as_strided" else getattr(shape, name))
    for name in (
        "as_strided diagonal expand narrow permute squeeze t transpose unbind unfold unsqueeze view"
    ).split()
}
copies["split_with_sizes_copy"] = _copied("split_with_sizes", split_with_sizes)
copies["alias_copy"] = _copied("alias", lambda x: x)
