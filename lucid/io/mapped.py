"""Storages over the pages of a file: loading that reads nothing until it is used.

Called by torch_read.py and container.py for `lucid.load(path, mmap=True)`.
"""

import mmap
import os
from typing import Any

import numpy as np

from lucid import storage


class Mapped:
    """A file in memory, private to this process: writing to its tensors leaves the file."""

    def __init__(self, path: str | os.PathLike):
        with open(path, "rb") as file:
            self.length = os.fstat(file.fileno()).st_size
            self.pages = (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if self.length else b""
            )
        self.bytes = np.frombuffer(self.pages, np.uint8)

    def block(self, start: int, length: int) -> Any:
        """The bytes from `start` on as a storage, which keeps the mapping alive."""
        part = self.bytes[start : start + length]
        address = part.__array_interface__["data"][0]
        return storage.Storage.from_buffer(part, address, length)
