"""Softmax of sparse tensors: what is not stored counts as -inf. Called by users as
`lucid.sparse.softmax`."""

from typing import Any

import lucid
from lucid.ops.gather import put_zeros, take
from lucid.sparse.tensor import SparseTensor


def softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """e^x over its sum along dim, of the stored elements; the others stay 0, as if they were -inf.

    >>> import lucid
    >>> x = lucid.sparse_coo_tensor([[0, 0, 1], [0, 2, 1]], [1.0, 1.0, 5.0], (2, 3))
    >>> lucid.sparse.softmax(x, 1).to_dense()
    tensor([[0.5000, 0.0000, 0.5000],
            [0.0000, 1.0000, 0.0000]])
    """
    return _normalized("softmax", input, dim, dtype, False)


def log_softmax(input: SparseTensor, dim: int, *, dtype: Any = None) -> SparseTensor:
    """The logarithm of `softmax`, of the stored elements.

    >>> import lucid
    >>> x = lucid.sparse_coo_tensor([[0, 0, 1], [0, 2, 1]], [1.0, 1.0, 5.0], (2, 3))
    >>> lucid.sparse.log_softmax(x, 1).values()
    tensor([-0.6931, -0.6931,  0.0000])
    """
    return _normalized("log_softmax", input, dim, dtype, True)


def _normalized(name: str, x: SparseTensor, dim: int, kind: Any, log: bool) -> SparseTensor:
    if not isinstance(x, SparseTensor):
        raise TypeError(f"sparse.{name}: expected a sparse tensor, got {type(x).__name__}")
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"sparse.{name}: dim={dim} of a tensor with {x.ndim} dimensions")
    dim %= x.ndim
    x = x if x._coalesced else x.coalesce()
    values = x._numbers if kind is None else x._numbers.to(kind)
    n = x.sparse_dim()
    if dim >= n:
        function = lucid.log_softmax if log else lucid.softmax
        return x.mapped(function(values, dim - n + 1))
    if not x._nnz():
        return x.mapped(values)
    # Elements that differ in dim alone are one group.
    flat = x._at.new_zeros(x._nnz())
    for d in range(n):
        if d != dim:
            flat = flat * int(x.shape[d]) + x._at[d]
    groups, group = lucid.unique(flat, return_inverse=True)
    size = (len(groups), *values.shape[1:])
    places = group.reshape((-1, *(1,) * (values.ndim - 1))).expand(values.shape)
    most = (
        values.detach()
        .new_zeros(size)
        .scatter_reduce(0, places, values.detach(), "amax", include_self=False)
    )
    apart = values - take(most, [group], 0)
    e = apart.exp()
    total = put_zeros(e, [group], size, 0)
    return x.mapped(apart - take(total.log(), [group], 0) if log else e / take(total, [group], 0))
