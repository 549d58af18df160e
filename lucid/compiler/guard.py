"""Guards: what a trace has depended on, so that a plan is used only where it still holds.

capture.py watches which functions run (`Watch`); `Walk` then follows every global, closure cell
and attribute that their bytecode names, from the function and its arguments: numbers are guarded
by value, containers by contents, code, classes and other objects by identity. Tensors that are met
on the way are inputs of the plan. The checks become one Python function, written out in full.
"""

import functools
import re
import sys
import types
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import numpy as np

from lucid.array import Array
from lucid.error import TraceError
from lucid.lazy import lazy
from lucid.lines import is_ours, user_line

_module = lazy("lucid.nn.module")

MOST = 200_000  # objects followed
_MISSING = object()
_SCALARS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_CLOCKS = {"time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "process_time"}
_SOURCES = ("Random", "SystemRandom", "RandomState", "Generator")


class Watch:
    """Which of the user's code objects run, and in which globals."""

    def __init__(self) -> None:
        self.codes: dict[CodeType, dict[str, Any]] = {}
        self._before: Any = None

    def __enter__(self) -> "Watch":
        self._before = sys.getprofile()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *details: object) -> None:
        if self._before is None or callable(self._before):
            sys.setprofile(self._before)
        else:  # a profiler of C, such as cProfile
            sys.setprofile(None)
            self._before.enable()

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call":
            if code not in self.codes and _is_program(code.co_filename):
                self.codes[code] = frame.f_globals
        elif event == "c_call" and _is_program(code.co_filename):
            _refuse_chance(argument)


def _is_program(filename: str) -> bool:
    return not is_ours(filename) or f"{_SEP}nn{_SEP}" in filename


_SEP = "/" if sys.platform != "win32" else "\\"


def _refuse_chance(function: Any) -> None:
    """A clock or a source of chance of Python's: the plan would repeat its answer for ever."""
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    clock = getattr(owner, "__name__", "") == "time" and name in _CLOCKS
    if clock or type(owner).__name__ in _SOURCES and not isinstance(owner, types.ModuleType):
        raise TraceError(
            f"compile: {name}() is asked at {user_line()}, whose answer is another one each time: "
            "pass it as a tensor, or use lucid.rand, which a compiled function draws anew"
        )


class Walk:
    """Everything that is reached by names of the code that ran, and the checks of it."""

    def __init__(self, watch: Watch):
        self.names = {name for code in watch.codes for name in code.co_names}
        # Those of the user's own code: what Lucid's classes are asked for beside their methods.
        own = [code for code in watch.codes if not is_ours(code.co_filename)]
        self.own_names = {name for code in own for name in code.co_names}
        self.all_names = bool(self.own_names & {"getattr", "vars", "__dict__", "hasattr"})
        self.tensors: list[Any] = []
        self.seen: dict[int, Any] = {}
        self.modules: list[Any] = []
        self.terms: list[str] = []  # Python expressions that must hold
        self.bound: dict[str, Any] = {}  # what they name
        for code, space in watch.codes.items():
            self._globals(code, space)

    def _globals(self, code: CodeType, space: dict[str, Any]) -> None:
        for name in code.co_names:
            if name in space:
                value = space[name]
                self._slot(f"{self._name(space)}.get({name!r}, MISSING)", value)
                if isinstance(value, types.ModuleType):
                    self._user_module(value)

    def _user_module(self, module: types.ModuleType) -> None:
        path = getattr(module, "__file__", None) or ""
        if id(module) in self.seen or not path or is_ours(path) or "site-packages" in path:
            return
        if path.startswith((sys.base_prefix + _SEP + "lib", sys.prefix + _SEP + "lib")):
            return
        self.seen[id(module)] = module
        space = vars(module)
        for name in self.names & space.keys():
            self._slot(f"{self._name(space)}.get({name!r}, MISSING)", space[name])

    def _name(self, value: Any) -> str:
        """A name for an object in the checks."""
        name = f"o{len(self.bound)}"
        key = f"id{id(value)}"
        found = self.bound.get(key)
        if found is not None:
            return found[0]
        self.bound[key] = (name, value)
        return name

    def _slot(self, read: str, value: Any) -> None:
        """What `read` gives has to be this value again; and what lies behind it."""
        if isinstance(value, _SCALARS):
            if isinstance(value, float) and value != value:
                self.terms.append(f"({read}) != ({read})")
            elif value is None or value is True or value is False or value is Ellipsis:
                self.terms.append(f"({read}) is {value!r}")
            elif type(value) is str:
                self.terms.append(f"({read}) == {self._name(value)}")
            else:
                self.terms.append(f"same({read}, {self._name(value)})")
            return
        self.terms.append(f"({read}) is {self._name(value)}")
        self.follow(value)

    def follow(self, value: Any) -> None:
        """Guard the contents of an object that is reached."""
        if id(value) in self.seen or isinstance(value, _SCALARS):
            return
        if len(self.seen) > MOST:
            raise TraceError(
                f"compile: more than {MOST} objects are reached by names that the function uses; "
                "pass what it needs as arguments"
            )
        self.seen[id(value)] = value
        if isinstance(value, Array):
            self.tensors.append(value)
        elif _is_module(value):
            self._module(value)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, types.MethodType):
            self.follow(value.__func__)
            self.follow(value.__self__)
        elif isinstance(value, functools.partial):
            for item in (value.func, *value.args, *value.keywords.values()):
                self.follow(item)
        elif isinstance(value, (list, tuple)):
            self._sequence(value)
        elif isinstance(value, dict):
            self._dict(value)
        elif isinstance(value, (set, frozenset)):
            name = self._name(value)
            self.terms.append(f"{name} == {self._name(frozenset(value))}")
        elif isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, type):
            self._class(value)
        elif not isinstance(value, (types.ModuleType, types.BuiltinFunctionType)):
            self._object(value)

    def _sequence(self, value: Any) -> None:
        name = self._name(value)
        if isinstance(value, list):
            self.terms.append(f"len({name}) == {len(value)}")
        for i, item in enumerate(value):
            if isinstance(value, list):
                self._slot(f"{name}[{i}]", item)
            else:
                self.follow(item)

    def _dict(self, value: dict) -> None:
        name = self._name(value)
        self.terms.append(f"len({name}) == {len(value)}")
        self.terms.append(f"tuple({name}) == {self._name(tuple(value))}")
        for key, item in value.items():
            if not isinstance(key, (str, int)):
                self.follow(key)
            self._slot(f"{name}[{self._name(key)}]", item)

    def _array(self, value: np.ndarray) -> None:
        if value.nbytes > 1 << 16:
            raise TraceError(
                f"compile: a NumPy array of {value.nbytes} bytes is reached, which is too large to "
                "be compared at each call; make it a tensor with lucid.from_numpy once"
            )
        self.terms.append(f"{self._name(value)}.tobytes() == {self._name(value.tobytes())}")

    def _function(self, value: types.FunctionType) -> None:
        name = self._name(value)
        if is_ours(value.__code__.co_filename) and not _is_program(value.__code__.co_filename):
            return
        self.terms.append(f"{name}.__code__ is {self._name(value.__code__)}")
        for i, cell in enumerate(value.__closure__ or ()):
            try:
                held = cell.cell_contents
            except ValueError:
                continue
            self._slot(f"{name}.__closure__[{i}].cell_contents", held)
        if value.__defaults__:
            self.terms.append(f"{name}.__defaults__ is {self._name(value.__defaults__)}")
            self.follow(value.__defaults__)
        if value.__kwdefaults__:
            self.follow(value.__kwdefaults__)
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            self.follow(wrapped)

    def _class(self, value: type) -> None:
        for base in value.__mro__:
            module = sys.modules.get(base.__module__)
            if base is object or (module is not None and is_ours(getattr(module, "__file__", ""))):
                continue
            space = vars(base)
            for name in self.names & space.keys():
                if not name.startswith("__"):
                    read = f"{self._name(base)}.__dict__.get({name!r}, MISSING)"
                    self._slot(read, space[name])
        if not is_ours(getattr(sys.modules.get(value.__module__), "__file__", None) or ""):
            forward = getattr(value, "forward", None)
            if forward is not None:
                self._slot(f"{self._name(value)}.forward", forward)

    def _module(self, value: Any) -> None:
        """A module of nn: by the number of its latest change, and what it holds."""
        self.modules.append(value)
        self.follow(type(value))
        tables = value.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            for item in tables[table].values():
                if item is not None:
                    self.follow(item)
        for name, item in tables.items():
            if name in ("_parameters", "_buffers", "_modules", "_changed"):
                continue
            if isinstance(item, _SCALARS) or isinstance(item, type):
                continue  # a change of it is counted
            if "hooks" in name and isinstance(item, dict):
                if item or name in ("_forward_hooks", "_forward_pre_hooks"):
                    self.terms.append(
                        f"tuple({self._name(item)}.values()) == {self._name(tuple(item.values()))}"
                    )
                for hook in item.values():
                    self.follow(hook)
                continue
            if name in self.names or self.all_names:
                self.follow(item)

    def _object(self, value: Any) -> None:
        self.follow(type(value))
        space = getattr(value, "__dict__", None)
        if not isinstance(space, dict):
            for base in type(value).__mro__:
                for name in getattr(base, "__slots__", ()):
                    if name in self.names and hasattr(value, name):
                        self._slot(f"{self._name(value)}.{name}", getattr(value, name))
            return
        # An optimizer counts and changes rates as it goes: only what the user's code reads counts.
        ours = type(value).__module__.partition(".")[0] == "lucid"
        names = self.own_names if ours else self.names
        for name in sorted(space if self.all_names and not ours else names & space.keys()):
            read = f"{self._name(space)}.get({name!r}, MISSING)"
            self._slot(read, space[name])
        for name in sorted(names - space.keys()):
            # Set on the object, it would hide what the class has.
            if hasattr(type(value), name):
                self.terms.append(f"{name!r} not in {self._name(space)}")

    def check(self) -> "Check":
        """All checks together."""
        changed = [f"{self._name(m)}.__dict__['_changed'] == {m._changed}" for m in self.modules]
        space = {name: value for name, value in self.bound.values()}
        # What is guarded is held here, so that no other object takes its identity.
        space |= {"MISSING": _MISSING, "same": _same, "HELD": list(self.seen.values())}
        return Check(list(dict.fromkeys(self.terms)), changed, space)


class Check:
    """Conditions on Python objects as one function: `holds()`. While no module of nn has changed,
    modules are not looked at one by one."""

    def __init__(self, terms: list[str], modules: list[str], space: dict[str, Any]):
        self.terms = [*modules, *terms]
        self.space = space
        self.holds = _function("holds", terms, space)
        if modules:
            plain, each, last = self.holds, _function("modules", modules, space), [-1]
            latest = _module.latest_change

            def holds() -> bool:
                now = latest()
                if now != last[0]:
                    if not each():
                        return False
                    last[0] = now
                return plain()

            self.holds = holds

    def failed(self) -> str:
        """The first condition that does not hold, in words; "" where all do."""
        for term in self.terms:
            try:
                held = eval(term, self.space)
            except _FAILURES:
                held = False
            if not held:
                return self._in_words(term)
        return ""

    def _in_words(self, term: str) -> str:
        def said(match: Any) -> str:
            value = self.space[match[0]]
            if isinstance(value, dict) and "__name__" in value:
                return f"globals of {value['__name__']}"
            text = repr(value) if isinstance(value, _SCALARS) else type(value).__name__
            return text if len(text) < 60 else text[:57] + "..."

        return re.sub(r"\bo\d+\b", said, term)


_FAILURES = (KeyError, IndexError, AttributeError, TypeError, ValueError)


def _function(name: str, terms: list[str], space: dict[str, Any]) -> Callable[[], bool]:
    """A function that says whether all terms hold."""
    space["FAILURES"] = _FAILURES
    lines = [f"def {name}():", "    try:", "        return bool("]
    lines += [f"            ({term}) and" for term in terms]
    lines += ["            True)", "    except FAILURES:", "        return False"]
    made: dict[str, Any] = {}
    exec(compile("\n".join(lines), "<lucid guard>", "exec"), space, made)
    return made[name]


def _is_module(value: Any) -> bool:
    loaded = sys.modules.get("lucid.nn.module")
    return loaded is not None and isinstance(value, loaded.Module)


def _same(a: Any, b: Any) -> bool:
    """Equal and of one type: 1 is neither 1.0 nor True here."""
    return type(a) is type(b) and a == b
