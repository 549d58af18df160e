"""Control flow whose course depends on values: `cond`, `scan`, `while_loop`.

Called by users. Eager runs what is written, and the tape records what ran. In the trace of a
compiled function compiler/control.py, loops.py and while_loops.py make a step of the plan of each,
with its bits.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from lucid.apply import apply, contiguous
from lucid.array import Array
from lucid.autograd.mode import is_grad_enabled
from lucid.autograd.node import newest
from lucid.compiler.carried import alike, as_tuple, stepped, tensors_only
from lucid.compiler.tree import flatten, unflatten
from lucid.lazy import lazy
from lucid.op import Op, View, find, normal_dim
from lucid.ops.join import stack
from lucid.ops.view import reshape
from lucid.tracing import compiling
from lucid.write import needs_gradient

_branches = lazy("lucid.compiler.control")
_loops = lazy("lucid.compiler.loops")
_while_loops = lazy("lucid.compiler.while_loops")


def cond(pred: Any, true_fn: Callable, false_fn: Callable, operands: Sequence[Any] = ()) -> Any:
    """true_fn(*operands) if pred else false_fn(*operands).

    `pred` is a bool or a tensor of one element, and is read once. Operands and results are nests
    of tuples, lists, dicts and dataclasses; the functions may also use tensors of the scope that
    they stand in. Results are row-major and share memory with nothing else. Gradients are those of
    the branch that ran: what it does not use gets none.

    Raises TypeError where an argument is of the wrong kind, RuntimeError where `pred` has several
    elements, a branch writes to an operand in place, or returns what is no tensor.

    >>> import lucid
    >>> x = lucid.tensor([1.0, -2.0])
    >>> lucid.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * 2, (x,))
    tensor([ 2., -4.])
    """
    _functions("cond", true_fn=true_fn, false_fn=false_fn)
    if not isinstance(operands, (tuple, list)):
        raise TypeError(f"cond: operands are a tuple or list, got {type(operands).__name__}")
    if isinstance(pred, Array):
        if pred._layout.numel != 1:
            raise RuntimeError(
                f"cond: pred has one element, got a tensor of shape {pred._layout.shape}"
            )
        if (trace := compiling()) is not None:
            return _branches.cond(trace, pred, true_fn, false_fn, tuple(operands))
    elif not isinstance(pred, bool):
        raise TypeError(f"cond: pred is a bool or a tensor, got {type(pred).__name__}")
    start = newest()
    guard = _Untouched("cond: a branch", [x for x in flatten(operands)[0] if isinstance(x, Array)])
    made = (true_fn if bool(pred) else false_fn)(*operands)
    guard.check()
    leaves, form = flatten(made)
    del made
    tensors_only("cond: a branch", leaves)
    return unflatten(form, owned(leaves, start, guard.tensors))


def scan(
    combine_fn: Callable[[Any, Any], tuple],
    init: Any,
    xs: Any,
    dim: int = 0,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """carry, y[i] = combine_fn(carry, x[i]) for each i along `dim`; returns (carry, ys).

    `init` and `xs` are tensors or nests of tensors; x[i] drops dimension `dim`, and the results
    y[i] are stacked along it (along dimension 0 where they have too few). With `reverse` i goes
    from the last to the first, and y[i] stays at its place. The carry keeps its form, shapes and
    dtypes. Carry and x[i] are row-major; results share memory with nothing else.

    In a compiled function combine_fn is traced once and runs as often as there are x[i], which may
    do nothing but compute. The gradient runs each step again from its carry: n carries are kept.
    Where it draws random numbers, or casts under autocast, its steps are traced one by one.

    Raises TypeError and RuntimeError where carries differ in form, shape or dtype, and where
    combine_fn writes to its arguments in place.

    >>> import lucid
    >>> carry, ys = lucid.scan(lambda c, x: (c + x, c * x), lucid.zeros(()), lucid.arange(4.0))
    >>> carry, ys
    (tensor(6.), tensor([0., 0., 2., 9.]))
    """
    _functions("scan", combine_fn=combine_fn)
    if not isinstance(reverse, bool):
        raise TypeError(f"scan: reverse is a bool, got {type(reverse).__name__}")
    first, form = flatten(init)
    given, x_form = flatten(xs)
    if not given:
        return init, []
    if not first:
        raise RuntimeError("scan: init holds no tensor")
    for name, leaves in (("init", first), ("xs", given)):
        for x in leaves:
            if not isinstance(x, Array):
                raise RuntimeError(f"scan: {name} holds tensors, got a {type(x).__name__}")
    dim = normal_dim("scan", dim, given[0]._layout.ndim)
    sizes = [x._layout.shape[dim] if dim < x._layout.ndim else 0 for x in given]
    if len(set(sizes)) > 1 or not sizes[0]:
        shapes = ", ".join(str(x._layout.shape) for x in given)
        raise RuntimeError(f"scan: xs need the same size in dimension {dim}, not 0; got {shapes}")
    steps = [_moved(x, dim, 0).contiguous() for x in given]
    trace = compiling()
    made = None
    # One step is no loop: what it leaves as it is has the history that it had.
    if trace is not None and sizes[0] > 1:
        made = _loops.scan(trace, combine_fn, (first, form), (steps, x_form), reverse)
    if made is None:
        made = _scan(combine_fn, (first, form), (steps, x_form), reverse)
    carry, ys, y_form = made
    ys = [y if y is None else _moved(y, 0, dim) if dim < y._layout.ndim else y for y in ys]
    return unflatten(form, carry), unflatten(y_form, ys)


def _scan(combine_fn: Callable, first: tuple, xs: tuple, reverse: bool) -> tuple:
    start = newest()
    carry, form = [passed(c.contiguous()) for c in first[0]], first[1]
    rows = [x.unbind(0) for x in xs[0]]
    n = len(rows[0])
    made: list[Any] = [None] * n
    y_form: Any = None
    for i in reversed(range(n)) if reverse else range(n):
        given = [row[i] for row in rows]
        guard = _Untouched("scan: combine_fn", [*carry, *given])
        pair = combine_fn(unflatten(form, carry), unflatten(xs[1], given))
        guard.check()
        after, ys, found = stepped(pair, form, carry)
        if y_form is None:
            y_form = found
        elif found != y_form:
            raise RuntimeError("scan: combine_fn returns another nest than in the step before")
        carry = [passed(c) for c in after]
        made[i] = [y if y is None else passed(y) for y in ys]
        del pair, after, ys, given
    stacked: list[Any] = []
    for place, y in enumerate(made[0]):
        stacked.append(y if y is None else _stack([row[place] for row in made]))
    return owned(carry, start, first[0]), stacked, y_form


def while_loop(
    cond_fn: Callable[..., Any],
    body_fn: Callable[..., Any],
    carried_inputs: Sequence[Any],
    max_steps: int | None = None,
) -> Any:
    """carried = body_fn(*carried) while cond_fn(*carried).

    `carried_inputs` is a tuple or list, of tensors or nests of them; numbers may be among them.
    The body returns as many, of the same forms, shapes and dtypes.
    cond_fn gives a bool or a tensor of one element. With `max_steps` it raises RuntimeError where
    the condition still holds after so many steps.

    In a compiled function both are traced once, and run as often as the condition says; numbers
    cannot be carried there. The result has a gradient with `max_steps` only, whose memory is that
    of so many carries: backward runs each step again from the carry before it. Without, asking for
    the gradient raises NotImplementedError. What only some numbers of steps lead to gets zeros.
    Uncompiled, the tape holds the steps that ran, and needs no bound.

    >>> import lucid
    >>> lucid.while_loop(lambda x: x.sum() < 100, lambda x: (x * 2,), (lucid.ones(2),))
    (tensor([64., 64.]),)
    """
    _functions("while_loop", cond_fn=cond_fn, body_fn=body_fn)
    if not isinstance(carried_inputs, (tuple, list)):
        kind = type(carried_inputs).__name__
        raise TypeError(f"while_loop: carried_inputs is a tuple or list, got {kind}")
    if max_steps is not None and (not isinstance(max_steps, int) or max_steps < 0):
        raise TypeError(f"while_loop: max_steps is a number of steps, got {max_steps!r}")
    first, form = flatten(tuple(carried_inputs))
    if (trace := compiling()) is not None:
        made = _while_loops.while_loop(trace, cond_fn, body_fn, first, form, max_steps)
        return unflatten(form, made)
    start = newest()
    carry = [passed(contiguous(c)) if isinstance(c, Array) else c for c in first]
    steps = 0
    while True:
        guard = _Untouched("while_loop: cond_fn or body_fn", carry)
        given = unflatten(form, carry)
        if not held(cond_fn(*given)):
            break
        check_steps(steps, max_steps)
        made = as_tuple(body_fn(*given))
        guard.check()
        after = alike("while_loop: body_fn", made, form, carry)
        carry = [passed(c) if isinstance(c, Array) else c for c in after]
        steps += 1
        del given, made, after
    guard.check()
    del given
    return unflatten(form, owned(carry, start, [c for c in first if isinstance(c, Array)]))


def check_steps(steps: int, most: int | None) -> None:
    """Raise where a loop would go on after its last step."""
    if most is not None and steps >= most:
        raise RuntimeError(f"while_loop: the condition still holds after max_steps={most} steps")


def held(value: Any) -> bool:
    """What a condition says."""
    if isinstance(value, Array):
        if value._layout.numel != 1:
            shape = value._layout.shape
            raise RuntimeError(f"while_loop: cond_fn gives one element, got shape {shape}")
    elif not isinstance(value, bool):
        kind = type(value).__name__
        raise TypeError(f"while_loop: cond_fn gives a bool or a tensor, got {kind}")
    return bool(value)


def _functions(name: str, **functions: Any) -> None:
    for argument, function in functions.items():
        if not callable(function):
            raise TypeError(f"{name}: {argument} is a function, got {type(function).__name__}")


def _moved(x: Any, source: int, target: int) -> Any:
    return x if source == target else x.movedim(source, target)


def _stack(rows: list[Any]) -> Any:
    kinds = {(y._layout.dtype, y._layout.shape) for y in rows}
    if len(kinds) > 1:
        shapes = sorted([f"{kind!r} {shape}" for kind, shape in kinds])
        raise RuntimeError(f"scan: the steps return different y: {', '.join(shapes)}")
    return stack(rows, 0)


def passed(x: Any) -> Any:
    """x behind a Node of its own where it has a gradient: what arrives at a step's result is summed
    up before it goes on into the step, compiled or not."""
    if is_grad_enabled() and needs_gradient(x):
        return apply(reshape, (x,), (x._layout.shape,))
    return x


class _Untouched:
    """That nobody writes to these tensors in place."""

    def __init__(self, who: str, tensors: Sequence[Any]):
        self.who = who
        self.tensors = [x for x in tensors if isinstance(x, Array) and x._storage is not None]
        self.versions = [x._storage.version for x in self.tensors]  # type: ignore[union-attr]

    def check(self) -> None:
        for x, version in zip(self.tensors, self.versions, strict=True):
            if x._storage.version != version:  # type: ignore[union-attr]
                raise RuntimeError(
                    f"{self.who} writes in place to a tensor of shape {x._layout.shape} that it "
                    "was given; clone() it first"
                )


def owned(leaves: list[Any], start: int, given: Sequence[Any]) -> list[Any]:
    """Results, row-major, whose memory nobody else has: copies where that is not certain."""
    known = {id(x._storage) for x in given}
    for i in range(len(leaves)):
        if isinstance(leaves[i], Array):
            leaves[i] = contiguous(leaves[i])
            if id(leaves[i]._storage) in known or not _alone(leaves, i, start):
                leaves[i] = apply(find("clone"), (leaves[i],))
            known.add(id(leaves[i]._storage))
    return leaves


def _alone(leaves: list[Any], i: int, start: int) -> bool:
    """Whether a tensor's storage is surely seen by nobody else."""
    y = leaves[i]
    if y._value is not None or y._base is not None or y._shown is not None:
        return y._value is not None
    node = y._node
    if node is not None:
        op = node.recipe.op
        ours = isinstance(op, type) and issubclass(op, Op) and not issubclass(op, View)
        return bool(ours and node.run is None and node.sequence > start and not y._storage.version)
    del y
    # The list and this call hold the tensor; the tensor and this call its storage.
    return sys.getrefcount(leaves[i]) == 2 and sys.getrefcount(leaves[i]._storage) == 2
