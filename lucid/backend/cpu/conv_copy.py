"""Copies around a convolution: the input into a padded NHWC block, weights into panels and back.

conv.py, conv_gradient.py and conv_depthwise.py put these functions and tasks into their modules.
Storage types narrower than the arithmetic are widened on the way.
"""

from lucid.backend.cpu.gemm_driver import Words
from lucid.backend.cpu.gemm_pack import Reader
from lucid.backend.cpu.gemm_tile import Tile
from lucid.backend.cpu.llvm import Function, Module, Value, vector
from lucid.backend.cpu.transposed import transpose
from lucid.dtypes import dtype

TASK = [("ptr", "words"), ("i64", "task"), ("i64", "slot")]
_PAD_WORDS = (
    "tasks h top size_h dilation_h line from at count pitch channels n_stride c_stride h_stride "
    "w_stride to"
).split()
WEIGHT_WORDS = (
    "pack_tasks weight_inner weight_outer weight_kh weight_kw weight_panels weight_depth "
    "weight_offset weight_o_stride weight_i_stride weight_h_stride weight_w_stride weight_g_stride "
    "weights_at"
).split()


def pad_words(name: str) -> list[str]:
    """The words of a task of `emit_pad`."""
    return [f"{name}_{word}" for word in _PAD_WORDS]


def shared(f: Function, words: Value, w: Words, name: str) -> Value:
    """A place in the scratch that all threads share; it comes before the threads' own."""
    return f.address(f.load("ptr", words, 1), w[name])


def zero(f: Function, tile: Tile, to: Value, count: Value) -> None:
    whole = count & -tile.lanes
    empty = f.constant(0.0, vector(tile.lanes, tile.element))
    with f.loop(0, whole, tile.lanes) as i:
        f.store(empty, to, i)
    with f.loop(whole, count) as i:
        f.store(f.constant(0.0, tile.element), to, i)


def emit_pad(
    module: Module, names: list[str], storage: dtype, tile: Tile, mode: str, source: str, name: str
) -> None:
    """The task `name` that fills one padded line of the input: to[image][line][column][channel],
    and void name_into(ptr words, i64 line, ptr to), which fills one anywhere.

    Line h of the image stands at line `top` + h * dilation; `count` pixels of it, from `from` on,
    stand `pitch` elements apart, the first at `at`; all else is zero. mode: "channels" where they
    are contiguous in memory, "pixels" where those are, or "any".
    """
    _copy_line(module, f"{name}_line", storage, tile, mode)
    f = module.function(name, TASK, internal=True)
    words, task, _ = f.arguments
    w = Words(f, words, names)
    to = f.address(shared(f, words, w, f"{name}_to"), task * w[f"{name}_line"], tile.element)
    f.call(f"{name}_into", words, task, to)
    f.finish()
    arguments = [("ptr", "words"), ("i64", "task"), ("ptr", "to")]
    f = module.function(f"{name}_into", arguments, internal=True, inline="noinline")
    words, task, to = f.arguments
    w = Words(f, words, names)
    reader = Reader(f, module.features, storage)
    image, line = task // w[f"{name}_h"], task % w[f"{name}_h"]
    place = line - w[f"{name}_top"]
    dilation = w[f"{name}_dilation_h"]
    h = f.maximum(place, 0) // dilation
    inside = (place >= 0) & (h < w[f"{name}_size_h"]) & (h * dilation).eq(place)

    def copy() -> None:
        channels, pitch = w[f"{name}_channels"], w[f"{name}_pitch"]
        end = w[f"{name}_at"] + w[f"{name}_count"] * pitch
        dense = pitch.eq(channels)
        with f.when(dense):
            zero(f, tile, to, w[f"{name}_at"])
            zero(f, tile, f.address(to, end, tile.element), w[f"{name}_line"] - end)
        with f.when(pitch > channels):
            zero(f, tile, to, w[f"{name}_line"])
        offset = image * w[f"{name}_n_stride"] + h * w[f"{name}_h_stride"]
        offset = offset + w[f"{name}_from"] * w[f"{name}_w_stride"]
        f.call(
            f"{name}_line",
            *(reader.at(w.pointer(source), offset), w[f"{name}_w_stride"], w[f"{name}_c_stride"]),
            *(w[f"{name}_count"], channels, f.address(to, w[f"{name}_at"], tile.element), pitch),
        )

    f.either(inside, copy, lambda: zero(f, tile, to, w[f"{name}_line"]))
    f.finish()


def _copy_line(module: Module, name: str, storage: dtype, tile: Tile, mode: str) -> None:
    """to[pixel * pitch + channel] = x[pixel * s_w + channel * s_c]."""
    arguments = [("ptr", "x"), ("i64", "s_w"), ("i64", "s_c"), ("i64", "count")]
    arguments += [("i64", "channels"), ("ptr", "to"), ("i64", "pitch")]
    f = module.function(name, arguments, internal=True, inline="noinline")
    x, s_w, s_c, count, channels, to, pitch = f.arguments
    reader, lanes, element = Reader(f, module.features, storage), tile.lanes, tile.element

    def row(source: Value, target: Value, length: Value) -> None:
        whole = length & -lanes
        with f.loop(0, whole, lanes) as c:
            f.store(reader.read(reader.at(source, c), lanes), target, c)
        with f.loop(whole, length) as c:
            f.store(reader.read(reader.at(source, c)), target, c)

    def each_pixel() -> None:
        with f.loop(0, count) as p:
            row(reader.at(x, p * s_w), f.address(to, p * pitch, element), channels)

    if mode == "channels":
        dense = s_w.eq(channels) & pitch.eq(channels)
        f.either(dense, lambda: row(x, to, count * channels), each_pixel)
    elif mode == "pixels":
        whole = count & -lanes
        with f.loop(0, channels, lanes) as c:
            mask = f.first_lanes(channels - c, lanes)
            # Channels beyond the last repeat it; their lanes are masked away.
            places = [f.minimum(c + i, channels - 1) * s_c for i in range(lanes)]
            with f.loop(0, whole, lanes) as p:
                rows = [reader.read(reader.at(x, place + p), lanes) for place in places]
                for i, pixel in enumerate(transpose(f, rows)):
                    f.masked_store(pixel, f.address(to, (p + i) * pitch + c, element), mask)
        with f.loop(whole, count) as p, f.loop(0, channels) as c:
            f.store(reader.read(reader.at(x, p + c * s_c)), to, p * pitch + c)
    else:
        with f.loop(0, count) as p, f.loop(0, channels) as c:
            f.store(reader.read(reader.at(x, p * s_w + c * s_c)), to, p * pitch + c)
    f.finish()


def emit_weights(
    module: Module, names: list[str], storage: dtype, tile: Tile, mode: str, name: str
) -> None:
    """The task that packs one panel: to[group][panel][kh, kw, inner][width] from w[outer, inner].

    mode: "dense" where (inner, kh, kw) is one contiguous axis, which is transposed in squares;
    "taps" where (outer, kh, kw) is one, with at most `lanes` taps, transposed for each inner
    channel; "rows" where outer is contiguous; or "any".
    """
    f = module.function(name, TASK, internal=True)
    words, task, _ = f.arguments
    w = Words(f, words, names)
    reader = Reader(f, module.features, storage)
    group, panel = task // w["weight_panels"], task % w["weight_panels"]
    depth, lanes = w["weight_depth"], tile.lanes
    to = f.address(shared(f, words, w, "weights_at"), task * depth * tile.width, tile.element)
    first = panel * tile.width
    s_o, inner = w["weight_o_stride"], w["weight_inner"]
    base = w["weight_offset"] + group * w["weight_g_stride"] + first * s_o
    source = reader.at(w.pointer("w"), base)
    columns = f.minimum(w["weight_outer"] - first, tile.width)
    target = _Panel(f, w, tile, to)
    if mode == "dense":
        _pack_dense(f, w, reader, tile, source, target, columns)
    elif mode == "taps":
        plain = reader.at(w.pointer("w"), group * w["weight_g_stride"] + first * s_o)
        _pack_taps(f, w, reader, tile, plain, target, columns)
    else:
        with f.loop(0, w["weight_kh"]) as h, f.loop(0, w["weight_kw"]) as v:
            tap = h * w["weight_h_stride"] + v * w["weight_w_stride"]
            with f.loop(0, inner) as i:
                line = reader.at(source, tap + i * w["weight_i_stride"])
                place = target.row(h * w["weight_kw"] + v, i)
                if mode == "rows":
                    with f.loop(0, columns, lanes) as o:
                        mask = f.first_lanes(columns - o, lanes)
                        f.store(reader.read(reader.at(line, o), lanes, mask), place, o)
                else:
                    with f.loop(0, columns) as o:
                        f.store(reader.read(reader.at(line, o * s_o)), place, o)
    f.finish()


class _Panel:
    """A panel of packed weights."""

    def __init__(self, f: Function, w: Words, tile: Tile, to: Value):
        self.f, self.tile, self.to, self.inner = f, tile, to, w["weight_inner"]

    def row(self, tap: Value, i: Value) -> Value:
        place = (tap * self.inner + i) * self.tile.width
        return self.f.address(self.to, place, self.tile.element)


def _pack_dense(
    f: Function, w: Words, reader: Reader, tile: Tile, source: Value, to: _Panel, columns: Value
) -> None:
    taps, depth, lanes = w["weight_kh"] * w["weight_kw"], w["weight_depth"], tile.lanes
    s_o, whole = w["weight_o_stride"], depth & -lanes
    with f.loop(0, columns, lanes) as o:
        # Rows beyond the last repeat it: what they fill is never stored. Each row is a stream,
        # and the hardware follows 16 of them, not a panel's 64.
        lines = [reader.at(source, f.minimum(o + i, columns - 1) * s_o) for i in range(lanes)]
        with f.loop(0, whole, lanes) as j:
            rows = [reader.read(reader.at(line, j), lanes) for line in lines]
            for i, column in enumerate(transpose(f, rows)):
                f.store(column, to.row((j + i) % taps, (j + i) // taps), o)
    with f.loop(whole, depth) as j:
        place = to.row(j % taps, j // taps)
        with f.loop(0, columns) as o:
            f.store(reader.read(reader.at(source, o * s_o + j)), place, o)


def _pack_taps(
    f: Function, w: Words, reader: Reader, tile: Tile, source: Value, to: _Panel, columns: Value
) -> None:
    taps, lanes = w["weight_kh"] * w["weight_kw"], tile.lanes
    mask = f.first_lanes(taps, lanes)
    flipped = w["weight_h_stride"] < 0
    with f.loop(0, w["weight_inner"]) as i, f.loop(0, columns, lanes) as o:
        line = reader.at(source, i * w["weight_i_stride"])
        rows = [
            reader.read(reader.at(line, f.minimum(o + n, columns - 1) * taps), lanes, mask)
            for n in range(lanes)
        ]
        for t, column in enumerate(transpose(f, rows)):
            with f.when(taps > t):
                tap = f.select(flipped, taps - (t + 1), f.i64(t))
                f.store(column, to.row(tap, i), o)


def emit_unpack(module: Module, names: list[str], storage: dtype, tile: Tile, dense: bool) -> None:
    """The task that stores one line of a weight's gradient: w[outer, inner, kh, kw] from
    sums[group][kh, kw, inner][outer], for `tile.lanes` outer channels."""
    f = module.function("unpack", TASK, internal=True)
    words, task, _ = f.arguments
    w = Words(f, words, names)
    reader, lanes = Reader(f, module.features, storage), tile.lanes
    parts = (w["weight_outer"] + (lanes - 1)) // lanes
    group, first = task // parts, task % parts * lanes
    inner, depth, pitch = w["weight_inner"], w["weight_depth"], w["sums_pitch"]
    columns = f.minimum(w["weight_outer"] - first, lanes)
    s_o = w["weight_o_stride"]
    sums = f.address(shared(f, words, w, "sums_to"), group * depth * pitch + first, tile.element)
    to = reader.at(w.pointer("w"), group * w["weight_g_stride"] + first * s_o)
    if dense:
        taps = w["weight_kh"] * w["weight_kw"]
        with f.loop(0, depth, lanes) as j:
            rows = []
            for r in range(lanes):  # rows beyond the last repeat it, and are masked away
                place = f.minimum(j + r, depth - 1)
                row = (place % taps) * inner + place // taps
                rows.append(f.load(vector(lanes, tile.element), sums, row * pitch))
            mask = f.first_lanes(depth - j, lanes)
            for n, line in enumerate(transpose(f, rows)):
                with f.when(columns > n):
                    reader.write(line, reader.at(to, s_o * n + j), mask)
    else:
        with f.loop(0, w["weight_kh"]) as h, f.loop(0, w["weight_kw"]) as v:
            tap = h * w["weight_h_stride"] + v * w["weight_w_stride"]
            row = (h * w["weight_kw"] + v) * inner
            with f.loop(0, inner) as i, f.loop(0, columns) as o:
                value = f.load(tile.element, sums, (row + i) * pitch + o)
                reader.write(value, reader.at(to, tap + i * w["weight_i_stride"] + o * s_o))
    f.finish()
