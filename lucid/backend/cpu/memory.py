"""Where the blocks of storages come from: mappings of the system, cut into size classes.

lucid/storage.py builds `Storage` on it; lucid/memory.py shows the numbers. A fresh page costs more
than the arithmetic on it, so a freed block waits in its class, the hottest is reused first, and
nothing is given back unasked. Taking and freeing are in block.py; this is the slow path beside it.
"""

import bisect
import ctypes
import mmap
import operator
import os
import threading
from typing import Any

from lucid.backend.cpu import block, compiler, cpython
from lucid.backend.cpu.limits import available
from lucid.error import OutOfMemoryError

LARGE = 1 << 20  # a block above this is a mapping of its own
SLAB = 8 << 20  # the others are cut from mappings of this size
BATCH = 64 << 10  # bytes cut at once for a class of small blocks
HUGE_PAGE = 2 << 20
CHECK_FROM = 16 << 20  # growth by less than this is not held against the machine's memory

# Class n serves 64 * (n + 1) bytes for n < 8, then there are eight to each doubling, so that a
# block wastes at most an eighth of what was asked for, or 63 bytes.
sizes = [
    block.SMALLEST * (n + 1 if n < 8 else (9 + n % 8) << n // 8 - 1) for n in range(block.CLASSES)
]


class Mapping:
    """Memory from the system: one large block, or a slab that small ones are cut from."""

    __slots__ = ("memory", "start", "size", "used")

    def __init__(self, size: int):
        # Aligned by hand: 2 MiB of address space more cost nothing, since nothing touches them.
        reserve = size + HUGE_PAGE if size >= HUGE_PAGE else size
        if os.name == "posix":
            self.memory = mmap.mmap(-1, reserve, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            self.memory = mmap.mmap(-1, reserve)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.start = first if reserve == size else -(-first // HUGE_PAGE) * HUGE_PAGE
        self.size = size
        self.used = 0  # bytes cut off so far
        whole = size // HUGE_PAGE * HUGE_PAGE  # the tail stays in small pages, or it would grow
        if whole and hasattr(mmap, "MADV_HUGEPAGE"):
            try:
                self.memory.madvise(mmap.MADV_HUGEPAGE, self.start - first, whole)
            except OSError:
                pass  # a kernel without huge pages: only speed is lost


_lock = threading.RLock()  # of everything below; re-entrant, as a collector may allocate inside it
_large: dict[int, Mapping] = {}  # by address
_slabs: list[Mapping] = []  # the last one is being cut
_kept: list[Any] = []  # objects that machine code knows by address
symbols: dict[str, int] = {}  # of the machine code, once it is loaded
_state: Any = None
_take: Any = None
allocate: Any = None  # allocate(nbytes): a storage
make: Any = None  # make(address, nbytes, length, class, readonly, owner): one over given memory


def build(name: str) -> type:
    """The type of storages; `allocate` and `make` work afterwards. Called once."""
    global _state, _take, allocate, make
    code = compiler.cached("storage", block.EXPORTS, block.text)
    symbols.update(code)
    members = [
        ("ptr", cpython.OBJECT, block.PTR, 0),
        ("nbytes", cpython.OBJECT, block.NBYTES, 0),
        ("version", cpython.OBJECT, block.VERSION, 0),
        ("readonly", cpython.BOOL, block.READONLY, cpython.READ_ONLY),
        ("_class", cpython.INT64, block.CLASS, 0),
    ]
    slots = [(cpython.DEALLOC, code[block.FREE]), (cpython.GET_BUFFER, code[block.BUFFER])]
    made = cpython.new_type(name, block.SIZE, members, slots)
    allocate = cpython.Code("allocate", code[block.ALLOCATE], cpython.ONE_ARGUMENT).builtin()
    _take = cpython.Code("take", code[block.TAKE], cpython.ONE_ARGUMENT).builtin()
    make = cpython.Code("make", code[block.MAKE], cpython.FAST_CALL).builtin()
    _state = (ctypes.c_int64 * block.WORDS).from_address(code[block.STATE])
    _kept.extend((made, refill, 0))
    _state[block.MADE], _state[block.REFILL], _state[block.ZERO] = map(id, _kept)
    return made


def refill(nbytes: int) -> int:
    """Frees at least one new block that holds `nbytes`, and returns that as an int."""
    nbytes = int(operator.index(nbytes))
    if nbytes < 0:
        raise ValueError(f"Storage({nbytes}): a size is not negative")
    if nbytes > block.LARGEST:
        raise _exhausted(nbytes, available(mapped()))
    number = block.size_class(nbytes)
    size = sizes[number]
    with _lock:
        if size > LARGE:
            mapping = _map(size, nbytes)
            mapping.used = size
            _large[mapping.start] = mapping
            starts = range(mapping.start, mapping.start + 1)
        else:
            total = size * max(1, BATCH // size)
            if not _slabs or _slabs[-1].used + total > SLAB:
                _slabs.append(_map(SLAB, nbytes))
            slab = _slabs[-1]
            first = slab.start + slab.used
            slab.used += total
            starts = range(first + total - size, first - 1, -size)
        for start in starts:
            make(start, 0, 0, number, 0, None)  # dies at once, into the list of its class
    return nbytes


def statistics() -> dict[str, int]:
    """See lucid.memory.stats."""
    if _state is None:
        return dict.fromkeys(("live", "peak", "cached", "mapped", "allocations"), 0)
    return {
        "live": _state[block.LIVE],
        "peak": _state[block.PEAK],
        "cached": cached(),
        "mapped": mapped(),
        "allocations": _state[block.ALLOCATIONS],
    }


def reset_peak() -> None:
    if _state is not None:
        _state[block.PEAK] = _state[block.LIVE]


def mapped() -> int:
    """Bytes held from the system, live or cached."""
    with _lock:
        return sum(m.size for m in _large.values()) + SLAB * len(_slabs)


def cached() -> int:
    """Bytes in blocks that wait to be used again."""
    if _state is None:
        return 0
    counts = _state[block.COUNTS : block.COUNTS + block.CLASSES]
    return sum(map(operator.mul, counts, sizes))


def empty_cache() -> int:
    """Gives free large blocks, and slabs without a live block, back to the system.

    Returns how many bytes that were.
    """
    released = 0
    if _state is None:
        return released
    with _lock:
        _slabs.sort(key=lambda slab: slab.start)
        starts = [slab.start for slab in _slabs]
        found: list[list[Any]] = [[] for _ in starts]  # the free storages of each slab
        for number, size in enumerate(sizes):
            while (storage := _take(number)) is not None:
                if size > LARGE:
                    released += size
                    storage._class = -1  # it dies for good
                    _large.pop(storage.ptr).memory.close()
                else:
                    found[bisect.bisect_right(starts, storage.ptr) - 1].append(storage)
        storage = None
        for slab, storages in zip(list(_slabs), found, strict=True):
            if sum(sizes[s._class] for s in storages) == slab.used:
                for s in storages:
                    s._class = -1
                _slabs.remove(slab)
                slab.memory.close()
                released += slab.size
            while storages:
                storages.pop()  # back into their lists, the hottest last
    return released


def _map(size: int, nbytes: int) -> Mapping:
    """A mapping, after a look at what the machine can still give."""
    if size >= CHECK_FROM and size > available(mapped()):
        empty_cache()
        left = available(mapped())
        if size > left:
            raise _exhausted(nbytes, left)
    try:
        return Mapping(size)
    except OSError:
        empty_cache()
    try:
        return Mapping(size)
    except OSError:
        raise _exhausted(nbytes, available(mapped())) from None


def _exhausted(nbytes: int, left: int) -> OutOfMemoryError:
    held, free = mapped(), cached()
    return OutOfMemoryError(
        f"out of memory: {readable(nbytes)} asked for, the machine (or its cgroup) can still give "
        f"{readable(left)}. Lucid holds {readable(held)}, of which {readable(held - free)} is live "
        f"and {readable(free)} cached. What helps: a smaller batch, lucid.no_grad() where no "
        "gradient is needed, del of tensors that are not used any more",
        nbytes,
        left,
    )


def readable(nbytes: int) -> str:
    """1536 -> '1.5 KiB'."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min(max(nbytes.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{nbytes / 1024**power:.4g} {units[power]}"


def _after_fork() -> None:
    # The lock may have been held by a thread that the child does not have.
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
