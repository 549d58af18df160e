"""Transforms of images: against NumPy, against their definitions, and tensors against PIL."""

import colorsys
import math
import pickle

import numpy as np
import pytest

import lucid
from lucid import transforms as T
from lucid.data import DataLoader, Dataset
from lucid.transforms import functional as F


def image(*shape, kind=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    if kind == np.uint8:
        return rng.integers(0, 256, shape).astype(np.uint8)
    return rng.random(shape).astype(kind)


def smooth(height, width):
    """An image without noise, (height, width, 3), so that methods differ by little."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 5 + c) + np.cos(y / 4 - c) for c in range(3)]
    return np.stack([(w + 2) * 63 for w in waves], -1).astype(np.uint8)


def tensor(array):
    return lucid.from_numpy(array.copy())


def pil(array):
    return pytest.importorskip("PIL.Image").fromarray(array)


def planes(picture):
    array = np.asarray(picture)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


# ---- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_to_tensor(shape):
    array = image(*shape)
    expected = (array if array.ndim == 3 else array[..., None]).transpose(2, 0, 1)
    made = T.ToTensor()(array)
    assert made.dtype is lucid.float32
    assert np.allclose(made.numpy(), expected / np.float32(255), atol=1e-7)
    assert np.array_equal(T.ToTensor()(tensor(expected)).numpy(), made.numpy())
    floats = image(*shape, kind=np.float64)
    assert T.ToTensor()(floats).dtype is lucid.float64, "floating images keep dtype and scale"
    if shape != (4, 5, 1):
        assert np.array_equal(T.ToTensor()(pil(array)).numpy(), made.numpy())
        assert np.array_equal(T.PILToTensor()(pil(array)).numpy(), expected)
    assert made.max() <= 1.0


@pytest.mark.parametrize("mode, kind", [("I", "int32"), ("F", "float32"), ("I;16", "int32")])
def test_to_tensor_of_other_modes(mode, kind):
    Image = pytest.importorskip("PIL.Image")
    values = np.array([[0, 1000], [300, 60000]])
    array = values.astype({"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode])
    picture = Image.fromarray(array)
    assert picture.mode == mode
    made = T.ToTensor()(picture)
    assert made.dtype is getattr(lucid, kind) and made.tolist() == [values.tolist()]
    ones = Image.new("1", (2, 1), 1)
    assert T.ToTensor()(ones).tolist() == [[[1.0, 1.0]]]


def test_to_tensor_refuses_what_is_no_image():
    for wrong, error in (([1], TypeError), (np.zeros(3), ValueError), (None, TypeError)):
        with pytest.raises(error, match="to_tensor"):
            T.ToTensor()(wrong)
    with pytest.raises(TypeError, match="no scale"):
        T.ToTensor()(lucid.zeros(1, 2, 2, dtype=lucid.int64))
    with pytest.raises(TypeError, match="pil_to_tensor"):
        T.PILToTensor()(lucid.zeros(1, 2, 2))


def test_to_pil_and_back():
    pytest.importorskip("PIL")
    for channels, mode in ((1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")):
        x = tensor(image(channels, 4, 5))
        picture = T.ToPILImage()(x)
        assert picture.mode == mode and picture.size == (5, 4)
        assert np.array_equal(planes(picture), x.numpy())
        assert np.array_equal(planes(T.ToPILImage()(T.ToTensor()(x))), x.numpy())
    assert T.ToPILImage()(np.zeros((2, 3), np.float32)).mode == "F"
    assert T.ToPILImage("HSV")(tensor(image(3, 4, 5))).mode == "HSV"
    for wrong in (lucid.zeros(5, 2, 2), lucid.zeros(2), np.zeros((2, 2, 3), np.int32)):
        with pytest.raises((ValueError, TypeError), match="image"):
            T.ToPILImage()(wrong)
    with pytest.raises(ValueError, match="mode 'RGB' does not fit"):
        T.ToPILImage("RGB")(tensor(image(1, 2, 2)))


def test_convert_image_dtype():
    x = tensor(np.array([[[0, 1, 128, 255]]], np.uint8))
    assert np.allclose(F.convert_image_dtype(x, lucid.float64).numpy(), x.numpy() / 255)
    assert F.convert_image_dtype(x, lucid.int32).tolist() == [[[0, 2**23, 2**30, 255 * 2**23]]]
    back = F.convert_image_dtype(F.convert_image_dtype(x, lucid.float32), lucid.uint8)
    assert np.array_equal(back.numpy(), x.numpy())
    assert F.convert_image_dtype(back.to(lucid.int32), lucid.uint8).tolist() == [[[0, 0, 0, 0]]]
    with pytest.raises(RuntimeError, match="cannot hold"):
        F.convert_image_dtype(lucid.ones(1), lucid.int64)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_normalize(lead):
    array = image(*lead, 3, 4, 5, kind=np.float32)
    mean, std = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 2.0, 4.0], np.float32)
    expected = (array - mean[:, None, None]) / std[:, None, None]
    x = tensor(array)
    assert np.allclose(T.Normalize(mean.tolist(), std.tolist())(x).numpy(), expected, atol=1e-6)
    assert np.array_equal(x.numpy(), array)
    y = T.Normalize(tuple(mean), tuple(std), inplace=True)(x)
    assert y is x and np.allclose(x.numpy(), expected, atol=1e-6)
    assert np.allclose(T.Normalize(0.5, 2.0)(tensor(array)).numpy(), (array - 0.5) / 2, atol=1e-6)


def test_normalize_says_what_does_not_fit():
    x = lucid.zeros(3, 2, 2)
    for mean, std, said in (([0.0] * 2, [1.0] * 3, "2 numbers for 3"), ([0.0], [0.0], "is 0")):
        with pytest.raises(ValueError, match=said):
            T.Normalize(mean, std)(x)
    with pytest.raises(ValueError, match="floating tensor"):
        T.Normalize([0.0], [1.0])(x.to(lucid.uint8))
    with pytest.raises(ValueError, match="floating tensor"):
        T.Normalize([0.0], [1.0])(x[0])
    with pytest.raises(TypeError, match="expected a tensor"):
        T.Normalize([0.0], [1.0])(np.zeros((1, 2, 2)))


# ---- places -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("padding", [2, (1, 3), (1, 2, 3, 0)])
def test_pad(kind, mode, padding):
    array = image(2, 3, 5, 6, kind=kind)
    left, top, right, bottom = {2: (2,) * 4, (1, 3): (1, 3, 1, 3)}.get(padding, padding)
    widths = [(0, 0), (0, 0), (top, bottom), (left, right)]
    options = {"constant_values": 7} if mode == "constant" else {}
    expected = np.pad(array, widths, mode=mode, **options)
    made = T.Pad(padding, fill=7, padding_mode=mode)(tensor(array))
    assert np.array_equal(made.numpy(), expected) and made.numpy().dtype == kind
    if kind == np.uint8:
        picture = pil(np.ascontiguousarray(array[0].transpose(1, 2, 0)))
        assert np.array_equal(planes(T.Pad(padding, 7, mode)(picture)), expected[0])


def test_pad_with_a_number_for_each_channel():
    made = T.Pad(1, fill=(1, 2, 3))(lucid.zeros(3, 1, 1, dtype=lucid.uint8))
    assert [made[c, 0, 0].item() for c in range(3)] == [1, 2, 3] and made.sum() == 8 * 6
    picture = T.Pad(1, fill=(1, 2, 3))(pil(np.zeros((1, 1, 3), np.uint8)))
    assert np.array_equal(planes(picture), made.numpy())
    with pytest.raises(ValueError, match="does not fit 3 channels"):
        T.Pad(1, fill=(1, 2))(lucid.zeros(3, 1, 1))
    for wrong in ((1, 2, 3), -1, ()):
        with pytest.raises(ValueError, match="padding"):
            T.Pad(wrong)
    with pytest.raises(ValueError, match="is none of constant"):
        T.Pad(1, padding_mode="wrap")
    with pytest.raises(ValueError, match="too much"):
        T.Pad(2, padding_mode="reflect")(lucid.zeros(1, 2, 9))


def test_crops():
    array = image(3, 6, 7)
    x = tensor(array)
    assert np.array_equal(F.crop(x, 1, 2, 3, 4).numpy(), array[:, 1:4, 2:6])
    wide = np.pad(array, [(0, 0), (6, 6), (6, 6)])
    for top, left, h, w in ((-2, 3, 5, 9), (4, -4, 6, 4), (-1, -1, 10, 10), (0, 0, 6, 7)):
        expected = wide[:, 6 + top : 6 + top + h, 6 + left : 6 + left + w]
        assert np.array_equal(F.crop(x, top, left, h, w).numpy(), expected)
        picture = F.crop(pil(np.ascontiguousarray(array.transpose(1, 2, 0))), top, left, h, w)
        assert np.array_equal(planes(picture), expected)
    assert np.array_equal(T.CenterCrop((2, 3))(x).numpy(), array[:, 2:4, 2:5])
    assert np.array_equal(T.CenterCrop(9)(x).numpy(), np.pad(array, [(0, 0), (1, 2), (1, 1)]))
    mixed = np.pad(array[:, :, 2:5], [(0, 0), (1, 1), (0, 0)])
    assert np.array_equal(T.CenterCrop((8, 3))(x).numpy(), mixed)


def test_random_crop_takes_every_place():
    x = lucid.arange(20).reshape(1, 4, 5)
    lucid.manual_seed(0)
    corners = {int(T.RandomCrop((3, 2))(x)[0, 0, 0]) for _ in range(200)}
    assert corners == {r * 5 + c for r in range(2) for c in range(4)}
    for _ in range(20):
        y = T.RandomCrop(4, padding=2, fill=9, padding_mode="edge")(lucid.ones(2, 1, 4, 4))
        assert y.shape == (2, 1, 4, 4) and y.min() == 1
    assert T.RandomCrop((6, 9), pad_if_needed=True)(x).shape == (1, 6, 9)
    with pytest.raises(ValueError, match="6 x 6 does not fit into an image of 4 x 5"):
        T.RandomCrop(6)(x)


def test_flips():
    array = image(2, 3, 4, 5)
    x = tensor(array)
    assert np.array_equal(T.RandomHorizontalFlip(1.0)(x).numpy(), array[..., ::-1])
    assert np.array_equal(T.RandomVerticalFlip(1.0)(x).numpy(), array[..., ::-1, :])
    assert T.RandomVerticalFlip(0.0)(x) is x and T.RandomHorizontalFlip(0.0)(x) is x
    picture = pil(array[0, 0])
    assert np.array_equal(planes(F.hflip(picture))[0], array[0, 0][:, ::-1])
    assert np.array_equal(planes(F.vflip(picture))[0], array[0, 0][::-1])
    for wrong in (1.5, -0.1, "half"):
        with pytest.raises(ValueError, match="no probability"):
            T.RandomHorizontalFlip(wrong)


def test_choices_come_from_the_generator():
    x = lucid.arange(2).reshape(1, 1, 2)
    flip = T.RandomHorizontalFlip(0.3)

    def row():
        lucid.manual_seed(3)
        return [bool(flip(x)[0, 0, 0] == 1) for _ in range(2000)]

    first = row()
    assert first == row()
    assert abs(np.mean(first) - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2000)


@pytest.mark.parametrize(
    "size, shape, expected",
    [(4, (8, 12), (4, 6)), (4, (12, 8), (6, 4)), ((3, 5), (8, 12), (3, 5)), ([4], (9, 9), (4, 4))],
)
def test_sizes(size, shape, expected):
    assert T.Resize(size)(lucid.zeros(3, *shape)).shape == (3, *expected)
    assert T.Resize(size)(pil(np.zeros(shape, np.uint8))).size == expected[::-1]
    assert T.Resize(6, max_size=7)(lucid.zeros(1, 8, 16)).shape == (1, 3, 7)
    for wrong in (0, (1, 2, 3), (0, 2)):
        with pytest.raises(ValueError, match="size"):
            T.Resize(wrong)(lucid.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="max_size"):
        T.Resize((2, 3), max_size=9)(lucid.zeros(1, 4, 4))


def weights(n, m, reach, shape, antialias):
    """The matrix (m, n) of a resize along one dimension, from the definition."""
    scale = n / m
    widen = max(scale, 1.0) if antialias else 1.0
    made = np.zeros((m, n))
    for o in range(m):
        center = (o + 0.5) * scale
        reached = math.ceil(reach * widen) + 1
        for i in range(int(center) - reached, int(center) + reached + 1):
            weight = shape((i + 0.5 - center) / widen)
            if antialias and not 0 <= i < n:
                continue  # what is outside has no part
            made[o, min(max(i, 0), n - 1)] += weight
        made[o] /= made[o].sum()
    return made


def linear(t):
    return max(1 - abs(t), 0.0)


def cubic(a):
    def at(t):
        t = abs(t)
        if t < 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0

    return at


@pytest.mark.parametrize("size", [(5, 4), (16, 20), (9, 30)])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resize_is_its_definition(size, antialias, mode):
    array = image(2, 10, 12, kind=np.float64)
    shape = linear if mode == "bilinear" else cubic(-0.5 if antialias else -0.75)
    reach = 1 if mode == "bilinear" else 2
    down = weights(10, size[0], reach, shape, antialias)
    across = weights(12, size[1], reach, shape, antialias)
    expected = down @ array @ across.T
    made = T.Resize(size, mode, antialias=antialias)(tensor(array))
    assert np.allclose(made.numpy(), expected, atol=1e-6)
    bytes_ = (array * 255).astype(np.uint8)
    made = T.Resize(size, T.InterpolationMode(mode), antialias=antialias)(tensor(bytes_))
    expected = np.clip(down @ bytes_ @ across.T, 0, 255).round()
    assert made.dtype is lucid.uint8
    assert np.abs(made.numpy().astype(int) - expected).max() <= 1


def test_nearest_pixels():
    array = image(3, 7, 9)
    places = [int(o * 7 / 4) for o in range(4)], [int(o * 9 / 13) for o in range(13)]
    made = T.Resize((4, 13), "nearest")(tensor(array))
    assert np.array_equal(made.numpy(), array[:, places[0]][:, :, places[1]])
    exact = [int((o + 0.5) * 7 / 4) for o in range(4)], [int((o + 0.5) * 9 / 13) for o in range(13)]
    made = T.Resize((4, 13), "nearest-exact")(tensor(array))
    assert np.array_equal(made.numpy(), array[:, exact[0]][:, :, exact[1]])
    with pytest.raises(ValueError, match="lanczos"):
        T.Resize(3, "lanczos")


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(7, 9), (40, 33)])
def test_tensors_are_resized_as_pil_does(mode, size):
    array = smooth(24, 30)
    ours = T.Resize(size, mode)(tensor(array.transpose(2, 0, 1)))
    theirs = planes(T.Resize(size, mode)(pil(array)))
    assert np.abs(ours.numpy().astype(int) - theirs).max() <= 2
    with pytest.raises(ValueError, match="PIL always averages"):
        T.Resize(size, mode, antialias=False)(pil(array))


def test_a_batch_is_resized_as_its_images_are():
    x = tensor(image(2, 3, 4, 8, 9))
    y = T.Resize((5, 4))(x)
    assert y.shape == (2, 3, 4, 5, 4)
    assert np.array_equal(y[1, 2].numpy(), T.Resize((5, 4))(x[1, 2]).numpy())


def turned(array, angle, center=None, fill=0):
    """The definition: the nearest pixel of the place that each pixel comes from."""
    h, w = array.shape
    cx, cy = (w / 2, h / 2) if center is None else center
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    made = np.full_like(array, fill)
    for i in range(h):
        for j in range(w):
            x, y = j + 0.5 - cx, i + 0.5 - cy
            px, py = x * cos - y * sin + cx, x * sin + y * cos + cy
            if 0 <= px < w and 0 <= py < h:
                made[i, j] = array[int(py), int(px)]
    return made


@pytest.mark.parametrize("angle", [0, 17, 33.3, -75, 118, 271])
@pytest.mark.parametrize("center", [None, (3, 8)])
def test_rotate_is_its_definition(angle, center):
    array = image(11, 14, kind=np.float64)
    made = F.rotate(tensor(array[None]), angle, center=center, fill=0.5)
    assert np.allclose(made.numpy()[0], turned(array, angle, center, 0.5), atol=1e-12)
    bytes_ = image(11, 14)
    ours = F.rotate(tensor(bytes_[None]), angle, center=center, fill=9).numpy()[0]
    assert np.array_equal(ours, turned(bytes_, angle, center, 9))
    theirs = planes(F.rotate(pil(bytes_), angle, center=center, fill=9))[0]
    assert (ours == theirs).mean() > 0.98, "places half way between pixels are rounded"


@pytest.mark.parametrize("angle", [90, 180, 270, -90, 360, 450])
@pytest.mark.parametrize("expand", [True, False])
def test_quarter_turns_are_exact(angle, expand):
    array = image(5, 8)
    square = image(6, 6)
    x = F.rotate(tensor(square[None]), angle, "bilinear", expand)
    assert np.array_equal(x.numpy()[0], np.rot90(square, angle // 90))
    y = F.rotate(tensor(array[None]), angle, expand=expand)
    if expand or angle % 180 == 0:
        assert np.array_equal(y.numpy()[0], np.rot90(array, angle // 90))
    assert np.array_equal(planes(F.rotate(pil(array), angle, expand=expand)).shape, y.shape)


@pytest.mark.parametrize("angle", [10, 30, 45, 100, 200.5, -60])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_rotations_like_pil(angle, mode):
    array = smooth(21, 30)
    x = tensor(np.stack([array.transpose(2, 0, 1)] * 2))
    inner = np.zeros((21, 30), np.uint8)
    inner[3:-3, 3:-3] = 1  # at the edges of the image PIL repeats pixels, where we fill
    for expand in (False, True):
        ours = F.rotate(x, angle, mode, expand).numpy().astype(int)
        theirs = planes(F.rotate(pil(array), angle, mode, expand))
        assert ours.shape == (2, *theirs.shape)
        mask = F.rotate(tensor(inner[None]), angle, expand=expand).numpy()[0].astype(bool)
        difference = np.abs(ours[1] - theirs)[:, mask]
        assert mask.sum() > 200
        if mode == "nearest":
            assert (difference == 0).mean() > 0.97
        else:
            assert difference.max() <= {"bilinear": 1, "bicubic": 8}[mode]


def test_random_rotation_stays_in_its_range():
    seen = []
    turn = T.RandomRotation(20)
    original = F.rotate
    F.rotate = lambda x, angle, *rest: seen.append(angle)
    try:
        for _ in range(300):
            turn(None)
    finally:
        F.rotate = original
    assert -20 <= min(seen) < -15 and 15 < max(seen) <= 20
    for wrong in (-1, (1, 2, 3)):
        with pytest.raises(ValueError, match="degrees"):
            T.RandomRotation(wrong)
    with pytest.raises(ValueError, match="takes no center"):
        F.rotate(lucid.zeros(1, 3, 3), 10, expand=True, center=(1, 1))


def test_random_resized_crop():
    lucid.manual_seed(0)
    crop = T.RandomResizedCrop((6, 7), scale=(0.2, 0.5), ratio=(0.5, 2.0))
    areas, ratios = [], []
    for _ in range(200):
        top, left, h, w = crop._place(30, 40)
        assert 0 <= top <= 30 - h and 0 <= left <= 40 - w
        areas.append(h * w / 1200)
        ratios.append(w / h)
    assert 0.18 < min(areas) < 0.25 and 0.45 < max(areas) < 0.52
    assert 0.45 < min(ratios) < 0.65 and 1.6 < max(ratios) < 2.2
    assert T.RandomResizedCrop(8, scale=(1, 1), ratio=(4, 4))._place(10, 10) == (4, 0, 2, 10)
    assert crop(tensor(image(2, 3, 30, 40))).shape == (2, 3, 6, 7)
    assert crop(pil(image(30, 40, 3))).size == (7, 6)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_a_part_is_resized_as_what_is_cropped(mode, antialias, kind):
    x = tensor(image(2, 3, 23, 31, kind=kind))
    rng = np.random.default_rng(0)
    for _ in range(12):
        h, w = int(rng.integers(1, 24)), int(rng.integers(1, 32))
        place = (int(rng.integers(0, 24 - h)), int(rng.integers(0, 32 - w)), h, w)
        size = (int(rng.integers(1, 20)), int(rng.integers(1, 20)))
        fast = F.resized_crop(x, *place, size, mode, antialias)
        slow = F.resize(F.crop(x, *place), size, mode, None, antialias)
        assert fast.dtype is x.dtype and fast.shape == slow.shape
        close = 1 if kind == np.uint8 else 1e-5  # bytes: a half may be rounded either way
        assert np.abs(fast.numpy().astype(float) - slow.numpy().astype(float)).max() <= close
    beyond = F.resized_crop(x, -2, -2, 10, 10, 5)
    assert np.array_equal(beyond.numpy(), F.resize(F.crop(x, -2, -2, 10, 10), 5).numpy())


# ---- colours ----------------------------------------------------------------------------------


def test_gray():
    array = image(2, 3, 4, 5, kind=np.float32)
    expected = array[:, 0] * 0.2989 + array[:, 1] * 0.587 + array[:, 2] * 0.114
    one = T.Grayscale()(tensor(array))
    assert one.shape == (2, 1, 4, 5) and np.allclose(one.numpy()[:, 0], expected, atol=1e-6)
    three = T.RandomGrayscale(1.0)(tensor(array))
    assert three.shape == (2, 3, 4, 5) and np.allclose(three.numpy()[:, 2], expected, atol=1e-6)
    assert T.RandomGrayscale(0.0)(three) is three
    assert T.RandomGrayscale(1.0)(one).shape == one.shape
    colours = image(4, 5, 3)
    theirs = planes(T.Grayscale()(pil(colours)))
    ours = T.Grayscale()(tensor(colours.transpose(2, 0, 1))).numpy()
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert T.Grayscale(3)(pil(colours)).mode == "RGB"
    assert T.RandomGrayscale(1.0)(pil(colours[..., 0])).mode == "L"
    with pytest.raises(ValueError, match="from 2 to 1 channels"):
        F.rgb_to_grayscale(lucid.zeros(2, 3, 3))


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_adjustments(name, factor):
    adjust = getattr(F, f"adjust_{name}")
    array = image(3, 6, 7, kind=np.float64)
    gray = array[0] * 0.2989 + array[1] * 0.587 + array[2] * 0.114
    other = {"brightness": 0.0, "contrast": gray.mean(), "saturation": gray}[name]
    expected = np.clip(factor * array + (1 - factor) * other, 0, 1)
    assert np.allclose(adjust(tensor(array), factor).numpy(), expected, atol=1e-6)
    colours = image(6, 7, 3)
    ours = adjust(tensor(colours.transpose(2, 0, 1)), factor).numpy()
    assert np.abs(ours.astype(int) - planes(adjust(pil(colours), factor))).max() <= 2
    with pytest.raises(ValueError, match="negative"):
        adjust(tensor(array), -1.0)


@pytest.mark.parametrize("shift", [-0.5, -0.1, 0.0, 0.25, 0.5])
def test_hue(shift):
    array = image(3, 5, 6, kind=np.float64)
    array[:, 0, 0] = 0.4  # gray
    array[:, 0, 1] = 0.0
    expected = np.empty_like(array)
    for i, j in np.ndindex(5, 6):
        h, s, v = colorsys.rgb_to_hsv(*array[:, i, j])
        expected[:, i, j] = colorsys.hsv_to_rgb((h + shift) % 1.0, s, v)
    assert np.allclose(F.adjust_hue(tensor(array), shift).numpy(), expected, atol=1e-6)
    colours = smooth(12, 14)
    ours = F.adjust_hue(tensor(colours.transpose(2, 0, 1)), shift).numpy()
    theirs = planes(F.adjust_hue(pil(colours), shift))
    assert np.abs(ours.astype(int) - theirs).mean() < 4
    with pytest.raises(ValueError, match="between"):
        F.adjust_hue(tensor(array), 0.6)


def test_color_jitter():
    lucid.manual_seed(0)
    same = T.ColorJitter()
    x = tensor(image(3, 4, 5))
    assert same(x) is x
    jitter = T.ColorJitter(0.4, 0.4, 0.4, 0.1)
    made = [jitter(x).numpy() for _ in range(3)]
    assert made[0].dtype == np.uint8 and not np.array_equal(made[0], made[1])
    assert jitter(pil(image(4, 5, 3))).size == (5, 4)
    assert T.ColorJitter(brightness=2.0).brightness == (0.0, 3.0)
    for wrong in ({"brightness": -1}, {"hue": 0.6}, {"contrast": (2, 1)}, {"hue": (-0.6, 0)}):
        with pytest.raises(ValueError, match="ColorJitter"):
            T.ColorJitter(**wrong)


# ---- transforms as such -------------------------------------------------------------------------


def test_random_erasing():
    lucid.manual_seed(0)
    erase = T.RandomErasing(1.0, (0.1, 0.3), (0.5, 2.0), value=5)
    for _ in range(20):
        y = erase(lucid.zeros(2, 20, 20))
        rows, columns = np.nonzero(y.numpy()[0])
        h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == h * w and 0.07 * 400 < h * w < 0.33 * 400 and y.max() == 5
    assert T.RandomErasing(1.0, value="random")(lucid.zeros(3, 9, 9)).numpy().std() > 0
    assert T.RandomErasing(1.0, value=(1, 2, 3))(lucid.zeros(3, 9, 9)).max() == 3
    x = lucid.zeros(1, 9, 9)
    assert T.RandomErasing(1.0, value=1, inplace=True)(x) is x and x.max() == 1
    assert T.RandomErasing(0.0)(x) is x
    with pytest.raises(ValueError, match="value='x'"):
        T.RandomErasing(value="x")


def test_composition():
    both = T.Compose([T.Lambda(lambda x: x + 1), T.RandomApply([T.Lambda(lambda x: x * 2)], 1.0)])
    assert both(1) == 4
    assert "Lambda(<lambda>)" in repr(both) and "RandomApply(p=1.0" in repr(both)
    assert {T.RandomChoice([lambda x: 1, lambda x: 2])(0) for _ in range(50)} == {1, 2}
    with pytest.raises(TypeError, match="no transform"):
        T.Compose([3])
    with pytest.raises(TypeError, match="no function"):
        T.Lambda(3)
    with pytest.raises(ValueError, match="no transform to choose"):
        T.RandomChoice([])


EVERY = [
    T.Resize(5), T.CenterCrop(3), T.Pad(1), T.RandomCrop(3), T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(), T.RandomRotation(30), T.RandomResizedCrop(4), T.Grayscale(),
    T.RandomGrayscale(), T.ColorJitter(0.1),
]  # fmt: skip


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_images_of_every_kind(transform):
    lucid.manual_seed(1)
    again = pickle.loads(pickle.dumps(transform))
    assert repr(again) == repr(transform)
    shapes = set()
    for x in (tensor(image(3, 8, 9)), lucid.rand(3, 8, 9), lucid.rand(2, 3, 8, 9)):
        y = again(x)
        assert y.dtype is x.dtype and y.ndim == x.ndim
        shapes.add(tuple(y.shape[-2:]))
    picture = again(pil(image(8, 9, 3)))
    assert shapes == {picture.size[::-1]}
    for wrong in (np.zeros((8, 9)), [1], lucid.zeros(8, 9)):
        with pytest.raises((TypeError, ValueError), match="expected"):
            for _ in range(30):  # until chance makes it look
                again(wrong)


def test_gradients_pass_through():
    x = lucid.rand(1, 3, 6, 6, dtype=lucid.float64, requires_grad=True)
    chain = T.Compose(
        [T.Resize(5), T.Pad(1, padding_mode="reflect"), T.RandomRotation((20, 20), "bilinear"),
         T.ColorJitter((0.9, 0.9)), T.Normalize([0.5], [0.5])]
    )  # fmt: skip
    assert lucid.autograd.gradcheck(chain, (x,))


class Numbered(Dataset):
    transform = T.Compose([T.RandomRotation(90), T.RandomCrop(8, padding=2), T.ToTensor()])

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return self.transform(tensor(image(3, 8, 8, seed=i)))


def test_workers_draw_their_own_numbers():
    def run(seed):
        lucid.manual_seed(seed)
        loader = DataLoader(Numbered(), batch_size=2, num_workers=2, timeout=60)
        return lucid.cat(list(loader)).numpy()

    first = run(5)
    assert np.array_equal(first, run(5)) and not np.array_equal(first, run(6))
