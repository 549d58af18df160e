"""Records of matrix decompositions, computed by NumPy's LAPACK, with their derivatives.

The public functions are in linalg.py. Derivatives of factors: Giles, "An extended collection of
matrix derivative results" (2008); Townsend, "Differentiating the SVD" (2016).
"""

from typing import Any

import numpy as np

from lucid.dtypes import int64
from lucid.ops.contract import matmul, transposed
from lucid.ops.creation import eye, tril, zeros
from lucid.ops.elementwise import where
from lucid.ops.host import Host, check_matrix
from lucid.ops.join import cat
from lucid.ops.parts import diag_embed
from lucid.ops.view import diagonal


def diagonal_of(x: Any) -> Any:
    """The diagonal of the last two dimensions."""
    return diagonal(x, 0, len(x.shape) - 2, len(x.shape) - 1)


def mirrored(x: Any) -> Any:
    """Symmetric matrices from the lower triangles of x."""
    return tril(x) + transposed(tril(x, -1))


def _identity(x: Any) -> Any:
    return eye(x.shape[-1], dtype=x.dtype)


class inv_(Host):
    """The inverses of matrices."""

    label = "inv"

    def names(x):
        pass

    def infer(types, params):
        check_matrix("inv", types)
        return [types[0][:2]]

    def compute(x):
        return np.linalg.inv(x)

    def vjp_x(g, y):
        t = transposed(y)
        return -matmul(matmul(t, g), t)

    ref = np.linalg.inv


class solve_(Host):
    """X with A X = B, for matrices B with as many rows and the same batch."""

    label = "solve"

    def names(x, b):
        pass

    def infer(types, params):
        batch, n, _ = check_matrix("solve", types)
        shape, kind, _ = types[1]
        if len(shape) < 2 or shape[-2] != n or tuple(shape[:-2]) != batch:
            raise RuntimeError(f"linalg.solve: shapes {types[0][0]} and {shape} do not fit")
        if kind is not types[0][1]:
            raise RuntimeError(f"linalg.solve: dtypes {types[0][1]!r} and {kind!r} differ")
        return [(shape, kind)]

    def compute(x, b):
        return np.linalg.solve(x, b)

    def vjp_x(g, x, y):
        return -matmul(solve_(transposed(x), g), transposed(y))

    def vjp_b(g, x):
        return solve_(transposed(x), g)

    ref = np.linalg.solve


class cholesky_(Host):
    """The lower triangular L with L L^T = x."""

    label = "cholesky"

    def names(x):
        pass

    def infer(types, params):
        check_matrix("cholesky", types)
        return [types[0][:2]]

    def compute(x):
        try:
            return np.linalg.cholesky(x)
        except np.linalg.LinAlgError:
            raise np.linalg.LinAlgError("a matrix is not positive definite") from None

    def vjp_x(g, y):
        t = transposed(y)
        inner = tril(matmul(t, g))
        inner = inner - 0.5 * inner * _identity(inner)
        made = solve_(t, transposed(solve_(t, transposed(inner))))
        return 0.5 * (made + transposed(made))

    ref = np.linalg.cholesky


class qr_(Host):
    """(Q, R): x = Q R, Q with orthonormal columns, R upper triangular."""

    label = "qr"
    count = 2

    def names(x, *, mode):
        pass

    def infer(types, params):
        batch, m, n = check_matrix("qr", types, False)
        kind = types[0][1]
        k = m if params[0] == "complete" else min(m, n)
        if params[0] == "r":
            return [((*batch, 0), kind), ((*batch, k, n), kind)]
        return [((*batch, m, k), kind), ((*batch, k, n), kind)]

    def compute(x, mode):
        if mode == "r":
            return np.empty((*x.shape[:-2], 0), x.dtype), np.linalg.qr(x, "r")
        return tuple(np.linalg.qr(x, mode))

    def vjp_x(g, g1, y, y1, x, mode):
        m, n = x.shape[-2], x.shape[-1]
        if mode == "r" or (mode == "complete" and m > n):
            raise NotImplementedError(
                f"linalg.qr: mode={mode!r} has no gradient for matrices of {m} x {n}; use 'reduced'"
            )
        g1 = zeros(tuple(y1.shape), dtype=y1.dtype) if g1 is None else g1
        if m >= n:
            return _qr_back(y, y1, g, g1)
        # The first columns decide Q; the others are turned by it.
        rest, g_rest = x[..., m:], g1[..., m:]
        first = _qr_back(y, y1[..., :m], g + matmul(rest, transposed(g_rest)), g1[..., :m])
        return cat([first, matmul(y, g_rest)], -1)


def _qr_back(q: Any, r: Any, gq: Any, gr: Any) -> Any:
    inner = matmul(r, transposed(gr)) - matmul(transposed(gq), q)
    made = gq + matmul(q, mirrored(inner))
    return transposed(solve_(r, transposed(made)))


class eigh_(Host):
    """(w, V): the eigenvalues in order and the eigenvectors, as columns, of symmetric matrices."""

    label = "eigh"
    count = 2

    def names(x, *, lower):
        pass

    def infer(types, params):
        check_matrix("eigh", types)
        shape, kind, _ = types[0]
        return [(tuple(shape[:-1]), kind), (shape, kind)]

    def compute(x, lower):
        return tuple(np.linalg.eigh(x, "L" if lower else "U"))

    def vjp_x(g, g1, y, y1):
        t = transposed(y1)
        inner = diag_embed(g)
        if g1 is not None:
            gap = y.unsqueeze(-2) - y.unsqueeze(-1)
            same = _identity(gap) > 0
            inner = inner + where(same, 0.0, matmul(t, g1) / where(same, 1.0, gap))
        return matmul(matmul(y1, inner), t)


class svd_(Host):
    """(U, S, Vh): x = U diag(S) Vh, S in decreasing order, min(m, n) of each."""

    label = "svd"
    count = 3

    def names(x, *, full):
        pass

    def infer(types, params):
        batch, m, n = check_matrix("svd", types, False)
        kind, k = types[0][1], min(m, n)
        rows, columns = (m, n) if params[0] else (k, k)
        return [((*batch, m, rows), kind), ((*batch, k), kind), ((*batch, columns, n), kind)]

    def compute(x, full):
        return tuple(np.linalg.svd(x, full_matrices=full))

    def vjp_x(g, g1, g2, y, y1, y2, x_meta, full):
        m, n = x_meta.shape[-2], x_meta.shape[-1]
        k = min(m, n)
        u, s, vh = y[..., :k], y1, y2[..., :k, :]
        v = transposed(vh)
        inner = zeros(()).to(s.dtype) if g1 is None else diag_embed(g1)
        square = s * s
        gap = square.unsqueeze(-2) - square.unsqueeze(-1)
        gap = where(_identity(gap) > 0, 1.0, gap)
        if full and (m > k or n > k):
            raise NotImplementedError(
                "linalg.svd: the gradient needs full_matrices=False, the further singular "
                "vectors are not unique"
            )
        turned = matmul(transposed(u), g)
        inner = inner + (turned - transposed(turned)) / gap * s.unsqueeze(-2)
        if g2 is not None:
            turned = matmul(vh, transposed(g2))
            inner = inner + s.unsqueeze(-1) * ((turned - transposed(turned)) / gap)
        made = matmul(matmul(u, inner), vh)
        if m > k:
            outside = g - matmul(u, matmul(transposed(u), g))
            made = made + matmul(outside / s.unsqueeze(-2), vh)
        if n > k and g2 is not None:
            outside = g2 - matmul(matmul(g2, v), vh)
            made = made + matmul(u, outside / s.unsqueeze(-1))
        return made


class svdvals_(Host):
    """The singular values in decreasing order."""

    label = "svdvals"

    def names(x):
        pass

    def infer(types, params):
        batch, m, n = check_matrix("svdvals", types, False)
        return [((*batch, min(m, n)), types[0][1])]

    def compute(x):
        return np.linalg.svd(x, compute_uv=False)

    def vjp_x(g, x):
        u, _, vh = svd_(x, False)
        return matmul(u * g.unsqueeze(-2), vh)


class slogdet_(Host):
    """(sign, log |det|)."""

    label = "slogdet"
    count = 2

    def names(x):
        pass

    def infer(types, params):
        batch, _, _ = check_matrix("slogdet", types)
        return [(batch, types[0][1]), (batch, types[0][1])]

    def compute(x):
        return tuple(np.linalg.slogdet(x))

    def vjp_x(g, g1, x):
        if g1 is None:
            return x * 0.0
        return g1.unsqueeze(-1).unsqueeze(-1) * transposed(inv_(x))


class det_(Host):
    """Determinants."""

    label = "det"

    def names(x):
        pass

    def infer(types, params):
        batch, _, _ = check_matrix("det", types)
        return [(batch, types[0][1])]

    def compute(x):
        return np.linalg.det(x)

    def vjp_x(g, x):
        # The cofactors by singular values, defined for singular matrices too.
        u, s, vh = svd_(x, False)
        n = s.shape[-1]
        others = where(_identity(x) > 0, 1.0, s.unsqueeze(-2).expand(tuple(x.shape)))
        sign = det_(matmul(u, vh)).unsqueeze(-1)
        rest = others.prod(-1) if n else s
        return g.unsqueeze(-1).unsqueeze(-1) * matmul(u * (rest * sign).unsqueeze(-2), vh)


class pinv_(Host):
    """The Moore-Penrose inverses; singular values up to max(atol, rtol times the largest) count
    as 0. The derivative: Golub and Pereyra (1973)."""

    label = "pinv"

    def names(x, *, atol, rtol):
        pass

    def infer(types, params):
        batch, m, n = check_matrix("pinv", types, False)
        return [((*batch, n, m), types[0][1])]

    def compute(x, atol, rtol):
        if x.size == 0:
            return np.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        if rtol is None:
            rtol = 0.0 if atol else max(x.shape[-2:]) * np.finfo(x.dtype).eps
        limit = np.maximum(atol or 0.0, rtol * s[..., :1])
        kept = np.where(s > limit, 1.0 / np.where(s > limit, s, 1.0), 0.0)
        v = np.swapaxes(vh, -1, -2)
        return (v * kept[..., None, :]) @ np.swapaxes(u, -1, -2)

    def vjp_x(g, x, y):
        p, t, gt = y, transposed(y), transposed(g)
        left = matmul(gt, matmul(p, t))
        left = left - matmul(x, matmul(p, left))
        right = matmul(matmul(t, p), gt)
        right = right - matmul(right, matmul(p, x))
        return left + right - matmul(matmul(t, g), t)


class lstsq_(Host):
    """(X, rank, singular values) with the least |A X - B|, and the least |X| among those."""

    label = "lstsq"
    count = 3

    def names(x, b, *, rcond):
        pass

    def infer(types, params):
        batch, m, n = check_matrix("lstsq", types, False)
        shape, kind, _ = types[1]
        if len(shape) < 2 or shape[-2] != m or tuple(shape[:-2]) != batch:
            raise RuntimeError(f"linalg.lstsq: shapes {types[0][0]} and {shape} do not fit")
        if kind is not types[0][1]:
            raise RuntimeError(f"linalg.lstsq: dtypes {types[0][1]!r} and {kind!r} differ")
        return [((*batch, n, shape[-1]), kind), (batch, int64), ((*batch, min(m, n)), kind)]

    def compute(x, b, rcond):
        batch = x.shape[:-2]
        y = np.zeros((*batch, x.shape[-1], b.shape[-1]), x.dtype)
        rank = np.zeros(batch, np.int64)
        values = np.zeros((*batch, min(x.shape[-2:])), x.dtype)
        for place in np.ndindex(*batch):
            made = np.linalg.lstsq(x[place], b[place], rcond)
            y[place], rank[place], values[place] = made[0], made[2], made[3]
        return y, rank, values

    def vjp_x(g, x, b):
        p = pinv_(x, None, None)
        return pinv_.vjp_x(matmul(g, transposed(b)), x, p)

    def vjp_b(g, x):
        return matmul(transposed(pinv_(x, None, None)), g)
