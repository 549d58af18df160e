"""Which neighbours an output element of a resized dimension is made of, and their weights.

interpolate.py asks for `tables`; resample.py reads them. Worked out in NumPy, in the precision of
the tensor that they are for, and kept: they are as long as one dimension.
"""

import functools
from typing import Any

import numpy as np

from lucid.dtypes import dtype, int64
from lucid.ops.creation import tensor
from lucid.tracing import any_program

CUBIC = -0.75  # the parameter of the cubic kernel (Keys, 1981); -0.5 where it is antialiased


def scale_of(n: int, m: int, align_corners: bool, factor: float | None, kind: Any) -> Any:
    """The step in the input for one of the output, from n to m elements."""
    if align_corners:
        return kind(n - 1) / kind(m - 1) if m > 1 else kind(0)
    if factor is not None and factor > 0:
        return kind(1.0 / factor)
    return kind(n) / kind(m)


def taps_of(
    mode: str, n: int, m: int, align_corners: bool, antialias: bool, factor: float | None, kind: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(places, weights), both (m, taps), places within 0 .. n - 1."""
    out = np.arange(m).astype(kind)
    step = scale_of(n, m, align_corners, factor, kind)
    half = kind(0.5)
    if mode in ("nearest", "nearest-exact"):
        source = out * step if mode == "nearest" else (out + half) * step
        places = np.minimum(np.floor(source).astype(np.int64), n - 1)[:, None]
        return places, np.ones((m, 1), kind)
    if antialias:
        return _antialiased(mode, n, out, step, kind)
    source = out * step if align_corners else (out + half) * step - half
    if mode == "linear":
        source = np.maximum(source, kind(0))
        first = np.minimum(np.floor(source).astype(np.int64), n - 1)
        part = np.clip(source - first.astype(kind), kind(0), kind(1))
        places = np.stack([first, np.minimum(first + 1, n - 1)], 1)
        return places, np.stack([kind(1) - part, part], 1)
    first = np.floor(source).astype(np.int64)
    part = source - np.floor(source)
    places = np.clip(first[:, None] + np.arange(-1, 3), 0, n - 1)
    distances = [part + 1, part, 1 - part, 2 - part]
    return places, np.stack([_cubic(d.astype(kind), kind(CUBIC)) for d in distances], 1)


def _cubic(x: np.ndarray, a: Any) -> np.ndarray:
    """Keys' kernel at the distance x >= 0."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0)).astype(x.dtype)


def _antialiased(
    mode: str, n: int, out: np.ndarray, step: Any, kind: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Where the output is smaller the kernel is as much wider, and its weights sum to one."""
    radius = 1 if mode == "linear" else 2
    wide = max(step, kind(1))
    support = kind(radius) * wide
    centre = step * (out + kind(0.5))
    first = np.maximum((centre - support + kind(0.5)).astype(np.int64), 0)
    last = np.minimum((centre + support + kind(0.5)).astype(np.int64), n)
    taps = max(int((last - first).max()), 1)
    offsets = np.arange(taps)
    places = first[:, None] + offsets
    distance = np.abs((places.astype(kind) - centre[:, None] + kind(0.5)) / wide)
    if mode == "linear":
        weights = np.maximum(kind(1) - distance, kind(0))
    else:
        weights = _cubic(distance, kind(-0.5))
    weights = np.where(places < last[:, None], weights, kind(0))
    total = weights.sum(1, keepdims=True)
    weights = weights / np.where(total == 0, kind(1), total)
    return np.minimum(places, n - 1), weights.astype(kind)


def banded(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, n: int, m: int) -> tuple:
    """(start (m,), weight (m, taps)) of the matrix (m, n) with these entries, which add up."""
    first, last = np.full(m, n, np.int64), np.full(m, -1, np.int64)
    np.minimum.at(first, rows, columns)
    np.maximum.at(last, rows, columns)
    taps = max(int((last - first + 1).max(initial=1)), 1)
    first = np.clip(first, 0, n - taps)
    table = np.zeros((m, taps), weights.dtype)
    np.add.at(table, (rows, columns - first[rows]), weights)
    return first, table


def tables(*of: Any) -> tuple:
    """start, weight, and both for the transpose: see resample.band. They are kept, but for those
    that belong to a trace."""
    return (_made if any_program() else _kept)(*of)


def _made(
    mode: str,
    n: int,
    m: int,
    align_corners: bool,
    antialias: bool,
    factor: float | None,
    kind: dtype,
) -> tuple:
    places, weights = taps_of(mode, n, m, align_corners, antialias, factor, kind.numpy.type)
    rows = np.repeat(np.arange(m), places.shape[1])
    columns, entries = places.ravel(), weights.ravel()
    used = entries != 0
    rows, columns, entries = rows[used], columns[used], entries[used]
    forward = banded(rows, columns, entries, n, m)
    backward = banded(columns, rows, entries, m, n)
    made = []
    for start, weight in (forward, backward):
        # The weights of a tap side by side: lanes lie along the outputs.
        made += [tensor(start, dtype=int64), tensor(weight.T.copy(), dtype=kind).t()]
    return tuple(made)


_kept = functools.lru_cache(maxsize=256)(_made)
