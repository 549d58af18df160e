"""`torch.device`: as Lucid's, but PyTorch's other devices can be named and compared.

Called by root.py. Programs write `torch.device("cuda")` before they ask whether it is there; what
is to use such a device raises.
"""

from typing import Any

import lucid

# PyTorch's kinds of devices
_KINDS = frozenset(("cuda", "mps", "xpu", "meta", "hpu", "mtia", "ipu", "xla", "vulkan"))


class _Kind(type):
    """Every device of Lucid is an instance."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, lucid.device)


class device(metaclass=_Kind):
    """`lucid.device`, for PyTorch's names of devices."""

    def __new__(cls, type: Any, index: int | None = None) -> Any:
        if isinstance(type, lucid.device) and index is None:
            return type
        if isinstance(type, str) and type.partition(":")[0] in _KINDS:
            return lucid.device.named(type, index)
        return lucid.device(type, index)
