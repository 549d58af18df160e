"""Products with a sum, of vectors and of blocks: addmv, addr, addbmm, inner, vdot, kron, cross."""

from lucid.layout import broadcast_shapes
from lucid.op import Composite, normal_dim
from lucid.ops.contract import bmm, dot, matmul, mv, outer, scaled_sum
from lucid.ops.join import roll
from lucid.ops.reduce import sum_
from lucid.ops.view import expand, reshape


def addmv(x, mat, vec, *, beta: float = 1, alpha: float = 1):
    """beta x + alpha (mat @ vec).

    >>> import lucid
    >>> lucid.addmv(lucid.ones(2), lucid.eye(2), lucid.tensor([1.0, 2.0]))
    tensor([2., 3.])
    """
    return scaled_sum("addmv", x, mv(mat, vec), beta, alpha)


def addr(x, vec1, vec2, *, beta: float = 1, alpha: float = 1):
    """beta x + alpha (vec1 vec2^T).

    >>> import lucid
    >>> lucid.addr(lucid.zeros(1, 2), lucid.ones(1), lucid.tensor([1.0, 2.0]))
    tensor([[1., 2.]])
    """
    return scaled_sum("addr", x, outer(vec1, vec2), beta, alpha)


def addbmm(x, batch1, batch2, *, beta: float = 1, alpha: float = 1):
    """beta x + alpha times the sum over the batch of batch1 @ batch2.

    >>> import lucid
    >>> lucid.addbmm(lucid.zeros(1, 1), lucid.ones(2, 1, 3), lucid.ones(2, 3, 1))
    tensor([[6.]])
    """
    return scaled_sum("addbmm", x, sum_(bmm(batch1, batch2), (0,), False), beta, alpha)


def inner(x, other):
    """The sum of products over the last dimensions; of scalars the product.

    >>> import lucid
    >>> lucid.inner(lucid.tensor([1, 2]), lucid.tensor([3, 4]))
    tensor(11)
    """
    if x.ndim == 0 or other.ndim == 0:
        return x * other
    if x.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"inner: the last sizes of shapes {tuple(x.shape)} and {tuple(other.shape)} differ"
        )
    n = x.shape[-1]
    rows = reshape(x, (x.numel() // max(n, 1), n))
    columns = reshape(other, (other.numel() // max(n, 1), n))
    return reshape(matmul(rows, columns.t()), (*x.shape[:-1], *other.shape[:-1]))


def vdot(x, other):
    """The sum of conj(x) times other, of vectors.

    >>> import lucid
    >>> lucid.vdot(lucid.tensor([1.0, 2.0]), lucid.tensor([3.0, 4.0]))
    tensor(11.)
    """
    return dot(x.conj() if x.is_complex() else x, other)


def kron(x, other):
    """The Kronecker product: each element of x times all of other.

    >>> import lucid
    >>> lucid.kron(lucid.tensor([1, 2]), lucid.tensor([1, 10]))
    tensor([ 1, 10,  2, 20])
    """
    rank = max(x.ndim, other.ndim)
    a = (1,) * (rank - x.ndim) + tuple(x.shape)
    b = (1,) * (rank - other.ndim) + tuple(other.shape)
    wide = tuple(n for m in a for n in (m, 1))
    narrow = tuple(n for m in b for n in (1, m))
    made = reshape(x, wide) * reshape(other, narrow)
    return reshape(made, tuple(m * n for m, n in zip(a, b, strict=True)))


class cross_(Composite):
    """The vector product along a dimension of size 3."""

    public = False

    def forward(x, w, *, dim):
        return roll(x, -1, dim) * roll(w, -2, dim) - roll(x, -2, dim) * roll(w, -1, dim)

    def vjp_x(g, w, dim):
        return cross_(w, g, dim)

    def vjp_w(g, x, dim):
        return cross_(g, x, dim)


def cross(x, other, dim: int | None = None):
    """The vector product along `dim`, by default the first of size 3; other dimensions broadcast.

    >>> import lucid
    >>> lucid.cross(lucid.tensor([1.0, 0.0, 0.0]), lucid.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    shape = broadcast_shapes("cross", tuple(x.shape), tuple(other.shape))
    if dim is None:
        if 3 not in shape:
            raise RuntimeError(f"cross: no dimension of shape {shape} has size 3")
        dim = shape.index(3)
    d = normal_dim("cross", dim, len(shape))
    for given in (x, other):
        if given.ndim != len(shape) or given.shape[d] != 3:
            raise RuntimeError(
                f"cross: dimension {dim} must have size 3 in both shapes {tuple(x.shape)} and "
                f"{tuple(other.shape)}"
            )
    if tuple(x.shape) != tuple(other.shape):
        x, other = expand(x, shape), expand(other, shape)
    return cross_(x, other, d)


def chain_matmul(*matrices):
    """The product of matrices, from the left.

    >>> import lucid
    >>> lucid.chain_matmul(lucid.eye(2), lucid.ones(2, 1)).shape
    lucid.Size([2, 1])
    """
    made = matrices[0]
    for x in matrices[1:]:
        made = matmul(made, x)
    return made
