"""Entering and leaving a block that sets a context variable, in machine code.

autograd/mode.py has the same methods in Python, which say what these do, and puts these in their
place once machine code is loaded. The variable holds linked states: (value, state outside, opener).
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from lucid.backend.cpu import compiler, cpython
from lucid.backend.cpu.llvm import Function, Module, Value

_ENTER, _EXIT, _MAKE, _FINISH = EXPORTS = (
    "lucid_scope_enter", "lucid_scope_exit", "lucid_scope_make", "lucid_scope_finish",
)  # fmt: skip
VALUE, USED = SLOTS = ("_enabled", "_used")
_STATE = "lucid_scope_state"
VARIABLE, CLOSE, MAKE, UNUSED = range(4)  # words of the state: addresses of objects

_kept: list[Any] = []


def install(
    kind: type,
    variable: ContextVar,
    close: Callable[[Any], None],
    made: type,
    make: Callable[..., Any],
    unused: Callable[[Any], None],
) -> None:
    """Give the class `kind` its `__enter__` and `__exit__`, and `made`, which is below it and sets
    False, its `__new__` and `__del__`. Instances have the SLOTS.

    - `__enter__` sets `_used`, and the variable to (`_enabled`, what it was, the block).
    - `__exit__` sets the variable to what it was; `close(block)` if another block is the last.
    - `__new__` makes a block from no arguments, and calls `make(kind, ...)` for others.
    - `__del__` calls `unused(block)` where `_used` is not True.
    """
    places = cpython.offsets(kind, SLOTS)
    with compiler.lock:
        text = _text(dict(zip(SLOTS, places, strict=True)))
        code = compiler.cached(text, (*EXPORTS, _STATE), lambda: text)
    _kept.extend((variable, close, make, unused))
    cpython.write_objects(code[_STATE], _kept[-4:])
    for owner, name, export, flags in (
        (kind, "__enter__", _ENTER, cpython.NO_ARGUMENTS),
        (kind, "__exit__", _EXIT, cpython.FAST_CALL),
        (made, "__del__", _FINISH, cpython.NO_ARGUMENTS),
    ):
        setattr(owner, name, cpython.Code(name, code[export], flags).method(owner))
    fast = cpython.Code("__new__", code[_MAKE], cpython.FAST_CALL | cpython.KEYWORDS)
    made.__new__ = fast.builtin()  # type: ignore[method-assign]


def _text(slots: dict[str, int]) -> str:
    module = Module()
    _enter(module, slots)
    _exit(module)
    _make(module, slots)
    _finish(module, slots)
    head = [f"@{name} = external global i8" for name in
            ("_Py_NoneStruct", "_Py_TrueStruct", "_Py_FalseStruct")]  # fmt: skip
    return "\n".join([f"@{_STATE} = global [4 x i64] zeroinitializer", *head, module.text()])


def _symbol(f: Function, name: str) -> Value:
    return Value(f"@{name}", "ptr", f)


def _known(f: Function, number: int) -> Value:
    return f.load("ptr", _symbol(f, _STATE), number)


def _item(f: Function, state: Value, number: int) -> Value:
    return f.load("ptr", f.address(state, tuple.__basicsize__), number)


def _owned(f: Function, value: Value) -> Value:
    f.call("Py_IncRef", value)
    return value


def _read(f: Function) -> Value:
    """The state, a reference of ours; null and an exception only where memory is out."""
    place, null = f.slot("ptr", 0), f.constant(0, "ptr")
    f.ask("PyContextVar_Get", _known(f, VARIABLE), null, place.pointer, result="i32")
    return place.get()


def _set(f: Function, state: Value) -> Value:
    """None, or null and an exception."""
    token = f.ask("PyContextVar_Set", _known(f, VARIABLE), state)
    result = f.slot("ptr", 0)
    with f.when(token.ne(0)):
        f.call("Py_DecRef", token)
        result.set(_owned(f, _symbol(f, "_Py_NoneStruct")))
    return result.get()


def _undo(f: Function, state: Value) -> None:
    """Set the variable back, with the exception that is set kept."""
    error = [f.slot("ptr", 0).pointer for _ in range(3)]
    f.call("PyErr_Fetch", *error)
    f.call("Py_DecRef", _set(f, state))  # null is allowed
    f.call("PyErr_Restore", *[f.load("ptr", place) for place in error])


def _enter(module: Module, slots: dict[str, int]) -> None:
    f = module.function(_ENTER, [("ptr", "self"), ("ptr", "nothing")], "ptr")
    self, _ = f.arguments
    result = f.slot("ptr", 0)
    place = f.address(self, slots[USED])
    before = f.load("ptr", place)
    f.store(_owned(f, _symbol(f, "_Py_TrueStruct")), place)
    f.call("Py_DecRef", before)
    outside = _read(f)
    with f.when(outside.ne(0)):
        state = f.ask("PyTuple_New", f.i64(3))

        def fill() -> None:
            enabled = _owned(f, f.load("ptr", f.address(self, slots[VALUE])))
            for number, thing in enumerate((enabled, outside, _owned(f, self))):
                f.store(thing, f.address(state, tuple.__basicsize__), number)
            result.set(_set(f, state))
            f.call("Py_DecRef", state)
            # A `with` owes __exit__ from here on, but a caller such as ExitStack only when it has
            # noted that: Ctrl-C that has come so far is not left to it.
            with f.when(result.get().ne(0)):
                with f.when(f.ask("PyErr_CheckSignals", result="i32").ne(0)):
                    f.call("Py_DecRef", result.get())
                    result.set(0)
                    _undo(f, outside)

        f.either(state.ne(0), fill, lambda: f.call("Py_DecRef", outside))
    f.finish(result.get())


def _exit(module: Module) -> None:
    """What is raised in the block goes on: the arguments are not looked at."""
    arguments = [("ptr", "self"), ("ptr", "arguments"), ("i64", "count")]
    f = module.function(_EXIT, arguments, "ptr")
    self = f.arguments[0]
    result = f.slot("ptr", 0)
    state = _read(f)
    with f.when(state.ne(0)):
        f.either(
            _item(f, state, 2).eq(self),
            lambda: result.set(_set(f, _item(f, state, 1))),
            lambda: result.set(f.ask("PyObject_CallOneArg", _known(f, CLOSE), self)),
        )
        f.call("Py_DecRef", state)
    f.finish(result.get())


def _make(module: Module, slots: dict[str, int]) -> None:
    arguments = [("ptr", "self"), ("ptr", "arguments"), ("i64", "count"), ("ptr", "names")]
    f = module.function(_MAKE, arguments, "ptr")
    _, given, count, names = f.arguments
    result = f.slot("ptr", 0)

    def alone() -> None:
        made = f.ask("PyType_GenericAlloc", f.load("ptr", given), f.i64(0))
        with f.when(made.ne(0)):
            for name in SLOTS:
                no = _owned(f, _symbol(f, "_Py_FalseStruct"))
                f.store(no, f.address(made, slots[name]))
        result.set(made)

    f.either(
        count.eq(1) & names.eq(0),
        alone,
        lambda: result.set(f.ask("PyObject_Vectorcall", _known(f, MAKE), given, count, names)),
    )
    f.finish(result.get())


def _finish(module: Module, slots: dict[str, int]) -> None:
    f = module.function(_FINISH, [("ptr", "self"), ("ptr", "nothing")], "ptr")
    self, _ = f.arguments
    yes = f.load("ptr", f.address(self, slots[USED])).eq(_symbol(f, "_Py_TrueStruct"))
    result = f.slot("ptr", 0)
    f.either(
        yes,
        lambda: result.set(_owned(f, _symbol(f, "_Py_NoneStruct"))),
        lambda: result.set(f.ask("PyObject_CallOneArg", _known(f, UNUSED), self)),
    )
    f.finish(result.get())
