"""Reads with a sparse gradient: of the rows of a table, and of elements along a dimension.

Called by ops/embedding.py where `sparse=True`, and by `gather(sparse_grad=True)`, where a gradient
is recorded.
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


class sparse_gather(Function):
    """y[.., i, ..] = x[.., index[.., i, ..], ..] along dim; the gradient of x is sparse."""

    @staticmethod
    def forward(ctx: Any, x: Any, dim: int, index: Any) -> Any:
        ctx.save_for_backward(index)
        ctx.save_for_forward(index)
        ctx.size, ctx.dim = tuple(x.shape), dim
        return lucid.gather(x, dim, index)

    @staticmethod
    def backward(ctx: Any, g: Any) -> tuple[None | SparseTensor, None, None]:
        (index,) = ctx.saved_tensors
        shape = tuple(index.shape)
        places = []
        for d, n in enumerate(shape):
            at = lucid.arange(n).reshape((n, *(1,) * (len(shape) - d - 1)))
            at = index.to(lucid.int64) if d == ctx.dim else at.expand(shape)
            places.append(at.reshape(-1))
        at = lucid.stack(places)
        return build(at, g.reshape(-1), ctx.size, g.numel() < 2), None, None

    @staticmethod
    def jvp(ctx: Any, x: Any, dim: Any, index: Any) -> Any:
        return lucid.gather(x, ctx.dim, ctx.saved_tensors[0])


def gather(x: Any, dim: int, index: Any) -> Any:
    """`lucid.gather(x, dim, index)` with a sparse gradient."""
    _refuse_in_programs("gather with sparse_grad=True", "sparse_grad=False")
    return sparse_gather.apply(x, dim, index)


def _refuse_in_programs(what: str, instead: str) -> None:
    if (tracer := program()) is not None:
        tracer.refuse(what, f"use {instead}, or call it outside of what is compiled")


def _check(name: str, by_frequency: bool) -> None:
    if by_frequency:
        raise RuntimeError(f"{name}: scale_grad_by_freq does not go with sparse gradients")
    _refuse_in_programs(f"{name} with sparse=True", "sparse=False")


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
