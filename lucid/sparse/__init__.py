"""Sparse tensors in coordinate form, matrices in compressed rows: made, multiplied, differentiated.

Called by users as `lucid.sparse`, `lucid.sparse_coo_tensor`, `lucid.spmm` and `Tensor.to_sparse`;
loaded on first use. What a sparse tensor cannot do raises, naming it.
"""

from lucid.sparse.csr import CSRTensor, sparse_csr_tensor
from lucid.sparse.make import from_dense, masked, sparse_coo_tensor
from lucid.sparse.multiply import addmm, mm, spmm, sum
from lucid.sparse.normalize import log_softmax, softmax
from lucid.sparse.tensor import SparseTensor

__all__ = [
    "CSRTensor", "SparseTensor", "addmm", "from_dense", "log_softmax", "masked", "mm", "softmax",
    "sparse_coo_tensor", "sparse_csr_tensor", "spmm", "sum",
]  # fmt: skip
