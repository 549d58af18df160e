"""Spellings of older programs: FloatTensor(...) and its siblings, x.new(...), resize_, range.

Also tensors with given strides, which PyTorch's own code makes in this way.
"""

from collections.abc import Sequence
from typing import Any

from lucid import dtypes, storage
from lucid.apply import CPU, wrap
from lucid.dtypes import dtype, get_default_dtype, set_default_dtype
from lucid.layout import layout, strides_in_order
from lucid.ops.cast import to_dtype
from lucid.ops.creation import arange, empty, full_like, size_of, tensor
from lucid.tensor import Tensor
from lucid.tracing import program
from lucid.write import touched


class Legacy(type):
    """The type of `FloatTensor` and its siblings: isinstance asks for the dtype."""

    kind: dtype

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if options.pop("device", None) not in (None, "cpu"):
            raise RuntimeError(f"{cls.__name__}: tensors of this type are on the CPU")
        if options:
            raise TypeError(f"{cls.__name__}() has no parameter {', '.join(map(repr, options))}")
        return made_of(args, cls.kind)

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Tensor) and x._layout.dtype is cls.kind

    def __repr__(cls) -> str:
        return f"<class 'lucid.{cls.__name__}'>"


def made_of(args: Sequence[Any], kind: dtype) -> Any:
    """Sizes make a tensor of whatever is in memory, data one of its elements."""
    if len(args) == 1 and not isinstance(args[0], int):
        data = args[0]
        if isinstance(data, Tensor):
            return to_dtype(data.detach(), kind).clone()
        if type(data).__name__ == "Size":
            return empty(data, dtype=kind)
        return tensor(data, dtype=kind)
    return empty(*(args or (0,)), dtype=kind)


NAMES = {
    "FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16,
    "BFloat16Tensor": dtypes.bfloat16, "ByteTensor": dtypes.uint8, "CharTensor": dtypes.int8,
    "ShortTensor": dtypes.int16, "IntTensor": dtypes.int32, "LongTensor": dtypes.int64,
    "BoolTensor": dtypes.bool_,
}  # fmt: skip


def _constructor(name: str, kind: dtype) -> str:
    """What a legacy constructor says of itself."""
    return f"""{name}(sizes) or {name}(data): a tensor of {kind.name}.

    >>> import lucid
    >>> lucid.{name}([1, 0]).dtype
    lucid.{kind.name}
    """


constructors: dict[str, Any] = {
    name: Legacy(
        name,
        (),
        {"kind": kind, "__doc__": _constructor(name, kind),
         "dtype": kind, "__module__": "lucid"},
    )
    for name, kind in NAMES.items()
}  # fmt: skip


def set_default_tensor_type(t: Any) -> None:
    """The default floating type, by the name or the class of a legacy tensor type.

    >>> import lucid
    >>> lucid.set_default_tensor_type("torch.FloatTensor")
    """
    if isinstance(t, str):
        name = t.rsplit(".", 1)[-1]
        if name not in NAMES or ".cuda." in t:
            raise ValueError(f"set_default_tensor_type: {t!r} is not a tensor type of the CPU")
        t = NAMES[name]
    set_default_dtype(getattr(t, "kind", t))


def new(self, *args: Any, device: Any = None):
    """A tensor of this one's dtype: new(2, 3) of sizes, new([1, 2]) of data.

    >>> import lucid
    >>> lucid.ones(2).new([3, 4])
    tensor([3., 4.])
    """
    if device not in (None, "cpu"):
        raise RuntimeError(f"new: tensors are on the CPU, not on {device}")
    return made_of(args, self.dtype)


def resize_(self, *sizes: Any, memory_format: Any = None):
    """In place: another shape over the same bytes; what is new holds whatever is in memory.

    >>> import lucid
    >>> lucid.arange(4).resize_(2, 2)
    tensor([[0, 1],
            [2, 3]])
    """
    if memory_format not in (None, "contiguous_format"):
        raise TypeError(f"resize_: memory_format {memory_format} is not supported")
    if self.requires_grad:
        raise RuntimeError("resize_: a tensor that requires a gradient cannot change its shape")
    shape = size_of(sizes)
    lay = layout(shape, None, self.dtype, CPU)
    size = self.dtype.itemsize
    if self._offset * size + lay.nbytes > self._storage.nbytes:
        if (tracer := program()) is not None:
            tracer.asked(self, "resize_")
        block = storage.allocate(self._offset * size + lay.nbytes)
        held = memoryview(self._storage).cast("B")
        memoryview(block).cast("B")[: len(held)] = held
        self._storage = block
        self._ptr = block.ptr + self._offset * size
    self._layout = lay
    touched("resize_", self)
    return self


def resize(self, *sizes: Any):
    """`reshape` to sizes of as many elements (a legacy method)."""
    return self.reshape(*sizes)


def resize_as_(self, the_template):
    """In place: the shape of another tensor."""
    return resize_(self, *the_template.shape)


def fill_diagonal_(self, fill_value, wrap: bool = False):
    """In place: a number on the main diagonal; of three and more dimensions, which must be equal,
    where all indices are equal. wrap: in a tall matrix it begins anew below a row that is left out.

    >>> import lucid
    >>> lucid.zeros(2, 3).fill_diagonal_(5)
    tensor([[5., 0., 0.],
            [0., 5., 0.]])
    """
    if self.ndim < 2:
        raise RuntimeError(f"fill_diagonal_: two dimensions are needed, got {self.ndim}")
    if self.ndim > 2 and len(set(self.shape)) > 1:
        raise RuntimeError(f"fill_diagonal_: sizes of {tuple(self.shape)} must be equal")
    if self.ndim > 2:
        self[(arange(self.shape[0]),) * self.ndim] = fill_value
        return self
    rows, columns = self.shape
    for start in range(0, rows, columns + 1) if wrap and columns else (0,):
        self[start:].diagonal().fill_(fill_value)
    return self


def fill(x, value):
    """A tensor like x that holds one number.

    >>> import lucid
    >>> lucid.fill(lucid.zeros(2), 3)
    tensor([3., 3.])
    """
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"fill: a number or 0-d tensor is needed, got {tuple(value.shape)}")
    if isinstance(value, Tensor) and value.requires_grad:
        return to_dtype(value, x.dtype).expand(x.shape).clone()
    return full_like(x, value.item() if isinstance(value, Tensor) else value)


def scalar_tensor(s, *, dtype=None, device=None, requires_grad: bool = False):
    """A 0-d tensor of the default floating type.

    >>> import lucid
    >>> lucid.scalar_tensor(3)
    tensor(3.)
    """
    return tensor(s, dtype=dtype or get_default_dtype(), requires_grad=requires_grad)


def range_(start, end=None, step=1, *, dtype=None, device=None, requires_grad: bool = False):
    """Numbers from start to end, the end included, in the default floating type.

    >>> import lucid
    >>> lucid.range(1, 3)
    tensor([1., 2., 3.])
    """
    if end is None:
        start, end = 0, start
    if step == 0 or (end - start) * step < 0:
        raise RuntimeError(f"range: no way from {start} to {end} in steps of {step}")
    count = int((end - start) / step) + 1
    kind = dtype or get_default_dtype()
    return to_dtype(arange(count, dtype=dtypes.float64) * step + start, kind).requires_grad_(
        requires_grad
    )


range_.__name__ = range_.__qualname__ = "range"


def empty_strided(size, stride, *, dtype=None, device=None, requires_grad: bool = False):
    """A tensor of whatever is in memory, with these strides.

    >>> import lucid
    >>> lucid.empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    if len(size) != len(stride):
        raise RuntimeError(f"empty_strided: {len(size)} sizes and {len(stride)} strides")
    if any(s < 0 for s in stride):
        raise RuntimeError(f"empty_strided: strides must not be negative, got {tuple(stride)}")
    kind = dtype or get_default_dtype()
    lay = layout(size_of(size), tuple(int(s) for s in stride), kind, CPU)
    y = wrap(storage.allocate(lay.span[1] * kind.itemsize), lay)
    return y.requires_grad_() if requires_grad else y


def empty_permuted(size, physical_layout, *, dtype=None, device=None, requires_grad: bool = False):
    """A dense tensor whose dimensions lie in memory in the given order, the slowest first.

    >>> import lucid
    >>> lucid.empty_permuted((2, 3), (1, 0)).stride()
    (1, 2)
    """
    if sorted(physical_layout) != list(range(len(size))):
        raise RuntimeError(f"empty_permuted: {physical_layout} is no order of the dimensions")
    strides = strides_in_order(size_of(size), physical_layout)
    return empty_strided(size, strides, dtype=dtype, requires_grad=requires_grad)


def new_empty_strided(self, size, stride, *, dtype=None, device=None, requires_grad=False):
    """`empty_strided` with this tensor's dtype."""
    return empty_strided(size, stride, dtype=dtype or self.dtype, requires_grad=requires_grad)
