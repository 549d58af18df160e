"""What dense tensors say of sparse ones: conversions, and the methods that only sparse ones have.

Called by users as methods; lucid/sparse/ has the rest and loads on first use.
"""

from typing import Any

from lucid.lazy import lazy

_sparse = lazy("lucid.sparse")


def to_sparse(x, sparse_dim: int | None = None, *, layout: Any = None):
    """The elements that are not 0 and their places, as a sparse tensor in coordinate form; with
    layout="sparse_csr" a matrix in compressed rows.

    >>> import lucid
    >>> lucid.eye(2).to_sparse().values()
    tensor([1., 1.])
    """
    if layout == "sparse_csr" and sparse_dim is None:
        return to_sparse_csr(x)
    if layout not in (None, "sparse_coo"):
        raise NotImplementedError(f"to_sparse: the layout {layout} is not supported")
    return _sparse.from_dense(x, sparse_dim)


def to_sparse_csr(x):
    """The elements of a matrix that are not 0, in compressed rows.

    >>> import lucid
    >>> lucid.eye(2).to_sparse_csr().crow_indices()
    tensor([0, 1, 2])
    """
    return _sparse.from_dense(x).to_sparse_csr()


def to_dense(x, dtype: Any = None):
    """A dense tensor is itself; a sparse one with all its elements.

    >>> import lucid
    >>> lucid.eye(2).to_sparse().to_dense()
    tensor([[1., 0.],
            [0., 1.]])
    """
    return x if dtype is None else x.to(dtype)


def sparse_mask(x, mask: Any):
    """The elements of x at the places of a sparse tensor.

    >>> import lucid
    >>> lucid.full((2, 2), 3.0).sparse_mask(lucid.eye(2).to_sparse()).values()
    tensor([3., 3.])
    """
    return _sparse.masked(x, mask)


def _only_sparse(name: str, what: str) -> Any:
    def method(self: Any) -> Any:
        raise RuntimeError(f"{name}: this tensor is dense; .to_sparse() makes a sparse one")

    method.__name__ = name
    method.__doc__ = f"Of a sparse tensor: {what}."
    return method


methods: dict[str, Any] = {
    "to_sparse": to_sparse, "to_sparse_csr": to_sparse_csr, "to_dense": to_dense,
    "sparse_mask": sparse_mask,
    "coalesce": _only_sparse("coalesce", "the same one with every place once, in order"),
    "indices": _only_sparse("indices", "the places, (dimensions, count)"),
    "values": _only_sparse("values", "the stored elements"),
    "sparse_dim": _only_sparse("sparse_dim", "how many dimensions the places have"),
    "dense_dim": _only_sparse("dense_dim", "how many dimensions each stored element has"),
    "is_coalesced": _only_sparse("is_coalesced", "whether every place occurs once, in order"),
    "crow_indices": _only_sparse("crow_indices", "where each row begins"),
    "col_indices": _only_sparse("col_indices", "the column of each stored element"),
    "_indices": _only_sparse("_indices", "the places, as they are"),
    "_values": _only_sparse("_values", "the stored elements, as they are"),
    "_nnz": _only_sparse("_nnz", "how many elements are stored"),
}  # fmt: skip
