"""Writing checkpoints that PyTorch reads: a zip archive with a pickle of protocol 2.

Called by checkpoint.py for `lucid.save(obj, path, format="torch")`. The pickle is written here,
instruction by instruction, so that it can name PyTorch's functions without PyTorch.
"""

import argparse
import struct
import zipfile
from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np

import lucid
from lucid.io.allowed import STORAGES
from lucid.lazy import lazy

nn = lazy("lucid.nn")

ALIGNMENT = 64  # of storages in the file, so that they can be mapped
STORAGE_OF = {kind: name + "Storage" for name, kind in STORAGES.items()}
MAX_DEPTH = 200


def write(file: BinaryIO, value: Any) -> None:
    """Write `value` as `torch.save` would. TypeError names the part that cannot be written."""
    pickler = Pickler()
    data = b"\x80\x02" + pickler.pickle(value, "") + b"."
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _put(archive, file, "data.pkl", data)
        _put(archive, file, "byteorder", b"little")
        for key, block in enumerate(pickler.blocks):
            _put(archive, file, f"data/{key}", memoryview(block).cast("B") if block.nbytes else b"")
        _put(archive, file, "version", b"3\n")


def _put(archive: zipfile.ZipFile, file: BinaryIO, name: str, data: Any) -> None:
    """One entry, whose bytes begin at a multiple of 64 by an extra field of the right length."""
    entry = zipfile.ZipInfo("archive/" + name, (1980, 1, 1, 0, 0, 0))
    start = archive.start_dir + 30 + len(entry.filename) + 4
    padding = -start % ALIGNMENT
    entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(entry, data)


class Pickler:
    """The instructions for a value; `blocks` are the storages that it refers to."""

    def __init__(self) -> None:
        self.blocks: list[Any] = []
        self._keys: dict[int, tuple[int, Any]] = {}  # storage -> its number and dtype
        self._open: list[int] = []
        self._memo: dict[int, int] = {}
        self._kept: list[Any] = []  # what the memo knows by address stays alive

    def pickle(self, value: Any, path: str) -> bytes:
        if id(value) in self._memo:
            return b"j" + struct.pack("<I", self._memo[id(value)])
        simple = self._simple(value)
        if simple is not None:
            return simple
        if isinstance(value, lucid.Tensor):
            return self._tensor(value, path) + self._remember(value)
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, path)
        if isinstance(value, dict | list | tuple | set | argparse.Namespace):
            return self._container(value, path)
        hint = "; save its .state_dict()" if hasattr(value, "state_dict") else ""
        raise TypeError(
            f"lucid.save: {path or 'the object'} is a {type(value).__name__}, which this format "
            f"does not hold{hint}"
        )

    def _remember(self, value: Any) -> bytes:
        self._kept.append(value)
        place = self._memo[id(value)] = len(self._memo)
        return b"r" + struct.pack("<I", place)

    def _simple(self, value: Any) -> bytes | None:
        if value is None:
            return b"N"
        if isinstance(value, np.generic):
            return None
        if isinstance(value, bool):
            return b"\x88" if value else b"\x89"
        if isinstance(value, int):
            if -(2**31) <= value < 2**31:
                return b"J" + struct.pack("<i", value)
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            if len(data) < 256:
                return b"\x8a" + struct.pack("<B", len(data)) + data
            return b"\x8b" + struct.pack("<i", len(data)) + data
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, str):
            data = value.encode("utf-8", "surrogatepass")
            return b"X" + struct.pack("<I", len(data)) + data
        if isinstance(value, bytes):
            return self._call("_codecs encode", value.decode("latin1"), "latin1")
        if isinstance(value, complex):
            return self._call("__builtin__ complex", value.real, value.imag)
        if isinstance(value, lucid.dtype):
            return _name(f"torch {value.name}")
        if isinstance(value, lucid.device):
            parts = (value.type,) if value.index is None else (value.type, value.index)
            return self._call("torch device", *parts)
        return None

    def _call(self, function: str, *arguments: Any) -> bytes:
        """A function by "module name", called with values that are simple, or instructions."""
        parts = [x.code if isinstance(x, Code) else self.pickle(x, function) for x in arguments]
        return _name(function) + b"(" + b"".join(parts) + b"tR"

    def _container(self, value: Any, path: str) -> bytes:
        if id(value) in self._open:
            raise ValueError(f"lucid.save: {path or 'the object'} contains itself")
        if len(self._open) >= MAX_DEPTH:
            raise ValueError(f"lucid.save: {path} is nested more than {MAX_DEPTH} deep")
        self._open.append(id(value))
        try:
            return self._parts(value, path)
        finally:
            self._open.pop()

    def _parts(self, value: Any, path: str) -> bytes:
        if isinstance(value, argparse.Namespace):
            return (
                _name("argparse Namespace") + b")\x81" + self._dict(vars(value), path, b"}") + b"b"
            )
        if isinstance(value, dict):
            if not isinstance(value, OrderedDict):
                if type(value) is not dict:
                    raise TypeError(
                        f"lucid.save: {path or 'the object'} is a {type(value).__name__}; this "
                        "format holds dict and OrderedDict"
                    )
                return self._dict(value, path, b"}")
            empty = _name("collections OrderedDict") + b")R"
            code = self._dict(value, path, empty)
            if hasattr(value, "_metadata"):
                state = {"_metadata": value._metadata}
                code += self.pickle(state, f"{path}._metadata") + b"b"
            return code
        items = b"".join(self.pickle(x, f"{path}[{i}]") for i, x in enumerate(value))
        if isinstance(value, set):
            return _name("__builtin__ set") + b"(](" + items + b"etR"
        if isinstance(value, list):
            return b"](" + items + b"e"
        if isinstance(value, lucid.Size):
            return _name("torch Size") + b"((" + items + b"ttR"
        if hasattr(value, "_fields"):
            raise TypeError(f"lucid.save: {path or 'the object'} is a named tuple; save ._asdict()")
        return b"(" + items + b"t"

    def _dict(self, value: dict, path: str, empty: bytes) -> bytes:
        code = empty + b"("
        for key, x in value.items():
            code += self.pickle(key, f"the key {key!r}")
            code += self.pickle(x, f"{path}.{key}" if path else str(key))
        return code + b"u"

    def _tensor(self, x: Any, path: str) -> bytes:
        if x.layout != lucid.strided:
            return self._sparse(x, path)
        parameter = type(x) is nn.Parameter
        if not parameter and type(x) is not lucid.Tensor:
            raise TypeError(
                f"lucid.save: {path or 'the object'} is a {type(x).__name__}; save its data"
            )
        hooks = Code(_name("collections OrderedDict") + b")R")
        code = self._call(
            "torch._utils _rebuild_tensor_v2",
            Code(self._storage(x, path)),
            x.storage_offset(),
            tuple(x.shape),
            tuple(x.stride()),
            x.requires_grad and not parameter,
            hooks,
        )
        if parameter:
            rebuild = "torch._utils _rebuild_parameter"
            code = self._call(rebuild, Code(code), x.requires_grad, hooks)
        return code

    def _sparse(self, x: Any, path: str) -> bytes:
        if x.layout == lucid.sparse_csr:
            parts = (x.crow_indices(), x.col_indices(), x.values().detach(), tuple(x.shape))
        else:
            known = x.is_coalesced()
            parts = (x._indices(), x._values().detach(), tuple(x.shape), known)
        self._kept += parts  # what the memo knows by address
        kind = Code(self._call("torch.serialization _get_layout", f"torch.{x.layout}"))
        return self._call("torch._utils _rebuild_sparse_tensor", kind, Code(
            b"(" + b"".join([self.pickle(part, path) for part in parts]) + b"t"
        ))  # fmt: skip

    def _storage(self, x: Any, path: str) -> bytes:
        """("storage", type, key, location, count) and the instruction that looks it up."""
        block, kind = x._storage, x.dtype
        if id(block) not in self._keys:
            self._keys[id(block)] = len(self.blocks), kind
            self.blocks.append(block)
        key, known = self._keys[id(block)]
        if known is not kind:
            raise TypeError(
                f"lucid.save: {path or 'the object'} shares memory with a tensor of {known!r}, "
                "which this format does not hold; save a clone()"
            )
        return (
            b"(" + self.pickle("storage", path) + _name(f"torch {STORAGE_OF[kind.name]}")
            + self.pickle(str(key), path) + self.pickle("cpu", path)
            + self.pickle(block.nbytes // kind.itemsize, path) + b"tQ"
        )  # fmt: skip

    def _array(self, x: Any, path: str) -> bytes:
        array = np.asarray(x)
        if array.dtype.kind not in "?biufcSU":
            raise TypeError(f"lucid.save: {path or 'the object'} is a NumPy array of {array.dtype}")
        order = "<" if array.itemsize > 1 else "|"
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        kind = self._call("numpy dtype", array.dtype.str[1:], False, True)
        sizes = (array.itemsize // 4, 4) if array.dtype.kind == "U" else (-1, -1)
        if array.dtype.kind == "S":
            sizes = (array.itemsize, 1)
        kind += self.pickle((3, order, None, None, None, *sizes, 0), path) + b"b"
        if isinstance(x, np.generic):
            return self._call("numpy.core.multiarray scalar", Code(kind), array.tobytes())
        made = self._call(
            "numpy.core.multiarray _reconstruct", Code(_name("numpy ndarray")), (0,), b"b"
        )
        state = b"(" + self.pickle(1, path) + self.pickle(tuple(array.shape), path) + kind
        return made + state + b"\x89" + self.pickle(array.tobytes(), path) + b"tb"


class Code:
    """Instructions, in the place of a value."""

    def __init__(self, code: bytes):
        self.code = code


def _name(name: str) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n"
