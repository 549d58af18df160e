"""`torch.onnx`: registering how ops are exported is inert, exporting raises.

Called by finder.py.
"""

from collections.abc import Callable
from typing import Any

from lucid.compat.answers.refuse import Namespace, refused

_WHY = "Lucid exports no ONNX"

export = refused("torch.onnx.export", _WHY)
dynamo_export = refused("torch.onnx.dynamo_export", _WHY)
symbolic_opset9 = Namespace("torch.onnx.symbolic_opset9")
symbolic_opset11 = Namespace("torch.onnx.symbolic_opset11")
operators = Namespace("torch.onnx.operators")


def is_in_onnx_export() -> bool:
    return False


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Any, opset_version: int) -> None:
    """Inert: nothing is exported."""


def unregister_custom_op_symbolic(symbolic_name: str, opset_version: int) -> None:
    """Inert: nothing is exported."""


def parse_args(*arg_descriptors: str) -> Callable[[Any], Any]:
    """Of `torch.onnx.symbolic_helper`: the function as it is."""
    return lambda function: function
