"""One worker process of a DataLoader: receives lists of indices, sends batches back.

Started by `pool.py`; `fetch` is also how `loader.py` loads without workers.
"""

import os
import pickle
import queue
import random
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

import lucid
from lucid.data.collate import default_collate
from lucid.data.dataset import Dataset, IterableDataset, Subset, TensorDataset

PARENT_CHECK_SECONDS = 2.0


@dataclass(frozen=True)
class WorkerInfo:
    """What `get_worker_info()` tells: this worker's number, how many there are, seed, dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


@dataclass(frozen=True)
class Task:
    """One batch to load: `indices` is a list, a single key, or for a stream only its length."""

    epoch: int
    batch: int
    indices: Any


@dataclass(frozen=True)
class Answer:
    """What became of a task: `kind` is "batch", "error", or "end" where the stream is exhausted."""

    kind: str
    task: Task
    content: Any = None  # the batch, or the exception where it can be pickled
    traceback: str = ""


@dataclass(frozen=True)
class Job:
    """All that a worker is given when it starts."""

    dataset: Any
    collate_fn: Callable[[Any], Any]
    worker_init_fn: Callable[[int], None] | None
    worker_id: int
    num_workers: int
    seed: int
    batched: bool
    drop_last: bool


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process its `WorkerInfo`; None in the main process."""
    return _info


def fetch(job: Job, indices: Any) -> Any:
    """The collated batch of a map-style dataset at `indices`."""
    if not job.batched:
        return job.collate_fn(job.dataset[indices])
    if job.collate_fn is default_collate:
        together = _gather(job.dataset, indices)
        if together is not None:
            return together
    many = getattr(job.dataset, "__getitems__", None)
    return job.collate_fn(many(indices) if many else [job.dataset[i] for i in indices])


class StreamEnd(Exception):
    """The iterable dataset of this worker has no more samples."""


def fetch_stream(job: Job, samples: Iterator[Any], size: int) -> Any:
    """The collated next `size` samples of a stream; StreamEnd where there are none."""
    if not job.batched:
        for sample in samples:
            return job.collate_fn(sample)
        raise StreamEnd
    batch = [sample for _, sample in zip(range(size), samples, strict=False)]
    if not batch or (len(batch) < size and job.drop_last):
        raise StreamEnd
    return job.collate_fn(batch)


def run(job: Job, connection: Connection, inherited: list[Connection]) -> None:
    """The main function of a worker process."""
    # Ctrl-C reaches the whole process group: the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for other in inherited:  # after a fork: else a pipe outlives the process at its other end
        other.close()
    tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
    failure = _prepare(job)
    stream = _Stream(job)
    while (task := tasks.get()) is not None:
        try:
            if failure is not None:
                answer = Answer("error", task, *failure)
            elif isinstance(job.dataset, IterableDataset):
                answer = Answer("batch", task, stream.fetch(task))
            else:
                answer = Answer("batch", task, fetch(job, task.indices))
        except StreamEnd:
            answer = Answer("end", task)
        except Exception as error:
            answer = Answer("error", task, *_describe(error))
        try:
            _send(connection, answer)
        except (BrokenPipeError, ConnectionResetError):
            return  # the parent has closed the pipe: it wants no more


class _Stream:
    """The iterator of this worker's iterable dataset, a new one in each epoch."""

    def __init__(self, job: Job):
        self.job = job
        self.epoch = -1
        self.samples: Iterator[Any] = iter(())

    def fetch(self, task: Task) -> Any:
        if task.epoch != self.epoch:
            self.epoch = task.epoch
            self.samples = iter(self.job.dataset)
        try:
            return fetch_stream(self.job, self.samples, task.indices)
        except StreamEnd:
            self.samples = iter(())
            raise


def _prepare(job: Job) -> tuple[Any, str] | None:
    """Seeds, threads and grad mode of the worker; what `worker_init_fn` raised, if it did."""
    global _info
    try:
        # A forked child starts with a copy of its creator's context: gradients may be off there.
        lucid.set_grad_enabled(True)
        lucid.set_num_threads(1)
        random.seed(job.seed)
        np.random.seed(job.seed % 2**32)
        lucid.manual_seed(job.seed)
        _info = WorkerInfo(job.worker_id, job.num_workers, job.seed, job.dataset)
        if job.worker_init_fn is not None:
            job.worker_init_fn(job.worker_id)
    except Exception as error:
        return _describe(error)
    return None


def _receive(connection: Connection, tasks: "queue.SimpleQueue[Task | None]") -> None:
    """Take tasks off the pipe at once, so that the parent never waits while sending one."""
    parent = os.getppid()
    try:
        while True:
            while not connection.poll(PARENT_CHECK_SECONDS):
                if os.getppid() != parent:  # the parent was killed: nobody wants the batches
                    os._exit(1)
            task = connection.recv()
            tasks.put(task)
            if task is None:
                return
    except (EOFError, OSError):
        os._exit(0)


def _send(connection: Connection, answer: Answer) -> None:
    """Pickle first: an answer that cannot be pickled must not leave half a message in the pipe."""
    try:
        message = ForkingPickler.dumps(answer, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        message = ForkingPickler.dumps(Answer("error", answer.task, *_describe(error)))
    connection.send_bytes(message)


def _describe(error: Exception) -> tuple[Exception | None, str]:
    """The error, if it survives pickling, and its traceback as text."""
    text = "".join(traceback.format_exception(error))
    try:
        error.__cause__ = error.__context__ = None
        return pickle.loads(pickle.dumps(error.with_traceback(None))), text
    except Exception:  # an exception class may define its pickling in any way
        return None, text


def _gather(dataset: Dataset[Any], indices: list[int]) -> Any:
    """The batch of a TensorDataset by one indexing for each tensor; None for other datasets.

    Stacking single samples gives the same values with one op for each sample.
    """
    while type(dataset) is Subset:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    n = len(dataset)
    for i in indices:
        if not -n <= i < n:
            raise IndexError(f"TensorDataset: index {i} is out of range for {n} samples")
    picked = lucid.tensor(indices, dtype=lucid.int64)
    return [tensor[picked] for tensor in dataset.tensors]
