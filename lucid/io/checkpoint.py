"""`lucid.save` and `lucid.load`: nested data with tensors, as safetensors or as PyTorch's files.

Called by users. A file is replaced in one step, so that an interrupted save leaves the old one.
"""

import functools
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import lucid
from lucid.error import UnknownDeviceError
from lucid.io import container, torch_read, torch_write
from lucid.io.allowed import find
from lucid.io.atomic import replace_file
from lucid.io.mapped import Mapped
from lucid.io.sharded import load_sharded
from lucid.io.structure import Decoder, Encoder
from lucid.io.unpickle import WRONG

KEY = "lucid.structure"
FORMATS = ("safetensors", "torch")


def save(obj: Any, f: str | os.PathLike | BinaryIO, *, format: str = "safetensors") -> None:
    """Write `obj` to the path or binary file `f`, as safetensors or in PyTorch's format.

    `obj` is a tensor, or dicts, lists and tuples of tensors, NumPy arrays, numbers, strings, bytes,
    None, dtypes and devices, to any depth up to 200. Parameters and `requires_grad` come back;
    graphs do not. TypeError names the part that cannot be saved, before anything is written.

    "safetensors": tensors that share memory are stored once and share memory again when loaded; a
    view stores what it shows. Any safetensors reader finds the tensors under their paths
    ("model.0.weight"); the structure is JSON in the metadata.
    "torch": the zip archive that `torch.load` reads, with whole storages, as PyTorch writes them.

    A path is written atomically: a temporary file in the same directory, fsync, rename.

    >>> import lucid, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "x.safetensors")
    >>> lucid.save({"step": 3, "w": lucid.ones(2)}, path)
    >>> lucid.load(path)
    {'step': 3, 'w': tensor([1., 1.])}
    """
    if format not in FORMATS:
        raise ValueError(f"lucid.save: format={format!r} is not one of {', '.join(FORMATS)}")
    if format == "torch":
        prepared = io.BytesIO() if hasattr(f, "write") else None
        if prepared is None:
            replace_file(f, lambda file: torch_write.write(file, obj))  # type: ignore[arg-type]
        else:  # a zip archive is written with seeks, which a stream may not have
            torch_write.write(prepared, obj)
            f.write(prepared.getbuffer())  # type: ignore[union-attr]
        return
    encoder = Encoder(obj)
    metadata = {"format": "lucid", KEY: json.dumps(encoder.tree, allow_nan=False)}
    if hasattr(f, "write"):
        container.write(f, encoder.arrays, metadata)  # type: ignore[arg-type]
    else:
        replace_file(f, lambda file: container.write(file, encoder.arrays, metadata))


def load(
    f: str | os.PathLike | BinaryIO,
    map_location: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
) -> Any:
    """Read a checkpoint from the path or seekable binary file `f`.

    What `save` wrote, a safetensors file of another program (the dict of its tensors), a checkpoint
    of PyTorch in any of its formats, or the index of one in several files
    (`model.safetensors.index.json`). Nothing in a file is ever executed, so `weights_only` may be
    either: it is what always happens. A name in a file that is not data is a ValueError, as is a
    malformed file; either says what is wrong.

    `map_location`: where tensors of other devices go: a device, a dict from names in the file to
    devices, or a function of a storage and its name; the CPU is the only device yet, and a file
    from a GPU needs it. `mmap=True` maps the file at a path: its tensors are read when they are
    used, and writing to them does not change the file.
    """
    if weights_only not in (None, True, False):
        raise TypeError(f"lucid.load: weights_only is a bool, got {weights_only!r}")
    locate, instead = _locations(map_location)
    if hasattr(f, "read"):
        if mmap:
            raise ValueError("lucid.load: mmap=True needs a path")
        return _read(f, getattr(f, "name", "the file"), locate, instead, None)  # type: ignore[arg-type]
    path = Path(os.fspath(f))
    if path.name.endswith(".index.json"):
        options: dict[str, Any] = {"map_location": map_location, "mmap": mmap}
        return load_sharded(path, functools.partial(load, **options))
    with open(path, "rb") as file:
        return _read(file, path, locate, instead, Mapped(path) if mmap else None)


def _read(file: BinaryIO, name: object, locate: Any, instead: Any, mapped: Mapped | None) -> Any:
    start = file.tell()
    head = file.read(512)
    file.seek(start)
    known = functools.partial(find, instead=instead)
    try:
        if head.startswith(b"PK\x03\x04"):
            result = torch_read.read_zip(file, known, locate, mapped)
        elif head.startswith((b"\x80", b"(")) and head[8:9] != b"{":  # as safetensors begins
            _refuse_map(name, mapped)
            result = torch_read.read_legacy(file, known, locate)
        elif head[257:262] == b"ustar" or _is_old_tar(head):
            _refuse_map(name, mapped)
            result = torch_read.read_tar(file, known, locate)
        else:
            return _read_safetensors(file, mapped)
        torch_read.check_booleans(result)
        return result
    except ValueError as error:
        raise ValueError(f"lucid.load: {name} is malformed: {error}") from error
    except WRONG as error:
        kind = type(error).__name__
        raise ValueError(f"lucid.load: {name} is malformed: {kind}: {error}") from error


def _read_safetensors(file: BinaryIO, mapped: Mapped | None) -> Any:
    arrays, metadata = container.read(file, mapped)
    if KEY not in metadata:
        return {key: lucid.from_numpy(x) for key, x in arrays.items()}
    return Decoder(arrays).decode(container.parse_json(metadata[KEY]))


def _is_old_tar(head: bytes) -> bool:
    """Whether a header of the first tar format is here: a name, and its checksum in octal."""
    digits = head[148:156].strip(b" \0")
    if len(head) < 512 or not digits or digits.strip(b"01234567"):
        return False
    total = sum(head[:148]) + sum(head[156:512]) + 8 * ord(" ")
    return total == int(digits, 8)


def _refuse_map(name: object, mapped: Mapped | None) -> None:
    if mapped is not None:
        raise ValueError(f"mmap=True needs the zip format or safetensors, which {name} is not")


def _locations(given: Any) -> tuple[Callable[[Any, str], None], Any]:
    """What raises where a storage of a device cannot be here, and the device that replaces it."""
    if callable(given):
        return functools.partial(_by_function, given), lucid.device("cpu")
    if isinstance(given, dict):
        table = {str(key): lucid.device(value) for key, value in given.items()}
        return functools.partial(_by_table, table), lucid.device("cpu") if table else None
    if given is not None:
        device = lucid.device(given)  # raises for a device that is not there
        return lambda key, location: None, device
    return functools.partial(_by_table, {}), None


def _by_table(table: dict[str, Any], key: Any, location: str) -> None:
    if location in table:
        return
    try:
        lucid.device(location)
    except UnknownDeviceError as error:
        raise RuntimeError(
            f"lucid.load: storage {key} is on {location!r}, which is not here; give "
            "map_location='cpu'"
        ) from error


def _by_function(function: Any, key: Any, location: str) -> None:
    marker = object()
    found = function(marker, location)
    if found is None:
        _by_table({}, key, location)
    elif found is not marker:
        raise NotImplementedError(
            "lucid.load: a map_location function returns the storage it is given, or None; got "
            f"{type(found).__name__}"
        )
