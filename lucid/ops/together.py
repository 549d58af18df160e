"""Functions of several tensors that return views of each: common shapes, grids of coordinates.

Public functions: ops/methods.py lists them.
"""

from lucid.layout import broadcast_shapes
from lucid.ops.view import expand, reshape


def broadcast_tensors(*tensors):
    """The tensors expanded to their common shape.

    >>> import lucid
    >>> lucid.broadcast_tensors(lucid.ones(2), lucid.zeros(1))
    (tensor([1., 1.]), tensor([0., 0.]))
    """
    shape = broadcast_shapes("broadcast_tensors", *(tuple(x.shape) for x in tensors))
    return tuple(expand(x, shape) for x in tensors)


def meshgrid(*tensors, indexing: str = "ij"):
    """Grids of coordinates from vectors; indexing "ij" (matrix) or "xy" (first two swapped).

    >>> import lucid
    >>> [g.tolist() for g in lucid.meshgrid(lucid.arange(2), lucid.arange(2), indexing="ij")]
    [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    swap = indexing == "xy" and len(tensors) > 1
    given = (tensors[1], tensors[0], *tensors[2:]) if swap else tensors
    shape = tuple(x.numel() for x in given)
    grids = []
    for d, x in enumerate(given):
        ones = tuple(n if i == d else 1 for i, n in enumerate(shape))
        grids.append(expand(reshape(x, ones), shape))
    return tuple((grids[1], grids[0], *grids[2:]) if swap else grids)
