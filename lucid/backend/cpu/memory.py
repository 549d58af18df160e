"""Blocks of host memory: size classes with a stack of free blocks each, never given back unasked.

lucid/storage.py takes and returns blocks; lucid/memory.py shows the numbers. A fresh page costs
more than the arithmetic on it, so a freed block waits in its class and the hottest is reused first.

Nothing on the hot path locks: taking is one `list.pop` and freeing one `list.append`, each atomic,
because a `__del__` may free a block at any point, inside this file's own code too.
"""

import bisect
import ctypes
import mmap
import os
import threading

from lucid.backend.cpu.limits import available
from lucid.error import OutOfMemoryError

ALIGNMENT = 64
LARGE = 1 << 20  # a block above this is a mapping of its own
SLAB = 8 << 20  # the others are carved from mappings of this size
BATCH = 64 << 10  # bytes carved at once for a class of small blocks
HUGE_PAGE = 2 << 20
CHECK_FROM = 16 << 20  # growth by less than this is not held against the machine's memory


class SizeClass:
    """Blocks of one size. `free` is the stack of their addresses."""

    __slots__ = ("size", "free")

    def __init__(self, size: int):
        self.size = size
        self.free: list[int] = []

    def __repr__(self) -> str:
        return f"SizeClass({self.size}, free={len(self.free)})"


class Mapping:
    """Memory from the system: one large block, or a slab that small ones are carved from."""

    __slots__ = ("memory", "start", "size", "carved")

    def __init__(self, size: int):
        # Aligned by hand: 2 MiB of address space more cost nothing, since nothing touches them.
        reserve = size + HUGE_PAGE if size >= HUGE_PAGE else size
        flags = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}
        self.memory = mmap.mmap(-1, reserve, **flags)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.start = first if reserve == size else -(-first // HUGE_PAGE) * HUGE_PAGE
        self.size = size
        self.carved = 0  # bytes handed out so far
        whole = size // HUGE_PAGE * HUGE_PAGE  # the tail stays in small pages, or it would grow
        if whole and hasattr(mmap, "MADV_HUGEPAGE"):
            try:
                self.memory.madvise(mmap.MADV_HUGEPAGE, self.start - first, whole)
            except OSError:
                pass  # a kernel without huge pages: only speed is lost


# Class n serves 64 * (n + 1) bytes for n < 8, then eight steps to each doubling up to 4 PiB, so
# that a block wastes at most an eighth of what was asked for, or 63 bytes.
classes = [SizeClass(64 * (n + 1)) for n in range(8)]
classes += [SizeClass((64 << k) * (9 + j)) for k in range(43) for j in range(8)]

_lock = threading.RLock()  # of the slow path; re-entrant, as a collector may allocate inside it
_large: dict[int, Mapping] = {}  # by address
_slabs: list[Mapping] = []  # the last one is being carved


def size_class(nbytes: int) -> SizeClass:
    """The smallest class whose blocks hold `nbytes`."""
    units = (nbytes - 1) >> 6
    if units < 8:
        return classes[units if units > 0 else 0]
    shift = units.bit_length() - 4
    number = 8 * shift + (units >> shift)
    if number >= len(classes):
        raise _exhausted(nbytes, available())
    return classes[number]


def refill(kind: SizeClass, nbytes: int) -> int:
    """A block of a class that has none free: a new mapping, or carved from a slab."""
    with _lock:
        if kind.size > LARGE:
            mapping = _map(kind.size, nbytes)
            mapping.carved = kind.size
            _large[mapping.start] = mapping
            return mapping.start
        count = max(1, BATCH // kind.size)
        total = kind.size * count
        if not _slabs or _slabs[-1].carved + total > SLAB:
            _slabs.append(_map(SLAB, nbytes))
        slab = _slabs[-1]
        start = slab.start + slab.carved
        slab.carved += total
        kind.free.extend(range(start + total - kind.size, start, -kind.size))
        return start


def mapped() -> int:
    """Bytes held from the system, live or cached."""
    with _lock:
        return sum(m.size for m in _large.values()) + SLAB * len(_slabs)


def cached() -> int:
    """Bytes in blocks that wait to be used again."""
    return sum(kind.size * len(kind.free) for kind in classes)


def empty_cache() -> int:
    """Gives free large blocks, and slabs without a live block, back to the system.

    Returns how many bytes that were.
    """
    released = 0
    with _lock:
        _slabs.sort(key=lambda slab: slab.start)
        starts = [slab.start for slab in _slabs]
        found: list[list[tuple[SizeClass, int]]] = [[] for _ in starts]
        for kind in classes:
            while kind.free:
                try:
                    block = kind.free.pop()
                except IndexError:  # another thread was faster
                    break
                if kind.size > LARGE:
                    _large[block].memory.close()
                    del _large[block]
                    released += kind.size
                else:
                    found[bisect.bisect_right(starts, block) - 1].append((kind, block))
        for slab, blocks in zip(list(_slabs), found, strict=True):
            if sum(kind.size for kind, _ in blocks) == slab.carved:
                _slabs.remove(slab)
                slab.memory.close()
                released += slab.size
            else:
                for kind, block in reversed(blocks):
                    kind.free.append(block)
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
