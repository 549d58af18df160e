"""What users ask about memory: `lucid.memory.stats()`, `reset_peak()`, `empty_cache()`.

The blocks themselves are in backend/cpu/memory.py.
"""

from lucid.backend.cpu import memory as blocks


def stats() -> dict[str, int]:
    """Bytes `live` (asked for by storages that exist), their `peak`, `cached` in free blocks,
    `mapped` from the system in all, and the number of `allocations` so far.

    >>> import lucid.memory
    >>> sorted(lucid.memory.stats())
    ['allocations', 'cached', 'live', 'mapped', 'peak']
    """
    return blocks.statistics()


def reset_peak() -> None:
    """From now on `peak` is the most since this call."""
    blocks.reset_peak()


def empty_cache() -> int:
    """Gives cached memory back to the system; returns how many bytes. Live tensors stay.

    Only for a program that shares its machine: memory taken again is slow until it is warm.
    """
    return blocks.empty_cache()
