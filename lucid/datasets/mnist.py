"""MNIST and FashionMNIST: gray images of 28x28 in IDX files.

Called by users through `lucid.datasets`.
"""

from pathlib import Path

import numpy as np

import lucid
from lucid.datasets.idx import read_idx
from lucid.datasets.images import File, ImageDataset

PARTS = {True: "train", False: "t10k"}


class MNIST(ImageDataset):
    """Handwritten digits (LeCun, Bottou, Bengio, Haffner, 1998): 60,000 and 10,000 of 28x28.

    Looks for `train-images-idx3-ubyte` and its like, gzipped or not, in root/MNIST/raw,
    root/MNIST and root. `data` is a uint8 tensor (N, 28, 28), `targets` an int64 tensor (N).

    >>> from lucid.datasets import MNIST
    >>> MNIST("/nowhere")
    Traceback (most recent call last):
    FileNotFoundError: MNIST: train-images-idx3-ubyte or train-images-idx3-ubyte.gz is in ...
    """

    archives = (
        File(
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            9912422,
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            28881,
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            1648877,
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            4542,
        ),
    )
    classes = ["0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six",
               "7 - seven", "8 - eight", "9 - nine"]  # fmt: skip

    def _folders(self) -> list[Path]:
        root = Path(self.root)
        return [root / self._name() / "raw", root / self._name(), root]

    def _has(self, file: File) -> bool:
        return self._find((file.name, file.name.removesuffix(".gz"))) is not None

    def _read(self, what: str, rank: int) -> np.ndarray:
        name = f"{PARTS[bool(self.train)]}-{what}-idx{rank}-ubyte"
        path = self._find((name, name + ".gz"))
        if path is None:
            raise self._missing((name, name + ".gz"))
        array = read_idx(path)
        if array.ndim != rank or array.dtype != np.uint8:
            raise ValueError(
                f"{path} holds {array.dtype} numbers of shape {array.shape}, not bytes in {rank} "
                "dimensions"
            )
        return array

    def _load(self) -> None:
        self.data = lucid.from_numpy(self._read("images", 3))
        labels = self._read("labels", 1)
        if labels.size and labels.max() >= len(self.classes):
            raise ValueError(f"{self._name()}: the label {labels.max()} is above 9")
        self.targets = lucid.from_numpy(labels.astype(np.int64))


class FashionMNIST(MNIST):
    """Articles of clothing (Xiao, Rasul, Vollgraf, 2017), in the files and sizes of MNIST.

    Looks in root/FashionMNIST/raw, root/FashionMNIST and root.

    >>> from lucid.datasets import FashionMNIST
    >>> FashionMNIST.classes[9]
    'Ankle boot'
    """

    archives = (
        File(
            "train-images-idx3-ubyte.gz",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            26421880,
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            29515,
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            4422102,
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            5148,
        ),
    )
    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
               "Bag", "Ankle boot"]  # fmt: skip
