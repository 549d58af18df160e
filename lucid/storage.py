"""`Storage`: the bytes that tensors look into, and the one place that they come from.

Used by apply.py and by what creates tensors: `storage.allocate(nbytes)`, `Storage.from_buffer`.
A storage dies with its last reference, and its block is free for the next one at once.

The type is machine code (backend/cpu/block.py) with the methods below, built when `Storage`
or `allocate` is first looked up here, so that importing Lucid does not load LLVM. Therefore
write `from lucid import storage` and `storage.allocate(n)`; import the names in functions only.
"""

import operator
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.backend.cpu import memory
from lucid.dtypes import dtype


class Methods:
    """`Storage(nbytes)`: that many bytes at the address `ptr`, a multiple of 64.

    `version` counts the in-place writes. The bytes of a new storage are whatever was there before.
    Memory that came from elsewhere (`from_buffer`) lies where it lies, and may be `readonly`.
    A storage is a buffer: `memoryview(s)`, `numpy.frombuffer(s)`.

    >>> from lucid import storage
    >>> s = storage.allocate(100)
    >>> s.nbytes, s.ptr % 64, s.version
    (100, 0, 0)
    """

    if TYPE_CHECKING:
        ptr: int
        nbytes: int
        version: int
        readonly: bool

        def __buffer__(self, flags: int) -> memoryview: ...

    def __new__(cls, nbytes: int) -> "Storage":
        return memory.allocate(nbytes)

    @staticmethod
    def from_buffer(owner: object, ptr: int, nbytes: int, readonly: bool = False) -> "Storage":
        """A storage over memory of somebody else, `owner`, who is kept alive as long as it is."""
        nbytes = operator.index(nbytes)
        if nbytes < 0:
            raise ValueError(f"Storage.from_buffer: nbytes = {nbytes} is negative")
        return memory.make(operator.index(ptr), nbytes, nbytes, -1, int(readonly), owner)

    def as_numpy(
        self, dtype: dtype, shape: Sequence[int], strides: Sequence[int], offset: int = 0
    ) -> np.ndarray:
        """A NumPy array over these bytes; strides and offset count elements. It keeps the storage.

        Raises ValueError where an element would lie outside of the storage.
        """
        size = dtype.itemsize
        steps = tuple([stride * size for stride in strides])
        return np.ndarray(tuple(shape), dtype.numpy, self, offset * size, steps)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"Storage(nbytes={self.nbytes}, ptr={self.ptr:#x}, version={self.version})"

    def __reduce__(self) -> tuple:
        raise TypeError("a Storage is not pickled: save the tensor that looks into it")


if TYPE_CHECKING:
    Storage = Methods
    allocate: Callable[[int], Storage]

_building = threading.Lock()
when_built: list[Callable[[], None]] = []  # what else goes over to machine code then


def __getattr__(name: str) -> Any:
    if name not in ("Storage", "allocate"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    names = globals()
    with _building:
        if "Storage" not in names:
            made = memory.build(f"{__name__}.Storage")
            for attribute in ("__new__", "from_buffer", "as_numpy", "__repr__", "__reduce__"):
                setattr(made, attribute, vars(Methods)[attribute])
            made.__doc__ = Methods.__doc__
            names["allocate"] = memory.allocate
            names["Storage"] = made
            for follow in when_built:
                follow()
    return names[name]
