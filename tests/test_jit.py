"""The compiler, the code's ways from memory and disk, and calls through segments."""

import ctypes
import os
import signal
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

from lucid.backend.cpu import call, compiler, elf, jit, target
from lucid.backend.cpu.call import Call, Segment
from lucid.config import settings
from lucid.kernel import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "cache_dir", str(tmp_path / "code"))
    monkeypatch.setitem(cache._state, "bytes", None)
    return tmp_path / "code"


def store(symbol: str, value: str, kind: str = "i64", before: str = "") -> str:
    """words[3] is an address that receives `value`, which may use words 4 and 5 as %a and %b."""
    read = "".join(
        f"  %{n}at = getelementptr i64, ptr %words, i64 {i}\n  %{n} = load {kind}, ptr %{n}at\n"
        for n, i in (("a", 4), ("b", 5))
    )
    return (
        f"define void @{symbol}(ptr %words) {{\n{read}{before}"
        "  %to = getelementptr i64, ptr %words, i64 3\n  %y = load ptr, ptr %to\n"
        f"  store {kind} {value}, ptr %y\n  ret void\n}}\n"
    )


def failing(symbol: str) -> str:
    """Sets the error slot to words 4 and 5."""
    return f"""define void @{symbol}(ptr %words) {{
  %slot = load ptr, ptr %words
  %a = getelementptr i64, ptr %words, i64 4
  %code = load i64, ptr %a
  store i64 %code, ptr %slot
  %b = getelementptr i64, ptr %words, i64 5
  %value = load i64, ptr %b
  %to = getelementptr i64, ptr %slot, i64 1
  store i64 %value, ptr %to
  ret void
}}"""


def test_a_function_runs_and_is_built_once(folder):
    built = []

    def build(symbol):
        built.append(symbol)
        return store(symbol, "%c", before="  %c = add i64 %a, %b\n")

    address = jit.function("test add", build)
    assert jit.function("test add", build) == address
    assert len(built) == 1 and jit.name(address) == "test add"
    y = np.zeros(1, np.int64)
    words = np.array([0, 0, 1, y.ctypes.data, 40, 2], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(words.ctypes.data)
    assert y[0] == 42


def test_the_disk_serves_the_next_process(folder, monkeypatch):
    first = jit.function("test disk", lambda s: store(s, "7"))
    monkeypatch.setattr(jit, "_addresses", {})  # forget, as a new process has
    monkeypatch.setattr(jit, "_loaded", {})

    def never(symbol):
        raise AssertionError("built although the disk has it")

    assert jit.function("test disk", never) != first
    # Another target, another key.
    monkeypatch.setattr(settings, "target", "plain")
    with pytest.raises(AssertionError, match="although"):
        jit.function("test disk", never)


def test_a_damaged_object_is_rebuilt(folder, monkeypatch):
    jit.function("test first", lambda s: store(s, "1"))
    before = set(os.listdir(folder))
    jit.function("test damage", lambda s: store(s, "7"))
    (name,) = set(os.listdir(folder)) - before
    cache.put(name, b"not an object file")
    monkeypatch.setattr(jit, "_addresses", {})
    monkeypatch.setattr(jit, "_loaded", {})
    assert jit.function("test damage", lambda s: store(s, "7"))
    assert cache.get(name)[:4] == b"\x7fELF"


def test_bad_text_raises_and_names_the_reason(folder):
    with pytest.raises(RuntimeError, match="expected instruction opcode"):
        jit.function("test nonsense", lambda s: f"define void @{s}(ptr %w) {{ nonsense }}")
    with pytest.raises(RuntimeError, match="no_such_function"):
        jit.function(
            "test unknown symbol",
            lambda s: (
                f"declare void @no_such_function()\ndefine void @{s}(ptr %w) {{\n"
                "  call void @no_such_function()\n  ret void\n}"
            ),
        )
    # The next kernel is unharmed.
    assert jit.function("test after", lambda s: store(s, "7"))


def test_targets(monkeypatch):
    monkeypatch.setattr(settings, "target", "sse9")
    with pytest.raises(ValueError, match="sse9"):
        target.target()
    monkeypatch.setattr(settings, "target", "plain")
    plain = target.target()
    assert plain.name == "plain" and "fma" not in plain.flags
    monkeypatch.setattr(settings, "target", "")
    best = target.target()
    assert best.name in target.NEEDS and best.name in best.flags


def test_a_target_that_the_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(target, "_features", lambda: frozenset(("avx2", "fma")))
    target._target.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="LUCID_TARGET=avx512.*avx512bw"):
            target._target("avx512")
        assert target._target("").name == "plain"
    finally:
        target._target.cache_clear()


@pytest.mark.parametrize("name", list(target.NEEDS))
def test_wide_vectors_run_on_every_target(name, monkeypatch, folder):
    monkeypatch.setattr(settings, "target", name)
    try:
        target.target()
    except RuntimeError as reason:
        pytest.skip(str(reason))
    monkeypatch.setattr(jit, "_addresses", {})
    monkeypatch.setattr(jit, "_loaded", {})
    address = jit.function(
        "test wide",
        lambda s: (
            f"""define void @{s}(ptr %words) {{
  %at = getelementptr i64, ptr %words, i64 3
  %x = load ptr, ptr %at
  %v = load <16 x double>, ptr %x, align 8
  %y = fdiv <16 x double> %v, splat (double 3.0)
  store <16 x double> %y, ptr %x, align 8
  ret void
}}"""
        ),
    )
    x = np.arange(16.0)
    assert Segment([Call(address, [0, 0, 1, 0], [(3, 0, 0)])]).run(x.ctypes.data) is None
    assert (x == np.arange(16.0) / 3).all()


# Everything that an object file may ask of a loader: constants, a jump table, written and zeroed
# data, a table of addresses, calls within, to the process and to other code.
LOADED = """
@count = global i64 5
@zeros = internal global [100 x i64] zeroinitializer, align 128
@table = internal constant [3 x ptr] [ptr @seven, ptr @eight, ptr @outer]
declare i64 @outer()
declare ptr @memset(ptr, i32, i64)

define internal i64 @seven() noinline { ret i64 7 }
define internal i64 @eight() noinline { ret i64 8 }

define i64 @pick(i64 %i) {
  switch i64 %i, label %other [
    i64 0, label %a
    i64 1, label %b
    i64 2, label %c
    i64 3, label %d
    i64 4, label %e
  ]
a:
  %y0 = load i64, ptr @count
  %y1 = add i64 %y0, 1
  store i64 %y1, ptr @count
  ret i64 %y1
b:
  %last = getelementptr i64, ptr @zeros, i64 99
  %z0 = load i64, ptr %last
  %z1 = add i64 %z0, 10
  store i64 %z1, ptr %last
  ret i64 %z1
c:
  %m = call ptr @memset(ptr @zeros, i32 1, i64 8)
  %w = load i64, ptr @zeros
  ret i64 %w
d:
  %v = load <4 x double>, ptr @zeros
  %s = fadd <4 x double> <double 1.5, double 2.5, double 3.5, double 4.5>, %v
  %x = extractelement <4 x double> %s, i64 1
  %r = fptosi double %x to i64
  ret i64 %r
e:
  ret i64 99
other:
  %n = sub i64 %i, 5
  %at = getelementptr ptr, ptr @table, i64 %n
  %f = load ptr, ptr %at
  %called = call i64 %f()
  ret i64 %called
}
define i64 @both(i64 %i) {
  %a = call i64 @pick(i64 %i)
  %b = call i64 @outer()
  %y = add i64 %a, %b
  ret i64 %y
}
"""


@pytest.mark.parametrize("loader", ["ours", "llvm"])
def test_the_loaders(loader):
    outer = ctypes.CFUNCTYPE(ctypes.c_int64)(lambda: 1000)
    extra = {"outer": ctypes.cast(outer, ctypes.c_void_p).value}
    image = compiler.compile_text(LOADED)
    exports = ["pick", "both", "count"]
    if loader == "llvm":
        code = compiler._load_by_llvm(image, exports, extra)
    elif elf.supported(image):
        code = compiler.load(image, exports, extra)
    else:
        pytest.skip("made for x86-64 Linux")
    integer = ctypes.c_int64
    pick = ctypes.CFUNCTYPE(integer, integer)(code["pick"])
    both = ctypes.CFUNCTYPE(integer, integer)(code["both"])
    assert [pick(i) for i in (0, 0, 1, 1, 4, 5, 6, 7)] == [6, 7, 10, 20, 99, 7, 8, 1000]
    assert pick(3) == 2 and pick(2) == 0x0101010101010101
    assert both(0) == 1008 and integer.from_address(code["count"]).value == 8


def test_the_loader_refuses_what_it_does_not_know():
    image = compiler.compile_text(LOADED)
    if not elf.supported(image):
        pytest.skip("made for x86-64 Linux")
    with pytest.raises(RuntimeError, match="outer"):
        compiler.load(image, ["pick"])
    outer = {"outer": 1}
    with pytest.raises(KeyError):
        compiler.load(image, ["absent"], outer)
    broken = image.replace(struct.pack("<I", 42), struct.pack("<I", 77))
    with pytest.raises(RuntimeError, match="relocation of type 77"):
        compiler.load(broken, ["pick"], outer)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_code_is_not_writable():
    address = jit.function("test protection", lambda s: store(s, "7"))
    with open("/proc/self/maps") as maps:
        for line in maps:
            low, _, high = line.split()[0].partition("-")
            if int(low, 16) <= address < int(high, 16):
                assert line.split()[1] == "r-xp"
                return
    raise AssertionError("code in no mapping")


# Segments


def adder(kind: str = "i64") -> int:
    word = "fadd" if kind == "double" else "add"
    return jit.function(
        f"test adder {kind}", lambda s: store(s, "%c", kind, f"  %c = {word} {kind} %a, %b\n")
    )


def test_integers_and_floats_are_arguments():
    y = np.zeros(2)
    at = y.ctypes.data
    segment = Segment(
        [
            Call(adder("double"), [0, 0, 1, 0, 0, 0], [(3, 0, 0), (4, 1, 0), (5, 2, 0)]),
            Call(adder(), [0, 0, 1, 0, 0, 5], [(3, 0, 8), (4, 3, -1)]),
        ]
    )
    assert segment.run(at, 1.5, 2.25, 2**62) is None
    assert y[0] == 3.75 and y.view(np.int64)[1] == 2**62 + 4
    generic = call.run()
    assert generic(segment.address, at, np.float64(-1.5), float("inf"), True) is None
    assert y[0] == float("inf") and y.view(np.int64)[1] == 5
    assert segment.run(at, 0.0, -0.0, np.int64(-7)) is None
    assert y.view(np.int64)[1] == -3
    assert segment.run(at, 0.0, -1, -1) is None  # -1 is a value, not an error; its bits are a NaN
    assert np.isnan(y[0]) and y.view(np.int64)[1] == 3


def test_the_exceptions_of_arguments_pass_through():
    segment = Segment([Call(adder(), [0, 0, 1, 0, 0, 0], [(3, 0, 0)])])
    with pytest.raises(OverflowError):
        segment.run(1 << 64)
    with pytest.raises(TypeError, match="str"):
        segment.run("x")
    with pytest.raises(TypeError, match="fewer arguments"):
        segment.run()
    with pytest.raises(TypeError):
        segment.run(x=1)

    class Odd:
        def __index__(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        segment.run(Odd())
    generic = call.run()
    with pytest.raises(TypeError, match="address of a segment"):
        generic()
    with pytest.raises(TypeError, match="address of a segment"):
        generic(0)
    with pytest.raises(TypeError, match="str"):
        generic("x")


@pytest.mark.parametrize("releases_gil", [False, True])
def test_the_first_error_stops_a_segment(releases_gil):
    fail = jit.function("test failing", failing)
    y = np.zeros(3, np.int64)
    segment = Segment(
        [
            Call(adder(), [0, 0, 1, 0, 1, 1], [(3, 0, 0)]),
            Call(fail, [0, 0, 1, 0, 0, -9], [(4, 1, 0)]),
            Call(adder(), [0, 0, 1, 0, 2, 2], [(3, 0, 16)]),
        ],
        releases_gil,
    )
    assert segment.run(y.ctypes.data, 3) == (3, -9, 1)
    assert y.tolist() == [2, 0, 0]
    assert segment.run(y.ctypes.data, 0) is None
    assert y.tolist() == [2, 0, 4]
    # A clear code with a value: the next run starts clear again.
    assert segment.run(y.ctypes.data, -1) == (-1, -9, 1)


def test_nothing_leaks():
    segment = Segment([Call(adder(), [0, 0, 1, 0, 1, 1], [(3, 0, 0)])])
    y = np.zeros(1, np.int64)
    at = y.ctypes.data
    before = sys.getrefcount(None), sys.getrefcount(segment.memory), sys.getrefcount(at)
    for _ in range(1000):
        segment.run(at)
    after = sys.getrefcount(None), sys.getrefcount(segment.memory), sys.getrefcount(at)
    assert all(abs(a - b) < 100 for a, b in zip(before, after, strict=True))
    bound, memory = segment.run, segment.memory
    count = sys.getrefcount(memory)
    del segment, bound
    assert sys.getrefcount(memory) == count - 2  # the segment's, and the builtin's


def test_the_builtin_keeps_the_memory_alive():
    run = Segment([Call(adder(), [0, 0, 1, 0, 20, 3], [(3, 0, 0)])]).run
    y = np.zeros(1, np.int64)
    for _ in range(100):
        struct.pack("<20q", *range(20))  # what was freed would be written over
    assert run(y.ctypes.data) is None and y[0] == 23


def test_a_segment_has_limits_and_checks_its_patches():
    with pytest.raises(ValueError, match="split the segment"):
        Segment([Call(1, [0] * 9000)])
    with pytest.raises(ValueError, match="patch outside"):
        Segment([Call(1, [0, 0, 1], [(3, 0, 0)])])
    with pytest.raises(ValueError, match="patch outside"):
        Segment([Call(1, [0, 0, 1], [(0, 0, 0)])])
    assert Segment([]).run() is None
    assert Segment([]).run(1, "not used") is None  # arguments that no kernel reads


def test_many_arguments():
    segment = Segment([Call(adder(), [0, 0, 1, 0, 0, 0], [(3, 0, 0), (4, 999, 0), (5, 998, 0)])])
    y = np.zeros(1, np.int64)
    assert segment.run(y.ctypes.data, *range(1, 1000)) is None
    assert y[0] == 1997


def test_debug_prints_the_kernels(monkeypatch, capsys):
    monkeypatch.setattr(settings, "debug", 1)
    y = np.zeros(1, np.int64)
    Segment([Call(adder(), [0, 0, 1, 0, 1, 1], [(3, 0, 0)])]).run(y.ctypes.data)
    assert "test adder i64" in capsys.readouterr().err


def test_debug_prints_the_text(monkeypatch, capsys):
    monkeypatch.setattr(settings, "debug", 4)
    compiler.compile_text(store("shown", "8"))
    assert "define void @shown" in capsys.readouterr().err


def test_eight_threads_compile_and_run(folder):
    failed = []
    gate = threading.Barrier(8)

    def work(thread):
        gate.wait()
        y = np.zeros(1, np.int64)
        for i in range(12):
            address = jit.function(f"test race {i}", lambda s, i=i: store(s, str(i * 11)))
            segment = Segment([Call(address, [0, 0, 1, 0, 0, 0], [(3, 0, 0)])], thread % 2 == 0)
            for _ in range(50):
                if segment.run(y.ctypes.data) is not None or y[0] != i * 11:
                    failed.append((thread, i))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


SLOW = """define void @SYMBOL(ptr %words) {
  br label %again
again:
  %i = phi i64 [ 0, %0 ], [ %j, %again ]
  %j = add i64 %i, 1
  call void asm sideeffect "", ""()
  %more = icmp slt i64 %j, 10000000
  br i1 %more, label %again, label %end
end:
  ret void
}"""


def test_control_c_is_seen_between_the_kernels_of_a_segment():
    slow = jit.function("test slow", lambda s: SLOW.replace("SYMBOL", s))
    segment = Segment([Call(slow, [0, 0, 1])] * 2000, releases_gil=True)  # some ten seconds
    timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        segment.run()
    timer.join()


def test_no_llvm_before_the_first_kernel():
    script = (
        "import sys, lucid.backend.cpu.call, lucid.backend.cpu.threads\n"
        "assert not [m for m in sys.modules if m.startswith('llvmlite')]"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
