"""`grad`, `grad_and_value`, `vjp`: derivatives of functions by the tape, in any nest.

An argument gets a variable of its own for each transformation that asks for its derivative, and
all of them lie on one tape, so an inner derivative is an ordinary value to an outer one.
"""

import functools
from collections.abc import Callable
from typing import Any

from lucid.array import Array
from lucid.autograd.level import bottom, fresh, has_history, leading_outside, plain, pull
from lucid.autograd.mode import enable_grad, is_grad_enabled
from lucid.func import tree
from lucid.ops.creation import ones, zeros


class Taped:
    """The variables of one derivative, and what a function has made of them."""

    def __init__(self, called: str, nest: Any):
        given = tree.tensors_of(called, "an argument that is differentiated", nest)
        self.recording = is_grad_enabled()
        with enable_grad():
            self.variables = [fresh(x, self.recording, _all) for x in given]
        self.linked = self.recording and any(has_history(x) for x in given)
        self.nest = tree.like(nest, self.variables)
        self.own = {id(t) for x in self.variables for t in bottom(x)}

    def lasting(self, value: Any) -> Any:
        """A result as it leaves: with the history that leads to something else than the
        variables, and no other."""
        tensors = [x for x in tree.leaves_of(value) if isinstance(x, Array) and has_history(x)]
        outside = leading_outside(tensors, self.own) if self.recording else set()
        return tree.mapped(
            lambda x: x if not isinstance(x, Array) or id(x) in outside else plain(x),
            value,
        )

    def reaches_outside(self, ys: list[Any]) -> bool:
        return self.linked or (self.recording and bool(leading_outside(ys, self.own)))

    def gradients(
        self, ys: list[Any], gs: list[Any], keep: bool, create: bool, batch: tuple = ()
    ) -> list[Any]:
        """Those of the variables; zeros where there is none."""
        found = pull(ys, gs, self.variables, batch, keep or create, create)
        return [
            zeros((*batch, *x._layout.shape), dtype=x._layout.dtype) if g is None else g
            for g, x in zip(found, self.variables, strict=True)
        ]


def taped(
    called: str, func: Callable, argnums: Any, has_aux: bool, args: tuple, kwargs: dict
) -> tuple[Taped, Any, Any]:
    """func with variables in the place of the arguments `argnums`: these, its value and its aux."""
    places = tree.chosen(called, argnums, len(args))
    tape = Taped(called, tuple([args[i] for i in places]))
    given = list(args)
    for i, value in zip(places, tape.nest, strict=True):
        given[i] = value
    with enable_grad():
        made = func(*given, **kwargs)
    y, aux = tree.with_aux(called, made) if has_aux else (made, None)
    return tape, y, aux


def _all(level: Any) -> bool:
    return True


def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """The function that gives (gradient, value) of func, whose value is one number (a 0-d tensor).

    argnums, has_aux: as for `grad`; with has_aux the result is (gradient, (value, aux)).

    >>> import lucid
    >>> lucid.func.grad_and_value(lambda x: x ** 3)(lucid.tensor(2.0))
    (tensor(12.), tensor(8.))
    """

    @functools.wraps(func)
    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return _grad_and_value("grad_and_value", func, argnums, has_aux, args, kwargs)

    return differentiated


def grad(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The function that gives the gradient of func, whose value is one number (a 0-d tensor).

    argnums: which positional argument, or arguments (then a tuple results). An argument may be a
    nest of tuples, lists and dicts of tensors; its gradient has the same structure, shapes and
    dtypes. has_aux: func returns (value, aux), and the result is (gradient, aux).

    Gradients are taken whatever the mode outside; a no_grad inside func cuts them. Derivatives
    nest, with each other and with `vmap`: `grad(grad(f))` is the second derivative, and
    `vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, t)` is one gradient for each sample.

    Raises RuntimeError where func's value is no single number, TypeError where an argument that is
    differentiated is no tensor.

    >>> import lucid
    >>> cube = lambda x: x ** 3
    >>> x = lucid.tensor(2.0)
    >>> lucid.func.grad(cube)(x), lucid.func.grad(lucid.func.grad(cube))(x)
    (tensor(12.), tensor(12.))
    """

    @functools.wraps(func)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        found, value = _grad_and_value("grad", func, argnums, has_aux, args, kwargs)
        return (found, value[1]) if has_aux else found

    return differentiated


def _grad_and_value(
    called: str, func: Callable, argnums: Any, has_aux: bool, args: tuple, kwargs: dict
) -> tuple[Any, Any]:
    tape, y, aux = taped(called, func, argnums, has_aux, args, kwargs)
    with enable_grad():
        if not isinstance(y, Array):
            raise RuntimeError(
                f"{called}: the function returned a {type(y).__name__}, a 0-d tensor is needed"
            )
        if y._layout.shape != ():
            raise RuntimeError(
                f"{called}: the function returned a tensor of shape {y._layout.shape}, a 0-d one "
                "is needed; take its sum(), or use vjp or jacrev"
            )
        create = tape.reaches_outside([y])
        one = ones((), dtype=y._layout.dtype)
        found = tape.gradients([y], [one], create, create)
    value = tape.lasting((y, aux) if has_aux else y)
    gradients = tree.like(tape.nest, tape.lasting(found))
    return (gradients if isinstance(argnums, tuple) else gradients[0]), value


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple:
    """(func(*primals), vjp_func), where vjp_func(c) gives the vector-Jacobian product: for the
    output y and a cotangent c like y, the gradient of <c, y>, one for each primal.

    primals and the output are tensors or nests of them; c is a nest like the output. With one
    primal, vjp_func returns its gradient alone, otherwise a tuple. has_aux: func returns (y, aux),
    and vjp returns (y, vjp_func, aux). vjp_func may be called many times, and under `vmap`.

    >>> import lucid
    >>> x = lucid.tensor([1.0, 2.0])
    >>> y, back = lucid.func.vjp(lambda x: x * x, x)
    >>> y, back(lucid.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    tape = Taped("vjp", primals)
    aux: Any = None
    with enable_grad():
        y = func(*tape.nest)
        if has_aux:
            y, aux = tree.with_aux("vjp", y)
    ys = tree.tensors_of("vjp", "the function's result", y, False)

    def vjp_func(cotangents: Any, retain_graph: bool = True, create_graph: Any = None) -> Any:
        """The gradients of the primals for cotangents like the output."""
        tree.same_nest("vjp", "the cotangents", cotangents, y)
        gs = tree.leaves_of(cotangents)
        create = create_graph
        if create is None:
            outer = any(has_history(g) for g in gs)
            create = is_grad_enabled() and (outer or tape.reaches_outside(ys))
        found = tape.gradients(ys, gs, retain_graph, create)
        if create:
            found = tape.lasting(found)
        made = tree.like(tape.nest, found)
        return made if len(made) > 1 else made[0]

    result = tape.lasting(y)
    return (result, vjp_func, tape.lasting(aux)) if has_aux else (result, vjp_func)
