"""`backward`, `grad` and the hooks of tensors: the front of engine.py."""

import weakref
from collections.abc import Sequence
from typing import Any

from lucid.apply import current_node
from lucid.autograd import engine
from lucid.autograd.node import Handle
from lucid.error import BackwardError
from lucid.lazy import lazy
from lucid.ops.cast import to_dtype
from lucid.ops.creation import ones, zeros
from lucid.tensor import Tensor
from lucid.tracing import altered
from lucid.write import needs_gradient

_level = lazy("lucid.autograd.level")


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
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for x in (*roots, *([inputs] if isinstance(inputs, Tensor) else inputs or ())):
        if isinstance(x, Tensor):
            _outside("backward", x)
    cotangents = _cotangents("backward", roots, grad_tensors)
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        engine.run(roots, cotangents, None, keep, create_graph)
        return
    targets = _targets("backward", inputs)
    if not targets:
        raise RuntimeError("backward: inputs is empty; leave it out to reach all leaves")
    engine.run(roots, cotangents, targets, keep, create_graph, True)


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
    materialize_grads (then zeros). With is_grads_batched, grad_outputs have one more dimension in
    front and so have the results: one pass, mapped as by vmap, for as many cotangents.

    >>> import lucid
    >>> x = lucid.tensor(3.0, requires_grad=True)
    >>> lucid.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    targets = _targets("grad", inputs)
    batch = _batch_of(roots, grad_outputs) if is_grads_batched else ()
    cotangents = _cotangents("grad", roots, grad_outputs, batch)
    keep = create_graph if retain_graph is None else retain_graph
    found: list[Any]
    if batch or any([x._value is not None for x in (*roots, *cotangents, *targets)]):
        found = _level.pull(roots, cotangents, targets, batch, keep, create_graph)
    else:
        found = engine.run(roots, cotangents, targets, keep, create_graph) or []
    for i, g in enumerate(found):
        if g is None:
            if materialize_grads:
                found[i] = zeros((*batch, *targets[i].shape), dtype=targets[i].dtype)
            elif not allow_unused:
                raise RuntimeError(
                    f"grad: the outputs do not depend on input {i}; pass allow_unused=True to "
                    "get None for it"
                )
    return tuple(found)


def _batch_of(roots: Sequence[Any], cotangents: Any) -> tuple[int, ...]:
    """The first dimension that all cotangents have, as a tuple."""
    given = [cotangents] if isinstance(cotangents, Tensor) else list(cotangents or ())
    sizes = {g._layout.shape[:1] for g in given if g is not None}
    if len(sizes) != 1 or () in sizes or len(given) != len(roots) or None in given:
        raise RuntimeError(
            "grad: with is_grads_batched every output needs a cotangent with a first dimension of "
            f"one size; got shapes {[g if g is None else g._layout.shape for g in given]}"
        )
    return sizes.pop()


def _targets(name: str, inputs: Any) -> list[Any]:
    targets = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, t in enumerate(targets):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}: input {i} is a {type(t).__name__}, not a tensor")
        if not needs_gradient(t):
            raise RuntimeError(f"{name}: input {i} does not require a gradient")
    return targets


def _outside(name: str, x: Any) -> None:
    if x._value is not None:
        raise NotImplementedError(
            f"{name}: .grad belongs to tensors outside of a function that is traced, or mapped by "
            "vmap; take gradients inside by lucid.func.grad or autograd.grad"
        )


def _cotangents(name: str, roots: Sequence[Any], given: Any, batch: tuple = ()) -> list[Any]:
    """One cotangent for each root: given ones are checked, scalars default to 1."""
    if given is None or isinstance(given, Tensor):
        given = [given] * len(roots)
    given = list(given)
    if len(given) != len(roots):
        raise RuntimeError(f"{name}: {len(roots)} outputs and {len(given)} cotangents")
    result = []
    for root, g in zip(roots, given, strict=True):
        if not isinstance(root, Tensor):
            raise TypeError(f"{name}: an output is a {type(root).__name__}, not a tensor")
        if not needs_gradient(root):
            at = f" at {root._origin}" if root._origin else ""
            raise BackwardError(
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
        elif not isinstance(g, Tensor):
            raise TypeError(f"{name}: a cotangent is a {type(g).__name__}, not a tensor")
        elif tuple(g.shape) != (*batch, *root.shape):
            raise RuntimeError(
                f"{name}: a cotangent of shape {tuple(g.shape)} for an output of shape "
                f"{tuple(root.shape)}"
            )
        result.append(to_dtype(g, root.dtype))
    return result


def retain_grad(x: Any) -> None:
    """Keep a non-leaf's gradient in its `.grad`."""
    altered(x, "retain_grad() is called")
    node = current_node(x)
    if node is None:
        if not x.requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        return
    if node.retain is None:
        node.retain = {}
    node.retain[x._nr] = weakref.ref(x)


def register_hook(x: Any, hook: Any) -> Handle:
    """Call hook(grad) once x's gradient is complete; a result replaces the gradient."""
    altered(x, "register_hook() is called")
    if not needs_gradient(x):
        raise RuntimeError("register_hook: this tensor does not require a gradient")
    node = current_node(x)
    if node is None:
        if x._hooks is None:
            x._hooks = {}
        return Handle(x._hooks, hook)
    if node.pre_hooks is None:
        node.pre_hooks = {}
    return Handle(node.pre_hooks.setdefault(x._nr, {}), hook)


def register_post_accumulate_grad_hook(x: Any, hook: Any) -> Handle:
    """Call hook(x) after a backward pass has added to the leaf's `.grad`."""
    name = "register_post_accumulate_grad_hook"
    altered(x, f"{name}() is called")
    if not needs_gradient(x):
        raise RuntimeError(f"{name}: this tensor does not require a gradient")
    if current_node(x) is not None:
        raise RuntimeError(f"{name}: gradients accumulate in leaves only; use register_hook here")
    return Handle(x.__dict__.setdefault("_post_hooks", {}), hook)
