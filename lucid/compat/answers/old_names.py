"""Names without the underscore at their end, as programs before PyTorch 0.4 wrote them.

Called by finder.py for `torch.nn.init` and `torch.nn.utils`.
"""

from typing import Any

from lucid import nn

_INIT = (
    "constant", "dirac", "eye", "kaiming_normal", "kaiming_uniform", "normal", "orthogonal",
    "sparse", "uniform", "xavier_normal", "xavier_uniform",
)  # fmt: skip
_UTILS = ("clip_grad_norm",)


def __getattr__(name: str) -> Any:
    """The function that works in place, which is what the old name did."""
    for names, module in ((_INIT, nn.init), (_UTILS, nn.utils)):
        if name in names and hasattr(module, name + "_"):
            return getattr(module, name + "_")
    raise AttributeError(name)
