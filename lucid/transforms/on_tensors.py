"""The transforms of tensors (..., channels, height, width). Called by functional.py."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import lucid
from lucid import dtypes
from lucid.dtypes import FLOATING
from lucid.nn import functional as F
from lucid.ops.neighbours import banded, taps_of
from lucid.ops.resample import band

Tensor = lucid.Tensor


def dimensions(x: Tensor) -> list[int]:
    return [int(n) for n in x.shape[-3:]]


# ---- numbers ----------------------------------------------------------------------------------


def scaled(x: Tensor) -> Tensor:
    """Bytes as numbers from 0 to 1; floating numbers as they are."""
    if x.dtype is lucid.uint8:
        return x.to(dtypes.get_default_dtype()).div(255)
    if not x.is_floating_point():
        raise TypeError(f"to_tensor: a tensor of {x.dtype!r} has no scale; uint8 or floating")
    return x


def _most(kind: lucid.dtype) -> int:
    """What stands for 1."""
    return 1 if kind.category == FLOATING else int(np.iinfo(kind.numpy).max)


def convert(x: Tensor, kind: lucid.dtype) -> Tensor:
    if x.dtype is kind:
        return x
    if min(x.dtype.category, kind.category) < dtypes.INTEGER or x.dtype.is_complex:
        raise TypeError(f"convert_image_dtype: from {x.dtype!r} to {kind!r} has no scale")
    if x.is_floating_point() and kind.category == FLOATING:
        return x.to(kind)
    if kind.category == FLOATING:
        return x.to(kind).div(_most(x.dtype))
    if x.is_floating_point():
        if kind is lucid.int64 or (kind is lucid.int32 and x.dtype is not lucid.float64):
            raise RuntimeError(f"convert_image_dtype: {x.dtype!r} cannot hold all of {kind!r}")
        return x.mul(_most(kind) + 1 - 1e-3).to(kind)
    high, low = _most(x.dtype), _most(kind)
    if high > low:
        return (x // ((high + 1) // (low + 1))).to(kind)
    return x.to(kind) * ((low + 1) // (high + 1))


def normalize(x: Tensor, mean: Any, std: Any, inplace: bool) -> Tensor:
    mean, std = _by_channel(x, mean, "mean"), _by_channel(x, std, "std")
    if bool((std == 0).any()):
        raise ValueError(f"normalize: a standard deviation is 0 in {x.dtype!r}")
    return x.sub_(mean).div_(std) if inplace else x.sub(mean).div(std)


def _by_channel(x: Tensor, values: Any, name: str) -> Tensor:
    """Numbers as (channels, 1, 1)."""
    made = lucid.as_tensor(values, dtype=x.dtype)
    if made.ndim > 1 or made.numel() not in (1, x.shape[-3]):
        raise ValueError(
            f"{name}: {made.numel()} numbers for {x.shape[-3]} channels of {tuple(x.shape)}"
        )
    return made.reshape(-1, 1, 1)


def _as_floating(x: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
    """work(x) on (N, C, H, W) in floating numbers, rounded to what x's dtype holds."""
    kind = x.dtype
    y = x.reshape(-1, *x.shape[-3:])
    if kind.category != FLOATING:
        y = y.to(lucid.float32)
    y = work(y)
    if kind.category != FLOATING:
        limits = np.iinfo(kind.numpy if kind is not lucid.bool else np.uint8)
        if kind.itemsize < 4:  # the limits of larger types are no float32 numbers
            y = y.clamp(int(limits.min), int(limits.max))
        y = y.round().to(kind)
    return y.reshape(*x.shape[:-3], *y.shape[-3:])


# ---- places -----------------------------------------------------------------------------------


def resize(x: Tensor, size: tuple[int, int], mode: str, antialias: bool) -> Tensor:
    if tuple(x.shape[-2:]) == size:
        return x
    if mode.startswith("nearest"):
        y = F.interpolate(x.reshape(-1, *x.shape[-3:]), size=size, mode=mode)
        return y.reshape(*x.shape[:-2], *size)
    return _as_floating(
        x,
        lambda y: F.interpolate(y, size=size, mode=mode, align_corners=False, antialias=antialias),
    )


def part_resized(
    x: Tensor, place: tuple[int, int, int, int], size: tuple[int, int], mode: str, antialias: bool
) -> Tensor:
    """`crop`, then `resize`, without gradients: the tables of weights say where the part lies, so
    that the kernels and plans are the same for every part."""
    kernel = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    chosen = []  # for each of the two dimensions
    for start, n, m in zip(place[:2], place[2:], size, strict=True):
        kind = x.dtype.compute.numpy.type if x.is_floating_point() else np.float32
        places, weights = taps_of(kernel, n, m, False, antialias, None, kind)
        chosen.append((start, n, m, places, weights))
    if mode.startswith("nearest"):
        for dim, (start, _, _, places, _) in zip((-2, -1), chosen, strict=True):
            x = x.index_select(dim, lucid.from_numpy(places[:, 0] + start))
        return x

    def work(y: Tensor) -> Tensor:
        dims = sorted((0, 1), key=lambda d: chosen[d][2] / chosen[d][1])  # what shrinks most first
        for d in dims:
            first, table = _table(*chosen[d])
            y = band(y, first, table, first, table, 2 + d)
        return y

    return _as_floating(x, work)


def _table(start: int, n: int, m: int, places: np.ndarray, weights: np.ndarray) -> tuple:
    """Where each output element begins in the whole image, and its weights, of which there are a
    power of two: few plans are needed then."""
    rows = np.repeat(np.arange(m), places.shape[1])
    columns, entries = places.ravel(), weights.ravel()
    used = entries != 0
    first, table = banded(rows[used], columns[used], entries[used], n, m)
    wide = np.zeros((m, 1 << (table.shape[1] - 1).bit_length()), table.dtype)
    wide[:, : table.shape[1]] = table
    return lucid.from_numpy(first + start), lucid.from_numpy(wide)


def pad(x: Tensor, sides: tuple[int, int, int, int], fill: Any, mode: str) -> Tensor:
    left, top, right, bottom = sides
    if mode == "constant":
        return _filled(x, fill, lambda y, v: F.pad(y, (left, right, top, bottom), value=v))
    for dim, before, after in ((-2, top, bottom), (-1, left, right)):
        if before or after:
            n = x.shape[dim]
            places = np.pad(np.arange(n), (before, after), mode=mode)  # type: ignore[call-overload]
            x = x.index_select(dim, lucid.from_numpy(places))
    return x


def _filled(x: Tensor, fill: Any, work: Callable[[Tensor, Any], Tensor]) -> Tensor:
    """work(x, fill), channel by channel where each has its own."""
    values = [fill] if isinstance(fill, int | float) else list(fill)
    if len(values) == 1:
        return work(x, values[0])
    channels = x.shape[-3]
    if len(values) != channels:
        raise ValueError(f"fill={fill!r} does not fit {channels} channels")
    parts = [work(x[..., i : i + 1, :, :], value) for i, value in enumerate(values)]
    return lucid.cat(parts, -3)


def crop(x: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    h, w = x.shape[-2:]
    sides = (max(-left, 0), max(-top, 0), max(left + width - w, 0), max(top + height - h, 0))
    if any(sides):
        x = pad(x, sides, 0, "constant")
        left, top = left + sides[0], top + sides[1]
    return x[..., top : top + height, left : left + width]


def flip(x: Tensor, horizontal: bool) -> Tensor:
    return x.flip(-1 if horizontal else -2)


def rotate(
    x: Tensor, angle: float, mode: str, expand: bool, center: Sequence[float] | None, fill: Any
) -> Tensor:
    height, width = (int(n) for n in x.shape[-2:])
    turns, rest = divmod(angle % 360, 90)
    if rest == 0 and center is None and (expand or turns % 2 == 0 or height == width):
        return lucid.rot90(x, int(turns), (-2, -1))  # exactly, and without weights
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    size = _turned(height, width, cos, sin) if expand else (height, width)
    theta = _matrix(height, width, size, cos, sin, center)

    def work(y: Tensor) -> Tensor:
        return _sampled(y, theta, size, mode, fill)

    return _as_floating(x, work)


def _turned(height: int, width: int, cos: float, sin: float) -> tuple[int, int]:
    """The smallest size that holds the turned image, counted from where the image lies, as PIL."""
    across = abs(width * cos) + abs(height * sin)
    along = abs(height * cos) + abs(width * sin)
    made = []
    for n, extent in ((height, along), (width, across)):
        low, high = round((n - extent) / 2, 9), round((n + extent) / 2, 9)
        made.append(math.ceil(high) - math.floor(low))
    return made[0], made[1]


def _matrix(
    height: int, width: int, size: tuple[int, int], cos: float, sin: float, center: Any
) -> list[list[float]]:
    """From places of the output to places of the input, both from -1 to 1 between their edges.

    In pixels from the middle, y downwards, the place (x, y) shows (x cos - y sin, x sin + y cos).
    """
    x, y = (0.0, 0.0) if center is None else (center[0] - width / 2, center[1] - height / 2)
    moved = x - (x * cos - y * sin), y - (x * sin + y * cos)
    h, w = size
    return [
        [cos * w / width, -sin * h / width, 2 * moved[0] / width],
        [sin * w / height, cos * h / height, 2 * moved[1] / height],
    ]


def _sampled(x: Tensor, theta: Any, size: tuple[int, int], mode: str, fill: Any) -> Tensor:
    """x (N, C, H, W) at the places of an affine grid; `fill` where these are outside."""
    values = [fill] if isinstance(fill, int | float) else list(fill)
    if len(values) not in (1, x.shape[1]):
        raise ValueError(f"fill={fill!r} does not fit {x.shape[1]} channels")
    matrix = lucid.tensor([theta], dtype=x.dtype)
    grid = F.affine_grid(matrix, (1, 1, *size), align_corners=False)
    grid = grid.expand(x.shape[0], -1, -1, -1)
    if not any(values):
        return F.grid_sample(x, grid, mode, "zeros", align_corners=False)
    # Ones along with it tell how much of each place is inside.
    ones = lucid.ones_like(x[:, :1])
    y = F.grid_sample(lucid.cat([x, ones], 1), grid, mode, "zeros", align_corners=False)
    y, inside = y[:, :-1], y[:, -1:]
    outside = lucid.tensor(values, dtype=x.dtype).reshape(-1, 1, 1)
    return y + (1 - inside) * outside


# ---- colours ----------------------------------------------------------------------------------


def gray(x: Tensor, channels: int) -> Tensor:
    present = x.shape[-3]
    if present not in (1, 3) or channels not in (1, 3):
        raise ValueError(f"rgb_to_grayscale: from {present} to {channels} channels; of 1 and 3")
    made = x
    if present == 3:
        red, green, blue = x.unbind(-3)
        made = (0.2989 * red + 0.587 * green + 0.114 * blue).to(x.dtype).unsqueeze(-3)
    return made if channels == 1 else made.expand(*x.shape[:-3], 3, *x.shape[-2:])


def _blend(x: Tensor, other: Tensor | float, factor: float) -> Tensor:
    """x times factor and the other image times what is left of 1, within the limits."""
    made = (factor * x + (1.0 - factor) * other).clamp(0, _most(x.dtype))
    return made.to(x.dtype)


def _gray(x: Tensor) -> Tensor:
    return gray(x, 1) if x.shape[-3] == 3 else x


def brightness(x: Tensor, factor: float) -> Tensor:
    return _blend(x, 0.0, factor)


def contrast(x: Tensor, factor: float) -> Tensor:
    shades = _gray(x) if x.is_floating_point() else _gray(x).to(lucid.float32)
    return _blend(x, shades.mean((-3, -2, -1), keepdim=True), factor)


def saturation(x: Tensor, factor: float) -> Tensor:
    return x if x.shape[-3] == 1 else _blend(x, _gray(x), factor)


def hue(x: Tensor, factor: float) -> Tensor:
    if x.shape[-3] == 1:
        return x
    if x.shape[-3] != 3:
        raise ValueError(f"adjust_hue: {x.shape[-3]} channels; of 1 and 3")
    colours = x if x.is_floating_point() else convert(x, lucid.float32)
    turned, saturations, values = _hsv(colours)
    made = _rgb((turned + factor) % 1.0, saturations, values)
    return convert(made, x.dtype)


def _hsv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and value, each from 0 to 1 (Smith, 1978)."""
    red, green, blue = x.unbind(-3)
    high, low = x.amax(-3), x.amin(-3)
    spread = high - low
    even = spread == 0
    divisor = lucid.where(even, 1.0, spread)
    turn = lucid.where(
        high == red,
        (green - blue) / divisor,
        lucid.where(high == green, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0),
    )
    return (turn / 6.0) % 1.0, spread / lucid.where(even, 1.0, high), high


def _rgb(turn: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The colours again: value (1 - saturation max(0, min(k, 4 - k, 1))), k = (n + 6 turn) mod 6
    with n = 5, 3, 1 for red, green, blue."""
    parts = []
    for n in (5.0, 3.0, 1.0):
        k = (turn * 6.0 + n) % 6.0
        share = lucid.minimum(k, 4.0 - k).clamp(0.0, 1.0)
        parts.append(value * (1.0 - saturation * share))
    return lucid.stack(parts, -3)
