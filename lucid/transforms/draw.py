"""Random choices of the transforms, from Lucid's default generator.

Called by the transforms' classes.
"""

import lucid


def number(low: float = 0.0, high: float = 1.0) -> float:
    """A number between low and high, all equally likely."""
    return low + (high - low) * float(lucid.rand(1, dtype=lucid.float64).item())


def integer(count: int) -> int:
    """A whole number below `count`."""
    return int(lucid.randint(count, (1,)).item())


def order(count: int) -> list[int]:
    """The numbers below `count` in random order."""
    return [int(i) for i in lucid.randperm(count).tolist()]
