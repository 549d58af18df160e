"""`gradcheck` and `gradgradcheck`: rules against finite differences, in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lucid.array import Array
from lucid.autograd.gradients import grad
from lucid.autograd.mode import enable_grad, no_grad
from lucid.ops.creation import tensor


class GradcheckError(RuntimeError):
    """A gradient that differs from the finite difference."""


def gradcheck(
    function: Callable,
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the vjp of `function` at `inputs` with central differences, entry by entry.

    Inputs that require a gradient should be float64. |analytic - numeric| <= atol + rtol |numeric|
    must hold, else GradcheckError says where it does not (or False is returned).

    >>> import lucid
    >>> x = lucid.randn(3, dtype=lucid.float64, requires_grad=True)
    >>> lucid.autograd.gradcheck(lambda x: (x * x).sum(), (x,))
    True
    """
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    outputs = _tuple(function(*inputs))
    for o, output in enumerate(outputs):
        if not output._requires_grad:
            continue
        for i, x in enumerate(inputs):
            if not isinstance(x, Array) or not x._requires_grad:
                continue
            numeric = _numeric(function, inputs, i, o, eps)
            analytic = _analytic(function, inputs, i, o, numeric.shape)
            close = np.abs(analytic - numeric) <= atol + rtol * np.abs(numeric)
            if not close.all():
                if not raise_exception:
                    return False
                at = tuple(int(v) for v in np.argwhere(~close)[0])
                raise GradcheckError(
                    f"gradcheck: d output {o} / d input {i} at (input element, output element) "
                    f"{at}: the rule says {analytic[at]}, finite differences {numeric[at]}"
                )
    return True


def _tuple(y: Any) -> tuple:
    return tuple(y) if isinstance(y, (tuple, list)) else (y,)


def _numeric(function: Callable, inputs: Sequence, i: int, o: int, eps: float) -> np.ndarray:
    """The Jacobian (input elements, output elements) by central differences."""
    x = inputs[i].detach().numpy().copy()
    rows = []
    with no_grad():
        for place in np.ndindex(x.shape):
            sides = []
            for sign in (1.0, -1.0):
                moved = x.copy()
                moved[place] += sign * eps
                given = [tensor(moved) if j == i else v for j, v in enumerate(inputs)]
                y = _tuple(function(*given))[o]
                sides.append(y.detach().numpy().astype(np.float64).ravel().copy())
            rows.append((sides[0] - sides[1]) / (2 * eps))
    return np.array(rows).reshape(x.size, -1) if rows else np.zeros((0, 0))


def _analytic(function: Callable, inputs: Sequence, i: int, o: int, shape: tuple) -> np.ndarray:
    y = _tuple(function(*inputs))[o]
    columns = []
    for place in range(shape[1]):
        cotangent = np.zeros(shape[1])
        cotangent[place] = 1.0
        g = tensor(cotangent.reshape(tuple(y.shape)), dtype=y.dtype)
        found = grad(y, inputs[i], g, retain_graph=True, allow_unused=True)[0]
        column = np.zeros(shape[0]) if found is None else found.numpy().astype(np.float64).ravel()
        columns.append(column.copy())
    return np.array(columns).T.reshape(shape)


def gradgradcheck(
    function: Callable,
    inputs: Any,
    grad_outputs: Any = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """`gradcheck` of the gradient itself: second derivatives against finite differences."""
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    outputs = [y for y in _tuple(function(*inputs)) if y._requires_grad]
    rng = np.random.default_rng(0)
    if grad_outputs is None:
        cotangents = [
            tensor(rng.standard_normal(tuple(y.shape)), dtype=y.dtype).requires_grad_()
            for y in outputs
        ]
    else:
        cotangents = list(_tuple(grad_outputs))
    places = [i for i, x in enumerate(inputs) if isinstance(x, Array) and x._requires_grad]

    def first(*given: Any) -> tuple:
        own = [_leaf(x) if j in places else x for j, x in enumerate(given[: len(inputs)])]
        made = [y for y in _tuple(function(*own)) if y._requires_grad]
        found = grad(
            made, [own[i] for i in places], list(given[len(inputs) :]), create_graph=True,
            allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        return found

    return _checked_with_grad(first, (*inputs, *cotangents), eps, atol, rtol, raise_exception)


def _leaf(x: Any) -> Any:
    """x, or a leaf in its place where finite differences have put a plain tensor."""
    return x if x._requires_grad else x.detach().requires_grad_()


def _checked_with_grad(function, inputs, eps, atol, rtol, raise_exception) -> bool:
    """gradcheck for a function that differentiates inside, which no_grad would forbid."""

    def inside(*given: Any) -> tuple:
        with enable_grad():
            return function(*given)

    return gradcheck(inside, inputs, eps, atol, rtol, raise_exception)
