"""What the data sets have in common: where files are looked for, samples, classes.

Base of the classes in mnist.py and cifar.py.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

import lucid
from lucid.data.dataset import Dataset
from lucid.datasets.download import fetch
from lucid.lazy import lazy

_image = lazy("PIL.Image", extra="images")


class File(NamedTuple):
    """A file as its authors publish it: name, SHA-256, bytes."""

    name: str
    checksum: str
    size: int


class ImageDataset(Dataset[Any]):
    """Images with labels: sample i is (image, label), as the transforms make them.

    root: the folder with the files. train: the training part, else the test part. transform,
    target_transform: what is done to an image and to a label. download: fetch from `mirror` (a URL
    of a folder, http, https or file) what is missing. checksums: {file name: hexadecimal digest},
    for a mirror with files other than the original ones. pil: images are PIL's, as torchvision's
    are; otherwise uint8 tensors of shape (channels, height, width).

    `data` and `targets` hold all images and labels, `classes` the names of the labels.
    """

    classes: list[str]
    data: Any
    targets: Any
    archives: ClassVar[tuple[File, ...]] = ()

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
        *,
        mirror: str | None = None,
        checksums: Mapping[str, str] | None = None,
        pil: bool = False,
    ):
        self.root = os.path.expanduser(os.fspath(root))
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        self.pil = pil
        if download:
            if mirror is None:
                raise ValueError(
                    f"{self._name()}: download=True needs mirror=, the URL of the folder that has "
                    f"{', '.join(file.name for file in self.archives)}"
                )
            self._download(mirror, checksums or {})
        self._load()
        if len(self.data) != len(self.targets):
            raise ValueError(
                f"{self._name()}: {len(self.data)} images stand beside {len(self.targets)} labels"
            )

    @classmethod
    def _name(cls) -> str:
        return cls.__name__

    def _folders(self) -> list[Path]:
        """Where files are looked for, best first; downloads go to the first."""
        raise NotImplementedError

    def _load(self) -> None:
        """Set data, targets and classes from the files."""
        raise NotImplementedError

    def _has(self, file: File) -> bool:
        """Whether the contents of an archive are there."""
        return self._find((file.name,)) is not None

    def _download(self, mirror: str, checksums: Mapping[str, str]) -> None:
        unknown = set(checksums) - {file.name for file in self.archives}
        if unknown:
            raise ValueError(f"{self._name()}: checksums names {sorted(unknown)}, which it has not")
        for file in self.archives:
            if not self._has(file):
                given = checksums.get(file.name)
                fetch(
                    f"{mirror.rstrip('/')}/{file.name}",
                    self._folders()[0] / file.name,
                    given or file.checksum,
                    size=None if given else file.size,
                )

    def _find(self, names: Iterable[str]) -> Path | None:
        """The first file of one of these names."""
        for folder in self._folders():
            for name in names:
                if (folder / name).is_file():
                    return folder / name
        return None

    def _missing(self, names: Iterable[str]) -> FileNotFoundError:
        """What to raise where none of these files is there."""
        looked = ", ".join(str(folder) for folder in self._folders())
        return FileNotFoundError(
            f"{self._name()}: {' or '.join(names)} is in none of the folders {looked}; put it "
            "there, or give download=True and mirror=, the URL of a folder that has it"
        )

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class."""
        return {name: number for number, name in enumerate(self.classes)}

    def _pixels(self, index: int) -> np.ndarray:
        """Image number `index` as uint8, (height, width) or (height, width, channels)."""
        return np.asarray(self.data[index])

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        pixels = self._pixels(index)
        if self.pil:
            image = _image.fromarray(np.ascontiguousarray(pixels))
        else:
            planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
            # A copy: what a transform does in place must not reach the data.
            image = lucid.from_numpy(np.array(planes, order="C"))
        label: Any = int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        part = "train" if self.train else "test"
        lines = [f"{self._name()}: {len(self)} images ({part}) of {self.root}"]
        for name in ("transform", "target_transform"):
            if getattr(self, name) is not None:
                lines.append(f"    {name}: {getattr(self, name)!r}")
        return "\n".join(lines)
