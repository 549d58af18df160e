"""One call of the user's function under a trace, and what it amounts to: a `Captured`.

compiler/__init__.py calls `capture`; split.py cuts a graph with gradients in two, runner.py makes
what runs of it. No kernel runs here, and whatever the function changed in Python on the way
(gradients, counts of optimizers, versions) is put back.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, cast

from lucid.apply import current_node, wrap
from lucid.array import Array
from lucid.autograd import engine
from lucid.autograd.mode import no_grad
from lucid.autograd.node import Node
from lucid.compiler.captured import Captured, Input, Output, Source, history_of
from lucid.compiler.extents import forms
from lucid.compiler.guard import Walk, Watch
from lucid.compiler.host import Host
from lucid.compiler.journal import Journal
from lucid.compiler.ledger import Change, Ledger, put_back
from lucid.compiler.outside import Entry
from lucid.compiler.results import asks_types, check_results, holds_promise, is_number, steps_from
from lucid.compiler.trace import Cell, Program, Promise, Restart
from lucid.compiler.tree import Form, flatten, unflatten
from lucid.dtypes import COMPLEX
from lucid.error import BackwardError, TraceError
from lucid.extent import has_extent, plain
from lucid.graph import Value
from lucid.layout import Layout
from lucid.tracing import casting, count_programs, traced_by
from lucid.write import needs_gradient


def capture(
    function: Callable, args: tuple, kwargs: dict, sizes: Sequence[str] | None = None
) -> Captured:
    """Trace function(*args, **kwargs); so that it can be repeated for other sizes of the arguments
    if `sizes` is given, the names of the leaves."""
    flat: frozenset[int] = frozenset()
    begun: list[Callable[[], None]] = []
    try:
        while True:
            attempt = _Capture(function, flat, sizes)
            try:
                captured = attempt.run(args, kwargs)
            except Restart as again:
                flat |= {again.block}
            else:
                captured.begun = begun + attempt.program.host.begun
                return captured
            finally:
                begun += attempt.program.host.begun
    except BaseException:
        for undo in begun:
            undo()
        raise


class Untold(Exception):
    """A trace for several sizes has to be made for its own size alone."""


class _Capture:
    """The state of one trace."""

    def __init__(self, function: Callable, flat: frozenset[int], names: Sequence[str] | None):
        self.function = function
        self.program = Program(flat)
        self.names = names
        self.journal: Any = None
        if names is not None:
            self.journal = self.program.journal = Journal()
            if flat:
                self.journal.refuse("views of one storage do not follow from each other")
        self.program.host = Host(self.program)
        self.stands: dict[int, int] = {}  # stand-in or argument -> number of the argument
        self.versions: list[tuple[Any, int]] = []
        self.held: list[Any] = []
        self.fixed: list[Any] = []  # tensors that are reached by way of Python
        self.rewritten: list[tuple[Source, Output]] = []
        self.outputs: dict[int, Output] = {}  # by the id of a tensor
        self.paired: frozenset[int] = frozenset()
        self.entries: dict[Node, Any] = {}  # the stand-ins that have a history outside

    def run(self, args: tuple, kwargs: dict) -> Captured:
        program, journal = self.program, self.journal
        leaves, form = flatten((args, kwargs))
        given = [self._stand_in(x, i) if isinstance(x, Array) else x for i, x in enumerate(leaves)]
        positional, named = unflatten(form, given)
        watch = Watch()
        ledger = Ledger([self.function, *[x for x in given if not isinstance(x, Array)]])
        cast = casting.get()
        count_programs(1)
        try:
            # What autocast has cast so far stays outside, and what it casts here inside.
            with traced_by(program), cast.renewed() if cast else nullcontext():
                try:
                    with watch:
                        made = self.function(*positional, **named)
                finally:
                    changes = ledger.changes()
                    for change in changes:
                        put_back(change)
                self._check_arguments((positional, named), given)
                program.returned = True
                results, result_form = flatten(made)
                for change in changes:
                    self._check_change(change, ledger)
                plainly = [plain(y) for y in results]
                captured = self._finish(watch, leaves, plainly, result_form, changes)
                if journal is not None:
                    self._keep(captured, results)
        finally:
            count_programs(-1)
            self._restore()
            if journal is not None:
                journal.closed = True
        return captured

    def _keep(self, captured: Captured, results: list[Any]) -> None:
        """The journal as a template."""
        journal = self.journal
        names = {"type", "int"}  # an extent has another type than an int
        if any(names <= set(c.co_names) and asks_types(c.co_filename) for c in captured.codes):
            raise Untold("the function may ask whether a size's type is int: use isinstance")
        firsts = [journal.base(i.cell) for i in captured.inputs]
        if journal.slopes is None and captured.roots:
            journal.refuse("gradients of the results are not found in one pass")
        if -1 in firsts or -1 in journal.blocks:
            journal.refuse("memory is reached in an unknown way")
        captured.static = journal.failed
        if not journal.failed:
            captured.template = journal.template(firsts)
            numbers = {i: forms(y) for i, y in enumerate(results) if has_extent(y)}
            captured.template.numbers = numbers

    def _check_arguments(self, arguments: Any, given: list[Any]) -> None:
        now, _ = flatten(arguments)
        if len(now) != len(given) or any(a is not b for a, b in zip(now, given, strict=True)):
            raise TraceError(
                "compile: an argument that is a list, dict or dataclass is stored to inside of "
                "the function; return what it should hold"
            )

    def _check_change(self, change: Change, ledger: Ledger) -> None:
        """Refuse what cannot be stored again by each call."""
        before, after = change.before, change.after
        advice = ""
        if self.journal is not None and any(map(has_extent, (change.key, flatten(after)[0]))):
            raise Untold(f"{change.what()} is set to a size{ledger.line(change)}")
        if change.key is None:
            advice = "return the values instead"
        elif is_number(before) and is_number(after):
            advice = "a count like this would trace the function anew at each call; keep it " \
                "in a tensor, or outside"  # fmt: skip
        elif not isinstance(after, Array) and holds_promise(after):
            advice = "only a tensor itself can be stored, no container of tensors"
        if advice:
            raise TraceError(
                f"compile: {change.what()} is stored to{ledger.line(change)}: {advice}"
            )

    def _stand_in(self, x: Any, place: int) -> Any:
        """What the function is given for a tensor. A leaf with a gradient stands for itself, as it
        may be met by another way too."""
        for y, original in self.held:
            if original is x:
                return y
        if needs_gradient(x) and current_node(x) is None:
            y = x
        else:
            if x._storage is None:
                raise TraceError(
                    "compile: sparse tensors are not supported; pass their indices and values, and "
                    "make the sparse tensor outside"
                )
            y = type(x)._make_subclass(type(x), wrap(x._storage, x._layout, x._offset))
            y.__dict__.update({k: v for k, v in x.__dict__.items() if not k.startswith("_")})
            y._grad = x._grad
            if needs_gradient(x):
                y._requires_grad, y._node = True, Entry(x._layout, place)
                self.entries[y._node] = y
        self.held.append((y, x))
        self.stands[id(y)] = place
        if self.journal is not None:
            self.journal.argument(y, place, self.names[place])  # type: ignore[index]
        if y is not x:
            self.program.originals[id(y)] = (x, place)
        return y

    # ---- after the function has run ------------------------------------------------------------

    def _finish(
        self,
        watch: Watch,
        leaves: list[Any],
        results: list[Any],
        form: Form,
        changes: list[Change],
    ) -> Captured:
        program = self.program
        passing = [c for c in changes if isinstance(c.before, Array) and holds_promise(c.after)]
        free = frozenset([(id(c.space), c.key) for c in passing])

        def walked() -> Walk:
            walk = Walk(watch, free)
            walk.follow(self.function)
            for x in leaves:
                if not isinstance(x, Array):
                    walk.follow(x)
            return walk

        walk = walked()
        check_results(results, [*walk.seen.values(), *leaves])
        self.fixed = walk.tensors
        sources = self._sources(walk, leaves, passing)
        storages: dict[int, int] = {}
        outputs: list[Output | None] = []
        roots: list[Any] = []
        for y in results:
            outputs.append(self._output(y, sources, storages, roots))
        stored = [(c, self._output(c.after, sources, storages, roots)) for c in changes]
        gradients = self._gradients(sources, storages, roots)
        rewritten = self.rewritten = self._rewritten(sources, roots)
        before = len(watch.codes)
        with watch:
            slopes, targets, cotangents = self._backward(roots)
        if len(watch.codes) > before:  # a Function's backward, or a hook
            walk = walked()
            sources = self._sources(walk, leaves, passing)
        cells = [c for c in program.cells.values() if c.first is not None]
        inputs = [self._input(c, sources, leaves) for c in cells]
        by_value = {id(i.value): i for i in inputs}
        writes = [
            (by_value[id(c.first)], c.value, c.writes) for c in cells if c.value is not c.first
        ]
        made = [program.cells[key] for key in storages]
        if self.journal is not None:
            self.journal.blocks = [self.journal.base(c) for c in made]
        return Captured(
            graph=program.graph,
            inputs=inputs,
            storages=[c.value for c in made],
            layouts=[c.layout for c in made],
            outputs=outputs,
            result=[None if isinstance(y, Array) else y for y in results],
            form=form,
            writes=writes,
            gradients=gradients,
            asked=[
                (self._leaf_source(x), before is not None)
                for x, before, asked in program.grads.values()
                if asked
            ],
            rewritten=rewritten,
            shared=self._shared(leaves, walk),
            stored=stored,
            every=list(self.outputs.values()),
            steps=program.host.steps,
            lates=[n.value for s in program.host.steps for u in s.updates for n in u.lates],
            seeds=[(g, late.value) for g, late in program.seeds.values()],
            offsets=program.offsets,
            drawn=[(g, program.drawn[key]) for key, (g, _) in program.seeds.items()],
            check=walk.check(),
            codes=list(watch.codes),
            roots=_in_order([o for o in self.outputs.values()] + [o for _, o in rewritten]),
            cotangents=cotangents,
            targets=targets,
            slopes=slopes,
            paired=self.paired,
        )

    def _sources(self, walk: Walk, leaves: list[Any], passing: list[Change]) -> dict[int, Source]:
        """Storage -> where it is found at each call."""
        program = self.program
        found: dict[int, Source] = {}
        for x in walk.tensors:
            found.setdefault(id(x._storage), Source(tensor=x))
        for step in program.host.steps:
            for update in step.updates:
                update.steady = []
                for i, row in enumerate(update.rows):
                    for j, t in enumerate(row):
                        if not isinstance(t._storage, Promise) and not self._is_grad(t):
                            update.steady.append((i, j, t))
                            found.setdefault(id(t._storage), Source(tensor=t))
        for x, before, _ in program.grads.values():
            if before is not None:
                found[id(before._storage)] = self._leaf_source(x, grad=True)
        for c in passing:
            found[id(c.before._storage)] = Source(slot=(c.space, c.key))
        for i, x in reversed(list(enumerate(leaves))):
            if isinstance(x, Array):
                found[id(x._storage)] = Source(place=i)
        for block in program.constants.values():
            found.setdefault(id(block), Source(tensor=None))
        return found

    def _shared(self, leaves: list[Any], walk: Walk) -> list[tuple[Source, Source, int]]:
        """What shares bytes with an argument: that, and how many bytes lie between the first
        elements."""
        first: dict[int, tuple[Source, Any]] = {}
        pairs = []
        found = [(Source(i), x) for i, x in enumerate(leaves) if isinstance(x, Array)]
        count = len(found)
        found += [(Source(tensor=x), x) for x in walk.tensors]
        for i, (source, x) in enumerate(found):
            if i < count or id(x._storage) in first:
                other, y = first.setdefault(id(x._storage), (source, x))
                if other != source:
                    pairs.append((other, source, x._ptr - y._ptr))
        return pairs

    def _is_grad(self, t: Any) -> bool:
        return any(before is t for _, before, _ in self.program.grads.values())

    def _leaf_source(self, x: Any, grad: bool = False) -> Source:
        """Where a leaf, or its gradient, is found at each call."""
        place = self.stands.get(id(x), -1)
        return Source(place, None if place >= 0 else x, grad)

    def _input(self, cell: Cell, sources: dict[int, Source], leaves: list[Any]) -> Input:
        assert cell.first is not None
        source = sources.get(id(cell.storage))
        if source is None:
            raise TraceError(
                f"compile: a tensor of {cell.layout!r} is used that is reached in a way which "
                "cannot be followed; pass it as an argument, or keep it in a module"
            )
        if source == Source():  # made from Python data
            x = wrap(cell.storage, cell.layout, cell.offset)
            return Input(Source(tensor=x), cell.first, cell, cell.layout, 0, 0)
        before = {id(x): g for x, g, _ in self.program.grads.values()}
        if source.grad:
            owner = source.tensor
            if source.place >= 0:
                owner = next(y for y, _ in self.held if self.stands[id(y)] == source.place)
            x = before[id(owner)]
        else:
            x = source.find(leaves)
        kind = x._layout.dtype
        if cell.layout.dtype not in (kind, kind.parts):  # complex numbers are read as pairs
            raise TraceError(f"compile: one storage is seen as {x._layout!r} and {cell.layout!r}")
        shift = cell.offset * cell.layout.dtype.itemsize - x._offset * kind.itemsize
        return Input(source, cell.first, cell, x._layout, shift, history_of(x))

    def _output(
        self, y: Any, sources: dict[int, Source], storages: dict[int, int], roots: list[Any]
    ) -> Output | None:
        if not isinstance(y, Array):
            return None
        found = self.outputs.get(id(y))
        if found is None:
            found = self.outputs[id(y)] = self._new_output(y, sources, storages, roots)
            self.held.append((y, None))
            if self.journal is not None:
                found.place = self.journal.place(y)
        return found

    def _new_output(
        self, y: Any, sources: dict[int, Source], storages: dict[int, int], roots: list[Any]
    ) -> Output:
        place = self.stands.get(id(y), -1)
        if place >= 0:
            return Output("same", Source(place))
        block = y._storage
        if not isinstance(block, Promise):
            source = sources.get(id(block))
            if source is None:
                raise TraceError(
                    f"compile: a tensor of {y._layout!r} is returned that is reached in a way "
                    "which cannot be followed; pass it as an argument, or keep it in a module"
                )
            if source.tensor is y:
                return Output("same", source)
            if any(x is y for x in self.fixed):
                return Output("same", Source(tensor=y))
            return self._view_of(y, source)
        if y._layout.dtype.category == COMPLEX and y._base is not None:
            # Cotangents in a program are real: the history is that of the pairs.
            pairs = self._output(y._base, sources, storages, roots)
            return Output(
                "view", chain=plain(y._view), of=pairs, recorded=True, told=forms(y._view)
            )
        made = self._made(y, storages)
        made.requires = y._requires_grad is True
        if y._grad is not None:
            made.grad = self._output(y._grad, sources, storages, roots)
        node = current_node(y)
        if node is not None and y._requires_grad:
            self._root(y, made, roots)
        return made

    def _view_of(self, y: Any, source: Source) -> Output:
        """Something that shares the bytes of what `source` finds."""
        cell = self.program.cell(y)
        chain = self.program.chain(cell, y)
        x = source.slot[0][source.slot[1]] if source.slot else source.tensor
        if source.place >= 0:
            x = next(s for s, _ in self.held if self.stands.get(id(s)) == source.place)
        x = x._grad if source.grad else x
        if (steps := steps_from(x, y)) is not None:
            return Output("view", source, plain(steps), recorded=True, told=forms(steps))
        whole = cell.layout is x._layout and cell.offset == x._offset
        if whole and chain and y._shown is not None and y._shown() is x:
            return Output("view", source, plain(chain), told=forms(chain))
        if needs_gradient(y):
            raise TraceError(
                f"compile: a view of {y._layout!r} of a tensor from outside is returned, whose "
                "history cannot be followed: clone() it"
            )
        return Output("bytes", source, layout=y._layout, offset=y._offset - x._offset)

    def _root(self, y: Any, output: Output, roots: list[Any]) -> None:
        """The output's history: a gradient of the Node, or one that was used up."""
        name = _spent_by(current_node(y))
        if name:
            output.freed = True
            output.spent = (
                f"{name}: its saved tensors have been freed by a backward pass inside of the "
                "compiled function; use retain_graph=True there to go through the same graph again"
            )
        else:
            output.number = len(roots)
            roots.append(y)

    def _rewritten(self, sources: dict[int, Source], roots: list[Any]) -> list:
        """Tensors from outside to which something with a history was written."""
        made = []
        for x, node in self.program.histories.values():
            if current_node(x) is node:
                continue
            place = self.stands.get(id(x), -1)
            if place < 0 and not any(x is t for t in self.fixed):
                continue  # a view that was made inside
            source = Source(place) if place >= 0 else Source(tensor=x)
            if place < 0 and sources.get(id(x._storage)) != source:
                raise TraceError(
                    f"compile: a tensor of {x._layout!r} from outside, which is a view or "
                    "reached in several ways, is written with something that has a gradient: "
                    "pass it as an argument, or detach() what is written"
                )
            output = Output("same", source, layout=x._layout)
            if self.journal is not None:
                output.place = self.journal.place(x)
            self._root(x, output, roots)
            made.append((source, output))
        return made

    def _made(self, y: Any, storages: dict[int, int]) -> Output:
        self.program.cell(y)
        number = storages.setdefault(id(y._storage), len(storages))
        return Output("made", storage=number, layout=y._layout, offset=y._offset)

    def _gradients(
        self, sources: dict[int, Source], storages: dict[int, int], roots: list[Any]
    ) -> list[tuple[Source, Output | None]]:
        """What becomes of the `.grad` of leaves."""
        changed: list[tuple[Source, Output | None]] = []
        for x, before, asked in self.program.grads.values():
            after = x._grad
            if after is before and (asked or before is not None):
                continue
            target = self._leaf_source(x)
            if after is None:
                changed.append((target, None))
            else:
                output = self._output(after, sources, storages, roots)
                changed.append((target, output))
        return changed

    def _backward(self, roots: list[Any]) -> tuple[list, list[Source | Output], list[Value]]:
        """The gradients of the leaves as functions of cotangents of the outputs."""
        if not roots:
            return [], [], []
        try:
            return self._differentiate(roots)
        except TraceError:
            raise
        except RuntimeError:
            pass  # something that was saved is overwritten: for which outputs?
        numbers = {o.number: o for o in self._numbered()}
        good: list[Any] = []
        for number, y in enumerate(list(roots)):
            try:
                self._differentiate([y])
                numbers[number].number = len(good)
                good.append(y)
            except TraceError:
                raise
            except RuntimeError as error:
                numbers[number].number, numbers[number].spent = -1, str(error)
                numbers[number].freed = isinstance(error, BackwardError)
        roots[:] = good
        return self._differentiate(roots) if roots else ([], [], [])

    def _numbered(self) -> list[Output]:
        found = [*self.outputs.values(), *[o for _, o in self.rewritten]]
        return [o for o in found if o.number >= 0]

    def _differentiate(self, roots: list[Any]) -> tuple[list, list[Source | Output], list[Value]]:
        program = self.program
        targets = self._leaves_of(roots)
        cotangents, values = [], []
        for y in roots:
            g, value = program.input(y._layout)
            cotangents.append(g)
            values.append(value)
            if self.journal is not None:
                self.journal.cotangent(y, g, value)
        hooks = [(t, t._hooks) for t in targets]
        try:
            for t in targets:
                t._hooks = None  # the caller's own backward pass will call them
            with no_grad():
                found = engine.run(roots, cotangents, targets, True, False) or []
        finally:
            for t, kept in hooks:
                t._hooks = kept
        slopes = [None if g is None else program.read_pairs(g) for g in found]
        self.paired = frozenset(
            [i for i, t in enumerate(targets) if t._layout.dtype.category == COMPLEX]
        )
        if self.journal is not None:
            self.journal.sloped(found)
        ends = [
            self.outputs[id(t)] if isinstance(t._storage, Promise) else self._leaf_source(t)
            for t in targets
        ]
        return slopes, ends, values

    def _leaves_of(self, roots: Sequence[Any]) -> list[Any]:
        """The tensors from outside that the outputs' graphs lead to."""
        found: dict[int, Any] = {}
        for node in _nodes_of([current_node(y) for y in roots]):
            if node.sequence < self.program.started:
                raise TraceError(
                    f"compile: a tensor is used that {node.name()} made before the call, and that "
                    "is no argument: pass it as one, or detach() it"
                )
            entered = self.entries.get(node)
            if entered is not None:
                found.setdefault(id(entered), entered)
            for e in node.edges:
                if e is not None and not isinstance(e[0], Node):
                    found.setdefault(id(e[0]), e[0])
        # The gradient of a leaf that was made inside is seen only where the leaf itself is.
        return [
            x
            for x in found.values()
            if not isinstance(x._storage, Promise) or id(x) in self.outputs
        ]

    def _restore(self) -> None:
        program = self.program
        for cell in program.cells.values():
            if cell.first is not None and cell.writes:
                cell.storage.version -= cell.writes
        for x, before, _ in program.grads.values():
            x._grad = before
        for x, fields in program.fields.values():
            vars(x).clear()
            vars(x).update(fields[0])
            x._requires_grad = fields[1]
        program.host.restore()


def _nodes_of(stack: list[Any]) -> set[Node]:
    """All that is reached from these Nodes, themselves too."""
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack += [e[0] for e in node.edges if e is not None and isinstance(e[0], Node)]
    return seen


def _in_order(outputs: Sequence[Output | None]) -> list[tuple[Output, Layout]]:
    """The outputs with a gradient, as the Node numbers them."""
    found = [o for o in outputs if o is not None and o.number >= 0]
    found.sort(key=lambda o: o.number)
    return [(o, cast(Layout, o.layout)) for o in found]


def _spent_by(node: Node | None) -> str:
    """The name of a Node that a backward pass inside has used up; "" if there is none."""
    return next((n.name() for n in _nodes_of([node]) if n.saved is None), "")
