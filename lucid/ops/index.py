"""Subscripts: `x[...]` and `x[...] = v`.

Basic subscripts are views; integer tensors gather and scatter (gather.py); a boolean tensor reads
through its places and stores by `where`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid import storage
from lucid.apply import wrap
from lucid.dtypes import BOOL, INTEGER, bool_, int64, uint8
from lucid.extent import has_extent
from lucid.extent import whole as whole_number
from lucid.kernel import expr
from lucid.kernel.loops import Axis, Scan, Store, state
from lucid.layout import broadcast_shapes, layout
from lucid.op import Opaque
from lucid.ops import once
from lucid.ops.cast import cast
from lucid.ops.creation import from_numpy, tensor, zeros
from lucid.ops.elementwise import assign, where
from lucid.ops.gather import put_into, take
from lucid.ops.view import expand, permute, reshape, subscript
from lucid.plan.nest import Nest, array_of, step
from lucid.tensor import Tensor
from lucid.tracing import compiling
from lucid.write import write


def get(x: Any, key: Any) -> Any:
    """x[key]: a view for ints, slices, None and ...; a copy for tensors of places or truth."""
    found = once.subscript(x, key)
    if found is not None:
        return found
    mark = _mark(x, key)
    if isinstance(key, Tensor) and x._layout.shape:
        lay = key._layout
        if lay.dtype.category == INTEGER and lay.dtype is not uint8 and lay.shape:
            return take(x, (key,), 0)
    key = key if isinstance(key, tuple) else (key,)
    if len(key) == 1 and _is_mask(key[0]) and tuple(_as_mask(key[0]).shape) == x.shape and x.ndim:
        return masked_select(x, _as_mask(key[0]))
    y, advanced = _basic(x, key, mark)
    if not advanced:
        return y
    y, places, first = _advanced(y, advanced)
    return take(y, places, first)


def _mark(x: Any, key: Any) -> tuple:
    """What a subscript of ints, slices, None and ... is kept under; () for others."""
    if type(key) is int:
        return (x._layout, key)
    mark = [x._layout]
    for k in key if type(key) is tuple else (key,):
        if type(k) is slice:
            bounds = k.start, k.stop, k.step
            for bound in bounds:
                if bound is not None and type(bound) is not int:
                    return ()
            mark += slice, *bounds
        elif type(k) is int or k is None or k is Ellipsis:
            mark.append(k)
        else:
            return ()
    return tuple(mark)


def put_item(x: Any, key: Any, value: Any) -> None:
    """x[key] = value, in place."""
    kind = type(value)
    if kind is float or kind is int or kind is bool or _is_plain(value, x):
        y = once.alias(x, key)
        if y is not None:
            write(assign, y, (value,), name="__setitem__")
            return
    mark = _mark(x, key)
    key = key if isinstance(key, tuple) else (key,)
    if not isinstance(value, Tensor):
        value = value if isinstance(value, (int, float, bool)) else tensor(value, dtype=x.dtype)
    elif value.dtype is not x.dtype:
        value = cast(value, x.dtype)
    if len(key) == 1 and _is_mask(key[0]):
        mask = _as_mask(key[0])
        _check_mask(mask, x.shape)
        if not isinstance(value, Tensor) or value.numel() == 1:
            shape = tuple(mask.shape) + (1,) * (x.ndim - mask.ndim)
            value = value.reshape(()) if isinstance(value, Tensor) else value
            write(where, x, (reshape(mask, shape), value, x), name="__setitem__")
            return
    y, advanced = _basic(x, key, mark)
    if not advanced:
        write(assign, y, (_drop_lead(value, y.ndim),), name="__setitem__")
        return
    y, places, first = _advanced(y, advanced)
    if not isinstance(value, Tensor):
        value = tensor(value, dtype=x.dtype)
    put_into("__setitem__", y, _spread(value, y, places, first), places, first, False)


def _is_plain(value: Any, x: Any) -> bool:
    """A tensor that is written as it is, and needs no gradient."""
    if not isinstance(value, Tensor):
        return False
    lay = value._layout
    return value._requires_grad is False and lay.dtype is x._layout.dtype and len(lay.shape) <= 1


def _spread(value: Any, y: Any, places: Sequence[Any], first: int) -> Any:
    """The value broadcast to what the places address."""
    middle = broadcast_shapes("index", *(tuple(p.shape) for p in places))
    shape = (*y.shape[:first], *middle, *y.shape[first + len(places) :])
    value = _drop_lead(value, len(shape))
    if tuple(value.shape) != shape:
        broadcast_shapes("index assignment", tuple(value.shape), shape)
        value = expand(value, shape)
    return value


def _drop_lead(value: Any, rank: int) -> Any:
    """Without leading dimensions of size 1 that the target has not."""
    if isinstance(value, Tensor):
        extra = len(value.shape) - rank
        if extra > 0 and all(n == 1 for n in value.shape[:extra]):
            return reshape(value, tuple(value.shape[extra:]))
    return value


def _check_mask(mask: Any, shape: Sequence[int], dim: int = 0) -> None:
    """A mask has the sizes of the dimensions that it stands for."""
    if tuple(mask.shape) != tuple(shape[dim : dim + mask.ndim]):
        raise IndexError(
            f"a mask of shape {tuple(mask.shape)} does not fit dimension {dim} of a tensor of "
            f"shape {tuple(shape)}"
        )


def _is_mask(k: Any) -> bool:
    if isinstance(k, (bool, np.bool_)):
        return True
    if isinstance(k, Tensor):
        return k._layout.dtype is bool_
    if isinstance(k, np.ndarray):
        return k.dtype == np.bool_
    return isinstance(k, list) and bool(k) and all(isinstance(i, bool) for i in k)


def _is_places(k: Any) -> bool:
    if isinstance(k, Tensor):  # the value of a 0-d tensor is asked for, where there is one
        return bool(k.ndim) or k._value is not None
    return isinstance(k, (list, tuple, np.ndarray, range))


def _as_mask(k: Any) -> Any:
    return k if isinstance(k, Tensor) else tensor(k, dtype=bool_)


def _basic(x: Any, key: tuple, mark: tuple) -> tuple[Any, list[tuple[int, Any]]]:
    """Apply ints, slices, None and `...`; returns the view and (dimension, index tensor) pairs.
    A single view is kept under `mark`."""
    used = sum(
        _as_mask(k).ndim if _is_mask(k) else k is not None and k is not Ellipsis for k in key
    )
    if used > x.ndim:
        raise IndexError(f"too many indices: {used} for a tensor of {x.ndim} dimensions")
    if sum(k is Ellipsis for k in key) > 1:
        raise IndexError("an index can have one ellipsis only")
    starts, steps, lengths, drop = [], [], [], []
    shape: list[int | None] = []  # of the view: None takes the next kept dimension
    advanced: list[tuple[int, Any]] = []
    dim = 0

    def whole(count: int) -> None:
        nonlocal dim
        for _ in range(count):
            starts.append(0)
            steps.append(1)
            lengths.append(x.shape[dim])
            shape.append(None)
            dim += 1

    for k in key:
        if k is None:
            shape.append(1)
        elif k is Ellipsis:
            whole(x.ndim - used)
        elif isinstance(k, slice):
            start, step_, length = _bounds(k, x.shape[dim])
            starts.append(start)
            steps.append(step_)
            lengths.append(length)
            shape.append(None)
            dim += 1
        elif _is_mask(k):
            mask = _as_mask(k)
            _check_mask(mask, x.shape, dim)
            if mask.ndim == 0:  # a new dimension of size 1 or 0
                advanced.append((len(shape), tensor([0] if mask.item() else [], dtype=int64)))
                shape.append(1)
            for place in nonzero(mask, as_tuple=True) if mask.ndim else ():
                advanced.append((len(shape), place))
                whole(1)
        elif _is_places(k):
            place = k if isinstance(k, Tensor) else _places(k)
            if place.dtype is uint8:
                raise IndexError(
                    "index: uint8 could be a mask or places; convert it with bool() or long()"
                )
            advanced.append((len(shape), place))
            whole(1)
        elif hasattr(k, "__index__"):
            at, n = whole_number(k), x.shape[dim]
            if not -n <= at < n:
                raise IndexError(f"index {at} is out of range for dimension {dim} of size {n}")
            starts.append(at % n)
            steps.append(1)
            lengths.append(1)
            drop.append(dim)
            dim += 1
        else:
            raise TypeError(
                f"a tensor cannot be indexed by {type(k).__name__}; use ints, slices, None, ..., "
                "or tensors and lists of ints or bools"
            )
    whole(x.ndim - dim)
    y = x
    if drop or lengths != list(x.shape) or any(s != 1 for s in steps):
        params = (tuple(starts), tuple(steps), tuple(lengths), tuple(drop))
        y = subscript(x, *params)
        if mark and 1 not in shape and x._value is None:
            once.keep(mark, subscript, x, params)
    elif 1 not in shape and not advanced:
        y = reshape(x, tuple(x.shape))
    if 1 in shape:
        sizes = iter(y.shape)
        y = reshape(y, tuple(next(sizes) if n is None else n for n in shape))
    return y, advanced


def _bounds(k: slice, n: Any) -> tuple[Any, Any, Any]:
    """The first index, the step and the length of a slice of n elements."""
    if not has_extent((k.start, k.stop, k.step, n)):
        start, stop, step_ = k.indices(n)
        return start, step_, len(range(start, stop, step_))
    step_ = 1 if k.step is None else k.step.__index__()
    if step_ < 1:
        ends = [b if b is None else b.__index__() for b in (k.start, k.stop)]
        return _bounds(slice(ends[0], ends[1], step_), n.__index__())
    start, stop = (
        usual if b is None else _clamped(whole_number(b), n)
        for b, usual in ((k.start, 0), (k.stop, n))
    )
    return start, step_, -((start - stop) // step_) if stop > start else 0


def _clamped(at: Any, n: Any) -> Any:
    at = at + n if at < 0 else at
    return 0 if at < 0 else n if at > n else at


def _places(k: Any) -> Any:
    if isinstance(k, range):
        k = list(k)
    if isinstance(k, np.ndarray) and k.dtype.kind not in "iu":
        raise IndexError(f"index: an index array must be of an integer type, got {k.dtype}")
    if isinstance(k, np.ndarray):
        return from_numpy(np.ascontiguousarray(k.astype(np.int64)))
    return tensor(k, dtype=int64)


def _advanced(y: Any, advanced: list[tuple[int, Any]]) -> tuple[Any, list[Any], int]:
    """Bring the indexed dimensions together; apart, their result comes first, as in NumPy."""
    dims = [d for d, _ in advanced]
    places = [p for _, p in advanced]
    if dims == list(range(dims[0], dims[0] + len(dims))):
        return y, places, dims[0]
    rest = [d for d in range(y.ndim) if d not in dims]
    return permute(y, (*dims, *rest)), places, 0


class fill_places(Opaque):
    """The places of non-zero elements, row-major: column d of y is the index in dimension d."""

    public = False

    def names(x, *, count):
        pass

    def infer(types, params):
        return [((params[0], len(types[0][0])), int64)]

    def lower(context, inputs, params, outputs):
        x, y = inputs[0], outputs[0]
        axes = [f"i{d}" for d in range(len(x.shape))]
        at = [expr.index(a) for a in axes]
        value = expr.load("x0", at, x.dtype)
        hit = value if x.dtype.category == BOOL else expr.cast(value, x.dtype.compute).ne(0)
        found = state(0, 0, int64)
        stores = tuple(Store("y0", (found, expr.const(d, int64)), i, hit) for d, i in enumerate(at))
        moved = found + expr.where(hit, expr.const(1, int64), expr.ZERO)
        scan = Scan(0, tuple(Axis(a, expr.ZERO) for a in axes), (expr.ZERO,), (moved,), stores)
        arrays = {"y0": array_of("y0", y, "out"), "x0": array_of("x0", x, "in")}
        nest = Nest("nonzero", arrays, dict(zip(axes, x.shape, strict=True)), [], axes, [scan], [])
        return [step(nest, "none", {"y0": y, "x0": x})]


def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """The places of the non-zero elements: (count, ndim) int64, or one tensor per dimension.

    >>> import lucid
    >>> lucid.nonzero(lucid.tensor([0, 3, 0, 4]))
    tensor([[1],
            [3]])
    """
    if (tracer := compiling()) is not None:
        tracer.refuse("nonzero", "use where with a mask, whose result has the size of the mask")
    if x._value is not None:
        raise RuntimeError(
            "nonzero: its size depends on values, which a traced function (or one under vmap) "
            "does not know; use where with a mask"
        )
    truth = where(x != 0, 1, 0)
    count = int(truth.sum().item())
    if count == 0 or x.ndim == 0:
        lay = layout((count, x.ndim), None, int64, x._layout.device)
        y = wrap(storage.allocate(lay.nbytes), lay)
    elif x.numel() == 1:  # no loop over elements would carry how many were found
        y = zeros(1, x.ndim, dtype=int64)
    else:
        y = fill_places(x, count)
    if not as_tuple:
        return y
    # A scalar counts as a vector of one element here.
    return tuple(y[:, d] for d in range(x.ndim)) if x.ndim else (zeros(count, dtype=int64),)


def masked_select(x: Any, mask: Any) -> Any:
    """The elements of x where the mask holds, as a vector. Mask and x broadcast.

    >>> import lucid
    >>> x = lucid.arange(4)
    >>> lucid.masked_select(x, x > 1)
    tensor([2, 3])
    """
    if mask.dtype is not bool_:
        raise TypeError(f"masked_select: the mask must be bool, got {mask.dtype!r}")
    if tuple(mask.shape) != tuple(x.shape):
        shape = broadcast_shapes("masked_select", tuple(x.shape), tuple(mask.shape))
        x, mask = expand(x, shape), expand(mask, shape)
    if x.ndim == 0:
        x, mask = reshape(x, (1,)), reshape(mask, (1,))
    return take(x, nonzero(mask, as_tuple=True), 0)
