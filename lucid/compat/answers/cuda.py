"""`torch.cuda` on a machine without it: truthful answers, inert switches, errors otherwise."""

from typing import Any

from lucid.compat.answers.refuse import no_cuda, no_cuda_class


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def is_initialized() -> bool:
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    return False


def manual_seed(seed: int) -> None:
    """Inert without CUDA, as in PyTorch."""


def manual_seed_all(seed: int) -> None:
    """Inert without CUDA, as in PyTorch."""


def seed() -> None:
    """Inert without CUDA, as in PyTorch."""


def seed_all() -> None:
    """Inert without CUDA, as in PyTorch."""


def empty_cache() -> None:
    """Inert without CUDA, as in PyTorch."""


def ipc_collect() -> None:
    """Inert without CUDA."""


def get_arch_list() -> list[str]:
    return []


def get_rng_state_all() -> list[Any]:
    return []


def set_rng_state_all(new_states: list[Any]) -> None:
    if new_states:
        no_cuda("torch.cuda.set_rng_state_all")()


def memory_allocated(device: Any = None) -> int:
    return 0


def max_memory_allocated(device: Any = None) -> int:
    return 0


def memory_reserved(device: Any = None) -> int:
    return 0


def max_memory_reserved(device: Any = None) -> int:
    return 0


def memory_cached(device: Any = None) -> int:
    return 0


def max_memory_cached(device: Any = None) -> int:
    return 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Inert: no memory of a GPU is in use."""


def reset_max_memory_allocated(device: Any = None) -> None:
    """Inert: no memory of a GPU is in use."""


_initialized = False  # as of a PyTorch that has not used a GPU yet

for _name in (
    "CUDAGraph", "Event", "Stream", "StreamContext", "current_blas_handle", "current_device",
    "current_stream", "default_stream", "device", "device_of", "get_device_capability",
    "get_device_name", "get_device_properties", "get_rng_state", "graph", "init", "initial_seed",
    "mem_get_info", "memory_stats", "memory_summary", "set_device", "set_rng_state", "set_stream",
    "set_per_process_memory_fraction", "stream", "synchronize", "utilization", "BFloat16Tensor",
    "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
    "IntTensor", "LongTensor", "ShortTensor",
):  # fmt: skip
    _full = f"torch.cuda.{_name}"
    globals()[_name] = no_cuda_class(_full) if _name[0].isupper() else no_cuda(_full)
