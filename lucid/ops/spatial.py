"""What spatial ops of one to three dimensions share: sizes for each dimension, a missing batch.

Called by conv.py, pool.py, adaptive.py, padding_modes.py and their relatives.
"""

from math import prod
from typing import Any

from lucid.ops.view import reshape

COUNTS = {1: "one number", 2: "one or two numbers", 3: "one or three numbers"}


def several(name: str, value: Any, rank: int) -> tuple[int, ...]:
    """One number for all dimensions, or one for each."""
    if hasattr(value, "__index__"):
        return (int(value),) * rank
    value = tuple(int(v) for v in value)
    if len(value) == 1:
        return value * rank
    if len(value) != rank:
        raise ValueError(f"{name}: {COUNTS[rank]} expected, got {value}")
    return value


def batched(name: str, x: Any, rank: int) -> tuple[Any, bool]:
    """(N, C, spatial...), and whether the batch dimension was missing."""
    if x.ndim not in (rank + 1, rank + 2):
        axes = ", ".join("DHW"[3 - rank :] if rank > 1 else "L")
        raise RuntimeError(
            f"{name}: x must be (N, C, {axes}) or (C, {axes}), got shape {tuple(x.shape)}"
        )
    return (reshape(x, (1, *x.shape)), True) if x.ndim == rank + 1 else (x, False)


def unbatched(y: Any, single: bool) -> Any:
    """y without the batch dimension that `batched` added."""
    return reshape(y, tuple(y.shape[1:])) if single else y


def flat(x: Any, rank: int) -> Any:
    """The last `rank` dimensions as one."""
    lead = tuple(x.shape[: x.ndim - rank])
    return reshape(x, (*lead, prod(x.shape[x.ndim - rank :])))


def merged(call: Any) -> Any:
    """An axis map: the batch of a vmap and the samples, the first dimension of all, as one."""
    given = [reshape(v, (call.size * v.shape[1], *v.shape[2:])) for v in call.spread()]
    y = call.run(tuple(given), call.params)
    return reshape(y, (call.size, y.shape[0] // max(call.size, 1), *y.shape[1:]))
