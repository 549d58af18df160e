"""What runs when a compiled function is called again: the plans of a capture, and what goes in.

compiler/__init__.py asks `matches` and calls `run`. A run takes addresses and numbers from the
caller's tensors, calls one native segment, and gives the results and gradients their tensors.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid import storage
from lucid.apply import CPU, view_again, wrap
from lucid.array import Array
from lucid.autograd.mode import no_grad
from lucid.autograd.node import Node, Recipe, Saved, keep
from lucid.compiler.capture import Captured, Output
from lucid.compiler.constants import fold
from lucid.compiler.host import Snapshot, replay
from lucid.compiler.split import split
from lucid.compiler.tree import unflatten
from lucid.graph import Value
from lucid.layout import Layout, layout
from lucid.op import Opaque
from lucid.plan.passes import improve
from lucid.plan.run import Plan
from lucid.write import last_write, needs_gradient


class whole(Opaque):
    """The op of a compiled function's Node."""

    name = "compiled"
    public = False
    arguments = ((), ())


class Runner:
    """A capture with its plans: `run` is one call of the function."""

    def __init__(self, captured: Captured, name: str):
        self.captured = captured
        self.name = name
        numbers = [*captured.lates]
        numbers += [v for _, v in captured.seeds] + [v for *_, v in captured.offsets]
        self.numbers = numbers
        written = [v for _, v, _ in captured.writes]
        wanted = [*captured.storages, *written]
        self.residuals: list[Value] = []
        self.second: Plan | None = None
        self.second_fixed: list[tuple[Value, Any]] = []
        graph = captured.graph
        slopes = [v for v in captured.slopes if v is not None]
        inputs = [i.value for i in captured.inputs]
        if captured.roots:
            halves = split(graph, wanted, slopes)
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
            later = improve(backward.fresh())
            self.second_fixed = fold(later)
            later.inputs += [v for v, _ in self.second_fixed]
            self.second = Plan(later, [None] * len(slopes), f"{name}_backward", {})
            self.slopes = [layout(v.shape, None, v.dtype, CPU) for v in slopes]
        else:
            graph.outputs = wanted
        improve(graph)
        self.fixed = fold(graph)
        graph.inputs = [*inputs, *numbers, *[v for v, _ in self.fixed]]
        fresh = [lay.strides for lay in captured.layouts] + [v.strides for v in self.residuals]
        strides = fresh + [i.cell.layout.strides for i, *_ in captured.writes]
        into = {len(fresh) + k: i.value for k, (i, *_) in enumerate(captured.writes)}
        self.plan = Plan(graph, strides, name, into)
        self.kept_layouts = [layout(v.shape, v.strides, v.dtype, CPU) for v in self.residuals]
        self.addresses = [block.ptr for _, block in self.fixed]
        self.places = [i for i in captured.inputs if i.source.place >= 0]

    def matches(self, leaves: Sequence[Any]) -> bool:
        """Whether the tensors are laid out, and share bytes, as in the trace."""
        blocks = set()
        for i in self.captured.inputs:
            x = i.source.find(leaves)
            if x is None or x._layout is not i.layout or needs_gradient(x) is not i.requires:
                return False
            blocks.add(id(x._storage))
        if len(blocks) != len(self.captured.inputs):
            return False
        for source, _ in self.captured.gradients:
            if source.find(leaves) is None:
                return False
        return self.captured.check.holds()

    def mismatch(self, leaves: Sequence[Any]) -> str:
        """Why `matches` says no, in words."""
        for i in self.captured.inputs:
            x = i.source.find(leaves)
            if x is None or x._layout is not i.layout or needs_gradient(x) is not i.requires:
                was = f"{i.layout!r}{' with a gradient' if i.requires else ''}"
                return f"{i.source} is {x._layout if x is not None else None!r}, it was {was}"
        return self.captured.check.failed() or "tensors share bytes that did not, or the reverse"

    def timed(self, leaves: Sequence[Any]) -> list[float]:
        """`run`, with the seconds that each step of the plan took."""
        found: list[float] = []
        self.run(leaves, lambda *arguments: found.extend(self.plan.times(*arguments)))
        return found

    def run(self, leaves: Sequence[Any], plan: Callable[..., None] | None = None) -> Any:
        """One call. Python's bookkeeping comes first; where a kernel fails it is undone."""
        captured = self.captured
        found = [i.source.find(leaves) for i in captured.inputs]
        rates, undo = self._steps(leaves) if captured.steps else ([], [])
        numbers: list[float] = [*rates, *[g.state_now()[0] for g, _ in captured.seeds]]
        numbers += [g.state_now()[1] + start for g, start, _ in captured.offsets]
        try:
            made = [(storage.allocate(lay.nbytes), lay) for lay in captured.layouts]
            kept = [(storage.allocate(lay.nbytes), lay) for lay in self.kept_layouts]
            inputs = [x._ptr + i.shift for i, x in zip(captured.inputs, found, strict=True)]
            by_value = {id(i.value): at for i, at in zip(captured.inputs, inputs, strict=True)}
            targets = [by_value[id(i.value)] for i, *_ in captured.writes]
            blocks = [block.ptr for block, _ in (*made, *kept)]
            (plan or self.plan.run)(*blocks, *targets, *inputs, *numbers, *self.addresses)
        except BaseException:
            for snapshot in reversed(undo):
                snapshot.restore()
            raise
        for generator, n in captured.drawn:
            generator.advance(n)
        for i, _, times in captured.writes:
            i.source.find(leaves)._storage.version += times
        node = self._node(found, kept, numbers, leaves) if captured.roots else None
        results = [
            value if output is None else self._output(output, leaves, made, node)
            for output, value in zip(captured.outputs, captured.result, strict=True)
        ]
        for source, output in captured.gradients:
            x = source.find(leaves)
            x._grad = None if output is None else self._output(output, leaves, made, None)
        return unflatten(captured.form, results)

    def _steps(self, leaves: Sequence[Any]) -> tuple[list[float], list[Snapshot]]:
        """The numbers of the optimizers' formulas. They ask whether there are gradients."""
        lent = []
        for source, _ in self.captured.gradients:
            x = source.find(leaves)
            if x._grad is None:
                x._grad = x
                lent.append(x)
        try:
            return replay(self.captured.steps)
        finally:
            for x in lent:
                x._grad = None

    def _output(self, output: Output, leaves: Sequence[Any], made: list, node: Any) -> Any:
        if output.kind == "made":
            assert output.layout is not None
            y = wrap(made[output.storage][0], output.layout, output.offset)
            if output.number >= 0:
                y._node, y._nr, y._requires_grad = node, output.number, True
            elif output.spent:
                y._node, y._requires_grad = _spent(output.layout), True
            return y
        assert output.source is not None
        x = output.source.find(leaves)
        if output.kind == "same":
            return x
        if output.recorded:
            return view_again(x, output.chain)
        with no_grad():
            return view_again(x, output.chain)

    def _node(self, found: list, kept: list, numbers: list, leaves: Sequence[Any]) -> "Whole":
        """The Node of this call: it keeps the residuals, and the inputs that backward reads."""
        tensors = {id(i.value): x for i, x in zip(self.captured.inputs, found, strict=True)}
        values = dict(zip(map(id, self.numbers), numbers, strict=True))
        saved: list[Any] = [block for block, _ in kept]
        saved += [(keep(tensors[id(i.value)]), i.shift) for i in self.borrowed]
        saved += [values[id(v)] for v in self.kept_numbers]
        edges = []
        for source in self.captured.targets:
            x = source.find(leaves)
            edges.append((x, 0) if x._node is None else (x._node, x._nr))
        return Whole(self, tuple(edges), tuple(saved))

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
        arguments += [block.ptr for _, block in self.second_fixed]
        self.second.run(*[block.ptr for block, _ in made], *arguments)
        results = iter([wrap(block, lay) for block, lay in made])
        return [None if v is None else next(results) for v in self.captured.slopes]


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
        if any(isinstance(g, Array) and g._requires_grad for g in arrived):
            raise NotImplementedError(
                f"{self.runner.name}: a compiled function has no second derivative; call it "
                "uncompiled where create_graph=True is needed"
            )
        assert isinstance(self.saved, tuple)
        return self.runner.backward(self.saved, arrived)


def _spent(lay: Layout) -> Node:
    """The Node of a result whose graph was used up inside of the compiled function."""
    return Node(Recipe(whole, (), (), (lay,), ()), (), None)
