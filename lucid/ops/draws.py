"""In-place draws from further distributions: exponential_, geometric_, cauchy_, log_normal_."""

from math import log1p, pi
from typing import Any

from lucid.dtypes import float64
from lucid.ops.elementwise import assign
from lucid.ops.random import _draw, _floating, normal_numbers, uniform_numbers
from lucid.write import write


def exponential_(self, lambd: float = 1.0, *, generator=None):
    """In place: exponential numbers of rate lambd, -log(1 - u) / lambd."""
    if lambd <= 0:
        raise RuntimeError(f"exponential_: lambd must be positive, got {lambd}")
    u = _uniform(self, "exponential_", generator)
    return write(assign, self, (-(-u).log1p() / lambd,), name="exponential_")


def geometric_(self, p: float, *, generator=None):
    """In place: how many trials of probability p the first success takes, from 1 on."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_: p must lie between 0 and 1, got {p}")
    u = _draw(uniform_numbers, tuple(self.shape), float64, 0.0, 1.0, generator)
    made = ((-u).log1p() / log1p(-p)).floor() + 1
    return write(assign, self, (made.to(self.dtype),), name="geometric_")


def cauchy_(self, median: float = 0.0, sigma: float = 1.0, *, generator=None):
    """In place: Cauchy numbers, median + sigma tan(pi (u - 1/2))."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_: sigma must be positive, got {sigma}")
    u = _uniform(self, "cauchy_", generator)
    made = ((u - 0.5) * pi).tan() * sigma + median
    return write(assign, self, (made,), name="cauchy_")


def log_normal_(self, mean: float = 1.0, std: float = 2.0, *, generator=None):
    """In place: e^z of normal numbers z."""
    if std <= 0:
        raise RuntimeError(f"log_normal_: std must be positive, got {std}")
    kind = _floating("log_normal_", self.dtype)
    z = _draw(normal_numbers, tuple(self.shape), kind, float(mean), float(std), generator)
    return write(assign, self, (z.exp(),), name="log_normal_")


def _uniform(x: Any, name: str, generator: Any) -> Any:
    kind = _floating(name, x.dtype)
    return _draw(uniform_numbers, tuple(x.shape), kind, 0.0, 1.0, generator)
