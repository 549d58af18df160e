"""Two-dimensional convolution: forward, both gradients, and the gradients of those.

One native template does all three (backend/cpu/conv.py). The result has the memory format of the
input: row-major, or channels-last where the input is.
"""

from collections.abc import Sequence
from typing import Any

from lucid.dtypes import FLOATING
from lucid.layout import dense_order, strides_in_order
from lucid.lazy import lazy
from lucid.op import Opaque
from lucid.ops.gather import side_by_side
from lucid.ops.pool import pair
from lucid.ops.reduce import sum_
from lucid.ops.view import reshape, with_batch, without_batch
from lucid.plan.steps import Operand, template_step

_native = lazy("lucid.backend.cpu.conv")

CHANNELS_LAST = (0, 2, 3, 1)


class Convolution(Opaque, abstract=True):
    """The three kinds: statics stride, padding (two pairs), dilation, groups."""

    public = False
    autocast = "low"
    kind = "forward"

    @classmethod
    def strides(cls, layouts, shape):
        first = layouts[0]
        if cls.kind != "weight" and not first.contiguous:
            if dense_order(first) == CHANNELS_LAST or _nearly_last(first):
                return strides_in_order(shape, CHANNELS_LAST)
        return None

    @classmethod
    def step(cls, x: Operand, w: Operand, y: Operand, b: Operand | None, params: tuple):
        stride, padding, dilation, groups = params[:4]
        spec = dict(
            kind=cls.kind, dtype=x.dtype, batch=x.shape[0], channels=x.shape[1],
            size=x.shape[2:], out_channels=w.shape[0], kernel=w.shape[2:], x=x.strides,
            w=w.strides, y=y.strides, stride=stride, padding=padding, dilation=dilation,
            groups=groups, bias=b is not None,
        )  # fmt: skip
        operands = {"x": x, "w": w, "y": y}
        if b is not None:
            operands["bias"] = b

        def plan(threads: int) -> Any:
            return _native.plan_conv2d(_native.ConvSpec(**spec, threads=threads))

        work = w.shape[1] * w.shape[2] * w.shape[3]
        for n in y.shape:
            work *= n
        return template_step(f"conv2d_{cls.kind}", operands, plan, work)


def _nearly_last(lay: Any) -> bool:
    """Channels-last but for dimensions of size 1, whose strides say nothing."""
    return lay.shape[1] > 1 and lay.strides[1] == 1


def out_size(n: int, k: int, s: int, p: Sequence[int], d: int) -> int:
    return (n + sum(p) - d * (k - 1) - 1) // s + 1


class conv2d_forward(Convolution):
    """y = x * w."""

    def axis_map(call):
        return (
            _by_groups(call, *call.spread()) if call.batched[1] else _by_batch(call, *call.inputs)
        )

    def names(x, w, *, stride, padding, dilation, groups):
        pass

    def infer(types, params):
        return [(_shape(types[0][0], types[1][0], params), types[0][1])]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        x, w = inputs
        return [cls.step(x, w, outputs[0], None, params)] if 0 not in outputs[0].shape else []

    def vjp_x(g, w, x_meta, stride, padding, dilation, groups):
        return conv2d_input(g, w, stride, padding, dilation, groups, tuple(x_meta.shape))

    def vjp_w(g, x, w_meta, stride, padding, dilation, groups):
        return conv2d_weight(x, g, stride, padding, dilation, groups, tuple(w_meta.shape))


class conv2d_biased(Convolution):
    """y = x * w + b."""

    def axis_map(call):
        x, w, b = call.inputs
        if not any(call.batched[1:]):
            return _by_batch(call, x, w, b)
        y = _by_groups(call, *call.spread()[:2], run=conv2d_forward)
        wide = (call.size, 1, b.shape[-1], 1, 1) if call.batched[2] else (b.shape[-1], 1, 1)
        return y + reshape(b, wide)

    def names(x, w, b, *, stride, padding, dilation, groups):
        pass

    def infer(types, params):
        return [(_shape(types[0][0], types[1][0], params), types[0][1])]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        x, w, b = inputs
        if 0 in outputs[0].shape:
            return []
        copied, b = side_by_side(context, b)
        return [*copied, cls.step(x, w, outputs[0], b, params)]

    def vjp_x(g, w, x_meta, stride, padding, dilation, groups):
        return conv2d_input(g, w, stride, padding, dilation, groups, tuple(x_meta.shape))

    def vjp_w(g, x, w_meta, stride, padding, dilation, groups):
        return conv2d_weight(x, g, stride, padding, dilation, groups, tuple(w_meta.shape))

    def vjp_b(g):
        return sum_(g, (0, 2, 3), False)


class conv2d_input(Convolution):
    """The gradient of the input, from the cotangent c and the weight."""

    kind = "input"

    def axis_map(call):
        return (
            _by_groups(call, *call.spread()) if call.batched[1] else _by_batch(call, *call.inputs)
        )

    def names(c, w, *, stride, padding, dilation, groups, size):
        pass

    def infer(types, params):
        return [(params[4], types[0][1])]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        c, w = inputs
        return [cls.step(outputs[0], w, c, None, params)] if 0 not in outputs[0].shape else []

    def vjp_c(g, w, stride, padding, dilation, groups):
        return conv2d_forward(g, w, stride, padding, dilation, groups)

    def vjp_w(g, c, w_meta, stride, padding, dilation, groups):
        return conv2d_weight(g, c, stride, padding, dilation, groups, tuple(w_meta.shape))


class conv2d_weight(Convolution):
    """The gradient of the weight, from the input and the cotangent."""

    kind = "weight"

    def axis_map(call):
        return _by_groups(call, *call.spread())

    def names(x, c, *, stride, padding, dilation, groups, size):
        pass

    def infer(types, params):
        return [(params[4], types[0][1])]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        x, c = inputs
        return [cls.step(x, outputs[0], c, None, params)] if 0 not in outputs[0].shape else []

    def vjp_x(g, c, x_meta, stride, padding, dilation, groups):
        return conv2d_input(c, g, stride, padding, dilation, groups, tuple(x_meta.shape))

    def vjp_c(g, x, stride, padding, dilation, groups):
        return conv2d_forward(x, g, stride, padding, dilation, groups)


def _by_batch(call: Any, x: Any, *rest: Any) -> Any:
    """The batch of a vmap and that of the images, as one."""
    x, params = with_batch(x, 0), call.params
    if len(params) == 5:
        params = (*params[:4], (x.shape[0], *params[4][1:]))
    return without_batch(call.run((x, *rest), params), call.size, 0)


def _by_groups(call: Any, a: Any, b: Any, run: Any = None) -> Any:
    """Weights for each element of the batch: the elements are groups of channels."""
    n, (stride, padding, dilation, groups, *size) = call.size, call.params
    kind = (run or call.op).kind

    # (B, N, C, ...) -> (N, B C, ...); weights (B, O, C, ...) -> (B O, C, ...)
    both = (with_batch(a, 1), with_batch(b, int(kind == "weight")))
    if size:
        of = size[0]
        size = [(n * of[0], *of[1:]) if kind == "weight" else (of[0], n * of[1], *of[2:])]
    params = (stride, padding, dilation, n * groups, *size)
    y = run(*both, *params) if run else call.run(both, params)
    return without_batch(y, n, int(kind != "weight"))


def _shape(x: Sequence[int], w: Sequence[int], params: tuple) -> tuple[int, ...]:
    stride, padding, dilation, _ = params
    size = (out_size(x[2 + i], w[2 + i], stride[i], padding[i], dilation[i]) for i in range(2))
    return (x[0], w[0], *size)


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1):
    """The cross-correlation of x (N, C, H, W) with weight (O, C / groups, KH, KW), plus bias (O).

    y[n, o, i, j] = bias[o] + sum over c, p, q of
        x[n, c, i * stride + p * dilation - padding, ...] * weight[o, c, p, q]
    padding may be "same" (stride 1) or "valid". Raises RuntimeError where shapes do not fit.

    >>> import lucid
    >>> x, w = lucid.ones(1, 1, 3, 3), lucid.ones(1, 1, 2, 2)
    >>> lucid.nn.functional.conv2d(x, w)
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    single = input.ndim == 3
    input = reshape(input, (1, *input.shape)) if single else input
    if input.ndim != 4 or weight.ndim != 4:
        raise RuntimeError(
            f"conv2d: input (N, C, H, W) and weight (O, C, KH, KW) expected, got shapes "
            f"{tuple(input.shape)} and {tuple(weight.shape)}"
        )
    stride, dilation = pair("conv2d: stride", stride), pair("conv2d: dilation", dilation)
    kernel = tuple(weight.shape[2:])
    pads = _padding(padding, kernel, stride, dilation)
    _check(input, weight, bias, stride, dilation, groups)
    for i in range(2):
        if out_size(input.shape[2 + i], kernel[i], stride[i], pads[i], dilation[i]) < 1:
            raise RuntimeError(
                f"conv2d: a kernel of {kernel} with dilation {dilation} does not fit into the "
                f"padded input of shape {tuple(input.shape)}, padding {padding}"
            )
    params = (stride, pads, dilation, int(groups))
    if bias is None:
        y = conv2d_forward(input, weight, *params)
    else:
        y = conv2d_biased(input, weight, bias, *params)
    return reshape(y, tuple(y.shape[1:])) if single else y


def _padding(padding: Any, kernel, stride, dilation) -> tuple:
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding == "same":
        if stride != (1, 1):
            raise ValueError("conv2d: padding='same' needs stride 1")
        totals = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return tuple((t // 2, t - t // 2) for t in totals)
    if isinstance(padding, str):
        raise ValueError(f"conv2d: padding must be 'same', 'valid' or numbers, got {padding!r}")
    a, b = pair("conv2d: padding", padding)
    if a < 0 or b < 0:
        raise RuntimeError(f"conv2d: padding {padding} is negative")
    return ((a, a), (b, b))


def _check(x, w, b, stride, dilation, groups) -> None:
    if min(*stride, *dilation) < 1 or groups < 1:
        raise RuntimeError(f"conv2d: stride {stride}, dilation {dilation}, groups {groups}")
    if x.shape[1] != w.shape[1] * groups:
        raise RuntimeError(
            f"conv2d: the input has {x.shape[1]} channels (shape {tuple(x.shape)}), a weight of "
            f"shape {tuple(w.shape)} with groups={groups} needs {w.shape[1] * groups}"
        )
    if w.shape[0] % groups:
        raise RuntimeError(f"conv2d: {w.shape[0]} outputs are no multiple of groups={groups}")
    if x.dtype is not w.dtype or (b is not None and b.dtype is not x.dtype):
        raise RuntimeError(f"conv2d: input {x.dtype!r}, weight {w.dtype!r}: convert one with to()")
    if x.dtype.category != FLOATING:
        raise RuntimeError(f"conv2d: floating tensors are needed, got {x.dtype!r}")
    if b is not None and tuple(b.shape) != (w.shape[0],):
        raise RuntimeError(
            f"conv2d: bias has shape {tuple(b.shape)}, {w.shape[0]} outputs need ({w.shape[0]},)"
        )
