"""The funnel's hit path in machine code: look-up, outputs, numbers, errors, recording."""

import gc
import sys
import threading
from contextvars import ContextVar

import numpy as np
import pytest

from lucid import storage
from lucid.backend.cpu import jit, launch, memory
from lucid.backend.cpu.call import Call, Segment


class Base:
    __slots__ = ("_storage", "_layout", "_ptr", "_requires_grad", "__dict__", "__weakref__")
    extra = None


class Tensor(Base):
    pass


class Parameter(Tensor):
    pass


class Layout:
    """Compared by identity, as the real one."""


EIGHT, ONE = Layout(), Layout()
TRACER: ContextVar = ContextVar("tracer", default=None)


def tensor(values, lay=EIGHT, kind=Tensor):
    values = np.asarray(values, np.float64)
    y = kind()
    y._storage = storage.allocate(values.nbytes)
    y._layout = lay
    y._ptr = y._storage.ptr
    y._requires_grad = False
    np.frombuffer(y._storage)[:] = values
    return y


def numbers(x):
    return np.frombuffer(x._storage).tolist()


# words: 3 y, 4 x, 5 a float64; y[0..7] = x[0..7] + number. The error slot: code 4 if x[0] < 0.
TEXT = """define void @SYMBOL(ptr %words) {
  %yat = getelementptr i64, ptr %words, i64 3
  %y = load ptr, ptr %yat
  %xat = getelementptr i64, ptr %words, i64 4
  %x = load ptr, ptr %xat
  %nat = getelementptr i64, ptr %words, i64 5
  %n = load double, ptr %nat
  %one = insertelement <8 x double> poison, double %n, i64 0
  %all = shufflevector <8 x double> %one, <8 x double> poison, <8 x i32> zeroinitializer
  %v = load <8 x double>, ptr %x, align 8
  %r = fadd <8 x double> %v, %all
  store <8 x double> %r, ptr %y, align 8
  %first = load double, ptr %x
  %bad = fcmp olt double %first, 0.0
  br i1 %bad, label %fail, label %end
fail:
  %slot = load ptr, ptr %words
  store i64 4, ptr %slot
  %value = getelementptr i64, ptr %slot, i64 1
  store i64 11, ptr %value
  ret void
end:
  ret void
}"""


def segment(*patches, calls=1, releases_gil=False):
    address = jit.function("test launch", lambda s: TEXT.replace("SYMBOL", s))
    return Segment([Call(address, [0, 0, 1, 0, 0, 0], patches)] * calls, releases_gil)


def fail(outcome):
    raise IndexError(outcome)


class Funnel:
    def __init__(self):
        self.entries, self.missed = {}, []
        self.apply = launch.funnel(Base, Tensor, self.entries, self.miss, TRACER)

    def miss(self, *arguments):
        self.missed.append(arguments)
        return "missed"


@pytest.fixture
def funnel():
    storage.allocate(1)
    return Funnel()


SUM = segment((3, 0, 0), (4, 1, 0), (5, 2, 0))


def test_a_miss_goes_to_python(funnel):
    x = tensor(range(8))
    assert funnel.apply("op", (x, 2.5)) == "missed"
    assert funnel.apply("op", (x, 2.5), (1,)) == "missed"
    assert funnel.missed == [("op", (x, 2.5), ()), ("op", (x, 2.5), (1,))]


@pytest.mark.parametrize("releases_gil", [False, True])
def test_a_hit_makes_a_tensor(funnel, releases_gil):
    x = tensor(range(8))
    made = segment((3, 0, 0), (4, 1, 0), (5, 2, 0), releases_gil=releases_gil)
    funnel.entries["op", (), EIGHT, float] = launch.entry(made, [(EIGHT, 64)], 2, fail)
    y = funnel.apply("op", (x, 2.5))
    assert type(y) is Tensor and numbers(y) == [i + 2.5 for i in range(8)]
    assert y._layout is EIGHT and y._requires_grad is False and y._ptr == y._storage.ptr
    assert y.extra is None and y.__dict__ == {}
    y.extra = 5  # an attribute of a tensor that machine code has made
    assert y.extra == 5 and y.__dict__ == {"extra": 5}
    assert numbers(x) == list(range(8)) and not funnel.missed


def test_what_the_key_separates(funnel):
    x = tensor(range(8))
    funnel.entries["op", (), EIGHT, float] = launch.entry(SUM, [(EIGHT, 64)], 2, fail)
    hits = [("op", (x, 1.0), ()), ("op", (tensor([0] * 8, kind=Parameter), 0.5), ())]
    misses = [
        ("other", (x, 1.0), ()),
        ("op", (x, 1), ()),
        ("op", (x, True), ()),
        ("op", (x, x), ()),
        ("op", (x, 1.0), (2,)),
        ("op", (tensor(range(8), Layout()), 1.0), ()),
        ("op", (x,), ()),
        ("op", (1.0, x), ()),
    ]
    for arguments in hits:
        assert type(funnel.apply(*arguments)) is Tensor
    for arguments in misses:
        assert funnel.apply(*arguments) == "missed"


def test_integers_are_passed_as_they_are(funnel):
    made = segment((3, 0, 0), (4, 1, 0), (5, 2, 0))
    bits = int(np.float64(7.5).view(np.int64))
    funnel.entries["op", (), EIGHT, int] = launch.entry(made, [(EIGHT, 64)], 2, fail)
    assert numbers(funnel.apply("op", (tensor([0] * 8), bits))) == [7.5] * 8
    with pytest.raises(OverflowError):
        funnel.apply("op", (tensor([0] * 8), 1 << 70))


def test_several_outputs_hidden_ones_and_an_arena(funnel):
    # y1 = x + 1 by way of the arena, y0 = y1 + 1
    address = SUM.calls[0].address
    one = int(np.float64(1.0).view(np.int64))
    words = [0, 0, 1, 0, 0, one]
    made = Segment(
        [
            Call(address, words, [(3, 3, 64), (4, 2, 0)]),
            Call(address, [*words[:5], 0], [(3, 1, 0), (4, 3, 64)]),
            Call(address, words, [(3, 0, 0), (4, 1, 0)]),
        ]
    )
    x = tensor(range(8))
    outputs = [(EIGHT, 64), (ONE, 64)]
    funnel.entries["two", (), EIGHT] = launch.entry(made, outputs, 1, fail, arena=128)
    y0, y1 = funnel.apply("two", (x,))
    assert numbers(y0) == [i + 2 for i in range(8)] and numbers(y1) == [i + 1 for i in range(8)]
    assert (y0._layout, y1._layout) == (EIGHT, ONE)
    seen = []
    funnel.entries["one", (), EIGHT] = launch.entry(
        made, outputs, 1, fail, 1, 128, lambda *a: seen.append(a)
    )
    assert numbers(funnel.apply("one", (x,))) == numbers(y0) and not seen
    x._requires_grad = True
    y = funnel.apply("one", (x,))
    ((op, inputs, params, made_),) = seen
    assert op == "one" and inputs == (x,) and params == () and len(made_) == 2
    assert made_[0] is y and numbers(made_[1]) == numbers(y1)


def test_hidden_outputs_can_be_asked_for():
    run = launch.launcher(Base, Tensor)
    both = segment((3, 0, 0), (4, 2, 0), (5, 3, 0))
    entry = launch.entry(both, [(EIGHT, 64), (ONE, 64)], 2, fail, visible=1)
    x = tensor(range(8))
    assert type(run(entry, (x, 0.5))) is Tensor
    y, hidden = run(launch.unhidden(entry), (x, 0.5))
    assert numbers(y)[1] == 1.5 and hidden._layout is ONE


def test_without_an_array_nothing_is_hit_in_a_trace(funnel):
    made = segment((3, 0, 0), (4, 0, 0), (5, 1, 0))
    x = tensor(range(8))
    made = Segment([Call(made.calls[0].address, [0, 0, 1, 0, x._ptr, 0], ((3, 0, 0), (5, 1, 0)))])
    funnel.entries["op", (), float] = launch.entry(made, [(EIGHT, 64)], 1, fail)
    assert numbers(funnel.apply("op", (1.0,))) == [i + 1.0 for i in range(8)]
    assert funnel.apply("op", ()) == "missed"
    token = TRACER.set("a trace")
    try:
        assert funnel.apply("op", (1.0,)) == "missed"
    finally:
        TRACER.reset(token)


WROTE: dict = {}


def writing(lay=EIGHT, overlap=True, calls=1):
    entry = launch.entry(
        segment((3, 0, 0), (4, 1, 0), (5, 2, 0), calls=calls), [(lay, 64)], 2, fail, overlap=overlap
    )
    entries = {("op", EIGHT, (), EIGHT, float): entry}
    made = launch.writer(Base, Tensor, entries, lambda *given: given[:4], WROTE)
    return entries, lambda op, y, inputs, params=(): made(op, y, inputs, params, None)


def test_a_write_returns_its_target_and_counts_the_version():
    _, write = writing()
    x, y = tensor(range(8)), tensor([0.0] * 8)
    before = memory.statistics()["live"]
    assert write("op", y, (x, 1.0)) is y
    assert numbers(y) == [i + 1.0 for i in range(8)] and numbers(x) == list(range(8))
    assert y._storage.version == 1 and x._storage.version == 0
    for i in range(300):
        write("op", y, (x, float(i)), ())
    assert WROTE[y._storage.ptr] == "op"
    assert y._storage.version == 301 and numbers(y)[0] == 299.0
    assert memory.statistics()["live"] == before


def test_a_write_over_its_input_needs_the_same_elements():
    _, write = writing()
    x = tensor(range(8))
    assert write("op", x, (x, 1.0)) is x
    assert numbers(x) == [i + 1.0 for i in range(8)]
    shifted = Tensor()
    shifted._storage, shifted._layout, shifted._requires_grad = x._storage, EIGHT, False
    shifted._ptr = x._ptr + 8
    assert write("op", x, (shifted, 1.0)) == ("op", x, (shifted, 1.0), ())
    _, careful = writing(overlap=False)
    assert careful("op", x, (x, 1.0)) == ("op", x, (x, 1.0), ())
    assert x._storage.version == 1


@pytest.mark.parametrize("flag", [True, None])
def test_a_write_that_may_concern_gradients_is_missed(flag):
    _, write = writing()
    x, y = tensor(range(8)), tensor(range(8))
    x._requires_grad = flag
    assert write("op", y, (x, 1.0)) == ("op", y, (x, 1.0), ())
    assert write("op", x, (y, 1.0)) == ("op", x, (y, 1.0), ())
    assert write("op", y, (y, 1)) == ("op", y, (y, 1), ())  # not planned
    assert x._storage.version == y._storage.version == 0


def test_a_write_that_fails_raises_and_counts_no_version():
    _, write = writing()
    x, bad = tensor(range(8)), tensor([-1.0] * 8)
    for _ in range(3):
        with pytest.raises(IndexError):
            write("op", x, (bad, 1.0))
    assert x._storage.version == 0
    with pytest.raises(SystemError):
        write("op", x, [bad, 1.0])


def test_writes_do_not_leak():
    entries, write = writing()
    x, y = tensor(range(8)), tensor(range(8))
    held = (x, y, EIGHT, float, (), None, *entries.values())
    before = [sys.getrefcount(a) for a in held]
    for _ in range(300):
        write("op", y, (x, 1.0))
        write("op", y, (x, 1))
    assert all(abs(a - b) < 30 for a, b in zip(before, map(sys.getrefcount, held), strict=True))


def test_no_outputs(funnel):
    made = segment((3, 0, 0), (4, 0, 0), (5, 1, 0))
    x = tensor(range(8))
    funnel.entries["op", (), EIGHT, float] = launch.entry(made, [], 2, fail)
    assert funnel.apply("op", (x, 1.0)) == ()
    assert numbers(x) == [i + 1 for i in range(8)]


def test_errors_of_kernels_raise(funnel):
    funnel.entries["op", (), EIGHT, float] = launch.entry(
        segment((3, 0, 0), (4, 1, 0), (5, 2, 0), calls=3), [(EIGHT, 64)], 2, fail
    )
    with pytest.raises(IndexError) as caught:
        funnel.apply("op", (tensor([-1.0] * 8), 1.0))
    assert caught.value.args == ((4, 11, 0),)
    assert numbers(funnel.apply("op", (tensor([1.0] * 8), 1.0))) == [2.0] * 8


def test_errors_of_the_recorder_and_of_memory_raise(funnel):
    def broken(*arguments):
        raise ZeroDivisionError

    x = tensor(range(8))
    x._requires_grad = True
    funnel.entries["op", (), EIGHT, float] = launch.entry(
        SUM, [(EIGHT, 64)], 2, fail, record=broken
    )
    with pytest.raises(ZeroDivisionError):
        funnel.apply("op", (x, 1.0))
    funnel.entries["op", (), EIGHT, float] = launch.entry(SUM, [(EIGHT, 1 << 60)], 2, fail)
    with pytest.raises(MemoryError):
        funnel.apply("op", (x, 1.0))
    y = Tensor()
    y._layout = EIGHT
    y._requires_grad = False
    funnel.entries["op", (), EIGHT, float] = launch.entry(SUM, [(EIGHT, 64)], 2, fail)
    with pytest.raises(TypeError, match="no bytes"):
        funnel.apply("op", (y, 1.0))
    with pytest.raises(TypeError, match="unhashable"):
        funnel.apply("op", (x, 1.0), ([],))
    with pytest.raises(TypeError):
        funnel.apply("op")


def test_entries_are_checked():
    with pytest.raises(ValueError, match="reads 3 arguments, the entry has 2"):
        launch.entry(SUM, [(EIGHT, 64)], 1, fail)
    with pytest.raises(ValueError, match="at most 8192"):
        launch.entry(SUM, [(EIGHT, 64)], 8192, fail)


def test_the_launcher():
    run = launch.launcher(Base, Tensor)
    entry = launch.entry(SUM, [(EIGHT, 64)], 2, fail, record=lambda *a: fail(a))
    x = tensor(range(8))
    x._requires_grad = True  # but a launch records nothing
    assert numbers(run(entry, (x, 0.5))) == [i + 0.5 for i in range(8)]
    with pytest.raises(TypeError, match="number of inputs"):
        run(entry, (x,))
    with pytest.raises(IndexError):  # with an op it does
        run(entry, (x, 0.5), "op", ())
    with pytest.raises(TypeError):
        run(entry)


def test_nothing_leaks(funnel):
    seen = []
    x = tensor(range(8))
    grown = tensor(range(8))
    grown._requires_grad = True
    entries = funnel.entries
    entries["op", (), EIGHT, float] = launch.entry(
        SUM, [(EIGHT, 64)], 2, fail, record=lambda *a: seen.append(None)
    )
    bad = tensor([-1.0] * 8)
    held = (EIGHT, x, grown, bad, Tensor, float, entries["op", (), EIGHT, float], None, False)

    def work(times):
        for _ in range(times):
            funnel.apply("op", (x, 1.5))
            funnel.apply("op", (grown, 1.5))
            funnel.apply("op", (x, 1))
            with pytest.raises(IndexError):
                funnel.apply("op", (bad, 1.5))
        del seen[:], funnel.missed[:]
        gc.collect()
        return [sys.getrefcount(a) for a in held], memory.statistics()["live"]

    work(20)
    before, after = work(20), work(300)
    assert all(abs(a - b) < 30 for a, b in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]


def test_eight_threads_while_the_cache_is_emptied(funnel):
    failed = []
    entry = launch.entry(
        segment((3, 0, 0), (4, 1, 0), (5, 2, 0), releases_gil=True), [(EIGHT, 64)], 2, fail
    )
    gate = threading.Barrier(8)

    def work(number):
        x = tensor([number] * 8)
        gate.wait()
        for i in range(300):
            funnel.entries["op", (), EIGHT, float] = entry
            y = funnel.apply("op", (x, float(i)))
            if y != "missed" and numbers(y) != [number + i] * 8:
                failed.append((number, i))
            if i % 7 == 0:
                funnel.entries.clear()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
