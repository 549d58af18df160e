"""Transforms of images: sizes, crops, flips, rotations, colours; on tensors and on PIL images.

Called by users as `lucid.transforms`, under torchvision's names; loaded on first use. Tensors are
(..., channels, height, width): a batch is transformed as one image is, with one random choice.
Random transforms draw from Lucid's generator: `lucid.manual_seed` repeats them.
"""

from lucid.transforms import functional
from lucid.transforms.color import ColorJitter, Grayscale, RandomGrayscale
from lucid.transforms.compose import Compose, Lambda, RandomApply, RandomChoice, Transform
from lucid.transforms.convert import (
    ConvertImageDtype,
    Normalize,
    PILToTensor,
    RandomErasing,
    ToPILImage,
    ToTensor,
)
from lucid.transforms.functional import InterpolationMode
from lucid.transforms.geometry import (
    CenterCrop,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
)

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype", "Grayscale", "InterpolationMode",
    "Lambda", "Normalize", "PILToTensor", "Pad", "RandomApply", "RandomChoice", "RandomCrop",
    "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip", "RandomResizedCrop",
    "RandomRotation", "RandomVerticalFlip", "Resize", "ToPILImage", "ToTensor", "Transform",
    "functional",
]  # fmt: skip
