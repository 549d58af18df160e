"""CIFAR10 and CIFAR100: colour images of 32x32 in pickles, which are read as data alone.

Called by users through `lucid.datasets`. The archive is read as it is, or the files taken from it.
"""

import io
import tarfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lucid.datasets.images import File, ImageDataset
from lucid.io.allowed import find
from lucid.io.unpickle import Malformed, Source, load

MOST = 1 << 29  # bytes of a file in an archive
SIDE = 32


class CIFAR10(ImageDataset):
    """Small colour images of ten classes (Krizhevsky, 2009): 50,000 and 10,000 of 32x32.

    Looks for the folder root/cifar-10-batches-py, for its files in root itself, and for the
    archive root/cifar-10-python.tar.gz, which is read without being unpacked. The files are
    pickles; an interpreter of data reads them, so that nothing in them is executed.
    `data` is a NumPy array (N, 32, 32, 3) of bytes, `targets` a list of numbers.

    >>> from lucid.datasets import CIFAR10
    >>> CIFAR10("/nowhere", download=True)
    Traceback (most recent call last):
    ValueError: CIFAR10: download=True needs mirror=, the URL of the folder that has cifar-10-p...
    """

    archives = (
        File(
            "cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            170498071,
        ),
    )
    folder: ClassVar[str] = "cifar-10-batches-py"
    train_files: ClassVar[tuple[str, ...]] = tuple(f"data_batch_{i}" for i in range(1, 6))
    test_files: ClassVar[tuple[str, ...]] = ("test_batch",)
    meta: ClassVar[tuple[str, str]] = ("batches.meta", "label_names")
    labels: ClassVar[str] = "labels"

    def _folders(self) -> list[Path]:
        return [Path(self.root), Path(self.root) / self.folder]

    def _has(self, file: File) -> bool:
        names = (*self.train_files, *self.test_files, self.meta[0])
        return super()._has(file) or all(self._find((name,)) for name in names)

    def _load(self) -> None:
        names = self.train_files if self.train else self.test_files
        files = self._files((self.meta[0], *names))
        meta = _read_pickle(*files[self.meta[0]])
        self.classes = _strings(meta.get(self.meta[1]), files[self.meta[0]][0])
        images, self.targets = [], []
        for name in names:
            path, data = files[name]
            batch = _read_pickle(path, data)
            images.append(_images(batch.get("data"), path))
            self.targets += _numbers(batch.get(self.labels), len(self.classes), path)
        planes = np.concatenate(images).reshape(-1, 3, SIDE, SIDE)
        self.data = planes.transpose(0, 2, 3, 1)

    def _files(self, names: tuple[str, ...]) -> dict[str, tuple[str, bytes]]:
        """Where each file was found, and its bytes."""
        paths = {name: self._find((name,)) for name in names}
        archive = self._find((self.archives[0].name,))
        absent = [name for name, path in paths.items() if path is None]
        if absent and archive is not None:
            return _from_archive(archive, self.folder, names)
        if absent:
            raise self._missing((self.archives[0].name, absent[0]))
        return {name: (str(path), path.read_bytes()) for name, path in paths.items() if path}


class CIFAR100(CIFAR10):
    """Small colour images of a hundred classes (Krizhevsky, 2009): 50,000 and 10,000 of 32x32.

    As `CIFAR10`, with the folder cifar-100-python and the archive cifar-100-python.tar.gz; the
    labels are the fine ones.

    >>> from lucid.datasets import CIFAR100
    >>> CIFAR100("/nowhere")
    Traceback (most recent call last):
    FileNotFoundError: CIFAR100: cifar-100-python.tar.gz or meta is in none of the folders ...
    """

    archives = (
        File(
            "cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            169001437,
        ),
    )
    folder = "cifar-100-python"
    train_files = ("train",)
    test_files = ("test",)
    meta = ("meta", "fine_label_names")
    labels = "fine_labels"


def _from_archive(
    archive: Path, folder: str, names: tuple[str, ...]
) -> dict[str, tuple[str, bytes]]:
    """The bytes of the files `names` of an archive; nothing is written to the disk."""
    found: dict[str, tuple[str, bytes]] = {}
    try:
        with tarfile.open(archive, "r|gz") as entries:  # a stream: read once, from front to end
            for entry in entries:
                name = entry.name.removeprefix("./").removeprefix(folder + "/")
                if name not in names or name in found or not entry.isfile():
                    continue
                if entry.size > MOST:
                    raise ValueError(f"{archive}: {entry.name} has {entry.size} bytes")
                file = entries.extractfile(entry)
                found[name] = f"{archive}: {entry.name}", file.read() if file else b""
                if len(found) == len(names):
                    break
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{archive} is damaged: {error}; remove it to get it again") from error
    absent = [name for name in names if name not in found]
    if absent:
        raise ValueError(f"{archive} has no file {folder}/{absent[0]}")
    return found


def _read_pickle(path: str, data: bytes) -> dict[str, Any]:
    """The dict that a file holds; its keys are strings, whichever Python wrote it."""
    try:
        value = load(Source(io.BytesIO(data), len(data)), find)
    except Malformed as error:
        raise ValueError(f"{path} is no pickle of data: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__} instead of a dict")
    return {_text(key): item for key, item in value.items()}


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _images(value: Any, path: str) -> np.ndarray:
    size = 3 * SIDE * SIDE
    fits = isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == size
    if not fits or value.dtype != np.uint8:
        shape = getattr(value, "shape", type(value).__name__)
        raise ValueError(f"{path}: 'data' is {shape} instead of bytes of shape (N, {size})")
    return value


def _numbers(value: Any, classes: int, path: str) -> list[int]:
    if not isinstance(value, list) or any(
        type(label) is not int or not 0 <= label < classes for label in value
    ):
        raise ValueError(f"{path}: the labels are no list of numbers from 0 to {classes - 1}")
    return value


def _strings(value: Any, path: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str | bytes) for name in value):
        raise ValueError(f"{path}: the names of the classes are no list of strings")
    return [_text(name) for name in value]
