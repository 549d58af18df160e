"""Convolutions at the native level against sums in float64: results and both gradients, over
strides, padding, dilation, groups, layouts, types, thread counts and targets."""

import numpy as np
import pytest
from native import buffer, execute, strides

from lucid import dtypes
from lucid.backend.cpu.conv import ConvOperand, ConvSpec, plan_conv2d
from lucid.backend.cpu.target import target
from lucid.config import settings
from lucid.kernel import expr as e

# batch, channels, size, out_channels, kernel, options
CASES = [
    (1, 3, (7, 6), 5, (3, 3), dict(padding=((1, 1), (1, 1)))),
    (2, 16, (9, 9), 32, (3, 3), dict(stride=(2, 2), padding=((1, 1), (1, 1)))),
    (2, 20, (8, 11), 70, (1, 1), {}),
    (2, 3, (20, 17), 64, (7, 7), dict(stride=(2, 2), padding=((3, 3), (3, 3)))),
    (2, 12, (10, 10), 18, (3, 2), dict(padding=((2, 1), (0, 2)), dilation=(2, 2), groups=3)),
    (2, 70, (7, 7), 66, (3, 3), dict(padding=((1, 1), (1, 1)))),
    (2, 16, (9, 8), 16, (1, 1), dict(stride=(2, 2))),
    (1, 4, (9, 9), 4, (2, 2), dict(stride=(3, 3))),
    (3, 8, (1, 40), 6, (1, 5), dict(padding=((0, 0), (4, 4)), dilation=(1, 2))),
    (1, 5, (6, 6), 4, (2, 2), dict(padding=((3, 3), (2, 0)))),
    (2, 600, (2, 2), 3, (1, 1), {}),
    (1, 6, (11, 9), 7, (3, 5), dict(stride=(2, 3), padding=((1, 0), (2, 1)))),
    (1, 3, (10, 10), 4, (3, 3), dict(stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(2, 1))),
]
DEPTHWISE = [
    (2, 8, (9, 9), 8, (3, 3), dict(stride=(2, 2), padding=((1, 1), (1, 1)), groups=8)),
    (1, 40, (12, 11), 40, (3, 3), dict(padding=((1, 1), (1, 1)), groups=40)),
    (2, 33, (8, 9), 33, (5, 5), dict(padding=((2, 2), (2, 2)), dilation=(1, 2), groups=33)),
    (1, 6, (7, 7), 12, (3, 3), dict(padding=((1, 1), (1, 1)), groups=6)),
]


def array(rng, shape, dtype=np.float32, layout="nhwc"):
    """Random numbers; layout nhwc or nchw of the logical n, c, h, w, or gaps."""
    n, c, h, w = shape
    if layout == "nchw":
        made = buffer(shape, dtype)
    elif layout == "nhwc":
        made = buffer((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    else:
        made = buffer((n, c, h + 1, w * 2), dtype)[:, :, :h, ::2]
    made[...] = rng.standard_normal(shape)
    return made


def windows(x, spec):
    """x as [n, group, c, kh, kw, i, j]: the factors of each output pixel."""
    (top, bottom), (left, right) = spec.padding
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    (oh, ow), (kh, kw) = spec.out_size, spec.kernel
    parts = [
        [
            padded[
                :,
                :,
                p * spec.dilation[0] :: spec.stride[0],
                q * spec.dilation[1] :: spec.stride[1],
            ][:, :, :oh, :ow]
            for q in range(kw)
        ]
        for p in range(kh)
    ]
    stacked = np.array(parts).transpose(2, 3, 0, 1, 4, 5)
    n, c = stacked.shape[:2]
    return stacked.reshape(n, spec.groups, c // spec.groups, kh, kw, oh, ow)


def reference(kind, spec, x, w, y):
    g = spec.groups
    w64, y64 = np.asarray(w, np.float64), np.asarray(y, np.float64)
    grouped = w64.reshape(g, -1, *w.shape[1:])
    if kind == "forward":
        return np.einsum("ngcpqij,gocpq->ngoij", windows(x, spec), grouped).reshape(y.shape)
    cotangent = y64.reshape(y.shape[0], g, -1, *y.shape[2:])
    if kind == "weight":
        return np.einsum("ngcpqij,ngoij->gocpq", windows(x, spec), cotangent).reshape(w.shape)
    spread = np.einsum("ngoij,gocpq->ngcpqij", cotangent, grouped)
    (top, bottom), (left, right) = spec.padding
    n, c, h, v = x.shape
    padded = np.zeros((n, c, h + top + bottom, v + left + right))
    oh, ow = spec.out_size
    for p in range(spec.kernel[0]):
        for q in range(spec.kernel[1]):
            r, s = p * spec.dilation[0], q * spec.dilation[1]
            padded[
                :,
                :,
                r : r + spec.stride[0] * oh : spec.stride[0],
                s : s + spec.stride[1] * ow : spec.stride[1],
            ][:, :, :oh, :ow] += spread[:, :, :, p, q].reshape(n, c, oh, ow)
    return padded[:, :, top : top + h, left : left + v]


def convolve(kind, x, w, y, case, threads=1, **options):
    """Run one kind in place; `bias` and `extra` are arrays."""
    arrays = dict(x=x, w=w, y=y, bias=options.pop("bias", None), extra=options.pop("extra", None))
    spec = ConvSpec(
        *(kind, dtypes.from_numpy(x.dtype), x.shape[0], x.shape[1], x.shape[2:], w.shape[0]),
        *(w.shape[2:], strides(x), strides(w), strides(y)),
        **case[5],
        bias=arrays["bias"] is not None,
        threads=threads,
        **options,
    )
    execute(plan_conv2d(spec), **arrays)
    return spec


def make(rng, case, layout, dtype=np.float32):
    n, c, size, o, kernel, options = case
    x = array(rng, (n, c, *size), dtype, layout)
    w = array(rng, (o, c // options.get("groups", 1), *kernel), dtype, "nchw")
    one = (1, 1, 1, 1)
    spec = ConvSpec("forward", dtypes.float32, n, c, size, o, kernel, one, one, one, **options)
    return x, w, array(rng, (n, o, *spec.out_size), dtype, layout), spec


def check_all(case, layout, dtype=np.float32, bound=1e-5):
    rng = np.random.default_rng(1)
    x, w, y, spec = make(rng, case, layout, dtype)
    for kind, result in (("forward", y), ("weight", w), ("input", x)):
        expected = reference(kind, spec, x, w, y)
        kept = result.copy()
        result[...] = np.nan
        convolve(kind, x, w, y, case)
        error = np.abs(np.asarray(result, np.float64) - expected).max()
        assert error <= bound * max(1.0, np.abs(expected).max()), (kind, error)
        result[...] = kept


@pytest.mark.parametrize("layout", ["nhwc", "nchw", "gaps"])
def test_results_and_gradients(layout):
    for case in CASES + DEPTHWISE:
        check_all(case, layout)


@pytest.mark.parametrize("name", ["float64", "bfloat16", "float16"])
def test_types(name):
    bound = {"float64": 1e-14, "bfloat16": 2.0**-8, "float16": 2.0**-10}[name]
    for case in (CASES[1], CASES[2], DEPTHWISE[1]):
        check_all(case, "nhwc", dtypes.BY_NAME[name].numpy, bound)


def test_epilogue():
    rng = np.random.default_rng(2)
    for case in (CASES[1], CASES[2], CASES[5], DEPTHWISE[1]):
        for layout in ("nhwc", "nchw"):
            x, w, y, spec = make(rng, case, layout)
            bias, extra = buffer((w.shape[0],), np.float32), array(rng, y.shape, layout=layout)
            bias[...] = rng.standard_normal(bias.shape)
            convolve("forward", x, w, y, case, bias=bias, activation="relu")
            plain = np.empty_like(y)
            convolve("forward", x, w, plain, case)
            with_bias = plain + bias[:, None, None]
            assert np.array_equal(np.maximum(with_bias, 0), y)  # fusing changes no bit
            a, b = (e.Expr("arg", (), dtypes.float32, i) for i in range(2))
            operand = ConvOperand("extra", dtypes.float32, strides(extra))
            convolve(
                *("forward", x, w, y, case),
                bias=bias,
                extra=extra,
                operands=(operand,),
                activation=a + b,
            )
            assert np.array_equal(with_bias + extra, y)


def test_layouts_and_thread_counts_give_the_same_bits():
    rng = np.random.default_rng(3)
    for case in (CASES[1], CASES[5], DEPTHWISE[1]):
        big = (4, case[1], (30, 31), *case[3:])
        x, w, y, spec = make(rng, big, "nhwc")
        for kind, result in (("forward", y), ("weight", w), ("input", x)):
            convolve(kind, x, w, y, big)
            one = result.copy()
            for threads in (2, 4):
                result[...] = np.nan
                convolve(kind, x, w, y, big, threads=threads)
                assert np.array_equal(one, result), (kind, threads)
        convolve("forward", x, w, y, big)
        other = buffer(y.shape, np.float32)
        convolve("forward", np.ascontiguousarray(x), w, other, big)
        assert np.array_equal(other, y)


def test_refusals():
    ones = (1, 1, 1, 1)
    base = ("forward", dtypes.float32, 1, 4, (5, 5), 4, (3, 3), ones, ones, ones)
    with pytest.raises(ValueError, match="larger"):
        plan_conv2d(ConvSpec(*base[:6], (7, 7), *base[7:]))
    with pytest.raises(ValueError, match="groups"):
        plan_conv2d(ConvSpec(*base, groups=3))
    with pytest.raises(ValueError, match="kind"):
        plan_conv2d(ConvSpec("backward", *base[1:]))
    with pytest.raises(ValueError, match="bias"):
        plan_conv2d(ConvSpec("input", *base[1:], bias=True))
    with pytest.raises(TypeError, match="floating"):
        plan_conv2d(ConvSpec("forward", dtypes.int32, *base[2:]))


@pytest.mark.parametrize("name", ["avx2", "plain"])
def test_other_targets(name, monkeypatch):
    monkeypatch.setattr(settings, "target", name)
    try:
        target()
    except RuntimeError as error:
        pytest.skip(str(error))
    for case in (CASES[0], CASES[4], DEPTHWISE[1]):
        check_all(case, "nchw")
