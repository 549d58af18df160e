"""The worker processes of a DataLoader: starting, feeding, watching and ending them.

Called by `loader.py`. The parent waits on every pipe and every process at once, so a worker that
dies is reported and never waited for.
"""

import multiprocessing
import os
import pickle
import signal
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from lucid.data.worker import Answer, Job, Task, run

CLOSE_SECONDS = 1.0


class Pool:
    """`num_workers` processes, each with one pipe; `epoch` yields the batches of one pass."""

    def __init__(self, job: Job, context: Any, timeout: float, prefetch: int, in_order: bool):
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        self.workers = job.num_workers
        self.timeout = timeout
        self.prefetch = prefetch
        self.in_order = in_order
        self.number = -1  # of the current epoch; answers to an older one are dropped
        self.pipes: list[Connection] = []
        self.processes: list[Any] = []
        # Runs when the pool is collected and at exit; a forked child must not end its siblings.
        self.close = weakref.finalize(self, _close, os.getpid(), self.pipes, self.processes)
        forked = context.get_start_method() == "fork"
        for i in range(self.workers):
            here, there = context.Pipe()
            self.pipes.append(here)
            mine = replace(job, worker_id=i, seed=job.seed + i)
            inherited = list(self.pipes) if forked else []
            process = context.Process(target=run, args=(mine, there, inherited), daemon=True)
            process.start()
            there.close()
            self.processes.append(process)

    def epoch(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Load one batch for each item of `batches`, up to `prefetch` ahead in each worker."""
        self.number += 1  # at once, not at the first next(): an older iterator ends now
        return self._batches(_Progress(self.number, self.workers), batches)

    def _batches(self, progress: "_Progress", batches: Iterator[Any]) -> Iterator[Any]:
        tasks = (Task(progress.epoch, i, item) for i, item in enumerate(batches))
        more = True
        while True:
            if self.number != progress.epoch:
                raise RuntimeError("DataLoader: this iterator ended when a new one was made")
            while more and (worker := progress.next_worker(self.prefetch)) is not None:
                task = next(tasks, None)
                if task is None:
                    more = False
                    break
                self._give(worker, task)
                progress.given(worker, task)
            answer = progress.take(self.in_order)
            if answer is not None:
                if answer.kind == "error":
                    raise _error(progress.worker_of[answer.task.batch], answer)
                yield answer.content
            elif not progress.waiting:
                return
            else:
                for worker, answer in self._receive({*progress.waiting.values()}):
                    progress.received(worker, answer)

    def _give(self, worker: int, task: Task) -> None:
        try:
            self.pipes[worker].send(task)
        except OSError:
            self._report_death(worker)

    def _receive(self, waiting: set[int]) -> list[tuple[int, Answer]]:
        """At least one answer of these workers; RuntimeError if one died or the time is over."""
        watched: dict[Any, int] = {self.pipes[w]: w for w in waiting}
        watched |= {self.processes[w].sentinel: w for w in waiting}
        signalled = wait(list(watched), self.timeout or None)
        if not signalled:
            raise RuntimeError(
                f"DataLoader: no batch within timeout={self.timeout} s from workers "
                f"{sorted(waiting)}"
            )
        answers, dead = [], []
        for source in signalled:
            worker = watched[source]
            if source is self.pipes[worker]:
                try:
                    answers.append((worker, pickle.loads(self.pipes[worker].recv_bytes())))
                except (EOFError, ConnectionResetError):
                    dead.append(worker)
            elif not self.pipes[worker].poll():  # what it sent before it died still counts
                dead.append(worker)
        if dead and not answers:  # else the next wait finds it dead again
            self._report_death(dead[0])
        return answers

    def _report_death(self, worker: int) -> None:
        process = self.processes[worker]
        process.join(CLOSE_SECONDS)
        code = process.exitcode
        how = f"with exit code {code}"
        if code is not None and code < 0:
            how = f"by signal {signal.Signals(-code).name}"
        hint = "; the system may have run out of memory" if code == -signal.SIGKILL else ""
        raise RuntimeError(
            f"DataLoader worker {worker} (pid {process.pid}) ended unexpectedly {how}{hint}"
        )


class _Progress:
    """The bookkeeping of one epoch: which worker has which batch, and which batches are here."""

    def __init__(self, epoch: int, workers: int):
        self.epoch = epoch
        self.open = list(range(workers))  # workers whose stream has not ended, the next one first
        self.load = [0] * workers
        self.worker_of: dict[int, int] = {}  # of each batch that was given away
        self.waiting: dict[int, int] = {}  # those among them without an answer
        self.ready: dict[int, Answer] = {}
        self.next_batch = 0
        self.sent = 0

    def next_worker(self, prefetch: int) -> int | None:
        """The worker whose turn it is, if it has room: batch i goes to worker i modulo n."""
        if self.open and self.load[self.open[0]] < prefetch:
            return self.open[0]
        return None

    def given(self, worker: int, task: Task) -> None:
        self.worker_of[task.batch] = self.waiting[task.batch] = worker
        self.load[worker] += 1
        self.sent = task.batch + 1
        self.open.append(self.open.pop(0))

    def received(self, worker: int, answer: Answer) -> None:
        if answer.task.epoch != self.epoch:
            return  # from an epoch that was left early
        del self.waiting[answer.task.batch]
        self.load[worker] -= 1
        if answer.kind != "end":
            self.ready[answer.task.batch] = answer
        elif worker in self.open:
            self.open.remove(worker)

    def take(self, in_order: bool) -> Answer | None:
        """The answer to hand out next, if it has come."""
        if not in_order:
            return self.ready.pop(next(iter(self.ready), -1), None)
        while self.next_batch < self.sent and self.next_batch not in self.waiting:
            self.next_batch += 1
            if self.next_batch - 1 in self.ready:  # else its stream had ended
                return self.ready.pop(self.next_batch - 1)
        return None


def _error(worker: int, answer: Answer) -> Exception:
    """The exception of a worker with the worker's traceback in its notes."""
    text = answer.traceback.rstrip()
    error = answer.content
    if error is None:
        error = RuntimeError(f"DataLoader worker {worker} raised {text.splitlines()[-1]}")
    error.add_note(f"\nraised in DataLoader worker {worker}:\n{text}")
    return error


def _close(owner: int, pipes: list[Connection], processes: list[Any]) -> None:
    """Ask every worker to end, and end those that do not."""
    if os.getpid() != owner:
        return
    for pipe in pipes:
        try:
            pipe.send(None)
        except OSError:
            pass  # this worker is gone already
    for pipe in pipes:
        pipe.close()  # a worker that is sending a batch gets an error instead of waiting for us
    limit = time.monotonic() + CLOSE_SECONDS
    for process in processes:
        process.join(max(0.0, limit - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
