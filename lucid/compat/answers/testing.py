"""`torch.testing`: comparisons of tensors that raise AssertionError."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import lucid

# dtype -> relative and absolute tolerance, as PyTorch's
_TOLERANCES = {
    "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7), "complex64": (1.3e-6, 1e-5), "complex128": (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Any = None,
) -> None:
    """Raise AssertionError unless |actual - expected| <= atol + rtol |expected| everywhere."""
    if (rtol is None) != (atol is None):
        raise ValueError("assert_close: rtol and atol are given together")
    options = dict(rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=check_dtype, msg=msg)
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if set(actual) != set(expected):
            raise AssertionError(
                f"the keys differ: {sorted(map(str, set(actual) ^ set(expected)))}"
            )
        for key in expected:
            assert_close(actual[key], expected[key], **options)
        return
    if isinstance(actual, Sequence) and isinstance(expected, Sequence):
        if len(actual) != len(expected):
            raise AssertionError(f"the lengths differ: {len(actual)} and {len(expected)}")
        for a, b in zip(actual, expected, strict=True):
            assert_close(a, b, **options)
        return
    a, b = (x if isinstance(x, lucid.Tensor) else lucid.as_tensor(x) for x in (actual, expected))
    if check_dtype and a.dtype != b.dtype:
        raise AssertionError(f"the dtypes differ: {a.dtype} and {b.dtype}")
    if tuple(a.shape) != tuple(b.shape):
        raise AssertionError(f"the shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")
    if check_stride and tuple(a.stride()) != tuple(b.stride()):
        raise AssertionError(f"the strides differ: {a.stride()} and {b.stride()}")
    pairs = [_TOLERANCES.get(x.dtype.name, (0.0, 0.0)) for x in (a, b)]
    relative = max(p[0] for p in pairs) if rtol is None else rtol
    absolute = max(p[1] for p in pairs) if atol is None else atol
    x, w = (t.detach().to(lucid.float64 if t.is_floating_point() else t.dtype) for t in (a, b))
    try:
        np.testing.assert_allclose(x.numpy(), w.numpy(), relative, absolute, equal_nan)
    except AssertionError as error:
        text = msg(str(error)) if callable(msg) else msg
        raise AssertionError(text or f"Tensor-likes are not close!{error}") from None


def assert_allclose(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None,
    equal_nan: bool = True, msg: str = "",
) -> None:  # fmt: skip
    """`assert_close` without a check of dtypes."""
    assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False,
        msg=msg or None,
    )  # fmt: skip
