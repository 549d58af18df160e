"""The funnel: the only way into an op.

Every public function and method comes here. `apply` finds or builds the plan for what it was
given, runs it, and attaches a Node where the result needs a gradient. Inside a trace it adds an
equation to a graph instead. A hit costs a look-up, an allocation and one native call.
"""

import functools
import time
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from lucid import dtypes, storage
from lucid.array import Array
from lucid.autograd.mode import enable_grad, grad_state, is_grad_enabled
from lucid.autograd.node import Node, Saved, move_retained
from lucid.autograd.pile import EACH, look
from lucid.config import settings
from lucid.device import device
from lucid.dtypes import FLOATING
from lucid.graph import Graph, Value
from lucid.layout import Layout, contiguous_strides, dense_order, layout, strides_in_order
from lucid.lines import user_line
from lucid.op import Composite, Elementwise, Op, Opaque, View, find
from lucid.plan import run as plans
from lucid.plan.run import Plan

CPU = device("cpu")
MOST_PLANS = 8192

tensor_class: type[Array] = Array  # tensor.py puts Tensor here
_tracer: ContextVar["Trace | None"] = ContextVar("lucid_tracer", default=None)


_entries: dict[tuple, tuple] = {}  # (op, params, layouts and types of numbers) -> Plan.entry


def clear_plans() -> None:
    """Forget every plan: after the number of threads or the target has changed."""
    _entries.clear()
    _pullbacks.clear()


def apply(op: type[Op], inputs: tuple, params: tuple = ()) -> Any:
    """Run `op` on tensors and Python numbers."""
    if settings.debug:
        return _apply(op, inputs, params)
    return _hit(op, inputs, params)


def apply_all(op: type[Op], inputs: tuple, params: tuple = ()) -> tuple:
    """`apply` that returns the hidden outputs too."""
    return _apply(op, inputs, params, True)


@functools.cache
def _native() -> tuple[Callable, Callable]:
    """`hit(op, inputs, params)`, which leaves what is not among the entries to `_apply`, and
    `launch(entry, inputs)`, to which op and params are added where it may record."""
    assert storage.Storage  # their machine code allocates with its
    launch = plans.launch
    return launch.funnel(Array, tensor_class, _entries, _apply), launch.launcher(
        Array, tensor_class
    )


def _first_hit(op: type[Op], inputs: tuple, params: tuple) -> Any:
    global _hit
    _hit = _native()[0]
    return _hit(op, inputs, params)


_hit: Callable = _first_hit


def _apply(op: type[Op], inputs: tuple, params: tuple, everything: bool = False) -> Any:
    """Views, traces, and what was not planned before."""
    inputs = tuple([_operand(op, x) for x in inputs])
    tracer = _tracer.get()
    if tracer is not None and not any(isinstance(x, Array) for x in inputs):
        return tracer.add(op, inputs, params, everything)  # the entries are not for a trace
    key = (op, params, *[x._layout if isinstance(x, Array) else type(x) for x in inputs])
    entry = _entries.get(key)
    if entry is None:
        if issubclass(op, View):
            return _view(op, inputs[0], params)
        trace = _trace_of(inputs)
        if trace is not None:
            return trace.add(op, inputs, params, everything)
        entry = _build(op, inputs, params, key)
    start = time.perf_counter()
    made = _native()[1](plans.launch.unhidden(entry) if everything else entry, inputs, op, params)
    if settings.debug:
        plans.call.report(entry[-1].segment, time.perf_counter() - start)
        _remember(made)
    return made


def _track(
    layouts: tuple[tuple, tuple],
    op: type[Op],
    inputs: Sequence,
    params: tuple,
    outputs: tuple,
) -> None:
    """Record the call where the mode and an input ask for it. An entry holds the layouts."""
    if not grad_state()[0]:
        return
    for x in inputs:
        if isinstance(x, Array):
            if x._base is not None:
                current_node(x)
            if x._requires_grad:
                record(op, inputs, params, outputs, None, layouts)
                return


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
    if isinstance(x, bool):
        return bool(x)
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
        graph = trace_call(lambda *xs: op.forward(*xs, **op.static(params)), inputs)
    else:
        graph = trace_call(lambda *xs: apply(op, xs, params), inputs)
    strides = [_preserved(op, inputs, v) for v in graph.outputs]
    entry = _entry(graph, strides, op.label, op, layouts_of(inputs))
    _trim(_entries)
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
        record_call = functools.partial(_track, (inputs, tuple(layouts)))
    return Plan(graph, strides, name).entry(layouts, visible, record_call)


def _preserved(op: type[Op], inputs: Sequence, output: Value) -> tuple[int, ...] | None:
    """Results keep the dimension order of a dense input of their shape, as channels-last."""
    if issubclass(op, Opaque):
        return op.strides([x._layout for x in inputs if isinstance(x, Array)], output.shape)
    if not issubclass(op, (Elementwise, Composite)) or getattr(op, "row_major", False):
        return None
    for x in inputs:
        if isinstance(x, Array) and x._layout.shape == output.shape:
            if x._layout.contiguous:
                return None
            order = dense_order(x._layout)
            if order is not None:
                return strides_in_order(output.shape, order)
    return None


# Views


_views: dict[tuple, tuple[Layout, int]] = {}  # (op, params, layout, offset) -> layout, offset


def _view(op: type[View], x: Any, params: tuple) -> Any:
    """Another layout over the same bytes; where that is impossible, over a copy."""
    if x._value is not None:
        return _trace_of((x,)).add(op, (x,), params)  # type: ignore[union-attr]
    key = (op, params, x._layout, x._offset)
    found = _views.get(key)
    if found is None:
        static = op.static(params)
        lay = x._layout
        shape = op.shape(lay.shape, **static)
        there = op.strides(lay.shape, lay.strides, x._offset, **static)
        if there is None:
            return _view(op, contiguous(x), params)
        found = layout(tuple(shape), there[0], lay.dtype, lay.device), there[1]
        _trim(_views)
        _views[key] = found
    y = wrap(x._storage, *found)
    if is_grad_enabled():
        base = x
        if x._base is not None:
            base = x._base
            current_node(x)  # it may need a gradient since its base was written
        if x._requires_grad:
            record(op, (x,), params, y)
        else:
            y._requires_grad = None  # a write to the base may change that
        y._base = base
        y._view = (*(x._view or ()), (op, params))
        y._made = base._rewrites
    else:
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
    return _view(op, x, params) if isinstance(x, Array) else apply(op, inputs, params)


def contiguous(x: Any) -> Any:
    """x itself if it is row-major, else a row-major copy."""
    if x._layout.contiguous:
        return x
    return apply(find("contiguous_copy"), (x,))


# Recording


def record(
    op: type[Op],
    inputs: Sequence,
    params: tuple,
    outputs: Any,
    edges: tuple | None = None,
    layouts: tuple[tuple, tuple] | None = None,
) -> Node:
    """Attach a Node to the outputs; it keeps what the needed rules name.

    `layouts` are those of the inputs (None for numbers) and of the outputs.
    """
    made = outputs if isinstance(outputs, tuple) else (outputs,)
    if edges is None:
        edges = edges_of(op, inputs)
    if layouts is None:
        layouts = layouts_of(inputs), layouts_of(made)
    needed = 0  # a bit for each input
    for e in edges:
        needed = 2 * needed + (e is not None)
    keeps = _keeps.get((op, needed))
    if keeps is None:
        keeps = _keeps[op, needed] = _what_to_keep(op, edges)
    saved: dict[str, Any] = {}
    for name, source, place in keeps:
        if source == OUTPUT:
            saved[name] = Saved(made[place], place)
        elif source == STATIC:
            saved[name] = params[place]
        elif source == LAYOUT:
            saved[name] = layouts[0][place]
        else:
            x = inputs[place]
            saved[name] = Saved(x) if isinstance(x, Array) else x
    node = Node(op, params, edges, saved, *layouts)
    if settings.debug:
        node.line = user_line()
    if not node.sequence % EACH:
        look(node)
    for nr, y in enumerate(made):
        if y._layout.dtype.category == FLOATING:
            y._node = node
            y._nr = nr
            y._requires_grad = True
    return node


def layouts_of(things: Sequence) -> tuple:
    """Their layouts, None for numbers."""
    return tuple([x._layout if isinstance(x, Array) else None for x in things])


def edges_of(op: type[Op], inputs: Sequence) -> tuple:
    """Where the inputs' cotangents go, None for those without a gradient."""
    edges: list[tuple | None] = []
    for name, x in zip(op.inputs, inputs, strict=True):
        e = None
        if isinstance(x, Array):
            node = x._node if x._base is None else current_node(x)
            if x._requires_grad and name in op.rules:
                e = (x, 0) if node is None else (node, x._nr)
        edges.append(e)
    return tuple(edges)


INPUT, OUTPUT, STATIC, LAYOUT = range(4)
_keeps: dict[tuple[type[Op], int], tuple[tuple[str, int, int], ...]] = {}


def _what_to_keep(op: type[Op], edges: Sequence) -> tuple[tuple[str, int, int], ...]:
    """(name, where it comes from, number there) of all that the rules of these edges ask for."""
    found: dict[str, tuple[str, int, int]] = {}
    for name, e in zip(op.inputs, edges, strict=True):
        for asked in op.rules[name].names if e is not None else ():
            source = _source(op, asked)
            if source is not None:
                found[asked] = (asked, *source)
    return tuple(found.values())


def _source(op: type[Op], name: str) -> tuple[int, int] | None:
    """Where a rule's parameter comes from; None for a cotangent."""
    if name in op.inputs:
        return INPUT, op.inputs.index(name)
    if name == "y":
        return OUTPUT, 0
    if name in op.hidden:
        return OUTPUT, op.count + op.hidden.index(name)
    if name in op.statics:
        return STATIC, op.statics.index(name)
    if name.endswith("_meta") and name[:-5] in op.inputs:
        return LAYOUT, op.inputs.index(name[:-5])
    if name[0] == "y" and name[1:].isdigit():
        return OUTPUT, int(name[1:])
    if name == "g" or (name[0] == "g" and name[1:].isdigit()):
        return None
    raise TypeError(f"{op.name}: its rules ask for {name!r}, which is no input or output")


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
        y = _view(op, y, params)
    return y


def _remember(outputs: Any) -> None:
    """At LUCID_DEBUG >= 1: where a tensor without a graph was made."""
    if not is_grad_enabled():
        for y in outputs if isinstance(outputs, tuple) else (outputs,):
            y._origin = user_line()


# Tracing


class Trace:
    """A graph being recorded: its tensors have a `_value` and no bytes."""

    def __init__(self) -> None:
        self.graph = Graph()

    def input(self, x: Any) -> Any:
        """The stand-in of an input: a tensor's layout, or a number that arrives at run time."""
        if isinstance(x, Array):
            lay = x._layout
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
            made = op.forward(*inputs, **op.static(params))  # type: ignore[attr-defined]
            return made if everything else visible(op, made)
        values = [self.value(op, x) for x in inputs]
        made = tuple([self.tensor(v) for v in self.graph.add(op, values, params)])
        return made[0] if len(made) == 1 else made

    def value(self, op: type[Op], x: Any) -> Value:
        if not isinstance(x, Array):
            return Value((), dtypes.of_scalar(x), True, x)
        if x._value is None:
            raise RuntimeError(
                f"{op.name}: a tensor made outside of the traced function is used inside it; "
                "pass it as an argument"
            )
        return x._value


def _trace_of(inputs: Sequence) -> Trace | None:
    for x in inputs:
        if isinstance(x, Array) and x._value is not None:
            return x._trace  # type: ignore[attr-defined]
    return _tracer.get()


def trace_call(function: Callable, inputs: Sequence) -> Graph:
    """The graph of function(*inputs); no kernel runs."""
    trace = Trace()
    token = _tracer.set(trace)
    try:
        made = function(*[trace.input(x) for x in inputs])
    finally:
        _tracer.reset(token)
    outputs = made if isinstance(made, (tuple, list)) else (made,)
    trace.graph.outputs = [y._value for y in outputs]
    return trace.graph


# Fused calls: a Python function of tensors as one plan

_pullbacks: dict[tuple, Any] = {}


def fused(key: tuple, function: Callable, inputs: Sequence, name: str) -> tuple:
    """function(*inputs) as one plan, kept under `key` and the inputs' layouts. No gradient is
    recorded. The function returns a tuple of tensors; None entries stay None."""
    trace = _trace_of(inputs)
    if trace is not None:
        return function(*inputs)
    key = (*key, *[x._layout if isinstance(x, Array) else type(x) for x in inputs])
    found = _pullbacks.get(key)
    if found is None:
        present: list[bool] = []

        def outputs_only(*xs: Any) -> list:
            made = function(*xs)
            present[:] = [y is not None for y in made]
            return [y for y in made if y is not None]

        graph = trace_call(outputs_only, inputs)
        entry = plans.launch.unhidden(_entry(graph, [None] * len(graph.outputs), name))
        _trim(_pullbacks)
        found = _pullbacks[key] = (entry, tuple(present))
    entry, kept = found
    start = time.perf_counter()
    outputs = _native()[1](entry, tuple(inputs))
    if settings.debug:
        plans.call.report(entry[-1].segment, time.perf_counter() - start)
    if all(kept):
        return outputs
    rest = iter(outputs)
    return tuple([next(rest) if there else None for there in kept])


def layout_plan(
    key: tuple,
    function: Callable,
    inputs: Sequence,
    strides: Sequence[tuple[int, ...] | None],
    name: str,
) -> Plan:
    """The plan of function(*inputs) with given output strides, kept under `key` and layouts."""
    key = (*key, *[x._layout if isinstance(x, Array) else type(x) for x in inputs])
    found = _pullbacks.get(key)
    if found is None:
        _trim(_pullbacks)
        found = _pullbacks[key] = Plan(trace_call(function, inputs), strides, name)
    return found


def _trim(cache: dict) -> None:
    """Drop the older half of a full cache."""
    if len(cache) >= MOST_PLANS:
        for old in list(cache)[: MOST_PLANS // 2]:
            cache.pop(old, None)


Op.dispatch = staticmethod(apply)  # type: ignore[assignment]
View.dispatch = staticmethod(_dispatch_view)  # type: ignore[assignment]
