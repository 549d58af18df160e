"""Which calls are of complex numbers, and who takes them: the funnel asks here.

No kernel knows complex numbers. ops/methods.py puts the function of ops/complex.py into `lowered`
that makes calls on pairs of real numbers of such a call.
"""

from collections.abc import Callable, Sequence

from lucid.array import Array
from lucid.dtypes import COMPLEX, dtype
from lucid.layout import Layout, layout

lowered: list[Callable] = []  # one function of (op, inputs, params)


def is_complex(inputs: Sequence, params: Sequence = ()) -> bool:
    """Whether a call is of complex numbers, or makes them."""
    for x in inputs:
        if isinstance(x, Array):
            if x._layout.dtype.category == COMPLEX:
                return True
        elif isinstance(x, complex):
            return True
    return any([isinstance(p, dtype) and p.category == COMPLEX for p in params])


def pairs_of(lay: Layout, offset: int) -> tuple[Layout, int]:
    """The layout and offset of complex numbers as pairs of real ones; others are themselves."""
    if lay.dtype.category != COMPLEX:
        return lay, offset
    strides = (*[2 * s for s in lay.strides], 1)
    return layout((*lay.shape, 2), strides, lay.dtype.parts, lay.device), 2 * offset
