"""What a traced call came to: a `Captured`, of inputs, outputs, and all that is changed outside.

capture.py makes it, runner.py runs it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lucid.apply import current_node
from lucid.array import Array
from lucid.compiler.guard import Check
from lucid.compiler.host import Step
from lucid.compiler.ledger import Change
from lucid.compiler.trace import Cell, Chain
from lucid.compiler.tree import Form
from lucid.graph import Graph, Value
from lucid.layout import Layout
from lucid.write import needs_gradient


@dataclass(frozen=True)
class Source:
    """Where a tensor from outside is found at each call: argument `place`, that very `tensor`, or
    what a dict holds under a name (`slot`); with `grad`, its gradient."""

    place: int = -1
    tensor: Any = None
    grad: bool = False
    slot: tuple[Any, Any] | None = None

    def find(self, leaves: Sequence[Any]) -> Any:
        if self.slot is not None:
            x = self.slot[0].get(self.slot[1], None)
            return x if isinstance(x, Array) else None
        x = leaves[self.place] if self.place >= 0 else self.tensor
        return x._grad if self.grad else x

    @property
    def fixed(self) -> bool:
        """Whether it is the same tensor in each call."""
        return self.place < 0 and self.slot is None and not self.grad


@dataclass(eq=False)
class Input:
    """A storage that the graph reads: where it is found, and what is looked at of it."""

    source: Source
    value: Value
    cell: Cell
    layout: Layout | None  # of the tensor that the source finds; None where it finds no tensor
    shift: int  # bytes from that tensor's first element
    history: int  # of that tensor, as `history_of` says


@dataclass(eq=False)
class Output:
    """A tensor that the function returns, or leaves as a gradient.

    kind: "same", the tensor of `source` itself; "view", views of it, or of the output `of`;
    "bytes", its bytes with this layout, from `offset` elements after its first; "made", in the new
    storage number `storage`, with this layout and offset.
    """

    kind: str
    source: Source | None = None
    chain: Chain = ()
    of: Any = None
    storage: int = -1
    layout: Layout | None = None
    offset: int = 0
    number: int = -1  # which output of the Node, where it has a gradient
    spent: str = ""  # why backward from it is an error
    freed: bool = False  # it is that its graph was used up inside
    recorded: bool = False  # a view that was made in grad mode
    requires: bool = False  # a leaf that was made inside
    grad: Any = None  # the Output of its gradient
    place: int = -1  # in the journal
    told: Chain = ()  # the chain with forms of sizes


@dataclass(eq=False)
class Captured:
    """What a call came to."""

    graph: Graph
    inputs: list[Input]
    storages: list[Value]  # the values of the storages that are made for the caller
    layouts: list[Layout]
    outputs: list[Output | None]  # of the leaves of the result; None for a plain value
    result: list[Any]  # the leaves that are no tensors
    form: Form
    writes: list[tuple[Input, Value, int]]  # of storages from outside: the last value, how often
    gradients: list[tuple[Source, Output | None]]  # what `.grad` of leaves becomes
    asked: list[tuple[Source, bool]]  # tensors that were asked whether they have a `.grad`
    rewritten: list[tuple[Source, Output]]  # tensors from outside that get another history
    shared: list[tuple[Source, Source, int]]  # what shares bytes, and how many lie in between
    stored: list[tuple[Change, Output | None]]  # what is stored in older objects
    every: list[Output]
    steps: list[Step]
    lates: list[Value]  # numbers of the steps' formulas
    seeds: list[tuple[Any, Value]]
    offsets: list[tuple[Any, int, Value]]
    drawn: list[tuple[Any, int]]
    check: Check
    codes: list[Any]  # code objects that ran
    begun: list[Callable[[], None]] = field(default_factory=list)  # undo what optimizers have made
    roots: list[tuple[Output, Layout]] = field(default_factory=list)  # with a gradient
    cotangents: list[Value] = field(default_factory=list)
    targets: list[Source | Output] = field(default_factory=list)
    slopes: list[Value | None] = field(default_factory=list)  # the targets' gradients
    paired: frozenset[int] = frozenset()  # which targets are complex, and their gradients pairs
    template: Any = None  # where it can be repeated for other sizes (journal.py)
    static: str = ""  # why it cannot, where that was asked for

    def forget(self) -> None:
        """Nothing has run so far: take back the state that optimizers made for it."""
        for undo in self.begun:
            undo()
        self.begun.clear()


def history_of(x: Any) -> int:
    """0: no gradient; 1: a leaf that requires one; 2: made by a Node."""
    if x._requires_grad is False or not needs_gradient(x):
        return 0
    return 1 if current_node(x) is None else 2
