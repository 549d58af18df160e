"""What the taps of a convolution's kernel see of an image, as rows of pixels, and rows added up.

conv_few.py has products with them. Rows are (n, c, p, q, h, v): what tap (p, q) sees of channel c
where the kernel stands at (h, v).
"""

import itertools
from typing import Any, NamedTuple

from lucid.kernel import expr, loops
from lucid.kernel.loops import Map, Store
from lucid.ops.conv_planes import nest_of, read_plane, sum_along
from lucid.plan.copies import copy_step
from lucid.plan.steps import Operand, Step


def take_apart(context: Any, x: Operand, rows: Operand, stride, before, dilation) -> list[Step]:
    """rows[n, c, p, q, h, v] = x[n, c, i, j], 0 outside; i + before = h stride + p dilation, and so
    for j. Lanes lie along v: columns that a stride lets it see are put side by side before."""
    n, c, p, q, h, v = (expr.index(a) for a in "ncpqhv")
    steps, lead, s = [], [n, c], stride[1]
    reach = q * dilation[1] - before[1]
    if s > 1:
        size = (*x.shape[:2], s, x.shape[2], -(-x.shape[3] // s))
        apart = context.temporary(size, x.dtype)
        value = read_plane(x, [n, c], h, v * s + q)
        store = Store("y0", (n, c, q, h, v), expr.cast(value, x.dtype))
        extents = dict(zip("ncqhv", size, strict=True))
        stages = [Map((), (store,))]
        operands = {"y0": apart, "x0": x}
        steps.append(nest_of("conv2d_image_columns", operands, extents, [], stages, "grid"))
        above = -(-before[1] // s)  # so that nothing negative is divided
        whole = expr.quotient(reach + above * s, s)
        x, lead, reach = apart, [n, c, reach + above * s - whole * s], whole - above
    value = read_plane(x, lead, h * stride[0] + p * dilation[0] - before[0], v + reach)
    store = Store("y0", (n, c, p, q, h, v), expr.cast(value, rows.dtype))
    extents = dict(zip("ncpqhv", rows.shape, strict=True))
    operands, stages = {"y0": rows, "x0": x}, [Map((), (store,))]
    steps.append(nest_of("conv2d_image_rows", operands, extents, [], stages, "grid"))
    return steps


class _Taps(NamedTuple):
    """Taps that see places `first`, `first` + stride, ... of a dimension: `many` of them, the
    first one and the place that it adds to, and how far both are from one to the next."""

    first: int
    many: int
    start: tuple[int, int]
    step: tuple[int, int]


def add_up(products: Operand, x: Operand, stride, before, dilation) -> list[Step]:
    """x[n, c, i, j] = the sum of products[n, c, p, q, h, v], i + before = h stride + p dilation
    and so for j: a kernel for each residue of i and j, which the same taps have seen."""
    rows, columns = (_seen(products, x, d, stride, before, dilation) for d in range(2))
    return [_phase(products, x, pair, stride) for pair in itertools.product(rows, columns)]


def _seen(products: Operand, x: Operand, d: int, stride, before, dilation) -> list[_Taps]:
    """By what each residue of a dimension is seen."""
    found = []
    for first in range(min(stride[d], x.shape[2 + d])):
        reach = [(p, first + before[d] - p * dilation[d]) for p in range(products.shape[2 + d])]
        taps = [(p, at // stride[d]) for p, at in reach if at % stride[d] == 0]
        start, after = ([*taps, *taps[-1:], (0, 0), (0, 0)])[:2]
        step = after[0] - start[0], after[1] - start[1]
        found.append(_Taps(first, len(taps), start, step))
    return found


def _phase(products: Operand, x: Operand, seen, stride) -> Step:
    n, c, *rest = (expr.index(a) for a in "nchvpq")
    at, taps, size = [], [], []
    for d, found in enumerate(seen):
        place, tap = rest[d], rest[2 + d]
        taps.append(tap * found.step[0] + found.start[0])
        at.append(place + tap * found.step[1] + found.start[1])
        size.append(-(-(x.shape[2 + d] - found.first) // stride[d]))
    strides = (*x.strides[:2], x.strides[2] * stride[0], x.strides[3] * stride[1])
    offset = x.offset + seen[0].first * x.strides[2] + seen[1].first * x.strides[3]
    part = Operand(x.value, (*x.shape[:2], *size), strides, x.dtype, offset)
    if not seen[0].many or not seen[1].many:
        return copy_step(None, part)
    value = read_plane(products, [n, c, *taps], *at)
    total = expr.cast(loops.folded(0, 0, products.dtype), x.dtype)
    stages = [sum_along("pq", value), Map((), (Store("y0", (n, c, *rest[:2]), total),))]
    extents = dict(zip("nchvpq", (*part.shape, seen[0].many, seen[1].many), strict=True))
    operands = {"y0": part, "x0": products}
    return nest_of("conv2d_image_sums", operands, extents, ["p", "q"], stages, "grid")
