"""Cases of test_vmap.py: spatial records, by what reaches them."""

import lucid
import lucid.nn.functional as F
from lucid.op import find
from lucid.ops.neighbours import tables


def cases(real, whole):
    image, line, volume = real(2, 4, 5, 6), real(2, 3, 7), real(1, 2, 3, 4, 3)
    places, weights = whole(2, 3, 4, high=5), real(2, 3, 4)
    halves = tables("linear", 7, 4, False, False, None, lucid.float64)
    window = ((2, 2), (1, 1), (0, 1), (2, 1))
    record = find
    return {
        "pools of lines": (lambda x: (F.max_pool1d(x, 2), F.avg_pool1d(x, 3, 2, 1)), [line]),
        "adaptive_max": (lambda x: F.adaptive_max_pool2d(x, (3, 4), True), [image]),
        "fractional_windows": (
            lambda x, u: F.fractional_max_pool2d(x, 2, 3, _random_samples=u.detach()),
            [image, real(2, 4, 2)],
        ),
        "pad_mapped": (lambda x: F.pad(x, (1, 2, 2, 1), "reflect"), [image]),
        "pad_mapped_back": (lambda g: record("pad_mapped_back")(g, 2, 4, 1, 2, "circular"), [line]),
        "band": (lambda x: record("band")(x, *halves, 2), [line]),
        "resize_1": (lambda x: F.interpolate(x, 4, mode="linear"), [line]),
        "resize_2": (lambda x: F.interpolate(x, (4, 7)), [image]),
        "resize_3": (lambda x: F.interpolate(x, 5, mode="trilinear"), [volume]),
        "unfold_windows": (lambda x: F.unfold(x, 2, padding=1), [image]),
        "fold_windows": (
            lambda g: record("fold_windows")(g, *window, (4, 4)),
            [real(1, 2, 2, 2, 2, 5)],
        ),
        "grid_sample": (F.grid_sample, [image, real(2, 3, 2, 2)]),
        "affine_points": (lambda t: F.affine_grid(t, (2, 1, 3, 2)), [real(2, 2, 3)]),
        "gather_taps": (record("gather_taps"), [real(2, 3, 5), weights, places]),
        "scatter_taps": (lambda c, w, p: record("scatter_taps")(c, w, p, 5), [
            real(2, 3, 4), weights, places]),
        "dot_taps": (record("dot_taps"), [real(2, 3, 4), real(2, 3, 5), places]),
        "depth_windows": (lambda x, w: F.conv3d(x, w, padding=1), [volume, real(2, 2, 2, 2, 2)]),
        "depth_windows_back": (lambda x, w: F.conv_transpose3d(x, w), [
            volume, real(2, 2, 2, 2, 2)]),
        "group_norm": (lambda x, w: F.group_norm(x, 2, w, w), [image, real(4)]),
        "rms_norm": (lambda x, w: F.rms_norm(x, (6,), w), [image, real(6)]),
        "local_response_norm": (lambda x: F.local_response_norm(x, 3), [image]),
    }  # fmt: skip
