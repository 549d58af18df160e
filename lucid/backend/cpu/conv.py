"""Two-dimensional convolutions on the CPU: the result, the input's gradient, the weight's gradient.

plan/lower.py calls `plan_conv2d` and puts the `KernelCall` into a segment. conv_driver.py has the
loops, conv_gradient.py those of the weight's gradient, conv_depthwise.py the direct form for one
channel per group. One spatial axis is h = 1.

Each output is the sum over blocks of k = (kh, kw, channel) of a chain of `mad` from zero; blocks
depend on the number of k alone (gemm.depth_of), never on tiles or threads.
"""

from dataclasses import dataclass, replace

from lucid.backend.cpu import (
    conv_depthwise,
    conv_driver,
    conv_gradient,
    conv_sequence,
    gemm,
    gemm_tile,
    jit,
)
from lucid.backend.cpu.gemm import KernelCall
from lucid.backend.cpu.gemm_epilogue import Epilogue, access_of, activation
from lucid.backend.cpu.gemm_tile import Tile
from lucid.backend.cpu.target import target
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


def plan_conv2d(spec: ConvSpec) -> KernelCall:
    """The call that computes `spec`; compiles what is missing.

    ValueError names what does not fit, TypeError a type without arithmetic.
    """
    _check(spec)
    if spec.kind == "input":
        return conv_sequence.plan([_plan(c, spec.kind) for c in _input_gradient(spec)])
    return _plan(_forward(spec), spec.kind)


def _plan(c: Correlation, kind: str) -> KernelCall:
    if c.groups > 1 and c.inner == c.outer == 1:
        return plan_depthwise(c, kind)
    return plan_weight_gradient(c) if kind == "weight" else plan_correlation(c)


def _check(spec: ConvSpec) -> None:
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


def _forward(spec: ConvSpec) -> Correlation:
    epilogue, operands = _epilogue(spec, spec.y)
    outer = spec.out_channels // spec.groups
    return Correlation(
        *(spec.dtype, ("x", "w", "y"), spec.batch, spec.channels // spec.groups, outer),
        *(spec.groups, spec.size, spec.out_size, spec.kernel, spec.x, spec.w, spec.y, 0),
        *(outer * spec.w[0], spec.stride, (spec.padding[0][0], spec.padding[1][0])),
        *(spec.dilation, (1, 1), epilogue, operands, spec.threads),
    )


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


def _input_gradient(spec: ConvSpec) -> list[Correlation]:
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
                    *(spec.dtype, ("y", "w", "x"), spec.batch, outer),
                    *(spec.channels // spec.groups, spec.groups, spec.out_size),
                    *((p.count, q.count), (p.taps, q.taps), spec.y, weights, result),
                    *(p.tap * h + q.tap * w, outer * o, (1, 1), (p.before, q.before)),
                    *((p.dilation, q.dilation), (p.spread, q.spread), epilogue, operands),
                    spec.threads,
                    y_base=p.first * s_h + q.first * s_w,
                )
            )
    return found


def plan_correlation(c: Correlation) -> KernelCall:
    machine = target()
    tile = gemm_tile.tile_of(c.dtype.compute, machine)
    padded, values = padding(c)
    variant = conv_driver.Variant(c.dtype, padded, weight_mode(c, tile), c.epilogue)
    names = conv_driver.word_names(variant, tile.rows)
    depth = c.kernel[0] * c.kernel[1] * c.inner
    panels = -(-c.outer // tile.width)
    values |= weight_words(c, tile)
    runs, blocks = runs_of_k(c, values)
    rows, batches = _rows(c)
    shape = gemm.MatmulSpec(
        c.dtype,
        rows,
        c.outer,
        depth,
        (0, 1),
        (0, 1),
        (0, 1),
        (batches * c.groups,),
        (0,),
        (0,),
        (0,),
    )
    work = batches * c.groups * rows * c.outer * depth
    threads = c.threads if work > gemm.SMALL else 1
    size = gemm.depth_of(depth)
    tile_rows, tile_panels = gemm.task_shape(shape, tile, size, threads, "packed", c.epilogue)
    row_tiles, column_tiles = -(-rows // tile_rows), -(-panels // tile_panels)
    shared = gemm.Scratch()
    values["pad_to"] = shared.take(
        values.get("pad_tasks", 0) * values.get("pad_line", 0) * tile.size
    )
    values["weights_at"] = shared.take(c.groups * panels * depth * tile.width * tile.size)
    values["slots_at"] = shared.size
    turned = c.epilogue is not None and c.epilogue.along == "m"
    kept = tile_rows if len(blocks) > 1 or turned else tile.rows
    slot = gemm.Scratch()
    slot.take(kept * tile_panels * tile.width * tile.size if c.epilogue else 0)
    values |= dict(rows=rows, columns=c.outer, depth=depth, inner=c.inner, slot_bytes=slot.size)
    values |= dict(image=c.out_size[0] * c.out_size[1], line=c.out_size[1], groups=c.groups)
    values |= dict(tasks=batches * c.groups * row_tiles * column_tiles, blocks=len(blocks))
    values |= dict(row_tiles=row_tiles, column_tiles=column_tiles, tile_rows=tile_rows)
    values |= dict(tile_panels=tile_panels, blocks_at=2 * len(runs))
    values |= result_words(c)
    if rows and c.outer:
        values |= gemm.bodies(rows, c.outer, tile, tile_rows)
    address = jit.function(
        variant.key(), lambda symbol: conv_driver.emit(symbol, machine, tile, variant)
    )
    tail = [x for run in runs for x in run] + [x for block in blocks for x in block]
    pointers = [*c.names, *(o.name for o in c.operands)]
    return gemm.finish(address, names, values, pointers, slot.size, threads, shared.size, tail)


def weight_mode(c: Correlation, tile: Tile) -> str:
    """How the weights are packed: see conv_copy.emit_weights."""
    taps, (s_o, s_i, s_h, s_w) = c.kernel[0] * c.kernel[1], c.w
    if (s_i, s_h, s_w) == (taps, c.kernel[1], 1) and taps <= s_o:
        return "dense"
    if s_o == 1:
        return "rows"
    contiguous = (abs(s_h), abs(s_w)) == (c.kernel[1], 1)
    return "taps" if s_o == taps <= tile.lanes and contiguous and taps else "any"


def weight_words(c: Correlation, tile: Tile) -> dict[str, int]:
    """The words that say how weights lie, and how they are packed."""
    panels = -(-c.outer // tile.width)
    values = dict(pack_tasks=panels * c.groups, weight_inner=c.inner, weight_outer=c.outer)
    values |= dict(weight_kh=c.kernel[0], weight_kw=c.kernel[1], weight_panels=panels)
    values |= dict(weight_depth=c.kernel[0] * c.kernel[1] * c.inner, weight_offset=c.w_base)
    values |= dict(weight_g_stride=c.w_group, weight_o_stride=c.w[0], weight_i_stride=c.w[1])
    return values | dict(weight_h_stride=c.w[2], weight_w_stride=c.w[3])


def plan_depthwise(c: Correlation, kind: str) -> KernelCall:
    """One channel per group: see conv_depthwise.py."""
    machine = target()
    tile = gemm_tile.tile_of(c.dtype.compute, machine)
    # Vectors are loaded whole, so a last one that is not full needs a copy with room behind it.
    always = c.groups % tile.lanes != 0
    pad, values = padding(c, always)
    copy = "none"
    if kind == "weight":
        copy, found = cotangent(c, always)
        values |= found
        values["g_step"] = found["g_pitch_k"]
    epilogue = c.epilogue
    if epilogue is None and always:
        epilogue = Epilogue(Expr("arg", (), c.dtype, 0), (), (), c.dtype)
    if kind == "weight":
        epilogue = None
    even = values["x_w"] == c.dilation[1] * values["pixel"]
    variant = conv_depthwise.Variant(
        "weight" if kind == "weight" else "sums", c.dtype, c.kernel, pad, copy, even, epilogue
    )
    vectors, (h, w) = -(-c.groups // tile.lanes), c.out_size
    lines = c.batch * h
    threads = c.threads if lines * w * c.groups * c.kernel[0] > gemm.SMALL >> 2 else 1
    shared, slot = gemm.Scratch(), gemm.Scratch()
    reach = c.dilation[0] * (c.kernel[0] - 1) + 1
    line_bytes = values.get("pad_line", 0) * tile.size
    whole = kind == "weight"
    for name in ("pad", "g"):
        count = values.get(f"{name}_tasks", 0) * values.get(f"{name}_line", 0)
        count = 0 if name == "pad" and not whole else count
        values[f"{name}_to"] = shared.take((count + tile.lanes) * tile.size)
    # As many lines per task as keep the padded input in cache, and give every thread some.
    task_lines = max(1, min(16, -(-lines // (4 * threads)), h))
    while task_lines > 1 and (task_lines * c.stride[0] + reach) * line_bytes > gemm.RIGHT_BYTES:
        task_lines -= 1
    size = c.kernel[0] * c.kernel[1] * vectors * tile.lanes * tile.size
    values["weights_at"] = shared.take(size)
    values["slots_at"] = shared.size
    slot.take(w * vectors * tile.lanes * tile.size if epilogue else 0)
    kept = 0 if whole else (task_lines - 1) * c.stride[0] + reach
    values["padded_at"] = slot.take(kept * line_bytes + tile.lanes * tile.size)
    values |= dict(step_h=c.stride[0], reach_h=reach)
    values |= dict(channels=c.groups, lines=h, line=w, all_lines=lines, slot_bytes=slot.size)
    values |= dict(tap_h=c.dilation[0] * values["line_pitch"], pack_tasks=vectors)
    values |= dict(tap_w=c.dilation[1] * values["pixel"], task_lines=task_lines)
    values["tasks"] = vectors if whole else c.batch * -(-h // task_lines)
    values |= dict(weight_offset=c.w_base, weight_g_stride=c.w_group)
    values |= dict(weight_h_stride=c.w[2], weight_w_stride=c.w[3])
    values |= result_words(c)
    address = jit.function(
        variant.key(), lambda symbol: conv_depthwise.emit(symbol, machine, tile, variant)
    )
    names = conv_depthwise.word_names(variant)
    pointers = [*c.names, *(o.name for o in c.operands)]
    return gemm.finish(address, names, values, pointers, slot.size, threads, shared.size)


def cotangent(c: Correlation, always: bool = False) -> tuple[str, dict[str, int]]:
    """How y is copied to [pixel][channel], a copy without padding, and its words."""
    (h, w), (s_n, s_c, s_h, s_w) = c.out_size, c.y
    flat = s_c == 1 and (s_h == w * s_w or h == 1) and (s_n == h * w * s_w or c.batch == 1)
    if flat and not always and c.dtype is c.dtype.compute:
        return "none", dict(g_tasks=0, g_line=0, g_pitch_k=s_w)
    as_input = replace(
        c, x=c.y, size=c.out_size, kernel=(1, 1), stride=(1, 1), before=(0, 0), inner=c.outer
    )
    copy, found = padding(as_input, always=True)
    values = {"g_" + k.removeprefix("pad_"): v for k, v in found.items() if k[:4] == "pad_"}
    return copy, values | dict(g_pitch_k=c.outer * c.groups)


def result_words(c: Correlation) -> dict[str, int]:
    """The strides of y and of the operands."""
    values = {"y_base": c.y_base}
    operands = [(f"operand{i}", o.strides) for i, o in enumerate(c.operands)]
    for name, (n, channel, h, w) in [("y", c.y), *operands]:
        values |= {f"{name}_n": n, f"{name}_c": channel, f"{name}_h": h, f"{name}_w": w}
    return values


def _is_flat(c: Correlation, values: dict[str, int]) -> bool:
    """Whether all pixels that the kernel visits lie evenly."""
    (h, w), step = c.out_size, values["x_w"]
    lines = h == 1 or values["x_h"] == w * step
    return lines and (c.batch == 1 or values["x_n"] == h * w * step)


def plan_weight_gradient(c: Correlation) -> KernelCall:
    """gw^T = im2col(x)^T @ g on the same tiles: rows are (kh, kw, channel), k runs over pixels."""
    machine = target()
    tile = gemm_tile.tile_of(c.dtype.compute, machine)
    pad, values = padding(c)
    h, w = c.out_size
    pixels, channels = c.batch * h * w, c.outer * c.groups
    copy, found = cotangent(c)
    values |= found
    if c.kernel == (1, 1) and pad == copy == "none" and c.groups == 1 and _is_flat(c, values):
        # Each pixel is one step of k of an ordinary product, which packs both sides.
        spec = gemm.MatmulSpec(
            *(c.dtype, c.outer, c.inner, pixels, (1, c.y[3]), (values["x_w"], 1), c.w[:2]),
            threads=c.threads,
        )
        names = {"a": "y", "b": "x", "c": "w"}
        call = gemm.plan_matmul(spec)
        return replace(call, pointers=tuple((names[n], i) for n, i in call.pointers))
    dense = c.w[1:] == (c.kernel[0] * c.kernel[1], c.kernel[1], 1)
    variant = conv_gradient.Variant(c.dtype, pad, copy, dense)
    names = conv_gradient.word_names(tile.rows)
    depth = c.kernel[0] * c.kernel[1] * c.inner
    panels = -(-c.outer // tile.width)
    values |= weight_words(c, tile)
    line, x_h = w, values["x_h"]
    if h == 1 or x_h == w * values["x_w"]:  # lines of pixels that continue each other are one run
        line = h * w
        if c.batch == 1 or values["x_n"] == h * w * values["x_w"]:
            line = pixels
    size = gemm.depth_of(pixels)
    shape = gemm.MatmulSpec(
        *(c.dtype, depth, c.outer, pixels, (0, 1), (0, 1), (0, 1)),
        *((c.groups,), (0,), (0,), (0,)),
    )
    threads = c.threads if depth * channels * pixels > gemm.SMALL else 1
    tile_rows, tile_panels = gemm.task_shape(shape, tile, size, threads, "packed", None)
    row_tiles, column_tiles = -(-depth // tile_rows), -(-panels // tile_panels)
    shared, slot = gemm.Scratch(), gemm.Scratch()
    values["pad_to"] = shared.take(
        values.get("pad_tasks", 0) * values.get("pad_line", 0) * tile.size
    )
    values["g_to"] = shared.take(values["g_tasks"] * values["g_line"] * tile.size)
    pitch = panels * tile.width
    values["sums_to"] = shared.take(c.groups * depth * pitch * tile.size)
    values["slots_at"] = shared.size
    slot.take((-(-size // line) + 2) * 16)
    values |= dict(sums_pitch=pitch, slot_bytes=slot.size, pixels=pixels, image=h * w)
    values |= dict(line=line, lines=max(1, h * w // line), depth=size, groups=c.groups)
    values |= dict(blocks=-(-pixels // size), tile_rows=tile_rows, tile_panels=tile_panels)
    values |= dict(row_tiles=row_tiles, column_tiles=column_tiles)
    values |= dict(tasks=c.groups * row_tiles * column_tiles)
    values |= dict(unpack_tasks=c.groups * -(-c.outer // tile.lanes))
    values |= dict(
        tap_h=c.dilation[0] * values["line_pitch"], tap_w=c.dilation[1] * values["pixel"]
    )
    values |= gemm.bodies(depth, c.outer, tile, tile_rows, masked=True)
    address = jit.function(
        variant.key(), lambda symbol: conv_gradient.emit(symbol, machine, tile, variant)
    )
    return gemm.finish(address, names, values, ["x", "w", "y"], slot.size, threads, shared.size)


def padding(c: Correlation, always: bool = False) -> tuple[str, dict[str, int]]:
    """How the input is copied, and the words that say where its padded form lies."""
    channels = c.inner * c.groups
    n, s_c, s_h, s_w = c.x
    reach = [
        c.stride[a] * (c.out_size[a] - 1) + c.dilation[a] * (c.kernel[a] - 1) + 1 for a in (0, 1)
    ]
    plain = c.before == (0, 0) and c.spread == (1, 1) and c.dtype is c.dtype.compute
    if not always and plain and s_c == 1 and all(reach[a] <= c.size[a] for a in (0, 1)):
        values = dict(x_n=n, x_c=1, x_h=s_h * c.stride[0], x_w=s_w * c.stride[1])
        return "none", values | dict(pixel=s_w, line_pitch=s_h)
    line = reach[1] * channels
    before, spread = c.before[1], c.spread[1]
    first = max(0, -(before // spread))  # columns that a negative padding crops
    at = before + first * spread
    count = max(0, min(c.size[1] - first, -(-(reach[1] - at) // spread)))
    mode = "channels" if s_c == 1 else "pixels" if s_w == 1 else "any"
    values = dict(
        pad_tasks=c.batch * reach[0],
        pad_h=reach[0],
        pad_top=c.before[0],
        pad_size_h=c.size[0],
        pad_dilation_h=c.spread[0],
        pad_line=line,
        pad_from=first,
        pad_at=at * channels,
        pad_count=count,
        pad_pitch=spread * channels,
        pad_channels=channels,
        pad_n_stride=n,
        pad_c_stride=s_c,
        pad_h_stride=s_h,
        pad_w_stride=s_w,
    )
    values |= dict(x_n=reach[0] * line, x_c=1, x_h=line * c.stride[0])
    values |= dict(x_w=channels * c.stride[1], pixel=channels, line_pitch=line)
    return mode, values


def runs_of_k(c: Correlation, values: dict[str, int]) -> tuple[list[Pair], list[tuple[int, ...]]]:
    """Runs (offset, length) of k = (kh, kw, channel) in the padded input, cut at blocks, and the
    blocks (first run, runs, first k)."""
    pixel, line = values["pixel"], values["line_pitch"]
    pieces: list[list[int]] = []
    for h in range(c.kernel[0]):
        for v in range(c.kernel[1]):
            start = h * c.dilation[0] * line + v * c.dilation[1] * pixel
            if pieces and sum(pieces[-1]) == start:
                pieces[-1][1] += c.inner
            else:
                pieces.append([start, c.inner])
    depth = c.kernel[0] * c.kernel[1] * c.inner
    size = gemm.depth_of(depth)
    runs: list[Pair] = []
    blocks: list[tuple[int, ...]] = []
    left = size
    first = 0
    for start, length in pieces:
        while length:
            part = min(left, length)
            runs.append((start, part))
            start, length, left = start + part, length - part, left - part
            if not left:
                blocks.append((first, len(runs) - first, len(blocks) * size))
                first, left = len(runs), size
    if len(runs) > first or not blocks:
        blocks.append((first, len(runs) - first, len(blocks) * size))
    return runs, blocks


def _rows(c: Correlation) -> Pair:
    """(pixels that lie evenly in y and the operands, how many such ranges there are)."""
    h, w = c.out_size
    flat = [c.y, *(o.strides for o in c.operands)]
    if any(s[2] != w * s[3] for s in flat) and h > 1:
        return w, c.batch * h
    if any(s[0] != h * w * s[3] for s in flat) and c.batch > 1:
        return h * w, c.batch
    return c.batch * h * w, 1
