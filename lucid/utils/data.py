"""`lucid.utils.data`: everything of `lucid.data`, where PyTorch's programs look for it.

Called by users only.
"""

from lucid.data import *  # noqa: F403
from lucid.data import __all__ as __all__
