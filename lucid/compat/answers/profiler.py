"""`torch.profiler`: labels are inert, profiling raises; LUCID_DEBUG=1 prints kernels and times."""

import enum
from contextlib import ContextDecorator
from typing import Any

from lucid.compat.answers.refuse import refused

_WHY = "Lucid prints kernels and their times with LUCID_DEBUG=1"


class record_function(ContextDecorator):
    """A label around code; nothing reads it."""

    def __init__(self, name: str, args: str | None = None):
        self.name = name

    def __enter__(self) -> "record_function":
        return self

    def __exit__(self, *error: Any) -> None:
        return None


profile = refused("torch.profiler.profile", _WHY)
schedule = refused("torch.profiler.schedule", _WHY)
emit_nvtx = refused("torch.autograd.profiler.emit_nvtx", _WHY)


class ProfilerActivity(enum.Enum):
    """What PyTorch's profiler would look at."""

    CPU = enum.auto()
    CUDA = enum.auto()
    XPU = enum.auto()
    MTIA = enum.auto()
    PrivateUse1 = enum.auto()
