"""interpolate and its older names. Called by users and nn.Upsample; resample.py does the work."""

import math
from typing import Any

from lucid.dtypes import FLOATING, float32
from lucid.ops.adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from lucid.ops.neighbours import tables
from lucid.ops.resample import resized
from lucid.ops.spatial import several

KERNELS = {
    "nearest": ("nearest", (1, 2, 3)),
    "nearest-exact": ("nearest-exact", (1, 2, 3)),
    "area": ("area", (1, 2, 3)),
    "linear": ("linear", (1,)),
    "bilinear": ("linear", (2,)),
    "trilinear": ("linear", (3,)),
    "bicubic": ("cubic", (2,)),
}
AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


def interpolate(
    input, size=None, scale_factor=None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False,
):  # fmt: skip
    """x (N, C, spatial...) resized to `size`, or by `scale_factor`, of one to three dimensions.

    mode: "nearest", "nearest-exact", "area" for any; "linear" (3-d input), "bilinear" and
    "bicubic" (4-d), "trilinear" (5-d). align_corners: the corners' centres are kept, else their
    outer edges. The scale given is used as it is unless recompute_scale_factor. antialias
    (bilinear and bicubic): the kernel is widened where the image shrinks.

    >>> import lucid
    >>> x = lucid.tensor([[[0.0, 1.0]]])
    >>> lucid.nn.functional.interpolate(x, size=4, mode="linear", align_corners=False)
    tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    rank = input.ndim - 2
    if mode not in KERNELS:
        raise NotImplementedError(f"interpolate: mode {mode!r} is none of {tuple(KERNELS)}")
    kernel, ranks = KERNELS[mode]
    if rank not in ranks:
        needed = " or ".join(f"{r + 2}-d" for r in ranks)
        raise NotImplementedError(
            f"interpolate: mode {mode!r} takes {needed} input, got shape {tuple(input.shape)}"
        )
    if align_corners is not None and kernel in ("nearest", "nearest-exact", "area"):
        raise ValueError(f"interpolate: align_corners does not apply to mode {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is for bilinear and bicubic, not {mode!r}")
    shape, factors = _target(input, rank, size, scale_factor, recompute_scale_factor)
    if kernel == "area":
        return AREA[rank](input, shape)
    if kernel != "nearest" and kernel != "nearest-exact" and input.dtype.category != FLOATING:
        raise TypeError(f"interpolate: mode {mode!r} needs a floating input, got {input.dtype!r}")
    kind = input.dtype.compute if input.dtype.category == FLOATING else float32
    made = tuple(
        tables(kernel, n, m, bool(align_corners), bool(antialias), factor, kind)
        for n, m, factor in zip(input.shape[2:], shape, factors, strict=True)
    )
    return resized(input, made, kernel in ("nearest", "nearest-exact"))


def _target(x: Any, rank: int, size: Any, scale_factor: Any, recompute: bool | None) -> tuple:
    """The sizes wanted, and the factors that the steps follow from (None: the sizes)."""
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: size or scale_factor is needed, and not both")
    if size is not None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor is for scale_factor, not size")
        shape = several("interpolate: size", size, rank)
        factors: tuple = (None,) * rank
    else:
        given = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * rank
        if len(given) != rank:
            raise ValueError(f"interpolate: {rank} factors expected, got {tuple(given)}")
        factors = tuple(float(f) for f in given)
        shape = tuple(math.floor(float(n) * f) for n, f in zip(x.shape[2:], factors, strict=True))
        if recompute:
            factors = (None,) * rank
    if min(shape) < 1 or min(x.shape[2:]) < 1:
        raise RuntimeError(f"interpolate: from {tuple(x.shape[2:])} to {shape}")
    return shape, factors


def upsample(input, size=None, scale_factor=None, mode: str = "nearest", align_corners=None):
    """`interpolate` under its older name.

    >>> import lucid
    >>> lucid.nn.functional.upsample(lucid.ones(1, 1, 2), scale_factor=2).shape
    lucid.Size([1, 1, 4])
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """`interpolate` in mode "nearest".

    >>> import lucid
    >>> lucid.nn.functional.upsample_nearest(lucid.tensor([[[1.0, 2.0]]]), scale_factor=2).tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    """
    return interpolate(input, size, scale_factor)


def upsample_bilinear(input, size=None, scale_factor=None):
    """`interpolate` in mode "bilinear" with aligned corners.

    >>> import lucid
    >>> lucid.nn.functional.upsample_bilinear(lucid.ones(1, 1, 2, 2), 3).shape
    lucid.Size([1, 1, 3, 3])
    """
    return interpolate(input, size, scale_factor, "bilinear", True)
