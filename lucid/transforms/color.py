"""Transforms of colour: gray, brightness, contrast, saturation, hue.

Called by users through `lucid.transforms`.
"""

from collections.abc import Sequence
from typing import Any

from lucid.transforms import draw
from lucid.transforms import functional as F
from lucid.transforms.compose import Transform, probability

Range = float | Sequence[float]


class Grayscale(Transform):
    """An image in gray, with 1 channel or 3 equal ones.

    0.2989 red + 0.587 green + 0.114 blue (ITU-R BT.601).

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.Grayscale()(lucid.ones(3, 2, 2)).shape
    lucid.Size([1, 2, 2])
    """

    shown = ("num_output_channels",)

    def __init__(self, num_output_channels: int = 1):
        if num_output_channels not in (1, 3):
            raise ValueError(f"Grayscale: {num_output_channels} channels; of 1 and 3")
        self.num_output_channels = num_output_channels

    def __call__(self, image: Any) -> Any:
        return F.rgb_to_grayscale(image, self.num_output_channels)


class RandomGrayscale(Transform):
    """An image in gray with probability p, with as many channels as before.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.RandomGrayscale(p=1.0)(lucid.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)).flatten()
    tensor([0.2989, 0.2989, 0.2989])
    """

    shown = ("p",)

    def __init__(self, p: float = 0.1):
        self.p = probability("RandomGrayscale", p)

    def __call__(self, image: Any) -> Any:
        channels = F.get_dimensions(image)[0]
        if draw.number() < self.p:
            return F.rgb_to_grayscale(image, channels)
        return image


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed at random, in random order.

    The first three: factors between 1 - v and 1 + v (0 at least), or in the range given. hue:
    a shift between -v and v (0.5 at most), or in the range given, as a share of the circle.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.ColorJitter(brightness=(0.5, 0.5))(lucid.ones(3, 1, 1)).flatten()
    tensor([0.5000, 0.5000, 0.5000])
    """

    shown = ("brightness", "contrast", "saturation", "hue")

    def __init__(
        self, brightness: Range = 0, contrast: Range = 0, saturation: Range = 0, hue: Range = 0
    ):
        self.brightness = _range("brightness", brightness)
        self.contrast = _range("contrast", contrast)
        self.saturation = _range("saturation", saturation)
        self.hue = _range("hue", hue, 0.0, -0.5, 0.5)

    def __call__(self, image: Any) -> Any:
        steps = (
            (self.brightness, F.adjust_brightness),
            (self.contrast, F.adjust_contrast),
            (self.saturation, F.adjust_saturation),
            (self.hue, F.adjust_hue),
        )
        for place in draw.order(len(steps)):
            limits, adjust = steps[place]
            if limits is not None:
                image = adjust(image, draw.number(*limits))
        return image


def _range(
    name: str, given: Range, middle: float = 1.0, low: float = 0.0, high: float = float("inf")
) -> tuple[float, float] | None:
    """Smallest and largest value; None where nothing is changed."""
    if isinstance(given, int | float):
        if given < 0:
            raise ValueError(f"ColorJitter: {name}={given} is negative")
        made = (middle - given, middle + given)
        if name != "hue":
            made = (max(made[0], low), made[1])
    else:
        made = (float(given[0]), float(given[1]))
    if not low <= made[0] <= made[1] <= high:
        raise ValueError(f"ColorJitter: {name}={given!r} is no range within [{low}, {high}]")
    return None if made == (middle, middle) else made
