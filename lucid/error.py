"""The errors that have names of their own. Others are Python's TypeError, ValueError, ...

Raised throughout Lucid; users catch them as `lucid.error.DeviceMismatchError`.
"""


class UnknownDeviceError(RuntimeError, ValueError):
    """A device was named that Lucid cannot compute on."""


class DeviceMismatchError(RuntimeError):
    """An operation was given tensors that live on different devices."""


class BackwardError(RuntimeError):
    """`backward()` was asked for something that has no gradient, or whose graph is gone."""


class OutOfMemoryError(MemoryError, RuntimeError):
    """An allocation asked for more bytes than the machine or its cgroup can still give.

    `requested` and `available` are bytes; the message also says what is live and what is cached.
    """

    def __init__(self, message: str, requested: int = 0, available: int = 0):
        super().__init__(message)
        self.requested = requested
        self.available = available


class TraceError(RuntimeError):
    """A function cannot be compiled as it is: it asks for a value while it is traced, or does
    what a plan cannot do again. The message says what, at which line, and what to write."""


class LinAlgError(RuntimeError):
    """A decomposition of `lucid.linalg` does not exist or did not converge."""
