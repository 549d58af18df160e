"""Views that are worked out once: what the arguments of a view mean for a layout.

ops/shape.py makes its functions with `one_view`; ops/index.py keeps subscripts with `keep` and asks
for them with `subscript` and `alias`. What is known is looked up and shown by machine code.
"""

import functools
from collections.abc import Callable
from typing import Any

from lucid import apply as funnel
from lucid import storage
from lucid.apply import Shown, show, view_of
from lucid.array import Array
from lucid.autograd.flag import plain_variable
from lucid.caches import trim
from lucid.config import settings
from lucid.extent import has_extent
from lucid.lazy import lazy
from lucid.tracing import any_program, diverted

look = lazy("lucid.backend.cpu.look")

# (rule, layout, arguments), or (layout, the parts of a subscript) -> what look.py reads
known: dict[tuple, tuple] = {}


def _none(*arguments: Any) -> None:
    """Nothing is known: in a trace, at LUCID_DEBUG >= 1, and before there is a tensor."""


_look: Callable[[Any, Any, tuple], Any] = _none
subscript: Callable[[Any, Any], Any] = _none  # (x, key) -> the view, or None
alias: Callable[[Any, Any], Any] = _none  # one without history, to write through; or None


@functools.cache
def _native() -> tuple[Any, Any, Any]:
    variable = plain_variable()
    if variable is None:
        return _none, _none, _none
    assert storage.Storage is not None
    return look.viewer(Array, funnel.tensor_class, known, show, variable)


def _choose() -> None:
    global _look, subscript, alias
    quiet = not any_program() and not settings.debug
    _look, subscript, alias = _native() if quiet and known else (_none, _none, _none)


diverted.append(_choose)


def one_view(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a tensor whose result is one view of it. `rule(x, ...)` returns the record
    and its parameters, or else the result itself."""

    @functools.wraps(rule)
    def function(x: Any, *args: Any, **options: Any) -> Any:
        if not options:
            found = _look(x, rule, args)
            if found is not None:
                return found
        made = rule(x, *args, **options)
        if type(made) is not tuple:
            return made
        record, params = made
        if x._value is None and not options and _are_ints(args):
            keep((rule, x._layout, args), record, x, params)
        return record(x, *params)

    return function


def _are_ints(args: tuple) -> bool:
    """1 == 1.0 == True, of which only the first is a size or a dimension."""
    if len(args) == 1 and isinstance(args[0], tuple):
        args = args[0]
    return all([type(a) is int for a in args])


def keep(key: tuple, record: Any, x: Any, params: tuple) -> None:
    """Find this view under `key` from now on, unless it takes a copy."""
    if has_extent(params):
        return
    found: Shown | None = view_of(record, x, params)
    if found is not None:
        trim(known)
        lay = found.layout
        known[key] = lay, found.bytes, lay.dtype.itemsize, found.step, found
        if _look is _none:
            _choose()
