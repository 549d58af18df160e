"""Clipping of gradients. Called by users' training loops between backward and step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import lucid


def get_total_norm(
    tensors: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> lucid.Tensor:
    """The p-norm of all elements of all `tensors` as one vector; inf gives the largest |x|.

    `foreach` chooses between loops in PyTorch; here both values give the same result. Sparse
    tensors may be among them.
    """
    tensors = [tensors] if isinstance(tensors, lucid.Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return lucid.tensor(0.0)
    with lucid.no_grad():
        norms = lucid.stack([_norm(t, norm_type) for t in tensors])
        total = norms[0] if len(tensors) == 1 else _norm(norms, norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            "so it cannot be clipped. To disable this error and scale the gradients by the "
            "non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Any, max_norm: float, total_norm: lucid.Tensor, foreach: bool | None = None
) -> None:
    """Multiply the gradients by min(1, max_norm / (total_norm + 1e-6))."""
    with lucid.no_grad():
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for grad in _grads(parameters):
            grad.mul_(factor)  # also when 1: no value is waited for


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> lucid.Tensor:
    """Scale the gradients so that their norm, as one vector, is at most `max_norm`.

    Returns the norm before. Parameters without gradient are skipped.
    (Pascanu, Mikolov and Bengio, 2013)

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.zeros(2))
    >>> p.grad = lucid.tensor([3.0, 4.0])
    >>> lucid.nn.utils.clip_grad_norm_([p], 1.0).item()
    5.0
    """
    parameters = _listed(parameters)
    with lucid.no_grad():
        total = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> lucid.Tensor:
    """`clip_grad_norm_` under its older name, which warns."""
    warnings.warn(
        "`clip_grad_norm` is deprecated, use `clip_grad_norm_`", FutureWarning, stacklevel=2
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Clamp each element of the gradients to [-clip_value, clip_value]."""
    bound = float(clip_value)
    with lucid.no_grad():
        for grad in _grads(parameters):
            grad.clamp_(min=-bound, max=bound)


def _listed(parameters: Any) -> list[lucid.Tensor]:
    return [parameters] if isinstance(parameters, lucid.Tensor) else list(parameters)


def _grads(parameters: Iterable[lucid.Tensor] | lucid.Tensor) -> list[lucid.Tensor]:
    return [p.grad for p in _listed(parameters) if p.grad is not None]


def _norm(x: lucid.Tensor, p: float) -> lucid.Tensor:
    if x.is_sparse:
        stored = x.coalesce().values()
        if p == -math.inf and stored.numel() < x.numel():
            return stored.new_zeros(())
        x = stored if stored.numel() else stored.new_zeros(1)
    return lucid.norm(x, p)
