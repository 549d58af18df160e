"""Convolutions with one channel per group: direct sums with lanes along channels.

conv.py plans them. The result (and, with a flipped kernel, the input's gradient) is one chain of
`mad` over (kh, kw); the weight's gradient sums each line of pixels, then the lines in order.
"""

from dataclasses import dataclass

from lucid.backend.cpu import conv_copy
from lucid.backend.cpu import llvm as ll
from lucid.backend.cpu.conv_copy import pad_words, shared
from lucid.backend.cpu.conv_driver import AXES
from lucid.backend.cpu.emit import memory
from lucid.backend.cpu.gemm_driver import Words, emit_entry
from lucid.backend.cpu.gemm_epilogue import Block, Epilogue, emit_block
from lucid.backend.cpu.gemm_pack import Reader
from lucid.backend.cpu.gemm_tile import Tile
from lucid.backend.cpu.target import Target
from lucid.dtypes import dtype

# Pixels side by side, and sums in registers, for each target.
PIXELS = {"avx512": 4, "avx2": 3, "plain": 1}
SUMS = {"avx512": 16, "avx2": 5, "plain": 2}


@dataclass(frozen=True)
class Variant:
    """What the text depends on. pad, copy: as in conv_driver and conv_gradient. even: a step to
    the next pixel is a step to the next tap. No epilogue: whole vectors go straight to y."""

    kind: str  # "sums" or "weight"
    storage: dtype
    kernel: tuple[int, int]
    pad: str
    copy: str
    even: bool
    epilogue: Epilogue | None

    def key(self) -> str:
        finish = self.epilogue.key() if self.epilogue else "none"
        return (
            f"depthwise {self.kind} {self.storage.name} {self.kernel} {self.pad} {self.copy} "
            f"{self.even}\nepilogue {finish}"
        )

    @property
    def operands(self) -> int:
        return len(self.epilogue.kinds) if self.epilogue else 0


def word_names(variant: Variant) -> list[str]:
    """The call's words after the header, in order."""
    operands = range(variant.operands)
    return [
        *("x", "w", "y"),
        *(f"operand{i}" for i in operands),
        *pad_words("pad"),
        *pad_words("g"),
        *("channels", "lines", "line", "x_n", "x_h", "x_w", "tap_h", "tap_w", "g_step"),
        *("weight_offset", "weight_g_stride", "weight_h_stride", "weight_w_stride"),
        "y_base",
        *(f"y_{axis}" for axis in AXES),
        *(f"operand{i}_{axis}" for i in operands for axis in AXES),
        *("tasks", "pack_tasks", "task_lines", "all_lines", "weights_at", "slots_at"),
        *("slot_bytes", "threads", "padded_at", "step_h", "reach_h"),
    ]


def emit(symbol: str, machine: Target, tile: Tile, variant: Variant) -> str:
    """The text of a variant."""
    module = ll.Module(machine.flags)
    names = word_names(variant)
    steps = [("task", "tasks")]
    if variant.copy != "none":
        conv_copy.emit_pad(module, names, variant.storage, tile, variant.copy, "y", "g")
        steps.insert(0, ("g", "g_tasks"))
    if variant.pad != "none":
        conv_copy.emit_pad(module, names, variant.storage, tile, variant.pad, "x", "pad")
    if variant.kind == "sums":
        _pack(module, names, tile, variant)
        _sums(module, names, machine, tile, variant)
        steps.insert(0, ("pack", "pack_tasks"))
    else:
        _weight(module, names, machine, tile, variant)
        if variant.pad != "none":
            steps.insert(0, ("pad", "pad_tasks"))
    emit_entry(module, symbol, names, steps)
    return module.text()


def _round(n: ll.Value, lanes: int) -> ll.Value:
    return (n + (lanes - 1)) & -lanes


def _pack(module: ll.Module, names: list[str], tile: Tile, variant: Variant) -> None:
    """Weights as [kh, kw][channel], a vector of channels per task."""
    f = module.function("pack", conv_copy.TASK, internal=True)
    words, task, _ = f.arguments
    w = Words(f, words, names)
    reader = Reader(f, module.features, variant.storage)
    pitch = _round(w["channels"], tile.lanes)
    first = task * tile.lanes
    to = f.address(shared(f, words, w, "weights_at"), first, tile.element)
    count = f.minimum(w["channels"] - first, tile.lanes)
    (kh, kw) = variant.kernel
    with f.loop(0, kh) as h, f.loop(0, kw) as v, f.loop(0, count) as c:
        place = w["weight_offset"] + (first + c) * w["weight_g_stride"]
        place = place + h * w["weight_h_stride"] + v * w["weight_w_stride"]
        value = reader.read(reader.at(w.pointer("w"), place))
        f.store(value, to, (h * kw + v) * pitch + c)
    f.finish()


def _input(f: ll.Function, w: Words, words: ll.Value, variant: Variant, tile: Tile, line: ll.Value):
    """The address of the first tap of output line `line` (image and line in one)."""
    image, h = line // w["lines"], line % w["lines"]
    x = w.pointer("x") if variant.pad == "none" else shared(f, words, w, "pad_to")
    return f.address(x, image * w["x_n"] + h * w["x_h"], tile.element)


def _sums(
    module: ll.Module, names: list[str], machine: Target, tile: Tile, variant: Variant
) -> None:
    """Some lines of the result in one image. The padded lines that they need stay in cache."""
    f = module.function("task", conv_copy.TASK, internal=True)
    words, task, slot = f.arguments
    w, lanes, element = Words(f, words, names), tile.lanes, tile.element
    kind = ll.vector(lanes, element)
    fused = machine.name != "plain"
    (kh, kw), side = variant.kernel, PIXELS[machine.name]
    scratch = f.address(shared(f, words, w, "slots_at"), slot * w["slot_bytes"])
    weights = shared(f, words, w, "weights_at")
    channels = w["channels"]
    pitch = _round(channels, lanes)
    x_w, tap_h, tap_w = w["x_w"], w["tap_h"], w["tap_w"]
    tasks = (w["lines"] + (w["task_lines"] - 1)) // w["task_lines"]
    image, first = task // tasks, task % tasks * w["task_lines"]
    stop = f.minimum(first + w["task_lines"], w["lines"])
    if variant.pad == "none":
        start = f.address(w.pointer("x"), image * w["x_n"] + first * w["x_h"], element)
    else:
        start = f.address(scratch, w["padded_at"])
        needed = (stop - first - 1) * w["step_h"] + w["reach_h"]
        with f.loop(0, needed) as i:
            line = image * w["pad_h"] + first * w["step_h"] + i
            f.call("pad_into", words, line, f.address(start, i * w["pad_line"], element))
    with f.loop(first, stop) as h:
        x = f.address(start, (h - first) * w["x_h"], element)
        unit = memory(variant.epilogue.output) if variant.epilogue else element
        place = image * w["y_n"] + h * w["y_h"] + w["y_base"]
        y = f.address(w.pointer("y"), place, unit)
        to, to_pitch = (scratch, pitch) if variant.epilogue else (y, w["y_w"])
        with f.loop(0, channels, lanes) as c:
            taps = [
                [f.load(kind, weights, (p * kw + q) * pitch + c) for q in range(kw)]
                for p in range(kh)
            ]

            def pixels(at: ll.Value, count: int, taps=taps, c=c, x=x, to=to, to_pitch=to_pitch):
                totals = [f.constant(0.0, kind)] * count
                start = f.address(x, at * x_w + c, element)
                for p in range(kh):
                    source = f.address(start, tap_h * p, element)
                    known: dict[object, ll.Value] = {}
                    for q in range(kw):
                        for u in range(count):
                            name = u + q if variant.even else (u, q)
                            if name not in known:
                                known[name] = f.load(kind, source, x_w * u + tap_w * q)
                            value = known[name]
                            if fused:
                                totals[u] = f.fma(value, taps[p][q], totals[u])
                            else:
                                totals[u] = totals[u] + value * taps[p][q]
                for u in range(count):
                    f.store(totals[u], to, (at + u) * to_pitch + c)

            whole = w["line"] // side * side
            with f.loop(0, whole, side) as at:
                pixels(at, side)
            if side > 1:
                with f.loop(whole, w["line"]) as at:
                    pixels(at, 1)
        if variant.epilogue:
            operands = []
            for o, kind_of in enumerate(variant.epilogue.kinds):
                place = image * w[f"operand{o}_n"] + h * w[f"operand{o}_h"]
                operands.append(f.address(w.pointer(f"operand{o}"), place, memory(kind_of)))
            zero = f.i64(0)
            block = Block(
                *(scratch, pitch, zero, w["line"], zero, channels, y, w["y_w"], w["y_c"]),
                operands,
                [w[f"operand{i}_w"] for i in range(variant.operands)],
                [w[f"operand{i}_c"] for i in range(variant.operands)],
            )
            emit_block(f, machine.flags, tile, variant.epilogue, block)
    f.finish()


def _weight(
    module: ll.Module, names: list[str], machine: Target, tile: Tile, variant: Variant
) -> None:
    """The weight's gradient for a vector of channels."""
    f = module.function("task", conv_copy.TASK, internal=True)
    words, task, _ = f.arguments
    w, lanes, element = Words(f, words, names), tile.lanes, tile.element
    kind = ll.vector(lanes, element)
    fused = machine.name != "plain"
    reader = Reader(f, module.features, variant.storage)
    kh, kw = variant.kernel
    c = task * lanes
    g = w.pointer("y") if variant.copy == "none" else shared(f, words, w, "g_to")
    taps = [(p, q) for p in range(kh) for q in range(kw)]
    totals = {tap: f.slot(kind, 0.0) for tap in taps}
    x_w, g_step, size = w["x_w"], w["g_step"], w["line"]
    tap_h, tap_w = w["tap_h"], w["tap_w"]
    with f.loop(0, w["all_lines"]) as line:
        x = f.address(_input(f, w, words, variant, tile, line), c, element)
        cotangent = f.address(g, line * size * g_step + c, element)
        for start in range(0, len(taps), SUMS[machine.name]):
            part = taps[start : start + SUMS[machine.name]]
            sums = {tap: f.slot(kind, 0.0) for tap in part}
            with f.loop(0, size) as at:
                right = f.load(kind, cotangent, at * g_step)
                for p, q in part:
                    left = f.load(kind, x, at * x_w + tap_h * p + tap_w * q)
                    old = sums[p, q].get()
                    sums[p, q].set(f.fma(left, right, old) if fused else old + left * right)
            for tap in part:
                totals[tap].set(totals[tap].get() + sums[tap].get())
    whole = f.slot(kind)
    with f.loop(0, f.minimum(w["channels"] - c, lanes)) as lane:
        for p, q in taps:
            whole.set(totals[p, q].get())
            value = f.load(element, whole.pointer, lane)
            place = w["weight_offset"] + (c + lane) * w["weight_g_stride"]
            place = place + w["weight_h_stride"] * p + w["weight_w_stride"] * q
            reader.write(value, reader.at(w.pointer("w"), place))
    f.finish()
