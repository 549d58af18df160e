"""Views that were made before, in machine code: found by their arguments, and shown.

ops/once.py calls `viewer`. A view of a tensor without a history is made here; what is not known,
or has to be recorded, is left to Python, which says what these functions do (apply.show).
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from lucid.backend.cpu import block, compiler, cpython, memory
from lucid.backend.cpu.launch import SLOTS
from lucid.backend.cpu.llvm import Function, Module, Value

# Items of the builtins' `self`, and of what is known of a view.
KNOWN, SHOW, ARRAY, TENSOR, MODE, OFFSET, BASE, VIEW, REWRITES = range(9)
LAYOUT, BYTES, SIZE, STEP, PYTHON = range(5)
ATTRIBUTES = ("_offset", "_base", "_view", "_rewrites")
EXPORTS = ("lucid_look", "lucid_subscript", "lucid_alias")
# Fields of a slice.
START, STOP, STRIDE = 16, 24, 32


def viewer(
    array: type,
    tensor: type,
    known: dict[tuple, tuple],
    show: Callable[[Any, Any], Any],
    mode: ContextVar,
) -> tuple[Any, Any, Any]:
    """`look(x, rule, arguments)`, `subscript(x, key)` and `alias(x, key)` as builtins.

    Each returns None where `known` has nothing under (rule, layout, arguments) or (layout, the
    parts of the key), with arguments that are ints or one tuple of ints, and keys of ints, slices,
    None and Ellipsis. It has (layout, bytes from the first element, bytes of an element, step, the
    same for Python). `mode` holds a tuple that begins with whether gradients are on. `show(x, the
    same for Python)` makes what is to be recorded. `alias` gives a tensor to write through, for
    an x whose `_requires_grad` is False, and None for others.
    """
    assert memory.symbols, "the storage type is made before: see storage.py"
    places = cpython.offsets(array, SLOTS)
    text = _text(dict(zip(SLOTS, places, strict=True)))
    with compiler.lock:
        code = compiler.cached(text, EXPORTS, lambda: text)
    owner = (known, show, array, tensor, mode, *ATTRIBUTES)
    look, subscript, alias = (
        cpython.Code(name[6:], code[name], cpython.FAST_CALL).builtin(owner) for name in EXPORTS
    )
    return look, subscript, alias


def _text(slots: dict[str, int]) -> str:
    module = Module()
    _show(module, slots)
    _part(module)
    _look(module, slots)
    _subscript(module, slots, "lucid_subscript", 0)
    _subscript(module, slots, "lucid_alias", 1)
    names = ("_Py_NoneStruct", "_Py_FalseStruct", "_Py_TrueStruct", "_Py_EllipsisObject",
             "PyLong_Type", "PyTuple_Type", "PySlice_Type")  # fmt: skip
    return "\n".join([*[f"@{name} = external global i8" for name in names], module.text()])


def _symbol(f: Function, name: str) -> Value:
    return Value(f"@{name}", "ptr", f)


def _item(f: Function, holder: Value, number: "int | Value") -> Value:
    return f.load("ptr", f.address(holder, tuple.__basicsize__), number)


def _field(f: Function, thing: Value, offset: int) -> Value:
    return f.load("ptr", f.address(thing, offset))


def _owned(f: Function, thing: Value) -> Value:
    f.call("Py_IncRef", thing)
    return thing


def _kind(f: Function, thing: Value) -> Value:
    return _field(f, thing, block.TYPE)


def _is_array(f: Function, owner: Value, thing: Value) -> Value:
    kind = _kind(f, thing)
    answer = f.slot("i1", kind.eq(_item(f, owner, TENSOR)))
    with f.when(answer.get().eq(0)):
        answer.set(f.ask("PyType_IsSubtype", kind, _item(f, owner, ARRAY), result="i32").ne(0))
    return answer.get()


def _none(f: Function) -> Value:
    return _owned(f, _symbol(f, "_Py_NoneStruct"))


def _set(f: Function, good: Any, tensor: Value, name: Value, thing: Value) -> None:
    failed = f.ask("PyObject_SetAttr", tensor, name, thing, result="i32").ne(0)
    good.set(f.select(failed, f.constant(0, "i1"), good.get()))


def _show(module: Module, slots: dict[str, int]) -> None:
    """The view; with `plain` one without `_base`, to be written through."""
    arguments = [("ptr", "owner"), ("ptr", "x"), ("ptr", "found"), ("i1", "plain")]
    f = module.function("show", arguments, "ptr", internal=True)
    owner, x, found, plain = f.arguments
    result, good, state = f.slot("ptr", 0), f.slot("i1", 1), f.slot("ptr", 0)
    simple = _field(f, x, slots["_requires_grad"]).eq(_symbol(f, "_Py_FalseStruct"))
    no = _symbol(f, "_Py_FalseStruct")
    null = f.constant(0, "ptr")
    y = f.slot("ptr", 0)

    def fill() -> None:
        storage, old = _field(f, x, slots["_storage"]), _field(f, x, slots["_ptr"])
        place = f.ask("PyLong_AsLong", old, result="i64")
        place = place + f.ask("PyLong_AsLong", _item(f, found, BYTES), result="i64")
        pointer = f.ask("PyLong_FromLongLong", place)
        made = y.get()
        f.store(_owned(f, storage), f.address(made, slots["_storage"]))
        f.store(_owned(f, _item(f, found, LAYOUT)), f.address(made, slots["_layout"]))
        f.store(pointer, f.address(made, slots["_ptr"]))
        kind = f.select(plain, no, _symbol(f, "_Py_NoneStruct"))
        f.store(_owned(f, kind), f.address(made, slots["_requires_grad"]))
        good.set(pointer.ne(0))
        first = f.load("i64", f.address(storage, block.ADDRESS))
        with f.when(good.get() & place.ne(first)):
            size = f.ask("PyLong_AsLong", _item(f, found, SIZE), result="i64")
            offset = f.ask("PyLong_FromLongLong", (place - first) / size)
            _set(f, good, made, _item(f, owner, OFFSET), offset)
            f.call("Py_DecRef", offset)

    def history() -> None:
        """Where the view came from: a write to it may concern its base."""
        _set(f, good, y.get(), _item(f, owner, BASE), x)
        _set(f, good, y.get(), _item(f, owner, VIEW), _item(f, found, STEP))

    def create() -> None:
        y.set(f.ask("PyType_GenericAlloc", _item(f, owner, TENSOR), f.i64(0)))
        with f.when(y.get().ne(0)):
            fill()
            with f.when(good.get() & (plain ^ 1)):
                on = _item(f, state.get(), 0).eq(_symbol(f, "_Py_TrueStruct"))
                with f.when(on):
                    history()

            def drop() -> None:
                f.call("Py_DecRef", y.get())

            f.either(good.get(), lambda: result.set(y.get()), drop)

    def recorded() -> None:
        both = f.slot("[2 x ptr]").pointer
        f.store(x, both)
        f.store(_item(f, found, PYTHON), both, 1)
        call = (_item(f, owner, SHOW), both, f.i64(2), null)
        result.set(f.ask("PyObject_Vectorcall", *call))

    # A base that was written in place has told its views of it.
    rewrites = f.slot("ptr", 0)
    with f.when(simple & (plain ^ 1)):
        rewrites.set(f.ask("PyObject_GetAttr", x, _item(f, owner, REWRITES)))
        good.set(rewrites.get().ne(0))
        f.call("Py_DecRef", rewrites.get())
        with f.when(good.get()):
            count = f.ask("PyLong_AsLong", rewrites.get(), result="i64")
            simple_now = count.eq(0)
            with f.when(simple_now):
                got = f.ask("PyContextVar_Get", _item(f, owner, MODE), null, state.pointer,
                           result="i32")  # fmt: skip
                good.set(got.eq(0))

    with f.when(good.get()):
        f.either(plain | state.get().ne(0), create, recorded)
    f.call("Py_DecRef", state.get())
    f.finish(result.get())


def _part(module: Module) -> None:
    """Whether a thing is an exact int, or None if that is allowed."""
    f = module.function("is_part", [("ptr", "thing"), ("i1", "or_none")], "i1", internal=True)
    thing, or_none = f.arguments
    none = thing.eq(_symbol(f, "_Py_NoneStruct")) & or_none
    f.finish(none | _kind(f, thing).eq(_symbol(f, "PyLong_Type")))


def _find(f: Function, owner: Value, key: Value) -> Value:
    found = f.ask("PyDict_GetItemWithError", _item(f, owner, KNOWN), key)
    f.call("Py_IncRef", found)  # another thread may empty the cache; null is allowed
    return found


def _finish_with(
    f: Function, owner: Value, x: Value, found: Value, plain: "int | Value", result: Any
) -> None:
    """Show what was found; None for null, unless there is an exception."""
    bit = f.constant(plain, "i1")

    def show() -> None:
        result.set(f.ask("show", owner, x, found, bit))
        f.call("Py_DecRef", found)

    def nothing() -> None:
        with f.when(f.ask("PyErr_Occurred").eq(0)):
            result.set(_none(f))

    f.either(found.ne(0), show, nothing)


def _look(module: Module, slots: dict[str, int]) -> None:
    f = module.function("lucid_look", [("ptr", "self"), ("ptr", "args"), ("i64", "count")], "ptr")
    owner, args, _ = f.arguments
    x, rule, given = (f.load("ptr", args, i) for i in range(3))
    result, good = f.slot("ptr", 0), f.slot("i1", _is_array(f, owner, x))
    parts = f.slot("ptr", given)
    n = f.ask("PyTuple_Size", given, result="i64")
    with f.when(n.eq(1)):
        first = _item(f, given, 0)
        kinds = (_kind(f, first), _symbol(f, "PyTuple_Type"))
        with f.when(f.ask("PyType_IsSubtype", *kinds, result="i32").ne(0)):  # a Size too
            parts.set(first)
    with f.loop(0, f.ask("PyTuple_Size", parts.get(), result="i64")) as i:
        no = f.constant(0, "i1")
        good.set(good.get() & f.ask("is_part", _item(f, parts.get(), i), no, result="i1"))

    def find() -> None:
        key = f.ask("PyTuple_New", f.i64(3))
        for number, thing in enumerate((rule, _field(f, x, slots["_layout"]), given)):
            f.store(_owned(f, thing), f.address(key, tuple.__basicsize__), number)
        found = _find(f, owner, key)
        f.call("Py_DecRef", key)
        _finish_with(f, owner, x, found, 0, result)

    f.either(good.get(), find, lambda: result.set(_none(f)))
    f.finish(result.get())


def _subscript(module: Module, slots: dict[str, int], name: str, plain: int) -> None:
    f = module.function(name, [("ptr", "self"), ("ptr", "args"), ("i64", "count")], "ptr")
    owner, args, _ = f.arguments
    x, key = f.load("ptr", args), f.load("ptr", args, 1)
    result, good = f.slot("ptr", 0), f.slot("i1", _is_array(f, owner, x))
    if plain:
        with f.when(good.get()):
            no = _symbol(f, "_Py_FalseStruct")
            good.set(_field(f, x, slots["_requires_grad"]).eq(no))
    # The key itself, or its items, one after another.
    items, n, size = f.slot("ptr", f.address(args, 8)), f.slot("i64", 1), f.slot("i64", 1)
    with f.when(_kind(f, key).eq(_symbol(f, "PyTuple_Type"))):
        items.set(f.address(key, tuple.__basicsize__))
        n.set(f.ask("PyTuple_Size", key, result="i64"))

    def check(thing: Value) -> None:
        yes = f.constant(1, "i1")
        good.set(good.get() & f.ask("is_part", thing, yes, result="i1"))

    def each(slice_: Callable[[Value], None], other: Callable[[Value], None]) -> None:
        with f.loop(0, n.get()) as i:
            thing = f.load("ptr", items.get(), i)
            is_slice = _kind(f, thing).eq(_symbol(f, "PySlice_Type"))
            f.either(is_slice, lambda: slice_(thing), lambda: other(thing))

    def bounds(thing: Value) -> None:
        size.set(size.get() + 4)
        for place in (START, STOP, STRIDE):
            check(_field(f, thing, place))

    def single(thing: Value) -> None:
        size.set(size.get() + 1)
        with f.when(thing.ne(_symbol(f, "_Py_EllipsisObject"))):
            check(thing)

    def find() -> None:
        mark = f.ask("PyTuple_New", size.get())
        to = f.slot("ptr", f.address(mark, tuple.__basicsize__))

        def put(thing: Value) -> None:
            f.store(_owned(f, thing), to.get())
            to.set(f.address(to.get(), 8))

        def put_slice(thing: Value) -> None:
            put(_kind(f, thing))
            for place in (START, STOP, STRIDE):
                put(_field(f, thing, place))

        put(_field(f, x, slots["_layout"]))
        each(put_slice, put)
        found = _find(f, owner, mark)
        f.call("Py_DecRef", mark)
        _finish_with(f, owner, x, found, plain, result)

    each(bounds, single)
    f.either(good.get(), find, lambda: result.set(_none(f)))
    f.finish(result.get())
