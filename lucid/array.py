"""`Array`: the fields of a tensor. tensor.py adds the methods; apply.py makes them.

Every tensor has the four slots, which machine code (backend/cpu/launch.py) reads and writes. A
field that most tensors leave alone is a class attribute, so that making a tensor sets only those.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lucid.autograd.node import Node
    from lucid.graph import Value
    from lucid.layout import Layout
    from lucid.storage import Storage


class Array:
    """Bytes, how they are laid out, and where they came from."""

    __slots__ = ("_storage", "_layout", "_ptr", "_requires_grad", "__dict__", "__weakref__")

    _storage: "Storage | None"  # None in a trace
    _layout: "Layout"
    _ptr: int  # address of the first element; not set in a trace
    _requires_grad: (
        bool | None
    )  # None: no, but a write needs a look (a view, whose base may; .data)
    _offset: int = 0  # elements from the start of the storage
    _node: "Node | None" = None  # what made it, when recorded
    _nr: int = 0  # which output of the node
    _grad: Any = None
    _base: Any = None  # the tensor whose storage a differentiable view shows
    _view: Any = None  # how: ((op, params), ...) from the base
    _shown: Any = None  # of a view made under no_grad: a weak reference to what needs a gradient
    _made: int = 0  # of a view: the base's `_rewrites` when its node was made
    _rewrites: int = 0  # of a base: how often its history was rebased
    _hooks: Any = None
    _value: "Value | None" = None  # of a tensor in a trace
    _trace: Any  # whose that is
    _is_data: bool = False  # made by `.data`
    _origin: str | None = None  # where it was made without a graph, at LUCID_DEBUG >= 1
