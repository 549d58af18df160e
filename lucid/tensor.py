"""`Tensor`: fields from array.py, and the methods that are not ops.

Ops become methods in ops/methods.py. Everything that computes goes through apply.py.
"""

import copy
from typing import Any

import numpy as np

from lucid import apply as funnel
from lucid import storage
from lucid.apply import current_node, wrap
from lucid.array import Array
from lucid.autograd.node import Handle
from lucid.dtypes import COMPLEX, FLOATING, dtype, get_default_dtype
from lucid.layout import layout
from lucid.lazy import lazy
from lucid.tracing import altered, any_program, change, journal, note_grad, program

_backward = lazy("lucid.autograd.gradients")
_creation = lazy("lucid.ops.creation")
_printing = lazy("lucid.printing")
_index = lazy("lucid.ops.index")


class Size(tuple):
    """A shape: a tuple of ints with `numel()`."""

    __slots__ = ()

    def numel(self) -> int:
        """The product of the sizes."""
        n = 1
        for size in self:
            n *= size
        return n

    def __repr__(self) -> str:
        return f"lucid.Size([{', '.join(map(str, self))}])"

    def __add__(self, other: Any) -> "Size":
        return Size(tuple.__add__(self, tuple(other)))

    def __getitem__(self, place: Any) -> Any:
        found = tuple.__getitem__(self, place)
        return Size(found) if isinstance(place, slice) else found


class Tensor(Array):
    """An n-dimensional array with a place on the autograd tape. Made by `lucid.tensor` and ops."""

    __hash__ = object.__hash__
    __array_priority__ = 1000

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Tensor(data) copies data as float32; Tensor(2, 3) is uninitialised."""
        if kwargs:
            raise TypeError(f"Tensor() has no parameter {', '.join(map(repr, kwargs))}")
        if len(args) == 1 and not isinstance(args[0], int):
            made = _creation.tensor(args[0], dtype=get_default_dtype())
        else:
            made = _creation.empty(*(args or (0,)), dtype=get_default_dtype())
        return Tensor._make_subclass(cls, made) if cls is not Tensor else made

    @staticmethod
    def _make_subclass(cls: type, data: "Tensor", requires_grad: bool = False) -> Any:
        """A tensor of a subclass over the same bytes, without history."""
        y = object.__new__(cls)
        y._storage, y._layout, y._ptr = data._storage, data._layout, data._ptr
        y._requires_grad = False
        if data._offset:
            y._offset = data._offset
        if requires_grad:
            y.requires_grad_()
        return y

    # What it is

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        if any_program() and (noted := journal()) is not None:
            return Size(noted.sizes(self))
        return Size(self._layout.shape)

    @property
    def dtype(self) -> dtype:
        """The type of the elements."""
        return self._layout.dtype

    @property
    def device(self):
        """Where the bytes are."""
        return self._layout.device

    @property
    def ndim(self) -> int:
        """How many dimensions there are."""
        return len(self._layout.shape)

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded."""
        if self._base is not None:
            current_node(self)
        return self._requires_grad is True

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return current_node(self) is None

    @property
    def grad_fn(self):
        """The Node that made this tensor; None for a leaf."""
        return current_node(self)

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that backward passes have added up; None before the first."""
        note_grad(self)
        return self._grad

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is not None:
            if not isinstance(value, Array):
                raise TypeError(f"grad: expected a tensor or None, got {type(value).__name__}")
            if value._layout.shape != self._layout.shape:
                raise RuntimeError(
                    f"grad: a gradient of shape {tuple(value._layout.shape)} does not fit a "
                    f"tensor of shape {tuple(self._layout.shape)}"
                )
        note_grad(self, False)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        note_grad(self, False)
        self._grad = None

    @property
    def data(self) -> "Tensor":
        """The same bytes without history; assigning puts another tensor's bytes here."""
        y = self.detach()
        if y is not self:
            y._is_data = True
            y._requires_grad = None  # not False: a write to it is to be looked at (write.py)
        return y

    @data.setter
    def data(self, value: "Tensor") -> None:
        if not isinstance(value, Array):
            raise TypeError(f"data: expected a tensor, got {type(value).__name__}")
        altered(self, "data is assigned to")
        self._storage, self._layout, self._ptr = value._storage, value._layout, value._ptr
        self._offset = value._offset
        if self._base is not None:  # no view of it any more
            self._base = self._view = None
        change()

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._layout.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self._layout.dtype.itemsize

    @property
    def is_cuda(self) -> bool:
        """False: tensors are on the CPU."""
        return False

    @property
    def is_xpu(self) -> bool:
        """False: tensors are on the CPU."""
        return False

    @property
    def is_mps(self) -> bool:
        """False: tensors are on the CPU."""
        return False

    @property
    def name(self) -> Any:
        """None, unless a program has set one."""
        return self.__dict__.get("name")

    @name.setter
    def name(self, value: Any) -> None:
        self.__dict__["name"] = value

    @property
    def is_cpu(self) -> bool:
        """True: tensors are on the CPU."""
        return True

    @property
    def layout(self) -> str:
        """ "strided": tensors are dense; "sparse_coo" and "sparse_csr" for sparse ones."""
        return "strided"

    @property
    def is_sparse(self) -> bool:
        """False: tensors are dense."""
        return False

    @property
    def is_sparse_csr(self) -> bool:
        """False: tensors are dense."""
        return False

    @property
    def is_quantized(self) -> bool:
        """False: tensors are not quantized."""
        return False

    @property
    def _version(self) -> int:
        return self._storage.version

    def size(self, dim: int | None = None) -> Any:
        """The sizes of all dimensions, or the size of one."""
        return self.shape if dim is None else self.shape[dim]

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours along each dimension, or one, in elements."""
        if any_program() and (noted := journal()) is not None:
            noted.pin(self)
        return self._layout.strides if dim is None else self._layout.strides[dim]

    def dim(self) -> int:
        """How many dimensions there are."""
        return len(self._layout.shape)

    ndimension = dim

    def numel(self) -> int:
        """How many elements there are."""
        if any_program() and (noted := journal()) is not None:
            return noted.numel(self)
        return self._layout.numel

    nelement = numel

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._layout.dtype.itemsize

    def storage_offset(self) -> int:
        """Where the first element lies in the storage, in elements."""
        if any_program() and (noted := journal()) is not None:
            noted.pin(self)
        return self._offset

    def data_ptr(self) -> int:
        """The address of the first element."""
        if (tracer := program()) is not None and tracer.pending:
            tracer.asked(self, "data_ptr")
        return self._ptr

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in order, without gaps; in channels-last order if asked."""
        if memory_format is None or str(memory_format) == "contiguous_format":
            return self._layout.contiguous
        return is_channels_last(self._layout)

    def is_floating_point(self) -> bool:
        """Whether the elements are floating numbers."""
        return self._layout.dtype.category == FLOATING

    def is_complex(self) -> bool:
        """Whether the elements are complex numbers."""
        return self._layout.dtype.category == COMPLEX

    def is_signed(self) -> bool:
        """Whether the dtype has negative numbers."""
        return self._layout.dtype.signed

    def get_device(self) -> int:
        """-1: tensors are on the CPU."""
        return -1

    def __len__(self) -> int:
        if not self._layout.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self):
        if not self._layout.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(self.shape[0])])

    def __getitem__(self, key: Any) -> "Tensor":
        return _index.get(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _index.put_item(self, key, value)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return _printing.render(self, tensor_contents)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self._layout.numel == 1 and spec else str(self)

    # Autograd

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Say whether gradients are wanted for this leaf."""
        if not isinstance(requires_grad, bool):
            raise TypeError(f"requires_grad must be a bool, got {type(requires_grad).__name__}")
        if requires_grad and self._layout.dtype.category < FLOATING:
            raise RuntimeError(
                "only floating and complex tensors can require gradients, this one is "
                f"{self._layout.dtype!r}"
            )
        if not requires_grad and current_node(self) is not None:
            raise RuntimeError(
                "requires_grad of a tensor that an op has made cannot be turned off: use detach()"
            )
        if (self._requires_grad is True) is not requires_grad:
            altered(self, "requires_grad is changed")
            self._requires_grad = requires_grad or self._never()
            change()
        return self

    def _never(self) -> bool | None:
        """What `_requires_grad` is without a gradient: None where a write is to be looked at."""
        return None if self._base is not None or self._shown is not None else False

    def detach(self) -> "Tensor":
        """The same bytes and version, without history."""
        if self._value is not None:
            return self
        return wrap(self._storage, self._layout, self._offset)

    def detach_(self) -> "Tensor":
        """Drop this tensor's history."""
        if self._base is not None:
            raise RuntimeError("detach_: a view keeps its base's history; use detach()")
        if self._requires_grad:
            altered(self, "detach_() is called")
        self._node, self._nr, self._requires_grad = None, 0, self._never()
        return self

    def backward(
        self,
        gradient: "Tensor | None" = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add d(self)/d(leaf) to each leaf's `.grad`; `gradient` is the cotangent of self, 1 for
        a scalar."""
        _backward.backward(self, gradient, retain_graph, create_graph, inputs)

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in `.grad` too."""
        _backward.retain_grad(self)

    @property
    def retains_grad(self) -> bool:
        """Whether this is a non-leaf whose gradient is kept, after `retain_grad()`."""
        node = current_node(self)
        return node is not None and bool(node.retain) and self._nr in node.retain

    def register_hook(self, hook: Any) -> Handle:
        """Call hook(grad) when this tensor's gradient is known; a result replaces it."""
        return _backward.register_hook(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Any) -> Handle:
        """Call hook(tensor) after a leaf's `.grad` has been added to."""
        return _backward.register_post_accumulate_grad_hook(self, hook)

    # To Python and NumPy

    def item(self) -> Any:
        """The only element as a Python number."""
        if self._layout.numel != 1:
            raise RuntimeError(
                f"item: a tensor of shape {tuple(self._layout.shape)} has {self._layout.numel} "
                "elements, 1 is needed"
            )
        reader = self._layout.dtype.reader
        if reader is None or self._value is not None or program() is not None:
            return self._as_numpy("item").reshape(()).item()
        return reader.unpack_from(self._storage, self._offset * reader.size)[0]

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._as_numpy("tolist").tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """A NumPy array over the same memory; `force` first detaches."""
        if not force and funnel.is_grad_enabled() and self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; use .detach().numpy()")
        return self._as_numpy("numpy")

    def _as_numpy(self, asked: str) -> np.ndarray:
        if self._value is not None:
            raise RuntimeError(
                f"{asked}: the value of a tensor is asked for while a function is traced; "
                "use where, or compute on tensors"
            )
        if (tracer := program()) is not None:
            tracer.asked(self, asked)
        lay = self._layout
        if lay.numel == 0:
            return np.empty(lay.shape, lay.dtype.numpy)
        return self._storage.as_numpy(lay.dtype, lay.shape, lay.strides, self._offset)

    def __array__(self, kind: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if kind is not None and array.dtype != kind:
            return array.astype(kind)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        return self.detach()._as_numpy("__dlpack__").__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __bool__(self) -> bool:
        if self._layout.numel != 1:
            raise RuntimeError(
                f"the truth value of a tensor of shape {tuple(self._layout.shape)} is ambiguous: "
                "use any() or all()"
            )
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._layout.dtype.category >= FLOATING:
            raise TypeError("only integer tensors of one element can be used as an index")
        return int(self.item())

    def pin_memory(self, device: Any = None) -> "Tensor":
        """This tensor: there is no other device that its memory could be pinned for."""
        return self

    def is_pinned(self, device: Any = None) -> bool:
        """False: no memory is pinned."""
        return False

    def cuda(self, device: Any = None) -> "Tensor":
        """On a CUDA device; raises where there is none."""
        return self.to("cuda" if device is None else device)

    def __contains__(self, element: Any) -> bool:
        return bool((self == element).any())

    # Copies

    def __deepcopy__(self, memo: dict) -> "Tensor":
        if id(self) in memo:
            return memo[id(self)]
        if current_node(self) is not None:
            raise RuntimeError("only leaf tensors can be deep-copied: use detach().clone()")
        copied = self.detach().clone()
        y = Tensor._make_subclass(type(self), copied)
        y._requires_grad = self.requires_grad
        memo[id(self)] = y
        for name, value in self.__dict__.items():
            if not name.startswith("_"):
                y.__dict__[name] = copy.deepcopy(value, memo)
        if self._grad is not None:
            y._grad = self._grad.__deepcopy__(memo)
        return y

    def __reduce_ex__(self, protocol: int) -> tuple:
        array = np.ascontiguousarray(self.detach()._as_numpy("pickle"))
        data = array.tobytes()
        extra = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
        shape = tuple(self._layout.shape)
        flag = self.requires_grad and self._node is None
        return _unpickle, (type(self), data, self._layout.dtype, shape, flag, extra)


def _unpickle(cls: type, data: bytes, kind: dtype, shape: tuple, flag: bool, extra: dict) -> Any:
    lay = layout(shape, None, kind, funnel.CPU)
    block = storage.allocate(lay.nbytes)
    if lay.numel:
        array = np.frombuffer(data, kind.numpy).reshape(shape)
        block.as_numpy(kind, shape, lay.strides)[...] = array
    y = Tensor._make_subclass(cls, wrap(block, lay))
    y._requires_grad = flag
    y.__dict__.update(extra)
    return y


def is_channels_last(lay: Any) -> bool:
    """Whether a 4-d layout stores the channels fastest."""
    if len(lay.shape) != 4:
        return False
    order = (0, 2, 3, 1)
    step = 1
    for d in reversed(order):
        if lay.shape[d] != 1:
            if lay.strides[d] != step:
                return False
            step *= lay.shape[d]
    return True


funnel.tensor_class = Tensor
