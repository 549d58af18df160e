"""The safetensors container: a header in JSON and the bytes of named arrays, nothing that executes.

Called by `checkpoint.py`. Format: 8 bytes with the header's length (little-endian), the header
`{name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {str: str}}`, then the
data without gaps. Arrays stream from and to the file, so neither way holds a second copy.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from lucid import dtypes

CODES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}  # fmt: skip
BY_CODE = {code: dtypes.BY_NAME[name].numpy for name, code in CODES.items()}
MAX_HEADER = 100_000_000
MAX_DIMENSIONS = 64


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write C-contiguous arrays of Lucid's dtypes under their names, wide elements first."""
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    position = 0
    for name in order:
        x = arrays[name]
        end = position + x.nbytes
        code = CODES[dtypes.from_numpy(x.dtype).name]
        header[name] = {"dtype": code, "shape": list(x.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
    if len(text) > MAX_HEADER:
        raise ValueError(f"the header would have {len(text)} bytes, {MAX_HEADER} are allowed")
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for name in order:
        file.write(_bytes(arrays[name]))


def read(file: BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a file; ValueError says what is wrong with a malformed one."""
    start = file.tell()
    size = file.seek(0, 2) - start
    file.seek(start)
    if size < 8:
        raise ValueError(f"{size} bytes are too few for a safetensors file")
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER, size - 8):
        raise ValueError(f"the header claims {length} bytes, the file has {size}")
    header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("__metadata__ is not a map from strings to strings")
    entries = sorted((_entry(name, fields) for name, fields in header.items()), key=_begin)
    position = 0
    for name, _, _, begin, end in entries:
        if begin != position:
            raise ValueError(f"{name!r} begins at byte {begin} of the data, expected {position}")
        position = end
    if position != size - 8 - length:
        raise ValueError(f"the data has {size - 8 - length} bytes, the header says {position}")
    arrays = {}
    for name, kind, shape, _, _ in entries:
        x = np.empty(shape, kind)
        if x.nbytes and file.readinto(_bytes(x)) != x.nbytes:  # type: ignore[attr-defined]
            raise ValueError(f"the file ended inside {name!r}")
        if kind == np.bool_ and x.nbytes and x.view(np.uint8).max() > 1:
            raise ValueError(f"{name!r} has bytes other than 0 and 1 as booleans")
        arrays[name] = x
    return arrays, metadata


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


def _entry(name: str, fields: Any) -> tuple[str, np.dtype, tuple[int, ...], int, int]:
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r}: expected dtype, shape and data_offsets")
    kind = BY_CODE.get(fields["dtype"]) if isinstance(fields["dtype"], str) else None
    if kind is None:
        raise ValueError(f"{name!r}: dtype {fields['dtype']!r} is not one of {', '.join(BY_CODE)}")
    shape, offsets = fields["shape"], fields["data_offsets"]
    if not is_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{name!r}: shape {str(shape)[:80]} is not a list of sizes")
    if not is_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{name!r}: data_offsets {str(offsets)[:80]} are not two positions")
    expected = math.prod(shape) * kind.itemsize
    if offsets[1] - offsets[0] != expected:
        raise ValueError(f"{name!r}: {offsets[1] - offsets[0]} bytes for a shape of {expected}")
    return name, kind, tuple(shape), offsets[0], offsets[1]


def is_sizes(value: Any) -> bool:
    """Whether this is a list of ints from 0 to 2^48, which no array of a real machine exceeds."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= 2**48 for n in value)


def _begin(entry: tuple) -> tuple[int, int]:
    return entry[3], entry[4]


def _bytes(x: np.ndarray) -> memoryview:
    """The bytes of a contiguous array, of any dtype: bfloat16 has no buffer format of its own."""
    return x.reshape(-1).view(np.uint8).data
