"""The gradient of an image: an input of few channels, whose planes are rows of memory.

conv.py asks `few_steps` after `plane_steps`. The template's lanes lie along channels, of which an
image has three. Here they lie along pixels: each tap of each channel is a row of a product of the
kernel with the cotangent, and an element adds up the taps that have seen it, line by line.
"""

import itertools
from math import prod
from typing import NamedTuple

from lucid.kernel import expr, loops
from lucid.kernel.loops import Map, Store
from lucid.lazy import lazy
from lucid.ops.conv_planes import LEAST, MOST, nest_of, read_plane, sum_along
from lucid.ops.unroll import Moving, at_time, walk
from lucid.plan.copies import copy_step
from lucid.plan.steps import Operand, Step, template_step

_gemm = lazy("lucid.backend.cpu.gemm")

CHANNELS = 16  # with more of them the template's lanes are full
BYTES = 1 << 22  # of products at a time, which stay in the third-level cache


class _Taps(NamedTuple):
    """Taps that see places `first`, `first` + stride, ... of a dimension: `count` of them, the
    first one and the place that it adds to, and how far both are from one to the next."""

    first: int
    count: int
    start: tuple[int, int]
    step: tuple[int, int]


def few_steps(
    context, kind: str, x: Operand, w: Operand, y: Operand, params: tuple
) -> list[Step] | None:
    """The kernels of an input's gradient x from the cotangent y; None where it is not one of an
    image (conv.Convolution)."""
    stride, padding, dilation, groups = params[:4]
    (n, channels, _, width), (outer, _, *taps) = x.shape, w.shape
    most = min(CHANNELS, outer // 2)
    if kind != "input" or groups > 1 or channels > most or prod(taps) > MOST:
        return None
    flat = y.strides[3] == x.strides[3] == 1 and y.strides[2] == y.shape[3]
    dense = w.strides[1:3] == (prod(taps) * w.strides[3], taps[1] * w.strides[3])
    if not flat or not dense or width < LEAST * stride[1] or y.shape[3] < LEAST:
        return None
    compute = x.dtype.compute
    image = channels * prod(taps) * prod(y.shape[2:])
    most = max(1, BYTES // (image * compute.itemsize))
    each = next(d for d in range(min(n, most), 0, -1) if n % d == 0)
    products = context.temporary((each, channels, *taps, *y.shape[2:]), compute)
    parts = [_images(o, each) for o in (x, y)]
    first = [at_time(o, 0) for o in parts]
    steps = [_product(first[1], w, products)]
    steps += _sums(products, first[0], stride, [p[0] for p in padding], dilation)
    moves = {id(first[1]): parts[1].strides[0]}
    moves |= {
        id(o): parts[0].strides[0] for s in steps[1:] for o in s.operands if o is not products
    }
    together: list[Moving] = [(s, moves) for s in steps]
    return [walk("conv2d_image_back", [(range(n // each), together)])]


def _images(o: Operand, each: int) -> Operand:
    """The batch in parts."""
    n, *shape = o.shape
    strides = (each * o.strides[0], *o.strides)
    return Operand(o.value, (n // each, each, *shape), strides, o.dtype, o.offset)


def _product(g: Operand, w: Operand, products: Operand) -> Step:
    """products[n, (c, p, q), pixel] = sum over o of w[o, c, p, q] g[n, o, pixel]."""
    rows, pixels = prod(w.shape[1:]), prod(g.shape[2:])
    spec = dict(
        dtype=g.dtype, m=rows, n=pixels, k=w.shape[0], a=(w.strides[3], w.strides[0]),
        b=(g.strides[1], 1), c=(pixels, 1), batch=g.shape[:1], a_batch=(0,),
        b_batch=g.strides[:1], c_batch=(rows * pixels,), output=products.dtype,
    )  # fmt: skip

    def plan(threads: int):
        return _gemm.plan_matmul(_gemm.MatmulSpec(**spec, threads=threads))

    operands = {"a": w, "b": g, "c": products}
    return template_step("gemm", operands, plan, g.shape[0] * rows * pixels * w.shape[0])


def _sums(products: Operand, x: Operand, stride, before, dilation) -> list[Step]:
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
    if not seen[0].count or not seen[1].count:
        return copy_step(None, part)
    value = read_plane(products, [n, c, *taps], *at)
    total = expr.cast(loops.folded(0, 0, products.dtype), x.dtype)
    stages = [sum_along("pq", value), Map((), (Store("y0", (n, c, *rest[:2]), total),))]
    extents = dict(zip("nchvpq", (*part.shape, seen[0].count, seen[1].count), strict=True))
    operands = {"y0": part, "x0": products}
    return nest_of("conv2d_image_sums", operands, extents, ["p", "q"], stages, "grid")
