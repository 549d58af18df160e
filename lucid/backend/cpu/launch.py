"""A cache hit of the funnel in machine code: look-up, outputs, call, and what records the graph.

apply.py makes its `apply` with `funnel`, and calls entries that it holds with `launcher`. What is
not in the cache goes to the Python function `miss`, so this file knows no op and no rule. It reads
the slots of arrays where CPython put them, which `cpython.offsets` finds out.
"""

import struct
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from lucid.backend.cpu import block, call, compiler, cpython, memory
from lucid.backend.cpu.llvm import Function, Module, Value

SLOTS = ("_storage", "_layout", "_ptr", "_requires_grad")
ENTRIES, MISS, ARRAY, TENSOR, EMPTY, TRACER = range(6)  # items of the builtins' `self`
WRITERS = TRACER  # in the place of the tracer
# Items of an entry; MEMORY is a bytes object: these words, then the segment.
MEMORY, OUTPUTS, ARENA, RECORD, FAIL = range(5)
COUNT, VISIBLE, INPUTS, HAS_ARENA, OVERLAP, HEAD = range(6)
_HEAD = struct.Struct(f"<{HEAD}q")


def funnel(
    array: type, tensor: type, entries: dict[tuple, tuple], miss: Callable, tracer: ContextVar
) -> Any:
    """`apply(op, inputs, params=())` as a builtin.

    Looks up (op, params, ...) in `entries`, where an array stands for itself with its `_layout` and
    another input with its type, and launches the entry; without one it calls `miss(op, inputs,
    params)`, and also where no input is an array while `tracer` is set. `array` is the class whose
    SLOTS it reads, `tensor` the subclass that outputs have. `inputs` and `params` are tuples.
    """
    owner = (entries, miss, array, tensor, (), tracer)
    return _builtin("lucid_apply", "apply", array).builtin(owner)


def writer(
    array: type,
    tensor: type,
    entries: dict[tuple, tuple],
    miss: Callable,
    writers: dict[int, Any],
) -> Any:
    """`write(op, target, inputs, params, name)` as a builtin: the target is what it writes into,
    and returns.

    Looks up (op, the target's `_layout`, params, ...) in `entries`, runs the entry, which has one
    output, on the target's bytes, counts the target's version up, and puts the name, or the op
    where that is None, into `writers` under the address of the storage. `miss` is called with the
    same arguments without an entry; where `_requires_grad` of the target or an input is not False;
    and where an input shows the target's storage, unless the entry was made with `overlap` and the
    input is the same elements.
    """
    owner = (entries, miss, array, tensor, (), writers)
    return _builtin("lucid_write", "write", array).builtin(owner)


def launcher(array: type, tensor: type) -> Any:
    """`launch(entry, inputs)` as a builtin: new outputs, and the entry's kernels run on both.
    Nothing is recorded, unless it is called as `launch(entry, inputs, op, params)`."""
    return _builtin("lucid_launch", "launch", array).builtin(({}, None, array, tensor, ()))


def entry(
    segment: call.Segment,
    outputs: Sequence[tuple[object, int]],
    inputs: int,
    fail: Callable[[tuple[int, int, int]], Any],
    visible: int = -1,
    arena: int = 0,
    record: Callable[[Any, tuple, tuple, tuple], Any] | None = None,
    overlap: bool = False,
) -> tuple:
    """What `entries` holds.

    The segment's arguments are the outputs' addresses, the inputs' addresses or numbers, and the
    address of `arena` bytes if there are any. `outputs` gives the layout and the bytes of each; the
    first `visible` of them (-1: all) are returned, a single one by itself. `record(op, inputs,
    params, outputs)` is called unless `_requires_grad` of every input is False; `fail(outcome)`
    raises what a kernel reported. `overlap`: each element of the output may be written once the
    same element of the inputs has been read.
    """
    visible = len(outputs) if visible < 0 else visible
    total = len(outputs) + inputs
    if total > call.MOST:
        raise ValueError(f"an entry has at most {call.MOST} outputs and inputs, not {total}")
    if segment.arguments > total + (arena > 0):
        raise ValueError(f"the segment reads {segment.arguments} arguments, the entry has {total}")
    flat = tuple([item for lay, nbytes in outputs for item in (nbytes, lay)])
    words = _HEAD.pack(len(outputs), visible, inputs, arena > 0, overlap)
    return (words + segment.memory, flat, arena, record, fail)


def unhidden(made: tuple) -> tuple:
    """The same entry with all of its outputs returned, as a tuple."""
    words = list(_HEAD.unpack_from(made[MEMORY]))
    words[VISIBLE] = -1
    return (_HEAD.pack(*words) + made[MEMORY][8 * HEAD :], *made[1:])


_codes: dict[tuple, cpython.Code] = {}


def _builtin(symbol: str, name: str, array: type) -> cpython.Code:
    places = cpython.offsets(array, SLOTS)
    code = _codes.get((symbol, places))
    if code is None:
        with compiler.lock:
            if not memory.symbols:
                raise RuntimeError("the storage type is made before the funnel: see storage.py")
            extra = {**call.addresses(), block.ALLOCATE: memory.symbols[block.ALLOCATE]}
            text = _text(dict(zip(SLOTS, places, strict=True)))
            exports = ("lucid_apply", "lucid_launch", "lucid_write")
            found = compiler.cached(text, exports, lambda: text, extra)
            for export, short in zip(exports, ("apply", "launch", "write"), strict=True):
                made = cpython.Code(short, found[export], cpython.FAST_CALL)
                _codes[export, places] = made
        code = _codes[symbol, places]
    return code


# The text. `f` is the function under construction everywhere.


def _text(slots: dict[str, int]) -> str:
    module = Module()
    _launch_into(module, slots)
    _apply(module, slots)
    _launch(module)
    _write(module, slots)
    externals = ("_Py_NoneStruct", "_Py_FalseStruct")
    head = [f"@{name} = external global i8" for name in externals]
    head += ["@PyExc_TypeError = external global ptr", *_MESSAGES]
    text = "\n".join([*head, module.text()])
    # a variable number of arguments
    return text.replace(
        "call ptr @PyObject_CallFunctionObjArgs(",
        "call ptr (ptr, ...) @PyObject_CallFunctionObjArgs(",
    )


_BYTELESS = "an input has no bytes: it belongs to a trace, or its making has failed"
_MISCOUNT = "the entry was made for another number of inputs"
_MESSAGES = [
    f'@{name} = internal constant [{len(text) + 1} x i8] c"{text}\\00"'
    for name, text in (("byteless", _BYTELESS), ("miscount", _MISCOUNT))
]


def _symbol(f: Function, name: str) -> Value:
    return Value(f"@{name}", "ptr", f)


def _item(f: Function, holder: Value, number: "int | Value") -> Value:
    """A borrowed reference to an item of a tuple: the items follow its head."""
    return f.load("ptr", f.address(holder, tuple.__basicsize__), number)


def _field(f: Function, thing: Value, offset: int) -> Value:
    return f.load("ptr", f.address(thing, offset))


def _fill(f: Function, thing: Value, offset: int, value: Value) -> None:
    f.call("Py_IncRef", value)
    f.store(value, f.address(thing, offset))


def _refuse(f: Function, message: str) -> None:
    f.call("PyErr_SetString", f.load("ptr", _symbol(f, "PyExc_TypeError")), _symbol(f, message))


def _is_array(f: Function, owner: Value, tensor: Value, thing: Value) -> Value:
    kind = _field(f, thing, block.TYPE)
    answer = f.slot("i1", kind.eq(tensor))
    with f.when(answer.get().eq(0)):
        below = f.ask("PyType_IsSubtype", kind, _item(f, owner, ARRAY), result="i32")
        answer.set(below.ne(0))
    return answer.get()


def _apply(module: Module, slots: dict[str, int]) -> None:
    f = module.function("lucid_apply", [("ptr", "self"), ("ptr", "args"), ("i64", "count")], "ptr")
    self, args, count = f.arguments
    result = f.slot("ptr", 0)

    def go() -> None:
        op, inputs = f.load("ptr", args), f.load("ptr", args, 1)
        params = f.slot("ptr", _item(f, self, EMPTY))
        with f.when(count > 2):
            params.set(f.load("ptr", args, 2))
        n = f.ask("PyTuple_Size", inputs, result="i64")
        with f.when(n >= 0):
            look_up(op, inputs, params.get(), n)

    def look_up(op: Value, inputs: Value, params: Value, n: Value) -> None:
        key, some = _key(f, self, slots, (op, params), inputs, n)
        known = f.slot("i1", some)
        with f.when(some.eq(0)):
            # Numbers alone: in a trace they are not to be computed.
            tracer = f.slot("ptr", 0)
            null = f.constant(0, "ptr")
            f.ask("PyContextVar_Get", _item(f, self, TRACER), null, tracer.pointer, result="i32")
            known.set(tracer.get().eq(_symbol(f, "_Py_NoneStruct")))
            f.call("Py_DecRef", tracer.get())
        place = f.slot("ptr", 0)
        with f.when(known.get()):
            place.set(f.ask("PyDict_GetItemWithError", _item(f, self, ENTRIES), key))
        f.call("Py_DecRef", key)
        found = place.get()

        def hit() -> None:
            f.call("Py_IncRef", found)  # another thread may empty the cache
            null = f.constant(0, "ptr")
            result.set(f.ask("launch_into", self, found, op, inputs, params, null))
            f.call("Py_DecRef", found)

        def miss() -> None:
            with f.when(f.ask("PyErr_Occurred").eq(0)):
                function = _item(f, self, MISS)
                result.set(_call(f, function, op, inputs, params))

        f.either(found.ne(0), hit, miss)

    f.either(count >= 2, go, lambda: _refuse(f, "miscount"))
    f.finish(result.get())


def _key(
    f: Function,
    owner: Value,
    slots: dict[str, int],
    head: Sequence[Value],
    inputs: Value,
    n: Value,
) -> tuple[Value, Value]:
    """The tuple to look up, and whether there is an array among the inputs."""
    key = f.ask("PyTuple_New", n + len(head))
    for number, thing in enumerate(head):
        f.call("Py_IncRef", thing)
        f.ask("PyTuple_SetItem", key, f.i64(number), thing, result="i32")
    tensor = _item(f, owner, TENSOR)
    some = f.slot("i1", 0)
    with f.loop(0, n) as i:
        thing = _item(f, inputs, i)
        mark = f.slot("ptr", 0)
        with f.when(_is_array(f, owner, tensor, thing)):
            some.set(1)
            mark.set(_field(f, thing, slots["_layout"]))
        with f.when(mark.get().eq(0)):
            mark.set(_field(f, thing, block.TYPE))
        f.call("Py_IncRef", mark.get())
        f.ask("PyTuple_SetItem", key, i + len(head), mark.get(), result="i32")
    return key, some.get()


def _write(module: Module, slots: dict[str, int]) -> None:
    f = module.function("lucid_write", [("ptr", "self"), ("ptr", "args"), ("i64", "count")], "ptr")
    self, args, count = f.arguments
    result = f.slot("ptr", 0)

    def go() -> None:
        op, target, inputs, params, name = (f.load("ptr", args, i) for i in range(5))
        n = f.ask("PyTuple_Size", inputs, result="i64")
        found = f.slot("ptr", 0)
        usual = f.slot("i1", 0)
        no = _symbol(f, "_Py_FalseStruct")
        with f.when(n >= 0):
            with f.when(_is_array(f, self, _item(f, self, TENSOR), target)):
                usual.set(_field(f, target, slots["_requires_grad"]).eq(no))
        with f.when(usual.get()):
            lay = _field(f, target, slots["_layout"])
            key, _ = _key(f, self, slots, (op, lay, params), inputs, n)
            found.set(f.ask("PyDict_GetItemWithError", _item(f, self, ENTRIES), key))
            f.call("Py_DecRef", key)
            usual.set(found.get().ne(0))
        with f.when(usual.get()):
            memory = f.address(_item(f, found.get(), MEMORY), bytes.__basicsize__ - 1)
            overlap = f.load("i64", memory, OVERLAP).ne(0)
            with f.loop(0, n) as i:
                thing = _item(f, inputs, i)
                with f.when(_is_array(f, self, _item(f, self, TENSOR), thing)):
                    usual.set(usual.get() & _may_read(thing, target, overlap))

        def hit() -> None:
            entry = found.get()
            f.call("Py_IncRef", entry)
            null = f.constant(0, "ptr")
            result.set(f.ask("launch_into", self, entry, null, inputs, params, target))
            f.call("Py_DecRef", entry)
            with f.when(result.get().ne(0)):
                storage = _field(f, target, slots["_storage"])
                _count_up(f, storage)
                writers, at = _item(f, self, WRITERS), _field(f, storage, block.PTR)
                by = f.select(name.eq(_symbol(f, "_Py_NoneStruct")), op, name)
                f.ask("PyDict_SetItem", writers, at, by, result="i32")

        def miss() -> None:
            with f.when(f.ask("PyErr_Occurred").eq(0)):
                result.set(_call(f, _item(f, self, MISS), op, target, inputs, params, name))

        f.either(usual.get(), hit, miss)

    def _may_read(thing: Value, target: Value, overlap: Value) -> Value:
        no = _symbol(f, "_Py_FalseStruct")
        places = {name: (_field(f, thing, slots[name]), _field(f, target, slots[name]))
                  for name in ("_storage", "_layout")}  # fmt: skip
        apart = places["_storage"][0].ne(places["_storage"][1])
        # Of one storage, tensors of one layout and one first element are the same elements.
        mine, its = (_address(f, x, slots) for x in (thing, target))
        same = places["_layout"][0].eq(places["_layout"][1]) & mine.eq(its) & overlap
        return _field(f, thing, slots["_requires_grad"]).eq(no) & (apart | same)

    f.either(count.eq(5), go, lambda: _refuse(f, "miscount"))
    f.finish(result.get())


def _count_up(f: Function, storage: Value) -> None:
    """The version of a storage."""
    place = f.address(storage, block.VERSION)
    old = f.load("ptr", place)
    now = f.ask("PyLong_AsLongLong", old, result="i64") + 1
    f.store(f.ask("PyLong_FromLongLong", now), place)
    f.call("Py_DecRef", old)


def _address(f: Function, tensor: Value, slots: dict[str, int]) -> Value:
    """The address that a tensor's `_ptr` holds, 0 where it has none."""
    number = f.slot("i64", 0)
    pointer = _field(f, tensor, slots["_ptr"])
    with f.when(pointer.ne(0)):
        number.set(f.ask("PyLong_AsLong", pointer, result="i64"))
    return number.get()


def _call(f: Function, function: Value, *values: Value) -> Value:
    null = f.constant(0, "ptr")
    f.module.declarations["PyObject_CallFunctionObjArgs"] = (
        "declare ptr @PyObject_CallFunctionObjArgs(ptr, ...)"
    )
    return f.ask("PyObject_CallFunctionObjArgs", function, *values, null)


def _launch(module: Module) -> None:
    f = module.function("lucid_launch", [("ptr", "self"), ("ptr", "args"), ("i64", "count")], "ptr")
    self, args, count = f.arguments
    result = f.slot("ptr", 0)
    op, params = f.slot("ptr", 0), f.slot("ptr", 0)
    with f.when(count.eq(4)):
        op.set(f.load("ptr", args, 2))
        params.set(f.load("ptr", args, 3))

    def go() -> None:
        entry, inputs = f.load("ptr", args), f.load("ptr", args, 1)
        null = f.constant(0, "ptr")
        result.set(f.ask("launch_into", self, entry, op.get(), inputs, params.get(), null))

    f.either(count.eq(2) | count.eq(4), go, lambda: _refuse(f, "miscount"))
    f.finish(result.get())


def _launch_into(module: Module, slots: dict[str, int]) -> None:
    """The outputs; the segment run on them; the graph recorded. The outputs are new unless there is
    a target, the one output then. op is null where nothing is recorded, else there is no target.
    """
    f = module.function(
        "launch_into",
        [("ptr", name) for name in ("owner", "plan", "op", "inputs", "params", "target")],
        "ptr",
        internal=True,
    )
    owner, plan, op, inputs, params, target = f.arguments
    error = f.slot("[4 x i64]").pointer
    arena = f.slot("ptr", 0)
    alive = f.slot("i64", 0)  # how many of the tensors there are
    needed = f.slot("i1", 0)  # whether an input requires a gradient
    good = f.slot("i1", 1)
    result = f.slot("ptr", 0)

    memory = f.address(_item(f, plan, MEMORY), bytes.__basicsize__ - 1)
    m, visible, inputs_wanted, has_arena = (f.load("i64", memory, i) for i in range(OVERLAP))
    outputs = _item(f, plan, OUTPUTS)
    tensor_class = _item(f, owner, TENSOR)
    n = f.ask("PyTuple_Size", inputs, result="i64")
    null = f.constant(0, "ptr")
    values = f.emit(f"alloca i64, i64 {(m + inputs_wanted + 1).name}, align 16", "ptr")
    tensors = f.emit(f"alloca ptr, i64 {m.name}, align 16", "ptr")

    with f.when(n.ne(inputs_wanted)):
        good.set(0)
        with f.when(f.ask("PyErr_Occurred").eq(0)):
            _refuse(f, "miscount")

    def output(k: Value) -> None:
        storage = f.ask(block.ALLOCATE, null, _item(f, outputs, k * 2))
        good.set(storage.ne(0))
        with f.when(good.get()):
            tensor = f.ask("PyType_GenericAlloc", tensor_class, f.i64(0))
            good.set(tensor.ne(0))

            def fill() -> None:
                f.store(storage, f.address(tensor, slots["_storage"]))
                _fill(f, tensor, slots["_layout"], _item(f, outputs, k * 2 + 1))
                _fill(f, tensor, slots["_ptr"], _field(f, storage, block.PTR))
                _fill(f, tensor, slots["_requires_grad"], _symbol(f, "_Py_FalseStruct"))
                f.store(f.load("i64", f.address(storage, block.ADDRESS)), values, k)
                f.store(tensor, tensors, k)
                alive.set(k + 1)

            f.either(good.get(), fill, lambda: f.call("Py_DecRef", storage))

    def read(i: Value) -> None:
        thing = f.slot("ptr", _item(f, inputs, i))
        with f.when(_is_array(f, owner, tensor_class, thing.get())):
            wants = _field(f, thing.get(), slots["_requires_grad"])
            needed.set(needed.get() | wants.ne(_symbol(f, "_Py_FalseStruct")))
            thing.set(_field(f, thing.get(), slots["_ptr"]))

        def convert() -> None:
            to = f.address(values, m + i, "i64")
            good.set(f.ask("lucid_convert", thing.get(), to, result="i32").eq(0))

        def byteless() -> None:
            _refuse(f, "byteless")
            good.set(0)

        f.either(thing.get().ne(0), convert, byteless)

    def take_arena() -> None:
        with f.when(has_arena.ne(0)):
            arena.set(f.ask(block.ALLOCATE, null, _item(f, plan, ARENA)))
            good.set(arena.get().ne(0))
            with f.when(good.get()):
                f.store(f.load("i64", f.address(arena.get(), block.ADDRESS)), values, m + n)

    def perform() -> None:
        segment = f.address(memory, HEAD, "i64")
        end = f.ask("lucid_perform", segment, values, error, result="i64")
        good.set(end.eq(-1))
        with f.when(end.eq(-2) & target.ne(0)):  # interrupted: some of it may be written
            _count_up(f, _field(f, target, slots["_storage"]))
        with f.when(end >= 0):
            outcome = f.ask("lucid_report", error, end)
            with f.when(outcome.ne(0)):
                answer = f.ask("PyObject_CallOneArg", _item(f, plan, FAIL), outcome)
                f.call("Py_DecRef", outcome)
                f.call("Py_DecRef", answer)  # null: it has raised, as it should
        with f.when(has_arena.ne(0)):
            f.call("Py_DecRef", arena.get())

    def gather(count: Value) -> Value:
        """The first outputs as a tuple."""
        made = f.ask("PyTuple_New", count)
        good.set(made.ne(0))
        with f.loop(0, f.select(good.get(), count, 0)) as k:
            tensor = f.load("ptr", tensors, k)
            f.call("Py_IncRef", tensor)
            f.ask("PyTuple_SetItem", made, k, tensor, result="i32")
        return made

    def record() -> None:
        recorder = _item(f, plan, RECORD)
        known = recorder.ne(_symbol(f, "_Py_NoneStruct")) & op.ne(0) & needed.get()
        with f.when(known):
            made = gather(m)
            with f.when(good.get()):
                answer = _call(f, recorder, op, inputs, params, made)
                good.set(answer.ne(0))
                f.call("Py_DecRef", answer)
                f.call("Py_DecRef", made)

    def finish() -> None:
        def one() -> None:
            result.set(f.load("ptr", tensors))
            f.call("Py_IncRef", result.get())

        some = f.select(visible < 0, m, visible)
        f.either(visible.eq(1), one, lambda: result.set(gather(some)))

    with f.when(target.ne(0)):
        f.call("Py_IncRef", target)
        f.store(target, tensors)
        alive.set(1)
        f.store(_address(f, target, slots), values)
    for count, step in ((f.select(target.eq(0), m, 0), output), (n, read)):
        with f.loop(0, f.select(good.get(), count, 0)) as i:
            with f.when(good.get()):
                step(i)
    for part in (take_arena, perform, record, finish):
        with f.when(good.get()):
            part()
    with f.loop(0, alive.get()) as k:
        f.call("Py_DecRef", f.load("ptr", tensors, k))
    f.finish(result.get())
