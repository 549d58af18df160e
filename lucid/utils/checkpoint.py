"""`lucid.utils.checkpoint`: checkpointing, where PyTorch's programs look for it.

Called by users only.
"""

from lucid.autograd.checkpoint import checkpoint

__all__ = ["checkpoint"]
