"""The trace of a whole program: what `lucid.compile` records while the function runs on promises.

capture.py makes a `Program` and runs the user's function under it; the funnel (apply.py), in-place
writes (write.py) and the generator (ops/random.py) hand everything over that they would have run.
Tensors look as in eager, views and histories included; only their storage is a `Promise`. A write
gives a storage a new value, and whoever looks into it reads that value through its own views: so
views and in-place operations become functions of values, with the aliasing of eager.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

from lucid import apply as funnel
from lucid import dtypes
from lucid.apply import CPU, attach, current_node, edges_of, layouts_of, visible
from lucid.array import Array
from lucid.autograd.mode import grad_state, no_grad
from lucid.autograd.node import Node, Recipe, newest
from lucid.autograd.rules import rules_of, unpack
from lucid.caches import kept_plans, trim
from lucid.compiler.extents import forms
from lucid.compiler.outside import Onward
from lucid.compiler.unit import Unit, unit
from lucid.dtypes import COMPLEX
from lucid.error import TraceError
from lucid.extent import plain
from lucid.graph import Graph, Value, preserved
from lucid.layout import Layout, dense_order, layout
from lucid.lines import user_line
from lucid.op import Op, View, find
from lucid.ops.overwrite import overwritten, renewed
from lucid.ops.strided import strided
from lucid.ops.view import permute, reshape
from lucid.pairing import lowered, pairs_of

Chain = tuple[tuple[type[Op], tuple], ...]

_addresses = itertools.count(1)
_recipes: dict[tuple, Recipe] = kept_plans({})


class Promise:
    """Stands where a storage will be when the plan runs."""

    __slots__ = ("ptr", "nbytes", "version", "__weakref__")

    readonly = False

    def __init__(self, nbytes: int):
        self.ptr = -(next(_addresses) << 48)  # only told from others, never followed
        self.nbytes = nbytes
        self.version = 0


class Late:
    """A number that is known only when the plan runs: a seed, a counter, a learning rate."""

    __slots__ = ("value", "example")

    def __init__(self, value: Value, example: int | float):
        self.value = value
        self.example = example


class Cell:
    """One storage as the program goes on: its first tensor, and its value now."""

    __slots__ = ("storage", "layout", "offset", "value", "first", "writes")

    def __init__(self, storage: Any, lay: Layout, offset: int, value: Value, first: Value | None):
        self.storage = storage
        self.layout = lay
        self.offset = offset
        self.value = value
        self.first = first  # its value as the program begins; None if it is made inside
        self.writes = 0


class Program:
    """A graph being recorded from a program that reads, writes and differentiates tensors."""

    whole = True
    pending = False  # whether it waits and runs (pending.py), and is no trace for later calls
    journal: Any = None  # of what it does (journal.py), where it is to hold for other sizes

    def __init__(self, flat: frozenset[int] = frozenset()) -> None:
        self.graph = Graph()
        self.calls = 0
        self.started = newest()
        self.flat = flat  # storages that are looked at as one row of elements
        self.cells: dict[int, Cell] = {}
        self.chains: dict[tuple, Chain] = {}  # (storage, layout, offset) -> views from the base
        self.views: dict[tuple, Value] = {}
        self.constants: dict[int, Any] = {}  # storages that the function makes from Python data
        # leaf, its .grad as the program begins, whether it was read before it was set
        self.grads: dict[int, tuple[Any, Any, bool]] = {}
        # Tensors from outside that were written in place: their Nodes before.
        self.histories: dict[int, tuple[Any, Node | None]] = {}
        self.fields: dict[int, tuple[Any, tuple[dict, Any]]] = {}  # all that they were
        # By stand-in, the argument that it stands for, and its number.
        self.originals: dict[int, tuple[Any, int]] = {}
        self.returned = False  # whether the function has run to its end
        self.seeds: dict[int, tuple[Any, Late]] = {}  # by generator
        self.drawn: dict[int, int] = {}  # numbers that each generator has given
        self.positions: list[int] = []  # to go back to
        self.offsets: list[tuple[Any, int, Value]] = []
        self.host: Any = None  # what optimizers and schedulers do in Python (host.py)
        self.stepping: Any = None  # the optimizer whose step is going on
        self.region: Any = None  # the branch or body that is being traced (region.py)
        self.regions: list[Any] = []  # all so far

    # ---- values -----------------------------------------------------------------------------

    def cell(self, x: Any) -> Cell:
        """The cell of a tensor's storage; that of one from outside is an input of the graph."""
        block = x._storage
        found = self.cells.get(id(block))
        if found is not None:
            return found
        if isinstance(block, Promise):
            if any(id(block) in region.cells for region in self.regions):
                self.refuse(
                    "a tensor that a branch or body made is used outside of it",
                    "return it from there",
                )
            raise TraceError(
                "a tensor of another call of a compiled function is used, which had no bytes yet"
            )
        lay, offset = pairs_of(x._layout, x._offset)
        if self.journal is not None and self.journal.place(x) not in self.journal.beginnings:
            self.journal.refuse(f"{lay!r} is a view of an argument that was made before")
        if id(block) in self.flat:
            lay, offset = layout((block.nbytes // lay.dtype.itemsize,), None, lay.dtype, CPU), 0
        value = Value(lay.shape, lay.dtype, strides=None if lay.contiguous else lay.strides)
        self.graph.inputs.append(value)
        found = self.cells[id(block)] = Cell(block, lay, offset, value, value)
        self.chains[id(block), lay, offset] = ()
        return found

    def read(self, x: Any) -> Value:
        """The value of a tensor now."""
        if x._layout.dtype.category == COMPLEX:
            raise NotImplementedError(
                f"compile: a complex tensor of shape {tuple(x._layout.shape)} is used where only "
                "real ones can be traced: pass view_as_real() of it"
            )
        return self.read_pairs(x)

    def read_pairs(self, x: Any) -> Value:
        """The value of a tensor now, that of its pairs if it is complex."""
        cell = self.cell(x)
        value = cell.value
        for op, params in self.chain(cell, x):
            params = plain(params)
            key = (id(value), op, params)
            found = self.views.get(key)
            if found is None:
                found = self.views[key] = self._add(op, [value], params)
            value = found
        return value

    def chain(self, cell: Cell, x: Any) -> Chain:
        """The views that lead from the first tensor of a storage to this one, or to its pairs."""
        key = (id(cell.storage), *pairs_of(x._layout, x._offset))
        found = self.chains.get(key)
        if found is None:
            found = self.chains[key] = self._strided(cell, x)
        return found

    def _strided(self, cell: Cell, x: Any) -> Chain:
        """For a tensor whose views are not known: strides over the elements in a row."""
        (lay, start), base = pairs_of(x._layout, x._offset), cell.layout
        if self.journal is not None:
            self.journal.refuse(f"{lay!r} looks at memory in a way that is not known")
        if lay.dtype is not base.dtype:
            raise TraceError(
                f"one storage is looked at as {base.dtype!r} and as {lay.dtype!r}, which a "
                "compiled function cannot; clone() one of the two"
            )
        low, high = lay.span
        first = start - cell.offset
        order = () if base.contiguous else dense_order(base)
        if order is None or first + low < 0 or first + high > base.numel:
            if isinstance(cell.storage, Promise):
                self.refuse("a view over the memory of a strided tensor", "use contiguous() first")
            raise Restart(id(cell.storage))
        turned: Chain = ((permute, (order,)),) if order else ()
        flat: Chain = () if base.ndim == 1 else ((reshape, ((base.numel,),)),)
        return (*turned, *flat, (strided, (lay.shape, lay.strides, first)))

    def _add(self, op: type[Op], inputs: Sequence[Value], params: tuple) -> Value:
        value = self.graph.add(op, inputs, params)[0]
        self.graph.equations[-1].line = user_line()
        return value

    def new(self, value: Value, strides: tuple[int, ...] | None = None) -> Any:
        """A tensor in a storage of its own."""
        lay = layout(value.shape, strides, value.dtype, CPU)
        if strides is not None and value.strides is None and not lay.contiguous:
            value.strides = strides
        value.whole = True
        block = Promise(lay.nbytes)
        self.cells[id(block)] = Cell(block, lay, 0, value, None)
        self.chains[id(block), lay, 0] = ()
        return funnel.wrap(block, lay)

    def input(self, lay: Layout) -> tuple[Any, Value]:
        """A tensor that is an argument of the graph, and nothing else."""
        value = Value(lay.shape, lay.dtype)
        self.graph.inputs.append(value)
        return self.new(value), value

    def late(self, example: bool | int | float) -> Late:
        """A number that arrives with each call."""
        value = Value((), dtypes.of_scalar(example), True)
        self.graph.inputs.append(value)
        made = Late(value, example)
        if self.journal is not None:
            self.journal.add("late", example, self.journal.late(made))
        return made

    # ---- what the funnel hands over ----------------------------------------------------------

    def call(self, op: type[Op], inputs: Sequence, params: tuple, everything: bool = False) -> Any:
        """`apply` of a program."""
        if self.stepping is not None:
            raise InStep(type(self.stepping).__name__, op.name)
        given = tuple([x if isinstance(x, Late) else funnel._operand(op, plain(x)) for x in inputs])
        if issubclass(op, View):
            return funnel._view(op, given[0], params)
        sizes, params = params, plain(params)
        outputs = tuple(self.called(op, given, params))
        journal = self.journal
        if journal is not None:
            journal.called(op, sizes, inputs, outputs)
        if op.rules and grad_state()[0]:
            edges, needed = edges_of(op, given)
            if needed:
                recipe = self.recipe(op, params, needed, given, outputs, edges)
                node = attach(recipe, edges, given, outputs)
                if journal is not None:
                    journal.note(node, op, sizes, inputs, outputs)
        shown = outputs if everything else visible(op, outputs)
        return shown[0] if isinstance(shown, tuple) and len(shown) == 1 else shown

    def called(self, op: type[Op], given: tuple, params: tuple) -> list:
        """All outputs of a call, without a history."""
        return self.run(
            (op, params),
            lambda *xs: funnel.apply_all(op, xs, params),
            given,
            lambda v: preserved(op, given, v),
        )

    def recipe(self, op, params, needed, given, outputs, edges) -> Recipe:
        key = (op, params, needed, layouts_of(given), layouts_of(outputs))
        found = _recipes.get(key)
        if found is None:
            trim(_recipes)
            found = _recipes[key] = Recipe(op, params, key[3], key[4], edges)
        return found

    def run(self, key: tuple, function: Callable[..., Any], given: Sequence, strides: Any) -> list:
        """function(*given), what eager would run as one plan; its results as tensors."""
        found = self.unit(key, function, given, strides)
        values = self.put_unit(found, given)
        made = iter([self.new(v, s) for v, s in zip(values, found.strides, strict=True)])
        return [next(made) if there else None for there in found.present]

    def unit(self, key: tuple, function: Callable[..., Any], given: Sequence, strides: Any) -> Unit:
        examples = [x.example if isinstance(x, Late) else x for x in given]
        return unit(key, function, examples, strides)

    def put_unit(self, found: Unit, given: Sequence) -> list[Value]:
        """A unit's equations on these inputs; the values of its outputs."""
        self.calls += 1
        values = [self.value_of(x) for x in given]
        return found.put_into(self.graph, values, user_line(), self.calls)

    def put_row(self, key: tuple, changed: Callable[..., Any], row: tuple, given: Sequence) -> int:
        """The first tensors of an optimizer's row are now changed(*given); how many."""
        if self.journal is not None:
            refs = self.journal.refs
            self.journal.add("row", key, changed, refs(row), refs(given))
        kinds = iter([t._layout.strides for t in row])
        formula = self.unit(key, changed, given, lambda v: next(kinds))
        formula.updates = True
        values = self.put_unit(formula, given)
        for target, value in zip(row, values, strict=False):
            self.put(target, value)
        return len(values)

    def value_of(self, x: Any) -> Value:
        """The value of an input."""
        if isinstance(x, Array):
            return self.read(x)
        return x.value if isinstance(x, Late) else Value((), dtypes.of_scalar(x), True, x)

    def complex(self, op: type[Op], inputs: tuple, params: tuple, everything: bool) -> Any:
        """A call with complex tensors: on the pairs that they are, which the graph has alone."""
        if self.journal is not None:
            self.journal.refuse(f"{op.label}: the sizes of complex tensors are no symbols")
        if issubclass(op, View):
            return funnel._view(op, inputs[0], params)
        return lowered[0](op, inputs, params)

    def rules(self, node: Node, needed: tuple, arrived: Sequence[Any]) -> list[Any]:
        """What `pull_back` computes for a Node: the gradients of the needed inputs."""
        if node.sequence < self.started:
            self.refuse(
                f"backward through {node.name()}, which was made before the call",
                "pass its result as an argument, or detach() it",
            )
        recipe, saved = node.recipe, cast(tuple, node.saved)
        kept = {
            n: unpack(node, n, plain(s), False) for n, s in zip(recipe.names, saved, strict=True)
        }
        if recipe.direct:  # complex numbers: op by op, as in eager
            made = list(rules_of(recipe, needed, recipe.fixed | kept, list(arrived)))
        else:
            made = self.pulled(recipe, kept, needed, arrived)
        if self.journal is not None:
            self.journal.rules(node, needed, arrived, made)
        return made

    def pulled(
        self, recipe: Recipe, kept: dict[str, Any], needed: tuple, arrived: Sequence[Any]
    ) -> list[Any]:
        """The rules of a recipe on the residuals and on what has arrived."""
        moving = {n: s for n, s in kept.items() if isinstance(s, (Array, Late, float, int))}
        still = recipe.fixed | {n: s for n, s in kept.items() if n not in moving}
        there = tuple([g is not None for g in arrived])

        def function(*xs: Any) -> tuple:
            it = iter(xs)
            gs = [next(it) if t else None for t in there]
            return rules_of(recipe, needed, still | {n: next(it) for n in moving}, gs)

        given = [g for g in arrived if g is not None]
        given += moving.values()
        others = tuple([(n, s) for n, s in kept.items() if n not in moving])
        return self.run((recipe, needed, there, others), function, given, lambda v: None)

    def shown(self, x: Any, y: Any, step: Chain) -> None:
        """y is a view of x."""
        if COMPLEX in (x._layout.dtype.category, y._layout.dtype.category):
            return  # the way to its pairs is found when they are read
        chain = self.chain(self.cell(x), x)
        self.chains.setdefault((id(y._storage), y._layout, y._offset), (*chain, *step))
        if self.journal is not None:
            self.journal.shown(x, y, *step[0])

    def store(self, key: tuple, target: Any, into: Callable[..., Any], inputs: Sequence) -> None:
        """An in-place write of into(*inputs)."""
        self.note_write(target)
        op, params = key
        if self.journal is not None:
            refs = self.journal.refs(inputs)
            self.journal.add("store", op, forms(params), self.journal.ref(target), refs)
        strides = target._layout.strides
        inputs = plain(inputs)
        found = self.unit((op, plain(params), target._layout), into, inputs, lambda v: strides)
        self.put(target, self.put_unit(found, inputs)[0])

    def put(self, target: Any, value: Value) -> None:
        """The target's elements are now those of the value."""
        cell = self.cell(target)
        if self.region is not None:
            self.region.check_write(cell)
        if getattr(cell.storage, "readonly", False):
            raise TraceError("an in-place write to memory that is read-only")
        chain = self.chain(cell, target)
        if chain:
            names = tuple([(op.name, plain(params)) for op, params in chain])
            value = self._add(overwritten, [cell.value, value], (names,))
            if not cell.layout.contiguous:
                value.strides = cell.layout.strides
        cell.value = value
        cell.writes += 1

    def reserve(self, generator: Any, n: int) -> tuple[Late, Late]:
        """A range of a generator's counters, and its seed."""
        if self.region is not None:
            self.region.drawn()
        key = id(generator)
        if key not in self.seeds:
            self.seeds[key] = (generator, self.late(0))
            self.drawn[key] = 0
        offset = self.late(0)
        self.draw(generator, offset, plain(n))
        if self.journal is not None:
            self.journal.add("draw", generator, self.journal.ref(offset), forms(n))
        return self.seeds[key][1], offset

    def draw(self, generator: Any, offset: Late, n: int) -> None:
        """The next n numbers of a generator begin at `offset`."""
        key = id(generator)
        self.offsets.append((generator, self.drawn[key], offset.value))
        self.drawn[key] += n

    def position(self, generator: Any) -> int:
        """The number of a place in a generator's counters, for `go_to`."""
        self.positions.append(self.drawn.get(id(generator), 0))
        if self.journal is not None:
            self.journal.add("position", generator)
        return len(self.positions) - 1

    def go_to(self, generator: Any, position: int) -> None:
        """Draw again from where the generator was."""
        if id(generator) in self.drawn:
            self.drawn[id(generator)] = self.positions[position]
        if self.journal is not None:
            self.journal.add("go_to", generator, position)

    def renew(self, x: Any) -> Any:
        """The same elements, of which no pass knows that they are."""
        with no_grad():
            return funnel.apply(renewed, (x,))

    def constant(self, x: Any) -> Any:
        """What the function has for a tensor of Python data: each call has a copy of its own."""
        self.constants[id(x._storage)] = x._storage
        y = self.new(self._add(find("clone"), [self.read_pairs(x)], ()))
        if x._layout.dtype.category == COMPLEX:
            with no_grad():
                y = funnel.apply(find("view_as_complex"), (y,))
        if self.journal is not None:
            self.journal.add("constant", self.journal.place(x), self.journal.results([y])[0])
        return y

    def altered(self, x: Any, what: str) -> None:
        """Something of a tensor is changed that is not its elements."""
        if isinstance(x._storage, Promise):
            return
        node = current_node(x)
        if node is None or node.sequence < self.started or node.recipe.op.name == "compiled":
            self.refuse(f"{what} of a tensor from outside", "do so before the call")

    def note_grad(self, x: Any, read: bool = True) -> None:
        """`.grad` of a tensor is read or set from here on."""
        if self.region is not None and not isinstance(x._storage, Promise):
            self.region.refuse("reads or sets the .grad of a tensor from outside")
        if id(x) not in self.grads and not isinstance(x._storage, Promise):
            self.grads[id(x)] = (x, x._grad, read)

    def note_write(self, x: Any) -> None:
        """A tensor is written in place: if it is from outside, its history will be put back."""
        for t in (x, x._base):
            if t is not None and not isinstance(t._storage, Promise):
                self.histories.setdefault(id(t), (t, current_node(t)))
                self.fields.setdefault(id(t), (t, (dict(vars(t)), t._requires_grad)))

    def original(self, x: Any) -> Any:
        """The argument itself, for what stands for it in the function."""
        return self.originals.get(id(x), (x, -1))[0]

    def note_history(self, x: Any) -> None:
        """A write to a tensor was recorded."""
        original, place = self.originals.get(id(x), (x, -1))
        base = original._base
        if place >= 0 and base is not None and current_node(base) is not None:
            x._node, x._nr = Onward(x, place, self), 0

    # ---- what cannot be traced ---------------------------------------------------------------

    def asked(self, x: Any, what: str) -> None:
        """Python asks for the bytes of a tensor."""
        self.refuse(
            f"{what} of a tensor of shape {tuple(x._layout.shape)}",
            "its value is not known while the function is traced: use where, lucid.cond or "
            "lucid.scan, or compute it outside of the compiled function",
        )

    def refuse(self, what: str, advice: str) -> NoReturn:
        raise TraceError(f"compile: {what}, asked for at {user_line()}: {advice}")


class InStep(TraceError):
    """An optimizer computes something outside of its formula: it makes its state, or is one that
    cannot be compiled."""

    def __init__(self, name: str, op: str):
        super().__init__(
            f"compile: {name}.step computes {op} outside of an update formula; call step() after "
            "the compiled function"
        )


class Restart(Exception):
    """The storage with this id has to be looked at as one row of elements."""

    def __init__(self, block: int):
        super().__init__(block)
        self.block = block
