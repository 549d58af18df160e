"""LLVM IR of the thread pool: `lucid_parallel`, which kernels call, and its start and stop.

threads.py compiles it once and drives it. The workers are native threads that know nothing of
Python. How a region runs:

  state = generation << 32 | room << 16 | active         one 64-bit word
  open:   the caller writes the region, then state = next generation, room = workers wanted
  join:   a worker moves one from room to active by compare-and-swap; room is its slot number
  run:    the tasks are cut into parts, one for each participant; the caller starts with part 0,
          worker n with part n, so that the same core sees the same data in region after region;
          who is done with a part goes on with the next. The counter of a part carries the
          generation, so that nobody has to reset it
  close:  all is taken: the caller sets room to 0 and waits until active is 0

So the caller never waits for a worker that has not joined, and a worker that wakes late finds no
room and touches nothing. A region belongs to one owner; whoever finds it owned runs serially.
Waiting, for work and for the join, first spins a bounded time, then sleeps in `wait`. Between its
tasks the caller looks for signals (interrupt.py); after one that raises, no more tasks are run.
"""

import platform
import sys

from lucid.backend.cpu import interrupt

MOST = 1024  # threads, the caller included
STACK = 8 << 20  # bytes of a worker's stack

# The number of the futex system call, where there is one.
FUTEX = {"x86_64": 202, "aarch64": 98, "arm64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}
EXPORTS = (
    "lucid_parallel", "lucid_stop", "lucid_resume", "lucid_orphan", "lucid_pauses", "lucid_knobs",
    *interrupt.EXPORTS,
)  # fmt: skip


def text(futex: int | None = None) -> str:
    """The module. `futex` is the system call's number; 0 asks for the portable form."""
    if futex is None:
        futex = FUTEX.get(platform.machine(), 0) if sys.platform == "linux" else 0
    pause = PAUSE.get(platform.machine(), ("", ""))
    set_mask = 2 if sys.platform == "linux" else 3  # SIG_SETMASK
    sleep = WITH_FUTEX if futex else WITH_CONDITION
    body = (REGION + WORKER + LIFE + sleep).replace("PAUSE", pause[1])
    body = body.replace("WAIT", str(interrupt.EVERY))
    for name, value in (("FUTEX", futex), ("SET_MASK", set_mask), ("STACK", STACK)):
        body = body.replace(name, str(value))
    return pause[0] + body.replace("MOST", str(MOST)) + interrupt.text()


PAUSE = {
    "x86_64": (
        "declare void @llvm.x86.sse2.pause()\n",
        "call void @llvm.x86.sse2.pause()",
    ),
    "aarch64": ("", 'call void asm sideeffect "yield", ""()'),
    "arm64": ("", 'call void asm sideeffect "yield", ""()'),
}

REGION = """
@state = internal global i64 0, align 128
@counters = internal global [MOST x [16 x i64]] zeroinitializer, align 128
@region = internal global [4 x i64] zeroinitializer, align 128
declare i64 @llvm.abs.i64(i64, i1)
@owner = internal global i32 0, align 128
@sleepers = internal global i32 0, align 128
@joining = internal global i32 0, align 128
@stopping = internal global i32 0, align 128
@started = internal global i64 0, align 128
@handles = internal global [MOST x i64] zeroinitializer, align 128
; threads at most, pauses of a worker before it sleeps, pauses of the caller before it sleeps
@lucid_knobs = global [3 x i64] [i64 1, i64 2000, i64 2000], align 128

; Fewer threads than none: as many as without the sign, but nobody is woken up.
define void @lucid_parallel(ptr %body, ptr %words, i64 %tasks, i64 %signed) {
entry:
  %quiet = icmp slt i64 %signed, 0
  %threads = call i64 @llvm.abs.i64(i64 %signed, i1 false)
  %most = load atomic i64, ptr @lucid_knobs monotonic, align 8
  %fewer = icmp slt i64 %threads, %most
  %allowed = select i1 %fewer, i64 %threads, i64 %most
  %few = icmp slt i64 %tasks, %allowed
  %wanted = select i1 %few, i64 %tasks, i64 %allowed
  %alone = icmp sle i64 %wanted, 1
  br i1 %alone, label %serial, label %claim
claim:
  %claimed = cmpxchg ptr @owner, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %claimed, 1
  br i1 %mine, label %count, label %serial
count:
  %helpers = sub i64 %wanted, 1
  %before = load i64, ptr @started, align 8
  %short = icmp slt i64 %before, %helpers
  br i1 %short, label %grow, label %open
grow:
  call void @start(i64 %helpers)
  br label %open
open:
  %there = load i64, ptr @started, align 8
  %lacking = icmp slt i64 %there, %helpers
  %room = select i1 %lacking, i64 %there, i64 %helpers
  store ptr %body, ptr @region, align 8
  %region1 = getelementptr i64, ptr @region, i64 1
  store ptr %words, ptr %region1, align 8
  %region2 = getelementptr i64, ptr @region, i64 2
  store i64 %tasks, ptr %region2, align 8
  %parts = add i64 %room, 1
  %region3 = getelementptr i64, ptr @region, i64 3
  store i64 %parts, ptr %region3, align 8
  %old = load atomic i64, ptr @state monotonic, align 8
  %generation = lshr i64 %old, 32
  %next = add i64 %generation, 1
  %generation1 = and i64 %next, 4294967295
  %high = shl i64 %generation1, 32
  %middle = shl i64 %room, 16
  %new = or i64 %high, %middle
  %was = atomicrmw xchg ptr @state, i64 %new seq_cst
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %none = icmp eq i32 %asleep, 0
  %on = or i1 %none, %quiet
  br i1 %on, label %run, label %rouse
rouse:
  %room32 = trunc i64 %room to i32
  %place = getelementptr i8, ptr @state, i64 4
  call void @wake(ptr %place, i32 %room32)
  br label %run
run:
  %errors = load ptr, ptr %words
  call void @take(ptr %body, ptr %words, i64 %tasks, i64 0, i64 %parts, i64 0, i64 %generation1)
  %closed = atomicrmw and ptr @state, i64 -4294901761 seq_cst
  %patience_at = getelementptr i64, ptr @lucid_knobs, i64 2
  %patience = load i64, ptr %patience_at, align 8
  br label %join
join:
  %n = phi i64 [ 0, %run ], [ %n1, %again ], [ 0, %doze ]
  %now = load atomic i64, ptr @state acquire, align 8
  %low = trunc i64 %now to i32
  %done = icmp eq i32 %low, 0
  br i1 %done, label %leave, label %busy
busy:
  %impatient = icmp sge i64 %n, %patience
  br i1 %impatient, label %doze, label %again
again:
  PAUSE
  %n1 = add i64 %n, 1
  br label %join
doze:
  store atomic i32 1, ptr @joining seq_cst, align 4
  call void @wait(ptr @state, i32 %low, i64 WAIT)
  store atomic i32 0, ptr @joining seq_cst, align 4
  call void @lucid_poll(ptr %errors)
  br label %join
leave:
  store atomic i32 0, ptr @owner release, align 4
  ret void
serial:
  %slot = load ptr, ptr %words
  br label %check
check:
  %i = phi i64 [ 0, %serial ], [ %i1, %one ]
  %more = icmp slt i64 %i, %tasks
  br i1 %more, label %look, label %end
look:
  %over = call i1 @interrupted(ptr %slot)
  br i1 %over, label %end, label %one
one:
  call void %body(ptr %words, i64 %i, i64 0)
  call void @lucid_poll(ptr %slot)
  %i1 = add i64 %i, 1
  br label %check
end:
  ret void
}

; Whether an exception waits for the end of the call.
define internal i1 @interrupted(ptr %slot) {
  %at = getelementptr i64, ptr %slot, i64 3
  %due = load atomic i64, ptr %at acquire, align 8
  %over = icmp eq i64 %due, -1
  ret i1 %over
}

define internal void @take(ptr %body, ptr %words, i64 %tasks, i64 %slot, i64 %parts, i64 %first,
    i64 %generation) {
entry:
  %mark = shl i64 %generation, 32
  %errors = load ptr, ptr %words
  %is_caller = icmp eq i64 %slot, 0
  br label %part
part:
  %k = phi i64 [ 0, %entry ], [ %k1, %exhausted ]
  %some = icmp slt i64 %k, %parts
  br i1 %some, label %go, label %end
go:
  %sum = add i64 %first, %k
  %p = urem i64 %sum, %parts
  %a = mul i64 %p, %tasks
  %low = udiv i64 %a, %parts
  %p1 = add i64 %p, 1
  %b = mul i64 %p1, %tasks
  %high = udiv i64 %b, %parts
  %size = sub i64 %high, %low
  %counter = getelementptr [16 x i64], ptr @counters, i64 %p
  br label %again
again:
  %read = load atomic i64, ptr %counter monotonic, align 8
  %over = call i1 @interrupted(ptr %errors)
  br i1 %over, label %end, label %try
try:
  %seen = phi i64 [ %read, %again ], [ %there, %swap ]
  %its = lshr i64 %seen, 32
  %current = icmp eq i64 %its, %generation
  %count = and i64 %seen, 4294967295
  %i = select i1 %current, i64 %count, i64 0
  %more = icmp slt i64 %i, %size
  br i1 %more, label %swap, label %exhausted
swap:
  %i1 = add i64 %i, 1
  %new = or i64 %mark, %i1
  %swapped = cmpxchg ptr %counter, i64 %seen, i64 %new monotonic monotonic
  %there = extractvalue { i64, i1 } %swapped, 0
  %mine = extractvalue { i64, i1 } %swapped, 1
  br i1 %mine, label %one, label %try
one:
  %task = add i64 %low, %i
  call void %body(ptr %words, i64 %task, i64 %slot)
  br i1 %is_caller, label %look, label %again
look:
  call void @lucid_poll(ptr %errors)
  br label %again
exhausted:
  %k1 = add i64 %k, 1
  br label %part
end:
  ret void
}
"""

# A worker is born with its number and the generation before the region that it was made for.
WORKER = """
define internal ptr @worker(ptr %born) {
entry:
  %packed = ptrtoint ptr %born to i64
  %born64 = lshr i64 %packed, 32
  %number = and i64 %packed, 4294967295
  %patience_at = getelementptr i64, ptr @lucid_knobs, i64 1
  br label %watch
watch:
  %seen = phi i64 [ %born64, %entry ], [ %generation, %idle ], [ %generation, %finished ],
    [ %generation, %slept ], [ %seen, %raced ]
  %n = phi i64 [ 0, %entry ], [ %n1, %idle ], [ 0, %finished ], [ 0, %slept ], [ %n, %raced ]
  %now = load atomic i64, ptr @state acquire, align 8
  %generation = lshr i64 %now, 32
  %rest = lshr i64 %now, 16
  %room = and i64 %rest, 65535
  %fresh = icmp ne i64 %generation, %seen
  %space = icmp ne i64 %room, 0
  %go = and i1 %fresh, %space
  br i1 %go, label %enter, label %halt
enter:
  %changed = sub i64 %now, 65535
  %swapped = cmpxchg ptr @state, i64 %now, i64 %changed acq_rel monotonic
  %in = extractvalue { i64, i1 } %swapped, 1
  br i1 %in, label %work, label %raced
raced:
  br label %watch
work:
  %body = load ptr, ptr @region, align 8
  %region1 = getelementptr i64, ptr @region, i64 1
  %words = load ptr, ptr %region1, align 8
  %region2 = getelementptr i64, ptr @region, i64 2
  %tasks = load i64, ptr %region2, align 8
  %region3 = getelementptr i64, ptr @region, i64 3
  %parts = load i64, ptr %region3, align 8
  call void @take(ptr %body, ptr %words, i64 %tasks, i64 %room, i64 %parts, i64 %number,
    i64 %generation)
  %left = atomicrmw sub ptr @state, i64 1 seq_cst
  %active = and i64 %left, 65535
  %last = icmp eq i64 %active, 1
  %joining = load atomic i32, ptr @joining seq_cst, align 4
  %waited = icmp ne i32 %joining, 0
  %tell = and i1 %last, %waited
  br i1 %tell, label %rouse, label %finished
rouse:
  call void @wake(ptr @state, i32 1)
  br label %finished
finished:
  br label %watch
halt:
  %stopping = load atomic i32, ptr @stopping monotonic, align 4
  %stop = icmp ne i32 %stopping, 0
  br i1 %stop, label %end, label %idle_or_sleep
idle_or_sleep:
  %patience = load i64, ptr %patience_at, align 8
  %n1 = add i64 %n, 1
  %tired = icmp sge i64 %n1, %patience
  br i1 %tired, label %sleep, label %idle
idle:
  PAUSE
  br label %watch
sleep:
  %up = atomicrmw add ptr @sleepers, i32 1 seq_cst
  %place = getelementptr i8, ptr @state, i64 4
  %expected = trunc i64 %generation to i32
  call void @wait(ptr %place, i32 %expected, i64 0)
  %down = atomicrmw sub ptr @sleepers, i32 1 seq_cst
  br label %slept
slept:
  br label %watch
end:
  ret ptr null
}
"""

LIFE = """
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sched_yield()

; More workers until there are `helpers`, or as many as the system grants. The owner calls.
define internal void @start(i64 %helpers) {
entry:
  %attributes = alloca [256 x i8], align 16
  %all = alloca [256 x i8], align 16
  %old = alloca [256 x i8], align 16
  %room = icmp slt i64 %helpers, MOST
  %most = select i1 %room, i64 %helpers, i64 MOST
  %r0 = call i32 @pthread_attr_init(ptr %attributes)
  %r1 = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 STACK)
  ; signals are for the threads of Python
  %r2 = call i32 @sigfillset(ptr %all)
  %r3 = call i32 @pthread_sigmask(i32 SET_MASK, ptr %all, ptr %old)
  %state = load atomic i64, ptr @state monotonic, align 8
  %generation = and i64 %state, -4294967296
  br label %check
check:
  %n = load i64, ptr @started, align 8
  %short = icmp slt i64 %n, %most
  br i1 %short, label %make, label %end
make:
  %handle = getelementptr i64, ptr @handles, i64 %n
  %n1 = add i64 %n, 1
  %packed = or i64 %generation, %n1
  %born = inttoptr i64 %packed to ptr
  %failed = call i32 @pthread_create(ptr %handle, ptr %attributes, ptr @worker, ptr %born)
  %made = icmp eq i32 %failed, 0
  br i1 %made, label %one, label %end
one:
  store i64 %n1, ptr @started, align 8
  br label %check
end:
  %r4 = call i32 @pthread_sigmask(i32 SET_MASK, ptr %old, ptr null)
  ret void
}

; End the workers and keep the pool owned: every later region runs serially until lucid_resume.
define void @lucid_stop() {
entry:
  br label %claim
claim:
  %claimed = cmpxchg ptr @owner, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %claimed, 1
  br i1 %mine, label %tell, label %owned
owned:
  %r0 = call i32 @sched_yield()
  br label %claim
tell:
  store atomic i32 1, ptr @stopping seq_cst, align 4
  %old = atomicrmw add ptr @state, i64 4294967296 seq_cst
  %place = getelementptr i8, ptr @state, i64 4
  call void @wake(ptr %place, i32 MOST)
  br label %check
check:
  %n = load i64, ptr @started, align 8
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %one, label %end
one:
  %n1 = sub i64 %n, 1
  %at = getelementptr i64, ptr @handles, i64 %n1
  %handle = load i64, ptr %at, align 8
  %r1 = call i32 @pthread_join(i64 %handle, ptr null)
  store i64 %n1, ptr @started, align 8
  br label %check
end:
  store atomic i32 0, ptr @stopping seq_cst, align 4
  ret void
}

define void @lucid_resume() {
  store atomic i32 0, ptr @owner release, align 4
  ret void
}

; In a child whose workers were in a region when it was forked: it has none of them.
define void @lucid_orphan() {
  store i64 0, ptr @started, align 8
  %old = load i64, ptr @state, align 8
  %next = add i64 %old, 4294967296
  %none = and i64 %next, -4294967296
  store i64 %none, ptr @state, align 8
  store i32 0, ptr @sleepers, align 4
  ret void
}

; For measuring how long a pause takes.
define void @lucid_pauses(i64 %count) {
entry:
  br label %again
again:
  %i = phi i64 [ 0, %entry ], [ %i1, %again ]
  PAUSE
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %count
  br i1 %more, label %again, label %end
end:
  ret void
}
"""

# wait: sleep while the i32 at the address has the expected value, at most some nanoseconds below a
# second if these are not 0. wake: end the sleep of up to `count` threads there. Both may return
# early; the callers look again.
WITH_FUTEX = """
declare i64 @syscall(i64, ...)

define internal void @wait(ptr %at, i32 %expected, i64 %most) {
  %time = alloca [2 x i64], align 16
  %n = getelementptr i64, ptr %time, i64 1
  store i64 0, ptr %time
  store i64 %most, ptr %n
  %endless = icmp eq i64 %most, 0
  %limit = select i1 %endless, ptr null, ptr %time
  %r = call i64 (i64, ...) @syscall(i64 FUTEX, ptr %at, i64 128, i32 %expected, ptr %limit,
    ptr null, i64 0)
  ret void
}

define internal void @wake(ptr %at, i32 %count) {
  %r = call i64 (i64, ...) @syscall(i64 FUTEX, ptr %at, i64 129, i32 %count, ptr null, ptr null,
    i64 0)
  ret void
}
"""

# One mutex and one condition for both addresses: wakes go to everybody.
WITH_CONDITION = """
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_timedwait(ptr, ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
@mutex = internal global [128 x i8] zeroinitializer, align 64
@condition = internal global [128 x i8] zeroinitializer, align 64
@prepared = internal global i32 0, align 4

; 0: not yet, 1: somebody prepares, 2: ready
define internal void @prepare() {
entry:
  %now = load atomic i32, ptr @prepared acquire, align 4
  %ready = icmp eq i32 %now, 2
  br i1 %ready, label %end, label %try
try:
  %claimed = cmpxchg ptr @prepared, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %claimed, 1
  br i1 %mine, label %make, label %entry.again
entry.again:
  %r = call i32 @sched_yield()
  %now2 = load atomic i32, ptr @prepared acquire, align 4
  %ready2 = icmp eq i32 %now2, 2
  br i1 %ready2, label %end, label %entry.again
make:
  %r0 = call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  %r1 = call i32 @pthread_cond_init(ptr @condition, ptr null)
  store atomic i32 2, ptr @prepared release, align 4
  br label %end
end:
  ret void
}

define internal void @wait(ptr %at, i32 %expected, i64 %most) {
entry:
  %time = alloca [2 x i64], align 16
  %endless = icmp eq i64 %most, 0
  call void @prepare()
  %r0 = call i32 @pthread_mutex_lock(ptr @mutex)
  br label %check
check:
  %now = load atomic i32, ptr %at seq_cst, align 4
  %same = icmp eq i32 %now, %expected
  br i1 %same, label %sleep, label %end
sleep:
  br i1 %endless, label %long, label %short
long:
  %r1 = call i32 @pthread_cond_wait(ptr @condition, ptr @mutex)
  br label %check
short:
  %r3 = call i32 @clock_gettime(i32 0, ptr %time)  ; the clock by which conditions wait
  %n = getelementptr i64, ptr %time, i64 1
  %now_n = load i64, ptr %n
  %sum = add i64 %now_n, %most
  %carry = udiv i64 %sum, 1000000000
  %rest = urem i64 %sum, 1000000000
  %seconds = load i64, ptr %time
  %later = add i64 %seconds, %carry
  store i64 %later, ptr %time
  store i64 %rest, ptr %n
  %r4 = call i32 @pthread_cond_timedwait(ptr @condition, ptr @mutex, ptr %time)
  br label %end
end:
  %r2 = call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}

define internal void @wake(ptr %at, i32 %count) {
  call void @prepare()
  %r0 = call i32 @pthread_mutex_lock(ptr @mutex)
  %r1 = call i32 @pthread_cond_broadcast(ptr @condition)
  %r2 = call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}
"""
