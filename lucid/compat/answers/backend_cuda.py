"""`torch.backends.cuda`: switches that programs set; inert without CUDA."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

matmul = SimpleNamespace(
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=True,
    allow_bf16_reduced_precision_reduction=True,
)
cufft_plan_cache = SimpleNamespace(size=0, max_size=0)


def is_built() -> bool:
    return False


def flash_sdp_enabled() -> bool:
    return True


def mem_efficient_sdp_enabled() -> bool:
    return True


def math_sdp_enabled() -> bool:
    return True


def enable_flash_sdp(enabled: bool) -> None:
    """Inert: attention has one numeric path."""


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Inert: attention has one numeric path."""


def enable_math_sdp(enabled: bool) -> None:
    """Inert: attention has one numeric path."""


def enable_cudnn_sdp(enabled: bool) -> None:
    """Inert: attention has one numeric path."""


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[None]:  # fmt: skip
    """Inert: attention has one numeric path."""
    yield
