"""What a convolution computes: `ConvSpec` of the caller, `Correlation` of the loops.

conv.py plans from it. Forward is one correlation; the input's gradient is one per residue of the
stride, with the flipped kernel.
"""

from dataclasses import dataclass

from lucid.backend.cpu.gemm_epilogue import Epilogue, access_of, activation
from lucid.dtypes import FLOATING, dtype
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr

Pair = tuple[int, int]
Strides = tuple[int, int, int, int]


@dataclass(frozen=True)
class ConvOperand:
    """A further input of the epilogue, of y's shape: its strides along n, c, h, w (0 repeats)."""

    name: str
    dtype: dtype
    strides: Strides


@dataclass(frozen=True)
class ConvSpec:
    """y[n, o, i, j] = activation(sum over c, p, q of x[n, c, i s - pad + p d, ...] w[o, c, p, q]
    + bias[o], operands...), summed in the compute type and rounded once.

    kind "forward" computes y; "input" the gradient of x, given y (its cotangent) and w; "weight"
    the gradient of w, given x and y. Strides count elements, in the logical order n, c, h, w and
    o, i, h, w. `activation` is as in gemm.MatmulSpec; only "forward" has bias and activation.
    """

    kind: str
    dtype: dtype
    batch: int
    channels: int
    size: Pair  # of x
    out_channels: int
    kernel: Pair
    x: Strides
    w: Strides
    y: Strides
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))  # (top, bottom), (left, right)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False
    activation: str | Expr = "none"
    operands: tuple[ConvOperand, ...] = ()
    threads: int = 1

    @property
    def out_size(self) -> Pair:
        h, w = (
            (self.size[i] + sum(self.padding[i]) - self.dilation[i] * (self.kernel[i] - 1) - 1)
            // self.stride[i]
            + 1
            for i in range(2)
        )
        return h, w


@dataclass(frozen=True)
class Correlation:
    """What the driver computes: a stride-s correlation of a padded, zero-spread input.

    `spread` is the distance of input pixels in the padded input (the stride of a convolution whose
    input gradient this is). Weights are w[base + o * w[0] + i * w[1] + ...], strides of any sign.
    """

    dtype: dtype
    names: tuple[str, str, str]  # of the buffers x, w, y
    batch: int
    inner: int  # channels per group
    outer: int  # output channels per group
    groups: int
    size: Pair
    out_size: Pair
    kernel: Pair
    x: Strides
    w: Strides
    y: Strides
    w_base: int
    w_group: int
    stride: Pair
    before: Pair  # lines and columns of padding above and to the left; negative crops
    dilation: Pair
    spread: Pair
    epilogue: Epilogue | None
    operands: tuple[ConvOperand, ...]
    threads: int
    y_base: int = 0  # of y's first element


def check(spec: ConvSpec) -> None:
    if spec.kind not in ("forward", "input", "weight"):
        raise ValueError(f"conv2d: kind {spec.kind!r} is not forward, input or weight")
    if spec.dtype.category != FLOATING:
        raise TypeError(f"conv2d: floating types expected, got {spec.dtype!r}")
    for name, count in (("channels", spec.channels), ("out_channels", spec.out_channels)):
        if spec.groups < 1 or count % spec.groups:
            raise ValueError(f"conv2d: {name} = {count} is no multiple of groups = {spec.groups}")
    if min(spec.stride) < 1 or min(spec.dilation) < 1 or min(spec.kernel) < 1:
        raise ValueError(
            f"conv2d: stride {spec.stride}, dilation {spec.dilation} and kernel {spec.kernel} "
            "must be positive"
        )
    if min(*spec.padding[0], *spec.padding[1]) < 0:
        raise ValueError(f"conv2d: negative padding {spec.padding}")
    if min(spec.out_size) < 1:
        raise ValueError(
            f"conv2d: the kernel {spec.kernel} with dilation {spec.dilation} is larger than the "
            f"padded input {spec.size} + {spec.padding}"
        )
    if spec.kind != "forward" and (spec.bias or spec.operands or spec.activation != "none"):
        raise ValueError(f"conv2d: bias, activation and operands are not for kind {spec.kind!r}")


def _epilogue(spec: ConvSpec, result: Strides) -> tuple[Epilogue | None, tuple[ConvOperand, ...]]:
    compute = spec.dtype.compute
    operands: list[ConvOperand] = []

    def operand(o: ConvOperand) -> Expr:
        operands.append(o)
        return e.cast(Expr("arg", (), o.dtype, len(operands)), compute)

    value = start = Expr("arg", (), compute, 0)
    if spec.bias:
        value = value + operand(ConvOperand("bias", spec.dtype, (0, 1, 0, 0)))
    if isinstance(spec.activation, str):
        value = activation(spec.activation, value)
    else:
        inputs = [value, *(operand(o) for o in spec.operands)]
        value = e.substitute([spec.activation], inputs)[0]
    # Lanes along channels, or along pixels where those are contiguous (NCHW).
    along, lane = ("m", 3) if result[1] != 1 and result[3] == 1 else ("n", 1)
    access = access_of(result[lane]) if result[lane] else "strided"
    if value is start and access == "next" and along == "n" and spec.dtype is compute:
        return None, ()
    kinds = tuple(o.dtype for o in operands)
    accesses = tuple(access_of(o.strides[lane]) for o in operands)
    made = Epilogue(e.cast(value, spec.dtype), kinds, accesses, spec.dtype, access, along)
    return made, tuple(operands)


def forward(spec: ConvSpec) -> Correlation:
    epilogue, operands = _epilogue(spec, spec.y)
    outer = spec.out_channels // spec.groups
    return Correlation(
        spec.dtype, ("x", "w", "y"), spec.batch, spec.channels // spec.groups, outer,
        spec.groups, spec.size, spec.out_size, spec.kernel, spec.x, spec.w, spec.y, 0,
        outer * spec.w[0], spec.stride, (spec.padding[0][0], spec.padding[1][0]),
        spec.dilation, (1, 1), epilogue, operands, spec.threads,
    )  # fmt: skip


@dataclass(frozen=True)
class _Phase:
    """The outputs of one residue of an axis: every `step`-th from `first`, `count` of them, from
    taps `tap`, `tap` - step, ... (flipped), `taps` of them, dilation and padding as given."""

    first: int
    step: int
    count: int
    tap: int
    tap_step: int
    taps: int
    before: int
    dilation: int
    spread: int


def _phases(spec: ConvSpec, axis: int) -> list[_Phase]:
    """How the input's gradient splits along an axis.

    x[i] meets y[j] at tap p where j s + p d - pad = i. With d = 1 only the taps p = i + pad mod s
    take part, so that each residue is a dense correlation with its own taps. With dilation the
    cotangent is spread instead, with zeros between.
    """
    size, kernel, s = spec.size[axis], spec.kernel[axis], spec.stride[axis]
    pad, dilation = spec.padding[axis][0], spec.dilation[axis]
    if s == 1 or dilation > 1:
        reach = dilation * (kernel - 1)
        return [_Phase(0, 1, size, kernel - 1, 1, kernel, reach - pad, dilation, s)]
    found = []
    for first in range(min(s, size)):
        tap = (first + pad) % s
        taps = max(0, -(-(kernel - tap) // s))
        before = taps - 1 - (first + pad - tap) // s
        count = -(-(size - first) // s)
        last = tap + s * (taps - 1)
        found.append(_Phase(first, s, count, last, s, taps, before, 1, 1))
    return found


def input_gradient(spec: ConvSpec) -> list[Correlation]:
    """The cotangent correlated with the flipped kernel, phase by phase."""
    o, i, h, w = spec.w
    outer = spec.out_channels // spec.groups
    n, c, s_h, s_w = spec.x
    found = []
    for p in _phases(spec, 0):
        for q in _phases(spec, 1):
            result = (n, c, s_h * p.step, s_w * q.step)
            weights = (i, o, -h * p.tap_step, -w * q.tap_step)
            epilogue, operands = _epilogue(spec, result)
            found.append(
                Correlation(
                    spec.dtype, ("y", "w", "x"), spec.batch, outer,
                    spec.channels // spec.groups, spec.groups, spec.out_size,
                    (p.count, q.count), (p.taps, q.taps), spec.y, weights, result,
                    p.tap * h + q.tap * w, outer * o, (1, 1), (p.before, q.before),
                    (p.dilation, q.dilation), (p.spread, q.spread), epilogue, operands,
                    spec.threads, p.first * s_h + q.first * s_w,
                )
            )  # fmt: skip
    return found
