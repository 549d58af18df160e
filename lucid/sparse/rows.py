"""Rows of a table with a sparse gradient: the places that were read, and what they are given.

Called by ops/embedding.py where `sparse=True` and a gradient is recorded.
"""

from typing import Any

import lucid
from lucid.autograd.function import Function
from lucid.ops.gather import put_zeros, take
from lucid.sparse import make as make  # gives SparseTensor its methods
from lucid.sparse.tensor import SparseTensor, build
from lucid.tracing import program


class sparse_embedding(Function):
    """y[n] = weight[indices[n]]; the gradient of the weight is a sparse tensor of n rows."""

    @staticmethod
    def forward(ctx: Any, weight: Any, indices: Any, skipped: int | None) -> Any:
        ctx.save_for_backward(indices)
        ctx.save_for_forward(indices)
        ctx.size, ctx.skipped = tuple(weight.shape), skipped
        return take(weight, [indices], 0)

    @staticmethod
    def backward(ctx: Any, g: Any) -> tuple[SparseTensor, None, None]:
        (indices,) = ctx.saved_tensors
        indices = indices.to(lucid.int64)
        if ctx.skipped is not None:
            (left,) = lucid.nonzero(indices != ctx.skipped, as_tuple=True)
            indices, g = indices[left], g[left]
        indices = lucid.where(indices < 0, indices + ctx.size[0], indices)
        return build(indices.unsqueeze(0), g, ctx.size, len(indices) < 2), None, None

    @staticmethod
    def jvp(ctx: Any, weight: Any, indices: Any, skipped: Any) -> Any:
        return take(weight, list(ctx.saved_tensors), 0)


def _check(name: str, by_frequency: bool) -> None:
    if by_frequency:
        raise RuntimeError(f"{name}: scale_grad_by_freq does not go with sparse gradients")
    if (tracer := program()) is not None:
        tracer.refuse(
            f"{name} with sparse=True", "use sparse=False, or call it outside of what is compiled"
        )


def embedding(indices: Any, weight: Any, skipped: int | None, by_frequency: bool) -> Any:
    """The rows of weight (V, D) at indices (...) -> (..., D)."""
    _check("embedding", by_frequency)
    made = sparse_embedding.apply(weight, indices.reshape(-1), skipped)
    return made.reshape(*indices.shape, weight.shape[1])


def embedding_bag(
    indices: Any,
    weight: Any,
    bags: Any,
    count: int,
    mode: str,
    factor: Any,
    skipped: int | None,
    by_frequency: bool,
) -> Any:
    """The sum or mean of the rows at indices (N,) in each of `count` bags, bags (N,) -> (count, D).

    factor: (N,), None for ones.
    """
    _check("embedding_bag", by_frequency)
    if mode == "max":
        raise ValueError("embedding_bag: mode='max' does not go with sparse gradients")
    if skipped is not None:
        (left,) = lucid.nonzero(indices != skipped, as_tuple=True)
        indices, bags = indices[left], bags[left]
        factor = None if factor is None else factor[left]
    made = sparse_embedding.apply(weight, indices, None)
    if mode == "mean":
        sizes = put_zeros(lucid.ones(len(bags), dtype=weight.dtype), [bags], (count,), 0)
        factor = take(1.0 / sizes.clamp(min=1), [bags], 0)
    if factor is not None:
        made = made * factor.unsqueeze(1)
    return put_zeros(made, [bags], (count, weight.shape[1]), 0)
