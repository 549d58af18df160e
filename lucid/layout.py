"""Layouts: shape, strides, dtype and device of a tensor, interned so that equality is identity.

storage.py lies below; the funnel's plan cache above is keyed by these objects.
"""

import functools
from collections.abc import Sequence
from math import prod
from weakref import WeakValueDictionary

from lucid.device import device
from lucid.dtypes import dtype


class Layout:
    """How the elements of a tensor lie in its storage. Made by `layout` only; strides count
    elements."""

    __slots__ = (
        "shape", "strides", "dtype", "device", "numel", "contiguous", "nbytes", "span",
        "__weakref__",
    )  # fmt: skip

    def __init__(
        self, shape: tuple[int, ...], strides: tuple[int, ...], kind: dtype, place: device
    ):
        self.shape = shape
        self.strides = strides
        self.dtype = kind
        self.device = place
        self.numel = prod(shape)
        self.contiguous = self.numel == 0 or strides_match(shape, strides)
        self.nbytes = self.numel * kind.itemsize
        # The elements of storage touched lie in [offset + span[0], offset + span[1]).
        low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0)
        high = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s > 0)
        self.span = (low, high + 1) if self.numel else (0, 0)

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"

    @property
    def ndim(self) -> int:
        return len(self.shape)


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n if n else 1
    return tuple(reversed(strides))


def strides_match(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the strides are row-major; those of dimensions of size 1 do not matter."""
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1:
            if s != step:
                return False
            step *= n
    return True


_interned: WeakValueDictionary[tuple, Layout] = WeakValueDictionary()


def layout(
    shape: tuple[int, ...], strides: tuple[int, ...] | None, kind: dtype, place: device
) -> Layout:
    """The one layout with these properties; strides None means row-major."""
    if strides is None:
        strides = contiguous_strides(shape)
    key = (shape, strides, kind, place)
    found = _interned.get(key)
    if found is None:
        # setdefault, so that two threads that race agree on one object.
        found = _interned.setdefault(key, Layout(shape, strides, kind, place))
    return found


@functools.lru_cache(4096)
def row_major(shape: tuple[int, ...], kind: dtype, place: device) -> Layout:
    """The row-major layout of a shape of ints, found faster."""
    return layout(shape, None, kind, place)


def dense_order(lay: Layout) -> tuple[int, ...] | None:
    """Dimensions from the slowest to the fastest if the elements are dense and do not overlap."""
    order = sorted(range(lay.ndim), key=lambda d: (-lay.strides[d], d))
    order = [d for d in order if lay.shape[d] != 1]
    step = 1
    for d in reversed(order):
        if lay.strides[d] != step:
            return None
        step *= lay.shape[d]
    singles = [d for d in range(lay.ndim) if lay.shape[d] == 1]
    return tuple(singles + order)


def strides_in_order(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Dense strides when `order` lists the dimensions from the slowest to the fastest."""
    strides = [0] * len(shape)
    step = 1
    for d in reversed(order):
        strides[d] = step
        step *= shape[d] if shape[d] else 1
    return tuple(strides)


def broadcast_shapes(op: str, *shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape, aligned at the right; sizes must be equal or 1."""
    rank = max((len(s) for s in shapes), default=0)
    result = [1] * rank
    for s in shapes:
        for d, n in enumerate(s, start=rank - len(s)):
            if n != 1:
                if result[d] != 1 and result[d] != n:
                    listed = " and ".join(str(tuple(x)) for x in shapes)
                    raise RuntimeError(
                        f"{op}: shapes {listed} do not broadcast: dimension {d} has sizes "
                        f"{result[d]} and {n}; sizes must be equal, or one of them 1"
                    )
                result[d] = n
    return tuple(result)


def reshape_strides(lay: Layout, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Strides by which the same elements have another shape without a copy, if there are any."""
    if lay.numel == 0:
        return contiguous_strides(shape)
    # Merge old dimensions into runs of constant step, then cut the runs into the new sizes.
    runs: list[list[int]] = []  # [size, stride of its fastest element]
    for n, s in zip(lay.shape, lay.strides, strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == s * n:
            runs[-1][0] *= n
            runs[-1][1] = s
        else:
            runs.append([n, s])
    strides: list[int] = []
    position = len(runs) - 1
    left, step = runs[position] if runs else (1, 1)
    for n in reversed(shape):
        if n == 1:
            strides.append(step * left)
            continue
        if left == 1:
            position -= 1
            if position < 0:
                return None
            left, step = runs[position]
        if left % n:
            return None
        strides.append(step)
        left //= n
        step *= n
    return tuple(reversed(strides))
