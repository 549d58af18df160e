"""Transforms from images to numbers and back: tensors, PIL images, scales, patches.

Called by users through `lucid.transforms`.
"""

import math
from collections.abc import Sequence
from typing import Any

import lucid
from lucid.transforms import draw
from lucid.transforms import functional as F
from lucid.transforms.compose import Transform, probability


class ToTensor(Transform):
    """An image as a floating tensor (channels, height, width); bytes become numbers from 0 to 1.

    Takes PIL images, NumPy arrays (height, width) or (height, width, channels), and tensors, which
    keep their shape. Floating images keep their scale.

    >>> import numpy as np
    >>> from lucid import transforms
    >>> transforms.ToTensor()(np.full((2, 3), 51, np.uint8))
    tensor([[[0.2000, 0.2000, 0.2000],
             [0.2000, 0.2000, 0.2000]]])
    """

    def __call__(self, image: Any) -> lucid.Tensor:
        return F.to_tensor(image)


class PILToTensor(Transform):
    """A PIL image as a tensor (channels, height, width) of its own numbers, unscaled."""

    def __call__(self, image: Any) -> lucid.Tensor:
        return F.pil_to_tensor(image)


class ToPILImage(Transform):
    """A tensor (channels, height, width), or a NumPy array (height, width, channels), as PIL's.

    Floating numbers from 0 to 1 become bytes. `mode`: PIL's name, where it is not clear.
    """

    shown = ("mode",)

    def __init__(self, mode: str | None = None):
        self.mode = mode

    def __call__(self, image: Any) -> Any:
        return F.to_pil_image(image, self.mode)


class ConvertImageDtype(Transform):
    """A tensor in another dtype, with the scale of that: 255 of uint8 is 1.0 of float32.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.ConvertImageDtype(lucid.uint8)(lucid.tensor([0.0, 0.5, 1.0]))
    tensor([  0, 127, 255], dtype=lucid.uint8)
    """

    shown = ("dtype",)

    def __init__(self, dtype: lucid.dtype):
        self.dtype = dtype

    def __call__(self, image: lucid.Tensor) -> lucid.Tensor:
        return F.convert_image_dtype(image, self.dtype)


class Normalize(Transform):
    """(x - mean) / std of each channel of a floating tensor.

    >>> import lucid
    >>> from lucid import transforms
    >>> transforms.Normalize(mean=[1.0, 2.0], std=[2.0, 4.0])(lucid.full((2, 1, 1), 4.0)).flatten()
    tensor([1.5000, 0.5000])
    """

    shown = ("mean", "std")

    def __init__(
        self, mean: float | Sequence[float], std: float | Sequence[float], inplace: bool = False
    ):
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def __call__(self, image: lucid.Tensor) -> lucid.Tensor:
        return F.normalize(image, self.mean, self.std, self.inplace)


class RandomErasing(Transform):
    """With probability p, a rectangle of a tensor is overwritten (Zhong et al., 2020).

    scale: the share of its area, ratio: of its width and height; value: a number, one for each
    channel, or "random" for normal ones.

    >>> import lucid
    >>> from lucid import transforms
    >>> erased = transforms.RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))
    >>> int(erased(lucid.ones(1, 8, 8)).sum())
    48
    """

    shown = ("p", "scale", "ratio", "value", "inplace")

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ):
        self.p = probability("RandomErasing", p)
        if not 0 <= scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"RandomErasing: scale={scale!r}, ratio={ratio!r} are no ranges")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: value={value!r} is neither numbers nor 'random'")
        self.scale = scale
        self.ratio = ratio
        self.value = value
        self.inplace = inplace

    def __call__(self, image: lucid.Tensor) -> lucid.Tensor:
        if draw.number() >= self.p:
            return image
        channels, height, width = F.get_dimensions(image)
        for _ in range(10):
            area = height * width * draw.number(*self.scale)
            ratio = math.exp(draw.number(math.log(self.ratio[0]), math.log(self.ratio[1])))
            h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < h < height and 0 < w < width:
                top, left = draw.integer(height - h + 1), draw.integer(width - w + 1)
                value = self.value
                if value == "random":
                    value = lucid.randn(channels, h, w, dtype=image.dtype)
                return F.erase(image, top, left, h, w, value, self.inplace)
        return image
