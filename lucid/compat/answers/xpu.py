"""`torch.xpu`: Intel's GPUs, of which there is none."""

from lucid.compat.answers.refuse import refused


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def empty_cache() -> None:
    """Inert without a device."""


def manual_seed(seed: int) -> None:
    """Inert without a device."""


synchronize = refused("torch.xpu.synchronize", "there is no such device")
memory_allocated = refused("torch.xpu.memory_allocated", "there is no such device")
