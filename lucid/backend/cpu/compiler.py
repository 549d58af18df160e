"""LLVM IR text to machine code: the pass list, the loader and the symbols that code may use.

jit.py compiles kernels with it, threads.py and call.py the code around them. One lock guards
LLVM (llvmlite holds one of its own around every call), so threads may compile at any time.
"""

import ctypes
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from lucid.backend.cpu import elf
from lucid.backend.cpu.target import Target, target
from lucid.config import settings
from lucid.kernel import cache
from lucid.lazy import lazy

llvm, finder = lazy("llvmlite.binding"), lazy("importlib.util")

# Explicit vector IR gains nothing from the standard pipelines, which take twice the time.
PASSES = (
    "sroa",
    "instruction_combine",
    "simplify_cfg",
    "loop_rotate",
    "simplify_cfg",
    "instruction_combine",
)
LEVEL = 2  # of the code generator
# The functions and objects of the process that emitted text may name; bound when code is loaded,
# so that no address is ever part of the text.
PROCESS_SYMBOLS = (
    "PyLong_AsLongLong PyLong_AsLong PyFloat_Type PyFloat_AsDouble PyType_IsSubtype "
    "PyErr_Occurred PyErr_Clear PyErr_CheckSignals PyErr_SetString PyExc_TypeError PyLong_Type "
    "PyEval_SaveThread PyEval_RestoreThread PyBytes_AsString Py_BuildValue Py_IncRef Py_DecRef "
    "PyLong_FromLongLong PyObject_CallOneArg PyObject_Free PyType_GenericAlloc "
    "PyBuffer_FillInfo PyTuple_New PyTuple_Size PyTuple_GetItem PyTuple_SetItem "
    "PyTuple_GetSlice PyDict_GetItemWithError PyContextVar_Get PyContextVar_Set "
    "PyDict_SetItem PyObject_Vectorcall PyErr_Fetch PyErr_Restore "
    "PyObject_GetAttr PyObject_SetAttr PyTuple_Type PySlice_Type _Py_EllipsisObject "
    "PyObject_CallFunctionObjArgs _Py_TrueStruct _Py_FalseStruct _Py_NoneStruct syscall "
    "PyExc_RuntimeError sched_yield clock_gettime pthread_self "
    "pthread_create pthread_join pthread_mutex_init "
    "pthread_mutex_lock pthread_mutex_unlock pthread_cond_init pthread_cond_wait "
    "pthread_cond_timedwait "
    "pthread_cond_broadcast pthread_attr_init pthread_attr_setstacksize pthread_sigmask "
    "sigfillset memcpy memset memmove PyFrame_GetCode"
).split()

NOTHING: Mapping[str, int] = MappingProxyType({})

lock = threading.RLock()
_machines: dict[Target, object] = {}
_process: list = []  # the process's symbols, and LLVM's loader where it is needed: made once
_jit: list = []
_stamp: list[str] = []
_loaded = 0


def pipeline() -> str:
    """What besides text and CPU decides about machine code; part of every key."""
    if not _stamp:
        _stamp.append(_llvm_version())
    return f"{','.join(PASSES)};{LEVEL};pic;{_stamp[0]}"


def compile_text(text: str) -> bytes:
    """The object file of a module given as LLVM IR text, for the present target."""
    if settings.debug >= 4:
        print(text, file=sys.stderr)
    with lock:
        machine = _machine(target())
        head = f'target datalayout = "{machine.target_data}"\ntarget triple = "{machine.triple}"\n'
        try:
            module = llvm.parse_assembly(head + text)
            module.verify()
        except RuntimeError as error:
            message = f"LLVM refuses emitted text (LUCID_DEBUG=4 prints it): {error}"
            raise RuntimeError(message) from None
        tuning = llvm.create_pipeline_tuning_options(speed_level=2)
        builder = llvm.create_pass_builder(machine, tuning)
        passes = llvm.create_new_module_pass_manager()
        for name in PASSES:
            getattr(passes, f"add_{name}_pass")()
        passes.run(module, builder)
        return machine.emit_object(module)


def load(
    image: bytes, exports: Iterable[str], extra: Mapping[str, int] = NOTHING
) -> dict[str, int]:
    """Load an object for good and give the addresses of the symbols it exports. It may use
    PROCESS_SYMBOLS and the `extra` ones."""

    def resolve(name: str) -> int | None:
        if name in extra:
            return extra[name]
        return _process_symbol(name) if name in PROCESS_SYMBOLS else None

    with lock:
        if elf.supported(image):
            return elf.link(image, exports, resolve)
        return _load_by_llvm(image, list(exports), extra)


def cached(
    key: str,
    exports: Iterable[str],
    build: Callable[[], str],
    extra: Mapping[str, int] = NOTHING,
) -> dict[str, int]:
    """Load the code that the disk has under `key`; otherwise build its text, compile and keep it.

    `key` says everything about the text but the versions, the target and the pipeline.
    """
    return kept(digest_of(key), exports, build, extra)


def kept(
    entry: str,
    exports: Iterable[str],
    build: Callable[[], str],
    extra: Mapping[str, int] = NOTHING,
) -> dict[str, int]:
    """`cached`, under the name of an entry."""
    # LUCID_DEBUG=4 prints the text of all code, also of what the disk has.
    found = loaded(entry, exports, extra) if settings.debug < 4 else None
    if found is not None:
        return found
    text = build()
    for name in _undefined(text):
        if name not in PROCESS_SYMBOLS and name not in extra:
            raise RuntimeError(f"emitted text uses {name}, which is on no list of symbols")
    image = compile_text(text)
    cache.put(entry, image)
    return load(image, exports, extra)


def loaded(
    entry: str, exports: Iterable[str], extra: Mapping[str, int] = NOTHING
) -> dict[str, int] | None:
    """The code of an entry on disk, None where there is none."""
    image = cache.get(entry)
    if image is None:
        return None
    try:
        return load(image, exports, extra)
    except RuntimeError:  # the checksum holds, so the writer was at fault: build it again
        cache.drop(entry)
        return None


def digest_of(key: str) -> str:
    """Under what the disk keeps code with this key, for the present target."""
    place = target()
    return cache.digest(key, place.cpu, ",".join(sorted(place.flags)), pipeline())


def _undefined(text: str) -> list[str]:
    """The functions and objects that text declares and does not define, intrinsics excepted."""
    names = re.findall(r"^(?:declare [^@\n]*@|@)([\w.$]+)(?:\(| = external)", text, re.M)
    return [name for name in names if not name.startswith("llvm.")]


def _machine(place: Target):
    machine = _machines.get(place)
    if machine is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=place.cpu, features=place.features, opt=LEVEL, reloc="pic", codemodel="small"
        )
        _machines[place] = machine
    return machine


def _process_symbol(name: str) -> int:
    if not _process:
        _process.append(ctypes.CDLL(None))
    address = ctypes.cast(getattr(_process[0], name), ctypes.c_void_p).value
    assert address is not None
    return address


def _load_by_llvm(image: bytes, exports: list[str], extra: Mapping[str, int]) -> dict[str, int]:
    """For systems that elf.py does not cover."""
    global _loaded
    if not _jit:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _jit.append(llvm.create_lljit_compiler())
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_jit[0]))  # see below
    _loaded += 1
    builder = llvm.JITLibraryBuilder().add_object_img(image)
    for name in PROCESS_SYMBOLS:
        builder.import_symbol(name, _process_symbol(name))
    for name, address in extra.items():
        builder.import_symbol(name, address)
    for name in exports:
        builder.export_symbol(name)
    tracker = builder.link(_jit[0], f"code{_loaded}")
    tracker.detach()  # never unloaded: a thread may be inside while the interpreter exits
    return {name: tracker[name] for name in exports}


def _llvm_version() -> str:
    """What tells one LLVM from another, without the cost of loading it."""
    found = finder.find_spec("llvmlite")
    if found is None or not found.submodule_search_locations:
        raise ImportError("llvmlite is not installed; it comes with `pip install lucid`")
    marks = []
    with os.scandir(os.path.join(found.submodule_search_locations[0], "binding")) as items:
        for item in items:
            if not item.name.endswith(".py") and item.is_file():
                status = item.stat()
                marks.append(f"{item.name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(sorted(marks))
