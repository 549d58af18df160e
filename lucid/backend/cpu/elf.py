"""A loader of the object files that LLVM makes for x86-64 Linux. compiler.py calls `link`.

It spares a start from cached code the import of LLVM, and loads three times as fast as LLVM does.
The code and what it only reads share pages that are executable and not writable; what it writes
lies behind them. Calls and references to other code go through a table beside the code, because
that may be further away than a 32-bit displacement reaches.
"""

import ctypes
import mmap
import platform
import struct
import sys
from collections.abc import Callable, Iterable

_SECTION = struct.Struct("<IIQQQQIIQQ")  # name type flags address offset size link info align entry
_SYMBOL = struct.Struct("<IBBHQQ")  # name info other section value size
_RELOCATION = struct.Struct("<QIIq")  # offset type symbol addend
_TABLE, _RELOCATIONS, _EMPTY, _UNWIND = 2, 4, 8, 0x70000001  # section types
_WRITABLE, _ALLOCATED = 1, 2  # section flags
_ABSOLUTE64, _RELATIVE32, _CALL32 = 1, 2, 4  # relocation types
_SLOT32 = (9, 41, 42)  # the address of a slot that holds the symbol's address
_SLOT = 16  # bytes of a symbol in the table: its address, and a jump there


def supported(image: bytes) -> bool:
    """Whether `link` is made for this object and this system."""
    return (
        sys.platform == "linux"
        and platform.machine() == "x86_64"
        and image[:6] == b"\x7fELF\x02\x01"
        and image[16:20] == b"\x01\x00\x3e\x00"  # relocatable, x86-64
    )


def link(
    image: bytes, exports: Iterable[str], resolve: Callable[[str], int | None]
) -> dict[str, int]:
    """Put an object into memory for good; the addresses of its `exports`.

    `resolve` gives the address of a symbol from outside. RuntimeError for a symbol that it does
    not know and for what no object of ours contains.
    """
    sections = _sections(image)
    symbols, names = _symbols(image, sections)
    places, table_at, data_at, end = _places(sections, sum(map(bool, names)))
    base = _map(end)
    memory = bytearray(end)
    for (_, kind, _, _, offset, size, *_), place in zip(sections, places, strict=True):
        if place is not None and kind != _EMPTY:
            memory[place : place + size] = image[offset : offset + size]

    # The table: one slot for each named symbol.
    address: list[int] = []
    slot: dict[int, int] = {}
    unknown = []
    for i, (section, value) in enumerate(symbols):
        if section == 0 and names[i]:
            found = resolve(names[i])
            if found is None:
                unknown.append(names[i])
            address.append(found or 0)
        elif section < len(places) and (place := places[section]) is not None:
            address.append(base + place + value)
        else:
            address.append(value)
        if names[i]:
            slot[i] = at = table_at + _SLOT * len(slot)
            # the address, then `jmp *address(%rip)`
            memory[at : at + 16] = (
                struct.pack("<Q", address[i]) + b"\xff\x25\xf2\xff\xff\xff\xcc\xcc"
            )
    if unknown:
        raise RuntimeError(f"an object needs the symbols {', '.join(unknown)}, which nobody gives")

    for _, kind, _, _, offset, size, _, info, *_ in sections:
        if kind == _RELOCATIONS and places[info] is not None:
            entries = _RELOCATION.iter_unpack(image[offset : offset + size])
            _relocate(memory, base, places[info], entries, symbols, address, slot)
    ctypes.memmove(base, bytes(memory), len(memory))
    _check(_libc().mprotect(base, data_at, mmap.PROT_READ | mmap.PROT_EXEC), "mprotect")
    where = {name: i for i, name in enumerate(names) if name and symbols[i][0]}
    return {name: address[where[name]] for name in exports}


def _relocate(memory, base, start, entries, symbols, address, slot) -> None:
    for offset, kind, symbol, addend in entries:
        at = start + offset
        if kind == _ABSOLUTE64:
            struct.pack_into("<q", memory, at, address[symbol] + addend)
            continue
        if kind in _SLOT32:
            goal = base + slot[symbol]
        elif kind == _CALL32 and symbols[symbol][0] == 0:
            goal = base + slot[symbol] + 8
        elif kind in (_RELATIVE32, _CALL32) and symbols[symbol][0]:
            goal = address[symbol]
        else:
            raise RuntimeError(f"an object has a relocation of type {kind}, unknown to the loader")
        struct.pack_into("<i", memory, at, goal + addend - base - at)


def _sections(image: bytes) -> list[tuple]:
    (start,) = struct.unpack_from("<Q", image, 40)
    size, count = struct.unpack_from("<HH", image, 58)
    if size != _SECTION.size:
        raise RuntimeError("an object has section headers of an unknown size")
    return [_SECTION.unpack_from(image, start + size * i) for i in range(count)]


def _places(sections: list[tuple], named: int) -> tuple[list[int | None], int, int, int]:
    """Where each section goes, None if it is not loaded: code and constants, then (on a new page)
    what is written; and where the table, the written part and the whole begin and end."""
    places: list[int | None] = [None] * len(sections)
    at = table_at = data_at = 0
    for writable in (0, _WRITABLE):
        for i, (_, kind, flags, _, _, size, _, _, align, _) in enumerate(sections):
            if flags & _ALLOCATED and kind != _UNWIND and flags & _WRITABLE == writable:
                at = _up(at, align or 1)
                places[i] = at
                at += size
        if not writable:
            table_at = _up(at, _SLOT)
            at = data_at = _up(table_at + _SLOT * named, mmap.PAGESIZE)
    return places, table_at, data_at, _up(at, mmap.PAGESIZE)


def _symbols(image: bytes, sections: list[tuple]) -> tuple[list[tuple[int, int]], list[str]]:
    """(section, value) of each symbol, and the names of those seen from outside or sought there."""
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind == _TABLE:
            strings = sections[link][4]
            symbols, names = [], []
            for name, info, _, section, value, _ in _SYMBOL.iter_unpack(
                image[offset : offset + size]
            ):
                symbols.append((section, value))
                end = image.index(b"\0", strings + name)
                names.append(image[strings + name : end].decode() if info >> 4 else "")
            return symbols, names
    raise RuntimeError("an object has no symbols")


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _libc():
    if not _functions:
        library = ctypes.CDLL(None, use_errno=True)
        library.mmap.restype = ctypes.c_void_p
        number = ctypes.c_int
        library.mmap.argtypes = [
            ctypes.c_void_p, ctypes.c_size_t, number, number, number, ctypes.c_long
        ]  # fmt: skip
        library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        _functions.append(library)
    return _functions[0]


_functions: list = []


def _map(size: int) -> int:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    place = _libc().mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    _check(-1 if place == ctypes.c_void_p(-1).value else 0, "mmap")
    return place


def _check(result: int, call: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{call} for machine code failed")
