"""Products of sparse matrices with dense ones, and sums.

Called by users and, for `@`, `lucid.mm` and their like, by tensor.py. Each product gathers rows of
the dense matrix and adds them up where they belong: two native kernels, and two in each gradient.
"""

from collections.abc import Sequence
from typing import Any

import lucid
from lucid.ops.gather import put_zeros, take
from lucid.sparse.tensor import ANSWERS, SparseTensor, build, refuse_the_rest


def mm(mat1: Any, mat2: Any) -> lucid.Tensor:
    """The product of a sparse matrix (M, K) and a dense one (K, N) or vector (K), or the reverse;
    or of two sparse matrices, which is sparse, in compressed rows where both are.

    y[i] = sum over the stored (i, k) of value * other[k]. Gradients flow to the values and to the
    dense matrix.

    >>> import lucid
    >>> a = lucid.sparse_coo_tensor([[0, 1], [1, 0]], [2.0, 3.0])
    >>> lucid.sparse.mm(a, lucid.eye(2))
    tensor([[0., 2.],
            [3., 0.]])
    """
    sparse = [isinstance(x, SparseTensor) for x in (mat1, mat2)]
    if sparse == [True, True]:
        return _sparse_product(mat1, mat2)
    if not any(sparse):
        raise TypeError("sparse.mm: neither matrix is sparse")
    if sparse[1]:
        return _product(mat2.t(), mat1.t() if mat1.ndim == 2 else mat1, reverse=True)
    return _product(mat1, mat2)


spmm = mm


def _product(a: SparseTensor, x: Any, reverse: bool = False) -> Any:
    shapes = [tuple(a.shape), tuple(x.shape)]
    if a.ndim != 2 or a.dense_dim() or x.ndim not in (1, 2) or a.shape[1] != x.shape[0]:
        if reverse:
            shapes = [shape[::-1] for shape in reversed(shapes)]
        raise RuntimeError(
            f"sparse.mm: shapes {shapes[0]} and {shapes[1]} do not fit: a sparse matrix (M, K) and "
            "a dense (K, N) or (K) are expected"
        )
    if a.dtype is not x.dtype:
        raise RuntimeError(f"sparse.mm: dtypes {a.dtype!r} and {x.dtype!r} differ")
    rows, columns = a._at.unbind(0)
    values = a._numbers if x.ndim == 1 else a._numbers.unsqueeze(1)
    terms = take(x, [columns], 0) * values
    y = put_zeros(terms, [rows], (int(a.shape[0]), *x.shape[1:]), 0)
    return y.t() if reverse and y.ndim == 2 else y


def _sparse_product(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """Each stored (i, k) of a meets the row k of b, whose values lie side by side."""
    if a.ndim != 2 or b.ndim != 2 or a.dense_dim() or b.dense_dim() or a.shape[1] != b.shape[0]:
        raise RuntimeError(
            f"sparse.mm: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit: sparse matrices "
            "(M, K) and (K, N) are expected"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(f"sparse.mm: dtypes {a.dtype!r} and {b.dtype!r} differ")
    rows: Any = b.to_sparse_csr()
    crow = rows.crow_indices()
    counts = crow[1:] - crow[:-1]
    (i, k), each = a._at.unbind(0), take(counts, [a._at[1]], 0)
    left = lucid.repeat_interleave(lucid.arange(a._nnz()), each)  # which value of a
    before = take(each.cumsum(0) - each, [left], 0)
    right = take(crow, [take(k, [left], 0)], 0) + lucid.arange(len(left)) - before  # of b
    values = take(a._numbers, [left], 0) * take(rows._numbers, [right], 0)
    places = lucid.stack([take(i, [left], 0), take(rows._at[1], [right], 0)])
    made = build(places, values, (int(a.shape[0]), int(b.shape[1])), False).coalesce()
    return made.to_sparse(layout=a.layout) if a.layout == b.layout else made


def addmm(mat: Any, mat1: Any, mat2: Any, *, beta: float = 1.0, alpha: float = 1.0) -> Any:
    """beta mat + alpha (mat1 @ mat2), where mat1 is sparse.

    >>> import lucid
    >>> a = lucid.sparse_coo_tensor([[0], [0]], [2.0])
    >>> lucid.sparse.addmm(lucid.ones(1, 1), a, lucid.ones(1, 1), alpha=3).item()
    7.0
    """
    return mat * beta + mm(mat1, mat2) * alpha


def sum(input: SparseTensor, dim: int | Sequence[int] | None = None, dtype: Any = None) -> Any:
    """The sum of all elements, or over dimensions: sparse as long as a sparse one is left.

    >>> import lucid
    >>> x = lucid.sparse_coo_tensor([[0, 1], [1, 1]], [2.0, 3.0])
    >>> lucid.sparse.sum(x).item(), lucid.sparse.sum(x, 0).to_dense()
    (5.0, tensor([0., 5.]))
    """
    if not isinstance(input, SparseTensor):
        raise TypeError(f"sparse.sum: expected a sparse tensor, got {type(input).__name__}")
    values = input._numbers if dtype is None else input._numbers.to(dtype)
    if dim is None:
        return values.sum()
    given = [dim] if isinstance(dim, int) else list(dim)
    if any(not -input.ndim <= d < input.ndim for d in given):
        raise IndexError(f"sparse.sum: dim={dim} of a tensor with {input.ndim} dimensions")
    dims = {d % input.ndim for d in given}
    n = input.sparse_dim()
    inner = [d - n + 1 for d in dims if d >= n]
    if inner:
        values = values.sum(inner)
    left = [d for d in range(n) if d not in dims]
    if not left:
        return values.sum(0)
    size = [int(m) for d, m in enumerate(input.shape) if d not in dims]
    if len(left) == n:
        return build(input._at, values, tuple(size), input._coalesced)
    return build(input._at[left], values, tuple(size), False).coalesce()


def _matmul(inputs: Any, params: tuple) -> Any:
    """`lucid.mm`, `matmul` and `@` with a sparse matrix, as long as it is one."""
    return mm(*inputs) if all(x.ndim == 2 for x in inputs) else None


def _method(self: SparseTensor, other: Any) -> Any:
    return mm(self, other)


def _reversed(self: SparseTensor, other: Any) -> Any:
    return mm(other, self)


ANSWERS["product"] = _matmul
for _name in ("mm", "matmul", "mv", "spmm", "__matmul__"):
    setattr(SparseTensor, _name, _method)
SparseTensor.__rmatmul__ = _reversed  # type: ignore[method-assign, assignment]
SparseTensor.sum = sum  # type: ignore[method-assign, assignment]
refuse_the_rest()
