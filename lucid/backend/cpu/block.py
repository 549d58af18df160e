"""The Python type `Storage` in machine code: its fields, and the functions that make and free it.

memory.py loads it and fills its free lists; storage.py shows it. A dead storage keeps its block and
becomes the head of a linked list, one for each size class, so allocating pops a ready object. All
of it runs under the interpreter's lock and calls no Python code in between: atomic without a lock.
"""

from lucid.backend.cpu.llvm import Function, Module, Value

SMALLEST = 64
STEPS = 8  # size classes to each doubling
CLASSES = 320
LARGEST = SMALLEST * STEPS << (CLASSES // STEPS - 1)  # bytes that the last class serves

# Fields of a storage: byte offsets. The interpreter's two come first: reference count, type.
TYPE = 8
PTR = 16  # int object: the address
NBYTES = 24  # int object; null in a free storage, as is the next
VERSION = 32  # int object
ADDRESS = 40  # the address again, for machine code
LENGTH = 48  # bytes in use
CLASS = 56  # number of the size class; -1 where the memory is not ours to reuse
LINK = 64  # the object that owns foreign memory; in a free storage the next one of its list
READONLY = 72
SIZE = 80

# Words of the state.
LIVE, PEAK, ALLOCATIONS, REFILL, ZERO, MADE, HEADS = 0, 1, 2, 3, 4, 5, 8
COUNTS = HEADS + CLASSES
WORDS = COUNTS + CLASSES

STATE = "lucid_storage_state"
ALLOCATE = "lucid_storage_allocate"
TAKE = "lucid_storage_take"
MAKE = "lucid_storage_make"
FREE = "lucid_storage_free"
BUFFER = "lucid_storage_buffer"
EXPORTS = (STATE, ALLOCATE, TAKE, MAKE, FREE, BUFFER)


def size_class(nbytes: int) -> int:
    """The smallest class whose blocks hold `nbytes`."""
    units = max(nbytes - 1, 0) // SMALLEST
    shift = (units | STEPS).bit_length() - STEPS.bit_length()
    return STEPS * shift + (units >> shift)


def text() -> str:
    """The module as LLVM IR."""
    module = Module()
    _allocate(module)
    _take(module)
    _make(module)
    _free(module)
    _buffer(module)
    globals_ = [
        f"@{STATE} = global [{WORDS} x i64] zeroinitializer, align 64",
        "@PyLong_Type = external global i8",
        "@_Py_NoneStruct = external global i8",
    ]
    return "\n".join([*globals_, module.text()])


def _word(f: Function, number: "int | Value") -> Value:
    return f.address(Value(f"@{STATE}", "ptr", f), number, "i64")


def _field(f: Function, storage: Value, offset: int) -> Value:
    return f.address(storage, offset)


def _bump(f: Function, place: Value, by: "int | Value") -> Value:
    total = f.load("i64", place) + by
    f.store(total, place)
    return total


def _fill(f: Function, place: Value, thing: Value) -> None:
    f.call("Py_IncRef", thing)
    f.store(thing, place)


def _drop(f: Function, place: Value) -> None:
    thing = f.load("ptr", place)
    f.store(f.constant(0, "ptr"), place)
    f.call("Py_DecRef", thing)  # null is allowed


def _pop(f: Function, number: Value) -> Value:
    """The storage of a class that was freed last, or null."""
    head = _word(f, number + HEADS)
    storage = f.load("ptr", head)
    with f.when(storage.ne(0)):
        link = _field(f, storage, LINK)
        f.store(f.load("ptr", link), head)
        f.store(f.constant(0, "ptr"), link)
        f.store(f.i64(1), storage)
        _bump(f, _word(f, number + COUNTS), -1)
    return storage


def _allocate(module: Module) -> None:
    """allocate(nbytes). Whatever is not a size whose class has a free storage goes to the Python
    function `refill(nbytes)`, which returns the size to try again with, or raises."""
    f = module.function(ALLOCATE, [("ptr", "self"), ("ptr", "nbytes")], "ptr")
    self, nbytes = f.arguments
    made = f.slot("ptr", 0)
    exact = f.load("ptr", _field(f, nbytes, TYPE)).eq(Value("@PyLong_Type", "ptr", f))
    with f.when(exact):
        n = f.ask("PyLong_AsLongLong", nbytes, result="i64")
        fits = f.emit(f"icmp ule i64 {n.name}, {LARGEST}", "i1")  # not negative either
        with f.when(fits):
            made.set(_take_class(f, nbytes, n))
        with f.when(n.eq(-1)):
            f.call("PyErr_Clear")  # refill says it better
    with f.when(made.get().eq(0)):
        again = f.ask("PyObject_CallOneArg", f.load("ptr", _word(f, REFILL)), nbytes, result="ptr")
        with f.when(again.ne(0)):
            made.set(f.ask(ALLOCATE, self, again, result="ptr"))
            f.call("Py_DecRef", again)
    f.finish(made.get())


def _take_class(f: Function, nbytes: Value, n: Value) -> Value:
    units = f.select(n.eq(0), 0, n - 1) >> (SMALLEST.bit_length() - 1)
    yes = Value("true", "i1", f)
    zeros = f.intrinsic("llvm.ctlz.i64", "i64", units | STEPS, yes)
    shift = (64 - STEPS.bit_length()) - zeros
    storage = _pop(f, shift * STEPS + (units >> shift))
    with f.when(storage.ne(0)):
        _fill(f, _field(f, storage, NBYTES), nbytes)
        _fill(f, _field(f, storage, VERSION), f.load("ptr", _word(f, ZERO)))
        f.store(n, _field(f, storage, LENGTH))
        live = _bump(f, _word(f, LIVE), n)
        f.store(f.maximum(live, f.load("i64", _word(f, PEAK))), _word(f, PEAK))
        _bump(f, _word(f, ALLOCATIONS), 1)
    return storage


def _take(module: Module) -> None:
    """take(class): a storage out of the free list, uncounted; None from an empty list."""
    f = module.function(TAKE, [("ptr", "self"), ("ptr", "number")], "ptr")
    result = f.slot("ptr", _pop(f, f.ask("PyLong_AsLongLong", f.arguments[1], result="i64")))
    with f.when(result.get().eq(0)):
        _fill(f, result.pointer, Value("@_Py_NoneStruct", "ptr", f))
    f.finish(result.get())


def _make(module: Module) -> None:
    """make(address, nbytes, length, class, readonly, owner): a storage over given memory."""
    f = module.function(MAKE, [("ptr", "self"), ("ptr", "arguments"), ("i64", "count")], "ptr")
    address, nbytes, length, number, readonly, owner = (
        f.load("ptr", f.arguments[1], i) for i in range(6)
    )
    kind = f.load("ptr", _word(f, MADE))
    storage = f.ask("PyType_GenericAlloc", kind, f.i64(0), result="ptr")
    with f.when(storage.ne(0)):
        _fill(f, _field(f, storage, PTR), address)
        _fill(f, _field(f, storage, NBYTES), nbytes)
        _fill(f, _field(f, storage, VERSION), f.load("ptr", _word(f, ZERO)))
        for thing, place in (
            (address, ADDRESS),
            (length, LENGTH),
            (number, CLASS),
            (readonly, READONLY),
        ):
            value = f.ask("PyLong_AsLongLong", thing, result="i64")
            f.store(value, _field(f, storage, place))
        with f.when(owner.ne(Value("@_Py_NoneStruct", "ptr", f))):
            _fill(f, _field(f, storage, LINK), owner)
    f.finish(storage)


def _free(module: Module) -> None:
    """The type's dealloc. A storage with a block stays, with its reference to the type."""
    f = module.function(FREE, [("ptr", "storage")])
    (storage,) = f.arguments
    _drop(f, _field(f, storage, VERSION))
    _drop(f, _field(f, storage, NBYTES))
    number = f.load("i64", _field(f, storage, CLASS))

    def keep() -> None:
        length = _field(f, storage, LENGTH)
        _bump(f, _word(f, LIVE), 0 - f.load("i64", length))
        f.store(f.i64(0), length)
        head = _word(f, number + HEADS)
        f.store(f.load("ptr", head), _field(f, storage, LINK))
        f.store(storage, head)
        _bump(f, _word(f, number + COUNTS), 1)

    def release() -> None:
        _drop(f, _field(f, storage, LINK))
        _drop(f, _field(f, storage, PTR))
        kind = f.load("ptr", _field(f, storage, TYPE))
        f.call("PyObject_Free", storage)
        f.call("Py_DecRef", kind)

    f.either(number >= 0, keep, release)
    f.finish()


def _buffer(module: Module) -> None:
    """The type's getbuffer: NumPy and memoryview read and write the bytes in place."""
    f = module.function(BUFFER, [("ptr", "storage"), ("ptr", "view"), ("i32", "flags")], "i32")
    storage, view, flags = f.arguments
    status = f.ask(
        "PyBuffer_FillInfo",
        view,
        storage,
        f.load("ptr", _field(f, storage, ADDRESS)),
        f.load("i64", _field(f, storage, LENGTH)),
        f.load("i32", _field(f, storage, READONLY)),
        flags,
        result="i32",
    )
    f.finish(status)
