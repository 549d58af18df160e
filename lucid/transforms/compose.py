"""Transforms made of transforms, and the base of all.

Called by users through `lucid.transforms`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid.transforms import draw


class Transform:
    """The base: a callable whose `repr` shows the settings named in `shown`.

    >>> from lucid import transforms
    >>> transforms.Pad(2)
    Pad(padding=2, fill=0, padding_mode='constant')
    """

    shown: tuple[str, ...] = ()

    def __call__(self, image: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} is a transform without __call__")

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.shown)
        return f"{type(self).__name__}({settings})"


class Compose(Transform):
    """One transform after the other.

    >>> import lucid
    >>> from lucid import transforms
    >>> both = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    >>> both(lucid.tensor([[[0, 255]]], dtype=lucid.uint8))
    tensor([[[-1.,  1.]]])
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]):
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f"Compose: a {type(transform).__name__} is no transform")

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        inner = "".join(f"    {transform!r}\n" for transform in self.transforms)
        return f"Compose(\n{inner})"


class Lambda(Transform):
    """Any function of an image, `lambd`, as a transform.

    >>> from lucid import transforms
    >>> transforms.Lambda(lambda x: x + 1)(2)
    3
    """

    def __init__(self, lambd: Callable[[Any], Any]):
        if not callable(lambd):
            raise TypeError(f"Lambda: a {type(lambd).__name__} is no function")
        self.lambd = lambd

    def __call__(self, image: Any) -> Any:
        return self.lambd(image)

    def __repr__(self) -> str:
        return f"Lambda({getattr(self.lambd, '__name__', self.lambd)})"


class RandomApply(Transform):
    """All of `transforms`, with probability p; else the image as it is.

    >>> from lucid import transforms
    >>> transforms.RandomApply([transforms.Lambda(lambda x: -x)], p=1.0)(2)
    -2
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5):
        self.transforms = Compose(transforms)
        self.p = probability("RandomApply", p)

    def __call__(self, image: Any) -> Any:
        return self.transforms(image) if draw.number() < self.p else image

    def __repr__(self) -> str:
        return f"RandomApply(p={self.p}, {self.transforms!r})"


class RandomChoice(Transform):
    """One of `transforms`, all equally likely.

    >>> from lucid import transforms
    >>> transforms.RandomChoice([abs])(-2)
    2
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]):
        self.transforms = list(transforms)
        if not self.transforms:
            raise ValueError("RandomChoice: there is no transform to choose")

    def __call__(self, image: Any) -> Any:
        return self.transforms[draw.integer(len(self.transforms))](image)

    def __repr__(self) -> str:
        return f"RandomChoice({self.transforms!r})"


def probability(name: str, p: float) -> float:
    """p, if it is one."""
    if not isinstance(p, int | float) or not 0 <= p <= 1:
        raise ValueError(f"{name}: p={p!r} is no probability")
    return p
