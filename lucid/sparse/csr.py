"""Compressed rows: the columns and values of a matrix row by row, and where each row begins.

Called by users as `lucid.sparse_csr_tensor` and `Tensor.to_sparse_csr`. A matrix in this form
computes as one in coordinates, whose places it keeps.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import lucid
from lucid.dtypes import INTEGER
from lucid.sparse.tensor import SparseTensor, build, described, refuse


class CSRTensor(SparseTensor):
    """A sparse matrix (M, N) in compressed rows: row i has values[crow[i] : crow[i + 1]], in the
    columns of the same numbers.

    Made by `sparse_csr_tensor` and `to_sparse_csr`. Products, gradients and arithmetic are those
    of sparse tensors; `t()` and products with its like give coordinate form.

    >>> import lucid
    >>> x = lucid.tensor([[0.0, 3.0], [4.0, 0.0]]).to_sparse_csr()
    >>> x
    tensor(crow_indices=tensor([0, 1, 2]),
           col_indices=tensor([1, 0]),
           values=tensor([3., 4.]),
           size=(2, 2), nnz=2, layout=sparse_csr)
    >>> x @ lucid.ones(2)
    tensor([3., 4.])
    """

    _crow: Any  # (M + 1,) int64

    is_sparse: ClassVar[bool] = False  # type: ignore[misc]
    is_sparse_csr: ClassVar[bool] = True  # type: ignore[assignment, misc]
    layout: ClassVar[str] = "sparse_csr"  # type: ignore[misc]

    def crow_indices(self) -> lucid.Tensor:
        """Where each row begins among the values, and the end: (M + 1,)."""
        return self._crow

    def col_indices(self) -> lucid.Tensor:
        """The column of each value, (nnz,)."""
        return self._at[1]

    def values(self) -> lucid.Tensor:
        """The values, (nnz,), row by row."""
        return self._numbers

    def indices(self) -> lucid.Tensor:
        """Raises: this form has `crow_indices` and `col_indices`."""
        raise RuntimeError("indices: a CSR matrix has crow_indices() and col_indices()")

    _indices = indices

    def mapped(self, values: Any) -> "CSRTensor":
        """These places with other values."""
        return _built(self._crow, self._at, values, tuple(self.shape), self._coalesced)

    def to_sparse(self, sparse_dim: int | None = None, *, layout: Any = None) -> SparseTensor:
        """The same matrix in coordinate form, or in the form of the given layout."""
        if layout == "sparse_csr":
            return self
        super().to_sparse(sparse_dim, layout=layout)  # refuses what it cannot make
        return self._in_coordinates()

    def to_sparse_csr(self) -> "CSRTensor":
        """This matrix."""
        return self

    def coalesce(self) -> SparseTensor:
        """The same matrix in coordinate form with every place once, in order."""
        return self._in_coordinates().coalesce()

    def _in_coordinates(self) -> SparseTensor:
        return build(self._at, self._numbers, tuple(self.shape), self._coalesced)

    def clone(self, memory_format: Any = None) -> "CSRTensor":
        """A copy, with its history."""
        size = tuple(self.shape)
        return _built(
            self._crow.clone(), self._at.clone(), self._numbers.clone(), size, self._coalesced
        )

    def __repr__(self) -> str:  # type: ignore[override]
        parts = {"crow_indices": self._crow, "col_indices": self._at[1], "values": self._numbers}
        return described(self, parts)

    def __reduce_ex__(self, protocol: Any) -> Any:
        crow, col = self._crow, self._at[1].clone()
        values = self._numbers.detach()
        return _restored, (crow, col, values, tuple(self.shape), self.requires_grad)


def sparse_csr_tensor(
    crow_indices: Any,
    col_indices: Any,
    values: Any,
    size: Sequence[int] | None = None,
    *,
    dtype: lucid.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> CSRTensor:
    """The sparse matrix whose row i has values[crow_indices[i] : crow_indices[i + 1]].

    crow_indices: (M + 1,) integers that begin with 0, end with nnz and do not fall; col_indices:
    (nnz,), within N; values: (nnz,), to which gradients flow. size: (M, N), by default M and the
    least N that holds all columns. These are always checked: ValueError says what does not fit.

    >>> import lucid
    >>> x = lucid.sparse_csr_tensor([0, 1, 3], [1, 0, 2], [3.0, 4.0, 5.0])
    >>> x.to_dense()
    tensor([[0., 3., 0.],
            [4., 0., 5.]])
    """
    crow = lucid.as_tensor(crow_indices, device=device)
    col = lucid.as_tensor(col_indices, device=device)
    numbers = lucid.as_tensor(values, dtype=dtype, device=device)
    for name, part in (("crow_indices", crow), ("col_indices", col)):
        if part.dtype.category != INTEGER and part.numel():
            raise TypeError(f"sparse_csr_tensor: {name} are integers, got {part.dtype!r}")
    if crow.ndim != 1 or col.ndim != 1 or numbers.ndim != 1 or crow.numel() == 0:
        refuse(
            f"sparse_csr_tensor of parts of shapes {tuple(crow.shape)}, {tuple(col.shape)} and "
            f"{tuple(numbers.shape)}, of one matrix (M + 1,), (nnz,) and (nnz,),"
        )
    crow, col = crow.to(lucid.int64), col.to(lucid.int64)
    count, rows = int(col.shape[0]), int(crow.shape[0]) - 1
    if numbers.shape[0] != count:
        raise ValueError(f"sparse_csr_tensor: {count} columns and {numbers.shape[0]} values")
    sizes = crow[1:] - crow[:-1]
    if int(crow[0]) or int(crow[-1]) != count or (rows and int(sizes.min()) < 0):
        raise ValueError(
            f"sparse_csr_tensor: crow_indices must begin with 0, not fall, and end with {count}"
        )
    low, high = (int(col.min()), int(col.max())) if count else (0, -1)
    whole = (rows, high + 1) if size is None else tuple(int(n) for n in size)
    if len(whole) != 2 or whole[0] != rows:
        raise ValueError(f"sparse_csr_tensor: size {whole} for {rows} rows")
    if low < 0 or high >= whole[1]:
        raise IndexError(
            f"sparse_csr_tensor: the column {low if low < 0 else high} lies outside of {whole[1]}"
        )
    if requires_grad:
        numbers = numbers.detach().requires_grad_()
    at = lucid.stack([lucid.repeat_interleave(lucid.arange(rows), sizes), col])
    flat = at[0] * whole[1] + at[1]
    return _built(crow, at, numbers, whole, bool((flat[1:] > flat[:-1]).all()))


def _built(crow: Any, at: Any, values: Any, size: tuple, coalesced: bool) -> CSRTensor:
    made = build(at, values, size, coalesced, CSRTensor)
    made._crow = crow  # type: ignore[attr-defined]
    return made  # type: ignore[return-value]


def _restored(crow: Any, col: Any, values: Any, size: tuple, grad: bool) -> CSRTensor:
    return sparse_csr_tensor(crow, col, values, size, requires_grad=grad)


def compressed(x: SparseTensor) -> CSRTensor:
    """A matrix in coordinate form in compressed rows, every place once.

    >>> import lucid
    >>> lucid.sparse_coo_tensor([[1], [0]], [3.0]).to_sparse_csr().crow_indices()
    tensor([0, 0, 1])
    """
    if x.ndim != 2 or x.dense_dim():
        refuse(f"to_sparse_csr of shape {tuple(x.shape)}, not of a matrix,")
    x = x.coalesce()
    counts = lucid.bincount(x._at[0], minlength=int(x.shape[0]))
    crow = lucid.cat([counts.new_zeros(1), counts.cumsum(0)])
    return _built(crow, x._at, x._numbers, tuple(x.shape), True)


SparseTensor.to_sparse_csr = compressed  # type: ignore[method-assign, assignment]
