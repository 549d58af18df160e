"""`Function`: an op with a forward and a backward of the user's own."""

import functools
import weakref
from collections.abc import Callable
from typing import Any

from lucid.apply import edge, layouts_of, wrap
from lucid.array import Array
from lucid.autograd.mode import is_grad_enabled, no_grad
from lucid.autograd.node import Node, Recipe, keep, keep_own, move_retained
from lucid.autograd.packing import packed
from lucid.autograd.rules import fit, unpack
from lucid.dtypes import FLOATING
from lucid.error import BackwardError
from lucid.ops.cast import to_dtype
from lucid.ops.creation import zeros
from lucid.tracing import tracing
from lucid.write import needs_gradient, rebase


class Context:
    """What forward keeps for backward: `save_for_backward`, and attributes of any name."""

    def __init__(self) -> None:
        self._saved: tuple = ()
        self._dirty: tuple = ()
        self._fixed: tuple = ()
        self._materialize = True
        self._node: Any = None  # a weak reference: the Node holds the context
        self._forward: tuple | None = None  # what `jvp` finds among the saved tensors
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None); they come back as `saved_tensors`."""
        for t in tensors:
            if t is not None and not isinstance(t, Array):
                raise TypeError(
                    f"save_for_backward: tensors and None are kept, not {type(t).__name__}; "
                    "set it as an attribute of ctx"
                )
        self._saved = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for `jvp`, whose `saved_tensors` they are."""
        self._forward = tensors

    def mark_dirty(self, *tensors: Any) -> None:
        """Name the inputs that forward has modified in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Name outputs that have no gradient."""
        self._fixed = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing cotangents come as zeros (default) or as None."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple:
        if self._node is None:
            return self._saved
        node = self._node()
        if node is None or node.saved is None:
            raise BackwardError(
                "saved_tensors: they have been freed by an earlier backward pass; use "
                "retain_graph=True there to go through the same graph again"
            )
        create = is_grad_enabled()
        return tuple(unpack(node, "save_for_backward", s, create) for s in node.saved)


class _FunctionNode(Node):
    """The Node of one call of a Function."""

    __slots__ = ("function", "context", "places")
    function: Any
    context: Any
    places: Any

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def title(self) -> str:
        return self.function.__name__

    def run(self, arrived: list) -> tuple:
        # An output that is no tensor has no place among the cotangents: None.
        grads = [None if place is None else arrived[place] for place in self.places]
        if self.context._materialize:
            for i, place in enumerate(self.places):
                if place is not None and grads[i] is None:
                    lay = self.outputs[place]
                    grads[i] = zeros(lay.shape, dtype=lay.dtype)
        results = self.function.backward(self.context, *grads)
        results = tuple(results) if isinstance(results, (tuple, list)) else (results,)
        count = len(self.edges)
        if len(results) < count or any(r is not None for r in results[count:]):
            raise RuntimeError(
                f"{self.title()}.backward returned {len(results)} gradients for {count} inputs"
            )
        return tuple([
            None if e is None or r is None else self.fitting(i, r)
            for i, (r, e) in enumerate(zip(results, self.edges, strict=False))
        ])  # fmt: skip

    def fitting(self, i: int, g: Any) -> Any:
        """A gradient in the shape and dtype of input i."""
        if not isinstance(g, Array):
            raise TypeError(
                f"{self.title()}.backward returned {type(g).__name__} for input {i}, a tensor or "
                "None is needed"
            )
        shape, found = self.recipe.inputs[i].shape, g._layout.shape
        padded = (1,) * (len(found) - len(shape)) + shape
        if len(shape) > len(found) or any(
            n not in (1, m) for n, m in zip(padded, found, strict=True)
        ):
            raise RuntimeError(
                f"{self.title()}.backward returned a gradient of shape {found} for input {i}, "
                f"which has shape {shape}"
            )
        return fit(g, self.recipe.inputs[i])


class Function:
    """Subclass with static `forward(ctx, ...)` and `backward(ctx, *grads)`; call `apply`.

    forward runs without gradients and may keep tensors by `ctx.save_for_backward`; backward
    returns one gradient (or None) for each argument of forward. Its ops are recorded where
    create_graph asks for it. Under no_grad nothing is kept. In the other form, forward takes no
    ctx and a static `setup_context(ctx, inputs, output)` follows it. A static `jvp(ctx, *tangents)`
    is its forward mode, otherwise backward is transposed; `vmap` is for maps (func.vmap).

    Raises TypeError or RuntimeError where backward returns another number of gradients, no tensor,
    or another shape; where an input is modified without `mark_dirty`, the version check sees it.

    >>> import lucid
    >>> class Double(lucid.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = lucid.ones(2, requires_grad=True)
    >>> Double.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    name = "function"
    inputs: tuple = ()

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("Function: define a static forward(ctx, ...)")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        raise NotImplementedError("Function: this one has no setup_context")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("Function: define a static backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward, and record backward where an input requires a gradient."""
        level = tracing()
        if level is not None and any(isinstance(a, Array) and a._value is not None for a in args):
            return level.function(cls, args, kwargs)
        return cls._apply(Context(), args, kwargs)

    @classmethod
    def _apply(cls, context: Context, args: tuple, kwargs: dict) -> Any:
        needs = tuple([isinstance(a, Array) and needs_gradient(a) for a in args])
        recording = is_grad_enabled() and any(needs)
        context.needs_input_grad = needs
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                made = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, made)
            else:
                made = cls.forward(context, *args, **kwargs)
        if not recording:
            if context._forward is None:
                context._saved = ()
            return made
        several = isinstance(made, (tuple, list))
        outputs = tuple([_fresh(y, args, context) for y in (made if several else (made,))])
        _record(cls, context, args, needs, outputs)
        return outputs if several else outputs[0]

    @classmethod
    def forward_mode(cls, args: tuple, tangents: list, kwargs: dict) -> tuple[Any, list]:
        """The outputs, and their tangents by the static `jvp(ctx, *tangents)` of the function."""
        context = Context()
        made = cls._apply(context, args, kwargs)
        outputs = made if isinstance(made, tuple) else (made,)
        given = [
            zeros(a._layout.shape, dtype=a._layout.dtype)
            if t is None and context._materialize and _moves(a) else t
            for a, t in zip(args, tangents, strict=True)
        ]  # fmt: skip
        if context._forward is not None:
            context._saved, context._node = context._forward, None
        found = cls.jvp(context, *given)  # type: ignore[attr-defined]
        found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if len(found) != len(outputs):
            raise RuntimeError(
                f"{cls.__name__}.jvp returned {len(found)} tangents for {len(outputs)} outputs"
            )
        for y, t in zip(outputs, found, strict=True):
            if t is not None and (not _moves(y) or t._layout.shape != y._layout.shape):
                raise RuntimeError(f"{cls.__name__}.jvp returned a tangent that fits no output")
        fixed = [t if t is None else to_dtype(t, y._layout.dtype)
                 for y, t in zip(outputs, found, strict=True)]  # fmt: skip
        return made, fixed


def _moves(x: Any) -> bool:
    return isinstance(x, Array) and x._layout.dtype.category >= FLOATING


def _fresh(y: Any, args: tuple, context: Context) -> Any:
    """An output that is somebody else's tensor gets an object of its own, unless it was modified
    in place."""
    if not isinstance(y, Array) or any(y is d for d in context._dirty):
        return y
    return y.detach() if needs_gradient(y) or any(y is a for a in args) else y  # type: ignore[attr-defined]


def _record(
    cls: type[Function], context: Context, args: tuple, needs: tuple, outputs: tuple
) -> None:
    tensors = [y for y in outputs if isinstance(y, Array)]
    _check_dirty(cls, context, args, tensors)
    edges = tuple([edge(a) if need else None for a, need in zip(args, needs, strict=True)])
    recipe = Recipe(cls, (), layouts_of(args), layouts_of(tensors), ())  # type: ignore[arg-type]
    node = _FunctionNode(recipe, edges, ())
    node.function, node.context = cls, context
    numbers = iter(range(len(tensors)))
    node.places = [next(numbers) if isinstance(y, Array) else None for y in outputs]
    context._node = weakref.ref(node)
    own = {}
    for nr, y in enumerate(tensors):
        if y._layout.dtype.category < FLOATING or any(y is f for f in context._fixed):
            continue
        own[id(y)] = nr
        _attach(y, node, nr, any(y is d for d in context._dirty))
    node.saved = packed(tuple([
        keep_own(t, own[id(t)]) if id(t) in own else keep(t) if _has_bytes(t) else t
        for t in context._saved
    ]), wrap)  # fmt: skip
    context._saved = ()


def _has_bytes(t: Any) -> bool:
    """Not so sparse tensors, which are kept as they are."""
    return isinstance(t, Array) and t._value is None


def _attach(y: Any, node: Node, nr: int, dirty: bool) -> None:
    if dirty and y._base is not None:
        value = wrap(y._storage, y._layout, y._offset)
        value._node, value._nr, value._requires_grad = node, nr, True
        rebase(y, value)
        return
    before = y._node, y._nr
    y._node, y._nr, y._requires_grad = node, nr, True
    if dirty:
        y._rewrites += 1  # its views have another history now
        move_retained(y, *before)


def _check_dirty(cls: type[Function], context: Context, args: tuple, tensors: list) -> None:
    for d in context._dirty:
        name = cls.__name__
        if not any(d is a for a in args) or not any(d is y for y in tensors):
            raise RuntimeError(f"{name}: mark_dirty names a tensor that is not input and output")
        owner = d if d._base is None else d._base
        for x in (d, owner):
            if needs_gradient(x) and x.is_leaf:
                raise RuntimeError(
                    f"{name}: a leaf that requires a gradient, or a view of one, was modified in "
                    "place; do it under no_grad(), or out of place"
                )


class _OnceNode(Node):
    """The history of what a backward has computed that cannot be differentiated itself."""

    __slots__ = ("function",)
    function: Any

    def name(self) -> str:
        return "OnceDifferentiableBackward"

    def run(self, arrived: list) -> tuple:
        raise RuntimeError(
            f"{self.function}: its backward is marked once_differentiable, so its gradients have "
            "no gradients"
        )


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a Function's backward that records nothing: differentiating its results raises.

    >>> import lucid
    >>> class Double(lucid.autograd.Function):
    ...     forward = staticmethod(lambda ctx, x: x * 2)
    ...     backward = staticmethod(once_differentiable(lambda ctx, g: g * 2))
    >>> x = lucid.ones(2, requires_grad=True)
    >>> lucid.autograd.grad(Double.apply(x).sum(), x)
    (tensor([2., 2.]),)
    """

    @functools.wraps(backward)
    def once(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            made = backward(ctx, *grads)
        if not is_grad_enabled():
            return made
        several = isinstance(made, (tuple, list))
        results = [
            g.detach() if isinstance(g, Array) else g  # type: ignore[attr-defined]
            for g in (made if several else (made,))
        ]
        tensors = [g for g in results if isinstance(g, Array)]
        call = ctx._node()
        edges = (*call.edges, *[edge(g) if _has_history(g) else None for g in grads])
        layouts = tuple([g._layout for g in tensors])
        recipe = Recipe(Function, (), (), layouts, ())  # type: ignore[arg-type]
        node = _OnceNode(recipe, edges, ())
        node.function = call.title()
        for nr, g in enumerate(tensors):
            _attach(g, node, nr, False)
        return tuple(results) if several else results[0]

    return once


def _has_history(g: Any) -> bool:
    return isinstance(g, Array) and needs_gradient(g)
