"""A capture again, for other sizes of the arguments: `resized`.

compiler/__init__.py calls it where a template is there (journal.py). The journal's events go to a
new `Program`, as in a trace, but without the function: units, layouts and types follow from the
ops' own rules. Whatever would go another way for these sizes raises `Unfit`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lucid import apply as funnel
from lucid.apply import view_of, wrap
from lucid.autograd.mode import no_grad
from lucid.autograd.node import view_recipe
from lucid.compiler.captured import Captured, Input, Output, Source
from lucid.compiler.extents import COMPARISONS, Form, evaluated, filled
from lucid.compiler.journal import Made, Ref, Template, facts_of, in_words
from lucid.compiler.trace import Cell, Late, Program
from lucid.layout import Layout
from lucid.op import View
from lucid.tracing import count_programs, traced_by
from lucid.write import into_of


class Unfit(Exception):
    """The journal does not hold for these sizes."""


class Stand:
    """Stands for the storage of a tensor from outside."""

    __slots__ = ("ptr", "nbytes", "version", "readonly", "__weakref__")

    def __init__(self, nbytes: int, readonly: bool = False):
        self.ptr = 0
        self.nbytes = nbytes
        self.version = 0
        self.readonly = readonly


def resized(captured: Captured, leaves: Sequence[Any]) -> Captured:
    """The capture for these arguments."""
    template: Template = captured.template
    again = _Replay(template, leaves)
    count_programs(1)
    try:
        with traced_by(again.program):
            again.run()
            return _Mapped(captured, again, leaves).captured()
    except Unfit:
        raise
    except Exception as error:  # what does not go for these sizes is said by a trace
        raise Unfit(f"{type(error).__name__}: {error}") from error
    finally:
        count_programs(-1)


class _Replay:
    """The tensors of a journal for other sizes, by place, and the program that they are of."""

    def __init__(self, template: Template, leaves: Sequence[Any]):
        self.template = template
        self.program = Program()
        self.tensors: dict[int, Any] = {}
        self.lates: list[Late] = []
        self.cotangents: list[Any] = []
        stands: dict[Any, Any] = {}
        for place, number in template.arguments.items():
            x = leaves[number]
            block = stands.setdefault(number, Stand(x._storage.nbytes, x._storage.readonly))
            self._put(place, wrap(block, x._layout, x._offset))
        for place, outer in template.outers.items():
            block = stands.setdefault((outer.block,), Stand(outer.nbytes))
            self.tensors[place] = wrap(block, outer.layout, outer.offset)

    def run(self) -> None:
        for kind, *event in self.template.events:
            getattr(self, f"_{kind}")(*event)

    def _put(self, place: int, x: Any) -> None:
        """What stands at a place now; where something does already, it has to be the same."""
        if place < 0:
            return
        known = self.tensors.get(place)
        if known is not None:
            if (known._storage, known._layout, known._offset) != (x._storage, x._layout, x._offset):
                raise Unfit(f"two views of shape {known._layout.shape} are not one any more")
            return
        if facts_of(x._layout) != self.template.facts[place]:
            raise Unfit(f"a tensor of shape {x._layout.shape} is laid out in another way")
        self.tensors[place] = x

    def value(self, form: Form) -> int:
        try:
            return evaluated(form, self._leaf)
        except ArithmeticError as error:
            raise Unfit(f"{in_words(form, self.template.names)}: {error}") from None

    def _leaf(self, form: Form) -> int:
        _, place, d = form
        return self.tensors[place]._layout.shape[d]

    def numbers(self, x: Any) -> Any:
        return filled(x, self.value)

    def given(self, refs: Sequence[Ref]) -> list[Any]:
        return [self._given(ref) for ref in refs]

    def _given(self, ref: Ref) -> Any:
        kind, x = ref
        return self.tensors[x] if kind == "p" else self.lates[x] if kind == "l" else self.numbers(x)

    # ---- events ------------------------------------------------------------------------------

    def _late(self, example: Any, number: int) -> None:
        assert number == len(self.lates)
        self.lates.append(self.program.late(example))

    def _draw(self, generator: Any, offset: Ref, n: Any) -> None:
        program = self.program
        if id(generator) not in program.seeds:
            program.seeds[id(generator)] = (generator, self.lates[offset[1] - 1])
            program.drawn[id(generator)] = 0
        program.draw(generator, self.lates[offset[1]], self.numbers(n))

    def _position(self, generator: Any) -> None:
        self.program.position(generator)

    def _go_to(self, generator: Any, position: int) -> None:
        self.program.go_to(generator, position)

    def _call(self, op: Any, params: Any, inputs: Sequence[Ref], places: Sequence[int]) -> None:
        params, given = self.numbers(params), tuple(self.given(inputs))
        given = tuple([x if isinstance(x, Late) else funnel._operand(op, x) for x in given])
        for place, y in zip(places, self.program.called(op, given, params), strict=True):
            self._put(place, y)

    def _view(self, op: Any, params: Any, origin: int, place: int) -> None:
        x, params = self.tensors[origin], self.numbers(params)
        found = view_of(op, x, params)
        if found is None:
            raise Unfit(f"{op.label} of a tensor of shape {x._layout.shape} takes a copy")
        y = wrap(x._storage, found.layout, x._offset + found.offset)
        self.program.shown(x, y, found.step)
        self._put(place, y)

    def _store(self, op: Any, params: Any, target: Ref, inputs: Sequence[Ref]) -> None:
        x, params = self._given(target), self.numbers(params)
        into = into_of(op, f"{op.name}_", x._layout, params)
        self.program.store((op, params), x, into, tuple(self.given(inputs)))

    def _row(self, key: tuple, changed: Callable, row: Sequence[Ref], given: Sequence[Ref]) -> None:
        self.program.put_row(key, changed, tuple(self.given(row)), tuple(self.given(given)))

    def _constant(self, place: int, result: int) -> None:
        self._put(result, self.program.constant(self.tensors[place]))

    def _cotangent(self, place: int, result: int) -> None:
        g, value = self.program.input(self.tensors[place]._layout)
        self.cotangents.append(value)
        self._put(result, g)

    def _rules(
        self, node: Made, needed: tuple, arrived: Sequence[Ref | None], saved: dict[str, Ref],
        places: Sequence[int],
    ) -> None:  # fmt: skip
        inputs, outputs = self.given(node.inputs), self.given(node.outputs)
        params = self.numbers(node.params)
        edges = tuple([True if e else None for e in node.edges])
        numbers: dict[str, Any] = {}
        if issubclass(node.op, View):
            (x,), (y,) = inputs, outputs
            recipe, values = view_recipe(node.op, params, x._layout, y._layout)
            numbers = dict(zip(recipe.names, values, strict=True))
        else:
            bits = int("1" + "".join(str(int(e)) for e in node.edges), 2)
            recipe = self.program.recipe(node.op, params, bits, inputs, outputs, edges)
        kept = {
            name: numbers[name] if ref[0] == "v" else self._given(ref)
            for name, ref in saved.items()
        }
        gs = [None if g is None else self._given(g) for g in arrived]
        with no_grad():  # as backward calls them; rules to be differentiated are in no journal
            made = self.program.pulled(recipe, kept, needed, gs)
        for place, y in zip(places, made, strict=True):
            self._put(place, y)

    def _guard(
        self, form: Form, sign: str, other: Form, answer: bool, pin: bool, line: str
    ) -> None:
        a, b = self.value(form), self.value(other)
        if COMPARISONS[sign](a, b) is answer:
            return
        words = in_words(form, self.template.names)
        if pin:
            raise Unfit(f"the value of {words} is used at {line}: it was {other}, and is {a}")
        said = f"{words} {sign} {in_words(other, self.template.names)}"
        raise Unfit(f"{said} was {answer} at {line}, and is not for {a}")

    def _same(self, place: int, lay: Layout, offset: int, line: str) -> None:
        x = self.tensors[place]
        if x._layout is not lay or x._offset != offset:
            raise Unfit(f"strides of a tensor of shape {lay.shape} are asked for at {line}")


class _Mapped:
    """A capture's fields in terms of a replay."""

    def __init__(self, captured: Captured, again: _Replay, leaves: Sequence[Any]):
        self.old = captured
        self.again = again
        self.leaves = leaves
        self.values: dict[int, Any] = {}
        template = again.template
        for old, late in zip(template.lates, again.lates, strict=True):
            self.values[id(old)] = late.value
        for old, new in zip(template.cotangents, again.cotangents, strict=True):
            self.values[id(old)] = new
        self.outputs: dict[int, Output] = {}
        self.inputs = {
            id(i): self._input(i, place)
            for i, place in zip(captured.inputs, template.inputs, strict=True)
        }

    def captured(self) -> Captured:
        old, program, template = self.old, self.again.program, self.again.template
        made = [self._cell(place) for place in template.blocks]
        slopes = [
            None if place < 0 else program.read(self.again.tensors[place])
            for place in template.slopes
        ]
        result = list(old.result)
        for i, x in template.numbers.items():
            result[i] = self.again.numbers(x)
        every = [self.output(o) for o in old.every]
        rewritten = [(source, self.output(o)) for source, o in old.rewritten]
        numbered = [o for o in (*every, *[o for _, o in rewritten]) if o.number >= 0]
        return replace(
            old,
            graph=program.graph,
            inputs=list(self.inputs.values()),
            storages=[c.value for c in made],
            layouts=[c.layout for c in made],
            outputs=[self._maybe(o) for o in old.outputs],
            result=result,
            writes=[self._write(*write) for write in old.writes],
            gradients=[(source, self._maybe(o)) for source, o in old.gradients],
            rewritten=rewritten,
            stored=[(change, self._maybe(o)) for change, o in old.stored],
            every=every,
            lates=[self.values[id(v)] for v in old.lates],
            seeds=[(g, self.values[id(v)]) for g, v in old.seeds],
            offsets=program.offsets,
            drawn=[(g, program.drawn[id(g)]) for g, _ in old.drawn],
            roots=[(o, o.layout) for o in sorted(numbered, key=lambda o: o.number)],  # type: ignore[misc]
            cotangents=[self.values[id(v)] for v in old.cotangents],
            targets=[self.output(t) if isinstance(t, Output) else t for t in old.targets],
            slopes=slopes,
            template=None,
            begun=[],
        )

    def _cell(self, place: int) -> Cell:
        return self.again.program.cells[id(self.again.tensors[place]._storage)]

    def _write(self, i: Input, _: Any, times: int) -> tuple[Input, Any, int]:
        made = self.inputs[id(i)]
        return made, made.cell.value, times

    def _input(self, i: Input, place: int) -> Input:
        cell = self.again.program.cell(self.again.tensors[place])
        lay = i.layout
        if i.source.place >= 0 and not i.source.grad:
            lay = self.leaves[i.source.place]._layout
        assert cell.first is not None
        block = i.cell.storage if i.source.fixed else cell.storage
        kept = Cell(block, cell.layout, cell.offset, cell.value, cell.first)
        return Input(i.source, cell.first, kept, lay, i.shift, i.history)

    def _maybe(self, o: Output | None) -> Output | None:
        return None if o is None else self.output(o)

    def output(self, o: Output) -> Output:
        found = self.outputs.get(id(o))
        if found is None:
            found = self.outputs[id(o)] = self._output(o)
        return found

    def _output(self, o: Output) -> Output:
        made = replace(o, chain=self.again.numbers(o.told), grad=self._maybe(o.grad))
        made.of = self._maybe(o.of)
        if o.layout is not None:
            x = self.again.tensors[o.place]
            made.layout = x._layout
            if o.kind == "made":
                made.offset = x._offset
            elif o.kind == "bytes":
                made.offset = x._offset - self._origin(o.source)
        return made

    def _origin(self, source: Source | None) -> int:
        assert source is not None
        return source.find(self.leaves)._offset
