"""`checkpoint`: run a function without keeping its intermediates, and again in backward."""

from collections.abc import Callable
from typing import Any

from lucid.array import Array
from lucid.autograd.function import Function
from lucid.autograd.functional import backward as run_backward
from lucid.autograd.mode import enable_grad, is_grad_enabled
from lucid.ops.random import default_generator


class _Checkpoint(Function):
    @staticmethod
    def forward(ctx: Any, function: Callable, keep_rng: bool, *args: Any) -> Any:
        ctx.function, ctx.keep_rng = function, keep_rng
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Array)]
        ctx.rest = [None if isinstance(a, Array) else a for a in args]
        ctx.state = default_generator.get_state() if keep_rng else None
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple:
        if is_grad_enabled():
            raise RuntimeError("checkpoint: create_graph through a checkpoint is not supported")
        args = list(ctx.rest)
        for i, saved in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[i] = saved.detach()
            if ctx.needs_input_grad[i + 2]:
                args[i].requires_grad_()
        now = default_generator.get_state()
        if ctx.keep_rng:
            default_generator.set_state(ctx.state)
        with enable_grad():
            made = ctx.function(*args)
        if ctx.keep_rng:
            default_generator.set_state(now)
        made = made if isinstance(made, tuple) else (made,)
        pairs = [
            (y, g)
            for y, g in zip(made, grads, strict=True)
            if isinstance(y, Array) and y._requires_grad
        ]
        run_backward([y for y, _ in pairs], [g for _, g in pairs])
        return (None, None, *(a.grad if isinstance(a, Array) else None for a in args))


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args) that keeps only its inputs; backward runs it again, with the same random
    numbers. Without gradients the function just runs.

    `use_reentrant` makes no difference here. Chen et al., "Training deep nets with sublinear
    memory cost", 2016.

    >>> import lucid
    >>> from lucid.utils.checkpoint import checkpoint
    >>> x = lucid.ones(2, requires_grad=True)
    >>> checkpoint(lambda x: x * x, x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """
    if kwargs:
        plain = function

        def function(*xs: Any) -> Any:
            return plain(*xs, **kwargs)

    if not is_grad_enabled():
        return function(*args)
    anchor = any(isinstance(a, Array) and a._requires_grad for a in args)
    if not anchor:
        return function(*args)
    return _Checkpoint.apply(function, preserve_rng_state, *args)
