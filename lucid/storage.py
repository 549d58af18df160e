"""`Storage`: the bytes that tensors look into, and the one place that they come from.

Made by apply.py and by what creates tensors: `storage.allocate(nbytes)`, `Storage.from_buffer`.
A storage dies with its last reference, and its block is free for the next one at once.
"""

import ctypes
from collections.abc import Sequence

import numpy as np

from lucid.backend.cpu.memory import refill, size_class
from lucid.dtypes import dtype

_small = [size_class(64 * n) for n in range(1025)]  # by units of 64 bytes, up to 64 KiB

live = 0  # bytes asked for and not freed
peak = 0  # the most that `live` has been
allocations = 0


class Storage:
    """`nbytes` bytes at address `ptr`, 64-byte aligned unless they came from elsewhere.

    `version` counts in-place writes. The contents of a new storage are whatever was there before.

    >>> from lucid.storage import Storage
    >>> s = Storage(100)
    >>> s.nbytes, s.ptr % 64, s.version
    (100, 0, 0)
    """

    __slots__ = ("ptr", "nbytes", "version", "_free")
    readonly = False

    # `x += n` on a global is safe without a lock: the interpreter lets no other thread run between
    # its read and its write.

    def __init__(self, nbytes: int):
        global live, peak, allocations
        kind = _small[nbytes + 63 >> 6] if 0 <= nbytes <= 65536 else _class(nbytes)
        try:
            self.ptr = kind.free.pop()
        except IndexError:
            self.ptr = refill(kind, nbytes)
        self._free = kind.free
        self.nbytes = nbytes
        self.version = 0
        allocations += 1
        live += nbytes
        if live > peak:
            peak = live

    def __del__(self) -> None:
        global live
        try:
            self._free.append(self.ptr)
        except AttributeError:  # __init__ raised: there is no block
            return
        live -= self.nbytes

    @classmethod
    def from_buffer(cls, owner: object, ptr: int, nbytes: int, readonly: bool = False) -> "Storage":
        """A storage over memory of somebody else, `owner`, who is kept alive as long as it is."""
        self = object.__new__(BorrowedStorage)
        self.ptr, self.nbytes, self.version = ptr, nbytes, 0
        self.owner, self.readonly = owner, readonly
        return self

    def as_numpy(
        self, dtype: dtype, shape: Sequence[int], strides: Sequence[int], offset: int = 0
    ) -> np.ndarray:
        """A NumPy array over these bytes; strides and offset count elements. It keeps the storage.

        Raises ValueError where an element would lie outside of the storage.
        """
        holder = (ctypes.c_char * self.nbytes).from_address(self.ptr)
        holder.storage = self
        size = dtype.itemsize
        steps = tuple([stride * size for stride in strides])
        y = np.ndarray(tuple(shape), dtype.numpy, holder, offset * size, steps)
        if self.readonly:
            y.flags.writeable = False
        return y

    def __repr__(self) -> str:
        return f"Storage(nbytes={self.nbytes}, ptr={self.ptr:#x}, version={self.version})"

    def __reduce__(self) -> tuple:
        raise TypeError("a Storage is not pickled: save the tensor that looks into it")


class BorrowedStorage(Storage):
    """A storage over foreign memory: made by `Storage.from_buffer`."""

    __slots__ = ("owner", "readonly")

    def __del__(self) -> None:
        pass  # the owner frees it


allocate = Storage


def reset_peak() -> None:
    global peak
    peak = live


def _class(nbytes: int):
    if nbytes < 0:
        raise ValueError(f"Storage({nbytes}): a size is not negative")
    return size_class(nbytes)
