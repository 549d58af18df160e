"""Signal processing: `lucid.signal.windows`, loaded on first use."""

from lucid.signal import windows

__all__ = ["windows"]
