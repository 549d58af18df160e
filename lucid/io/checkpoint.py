"""`lucid.save` and `lucid.load`: nested data with tensors, as one safetensors file.

Called by users. A file is replaced in one step, so that an interrupted save leaves the old one.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any, BinaryIO

import lucid
from lucid.io import container
from lucid.io.structure import Decoder, Encoder

KEY = "lucid.structure"
MAGIC = {b"PK\x03\x04": "a zip archive, as torch.save writes it", b"\x80": "a pickle"}


def save(obj: Any, f: str | os.PathLike | BinaryIO) -> None:
    """Write `obj` to the path or binary file `f` in the safetensors format.

    `obj` is a tensor, or dicts, lists and tuples of tensors, NumPy arrays, numbers, strings, bytes,
    None, dtypes and devices, to any depth up to 200. Tensors that share memory are stored once and
    share memory again when loaded; a view stores what it shows. Parameters and `requires_grad`
    come back; graphs do not. Any safetensors reader finds the tensors under their paths
    ("model.0.weight"); the structure is JSON in the metadata.

    A path is written atomically: a temporary file in the same directory, fsync, rename. TypeError
    names the part that cannot be saved, before anything is written.

    >>> import lucid, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "x.safetensors")
    >>> lucid.save({"step": 3, "w": lucid.ones(2)}, path)
    >>> lucid.load(path)
    {'step': 3, 'w': tensor([1., 1.])}
    """
    encoder = Encoder(obj)
    metadata = {"format": "lucid", KEY: json.dumps(encoder.tree, allow_nan=False)}
    if hasattr(f, "write"):
        container.write(f, encoder.arrays, metadata)  # type: ignore[arg-type]
    else:
        _replace(Path(os.path.realpath(os.fspath(f))), encoder, metadata)


def load(
    f: str | os.PathLike | BinaryIO, map_location: Any = None, *, weights_only: bool = True
) -> Any:
    """Read what `save` wrote to the path or seekable binary file `f`.

    A safetensors file of another program gives the dict of its tensors. Nothing in a file is ever
    executed, so `weights_only` may be either: it is what always happens. `map_location` names a
    device; the CPU is the only one yet. ValueError says what is wrong with a malformed file.
    """
    if not isinstance(weights_only, bool):
        raise TypeError(f"lucid.load: weights_only is a bool, got {weights_only!r}")
    if map_location is not None:
        lucid.device(map_location)  # raises for a device that is not there
    if hasattr(f, "read"):
        return _read(f, getattr(f, "name", "the file"))  # type: ignore[arg-type]
    with open(f, "rb") as file:
        return _read(file, os.fspath(f))


def _read(file: BinaryIO, name: object) -> Any:
    start = file.tell()
    head = file.read(9)
    file.seek(start)
    for magic, what in MAGIC.items():
        if head.startswith(magic) and head[8:] != b"{":  # where the header of safetensors begins
            raise ValueError(f"lucid.load: {name} is {what}; expected safetensors")
    try:
        arrays, metadata = container.read(file)
        if KEY not in metadata:
            return {key: lucid.from_numpy(x) for key, x in arrays.items()}
        return Decoder(arrays).decode(container.parse_json(metadata[KEY]))
    except ValueError as error:
        raise ValueError(f"lucid.load: {name} is malformed: {error}") from error


def _replace(path: Path, encoder: Encoder, metadata: dict[str, str]) -> None:
    """Write beside `path` and rename over it; on any failure the old file stays as it was."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        # "x" makes the file with the umask's permissions and never follows a planted link.
        with open(temporary, "xb") as file:
            container.write(file, encoder.arrays, metadata)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself must survive a power cut
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
