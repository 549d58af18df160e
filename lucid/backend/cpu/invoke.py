"""LLVM IR of the calls from Python into kernels. call.py makes builtins of it, launch.py calls it.

A segment in memory, int64 words: kernels, arguments, whether the GIL is released, the most words
of a kernel; then for each kernel its address, the numbers of its words and patches, the words, and
the patches as (word, argument, offset).
"""

import ctypes

EXPORTS = ("lucid_run", "lucid_bound", "lucid_convert", "lucid_perform", "lucid_report")


def text() -> str:
    """The builtins. Where CPython keeps an object's type and a float's value is asked of CPython:
    the type is the last word of an object's head, the value the last of a float."""
    made = TEXT.replace("TYPE", str(object.__basicsize__ - 8))
    made = made.replace("VALUE", str(float.__basicsize__ - 8))
    if ctypes.sizeof(ctypes.c_long) == 8:  # CPython converts to long faster than to long long
        made = made.replace("PyLong_AsLongLong", "PyLong_AsLong")
    return made


TEXT = r"""
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare i32 @PyType_IsSubtype(ptr, ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_SetString(ptr, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyBytes_AsString(ptr)
declare ptr @Py_BuildValue(ptr, ...)
declare void @Py_IncRef(ptr)
declare void @lucid_watch(ptr, ptr)
declare void @lucid_poll(ptr)
@_Py_NoneStruct = external global i8
@PyFloat_Type = external global i8
@PyLong_Type = external global i8
@PyExc_TypeError = external global ptr
@format = internal constant [6 x i8] c"(LLn)\00"
@miscount = internal constant [50 x i8] c"a segment was given fewer arguments than it uses \00"
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
  %s1 = getelementptr i64, ptr %segment, i64 1
  %expected = load i64, ptr %s1
  %fits = icmp sge i64 %count, %expected
  br i1 %fits, label %room, label %wrong
wrong:
  %class = load ptr, ptr @PyExc_TypeError
  call void @PyErr_SetString(ptr %class, ptr @miscount)
  ret ptr null
room:
  %values = alloca i64, i64 %expected, align 16
  br label %convert
convert:
  %i = phi i64 [ 0, %room ], [ %i1, %one ]
  %more = icmp slt i64 %i, %expected
  br i1 %more, label %one, label %ready
one:
  %at = getelementptr ptr, ptr %args, i64 %i
  %object = load ptr, ptr %at
  %to = getelementptr i64, ptr %values, i64 %i
  %bad = call i32 @lucid_convert(ptr %object, ptr %to)
  %i1 = add i64 %i, 1
  %good = icmp eq i32 %bad, 0
  br i1 %good, label %convert, label %fail
ready:
  %end = call i64 @lucid_perform(ptr %segment, ptr %values, ptr %slot)
  %finished = icmp eq i64 %end, -1
  br i1 %finished, label %done, label %stopped
done:
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  ret ptr @_Py_NoneStruct
stopped:
  %raised = icmp eq i64 %end, -2
  br i1 %raised, label %fail, label %report
report:
  %tuple = call ptr @lucid_report(ptr %slot, i64 %end)
  ret ptr %tuple
fail:
  ret ptr null
}

; The error of kernel number %n as a tuple.
define ptr @lucid_report(ptr %slot, i64 %n) {
  %code = load i64, ptr %slot
  %value_at = getelementptr i64, ptr %slot, i64 1
  %value = load i64, ptr %value_at
  %tuple = call ptr (ptr, ...) @Py_BuildValue(ptr @format, i64 %code, i64 %value, i64 %n)
  ret ptr %tuple
}

; A Python number as a word; 0, or -1 with an exception set.
define i32 @lucid_convert(ptr %object, ptr %to) {
entry:
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
  store i64 %bits, ptr %to
  ret i32 0
foreign:
  %below = call i32 @PyType_IsSubtype(ptr %type, ptr @PyFloat_Type)
  %is_below = icmp ne i32 %below, 0
  br i1 %is_below, label %subfloat, label %integer
subfloat:
  %double = call double @PyFloat_AsDouble(ptr %object)
  store double %double, ptr %to
  ret i32 0
integer:
  %long = call i64 @PyLong_AsLongLong(ptr %object)
  store i64 %long, ptr %to
  %odd = icmp eq i64 %long, -1
  br i1 %odd, label %suspect, label %good
suspect:
  %error = call ptr @PyErr_Occurred()
  %clear = icmp eq ptr %error, null
  br i1 %clear, label %good, label %bad
good:
  ret i32 0
bad:
  ret i32 -1
}

; Run a segment on its arguments as words. -1: all of it has run. -2: a signal has set an exception.
; Otherwise the number of the kernel that set the error slot.
define i64 @lucid_perform(ptr %segment, ptr %values, ptr %slot) {
entry:
  %calls = load i64, ptr %segment
  %s2 = getelementptr i64, ptr %segment, i64 2
  %releases = load i64, ptr %s2
  %s3 = getelementptr i64, ptr %segment, i64 3
  %longest = load i64, ptr %s3
  %s4 = getelementptr i64, ptr %segment, i64 4
  %words = alloca i64, i64 %longest, align 64
  store i64 0, ptr %slot
  %handler_at = getelementptr i64, ptr %slot, i64 2
  store i64 0, ptr %handler_at
  %due_at = getelementptr i64, ptr %slot, i64 3
  store i64 0, ptr %due_at
  %free = icmp ne i64 %releases, 0
  br i1 %free, label %release, label %calling
release:
  %saved = call ptr @PyEval_SaveThread()
  call void @lucid_watch(ptr %slot, ptr %saved)
  br label %calling

calling:
  %n = phi i64 [ 0, %entry ], [ 0, %release ], [ %n1, %next ]
  %record = phi ptr [ %s4, %entry ], [ %s4, %release ], [ %after, %next ]
  %thread = phi ptr [ null, %entry ], [ %saved, %release ], [ %thread, %next ]
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
  %parked = icmp ne ptr %thread, null
  br i1 %parked, label %poll, label %check
poll:
  call void @lucid_poll(ptr %slot)
  %due = load i64, ptr %due_at
  %interrupted = icmp eq i64 %due, -1
  br i1 %interrupted, label %fail, label %check
check:
  %code = load i64, ptr %slot
  %good = icmp eq i64 %code, 0
  br i1 %good, label %next, label %broken
next:
  %n1 = add i64 %n, 1
  %skip = mul i64 %patches, 24
  %after = getelementptr i8, ptr %first_patch, i64 %skip
  br label %calling

broken:
  %held = icmp eq ptr %thread, null
  br i1 %held, label %report, label %regain
regain:
  call void @PyEval_RestoreThread(ptr %thread)
  br label %report
report:
  ret i64 %n
done:
  %kept = icmp eq ptr %thread, null
  br i1 %kept, label %finish, label %return
return:
  call void @PyEval_RestoreThread(ptr %thread)
  br label %finish
finish:
  ret i64 -1
fail:
  call void @PyEval_RestoreThread(ptr %thread)
  ret i64 -2
}
"""
