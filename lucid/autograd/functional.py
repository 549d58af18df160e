"""`lucid.autograd.functional`: Jacobians, Hessians and their products, of functions of tensors.

Called by users, under PyTorch's names. `lucid.func` has the same as transformations of functions.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid.array import Array
from lucid.autograd.forward import DualLevel
from lucid.autograd.gradients import grad
from lucid.autograd.level import fresh, plain
from lucid.autograd.mode import enable_grad
from lucid.dtypes import FLOATING
from lucid.lazy import lazy
from lucid.ops.cast import to_dtype
from lucid.ops.creation import eye, ones, zeros
from lucid.ops.join import stack
from lucid.write import needs_gradient

_batch = lazy("lucid.autograd.batch")


class _Call:
    """func at inputs: variables in their place, and the outputs as a tuple."""

    def __init__(self, name: str, func: Callable, inputs: Any, create: bool, run: bool = True):
        self.name = name
        self.create = create
        self.func = func
        self.several_inputs = not isinstance(inputs, Array)
        self.value: Any = None
        self.given = _tensors(name, "inputs", inputs)
        with enable_grad():
            self.inputs = [_variable(x, create) for x in self.given]
            if run:
                self.run(self.inputs)

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        made = self.func(*inputs)
        self.several_outputs = not isinstance(made, Array)
        self.outputs = _tensors(self.name, "the outputs of the function", made)
        return self.outputs

    def check(self, strict: bool) -> None:
        for i, y in enumerate(self.outputs if strict else ()):
            if not needs_gradient(y):
                raise RuntimeError(
                    f"{self.name}: output {i} does not depend on the inputs (strict=True)"
                )

    def vector(self, v: Any, like: Sequence[Any], several: bool, what: str) -> list[Any]:
        """v, which must be like the tensors, or 1 for a single number."""
        if v is None:
            if len(like) != 1 or like[0].numel() != 1:
                raise RuntimeError(
                    f"{self.name}: v may be left out only where {what} is a single number; shapes "
                    f"are {[tuple(x.shape) for x in like]}"
                )
            return [ones(like[0].shape, dtype=like[0].dtype)]
        found = _tensors(self.name, "v", v)
        if [tuple(g.shape) for g in found] != [tuple(x.shape) for x in like]:
            raise RuntimeError(
                f"{self.name}: v has shapes {[tuple(g.shape) for g in found]}, {what} has "
                f"{[tuple(x.shape) for x in like]}"
            )
        return [to_dtype(g, x.dtype) for g, x in zip(found, like, strict=True)]

    def gradients(
        self, ys: Sequence[Any], gs: Sequence[Any], strict: bool, create: bool, batch: tuple = ()
    ) -> list[Any]:
        """Those of the inputs; zeros where an output does not depend on one."""
        pairs = [i for i, y in enumerate(ys) if needs_gradient(y)]
        found: Sequence[Any] = [None] * len(self.inputs)
        if pairs:
            found = grad(
                [ys[i] for i in pairs], self.inputs, [gs[i] for i in pairs],
                retain_graph=True, create_graph=create, allow_unused=True,
                is_grads_batched=bool(batch),
            )  # fmt: skip
        results = []
        for i, (x, g) in enumerate(zip(self.inputs, found, strict=True)):
            if g is None and strict:
                raise RuntimeError(
                    f"{self.name}: the outputs do not depend on input {i} (strict=True)"
                )
            results.append(zeros((*batch, *x.shape), dtype=x.dtype) if g is None else g)
        return results

    def finished(self, values: Sequence[Any], several: bool) -> Any:
        """Results as they are returned: without history unless create_graph asks for it."""
        made = tuple(v if self.create else plain(v) for v in values)
        return made if several else made[0]


def _tensors(name: str, what: str, value: Any) -> list[Any]:
    found = [value] if isinstance(value, Array) else list(value) if _is_list(value) else [value]
    for x in found:
        if not isinstance(x, Array):
            raise TypeError(f"{name}: {what} must be tensors, got {type(x).__name__}")
    return found


def _is_list(value: Any) -> bool:
    return isinstance(value, (tuple, list))


def _variable(x: Any, create: bool) -> Any:
    if x.dtype.category < FLOATING:
        return x
    return fresh(x, create, lambda level: True)


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """(func(*inputs), v J): the vector-Jacobian product, for v like the output.

    inputs and outputs are tensors or tuples of them. v may be left out for a single number.
    create_graph: the results can be differentiated. strict: raises where an output does not depend
    on an input, which gives zeros otherwise.

    >>> import lucid
    >>> x = lucid.tensor([1.0, 2.0])
    >>> lucid.autograd.functional.vjp(lambda x: x * x, x, lucid.ones(2))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    call = _Call("vjp", func, inputs, create_graph)
    call.check(strict)
    gs = call.vector(v, call.outputs, call.several_outputs, "the output")
    found = call.gradients(call.outputs, gs, strict, create_graph)
    return (
        call.finished(call.outputs, call.several_outputs),
        call.finished(found, call.several_inputs),
    )


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """(func(*inputs), J v): the Jacobian-vector product, for v like the inputs, by forward mode.

    Arguments as for `vjp`.

    >>> import lucid
    >>> x = lucid.tensor([1.0, 2.0])
    >>> lucid.autograd.functional.jvp(lambda x: x * x, x, lucid.tensor([1.0, 0.0]))
    (tensor([1., 4.]), tensor([2., 0.]))
    """
    call = _Call("jvp", func, inputs, create_graph, run=False)
    vs = call.vector(v, call.given, call.several_inputs, "the input")
    outputs, tangents = _pushed(call, call.run, vs, strict)
    return (
        call.finished(outputs, call.several_outputs),
        call.finished(tangents, call.several_outputs),
    )


def _pushed(call: _Call, run: Callable, vs: list[Any], strict: bool) -> tuple[list, list]:
    """The outputs of run, and their tangents along vs."""
    level = DualLevel()
    xs = call.inputs if call.create else [plain(x) for x in call.given]
    with level, enable_grad():
        made = run([level.wrap(x, t.clone()) for x, t in zip(xs, vs, strict=True)])
    tangents = []
    for i, y in enumerate(made):
        t = level.tangent(y)
        if t is None and strict:
            raise RuntimeError(
                f"{call.name}: output {i} does not depend on the inputs (strict=True)"
            )
        tangents.append(zeros(y.shape, dtype=y.dtype) if t is None else t)
    return [level.held(y) for y in made], tangents


def jacobian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False, strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The Jacobian of func at inputs: dy[i] / dx[j] at [i, j], where i are the dimensions of the
    output and j those of the input. Tuples of inputs or outputs give tuples, outputs outside.

    vectorize: all rows in one mapped pass instead of one after the other. strategy: "reverse-mode",
    or "forward-mode", which needs vectorize. Others as for `vjp`.

    >>> import lucid
    >>> lucid.autograd.functional.jacobian(lambda x: x * x, lucid.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(
            f"jacobian: strategy must be 'reverse-mode' or 'forward-mode', got {strategy!r}"
        )
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError("jacobian: strategy='forward-mode' needs vectorize=True")
    if vectorize and strict:
        raise RuntimeError("jacobian: strict=True is not supported with vectorize=True")
    call = _Call("jacobian", func, inputs, create_graph, run=strategy == "reverse-mode")
    if strategy == "forward-mode":
        rows = _columns(call)
    else:
        call.check(strict)
        rows = [_rows(call, i, strict, vectorize) for i in range(len(call.outputs))]
    made = [call.finished(row, call.several_inputs) for row in rows]
    return tuple(made) if call.several_outputs else made[0]


def _rows(call: _Call, place: int, strict: bool, vectorize: bool) -> list[Any]:
    """The Jacobian of one output, for each input."""
    y = call.outputs[place]
    n = y.numel()
    basis = _basis([y])[0]
    if vectorize or not n:
        made = call.gradients([y], [basis], strict, call.create, (n,))
    else:
        each = [call.gradients([y], [basis[i]], strict, call.create) for i in range(n)]
        made = [stack(list(column)) for column in zip(*each, strict=True)]
    return [g.reshape(*y.shape, *x.shape) for g, x in zip(made, call.inputs, strict=True)]


def _basis(xs: Sequence[Any]) -> list[Any]:
    """For every element of all tensors, in a first dimension: 1 there, 0 elsewhere."""
    total = sum(x.numel() for x in xs)
    made, start = [], 0
    for x in xs:
        block = zeros(total, x.numel(), dtype=x.dtype)
        block[start : start + x.numel()] = eye(x.numel(), dtype=x.dtype)
        made.append(block.reshape(total, *x.shape))
        start += x.numel()
    return made


def _columns(call: _Call) -> list[list[Any]]:
    """The Jacobians of all outputs by forward mode."""
    xs = call.given
    total = sum(x.numel() for x in xs)
    level = _batch.BatchLevel(total, "error")
    with level:
        vs = [level.wrap(block) for block in _basis(xs)]
        _, tangents = _pushed(call, call.run, vs, False)
    rows = []
    for t in tangents:
        whole, start, row = level.whole_of(t), 0, []
        for x in xs:
            part = whole[start : start + x.numel()]
            start += x.numel()
            row.append(part.movedim(0, -1).reshape(*part.shape[1:], *x.shape))
        rows.append(row)
    return rows


def _first(call: _Call, create: bool) -> Callable[..., tuple]:
    """The function of the gradient of a function of one number."""

    def gradient(*inputs: Any) -> tuple:
        with enable_grad():
            own = [_variable(x, True) for x in inputs]
            y: Any = call.func(*own)
        if not isinstance(y, Array) or y._layout.numel != 1:
            raise RuntimeError(
                f"{call.name}: the function must return a tensor of one element, got "
                f"{y._layout.shape if isinstance(y, Array) else type(y).__name__}"
            )
        call.value = y
        if not needs_gradient(y):
            return tuple(zeros(x.shape, dtype=x.dtype) for x in own)
        return grad(
            y, own, create_graph=True, allow_unused=True, materialize_grads=True
        )  # fmt: skip

    return gradient


def hessian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False, outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The second derivatives of func, whose output has one element: d2y / dx[i] dx[j] at [i, j];
    for a tuple of inputs a tuple of tuples.

    outer_jacobian_strategy: that of the derivative of the gradient; others as for `jacobian`.

    >>> import lucid
    >>> lucid.autograd.functional.hessian(lambda x: (x ** 3).sum(), lucid.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    call = _Call("hessian", func, inputs, create_graph, run=False)
    gradient = _first(call, create_graph)

    def first(*given: Any) -> Any:
        made = gradient(*given)
        return made if call.several_inputs else made[0]

    return jacobian(first, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """(func(*inputs), v H): the product with the Hessian, for v like the inputs, by two reverse
    passes. Arguments as for `vjp`.

    >>> import lucid
    >>> x = lucid.tensor([1.0, 2.0])
    >>> lucid.autograd.functional.vhp(lambda x: (x ** 3).sum(), x, lucid.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    call = _Call("vhp", func, inputs, create_graph, run=False)
    vs = call.vector(v, call.given, call.several_inputs, "the input")
    first = _first(call, create_graph)(*call.inputs)
    if strict and not all(needs_gradient(g) for g in first):
        raise RuntimeError("vhp: the gradient does not depend on the inputs (strict=True)")
    found = call.gradients(first, vs, strict, create_graph)
    return call.finished([call.value], False), call.finished(found, call.several_inputs)


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """(func(*inputs), H v): the Hessian times v, for v like the inputs, forward over reverse.
    Arguments as for `vjp`.

    >>> import lucid
    >>> x = lucid.tensor([1.0, 2.0])
    >>> lucid.autograd.functional.hvp(lambda x: (x ** 3).sum(), x, lucid.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    call = _Call("hvp", func, inputs, create_graph, run=False)
    vs = call.vector(v, call.given, call.several_inputs, "the input")
    gradient = _first(call, create_graph)

    def both(xs: list[Any]) -> list[Any]:
        made = gradient(*xs)
        return [call.value, *made]

    (y, *_), (_, *found) = _pushed(call, both, vs, strict)
    return call.finished([y], False), call.finished(found, call.several_inputs)
