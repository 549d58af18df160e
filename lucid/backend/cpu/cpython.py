"""Machine code as objects of CPython: builtin functions, methods, and types.

call.py, memory.py and scope.py make theirs here. The interpreter keeps pointers to the
descriptions, so they are never freed.
"""

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

# The interpreter's numbers, from its methodobject.h, structmember.h and typeslots.h.
KEYWORDS, NO_ARGUMENTS, ONE_ARGUMENT, FAST_CALL = 0x2, 0x4, 0x8, 0x80
OBJECT, INT64, BOOL = 16, 17, 14
READ_ONLY = 1
GET_BUFFER, DEALLOC, MEMBERS = 1, 52, 72

_kept: list[Any] = []


class _Method(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Member(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Slot(ctypes.Structure):
    _fields_ = [("slot", ctypes.c_int), ("value", ctypes.c_void_p)]


class _Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.c_void_p),
    ]


_new_type = ctypes.pythonapi.PyType_FromSpec
_new_type.restype, _new_type.argtypes = ctypes.py_object, [ctypes.c_void_p]
_new_function = ctypes.pythonapi.PyCMethod_New
_new_function.restype = ctypes.py_object
_new_method = ctypes.pythonapi.PyDescr_NewMethod
_new_method.restype, _new_method.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_void_p]


class Code:
    """Machine code to be shown as builtin functions: `code.builtin(owner)`."""

    __slots__ = ("_method",)

    def __init__(self, name: str, address: int, flags: int, doc: str = ""):
        self._method = _Method(name.encode(), address, flags, doc.encode() or None)
        _kept.append(self._method)

    def builtin(self, owner: object = None) -> Any:
        """The function; the machine code gets `owner` as its `self`, and null for None."""
        held = None if owner is None else ctypes.py_object(owner)
        return _new_function(ctypes.byref(self._method), held, None, None)

    def method(self, owner: type) -> Any:
        """A method of instances of `owner`, for an attribute of the class."""
        return _new_method(owner, ctypes.addressof(self._method))


def offsets(kind: type, names: Sequence[str]) -> tuple[int, ...]:
    """The byte offsets of slots in an instance of the class."""
    found = []
    for name in names:
        marker = object()
        probe: object = object.__new__(kind)
        setattr(probe, name, marker)
        words = (ctypes.c_int64 * (kind.__basicsize__ // 8)).from_address(id(probe))
        found.append(8 * list(words).index(id(marker)))
        setattr(probe, name, None)
    return tuple(found)


def write_objects(address: int, objects: Sequence[object]) -> None:
    """Put the addresses of objects, which the caller keeps alive, into words of machine code."""
    words = (ctypes.c_int64 * len(objects)).from_address(address)
    words[:] = [id(thing) for thing in objects]


def new_type(
    name: str,
    size: int,
    members: Sequence[tuple[str, int, int, int]],
    slots: Sequence[tuple[int, int]],
) -> type:
    """A type of CPython: members are (name, type, offset, flags), slots (number, address).

    Its instances have no dict, are not seen by the garbage collector, and cannot be subclassed.
    """
    if object.__basicsize__ != 16 or "t" in getattr(sys, "abiflags", ""):
        raise RuntimeError("Lucid needs a 64-bit CPython with its lock: not a free-threaded build")
    rows = (_Member * (len(members) + 1))()  # the last one stays empty, and ends the list
    for row, (member, kind, offset, flags) in zip(rows, members, strict=False):
        row.name, row.type, row.offset, row.flags = member.encode(), kind, offset, flags
    entries = (_Slot * (len(slots) + 2))()
    for entry, pair in zip(entries, [*slots, (MEMBERS, ctypes.addressof(rows))], strict=False):
        entry.slot, entry.value = pair
    text = name.encode()
    spec = _Spec(text, size, 0, 0, ctypes.addressof(entries))
    _kept.extend((rows, entries, text, spec))
    return _new_type(ctypes.addressof(spec))
