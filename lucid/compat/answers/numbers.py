"""PyTorch's number types that Lucid has not: they can be named and compared, not used.

Called by root.py. Libraries write them in tables and ask `x.dtype == torch.uint16`, which is False.
"""

from typing import NoReturn

import ml_dtypes
import numpy as np


class AbsentType:
    """A number type without kernels. An op that is given one raises TypeError."""

    def __init__(self, name: str, itemsize: int, floating: bool):
        self.name, self.itemsize, self.is_floating_point = name, itemsize, floating
        self.is_complex, self.is_signed = False, floating
        self.numpy = np.dtype(getattr(ml_dtypes, name, None) or name)  # for finfo and iinfo

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise TypeError(f"torch.{self.__dict__['name']} is not in Lucid")


uint16 = AbsentType("uint16", 2, False)
uint32 = AbsentType("uint32", 4, False)
uint64 = AbsentType("uint64", 8, False)
float8_e4m3fn = AbsentType("float8_e4m3fn", 1, True)
float8_e4m3fnuz = AbsentType("float8_e4m3fnuz", 1, True)
float8_e5m2 = AbsentType("float8_e5m2", 1, True)
float8_e5m2fnuz = AbsentType("float8_e5m2fnuz", 1, True)
float8_e8m0fnu = AbsentType("float8_e8m0fnu", 1, True)
