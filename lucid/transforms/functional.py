"""What the transforms do, as functions of an image: one that is PIL's, or a tensor.

Called by the transforms' classes, and by users. on_tensors.py and on_pil.py do the work; here
arguments are checked and the two are told apart.
"""

import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

import lucid
from lucid.dtypes import FLOATING
from lucid.transforms import on_pil, on_tensors

MODES = ("constant", "edge", "reflect", "symmetric")


class InterpolationMode(Enum):
    """How pixels between pixels are made."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


Mode = InterpolationMode | str


def is_pil(image: Any) -> bool:
    """Whether an image is PIL's; PIL is not imported to find out."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def _on(name: str, image: Any) -> Any:
    """The module whose function takes this image."""
    if isinstance(image, lucid.Tensor):
        if image.ndim < 3:
            raise ValueError(
                f"{name}: a tensor (..., channels, height, width) is expected, got shape "
                f"{tuple(image.shape)}"
            )
        return on_tensors
    if is_pil(image):
        return on_pil
    raise TypeError(f"{name}: expected a tensor or a PIL image, got {type(image).__name__}")


def get_dimensions(image: Any) -> list[int]:
    """Channels, height and width of an image."""
    return _on("get_dimensions", image).dimensions(image)


def get_image_size(image: Any) -> list[int]:
    """Width and height of an image, in this order."""
    return get_dimensions(image)[:0:-1]


# ---- numbers ----------------------------------------------------------------------------------


def to_tensor(image: Any) -> lucid.Tensor:
    """See `ToTensor`."""
    if isinstance(image, lucid.Tensor):
        return on_tensors.scaled(image)
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3):
            raise ValueError(
                f"to_tensor: an array (height, width) or (height, width, channels) is expected, "
                f"got shape {image.shape}"
            )
        planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        made = lucid.from_numpy(np.array(planes, order="C"))
        return on_tensors.scaled(made) if made.dtype is lucid.uint8 else made
    if is_pil(image):
        made = lucid.from_numpy(on_pil.planes(image))
        return on_tensors.scaled(made) if made.dtype is lucid.uint8 else made
    kind = type(image).__name__
    raise TypeError(f"to_tensor: expected a PIL image, an array or a tensor, got {kind}")


def pil_to_tensor(image: Any) -> lucid.Tensor:
    """See `PILToTensor`."""
    if not is_pil(image):
        raise TypeError(f"pil_to_tensor: expected a PIL image, got {type(image).__name__}")
    return lucid.from_numpy(on_pil.planes(image))


def to_pil_image(image: Any, mode: str | None = None) -> Any:
    """See `ToPILImage`."""
    if isinstance(image, lucid.Tensor):
        if image.ndim not in (2, 3):
            raise ValueError(f"to_pil_image: shape {tuple(image.shape)} is that of no image")
        if image.is_floating_point():
            image = image.mul(255).to(lucid.uint8)
        array = image.detach().numpy()
        image = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise TypeError(f"to_pil_image: expected a tensor or an array, got {kind}")
    return on_pil.image(image, mode)


def convert_image_dtype(image: lucid.Tensor, dtype: lucid.dtype) -> lucid.Tensor:
    """See `ConvertImageDtype`."""
    return on_tensors.convert(image, dtype)


def normalize(tensor: lucid.Tensor, mean: Any, std: Any, inplace: bool = False) -> lucid.Tensor:
    """See `Normalize`."""
    if not isinstance(tensor, lucid.Tensor):
        raise TypeError(f"normalize: expected a tensor, got {type(tensor).__name__}")
    if tensor.dtype.category != FLOATING or tensor.ndim < 3:
        raise ValueError(
            f"normalize: a floating tensor (..., channels, height, width) is expected, got "
            f"{tensor.dtype!r} {tuple(tensor.shape)}; ToTensor makes one"
        )
    return on_tensors.normalize(tensor, mean, std, inplace)


def erase(
    img: lucid.Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False
) -> lucid.Tensor:
    """A tensor with v in the h rows from i and the w columns from j."""
    if not isinstance(img, lucid.Tensor):
        raise TypeError(f"erase: expected a tensor, got {type(img).__name__}")
    out = img if inplace else img.clone()
    if isinstance(v, list | tuple):
        v = lucid.tensor(v, dtype=img.dtype).reshape(-1, 1, 1)
    out[..., i : i + h, j : j + w] = v
    return out


# ---- places -----------------------------------------------------------------------------------


def resize(
    img: Any,
    size: int | Sequence[int],
    interpolation: Mode = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """See `Resize`."""
    mode = InterpolationMode(interpolation).value
    on = _on("resize", img)
    target = _target(on.dimensions(img)[1:], size, max_size)
    return on.resize(img, target, mode, antialias is None or bool(antialias))


def _target(present: Sequence[int], size: Any, max_size: int | None) -> tuple[int, int]:
    if not isinstance(size, int) and len(size) == 2:
        if max_size is not None:
            raise ValueError("resize: max_size is for one size, of the shorter side")
        return pair("resize: size", size)
    wanted = size if isinstance(size, int) else size[0]
    if wanted < 1 or (not isinstance(size, int) and len(size) != 1):
        raise ValueError(f"resize: size={size!r} is neither one number nor (height, width)")
    short, long = sorted(present)
    made = (wanted, int(wanted * long / short))
    if max_size is not None:
        if max_size <= wanted:
            raise ValueError(f"resize: max_size={max_size} must be above size={wanted}")
        if made[1] > max_size:
            made = (int(max_size * wanted / made[1]), max_size)
    return made if present[0] <= present[1] else made[::-1]


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """See `Pad`."""
    checked_mode(padding_mode)
    sides = borders(padding)
    on = _on("pad", img)
    _, height, width = on.dimensions(img)
    if padding_mode in ("reflect", "symmetric"):
        left, top, right, bottom = sides
        less = padding_mode == "reflect"
        if max(left, right) > width - less or max(top, bottom) > height - less:
            raise ValueError(
                f"pad: {sides} is too much for an image of {height} x {width} in mode "
                f"{padding_mode!r}"
            )
    return on.pad(img, sides, fill, padding_mode)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The part of an image that begins at (top, left); zeros where it goes beyond."""
    return _on("crop", img).crop(img, top, left, height, width)


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """See `CenterCrop`."""
    h, w = pair("center_crop: output_size", output_size)
    _, height, width = get_dimensions(img)
    return crop(img, _middle(height, h), _middle(width, w), h, w)


def _middle(size: int, part: int) -> int:
    """Where the middle part begins; what is missing goes to the left first."""
    if part > size:
        return -((part - size) // 2)
    return round((size - part) / 2)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: Mode = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """`crop`, then `resize`."""
    _, h, w = get_dimensions(img)
    inside = 0 <= top <= h - height and 0 <= left <= w - width and min(height, width) > 0
    if isinstance(img, lucid.Tensor) and inside and not img.requires_grad:
        mode = InterpolationMode(interpolation).value
        target = _target((height, width), size, None)
        place = (top, left, height, width)
        return on_tensors.part_resized(img, place, target, mode, antialias is not False)
    return resize(crop(img, top, left, height, width), size, interpolation, None, antialias)


def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    return _on("hflip", img).flip(img, True)


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return _on("vflip", img).flip(img, False)


def rotate(
    img: Any,
    angle: float,
    interpolation: Mode = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Any = 0,
) -> Any:
    """An image turned counter-clockwise by `angle` degrees; see `RandomRotation`."""
    mode = InterpolationMode(interpolation).value
    if mode == "nearest-exact":
        raise ValueError("rotate: 'nearest-exact' is for resize; 'nearest' takes the nearest pixel")
    if expand and center is not None:
        raise ValueError("rotate: expand=True turns around the middle, and takes no center")
    return _on("rotate", img).rotate(img, float(angle), mode, expand, center, fill)


# ---- colours ----------------------------------------------------------------------------------


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """See `Grayscale`."""
    return _on("rgb_to_grayscale", img).gray(img, num_output_channels)


to_grayscale = rgb_to_grayscale


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """Every number times the factor: 0 is black, 1 the image itself."""
    _not_negative("adjust_brightness", brightness_factor)
    return _on("adjust_brightness", img).brightness(img, brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """The distance from the mean gray times the factor."""
    _not_negative("adjust_contrast", contrast_factor)
    return _on("adjust_contrast", img).contrast(img, contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """The distance from each pixel's gray times the factor: 0 is gray."""
    _not_negative("adjust_saturation", saturation_factor)
    return _on("adjust_saturation", img).saturation(img, saturation_factor)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """The hue turned by a share of its circle, between -0.5 and 0.5."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"adjust_hue: {hue_factor} does not lie between -0.5 and 0.5")
    return _on("adjust_hue", img).hue(img, hue_factor)


def _not_negative(name: str, factor: float) -> None:
    if not factor >= 0:
        raise ValueError(f"{name}: the factor {factor} is negative")


# ---- arguments --------------------------------------------------------------------------------


def pair(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width)"""
    given = (size,) if isinstance(size, int) else tuple(size)
    if len(given) == 1:
        given *= 2
    if len(given) != 2 or min(given) < 1:
        raise ValueError(f"{name}={size!r} is neither one number nor (height, width)")
    return int(given[0]), int(given[1])


def borders(padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom)"""
    given = (padding,) if isinstance(padding, int) else tuple(padding)
    if len(given) not in (1, 2, 4) or min(given) < 0:
        raise ValueError(f"pad: padding={padding!r} is not one, two or four numbers from 0 on")
    left, top, right, bottom = (given * (4 // len(given)))[:4]
    return left, top, right, bottom


def checked_mode(mode: str) -> str:
    """The padding mode, if there is one of this name."""
    if mode not in MODES:
        raise ValueError(f"pad: padding_mode={mode!r} is none of {', '.join(MODES)}")
    return mode
