"""Automatic differentiation: grad mode, the tape, and functions over it.

The mode and the Nodes lie below the funnel; what runs a backward pass loads on first use.
"""

from lucid.autograd.mode import (
    enable_grad,
    grad_enabled,
    inference_mode,
    is_grad_enabled,
    no_grad,
    propagate_grad_mode,
    set_grad_enabled,
)
from lucid.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "backward": "lucid.autograd.gradients",
        "grad": "lucid.autograd.gradients",
        "Function": "lucid.autograd.function",
        "detect_anomaly": "lucid.autograd.anomaly",
        "is_anomaly_check_nan_enabled": "lucid.autograd.anomaly",
        "is_anomaly_enabled": "lucid.autograd.anomaly",
        "set_detect_anomaly": "lucid.autograd.anomaly",
        "graph": "lucid.autograd.graph",
        "forward_ad": "lucid.autograd.forward_ad",
        "functional": "lucid.autograd.functional",
        "gradcheck": "lucid.autograd.check",
        "gradgradcheck": "lucid.autograd.check",
        "graph_report": "lucid.autograd.report",
    },
)

__all__ = [
    "enable_grad",
    "grad_enabled",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "propagate_grad_mode",
    "set_grad_enabled",
]
