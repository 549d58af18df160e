"""Calls of machine code from Python: `Segment`, a list of kernels behind one builtin function.

plan/run.py makes segments and calls their `run`. The builtin is written in LLVM IR and handed to
CPython as an ordinary METH_FASTCALL function, a fifth of the cost of a call through ctypes.
"""

import ctypes
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lucid.backend.cpu import compiler, cpython, jit
from lucid.config import settings

MOST = 8192  # arguments of a segment, and words of a call: they lie on the stack
_POLL = 20_000_000  # nanoseconds of a segment without the GIL before Ctrl-C is looked for

Outcome = tuple[int, int, int] | None


@dataclass(frozen=True)
class Call:
    """One kernel of a segment.

    `words` is the template of its words; words[0] is set to the error slot at run time. A patch
    (word, argument, offset) makes that word the argument plus the offset: an address plus bytes,
    an int64, or (offset 0) the bits of a float64.
    """

    address: int
    words: Sequence[int]
    patches: Sequence[tuple[int, int, int]] = field(default_factory=tuple)


class Segment:
    """Kernels called in order by `segment.run(a0, a1, ...)`.

    Arguments are addresses, integers or floats. The result is None, or (code, value, number of
    the call) of the first error: the calls after it have not run. With `releases_gil`, other
    Python threads run meanwhile, and Ctrl-C is seen between kernels. A segment is immutable and
    re-entrant. `address` is what the generic builtin `run(address, a0, ...)` takes.
    """

    __slots__ = ("calls", "releases_gil", "arguments", "address", "run", "_memory")

    run: Callable[..., Outcome]

    def __init__(self, calls: Sequence[Call], releases_gil: bool = False):
        self.calls = tuple(calls)
        self.releases_gil = releases_gil
        used = [argument for call in calls for _, argument, _ in call.patches]
        self.arguments = max(used, default=-1) + 1
        longest = max((len(call.words) for call in calls), default=0)
        if self.arguments > MOST or longest > MOST:
            raise ValueError(
                f"segment: {self.arguments} arguments and {longest} words in a call; "
                f"at most {MOST} of each are possible: split the segment"
            )
        data = [len(calls), self.arguments, int(releases_gil), longest]
        for call in calls:
            if not call.words or any(not 0 < w < len(call.words) for w, _, _ in call.patches):
                raise ValueError(f"segment: a patch outside of words 1..{len(call.words) - 1}")
            data += [call.address, len(call.words), len(call.patches), *call.words]
            for patch in call.patches:
                data += patch
        self._memory = struct.pack(f"<{len(data)}q", *data)
        self.address = ctypes.cast(ctypes.c_char_p(self._memory), ctypes.c_void_p).value
        self.run = _builtin("bound", self._memory)
        if settings.debug >= 1:
            self.run = _Traced(self)

    def __repr__(self) -> str:
        names = ", ".join(jit.name(call.address) for call in self.calls)
        return f"Segment([{names}], arguments={self.arguments})"


def run() -> Callable[..., Outcome]:
    """The generic builtin: `run(segment.address, a0, a1, ...)`, see `Segment`."""
    return _builtin("run", None)


class _Traced:
    """Runs a segment and prints its kernels: LUCID_DEBUG=1."""

    def __init__(self, segment: Segment):
        self.segment = segment
        self.inner = segment.run

    def __call__(self, *arguments: float) -> Outcome:
        start = time.perf_counter()
        outcome = self.inner(*arguments)
        spent = (time.perf_counter() - start) * 1e6
        for call in self.segment.calls:
            print(f"lucid: {jit.name(call.address)}", file=sys.stderr)
        print(f"lucid: {len(self.segment.calls)} kernels, {spent:.1f} us", file=sys.stderr)
        return outcome


_codes: dict[str, cpython.Code] = {}


def _builtin(name: str, owner: object) -> Callable[..., Outcome]:
    code = _codes.get(name)
    if code is None:
        with compiler.lock:
            text = _text()
            found = compiler.cached(text, ("lucid_run", "lucid_bound"), lambda: text)
            for short in ("run", "bound"):
                address = found[f"lucid_{short}"]
                doc = "run(...): see Segment"
                _codes[short] = cpython.Code("run", address, cpython.FAST_CALL, doc)
        code = _codes[name]
    return code.builtin(owner)


def _text() -> str:
    """The builtins. Where CPython keeps an object's type and a float's value is asked of CPython:
    the type is the last word of an object's head, the value the last of a float."""
    text = TEXT.replace("TYPE", str(object.__basicsize__ - 8))
    text = text.replace("VALUE", str(float.__basicsize__ - 8))
    clock = 1 if sys.platform == "linux" else 6  # CLOCK_MONOTONIC
    return text.replace("CLOCK", str(clock)).replace("POLL", str(_POLL))


TEXT = r"""
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare i32 @PyType_IsSubtype(ptr, ptr)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_CheckSignals()
declare void @PyErr_SetString(ptr, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyBytes_AsString(ptr)
declare ptr @Py_BuildValue(ptr, ...)
declare void @Py_IncRef(ptr)
declare i32 @clock_gettime(i32, ptr)
@_Py_NoneStruct = external global i8
@PyFloat_Type = external global i8
@PyLong_Type = external global i8
@PyExc_TypeError = external global ptr
@format = internal constant [6 x i8] c"(LLn)\00"
@miscount = internal constant [50 x i8] c"a segment was given the wrong number of arguments\00"
@no_segment = internal constant [39 x i8] c"run: the address of a segment expected\00"

define ptr @lucid_run(ptr %self, ptr %args, i64 %count) {
entry:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %first, label %none
first:
  %object = load ptr, ptr %args
  %address = call i64 @PyLong_AsLongLong(ptr %object)
  %positive = icmp sgt i64 %address, 0
  br i1 %positive, label %go, label %bad
bad:
  %error = call ptr @PyErr_Occurred()
  %set = icmp ne ptr %error, null
  br i1 %set, label %fail, label %none
none:
  %class = load ptr, ptr @PyExc_TypeError
  call void @PyErr_SetString(ptr %class, ptr @no_segment)
  br label %fail
fail:
  ret ptr null
go:
  %segment = inttoptr i64 %address to ptr
  %rest = getelementptr ptr, ptr %args, i64 1
  %fewer = sub i64 %count, 1
  %result = tail call ptr @execute(ptr %segment, ptr %rest, i64 %fewer)
  ret ptr %result
}

define ptr @lucid_bound(ptr %self, ptr %args, i64 %count) {
entry:
  %segment = call ptr @PyBytes_AsString(ptr %self)
  %result = tail call ptr @execute(ptr %segment, ptr %args, i64 %count)
  ret ptr %result
}

define internal ptr @execute(ptr %segment, ptr %args, i64 %count) {
entry:
  %slot = alloca [4 x i64], align 64
  %time = alloca [2 x i64], align 16
  %calls = load i64, ptr %segment
  %s1 = getelementptr i64, ptr %segment, i64 1
  %expected = load i64, ptr %s1
  %s2 = getelementptr i64, ptr %segment, i64 2
  %releases = load i64, ptr %s2
  %s3 = getelementptr i64, ptr %segment, i64 3
  %longest = load i64, ptr %s3
  %s4 = getelementptr i64, ptr %segment, i64 4
  %fits = icmp eq i64 %count, %expected
  br i1 %fits, label %room, label %wrong
wrong:
  %class = load ptr, ptr @PyExc_TypeError
  call void @PyErr_SetString(ptr %class, ptr @miscount)
  ret ptr null

room:
  %values = alloca i64, i64 %count, align 16
  %words = alloca i64, i64 %longest, align 64
  store i64 0, ptr %slot
  br label %convert
convert:
  %i = phi i64 [ 0, %room ], [ %i1, %converted ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %ready
one:
  %at = getelementptr ptr, ptr %args, i64 %i
  %object = load ptr, ptr %at
  %type_at = getelementptr i8, ptr %object, i64 TYPE
  %type = load ptr, ptr %type_at
  %is_int = icmp eq ptr %type, @PyLong_Type
  br i1 %is_int, label %integer, label %other
other:
  %is_float = icmp eq ptr %type, @PyFloat_Type
  br i1 %is_float, label %float, label %foreign
float:
  %value_at = getelementptr i8, ptr %object, i64 VALUE
  %bits = load i64, ptr %value_at
  br label %converted
foreign:
  %below = call i32 @PyType_IsSubtype(ptr %type, ptr @PyFloat_Type)
  %is_below = icmp ne i32 %below, 0
  br i1 %is_below, label %subfloat, label %integer
subfloat:
  %double = call double @PyFloat_AsDouble(ptr %object)
  %its_bits = bitcast double %double to i64
  br label %converted
integer:
  %long = call i64 @PyLong_AsLongLong(ptr %object)
  %odd = icmp eq i64 %long, -1
  br i1 %odd, label %suspect, label %converted
suspect:
  %error = call ptr @PyErr_Occurred()
  %clear = icmp eq ptr %error, null
  br i1 %clear, label %converted, label %fail
converted:
  %value = phi i64 [ %bits, %float ], [ %its_bits, %subfloat ], [ %long, %integer ],
    [ -1, %suspect ]
  %value_to = getelementptr i64, ptr %values, i64 %i
  store i64 %value, ptr %value_to
  %i1 = add i64 %i, 1
  br label %convert

ready:
  %free = icmp ne i64 %releases, 0
  br i1 %free, label %release, label %calling
release:
  %saved = call ptr @PyEval_SaveThread()
  %t0 = call i64 @now(ptr %time)
  br label %calling

calling:
  %n = phi i64 [ 0, %ready ], [ 0, %release ], [ %n1, %next ]
  %record = phi ptr [ %s4, %ready ], [ %s4, %release ], [ %after, %next ]
  %thread = phi ptr [ null, %ready ], [ %saved, %release ], [ %thread1, %next ]
  %since = phi i64 [ 0, %ready ], [ %t0, %release ], [ %since1, %next ]
  %todo = icmp slt i64 %n, %calls
  br i1 %todo, label %call, label %done
call:
  %address = load ptr, ptr %record
  %r1 = getelementptr i64, ptr %record, i64 1
  %size = load i64, ptr %r1
  %r2 = getelementptr i64, ptr %record, i64 2
  %patches = load i64, ptr %r2
  %template = getelementptr i64, ptr %record, i64 3
  %first_patch = getelementptr i64, ptr %template, i64 %size
  br label %copy
copy:
  %k = phi i64 [ 0, %call ], [ %k1, %copy ]
  %from = getelementptr i64, ptr %template, i64 %k
  %word = load i64, ptr %from
  %to = getelementptr i64, ptr %words, i64 %k
  store i64 %word, ptr %to
  %k1 = add i64 %k, 1
  %longer = icmp slt i64 %k1, %size
  br i1 %longer, label %copy, label %copied
copied:
  store ptr %slot, ptr %words
  br label %patching
patching:
  %p = phi i64 [ 0, %copied ], [ %p1, %patch ]
  %patch_at = phi ptr [ %first_patch, %copied ], [ %patch_next, %patch ]
  %open = icmp slt i64 %p, %patches
  br i1 %open, label %patch, label %patched
patch:
  %which = load i64, ptr %patch_at
  %a1 = getelementptr i64, ptr %patch_at, i64 1
  %argument = load i64, ptr %a1
  %a2 = getelementptr i64, ptr %patch_at, i64 2
  %offset = load i64, ptr %a2
  %given_at = getelementptr i64, ptr %values, i64 %argument
  %given = load i64, ptr %given_at
  %sum = add i64 %given, %offset
  %target = getelementptr i64, ptr %words, i64 %which
  store i64 %sum, ptr %target
  %patch_next = getelementptr i64, ptr %patch_at, i64 3
  %p1 = add i64 %p, 1
  br label %patching
patched:
  call void %address(ptr %words)
  %code = load i64, ptr %slot
  %good = icmp eq i64 %code, 0
  br i1 %good, label %poll, label %broken
poll:
  %n1 = add i64 %n, 1
  %skip = mul i64 %patches, 24
  %after = getelementptr i8, ptr %first_patch, i64 %skip
  %parked = icmp ne ptr %thread, null
  br i1 %parked, label %look, label %next
look:
  %t = call i64 @now(ptr %time)
  %passed = sub i64 %t, %since
  %late = icmp sgt i64 %passed, POLL
  br i1 %late, label %signals, label %next
signals:
  call void @PyEval_RestoreThread(ptr %thread)
  %interrupted = call i32 @PyErr_CheckSignals()
  %calm = icmp eq i32 %interrupted, 0
  br i1 %calm, label %resume, label %fail
resume:
  %saved2 = call ptr @PyEval_SaveThread()
  br label %next
next:
  %thread1 = phi ptr [ %thread, %poll ], [ %thread, %look ], [ %saved2, %resume ]
  %since1 = phi i64 [ %since, %poll ], [ %since, %look ], [ %t, %resume ]
  br label %calling

broken:
  %v1 = getelementptr i64, ptr %slot, i64 1
  %culprit = load i64, ptr %v1
  %held = icmp eq ptr %thread, null
  br i1 %held, label %report, label %regain
regain:
  call void @PyEval_RestoreThread(ptr %thread)
  br label %report
report:
  %tuple = call ptr (ptr, ...) @Py_BuildValue(ptr @format, i64 %code, i64 %culprit, i64 %n)
  ret ptr %tuple

done:
  %kept = icmp eq ptr %thread, null
  br i1 %kept, label %finish, label %return
return:
  call void @PyEval_RestoreThread(ptr %thread)
  br label %finish
finish:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  ret ptr @_Py_NoneStruct
fail:
  ret ptr null
}

; Nanoseconds of a clock that only goes forward.
define internal i64 @now(ptr %time) {
  %r = call i32 @clock_gettime(i32 CLOCK, ptr %time)
  %seconds = load i64, ptr %time
  %n = getelementptr i64, ptr %time, i64 1
  %nanoseconds = load i64, ptr %n
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %nanoseconds
  ret i64 %sum
}
"""
