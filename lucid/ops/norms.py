"""Norms of vectors and matrices, condition numbers, ranks: part of `lucid.linalg`."""

import math
from typing import Any

import numpy as np

from lucid.dtypes import int64
from lucid.op import normal_dim
from lucid.ops import statistics
from lucid.ops.cast import to_dtype
from lucid.ops.creation import as_tensor, tensor, zeros
from lucid.ops.elementwise import where
from lucid.ops.factor import inv_, mirrored, svdvals_
from lucid.ops.reduce import sum_
from lucid.ops.shape import movedim


def vector_norm(x, ord=2, dim=None, keepdim: bool = False, *, dtype=None):
    """(sum |x|^ord)^(1/ord) over `dim`, all elements by default; ord may be 0, inf, -inf.

    >>> import lucid
    >>> lucid.linalg.vector_norm(lucid.tensor([3.0, 4.0]))
    tensor(5.)
    """
    return statistics.norm(x, ord, dim, keepdim, dtype)


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim: bool = False, *, dtype=None):
    """A norm of matrices: "fro", "nuc" (the sum of singular values), 2 and -2 (the largest and
    smallest of them), 1, -1 (columns), inf, -inf (rows).

    >>> import lucid
    >>> lucid.linalg.matrix_norm(lucid.eye(2), "nuc")
    tensor(2.)
    """
    A = A if dtype is None else to_dtype(A, dtype)
    if len(dim) != 2 or A.ndim < 2:
        raise RuntimeError(f"linalg.matrix_norm: two dimensions are needed, got {dim}")
    a, b = (normal_dim("linalg.matrix_norm", d, A.ndim) for d in dim)
    if a == b:
        raise RuntimeError("linalg.matrix_norm: the two dimensions are the same")
    if ord == "fro":
        return vector_norm(A, 2, (a, b), keepdim)
    if ord in ("nuc", 2, -2):
        s = svdvals_(movedim(A, (a, b), (-2, -1)))
        made = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
        return _kept(made, a, b) if keepdim else made
    if ord not in (1, -1, math.inf, -math.inf):
        raise RuntimeError(f"linalg.matrix_norm: ord {ord!r} is not known")
    along, other = (a, b) if abs(ord) == 1 else (b, a)
    sums = A.abs().sum(along, True)
    made = sums.amax(other, True) if ord > 0 else sums.amin(other, True)
    return made if keepdim else made.squeeze(max(a, b)).squeeze(min(a, b))


def _kept(y: Any, a: int, b: int) -> Any:
    return y.unsqueeze(min(a, b)).unsqueeze(max(a, b))


def norm(A, ord=None, dim=None, keepdim: bool = False, *, dtype=None):
    """A vector norm, or a matrix norm where `dim` names two dimensions (or none and A is a matrix
    and ord is given). By default the root of the sum of squares.

    >>> import lucid
    >>> lucid.linalg.norm(lucid.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if A.ndim == 2:
            return matrix_norm(A, ord, (0, 1), keepdim, dtype=dtype)
        if A.ndim == 1:
            return vector_norm(A, ord, None, keepdim, dtype=dtype)
        raise RuntimeError(f"linalg.norm: ord needs dim for {A.ndim} dimensions")
    if isinstance(dim, int) or len(dim) == 1:
        return vector_norm(A, ord, dim, keepdim, dtype=dtype)
    return matrix_norm(A, ord, dim, keepdim, dtype=dtype)


def cond(A, p=None):
    """The condition number: the norm of A times that of its inverse; by default by singular
    values.

    >>> import lucid
    >>> lucid.linalg.cond(lucid.tensor([[1.0, 0.0], [0.0, 4.0]]))
    tensor(4.)
    """
    if p in (None, 2, -2):
        s = svdvals_(A)
        return s[..., 0] / s[..., -1] if p != -2 else s[..., -1] / s[..., 0]
    return matrix_norm(A, p) * matrix_norm(inv_(A), p)


def matrix_rank(A, tol=None, *, atol=None, rtol=None, hermitian: bool = False):
    """How many singular values exceed max(atol, rtol times the largest); both may be tensors, a
    number for each matrix. hermitian: of the lower triangle and its mirror image.

    >>> import lucid
    >>> lucid.linalg.matrix_rank(lucid.ones(3, 3))
    tensor(1)
    """
    A = A.detach()
    s = svdvals_(mirrored(A) if hermitian else A)
    if s.shape[-1] == 0:
        return zeros(tuple(s.shape[:-1]), dtype=int64)
    atol = atol if tol is None else tol
    atol, rtol = (t if t is None else to_dtype(as_tensor(t), s.dtype) for t in (atol, rtol))
    if tol is None and rtol is None:
        rtol = tensor(max(A.shape[-2:]) * float(np.finfo(A.dtype.numpy).eps), dtype=s.dtype)
        rtol = rtol if atol is None else where(atol > 0, 0.0, rtol)
    limit = s[..., 0] * (0.0 if rtol is None else rtol)
    limit = limit if atol is None else atol.maximum(limit)
    return sum_(s > limit.unsqueeze(-1), (s.ndim - 1,), False)
