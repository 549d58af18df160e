"""Running one formula over all parameters of a group.

An optimizer's `update` collects its tensors and numbers and hands them, with its formula, to
`update_all`; the formula is a scalar expression, so it can be one kernel over many buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lucid

Formula = Callable[..., tuple[Any, ...]]


def update_all(
    formula: Formula,
    rows: Sequence[tuple[lucid.Tensor, ...]],
    numbers: tuple[float, ...],
    **flags: bool,
) -> None:
    """Write `formula(b, row, numbers, **flags)` into the first tensors of each row.

    `b` has the functions that are no operators (`sqrt`, `maximum`). The formula returns as many
    values as it changes tensors; these stand first in the row. `flags` choose between forms of
    the formula, `numbers` differ from call to call.
    """
    for row in rows:
        for target, value in zip(row, formula(lucid, row, numbers, **flags), strict=False):
            target.copy_(value)
