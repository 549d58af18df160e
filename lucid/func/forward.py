"""`jvp` and `linearize`: derivatives along a direction, by tangents that are carried along."""

from collections.abc import Callable
from typing import Any

from lucid.array import Array
from lucid.autograd.forward import DualLevel
from lucid.autograd.level import fresh, has_history, levels, plain, pull
from lucid.autograd.mode import enable_grad, is_grad_enabled
from lucid.func import tree
from lucid.func.reverse import Taped
from lucid.ops.cast import to_dtype
from lucid.ops.creation import ones, zeros
from lucid.write import needs_gradient


def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> tuple:
    """(func(*primals), the derivative of func at primals along tangents): the Jacobian-vector
    product J v, computed in one forward run, whose memory does not grow with its length.

    primals: a tuple of tensors or nests of them; tangents: alike, in structure and shapes. has_aux:
    func returns (y, aux), and jvp returns (y, tangent, aux). strict: an output that does not depend
    on the primals raises, instead of having zeros. Tangents are carried whatever the mode outside;
    a no_grad inside func stops them, as it stops gradients.

    >>> import lucid
    >>> x, v = lucid.tensor([1.0, 2.0]), lucid.tensor([1.0, 0.0])
    >>> lucid.func.jvp(lambda x: x ** 2, (x,), (v,))
    (tensor([1., 4.]), tensor([2., 0.]))
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise TypeError("jvp: primals and tangents must be tuples, one item for each argument")
    y, t, aux = pushed("jvp", func, primals, tangents, strict, has_aux)
    return (y, t, aux) if has_aux else (y, t)


def pushed(
    called: str, func: Callable, primals: Any, tangents: Any, strict: bool, has_aux: bool
) -> tuple[Any, Any, Any]:
    """The output, its tangent and the auxiliary result."""
    given = tree.tensors_of(called, "primals", primals)
    tree.same_nest(called, "the tangents", tangents, primals)
    moving = tree.tensors_of(called, "tangents", tangents, False)
    recording = is_grad_enabled()
    level = DualLevel()
    if not recording:
        given, moving = [plain(x) for x in given], [plain(t) for t in moving]
    pairs = [(x, to_dtype(t, x._layout.dtype)) for x, t in zip(given, moving, strict=True)]
    with level:
        duals = tree.like(primals, [level.wrap(x, _written_here(t)) for x, t in pairs])
        with enable_grad():
            y = func(*duals)
        aux: Any = None
        if has_aux:
            y, aux = tree.with_aux(called, y)
    tree.tensors_of(called, "the function's result", y, False)

    def value(x: Any) -> Any:
        held = level.held(x)
        return held if recording or not isinstance(x, Array) else plain(held)

    def tangent(x: Any) -> Any:
        if level.owns(x):
            return x._tangent if recording else plain(x._tangent)
        if strict:
            raise RuntimeError(f"{called}: an output does not depend on the primals (strict=True)")
        return zeros(x._layout.shape, dtype=x._layout.dtype)

    return tree.mapped(value, y), tree.mapped(tangent, y), tree.mapped(value, aux)


def _written_here(t: Any) -> Any:
    """A tangent that a write in place inside the function may change."""
    return t.clone()


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(func(*primals), jvp_func), where jvp_func(*tangents) is the derivative of func at primals
    along tangents. func runs once; each call of jvp_func does the linear part alone.

    Use it for many directions at one point; for one direction `jvp` takes less memory.

    >>> import lucid
    >>> y, push = lucid.func.linearize(lambda x: x ** 2, lucid.tensor([1.0, 2.0]))
    >>> y, push(lucid.tensor([1.0, 0.0])), push(lucid.tensor([0.0, 1.0]))
    (tensor([1., 4.]), tensor([2., 0.]), tensor([0., 4.]))
    """
    tape = Taped("linearize", primals)
    with enable_grad():
        y = func(*tape.nest)
        ys = tree.tensors_of("linearize", "the function's result", y, False)
        # The gradient is linear in its cotangents: its own gradient is the derivative forward.
        spread = set(levels()).__contains__
        us = [
            fresh(ones(v._layout.shape, dtype=v._layout.dtype), False, spread)
            if needs_gradient(v) else None
            for v in ys
        ]  # fmt: skip
        backs = pull(ys, us, tape.variables, keep=True, create=True)
    linked = tape.reaches_outside(ys)
    cotangents = [u for u in us if u is not None]

    def jvp_func(*tangents: Any) -> Any:
        """The derivative along tangents like the primals."""
        tree.same_nest("linearize", "the tangents", tangents, primals)
        both = zip(backs, tree.leaves_of(tangents), strict=True)
        pairs = [(b, to_dtype(t, b._layout.dtype)) for b, t in both if b is not None]
        create = is_grad_enabled() and (linked or any(has_history(t) for _, t in pairs))
        found = iter(pull(
            [b for b, _ in pairs], [t for _, t in pairs], cotangents, keep=True, create=create
        ))  # fmt: skip
        results = []
        for v, u in zip(ys, us, strict=True):
            t = None if u is None else next(found)
            results.append(zeros(v._layout.shape, dtype=v._layout.dtype) if t is None else t)
        made = tree.like(y, results)
        return tape.lasting(made) if create else made

    return tape.lasting(y), jvp_func
