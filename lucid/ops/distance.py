"""Distances and similarities between vectors, and the bilinear form.

Called by lucid.nn.functional and by the losses of loss_margin.py.
"""

from typing import Any

import numpy as np

from lucid.dtypes import int64
from lucid.layout import broadcast_shapes
from lucid.op import normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.contract import matmul
from lucid.ops.creation import tensor
from lucid.ops.gather import take
from lucid.ops.reduce import sum_
from lucid.ops.shape import broadcast_to
from lucid.ops.statistics import norm
from lucid.ops.view import permute, reshape


def cosine_similarity(x1, x2, dim: int = 1, eps: float = 1e-8):
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`; shapes broadcast.

    >>> import lucid
    >>> F = lucid.nn.functional
    >>> F.cosine_similarity(lucid.tensor([[1.0, 0.0]]), lucid.tensor([[3.0, 4.0]]))
    tensor([0.6000])
    """
    shape = broadcast_shapes("cosine_similarity", tuple(x1.shape), tuple(x2.shape))
    d = normal_dim("cosine_similarity", dim, len(shape))
    x1, x2 = broadcast_to(x1, shape), broadcast_to(x2, shape)
    unit1 = x1 / norm(x1, 2, d, True).clamp(min=eps)
    unit2 = x2 / norm(x2, 2, d, True).clamp(min=eps)
    return sum_(unit1 * unit2, (d,) if shape else (), False)


def pairwise_distance(x1, x2, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
    """The p-norm of x1 - x2 + eps over the last dimension; shapes broadcast.

    >>> import lucid
    >>> F = lucid.nn.functional
    >>> F.pairwise_distance(lucid.tensor([[3.0, 4.0]]), lucid.zeros(1, 2))
    tensor([5.0000])
    """
    return norm(x1 - x2 + eps, p, -1, keepdim)


def pdist(input, p: float = 2.0):
    """The p-norms of the differences of all pairs of rows of x (N, M): (N (N - 1) / 2,).

    >>> import lucid
    >>> lucid.nn.functional.pdist(lucid.tensor([[0.0], [1.0], [3.0]]))
    tensor([1., 3., 2.])
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist: a matrix is needed, got shape {tuple(input.shape)}")
    if p < 0:
        raise RuntimeError(f"pdist: p is {p}; it must not be negative")
    first, second = np.triu_indices(input.shape[0], 1)
    a = take(input, [tensor(first, dtype=int64)], 0)
    b = take(input, [tensor(second, dtype=int64)], 0)
    return norm(a - b, p, 1)


def bilinear(input1, input2, weight, bias=None):
    """y[k] = x1 weight[k] x2 + bias[k]: x1 (..., I), x2 (..., J), weight (K, I, J).

    >>> import lucid
    >>> x = lucid.ones(1, 2)
    >>> lucid.nn.functional.bilinear(x, x, lucid.ones(3, 2, 2)).tolist()
    [[4.0, 4.0, 4.0]]
    """
    lead = tuple(input1.shape[:-1])
    if lead != tuple(input2.shape[:-1]):
        raise RuntimeError(
            f"bilinear: inputs {tuple(input1.shape)} and {tuple(input2.shape)} differ in more "
            "than the last dimension"
        )
    outputs, n1, n2 = tuple(weight.shape)
    if (input1.shape[-1], input2.shape[-1]) != (n1, n2):
        raise RuntimeError(
            f"bilinear: last dimensions {input1.shape[-1]} and {input2.shape[-1]} for a weight of "
            f"shape {tuple(weight.shape)}"
        )
    rows = 1
    for n in lead:
        rows *= n
    flat1, flat2 = reshape(input1, (rows, n1)), reshape(input2, (rows, 1, n2))
    by_input = reshape(permute(weight, (1, 0, 2)), (n1, outputs * n2))
    half = reshape(matmul(flat1, by_input), (rows, outputs, n2))
    y = to_dtype(sum_(half * flat2, (2,), False), half.dtype)  # integers: not int64
    y = reshape(y, (*lead, outputs))
    return y if bias is None else y + bias


def distance_check(name: str, *xs: Any) -> None:
    """All of the same number of dimensions."""
    if len({x.ndim for x in xs}) != 1:
        shapes = ", ".join(str(tuple(x.shape)) for x in xs)
        raise RuntimeError(f"{name}: inputs of shapes {shapes} differ in their dimensions")
