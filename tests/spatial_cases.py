"""Spatial layers and functions on small inputs, to be run by PyTorch or by Lucid alike.

tools/golden_spatial.py records PyTorch's numbers, test_spatial_golden.py compares Lucid's.
A case is (what to call, made of nn, and the inputs: shapes, or arrays for what is not random).
"""

import zlib

import numpy as np

CASES = {}
LINE, IMAGE, VOLUME = (2, 4, 9), (2, 4, 7, 6), (2, 4, 5, 6, 4)
SHAPES = {1: LINE, 2: IMAGE, 3: VOLUME}


def case(name, make, *inputs):
    assert name not in CASES, name
    CASES[name] = make, inputs


def functional(name, call, *inputs):
    """A case of nn.functional: call(F, *inputs)."""
    case(name, lambda nn: lambda *xs: call(nn.functional, *xs), *inputs)


def _convolutions():
    options = {
        "plain": {},
        "strided": dict(stride=2, padding=1, bias=False),
        "dilated": dict(dilation=2, padding=2),
        "grouped": dict(groups=2, padding="same"),
        "depthwise": dict(groups=4, padding=1),
        "reflect": dict(padding=1, padding_mode="reflect"),
        "replicate": dict(padding=2, padding_mode="replicate", stride=2),
        "circular": dict(padding="same", padding_mode="circular"),
    }
    transposed = {
        "plain": {},
        "strided": dict(stride=2, padding=1, output_padding=1, bias=False),
        "dilated": dict(dilation=2, padding=1, groups=2),
        "behind": dict(dilation=3, output_padding=2, padding=1),
    }
    for rank, shape in SHAPES.items():
        for name, given in options.items():
            case(f"conv{rank}d {name}",
                 lambda nn, r=rank, o=given: getattr(nn, f"Conv{r}d")(4, 8, 3, **o),
                 shape)  # fmt: skip
        for name, given in transposed.items():
            case(f"conv_transpose{rank}d {name}",
                 lambda nn, r=rank, o=given: getattr(nn, f"ConvTranspose{r}d")(4, 6, 3, **o),
                 shape)  # fmt: skip
    case("conv1d unbatched", lambda nn: nn.Conv1d(4, 3, 2), LINE[1:])
    case("conv3d uneven", lambda nn: nn.Conv3d(4, 3, (2, 3, 1), (2, 1, 1), (1, 0, 2)), VOLUME)
    case("conv3d flat", lambda nn: nn.Conv3d(4, 3, (1, 3, 3), 1, (0, 1, 1)), VOLUME)


def _pools():
    for rank, shape in SHAPES.items():
        for name, given in {
            "plain": (2,), "overlapping": (3, 1, 1), "ceil": (3, 2, 1, 1, True, True),
            "dilated": (2, 2, 0, 2),
        }.items():  # fmt: skip
            case(f"max_pool{rank}d {name}",
                 lambda nn, r=rank, o=given: getattr(nn, f"MaxPool{r}d")(*o), shape)  # fmt: skip
        for name, given in {
            "plain": (2,), "ceil": (3, 2, 1, True), "uncounted": (3, 2, 1, True, False),
        }.items():  # fmt: skip
            case(f"avg_pool{rank}d {name}",
                 lambda nn, r=rank, o=given: getattr(nn, f"AvgPool{r}d")(*o), shape)  # fmt: skip
        for size in (1, 2, 3):
            case(f"adaptive_avg_pool{rank}d {size}",
                 lambda nn, r=rank, n=size: getattr(nn, f"AdaptiveAvgPool{r}d")(n),
                 shape)  # fmt: skip
            case(f"adaptive_max_pool{rank}d {size}",
                 lambda nn, r=rank, n=size: getattr(nn, f"AdaptiveMaxPool{r}d")(n, True),
                 shape)  # fmt: skip
        case(f"lp_pool{rank}d", lambda nn, r=rank: getattr(nn, f"LPPool{r}d")(2, 2), shape)
        case(f"max_unpool{rank}d", lambda nn, r=rank: _unpool(nn, r), shape)
    case("avg_pool2d divisor", lambda nn: nn.AvgPool2d(2, divisor_override=3), IMAGE)
    case("avg_pool3d divisor", lambda nn: nn.AvgPool3d(2, divisor_override=3), VOLUME)
    case("adaptive_avg_pool2d keep", lambda nn: nn.AdaptiveAvgPool2d((None, 4)), IMAGE)
    for rank, size in ((2, (4, 3)), (3, (3, 3, 2))):
        samples = np.random.default_rng(5).random((2, 4, rank)).astype(np.float32)

        def pool(F, x, u, r=rank, size=size):
            function = getattr(F, f"fractional_max_pool{r}d")
            return function(x, 2, size, _random_samples=u.detach(), return_indices=True)

        functional(f"fractional_max_pool{rank}d", pool, SHAPES[rank], samples)


def _unpool(nn, rank):
    pool = getattr(nn, f"MaxPool{rank}d")(2, return_indices=True)
    back = getattr(nn, f"MaxUnpool{rank}d")(2)
    return lambda x: back(*pool(x), output_size=x.shape)


def _paddings():
    sides = (1, 2, 2, 1, 1, 0)
    for rank, shape in SHAPES.items():
        for kind in ("Reflection", "Replication", "Circular", "Zero"):
            case(f"{kind} {rank}d",
                 lambda nn, r=rank, k=kind: getattr(nn, f"{k}Pad{r}d")(sides[: 2 * r]),
                 shape)  # fmt: skip
        case(f"Constant {rank}d",
             lambda nn, r=rank: getattr(nn, f"ConstantPad{r}d")(sides[: 2 * r], 1.5),
             shape)  # fmt: skip
    for mode in ("constant", "reflect", "replicate", "circular"):
        functional(f"pad {mode} cut", lambda F, x, m=mode: F.pad(x, (-1, 2, 1, -2), m), IMAGE)


def _resizing():
    modes = {1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}
    for rank, shape in SHAPES.items():
        for mode in ("nearest", "nearest-exact", "area", *modes[rank]):
            for name, given in {
                "larger": dict(size=11), "smaller": dict(scale_factor=0.6),
                "factor": dict(scale_factor=1.7),
                "recomputed": dict(scale_factor=1.7, recompute_scale_factor=True),
            }.items():  # fmt: skip
                functional(f"{mode} {rank}d {name}",
                           lambda F, x, m=mode, o=given: F.interpolate(x, mode=m, **o),
                           shape)  # fmt: skip
            if mode in modes[rank]:
                functional(
                    f"{mode} {rank}d aligned",
                    lambda F, x, m=mode: F.interpolate(x, 5, mode=m, align_corners=True), shape,
                )  # fmt: skip
            if rank == 2 and mode in modes[2]:
                functional(
                    f"{mode} antialias",
                    lambda F, x, m=mode: F.interpolate(x, (3, 9), mode=m, antialias=True), shape,
                )  # fmt: skip
    case("Upsample", lambda nn: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE)
    case("UpsamplingNearest2d", lambda nn: nn.UpsamplingNearest2d(size=(5, 9)), IMAGE)
    case("UpsamplingBilinear2d", lambda nn: nn.UpsamplingBilinear2d(scale_factor=2), IMAGE)
    case("PixelShuffle", lambda nn: nn.PixelShuffle(2), (2, 8, 3, 2))
    case("PixelUnshuffle", lambda nn: nn.PixelUnshuffle(2), (2, 3, 4, 6))
    case("ChannelShuffle", lambda nn: nn.ChannelShuffle(2), IMAGE)
    case("Unfold", lambda nn: nn.Unfold((2, 3), 2, (1, 2), (2, 1)), IMAGE)
    case("Fold", lambda nn: nn.Fold((7, 6), (2, 3), 1, (1, 0), (2, 1)), (2, 12, 16))


def _grids():
    for rank, shape in ((2, IMAGE), (3, VOLUME)):
        rng = np.random.default_rng(7)
        grid = (rng.random((2, *(3, 4, 2)[:rank], rank)) * 3 - 1.5).astype(np.float32)
        for mode in ("bilinear", "nearest", *(("bicubic",) if rank == 2 else ())):
            for padding in ("zeros", "border", "reflection"):
                for align in (False, True):
                    functional(
                        f"grid_sample {rank}d {mode} {padding} {align}",
                        lambda F, x, g, o=(mode, padding, align): F.grid_sample(x, g, *o),
                        shape, grid,
                    )  # fmt: skip
        for align in (False, True):
            functional(
                f"affine_grid {rank}d {align}",
                lambda F, t, o=((2, 4, *(3, 4, 2)[:rank]), align): F.affine_grid(t, *o),
                (2, rank, rank + 1),
            )


def _norms():
    for rank, shape in SHAPES.items():
        case(f"BatchNorm{rank}d", lambda nn, r=rank: getattr(nn, f"BatchNorm{r}d")(4), shape)
        case(f"BatchNorm{rank}d eval",
             lambda nn, r=rank: getattr(nn, f"BatchNorm{r}d")(4).eval(), shape)  # fmt: skip
        case(f"InstanceNorm{rank}d", lambda nn, r=rank: getattr(nn, f"InstanceNorm{r}d")(4), shape)
        case(f"InstanceNorm{rank}d running",
             lambda nn, r=rank: getattr(nn, f"InstanceNorm{r}d")(
                 4, affine=True, track_running_stats=True), shape)  # fmt: skip
        case(f"InstanceNorm{rank}d unbatched",
             lambda nn, r=rank: getattr(nn, f"InstanceNorm{r}d")(4, affine=True),
             shape[1:])  # fmt: skip
        for groups in (1, 2, 4):
            case(f"GroupNorm {rank}d {groups}", lambda nn, g=groups: nn.GroupNorm(g, 4), shape)
        case(f"LocalResponseNorm {rank}d", lambda nn: nn.LocalResponseNorm(3, 0.5, 0.6, 1.1), shape)
    case("LocalResponseNorm even", lambda nn: nn.LocalResponseNorm(2, 0.5), IMAGE)
    case("GroupNorm plain", lambda nn: nn.GroupNorm(2, 4, affine=False), IMAGE)
    case("RMSNorm", lambda nn: nn.RMSNorm(6), IMAGE)
    case("RMSNorm two", lambda nn: nn.RMSNorm((7, 6), eps=1e-3), IMAGE)
    case("RMSNorm plain", lambda nn: nn.RMSNorm(6, elementwise_affine=False), IMAGE)


for fill in (_convolutions, _pools, _paddings, _resizing, _grids, _norms):
    fill()


def run(library, name):
    """The outputs, the gradients of all inputs and parameters, and the buffers afterwards."""
    make, inputs = CASES[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))

    def drawn(shape):
        return rng.standard_normal(tuple(shape)).astype(np.float32)

    called = make(library.nn)
    parameters = dict(called.named_parameters()) if hasattr(called, "named_parameters") else {}
    with library.no_grad():
        for p in parameters.values():
            p.copy_(library.tensor(drawn(p.shape)))
    given = [library.tensor(drawn(x) if isinstance(x, tuple) else x) for x in inputs]
    for x in given:
        x.requires_grad_()
    made = called(*given)
    made = made if isinstance(made, tuple) else (made,)
    if made[0].requires_grad:
        made[0].backward(library.tensor(drawn(made[0].shape)))
    found = {f"y{i}": y for i, y in enumerate(made)}
    found |= {f"grad.{i}": x.grad for i, x in enumerate(given) if x.grad is not None}
    found |= {f"grad.{k}": p.grad for k, p in parameters.items()}
    if hasattr(called, "named_buffers"):
        found |= dict(called.named_buffers())
    return {k: np.ascontiguousarray(v.detach().numpy()) for k, v in found.items()}


def kept(value):
    """What the golden file keeps of an array: all of a small one, else 64 sums of weighted
    elements, each of which depends on all elements."""
    if value.size <= 64 or value.dtype.kind != "f":
        return value if value.size <= 64 else value.ravel()[:: max(1, value.size // 64)].copy()
    weights = np.random.default_rng(value.size).standard_normal((64, value.size))
    return (weights @ value.ravel().astype(np.float64)) / np.sqrt(value.size)
