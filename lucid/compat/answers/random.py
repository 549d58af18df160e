"""`torch.random`: `fork_rng`; the rest is `lucid`'s."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lucid


@contextmanager
def fork_rng(
    devices: Any = None, enabled: bool = True, _caller: str = "fork_rng",
    _devices_kw: str = "devices", device_type: str = "cpu",
) -> Iterator[None]:  # fmt: skip
    """Random numbers drawn inside leave those drawn after unchanged."""
    if devices:
        raise NotImplementedError(f"fork_rng: devices={devices!r}: the CPU is the only device")
    if not enabled:
        yield
        return
    state = lucid.get_rng_state()
    try:
        yield
    finally:
        lucid.set_rng_state(state)
