"""`Function`: an op with a forward and a backward of the user's own."""

from typing import Any

from lucid.apply import edge
from lucid.array import Array
from lucid.autograd.mode import is_grad_enabled, no_grad
from lucid.autograd.node import Node, Saved
from lucid.autograd.rules import unpack
from lucid.ops.creation import zeros
from lucid.ops.elementwise import assign


class Context:
    """What forward keeps for backward: `save_for_backward`, and attributes of any name."""

    def __init__(self) -> None:
        self._saved: tuple = ()
        self._dirty: tuple = ()
        self._fixed: tuple = ()
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None); they come back as `saved_tensors`."""
        self._saved = tensors

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
        node = self.__dict__.get("_node")
        if node is None:
            return self._saved
        if node.saved is None:
            raise RuntimeError(
                f"{node.name()}: its saved tensors have been freed; use retain_graph=True"
            )
        return tuple(node.read(s) for s in node.kept)


class _FunctionNode(Node):
    """The Node of one call of a Function."""

    __slots__ = ("function", "context", "kept")

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def run(self, arrived: list) -> tuple:
        context = self.context
        if context._materialize:
            arrived = [
                zeros(lay.shape, dtype=lay.dtype) if g is None else g
                for g, lay in zip(arrived, self.outputs, strict=True)
            ]
        context.__dict__["_node"] = self
        try:
            results = self.function.backward(context, *arrived)
        finally:
            del context.__dict__["_node"]
        results = results if isinstance(results, tuple) else (results,)
        if len(results) < len(self.edges) or any(r is not None for r in results[len(self.edges) :]):
            raise RuntimeError(
                f"{self.function.__name__}.backward returned {len(results)} gradients for "
                f"{len(self.edges)} inputs"
            )
        return tuple(
            r if e is not None else None for r, e in zip(results, self.edges, strict=False)
        )

    def read(self, s: Any) -> Any:
        return unpack(self, "save_for_backward", s, is_grad_enabled())


class Function:
    """Subclass with static `forward(ctx, ...)` and `backward(ctx, *grads)`; call `apply`.

    forward runs without gradients and may keep tensors by `ctx.save_for_backward`; backward
    returns one gradient (or None) for each argument of forward. Its ops are recorded where
    create_graph asks for it. Under no_grad nothing is kept.

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

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("Function: define a static forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("Function: define a static backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward, and record backward where an input requires a gradient."""
        context = Context()
        needs = tuple(isinstance(a, Array) and a._requires_grad for a in args)
        recording = is_grad_enabled() and any(needs)
        context.needs_input_grad = needs
        separate = "setup_context" in vars(cls)
        with no_grad():
            if separate:
                made = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, made)  # type: ignore[attr-defined]
            else:
                made = cls.forward(context, *args, **kwargs)
        if not recording:
            context._saved = ()
            return made
        outputs = made if isinstance(made, tuple) else (made,)
        outputs = tuple(_fresh(y, args, context) for y in outputs)
        _record(cls, context, args, needs, outputs)
        return outputs if isinstance(made, tuple) else outputs[0]


def _fresh(y: Any, args: tuple, context: Context) -> Any:
    """An output that is an input gets an object of its own, unless it was modified in place."""
    if (
        isinstance(y, Array)
        and any(y is a for a in args)
        and not any(y is d for d in context._dirty)
    ):
        return y.detach()  # type: ignore[attr-defined]
    return y


def _record(cls: type[Function], context: Context, args: tuple, needs: tuple, outputs: tuple):
    tensors = [y for y in outputs if isinstance(y, Array)]
    edges = tuple(edge(a) if need else None for a, need in zip(args, needs, strict=True))
    node = _FunctionNode(
        assign,
        (),
        edges,
        {},
        tuple(a._layout if isinstance(a, Array) else None for a in args),
        tuple(y._layout for y in tensors),
    )
    node.function, node.context = cls, context
    own = {id(y): nr for nr, y in enumerate(tensors)}
    for nr, y in enumerate(tensors):
        differentiable = y._layout.dtype.category == 2 and not any(y is f for f in context._fixed)
        if differentiable:
            y._node, y._nr, y._requires_grad = node, nr, True
    node.kept = tuple(
        Saved(t, own.get(id(t))) if isinstance(t, Array) else t for t in context._saved
    )
    context._saved = ()
