"""Tensors from nothing: filled, counted, triangular, and from Python and NumPy data."""

import struct
from collections.abc import Sequence
from itertools import chain
from math import ceil
from typing import Any

import numpy as np

from lucid import dtypes, storage
from lucid.apply import CPU, apply, wrap
from lucid.device import device
from lucid.dtypes import FLOATING, bool_, dtype, int64
from lucid.extent import plain, whole
from lucid.kernel import expr
from lucid.layout import layout, row_major
from lucid.op import Pointwise, find
from lucid.ops.cast import to_dtype
from lucid.tensor import Tensor
from lucid.tracing import any_program, program, tracing
from lucid.write import out as write_out


class full_(Pointwise):
    """Every element is the number x."""

    public = False

    def names(x, *, size, kind):
        pass

    def infer(types, params):
        return [(params[0], params[1])]

    def element(types, index, loads, size, kind):
        return expr.cast(loads[0](()), kind)

    def ref(x, size, kind):
        return np.full(size, x, kind.numpy)


class count_(Pointwise):
    """start + i * step, computed in float64 for floating types."""

    public = False

    def names(start, step, *, n, kind):
        pass

    def infer(types, params):
        return [((params[0],), params[1])]

    def element(types, index, loads, n, kind):
        work = dtypes.float64 if any(t[1].category == FLOATING for t in types) else int64
        start, step = (expr.cast(read(()), work) for read in loads)
        return expr.cast(start + expr.cast(index[0], work) * step, kind)

    def ref(start, step, n, kind):
        return (start + np.arange(n) * step).astype(kind.numpy)


class between_(Pointwise):
    """n numbers from start to end, `step` apart: each half counted from its own end."""

    public = False

    def names(start, end, step, *, n, kind):
        pass

    def infer(types, params):
        return [((params[0],), params[1])]

    def element(types, index, loads, n, kind):
        start, end, step = (expr.cast(read(()), dtypes.float64) for read in loads)
        left = expr.cast(expr.size(n) - 1 - index[0], dtypes.float64)
        low, high = start + expr.cast(index[0], dtypes.float64) * step, end - left * step
        return expr.cast(expr.where(index[0] < expr.quotient(expr.size(n), 2), low, high), kind)

    def ref(start, end, step, n, kind):
        return np.linspace(start, end, n).astype(kind.numpy)


class eye_(Pointwise):
    """Ones on the main diagonal."""

    public = False

    def names(*, n, m, kind):
        pass

    def infer(types, params):
        return [((params[0], params[1]), params[2])]

    def element(types, index, loads, n, m, kind):
        return expr.cast(index[0].eq(index[1]), kind)

    def ref(n, m, kind):
        return np.eye(n, m, dtype=kind.numpy)


class triangle(Pointwise):
    """x where column - row <= diagonal (lower) or >= diagonal, else 0."""

    public = False
    numbered = ()

    def names(x, *, diagonal, lower):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        if len(shape) < 2:
            raise RuntimeError(f"{'tril' if params[1] else 'triu'}: x must have 2 dimensions")
        return [(shape, kind)]

    def element(types, index, loads, diagonal, lower):
        x = loads[0](index)
        step = index[-1] - index[-2]
        at = expr.const(diagonal, int64)
        return expr.where((step <= at) if lower else (step >= at), x, expr.zero(x))

    def vjp_x(g, diagonal, lower):
        return triangle(g, diagonal, lower)

    def ref(x, diagonal, lower):
        return np.tril(x, diagonal) if lower else np.triu(x, diagonal)


def size_of(args: Sequence[Any]) -> tuple[int, ...]:
    """A shape given as zeros(2, 3), zeros((2, 3)) or zeros([2, 3])."""
    if len(args) == 1 and type(args[0]) is not int and not hasattr(args[0], "__index__"):
        args = args[0]
    size = tuple(args)
    for n in size:
        if type(n) is not int or n < 0:
            break
    else:
        return size
    size = tuple([whole(n) for n in size])
    for n in size:
        if n < 0:
            raise RuntimeError(f"size {size}: a dimension is negative")
    return size


def _place(where: Any) -> device:
    return CPU if where is None else device(where)


def _finish(y: Any, requires_grad: bool) -> Any:
    return y.requires_grad_() if requires_grad else y


def empty(*size, dtype: dtype | None = None, device=None, requires_grad: bool = False, **other):
    """A tensor of whatever is in memory.

    >>> import lucid
    >>> lucid.empty(2, 3).shape
    lucid.Size([2, 3])
    """
    if other:
        _memory_options("empty", other)
    kind = dtypes.of_type(dtype) or dtypes.get_default_dtype()
    if tracing() is not None:
        return full(size_of(size), 0, dtype=kind)
    lay = row_major(size_of(size), kind, CPU if device is None else _place(device))
    y = wrap(storage.allocate(lay.nbytes), lay)
    return y.requires_grad_() if requires_grad else y


def _memory_options(name: str, other: dict) -> None:
    """pin_memory, layout and memory_format are taken at their defaults only."""
    other.pop("pin_memory", None)  # all memory is the CPU's: nothing to pin
    if other.pop("layout", None) not in (None, "strided"):
        raise TypeError(f"{name}: only strided layout is supported")
    form = other.pop("memory_format", None)
    if form is not None and str(form) not in ("contiguous_format", "preserve_format"):
        raise TypeError(f"{name}: memory_format {form} is not supported")
    if other:
        raise TypeError(f"{name}() has no parameter {', '.join(map(repr, other))}")


def full(size, fill_value, *, dtype=None, device=None, requires_grad: bool = False, **other):
    """A tensor of one number, of the number's type unless dtype says otherwise.

    >>> import lucid
    >>> lucid.full((2, 2), 7)
    tensor([[7, 7],
            [7, 7]])
    """
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    kind = dtype or dtypes.of_scalar(fill_value)
    return _filled("full", fill_value, size_of((size,)), kind, device, requires_grad, other)


def _filled(
    name: str, x: Any, size: tuple[int, ...], kind: dtype, device: Any, grad: bool, other: dict
) -> Any:
    out = other.pop("out", None) if other else None
    if other:
        _memory_options(name, other)
    if device is not None:
        _place(device)
    if out is not None:
        made = apply(full_, (x,), (size, out.dtype))
        y = write_out(find("assign"), out, (made,), (), name)
    else:
        y = apply(full_, (x,), (size, kind))
    return y.requires_grad_() if grad else y


def zeros(*size, dtype=None, device=None, requires_grad: bool = False, **other):
    """A tensor of zeros.

    >>> import lucid
    >>> lucid.zeros(3)
    tensor([0., 0., 0.])
    """
    kind = dtype or dtypes.get_default_dtype()
    shape = size_of(other.pop("size") if "size" in other else size)
    return _filled("zeros", 0, shape, kind, device, requires_grad, other)


def ones(*size, dtype=None, device=None, requires_grad: bool = False, **other):
    """A tensor of ones.

    >>> import lucid
    >>> lucid.ones(2, dtype=lucid.int64)
    tensor([1, 1])
    """
    kind = dtype or dtypes.get_default_dtype()
    return _filled("ones", 1, size_of(size), kind, device, requires_grad, other)


def empty_like(x, *, dtype=None, device=None, requires_grad: bool = False, **other):
    """`empty` with the shape and dtype of x.

    >>> import lucid
    >>> lucid.empty_like(lucid.zeros(2, 3)).shape
    lucid.Size([2, 3])
    """
    return empty(
        x.shape, dtype=dtype or x.dtype, device=device, requires_grad=requires_grad, **other
    )


def full_like(x, fill_value, *, dtype=None, device=None, requires_grad: bool = False, **other):
    """`full` with the shape and dtype of x.

    >>> import lucid
    >>> lucid.full_like(lucid.zeros(2), 7.0)
    tensor([7., 7.])
    """
    lay = x._layout
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    kind = dtype or lay.dtype
    return _filled("full_like", fill_value, tuple(x.shape), kind, device, requires_grad, other)


def zeros_like(x, **options):
    """`zeros` with the shape and dtype of x.

    >>> import lucid
    >>> lucid.zeros_like(lucid.ones(2))
    tensor([0., 0.])
    """
    return full_like(x, 0, **options)


def ones_like(x, **options):
    """`ones` with the shape and dtype of x.

    >>> import lucid
    >>> lucid.ones_like(lucid.zeros(2))
    tensor([1., 1.])
    """
    return full_like(x, 1, **options)


def arange(start, end=None, step=1, *, dtype=None, device=None, requires_grad=False, **other):
    """start, start + step, ... below end; arange(end) starts at 0. Integers give int64.

    >>> import lucid
    >>> lucid.arange(1, 7, 2)
    tensor([1, 3, 5])
    """
    if other:
        _memory_options("arange", other)
    if device is not None:
        _place(device)
    if end is None:
        start, end = 0, start
    if _all_whole(start, end, step) and step and (end - start) * step >= 0:
        y = apply(count_, (start, step), (-((start - end) // step), dtype or int64))
        return y.requires_grad_() if requires_grad else y
    start, end, step = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))
    floating, dtype = any(isinstance(v, float) for v in (start, end, step)), dtypes.of_type(dtype)
    if floating and dtype is int64:  # cut off first, as PyTorch does
        start, end, step = (int(v) for v in (start, end, step))
    if step == 0:
        raise RuntimeError("arange: step must not be 0")
    if (end - start) * step < 0:
        raise RuntimeError(f"arange: from {start} to {end} by {step} goes the wrong way")
    n = ceil((end - start) / step)
    if floating and dtype is not None and dtype.category < FLOATING:
        start, step = int(start), int(step)
    kind = dtype or (dtypes.get_default_dtype() if floating else int64)
    return _finish(apply(count_, (start, step), (n, kind)), requires_grad)


def _all_whole(*numbers: Any) -> bool:
    if any_program():
        numbers = plain(numbers)
    return all([type(n) is int for n in numbers])


def linspace(start, end, steps, *, dtype=None, device=None, requires_grad=False, **other):
    """`steps` numbers evenly from start to end, both included. Of an integer dtype, the ends and
    the numbers are rounded towards zero.

    >>> import lucid
    >>> lucid.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    _memory_options("linspace", other)
    _place(device)
    if not hasattr(steps, "__index__") or steps < 0:
        raise RuntimeError(f"linspace: steps must be an int and not negative, got {steps!r}")
    kind = dtypes.of_type(dtype) or dtypes.get_default_dtype()
    start, end = whole_ends(start, end, kind)
    end = end if steps > 1 else start
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    numbers = between_(float(start), float(end), float(step), int(steps), kind)
    return _finish(numbers, requires_grad)


def whole_ends(start: Any, end: Any, kind: Any) -> tuple[Any, Any]:
    """The ends of a range as numbers, whole ones for an integer dtype."""
    start, end = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    return (int(start), int(end)) if kind.category < FLOATING else (start, end)


def eye(n: int, m: int | None = None, *, dtype=None, device=None, requires_grad=False):
    """The identity matrix, n by m.

    >>> import lucid
    >>> lucid.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    _place(device)
    for name, size in (("n", n), ("m", m)):
        if size is not None and size < 0:
            raise RuntimeError(f"eye: {name} must not be negative, got {size}")
    kind = dtype or dtypes.get_default_dtype()
    return _finish(eye_(n, n if m is None else m, kind), requires_grad)


def tril(x, diagonal: int = 0):
    """The lower triangle of the last two dimensions, zeros above `diagonal`.

    >>> import lucid
    >>> lucid.tril(lucid.ones(2, 2)).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return triangle(x, diagonal, True)


def triu(x, diagonal: int = 0):
    """The upper triangle of the last two dimensions, zeros below `diagonal`.

    >>> import lucid
    >>> lucid.triu(lucid.ones(2, 2), 1).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    return triangle(x, diagonal, False)


def from_numpy(array: np.ndarray):
    """A tensor over the array's own memory: writing to one writes to the other.

    Arrays that are read-only, or whose strides are no multiple of the item size, raise.

    >>> import lucid
    >>> import numpy as np
    >>> array = np.zeros(2)
    >>> x = lucid.from_numpy(array)
    >>> array[0] = 5  # the memory is shared
    >>> x
    tensor([5., 0.], dtype=lucid.float64)
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}")
    if not array.flags.writeable:
        raise ValueError("from_numpy: the array is read-only; pass array.copy()")
    kind = dtypes.from_numpy(array.dtype)
    if not array.dtype.isnative:
        raise TypeError(f"from_numpy: {array.dtype} is not in the machine's byte order")
    strides = []
    for s in array.strides:
        if s % kind.itemsize:
            raise ValueError(f"from_numpy: stride {s} is no multiple of {kind.itemsize} bytes")
        strides.append(s // kind.itemsize)
    low = sum((n - 1) * s for n, s in zip(array.shape, strides, strict=True) if s < 0)
    lay = layout(tuple(array.shape), tuple(strides), kind, CPU)
    span = (lay.span[1] - lay.span[0]) * kind.itemsize
    start = array.__array_interface__["data"][0] + low * kind.itemsize
    block = storage.Storage.from_buffer(array, start, span)
    return wrap(block, lay, -low)


def from_dlpack(source: Any):
    """A tensor over the memory of any object with `__dlpack__`: nothing is copied.

    >>> import lucid
    >>> import numpy as np
    >>> lucid.from_dlpack(np.arange(3))
    tensor([0, 1, 2])
    """
    return from_numpy(np.from_dlpack(source))


def tensor(data: Any, *, dtype=None, device=None, requires_grad: bool = False, pin_memory=False):
    """A new tensor from numbers, nested sequences, arrays or tensors: always a copy.

    >>> import lucid
    >>> lucid.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    if device is not None:
        _place(device)
    if isinstance(data, Tensor):
        y = to_dtype(data.detach().clone(), dtype or data._layout.dtype)
        return _finish(y, requires_grad)
    dtype = dtype if dtype is None else dtypes.of_type(dtype)
    y = _packed(data, dtype)
    if y is None:
        array = _array(data, dtype)
        lay = layout(array.shape, None, dtypes.from_numpy(array.dtype), CPU)
        block = storage.allocate(lay.nbytes)
        if lay.numel:
            block.as_numpy(lay.dtype, lay.shape, lay.strides)[...] = array
        y = wrap(block, lay)
    if (tracer := program()) is not None:
        y = tracer.constant(y)
    return y.requires_grad_() if requires_grad else y


# How `struct` writes the types that it knows.
_CODES = {
    dtypes.float32: "f", dtypes.float64: "d", dtypes.int64: "q", dtypes.int32: "i",
    dtypes.int16: "h", dtypes.int8: "b", dtypes.uint8: "B", bool_: "?",
}  # fmt: skip
_NUMBERS = frozenset((float, int, bool))
FEW = 4096  # numbers: NumPy is faster with more


def _packed(data: Any, kind: dtype | None) -> Any:
    """The tensor of a few plain numbers in at most two levels of lists: a fifth of the time that
    NumPy takes to look at them. None for all else, and for what does not fit the type."""
    shape: tuple[int, ...]
    if type(data) in _NUMBERS:
        shape, data = (), (data,)
    elif (type(data) is list or type(data) is tuple) and 0 < len(data) <= FEW:
        shape = (len(data),)
        first = type(data[0])
        if first is list or first is tuple:
            if set(map(type, data)) != {first} or len(set(map(len, data))) != 1:
                return None
            shape = (len(data), len(data[0]))
            data = tuple(chain.from_iterable(data))
            if not 0 < len(data) <= FEW:
                return None
    else:
        return None
    kinds = set(map(type, data))
    if not kinds <= _NUMBERS:
        return None
    floats = float in kinds
    if kind is None:
        kind = dtypes.get_default_dtype() if floats else int64 if int in kinds else bool_
    code = _CODES.get(kind)
    # Integers as floating numbers are rounded once, by NumPy.
    if code is None or (kind.category == FLOATING) is not floats:
        return None
    lay = row_major(shape, kind, CPU)
    block = storage.allocate(lay.nbytes)
    try:
        struct.pack_into(f"={len(data)}{code}", block, 0, *data)
    except (struct.error, OverflowError):
        return None
    return wrap(block, lay)


def _array(data: Any, kind: dtype | None) -> np.ndarray:
    """Nested data as an array of a supported type: floats become the default type."""
    if isinstance(data, (list, tuple)) and any(isinstance(x, Tensor) for x in _flat(data)):
        data = _unpacked(data)
    if isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
        return array if kind is None else array.astype(kind.numpy)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"tensor: the nested sequences differ in length: {error}") from None
    if array.dtype == object or array.dtype.kind in "USMm":
        raise TypeError(f"tensor: cannot make a tensor of {type(data).__name__} ({array.dtype})")
    if kind is None:
        numpy_kind = array.dtype.kind
        if array.size == 0 and not isinstance(data, (int, float, bool)) and numpy_kind == "f":
            kind = dtypes.get_default_dtype()
        else:
            floating = dtypes.get_default_dtype()
            found = {"b": bool_, "i": int64, "u": int64, "c": floating.to_complex()}
            kind = found.get(numpy_kind, floating)
    return array.astype(kind.numpy)


def _flat(data: Any):
    for x in data:
        if isinstance(x, (list, tuple)):
            yield from _flat(x)
        else:
            yield x


def _unpacked(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_unpacked(x) for x in data]
    return data.tolist() if isinstance(data, Tensor) else data


def as_tensor(data: Any, dtype=None, device=None):
    """`data` as a tensor; tensors and NumPy arrays of the right dtype are not copied.

    >>> import lucid
    >>> lucid.as_tensor([1, 2])
    tensor([1, 2])
    """
    _place(device)
    if isinstance(data, Tensor):
        return to_dtype(data, dtype or data._layout.dtype)
    if isinstance(data, np.ndarray) and data.flags.writeable and dtypes.known(data.dtype):
        return to_dtype(from_numpy(data), dtype or dtypes.from_numpy(data.dtype))
    return tensor(data, dtype=dtype)
