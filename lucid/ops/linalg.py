"""Linear algebra: solves, inverses, decompositions, under `lucid.linalg` and older names.

Norms are in norms.py. Decompositions run in NumPy's LAPACK (ops/factor.py), on batches of matrices
in the last two dimensions of float32 or float64 tensors.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from lucid.dtypes import int32
from lucid.layout import broadcast_shapes
from lucid.op import normal_dim
from lucid.ops import products
from lucid.ops.cast import to_dtype
from lucid.ops.contract import matmul, transposed
from lucid.ops.creation import eye, full, ones, tril, triu, zeros
from lucid.ops.elementwise import where
from lucid.ops.factor import (
    cholesky_,
    det_,
    eigh_,
    inv_,
    lstsq_,
    mirrored,
    pinv_,
    qr_,
    slogdet_,
    solve_,
    svd_,
    svdvals_,
)
from lucid.ops.join import stack
from lucid.ops.norms import matrix_norm
from lucid.ops.reduce import sum_
from lucid.ops.shape import movedim
from lucid.ops.view import diagonal as diagonal_view
from lucid.ops.view import expand, reshape


class QR(NamedTuple):
    """What `qr` returns."""

    Q: Any
    R: Any


class Eigh(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


class SVD(NamedTuple):
    """What `linalg.svd` returns."""

    U: Any
    S: Any
    Vh: Any


class Slogdet(NamedTuple):
    """What `slogdet` returns."""

    sign: Any
    logabsdet: Any


class Lstsq(NamedTuple):
    """What `lstsq` returns."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


class WithInfo(NamedTuple):
    """A result, and 0 for each matrix where it exists."""

    result: Any
    info: Any


def inv(A):
    """The inverse. Raises LinAlgError for a singular matrix.

    >>> import lucid
    >>> lucid.linalg.inv(lucid.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return inv_(A)


def det(A):
    """The determinant; its gradient exists for singular matrices too.

    >>> import lucid
    >>> lucid.linalg.det(lucid.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(8.)
    """
    return det_(A)


def slogdet(A):
    """(sign, logabsdet): the determinant's sign, and the logarithm of its size.

    >>> import lucid
    >>> lucid.linalg.slogdet(lucid.eye(2) * -1.0).sign
    tensor(1.)
    """
    return Slogdet(*slogdet_(A))


def logdet(A):
    """The logarithm of the determinant: -inf for 0, NaN below.

    >>> import lucid
    >>> lucid.logdet(lucid.eye(2))
    tensor(0.)
    """
    sign, size = slogdet_(A)
    return where(sign < 0, float("nan"), size)


def solve(A, B, *, left: bool = True):
    """X with A X = B (X A = B where not left); B may be a vector, or a batch of them.

    >>> import lucid
    >>> lucid.linalg.solve(lucid.eye(2) * 2.0, lucid.tensor([2.0, 4.0]))
    tensor([1., 2.])
    """
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))
    if vector:
        if not left:
            raise RuntimeError("linalg.solve: left=False needs a matrix B, got a vector")
        B = B.unsqueeze(-1)
    if not left:
        return transposed(solve(transposed(A), transposed(B)))
    x = solve_(*one_batch("solve", A, B))
    return x.squeeze(-1) if vector else x


def one_batch(name: str, A: Any, B: Any) -> tuple[Any, Any]:
    """Both with the same batch dimensions."""
    if tuple(A.shape[:-2]) == tuple(B.shape[:-2]):
        return A, B
    batch = broadcast_shapes(f"linalg.{name}", tuple(A.shape[:-2]), tuple(B.shape[:-2]))
    return expand(A, (*batch, *A.shape[-2:])), expand(B, (*batch, *B.shape[-2:]))


def solve_triangular(A, B, *, upper: bool, left: bool = True, unitriangular: bool = False):
    """X with A X = B for a triangular A, of which the other triangle is not read.

    >>> import lucid
    >>> A = lucid.tensor([[2.0, 9.0], [0.0, 4.0]])
    >>> lucid.linalg.solve_triangular(A * 1.0, lucid.tensor([[11.0], [4.0]]), upper=True)
    tensor([[1.],
            [1.]])
    """
    A = triu(A, 1 if unitriangular else 0) if upper else tril(A, -1 if unitriangular else 0)
    if unitriangular:
        A = A + eye(A.shape[-1], dtype=A.dtype)
    if B.ndim < 2:
        raise RuntimeError("linalg.solve_triangular: B must be a matrix or a batch of them")
    return solve(A, B, left=left)


def lstsq(A, B, rcond=None, *, driver: str | None = None):
    """(solution, residuals, rank, singular_values): X with the least |A X - B|, by the singular
    values of A (LAPACK's gelsd, whatever `driver` allows).

    >>> import lucid
    >>> A, b = lucid.tensor([[1.0], [1.0]]), lucid.tensor([[1.0], [3.0]])
    >>> lucid.linalg.lstsq(A, b).solution.round()
    tensor([[2.]])
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"linalg.lstsq: driver {driver!r} is not known")
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))
    A, B = one_batch("lstsq", A, B.unsqueeze(-1) if vector else B)
    x, rank, values = lstsq_(A, B, rcond)
    m, n = A.shape[-2:]
    if m > n and bool((rank == n).all()):
        left = matmul(A, x) - B
        residuals = sum_(left * left, (left.ndim - 2,), False)
    else:
        residuals = zeros(0, dtype=A.dtype)
    return Lstsq(x.squeeze(-1) if vector else x, residuals, rank, values)


def pinv(A, *, atol=None, rtol=None, hermitian: bool = False):
    """The Moore-Penrose inverse; singular values up to max(atol, rtol times the largest) count as
    0, rtol being max(m, n) eps unless given. hermitian: of the lower triangle and its mirror image.

    >>> import lucid
    >>> lucid.linalg.pinv(lucid.tensor([[2.0], [0.0]])).round()
    tensor([[0., 0.]])
    """
    if hermitian:  # with the gradient of any matrix, which is symmetric for a symmetric one
        A = mirrored(A.detach()) + (A - A.detach())
    return pinv_(A, _number(atol), _number(rtol))


def _number(x: Any) -> float | None:
    return None if x is None else float(x)


def cholesky(A, *, upper: bool = False):
    """The lower triangular L with L L^T = A (upper: L^T). Raises LinAlgError for a matrix that is
    not positive definite.

    >>> import lucid
    >>> lucid.linalg.cholesky(lucid.tensor([[4.0, 0.0], [0.0, 9.0]]))
    tensor([[2., 0.],
            [0., 3.]])
    """
    lower = cholesky_(A)
    return transposed(lower) if upper else lower


def cholesky_solve(B, L, upper: bool = False):
    """X with A X = B, from the Cholesky factor of A.

    >>> import lucid
    >>> lucid.cholesky_solve(lucid.ones(1, 1), lucid.tensor([[2.0]]))
    tensor([[0.2500]])
    """
    L = transposed(triu(L)) if upper else tril(L)
    return solve(transposed(L), solve(L, B))


def cholesky_inverse(L, upper: bool = False):
    """The inverse of A, from its Cholesky factor.

    >>> import lucid
    >>> lucid.cholesky_inverse(lucid.tensor([[2.0]]))
    tensor([[0.2500]])
    """
    return cholesky_solve(eye(L.shape[-1], dtype=L.dtype), L, upper)


def qr(A, mode: str = "reduced"):
    """(Q, R): A = Q R, Q with orthonormal columns, R upper triangular. mode "complete": Q square;
    "r": R alone.

    >>> import lucid
    >>> Q, R = lucid.linalg.qr(lucid.rand(3, 2))
    >>> Q.shape, R.shape
    (lucid.Size([3, 2]), lucid.Size([2, 2]))
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', not {mode!r}")
    q, r = qr_(A, mode)
    return QR(zeros(0, dtype=A.dtype) if mode == "r" else q, r)


def eigh(A, UPLO: str = "L"):
    """(eigenvalues, eigenvectors) of symmetric matrices, of which one triangle is read, in
    increasing order; the vectors are columns.

    The gradient with respect to the vectors is finite only where the values differ.

    >>> import lucid
    >>> lucid.linalg.eigh(lucid.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"linalg.eigh: UPLO must be 'L' or 'U', not {UPLO!r}")
    return Eigh(*eigh_(A, UPLO.upper() == "L"))


def eigvalsh(A, UPLO: str = "L"):
    """The eigenvalues of symmetric matrices in increasing order.

    >>> import lucid
    >>> lucid.linalg.eigvalsh(lucid.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    return eigh(A, UPLO)[0]


def svd(A, full_matrices: bool = True, *, driver: str | None = None):
    """(U, S, Vh): A = U diag(S) Vh, S in decreasing order. Only full_matrices=False has gradients
    for matrices that are not square; those of U and Vh need values that differ.

    >>> import lucid
    >>> lucid.linalg.svd(lucid.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    if driver is not None:
        raise RuntimeError(f"linalg.svd: driver {driver!r} is for CUDA; leave it out")
    return SVD(*svd_(A, bool(full_matrices)))


def svdvals(A, *, driver: str | None = None):
    """The singular values in decreasing order.

    >>> import lucid
    >>> lucid.linalg.svdvals(lucid.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])
    """
    if driver is not None:
        raise RuntimeError(f"linalg.svdvals: driver {driver!r} is for CUDA; leave it out")
    return svdvals_(A)


def inv_ex(A, *, check_errors: bool = False):
    """(inverse, info).

    >>> import lucid
    >>> lucid.linalg.inv_ex(lucid.zeros(1, 1)).info
    tensor(1, dtype=lucid.int32)
    """
    return _with_info(inv_, A, check_errors)


def cholesky_ex(A, *, upper: bool = False, check_errors: bool = False):
    """(L, info).

    >>> import lucid
    >>> lucid.linalg.cholesky_ex(lucid.tensor([[-1.0]])).info
    tensor(1, dtype=lucid.int32)
    """
    made = _with_info(cholesky_, A, check_errors)
    return WithInfo(transposed(made[0]) if upper else made[0], made[1])


def solve_ex(A, B, *, left: bool = True, check_errors: bool = False):
    """(X, info).

    >>> import lucid
    >>> lucid.linalg.solve_ex(lucid.eye(2), lucid.ones(2)).result
    tensor([1., 1.])
    """
    return _with_info(lambda a: solve(a, B, left=left), A, check_errors)


def _with_info(function: Any, A: Any, check: bool) -> WithInfo:
    """NaN and 1 where the result does not exist, for the whole batch."""
    info = zeros(tuple(A.shape[:-2]), dtype=int32)
    try:
        return WithInfo(function(A), info)
    except RuntimeError as error:
        if check or type(error).__name__ != "LinAlgError":
            raise
        return WithInfo(full(tuple(A.shape), float("nan"), dtype=A.dtype), info + 1)


def matrix_power(A, n: int):
    """A n times multiplied with itself; negative powers are those of the inverse.

    >>> import lucid
    >>> lucid.linalg.matrix_power(lucid.eye(2) * 2.0, 3)
    tensor([[8., 0.],
            [0., 8.]])
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"linalg.matrix_power: {tuple(A.shape)} are no square matrices")
    if n < 0:
        return matrix_power(inv(A), -n)
    made, power = None, A
    while n:
        if n & 1:
            made = power if made is None else matmul(made, power)
        n >>= 1
        power = matmul(power, power) if n else power
    return expand(eye(A.shape[-1], dtype=A.dtype), tuple(A.shape)).clone() if made is None else made


def matrix_exp(A):
    """e^A = sum over k of A^k / k!, by scaling, Taylor's series and squaring.

    >>> import lucid
    >>> lucid.linalg.matrix_exp(lucid.zeros(1, 1))
    tensor([[1.]])
    """
    if A.numel() == 0:
        return A.clone()
    size = float(matrix_norm(A.detach(), 1).amax())
    # Below 1/2, 18 terms leave an error under 1e-21; what was halved s times is squared s times.
    s = max(0, math.frexp(size)[1] + 1) if math.isfinite(size) else 0
    x = A * 2.0**-s
    one = eye(A.shape[-1], dtype=A.dtype)
    made = one + x * (1.0 / 18)
    for k in range(17, 0, -1):
        made = one + matmul(x, made) * (1.0 / k)
    for _ in range(s):
        made = matmul(made, made)
    return made


def multi_dot(tensors):
    """The product of matrices in the order that multiplies least; the ends may be vectors.

    >>> import lucid
    >>> lucid.linalg.multi_dot([lucid.ones(2, 3), lucid.ones(3, 4), lucid.ones(4)]).shape
    lucid.Size([2])
    """
    parts = list(tensors)
    if len(parts) < 2:
        raise RuntimeError("linalg.multi_dot: at least two tensors are needed")
    row, column = parts[0].ndim == 1, parts[-1].ndim == 1
    parts[0] = parts[0].unsqueeze(0) if row else parts[0]
    parts[-1] = parts[-1].unsqueeze(1) if column else parts[-1]
    sizes = [parts[0].shape[0], *(x.shape[1] for x in parts)]
    n = len(parts)
    cost = {(i, i): (0, i) for i in range(n)}
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            cost[i, j] = min(
                (cost[i, k][0] + cost[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Any:
        if i == j:
            return parts[i]
        k = cost[i, j][1]
        return matmul(product(i, k), product(k + 1, j))

    made = product(0, n - 1)
    made = made.squeeze(0) if row else made
    return made.squeeze(-1) if column else made


def cross(x, other, *, dim: int = -1):
    """The vector product along `dim`.

    >>> import lucid
    >>> x, y, z = lucid.eye(3)
    >>> lucid.linalg.cross(x, y).equal(z)
    True
    """
    return products.cross(x, other, dim)


def vecdot(x, y, *, dim: int = -1):
    """The sum of conj(x) y along `dim`.

    >>> import lucid
    >>> lucid.linalg.vecdot(lucid.ones(2, 3), lucid.ones(3))
    tensor([3., 3.])
    """
    return ((x.conj() if x.is_complex() else x) * y).sum(dim)


def diagonal(A, *, offset: int = 0, dim1: int = -2, dim2: int = -1):
    """A view of the diagonals of matrices.

    >>> import lucid
    >>> lucid.linalg.diagonal(lucid.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    a, b = (normal_dim("linalg.diagonal", d, A.ndim) for d in (dim1, dim2))
    if a == b:
        raise RuntimeError(f"linalg.diagonal: dim1 and dim2 are both {a}; they must differ")
    return diagonal_view(A, offset, a, b)


def vander(x, N: int | None = None):
    """The powers 0 .. N - 1 of the elements of vectors, one row for each.

    >>> import lucid
    >>> lucid.linalg.vander(lucid.tensor([2, 3]))
    tensor([[1, 2],
            [1, 3]])
    """
    if N is not None and N < 1:
        raise RuntimeError(f"linalg.vander: N must be at least 1, got {N}")
    x = x.unsqueeze(0) if x.ndim == 0 else x
    n = x.shape[-1] if N is None else N
    columns = [ones(tuple(x.shape), dtype=x.dtype)]
    for _ in range(n - 1):
        columns.append(columns[-1] * x)
    return stack(columns, -1)


def tensorinv(A, ind: int = 2):
    """The inverse of the linear map that A is from its last dimensions to its first `ind`.

    >>> import lucid
    >>> lucid.linalg.tensorinv(lucid.eye(4).reshape(2, 2, 4)).shape
    lucid.Size([4, 2, 2])
    """
    rows, columns = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    n = math.prod(rows)
    if n != math.prod(columns):
        raise RuntimeError(f"linalg.tensorinv: {rows} and {columns} have different counts")
    return reshape(inv(reshape(A, (n, n))), (*columns, *rows))


def tensorsolve(A, B, dims: Sequence[int] | None = None):
    """X with tensordot(A, X, X.ndim) = B.

    >>> import lucid
    >>> lucid.linalg.tensorsolve(lucid.eye(4).reshape(2, 2, 4), lucid.ones(2, 2))
    tensor([1., 1., 1., 1.])
    """
    A = A if dims is None else movedim(A, tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = tuple(A.shape[B.ndim :])
    n = math.prod(shape)
    if n != B.numel():
        raise RuntimeError(f"linalg.tensorsolve: {B.numel()} equations for {n} unknowns")
    return reshape(solve(reshape(A, (n, n)), reshape(B, (n,))), shape)


def householder_product(A, tau):
    """The first columns of the product of reflections I - tau_i v_i v_i^T, v_i below the diagonal
    of A.

    >>> import lucid
    >>> lucid.linalg.householder_product(lucid.zeros(2, 1), lucid.zeros(1))
    tensor([[1.],
            [0.]])
    """
    m, n = A.shape[-2:]
    made = expand(eye(m, n, dtype=A.dtype), (*A.shape[:-2], m, n))
    for i in reversed(range(tau.shape[-1])):
        v = A[..., :, i] * to_dtype(tril(ones(m, n, dtype=A.dtype), -1)[:, i], A.dtype)
        v = v + eye(m, n, dtype=A.dtype)[:, i]
        part = matmul(v.unsqueeze(-2), made)
        made = made - tau[..., i, None, None] * (v.unsqueeze(-1) * part)
    return made
