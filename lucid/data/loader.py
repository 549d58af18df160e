"""DataLoader: batches of a dataset, in order or shuffled, with or without worker processes.

Called by users; `sampler.py` says which samples, `worker.py` loads them, `pool.py` runs workers.
"""

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import lucid
from lucid.data.collate import default_collate, default_convert
from lucid.data.dataset import Dataset, IterableDataset
from lucid.data.pool import Pool
from lucid.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from lucid.data.worker import Job, StreamEnd, fetch, fetch_stream

T_co = TypeVar("T_co", covariant=True)


class DataLoader(Generic[T_co]):
    """Iterate over `dataset` in batches; every `iter()` is one pass.

    Arguments, with PyTorch's names and meaning:

    - `batch_size` samples a batch (None: single samples), `drop_last` leaves out a shorter last
      one; `shuffle`, `sampler` or `batch_sampler` say in which order; `generator` makes the order
      and the workers' seeds.
    - `collate_fn` makes a batch from a list of samples (`default_collate`).
    - `num_workers` processes load ahead, `prefetch_factor` batches each (2). Worker i has the seed
      `base + i` for `random`, NumPy and Lucid, gradients on and one thread; it calls
      `worker_init_fn(i)` first. `persistent_workers` keeps them between passes.
      `multiprocessing_context` is "fork", "spawn", "forkserver" or a context. With `in_order=False`
      batches come as they are ready.
    - `timeout` in seconds for a batch from the workers, 0 for none.
    - `pin_memory` has no effect on the CPU: there is no device to copy to.

    An exception in a worker is raised here with the worker's traceback among its notes; a worker
    that dies raises RuntimeError. ValueError and TypeError for arguments that exclude each other.

    >>> import lucid
    >>> from lucid.data import DataLoader, TensorDataset
    >>> [len(x) for x, in DataLoader(TensorDataset(lucid.zeros(5, 2)), batch_size=2)]
    [2, 2, 1]
    """

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        if pin_memory_device not in ("", "cpu"):
            raise NotImplementedError(
                f"DataLoader: pin_memory_device={pin_memory_device!r} is not here"
            )
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        if num_workers == 0 and multiprocessing_context is not None:
            raise ValueError("DataLoader: multiprocessing_context needs num_workers > 0")
        self._stream = isinstance(dataset, IterableDataset)
        if self._stream:
            given = {"shuffle": shuffle, "sampler": sampler, "batch_sampler": batch_sampler}
            for name, value in given.items():
                if value not in (None, False):
                    raise ValueError(f"DataLoader: an IterableDataset is a stream, without {name}")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle exclude each other")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("DataLoader: drop_last needs a batch_size")
        elif batch_size is not None and (not isinstance(batch_size, int) or batch_size <= 0):
            raise ValueError(f"DataLoader: batch_size is a positive int, got {batch_size!r}")
        if not self._stream and sampler is None and batch_sampler is None:
            if shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None and sampler is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self._batched = batch_size is not None or batch_sampler is not None
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self._pool: Pool | None = None

    def __iter__(self) -> Iterator[Any]:
        batches = self._with_workers() if self.num_workers else self._here()
        return self._counted(batches) if self._stream else batches

    def __len__(self) -> int:
        """The number of batches; for a stream it is what the stream's `len` promises."""
        if self._stream:
            n = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return n
            whole, rest = divmod(n, self.batch_size)
            return whole + (rest > 0 and not self.drop_last)
        return len(self._order())  # type: ignore[arg-type]

    def _order(self) -> Iterable[Any]:
        """What each batch is made of: indices, or for a stream the number of samples."""
        if self._stream:
            return itertools.repeat(self.batch_size)
        order = self.batch_sampler if self._batched else self.sampler
        assert order is not None  # one of them was made in __init__
        return order

    def _job(self) -> Job:
        seed = 0
        if self.num_workers:
            seed = int(lucid.randint(0, 2**63 - 1, (), generator=self.generator).item())
        return Job(
            self.dataset, self.collate_fn, self.worker_init_fn, 0, self.num_workers, seed,
            self._batched, self.drop_last,
        )  # fmt: skip

    def _here(self) -> Iterator[Any]:
        job = self._job()
        if not self._stream:
            for indices in self._order():
                yield fetch(job, indices)
            return
        samples = iter(self.dataset)
        try:
            while True:
                yield fetch_stream(job, samples, self.batch_size or 1)
        except StreamEnd:
            return

    def _with_workers(self) -> Iterator[Any]:
        pool = self._pool
        if pool is None:
            assert self.prefetch_factor is not None
            context = self.multiprocessing_context
            pool = Pool(self._job(), context, self.timeout, self.prefetch_factor, self.in_order)
        self._pool = pool if self.persistent_workers else None
        epoch = pool.epoch(iter(self._order()))
        # A generator would start its workers at the first next(); they start at iter() instead.
        return _Batches(self, pool, epoch)

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Warn where a stream yields more batches than its length says."""
        expected = len(self) if hasattr(self.dataset, "__len__") else None
        for i, batch in enumerate(batches):
            if i == expected:
                warnings.warn(
                    f"DataLoader: the IterableDataset says that it has {expected} batches and "
                    "yields more; with workers, does each yield its own share?",
                    stacklevel=2,
                )
            yield batch


class _Batches:
    """The iterator over one pass with workers; it ends them when it ends or is dropped."""

    def __init__(self, loader: DataLoader[Any], pool: Pool, epoch: Iterator[Any]):
        self._loader = loader
        self._pool = pool
        self._epoch = epoch

    def __iter__(self) -> "_Batches":
        return self

    def __next__(self) -> Any:
        try:
            return next(self._epoch)
        except StopIteration:
            if not self._loader.persistent_workers:
                self._pool.close()
            raise
        except BaseException:  # Ctrl-C too: workers never outlive the loop that they serve
            if self._loader._pool is self._pool:
                self._loader._pool = None
            self._pool.close()
            raise


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if not isinstance(num_workers, int) or num_workers < 0:
        raise ValueError(f"DataLoader: num_workers is an int >= 0, got {num_workers!r}")
    if timeout < 0:
        raise ValueError(f"DataLoader: timeout is >= 0 seconds, got {timeout!r}")
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ValueError(f"DataLoader: prefetch_factor is positive, got {prefetch_factor!r}")
    if num_workers == 0:
        for name, value in {
            "timeout": timeout,
            "prefetch_factor": prefetch_factor,
            "persistent_workers": persistent_workers,
        }.items():
            if value:
                raise ValueError(f"DataLoader: {name} needs num_workers > 0")
