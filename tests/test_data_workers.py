"""Worker processes of the DataLoader: the same batches, and no failure that hangs or is lost."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import lucid
from lucid.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

START = "fork" if sys.platform == "linux" else "spawn"


class Squares(Dataset):
    def __len__(self):
        return 23

    def __getitem__(self, i):
        return i * i


class Failing(Squares):
    def __init__(self, how):
        self.how = how

    def __getitem__(self, i):
        if i == 7:
            self.how()
        return i


class Shares(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        return iter(range(info.id, 11, info.num_workers))


class Facts(Dataset):
    """What a worker finds when it starts."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        info = get_worker_info()
        return {
            "worker": info.id,
            "seed": info.seed,
            "gradients": lucid.is_grad_enabled(),
            "python": random.random(),
            "numpy": float(np.random.rand()),
            "lucid": lucid.rand(()).item(),
            "pid": os.getpid(),
        }


def loader(dataset, **arguments):
    arguments = {"num_workers": 2, "multiprocessing_context": START} | arguments
    return DataLoader(dataset, **arguments)


def raise_value_error():
    raise ValueError("sample 7 is broken")


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def raise_unpicklable():
    raise Unpicklable("this", "that")


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_long():
    time.sleep(60)


@pytest.mark.parametrize("context", sorted({START, "spawn"}))
def test_same_batches_as_without_workers(context):
    wanted = [batch.tolist() for batch in DataLoader(Squares(), 4)]
    for prefetch in (1, 3):
        got = loader(Squares(), batch_size=4, multiprocessing_context=context,
                     prefetch_factor=prefetch)  # fmt: skip
        assert [batch.tolist() for batch in got] == wanted
        if context == "spawn":
            break


def test_large_batches_and_long_index_lists():
    x = lucid.from_numpy(np.arange(200_000, dtype=np.float32).reshape(50_000, 4))
    got = [batch for (batch,) in loader(TensorDataset(x), batch_size=20_000)]
    assert [len(batch) for batch in got] == [20_000, 20_000, 10_000]
    assert np.array_equal(np.concatenate([b.numpy() for b in got]), x.numpy())


def test_streams_end_one_by_one():
    got = [x for batch in loader(Shares(), batch_size=2) for x in batch.tolist()]
    assert got == [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9]
    rows = sorted(x for x in loader(Shares(), batch_size=None, num_workers=3))
    assert rows == list(range(11))


def test_any_order_brings_every_batch():
    got = [int(x) for batch in loader(Squares(), batch_size=2, in_order=False) for x in batch]
    assert sorted(got) == [i * i for i in range(23)]


def test_workers_start_with_gradients_on_and_their_own_seeds():
    with lucid.no_grad():
        facts = list(loader(Facts(), batch_size=None, generator=lucid.Generator().manual_seed(4)))
    assert all(fact["gradients"] for fact in facts)
    assert [fact["worker"] for fact in facts] == [0, 1, 0, 1]
    assert facts[1]["seed"] == facts[0]["seed"] + 1
    for source in ("python", "numpy", "lucid"):
        assert len({fact[source] for fact in facts}) == 4
    again = list(loader(Facts(), batch_size=None, generator=lucid.Generator().manual_seed(4)))
    for before, after in zip(facts, again, strict=True):
        assert [before[k] for k in ("seed", "python", "numpy", "lucid")] == [
            after[k] for k in ("seed", "python", "numpy", "lucid")
        ]


def test_persistent_workers_stay_and_forget_what_was_left():
    kept = loader(Facts(), batch_size=None, persistent_workers=True)
    first = {fact["pid"] for fact in kept}
    next(iter(kept))  # leaves three batches behind
    facts = list(kept)
    assert len(facts) == 4 and {fact["pid"] for fact in facts} == first
    old, new = iter(kept), iter(kept)
    next(new)
    with pytest.raises(RuntimeError, match="a new one was made"):
        next(old)
    assert len({fact["pid"] for fact in loader(Facts(), batch_size=None)} & first) == 0


def remember(worker):
    os.environ["SEEN_BY"] = str(worker)


class Environment(Squares):
    def __getitem__(self, i):
        return os.environ["SEEN_BY"]


def test_worker_init_fn():
    got = loader(Environment(), batch_size=2, worker_init_fn=remember)
    assert [batch for batch in got][:2] == [["0", "0"], ["1", "1"]]
    with pytest.raises(ZeroDivisionError, match="worker|division"):
        list(loader(Squares(), worker_init_fn=lambda worker: 1 // 0))


def test_error_in_a_worker_comes_back_with_its_traceback():
    with pytest.raises(ValueError, match="sample 7 is broken") as caught:
        list(loader(Failing(raise_value_error), batch_size=2))
    notes = "\n".join(caught.value.__notes__)
    assert "DataLoader worker 1" in notes and "in raise_value_error" in notes
    with pytest.raises(RuntimeError, match="Unpicklable: this and that"):
        list(loader(Failing(raise_unpicklable), batch_size=2))
    with pytest.raises(Exception, match="[Pp]ickle"):
        list(loader(Squares(), collate_fn=lambda batch: lambda: batch))


def test_dead_worker_is_reported():
    with pytest.raises(RuntimeError, match=r"worker 1 \(pid \d+\).*SIGKILL"):
        list(loader(Failing(kill_self), batch_size=2))
    with pytest.raises(RuntimeError, match="exit code 3"):
        list(loader(Failing(lambda: os._exit(3)), batch_size=2))


def test_timeout():
    with pytest.raises(RuntimeError, match="timeout=0.3"):
        list(loader(Failing(sleep_long), batch_size=2, timeout=0.3))


def test_leaving_early_ends_the_workers():
    batches = iter(loader(Facts(), batch_size=None))
    pids = {next(batches)["pid"], next(batches)["pid"]}
    del batches
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="sends signals to a process group")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(sign):
    program = """
        import os, time
        from lucid.data import DataLoader, Dataset, get_worker_info

        class Slow(Dataset):
            def __len__(self):
                return 100
            def __getitem__(self, i):
                if i > 3:
                    time.sleep(0.05 if SHORT else 3)
                return os.getpid()

        try:
            for i, pid in enumerate(DataLoader(Slow(), batch_size=None, num_workers=2)):
                print(pid, flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """.replace("SHORT", str(sign == signal.SIGINT))
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    pids = {int(process.stdout.readline()) for _ in range(4)}
    if sign == signal.SIGINT:
        os.killpg(process.pid, sign)
    else:
        process.kill()
    output, errors = process.communicate(timeout=30)
    if sign == signal.SIGINT:
        assert output.strip().splitlines()[-1] == "interrupted" and "Traceback" not in errors
    limit = time.monotonic() + 15
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < limit, "a worker still runs"
        time.sleep(0.05)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
