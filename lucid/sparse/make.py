"""Sparse tensors made: of places and values, of dense tensors, of a mask.

Called by users and by the methods in ops/sparse.py.
"""

from collections.abc import Sequence
from typing import Any

import lucid
from lucid.dtypes import INTEGER
from lucid.sparse import arithmetic as arithmetic  # gives SparseTensor its sums,
from lucid.sparse import csr as csr  # its other form,
from lucid.sparse import multiply as multiply  # and its products
from lucid.sparse.tensor import SparseTensor, build, refuse


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Sequence[int] | None = None,
    *,
    dtype: lucid.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> SparseTensor:
    """The sparse tensor with `values[k]` at the place `indices[:, k]`; equal places add up.

    indices: (n, nnz) integers; values: (nnz, ...), to which gradients flow. size: by default the
    smallest that holds all places. Places are always checked: IndexError names one that lies
    outside. `sparse_coo_tensor(size=...)` has no values. requires_grad: the result is a leaf.

    >>> import lucid
    >>> x = lucid.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, 2.0])
    >>> x.to_dense()
    tensor([[0., 3.]])
    """
    if values is None:
        if size is None:  # sparse_coo_tensor(size)
            indices, size = None, indices
        if indices is not None or size is None:
            raise TypeError("sparse_coo_tensor: values are missing")
        indices = lucid.zeros(len(size), 0, dtype=lucid.int64)
        values = lucid.zeros(0, dtype=dtype)
    at = lucid.as_tensor(indices, device=device)
    numbers = lucid.as_tensor(values, dtype=dtype, device=device)
    if at.dtype.category != INTEGER and at.numel():
        raise TypeError(f"sparse_coo_tensor: places are integers, got {at.dtype!r}")
    at = at.to(lucid.int64)
    if at.ndim != 2:
        raise ValueError(f"sparse_coo_tensor: indices are (n, nnz), got shape {tuple(at.shape)}")
    if numbers.ndim == 0:
        numbers = numbers.expand(at.shape[1])
    if numbers.shape[0] != at.shape[1]:
        raise ValueError(
            f"sparse_coo_tensor: {at.shape[1]} places {tuple(at.shape)} and {numbers.shape[0]} "
            f"values {tuple(numbers.shape)} do not fit"
        )
    whole = _size(at, numbers, size)
    if requires_grad:
        numbers = numbers.detach().requires_grad_()
    made = build(at, numbers, whole, False)
    if is_coalesced:
        if not _in_order(made):
            raise ValueError("sparse_coo_tensor: is_coalesced=True, but places repeat or go back")
        made._coalesced = True
    return made


def _size(at: Any, numbers: Any, size: Sequence[int] | None) -> tuple[int, ...]:
    """The whole size; raises where a place lies outside."""
    n, dense = int(at.shape[0]), tuple(int(m) for m in numbers.shape[1:])
    known = at.numel() > 0
    high = [int(m) for m in at.amax(1).tolist()] if known else []
    if size is None:
        if not known:
            raise ValueError("sparse_coo_tensor: without values the size is not told")
        size = (*[m + 1 for m in high], *dense)
    whole = tuple(int(m) for m in size)
    if len(whole) != n + len(dense) or whole[n:] != dense or any(m < 0 for m in whole):
        raise ValueError(
            f"sparse_coo_tensor: size {whole} does not fit places of {n} dimensions and values of "
            f"shape {tuple(numbers.shape)}"
        )
    low = [int(m) for m in at.amin(1).tolist()] if known else []
    for d, (least, most) in enumerate(zip(low, high, strict=True)):
        if least < 0 or most >= whole[d]:
            place = least if least < 0 else most
            raise IndexError(
                f"sparse_coo_tensor: the place {place} lies outside of dimension {d} of size "
                f"{whole[d]}"
            )
    return whole


def _in_order(x: SparseTensor) -> bool:
    flat = x._at.new_zeros(x._nnz())
    for row, n in zip(x._at, x.shape, strict=False):
        flat = flat * n + row
    return bool((flat[1:] > flat[:-1]).all())


def from_dense(x: lucid.Tensor, sparse_dim: int | None = None) -> SparseTensor:
    """The elements of x that are not 0; with `sparse_dim`, the parts of its first dimensions in
    which any is. Gradients flow to x at the stored places.

    >>> import lucid
    >>> lucid.sparse.from_dense(lucid.tensor([[0.0, 5.0], [0.0, 0.0]])).indices().tolist()
    [[0], [1]]
    """
    n = x.ndim if sparse_dim is None else int(sparse_dim)
    if not 1 <= n <= x.ndim:
        raise ValueError(f"to_sparse: {n} sparse dimensions of a tensor with {x.ndim}")
    there = x.detach() != 0
    if n < x.ndim:
        there = there.flatten(n).any(-1)
    at = lucid.nonzero(there).t().contiguous()
    return build(at, x[tuple(at.unbind(0))], tuple(x.shape), True)


def masked(x: lucid.Tensor, mask: SparseTensor) -> SparseTensor:
    """The elements of x at the places of `mask`.

    >>> import lucid
    >>> mask = lucid.sparse_coo_tensor([[0], [1]], [1.0], (2, 2)).coalesce()
    >>> lucid.sparse.masked(lucid.tensor([[1.0, 2.0], [3.0, 4.0]]), mask).values()
    tensor([2.])
    """
    if not isinstance(mask, SparseTensor) or isinstance(x, SparseTensor):
        refuse("sparse_mask of a dense tensor with a sparse mask is there; anything else")
    if x.shape != mask.shape:
        raise ValueError(f"sparse_mask: shapes {tuple(x.shape)} and {tuple(mask.shape)} differ")
    mask = mask if mask._coalesced else mask.coalesce()
    return mask.mapped(x[tuple(mask._at.unbind(0))])
