"""A profile function in machine code: Python hears of each code object once.

compiler/guard.py watches with it which functions run while a program is traced. As a Python
function, called at every call and return, it would take three times as long as what it watches.
"""

import ctypes
from collections.abc import Callable
from typing import Any

from lucid.backend.cpu import compiler

SLOTS = 1 << 13  # code objects that are told apart; those that find no place are heard of each time
PROBES = 32

_text = f"""
declare ptr @PyFrame_GetCode(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare ptr @PyBytes_AsString(ptr)
declare ptr @PyObject_CallFunctionObjArgs(ptr, ...)
@_Py_TrueStruct = external global i8
@_Py_NoneStruct = external global i8

; state: (callback, bytes of slots, "call", "c_call"); a slot: code, 1 where its calls of C are
; asked for, too. The callback says so: callback(frame, event, argument) -> bool.
define i32 @lucid_witness(ptr %state, ptr %frame, i32 %what, ptr %argument) {{
entry:
  switch i32 %what, label %done [ i32 0, label %look
                                  i32 4, label %look ]
look:
  %is_call = icmp eq i32 %what, 0
  %code = call ptr @PyFrame_GetCode(ptr %frame)
  call void @Py_DecRef(ptr %code)
  %object = call ptr @PyTuple_GetItem(ptr %state, i64 1)
  %table = call ptr @PyBytes_AsString(ptr %object)
  %bits = ptrtoint ptr %code to i64
  %product = mul i64 %bits, -7046029254386353131
  %start = lshr i64 %product, 40
  br label %probe
probe:
  %n = phi i64 [ 0, %look ], [ %n1, %next ]
  %sum = add i64 %start, %n
  %i = and i64 %sum, {SLOTS - 1}
  %slot = getelementptr [2 x i64], ptr %table, i64 %i
  %key = load i64, ptr %slot
  %same = icmp eq i64 %key, %bits
  br i1 %same, label %known, label %other
other:
  %free = icmp eq i64 %key, 0
  br i1 %free, label %tell, label %next
next:
  %n1 = add i64 %n, 1
  %more = icmp slt i64 %n1, {PROBES}
  br i1 %more, label %probe, label %tell
known:
  %flag_at = getelementptr i64, ptr %slot, i64 1
  %flag = load i64, ptr %flag_at
  %unasked = icmp eq i64 %flag, 0
  %skip = or i1 %is_call, %unasked
  br i1 %skip, label %done, label %tell
tell:
  %place = phi ptr [ %slot, %other ], [ null, %next ], [ null, %known ]
  %which = select i1 %is_call, i64 2, i64 3
  %callback = call ptr @PyTuple_GetItem(ptr %state, i64 0)
  %event = call ptr @PyTuple_GetItem(ptr %state, i64 %which)
  %given = select i1 %is_call, ptr @_Py_NoneStruct, ptr %argument
  %answer = call ptr (ptr, ...) @PyObject_CallFunctionObjArgs(ptr %callback, ptr %frame,
    ptr %event, ptr %given, ptr null)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %raised, label %answered
answered:
  call void @Py_DecRef(ptr %answer)
  %unplaced = icmp eq ptr %place, null
  %keep = xor i1 %unplaced, true
  %first = and i1 %keep, %is_call
  br i1 %first, label %note, label %done
note:
  %asked = icmp eq ptr %answer, @_Py_TrueStruct
  %mark = zext i1 %asked to i64
  store i64 %bits, ptr %place
  %mark_at = getelementptr i64, ptr %place, i64 1
  store i64 %mark, ptr %mark_at
  br label %done
raised:
  ret i32 -1
done:
  ret i32 0
}}
"""

_address: list[int] = []


def watch(callback: Callable[[Any, str, Any], bool]) -> None:
    """Call `callback(frame, "call", None)` when a code object runs for the first time on this
    thread, and where that returned True `callback(frame, "c_call", function)` at each of its calls
    of C functions, until `sys.setprofile`. The callback keeps the code objects alive."""
    if not _address:
        with compiler.lock:
            found = compiler.cached(_text, ["lucid_witness"], lambda: _text)
            _address[:] = [found["lucid_witness"]]
    state = (callback, bytes(16 * SLOTS), "call", "c_call")
    set_profile = ctypes.pythonapi.PyEval_SetProfile
    set_profile.restype, set_profile.argtypes = None, (ctypes.c_void_p, ctypes.py_object)
    set_profile(_address[0], state)
