"""Reading and writing: `lucid.save` and `lucid.load`.

Called by users; loaded on first use.
"""

from lucid.io.checkpoint import load, save

__all__ = ["load", "save"]
