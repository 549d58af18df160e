"""The safetensors container: named arrays and metadata in one file, nothing that executes.

Called by `checkpoint.py`. The `safetensors` library writes the format. It is read here: into arrays
of Lucid's dtypes, bfloat16 included, or into the pages of a file, each number in it checked.
"""

import json
import math
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from lucid import dtypes
from lucid.io.atomic import replace_file
from lucid.io.mapped import Mapped
from lucid.lazy import lazy

writer = lazy("safetensors.numpy")

MOST_HEADER = 100_000_000

CODES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write C-contiguous arrays of Lucid's dtypes under their names."""
    file.write(writer.save(dict(arrays), dict(metadata)))


def save_tensors(tensors: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write tensors by name as a plain safetensors file, as other libraries do; atomically.

    >>> import lucid, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "x.safetensors")
    >>> lucid.io.save_tensors({"w": lucid.ones(2)}, path)
    >>> lucid.load(path)
    {'w': tensor([1., 1.])}
    """
    arrays = {}
    for name, x in tensors.items():
        array = x.detach().numpy()
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    replace_file(path, lambda file: write(file, arrays, {"format": "pt"}))


def read(
    file: BinaryIO, mapped: Mapped | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a file; ValueError says what is wrong with a malformed one.

    With `mapped`, the same file in memory, arrays lie in its pages.
    """
    start = file.tell()
    length = file.seek(0, 2) - start
    file.seek(start)
    head = file.read(8)
    if len(head) < 8:
        raise ValueError("header too small")
    size = int.from_bytes(head, "little")
    if size > MOST_HEADER:
        raise ValueError("header too large")
    if size > length - 8:
        raise ValueError("invalid header length")
    header = parse_json(_utf8(file.read(size)))
    if not isinstance(header, dict):
        raise ValueError("invalid header: no JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise ValueError("invalid header: metadata other than strings")
    arrays: dict[str, np.ndarray] = {}
    places = {name: _place(name, entry) for name, entry in header.items()}
    end = 0
    for name, (kind, shape, begin, stop) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != end:
            raise ValueError(f"invalid offset for {name!r}: arrays lie side by side in the file")
        end = stop
        if end > length - 8 - size:
            raise ValueError(f"{name!r} ends beyond the file: incomplete, file not fully covered")
        if mapped is None:
            data = np.empty(stop - begin, np.uint8)
            if file.readinto(data) != len(data):  # type: ignore[attr-defined]
                raise ValueError("the file ends in the middle")
        else:
            data = mapped.bytes[start + 8 + size + begin :][: stop - begin]
        if kind == "bool" and data.size and data.max() > 1:
            raise ValueError(f"{name!r} has bytes other than 0 and 1 as booleans")
        dtype = dtypes.BY_NAME[kind].numpy
        if data.ctypes.data % dtype.itemsize:  # a file whose header is not padded
            data = data.copy()
        arrays[name] = data.view(dtype).reshape(shape)
    if end != length - 8 - size:
        raise ValueError("the file is longer than its arrays: file not fully covered")
    return {name: arrays[name] for name in places}, metadata


def _place(name: str, entry: Any) -> tuple[str, list[int], int, int]:
    """The dtype, the shape, and where the bytes begin and end."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"invalid header: {name!r} is described by something else")
    kind, shape, offsets = CODES.get(str(entry["dtype"])), entry["shape"], entry["data_offsets"]
    if kind not in dtypes.BY_NAME:
        known = ", ".join(code for code, name in CODES.items() if name in dtypes.BY_NAME)
        raise ValueError(f"{name!r}: dtype {str(entry['dtype'])!r} is not one of {known}")
    assert kind is not None
    if not is_sizes(shape) or len(shape) > 64 or not is_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"invalid header: {name!r} has no shape or no place")
    if offsets[1] - offsets[0] != math.prod(shape) * dtypes.BY_NAME[kind].itemsize:
        raise ValueError(f"{name!r}: its shape {shape} does not fit its bytes {offsets}"[:200])
    return kind, shape, offsets[0], offsets[1]


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"invalid header: {error}") from None


def parse_json(text: bytes | str) -> Any:
    """Strict JSON: no duplicate keys, no NaN; every failure is a ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("JSON with a key twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"JSON with {constant}")


def is_sizes(value: Any) -> bool:
    """Whether this is a list of ints from 0 to 2^48, which no array of a real machine exceeds."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= 2**48 for n in value)
