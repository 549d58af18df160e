"""Linear algebra under PyTorch's names; ops/linalg.py has the functions. Loaded on first use."""

from lucid.error import LinAlgError
from lucid.ops.contract import matmul
from lucid.ops.forms import put_out
from lucid.ops.ldl import ldl_factor, ldl_factor_ex, ldl_solve
from lucid.ops.linalg import (
    cholesky,
    cholesky_ex,
    cross,
    det,
    diagonal,
    eigh,
    eigvalsh,
    householder_product,
    inv,
    inv_ex,
    lstsq,
    matrix_exp,
    matrix_power,
    multi_dot,
    pinv,
    qr,
    slogdet,
    solve,
    solve_ex,
    solve_triangular,
    svd,
    svdvals,
    tensorinv,
    tensorsolve,
    vander,
    vecdot,
)
from lucid.ops.lu import eig, eigvals, lu, lu_factor, lu_factor_ex, lu_solve
from lucid.ops.norms import cond, matrix_norm, matrix_rank, norm, vector_norm

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh",
    "eigvals", "eigvalsh", "householder_product", "inv", "inv_ex", "ldl_factor",
    "ldl_factor_ex", "ldl_solve", "lstsq", "lu", "lu_factor",
    "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power",
    "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex",
    "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot",
    "vector_norm",
]  # fmt: skip
put_out(globals(), __all__)
