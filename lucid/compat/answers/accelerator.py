"""`torch.accelerator`: there is none."""

from typing import Any

from lucid.compat.answers.refuse import refused


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def current_accelerator(check_available: bool = False) -> Any:
    return None


def empty_cache() -> None:
    """Inert without an accelerator."""


_WHY = "there is no accelerator; torch.accelerator.is_available() is False"
current_device_index = refused("torch.accelerator.current_device_index", _WHY)
current_device_idx = refused("torch.accelerator.current_device_idx", _WHY)
set_device_index = refused("torch.accelerator.set_device_index", _WHY)
set_device_idx = refused("torch.accelerator.set_device_idx", _WHY)
synchronize = refused("torch.accelerator.synchronize", _WHY)
current_stream = refused("torch.accelerator.current_stream", _WHY)
