"""Where the parts of a convolution lie: padded input, packed weights, runs of k, rows of y.

conv.py turns these into the words of its native calls.
"""

from dataclasses import replace

from lucid.backend.cpu import gemm
from lucid.backend.cpu.conv_spec import Correlation, Pair
from lucid.backend.cpu.gemm_tile import Tile


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


def even_rows(c: Correlation) -> Pair:
    """(pixels that lie evenly in y and the operands, how many such ranges there are)."""
    h, w = c.out_size
    flat = [c.y, *(o.strides for o in c.operands)]
    if any(s[2] != w * s[3] for s in flat) and h > 1:
        return w, c.batch * h
    if any(s[0] != h * w * s[3] for s in flat) and c.batch > 1:
        return h * w, c.batch
    return c.batch * h * w, 1


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


def plane_product(c: Correlation) -> gemm.Product | None:
    """A 1x1 convolution of NCHW planes is y[n] = w @ x[n], which needs no copy of x."""
    (h, w), y = c.size, c.y
    plain = c.kernel == c.stride == c.spread == (1, 1) and c.before == (0, 0) and c.groups == 1
    flat = all(s[3] == 1 and s[2] == w for s in (c.x, y)) and c.y_base == 0
    operands = [o.strides for o in c.operands]
    if not plain or c.size != c.out_size or not flat or w == h == 1:
        return None
    if any(s[2] != w * s[3] for s in operands):
        return None
    spec = gemm.MatmulSpec(
        *(c.dtype, c.outer, h * w, c.inner, c.w[:2], (c.x[1], 1), (y[1], 1), (c.batch,)),
        *((0,), (c.x[0],), (y[0],)),
        output=c.epilogue.output if c.epilogue else None,
        threads=c.threads,
    )
    moved = tuple(
        gemm.Operand(o.name, o.dtype, o.strides[:1], o.strides[1], o.strides[3]) for o in c.operands
    )
    return gemm.Product(spec, moved, c.epilogue.value if c.epilogue else None)


def is_flat(c: Correlation, values: dict[str, int]) -> bool:
    """Whether all pixels that the kernel visits lie evenly."""
    (h, w), step = c.out_size, values["x_w"]
    lines = h == 1 or values["x_h"] == w * step
    return lines and (c.batch == 1 or values["x_n"] == h * w * step)
