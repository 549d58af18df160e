"""Where intermediates lie: each in one arena, at an offset that is free while it lives.

lower.py calls `arrange` with the life of every block; the arena is as large as the largest live
set, up to alignment and fragmentation.
"""

from collections.abc import Sequence

ALIGN = 64


def arrange(lives: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Offsets for blocks (bytes, first step, last step), and the size of the arena.

    Large blocks are placed first, each at the lowest offset that no block alive at the same time
    covers.
    """
    offsets = [0] * len(lives)
    placed: list[int] = []
    total = 0
    for i in sorted(range(len(lives)), key=lambda i: (-lives[i][0], lives[i][1])):
        nbytes, first, last = lives[i]
        size = -(-max(nbytes, 1) // ALIGN) * ALIGN
        busy = sorted(
            (offsets[j], offsets[j] + -(-max(lives[j][0], 1) // ALIGN) * ALIGN)
            for j in placed
            if lives[j][1] <= last and first <= lives[j][2]
        )
        at = 0
        for low, high in busy:
            if at + size <= low:
                break
            at = max(at, high)
        offsets[i] = at
        placed.append(i)
        total = max(total, at + size)
    return offsets, total
