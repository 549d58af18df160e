"""Lucid: a deep-learning framework in one language.

PyTorch's names and semantics; tensors, autograd, compiler and kernels written in Python and
generated into machine code. `nn`, `optim`, `data`, `io` load on first use.
"""

from math import e, inf, nan, pi

from lucid.lazy import after_import, exports, lazy, uncollected

with uncollected():
    from lucid import autograd, memory
    from lucid.autograd.mode import (
        enable_grad,
        grad_enabled,
        inference_mode,
        is_grad_enabled,
        no_grad,
        propagate_grad_mode,
        set_grad_enabled,
    )
    from lucid.caches import clear_plans as _clear_plans
    from lucid.config import VERSION as __version__
    from lucid.device import device
    from lucid.dtypes import (
        bfloat16,
        complex64,
        complex128,
        dtype,
        float16,
        float32,
        float64,
        get_default_dtype,
        int8,
        int16,
        int32,
        int64,
        promote,
        set_default_dtype,
        uint8,
    )
    from lucid.dtypes import bool_ as bool
    from lucid.error import OutOfMemoryError
    from lucid.ops import creators as _creators
    from lucid.ops import functions as _functions
    from lucid.ops.random import (
        Generator,
        bernoulli,
        default_generator,
        get_rng_state,
        initial_seed,
        manual_seed,
        normal,
        rand,
        rand_like,
        randint,
        randint_like,
        randn,
        randn_like,
        randperm,
        seed,
        set_rng_state,
    )
    from lucid.printing import set_printoptions
    from lucid.tensor import Size, Tensor

globals().update(_functions)
globals().update(_creators)

_threads = lazy("lucid.backend.cpu.threads")
_int, _bool = int, type(True)
half, double, short, long = float16, float64, int16, int64
cfloat, cdouble = complex64, complex128
float, int = float32, int32
newaxis = None
contiguous_format, preserve_format, channels_last = (
    "contiguous_format",
    "preserve_format",
    "channels_last",
)
strided, sparse_coo, sparse_csr = "strided", "sparse_coo", "sparse_csr"
Float16, Float32, Float64 = float16, float32, float64
Complex64 = complex64
Int8, Int16, Int32, Int64 = int8, int16, int32, int64


after_import("einops._backends", "lucid.einops.library", "register")


def is_tensor(x: object) -> "_bool":
    """Whether x is a Tensor.

    >>> import lucid
    >>> lucid.is_tensor(lucid.ones(1)), lucid.is_tensor(1.0)
    (True, False)
    """
    return isinstance(x, Tensor)


def is_floating_point(x: Tensor) -> "_bool":
    """Whether x holds floating numbers.

    >>> import lucid
    >>> lucid.is_floating_point(lucid.ones(1))
    True
    """
    return x.is_floating_point()


def numel(x: Tensor) -> "_int":
    """How many elements x has.

    >>> import lucid
    >>> lucid.numel(lucid.ones(2, 3))
    6
    """
    return x.numel()


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest type that holds both.

    >>> import lucid
    >>> lucid.promote_types(lucid.int64, lucid.float16)
    lucid.float16
    """
    return promote(a, b)


def stop_gradient(x: Tensor) -> Tensor:
    """x without history: `detach` for functional code.

    >>> import lucid
    >>> lucid.stop_gradient(lucid.ones(1, requires_grad=True)).requires_grad
    False
    """
    return x.detach()


def set_num_threads(n: "_int") -> None:
    """How many threads kernels use; results do not depend on it."""
    _threads.set_num_threads(n)
    _clear_plans()


def get_num_threads() -> "_int":
    """How many threads kernels use.

    >>> import lucid
    >>> lucid.get_num_threads() >= 1
    True
    """
    return _threads.get_num_threads()


_late, __dir__ = exports(
    __name__,
    {
        "compile": "lucid.compiler",
        "explain": "lucid.show.explain",
        "profile": "lucid.show.profile",
        "nn": "lucid.nn",
        "optim": "lucid.optim",
        "func": "lucid.func",
        "vmap": "lucid.func",
        "cond": "lucid.func.control",
        "scan": "lucid.func.control",
        "while_loop": "lucid.func.control",
        "data": "lucid.data",
        "count_flops": "lucid.show.flops",
        "datasets": "lucid.datasets",
        "einops": "lucid.einops",
        "models": "lucid.models",
        "random": "lucid.random",
        **dict.fromkeys(
            ("sparse", "sparse_coo_tensor", "sparse_csr_tensor", "spmm"), "lucid.sparse"
        ),
        "transforms": "lucid.transforms",
        "utils": "lucid.utils",
        "signal": "lucid.signal",
        "masked": "lucid.masked",
        "linalg": "lucid.linalg",
        "fft": "lucid.fft",
        "special": "lucid.special",
        "io": "lucid.io",
        "show": "lucid.show",
        "compat": "lucid.compat",
        "amp": "lucid.amp",
        "distributions": "lucid.distributions",
        **dict.fromkeys(
            (
                "autocast",
                "clear_autocast_cache",
                "get_autocast_cpu_dtype",
                "get_autocast_dtype",
                "get_autocast_gpu_dtype",
                "is_autocast_available",
                "is_autocast_cache_enabled",
                "is_autocast_cpu_enabled",
                "is_autocast_enabled",
                "set_autocast_dtype",
                "set_autocast_enabled",
                "GradScaler",
            ),
            "lucid.amp",
        ),
        **dict.fromkeys(
            (
                "grid_sampler_2d",
                "grid_sampler_3d",
                "max_pool2d_with_indices_backward",
                "native_batch_norm",
                "native_dropout",
                "native_dropout_backward",
                "native_group_norm",
                "native_layer_norm",
            ),
            "lucid.ops.native",
        ),
        "save": "lucid.io",
        "load": "lucid.io",
    },
    {**_functions.late, **_creators.late},
)


def __getattr__(name: str) -> object:
    if name == "_grad_enabled":
        return is_grad_enabled()
    return _late(name)
