"""PyTorch's `utils`: names of other parts of Lucid where PyTorch's programs look for them.

Called by users only; each name loads on first use.
"""

from lucid.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {name: f"lucid.utils.{name}" for name in ("checkpoint", "data", "tensorboard")},
)
