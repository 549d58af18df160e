"""The funnel: the only way into an op.

Every public function and method comes here. `apply` finds or builds the plan for what it was
given, runs it, and attaches a Node where the result needs a gradient. Inside a trace it adds an
equation to a graph instead. A hit costs a look-up, an allocation and one native call.
"""

import functools
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from lucid import dtypes, storage, tracing
from lucid.array import Array
from lucid.autograd.mode import enable_grad, grad_state, is_grad_enabled
from lucid.autograd.node import Node, Recipe, move_retained, view_recipe
from lucid.autograd.packing import packed, packs
from lucid.autograd.pile import EACH, look
from lucid.caches import kept_plans, trim
from lucid.config import settings
from lucid.device import device
from lucid.dtypes import COMPLEX
from lucid.extent import has_extent, plain
from lucid.graph import Graph, Value, preserved
from lucid.layout import Layout, contiguous_strides, layout
from lucid.lines import user_line
from lucid.op import Composite, Op, View, find
from lucid.pairing import is_complex, lowered
from lucid.plan import run as plans
from lucid.plan.run import Plan
from lucid.tracing import any_casting, any_program, autocasted, diverted, program, traced_by, uncast
from lucid.tracing import tracer as _tracer

CPU = device("cpu")
tensor_class: type[Array] = Array  # tensor.py puts Tensor here


# (op, params, layouts and types of numbers) -> Plan.entry
_entries: dict[tuple, tuple] = kept_plans({})


def apply(op: type[Op], inputs: tuple, params: tuple = ()) -> Any:
    """Run `op` on tensors and Python numbers."""
    if settings.debug:
        return _apply(op, autocasted(op, inputs), params)
    return _hit(op, inputs, params)


def apply_all(op: type[Op], inputs: tuple, params: tuple = ()) -> tuple:
    """`apply` that returns the hidden outputs too."""
    return _apply(op, inputs, params, True)


@functools.cache
def _native() -> tuple[Callable, Callable]:
    """`hit(op, inputs, params)`, which leaves what is not among the entries to `_apply`, and
    `launch(entry, inputs)`, to which op and params are added where it may record."""
    assert storage.Storage is not None  # their machine code allocates with its
    launch = plans.launch
    hit = launch.funnel(Array, tensor_class, _entries, _apply, _tracer)
    return hit, launch.launcher(Array, tensor_class)


def native_writer(entries: dict[tuple, tuple], miss: Callable, writers: dict[int, Any]) -> Callable:
    """`write(op, target, inputs, params)`, which leaves what is not among the entries to `miss`,
    and puts the op into `writers` under the storage's address."""
    assert storage.Storage is not None  # as above
    return plans.launch.writer(Array, tensor_class, entries, miss, writers)


def _first_hit(op: type[Op], inputs: tuple, params: tuple) -> Any:
    global _hit
    if not any_program() and not any_casting():
        _hit = _native()[0]
    run = _apply if any_program() else _native()[0]
    return run(op, autocasted(op, inputs), params)


_hit: Callable = _first_hit


def _divert() -> None:
    global _hit
    _hit = _first_hit


diverted.append(_divert)


def _apply(op: type[Op], inputs: tuple, params: tuple, everything: bool = False) -> Any:
    """Views, traces, and what was not planned before."""
    if any([p.__class__ is type for p in params]):  # dtype=float
        params = tuple([dtypes.of_type(p) for p in params])
    tracer = _tracer.get()
    if tracer is not None and tracer.whole:
        if is_complex(inputs, params):
            return tracer.complex(op, inputs, params, everything)
        return tracer.call(op, inputs, params, everything)
    if tracer is not None and (around := tracing.program_around(inputs)) is not None:
        with traced_by(around):
            return _apply(op, inputs, params, everything)
    if not issubclass(op, View) and is_complex(inputs, params):
        return lowered[0](op, inputs, params)
    inputs = tuple([_operand(op, x) for x in inputs])
    if tracer is not None and not any(isinstance(x, Array) for x in inputs):
        return tracer.add(op, inputs, params, everything)  # the entries are not for a trace
    key = (op, params, *layouts_and_types(inputs))
    entry = _entries.get(key)
    if entry is None:
        if (trace := _trace_of(inputs)) is not None:
            return trace.add(op, inputs, params, everything)
        if issubclass(op, View):
            return _view(op, inputs[0], params)
        entry = _build(op, inputs, params, key)
    start = time.perf_counter()
    made = _native()[1](plans.launch.unhidden(entry) if everything else entry, inputs, op, params)
    if settings.debug:
        plans.call.report(entry[-1].segment, time.perf_counter() - start)
        _remember(made)
    return made


def _track(
    recipes: dict[int, Recipe],
    layouts: tuple[tuple, tuple],
    edges_of: Callable[[type[Op], Sequence], tuple[tuple, int]],
    op: type[Op],
    inputs: Sequence,
    params: tuple,
    outputs: tuple,
) -> None:
    """Record the call where the mode and an input ask for it. An entry holds the recipes, by which
    inputs need a gradient, and the layouts of inputs and outputs."""
    if not grad_state()[0]:
        return
    edges, needed = edges_of(op, inputs)
    if needed:
        recipe = recipes.get(needed)
        if recipe is None:
            recipe = recipes[needed] = Recipe(op, params, *layouts, edges)
        kept = recipe.keep(inputs, outputs) if recipe.kept else ()
        _attach(recipe, edges, packed(kept, wrap) if packs else kept, outputs)


def visible(op: type[Op], outputs: Any) -> Any:
    """What the caller sees of a record's outputs: those that are not hidden."""
    if not op.hidden:
        return outputs
    return outputs[0] if op.count == 1 else outputs[: op.count]


def _new(lay: Layout, block: Any) -> Any:
    y = _allocate(tensor_class)
    y._storage = block
    y._layout = lay
    y._ptr = block.ptr
    y._requires_grad = False
    return y


_allocate = object.__new__


def wrap(block: Any, lay: Layout, offset: int = 0) -> Any:
    """A tensor over the bytes of a storage, without history."""
    y = _new(lay, block)
    if offset:
        y._offset = offset
        y._ptr = block.ptr + offset * lay.dtype.itemsize
    return y


def _operand(op: type[Op], x: object) -> Any:
    """A tensor or a plain Python number; anything else raises."""
    if isinstance(x, Array) or type(x) in (float, int, bool):
        return x
    if isinstance(x, int):
        return int(x)
    if isinstance(x, float):
        return float(x)
    if hasattr(x, "dtype") and hasattr(x, "item") and getattr(x, "ndim", None) == 0:
        return x.item()
    raise TypeError(f"{op.name}: expected a tensor or a number, got {type(x).__name__}")


def _build(op: type[Op], inputs: Sequence, params: tuple, key: tuple) -> tuple:
    """Plan an op for these layouts and keep the plan."""
    for x in inputs:
        if isinstance(x, Array) and x._layout.device != CPU and x._layout.device.type != "cpu":
            raise RuntimeError(f"{op.name}: no backend for {x._layout.device}")
    if issubclass(op, Composite):
        graph = trace_call(lambda *xs: op.run(xs, params), inputs)
    else:
        graph = trace_call(lambda *xs: apply(op, xs, params), inputs)
    strides = [preserved(op, inputs, v) for v in graph.outputs]
    entry = _entry(graph, strides, op.label, op, layouts_of(inputs))
    trim(_entries)
    _entries[key] = entry
    return entry


def _entry(
    graph: Graph,
    strides: Sequence[tuple[int, ...] | None],
    name: str,
    op: type[Op] | None = None,
    inputs: tuple = (),
) -> tuple:
    """The entry of a graph; where it is that of an op on inputs of these layouts, calls of it are
    recorded."""
    layouts = [
        layout(v.shape, s, v.dtype, CPU) for v, s in zip(graph.outputs, strides, strict=True)
    ]
    visible = op.count if op is not None and op.hidden else -1
    record_call = None
    if op is not None and op.rules:
        plain_pair = op.ruled == (True, True) and None not in inputs
        edges = _edges_of_two if plain_pair else edges_of
        record_call = functools.partial(_track, {}, (inputs, tuple(layouts)), edges)
    return Plan(graph, strides, name).entry(layouts, visible, record_call)


# Views


class Shown:
    """How a view looks into the bytes of what it views, for one layout of it."""

    __slots__ = ("layout", "offset", "bytes", "step", "recipe", "saved")

    def __init__(self, op: type[View], params: tuple, of: Layout, lay: Layout, offset: int):
        self.layout = lay
        self.offset = offset  # elements from the first one of what is viewed
        self.bytes = offset * lay.dtype.itemsize
        self.step = ((op, params),)  # of the way from the base
        self.recipe, self.saved = view_recipe(op, params, of, lay)


_views: dict[tuple, Shown] = {}  # (op, params, layout)


def _view(op: type[View], x: Any, params: tuple) -> Any:
    """Another layout over the same bytes; where that is impossible, over a copy."""
    if any_program() and has_extent(params):
        return _view_of_extents(op, x, params)
    found = _views.get((op, params, x._layout)) or view_of(op, x, params)
    if op.retyped is not None:
        offset, left = divmod(x._offset * x.itemsize, op.retyped(x._layout.dtype).itemsize)
        if found is not None and not left:
            y = show(x, found)
            y._offset = offset + found.offset
            return y
        return _view(op, apply(find("contiguous_copy"), (x,)), params)
    return show(x, found) if found is not None else _view(op, contiguous(x), params)


def _view_of_extents(op: type[View], x: Any, params: tuple) -> Any:
    """`_view` in a trace that is to hold for other sizes."""
    found = view_of(op, x, plain(params))
    if found is None:
        return _view(op, contiguous(x), params)
    return show(x, found, ((op, params),))


def view_of(op: type[View], x: Any, params: tuple) -> Shown | None:
    """How the view of a tensor like x looks; None where it takes a copy."""
    lay = x._layout
    if (known := _views.get((op, params, lay))) is not None:
        return known
    static = op.static(params)
    shape = op.shape(lay.shape, **static)
    there = op.strides(lay.shape, lay.strides, 0, **static)
    if there is None:
        return None
    kind = lay.dtype if op.retyped is None else op.retyped(lay.dtype)
    found = Shown(op, params, lay, layout(tuple(shape), there[0], kind, lay.device), there[1])
    trim(_views)
    _views[op, params, lay] = found
    return found


def show(x: Any, shown: Shown, step: tuple | None = None) -> Any:
    """The view of x, a tensor in memory, on the tape. `step`: its step with extents in it."""
    step = step or shown.step
    y = _allocate(tensor_class)
    y._storage = x._storage
    y._layout = shown.layout
    y._ptr = x._ptr + shown.bytes
    offset = x._offset + shown.offset
    if offset:
        y._offset = offset
    if (tracer := program()) is not None:
        tracer.shown(x, y, step)
    if grad_state()[0]:
        base = x._base
        if base is None:
            y._base = base = x
            y._view = step
        else:
            current_node(x)  # it may need a gradient since its base was written
            y._base = base
            y._view = x._view + step
        if base._rewrites:
            y._made = base._rewrites
        if x._requires_grad:
            node = x._node
            edges = ((x, 0) if node is None else (node, x._nr),)
            made = _attach(shown.recipe, edges, shown.saved, (y,))
            if tracer is not None and tracer.journal is not None:
                tracer.journal.note(made, *step[0], (x,), (y,))
        else:
            y._requires_grad = None  # a write to the base may change that
    else:
        # None, as a write to it in grad mode is to be looked at (write.py).
        y._requires_grad = None
        if x._requires_grad:
            y._shown = weakref.ref(x if x._base is None else x._base)
        elif x._shown is not None:
            y._shown = x._shown
        if settings.debug:
            _remember(y)
    return y


def _dispatch_view(op: type[View], inputs: tuple, params: tuple) -> Any:
    """A view runs nothing, so it need not be looked for among the plans."""
    x = inputs[0]
    if isinstance(x, Array) and x._value is None:
        return _view(op, x, params)
    return apply(op, inputs, params)


def contiguous(x: Any) -> Any:
    """x itself if it is row-major, else a row-major copy."""
    if x._layout.contiguous:
        return x
    return apply(find("contiguous_copy"), (x,))


# Recording


def attach(recipe: Recipe, edges: tuple, inputs: Sequence, outputs: Sequence) -> Node:
    """A Node for one call, set on its floating outputs."""
    kept = recipe.keep(inputs, outputs) if recipe.kept else ()
    return _attach(recipe, edges, packed(kept, wrap) if packs else kept, outputs)


def _attach(recipe: Recipe, edges: tuple, kept: tuple, outputs: Sequence) -> Node:
    node = Node(recipe, edges, kept)
    if not node.sequence % EACH:
        look(node)
    for nr in recipe.floating:
        y = outputs[nr]
        y._node = node
        if nr:
            y._nr = nr
        y._requires_grad = True
    return node


_recipes: dict[tuple, Recipe] = {}  # of calls without an entry of their own: in-place writes


def record(op: type[Op], inputs: Sequence, params: tuple, output: Any, edges: tuple) -> Node:
    """Attach a Node to the output of a call that has no entry."""
    needed = tuple([e is not None for e in edges])
    key = (op, params, needed, output._layout, *layouts_of(inputs))
    recipe = _recipes.get(key)
    if recipe is None:
        trim(_recipes)
        recipe = Recipe(op, params, layouts_of(inputs), (output._layout,), edges)
        _recipes[key] = recipe
    output._nr = 0  # the target of a write may have been another Node's second output
    return attach(recipe, edges, inputs, (output,))


def layouts_of(things: Sequence) -> tuple:
    """Their layouts, None for numbers."""
    return tuple([x._layout if isinstance(x, Array) else None for x in things])


def layouts_and_types(things: Sequence) -> list:
    """Their layouts, and the types of numbers: by these plans are kept."""
    return [x._layout if isinstance(x, Array) else type(x) for x in things]


def edges_of(op: type[Op], inputs: Sequence) -> tuple[tuple, int]:
    """Where the inputs' cotangents go, None for those without a gradient; and which inputs these
    are, as bits under a leading 1. The number is 0 where no input requires a gradient."""
    edges: list[tuple | None] = []
    needed, required = 1, False
    for place, x in enumerate(inputs):
        needed += needed
        e = None
        if isinstance(x, Array):
            if x._base is not None:
                current_node(x)
            if x._requires_grad:
                required = True
                if op.ruled[place]:
                    e = (x, 0) if x._node is None else (x._node, x._nr)
                    needed += 1
        edges.append(e)
    return tuple(edges), needed if required else 0


def _edges_of_two(op: type[Op], inputs: Sequence) -> tuple[tuple, int]:
    """`edges_of` for two tensors with a rule each: most calls, and half the time."""
    x, w = inputs
    if x._base is not None:
        current_node(x)
    if w._base is not None:
        current_node(w)
    first = second = None
    needed = 0
    if x._requires_grad:
        first = (x, 0) if x._node is None else (x._node, x._nr)
        needed = 6
    if w._requires_grad:
        second = (w, 0) if w._node is None else (w._node, w._nr)
        needed = 7 if needed else 5
    return (first, second), needed


def edge(x: Any) -> tuple:
    """Where x's cotangent goes: (Node, output number), or (leaf, 0)."""
    node = current_node(x)
    return (x, 0) if node is None else (node, x._nr)


def current_node(x: Any) -> Node | None:
    """x's Node; that of a view is made anew after an in-place write to its base."""
    base = x._base
    if base is not None and x._made != base._rewrites:
        _regenerate(x, base)
    return x._node


def _regenerate(x: Any, base: Any) -> None:
    """The view's history again, from the base as it is now; it is asked for under no_grad too."""
    with enable_grad():
        y = view_again(base, x._view)
    before = x._node, x._nr
    x._node, x._nr, x._requires_grad = y._node, y._nr, y._requires_grad
    x._made = base._rewrites
    move_retained(x, *before)


def view_again(y: Any, chain: tuple) -> Any:
    """The views of a chain, one after another, on another tensor."""
    for op, params in chain:
        y = _dispatch_view(op, (y,), params)
    return y


def _remember(outputs: Any) -> None:
    """At LUCID_DEBUG >= 1: where a tensor without a graph was made."""
    if not is_grad_enabled():
        for y in outputs if isinstance(outputs, tuple) else (outputs,):
            y._origin = user_line()


# Tracing


class Trace:
    """A graph being recorded: its tensors have a `_value` and no bytes."""

    whole = False  # whether tensors from outside are met, and belong in: a program's trace
    outer = None  # what is around a level

    def __init__(self, graph: Graph | None = None) -> None:
        self.graph = Graph() if graph is None else graph

    def input(self, x: Any) -> Any:
        """The stand-in of an input: a tensor's layout, or a number that arrives at run time."""
        if isinstance(x, Array):
            lay = x._layout
            if lay.dtype.category == COMPLEX:
                raise NotImplementedError("complex tensors are not supported by fused functions")
            value = Value(lay.shape, lay.dtype, strides=lay.strides)
        else:
            value = Value((), dtypes.of_scalar(x), True)
        self.graph.inputs.append(value)
        return self.tensor(value)

    def tensor(self, value: Value) -> Any:
        y = _allocate(tensor_class)
        # A layout of its own, never interned: it hits no plan.
        strides = value.strides or contiguous_strides(value.shape)
        y._layout = Layout(value.shape, strides, value.dtype, CPU)
        y._value = value
        y._storage = None
        y._requires_grad = False
        y._trace = self
        return y

    def add(self, op: type[Op], inputs: Sequence, params: tuple, everything: bool = False) -> Any:
        if issubclass(op, Composite):
            made = op.run(inputs, params)
            return made if everything else visible(op, made)
        values = [self.value(op, x) for x in inputs]
        made = tuple([self.tensor(v) for v in self.graph.add(op, values, params)])
        return made[0] if len(made) == 1 else made

    def write(self, op: type[Op], target: Any, inputs: tuple, params: tuple, called: str) -> Any:
        """A write makes a new value, which the tensor then stands for."""
        if target._base is not None:
            raise RuntimeError(f"{called}: writing through a view is not supported in a trace")
        y = self.add(op, inputs, params)
        if tuple(y.shape) != target._layout.shape:
            y = broadcast(called, y, target._layout.shape)
        if y.dtype is not target._layout.dtype:
            y = apply(find("cast"), (y,), (target._layout.dtype,))
        target._value = y._value
        return target

    def reserve(self, generator: Any, n: int) -> tuple[int, int]:
        """Where the numbers of a random op begin."""
        return generator.taken(n)

    def lifted(self, x: Any) -> Any:
        """x as what a random op draws for."""
        return x

    def function(self, function: Any, args: tuple, kwargs: dict) -> Any:
        raise RuntimeError(f"{function.__name__}: a Function cannot be traced")

    def value(self, op: type[Op], x: Any) -> Value:
        if not isinstance(x, Array):
            return Value((), dtypes.of_scalar(x), True, x)
        if x._value is None:
            raise RuntimeError(
                f"{op.name}: a tensor made outside of the traced function is used inside it; "
                "pass it as an argument"
            )
        return x._value


def broadcast(called: str, y: Any, shape: tuple[int, ...]) -> Any:
    """What is written, in the target's shape."""
    own = tuple(y.shape)
    padded = (1,) * (len(shape) - len(own)) + own
    if len(own) > len(shape) or any(n not in (1, m) for n, m in zip(padded, shape, strict=True)):
        raise RuntimeError(
            f"{called}: a result of shape {own} does not fit the target's shape {shape}"
        )
    return apply(find("expand"), (y,), (shape,))


def _trace_of(inputs: Sequence) -> Any:
    """The innermost trace, or level of vmap, that is open; else that of the inputs, which ended."""
    found = _tracer.get()
    if found is None:
        for x in inputs:
            if isinstance(x, Array) and x._value is not None:
                return x._trace
    return found


def trace_call(function: Callable, inputs: Sequence) -> Graph:
    """The graph of function(*inputs); no kernel runs."""
    trace = Trace()
    with traced_by(trace), uncast():
        made = function(*[trace.input(x) for x in inputs])
    outputs = made if isinstance(made, (tuple, list)) else (made,)
    trace.graph.outputs = [y._value for y in outputs]
    return trace.graph


Op.dispatch = staticmethod(apply)
View.dispatch = staticmethod(_dispatch_view)
