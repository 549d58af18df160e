"""Data sets of images: MNIST, FashionMNIST, CIFAR10 and CIFAR100, read in their original formats.

Called by users as `lucid.datasets`; loaded on first use. Files come from a folder of yours, or from
a mirror that you name: nothing is ever downloaded unasked.
"""

from lucid.datasets.cifar import CIFAR10, CIFAR100
from lucid.datasets.download import DownloadError, fetch
from lucid.datasets.idx import read_idx
from lucid.datasets.images import ImageDataset
from lucid.datasets.mnist import MNIST, FashionMNIST

__all__ = [
    "CIFAR10", "CIFAR100", "DownloadError", "FashionMNIST", "ImageDataset", "MNIST", "fetch",
    "read_idx",
]  # fmt: skip
