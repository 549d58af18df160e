"""The transforms of PIL images. Called by functional.py; PIL loads on first use."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid.lazy import lazy

_image = lazy("PIL.Image", extra="images")
_ops = lazy("PIL.ImageOps", extra="images")
_enhance = lazy("PIL.ImageEnhance", extra="images")

RESAMPLE = {"nearest": 0, "nearest-exact": 0, "bilinear": 2, "bicubic": 3}


def dimensions(image: Any) -> list[int]:
    width, height = image.size
    return [len(image.getbands()), height, width]


def planes(image: Any) -> np.ndarray:
    """The numbers of an image, (channels, height, width)."""
    kinds = {"I": np.int32, "I;16": np.uint16, "F": np.float32}
    array = np.array(image, kinds.get(image.mode))
    if image.mode == "1":
        array = array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        array = array.astype(np.int32)  # which holds them all; Lucid has no uint16
    return array[None] if array.ndim == 2 else np.array(array.transpose(2, 0, 1), order="C")


def image(array: np.ndarray, mode: str | None) -> Any:
    """The image of an array (height, width) or (height, width, channels)."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise ValueError(f"to_pil_image: shape {array.shape} is that of no image")
    if array.dtype not in (np.uint8, np.int16, np.int32, np.float32) or (
        array.ndim == 3 and array.dtype != np.uint8
    ):
        raise TypeError(f"to_pil_image: {array.dtype} numbers of shape {array.shape} are no image")
    if array.dtype == np.int16:
        array = array.astype(np.int32)
    made = _image.fromarray(np.ascontiguousarray(array))
    usual = {2: "LA", 3: "RGB", 4: "RGBA"}.get(array.shape[2]) if array.ndim == 3 else made.mode
    if mode is not None and mode != usual:
        if len(_image.new(mode, (1, 1)).getbands()) != len(made.getbands()):
            raise ValueError(f"to_pil_image: mode {mode!r} does not fit shape {array.shape}")
        return _image.frombytes(mode, made.size, made.tobytes())
    return made


def resize(image: Any, size: tuple[int, int], mode: str, antialias: bool) -> Any:
    if not antialias and mode in ("bilinear", "bicubic"):
        raise ValueError("resize: PIL always averages; antialias=False is for tensors")
    return image.resize(size[::-1], RESAMPLE[mode])


def pad(image: Any, sides: tuple[int, int, int, int], fill: Any, mode: str) -> Any:
    left, top, right, bottom = sides
    if mode == "constant":
        made = _ops.expand(image, border=sides, fill=_fill(image, fill))
        if image.mode == "P":
            made.putpalette(image.getpalette())
        return made
    array = np.asarray(image)
    widths = [(top, bottom), (left, right)] + [(0, 0)] * (array.ndim - 2)
    made = _image.fromarray(np.pad(array, widths, mode=mode))  # type: ignore[call-overload]
    if image.mode == "P":
        made.putpalette(image.getpalette())
    return made


def _fill(image: Any, fill: Any) -> Any:
    """One number for each band."""
    bands = len(image.getbands())
    given = (fill,) if isinstance(fill, int | float) else tuple(fill)
    if len(given) not in (1, bands):
        raise ValueError(f"fill={fill!r} does not fit an image with {bands} channels")
    if image.mode != "F":
        given = tuple(int(n) for n in given)
    return given[0] if bands == 1 else given * (bands // len(given))


def crop(image: Any, top: int, left: int, height: int, width: int) -> Any:
    return image.crop((left, top, left + width, top + height))


def flip(image: Any, horizontal: bool) -> Any:
    return image.transpose(0 if horizontal else 1)


def rotate(
    image: Any, angle: float, mode: str, expand: bool, center: Sequence[float] | None, fill: Any
) -> Any:
    return image.rotate(
        angle, RESAMPLE[mode], expand, None if center is None else tuple(center),
        fillcolor=_fill(image, fill),
    )  # fmt: skip


def gray(image: Any, channels: int) -> Any:
    made = image.convert("L")
    if channels == 3:
        return _image.merge("RGB", (made, made, made))
    if channels != 1:
        raise ValueError(f"rgb_to_grayscale: {channels} channels; of 1 and 3")
    return made


def brightness(image: Any, factor: float) -> Any:
    return _enhance.Brightness(image).enhance(factor)


def contrast(image: Any, factor: float) -> Any:
    return _enhance.Contrast(image).enhance(factor)


def saturation(image: Any, factor: float) -> Any:
    return _enhance.Color(image).enhance(factor)


def hue(image: Any, factor: float) -> Any:
    if image.mode in ("1", "L", "I", "F"):
        return image
    hues, *others = image.convert("HSV").split()
    turned = (np.asarray(hues).astype(np.int16) + round(factor * 255)) % 256
    bands = (_image.fromarray(turned.astype(np.uint8)), *others)
    return _image.merge("HSV", bands).convert(image.mode)
