"""`backward`, `grad` and the hooks of tensors: the front of backward.py."""

import weakref
from collections.abc import Sequence
from typing import Any

from lucid.apply import current_node
from lucid.array import Array
from lucid.autograd import backward as engine
from lucid.autograd.node import Handle
from lucid.ops.creation import ones


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves (or of `inputs` only).

    >>> import lucid
    >>> x = lucid.tensor(3.0, requires_grad=True)
    >>> lucid.autograd.backward(x * x)
    >>> x.grad
    tensor(6.)
    """
    roots = [tensors] if isinstance(tensors, Array) else list(tensors)
    cotangents = _cotangents("backward", roots, grad_tensors)
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        engine.run(roots, cotangents, None, keep, create_graph)
        return
    targets = [inputs] if isinstance(inputs, Array) else list(inputs)
    found = engine.run(roots, cotangents, targets, keep, create_graph)
    for t, g in zip(targets, found or (), strict=True):
        if g is not None:
            engine._accumulate(t, g, create_graph)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of `outputs` with respect to `inputs`; no `.grad` is touched.

    An input that the outputs do not depend on raises unless allow_unused (then None) or
    materialize_grads (then zeros).

    >>> import lucid
    >>> x = lucid.tensor(3.0, requires_grad=True)
    >>> lucid.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    if is_grads_batched:
        raise NotImplementedError("grad: is_grads_batched needs vmap, which is not built yet")
    roots = [outputs] if isinstance(outputs, Array) else list(outputs)
    targets = [inputs] if isinstance(inputs, Array) else list(inputs)
    for i, t in enumerate(targets):
        if not t._requires_grad:
            raise RuntimeError(f"grad: input {i} does not require a gradient")
    cotangents = _cotangents("grad", roots, grad_outputs)
    keep = create_graph if retain_graph is None else retain_graph
    found = engine.run(roots, cotangents, targets, keep, create_graph) or []
    for i, g in enumerate(found):
        if g is None:
            if materialize_grads:
                found[i] = ones(targets[i].shape, dtype=targets[i].dtype) * 0
            elif not allow_unused:
                raise RuntimeError(
                    f"grad: the outputs do not depend on input {i}; pass allow_unused=True to "
                    "get None for it"
                )
    return tuple(found)


def _cotangents(name: str, roots: Sequence[Any], given: Any) -> list[Any]:
    """One cotangent for each root: given ones are checked, scalars default to 1."""
    if given is None or isinstance(given, Array):
        given = [given] * len(roots)
    given = list(given)
    if len(given) != len(roots):
        raise RuntimeError(f"{name}: {len(roots)} outputs and {len(given)} cotangents")
    result = []
    for root, g in zip(roots, given, strict=True):
        if not root._requires_grad and current_node(root) is None:
            at = f" at {root._origin}" if root._origin else ""
            raise RuntimeError(
                f"{name}: the tensor does not require a gradient and has no grad_fn: it was made "
                f"from tensors that require none, or under no_grad{at}"
            )
        if g is None:
            if root.numel() != 1:
                raise RuntimeError(
                    f"{name}: a gradient can be implied for one element only; this output has "
                    f"shape {tuple(root.shape)}: pass the cotangent"
                )
            g = ones(root.shape, dtype=root.dtype)
        elif tuple(g.shape) != tuple(root.shape):
            raise RuntimeError(
                f"{name}: a cotangent of shape {tuple(g.shape)} for an output of shape "
                f"{tuple(root.shape)}"
            )
        result.append(g)
    return result


def retain_grad(x: Any) -> None:
    """Keep a non-leaf's gradient in its `.grad`."""
    node = current_node(x)
    if node is None:
        if not x._requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        return
    if node.retain is None:
        node.retain = {}
    node.retain[x._nr] = weakref.ref(x)


def register_hook(x: Any, hook: Any) -> Handle:
    """Call hook(grad) once x's gradient is complete; a result replaces the gradient."""
    if not x._requires_grad:
        raise RuntimeError("register_hook: this tensor does not require a gradient")
    node = current_node(x)
    if node is None:
        if x._hooks is None:
            x._hooks = []
        hooks = x._hooks
    else:
        if node.pre_hooks is None:
            node.pre_hooks = {}
        hooks = node.pre_hooks.setdefault(x._nr, [])
    hooks.append(hook)
    return Handle(hooks, hook)
