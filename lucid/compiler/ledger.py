"""What a function stores in objects that are older than the call: attributes, items, globals.

capture.py takes a `Ledger` before it traces: the contents of all that the function may reach. What
differs afterwards was stored while it ran. It is put back; a tensor that was stored under a name is
stored again by each call of the plan, anything else is refused.
"""

import functools
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

import numpy as np

from lucid.array import Array
from lucid.lazy import lazy
from lucid.lines import format_line, is_ours
from lucid.tracing import change as changed

_dis = lazy("dis")

MISSING = object()
_MOST = 200_000
_SCALARS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_LIBRARIES = (sys.base_prefix + "/lib", sys.prefix + "/lib")


@dataclass(eq=False)
class Change:
    """One slot that was stored to: `space[key]`, of the object `owner`."""

    owner: Any
    space: Any
    key: Any
    before: Any
    after: Any

    def what(self) -> str:
        name = type(self.owner).__name__
        if isinstance(self.owner, dict) and "__name__" in self.owner:
            return f"global {self.key}"
        if isinstance(self.owner, types.CellType):
            return "a variable of an outer function"
        if isinstance(self.owner, (dict, list, set, np.ndarray)):
            return f"an item of a {name}"
        return f"{name}.{self.key}"


class Ledger:
    """The contents of everything that is reached by names of a function's code."""

    def __init__(self, roots: Sequence[Any]):
        self.names: set[str] = set()
        self.codes: dict[CodeType, None] = {}
        self.kept: dict[int, tuple[Any, Any, Any]] = {}  # (owner, what holds, its items)
        while True:
            known = len(self.names)
            self.seen: dict[int, Any] = {}
            self._follow(roots)
            if len(self.names) == known:
                break

    def _follow(self, roots: Sequence[Any]) -> None:
        stack = list(roots)
        while stack and len(self.seen) < _MOST:
            x = stack.pop()
            if isinstance(x, _SCALARS) or id(x) in self.seen or isinstance(x, Array):
                continue
            self.seen[id(x)] = x
            stack.extend(self._behind(x))

    def _behind(self, x: Any) -> Iterator[Any]:
        """What an object leads to; its contents are kept."""
        if isinstance(x, types.FunctionType):
            yield from self._function(x)
        elif isinstance(x, types.MethodType):
            yield from (x.__func__, x.__self__)
        elif isinstance(x, functools.partial):
            yield from (x.func, *x.args, *x.keywords.values())
        elif isinstance(x, tuple):
            yield from x
        elif isinstance(x, (list, set)):
            self._keep(x, x, list(x))
            yield from x
        elif isinstance(x, dict):
            self._keep(x, x, dict(x))
            yield from x.values()
        elif isinstance(x, np.ndarray):
            self._keep(x, x, x.copy() if x.nbytes < 1 << 16 else x)
        elif isinstance(x, type):
            yield from self._class(x)
        elif not isinstance(x, (types.ModuleType, types.BuiltinFunctionType, CodeType)):
            yield from self._object(x)

    def _keep(self, owner: Any, holder: Any, items: Any) -> None:
        self.kept.setdefault(id(holder), (owner, holder, items))

    def _function(self, x: types.FunctionType) -> Iterator[Any]:
        code = x.__code__
        if is_ours(code.co_filename) or code.co_filename.startswith(_LIBRARIES):
            return
        for cell in x.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:
                continue
            self._keep(cell, cell, [cell.cell_contents])
        yield from x.__defaults__ or ()
        yield from (x.__kwdefaults__ or {}).values()
        if hasattr(x, "__wrapped__"):
            yield x.__wrapped__
        for inner in _with_inner(code):
            self.codes[inner] = None
            self.names.update(inner.co_names)
            space = x.__globals__
            named = {n: space[n] for n in inner.co_names if n in space}
            if _STORE_GLOBAL & set(inner.co_code[::2]):
                known = self.kept.get(id(space), (None, None, {}))[2]
                stored = {n: space.get(n, MISSING) for n in inner.co_names}
                self.kept[id(space)] = (space, space, {**stored, **known})
            for value in named.values():
                yield value
                if isinstance(value, types.ModuleType):
                    yield from self._in_module(value)

    def _in_module(self, module: types.ModuleType) -> Iterator[Any]:
        path = getattr(module, "__file__", None) or ""
        if not path or is_ours(path) or path.startswith(_LIBRARIES):
            return
        space = vars(module)
        for name in self.names & space.keys():
            yield space[name]

    def _class(self, x: type) -> Iterator[Any]:
        for base in x.__mro__:
            module = sys.modules.get(base.__module__)
            if base is object or is_ours(getattr(module, "__file__", None) or ""):
                continue
            if base.__module__ in sys.stdlib_module_names or base.__module__ == "builtins":
                continue
            for name, value in list(vars(base).items()):
                if isinstance(value, types.FunctionType):
                    yield value
                elif isinstance(value, (staticmethod, classmethod)):
                    yield value.__func__
                elif isinstance(value, property):
                    yield from [f for f in (value.fget, value.fset) if f is not None]
                elif isinstance(value, functools.cached_property):
                    self.names.add(value.attrname or "")
                    yield value.func
                elif name in self.names:
                    yield value
            items = {n: v for n, v in vars(base).items() if not n.startswith("__")}
            self._keep(base, _Space(base), items)

    def _object(self, x: Any) -> Iterator[Any]:
        yield type(x)
        space = getattr(x, "__dict__", None)
        if type(x).__name__.startswith("Compiled") and isinstance(space, dict):
            yield space["function"]
            return
        if isinstance(space, dict):
            ours = type(x).__module__.partition(".")[0] == "lucid"
            if ours and hasattr(x, "param_groups"):  # host.py keeps what optimizers do
                if "param_groups" in self.names:
                    yield x.param_groups
                return
            self._keep(x, space, dict(space))
            tables = ("_parameters", "_buffers", "_modules")
            for name, value in list(space.items()):
                if name in tables and "training" in space:
                    self._keep(x, value, dict(value))
                    yield from value.values()
                elif name in self.names:
                    yield value
        for base in type(x).__mro__:
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name in self.names and hasattr(x, name):
                    yield getattr(x, name)

    def changes(self) -> list[Change]:
        """What was stored since."""
        found = []
        for owner, holder, items in self.kept.values():
            if isinstance(holder, types.CellType):
                now = holder.cell_contents
                if not _same(items[0], now):
                    found.append(Change(owner, holder, 0, items[0], now))
            elif isinstance(holder, (dict, _Space)):
                found += _changed_items(owner, holder, items)
            elif isinstance(holder, np.ndarray):
                if items is not holder and holder.tobytes() != items.tobytes():
                    found.append(Change(owner, holder, None, items, holder))
            else:
                now = list(holder)
                if len(now) != len(items) or any(a is not b for a, b in _pairs(now, items)):
                    found.append(Change(owner, holder, None, items, now))
        return found

    def line(self, change: Change) -> str:
        """Where the user's code stores it, as far as it can be told."""
        for code in self.codes:
            found = _line_of_store(code, change.key)
            if found:
                return f" at {format_line(code.co_filename, found)}"
        return ""


def put_back(change: Change) -> None:
    """The slot as it was."""
    space = change.space
    if isinstance(space, types.CellType):
        space.cell_contents = change.before
    elif isinstance(space, list):
        space[:] = change.before
    elif isinstance(space, set):
        space.clear()
        space.update(change.before)
    elif isinstance(space, np.ndarray):
        space[...] = change.before
    elif change.before is MISSING:
        space.pop(change.key, None)
    else:
        space[change.key] = change.before


def store(change: Change, value: Any) -> None:
    """The slot with its new value, as the function stores it."""
    space = change.space
    if isinstance(space, types.CellType):
        space.cell_contents = value
    elif value is MISSING:
        space.pop(change.key, None)
    else:
        space[change.key] = value
    if "_changed" in getattr(change.owner, "__dict__", ()):  # a module
        change.owner.__dict__["_changed"] = changed()


class _Space:
    """The attributes of a class, to be stored to as those of a dict."""

    def __init__(self, owner: type):
        self.owner = owner

    def get(self, name: str, default: Any) -> Any:
        return vars(self.owner).get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter([n for n in vars(self.owner) if not n.startswith("__")])

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self.owner, name, value)

    def pop(self, name: str, default: Any) -> None:
        delattr(self.owner, name)


_STORE_GLOBAL = {97, 98}  # STORE_GLOBAL, DELETE_GLOBAL
_COUNTS = {"_changed", "_hooked"}  # of modules, for guards and for their own short way


def _changed_items(owner: Any, holder: Any, items: dict) -> Iterator[Change]:
    module_globals = isinstance(holder, dict) and "__builtins__" in holder
    for key in {**items} if module_globals else {**items, **dict.fromkeys(holder)}:
        if key in _COUNTS:
            continue
        before, now = items.get(key, MISSING), holder.get(key, MISSING)
        if not _same(before, now):
            yield Change(owner, holder, key, before, now)


def _pairs(a: Sequence[Any], b: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(a, b, strict=True)


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    return type(a) is type(b) and isinstance(a, _SCALARS) and (a == b or a != a)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    """A code object and those of the functions and comprehensions inside."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)


def _line_of_store(code: CodeType, key: Any) -> int:
    """The first line that stores under this name, or any item where there is none."""
    named = isinstance(key, str) and key in (*code.co_names, *code.co_freevars)
    for name, value, line in _instructions(code):
        if named and name.startswith("STORE_") and value == key and name != "STORE_FAST":
            return line
        if not named and name in ("STORE_SUBSCR", "STORE_DEREF", "DELETE_SUBSCR"):
            return line
    if not named:
        for name, value, line in _instructions(code):
            if name == "LOAD_METHOD" and value in _MUTATORS:
                return line
    return 0


_MUTATORS = {
    "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update",
    "setdefault", "popitem", "add", "discard", "fill",
}  # fmt: skip


def _instructions(code: CodeType) -> Iterator[tuple[str, Any, int]]:
    line = code.co_firstlineno
    for i in _dis.get_instructions(code):
        line = i.starts_line or line
        yield i.opname, i.argval, line
