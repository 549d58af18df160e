"""hash_tensor: a number of all elements. tables.py lists it."""

from lucid import dtypes
from lucid.dtypes import FLOATING, float64, int64
from lucid.kernel import expr
from lucid.kernel.loops import Monoid
from lucid.op import normal_dims
from lucid.ops.reduce import Plain


class exclusive_or(Plain):
    """The exclusive or of the elements' bits: those of floating numbers as float64, of others as
    int64."""

    public = False

    @classmethod
    def accumulate(cls, kind, params):
        return int64

    @classmethod
    def result(cls, kind, params):
        return int64

    @classmethod
    def fold(cls, kind):
        return Monoid("xor", (int64,), (expr.const(0, int64),), lambda a, b: (a[0] ^ b[0],))

    @classmethod
    def element(cls, types, params, index, loads):
        x = loads[0](index)
        if types[0][1].category == FLOATING:
            return (expr.bitcast(expr.cast(x, float64), int64),)
        return (expr.cast(x, int64),)


def hash_tensor(x, dim=None, *, keepdim: bool = False, mode: int = 0):
    """The exclusive or of all elements' bits, or of those along `dim`: floating numbers as float64,
    integers and bool as int64. mode 0 is the only one. The result is int64, with the bits of
    PyTorch's uint64.

    >>> import lucid
    >>> lucid.hash_tensor(lucid.tensor([1, 2, 4]))
    tensor(7)
    """
    if mode != 0:
        raise ValueError(f"hash_tensor: mode must be 0, got {mode}")
    if x.dtype.category == dtypes.COMPLEX:
        raise RuntimeError("hash_tensor: complex tensors are not supported")
    dims = None if isinstance(dim, (tuple, list)) and not dim else dim
    return exclusive_or(x.detach(), normal_dims("hash_tensor", dims, x.ndim), keepdim)
