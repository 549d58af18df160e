"""LLVM IR text to machine code: the pass list, the loader and the symbols that code may use.

jit.py compiles kernels with it, threads.py and call.py the code around them. One lock guards
LLVM (llvmlite holds one of its own around every call), so threads may compile at any time.
"""

import ctypes
import re
import threading
from collections.abc import Callable, Iterable

from lucid.backend.cpu.target import Target, target
from lucid.config import settings
from lucid.kernel import cache
from lucid.lazy import lazy

llvm = lazy("llvmlite.binding")

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
    "PyLong_AsLongLong PyFloat_Type PyFloat_AsDouble PyType_IsSubtype "
    "PyErr_Occurred PyErr_Clear PyErr_CheckSignals PyErr_SetString PyExc_TypeError PyLong_Type "
    "PyEval_SaveThread PyEval_RestoreThread PyBytes_AsString Py_BuildValue Py_IncRef Py_DecRef "
    "PyObject_CallOneArg PyObject_Free PyType_GenericAlloc PyBuffer_FillInfo "
    "_Py_NoneStruct syscall sched_yield clock_gettime pthread_create pthread_join "
    "pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock pthread_cond_init "
    "pthread_cond_wait pthread_cond_broadcast pthread_attr_init pthread_attr_setstacksize "
    "pthread_sigmask sigfillset memcpy memset memmove"
).split()

lock = threading.RLock()
_machines: dict[Target, object] = {}
_loader: list = []  # the LLJIT, once made
_shared: dict[str, frozenset[str]] = {}
_loaded = 0


def pipeline() -> str:
    """What besides text and CPU decides about machine code; part of every key."""
    return f"{','.join(PASSES)};{LEVEL};pic;llvm {'.'.join(map(str, llvm.llvm_version_info))}"


def compile_text(text: str) -> bytes:
    """The object file of a module given as LLVM IR text, for the present target."""
    if settings.debug >= 4:
        print(text, flush=True)
    with lock:
        machine = _machine(target())
        head = f'target datalayout = "{machine.target_data}"\ntarget triple = "{machine.triple}"\n'
        try:
            module = llvm.parse_assembly(head + text)
            module.verify()
        except RuntimeError as error:
            raise RuntimeError(f"LLVM refuses the text of a kernel: {error}\n{text}") from None
        tuning = llvm.create_pipeline_tuning_options(speed_level=2)
        builder = llvm.create_pass_builder(machine, tuning)
        passes = llvm.create_new_module_pass_manager()
        for name in PASSES:
            getattr(passes, f"add_{name}_pass")()
        passes.run(module, builder)
        return machine.emit_object(module)


def load(image: bytes, exports: Iterable[str], host: str = "process") -> dict[str, int]:
    """Load an object for good and give the addresses of the symbols it exports.

    `host` names the library whose symbols it may use: see `share`.
    """
    global _loaded
    exports = list(exports)
    with lock:
        jit = _jit()
        _loaded += 1
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_jit_library("process")
        if host != "process":
            builder.add_jit_library(host)
        for name in exports:
            builder.export_symbol(name)
        tracker = builder.link(jit, f"code{_loaded}")
        tracker.detach()  # never unloaded: a thread may be inside while the interpreter exits
        return {name: tracker[name] for name in exports}


def share(library: str, symbols: dict[str, int]) -> None:
    """Name addresses, so that code loaded with `host=library` can call them by symbol."""
    with lock:
        builder = llvm.JITLibraryBuilder()
        for name, address in symbols.items():
            builder.import_symbol(name, address)
        builder.link(_jit(), library).detach()
        _shared[library] = frozenset(symbols)


def cached(
    key: str, exports: Iterable[str], build: Callable[[], str], host: str = "process"
) -> dict[str, int]:
    """Load the code that the disk has under `key`; otherwise build its text, compile and keep it.

    `key` says everything about the text but the versions, the CPU and the pipeline.
    """
    place = target()
    digest = cache.digest(key, place.cpu, place.features, pipeline())
    image = cache.get(digest)
    if image is not None:
        try:
            return load(image, exports, host)
        except RuntimeError:  # the checksum holds, so the writer was at fault: build it again
            cache.drop(digest)
    text = build()
    for name in _undefined(text):
        if name not in PROCESS_SYMBOLS and name not in _shared.get(host, ()):
            raise RuntimeError(f"emitted text uses {name}, which is on no list of symbols\n{text}")
    image = compile_text(text)
    cache.put(digest, image)
    return load(image, exports, host)


def _undefined(text: str) -> list[str]:
    """The functions and objects that text declares and does not define, intrinsics excepted."""
    names = re.findall(r"^(?:declare [^@\n]*@|@)([\w.$]+)(?:\(| = external)", text, re.M)
    return [name for name in names if not name.startswith("llvm.")]


def _machine(place: Target):
    machine = _machines.get(place)
    if machine is None:
        _initialize()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=place.cpu, features=place.features, opt=LEVEL, reloc="pic", codemodel="small"
        )
        _machines[place] = machine
    return machine


def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _jit():
    if not _loader:
        _initialize()
        jit = llvm.create_lljit_compiler()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(jit))  # never unloaded either
        process = ctypes.CDLL(None)
        builder = llvm.JITLibraryBuilder()
        for name in PROCESS_SYMBOLS:
            builder.import_symbol(name, ctypes.cast(getattr(process, name), ctypes.c_void_p).value)
        builder.link(jit, "process").detach()
        _loader.append(jit)
    return _loader[0]
