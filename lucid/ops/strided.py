"""Views by explicit strides: `as_strided`.

Called by users, and by `as_strided_scatter` in parts.py; compiler/trace.py takes the view alone.
"""

from typing import Any

from lucid.apply import wrap
from lucid.autograd.mode import is_grad_enabled
from lucid.dtypes import int64
from lucid.kernel import expr
from lucid.layout import layout
from lucid.op import View
from lucid.ops.creation import arange, zeros
from lucid.ops.gather import put_zeros
from lucid.ops.view import expand, reshape


class strided(View):
    """A view by explicit strides of elements in one row; the first is at `first`."""

    public = False

    def shape(shape, *, size, steps, first):
        return size

    def strides(shape, strides, at, *, size, steps, first):
        return tuple(s * strides[0] for s in steps), at + first * strides[0]

    def pull(shape, index, *, size, steps, first):
        at = expr.size(first)
        for i, step in zip(index, steps, strict=True):
            at = at + i * expr.size(step)
        return [at]

    def vjp_x(g, x_meta, size, steps, first):
        return put_zeros(g, [strided_places(size, steps, first)], tuple(x_meta.shape), 0)


def strided_places(size: tuple[int, ...], steps: tuple[int, ...], first: int) -> Any:
    """The numbers of the elements of a view by strides, from `first` on, in its shape."""
    places = zeros((), dtype=int64) + first
    for d, (n, step) in enumerate(zip(size, steps, strict=True)):
        places = places + reshape(arange(n) * step, (n, *(1,) * (len(size) - d - 1)))
    return expand(places, size)


def as_strided(x, size: Any, stride: Any, storage_offset: int | None = None):
    """A view by explicit strides; every element must lie in x's storage, and in x itself where a
    gradient is recorded, for which x must be contiguous.

    >>> import lucid
    >>> lucid.as_strided(lucid.arange(4), (2, 2), (1, 1), 1)
    tensor([[1, 2],
            [2, 3]])
    """
    size, stride = tuple(size), tuple(stride)
    lay = layout(size, stride, x.dtype, x._layout.device)
    offset = x._offset if storage_offset is None else storage_offset
    first, last = lay.span
    if offset + first < 0 or (offset + last) * x.itemsize > x._storage.nbytes:
        raise RuntimeError(
            f"as_strided: size {size} and stride {stride} from {offset} reach "
            f"beyond the storage of {x._storage.nbytes} bytes"
        )
    if not (x.requires_grad and is_grad_enabled()):
        return wrap(x._storage, lay, offset)
    start = offset - x._offset
    if not x.is_contiguous() or start + first < 0 or start + last > x.numel():
        raise RuntimeError(
            f"as_strided: the gradient of size {size} and stride {stride} from {offset} needs a "
            f"contiguous tensor that has all of these elements, not one of shape {tuple(x.shape)} "
            f"and stride {x.stride()}; use detach(), or other views"
        )
    return strided.dispatch(strided, (reshape(x, (x.numel(),)),), (size, stride, start))
