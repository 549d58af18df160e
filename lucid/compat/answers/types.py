"""`torch.types`: names for annotations."""

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import lucid

Tensor = lucid.Tensor
Device: TypeAlias = Any  # a device, its name or number, or None
Number: TypeAlias = int | float | bool
_TensorOrTensors: TypeAlias = lucid.Tensor | Sequence[lucid.Tensor]
_int, _float, _bool, _complex = int, float, bool, complex
_dtype = lucid.dtype
_device = lucid.device
_size: TypeAlias = Sequence[int]
FileLike: TypeAlias = str | os.PathLike | Any
