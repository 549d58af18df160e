"""Shapes: functions and methods made of views, and the joins that need a copy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid.apply import contiguous as row_major
from lucid.apply import wrap
from lucid.dtypes import INTEGER, dtype
from lucid.extent import plain, whole
from lucid.layout import layout
from lucid.op import normal_dim, normal_dims
from lucid.ops.creation import size_of, tensor
from lucid.ops.elementwise import clone as copied
from lucid.ops.elementwise import contiguous_copy
from lucid.ops.gather import take
from lucid.ops.once import one_view
from lucid.ops.view import diagonal as _diagonal
from lucid.ops.view import diagonal_back, subscript
from lucid.ops.view import expand as _expand
from lucid.ops.view import flip as _flip
from lucid.ops.view import permute as _permute
from lucid.ops.view import reshape as _reshape
from lucid.ops.view import unfold as _unfold
from lucid.tensor import Tensor


def _sizes(name: str, x: Any, args: Sequence[Any]) -> tuple[int, ...]:
    """A shape with at most one -1, filled in; its element count must be x's."""
    size = list(args[0]) if len(args) == 1 and not hasattr(args[0], "__index__") else list(args)
    for n in size:
        if not hasattr(n, "__index__"):
            raise TypeError(f"{name}: sizes must be ints, got {type(n).__name__}")
    size = [whole(n) for n in size]
    total = x.numel()
    if -1 in size:
        known = 1
        for n in size:
            known *= n if n != -1 else 1
        if size.count(-1) > 1 or known == 0 or total % known:
            raise RuntimeError(f"{name}: shape {size} is invalid for {total} elements")
        size[size.index(-1)] = total // known
    count = 1
    for n in size:
        count *= n
    if count != total or any(n < 0 for n in size):
        raise RuntimeError(
            f"{name}: shape {size} has {count} elements, the tensor of shape "
            f"{tuple(x.shape)} has {total}"
        )
    return tuple(size)


@one_view
def reshape(x, *shape):
    """The elements in row-major order in another shape; a view where strides allow.

    >>> import lucid
    >>> lucid.arange(6).reshape(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    return _reshape, (_sizes("reshape", x, shape),)


@one_view
def view(x, *shape):
    """`reshape` that never copies: raises where strides do not allow a view. view(dtype) shows
    the bytes as another type of the same size."""
    if len(shape) == 1 and isinstance(shape[0], dtype):
        return _view_as_type(x, shape[0])
    size = _sizes("view", x, shape)
    if (
        x._value is None
        and _reshape.strides(x._layout.shape, x._layout.strides, 0, size=plain(size)) is None
    ):
        raise RuntimeError(
            f"view: a tensor of shape {tuple(x.shape)} and strides {x.stride()} has no view of "
            f"shape {size} without a copy; use reshape()"
        )
    return _reshape, (size,)


def _view_as_type(x: Any, kind: dtype) -> Any:
    lay = x._layout
    if kind.itemsize != lay.dtype.itemsize:
        raise RuntimeError(f"view: {lay.dtype!r} and {kind!r} differ in size")
    return wrap(x._storage, layout(lay.shape, lay.strides, kind, lay.device), x._offset)


def view_as(x, other):
    """x.view(other.shape).

    >>> import lucid
    >>> lucid.arange(4).view_as(lucid.zeros(2, 2))
    tensor([[0, 1],
            [2, 3]])
    """
    return view(x, other.shape)


def reshape_as(x, other):
    """x.reshape(other.shape)."""
    return reshape(x, other.shape)


@one_view
def flatten(x, start_dim: int = 0, end_dim: int = -1):
    """Dimensions start_dim to end_dim as one.

    >>> import lucid
    >>> lucid.zeros(2, 3, 4).flatten(1).shape
    lucid.Size([2, 12])
    """
    if not x.shape:
        return _reshape, ((1,),)
    a, b = (normal_dim("flatten", d, x.ndim) for d in (start_dim, end_dim))
    if a > b:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    if a == b:
        return x
    n = 1
    for d in range(a, b + 1):
        n *= x.shape[d]
    return _reshape, ((*x.shape[:a], n, *x.shape[b + 1 :]),)


def unflatten(x, dim: int, sizes):
    """Dimension `dim` as several.

    >>> import lucid
    >>> lucid.arange(6).unflatten(0, (2, -1))
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    d = normal_dim("unflatten", dim, x.ndim)
    return reshape(x, (*x.shape[:d], *_fill(x.shape[d], sizes), *x.shape[d + 1 :]))


def _fill(n: int, sizes: Sequence[int]) -> list[int]:
    known = 1
    for s in sizes:
        known *= s if s != -1 else 1
    return [n // known if s == -1 else s for s in sizes]


@one_view
def ravel(x):
    """x as a vector.

    >>> import lucid
    >>> lucid.tensor([[1, 2], [3, 4]]).ravel()
    tensor([1, 2, 3, 4])
    """
    return _reshape, ((x.numel(),),)


@one_view
def squeeze(x, dim=None):
    """Without the dimensions of size 1, or without those of `dim` that have size 1.

    >>> import lucid
    >>> lucid.zeros(1, 2, 1).squeeze().shape
    lucid.Size([2])
    """
    dims = normal_dims("squeeze", dim, x.ndim)
    return _reshape, (tuple(n for d, n in enumerate(x.shape) if n != 1 or d not in dims),)


@one_view
def unsqueeze(x, dim: int):
    """With a new dimension of size 1 at `dim`.

    >>> import lucid
    >>> lucid.zeros(2).unsqueeze(1).shape
    lucid.Size([2, 1])
    """
    d = normal_dim("unsqueeze", dim, x.ndim + 1)
    return _reshape, ((*x.shape[:d], 1, *x.shape[d:]),)


@one_view
def permute(x, *dims):
    """Dimension d of the result is dimension dims[d] of x.

    >>> import lucid
    >>> lucid.permute(lucid.zeros(2, 3, 4), (2, 0, 1)).shape
    lucid.Size([4, 2, 3])
    """
    order = dims[0] if len(dims) == 1 and not hasattr(dims[0], "__index__") else dims
    places = tuple(normal_dim("permute", d, x.ndim) for d in order)
    if sorted(places) != list(range(x.ndim)):
        raise RuntimeError(f"permute: {tuple(order)} does not order {x.ndim} dimensions")
    return _permute, (places,)


@one_view
def transpose(x, dim0: int, dim1: int):
    """Two dimensions swapped.

    >>> import lucid
    >>> lucid.zeros(2, 3, 4).transpose(0, 2).shape
    lucid.Size([4, 3, 2])
    """
    a, b = normal_dim("transpose", dim0, x.ndim), normal_dim("transpose", dim1, x.ndim)
    order = list(range(x.ndim))
    if x.ndim:
        order[a], order[b] = b, a
    return _permute, (tuple(order),)


@one_view
def t(x):
    """A matrix transposed; vectors and scalars as they are.

    >>> import lucid
    >>> lucid.tensor([[1, 2], [3, 4]]).t()
    tensor([[1, 3],
            [2, 4]])
    """
    if x.ndim > 2:
        raise RuntimeError(f"t: at most 2 dimensions, got {x.ndim}; use transpose or mT")
    return _permute, (tuple(reversed(range(x.ndim))),)


@one_view
def reversed_(x):
    """The dimensions in reverse order."""
    return _permute, (tuple(reversed(range(x.ndim))),)


@one_view
def movedim(x, source, destination):
    """Dimensions moved to other places, the others in order.

    >>> import lucid
    >>> lucid.zeros(2, 3, 4).movedim(0, -1).shape
    lucid.Size([3, 4, 2])
    """
    source = [source] if hasattr(source, "__index__") else list(source)
    destination = [destination] if hasattr(destination, "__index__") else list(destination)
    a = [normal_dim("movedim", d, x.ndim) for d in source]
    b = [normal_dim("movedim", d, x.ndim) for d in destination]
    if len(set(a)) < len(a) or len(set(b)) < len(b) or len(a) != len(b):
        raise RuntimeError(
            f"movedim: {tuple(source)} to {tuple(destination)}: dimensions must differ, as many "
            "in both"
        )
    order: list[int | None] = [None] * x.ndim
    for s, d in zip(a, b, strict=True):
        order[d] = s
    rest = iter(d for d in range(x.ndim) if d not in a)
    return _permute, (tuple(next(rest) if d is None else d for d in order),)


@one_view
def expand(x, *size):
    """x with dimensions of size 1 repeated, without a copy; -1 keeps a size.

    >>> import lucid
    >>> lucid.tensor([[1], [2]]).expand(2, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    wanted = list(size_or(size))
    lead = len(wanted) - x.ndim
    if lead < 0:
        raise RuntimeError(f"expand: {wanted} has fewer dimensions than {tuple(x.shape)}")
    for d, n in enumerate(x.shape, start=lead):
        if wanted[d] == -1:
            wanted[d] = n
        elif n not in (1, wanted[d]):
            raise RuntimeError(
                f"expand: dimension {d} has size {n} and cannot become {wanted[d]}; only sizes "
                "of 1 expand"
            )
    if any(n < 0 for n in wanted):
        raise RuntimeError(f"expand: a new dimension cannot be -1 in {wanted}")
    return _expand, (tuple(wanted),)


def size_or(args: Sequence[Any]) -> tuple[int, ...]:
    """A shape in which -1 may stand."""
    if len(args) == 1 and not hasattr(args[0], "__index__"):
        args = args[0]
    return tuple([whole(n) for n in args])


def expand_as(x, other):
    """x.expand(other.shape)."""
    return expand(x, other.shape)


def broadcast_to(x, size):
    """x expanded to the given shape.

    >>> import lucid
    >>> lucid.broadcast_to(lucid.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return expand(x, size)


def repeat(x, *repeats):
    """x tiled: repeats[d] times along dimension d, new dimensions in front.

    >>> import lucid
    >>> lucid.tensor([1, 2]).repeat(2)
    tensor([1, 2, 1, 2])
    """
    times = size_of(repeats)
    lead = len(times) - x.ndim
    if lead < 0:
        raise RuntimeError(f"repeat: {times} has fewer numbers than {x.ndim} dimensions")
    shape = (1,) * lead + tuple(x.shape)
    paired = _reshape(x, tuple(n for s in shape for n in (1, s)))
    wide = _expand(paired, tuple(n for r, s in zip(times, shape, strict=True) for n in (r, s)))
    return _reshape(wide, tuple(r * s for r, s in zip(times, shape, strict=True)))


def tile(x, *dims):
    """`repeat` that accepts fewer numbers than dimensions.

    >>> import lucid
    >>> lucid.tile(lucid.tensor([[1], [2]]), 2)
    tensor([[1, 1],
            [2, 2]])
    """
    times = size_of(dims)
    return repeat(x, (1,) * (x.ndim - len(times)) + times)


def repeat_interleave(x, repeats=None, dim: int | None = None, *, output_size: int | None = None):
    """Each element repeated, along `dim` or flattened; `output_size`, where it is given, has to be
    the size that this makes. Of counts alone: each place as often as its count says.

    >>> import lucid
    >>> lucid.repeat_interleave(lucid.tensor([1, 2]), lucid.tensor([2, 1]))
    tensor([1, 1, 2])
    """
    if repeats is None:
        return repeat_interleave(tensor(np.arange(x.shape[0])), x, 0, output_size=output_size)
    if dim is None:
        x, dim = ravel(x), 0
    d = normal_dim("repeat_interleave", dim, x.ndim)
    n = x.shape[d] if x.ndim else 1
    counts = repeats.tolist() if isinstance(repeats, Tensor) else repeats
    counts = counts if isinstance(counts, list) else [counts]
    counts = counts * n if len(counts) == 1 else counts
    if len(counts) != n or any(count < 0 for count in counts):
        raise RuntimeError(
            f"repeat_interleave: dimension {d} of size {n} needs one count or {n}, none negative; "
            f"got {counts}"
        )
    if output_size not in (None, sum(counts)):
        raise RuntimeError(f"repeat_interleave: output_size {output_size}, needed: {sum(counts)}")
    places = np.repeat(np.arange(n), counts)
    return take(x if x.ndim else x.reshape(1), [tensor(places)], d)


def narrow(x, dim: int, start: int, length: int):
    """x[start : start + length] along dim.

    >>> import lucid
    >>> lucid.narrow(lucid.arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """
    d = normal_dim("narrow", dim, x.ndim)
    n = x.shape[d]
    if isinstance(start, Tensor):
        if start.ndim or start.dtype.category != INTEGER:
            raise RuntimeError(
                f"narrow: a start that is a tensor must be one integer of shape (), got "
                f"{start.dtype!r} {tuple(start.shape)}"
            )
        start = start.item()
    start = start + n if start < 0 else start
    if not 0 <= start <= n or length < 0 or start + length > n:
        raise RuntimeError(
            f"narrow: from {start}, {length} elements, do not lie in dimension {d} of size {n}"
        )
    return _cut(x, d, start, length)


def _cut(x: Any, d: int, start: int, length: int) -> Any:
    n = x.ndim
    starts = tuple(start if i == d else 0 for i in range(n))
    lengths = tuple(length if i == d else x.shape[i] for i in range(n))
    return subscript(x, starts, (1,) * n, lengths, ())


def select(x, dim: int, index: int):
    """x at one index of a dimension, which vanishes.

    >>> import lucid
    >>> lucid.tensor([[1, 2], [3, 4]]).select(1, 0)
    tensor([1, 3])
    """
    d = normal_dim("select", dim, x.ndim)
    if x.ndim == 0:
        raise IndexError("select: a tensor of 0 dimensions has none to select from")
    n = x.shape[d]
    if not -n <= index < n:
        raise IndexError(f"select: index {index} is out of range for dimension {d} of size {n}")
    starts = tuple(index % n if i == d else 0 for i in range(x.ndim))
    lengths = tuple(1 if i == d else m for i, m in enumerate(x.shape))
    return subscript(x, starts, (1,) * x.ndim, lengths, (d,))


def split(x, split_size_or_sections, dim: int = 0):
    """Views of consecutive parts: of one size (the last may be smaller), or of given sizes.

    >>> import lucid
    >>> [part.tolist() for part in lucid.split(lucid.arange(5), [2, 3])]
    [[0, 1], [2, 3, 4]]
    """
    d = normal_dim("split", dim, x.ndim)
    n = x.shape[d]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size <= 0:
            raise RuntimeError(f"split: a size of {size}; it must be positive")
        sizes = [min(size, n - a) for a in range(0, n, size)] or [0]
    else:
        sizes = list(split_size_or_sections)
        if sum(sizes) != n:
            raise RuntimeError(f"split: sizes {sizes} do not add up to {n} (dimension {d})")
    parts, at = [], 0
    for size in sizes:
        parts.append(_cut(x, d, at, size))
        at += size
    return tuple(parts)


def chunk(x, chunks: int, dim: int = 0):
    """At most `chunks` parts of equal size, the last may be smaller.

    >>> import lucid
    >>> [part.tolist() for part in lucid.chunk(lucid.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    if chunks < 1:
        raise RuntimeError(f"chunk: {chunks} chunks; at least 1")
    d = normal_dim("chunk", dim, x.ndim)
    return split(x, max(-(-x.shape[d] // chunks), 1), d)


def tensor_split(x, indices_or_sections, dim: int = 0):
    """Parts that differ in size by at most one, or cut at given indices.

    >>> import lucid
    >>> [part.tolist() for part in lucid.tensor_split(lucid.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    d = normal_dim("tensor_split", dim, x.ndim)
    if x.ndim == 0:
        raise RuntimeError("tensor_split: a tensor of at least one dimension is needed")
    n = x.shape[d]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        sizes = [n // k + (1 if i < n % k else 0) for i in range(k)]
    else:
        cuts = [0, *(min(c if c >= 0 else c + n, n) for c in indices_or_sections), n]
        sizes = [max(b - a, 0) for a, b in zip(cuts, cuts[1:], strict=False)]
    return split(x, sizes, d)


def unbind(x, dim: int = 0):
    """The slices along a dimension, which vanishes from them.

    >>> import lucid
    >>> lucid.unbind(lucid.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """
    d = normal_dim("unbind", dim, x.ndim)
    return tuple(select(x, d, i) for i in range(x.shape[d]))


def flip(x, *args, dims=()):
    """A copy with the order of those dimensions reversed: flip(x, 0, 1) or flip(x, dims=(0, 1)).

    >>> import lucid
    >>> lucid.flip(lucid.arange(3), 0)
    tensor([2, 1, 0])
    """
    order = args[0] if len(args) == 1 and not hasattr(args[0], "__index__") else args or dims
    return _flip(x, normal_dims("flip", order, x.ndim)).clone(memory_format="contiguous_format")


def diagonal(x, offset: int = 0, dim1: int = 0, dim2: int = 1):
    """The diagonal of two dimensions as a view, in a last dimension.

    >>> import lucid
    >>> lucid.diagonal(lucid.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    a, b = normal_dim("diagonal", dim1, x.ndim), normal_dim("diagonal", dim2, x.ndim)
    if a == b:
        raise RuntimeError(f"diagonal: dim1 and dim2 are both {a}")
    return _diagonal(x, offset, a, b)


def diag(x, diagonal: int = 0):
    """A vector as a diagonal matrix, or the diagonal of a matrix.

    >>> import lucid
    >>> lucid.diag(lucid.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    if x.ndim == 1:
        n = x.shape[0] + abs(diagonal)
        return diagonal_back(x, (n, n), diagonal, 0, 1)
    if x.ndim != 2:
        raise RuntimeError(f"diag: 1 or 2 dimensions expected, got shape {tuple(x.shape)}")
    return _diagonal(x, diagonal, 0, 1).clone()


def trace(x):
    """The sum of a matrix's diagonal.

    >>> import lucid
    >>> lucid.trace(lucid.tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    if x.ndim != 2:
        raise RuntimeError(f"trace: a matrix is needed, got shape {tuple(x.shape)}")
    return _diagonal(x, 0, 0, 1).sum()


def unfold(x, dimension: int, size: int, step: int):
    """Windows of `size` elements, `step` apart, along a dimension, in a new last one (a view).

    >>> import lucid
    >>> lucid.arange(4).unfold(0, 2, 1)
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """
    d = normal_dim("unfold", dimension, x.ndim)
    if x.ndim == 0:
        return narrow(unfold(x.reshape(1), 0, 1, step).reshape(1), 0, 0, size)
    if size > x.shape[d]:
        raise RuntimeError(f"unfold: a window of {size} in dimension {d} of size {x.shape[d]}")
    if step < 1:
        raise RuntimeError(f"unfold: step {step}; it must be positive")
    return _unfold(x, d, size, step)


def contiguous(x, memory_format=None):
    """x itself if it is row-major, else a copy that is.

    >>> import lucid
    >>> lucid.zeros(2, 3).t().contiguous().stride()
    (2, 1)
    """
    form = str(memory_format) if memory_format is not None else "contiguous_format"
    if form.endswith("channels_last"):
        return channels_last(x)
    return x if x._value is not None else row_major(x)


def channels_last(x: Any) -> Any:
    """A 4-d tensor with the channels fastest in memory."""
    if x.ndim != 4:
        raise RuntimeError(f"channels_last: 4 dimensions are needed, got {x.ndim}")
    return _permute(row_major(_permute(x, (0, 2, 3, 1))), (0, 3, 1, 2))


def clone(x, *, memory_format=None):
    """The same values in new memory; dense tensors keep their dimension order.

    >>> import lucid
    >>> x = lucid.zeros(2)
    >>> x.clone().add_(1), x
    (tensor([1., 1.]), tensor([0., 0.]))
    """
    form = None if memory_format is None else str(memory_format)
    if form is not None and form.endswith("channels_last"):
        return _permute(contiguous_copy(_permute(x, (0, 2, 3, 1))), (0, 3, 1, 2))
    if form is not None and form.endswith("contiguous_format"):
        return contiguous_copy(x)
    return copied(x)
