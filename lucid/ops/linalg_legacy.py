"""Older names of linear algebra: qr, svd, symeig, cholesky, triangular_solve; truncated SVDs."""

from typing import Any, NamedTuple

from lucid.ops.contract import transposed
from lucid.ops.creation import zeros
from lucid.ops.factor import svd_, svdvals_
from lucid.ops.linalg import Eigh, cholesky, eigh, qr, solve_triangular


class USV(NamedTuple):
    """What `svd` returns."""

    U: Any
    S: Any
    V: Any


def cholesky_of(A, upper: bool = False):
    """The Cholesky factor, as `linalg.cholesky`.

    >>> import lucid
    >>> lucid.cholesky(lucid.tensor([[4.0]]))
    tensor([[2.]])
    """
    return cholesky(A, upper=upper)


cholesky_of.__name__ = cholesky_of.__qualname__ = "cholesky"


def qr_of(A, some: bool = True):
    """(Q, R), as `linalg.qr` (a legacy name).

    >>> import lucid
    >>> lucid.qr(lucid.eye(2))[1].shape
    lucid.Size([2, 2])
    """
    return qr(A, "reduced" if some else "complete")


qr_of.__name__ = qr_of.__qualname__ = "qr"


def symeig(A, eigenvectors: bool = False, upper: bool = True):
    """`linalg.eigh` (a legacy name): without `eigenvectors` those returned are empty.

    >>> import lucid
    >>> lucid.symeig(lucid.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    values, vectors = eigh(A, "U" if upper else "L")
    return Eigh(values, vectors if eigenvectors else zeros(0, dtype=A.dtype))


def svd_of(A, some: bool = True, compute_uv: bool = True):
    """(U, S, V) with A = U diag(S) V^T (a legacy name; note V, not its transpose).

    >>> import lucid
    >>> lucid.svd(lucid.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    u, s, vh = svd_(A, not some)
    if not compute_uv:
        return USV(u.detach() * 0, svdvals_(A), transposed(vh.detach() * 0))
    return USV(u, s, transposed(vh))


svd_of.__name__ = svd_of.__qualname__ = "svd"


def triangular_solve(b, A, upper: bool = True, transpose: bool = False, unitriangular=False):
    """(X, A): A X = b for a triangular A (a legacy name).

    >>> import lucid
    >>> lucid.triangular_solve(lucid.ones(1, 1), lucid.tensor([[2.0]]))[0]
    tensor([[0.5000]])
    """
    if transpose:
        return solve_triangular(transposed(A), b, upper=not upper, unitriangular=unitriangular), A
    return solve_triangular(A, b, upper=upper, unitriangular=unitriangular), A


def svd_lowrank(A, q: int = 6, niter: int = 2, M=None):
    """(U, S, V) of the q largest singular values, from the whole decomposition; exact, so `niter`
    changes nothing.

    >>> import lucid
    >>> lucid.svd_lowrank(lucid.ones(3, 3), 1).S.round()
    tensor([3.])
    """
    u, s, vh = svd_(A if M is None else A - M, False)
    return USV(u[..., :q], s[..., :q], transposed(vh)[..., :q])


def pca_lowrank(A, q: int | None = None, center: bool = True, niter: int = 2):
    """`svd_lowrank` of A less the mean of its rows.

    >>> import lucid
    >>> lucid.pca_lowrank(lucid.rand(5, 3), 2).V.shape
    lucid.Size([3, 2])
    """
    q = min(6, *A.shape[-2:]) if q is None else q
    return svd_lowrank(A - A.mean(-2, True) if center else A, q, niter)
