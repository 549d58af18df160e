"""The safetensors container: named arrays and metadata in one file, nothing that executes.

Called by `checkpoint.py`. The `safetensors` library writes and checks the format; here its bytes
become arrays of Lucid's dtypes, bfloat16 included, which its NumPy reader leaves out.
"""

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from lucid import dtypes
from lucid.lazy import lazy

safetensors = lazy("safetensors")
writer = lazy("safetensors.numpy")

CODES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
}  # fmt: skip


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write C-contiguous arrays of Lucid's dtypes under their names."""
    file.write(writer.save(dict(arrays), dict(metadata)))


def read(file: BinaryIO) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a file; ValueError says what is wrong with a malformed one."""
    data = file.read()
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from None
    arrays = {}
    for name, entry in entries:
        kind = CODES.get(entry["dtype"])
        if kind is None:
            raise ValueError(f"{name!r}: dtype {entry['dtype']!r} is not one of {', '.join(CODES)}")
        x = np.frombuffer(entry["data"], dtypes.BY_NAME[kind].numpy).reshape(entry["shape"])
        if kind == "bool" and x.size and x.view(np.uint8).max() > 1:
            raise ValueError(f"{name!r} has bytes other than 0 and 1 as booleans")
        arrays[name] = x.copy()
    return arrays, _metadata(data)


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata of a header that the library has accepted."""
    length = int.from_bytes(data[:8], "little")
    found = parse_json(data[8 : 8 + length]).get("__metadata__") or {}
    return dict(found)


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
