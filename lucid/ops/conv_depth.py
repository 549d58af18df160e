"""Depth as channels: the slices that each output slice of a 3-d convolution sees, side by side.

convolution.py makes a 3-d convolution a 2-d one with it. The channel of (c, tap) is c KD + tap, so
that weights (O, C, KD, KH, KW) are those of the 2-d convolution as they lie.
"""

from lucid.kernel import expr, loops
from lucid.op import Pointwise, Reduction
from lucid.ops.pool import inside
from lucid.ops.spatial import merged


class depth_windows(Pointwise):
    """(N, C, D, H, W) to (N, OD, C, KD, H, W): slices of x, zeros outside."""

    public = False
    axis_map = staticmethod(merged)

    def names(x, *, taps, stride, before, dilation, size):
        pass

    def infer(types, params):
        (n, c, _, h, w), kind, _ = types[0]
        return [((n, params[4], c, params[0], h, w), kind)]

    def element(types, index, loads, taps, stride, before, dilation, size):
        n, slice_, c, tap, h, w = index
        good, at = inside(slice_ * stride + tap * dilation - before, types[0][0][2])
        x = loads[0]([n, c, at, h, w])
        return expr.where(good, x, expr.zero(x))

    def vjp_x(g, x_meta, taps, stride, before, dilation, size):
        return depth_windows_back(g, taps, stride, before, dilation, x_meta.shape[2])


class depth_windows_back(Reduction):
    """The transpose of depth_windows: (N, OD, C, KD, H, W) to (N, C, D, H, W), sums."""

    public = False
    static_window = True
    axis_map = staticmethod(merged)

    def names(g, *, taps, stride, before, dilation, size):
        pass

    def domain(types, params):
        n, _, c, _, h, w = types[0][0]
        return (n, c, params[4], h, w, params[0]), (5,)

    def monoid(types, params):
        return loops.sum_of(types[0][1].compute)

    def infer(types, params):
        n, _, c, _, h, w = types[0][0]
        return [((n, c, params[4], h, w), types[0][1])]

    def element(types, params, index, loads):
        _, stride, before, dilation, _ = params
        n, c, d, h, w, tap = index
        reach = d + before - tap * dilation
        good, at = inside(expr.quotient(reach, stride), types[0][0][1])
        good = good & (at * stride).eq(reach)
        g = loads[0]([n, at, c, tap, h, w])
        return (expr.where(good, g, expr.zero(g)),)

    def vjp_g(g, g_meta, taps, stride, before, dilation):
        return depth_windows(g, taps, stride, before, dilation, g_meta.shape[1])
