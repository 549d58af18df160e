"""Gradients of a convolution of images: inputs of few channels, whose planes are rows of memory.

conv.py asks `few_steps` after `plane_steps`. The template's lanes lie along channels, of which an
image has three, and it copies the cotangent to have them side by side. Here rows of pixels, one for
each tap of each channel (conv_taps.py), stand in ordinary products, for some images at a time.
"""

from math import prod
from typing import Any

from lucid.kernel import expr, loops
from lucid.kernel.loops import Map, Store
from lucid.lazy import lazy
from lucid.ops.conv_planes import LEAST, MOST, nest_of, sum_along
from lucid.ops.conv_taps import add_up, take_apart
from lucid.ops.unroll import at_time, walk
from lucid.plan.steps import Operand, Step, template_step

_gemm = lazy("lucid.backend.cpu.gemm")

CHANNELS = 16  # of an input's gradient; with more of them the template's lanes are full
DEPTH = 96  # rows of a weight's gradient; with more of them the template's copies pay
BYTES = 1 << 22  # of rows at a time, which stay in the third-level cache


def few_steps(
    context: Any, kind: str, x: Operand, w: Operand, y: Operand, params: tuple
) -> list[Step] | None:
    """The kernels of a gradient (conv.Convolution), y the cotangent; None where it is not one of
    images."""
    stride, padding, dilation, groups = params[:4]
    (n, channels, _, width), (outer, _, *taps) = x.shape, w.shape
    depth = channels * prod(taps)
    few = channels <= min(CHANNELS, outer // 2) if kind == "input" else depth <= DEPTH
    if (
        groups > 1
        or kind == "forward"
        or not few
        or prod(taps) > MOST
        or min(width // stride[1], y.shape[3]) < LEAST
    ):
        return None
    flat = y.strides[3] == x.strides[3] == 1 and y.strides[2] == y.shape[3]
    dense = w.strides[1:3] == (prod(taps) * w.strides[3], taps[1] * w.strides[3])
    apart = len({id(o.value) for o in (x, w, y)}) == 3
    if not (flat and dense and apart):
        return None
    compute = x.dtype.compute
    image = (channels, *taps, *y.shape[2:])
    most = max(1, BYTES // (prod(image) * compute.itemsize))
    each = next(d for d in range(min(n, most), 0, -1) if n % d == 0)
    rows = context.temporary((each, *image), compute if kind == "input" else x.dtype)
    parts = [_images(o, each) for o in (x, y)]
    places = (stride, [p[0] for p in padding], dilation)
    some_x, some_y = (at_time(o, 0) for o in parts)
    after = []
    if kind == "input":
        steps = [_rows(w, some_y, rows), *add_up(rows, some_x, *places)]
    else:
        pieces = _pieces(n, y.shape[2])
        sums = context.temporary((n // each, each, pieces, depth, outer), compute)
        parts.append(sums)
        product = _sums(rows, some_y, at_time(sums, 0))
        steps = [*take_apart(context, some_x, rows, *places), product]
        after = [_total(sums, w)]
    if n == each:
        return [*steps, *after]
    moved = {id(o.value): o.strides[0] for o in parts}
    moves = {id(o): moved.get(id(o.value), 0) for s in steps for o in s.operands}
    together = [(s, moves) for s in steps]
    return [walk(f"conv2d_image_{kind}", [(range(n // each), together)]), *after]


def _images(o: Operand, each: int) -> Operand:
    """The batch in parts."""
    n, *shape = o.shape
    strides = (each * o.strides[0], *o.strides)
    return Operand(o.value, (n // each, each, *shape), strides, o.dtype, o.offset)


def _product(m: int, n: int, k: int, operands: dict[str, Operand], **spec) -> Step:
    def plan(threads: int):
        return _gemm.plan_matmul(_gemm.MatmulSpec(m=m, n=n, k=k, threads=threads, **spec))

    return template_step("gemm", operands, plan, m * n * k * prod(spec["batch"]))


def _rows(w: Operand, g: Operand, rows: Operand) -> Step:
    """rows[n, (c, p, q), pixel] = sum over o of w[o, c, p, q] g[n, o, pixel]."""
    depth, pixels = prod(w.shape[1:]), prod(g.shape[2:])
    return _product(
        depth, pixels, w.shape[0], {"a": w, "b": g, "c": rows}, dtype=g.dtype, output=rows.dtype,
        a=(w.strides[3], w.strides[0]), b=(g.strides[1], 1), c=(pixels, 1), batch=g.shape[:1],
        a_batch=(0,), b_batch=g.strides[:1], c_batch=rows.strides[:1],
    )  # fmt: skip


def _pieces(n: int, lines: int) -> int:
    """Into how many sums of its own an image goes, so that a few images keep threads busy."""
    return next(s for s in (4, 2, 1) if s == 1 or (n * s <= 4 and lines % s == 0))


def _sums(rows: Operand, g: Operand, sums: Operand) -> Step:
    """sums[n, piece, (c, p, q), o] = sum over pixels of rows[n, (c, p, q), .] times g[n, o, .]."""
    _, pieces, depth, outer = sums.shape
    pixels = prod(g.shape[2:])
    some = pixels // pieces
    return _product(
        depth, outer, some, {"a": rows, "b": g, "c": sums}, dtype=g.dtype, output=sums.dtype,
        a=(pixels, 1), b=(1, g.strides[1]), c=(outer, 1), batch=sums.shape[:2],
        a_batch=(rows.strides[0], some), b_batch=(g.strides[0], some), c_batch=sums.strides[:2],
    )  # fmt: skip


def _total(sums: Operand, w: Operand) -> Step:
    """w[o, c, p, q] = the sum of all sums[..., (c, p, q), o]."""
    *several, depth, outer = sums.shape
    shape = (prod(several), *w.shape[1:], outer)
    strides = (depth * outer, *(s // w.strides[3] * outer for s in w.strides[1:]), 1)
    n, o, c, p, q = (expr.index(a) for a in "nocpq")
    value = expr.load("x0", [n, c, p, q, o], sums.dtype)
    store = Store("y0", (o, c, p, q), expr.cast(loops.folded(0, 0, sums.dtype), w.dtype))
    extents = dict(zip("ocpqn", (*w.shape, shape[0]), strict=True))
    operands = {"y0": w, "x0": Operand(sums.value, shape, strides, sums.dtype, sums.offset)}
    stages = [sum_along("n", value), Map((), (store,))]
    return nest_of("conv2d_image_total", operands, extents, ["n"], stages, "grid")
