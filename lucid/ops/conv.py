"""Two-dimensional convolution: forward, both gradients, and the gradients of those.

One native template does all three (backend/cpu/conv.py). The result has the memory format of the
input: row-major, or channels-last where the input is. convolution.py has the functions.
"""

from collections.abc import Sequence
from typing import Any

from lucid.layout import dense_order, strides_in_order
from lucid.lazy import lazy
from lucid.op import Opaque
from lucid.ops.conv_few import few_steps
from lucid.ops.conv_planes import plane_steps
from lucid.ops.gather import side_by_side
from lucid.ops.reduce import sum_
from lucid.ops.view import reshape, with_batch, without_batch
from lucid.plan.steps import Operand, Step, template_step

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
    def steps(
        cls, context: Any, x: Operand, w: Operand, y: Operand, b: Operand | None, params: tuple
    ) -> list[Step]:
        found = plane_steps(context, cls.kind, x, w, y, b, params)
        found = few_steps(context, cls.kind, x, w, y, params) if found is None else found
        return [cls.step(x, w, y, b, params)] if found is None else found

    @classmethod
    def step(cls, x: Operand, w: Operand, y: Operand, b: Operand | None, params: tuple) -> Step:
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
        return (
            cls.steps(context, x, w, outputs[0], None, params) if 0 not in outputs[0].shape else []
        )

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
        return [*copied, *cls.steps(context, x, w, outputs[0], b, params)]

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
        return (
            cls.steps(context, outputs[0], w, c, None, params) if 0 not in outputs[0].shape else []
        )

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
        return (
            cls.steps(context, x, outputs[0], c, None, params) if 0 not in outputs[0].shape else []
        )

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
