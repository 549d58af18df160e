"""Reading PyTorch's checkpoints: zip archives, and the two older forms, without PyTorch.

Called by checkpoint.py. unpickle.py interprets what is pickled, allowed.py says what it may name;
this file finds the bytes that belong to it, each length checked against the file's.
"""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

import lucid
from lucid import storage
from lucid.dtypes import dtype
from lucid.io.allowed import Find, StorageType, Stored, tensor_of
from lucid.io.mapped import Mapped
from lucid.io.unpickle import Malformed, Source, load

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
Locate = Callable[[Any, str], None]  # raises where a storage of that device cannot be here


def read_zip(file: BinaryIO, find: Find, locate: Locate, mapped: Mapped | None) -> Any:
    """A zip archive: data.pkl, and each storage as an entry of its own."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise Malformed(f"it is no readable zip archive: {error}") from error
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(pickles) != 1:
        raise Malformed(f"the archive has {len(pickles)} entries data.pkl instead of one")
    folder = pickles[0].removesuffix("data.pkl")
    if folder + "constants.pkl" in entries:
        raise Malformed("it is a TorchScript archive, which holds code")
    reader = _Zip(file, entries, folder, mapped)
    if folder + "byteorder" in entries and bytes(reader.read("byteorder")) != b"little":
        raise Malformed("its bytes are not in little-endian order")
    known: dict[Any, tuple[Any, int]] = {}

    def persistent(name: Any) -> Stored:
        kind, key, location, count, rest = _storage_id(name)
        if rest:
            raise Malformed("a storage is described by too many things")
        if key not in known:
            locate(key, location)
            block = reader.block(f"data/{key}")
            known[key] = block, block.nbytes
        block, length = known[key]
        size = 1 if kind is None else kind.itemsize
        if count * size > length:
            raise Malformed(f"storage {key} has {length} bytes instead of {count * size}")
        return Stored(block, kind, (0, length))

    data = bytes(reader.read("data.pkl"))
    return load(Source(io.BytesIO(data), len(data)), find, persistent)


class _Zip:
    """The entries of an archive, which are stored without compression."""

    def __init__(self, file: BinaryIO, entries: dict, folder: str, mapped: Mapped | None):
        self.file = file
        self.entries = entries
        self.folder = folder
        self.mapped = mapped
        self.length = file.seek(0, io.SEEK_END)

    def place(self, name: str) -> tuple[int, Any]:
        """Where the bytes of an entry begin."""
        entry = self.entries.get(self.folder + name)
        if entry is None:
            raise Malformed(f"the archive has no entry {name[:80]!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise Malformed(f"the entry {name[:80]!r} is compressed or encrypted")
        if not 0 <= entry.header_offset <= self.length - LOCAL_HEADER.size:
            raise Malformed(f"the entry {name[:80]!r} lies outside of the file")
        self.file.seek(entry.header_offset)
        header = LOCAL_HEADER.unpack(self.file.read(LOCAL_HEADER.size))
        if header[0] != b"PK\x03\x04":
            raise Malformed(f"the entry {name[:80]!r} has no header")
        start = entry.header_offset + LOCAL_HEADER.size + header[-2] + header[-1]
        if start + entry.file_size > self.length or entry.file_size != entry.compress_size:
            raise Malformed(f"the entry {name[:80]!r} is longer than the file")
        return start, entry

    def read(self, name: str) -> Any:
        return memoryview(self.block(name, False))

    def block(self, name: str, may_map: bool = True) -> Any:
        """The bytes of an entry as a storage; a checksum of 0 means that none was made."""
        start, entry = self.place(name)
        if self.mapped is not None and may_map:
            return self.mapped.block(start, entry.file_size)
        block = storage.allocate(entry.file_size)
        if entry.file_size:
            self.file.seek(start)
            Source(self.file, self.length - start).fill(block)
            if entry.CRC and zlib.crc32(block) != entry.CRC:
                raise Malformed(f"the entry {name[:80]!r} differs from its checksum")
        return block


def _storage_id(name: Any) -> tuple[dtype | None, Any, str, int, tuple]:
    """("storage", type, key, location, count, ...), checked."""
    if not isinstance(name, tuple) or len(name) < 5 or name[0] not in ("storage", b"storage"):
        raise Malformed("something outside of the pickle is no storage")
    _, kind, key, location, count, *rest = name
    location = location.decode() if isinstance(location, bytes) else location
    if not isinstance(kind, StorageType) or not isinstance(location, str):
        raise Malformed("a storage is described by something else")
    if not isinstance(key, str | int) or type(count) is not int or not 0 <= count < 2**48:
        raise Malformed("a storage is described by something else")
    return kind.kind, key, location, count, tuple(rest)


def read_legacy(file: BinaryIO, find: Find, locate: Locate) -> Any:
    """The form before 1.6: five pickles in a row, then the bytes of each storage."""
    start = file.tell()
    length = file.seek(0, io.SEEK_END)
    file.seek(start)
    source = Source(file, length - start)
    if load(source, find) != MAGIC_NUMBER:
        raise Malformed("it is a pickle, but not of a checkpoint")
    if load(source, find) != PROTOCOL:
        raise Malformed("it has another protocol than 1001")
    system = load(source, find)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise Malformed("its bytes are not in little-endian order")
    roots: dict[Any, Stored] = {}
    views: dict[Any, Stored] = {}
    stated = 0

    def persistent(name: Any) -> Any:
        nonlocal stated
        if isinstance(name, tuple) and name[:1] == ("module",):
            raise Malformed("it holds a whole module, which is code; save its state_dict()")
        kind, key, location, count, rest = _storage_id(name)
        if kind is None:
            raise Malformed("a storage has no dtype")
        if key not in roots:
            locate(key, location)
            stated += count * kind.itemsize
            if stated > source.left:
                raise Malformed(f"storages of {stated} bytes are stated, the file ends before")
            block = storage.allocate(count * kind.itemsize)
            roots[key] = Stored(block, kind, (0, count * kind.itemsize))
        view = rest[0] if rest else None
        return roots[key] if view is None else _part(views, roots[key], view)

    result = load(source, find, persistent)
    keys = load(source, find)
    if not isinstance(keys, list) or set(keys) != set(roots) or len(keys) != len(roots):
        raise Malformed("the list of storages is not that of the tensors")
    for key in keys:
        _fill(source, roots[key])
    return result


def _fill(source: Source, stored: Stored) -> None:
    """The bytes of a storage, after their count of elements."""
    count = source.number("<q")
    length = stored.window[1]
    if count * stored.kind.itemsize != length:
        raise Malformed(f"a storage has {count} elements instead of {length} bytes")
    if length:
        source.fill(stored.block)


def _part(views: dict[Any, Stored], root: Stored, view: Any) -> Stored:
    """A storage that is a part of another: (key, offset, count)."""
    if not isinstance(view, tuple) or len(view) != 3:
        raise Malformed("a part of a storage is described by something else")
    key, offset, count = view
    if type(offset) is not int or type(count) is not int or offset < 0 or count < 0:
        raise Malformed("a part of a storage is described by something else")
    size = root.kind.itemsize
    start, length = root.window
    if (offset + count) * size > length:
        raise Malformed("a part of a storage reaches beyond it")
    return views.setdefault(
        key, Stored(root.block, root.kind, (start + offset * size, count * size))
    )


def read_tar(file: BinaryIO, find: Find, locate: Locate) -> Any:
    """The oldest form: a tar archive of `storages`, `tensors` and `pickle`."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            storages, tensors, pickled = (
                _member(archive, name) for name in ("storages", "tensors", "pickle")
            )
            return _read_tar(storages, tensors, pickled, find, locate)
    except (tarfile.TarError, OSError, UnicodeError, struct.error) as error:
        raise Malformed(f"it is no readable tar archive: {error}") from error


def _member(archive: tarfile.TarFile, name: str) -> Source:
    try:
        member = archive.getmember(name)
        file = archive.extractfile(member)
    except KeyError:
        file = None
    if file is None:
        raise Malformed(f"the archive has no file {name}")
    return Source(file, member.size)  # type: ignore[arg-type]


def _read_tar(
    storages: Source, tensors: Source, pickled: Source, find: Find, locate: Locate
) -> Any:
    known: dict[Any, Any] = {}
    for _ in range(_count(load(storages, find))):
        key, location, kind = load(storages, find)
        if not isinstance(kind, StorageType) or kind.kind is None or not isinstance(location, str):
            raise Malformed("a storage is described by something else")
        locate(key, location)
        count = struct.unpack("<q", storages.take(8))[0]
        if not 0 <= count * kind.kind.itemsize <= storages.left:
            raise Malformed(f"a storage of {count} elements is stated, the file ends before")
        block = storage.allocate(count * kind.kind.itemsize)
        if count:
            storages.fill(block)
        known[key] = Stored(block, kind.kind, (0, block.nbytes))
    for target, root, offset, count in load(storages, find):
        known[target] = _part({}, known[root], (target, offset, count))
    for _ in range(_count(load(tensors, find))):
        key, root, _kind = load(tensors, find)
        dims = tensors.number("<i")
        tensors.take(4)  # the number of dimensions took 8 bytes once
        if not 0 <= dims <= 64:
            raise Malformed(f"a tensor has {dims} dimensions")
        shape = struct.unpack(f"<{dims}q", tensors.take(8 * dims))
        stride = struct.unpack(f"<{dims}q", tensors.take(8 * dims))
        known[key] = tensor_of(known[root], tensors.number("<q"), shape, stride)

    def persistent(name: Any) -> Any:
        if isinstance(name, tuple):
            raise Malformed("it holds a whole module, which is code; save its state_dict()")
        found = known.get(name, known.get(int(name)) if isinstance(name, str) else None)
        if found is None:
            raise Malformed(f"there is no tensor {str(name)[:40]}")
        return found

    return load(pickled, find, persistent)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**32:
        raise Malformed("a count is no number")
    return value


def check_booleans(value: Any) -> None:
    """Raise for booleans that are neither 0 nor 1, on which the results of ops would depend."""
    seen: set[int] = set()
    open_ = [value]
    while open_:
        x = open_.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, lucid.Tensor):
            if x.dtype is lucid.bool and x.numel():
                block: Any = x._storage
                # An expanded tensor may show its few bytes any number of times.
                large = block is None or x.numel() > block.nbytes
                shown = np.frombuffer(block, np.uint8) if large else x.detach().numpy()
                if shown.view(np.uint8).max() > 1:
                    raise Malformed("a tensor of booleans has bytes other than 0 and 1")
        elif isinstance(x, dict):
            open_ += [*x.keys(), *x.values()]
        elif isinstance(x, list | tuple | set | frozenset):
            open_ += list(x)
        elif hasattr(x, "__dict__") and type(x).__module__ in ("argparse", "types"):
            open_ += list(vars(x).values())
