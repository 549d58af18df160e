"""Element types, and the rules by which they combine.

Used by everything below the tensor. A dtype is a singleton, compared by identity.
"""

import struct
from typing import Any, Final

import numpy as np

from lucid.lazy import lazy

ml_dtypes = lazy("ml_dtypes")

# The order of the categories is the order of promotion: bool < integer < floating < complex.
BOOL: Final = 0
INTEGER: Final = 1
FLOATING: Final = 2
COMPLEX: Final = 3

# The letters of `struct`, which has none for bfloat16.
LETTERS: Final = {
    "bool": "?", "uint8": "B", "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip


class dtype:
    """An element type: `lucid.float32` and its siblings. Singletons; compare with `is` or `==`."""

    __slots__ = ("name", "itemsize", "category", "numpy", "signed", "compute", "reader", "parts")

    def __init__(self, name: str, itemsize: int, category: int, signed: bool, array: object):
        self.name = name
        self.itemsize = itemsize
        self.category = category
        self.signed = signed
        if array is not None:
            self.numpy: np.dtype = np.dtype(array)  # type: ignore[call-overload]
        self.compute: dtype = self  # the type in which kernels do arithmetic on it
        self.parts: dtype = self  # of a complex type: that of its real and imaginary parts
        # Reads one element from a buffer, ten times as fast as through an array.
        letter = LETTERS.get(name)
        self.reader = struct.Struct(f"={letter}") if letter else None

    def __getattr__(self, name: str) -> np.dtype:
        # NumPy's type of bfloat16 comes with a library of its own, which few programs need.
        if name != "numpy":
            raise AttributeError(f"'dtype' object has no attribute {name!r}")
        self.numpy = np.dtype(getattr(ml_dtypes, self.name))
        return self.numpy

    def __repr__(self) -> str:
        return f"lucid.{self.name}"

    def __reduce__(self) -> tuple:
        return _by_name, (self.name,)

    def __deepcopy__(self, memo: dict) -> "dtype":
        return self

    @property
    def is_floating_point(self) -> bool:
        return self.category == FLOATING

    @property
    def is_complex(self) -> bool:
        return self.category == COMPLEX

    @property
    def is_signed(self) -> bool:
        return self.signed

    def to_complex(self) -> "dtype":
        """The complex type whose parts are of this type; complex64 for smaller ones."""
        if self.category == COMPLEX:
            return self
        return complex128 if self.name == "float64" else complex64

    def to_real(self) -> "dtype":
        """The type of the parts of a complex type; any other is itself."""
        return self.parts


bool_: Final = dtype("bool", 1, BOOL, False, np.bool_)
uint8: Final = dtype("uint8", 1, INTEGER, False, np.uint8)
int8: Final = dtype("int8", 1, INTEGER, True, np.int8)
int16: Final = dtype("int16", 2, INTEGER, True, np.int16)
int32: Final = dtype("int32", 4, INTEGER, True, np.int32)
int64: Final = dtype("int64", 8, INTEGER, True, np.int64)
float16: Final = dtype("float16", 2, FLOATING, True, np.float16)
bfloat16: Final = dtype("bfloat16", 2, FLOATING, True, None)
float32: Final = dtype("float32", 4, FLOATING, True, np.float32)
float64: Final = dtype("float64", 8, FLOATING, True, np.float64)
float16.compute = bfloat16.compute = float32
# No kernel knows these: ops/complex.py makes pairs of real numbers of them first.
complex64: Final = dtype("complex64", 8, COMPLEX, True, np.complex64)
complex128: Final = dtype("complex128", 16, COMPLEX, True, np.complex128)
complex64.parts, complex128.parts = float32, float64

ALL: Final = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)
BY_NAME: Final = {d.name: d for d in (*ALL, complex64, complex128)}
BY_NUMPY: Final = {d.numpy: d for d in (*ALL, complex64, complex128) if d is not bfloat16}


# Python's types where a dtype is expected.
PYTHON: Final = {bool: bool_, int: int64, float: float64, complex: complex128}


def of_type(kind: Any) -> Any:
    """The dtype that a Python type stands for; anything else as it is."""
    return PYTHON.get(kind, kind) if isinstance(kind, type) else kind


def _by_name(name: str) -> dtype:
    return BY_NAME[name]


def known(array_dtype: np.dtype) -> dtype | None:
    """The dtype of a NumPy dtype, None for one that is not supported."""
    if array_dtype.name == "bfloat16" and array_dtype == bfloat16.numpy:
        return bfloat16
    return BY_NUMPY.get(array_dtype)


def from_numpy(array_dtype: np.dtype) -> dtype:
    """The dtype of a NumPy dtype; TypeError names what is not supported."""
    found = known(np.dtype(array_dtype))
    if found is None:
        names = ", ".join(BY_NAME)
        raise TypeError(f"NumPy dtype {array_dtype} is not supported; supported are {names}")
    return found


def promote(a: dtype, b: dtype) -> dtype:
    """The smallest type that holds both, by PyTorch's table."""
    if a is b:
        return a
    if COMPLEX in (a.category, b.category):
        wide = float64 in (a.parts, b.parts)
        return complex128 if wide else complex64
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.category == FLOATING:
        if a.itemsize == b.itemsize:  # float16 with bfloat16
            return float32
        return a if a.itemsize > b.itemsize else b
    if a.signed == b.signed:
        return a if a.itemsize > b.itemsize else b
    signed, unsigned = (a, b) if a.signed else (b, a)
    if signed.itemsize > unsigned.itemsize:
        return signed
    return int16  # uint8 with int8


_default_dtype = float32


def get_default_dtype() -> dtype:
    """The floating type of `zeros`, `rand`, Python floats and their like: float32 unless set."""
    return _default_dtype


def set_default_dtype(d: dtype) -> None:
    """Set the default floating type to float16, bfloat16, float32 or float64."""
    global _default_dtype
    if not isinstance(d, dtype) or d.category != FLOATING:
        raise TypeError(f"set_default_dtype: expected a floating dtype, got {d!r}")
    _default_dtype = d


def of_scalar(value: object) -> dtype:
    """The type that a Python number stands for on its own."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    if isinstance(value, float):
        return _default_dtype
    if isinstance(value, complex):
        return _default_dtype.to_complex()
    raise TypeError(f"expected a bool, int, float or complex, got {type(value).__name__}")
