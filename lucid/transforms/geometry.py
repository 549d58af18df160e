"""Transforms of place: sizes, crops, borders, flips, rotations.

Called by users through `lucid.transforms`.
"""

import math
from collections.abc import Sequence
from typing import Any

from lucid.transforms import draw
from lucid.transforms import functional as F
from lucid.transforms.compose import Transform, probability
from lucid.transforms.functional import InterpolationMode


class Resize(Transform):
    """An image of another size: (height, width), or one number for the shorter side.

    interpolation: "bilinear", "nearest", "bicubic", "nearest-exact", or an `InterpolationMode`.
    max_size: how long the longer side may become. antialias: shrinking averages over all pixels
    that an output pixel covers (always so for PIL images).

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.Resize(4)(lucid.zeros(3, 8, 12)).shape
    lucid.Size([3, 4, 6])
    """

    shown = ("size", "interpolation", "max_size", "antialias")

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: InterpolationMode | str = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ):
        self.size = size
        self.interpolation = InterpolationMode(interpolation)
        self.max_size = max_size
        self.antialias = antialias

    def __call__(self, image: Any) -> Any:
        return F.resize(image, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """The middle of an image; zeros around it where it is smaller than `size`.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.CenterCrop(2)(lucid.arange(16).reshape(1, 4, 4)).tolist()
    [[[5, 6], [9, 10]]]
    """

    shown = ("size",)

    def __init__(self, size: int | Sequence[int]):
        self.size = F.pair("CenterCrop: size", size)

    def __call__(self, image: Any) -> Any:
        return F.center_crop(image, self.size)


class Pad(Transform):
    """A border around an image.

    padding: one number, (left and right, top and bottom) or (left, top, right, bottom).
    padding_mode: "constant" (of `fill`, a number or one for each channel), "edge" (the outer
    pixels), "reflect" (without them), "symmetric" (with them).

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.Pad((1, 0), padding_mode="symmetric")(lucid.tensor([[[1, 2]]])).tolist()
    [[[1, 1, 2, 2]]]
    """

    shown = ("padding", "fill", "padding_mode")

    def __init__(self, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant"):
        F.borders(padding)
        self.padding = padding
        self.fill = fill
        self.padding_mode = F.checked_mode(padding_mode)

    def __call__(self, image: Any) -> Any:
        return F.pad(image, self.padding, self.fill, self.padding_mode)


class RandomCrop(Transform):
    """A part of the given size from anywhere in an image, which is padded before.

    padding, fill, padding_mode: as `Pad`. pad_if_needed: an image that is still too small gets a
    border on both sides.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.RandomCrop(32, padding=4)(lucid.zeros(3, 32, 32)).shape
    lucid.Size([3, 32, 32])
    """

    shown = ("size", "padding")

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ):
        self.size = F.pair("RandomCrop: size", size)
        if padding is not None:
            F.borders(padding)
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = F.checked_mode(padding_mode)

    def __call__(self, image: Any) -> Any:
        if self.padding is not None:
            image = F.pad(image, self.padding, self.fill, self.padding_mode)
        _, height, width = F.get_dimensions(image)
        h, w = self.size
        if self.pad_if_needed and (width < w or height < h):
            sides = (max(w - width, 0), max(h - height, 0))
            image = F.pad(image, sides, self.fill, self.padding_mode)
            _, height, width = F.get_dimensions(image)
        if height < h or width < w:
            raise ValueError(
                f"RandomCrop: {h} x {w} does not fit into an image of {height} x {width}; "
                "padding= or pad_if_needed=True makes it larger"
            )
        top, left = draw.integer(height - h + 1), draw.integer(width - w + 1)
        return F.crop(image, top, left, h, w)


class RandomHorizontalFlip(Transform):
    """Left and right exchanged, with probability p.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.RandomHorizontalFlip(p=1.0)(lucid.tensor([[[1, 2]]])).tolist()
    [[[2, 1]]]
    """

    shown = ("p",)

    def __init__(self, p: float = 0.5):
        self.p = probability(type(self).__name__, p)

    def __call__(self, image: Any) -> Any:
        return F.hflip(image) if draw.number() < self.p else image


class RandomVerticalFlip(RandomHorizontalFlip):
    """Top and bottom exchanged, with probability p.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.RandomVerticalFlip(p=1.0)(lucid.tensor([[[1], [2]]])).tolist()
    [[[2], [1]]]
    """

    def __call__(self, image: Any) -> Any:
        return F.vflip(image) if draw.number() < self.p else image


class RandomRotation(Transform):
    """An image turned by an angle between -degrees and degrees, or in the range given.

    Counter-clockwise, around `center` (x, y; the middle by default). expand: the result is as
    large as it needs to be. fill: what is outside, a number or one for each channel.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.RandomRotation((90, 90))(lucid.tensor([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
    [[[2.0, 4.0], [1.0, 3.0]]]
    """

    shown = ("degrees", "interpolation", "expand", "center", "fill")

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: InterpolationMode | str = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Any = 0,
    ):
        if isinstance(degrees, int | float):
            if degrees < 0:
                raise ValueError(f"RandomRotation: degrees={degrees} is negative; give a range")
            degrees = (-degrees, degrees)
        if len(degrees) != 2:
            raise ValueError(f"RandomRotation: degrees={degrees!r} is no range")
        self.degrees = tuple(float(d) for d in degrees)
        self.interpolation = InterpolationMode(interpolation)
        self.expand = expand
        self.center = center
        self.fill = fill

    def __call__(self, image: Any) -> Any:
        angle = draw.number(*self.degrees)
        return F.rotate(image, angle, self.interpolation, self.expand, self.center, self.fill)


class RandomResizedCrop(Transform):
    """A part of random area and shape, resized (Szegedy et al., 2015).

    scale: the share of the image's area, ratio: of width and height. After ten parts that do not
    fit, the middle is taken.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.RandomResizedCrop(8)(lucid.zeros(3, 20, 30)).shape
    lucid.Size([3, 8, 8])
    """

    shown = ("size", "scale", "ratio", "interpolation", "antialias")

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: InterpolationMode | str = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ):
        if not 0 < scale[0] <= scale[1] or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"RandomResizedCrop: scale={scale!r}, ratio={ratio!r} are no ranges")
        self.size = F.pair("RandomResizedCrop: size", size)
        self.scale = scale
        self.ratio = ratio
        self.interpolation = InterpolationMode(interpolation)
        self.antialias = antialias

    def __call__(self, image: Any) -> Any:
        place = self._place(*F.get_dimensions(image)[1:])
        return F.resized_crop(image, *place, self.size, self.interpolation, self.antialias)

    def _place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part."""
        low, high = self.ratio
        for _ in range(10):
            area = height * width * draw.number(*self.scale)
            ratio = math.exp(draw.number(math.log(low), math.log(high)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return draw.integer(height - h + 1), draw.integer(width - w + 1), h, w
        w = min(width, round(height * high))
        h = min(height, round(width / low))
        return (height - h) // 2, (width - w) // 2, h, w
