"""LLVM IR of looking for signals while kernels run: Ctrl-C is seen within 50 ms.

pool.py has this text in its module: `lucid_poll` is called after each task on the thread that
called the kernel, while that waits for workers, and by invoke.py between kernels. threads.py tells
it of forks. A task that may be long asks `lucid_over` on its way: `leave` writes that.

The words of an error slot: code, value, the caller's thread state (null while it holds the GIL,
and outside of the main thread, which alone handles signals), and the time of the next look, which
is -1 once an exception has been set: the tasks that are left are then not run.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from lucid.backend.cpu.llvm import Function, Value

EVERY = 40_000_000  # nanoseconds from look to look
EXPORTS = ("lucid_poll", "lucid_over", "lucid_watch", "lucid_signals")
STEP = 18  # log2 of the elements from question to question in a long task
MESSAGE = "a signal handler has forked in the middle of a kernel, which the child cannot finish"
MAIN, POLLING, ORPHANED = range(3)  # words of lucid_signals


def text() -> str:
    # Looking at the clock after each task: the one that is only as fine as the system's tick.
    clock = 6  # CLOCK_MONOTONIC_COARSE of Linux, CLOCK_MONOTONIC of macOS
    if not (sys.platform == "linux" or sys.platform == "darwin"):
        clock = 1
    made = TEXT.replace("CLOCK", str(clock)).replace("EVERY", str(EVERY))
    return made.replace("LENGTH", str(len(MESSAGE) + 1)).replace("MESSAGE", MESSAGE)


def leave(f: Function, words: Value, slot: Value, when: Value | None = None) -> None:
    """End a task, or a function of one that gives an address, where an exception waits for the
    end of its call; `when` says whether to ask. The results of the call are dropped, but what
    the function has done may not lead its caller astray: an address is null."""
    f.module.declarations["lucid_over"] = "declare i1 @lucid_over(ptr, i64) cold nounwind"
    ask, end, on = f.label(), f.label(), f.label()
    if when is not None:
        f.branch(when, ask, on)
        f.begin(ask)
    f.branch(f.ask("lucid_over", words, slot, result="i1"), end, on)
    f.begin(end)
    f.line("ret ptr null" if f.result == "ptr" else "ret void")
    f.begin(on)


@contextlib.contextmanager
def stretches(
    f: Function, words: Value, slot: Value, start: Any, stop: Any, length: Any
) -> Iterator[tuple[Value, Value]]:
    """The first and last of each `length` of a long loop, with a question between two of them."""
    with f.loop(start, stop, length) as first:
        end = f.minimum(first + length, stop)
        yield first, end
        leave(f, words, slot, end < stop)


TEXT = r"""
declare i32 @PyErr_CheckSignals()
declare void @PyErr_SetString(ptr, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare i32 @clock_gettime(i32, ptr)
declare i64 @pthread_self()
@PyExc_RuntimeError = external global ptr
@forked = internal constant [LENGTH x i8] c"MESSAGE\00"
; the main thread, the thread that runs signal handlers now, whether it is a copy made by a fork
@lucid_signals = global [3 x i64] zeroinitializer, align 128

; The slot of a call that has released the GIL.
define void @lucid_watch(ptr %slot, ptr %thread) {
  %self = call i64 @pthread_self()
  %main = load i64, ptr @lucid_signals
  %is_main = icmp eq i64 %self, %main
  %handler = select i1 %is_main, ptr %thread, ptr null
  %thread_at = getelementptr i64, ptr %slot, i64 2
  store ptr %handler, ptr %thread_at
  %due_at = getelementptr i64, ptr %slot, i64 3
  br i1 %is_main, label %time, label %never
time:
  %now = call i64 @clock()
  %due = add i64 %now, EVERY
  store atomic i64 %due, ptr %due_at monotonic, align 8
  ret void
never:
  store atomic i64 0, ptr %due_at monotonic, align 8
  ret void
}

define void @lucid_poll(ptr %slot) {
  %thread_at = getelementptr i64, ptr %slot, i64 2
  %thread = load ptr, ptr %thread_at
  %none = icmp eq ptr %thread, null
  br i1 %none, label %end, label %look
look:
  %due_at = getelementptr i64, ptr %slot, i64 3
  %due = load atomic i64, ptr %due_at monotonic, align 8
  %now = call i64 @clock()
  %early = icmp slt i64 %now, %due
  %over = icmp eq i64 %due, -1
  %wait = or i1 %early, %over
  br i1 %wait, label %end, label %signals
signals:
  call void @PyEval_RestoreThread(ptr %thread)
  %self = call i64 @pthread_self()
  %polling = getelementptr i64, ptr @lucid_signals, i64 1
  %orphaned = getelementptr i64, ptr @lucid_signals, i64 2
  %outer = load i64, ptr %polling
  store i64 %self, ptr %polling
  %raised = call i32 @PyErr_CheckSignals()
  store i64 %outer, ptr %polling
  %copy = load i64, ptr %orphaned
  %is_copy = icmp ne i64 %copy, 0
  %calm = icmp eq i32 %raised, 0
  br i1 %is_copy, label %child, label %parent
child:
  br i1 %calm, label %refuse, label %stop
refuse:
  %class = load ptr, ptr @PyExc_RuntimeError
  call void @PyErr_SetString(ptr %class, ptr @forked)
  br label %stop
parent:
  br i1 %calm, label %go_on, label %stop
stop:
  %saved1 = call ptr @PyEval_SaveThread()
  store atomic i64 -1, ptr %due_at release, align 8
  ret void
go_on:
  %saved2 = call ptr @PyEval_SaveThread()
  %then = call i64 @clock()
  %next = add i64 %then, EVERY
  store atomic i64 %next, ptr %due_at monotonic, align 8
  ret void
end:
  ret void
}

; In the middle of a task on a thread, 0 for the caller: whether an exception waits.
define i1 @lucid_over(ptr %words, i64 %thread) {
  %slot = load ptr, ptr %words
  %is_caller = icmp eq i64 %thread, 0
  br i1 %is_caller, label %look, label %read
look:
  call void @lucid_poll(ptr %slot)
  br label %read
read:
  %due_at = getelementptr i64, ptr %slot, i64 3
  %due = load atomic i64, ptr %due_at acquire, align 8
  %over = icmp eq i64 %due, -1
  ret i1 %over
}

; Nanoseconds of a clock that only goes forward.
define internal i64 @clock() {
  %time = alloca [2 x i64], align 16
  %r = call i32 @clock_gettime(i32 CLOCK, ptr %time)
  %seconds = load i64, ptr %time
  %n = getelementptr i64, ptr %time, i64 1
  %nanoseconds = load i64, ptr %n
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %nanoseconds
  ret i64 %sum
}
"""
