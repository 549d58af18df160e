"""`torch.mps`: Apple's GPUs, of which there is none."""

from lucid.compat.answers.refuse import refused


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def empty_cache() -> None:
    """Inert without a device."""


def manual_seed(seed: int) -> None:
    """Inert without a device."""


synchronize = refused("torch.mps.synchronize", "there is no such device")
current_allocated_memory = refused("torch.mps.current_allocated_memory", "there is no such device")
