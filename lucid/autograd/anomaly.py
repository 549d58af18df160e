"""`detect_anomaly`: which operation's gradient became NaN, and on which line it ran.

Users open the block; engine.py calls `check` on what each Node has computed, and `note` on errors.
"""

from collections.abc import Sequence
from typing import Any

from lucid.apply import apply
from lucid.autograd.node import Node
from lucid.config import settings
from lucid.dtypes import FLOATING
from lucid.op import find


class set_detect_anomaly:
    """Switch the search for anomalies on or off, as a statement for good, as a block within it.

    While it is on, operations note the line of the program that ran them, and with check_nan every
    gradient is looked at: a backward pass whose gradients become NaN raises RuntimeError that names
    the operation, its line, and the lines that called it. An error in a backward rule has a note of
    the same kind. It holds in all threads, and costs time: for finding mistakes only. Functions
    compiled by `lucid.compile` are one operation to it.

    >>> import lucid
    >>> with lucid.autograd.set_detect_anomaly(True):
    ...     lucid.autograd.is_anomaly_enabled()
    True
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_detect_anomaly: mode must be a bool, got {type(mode).__name__}")
        self._before = settings.anomaly
        settings.anomaly = (2 if check_nan else 1) if mode else 0

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        settings.anomaly = self._before


class detect_anomaly:
    """`set_detect_anomaly(True, check_nan)` for a block.

    >>> import lucid
    >>> x = lucid.tensor([0.0, 4.0], requires_grad=True)
    >>> with lucid.autograd.detect_anomaly():
    ...     try:
    ...         (x.sqrt() * 0).sum().backward()
    ...     except RuntimeError as error:
    ...         str(error).split(":")[0]
    'SqrtBackward'
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self._before: list[int] = []

    def __enter__(self) -> None:
        self._before.append(settings.anomaly)
        settings.anomaly = 2 if self.check_nan else 1

    def __exit__(self, *error: object) -> None:
        settings.anomaly = self._before.pop()


def is_anomaly_enabled() -> bool:
    """Whether the search for anomalies is on.

    >>> is_anomaly_enabled()
    False
    """
    return settings.anomaly > 0


def is_anomaly_check_nan_enabled() -> bool:
    """Whether gradients are looked at for NaN.

    >>> is_anomaly_check_nan_enabled()
    False
    """
    return settings.anomaly > 1


def check(node: Node, arrived: Sequence[Any], results: Sequence[Any]) -> None:
    """Raise where one of the gradients that a Node has computed is NaN somewhere."""
    for i, g in enumerate(results):
        bad = 0 if g is None else _nans(g)
        if not bad:
            continue
        names = getattr(node.op, "inputs", ())
        name = f" ({names[i]!r})" if i < len(names) else ""
        before = any(a is not None and _nans(a) for a in arrived)
        raise RuntimeError(
            f"{node.name()}: the gradient of input {i}{name} of {node.title()}, of shape "
            f"{tuple(g._layout.shape)}, has {bad} NaN{_made(node)}"
            + ("; NaN was in what arrived from later operations" if before else "")
        )


def note(node: Node, error: BaseException) -> None:
    """Say where the operation ran whose backward has raised."""
    if getattr(error, "_lucid_anomaly", False):
        return
    if node.stack:
        where = "\n  called at ".join(node.stack)
        error.add_note(f"The operation {node.title()} ran at {where}")
    elif node.line:
        error.add_note(f"The operation {node.title()} ran at {node.line}")
    else:
        error.add_note(
            f"The operation {node.title()} ran outside of detect_anomaly(), which knows no line of "
            "it; run the forward within the block too"
        )
    error._lucid_anomaly = True  # type: ignore[attr-defined]


def _made(node: Node) -> str:
    return f"; the operation ran at {node.line}" if node.line else ""


def _nans(g: Any) -> int:
    """How many elements are NaN, at whatever level."""
    while g._value is not None and hasattr(g, "_held"):
        g = g._held
    if g._layout.dtype.category < FLOATING:
        return 0
    found = apply(find("isnan"), (g,)) if not g.is_complex() else g.isnan()
    return int(found.sum().item())
