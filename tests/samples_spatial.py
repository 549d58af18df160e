"""Samples of test_oracle.py: pooling, padding, resizing, sampling and norms of spatial tensors."""

import lucid
import lucid.nn.functional as F
from tests.samples import R, sample


@sample
def more_pools(n, kind):
    line, image, volume = (
        R(*s, min(n, 18) + 2, kind=kind) for s in ((1, 2), (1, 2, 3), (1, 1, 2, 3))
    )
    top, places = F.max_pool1d(line, 2, return_indices=True)
    return [
        top,
        F.max_pool3d(volume, 2, 1, 1),
        F.avg_pool1d(line, 3, 2, 1, count_include_pad=False),
        F.avg_pool3d(volume, 2, 1),
        F.adaptive_max_pool1d(line, 3),
        F.adaptive_max_pool2d(image, (2, 3)),
        F.adaptive_avg_pool3d(volume, (2, 2, 3)),
        F.max_unpool1d(top, places, 2, output_size=line.shape[2:]),
        F.fractional_max_pool2d(image, 2, (2, 3)),
        F.lp_pool1d(line, 2, 2),
    ]


@sample
def paddings(n, kind):
    x = R(1, 2, 3, n, kind=kind)
    return [F.pad(x, (2, 1, 1, 2), mode) for mode in ("reflect", "replicate", "circular")]


@sample
def resizes(n, kind):
    line, image, volume = (R(*s, min(n, 18), kind=kind) for s in ((1, 2), (1, 1, 3), (1, 1, 2, 2)))
    return [
        F.interpolate(line, 5),
        F.interpolate(line, 7, mode="linear"),
        F.interpolate(image, (4, 9), mode="bicubic"),
        F.interpolate(image, (2, 5), mode="bilinear", antialias=True),
        F.interpolate(volume, (2, 3, 5), mode="trilinear"),
    ]


@sample
def grids(n, kind):
    image, grid = R(1, 2, 3, 4, kind=kind), R(1, 1, min(n, 18), 2, kind=kind)
    theta = R(1, 2, 3, kind=kind)
    return [
        F.grid_sample(image, grid),
        F.grid_sample(image, grid, padding_mode="reflection"),
        F.grid_sample(image, grid, "nearest", "border", True),
        F.affine_grid(theta, (1, 1, 2, min(n, 18)), False),
    ]


@sample
def folds(n, kind):
    image = R(1, 2, 3, min(n, 18) + 2, kind=kind)
    columns = F.unfold(image, (2, 3), padding=1)
    return [columns, F.fold(columns, image.shape[2:], (2, 3), padding=1), F.pixel_shuffle(
        R(1, 4, 2, n, kind=kind), 2), F.channel_shuffle(R(1, 4, n, kind=kind), 2)]  # fmt: skip


@sample
def more_norms(n, kind):
    x, w, b = R(2, 4, n, kind=kind), R(4, kind=kind), R(4, kind=kind)
    mean, variance = w.detach().clone(), b.detach().clone()
    return [
        F.group_norm(x, 2, w, b),
        F.group_norm(x, 2),
        F.instance_norm(x, mean, variance, w, b),
        F.rms_norm(x, (n,), R(n, kind=kind)),
        F.rms_norm(x, (n,)),
        F.local_response_norm(x, 3),
        F.global_response_norm(x, w.reshape(4, 1), b.reshape(4, 1)),
    ]


@sample
def more_convolutions(n, kind):
    kind = kind if kind is lucid.float64 else lucid.float32
    line, volume = R(1, 2, n + 2, kind=kind), R(1, 2, 3, 3, min(n, 18), kind=kind)
    return [
        F.conv1d(line, R(3, 2, 3, kind=kind), R(3, kind=kind)),
        F.conv_transpose1d(line, R(2, 3, 3, kind=kind), R(3, kind=kind), 2),
        F.conv3d(volume, R(3, 2, 2, 2, 2, kind=kind), padding=1),
        F.conv_transpose3d(volume, R(2, 1, 2, 2, 2, kind=kind), stride=2),
    ]


@sample
def drops(n, kind):
    x = R(2, 3, 4, n + 2, kind=kind)
    return [
        F.dropout2d(x, 0.3),
        F.alpha_dropout(x, 0.3, True),
        F.feature_alpha_dropout(x, 0.3, True),
        F.drop_block(x, 2, 0.2),
        F.drop_path(x, 0.3),
    ]
