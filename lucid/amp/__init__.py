"""lucid.amp: computing in 16 bits where that is enough. Loaded on first use of `lucid.amp`.

`autocast` chooses the types, `GradScaler` keeps the gradients of float16 from vanishing.
"""

from lucid.amp.function import custom_bwd, custom_fwd
from lucid.amp.scaler import GradScaler
from lucid.amp.state import (
    autocast,
    clear_autocast_cache,
    get_autocast_cpu_dtype,
    get_autocast_dtype,
    get_autocast_gpu_dtype,
    is_autocast_available,
    is_autocast_cache_enabled,
    is_autocast_cpu_enabled,
    is_autocast_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)

__all__ = [
    "GradScaler", "autocast", "clear_autocast_cache", "custom_bwd", "custom_fwd",
    "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype",
    "is_autocast_available", "is_autocast_cache_enabled", "is_autocast_cpu_enabled",
    "is_autocast_enabled", "set_autocast_dtype", "set_autocast_enabled",
]  # fmt: skip
