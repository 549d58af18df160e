"""The journal of a trace: what a program did with its tensors, in terms that hold for other sizes.

trace.py writes it while the function runs; replay.py repeats it for other sizes of the arguments
without the function. Tensors are numbered by their `place`: storage, layout and offset. Sizes that
Python asks for are extents (extent.py), whose forms stand where numbers would; everything Lucid
computes from layouts is computed anew in a replay, and so needs no form.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lucid.array import Array
from lucid.autograd.node import Node, Saved
from lucid.compiler.extents import Form, Told, forms, leaves_of, told
from lucid.layout import Layout, dense_order
from lucid.lines import user_line

Ref = tuple  # ("p", place), ("n", a number or its form) or ("l", number of a Late)


def facts_of(lay: Layout) -> tuple:
    """What of a layout may decide how Lucid goes on, besides its sizes."""
    sizes = tuple([min(n, 2) for n in lay.shape])
    return lay.dtype, sizes, lay.contiguous, dense_order(lay)


@dataclass(eq=False)
class Made:
    """What a Node was made by."""

    op: Any
    params: tuple
    inputs: list[Ref]
    outputs: list[Ref]
    edges: tuple[bool, ...]


@dataclass(eq=False)
class Outer:
    """A tensor from outside that is no argument: its layout is the same in each call."""

    layout: Layout
    offset: int
    block: int  # tells storages apart
    nbytes: int


@dataclass(eq=False)
class Template:
    """All that a replay needs."""

    events: list[tuple]
    arguments: dict[int, int]  # place -> number of the argument
    outers: dict[int, Outer]  # by place
    facts: dict[int, tuple]  # by place
    names: dict[int, str]  # of the arguments, by place
    inputs: list[int]  # places of the captured inputs
    blocks: list[int]  # places of the storages of results
    slopes: list[int]  # places, -1 for none
    lates: list[Any]  # Values, by number
    cotangents: list[Any]  # Values
    numbers: dict[int, Any] = field(default_factory=dict)  # by leaf of the result, with forms

    def symbols(self) -> list[str]:
        """The sizes of the arguments: symbols, or numbers with the reason why."""
        pins: dict[Form, str] = {}
        for kind, *event in self.events:
            if kind == "guard" and event[4]:
                for leaf in leaves_of(event[0]):
                    pins.setdefault(leaf, event[5])
        found = []
        for place in self.arguments:
            for d, n in enumerate(self.facts[place][1]):
                form = ("dim", place, d)
                words = in_words(form, self.names)
                if n < 2:
                    found.append(f"{words}: static, as 0 and 1 are sizes of their own")
                elif form in pins:
                    found.append(f"{words}: static, its value is used at {pins[form]}")
                else:
                    found.append(f"{words}: a symbol")
        for form, line in pins.items():
            if form[1] not in self.arguments:
                found.append(f"{in_words(form, self.names)}: static, its value is used at {line}")
        return found


class Journal:
    """Of one trace. `failed` says why the trace cannot be repeated for other sizes."""

    def __init__(self) -> None:
        self.events: list[tuple] = []
        self.failed = ""
        self.closed = False
        self.places: dict[tuple, int] = {}
        self.arguments: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self.outers: dict[int, Outer] = {}
        self.facts: dict[int, tuple] = {}
        self.made: dict[Node, Made] = {}
        self.held: list[Any] = []  # keeps ids valid
        self.extents: dict[int, tuple] = {}
        self.beginnings: set[int] = set()  # places at which storages may be met first
        self.inside: set[int] = set()  # ids of storages that arguments have
        self.lates: dict[int, int] = {}
        self.late_values: list[Any] = []
        self.noted: set[tuple] = set()
        self.cotangents: list[Any] = []
        self.slopes: list[int] | None = None
        self.blocks: list[int] = []

    def refuse(self, why: str) -> None:
        self.failed = self.failed or why

    # ---- places ---------------------------------------------------------------------------------

    def _key(self, x: Any) -> tuple:
        return id(x._storage), x._layout, x._offset

    def _new(self, x: Any) -> int:
        key = self._key(x)
        found = self.places.get(key)
        if found is not None:
            return found
        number = self.places[key] = len(self.places)
        self.held.append(x._storage)
        self.facts[number] = facts_of(x._layout)
        return number

    def argument(self, x: Any, number: int, name: str) -> None:
        if x._grad is not None:
            self.refuse(f"{name} has a .grad")
        known = id(x._storage) in self.inside
        place = self._new(x)
        if place not in self.arguments:
            if known:
                self.refuse(f"{name} shares the memory of another argument")
            self.arguments[place], self.names[place] = number, name
            self.beginnings.add(place)
        self.inside.add(id(x._storage))

    def place(self, x: Any) -> int:
        """The number of a tensor that the program has met, or that comes from outside."""
        found = self.places.get(self._key(x))
        if found is not None:
            return found
        if id(x._storage) in self.inside or not hasattr(x._storage, "as_numpy"):
            self.refuse(f"a tensor of {x._layout!r} is reached in an unknown way")
            return -1
        number = self._new(x)
        block = x._storage
        self.beginnings.add(number)
        self.outers[number] = Outer(x._layout, x._offset, id(block), block.nbytes)
        return number

    def ref(self, x: Any) -> Ref:
        if isinstance(x, Array):
            return "p", self.place(x)
        number = self.lates.get(id(x))
        return ("l", number) if number is not None else ("n", forms(x))

    def refs(self, xs: Sequence[Any]) -> list[Ref]:
        return [self.ref(x) for x in xs]

    # ---- what happens ---------------------------------------------------------------------------

    def late(self, x: Any) -> int:
        """The next number that arrives with a call."""
        number = self.lates[id(x)] = len(self.late_values)
        self.late_values.append(x.value)
        self.held.append(x)
        return number

    def results(self, made: Sequence[Any]) -> list[int]:
        """The places of new tensors, -1 for None."""
        return [-1 if y is None else self._new(y) for y in made]

    def called(self, op: Any, params: tuple, inputs: Sequence[Any], made: Sequence[Any]) -> None:
        self.add("call", op, forms(params), self.refs(inputs), self.results(made))

    def add(self, *event: Any) -> None:
        self.events.append(event)

    def note(self, node: Any, op: Any, params: tuple, inputs: Any, outputs: Any) -> None:
        """What made a Node."""
        edges = tuple([e is not None for e in node.edges])
        self.made[node] = Made(op, forms(params), self.refs(inputs), self.refs(outputs), edges)

    def shown(self, x: Any, y: Any, op: Any, params: tuple) -> None:
        """y is a view of x; where y was known, it has to be the same place again."""
        origin = self.place(x)
        self.add("view", op, forms(params), origin, self._new(y))

    def rules(self, node: Node, needed: tuple, arrived: Sequence[Any], made: Sequence[Any]) -> None:
        """The gradients of a Node."""
        known = self.made.get(node)
        if known is None or node.saved is None:
            self.refuse(f"{node.name()} is gone through")
            return
        recipe = node.recipe
        own = dict(zip(recipe.names, recipe.kept, strict=True))
        saved: dict[str, Ref] = {}
        for name, s in zip(recipe.names, node.saved, strict=True):  # type: ignore[arg-type]
            if isinstance(s, Saved):
                number = self.places.get((id(s.storage), s.layout, s.offset))
                if number is None:
                    number = self.place(_Seen(s))
                saved[name] = "p", number
            elif known.op.inputs and not own[name][0] and known.inputs[own[name][1]][0] != "p":
                saved[name] = known.inputs[own[name][1]]
            elif isinstance(s, (int, float)) and not isinstance(s, bool):
                saved[name] = ("v", name)  # of a view: found anew
            else:
                saved[name] = self.ref(s)
        arrivals = [None if g is None else self.ref(g) for g in arrived]
        self.add("rules", known, needed, arrivals, saved, self.results(made))

    def cotangent(self, y: Any, g: Any, value: Any) -> None:
        """g is what arrives at the result y."""
        if self.slopes is not None:
            self.refuse("gradients of the results are not found in one pass")
        self.cotangents.append(value)
        self.add("cotangent", self.place(y), self._new(g))

    def sloped(self, found: Sequence[Any]) -> None:
        """The gradients of what the results depend on."""
        self.slopes = [-1 if g is None else self.place(g) for g in found]

    def base(self, cell: Any) -> int:
        return self.places.get((id(cell.storage), cell.layout, cell.offset), -1)

    def guard(self, form: Form, sign: str, other: Form, answer: bool, pin: bool = False) -> None:
        """A question that was asked about a size, and the answer."""
        mark = (form, sign, other, pin)
        if self.closed or mark in self.noted:
            return
        self.noted.add(mark)
        self.add("guard", form, sign, other, answer, pin, user_line())

    # ---- what Python asks -----------------------------------------------------------------------

    def sizes(self, x: Any) -> tuple:
        """The shape of a tensor."""
        lay = x._layout
        if x._value is not None:
            self.refuse("a map or derivative is traced inside")
            return lay.shape
        place = self.places.get(self._key(x))
        if place is None:
            place = self.place(x)
        if place < 0 or place in self.outers:
            return lay.shape
        found = self.extents.get(place)
        if found is None:
            found = self.extents[place] = tuple(
                [Told(self, ("dim", place, d), n) if n > 1 else n for d, n in enumerate(lay.shape)]
            )
        return found

    def numel(self, x: Any) -> Any:
        return math.prod(self.sizes(x))

    def pin(self, x: Any) -> None:
        """Something of the layout is asked for that is no size: it has to be the same again."""
        for size in self.sizes(x):
            if type(size) is Told:
                size.pinned()
        if x._value is None and (place := self.place(x)) not in self.outers:
            self.add("same", place, x._layout, x._offset, user_line())

    def template(self, inputs: list[int]) -> Template:
        return Template(
            self.events, self.arguments, self.outers, self.facts, self.names, inputs, self.blocks,
            self.slopes or [], self.late_values, self.cotangents,
        )  # fmt: skip


class _Seen:
    """A residual as a tensor, as far as its place goes."""

    def __init__(self, s: Saved):
        self._storage, self._layout, self._offset = s.storage, s.layout, s.offset


def in_words(form: Form, names: dict[int, str]) -> str:
    """A form as the reader of a report knows it."""

    def leaf(form: Form) -> str:
        _, place, d = form
        return f"{names.get(place, 'a tensor')}.shape[{d}]"

    return told(form, leaf)
