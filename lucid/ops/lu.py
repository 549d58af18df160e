"""LU factors and the eigenvalues of general matrices: what of `lucid.linalg` SciPy or complex
numbers are needed for. Eigenvalues have no gradients yet, and say so."""

import warnings
from typing import Any, NamedTuple

import numpy as np

from lucid.dtypes import int32
from lucid.lazy import lazy
from lucid.ops.complex import whole
from lucid.ops.contract import matmul, transposed
from lucid.ops.creation import eye, tril, triu, zeros
from lucid.ops.host import Host, check_matrix, no_gradient
from lucid.ops.join import cat
from lucid.ops.linalg import solve_triangular

_scipy = lazy("scipy.linalg", extra="scipy")


class LU(NamedTuple):
    """What `lu_factor` returns."""

    LU: Any
    pivots: Any


class PLU(NamedTuple):
    """What `linalg.lu` returns."""

    P: Any
    L: Any
    U: Any


class Eig(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Any
    eigenvectors: Any


class lu_(Host):
    """(LU, pivots): L below the diagonal, U from it on; row i was exchanged with pivots[i], from 1.

    Partial pivoting, LAPACK's getrf.
    """

    label = "lu_factor"
    count = 2

    def names(x):
        pass

    def infer(types, params):
        batch, m, n = check_matrix("lu_factor", types, False)
        return [types[0][:2], ((*batch, min(m, n)), int32)]

    def compute(x):
        packed = np.empty_like(x)
        pivots = np.empty((*x.shape[:-2], min(x.shape[-2:])), np.int32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zeros on the diagonal: `info` says so
            for place in np.ndindex(*x.shape[:-2]):
                packed[place], pivots[place] = _scipy.lu_factor(x[place])
        return packed, pivots + 1

    def vjp_x(g, y, y1):
        # P^T dA = dL U + L dU, dL strictly lower and dU upper triangular: the square of both is
        # split; what of L or U is beside it is a solution with the other one's square.
        m, n = y.shape[-2:]
        k = min(m, n)
        turned = transposed(y[..., :k, :k])
        gl, gu = tril(g[..., :k], -1), triu(g[..., :k, :])
        below = matmul(triu(turned, 1) + eye(k, dtype=y.dtype), gl[..., :k, :])
        above = matmul(gu[..., :k], tril(turned))
        if n > k:
            below = below - matmul(gu[..., k:], transposed(y[..., k:]))
        if m > k:
            above = above - matmul(transposed(y[..., k:, :]), gl[..., k:, :])
        made = solve_triangular(turned, tril(below, -1) + triu(above), upper=False, left=False)
        made = cat([made, gu[..., k:]], -1) if n > k else made
        made = solve_triangular(turned, made, upper=True, unitriangular=True)
        if m > k:
            rest = solve_triangular(turned, gl[..., k:, :], upper=False, left=False)
            made = cat([made, rest], -2)
        return matmul(exchanges_(y1, m, y.dtype), made)


class exchanges_(Host):
    """The matrix P, m x m, of the exchanges of rows in `pivots`."""

    label = "lu_unpack"

    def names(pivots, *, m, kind):
        pass

    def infer(types, params):
        return [((*types[0][0][:-1], params[0], params[0]), params[1])]

    def compute(pivots, m, kind):
        rows = np.broadcast_to(np.arange(m), (*pivots.shape[:-1], m)).copy()
        for place in np.ndindex(*pivots.shape[:-1]):
            for i, j in enumerate(pivots[place] - 1):
                rows[place][[i, j]] = rows[place][[j, i]]
        return np.ascontiguousarray(np.swapaxes(np.eye(m, dtype=kind.numpy)[rows], -1, -2))


class eig_(Host):
    """(values, vectors) of general matrices, as pairs of real numbers."""

    label = "eig"
    count = 2
    vjp_x = no_gradient("linalg.eig")

    def names(x):
        pass

    def infer(types, params):
        check_matrix("eig", types)
        shape, kind, _ = types[0]
        return [((*shape[:-1], 2), kind), ((*shape, 2), kind)]

    def compute(x):
        values, vectors = np.linalg.eig(x)
        return tuple(np.stack([z.real, z.imag], -1) for z in (values, vectors))


def eig(A):
    """(eigenvalues, eigenvectors) of real matrices, both complex, in no particular order.

    >>> import lucid
    >>> lucid.linalg.eig(lucid.tensor([[0.0, 1.0], [-1.0, 0.0]])).eigenvalues.imag.abs()
    tensor([1., 1.])
    """
    return Eig(*(whole(part) for part in eig_(A)))


def eigvals(A):
    """The eigenvalues of real matrices.

    >>> import lucid
    >>> lucid.linalg.eigvals(lucid.eye(2))
    tensor([1.+0.j, 1.+0.j])
    """
    return eig(A)[0]


def lu_factor(A, *, pivot: bool = True):
    """(LU, pivots): the factors of P A packed in one matrix, and the rows exchanged, from 1.
    It needs SciPy.

    >>> import lucid
    >>> lucid.linalg.lu_factor(lucid.tensor([[0.0, 1.0], [2.0, 0.0]])).pivots
    tensor([2, 2], dtype=lucid.int32)
    """
    if not pivot:
        raise NotImplementedError("linalg.lu_factor: pivot=False is not supported")
    return LU(*lu_(A))


def lu_factor_ex(A, *, pivot: bool = True, check_errors: bool = False):
    """(LU, pivots, info): info is the first place from 1 on where the diagonal of U is 0, or 0.

    >>> import lucid
    >>> lucid.linalg.lu_factor_ex(lucid.zeros(1, 1))[2]
    tensor(1, dtype=lucid.int32)
    """
    packed, pivots = lu_factor(A, pivot=pivot)
    zero = packed.diagonal(0, -2, -1) == 0
    info = (zero.max(-1)[1] + 1) * zero.any(-1)
    return packed, pivots, info.to(int32)


def lu_unpack(LU_data, LU_pivots, unpack_data: bool = True, unpack_pivots: bool = True):
    """(P, L, U) from what `lu_factor` returns: A = P L U. P is empty without `unpack_pivots`,
    L and U are without `unpack_data`.

    >>> import lucid
    >>> lucid.lu_unpack(*lucid.lu(lucid.tensor([[2.0]]))).U
    tensor([[2.]])
    """
    m, n = LU_data.shape[-2:]
    k = min(m, n)
    none = zeros(0, dtype=LU_data.dtype)
    p = exchanges_(LU_pivots, m, LU_data.dtype) if unpack_pivots else none
    if not unpack_data:
        return PLU(p, none, none)
    lower = tril(LU_data[..., :k], -1) + eye(m, k, dtype=LU_data.dtype)
    return PLU(p, lower, triu(LU_data[..., :k, :]))


def lu(A, *, pivot: bool = True):
    """(P, L, U) with A = P L U.

    >>> import lucid
    >>> P, L, U = lucid.linalg.lu(lucid.tensor([[0.0, 1.0], [2.0, 0.0]]))
    >>> (P @ L @ U).tolist()
    [[0.0, 1.0], [2.0, 0.0]]
    """
    return lu_unpack(*lu_factor(A, pivot=pivot))


def lu_solve(LU, pivots, B, *, left: bool = True, adjoint: bool = False):
    """X with A X = B (X A = B where not left), from what `lu_factor` returns of A; adjoint: with
    A^T in the place of A.

    >>> import lucid
    >>> lucid.linalg.lu_solve(*lucid.lu(lucid.tensor([[2.0]])), lucid.ones(1, 1))
    tensor([[0.5000]])
    """
    if not left:
        return transposed(lu_solve(LU, pivots, transposed(B), adjoint=not adjoint))
    if adjoint:
        x = solve_triangular(transposed(LU), B, upper=False)
        x = solve_triangular(transposed(LU), x, upper=True, unitriangular=True)
        return matmul(exchanges_(pivots, LU.shape[-1], LU.dtype), x)
    p = exchanges_(pivots, LU.shape[-1], LU.dtype)
    x = solve_triangular(LU, matmul(transposed(p), B), upper=False, unitriangular=True)
    return solve_triangular(LU, x, upper=True)


def lu_of(A, pivot: bool = True, get_infos: bool = False):
    """(LU, pivots), and infos if asked (a legacy name of `linalg.lu_factor`).

    >>> import lucid
    >>> lucid.lu(lucid.tensor([[2.0]]))[0]
    tensor([[2.]])
    """
    found = lu_factor_ex(A, pivot=pivot)
    return found if get_infos else found[:2]


def lu_solve_of(b, LU_data, LU_pivots):
    """X with A X = b, from the factors of A (a legacy name).

    >>> import lucid
    >>> lucid.lu_solve(lucid.ones(1, 1), *lucid.lu(lucid.tensor([[2.0]])))
    tensor([[0.5000]])
    """
    return lu_solve(LU_data, LU_pivots, b)
