"""The handwritten digits that ship with Lucid, as tensors.

Called by `demo.py`. Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits,
UCI Machine Learning Repository, 1998, doi.org/10.24432/C50P49 (CC BY 4.0).
"""

from pathlib import Path
from typing import Any

import numpy as np

import lucid
from lucid.data import Subset, TensorDataset, random_split

FILE = Path(__file__).with_name("digits.npz")


def digits() -> TensorDataset:
    """All 1,797 digits: images (1797, 1, 8, 8) float32 in 0..1, labels (1797,) int64."""
    with np.load(FILE, allow_pickle=False) as stored:
        images = stored["images"].astype(np.float32)[:, None] / 16
        labels = stored["labels"].astype(np.int64)
    return TensorDataset(lucid.from_numpy(images), lucid.from_numpy(labels))


def split(seed: int) -> list[Subset[tuple[Any, ...]]]:
    """The digits cut at random: 1,437 to learn from and 360 held out."""
    return random_split(digits(), [1437, 360], generator=lucid.Generator().manual_seed(seed))
