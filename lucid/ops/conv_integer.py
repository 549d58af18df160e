"""Convolutions of integers: windows as rows, times the weights, wrapping in their own type.

Called by convolution.py.
"""

from math import prod
from typing import Any

from lucid.ops.contract import integer_product
from lucid.ops.padding import pad_constant
from lucid.ops.view import permute, reshape


def integer_convolution(x: Any, w: Any, b: Any, stride, sides, dilation, groups: int) -> Any:
    """The convolution of x (N, C, ...) with w (O, C / groups, ...), plus b (O), in any rank."""
    rank, n, outputs = len(stride), x.shape[0], w.shape[0]
    before, after = zip((0, 0), (0, 0), *sides, strict=True)
    x = pad_constant(x, 0, before, after)
    for d, (k, s, step) in enumerate(zip(w.shape[2:], stride, dilation, strict=True)):
        x = x.unfold(2 + d, (k - 1) * step + 1, s)
    x = x[(..., *(slice(None, None, step) for step in dilation))]  # (N, C, sizes, kernel)
    size, channels = tuple(x.shape[2 : 2 + rank]), w.shape[1]
    x = x.reshape(n, groups, channels, *x.shape[2:])
    places, taps = range(3, 3 + rank), range(3 + rank, 3 + 2 * rank)
    x = permute(x, (1, 0, *places, 2, *taps))
    rows = x.reshape(groups, n * prod(size), prod(w.shape[1:]))
    columns = permute(reshape(w, (groups, outputs // groups, rows.shape[2])), (0, 2, 1))
    y = reshape(integer_product(rows, columns), (groups, n, *size, outputs // groups))
    y = permute(y, (1, 0, 2 + rank, *range(2, 2 + rank))).reshape(n, outputs, *size)
    return y if b is None else y + reshape(b, (outputs, *(1,) * rank))
