"""What runs when a compiled function is called again: the plans of a capture, and what goes in.

compiler/__init__.py asks `matches` and calls `run`. A run takes addresses and numbers from the
caller's tensors, calls one native segment, and gives the results and gradients their tensors.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from lucid import storage
from lucid.apply import CPU, edge, view_again, wrap
from lucid.autograd.mode import is_grad_enabled, set_grad_enabled
from lucid.autograd.node import Node, Recipe, Saved, keep, move_retained
from lucid.compiler.captured import Captured, Output, history_of
from lucid.compiler.host import replay
from lucid.compiler.ledger import store
from lucid.compiler.outside import whole
from lucid.compiler.planned import ProgramPlan
from lucid.compiler.prepared import Prepared, prepared
from lucid.compiler.split import split
from lucid.compiler.tree import unflatten
from lucid.error import BackwardError
from lucid.graph import Value
from lucid.layout import Layout, layout
from lucid.plan.lower import nbytes
from lucid.tracing import change
from lucid.write import last_write, rebase


class Runner:
    """A capture with its plans: `run` is one call of the function."""

    def __init__(self, captured: Captured, name: str, fold: bool = False, pack: bool = False):
        self.captured = captured
        self.name = name
        numbers = [*captured.lates]
        numbers += [v for _, v in captured.seeds] + [v for *_, v in captured.offsets]
        self.numbers = numbers
        written = [v for _, v, _ in captured.writes]
        wanted = [*captured.storages, *written]
        self.residuals: list[Value] = []
        self.second: ProgramPlan | None = None
        graph = captured.graph
        slopes = [v for v in captured.slopes if v is not None]
        inputs = [i.value for i in captured.inputs]
        if captured.roots:
            halves = split(graph, wanted, slopes, [i.value for i, *_ in captured.writes])
            outside = {id(v) for v in (*inputs, *numbers, *captured.cotangents)}
            self.residuals = [v for v in halves.residuals if id(v) not in outside]
            self.borrowed = [i for i in captured.inputs if _among(i.value, halves.residuals)]
            self.kept_numbers = [v for v in numbers if _among(v, halves.residuals)]
            graph = halves.forward
            graph.outputs = [*captured.storages, *self.residuals, *written]
            backward = halves.backward
            backward.inputs = [
                *self.residuals,
                *[i.value for i in self.borrowed],
                *self.kept_numbers,
                *captured.cotangents,
            ]
            plain = [None] * len(slopes)
            self.second = ProgramPlan(backward.fresh(), plain, f"{name}_backward", {})
            self.slopes = [
                layout(v.shape[:-1], None, v.dtype.to_complex(), CPU)
                if i in captured.paired
                else layout(v.shape, None, v.dtype, CPU)
                for i, v in enumerate(captured.slopes)
                if v is not None
            ]
        else:
            graph.outputs = wanted
        ready: list[Value] = []
        self.prepared: list[Prepared] = []
        if (fold or pack) and not captured.roots:
            ready, self.prepared = prepared(captured, graph, name, fold, pack)
        graph.inputs = [*inputs, *numbers, *ready]
        fresh = [lay.strides for lay in captured.layouts] + [v.strides for v in self.residuals]
        strides = fresh + [i.cell.layout.strides for i, *_ in captured.writes]
        into = {len(fresh) + k: i.value for k, (i, *_) in enumerate(captured.writes)}
        self.plan = ProgramPlan(graph, strides, name, into)
        self.plan.bind()
        # What was written to a part of a tensor is kept with the gaps of that part.
        self.kept_bytes = [nbytes(v) for v in self.residuals]
        fixed = [i for i in captured.inputs if i.source.fixed]
        self.blocks = frozenset([id(i.cell.storage) for i in fixed])
        # By its number among the inputs, what is another tensor in each call.
        self.loose = [(n, i) for n, i in enumerate(captured.inputs) if not i.source.fixed]
        places = {id(i): n for n, i in enumerate(captured.inputs)}
        self.targets = [places[id(i)] for i, *_ in captured.writes]
        self.pointers: list[int] = []  # of the fixed inputs, while nothing has changed
        self.counted = -1
        numbers_of = [o.storage for o in captured.every if o.kind == "made" and o.number >= 0]
        self.several = {n for n in numbers_of if self._count(n) > 1}

    def _count(self, storage: int) -> int:
        return sum(o.kind == "made" and o.storage == storage for o in self.captured.every)

    def matches(self, leaves: Sequence[Any]) -> bool:
        """Whether the tensors are laid out, and share bytes, as in the trace; the arguments'
        layouts are those of the key under which this runner stands."""
        captured = self.captured
        if not captured.check.unchanged():
            return False
        seen = set()
        for _, i in self.loose:
            x = i.source.find(leaves)
            if i.source.place < 0 or i.source.grad:
                if x is None or x._layout is not i.layout or history_of(x) != i.history:
                    return False
            block = id(x._storage)
            if block in seen or block in self.blocks:
                return False
            seen.add(block)
        for a, b, between in captured.shared:
            x, y = a.find(leaves), b.find(leaves)
            if x._storage is not y._storage or y._ptr - x._ptr != between:
                return False
        for source, there in captured.asked:
            if (source.find(leaves)._grad is not None) is not there:
                return False
        return captured.check.plain()

    def mismatch(self, leaves: Sequence[Any]) -> str:
        """Why `matches` says no, in words."""
        for i in self.captured.inputs:
            x = i.source.find(leaves)
            if x is None or x._layout is not i.layout or history_of(x) != i.history:
                was = f"{i.layout!r}{' with a gradient' if i.history else ''}"
                return f"{i.source} is {x._layout if x is not None else None!r}, it was {was}"
        for source, there in self.captured.asked:
            if (source.find(leaves)._grad is not None) is not there:
                return f"{source} {'had' if there else 'had no'} .grad"
        return self.captured.check.failed() or "tensors share bytes that did not, or the reverse"

    def timed(self, leaves: Sequence[Any]) -> list[float]:
        """`run`, with the seconds that each step of the plan took."""
        found: list[float] = []
        self.run(leaves, lambda *arguments: found.extend(self.plan.times(*arguments)))
        return found

    def run(self, leaves: Sequence[Any], plan: Callable[..., None] | None = None) -> Any:
        """One call. Python's bookkeeping comes first; where a kernel fails it is undone."""
        captured = self.captured
        rates, undo = replay(captured.steps) if captured.steps else ([], [])
        numbers: list[float] = [*rates, *[g.state_now()[0] for g, _ in captured.seeds]]
        numbers += [g.state_now()[1] + start for g, start, _ in captured.offsets]
        try:
            inputs = self._inputs(leaves)
            made = [storage.allocate(lay.nbytes) for lay in captured.layouts]
            kept = [storage.allocate(n) for n in self.kept_bytes]
            blocks = [block.ptr for block in (*made, *kept)]
            ready = [block for p in self.prepared for block in p.blocks()]
            rest = [*numbers, *[block.ptr for block in ready]]
            targets = [inputs[n] for n in self.targets]
            (plan or self.plan.run)(*blocks, *targets, *inputs, *rest)
        except BaseException:
            for snapshot in reversed(undo):
                snapshot.restore()
            captured.forget()
            raise
        captured.begun.clear()
        for generator, n in captured.drawn:
            generator.advance(n)
        for i, _, times in captured.writes:
            i.source.find(leaves)._storage.version += times
        call = _Call(self, leaves, made)
        if captured.roots:
            call.node = self._node(kept, numbers, call)
        for source, written in captured.rewritten:
            self._rewrite(source.find(leaves), written, call.node)
        results = [
            value if output is None else call.tensor(output)
            for output, value in zip(captured.outputs, captured.result, strict=True)
        ]
        stored = [slot.after if o is None else call.tensor(o) for slot, o in captured.stored]
        for source, output in captured.gradients:
            x = source.find(leaves)
            x._grad = None if output is None else call.tensor(output)
        for (slot, _), value in zip(captured.stored, stored, strict=True):
            store(slot, value)
        return unflatten(captured.form, results)

    def _inputs(self, leaves: Sequence[Any]) -> list[int]:
        """The addresses of the inputs."""
        counted = self.captured.check.counted
        if counted != self.counted or counted < 0:
            self.pointers = [
                i.source.tensor._ptr + i.shift if i.source.fixed else 0
                for i in self.captured.inputs
            ]
            self.counted = counted
        pointers = self.pointers.copy()
        for n, i in self.loose:
            pointers[n] = i.source.find(leaves)._ptr + i.shift
        return pointers

    def _rewrite(self, x: Any, output: Output, node: Any) -> None:
        """A tensor from outside has been written with something that has a gradient."""
        nr = max(output.number, 0)
        if output.number < 0:
            node = Spent(x._layout, output)
        if x._base is None:
            before = x._node, x._nr
            x._node, x._nr, x._requires_grad = node, nr, True
            x._rewrites += 1
            change()
            move_retained(x, *before)
        else:
            value = wrap(x._storage, x._layout, x._offset)
            value._node, value._nr, value._requires_grad = node, nr, True
            rebase(x, value)

    def _node(self, kept: list, numbers: list, call: "_Call") -> "Whole":
        """The Node of this call: it keeps the residuals, and the inputs that backward reads."""
        values = dict(zip(map(id, self.numbers), numbers, strict=True))
        saved: list[Any] = list(kept)
        saved += [(keep(i.source.find(call.leaves)), i.shift) for i in self.borrowed]
        saved += [values[id(v)] for v in self.kept_numbers]
        ends = [
            call.tensor(end) if isinstance(end, Output) else end.find(call.leaves)
            for end in self.captured.targets
        ]
        edges = tuple([edge(x) for x in ends])
        return Whole(self, edges, tuple(saved))

    def backward(self, saved: tuple, arrived: Sequence[Any]) -> list[Any]:
        """The gradients of the targets from those of the outputs."""
        assert self.second is not None
        arguments: list[Any] = []
        for s in saved:
            if isinstance(s, tuple):
                kept, shift = s
                _check(self.name, kept)
                at = kept.storage.ptr + kept.offset * kept.layout.dtype.itemsize
                arguments.append(at + shift)
            else:
                arguments.append(s if isinstance(s, (int, float)) else s.ptr)
        held = []
        for g, (_, lay) in zip(arrived, self.captured.roots, strict=True):
            g = _cotangent(g, lay)
            held.append(g)
            arguments.append(g._ptr)
        made = [(storage.allocate(lay.nbytes), lay) for lay in self.slopes]
        self.second.run(*[block.ptr for block, _ in made], *arguments)
        results = iter([wrap(block, lay) for block, lay in made])
        return [None if v is None else next(results) for v in self.captured.slopes]


class _Call:
    """The tensors that one call makes, each once."""

    __slots__ = ("runner", "leaves", "made", "node", "known")

    def __init__(self, runner: Runner, leaves: Sequence[Any], made: list):
        self.runner = runner
        self.leaves = leaves
        self.made = made
        self.node: Any = None
        self.known: dict[int, Any] = {}

    def tensor(self, output: Output) -> Any:
        found = self.known.get(id(output))
        if found is None:
            found = self.known[id(output)] = self._new(output)
        return found

    def _new(self, output: Output) -> Any:
        if output.kind == "made":
            assert output.layout is not None
            y = wrap(self.made[output.storage], output.layout, output.offset)
            if output.number >= 0:
                y._node, y._nr, y._requires_grad = self.node, output.number, True
                if output.storage in self.runner.several:
                    y._shown = weakref.ref(y)  # a write to it in grad mode raises (write.py)
            elif output.spent:
                y._node, y._requires_grad = Spent(output.layout, output), True
            elif output.requires:
                y._requires_grad = True
            if output.grad is not None:
                y._grad = self.tensor(output.grad)
            return y
        if output.of is not None:
            x = self.tensor(output.of)
        else:
            assert output.source is not None
            x = output.source.find(self.leaves)
        if output.kind == "same":
            return x
        if output.kind == "bytes":
            assert output.layout is not None
            return wrap(x._storage, output.layout, x._offset + output.offset)
        with set_grad_enabled(output.recorded):
            return view_again(x, output.chain)


def _among(v: Value, values: Sequence[Value]) -> bool:
    return any(v is w for w in values)


def _check(name: str, s: Saved) -> None:
    if s.storage.version != s.version:
        raise RuntimeError(
            f"{name}: an input of shape {s.layout.shape}, which backward reads, was modified in "
            f"place{last_write(s.storage)} after the compiled function was called; clone() it first"
        )


def _cotangent(g: Any, lay: Layout) -> Any:
    """A row-major cotangent, zeros where none has arrived."""
    if g is None:
        block = storage.allocate(lay.nbytes)
        plain = layout(lay.shape, None, lay.dtype, CPU)
        if lay.numel:
            block.as_numpy(lay.dtype, lay.shape, plain.strides)[...] = 0
        return wrap(block, plain)
    return g.contiguous()


class Whole(Node):
    """The Node of one call of a compiled function: all of its backward is one plan."""

    __slots__ = ("runner",)

    def __init__(self, runner: Runner, edges: tuple, saved: tuple):
        layouts = tuple([lay for _, lay in runner.captured.roots])
        super().__init__(Recipe(whole, (), (), layouts, ()), edges, saved)
        self.runner = runner

    def name(self) -> str:
        return "CompiledBackward"

    def title(self) -> str:
        return self.runner.name

    def run(self, arrived: list) -> Sequence[Any]:  # type: ignore[override]
        if is_grad_enabled():  # the pass is to be differentiated
            raise NotImplementedError(
                f"{self.runner.name}: a compiled function has no second derivative; call it "
                "uncompiled where create_graph=True is needed"
            )
        assert isinstance(self.saved, tuple)
        return self.runner.backward(self.saved, arrived)


class Spent(Node):
    """The Node of a result whose graph cannot be gone through any more, and why."""

    __slots__ = ("message", "kind")

    cut = True

    def __init__(self, lay: Layout, output: Output):
        super().__init__(Recipe(whole, (), (), (lay,), ()), (), ())
        self.message = output.spent
        self.kind = BackwardError if output.freed else RuntimeError

    def run(self, arrived: list) -> Sequence[Any]:  # type: ignore[override]
        raise self.kind(self.message)
