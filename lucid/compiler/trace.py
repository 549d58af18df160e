"""The trace of a whole program: what `lucid.compile` records while the function runs on promises.

capture.py makes a `Program` and runs the user's function under it; the funnel (apply.py), in-place
writes (write.py) and the generator (ops/random.py) hand everything over that they would have run.
Tensors look as in eager, views and histories included; only their storage is a `Promise`. A write
gives a storage a new value, and whoever looks into it reads that value through its own views: so
views and in-place operations become functions of values, with the aliasing of eager.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lucid import apply as funnel
from lucid import dtypes
from lucid.apply import CPU, Trace, attach, edges_of, layouts_of, preserved, traced_by, visible
from lucid.array import Array
from lucid.autograd.mode import grad_state
from lucid.autograd.node import Recipe
from lucid.error import TraceError
from lucid.graph import Graph, Value
from lucid.layout import Layout, layout
from lucid.lines import user_line
from lucid.op import Composite, Op, View
from lucid.ops.overwrite import overwritten, strided_view
from lucid.ops.view import reshape

Chain = tuple[tuple[type[Op], tuple], ...]

_addresses = itertools.count(1)


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

    __slots__ = ("value",)

    def __init__(self, value: Value):
        self.value = value


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

    def __init__(self, flat: frozenset[int] = frozenset()) -> None:
        self.graph = Graph()
        self.inner = Trace(self.graph)  # for what happens inside of one op
        self.flat = flat  # storages that are looked at as one row of elements
        self.cells: dict[int, Cell] = {}
        self.chains: dict[tuple, Chain] = {}  # (storage, layout, offset) -> views from the base
        self.views: dict[tuple, Value] = {}
        self.constants: dict[int, Any] = {}  # storages that the function makes from Python data
        self.grads: dict[int, tuple[Any, Any]] = {}  # leaf, its .grad as the program begins
        self.seeds: dict[int, tuple[Any, Late]] = {}  # by generator
        self.drawn: dict[int, int] = {}  # numbers that each generator has given
        self.offsets: list[tuple[Any, int, Value]] = []
        self.host: Any = None  # what optimizers and schedulers do in Python (host.py)
        self.stepping: Any = None  # the optimizer whose step is going on

    # ---- values -----------------------------------------------------------------------------

    def cell(self, x: Any) -> Cell:
        """The cell of a tensor's storage; that of one from outside is an input of the graph."""
        block = x._storage
        found = self.cells.get(id(block))
        if found is not None:
            return found
        if isinstance(block, Promise):
            raise TraceError(
                "a tensor of another call of a compiled function is used, which had no bytes yet"
            )
        lay, offset = x._layout, x._offset
        if id(block) in self.flat:
            lay, offset = layout((block.nbytes // lay.dtype.itemsize,), None, lay.dtype, CPU), 0
        value = Value(lay.shape, lay.dtype, strides=None if lay.contiguous else lay.strides)
        self.graph.inputs.append(value)
        found = self.cells[id(block)] = Cell(block, lay, offset, value, value)
        self.chains[id(block), lay, offset] = ()
        return found

    def read(self, x: Any) -> Value:
        """The value of a tensor now."""
        cell = self.cell(x)
        value = cell.value
        for op, params in self.chain(cell, x):
            key = (id(value), op, params)
            found = self.views.get(key)
            if found is None:
                found = self.views[key] = self._add(op, [value], params)
            value = found
        return value

    def chain(self, cell: Cell, x: Any) -> Chain:
        """The views that lead from the first tensor of a storage to this one."""
        key = (id(cell.storage), x._layout, x._offset)
        found = self.chains.get(key)
        if found is None:
            found = self.chains[key] = self._strided(cell, x)
        return found

    def _strided(self, cell: Cell, x: Any) -> Chain:
        """For a tensor whose views are not known: strides over the elements in a row."""
        lay, base = x._layout, cell.layout
        if lay.dtype is not base.dtype:
            raise TraceError(
                f"one storage is looked at as {base.dtype!r} and as {lay.dtype!r}, which a "
                "compiled function cannot; clone() one of the two"
            )
        low, high = lay.span
        first = x._offset - cell.offset
        if not base.contiguous or first + low < 0 or first + high > base.numel:
            raise Restart(id(cell.storage))
        flat: Chain = () if base.ndim == 1 else ((reshape, ((base.numel,),)),)
        return (*flat, (strided_view, (lay.shape, lay.strides, first)))

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
        return Late(value)

    # ---- what the funnel hands over ----------------------------------------------------------

    def call(self, op: type[Op], inputs: Sequence, params: tuple, everything: bool = False) -> Any:
        """`apply` of a program."""
        if self.stepping is not None:
            raise InStep(type(self.stepping).__name__, op.name)
        given = tuple([x if isinstance(x, Late) else funnel._operand(op, x) for x in inputs])
        if issubclass(op, View):
            return funnel._view(op, given[0], params)
        made = self._inside(op, given, params)
        outputs = tuple([self.new(y._value, preserved(op, given, y._value)) for y in made])
        if op.rules and grad_state()[0]:
            edges, needed = edges_of(op, given)
            if needed:
                kinds = layouts_of(given), layouts_of(outputs)
                attach(Recipe(op, params, *kinds, edges), edges, given, outputs)
        shown = outputs if everything else visible(op, outputs)
        return shown[0] if isinstance(shown, tuple) and len(shown) == 1 else shown

    def _inside(self, op: type[Op], given: Sequence, params: tuple) -> Sequence[Any]:
        """The op as equations of the graph."""
        start = len(self.graph.equations)
        xs = [self.inside(x) for x in given]
        with traced_by(self.inner):
            if issubclass(op, Composite):
                made = op.run(xs, params)
            else:
                made = self.inner.add(op, xs, params, True)
        self.mark(start)
        return made if isinstance(made, tuple) else (made,)

    def inside(self, x: Any) -> Any:
        """What an op sees of an input."""
        if isinstance(x, Array):
            return self.inner.tensor(self.read(x))
        if isinstance(x, Late):
            return self.inner.tensor(x.value)
        return self.inner.tensor(Value((), dtypes.of_scalar(x), True, x))

    def mark(self, start: int) -> None:
        """Remember the user's line of the equations since `start`."""
        if start < len(self.graph.equations):
            line = user_line()
            for equation in self.graph.equations[start:]:
                equation.line = line

    def shown(self, x: Any, y: Any, step: Chain) -> None:
        """y is a view of x."""
        chain = self.chain(self.cell(x), x)
        self.chains.setdefault((id(y._storage), y._layout, y._offset), (*chain, *step))

    def store(self, target: Any, into: Callable[..., Any], inputs: Sequence) -> None:
        """An in-place write of into(*inputs)."""
        start = len(self.graph.equations)
        xs = [self.inside(x) for x in inputs]
        with traced_by(self.inner):
            made = into(*xs)
        self.mark(start)
        self.put(target, made._value)

    def put(self, target: Any, value: Value) -> None:
        """The target's elements are now those of the value."""
        cell = self.cell(target)
        if getattr(cell.storage, "readonly", False):
            raise TraceError("an in-place write to memory that is read-only")
        chain = self.chain(cell, target)
        if chain:
            names = tuple([(op.name, params) for op, params in chain])
            value = self._add(overwritten, [cell.value, value], (names,))
            if not cell.layout.contiguous:
                value.strides = cell.layout.strides
        cell.value = value
        cell.writes += 1

    def reserve(self, generator: Any, n: int) -> tuple[Late, Late]:
        """A range of a generator's counters, and its seed."""
        key = id(generator)
        if key not in self.seeds:
            self.seeds[key] = (generator, self.late(0))
            self.drawn[key] = 0
        offset = self.late(0)
        self.offsets.append((generator, self.drawn[key], offset.value))
        self.drawn[key] += n
        return self.seeds[key][1], offset

    def constant(self, block: Any) -> None:
        """A storage made from Python data: its bytes are the same at each call."""
        self.constants[id(block)] = block

    def note_grad(self, x: Any) -> None:
        """`.grad` of a tensor is read or set from here on."""
        if id(x) not in self.grads and not isinstance(x._storage, Promise):
            self.grads[id(x)] = (x, x._grad)

    # ---- what cannot be traced ---------------------------------------------------------------

    def asked(self, x: Any, what: str) -> None:
        """Python asks for the bytes of a tensor."""
        if id(x._storage) not in self.constants:
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
