"""Residuals as the hooks of autograd.graph.saved_tensors_hooks pack them.

apply.py and function.py pack what a new Node keeps; rules.py unpacks it in the backward pass.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from lucid.array import Array
from lucid.autograd.mode import no_grad
from lucid.autograd.node import Saved
from lucid.layout import Layout
from lucid.tracing import program


class Packed(NamedTuple):
    """A residual that autograd.graph.saved_tensors_hooks has packed: `unpack(value)` gives it."""

    value: Any
    unpack: Callable[[Any], Any]
    layout: Layout
    version: tuple[Any, int] | None  # of a storage that is still the one which was saved
    edge: tuple | None
    nr: int | None


# (pack, unpack), innermost; None where tensors are saved as they are.
packing: ContextVar[tuple[Callable, Callable] | None] = ContextVar("lucid_packing", default=None)
packs: list[bool] = []  # empty until hooks are used for the first time, anywhere


def packed(kept: tuple, wrap: Callable) -> tuple:
    """What a Node keeps, with its tensors packed; `wrap` makes tensors of residuals (apply.py)."""
    hooks = packing.get()
    if hooks is None:
        return kept
    if (tracer := program()) is not None:
        tracer.refuse("saved_tensors_hooks", "use them around functions that are not compiled")
    token = packing.set(None)
    try:
        with no_grad():
            return tuple(
                [
                    _pack(wrap(s.storage, s.layout, s.offset), s, *hooks) if type(s) is Saved else s
                    for s in kept
                ]
            )
    finally:
        packing.reset(token)


def _pack(x: Any, s: Saved, pack: Callable, unpack: Callable) -> Packed:
    value = pack(x)
    if s.storage.version != s.version:
        raise RuntimeError("saved_tensors_hooks: pack_hook has modified the tensor in place")
    same = isinstance(value, Array) and value._storage is s.storage
    version = (s.storage, s.version) if same else None
    return Packed(value, unpack, s.layout, version, s.edge, s.nr)
