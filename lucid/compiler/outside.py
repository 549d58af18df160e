"""In a trace, the histories that arguments had before the call: where backward inside of the
function may not go. trace.py and capture.py set them up; region.py does so for a body.
"""

from collections.abc import Sequence
from typing import Any

from lucid.autograd.node import Node, Recipe
from lucid.error import TraceError
from lucid.layout import Layout
from lucid.lines import user_line
from lucid.op import Opaque


class whole(Opaque):
    """The op of a compiled function's Node."""

    name = "compiled"
    public = False
    arguments = ((), ())


class Entry(Node):
    """In a trace, where the history that an argument had before begins."""

    __slots__ = ("place",)

    def __init__(self, lay: Layout, place: int, edges: tuple = ()):
        super().__init__(Recipe(whole, (), (), (lay,), ()), edges, ())
        self.place = place

    def run(self, arrived: list) -> Sequence[Any]:  # type: ignore[override]
        raise TraceError(
            f"compile: backward at {user_line()} goes on into the history that argument "
            f"{self.place} had before the call: detach() it, or call backward outside"
        )


class Onward(Entry):
    """In a trace, the history of an argument after a write to it, where it is a view of something
    with a history of its own: outside, the write is part of that one, which goes on to before it.
    """

    __slots__ = ("program",)

    def __init__(self, x: Any, place: int, program: Any):
        super().__init__(x._layout, place, ((x._node, x._nr),))
        self.program = program

    def run(self, arrived: list) -> Sequence[Any]:  # type: ignore[override]
        return arrived if self.program.returned else super().run(arrived)
