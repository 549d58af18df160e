"""Views that are worked out once: what the arguments of a view mean for a layout.

ops/shape.py makes its functions with `one_view`; ops/index.py keeps subscripts with `keep` too.
"""

import functools
from collections.abc import Callable
from typing import Any

from lucid.apply import Shown, show, trim, view_of

known: dict[tuple, Shown] = {}  # (rule, layout, arguments, their types) -> the view


def one_view(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a tensor whose result is one view of it. `rule(x, ...)` returns the record
    and its parameters, or else the result itself."""

    @functools.wraps(rule)
    def function(x: Any, *args: Any, **options: Any) -> Any:
        # 1 == 1.0 == True, of which only the first is a size or a dimension.
        kinds = map(type, args[0] if args and isinstance(args[0], tuple) else args)
        key = (rule, x._layout, args, *kinds)
        if not options:
            try:
                found = known.get(key)
            except TypeError:  # a list among the arguments
                found = None
            if found is not None:
                return show(x, found)
        made = rule(x, *args, **options)
        if type(made) is not tuple:
            return made
        record, params = made
        if x._value is None and not options and all(kind is int for kind in key[3:]):
            keep(key, record, x, params)
        return record(x, *params)

    return function


def keep(key: tuple, record: Any, x: Any, params: tuple) -> None:
    """Find this view under `key` from now on, unless it takes a copy."""
    found = view_of(record, x, params)
    if found is not None:
        trim(known)
        known[key] = found
