"""`torch.fx`: its markers are inert, and its classes can be named; making a graph raises.

Called by finder.py. Libraries import these for a part of them that few programs run.
"""

from typing import Any

from lucid.compat.answers.refuse import refused, refused_class

_WHY = "Lucid has graphs of its own (lucid.compile), not torch.fx"
_USER_PRESERVED_ATTRIBUTES_KEY = "_user_preserved_attributes"

Tracer = refused_class("torch.fx.Tracer", _WHY)
Graph = refused_class("torch.fx.Graph", _WHY)
Node = refused_class("torch.fx.Node", _WHY)
Proxy = refused_class("torch.fx.Proxy", _WHY)
Interpreter = refused_class("torch.fx.Interpreter", _WHY)
Transformer = refused_class("torch.fx.Transformer", _WHY)
GraphModule = refused_class("torch.fx.GraphModule", _WHY)
_CodeOnlyModule = refused_class("torch.fx.graph_module._CodeOnlyModule", _WHY)
_copy_attr = refused("torch.fx.graph_module._copy_attr", _WHY)
symbolic_trace = refused("torch.fx.symbolic_trace", _WHY)
replace_pattern = refused("torch.fx.replace_pattern", _WHY)
Target = Any  # what a node calls


def wrap(fn_or_name: Any) -> Any:
    """The function or name as it is: it marks what a tracer shall not look into."""
    return fn_or_name
