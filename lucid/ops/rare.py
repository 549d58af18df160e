"""Methods that few programs call: questions about pairs of tensors, functions of each element,
tensors that take another's place. tables.py lists them.
"""

from collections.abc import Callable
from typing import Any

from lucid.autograd.mode import no_grad
from lucid.ops import creation, gamma
from lucid.ops.elementwise import assign
from lucid.ops.strided import as_strided
from lucid.tracing import program
from lucid.write import write


def is_same_size(x, other: Any) -> bool:
    """Whether the shapes are equal."""
    return tuple(x.shape) == tuple(other.shape)


def is_nonzero(x) -> bool:
    """Whether the only element is not 0; RuntimeError for more than one."""
    if x.numel() != 1:
        raise RuntimeError(f"is_nonzero: one element is needed, got shape {tuple(x.shape)}")
    return bool(x)


def is_set_to(x, tensor: Any) -> bool:
    """Whether both show the same elements of the same memory."""
    return x._layout is tensor._layout and x.data_ptr() == tensor.data_ptr()


def is_conj(x) -> bool:
    """False: conjugates are computed when they are asked for."""
    return False


def is_neg(x) -> bool:
    """False: negatives are computed when they are asked for."""
    return False


def is_shared(x) -> bool:
    """False: no tensor lives in memory shared between processes."""
    return False


def adjoint(x):
    """The last two dimensions exchanged, of the conjugate.

    >>> import lucid
    >>> lucid.arange(4).reshape(2, 2).adjoint()
    tensor([[0, 2],
            [1, 3]])
    """
    return x.mH


def apply_(self, callable: Callable[[Any], Any]):
    """In place: a Python function of each element; slow, and not recorded.

    >>> import lucid
    >>> lucid.tensor([1.0, 2.0]).apply_(lambda v: v + 1)
    tensor([2., 3.])
    """
    return _from_each("apply_", self, callable, ())


def map_(self, tensor: Any, callable: Callable[[Any, Any], Any]):
    """In place: a Python function of each element and that of another tensor; slow."""
    return _from_each("map_", self, callable, (tensor,))


def map2_(self, x: Any, y: Any, callable: Callable[[Any, Any, Any], Any]):
    """In place: a Python function of each element and those of two other tensors; slow."""
    return _from_each("map2_", self, callable, (x, y))


def _from_each(name: str, x: Any, function: Callable, others: tuple) -> Any:
    if (tracer := program()) is not None:
        tracer.refuse(name, "work on whole tensors")
    if x.requires_grad:
        raise RuntimeError(f"{name}: a tensor that requires a gradient; use detach()")
    shape = tuple(x.shape)
    columns = [t.detach().expand(shape).reshape(-1).tolist() for t in (x, *others)]
    made = creation.tensor([function(*row) for row in zip(*columns, strict=True)], dtype=x.dtype)
    with no_grad():
        return write(assign, x, (made.reshape(shape),), name=name)


def as_strided_(self, size: Any, stride: Any, storage_offset: int | None = None):
    """In place: other strides over the same memory; not of a view or a tensor with a history."""
    if self.requires_grad or self._base is not None:
        raise RuntimeError("as_strided_: not for a view or a tensor with a history; use as_strided")
    self.data = as_strided(self, size, stride, storage_offset)
    return self


def set_(self, source: Any = None):
    """In place: this tensor shows the memory of `source` from now on, nothing without one. The
    types have to agree; storages are not taken.

    >>> import lucid
    >>> x, y = lucid.zeros(2), lucid.ones(3)
    >>> x.set_(y)
    tensor([1., 1., 1.])
    """
    source = creation.empty(0, dtype=self.dtype) if source is None else source
    if not hasattr(source, "_layout"):
        raise TypeError(f"set_: a tensor is needed, got {type(source).__name__}")
    if source.dtype is not self.dtype:
        raise RuntimeError(f"set_: a tensor of {self.dtype!r} cannot show one of {source.dtype!r}")
    if self.requires_grad or self._base is not None:
        raise RuntimeError("set_: not for a view or a tensor with a history")
    self.data = source.detach()
    return self


def polygamma_(self, n: int):
    """In place: the n-th derivative of digamma."""
    return write(assign, self, (gamma.polygamma(n, self),), name="polygamma_")


class UntypedStorage:
    """The memory of a tensor: where it is and how large. Two tensors that show the same memory
    have storages with the same address."""

    def __init__(self, x: Any):
        self._block, self.device = x._storage, x.device

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return int(self._block.ptr)

    def nbytes(self) -> int:
        """How many bytes there are."""
        return int(self._block.nbytes)

    size = __len__ = nbytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and other._block is self._block

    def __hash__(self) -> int:
        return id(self._block)


def untyped_storage(x) -> UntypedStorage:
    """The memory that this tensor and its views show.

    >>> import lucid
    >>> x = lucid.zeros(4)
    >>> x[2:].untyped_storage().data_ptr() == x.data_ptr()
    True
    """
    if x._storage is None:
        raise RuntimeError("untyped_storage: this tensor has no memory yet")
    return UntypedStorage(x)


class TypedStorage(UntypedStorage):
    """The memory of a tensor as numbers of its dtype, in the order of their addresses."""

    def __init__(self, x: Any):
        super().__init__(x)
        self.dtype = x.dtype
        count = self._block.nbytes // x.dtype.itemsize
        self._elements = as_strided(x.detach(), (count,), (1,), 0)

    def element_size(self) -> int:
        """The bytes of one number."""
        return self.dtype.itemsize

    def size(self) -> int:
        """How many numbers there are."""
        return len(self._elements)

    __len__ = size

    def __getitem__(self, place: int) -> Any:
        return self._elements[place].item()

    def tolist(self) -> list:
        """All numbers."""
        return self._elements.tolist()

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return UntypedStorage(self._elements)


def storage(x) -> TypedStorage:
    """The memory that this tensor and its views show, as numbers of this tensor's dtype.

    >>> import lucid
    >>> lucid.tensor([1.0, 2.0, 3.0])[1:].storage().tolist()
    [1.0, 2.0, 3.0]
    """
    if x._storage is None:
        raise RuntimeError("storage: this tensor has no memory yet")
    return TypedStorage(x)


def _of_quantized(name: str) -> Callable:
    def method(x) -> Any:
        raise RuntimeError(
            f"{name}: only quantized tensors have one, and there are none; this is {x.dtype!r}"
        )

    method.__name__ = method.__qualname__ = name
    method.__doc__ = "RuntimeError: there are no quantized tensors."
    return method


int_repr, q_scale, q_zero_point = map(_of_quantized, ("int_repr", "q_scale", "q_zero_point"))


def reinforce(x, reward: Any) -> Any:
    """RuntimeError, as in PyTorch: draws are trained through `log_prob` of their distribution."""
    raise RuntimeError(
        "reinforce: draw from lucid.distributions and call (-d.log_prob(x) * reward).backward()"
    )


def names(x) -> tuple:
    """None for each dimension: they have no names."""
    return (None,) * x.ndim
