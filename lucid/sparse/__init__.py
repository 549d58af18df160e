"""Sparse matrices in coordinate form: made, multiplied with dense ones, differentiated.

Called by users as `lucid.sparse`, `lucid.sparse_coo_tensor`, `lucid.spmm` and `Tensor.to_sparse`;
loaded on first use. What a sparse tensor cannot do raises, naming it.
"""

from lucid.sparse import rows
from lucid.sparse.make import from_dense, masked, sparse_coo_tensor
from lucid.sparse.multiply import addmm, mm, spmm, sum
from lucid.sparse.tensor import SparseTensor

__all__ = [
    "SparseTensor", "addmm", "from_dense", "masked", "mm", "rows",
    "sparse_coo_tensor", "spmm", "sum",
]  # fmt: skip
