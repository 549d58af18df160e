"""What a traced function may return and store: checks of it, which capture.py makes."""

import os
import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid.apply import current_node
from lucid.array import Array
from lucid.autograd.node import Node
from lucid.compiler.trace import Promise
from lucid.compiler.tree import flatten
from lucid.device import device
from lucid.dtypes import dtype
from lucid.error import TraceError
from lucid.lines import is_ours


def asks_types(filename: str) -> bool:
    """Whether code of this file may look at the type of a size."""
    return not is_ours(filename) and not filename.startswith(_NUMPY)


def is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def holds_promise(x: Any) -> bool:
    """Whether it is, or holds, a tensor of this trace."""
    return any(isinstance(y._storage, Promise) for y in _tensors_in(x))


def _tensors_in(x: Any) -> list[Any]:
    """The tensors of a nest, or of a set."""
    leaves, _ = flatten(x)
    if len(leaves) == 1 and isinstance(leaves[0], (set, frozenset)):
        leaves, _ = flatten(list(leaves[0]))
    return [y for y in leaves if isinstance(y, Array)]


_NUMPY = os.path.dirname(np.__file__)
_EMPTY = types.CellType()
_PLAIN = (
    bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type, range, slice,
    frozenset, dtype, device, types.FunctionType, types.BuiltinFunctionType, types.ModuleType,
)  # fmt: skip


def _keeps_tensor(x: Any) -> bool:
    """Whether a function or a set, made in the trace, has a tensor in it."""
    if isinstance(x, types.FunctionType):
        cells = [c.cell_contents for c in x.__closure__ or () if c != _EMPTY]
        return bool(_tensors_in([cells, x.__defaults__, x.__kwdefaults__]))
    return isinstance(x, frozenset) and bool(_tensors_in(x))


def check_results(results: Sequence[Any], older: Sequence[Any]) -> None:
    """Refuse to give out the same new object at each call."""
    known = set(map(id, older))
    for y in results:
        plain = isinstance(y, (Array, *_PLAIN)) and not _keeps_tensor(y)
        if not plain and id(y) not in known:
            raise TraceError(
                f"compile: the function returns a {type(y).__name__}, which each call would have "
                "to make anew: return tensors and numbers in tuples, lists, dicts or dataclasses"
            )


def steps_from(x: Any, y: Any) -> Any:
    """The views that lead from x to y where y's history comes from x; None if it does not."""
    if y._base is x:
        return y._view
    before, base = getattr(x, "_view", ()), getattr(x, "_base", None)
    if base is None or y._base is not base or y._view[: len(before)] != before:
        return None
    node: Any = current_node(y)
    while node is not None:  # a leaf may be a view of another tensor, from which y could come too
        end = node.edges[0][0] if node.edges and node.edges[0] else None
        if end is x:
            return y._view[len(before) :]
        node = end if isinstance(end, Node) else None
    return None
