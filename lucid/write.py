"""In-place writes and `out=`: results that go into a tensor that exists.

ops/methods.py calls `write` for every `name_` method. A write bumps the storage's version; in
grad mode it moves the target's history on, and a view's write rebases the history of its base.
"""

from collections.abc import Callable
from typing import Any

from lucid.apply import (
    apply,
    broadcast,
    current_node,
    edges_of,
    layouts_and_types,
    native_writer,
    record,
    trace_call,
    view_again,
    wrap,
)
from lucid.array import Array
from lucid.autograd.mode import grad_state, is_grad_enabled
from lucid.autograd.node import Node, Recipe, move_retained
from lucid.caches import kept_plans, trim
from lucid.config import settings
from lucid.dtypes import COMPLEX
from lucid.extent import plain
from lucid.layout import Layout
from lucid.lines import user_line
from lucid.op import Elementwise, Op, View, find
from lucid.pairing import is_complex
from lucid.plan.run import Plan
from lucid.tracing import any_program, change, diverted, program


def write(
    op: type[Op], target: Any, inputs: tuple, params: tuple = (), name: str | None = None
) -> Any:
    """target[...] = op(*inputs): computed in the promoted type, cast to the target's. `name` is
    what the user called, if not `op`."""
    if settings.debug:
        return _write(op, target, inputs, params, name)
    return _hit(op, target, inputs, params, name)


def _first_hit(op: type[Op], target: Any, inputs: tuple, params: tuple, name: str | None) -> Any:
    global _hit
    if any_program():
        return _write(op, target, inputs, params, name)
    _hit = native_writer(_entries, _write, _writers)
    return _hit(op, target, inputs, params, name)


_hit: Callable = _first_hit


def _divert() -> None:
    global _hit
    _hit = _first_hit


diverted.append(_divert)
# (op, the target's layout, params, layouts and types of numbers) -> Plan.entry
_entries: dict[tuple, tuple] = kept_plans({})


def _write(op: type[Op], target: Any, inputs: tuple, params: tuple, name: str | None) -> Any:
    """What was not planned before, shares its bytes, or may be recorded."""
    if target._value is not None:
        return target._trace.write(op, target, inputs, params, name or f"{op.name}_")
    if is_complex((target, *inputs), params):
        return _write_complex(op, target, inputs, params, name)
    called = name or f"{op.name}_"
    recording = grad_state()[0] and _check(called, target, inputs)
    saved_inputs = inputs
    if recording:
        saved_inputs = tuple(
            [_kept_with_history(x) if _shares(x, target) and _is_saved(op, i) else x
             for i, x in enumerate(inputs)]
        )  # fmt: skip
    edges = edges_of(op, inputs)[0] if recording else ()
    storage = target._storage
    for x in inputs:
        if isinstance(x, Array) and x._storage is storage:
            # The plan is for the layouts of the copies that it reads.
            inputs = tuple([_apart(op, x, target) for x in inputs])
            break
    tracer = program()
    if tracer is not None:
        _check_inside(called, inputs)
        into = into_of(op, called, target._layout, plain(params))
        tracer.store((op, params), target, into, inputs)
    else:
        key = (op, target._layout, params, *layouts_and_types(inputs))
        entry = _entries.get(key) or _build(op, called, target, inputs, params, key)
        if target._layout.numel:
            # The entry's last item is its plan.
            entry[-1].run(target._ptr, *[x._ptr if isinstance(x, Array) else x for x in inputs])
    touched(called, target)
    if recording:
        _move_history(op, target, saved_inputs, params, edges)
        if tracer is not None:
            tracer.note_history(target)
    return target


def _write_complex(
    op: type[Op], target: Any, inputs: tuple, params: tuple, name: str | None
) -> Any:
    """The result first, then its parts into those of the target."""
    called = name or f"{op.name}_"
    if target._layout.dtype.category != COMPLEX:
        raise RuntimeError(
            f"{called}: a complex result cannot be written into {target._layout.dtype!r}"
        )
    y = apply(
        op, tuple([_kept_with_history(x) if _shares(x, target) else x for x in inputs]), params
    )
    if y.dtype is not target._layout.dtype:
        y = apply(find("cast"), (y,), (target._layout.dtype,))
    if tuple(y.shape) != target._layout.shape:
        y = broadcast(called, y, target._layout.shape)
    parts = find("view_as_real")
    write(find("assign"), apply(parts, (target,)), (apply(parts, (y,)),), name=called)
    return target


def before(x: Any) -> Any:
    """x for what is computed from it and then written to it: rules must not read the new bytes."""
    if x._value is None and is_grad_enabled() and needs_gradient(x):
        if current_node(x) is not None:
            return _kept_with_history(x)
    return x


def touched(name: str, target: Any) -> None:
    """The target's bytes have changed, by the operation of that name."""
    block = target._storage
    block.version += 1
    if len(_writers) >= MOST_WRITERS:
        _writers.clear()
    owner = target if target._base is None else target._base
    through = " through .data" if owner._is_data else ""
    line = f" at {user_line()}" if settings.debug else ""
    _writers[block.ptr] = f"{name}{through}{line}"


MOST_WRITERS = 65536
# Who wrote last, by address: the op, or what is to be said of the write.
_writers: dict[int, Any] = {}


def last_write(block: Any) -> str:
    """ " by add_ at train.py:12" of a storage that was written; "" where it is not known."""
    writer = _writers.get(block.ptr)
    if isinstance(writer, type):
        writer = f"{writer.name}_"  # type: ignore[attr-defined]
    return f" by {writer}" if writer else ""


def _check(called: str, target: Any, inputs: tuple) -> bool:
    """Whether the write is recorded; raises where it would lose a gradient."""
    base = target._base
    owner = target if base is None else base
    tracer = program()
    if tracer is not None and tracer.original(owner) is not owner:  # which may be a view itself
        _check(called, tracer.original(owner), inputs)
    shown = owner._shown and owner._shown()
    if shown is not None and shown._requires_grad:
        if owner._node is not None:
            raise RuntimeError(
                f"{called}: a view of an input, which {owner._node.name()} made, is modified in "
                f"place at {user_line()}: the backward of a Function (or full backward hook) "
                "would not see it; clone() the tensor first"
            )
        made = f" at {owner._origin}" if owner._origin else ""
        raise RuntimeError(
            f"{called}: a view that was made under no_grad{made}, of a tensor that requires a "
            f"gradient, is modified in place at {user_line()} in grad mode, which no gradient "
            "would see; make the view outside no_grad(), or modify it inside"
        )
    leaf_view = base is not None and target._requires_grad and _shows_leaf(target)
    if leaf_view or (owner._requires_grad and current_node(owner) is None):
        what = "a leaf" if base is None or leaf_view else "a view of a leaf"
        raise RuntimeError(
            f"{called}: {what} that requires a gradient is modified in place; do it under "
            "no_grad(), or use an out-of-place operation"
        )
    return any(isinstance(x, Array) and needs_gradient(x) for x in (target, *inputs))


def _shows_leaf(x: Any) -> bool:
    """Whether a view that requires a gradient is a leaf, or shows one: requires_grad_() made it."""
    node = current_node(x)
    while node is not None:
        op = node.recipe.op
        edge = node.edges[0] if isinstance(op, type) and issubclass(op, View) else None
        if edge is None:
            return False
        if not isinstance(edge[0], Node):
            return edge[0]._storage is x._storage
        node = edge[0]
    return True


def needs_gradient(x: Any) -> bool:
    """Its flag, after a look at its base if it is a view."""
    if x._base is not None:
        current_node(x)
    return x._requires_grad is True


def _is_saved(op: type[Op], place: int) -> bool:
    name = op.inputs[place]
    return any(name in rule.names for rule in op.rules.values())


def _shares(x: Any, target: Any) -> bool:
    return isinstance(x, Array) and x._storage is target._storage


def _kept(x: Any) -> Any:
    """A copy of the bytes that are about to be overwritten."""
    return apply(find("clone"), (x.detach(),))


def _kept_with_history(x: Any) -> Any:
    """Such a copy for a rule, whose own derivative goes where that of x goes."""
    y = _kept(x)
    if needs_gradient(x):
        y._node, y._nr, y._requires_grad = x._node, x._nr, True
    return y


def _apart(op: type[Op], x: Any, target: Any) -> Any:
    """x, or a copy of it where writing the target would change what is still to be read."""
    if not _shares(x, target):
        return x
    same = x._layout is target._layout and x._offset == target._offset
    if not same and (tracer := program()) is not None and tracer.journal is not None:
        tracer.journal.refuse(f"{op.name}: a tensor is written from another view of its memory")
    if issubclass(op, Elementwise) and same:
        return x
    low, high = x._layout.span
    first, last = target._layout.span
    if x._offset + high <= target._offset + first or target._offset + last <= x._offset + low:
        if x._layout.dtype is target._layout.dtype:
            return x
    return _kept(x)


def _build(
    op: type[Op], called: str, target: Any, inputs: tuple, params: tuple, key: tuple
) -> tuple:
    """Plan a write into a target of this layout and keep the plan."""
    lay = target._layout
    for x in inputs:
        if (written := getattr(getattr(x, "_trace", None), "written", None)) is not None:
            return written(op, called, target, inputs)  # x is sparse
    _check_inside(called, inputs)
    into = into_of(op, called, lay, params)
    plan = Plan(trace_call(into, inputs), [lay.strides], f"{op.name}_")
    trim(_entries)
    _entries[key] = entry = plan.entry([lay], -1, None, issubclass(op, Elementwise))
    return entry


def _check_inside(called: str, inputs: tuple) -> None:
    """Values from inside a level do not go into what is outside."""
    if any(isinstance(x, Array) and x._value is not None for x in inputs):
        raise RuntimeError(
            f"{called}: a tensor from outside of a function that is traced, mapped by vmap, or "
            "followed by tangents, is written with values from inside; work out of place, or make "
            "the tensor from the arguments"
        )


def into_of(op: type[Op], called: str, lay: Layout, params: tuple) -> Callable[..., Any]:
    """The function of the inputs that is written into a target of this layout."""
    if any(s == 0 and n > 1 for n, s in zip(lay.shape, lay.strides, strict=True)):
        raise RuntimeError(
            f"{called}: several elements of the target are one in memory (it was expanded); "
            "clone() it first"
        )

    def into(*xs: Any) -> Any:
        y = apply(op, xs, params)
        if tuple(y.shape) != lay.shape:
            y = broadcast(called, y, lay.shape)
        if y.dtype is not lay.dtype:
            if y.dtype.category > lay.dtype.category and op.name != "assign":
                raise RuntimeError(
                    f"{called}: the result is {y.dtype!r}, which cannot be written into "
                    f"{lay.dtype!r}"
                )
            y = apply(find("cast"), (y,), (lay.dtype,))
        return y

    return into


def _move_history(op: type[Op], target: Any, inputs: tuple, params: tuple, edges: tuple) -> None:
    if target._base is None:
        before = target._node, target._nr
        if before[0] is None:
            change()
        _record(op, inputs, params, target, edges)
        target._rewrites += 1  # its views have another history now
        move_retained(target, *before)
        return
    value = wrap(target._storage, target._layout, target._offset)
    _record(op, inputs, params, value, edges)
    rebase(target, value)


def _record(op: type[Op], inputs: tuple, params: tuple, output: Any, edges: tuple) -> None:
    tracer = program()
    if tracer is None or tracer.journal is None:
        record(op, inputs, params, output, edges)
        return
    node = record(op, plain(inputs), plain(params), output, edges)
    tracer.journal.note(node, op, params, inputs, (output,))


def rebase(target: Any, value: Any) -> None:
    """Move on the history of a view's base: `value` stands where the view is."""
    base = target._base
    old = base._node, base._nr
    if base._node is None:
        change()
    before = (base._node, base._nr) if base._node is not None else None
    base._node = ViewWrite(before, (value._node, value._nr), target._view, base._layout)
    base._nr = 0
    base._requires_grad = True
    base._rewrites += 1
    move_retained(base, *old)
    current_node(target)


class ViewWrite(Node):
    """The history of a base after a write through one of its views: the cotangent goes to what
    was written where the view is, and to the base as it was elsewhere."""

    __slots__ = ("chain",)
    by_ops = True

    def __init__(self, before: tuple | None, value: tuple, chain: tuple, lay: Any):
        edges = (before, value)
        super().__init__(Recipe(find("assign"), (), (lay,), (lay,), (None,)), edges, ())
        self.chain = chain

    def name(self) -> str:
        return "ViewWriteBackward"

    def run(self, arrived: list) -> tuple:
        g = arrived[0]
        through = view_again(g, self.chain)
        rest = None
        if self.edges[0] is not None:
            rest = apply(find("clone"), (g,))
            write(find("assign"), view_again(rest, self.chain), (0.0,))
        return rest, apply(find("clone"), (through,))


# What `out` has seen: (op, params, layouts and types of numbers) -> shape and dtype.
_results: dict[tuple, tuple] = kept_plans({})


def out(op: type[Op], target: Any, inputs: tuple, params: tuple = (), name: str = "") -> Any:
    """The result into `out=`, which must have its shape and a type that can hold it."""
    if is_complex((target, *inputs), params):
        return write(op, target, inputs, params)
    if is_grad_enabled() and any(isinstance(x, Array) and needs_gradient(x)
                                 for x in (*inputs, target)):  # fmt: skip
        raise RuntimeError(f"{name or op.name}: out= has no gradient; use it under no_grad()")
    key = (op, params, *layouts_and_types(inputs))
    found = _results.get(key)
    if found is None:
        probe = trace_call(lambda *xs: apply(op, xs, params), inputs).outputs[0]
        trim(_results)
        found = _results[key] = probe.shape, probe.dtype
    shape, kind = found
    if shape != target._layout.shape:
        raise RuntimeError(
            f"{name or op.name}: out has shape {tuple(target._layout.shape)}, the result {shape}"
        )
    if kind.category > target._layout.dtype.category:
        raise RuntimeError(
            f"{name or op.name}: a result of {kind!r} cannot be written into out of "
            f"{target._layout.dtype!r}"
        )
    return write(op, target, inputs, params)
