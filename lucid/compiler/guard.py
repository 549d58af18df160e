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

from lucid.apply import current_node
from lucid.array import Array
from lucid.error import TraceError
from lucid.lazy import lazy
from lucid.lines import format_line, is_ours, user_line
from lucid.tracing import latest_change

_dis = lazy("dis")
_witness = lazy("lucid.backend.cpu.witness")

MOST = 200_000  # objects followed
_MISSING = object()
_SCALARS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_CLOCKS = {
    "time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns",
    "process_time", "now", "utcnow", "today", "urandom", "getrandbits",
}  # fmt: skip
_STANDARD = sys.base_prefix + "/lib"
_LIBRARIES = (sys.base_prefix + "/lib", sys.prefix + "/lib")
_OWNERS = {"time", "datetime", "date", "posix", "nt"}
_SOURCES = ("Random", "SystemRandom", "RandomState", "Generator")


class Watch:
    """Which of the user's code objects run, and in which globals."""

    def __init__(self) -> None:
        self.codes: dict[CodeType, dict[str, Any]] = {}
        self._met: list[CodeType] = []
        self._before: Any = None

    def __enter__(self) -> "Watch":
        self._before = sys.getprofile()
        _witness.watch(self._event)
        return self

    def __exit__(self, *details: object) -> None:
        if self._before is None or callable(self._before):
            sys.setprofile(self._before)
        else:  # a profiler of C, such as cProfile
            sys.setprofile(None)
            self._before.enable()

    def _event(self, frame: FrameType, event: str, argument: Any) -> bool:
        """A code object's first call, or a call of C: whether calls of C are to be told."""
        code = frame.f_code
        ours = _is_program(code.co_filename)
        if event == "c_call":
            if ours:
                _refuse_chance(argument, frame)
            return ours
        self._met.append(code)  # what is told by its address has to stay
        if code not in self.codes and _is_users(code.co_filename):
            self.codes[code] = frame.f_globals
        return ours


def _is_users(filename: str) -> bool:
    """Not of Python's own library."""
    if not _is_program(filename) or filename.startswith("<frozen"):
        return False
    return not filename.startswith(_STANDARD) or "site-packages" in filename


def _is_program(filename: str) -> bool:
    return not is_ours(filename) or f"{_SEP}nn{_SEP}" in filename


_SEP = "/" if sys.platform != "win32" else "\\"


def _refuse_chance(function: Any, frame: FrameType | None) -> None:
    """A clock or a source of chance of Python's: the plan would repeat its answer for ever."""
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    clock = name in _CLOCKS and getattr(owner, "__name__", "") in _OWNERS
    if clock or type(owner).__name__ in _SOURCES and not isinstance(owner, types.ModuleType):
        while frame is not None and frame.f_code.co_filename.startswith((*_LIBRARIES, "<frozen")):
            frame = frame.f_back
        at = format_line(frame.f_code.co_filename, frame.f_lineno or 0) if frame else user_line()
        raise TraceError(
            f"compile: {name}() is asked at {at}, whose answer is another one each time: "
            "pass it as a tensor, or use lucid.rand, which a compiled function draws anew"
        )


def _refuse_numpys_chance(code: CodeType) -> None:
    """np.random.rand and the like: no calls that a profiler sees."""
    for i in _dis.get_instructions(code):
        found = getattr(np.random, i.argval, None) if isinstance(i.argval, str) else None
        if type(getattr(found, "__self__", None)).__name__ in _SOURCES:
            line = i.positions.lineno if i.positions and i.positions.lineno else i.starts_line
            at = format_line(code.co_filename, line or code.co_firstlineno)
            raise TraceError(
                f"compile: numpy.random.{i.argval} is used at {at}, whose answer is another one "
                "each time: use lucid.rand, which a compiled function draws anew"
            )


class Walk:
    """Everything that is reached by names of the code that ran, and the checks of it."""

    def __init__(self, watch: Watch, free: frozenset[tuple[int, Any]] = frozenset()):
        """`free`: (id of a dict, key) of slots that the program itself stores tensors to."""
        self.free = free
        self.names = {name for code in watch.codes for name in code.co_names}
        # Those of the user's own code: what Lucid's classes are asked for beside their methods.
        own = [code for code in watch.codes if not is_ours(code.co_filename)]
        self.own_names = {name for code in own for name in code.co_names}
        self.all_names = bool(self.own_names & {"getattr", "vars", "__dict__", "hasattr"})
        self.tensors: list[Any] = []
        self.seen: dict[int, Any] = {}
        self.terms: list[str] = []  # Python expressions that must hold
        self.exact: list[str] = []  # those that need a look after a change of modules only
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
                    self._functions_of(value, code)
                    if value is np and "random" in code.co_names:
                        _refuse_numpys_chance(code)

    def _functions_of(self, module: types.ModuleType, code: CodeType) -> None:
        """Functions of Lucid's that are reached through their module, as F.relu."""
        if is_ours(getattr(module, "__file__", None) or ""):
            space = vars(module)
            for name in sorted(space.keys() & set(code.co_names)):
                if isinstance(space[name], types.FunctionType):
                    read = f"{self._name(space)}.get({name!r})"
                    self.terms.append(f"{read} is {self._name(space[name])}")

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

    def _slot(self, read: str, value: Any, terms: list[str] | None = None) -> None:
        """What `read` gives has to be this value again; and what lies behind it."""
        if terms is not None:
            there, self.terms = self.terms, terms
            try:
                self._slot(read, value)
            finally:
                self.terms = there
            return
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
            if (id(value), key) not in self.free:
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
        if is_ours(value.__code__.co_filename):
            return
        self.terms.append(f"{name}.__code__ is {self._name(value.__code__)}")
        for i, cell in enumerate(value.__closure__ or ()):
            try:
                held = cell.cell_contents
            except ValueError:
                continue
            self._slot(f"{name}.__closure__[{i}].cell_contents", held)
        self.terms.append(f"{name}.__defaults__ is {self._name(value.__defaults__)}")
        self.follow(value.__defaults__)
        self.terms.append(f"{name}.__kwdefaults__ is {self._name(value.__kwdefaults__)}")
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
        forward = getattr(value, "forward", None)
        if isinstance(forward, types.FunctionType):
            self.terms.append(f"{self._name(value)}.forward is {self._name(forward)}")
            self.follow(forward)

    def _module(self, value: Any) -> None:
        """A module of nn: what it holds is looked at again after a change of any module."""
        self.follow(type(value))
        tables = value.__dict__
        own = self._name(tables)
        for name in ("_parameters", "_buffers", "_modules"):
            table = tables[name]
            place = self._name(table)
            self.exact.append(f"{own}.get({name!r}) is {place}")
            self.exact.append(f"tuple({place}) == {self._name(tuple(table))}")
            for key, item in table.items():
                if (id(table), key) not in self.free:
                    self.exact.append(f"{place}.get({key!r}, MISSING) is {self._name(item)}")
                if item is not None:
                    self.follow(item)
        for name, item in tables.items():
            if name in _TABLES or (id(tables), name) in self.free:
                continue
            if isinstance(item, _SCALARS) or isinstance(item, type):
                self._slot(f"{own}.get({name!r}, MISSING)", item, self.exact)
            elif "hooks" in name and isinstance(item, dict):
                if item or name in ("_forward_hooks", "_forward_pre_hooks"):
                    table = self._name(item)
                    self.exact.append(f"tuple({table}.values()) == "
                                      f"{self._name(tuple(item.values()))}")  # fmt: skip
                for hook in item.values():
                    self.follow(hook)
            else:
                self.exact.append(f"{own}.get({name!r}, MISSING) is {self._name(item)}")
                if name in self.names or self.all_names:
                    self.follow(item)
        for name in sorted(self.names - tables.keys()):
            # Set on the module, it would hide what the class has.
            if name[:2] != "__" and hasattr(type(value), name):
                self.exact.append(f"{name!r} not in {own}")

    def _object(self, value: Any) -> None:
        if type(value).__name__ in _SOURCES:
            raise TraceError(
                f"compile: a {type(value).__name__} is used, whose numbers are others each time: "
                "pass them as a tensor, or use lucid.rand, which a compiled function draws anew"
            )
        self.follow(type(value))
        space = getattr(value, "__dict__", None)
        if type(value).__name__.startswith("Compiled") and isinstance(space, dict):
            self.follow(space["function"])
            return
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
            if (id(space), name) not in self.free:
                self._slot(f"{self._name(space)}.get({name!r}, MISSING)", space[name])
        for name in sorted(names - space.keys()):
            # Set on the object, it would hide what the class has.
            if name[:2] != "__" and hasattr(type(value), name):
                self.terms.append(f"{name!r} not in {self._name(space)}")

    def check(self) -> "Check":
        """All checks together."""
        self._tensors()
        space = {name: value for name, value in self.bound.values()}
        # What is guarded is held here, so that no other object takes its identity.
        space |= {"MISSING": _MISSING, "same": _same, "HELD": list(self.seen.values())}
        space["node_of"] = current_node
        return Check(list(dict.fromkeys(self.terms)), list(dict.fromkeys(self.exact)), space)

    def _tensors(self) -> None:
        """Tensors that are met by way of Python: what of them can be changed is counted, except
        that one without a history can be given one by a write."""
        for x in self.tensors:
            name = self._name(x)
            self.exact.append(f"{name}._layout is {self._name(x._layout)}")
            self.exact.append(f"{name}._storage is {self._name(x._storage)}")
            if x.requires_grad and type(x).__name__ != "Parameter":
                leaf = "is" if current_node(x) is None else "is not"
                self.terms.append(f"{name}.requires_grad and node_of({name}) {leaf} None")
            else:
                self.exact.append(f"{name}._requires_grad is {x._requires_grad!r}")


class Check:
    """Conditions on Python objects as one function: `holds()`. While nothing has changed that is
    counted (tracing.py), modules and parameters are not looked at."""

    def __init__(self, terms: list[str], exact: list[str], space: dict[str, Any]):
        self.terms = [*terms, *exact]
        self.space = space
        self.plain = _function("holds", terms, space)
        self.exact = exact
        self.counted = -1  # the latest change after which all was still the same
        self._each: Callable[[], bool] | None = None

    def holds(self) -> bool:
        """Whether everything is as it was in the trace."""
        return self.unchanged() and self.plain()

    def unchanged(self) -> bool:
        """The part that is counted."""
        now = latest_change()
        if now != self.counted:
            if self._each is None:
                self._each = _function("modules", self.exact, self.space)
            if not self._each():
                return False
            self.counted = now
        return True

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


_TABLES = {
    "_parameters", "_buffers", "_modules", "_changed", "_hooked", "_non_persistent_buffers_set",
}  # fmt: skip
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
    return loaded is not None and issubclass(type(value), loaded.Module)


def _same(a: Any, b: Any) -> bool:
    """Equal and of one type: 1 is neither 1.0 nor True here, and -0.0 is not 0.0."""
    return type(a) is type(b) and a == b and (a != 0 or str(a) == str(b))
