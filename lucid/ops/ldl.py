"""Factors of symmetric matrices and Householder's reflections as LAPACK keeps them.

ldl_factor, ldl_factor_ex, ldl_solve (lucid.linalg) call SciPy's LAPACK; geqrf and ormqr are
functions of lucid, listed in tables.py.
"""

from typing import Any, NamedTuple

import numpy as np

from lucid.dtypes import COMPLEX, int32
from lucid.error import LinAlgError
from lucid.lazy import lazy
from lucid.ops.contract import matmul
from lucid.ops.host import Host, check_matrix, no_gradient
from lucid.ops.linalg import householder_product, one_batch
from lucid.ops.padding import pad
from lucid.ops.shape import transpose
from lucid.ops.view import expand

_lapack = lazy("scipy.linalg.lapack", extra="scipy")


class LDL(NamedTuple):
    """What `ldl_factor` returns."""

    LD: Any
    pivots: Any


class LDLInfo(NamedTuple):
    """What `ldl_factor_ex` returns."""

    LD: Any
    pivots: Any
    info: Any


class QR(NamedTuple):
    """What `geqrf` returns."""

    a: Any
    tau: Any


def _routine(x: np.ndarray, name: str) -> Any:
    return getattr(_lapack, ("s" if x.dtype == np.float32 else "d") + name)


class ldl_(Host):
    """(LD, pivots, info) of symmetric matrices: LAPACK's sytrf, of the lower triangle."""

    label = "ldl_factor"
    count = 3
    vjp_x = no_gradient("linalg.ldl_factor")

    def names(x):
        pass

    def infer(types, params):
        batch, n, _ = check_matrix("ldl_factor", types)
        return [types[0][:2], ((*batch, n), int32), (batch, int32)]

    def compute(x):
        packed = np.empty_like(x)
        pivots = np.empty(x.shape[:-1], np.int32)
        info = np.zeros(x.shape[:-2], np.int32)
        factor = _routine(x, "sytrf")
        for place in np.ndindex(*x.shape[:-2]):
            if x.shape[-1]:
                made, pivots[place], info[place] = factor(x[place], lower=1)
                packed[place] = np.tril(made)
        return packed, pivots, info


class ldl_solve_(Host):
    """The solution of A x = B for A of `ldl_`: LAPACK's sytrs."""

    label = "ldl_solve"
    vjp_x = vjp_pivots = vjp_b = no_gradient("linalg.ldl_solve")

    def names(x, pivots, b):
        pass

    def infer(types, params):
        check_matrix("ldl_solve", types)
        return [types[2][:2]]

    def compute(x, pivots, b):
        made = np.empty_like(b)
        solve = _routine(x, "sytrs")
        for place in np.ndindex(*b.shape[:-2]):
            if b[place].size:
                made[place], _ = solve(x[place], pivots[place], b[place], lower=1)
        return made


class geqrf_(Host):
    """(a, tau): R from the diagonal on, the reflections below it. LAPACK's geqrf."""

    label = "geqrf"
    count = 2
    vjp_x = no_gradient("geqrf")

    def names(x):
        pass

    def infer(types, params):
        batch, m, n = check_matrix("geqrf", types, False)
        return [types[0][:2], ((*batch, min(m, n)), types[0][1])]

    def compute(x):
        turned, tau = np.linalg.qr(x, mode="raw")
        return np.ascontiguousarray(np.swapaxes(turned, -1, -2)).astype(x.dtype), tau


def _check(name: str, A: Any, hermitian: bool) -> None:
    if A.dtype.category == COMPLEX:
        raise NotImplementedError(f"linalg.{name}: complex matrices are not supported")
    if not isinstance(hermitian, bool):
        raise TypeError(f"linalg.{name}: hermitian must be a bool, got {hermitian!r}")


def ldl_factor_ex(A, *, hermitian: bool = False, check_errors: bool = False):
    """(LD, pivots, info): `ldl_factor`, where info says which diagonal element is 0 instead of an
    error; 0 for none.

    >>> import lucid
    >>> lucid.linalg.ldl_factor_ex(lucid.eye(2)).info
    tensor(0, dtype=lucid.int32)
    """
    _check("ldl_factor_ex", A, hermitian)
    found = LDLInfo(*ldl_(A))
    if check_errors and bool((found.info != 0).any()):
        raise LinAlgError("linalg.ldl_factor_ex: a block of D is 0, so that A is singular")
    return found


def ldl_factor(A, *, hermitian: bool = False):
    """(LD, pivots) of symmetric matrices A = L D L^T, rows exchanged: L below the diagonal of LD,
    D, of blocks of 1 x 1 and 2 x 2, on it and beside it, as LAPACK's sytrf has them (Bunch and
    Kaufman, 1977). The lower triangle is read. hermitian means the same for real matrices; complex
    ones raise. Needs SciPy; no gradient. Raises LinAlgError where D is singular.

    >>> import lucid
    >>> LD, pivots = lucid.linalg.ldl_factor(lucid.tensor([[4.0, 2.0], [2.0, 5.0]]))
    >>> LD.tolist(), pivots.tolist()
    ([[4.0, 0.0], [0.5, 4.0]], [1, 2])
    """
    _check("ldl_factor", A, hermitian)
    LD, pivots, info = ldl_(A)
    if bool((info != 0).any()):
        raise LinAlgError("linalg.ldl_factor: a block of D is 0, so that A is singular")
    return LDL(LD, pivots)


def ldl_solve(LD, pivots, B, *, hermitian: bool = False):
    """The solution of A X = B, A (..., n, n) given by `ldl_factor`, B (..., n, k); leading
    dimensions broadcast.

    >>> import lucid
    >>> A = lucid.tensor([[4.0, 2.0], [2.0, 5.0]])
    >>> lucid.linalg.ldl_solve(*lucid.linalg.ldl_factor(A), lucid.tensor([[6.0], [7.0]]))
    tensor([[1.],
            [1.]])
    """
    _check("ldl_solve", LD, hermitian)
    if B.ndim < 2 or B.shape[-2] != LD.shape[-1]:
        raise RuntimeError(
            f"linalg.ldl_solve: B {tuple(B.shape)} does not fit LD {tuple(LD.shape)}: its second "
            "last dimension must be n"
        )
    if tuple(pivots.shape) != tuple(LD.shape[:-1]):
        raise RuntimeError(
            f"linalg.ldl_solve: pivots {tuple(pivots.shape)} must have shape {tuple(LD.shape[:-1])}"
        )
    LD, B = one_batch("ldl_solve", LD, B)
    return ldl_solve_(LD, expand(pivots.to(int32), tuple(LD.shape[:-1])), B)


def geqrf(x):
    """(a, tau) of matrices (..., m, n): R on and above the diagonal of a, below it the reflections
    v_i of Q = H_1 H_2 .., H_i = I - tau_i v_i v_i^T. No gradient; `linalg.qr` has one.

    >>> import lucid
    >>> a, tau = lucid.geqrf(lucid.tensor([[3.0], [4.0]]))
    >>> a[0], tau.shape
    (tensor([-5.]), lucid.Size([1]))
    """
    return QR(*geqrf_(x))


def ormqr(x, tau, other, left: bool = True, transpose_: bool = False, **named):
    """Q other, or other Q where not `left`, Q^T for Q where `transpose`: Q is the whole m x m
    product of the reflections in x (..., m, k) and tau (..., k), as `geqrf` gives them.

    >>> import lucid
    >>> A = lucid.tensor([[3.0], [4.0]])
    >>> lucid.ormqr(*lucid.geqrf(A), A, transpose=True)[0]
    tensor([-5.])
    """
    transpose_ = named.pop("transpose", transpose_)
    if named:
        raise TypeError(f"ormqr() has no parameter {', '.join(map(repr, named))}")
    if x.dtype.category == COMPLEX:
        raise NotImplementedError("ormqr: not supported for complex tensors")
    m, k = x.shape[-2], tau.shape[-1]
    if k > min(m, x.shape[-1]):
        raise RuntimeError(
            f"ormqr: tau {tuple(tau.shape)} must have at most as many elements as x "
            f"{tuple(x.shape)} has rows and columns"
        )
    along = other.shape[-2 if left else -1]
    if along != m:
        raise RuntimeError(
            f"ormqr: other {tuple(other.shape)} must have {m} {'rows' if left else 'columns'}, as "
            f"x {tuple(x.shape)} has rows"
        )
    whole = householder_product(pad(x[..., :k], (0, m - k)), tau)
    whole = transpose(whole, -2, -1) if transpose_ else whole
    return matmul(whole, other) if left else matmul(other, whole)
