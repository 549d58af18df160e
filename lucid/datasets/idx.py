"""The IDX format of the MNIST files: a header with type and sizes, then the numbers.

Called by mnist.py. Memory is bounded by what the header states, and that by a limit.
"""

import gzip
import math
import os
import zlib
from typing import BinaryIO

import numpy as np

MOST = 1 << 30  # bytes of numbers
BLOCK = 1 << 20
TYPES: dict[int, np.dtype] = {
    0x08: np.dtype("u1"), 0x09: np.dtype("i1"), 0x0B: np.dtype(">i2"), 0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"), 0x0E: np.dtype(">f8"),
}  # fmt: skip


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of an IDX file, gzipped or not, in the machine's byte order.

    The format (LeCun, Cortes, Burges, 1998): two zero bytes, a type, the number of dimensions, a
    big-endian 32-bit size for each, the numbers in row-major big-endian order. ValueError for a
    file that is none, is cut off or goes on after its numbers.

    >>> import os, tempfile
    >>> from lucid.datasets import read_idx
    >>> path = os.path.join(tempfile.mkdtemp(), "x-idx2-ubyte")
    >>> with open(path, "wb") as file:
    ...     _ = file.write(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> read_idx(path)
    array([[7, 8, 9]], dtype=uint8)
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            if packed:
                with gzip.GzipFile(fileobj=file) as inside:
                    return _read(inside, name)  # type: ignore[arg-type]
            return _read(file, name)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{name} is damaged: {error}; remove it to get it again") from error


def _read(file: BinaryIO, name: str) -> np.ndarray:
    head = _take(file, 4, name)
    kind = TYPES.get(head[2])
    if head[:2] != b"\0\0" or kind is None:
        raise ValueError(f"{name} is no IDX file: it begins with {head.hex()}")
    sizes = np.frombuffer(_take(file, 4 * head[3], name), ">u4").tolist()
    count = math.prod(sizes) * kind.itemsize
    if count > MOST or len(sizes) > 32:
        raise ValueError(f"{name} states the sizes {sizes[:8]}, which is more than {MOST} bytes")
    data = np.frombuffer(_take(file, count, name), kind).reshape(sizes)
    if file.read(1):
        raise ValueError(f"{name} goes on after the {count} bytes of its sizes {sizes}")
    return data.astype(kind.newbyteorder("="))


def _take(file: BinaryIO, count: int, name: str) -> bytes:
    """`count` bytes; memory grows with what is there, not with what is stated."""
    parts, left = [], count
    while left:
        part = file.read(min(left, BLOCK))
        if not part:
            raise ValueError(f"{name} ends {left} bytes too early")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
