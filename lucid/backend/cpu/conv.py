"""Two-dimensional convolutions on the CPU: the result, the input's gradient, the weight's gradient.

ops/conv.py calls `plan_conv2d` and binds the `KernelCall` to its buffers. conv_driver.py has the
loops, conv_gradient.py those of the weight's gradient, conv_depthwise.py the direct form for one
channel per group; conv_spec.py and conv_layout.py say what is computed, and where it lies.

Each output is the sum over blocks of k = (kh, kw, channel) of a chain of `mad` from zero; blocks
depend on the number of k alone (gemm.depth_of), never on tiles or threads.
"""

from dataclasses import replace

from lucid.backend.cpu import (
    conv_depthwise,
    conv_driver,
    conv_gradient,
    conv_sequence,
    gemm,
    gemm_tile,
    jit,
)
from lucid.backend.cpu.conv_layout import (
    cotangent,
    even_rows,
    is_flat,
    padding,
    plane_product,
    result_words,
    runs_of_k,
    weight_mode,
    weight_words,
)
from lucid.backend.cpu.conv_spec import (
    ConvOperand,
    ConvSpec,
    Correlation,
    check,
    forward,
    input_gradient,
)
from lucid.backend.cpu.gemm import KernelCall
from lucid.backend.cpu.gemm_epilogue import Epilogue
from lucid.backend.cpu.target import target
from lucid.kernel.expr import Expr

__all__ = ["ConvOperand", "ConvSpec", "plan_conv2d"]


def plan_conv2d(spec: ConvSpec) -> KernelCall:
    """The call that computes `spec`; compiles what is missing.

    ValueError names what does not fit, TypeError a type without arithmetic.
    """
    check(spec)
    if spec.kind == "input":
        return conv_sequence.plan([_plan(c, spec.kind) for c in input_gradient(spec)])
    return _plan(forward(spec), spec.kind)


def _plan(c: Correlation, kind: str) -> KernelCall:
    if c.groups > 1 and c.inner == c.outer == 1:
        return plan_depthwise(c, kind)
    return plan_weight_gradient(c) if kind == "weight" else plan_correlation(c)


def plan_correlation(c: Correlation) -> KernelCall:
    product = plane_product(c)
    if product is not None:
        call = gemm.plan_general(product)
        return renamed(call, {"a": c.names[1], "b": c.names[0], "c": c.names[2]})
    machine = target()
    tile = gemm_tile.tile_of(c.dtype.compute, machine)
    padded, values = padding(c)
    variant = conv_driver.Variant(c.dtype, padded, weight_mode(c, tile), c.epilogue)
    names = conv_driver.word_names(variant, tile.rows)
    depth = c.kernel[0] * c.kernel[1] * c.inner
    panels = -(-c.outer // tile.width)
    values |= weight_words(c, tile)
    runs, blocks = runs_of_k(c, values)
    rows, batches = even_rows(c)
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


def renamed(call: KernelCall, names: dict[str, str]) -> KernelCall:
    """A matrix product's call under the convolution's names of its buffers."""
    return replace(call, pointers=tuple((names.get(n, n), i) for n, i in call.pointers))


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


def plan_weight_gradient(c: Correlation) -> KernelCall:
    """gw^T = im2col(x)^T @ g on the same tiles: rows are (kh, kw, channel), k runs over pixels."""
    machine = target()
    tile = gemm_tile.tile_of(c.dtype.compute, machine)
    pad, values = padding(c)
    h, w = c.out_size
    pixels, channels = c.batch * h * w, c.outer * c.groups
    copy, found = cotangent(c)
    values |= found
    if c.kernel == (1, 1) and pad == copy == "none" and c.groups == 1 and is_flat(c, values):
        # Each pixel is one step of k of an ordinary product, which packs both sides.
        spec = gemm.MatmulSpec(
            *(c.dtype, c.outer, c.inner, pixels, (1, c.y[3]), (values["x_w"], 1), c.w[:2]),
            threads=c.threads,
        )
        return renamed(gemm.plan_matmul(spec), {"a": "y", "b": "x", "c": "w"})
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
    values |= gemm.bodies(depth, c.outer, tile, tile_rows, "direct")
    address = jit.function(
        variant.key(), lambda symbol: conv_gradient.emit(symbol, machine, tile, variant)
    )
    return gemm.finish(address, names, values, ["x", "w", "y"], slot.size, threads, shared.size)
