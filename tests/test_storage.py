"""Storage, the allocator under it, and its statistics."""

import gc
import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

from lucid import memory, storage
from lucid.backend.cpu import block, limits
from lucid.backend.cpu import memory as blocks
from lucid.dtypes import bfloat16, float32, int64
from lucid.error import OutOfMemoryError
from lucid.storage import Storage

SIZES = [0, 1, 63, 64, 65, 512, 513, 4096, 65536, 65537, 1 << 20, (1 << 20) + 1, 5_000_000]


@pytest.fixture(autouse=True)
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("nbytes", SIZES)
def test_alignment_and_size(nbytes):
    s = storage.allocate(nbytes)
    assert (s.nbytes, s.version, s.ptr % 64) == (nbytes, 0, 0)
    assert s.ptr > 0


def test_classes_waste_at_most_an_eighth():
    previous = 0
    for number, size in enumerate(blocks.sizes):
        assert size % 64 == 0 and size > previous
        assert block.size_class(previous + 1) == block.size_class(size) == number
        assert size <= max((previous + 1) * 1.125, previous + 64)
        previous = size
    assert previous == block.LARGEST


@pytest.mark.parametrize("nbytes", [*SIZES, 640, 641, 4095, 4097, 33_000_000])
def test_machine_code_finds_the_class(nbytes):
    assert storage.allocate(nbytes)._class == block.size_class(nbytes)


@pytest.mark.parametrize("nbytes", [64, 1000, 100_000, 3_000_000])
def test_last_freed_is_reused_first(nbytes):
    a, b = Storage(nbytes), Storage(nbytes)
    first, second = a.ptr, b.ptr
    assert first != second
    del a
    del b
    c = Storage(nbytes)
    d = Storage(nbytes - 1)
    assert (c.ptr, d.ptr) == (second, first)


def test_live_blocks_do_not_overlap():
    rng = np.random.default_rng(0)
    held = [Storage(int(n)) for n in rng.integers(0, 3_000_000, 60)]
    held += [Storage(int(n)) for n in rng.integers(0, 5000, 2000)]
    spans = sorted((s.ptr, s.ptr + max(s.nbytes, 1)) for s in held)
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))


def test_statistics():
    memory.reset_peak()
    before = memory.stats()
    a = Storage(1000)
    b = Storage(5_000_000)
    held = memory.stats()
    assert held["live"] - before["live"] == 5_001_000
    assert held["allocations"] - before["allocations"] == 2
    del b
    freed = memory.stats()
    assert freed["live"] - before["live"] == 1000
    assert freed["peak"] - before["live"] == 5_001_000
    assert freed["cached"] - held["cached"] >= 5_000_000
    memory.reset_peak()
    assert memory.stats()["peak"] == freed["live"]
    del a
    assert memory.stats()["live"] == before["live"]


def test_no_growth():
    for _ in range(100):
        x, y = Storage(4096), Storage(2_000_000)
        x = y = None
    before = memory.stats()
    for i in range(100_000):
        x = Storage(i % 4096)
        y = Storage(2_000_000 - i)
    del x, y
    after = memory.stats()
    assert after["live"] == before["live"]
    assert after["mapped"] - before["mapped"] <= 32 << 20  # classes of 1.9 MB, a slab


def test_empty_cache_keeps_live_bytes():
    kept = [Storage(n) for n in (64, 5000, 2_000_000)]
    views = [s.as_numpy(int64, (8,), (1,)) for s in kept]
    for i, view in enumerate(views):
        view[:] = i
    others = [Storage(40_000_000), *(Storage(100_000) for _ in range(200))]
    for other in others:
        other.as_numpy(int64, (other.nbytes // 8,), (1,)).fill(-1)
    others = other = None
    mapped = memory.stats()["mapped"]
    released = memory.empty_cache()
    assert released >= 40_000_000 + (16 << 20)
    assert memory.stats()["mapped"] == mapped - released
    assert [view.tolist() for view in views] == [[i] * 8 for i in range(3)]
    again = Storage(64), Storage(100_000), Storage(40_000_000)
    assert not {s.ptr for s in again} & {s.ptr for s in kept}


def test_exhaustion_is_an_error_that_says_what_was_asked():
    with pytest.raises(OutOfMemoryError, match="1 PiB asked for") as e:
        Storage(1 << 50)
    assert isinstance(e.value, MemoryError) and isinstance(e.value, RuntimeError)
    assert e.value.requested == 1 << 50
    assert "live" in str(e.value) and "cached" in str(e.value)
    for nbytes in (1 << 62, 1 << 80):
        with pytest.raises(OutOfMemoryError):
            storage.allocate(nbytes)
    Storage(64)


def test_exhaustion_empties_the_cache_first(monkeypatch):
    big = Storage(64 << 20)
    del big
    limit = memory.stats()["mapped"] + (8 << 20)
    monkeypatch.setattr(blocks, "available", lambda mapped=0: limit - mapped)
    s = Storage(70 << 20)  # fits only where the 64 MiB are given back
    assert s.nbytes == 70 << 20
    with pytest.raises(OutOfMemoryError, match="70 MiB asked for"):
        Storage(70 << 20)


@pytest.mark.parametrize("version", [1, 2])
def test_cgroup_limit(version, tmp_path):
    (tmp_path / "limit").write_text("1000000\n" if version else "")
    (tmp_path / "usage").write_text("700000\n")
    name = "total_inactive_file" if version == 1 else "inactive_file"
    (tmp_path / "stat").write_text(f"anon 5\n{name} 50000\n")
    files = [str(tmp_path / n) for n in ("limit", "usage", "stat")]
    assert limits._cgroup(*files) == 350_000
    (tmp_path / "limit").write_text("max\n")
    assert limits._cgroup(*files) == limits._UNLIMITED


def test_available_is_sane():
    assert 0 < limits.available() < 1 << 48
    assert limits.available(mapped=1 << 60) == 0


def test_negative_and_wrong_sizes():
    live = memory.stats()["live"]
    with pytest.raises(ValueError, match="-1"):
        Storage(-1)
    with pytest.raises(TypeError):
        Storage("64")
    with pytest.raises(TypeError):
        storage.allocate(64.0)
    with pytest.raises(TypeError):
        storage.allocate()
    assert type(storage.allocate(np.int64(64)).nbytes) is int
    assert type(storage.allocate(True).nbytes) is int
    assert memory.stats()["live"] == live


def test_version_is_writable():
    s = Storage(8)
    s.version += 1
    assert s.version == 1
    del s
    assert Storage(8).version == 0


def test_it_is_a_buffer():
    s = Storage(100)
    view = memoryview(s)
    assert view.nbytes == 100 and not view.readonly
    view[:] = bytes(range(100))
    assert np.frombuffer(s, np.uint8).tolist() == list(range(100))
    assert s.as_numpy(int64, (1,), (1,)).tobytes() == bytes(range(8))
    ptr = s.ptr
    del s
    assert Storage(100).ptr != ptr  # the view holds it
    view.release()
    assert Storage(100).ptr == ptr


def test_references_are_counted():
    size, owner = 123_457, Owner()
    counts = sys.getrefcount(size), sys.getrefcount(owner), sys.getrefcount(Storage)
    for _ in range(1000):
        Storage(size).version += 70_000
        Storage.from_buffer(owner, 64, size)
        memoryview(Storage(size)).release()
    memory.empty_cache()
    after = sys.getrefcount(size), sys.getrefcount(owner), sys.getrefcount(Storage)
    assert after[:2] == counts[:2]
    assert after[2] <= counts[2]  # the free storages that the cache lost


def test_importing_builds_nothing():
    """`from lucid.storage import Storage` at the top of a file would compile at import."""
    code = (
        "import sys, lucid.tensor, lucid.memory, lucid.storage as storage\n"
        "assert 'llvmlite' not in sys.modules\n"
        "assert 'Storage' not in vars(storage), 'write storage.allocate, see storage.py'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Owner:
    pass


def test_from_buffer_keeps_its_owner():
    live = memory.stats()["live"]
    owner = Owner()
    owner.array = np.arange(6, dtype=np.float32)
    gone = weakref.ref(owner)
    s = Storage.from_buffer(owner, owner.array.ctypes.data, 24)
    assert isinstance(s, Storage) and not s.readonly and s.version == 0
    view = s.as_numpy(float32, (2, 3), (3, 1))
    view[0, 0] = 7
    assert owner.array[0] == 7
    del owner, s
    assert gone() is not None and view[1, 2] == 5
    del view
    assert gone() is None
    assert memory.stats()["live"] == live


def test_read_only_buffer():
    data = b"12345678"
    array = np.frombuffer(data, np.uint8)
    s = Storage.from_buffer(array, array.ctypes.data, 8, readonly=True)
    assert s.readonly
    with pytest.raises(ValueError):
        s.as_numpy(int64, (1,), (1,))[0] = 1


def test_as_numpy_keeps_the_storage():
    s = Storage(4000)
    ptr = s.ptr
    y = s.as_numpy(float32, (10, 10), (20, 2), 3)
    assert y.ctypes.data == ptr + 12 and y.strides == (80, 8)
    del s
    assert Storage(4000).ptr != ptr
    del y
    assert Storage(4000).ptr == ptr


def test_as_numpy_layouts():
    s = Storage(64)
    whole = s.as_numpy(float32, (16,), (1,))
    whole[:] = np.arange(16)
    assert s.as_numpy(float32, (), (), 5) == 5
    assert s.as_numpy(float32, (3, 2), (0, 1), 2).tolist() == [[2, 3]] * 3
    assert s.as_numpy(float32, (3,), (-1,), 2).tolist() == [2, 1, 0]
    assert s.as_numpy(float32, (0, 5), (5, 1)).shape == (0, 5)
    assert Storage(0).as_numpy(int64, (0,), (1,)).size == 0
    assert s.as_numpy(bfloat16, (32,), (1,)).itemsize == 2
    with pytest.raises(ValueError):
        s.as_numpy(float32, (17,), (1,))


def test_threads():
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        held = []
        for n in rng.integers(8, 40_000, 3000).tolist():
            s = Storage(n)
            mark = s.as_numpy(int64, (1,), (1,))
            mark[0] = s.ptr ^ seed
            held.append((s, mark))
            if len(held) > 20:
                s, mark = held.pop(n % 20)
                if mark[0] != s.ptr ^ seed:
                    failures.append(s)

    live = memory.stats()["live"]
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for _ in range(20):
        memory.empty_cache()
    for t in threads:
        t.join()
    assert not failures
    assert memory.stats()["live"] == live


def test_collector_may_free_inside_the_allocator():
    class Cycle:
        def __init__(self):
            self.me = self
            self.storage = Storage(300)

    gc.enable()
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        held = []
        for i in range(2000):
            Cycle()
            held.append(Storage(300 + i))
    finally:
        gc.set_threshold(*threshold)
    assert len({s.ptr for s in held}) == len(held)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork():
    s = Storage(128)
    view = s.as_numpy(int64, (1,), (1,))
    view[0] = 1
    blocks._lock.acquire()  # as if another thread were inside
    child = os.fork()
    if child == 0:
        view[0] = 2
        done = threading.Thread(target=lambda: [Storage(2_345_678), memory.stats()])
        done.start()
        done.join(5)
        os._exit(1 if done.is_alive() else 0)
    blocks._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert view[0] == 1
